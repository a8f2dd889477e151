/* http_origin.c - the walk from the peer to the client. */
#include "mongoose/proto/http_origin.h"

#include <string.h>

#include "mongoose/base/status.h"
#include "mongoose/codec/http_chars.h"
#include "mongoose/codec/http_fields.h"
#include "mongoose/codec/http_forwarded.h"
#include "mongoose/proto/http_conn.h"
#include "mongoose/proto/proxy.h"

bool mg_http_trust(struct mg_connection *c, struct mg_str text, unsigned fields) {
  struct mg_nets *nets = NULL;
  int err = MG_EINVAL;
  bool mixed = (fields & MG_TRUST_FORWARDED) && fields != MG_TRUST_FORWARDED;
  if (c->is_listening && c->proto == &mg_proto_http && fields != 0 && !mixed) nets = mg_nets_new(text, &err);
  c->mgr->status = err;
  if (nets == NULL) return false;
  mg_nets_free(c->listener->trusted);
  c->listener->trusted = nets;
  c->listener->trusted_fields = fields;
  return true;
}

static bool is_scheme(struct mg_str s) { /* RFC 3986 3.1 */
  size_t i;
  for (i = 0; i < s.len; i++) {
    char ch = (char) (s.buf[i] | 0x20);
    bool letter = ch >= 'a' && ch <= 'z';
    if (!letter && (i == 0 || strchr("0123456789+-.", s.buf[i]) == NULL || s.buf[i] == '\0')) return false;
  }
  return s.len > 0 && s.len <= 16;
}

static void learn(struct mg_http_origin *o, struct mg_str scheme, struct mg_str host) {
  if (is_scheme(scheme)) o->scheme = scheme;
  if (host.len > 0 && mg_http_is_authority(host)) o->host = host;
}

/* RFC 7239 6: an address with or without a port, IPv6 in brackets; in X-Forwarded-For also without them. Ports may be hidden. */
static bool read_node(struct mg_str s, struct mg_addr *a) {
  struct mg_str host = s, port = {NULL, 0};
  const char *close = s.len > 0 && s.buf[0] == '[' ? (const char *) memchr(s.buf, ']', s.len) : NULL;
  const char *colon = (const char *) memchr(close != NULL ? close : s.buf, ':', close != NULL ? s.len - (size_t) (close - s.buf) : s.len);
  uint16_t n;
  if (close != NULL && close + 1 != s.buf + s.len && colon != close + 1) return false;
  if (colon != NULL && (close != NULL || memchr(colon + 1, ':', s.len - (size_t) (colon + 1 - s.buf)) == NULL)) {
    host = mg_str_n(s.buf, (size_t) (colon - s.buf));
    port = mg_str_n(colon + 1, s.len - host.len - 1);
    if (port.len == 0) return false;
  }
  memset(a, 0, sizeof(*a));
  if (host.len == 0 || (host.buf[0] != '[' && mg_http_skip(host.buf, host.buf + host.len, MG_HTTP_HOST) == host.buf)) return false;
  if (memchr(host.buf, '%', host.len) != NULL || host.buf[0] == 'l' || !mg_aton(host, a)) return false; /* no scope, no "localhost" */
  if (port.len > 0 && port.buf[0] != '_') {
    if (!mg_str_to_num(port, 10, &n, sizeof(n))) return false;
    a->port = mg_htons(n);
  }
  return true;
}

/* The next hop towards the client. False: the walk ends here. */
static bool step(const struct mg_connection *c, struct mg_str node, struct mg_http_origin *o) {
  o->known = read_node(node, &o->addr);
  return o->known && mg_nets_has(c->listener->trusted, &o->addr);
}

static int count(const struct mg_http_message *hm) {
  int n = 0;
  while (n < MG_MAX_HTTP_HEADERS && hm->headers[n].name.len > 0) n++;
  return n;
}

static bool named(const struct mg_http_header *h, const char *name, size_t len) {
  return mg_http_word(h->name.buf, h->name.len, name, len);
}

/* Each line by itself: a client's open quote must not swallow what a proxy added in a line of its own. */
static void walk_forwarded(const struct mg_connection *c, const struct mg_http_message *hm, struct mg_http_origin *o) {
  struct mg_forwarded hops[MG_FORWARDED_HOPS];
  int i, k;
  for (i = count(hm) - 1; i >= 0; i--) {
    if (!named(&hm->headers[i], "forwarded", 9)) continue;
    k = mg_forwarded_parse(hm->headers[i].value, hops);
    if (k < 0) o->known = false;
    while (k > 0) {
      k--;
      learn(o, hops[k].proto, hops[k].host);
      if (!step(c, hops[k].node, o)) return;
    }
    if (!o->known) return;
  }
}

/* The n-th element from the right over all lines of that name, or the leftmost. */
static struct mg_str from_right(const struct mg_http_message *hm, const char *name, size_t len, int n) {
  struct mg_str found = {NULL, 0};
  int i;
  for (i = count(hm) - 1; i >= 0 && n > 0; i--) {
    struct mg_str list = hm->headers[i].value, item;
    if (!named(&hm->headers[i], name, len)) continue;
    while (n > 0 && mg_list_last(&list, &item)) {
      found = item;
      n--;
    }
  }
  return found;
}

static void walk_x(const struct mg_connection *c, const struct mg_http_message *hm, struct mg_http_origin *o) {
  unsigned fields = c->listener->trusted_fields;
  struct mg_str none = {NULL, 0}, item;
  int i, depth = 0;
  bool goes_on = (fields & MG_TRUST_X_FOR) != 0;
  for (i = count(hm) - 1; goes_on && i >= 0; i--) {
    struct mg_str list = hm->headers[i].value;
    if (!named(&hm->headers[i], "x-forwarded-for", 15)) continue;
    while (goes_on && mg_list_last(&list, &item)) {
      depth++;
      goes_on = step(c, item, o);
    }
  }
  if (depth == 0) depth = 1; /* the peer itself says how it was asked */
  learn(o, fields & MG_TRUST_X_PROTO ? from_right(hm, "x-forwarded-proto", 17, depth) : none,
        fields & MG_TRUST_X_HOST ? from_right(hm, "x-forwarded-host", 16, depth) : none);
}

/* The authority of a target in absolute-form, which counts instead of Host; "" in the other forms. */
static struct mg_str target_host(const struct mg_http_message *hm) {
  struct mg_str none = {NULL, 0};
  const char *p = hm->method.buf + hm->method.len + 1, *end = hm->uri.buf, *from;
  if (hm->uri.len == 0 || hm->uri.buf[0] != '/' || end <= p) return none;
  from = (const char *) memchr(hm->method.buf, '\r', hm->head.len - (size_t) (hm->method.buf - hm->head.buf));
  if (from != NULL) end = from;
  if (*p == '/') return none;
  from = (const char *) memchr(p, '/', (size_t) (end - p));
  if (from == NULL || end - from < 2) return none;
  from += 2; /* behind "://" */
  for (p = from; p < end && *p != '/' && *p != '?' && *p != ' ';) p++;
  return mg_str_n(from, (size_t) (p - from));
}

void mg_http_origin_of(const struct mg_connection *c, const struct mg_http_message *hm, struct mg_http_origin *o) {
  const struct mg_proxied *p = mg_proxy_info(c);
  bool is_unix = p != NULL && p->has_addresses ? p->client_is_unix : c->is_unix;
  struct mg_str *host = mg_http_get_header((struct mg_http_message *) (size_t) hm, "Host");
  o->addr = c->rem;
  o->known = !is_unix;
  o->scheme = mg_str_n(c->is_tls ? "https" : "http", c->is_tls ? 5 : 4);
  o->host = target_host(hm);
  if (o->host.len == 0 && host != NULL) o->host = *host;
  if (MG_LIKELY(c->listener->trusted == NULL) || !mg_nets_has(c->listener->trusted, is_unix ? NULL : &c->rem)) return;
  if (c->listener->trusted_fields & MG_TRUST_FORWARDED) {
    walk_forwarded(c, hm, o);
  } else {
    walk_x(c, hm, o);
  }
}
