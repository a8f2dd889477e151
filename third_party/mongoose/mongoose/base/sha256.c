/* sha256.c - FIPS 180-4 6.2: 64 rounds over each block of 64 bytes; HMAC hashes twice with the key around. */
#include "mongoose/base/sha256.h"

#include <string.h>

#include "mongoose/base/str.h"

/* FIPS 180-4 4.2.2: fractions of the cube roots of the first 64 primes. */
static const uint32_t roots[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t ror(uint32_t x, int n) {
  return x >> n | x << (32 - n);
}

static void mix(uint32_t state[8], const unsigned char *p) {
  uint32_t w[64], s[8];
  for (size_t i = 0; i < 16; i++) w[i] = MG_LOAD_BE32(p + 4 * i);
  for (size_t i = 16; i < 64; i++) {
    uint32_t x = w[i - 15], y = w[i - 2];
    w[i] = w[i - 16] + (ror(x, 7) ^ ror(x, 18) ^ x >> 3) + w[i - 7] + (ror(y, 17) ^ ror(y, 19) ^ y >> 10);
  }
  memcpy(s, state, sizeof(s));
  for (size_t i = 0; i < 64; i++) {
    uint32_t a = s[0], e = s[4];
    uint32_t t = s[7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + roots[i] + w[i];
    uint32_t u = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof(s[0]));
    s[4] += t;
    s[0] = t + u;
  }
  for (size_t i = 0; i < 8; i++) state[i] += s[i];
}

void mg_sha256_init(mg_sha256_ctx *ctx) {
  static const uint32_t start[8] = {
      0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memset(ctx, 0, sizeof(*ctx));
  memcpy(ctx->state, start, sizeof(start));
}

void mg_sha256_update(mg_sha256_ctx *ctx, const unsigned char *data, size_t len) {
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

void mg_sha256_final(unsigned char digest[32], mg_sha256_ctx *ctx) {
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
  for (size_t i = 0; i < 8; i++) MG_STORE_BE32(digest + 4 * i, ctx->state[i]);
  mg_bzero((unsigned char *) ctx, sizeof(*ctx));
}

void mg_sha256(uint8_t dst[32], const uint8_t *data, size_t len) {
  mg_sha256_ctx ctx;
  mg_sha256_init(&ctx);
  mg_sha256_update(&ctx, data, len);
  mg_sha256_final(dst, &ctx);
}

void mg_hmac_sha256(uint8_t dst[32], const uint8_t *key, size_t key_len, const uint8_t *data, size_t data_len) {
  mg_sha256_ctx ctx;
  uint8_t pad[64] = {0};
  size_t i;
  if (key_len > sizeof(pad)) {
    mg_sha256(pad, key, key_len); /* RFC 2104 2: a long key is hashed first */
  } else if (key_len > 0) {
    memcpy(pad, key, key_len);
  }
  for (i = 0; i < sizeof(pad); i++) pad[i] ^= 0x36;
  mg_sha256_init(&ctx);
  mg_sha256_update(&ctx, pad, sizeof(pad));
  mg_sha256_update(&ctx, data, data_len);
  mg_sha256_final(dst, &ctx);
  for (i = 0; i < sizeof(pad); i++) pad[i] ^= 0x36 ^ 0x5c;
  mg_sha256_init(&ctx);
  mg_sha256_update(&ctx, pad, sizeof(pad));
  mg_sha256_update(&ctx, dst, 32);
  mg_sha256_final(dst, &ctx);
  mg_bzero(pad, sizeof(pad));
}
