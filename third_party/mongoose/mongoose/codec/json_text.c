/* json_text.c - what the text between two quotes means (RFC 8259 7). */
#include <string.h>
#include "mongoose/codec/json.h"

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* The number of \uXXXX at `at`, -1 when that is not what is there. */
static long read_unit(struct mg_str s, size_t at) {
  long unit = 0;
  if (s.len - at < 6 || s.buf[at] != '\\' || s.buf[at + 1] != 'u') return -1;
  for (size_t i = at + 2; i < at + 6; i++) {
    int digit = hex_digit(s.buf[i]);
    if (digit < 0) return -1;
    unit = unit * 16 + digit;
  }
  return unit;
}

static size_t write_utf8(long c, char *out) {
  if (c < 0x80) {
    out[0] = (char) c;
    return 1;
  }
  if (c < 0x800) {
    out[0] = (char) (0xc0 | c >> 6);
    out[1] = (char) (0x80 | (c & 0x3f));
    return 2;
  }
  if (c < 0x10000) {
    out[0] = (char) (0xe0 | c >> 12);
    out[1] = (char) (0x80 | (c >> 6 & 0x3f));
    out[2] = (char) (0x80 | (c & 0x3f));
    return 3;
  }
  out[0] = (char) (0xf0 | c >> 18);
  out[1] = (char) (0x80 | (c >> 12 & 0x3f));
  out[2] = (char) (0x80 | (c >> 6 & 0x3f));
  out[3] = (char) (0x80 | (c & 0x3f));
  return 4;
}

/* The escape at *at, which is a backslash: its bytes go to `out`, their number is returned (0: no such escape), *at
 * moves behind. */
static size_t read_escape(struct mg_str s, size_t *at, char out[4]) {
  static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
  const char *name;
  long c, low;
  if (s.len - *at < 2) return 0;
  if (s.buf[*at + 1] != 'u') {
    name = (const char *) memchr(names, s.buf[*at + 1], sizeof(names) - 1);
    if (name == NULL) return 0;
    out[0] = values[name - names];
    *at += 2;
    return 1;
  }
  if ((c = read_unit(s, *at)) < 0) return 0;
  *at += 6;
  if (c >= 0xd800 && c < 0xe000) {
    /* RFC 8259 8.2 leaves lone halves of a pair open; UTF-8 has no form for them (RFC 3629 3). */
    low = c < 0xdc00 ? read_unit(s, *at) : -1;
    if (low >= 0xdc00 && low < 0xe000) {
      c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
      *at += 6;
    } else {
      c = 0xfffd;
    }
  }
  return write_utf8(c, out);
}

ptrdiff_t mg_json_unescape_n(struct mg_str str, char *buf, size_t len) {
  size_t at = 0, out = 0;
  if (buf == NULL || len == 0) return -1;
  while (at < str.len) {
    const char *escape = (const char *) memchr(str.buf + at, '\\', str.len - at);
    size_t plain = escape == NULL ? str.len - at : (size_t) (escape - str.buf) - at, n;
    char bytes[4];
    if (plain >= len - out) return -1; /* the NUL needs a byte too */
    memmove(buf + out, str.buf + at, plain);
    out += plain;
    at += plain;
    if (escape == NULL) break;
    n = read_escape(str, &at, bytes);
    if (n == 0 || n >= len - out) return -1;
    memcpy(buf + out, bytes, n);
    out += n;
  }
  buf[out] = '\0';
  return (ptrdiff_t) out;
}

bool mg_json_unescape(struct mg_str str, char *buf, size_t len) {
  return mg_json_unescape_n(str, buf, len) >= 0;
}

bool mg_json_text_is(struct mg_str escaped, struct mg_str plain) {
  size_t at = 0, done = 0;
  while (at < escaped.len) {
    char bytes[4];
    size_t n = 1;
    bytes[0] = escaped.buf[at];
    if (bytes[0] == '\\') {
      n = read_escape(escaped, &at, bytes);
    } else {
      at++;
    }
    if (n == 0 || plain.len - done < n || memcmp(plain.buf + done, bytes, n) != 0) return false;
    done += n;
  }
  return done == plain.len;
}
