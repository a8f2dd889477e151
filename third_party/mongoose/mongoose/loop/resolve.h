/* resolve.h - host names to addresses, without holding up the loop.
 *
 * The system's own resolver is asked (/etc/hosts, DNS, whatever nsswitch.conf says), which blocks, so a few helper threads do it
 * and post what they found back to the loop. Threads exist only while there is something to look up.
 */
#pragma once
#include "mongoose/loop/conn.h"

MG_BEGIN_DECLS

/* With MG_EV_RESOLVE: what a name stands for, in the order in which it should be tried. Valid in the handler. */
struct mg_resolved {
  const struct mg_addr *addr;
  unsigned n; /* > 0 */
};

/* A client without a descriptor: look up the host of the URL, tell MG_EV_RESOLVE and connect to what was found, or tell MG_EV_ERROR.
 * The URL is one that mg_connect understands. Any other connection: mg_ask with mgr->dnstimeout. */
void mg_resolve(struct mg_connection *c, const char *url);
void mg_resolve_cancel(struct mg_connection *c); /* its answer is ignored when it comes */

/* Ours: what does the host of the URL (or the bare name) stand for? Any connection or listener may ask, one question at a time (a
 * new one takes the place of the old). Told by the loop, once: MG_EV_RESOLVE, or MG_EV_ERROR "resolve NAME: reason", after which
 * the connection goes on; nothing when it closes first. The port told is the URL's, 0 when it has none.
 * timeout_ms 0: as long as the system's resolver takes. False, mgr->status and
 * errmsg say why: nothing will be told. */
bool mg_ask(struct mg_connection *c, const char *url, uint32_t timeout_ms);
void mg_ask_cancel(struct mg_connection *c);

/* ---- private to loop/ ---- */

enum { MG_LOOKUP_MAX = 8 }; /* addresses of one name that are tried */

/* Addresses of the peer, `at` of which have been tried or are; `n` <= MG_LOOKUP_MAX. False: out of memory. */
bool mg_lookup_also(struct mg_connection *c, const struct mg_addr *addr, unsigned n, unsigned at);
void mg_lookup_told(struct mg_connection *c); /* MG_EV_RESOLVE for the way to a peer */
bool mg_lookup_next(struct mg_connection *c, struct mg_addr *to, unsigned *left); /* left: how many remain behind this one */
void mg_lookup_drop(struct mg_connection *c);
void mg_lookup_found(struct mg_connection *c); /* in connect.c: go on with the addresses */

MG_END_DECLS
