/* proxy_protocol.h - who is behind a proxy, told in front of everything else (HAProxy's PROXY protocol, versions 1 and 2).
 *
 *   v1   "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n"                    at most 107 bytes
 *   v2   12 bytes of signature, version and command, family, length; addresses; TLVs
 *
 * The header is a promise of the peer: read it from peers that were named beforehand, and then always (section 2: a receiver
 * must not guess whether it is there).
 */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

enum mg_proxy_family {
  MG_PROXY_NONE, /* LOCAL, UNKNOWN or unspecified: the connection's own addresses are the true ones */
  MG_PROXY_IP4,
  MG_PROXY_IP6,
  MG_PROXY_UNIX
};

#define MG_PROXY_V1_MAX 107
#define MG_PROXY_V2_MIN 16

struct mg_proxy_header {
  uint8_t version; /* 1 or 2 */
  uint8_t family;  /* enum mg_proxy_family */
  uint8_t is_local; /* v2: the proxy speaks for itself, as in a health check */
  uint8_t src[16], dst[16];    /* 4 or 16 bytes, network order */
  uint16_t src_port, dst_port; /* network order */
  struct mg_str src_path, dst_path; /* MG_PROXY_UNIX; into the input, up to the first NUL */
  struct mg_str authority; /* TLV 0x02, the host name asked for; into the input, "" when absent */
  struct mg_str unique_id; /* TLV 0x05, at most 128 bytes */
};

/* `in` begins at the connection's first byte, every time. Bytes of the header (> 0) when it is whole; 0 when more are needed, and
 * then all of `in` belongs to it; MG_EPROTO when this is none, at the first byte that shows it. A CRC32c that comes with a v2 header
 * is checked, TLVs of other kinds are skipped. */
ptrdiff_t mg_proxy_parse(struct mg_str in, struct mg_proxy_header *h);

/* Bytes the header has in all, as far as `in` tells already: what it pays to read. */
size_t mg_proxy_wants(struct mg_str in);

MG_END_DECLS
