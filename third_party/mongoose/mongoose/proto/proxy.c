/* proxy.c - the PROXY header of one connection, collected as far as it goes and no further: what follows is still in the socket,
 * for whoever is to read it (a TLS engine, a protocol).
 */
#include "mongoose/proto/proxy.h"

#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/status.h"
#include "mongoose/codec/proxy_protocol.h"
#include "mongoose/loop/io.h"

static ptrdiff_t preface(struct mg_connection *c, struct mg_str in) {
  struct mg_proxy_header h;
  ptrdiff_t n = mg_proxy_parse(in, &h);
  struct mg_proxied *p;
  char *text;
  if (n == 0 && mg_proxy_wants(in) > c->listener->limits.max_head) return MG_ETOOBIG;
  if (n <= 0) return n;
  p = (struct mg_proxied *) mg_calloc(1, sizeof(*p) + h.authority.len + h.unique_id.len);
  if (p == NULL) return MG_ENOMEM;
  text = (char *) (p + 1);
  p->version = h.version;
  p->peer = c->rem;
  p->peer_is_unix = c->is_unix;
  p->authority = mg_str_n(text, h.authority.len);
  if (h.authority.len > 0) memcpy(text, h.authority.buf, h.authority.len);
  text += h.authority.len;
  p->unique_id = mg_str_n(text, h.unique_id.len);
  if (h.unique_id.len > 0) memcpy(text, h.unique_id.buf, h.unique_id.len);
  if (h.family != MG_PROXY_NONE) {
    p->has_addresses = true;
    p->client_is_unix = h.family == MG_PROXY_UNIX;
    memset(&c->rem, 0, sizeof(c->rem));
    c->rem.is_ip6 = p->target.is_ip6 = h.family == MG_PROXY_IP6;
    memcpy(c->rem.addr.ip, h.src, sizeof(h.src));
    memcpy(p->target.addr.ip, h.dst, sizeof(h.dst));
    c->rem.port = h.src_port;
    p->target.port = h.dst_port;
  }
  c->proxied = p;
  return n;
}

bool mg_proxy_from(struct mg_connection *c, struct mg_str nets) {
  struct mg_nets *n;
  int err = MG_EINVAL;
  n = c->is_listening && !c->is_udp ? mg_nets_new(nets, &err) : NULL;
  c->mgr->status = err;
  if (n == NULL) return false;
  mg_nets_free(c->listener->preface_from);
  c->listener->preface_from = n;
  c->listener->preface = preface;
  return true;
}

const struct mg_proxied *mg_proxy_info(const struct mg_connection *c) {
  return (const struct mg_proxied *) c->proxied;
}
