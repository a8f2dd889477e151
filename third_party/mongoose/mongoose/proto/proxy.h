/* proxy.h - connections that come through a proxy which tells the client's address in front (PROXY protocol, versions 1 and 2).
 *
 * From the peers that are named the header is required, from all others none is taken. Until it is there the connection has not
 * been accepted as far as handlers are concerned; c->rem is then the client, and mg_proxy_info(c) remembers the rest.
 */
#pragma once
#include "mongoose/loop/conn.h"

MG_BEGIN_DECLS

struct mg_proxied {
  struct mg_addr peer;    /* the proxy: the socket's own peer */
  bool peer_is_unix;
  bool has_addresses;     /* false: LOCAL or UNKNOWN, c->rem is the peer itself */
  bool client_is_unix;    /* the client reached the proxy by a Unix socket: c->rem is zeros */
  uint8_t version;
  struct mg_addr target;  /* what the client connected to; with has_addresses and no Unix socket */
  struct mg_str authority, unique_id; /* with the header, "" when it has none */
};

/* Ask the peers in `nets` (see mg_nets_new) of this listener, TCP or Unix, for a PROXY header. One that is malformed, longer than
 * limits.max_head or not whole after limits.header_timeout closes the connection without a word, unseen by handlers;
 * stats.proxy_errors counts. limits.max_per_address then holds for clients, not for the proxy. Call it right after listening.
 * False: mgr->status is MG_EINVAL or MG_ENOMEM. */
bool mg_proxy_from(struct mg_connection *listener, struct mg_str nets);

/* What the header of this connection said; NULL when it came without. */
const struct mg_proxied *mg_proxy_info(const struct mg_connection *c);

MG_END_DECLS
