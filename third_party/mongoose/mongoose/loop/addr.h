/* addr.h - IP addresses and ports, and Unix socket paths. */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

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

/* Parse "127.0.0.1", "::1", "[::1]", "fe80::1%2", "localhost" or "" (any address) into addr->addr and is_ip6; the port is
 * left alone. False when the text is no address. */
bool mg_aton(struct mg_str str, struct mg_addr *addr);

MG_END_DECLS
