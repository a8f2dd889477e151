/* resolve.h - host names to addresses, without holding up the loop.
 *
 * The system's own resolver is asked (/etc/hosts, DNS, whatever nsswitch.conf says), which blocks, so a few helper threads do it
 * and post what they found back to the loop. Threads exist only while there is something to look up.
 */
#pragma once
#include "mongoose/loop/conn.h"

MG_BEGIN_DECLS

/* A client without a descriptor: look up the host of the URL, tell MG_EV_RESOLVE and connect to what was found, or tell MG_EV_ERROR.
 * The URL is one that mg_connect understands. */
void mg_resolve(struct mg_connection *c, const char *url);
void mg_resolve_cancel(struct mg_connection *c); /* its answer is ignored when it comes */

/* ---- private to loop/ ---- */

enum { MG_LOOKUP_MAX = 8 }; /* addresses of one name that are tried */

/* Addresses to try besides the one that c is connecting to; `n` <= MG_LOOKUP_MAX. False: out of memory. */
bool mg_lookup_also(struct mg_connection *c, const struct mg_addr *addr, unsigned n);
bool mg_lookup_next(struct mg_connection *c, struct mg_addr *to, unsigned *left); /* left: how many remain behind this one */
void mg_lookup_drop(struct mg_connection *c);
void mg_lookup_found(struct mg_connection *c); /* in connect.c: go on with the addresses */

MG_END_DECLS
