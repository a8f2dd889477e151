/* md5.c - RFC 1321: 64 rounds over each block of 64 bytes. */
#include "mongoose/base/md5.h"

#include <string.h>

#include "mongoose/base/str.h"

/* RFC 1321 3.4: floor(2^32 * abs(sin(i + 1))). */
static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};

static uint32_t rol(uint32_t x, int n) {
  return x << n | x >> (32 - n);
}

static void mix(uint32_t state[4], const unsigned char *p) {
  static const uint8_t turns[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
  uint32_t x[16], a = state[0], b = state[1], c = state[2], d = state[3];
  for (size_t i = 0; i < 16; i++) x[i] = MG_U32(p[4 * i + 3], p[4 * i + 2], p[4 * i + 1], p[4 * i]);
  for (size_t i = 0; i < 64; i++) {
    uint32_t f, t;
    size_t k;
    switch (i / 16) {
      case 0: f = (b & c) | (~b & d), k = i; break;
      case 1: f = (d & b) | (~d & c), k = (5 * i + 1) % 16; break;
      case 2: f = b ^ c ^ d, k = (3 * i + 5) % 16; break;
      default: f = c ^ (b | ~d), k = 7 * i % 16; break;
    }
    t = d;
    d = c;
    c = b;
    b += rol(a + f + x[k] + sines[i], turns[i / 16][i % 4]);
    a = t;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
}

void mg_md5_init(mg_md5_ctx *ctx) {
  static const uint32_t start[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  memset(ctx, 0, sizeof(*ctx));
  memcpy(ctx->state, start, sizeof(start));
}

void mg_md5_update(mg_md5_ctx *ctx, const unsigned char *data, size_t len) {
  size_t have = (size_t) (ctx->len % 64);
  ctx->len += len;
  if (have > 0) {
    size_t n = len < 64 - have ? len : 64 - have;
    if (n > 0) memcpy(ctx->block + have, data, n);
    if (have + n < 64) return;
    mix(ctx->state, ctx->block);
    data += n;
    len -= n;
  }
  for (; len >= 64; data += 64, len -= 64) mix(ctx->state, data);
  if (len > 0) memcpy(ctx->block, data, len);
}

void mg_md5_final(mg_md5_ctx *ctx, unsigned char digest[16]) {
  uint64_t bits = ctx->len * 8;
  size_t have = (size_t) (ctx->len % 64);
  ctx->block[have++] = 0x80;
  if (have > 56) { /* no room left for the length */
    memset(ctx->block + have, 0, 64 - have);
    mix(ctx->state, ctx->block);
    have = 0;
  }
  memset(ctx->block + have, 0, 56 - have);
  for (size_t i = 0; i < 8; i++) ctx->block[56 + i] = (unsigned char) (bits >> (8 * i) & 255);
  mix(ctx->state, ctx->block);
  for (size_t i = 0; i < 16; i++) digest[i] = (unsigned char) (ctx->state[i / 4] >> (8 * (i % 4)) & 255);
  mg_bzero((unsigned char *) ctx, sizeof(*ctx));
}
