/* nets.h - a list of networks, read once: from whom a PROXY header is taken, whose Forwarded fields are believed. */
#pragma once
#include "mongoose/loop/addr.h"

MG_BEGIN_DECLS

struct mg_nets; /* immutable */

/* From "127.0.0.1, 10.0.0.0/8, ::1, fe80::/10, unix": addresses with or without /BITS; "unix" is every peer of a Unix socket.
 * NULL when the text is empty or malformed (*err is MG_EINVAL) or memory is out (MG_ENOMEM). */
struct mg_nets *mg_nets_new(struct mg_str text, int *err);
void mg_nets_free(struct mg_nets *n);

/* Is that peer in it? `a` NULL: the peer of a Unix socket. n may be NULL: nobody is. IPv4 that came through an IPv6 socket
 * (::ffff:10.0.0.1) is held against the IPv4 networks. */
bool mg_nets_has(const struct mg_nets *n, const struct mg_addr *a);

MG_END_DECLS
