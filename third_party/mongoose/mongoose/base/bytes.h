/* bytes.h - numbers in network byte order, read and written one byte at a time: no alignment is asked
 * for and the machine's own order does not matter. None of these checks a length; a parser that has
 * to uses a reader.
 */
#pragma once
#include <stdint.h>

#define MG_U8P(p) ((const uint8_t *) (p))
#define MG_U32(a, b, c, d)                                                               \
  (((uint32_t) ((a) & 255) << 24) | ((uint32_t) ((b) & 255) << 16) | ((uint32_t) ((c) & 255) << 8) | \
   (uint32_t) ((d) & 255))

#define MG_LOAD_BE16(p) ((uint16_t) ((MG_U8P(p)[0] << 8) | MG_U8P(p)[1]))
#define MG_LOAD_BE24(p) MG_U32(0, MG_U8P(p)[0], MG_U8P(p)[1], MG_U8P(p)[2])
#define MG_LOAD_BE32(p) MG_U32(MG_U8P(p)[0], MG_U8P(p)[1], MG_U8P(p)[2], MG_U8P(p)[3])
#define MG_LOAD_BE64(p) (((uint64_t) MG_LOAD_BE32(p) << 32) | MG_LOAD_BE32(MG_U8P(p) + 4))

#define MG_STORE_BE16(p, n) mg_store_be((uint8_t *) (p), (uint64_t) (n), 2)
#define MG_STORE_BE24(p, n) mg_store_be((uint8_t *) (p), (uint64_t) (n), 3)
#define MG_STORE_BE32(p, n) mg_store_be((uint8_t *) (p), (uint64_t) (n), 4)
#define MG_STORE_BE64(p, n) mg_store_be((uint8_t *) (p), (uint64_t) (n), 8)

static inline void mg_store_be(uint8_t *p, uint64_t n, int size) {
  while (size-- > 0) {
    p[size] = (uint8_t) (n & 255);
    n >>= 8;
  }
}

/* Network to host order and back: the same exchange both ways. */
static inline uint16_t mg_ntohs(uint16_t net) {
  return MG_LOAD_BE16(&net);
}
static inline uint32_t mg_ntohl(uint32_t net) {
  return MG_LOAD_BE32(&net);
}
static inline uint64_t mg_ntohll(uint64_t net) {
  return MG_LOAD_BE64(&net);
}
#define mg_htons(x) mg_ntohs(x)
#define mg_htonl(x) mg_ntohl(x)
#define mg_htonll(x) mg_ntohll(x)

/* MG_IPV4(127, 0, 0, 1) is a value for mg_addr.addr.ip4, MG_IPV6(0, 0, 0, 0, 0, 0, 0, 1) sixteen initialisers
 * for .ip. */
#define MG_IPV4(a, b, c, d) mg_htonl(MG_U32(a, b, c, d))
#define MG_IPV6(a, b, c, d, e, f, g, h)                                                                         \
  (uint8_t) ((a) >> 8), (uint8_t) (a), (uint8_t) ((b) >> 8), (uint8_t) (b), (uint8_t) ((c) >> 8), (uint8_t) (c), \
      (uint8_t) ((d) >> 8), (uint8_t) (d), (uint8_t) ((e) >> 8), (uint8_t) (e), (uint8_t) ((f) >> 8),            \
      (uint8_t) (f), (uint8_t) ((g) >> 8), (uint8_t) (g), (uint8_t) ((h) >> 8), (uint8_t) (h)
