/* sha384.c - FIPS 180-4 6.4 and 6.5: SHA-512's 80 rounds over each block of 128 bytes, from another start, cut to 48 bytes. */
#include "mongoose/base/sha384.h"

#include <string.h>

#include "mongoose/base/str.h"

/* FIPS 180-4 4.2.3: fractions of the cube roots of the first 80 primes. */
static const uint64_t roots[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
    0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
    0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
    0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
    0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
    0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
    0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
    0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
    0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
    0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
    0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817};

static uint64_t ror(uint64_t x, int n) {
  return x >> n | x << (64 - n);
}

static void mix(uint64_t state[8], const unsigned char *p) {
  uint64_t w[80], s[8];
  for (size_t i = 0; i < 16; i++) w[i] = MG_LOAD_BE64(p + 8 * i);
  for (size_t i = 16; i < 80; i++) {
    uint64_t x = w[i - 15], y = w[i - 2];
    w[i] = w[i - 16] + (ror(x, 1) ^ ror(x, 8) ^ x >> 7) + w[i - 7] + (ror(y, 19) ^ ror(y, 61) ^ y >> 6);
  }
  memcpy(s, state, sizeof(s));
  for (size_t i = 0; i < 80; i++) {
    uint64_t a = s[0], e = s[4];
    uint64_t t = s[7] + (ror(e, 14) ^ ror(e, 18) ^ ror(e, 41)) + ((e & s[5]) ^ (~e & s[6])) + roots[i] + w[i];
    uint64_t u = (ror(a, 28) ^ ror(a, 34) ^ ror(a, 39)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof(s[0]));
    s[4] += t;
    s[0] = t + u;
  }
  for (size_t i = 0; i < 8; i++) state[i] += s[i];
}

void mg_sha384_init(mg_sha384_ctx *ctx) {
  /* FIPS 180-4 5.3.4: fractions of the square roots of the ninth to sixteenth prime. */
  static const uint64_t start[8] = {
      0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17, 0x152fecd8f70e5939,
      0x67332667ffc00b31, 0x8eb44a8768581511, 0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4};
  memset(ctx, 0, sizeof(*ctx));
  memcpy(ctx->state, start, sizeof(start));
}

void mg_sha384_update(mg_sha384_ctx *ctx, const uint8_t *data, size_t len) {
  size_t have = (size_t) (ctx->len % 128);
  ctx->len += len;
  if (have > 0) {
    size_t n = len < 128 - have ? len : 128 - have;
    if (n > 0) memcpy(ctx->block + have, data, n);
    if (have + n < 128) return;
    mix(ctx->state, ctx->block);
    data += n;
    len -= n;
  }
  for (; len >= 128; data += 128, len -= 128) mix(ctx->state, data);
  if (len > 0) memcpy(ctx->block, data, len);
}

void mg_sha384_final(uint8_t digest[48], mg_sha384_ctx *ctx) {
  uint64_t bytes = ctx->len;
  size_t have = (size_t) (bytes % 128);
  ctx->block[have++] = 0x80;
  if (have > 112) { /* no room left for the length */
    memset(ctx->block + have, 0, 128 - have);
    mix(ctx->state, ctx->block);
    have = 0;
  }
  memset(ctx->block + have, 0, 112 - have);
  MG_STORE_BE64(ctx->block + 112, bytes >> 61);
  MG_STORE_BE64(ctx->block + 120, bytes << 3);
  mix(ctx->state, ctx->block);
  for (size_t i = 0; i < 6; i++) MG_STORE_BE64(digest + 8 * i, ctx->state[i]);
  mg_bzero((unsigned char *) ctx, sizeof(*ctx));
}

void mg_sha384(uint8_t dst[48], const uint8_t *data, size_t len) {
  mg_sha384_ctx ctx;
  mg_sha384_init(&ctx);
  mg_sha384_update(&ctx, data, len);
  mg_sha384_final(dst, &ctx);
}
