/* sha1.c - FIPS 180-4 6.1: 80 rounds over each block of 64 bytes. */
#include "mongoose/base/sha1.h"

#include <string.h>

#include "mongoose/base/str.h"

static uint32_t rol(uint32_t x, int n) {
  return x << n | x >> (32 - n);
}

static void mix(uint32_t state[5], const unsigned char *p) {
  uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
  for (size_t i = 0; i < 16; i++) w[i] = MG_LOAD_BE32(p + 4 * i);
  for (size_t i = 16; i < 80; i++) w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  for (size_t i = 0; i < 80; i++) {
    uint32_t f, k, t;
    switch (i / 20) {
      case 0: f = (b & c) | (~b & d), k = 0x5a827999; break;
      case 1: f = b ^ c ^ d, k = 0x6ed9eba1; break;
      case 2: f = (b & c) | (b & d) | (c & d), k = 0x8f1bbcdc; break;
      default: f = b ^ c ^ d, k = 0xca62c1d6; break;
    }
    t = rol(a, 5) + f + e + k + w[i];
    e = d;
    d = c;
    c = rol(b, 30);
    b = a;
    a = t;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
}

void mg_sha1_init(mg_sha1_ctx *ctx) {
  static const uint32_t start[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  memset(ctx, 0, sizeof(*ctx));
  memcpy(ctx->state, start, sizeof(start));
}

void mg_sha1_update(mg_sha1_ctx *ctx, const unsigned char *data, size_t len) {
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

void mg_sha1_final(unsigned char digest[20], mg_sha1_ctx *ctx) {
  uint64_t bits = ctx->len * 8;
  size_t have = (size_t) (ctx->len % 64);
  ctx->block[have++] = 0x80;
  if (have > 56) { /* no room left for the length */
    memset(ctx->block + have, 0, 64 - have);
    mix(ctx->state, ctx->block);
    have = 0;
  }
  memset(ctx->block + have, 0, 56 - have);
  MG_STORE_BE64(ctx->block + 56, bits);
  mix(ctx->state, ctx->block);
  for (size_t i = 0; i < 5; i++) MG_STORE_BE32(digest + 4 * i, ctx->state[i]);
  mg_bzero((unsigned char *) ctx, sizeof(*ctx));
}
