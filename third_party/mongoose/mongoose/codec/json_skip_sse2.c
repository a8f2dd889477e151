/* json_skip_sse2.c - JSON skipping with what every x86-64 has. */
#if defined(__x86_64__)
#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>

#define SKIP_FN static inline

struct skip_block {
  uint64_t quote, backslash, open, close;
};

SKIP_FN uint64_t mask_of(const __m128i v[4], char c) {
  __m128i want = _mm_set1_epi8(c);
  uint64_t m = 0;
  for (int i = 3; i >= 0; i--) m = m << 16 | (uint32_t) _mm_movemask_epi8(_mm_cmpeq_epi8(v[i], want));
  return m;
}

SKIP_FN struct skip_block skip_load_text(const char *p) {
  __m128i v[4];
  for (int i = 0; i < 4; i++) v[i] = _mm_loadu_si128((const __m128i *) (const void *) (p + 16 * i));
  return (struct skip_block){mask_of(v, '"'), mask_of(v, '\\'), 0, 0};
}

SKIP_FN struct skip_block skip_load(const char *p) {
  struct skip_block b = skip_load_text(p);
  __m128i v[4], bit5 = _mm_set1_epi8(0x20); /* turns [ ] into { } and no other byte into them */
  for (int i = 0; i < 4; i++) v[i] = _mm_or_si128(_mm_loadu_si128((const __m128i *) (const void *) (p + 16 * i)), bit5);
  b.open = mask_of(v, '{');
  b.close = mask_of(v, '}');
  return b;
}

SKIP_FN uint64_t skip_prefix_xor(uint64_t bits) {
  for (int i = 1; i < 64; i <<= 1) bits ^= bits << i;
  return bits;
}

SKIP_FN size_t skip_count(uint64_t bits) { /* POPCNT is not in the baseline: sums of 2, 4, 8 bits, then of all bytes */
  bits -= bits >> 1 & 0x5555555555555555u;
  bits = (bits & 0x3333333333333333u) + (bits >> 2 & 0x3333333333333333u);
  bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return (size_t) (bits * 0x0101010101010101u >> 56);
}

#include "mongoose/codec/json_skip_loop.h"

const struct mg_json_skipper mg_json_skip_sse2 = {"sse2", skip_nested, skip_string};
#else
typedef int mg_json_skip_sse2_unused; /* ISO C wants something in every file */
#endif
