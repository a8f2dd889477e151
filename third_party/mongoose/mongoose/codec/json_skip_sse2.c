/* json_skip_sse2.c - JSON skipping with what every x86-64 has. */
#if defined(__x86_64__)
#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>

#define SKIP_FN static inline

struct skip_block {
  uint64_t quote, backslash, open, close;
};

SKIP_FN uint64_t mask16(const char *p, __m128i bits, __m128i want) {
  __m128i v = _mm_or_si128(_mm_loadu_si128((const __m128i *) (const void *) p), bits);
  return (uint32_t) _mm_movemask_epi8(_mm_cmpeq_epi8(v, want));
}

/* Which of the 64 bytes, with `bits` set in them, are `c`. */
SKIP_FN uint64_t mask64(const char *p, char bits, char c) { /* written out: gcc -O2 leaves a loop a loop */
  __m128i set = _mm_set1_epi8(bits), want = _mm_set1_epi8(c);
  return mask16(p, set, want) | mask16(p + 16, set, want) << 16 | mask16(p + 32, set, want) << 32 |
         mask16(p + 48, set, want) << 48;
}

SKIP_FN struct skip_block skip_load_text(const char *p) {
  return (struct skip_block){mask64(p, 0, '"'), mask64(p, 0, '\\'), 0, 0};
}

SKIP_FN struct skip_block skip_load(const char *p) {
  struct skip_block b = skip_load_text(p);
  b.open = mask64(p, 0x20, '{'); /* the bit turns [ ] into { } and no other byte into them */
  b.close = mask64(p, 0x20, '}');
  return b;
}

SKIP_FN uint64_t skip_prefix_xor(uint64_t bits) {
  bits ^= bits << 1;
  bits ^= bits << 2;
  bits ^= bits << 4;
  bits ^= bits << 8;
  bits ^= bits << 16;
  return bits ^ bits << 32;
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
