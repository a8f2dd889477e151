/* classic.c - calls of the Mongoose API that this library itself has no use for. */
#include <netinet/in.h>
#include <netinet/ip.h>
#include <string.h>
#include <sys/socket.h>

#include "mongoose/base/printf.h"
#include "mongoose/base/status.h"
#include "mongoose/loop/io.h"
#include "mongoose/loop/resolve.h"

static int fd_of(const struct mg_connection *c) {
  return (int) (size_t) c->fd;
}

size_t mg_vprintf(struct mg_connection *c, const char *fmt, va_list *ap) {
  struct mg_iobuf io = {NULL, 0, 0, 256, NULL};
  size_t n = mg_vxprintf(mg_pfn_iobuf, &io, fmt, ap);
  if (io.len != n || (n > 0 && !mg_send(c, io.buf, n))) n = 0; /* all of it or nothing: half a line is another line */
  mg_iobuf_free(&io);
  return n;
}

size_t mg_printf(struct mg_connection *c, const char *fmt, ...) {
  va_list ap;
  size_t n;
  va_start(ap, fmt);
  n = mg_vprintf(c, fmt, &ap);
  va_end(ap);
  return n;
}

bool mg_open_listener(struct mg_connection *c, const char *url) {
  struct mg_sock s;
  int err = fd_of(c) < 0 ? mg_sock_listen(&s, url, NULL, c->mgr->errmsg) : MG_EINVAL;
  if (err != MG_OK) {
    mg_fail(c->mgr, err, err == MG_EINVAL && fd_of(c) >= 0 ? "the connection has a socket already" : c->mgr->errmsg);
    return false;
  }
  if (mg_tls_missing(c->mgr, &s)) return false;
  c->fd = (void *) (size_t) s.fd;
  c->loc = s.loc;
  c->is_udp = s.is_udp;
  c->is_unix = s.is_unix;
  c->is_listening = 1;
  c->owns_path = s.is_unix && strncmp(url, "fd:", 3) != 0;
  mg_conn_watch(c, MG_POLL_READ);
  return true;
}

void mg_connect_resolved(struct mg_connection *c) {
  c->is_client = 1;
  if (!mg_lookup_also(c, &c->rem, 1, 0)) {
    mg_error_as(c, MG_ENOMEM, "out of memory");
  } else {
    mg_lookup_found(c);
  }
}

bool mg_dscp(struct mg_connection *c, uint8_t dscp) {
  int tos = (dscp & 63) << 2; /* the two bits below are congestion's (RFC 2474, RFC 3168) */
  if (c->loc.is_ip6) return setsockopt(fd_of(c), IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos)) == 0;
  return setsockopt(fd_of(c), IPPROTO_IP, IP_TOS, &tos, sizeof(tos)) == 0;
}

bool mg_multicast_add(struct mg_connection *c, const char *group) {
  struct mg_addr a;
  memset(&a, 0, sizeof(a));
  if (!mg_aton(mg_str(group), &a)) {
    c->mgr->status = MG_EINVAL;
    return false;
  }
  if (a.is_ip6) {
    struct ipv6_mreq six;
    memset(&six, 0, sizeof(six));
    memcpy(&six.ipv6mr_multiaddr, a.addr.ip, 16);
    six.ipv6mr_interface = a.scope_id;
    return setsockopt(fd_of(c), IPPROTO_IPV6, IPV6_JOIN_GROUP, &six, sizeof(six)) == 0;
  } else {
    struct ip_mreq four;
    memset(&four, 0, sizeof(four));
    memcpy(&four.imr_multiaddr, a.addr.ip, 4);
    return setsockopt(fd_of(c), IPPROTO_IP, IP_ADD_MEMBERSHIP, &four, sizeof(four)) == 0;
  }
}
