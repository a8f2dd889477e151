/* utf8_avx2.c - 32 bytes of a text at a time, with AVX2. Chosen at run time: nothing else is built this way.
 *
 * J. Keiser, D. Lemire, "Validating UTF-8 in less than one instruction per byte" (2021): what may be wrong with a byte and the one before
 * it is told by three tables - of the first's high and low half, of the second's high half - whose answers, a set of faults each, are
 * intersected. Whether a byte must be the third or fourth of its character is told by the bytes two and three before it.
 */
#include "mongoose/codec/utf8_fast.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

enum { /* of two bytes in a row */
  SHORT = 1 << 0,      /* a lead, and no continuation behind it */
  LONG = 1 << 1,       /* ASCII, and a continuation behind it */
  OVER_3 = 1 << 2,     /* E0 80…9F */
  LARGE = 1 << 3,      /* F4 90…BF, F5…FF 90…BF */
  SURROGATE = 1 << 4,  /* ED A0…BF */
  OVER_2 = 1 << 5,     /* C0, C1 */
  OVER_4 = 1 << 6,     /* F0 80…8F; with LARGE_80: F5…FF 80…8F */
  TWO = 1 << 7,        /* two continuations: right where a third or fourth byte must be */
  ANY = SHORT | LONG | TWO, /* these do not look at the low half */
};
#define ROW(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)                                                                    \
  _mm256_setr_epi8((char) (a), (char) (b), (char) (c), (char) (d), (char) (e), (char) (f), (char) (g), (char) (h), (char) (i), \
                   (char) (j), (char) (k), (char) (l), (char) (m), (char) (n), (char) (o), (char) (p), (char) (a), (char) (b), \
                   (char) (c), (char) (d), (char) (e), (char) (f), (char) (g), (char) (h), (char) (i), (char) (j), (char) (k), \
                   (char) (l), (char) (m), (char) (n), (char) (o), (char) (p))

static inline AVX2 __m256i high_half(__m256i v) {
  return _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
}

/* Non-zero bytes where `now`, with `before` in front of it, is wrong. */
static inline AVX2 __m256i faults(__m256i before, __m256i now) {
  const __m256i by_first_high = ROW(LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, TWO, TWO, TWO, TWO, SHORT | OVER_2, SHORT,
                                    SHORT | OVER_3 | SURROGATE, SHORT | LARGE | OVER_4);
  const __m256i by_first_low = ROW(ANY | OVER_2 | OVER_3 | OVER_4, ANY | OVER_2, ANY, ANY, ANY | LARGE, ANY | LARGE | OVER_4,
                                   ANY | LARGE | OVER_4, ANY | LARGE | OVER_4, ANY | LARGE | OVER_4, ANY | LARGE | OVER_4,
                                   ANY | LARGE | OVER_4, ANY | LARGE | OVER_4, ANY | LARGE | OVER_4, ANY | LARGE | OVER_4 | SURROGATE,
                                   ANY | LARGE | OVER_4, ANY | LARGE | OVER_4);
  const __m256i by_second_high = ROW(SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, LONG | TWO | OVER_2 | OVER_3 | OVER_4,
                                     LONG | TWO | OVER_2 | OVER_3 | LARGE, LONG | TWO | OVER_2 | SURROGATE | LARGE,
                                     LONG | TWO | OVER_2 | SURROGATE | LARGE, SHORT, SHORT, SHORT, SHORT);
  __m256i joint = _mm256_permute2x128_si256(before, now, 0x21);
  __m256i one = _mm256_alignr_epi8(now, joint, 15), two = _mm256_alignr_epi8(now, joint, 14), three = _mm256_alignr_epi8(now, joint, 13);
  __m256i low = _mm256_and_si256(one, _mm256_set1_epi8(15));
  __m256i pair = _mm256_and_si256(_mm256_and_si256(_mm256_shuffle_epi8(by_first_high, high_half(one)), _mm256_shuffle_epi8(by_first_low, low)),
                                  _mm256_shuffle_epi8(by_second_high, high_half(now)));
  /* The top bit, TWO's, is set where E0…FF is two before, or F0…FF three. */
  __m256i third = _mm256_subs_epu8(two, _mm256_set1_epi8((char) (0xE0 - 0x80)));
  __m256i fourth = _mm256_subs_epu8(three, _mm256_set1_epi8((char) (0xF0 - 0x80)));
  __m256i must = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char) 0x80));
  return _mm256_xor_si256(must, pair);
}

/* A lead among the last three bytes whose character goes on behind them. */
static size_t cut_off(const uint8_t *end) {
  size_t i;
  for (i = 1; i <= 3; i++) {
    uint8_t c = end[-(ptrdiff_t) i];
    if (c >= 0xC0) return i < (c >= 0xF0 ? 4u : c >= 0xE0 ? 3u : 2u) ? i : 0;
    if (c < 0x80) return 0;
  }
  return 0;
}

AVX2 const uint8_t *mg_utf8_skip_avx2(const uint8_t *p, const uint8_t *end) {
  __m256i before = _mm256_setzero_si256(), wrong = before;
  while (end - p >= 64) {
    __m256i a = _mm256_loadu_si256((const __m256i *) (const void *) p);
    __m256i b = _mm256_loadu_si256((const __m256i *) (const void *) (p + 32));
    wrong = _mm256_or_si256(wrong, faults(before, a));
    if (_mm256_movemask_epi8(b) != 0 || _mm256_movemask_epi8(a) < 0) { /* else b is ASCII, and a ends with some */
      wrong = _mm256_or_si256(wrong, faults(a, b));
    }
    if (!_mm256_testz_si256(wrong, wrong)) return NULL;
    before = b;
    p += 64;
  }
  return p - cut_off(p);
}
#endif
