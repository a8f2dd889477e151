#include "mongoose/codec/utf8.h"

#include <string.h>

#include "mongoose/codec/utf8_fast.h"

static const uint64_t HIGH = 0x8080808080808080ull;

/* The first byte that is not ASCII, or the end. */
static const uint8_t *skip_ascii(const uint8_t *p, const uint8_t *end) {
  uint64_t a, b, c, d;
  for (; end - p >= 32; p += 32) {
    memcpy(&a, p, 8), memcpy(&b, p + 8, 8), memcpy(&c, p + 16, 8), memcpy(&d, p + 24, 8);
    if (((a | b | c | d) & HIGH) != 0) break;
  }
  for (; end - p >= 8; p += 8) {
    memcpy(&a, p, 8);
    if ((a & HIGH) != 0) break;
  }
  while (p < end && *p < 0x80) p++;
  return p;
}

static bool continues(uint8_t c) {
  return (c & 0xC0) == 0x80;
}

/* A lead byte: what must follow (RFC 3629 4). */
static bool lead(struct mg_utf8 *u, uint8_t c) {
  u->low = 0x80;
  u->high = 0xBF;
  if (c >= 0xC2 && c <= 0xDF) {
    u->left = 1;
  } else if (c >= 0xE0 && c <= 0xEF) {
    u->left = 2;
    if (c == 0xE0) u->low = 0xA0;  /* else overlong */
    if (c == 0xED) u->high = 0x9F; /* else a surrogate */
  } else if (c >= 0xF0 && c <= 0xF4) {
    u->left = 3;
    if (c == 0xF0) u->low = 0x90;
    if (c == 0xF4) u->high = 0x8F; /* else beyond U+10FFFF */
  } else {
    return false;
  }
  return true;
}

#if defined(__x86_64__)
static bool has_avx2(void) {
  return __builtin_cpu_supports("avx2") != 0;
}
#else
static bool has_avx2(void) {
  return false;
}
static const uint8_t *mg_utf8_skip_avx2(const uint8_t *p, const uint8_t *end) {
  (void) end;
  return p;
}
#endif

bool mg_utf8_feed(struct mg_utf8 *u, struct mg_str in) {
  const uint8_t *p = (const uint8_t *) in.buf, *end = p + in.len;
  if (in.len == 0) return true;
  for (;;) {
    while (u->left > 0) { /* byte by byte: at the start and the end of a piece, and whatever is rare */
      if (p == end) return true;
      if (*p < u->low || *p > u->high) return false;
      u->low = 0x80;
      u->high = 0xBF;
      u->left--;
      p++;
    }
    if (p < end && *p < 0x80) p = skip_ascii(p, end);
    if (end - p >= MG_UTF8_FAST && has_avx2()) {
      p = mg_utf8_skip_avx2(p, end);
      if (p == NULL) return false;
    }
    /* The usual two and three bytes, all of them here. */
    while (end - p >= 3) {
      if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        if (!continues(p[1])) return false;
        p += 2;
      } else if (p[0] >= 0xE1 && p[0] <= 0xEF && p[0] != 0xED) {
        if (!continues(p[1]) || !continues(p[2])) return false;
        p += 3;
      } else {
        break;
      }
      if (p < end && *p < 0x80 && (end - p == 1 || p[1] < 0x80)) break; /* a run of ASCII */
      if (p < end && *p < 0x80) p++;                                    /* a space between words */
    }
    if (p == end) return true;
    if (*p < 0x80) continue;
    if (!lead(u, *p++)) return false;
  }
}
