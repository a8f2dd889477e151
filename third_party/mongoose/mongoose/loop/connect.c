/* connect.c - the way to a peer: its name, its addresses one after the other, the first that answers.
 *
 *   mg_connect_with --> (mg_resolve --> MG_EV_RESOLVE) --> try an address --failed, and there is another--> try that
 *                                                             `--> MG_EV_CONNECT or MG_EV_ERROR
 */
#include <string.h>

#include "mongoose/base/bytes.h"
#include "mongoose/base/status.h"
#include "mongoose/loop/io.h"
#include "mongoose/loop/resolve.h"
#include "mongoose/loop/sock_url.h"

static int fd_of(const struct mg_connection *c) {
  return (int) (size_t) c->fd;
}

/* Bytes to the peer can be waited for, or are coming. `left`: addresses behind this one, which want a share of the time. */
static void under_way(struct mg_connection *c, const struct mg_sock *s, unsigned left) {
  uint64_t now = c->mgr->now, due = c->connect_due;
  c->is_connecting = 1;
  if (c->is_udp || !s->connecting) {
    mg_conn_watch(c, MG_POLL_READ);
    mg_conn_ready(c); /* MG_EV_CONNECT comes from the loop, as for everybody */
  } else {
    mg_conn_watch(c, MG_POLL_READ | MG_POLL_WRITE);
    if (due != 0) mg_read_due(c, left == 0 || due <= now ? due : now + (due - now) / (left + 1));
  }
}

/* The next address that a socket can be opened for. False, `err` says why for the last of them: there is none. */
static bool try_next(struct mg_connection *c, char err[MG_SOCK_ERR]) {
  struct mg_addr to;
  struct mg_sock s;
  unsigned left;
  while (mg_lookup_next(c, &to, &left)) {
    if (fd_of(c) >= 0) {
      mg_conn_watch(c, 0);
      mg_sock_close(fd_of(c));
      c->fd = (void *) (size_t) -1;
    }
    c->is_connecting = 0;
    if (mg_sock_connect_to(&s, &to, c->is_udp, err) != MG_OK) continue;
    c->fd = (void *) (size_t) s.fd;
    c->loc = s.loc;
    c->rem = s.rem;
    under_way(c, &s, left);
    return true;
  }
  return false;
}

void mg_lookup_found(struct mg_connection *c) {
  char err[MG_SOCK_ERR] = "no address";
  mg_lookup_told(c);
  if (!c->is_closing && !try_next(c, err)) mg_error_as(c, MG_EIO, "%s", err);
}

void mg_connect_done(struct mg_connection *c) {
  char why[MG_SOCK_ERR], next[MG_SOCK_ERR];
  int status;
  if (!c->is_udp && mg_sock_pending(fd_of(c))) return; /* somebody else's readiness */
  status = c->is_udp ? MG_OK : mg_sock_connected(fd_of(c), why);
  if (status != MG_OK && c->lookup != NULL && try_next(c, next)) return;
  c->is_connecting = 0;
  mg_read_due(c, 0);
  mg_touch(c);
  if (c->lookup != NULL) mg_lookup_drop(c);
  if (status != MG_OK) {
    mg_error_as(c, status, "%s", why);
    return;
  }
  c->is_writable = 1;
  mg_call(c, MG_EV_CONNECT, NULL);
  if (MG_UNLIKELY(c->is_tls)) mg_tls_begins(c);
}

void mg_connect_late(struct mg_connection *c) {
  char err[MG_SOCK_ERR];
  if (c->is_connecting && try_next(c, err)) return;
  mg_count(&c->mgr->stats.timeouts, 1);
  mg_error_as(c, MG_ETIMEDOUT, c->is_resolving ? "host name lookup timed out" : "connect timed out");
}

/* RFC 6761 6.3: no name server is asked for it, and both loopback addresses are meant. The first is being connected to. */
static void also_ip6_loopback(struct mg_connection *c, const char *url) {
  struct mg_sock_url u;
  struct mg_addr both[2];
  char err[MG_SOCK_ERR];
  if (mg_sock_url_parse(&u, url, err) != MG_OK || u.bracketed || mg_strcasecmp(u.host, mg_str("localhost")) != 0) return;
  memset(both, 0, sizeof(both));
  both[0] = c->rem;
  both[1].is_ip6 = true;
  both[1].addr.ip[15] = 1;
  both[1].port = c->rem.port;
  (void) mg_lookup_also(c, both, 2, 1); /* without memory there is one address */
}

struct mg_connection *mg_connect_with(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data,
                                      mg_event_handler_t pfn, void *pfn_data, const struct mg_limits *limits) {
  struct mg_connection *c;
  struct mg_sock s;
  char err[MG_SOCK_ERR];
  int status;
  if (!mg_mgr_is_open(mgr)) return NULL;
  status = mg_sock_connect(&s, url, err);
  if (status == MG_EINVAL || status == MG_ESCHEME || status == MG_ENOMEM) { /* the caller's fault: say so at once */
    mg_fail(mgr, status, err);
    return NULL;
  }
  if (mg_tls_missing(mgr, &s)) return NULL;
  if (status != MG_OK) s.fd = -1;
  c = mg_conn_start(mgr, &s, mg_listener_new(limits), fn, fn_data);
  if (c == NULL) return NULL;
  c->is_client = 1;
  c->pfn = pfn;
  c->pfn_data = pfn_data;
  if (s.is_tls) c->tls_name = mg_strdup(s.host).buf;
  if (c->listener->limits.connect_timeout > 0) c->connect_due = mgr->now + c->listener->limits.connect_timeout;
  mg_call(c, MG_EV_OPEN, NULL);
  if (status == MG_ERESOLVE) {
    if (c->connect_due != 0) mg_read_due(c, c->connect_due);
    mg_resolve(c, url);
    return c;
  }
  if (!c->is_udp && !c->is_unix) also_ip6_loopback(c, url);
  if (status != MG_OK) { /* the network's fault: an event, as always */
    char next[MG_SOCK_ERR];
    if (c->lookup == NULL || !try_next(c, next)) mg_error_as(c, status, "%s", err);
    return c;
  }
  mg_lookup_told(c);
  under_way(c, &s, c->lookup != NULL ? 1 : 0);
  return c;
}

struct mg_connection *mg_connect_svc(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data,
                                     mg_event_handler_t pfn, void *pfn_data) {
  return mg_connect_with(mgr, url, fn, fn_data, pfn, pfn_data, NULL);
}

struct mg_connection *mg_connect(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data) {
  return mg_connect_with(mgr, url, fn, fn_data, NULL, NULL, NULL);
}
