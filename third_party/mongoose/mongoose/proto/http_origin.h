/* http_origin.h - who asked, by which scheme and for which host, seen through the proxies that are trusted.
 *
 * A proxy adds to the right end of a list whom it was asked by. So the list is walked from there: each address that is itself
 * trusted lets the walk go on, the first that is not is the client. What stands left of it was written by the client and is not
 * looked at, and without a trusted peer nothing is.
 */
#pragma once
#include "mongoose/proto/http.h"

MG_BEGIN_DECLS

enum { /* header fields that the trusted proxies set on every request, replacing or appending to what the client sent */
  MG_TRUST_FORWARDED = 1,   /* RFC 7239: for, proto, host */
  MG_TRUST_X_FOR = 2,       /* X-Forwarded-For */
  MG_TRUST_X_PROTO = 4,     /* X-Forwarded-Proto */
  MG_TRUST_X_HOST = 8       /* X-Forwarded-Host */
};

struct mg_http_origin {
  struct mg_addr addr;  /* port 0 when it was not told */
  bool known;           /* false: a Unix socket's peer, or a trusted proxy hides the address ("unknown", "_secret", malformed) */
  struct mg_str scheme; /* as told, or "http", "https"; static or in the message */
  struct mg_str host;   /* as told, of the target in absolute-form (RFC 9112 3.2.2), or the Host field; may be empty */
};

/* Peers in `nets` (see mg_nets_new) of this HTTP listener are proxies that set `fields`. MG_TRUST_FORWARDED goes with no other: who
 * sets one kind lets the other through as the client sent it. False, with mgr->status: MG_EINVAL, MG_ENOMEM. */
bool mg_http_trust(struct mg_connection *listener, struct mg_str nets, unsigned fields);

void mg_http_origin_of(const struct mg_connection *c, const struct mg_http_message *hm, struct mg_http_origin *o);

MG_END_DECLS
