/* json_value.c - values found by json.c as C types: numbers rounded correctly, strings in memory of the caller. */
#include <errno.h>
#include <float.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mongoose/base/alloc.h"
#include "mongoose/codec/json.h"

/* 767 digits decide how any decimal number rounds to a double; one more stands for all that follow (sticky). */
enum { DIGITS_MAX = 768 };

/* A number is 0.DIGITS * 10^point, without zeros in front. No digits: it is zero. */
struct decimal {
  bool negative;
  int n;
  long long point;
  char digits[DIGITS_MAX];
};

/* The exponent behind `e`, kept where adding the length of any document to it does not overflow. */
static long long read_exponent(const char *p, const char *end) {
  bool negative = p < end && *p == '-';
  long long e = 0;
  p += p < end && (*p == '-' || *p == '+');
  for (; p < end; p++) {
    if (e < LLONG_MAX / 1000) e = e * 10 + (*p - '0');
  }
  return negative ? -e : e;
}

/* `tok` is a number by the grammar: mg_json_find saw to that. */
static void read_decimal(struct mg_str tok, struct decimal *d) {
  const char *p = tok.buf, *end = tok.buf + tok.len;
  bool in_fraction = false;
  d->negative = *p == '-';
  d->n = 0;
  d->point = 0;
  for (p += d->negative; p < end && *p != 'e' && *p != 'E'; p++) {
    if (*p == '.') {
      in_fraction = true;
    } else if (*p == '0' && d->n == 0) {
      d->point -= in_fraction;
    } else {
      d->point += !in_fraction;
      if (d->n < DIGITS_MAX) {
        d->digits[d->n++] = *p;
      } else if (*p != '0') {
        d->digits[DIGITS_MAX - 1] = '1'; /* may replace a digit, but only one that no rounding depends on */
      }
    }
  }
  if (p < end) d->point += read_exponent(p + 1, end);
}

static double to_double(const struct decimal *d) {
  static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  long long e = d->point - d->n; /* DIGITS, a whole number, times 10^e */
  double v = 0;
#if FLT_EVAL_METHOD == 0
  /* Up to 15 digits and 10^22 are doubles exactly, so one multiplication or division rounds once: correctly. */
  if (d->n <= 15 && e >= -22 && e <= 22) {
    long long whole = 0;
    for (int i = 0; i < d->n; i++) whole = whole * 10 + (d->digits[i] - '0');
    v = e < 0 ? (double) whole / powers[-e] : (double) whole * powers[e];
    return d->negative ? -v : v;
  }
#endif
  if (d->n > 0) {
    /* Without a decimal point strtod has nothing to ask the locale for. Far out, the exponent alone decides: 0 or
     * infinity. */
    char text[DIGITS_MAX + 16];
    int saved = errno;
    memcpy(text, d->digits, (size_t) d->n);
    snprintf(text + d->n, sizeof(text) - (size_t) d->n, "e%d", (int) (e < -9999 ? -9999 : e > 9999 ? 9999 : e));
    v = strtod(text, NULL);
    errno = saved;
  }
  return d->negative ? -v : v;
}

/* The integer part of `d`, false when it does not fit: the first digit is not 0, so a large point ends the loop. */
static bool to_long(const struct decimal *d, long *out) {
  unsigned long v = 0, limit = d->negative ? (unsigned long) LONG_MAX + 1 : (unsigned long) LONG_MAX;
  for (int i = 0; d->n > 0 && i < d->point; i++) {
    unsigned long digit = i < d->n ? (unsigned long) (d->digits[i] - '0') : 0;
    if (v > (limit - digit) / 10) return false;
    v = v * 10 + digit;
  }
  *out = !d->negative ? (long) v : v > LONG_MAX ? LONG_MIN : -(long) v;
  return true;
}

static bool find_number(struct mg_str json, const char *path, struct decimal *d) {
  struct mg_str tok = mg_json_get_tok(json, path);
  if (tok.len == 0 || (tok.buf[0] != '-' && (tok.buf[0] < '0' || tok.buf[0] > '9'))) return false;
  read_decimal(tok, d);
  return true;
}

bool mg_json_get_num(struct mg_str json, const char *path, double *v) {
  struct decimal d;
  if (!find_number(json, path, &d)) return false;
  if (v != NULL) *v = to_double(&d);
  return true;
}

long mg_json_get_long(struct mg_str json, const char *path, long dflt) {
  struct decimal d;
  long v;
  return find_number(json, path, &d) && to_long(&d, &v) ? v : dflt;
}

bool mg_json_get_bool(struct mg_str json, const char *path, bool *v) {
  struct mg_str tok = mg_json_get_tok(json, path);
  if (tok.len == 0 || (tok.buf[0] != 't' && tok.buf[0] != 'f')) return false;
  if (v != NULL) *v = tok.buf[0] == 't';
  return true;
}

char *mg_json_get_str_n(struct mg_str json, const char *path, size_t *len) {
  struct mg_str tok = mg_json_get_tok(json, path);
  ptrdiff_t n;
  char *text;
  if (len != NULL) *len = 0;
  if (tok.len < 2 || tok.buf[0] != '"') return NULL;
  tok.buf++;
  tok.len -= 2;
  if ((text = (char *) mg_malloc(tok.len + 1)) == NULL) return NULL;
  if ((n = mg_json_unescape_n(tok, text, tok.len + 1)) < 0) {
    mg_free(text);
    return NULL;
  }
  if (len != NULL) *len = (size_t) n;
  return text;
}

char *mg_json_get_str(struct mg_str json, const char *path) {
  return mg_json_get_str_n(json, path, NULL);
}

/* Both decoders work in place, for their output is shorter than their input, and return its length or -1. */
static ptrdiff_t decode_hex(char *text, size_t len) {
  if (len % 2 != 0) return -1;
  for (size_t i = 0; i < len; i++) {
    char c = text[i], letter = (char) (c | 0x20);
    int digit = c >= '0' && c <= '9' ? c - '0' : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
    if (digit < 0) return -1;
    text[i / 2] = (char) (i % 2 == 0 ? digit << 4 : (unsigned char) text[i / 2] | digit);
  }
  return (ptrdiff_t) (len / 2);
}

static int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static ptrdiff_t decode_b64(char *text, size_t len) {
  size_t n = len, out = 0;
  unsigned bits = 0;
  if (len % 4 != 0) return -1;
  for (int pads = 0; pads < 2 && n > 0 && text[n - 1] == '='; pads++) n--;
  for (size_t i = 0; i < n; i++) {
    int digit = base64_digit(text[i]);
    if (digit < 0) return -1;
    bits = (bits << 6 | (unsigned) digit) & 0xffff; /* no more than 14 are pending */
    if (i % 4 != 0) text[out++] = (char) (bits >> (6 - 2 * (i % 4)) & 0xff);
  }
  return (ptrdiff_t) out;
}

static char *get_decoded(struct mg_str json, const char *path, int *len, ptrdiff_t (*decode)(char *, size_t)) {
  size_t n;
  char *text = mg_json_get_str_n(json, path, &n);
  ptrdiff_t decoded = text == NULL ? -1 : decode(text, n);
  if (len != NULL) *len = 0;
  if (decoded < 0 || decoded > INT_MAX) {
    mg_free(text);
    return NULL;
  }
  text[decoded] = '\0';
  if (len != NULL) *len = (int) decoded;
  return text;
}

char *mg_json_get_hex(struct mg_str json, const char *path, int *len) {
  return get_decoded(json, path, len, decode_hex);
}

char *mg_json_get_b64(struct mg_str json, const char *path, int *len) {
  return get_decoded(json, path, len, decode_b64);
}
