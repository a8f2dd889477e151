/* str.c - everything here is bytes and ASCII: no locale, no NUL needed. */
#include "mongoose/base/str.h"

#include <string.h>

#include "mongoose/base/alloc.h"

struct mg_str mg_str(const char *s) {
  return mg_str_n(s, s == NULL ? 0 : strlen(s));
}

struct mg_str mg_str_n(const char *s, size_t n) {
  struct mg_str str;
  str.buf = (char *) s; /* Mongoose's field is not const; nobody here writes through it */
  str.len = n;
  return str;
}

static int lower(char c) { /* not tolower(): that one follows the locale */
  return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : (unsigned char) c;
}

int mg_strcmp(const struct mg_str a, const struct mg_str b) {
  size_t n = a.len < b.len ? a.len : b.len;
  int diff = n == 0 ? 0 : memcmp(a.buf, b.buf, n);
  return diff != 0 ? diff : (a.len > b.len) - (a.len < b.len);
}

int mg_strcasecmp(const struct mg_str a, const struct mg_str b) {
  size_t i, n = a.len < b.len ? a.len : b.len;
  for (i = 0; i < n; i++) {
    int diff = lower(a.buf[i]) - lower(b.buf[i]);
    if (diff != 0) return diff;
  }
  return (a.len > b.len) - (a.len < b.len);
}

int mg_casecmp(const char *a, const char *b) {
  return mg_strcasecmp(mg_str(a), mg_str(b));
}

struct mg_str mg_strdup(const struct mg_str s) {
  struct mg_str copy = {NULL, 0};
  char *p = s.buf == NULL || s.len == (size_t) -1 ? NULL : (char *) mg_malloc(s.len + 1);
  if (p == NULL) return copy;
  memcpy(p, s.buf, s.len);
  p[s.len] = '\0';
  return mg_str_n(p, s.len);
}

bool mg_span(struct mg_str s, struct mg_str *a, struct mg_str *b, char delim) {
  const char *at;
  size_t n;
  if (s.buf == NULL || s.len == 0) return false;
  at = (const char *) memchr(s.buf, delim, s.len);
  n = at == NULL ? s.len : (size_t) (at - s.buf);
  if (a != NULL) *a = mg_str_n(s.buf, n);
  if (b != NULL) *b = at == NULL ? mg_str_n(s.buf + n, 0) : mg_str_n(at + 1, s.len - n - 1);
  return true;
}

static unsigned digit(char c) {
  if (c >= '0' && c <= '9') return (unsigned) (c - '0');
  if (c >= 'a' && c <= 'f') return (unsigned) (c - 'a') + 10;
  if (c >= 'A' && c <= 'F') return (unsigned) (c - 'A') + 10;
  return 255;
}

bool mg_str_to_num(struct mg_str str, int base, void *val, size_t val_len) {
  uint64_t n = 0, max;
  size_t i = 0;
  if (val_len != 1 && val_len != 2 && val_len != 4 && val_len != 8) return false;
  max = UINT64_MAX >> (64 - 8 * val_len);
  if (str.len >= 2 && str.buf[0] == '0') {
    int c = lower(str.buf[1]);
    if ((base == 0 || base == 16) && c == 'x') base = 16, i = 2;
    if ((base == 0 || base == 2) && c == 'b') base = 2, i = 2;
  }
  if (base == 0) base = 10;
  if ((base != 2 && base != 8 && base != 10 && base != 16) || i >= str.len) return false;
  for (; i < str.len; i++) {
    unsigned d = digit(str.buf[i]);
    if (d >= (unsigned) base || n > (max - d) / (unsigned) base) return false;
    n = n * (unsigned) base + d;
  }
  if (val_len == 1) {
    uint8_t v = (uint8_t) n;
    memcpy(val, &v, sizeof(v));
  } else if (val_len == 2) {
    uint16_t v = (uint16_t) n;
    memcpy(val, &v, sizeof(v));
  } else if (val_len == 4) {
    uint32_t v = (uint32_t) n;
    memcpy(val, &v, sizeof(v));
  } else {
    memcpy(val, &n, sizeof(n));
  }
  return true;
}

void mg_bzero(volatile unsigned char *buf, size_t len) {
  while (len-- > 0) buf[len] = 0;
}

bool mg_memeq(const void *a, const void *b, size_t len) {
  const volatile unsigned char *p = (const volatile unsigned char *) a, *q = (const volatile unsigned char *) b;
  unsigned char diff = 0;
  for (size_t i = 0; i < len; i++) diff |= (unsigned char) (p[i] ^ q[i]);
  return diff == 0;
}

bool mg_path_is_sane(const struct mg_str path) {
  size_t i, start = 0; /* of the component being read */
  if (path.len > 0 && path.buf[0] == '~') return false;
  for (i = 0; i <= path.len; i++) {
    if (i < path.len && path.buf[i] == '\0') return false;
    if (i < path.len && path.buf[i] != '/' && path.buf[i] != '\\') continue;
    if (i - start == 2 && path.buf[start] == '.' && path.buf[start + 1] == '.') return false;
    start = i + 1;
  }
  return true;
}
