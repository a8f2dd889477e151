/* json_skip_avx2.c - JSON skipping with AVX2 and carry-less multiplication. Chosen at run time: nothing else is built
 * this way. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#define SKIP_TARGET __attribute__((target("avx2,pclmul,popcnt,bmi")))
#define SKIP_FN static inline SKIP_TARGET

struct skip_block {
  uint64_t quote, backslash, open, close;
};

SKIP_FN uint64_t mask_of(__m256i low, __m256i high, char c) {
  __m256i want = _mm256_set1_epi8(c);
  uint64_t a = (uint32_t) _mm256_movemask_epi8(_mm256_cmpeq_epi8(low, want));
  uint64_t b = (uint32_t) _mm256_movemask_epi8(_mm256_cmpeq_epi8(high, want));
  return a | b << 32;
}

SKIP_FN struct skip_block skip_load_text(const char *p) {
  __m256i low = _mm256_loadu_si256((const __m256i *) (const void *) p);
  __m256i high = _mm256_loadu_si256((const __m256i *) (const void *) (p + 32));
  return (struct skip_block){mask_of(low, high, '"'), mask_of(low, high, '\\'), 0, 0};
}

SKIP_FN struct skip_block skip_load(const char *p) {
  struct skip_block b = skip_load_text(p);
  __m256i bit5 = _mm256_set1_epi8(0x20); /* turns [ ] into { } and no other byte into them */
  __m256i low = _mm256_or_si256(_mm256_loadu_si256((const __m256i *) (const void *) p), bit5);
  __m256i high = _mm256_or_si256(_mm256_loadu_si256((const __m256i *) (const void *) (p + 32)), bit5);
  b.open = mask_of(low, high, '{');
  b.close = mask_of(low, high, '}');
  return b;
}

SKIP_FN uint64_t skip_prefix_xor(uint64_t bits) { /* a product without carries by all ones is just that */
  __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long) bits), _mm_set1_epi8((char) 0xff), 0);
  return (uint64_t) _mm_cvtsi128_si64(product);
}

SKIP_FN size_t skip_count(uint64_t bits) {
  return (size_t) __builtin_popcountll(bits);
}

#include "mongoose/codec/json_skip_loop.h"

SKIP_TARGET static ptrdiff_t nested(const char *buf, size_t at, size_t len, size_t levels) {
  return skip_nested(buf, at, len, levels);
}
SKIP_TARGET static ptrdiff_t string(const char *buf, size_t at, size_t len) {
  return skip_string(buf, at, len);
}
const struct mg_json_skipper mg_json_skip_avx2 = {"avx2", nested, string};
#else
typedef int mg_json_skip_avx2_unused; /* ISO C wants something in every file */
#endif
