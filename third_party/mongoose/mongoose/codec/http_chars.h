/* http_chars.h - which bytes may stand where in HTTP/1.x (RFC 9110 5.5, 5.6.2; RFC 3986 3.2.2), and fast ways over it.
 *
 * The skip functions look at [p, end) only and return the first byte that does not belong, or end.
 * 16 bytes at a time where SSE2 is there (all of x86-64), one by one elsewhere and near the end.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "mongoose/config.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

MG_BEGIN_DECLS

enum mg_http_char {
  MG_HTTP_TOKEN = 1,  /* letters, digits, !#$%&'*+-.^_`|~ */
  MG_HTTP_VALUE = 2,  /* HTAB, SP, visible, 0x80-0xff */
  MG_HTTP_TARGET = 4, /* 0x21-0x7e without # */
  MG_HTTP_HOST = 8,   /* unreserved, sub-delims and % */
  MG_HTTP_QUOTED = 16 /* MG_HTTP_VALUE without " and \ */
};

extern const uint8_t mg_http_chars[256];

static inline bool mg_http_is(char c, enum mg_http_char which) {
  return (mg_http_chars[(uint8_t) c] & which) != 0;
}

static inline const char *mg_http_skip(const char *p, const char *end, enum mg_http_char which) {
  while (p < end && mg_http_is(*p, which)) p++;
  return p;
}

#if defined(__SSE2__)
/* Bytes of x with lo <= byte < lo + n, as 0xff. SSE2 compares signed bytes only, hence the shift to -128. */
static inline __m128i mg_http_in_range(__m128i x, char lo, int n) {
  return _mm_cmplt_epi8(_mm_add_epi8(x, _mm_set1_epi8((char) (0x80 - lo))), _mm_set1_epi8((char) (n - 128)));
}
#endif

/* Over a field name. The wide step knows letters, digits and '-' only: that is what names are made of. */
static inline const char *mg_http_skip_name(const char *p, const char *end) {
#if defined(__SSE2__)
  for (; end - p >= 16; p += 16) {
    __m128i x = _mm_loadu_si128((const __m128i *) (const void *) p);
    __m128i ok = mg_http_in_range(_mm_or_si128(x, _mm_set1_epi8(0x20)), 'a', 26);
    ok = _mm_or_si128(ok, mg_http_in_range(x, '0', 10));
    ok = _mm_or_si128(ok, _mm_cmpeq_epi8(x, _mm_set1_epi8('-')));
    unsigned other = (unsigned) _mm_movemask_epi8(ok) ^ 0xffffu;
    if (other != 0) {
      p += __builtin_ctz(other);
      break;
    }
  }
#endif
  return mg_http_skip(p, end, MG_HTTP_TOKEN);
}

/* Over a field value: stops at CR and at whatever is illegal. */
static inline const char *mg_http_skip_value(const char *p, const char *end) {
#if defined(__SSE2__)
  for (; end - p >= 16; p += 16) {
    __m128i x = _mm_loadu_si128((const __m128i *) (const void *) p);
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    low = _mm_andnot_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('\t')), low);
    unsigned stop = (unsigned) _mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f))));
    if (stop != 0) return p + __builtin_ctz(stop);
  }
#endif
  return mg_http_skip(p, end, MG_HTTP_VALUE);
}

/* Over a request target: stops at SP and at whatever is illegal. Signed: below 0x21 are also all bytes from 0x80 on. */
static inline const char *mg_http_skip_target(const char *p, const char *end) {
#if defined(__SSE2__)
  for (; end - p >= 16; p += 16) {
    __m128i x = _mm_loadu_si128((const __m128i *) (const void *) p);
    __m128i bad = _mm_or_si128(_mm_cmplt_epi8(x, _mm_set1_epi8(0x21)), _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f)));
    unsigned stop = (unsigned) _mm_movemask_epi8(_mm_or_si128(bad, _mm_cmpeq_epi8(x, _mm_set1_epi8('#'))));
    if (stop != 0) return p + __builtin_ctz(stop);
  }
#endif
  return mg_http_skip(p, end, MG_HTTP_TARGET);
}

/* Is s[0..n) the lower-case word `low`, whatever its case? Exact where s is a token: no other token byte becomes
 * a letter or '-' when bit 5 is set. Elsewhere control bytes would pass as '-' and digits, so check those first.
 * In words, the last one overlapping the one before: with a literal behind `low` this is two or three instructions. */
static inline bool mg_http_word(const char *s, size_t n, const char *low, size_t low_len) {
  uint64_t diff = 0, a8, b8;
  uint32_t a4, b4;
  size_t i = 0;
  if (n != low_len) return false;
  if (low_len >= 8) {
    for (i = 0;; i = i + 16 <= low_len ? i + 8 : low_len - 8) {
      memcpy(&a8, s + i, 8);
      memcpy(&b8, low + i, 8);
      diff |= (a8 | 0x2020202020202020u) ^ b8;
      if (i + 8 == low_len) return diff == 0;
    }
  }
  if (low_len >= 4) {
    for (i = 0;; i = low_len - 4) {
      memcpy(&a4, s + i, 4);
      memcpy(&b4, low + i, 4);
      diff |= (a4 | 0x20202020u) ^ b4;
      if (i + 4 == low_len) return diff == 0;
    }
  }
  for (; i < low_len; i++) diff |= (uint64_t) (uint8_t) ((s[i] | 0x20) ^ low[i]);
  return diff == 0;
}

MG_END_DECLS
