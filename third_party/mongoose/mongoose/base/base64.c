/* base64.c - three bytes are four letters of six bits. Decoding counts the padding first, so that one loop serves both alphabets. */
#include "mongoose/base/base64.h"

#include <stdbool.h>
#include <stdint.h>

static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char urlsafe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t encode(const unsigned char *p, size_t n, char *buf, size_t buflen, const char *abc, bool pad) {
  size_t tail = n % 3, need, i, o = 0;
  if (n / 3 > ((size_t) -1 - 8) / 4) return 0;
  need = n / 3 * 4 + (tail == 0 ? 0 : pad ? 4 : tail + 1);
  if (buflen > 0) buf[0] = '\0';
  if (need >= buflen) return 0;
  for (i = 0; i + 3 <= n; i += 3) {
    uint32_t v = (uint32_t) p[i] << 16 | (uint32_t) p[i + 1] << 8 | p[i + 2];
    buf[o++] = abc[v >> 18];
    buf[o++] = abc[v >> 12 & 63];
    buf[o++] = abc[v >> 6 & 63];
    buf[o++] = abc[v & 63];
  }
  if (tail > 0) {
    uint32_t v = (uint32_t) p[i] << 16 | (tail == 2 ? (uint32_t) p[i + 1] << 8 : 0);
    buf[o++] = abc[v >> 18];
    buf[o++] = abc[v >> 12 & 63];
    if (tail == 2) buf[o++] = abc[v >> 6 & 63];
    while (o < need) buf[o++] = '=';
  }
  buf[o] = '\0';
  return o;
}

static int value(unsigned char c, const char *abc) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == (unsigned char) abc[62]) return 62;
  return c == (unsigned char) abc[63] ? 63 : -1;
}

static size_t decode(const char *src, size_t n, char *dst, size_t dstlen, const char *abc, bool pad) {
  size_t i, o = 0, size;
  uint32_t bits = 0;
  if (dstlen > 0) dst[0] = '\0';
  if (pad) {
    if (n % 4 != 0) return 0;
    for (i = 0; i < 2 && n > 0 && src[n - 1] == '='; i++) n--;
  }
  size = n / 4 * 3 + (n % 4 == 0 ? 0 : n % 4 - 1);
  if (n % 4 == 1 || size >= dstlen) return 0;
  for (i = 0; i < n; i++) {
    int v = value((unsigned char) src[i], abc);
    if (v < 0) break;
    bits = bits << 6 | (uint32_t) v;
    if (i % 4 > 0) dst[o++] = (char) (unsigned char) (bits >> (6 - 2 * (i % 4)) & 255);
  }
  /* Garbage, or an end whose spare bits say something: two texts would mean the same bytes. */
  if (i < n || (n % 4 == 2 && (bits & 15) != 0) || (n % 4 == 3 && (bits & 3) != 0)) {
    dst[0] = '\0';
    return 0;
  }
  dst[o] = '\0';
  return o;
}

size_t mg_base64_encode(const unsigned char *p, size_t n, char *buf, size_t buflen) {
  return encode(p, n, buf, buflen, plain, true);
}

size_t mg_base64url_encode(const unsigned char *p, size_t n, char *buf, size_t buflen) {
  return encode(p, n, buf, buflen, urlsafe, false);
}

size_t mg_base64_decode(const char *src, size_t n, char *dst, size_t dstlen) {
  return decode(src, n, dst, dstlen, plain, true);
}

size_t mg_base64url_decode(const char *src, size_t n, char *dst, size_t dstlen) {
  return decode(src, n, dst, dstlen, urlsafe, false);
}

/* n % 4 says how many bytes of the group of three have come; what is left of their bits waits at to[n], plain. */
static size_t update(unsigned char byte, char *to, size_t n, const char *abc) {
  unsigned left = n % 4 == 0 ? 0 : (unsigned char) to[n];
  switch (n % 4) {
    case 0:
      to[n++] = abc[byte >> 2];
      to[n] = (char) (byte & 3);
      return n;
    case 1:
      to[n++] = abc[left << 4 | byte >> 4];
      to[n] = (char) (byte & 15);
      return n;
    default:
      to[n++] = abc[left << 2 | byte >> 6];
      to[n++] = abc[byte & 63];
      return n;
  }
}

static size_t last(char *to, size_t n, const char *abc) {
  unsigned left;
  if (n % 4 == 0) return n; /* to[n] is nobody's */
  left = (unsigned char) to[n];
  to[n] = abc[n % 4 == 1 ? left << 4 : left << 2];
  return n + 1;
}

size_t mg_base64_update(unsigned char byte, char *to, size_t n) {
  return update(byte, to, n, plain);
}

size_t mg_base64_final(char *to, size_t n) {
  n = last(to, n, plain);
  while (n % 4 != 0) to[n++] = '=';
  to[n] = '\0';
  return n;
}

size_t mg_base64url_update(unsigned char byte, char *to, size_t n) {
  return update(byte, to, n, urlsafe);
}

size_t mg_base64url_final(char *to, size_t n) {
  n = last(to, n, urlsafe);
  to[n] = '\0';
  return n;
}
