/* json_skip_neon.c - JSON skipping with what every 64-bit ARM has. */
#if defined(__aarch64__)
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#define SKIP_FN static inline

struct skip_block {
  uint64_t quote, backslash, open, close;
};

/* There is no movemask: keep one bit of each byte, then add neighbours until 64 bytes are 8. */
SKIP_FN uint64_t mask_of(const uint8x16_t v[4], uint8_t c) {
  static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  uint8x16_t want = vdupq_n_u8(c), weight = vld1q_u8(weights);
  uint8x16_t a = vpaddq_u8(vandq_u8(vceqq_u8(v[0], want), weight), vandq_u8(vceqq_u8(v[1], want), weight));
  uint8x16_t b = vpaddq_u8(vandq_u8(vceqq_u8(v[2], want), weight), vandq_u8(vceqq_u8(v[3], want), weight));
  a = vpaddq_u8(a, b);
  return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(a, a)), 0);
}

SKIP_FN struct skip_block skip_load_text(const char *p) {
  uint8x16_t v[4];
  for (int i = 0; i < 4; i++) v[i] = vld1q_u8((const uint8_t *) p + 16 * i);
  return (struct skip_block){mask_of(v, '"'), mask_of(v, '\\'), 0, 0};
}

SKIP_FN struct skip_block skip_load(const char *p) {
  struct skip_block b = skip_load_text(p);
  uint8x16_t v[4], bit5 = vdupq_n_u8(0x20); /* turns [ ] into { } and no other byte into them */
  for (int i = 0; i < 4; i++) v[i] = vorrq_u8(vld1q_u8((const uint8_t *) p + 16 * i), bit5);
  b.open = mask_of(v, '{');
  b.close = mask_of(v, '}');
  return b;
}

SKIP_FN uint64_t skip_prefix_xor(uint64_t bits) { /* PMULL is optional on ARM, so shifts */
  for (int i = 1; i < 64; i <<= 1) bits ^= bits << i;
  return bits;
}

SKIP_FN size_t skip_count(uint64_t bits) {
  return vaddv_u8(vcnt_u8(vcreate_u8(bits)));
}

#include "mongoose/codec/json_skip_loop.h"

const struct mg_json_skipper mg_json_skip_neon = {"neon", skip_nested, skip_string};
#else
typedef int mg_json_skip_neon_unused; /* ISO C wants something in every file */
#endif
