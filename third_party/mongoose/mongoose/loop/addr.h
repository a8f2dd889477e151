/* addr.h - IP addresses and ports as numbers, their text forms, and lists of who may connect. */
#pragma once
#include <stdarg.h>
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

#define MG_ADDR_TEXT 64 /* bytes that hold every text of mg_addr_print, its NUL included */

struct mg_addr {
  union {
    uint8_t ip[16]; /* 4 or 16 bytes, network order */
    uint32_t ip4;
    uint64_t ip6[2];
  } addr;
  uint16_t port;    /* network order */
  uint8_t scope_id; /* IPv6 */
  bool is_ip6;
};

/* Parse "127.0.0.1", "::1", "[::1]", "fe80::1%2", "fe80::1%eth0", "localhost" (127.0.0.1) or "" (any IPv4 address) into
 * addr->addr, scope_id and is_ip6; the port is left alone. False when the text is no address, and *addr is as it
 * was. */
bool mg_aton(struct mg_str str, struct mg_addr *addr);

/* The text of an address. IPv6 is written as eight groups without leading zeros and never shortened
 * ("0:0:0:0:0:0:0:1"), so that equal addresses have equal texts; with a port it is bracketed: "[0:0:0:0:0:0:0:1]:80",
 * "127.0.0.1:80". A scope id is not printed. As snprintf: writes at most len bytes with a NUL, returns the length the
 * whole text has. */
size_t mg_addr_print(const struct mg_addr *a, bool with_port, char *buf, size_t len);

/* For the %M of mg_snprintf and its kin, argument `struct mg_addr *`. mg_print_ip brackets IPv6 too, so that its result
 * can stand in a URL. Both return the number of characters printed. */
size_t mg_print_ip(void (*out)(char, void *), void *arg, va_list *ap);
size_t mg_print_ip_port(void (*out)(char, void *), void *arg, va_list *ap);

/* May this peer connect? `acl` is a comma-separated list of +NET or -NET, where NET is an address with or without
 * /BITS; the last entry that fits decides: "-0.0.0.0/0,+10.0.0.0/8". An empty list allows everybody, any other one
 * allows nobody it does not name. IPv4 peers of an IPv6 socket (::ffff:10.0.0.1) are held against the IPv4 entries.
 * 1: yes, 0: no, -1: the list is malformed, wherever in it that is. */
int mg_check_ip_acl(struct mg_str acl, struct mg_addr *remote_ip);

MG_END_DECLS
