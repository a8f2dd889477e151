/* printf.c - formats are parsed here, not by the C library, since %m takes its arguments from the middle of the list; only
 * the digits of doubles come from there. */
#include "mongoose/base/printf.h"

#include <locale.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mongoose/base/alloc.h"

/* ---- sinks ---- */

struct text { /* a sink with an end */
  char *buf;
  size_t size, len;
};

static void pfn_text(char ch, void *param) {
  struct text *t = (struct text *) param;
  if (t->len < t->size) t->buf[t->len] = ch;
  t->len++;
}

static size_t iobuf_put(struct mg_iobuf *io, const char *p, size_t n) {
  if (n == (size_t) -1 || !mg_iobuf_reserve(io, n + 1)) return 0;
  memcpy(io->buf + io->len, p, n);
  io->len += n;
  io->buf[io->len] = '\0';
  return n;
}

void mg_pfn_iobuf(char ch, void *iobuf) {
  iobuf_put((struct mg_iobuf *) iobuf, &ch, 1);
}

void mg_pfn_iobuf_noresize(char ch, void *iobuf) {
  struct mg_iobuf *io = (struct mg_iobuf *) iobuf;
  if (io->size - io->len < 1) return;
  io->buf[io->len++] = (unsigned char) ch;
  if (io->len < io->size) io->buf[io->len] = '\0';
}

void mg_pfn_stdout(char ch, void *unused) {
  (void) unused;
  putchar(ch);
}

/* A run of bytes; the sinks we know take it in one piece. */
static size_t put(mg_pfn_t out, void *param, const char *p, size_t n) {
  if (n == 0) return 0;
  if (out == pfn_text) {
    struct text *t = (struct text *) param;
    if (t->len < t->size) memcpy(t->buf + t->len, p, n < t->size - t->len ? n : t->size - t->len);
    t->len += n;
  } else if (out == mg_pfn_iobuf) {
    iobuf_put((struct mg_iobuf *) param, p, n);
  } else {
    for (size_t i = 0; i < n; i++) out(p[i], param);
  }
  return n;
}

static size_t repeat(mg_pfn_t out, void *param, char ch, size_t n) {
  for (size_t i = 0; i < n; i++) out(ch, param);
  return n;
}

/* ---- one conversion ---- */

struct spec {
  bool left, zero, plus, space, alt;
  size_t width;
  int precision; /* -1: none */
  bool counted;  /* the precision came from an argument */
  char size;     /* 'H' for hh, 'h', 'l', 'L' for ll, 'z', or 0 */
};

/* [blanks] prefix [zeros] digits [blanks]; `zeros` are those a precision asks for. */
static size_t put_padded(mg_pfn_t out, void *param, const struct spec *f, const char *prefix, size_t zeros,
                         const char *p, size_t n) {
  size_t prefix_len = strlen(prefix), all = prefix_len + zeros + n, pad = f->width > all ? f->width - all : 0;
  if (f->zero && !f->left) zeros += pad, pad = 0;
  if (!f->left) repeat(out, param, ' ', pad);
  put(out, param, prefix, prefix_len);
  repeat(out, param, '0', zeros);
  put(out, param, p, n);
  if (f->left) repeat(out, param, ' ', pad);
  return prefix_len + zeros + n + pad;
}

static const char *sign_of(const struct spec *f, bool negative) {
  return negative ? "-" : f->plus ? "+" : f->space ? " " : "";
}

static size_t put_number(mg_pfn_t out, void *param, struct spec f, uint64_t v, const char *prefix, unsigned base,
                         bool upper) {
  const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  char buf[24];
  size_t at = sizeof(buf), n;
  for (; v != 0; v /= base) buf[--at] = digits[v % base];
  if (at == sizeof(buf) && f.precision != 0) buf[--at] = '0';
  n = sizeof(buf) - at;
  if (f.precision >= 0) f.zero = false; /* C11 7.21.6.1: a precision switches the 0 flag off */
  return put_padded(out, param, &f, prefix, f.precision > (int) n ? (size_t) f.precision - n : 0, buf + at, n);
}

static int64_t next_signed(char size, va_list *ap) {
  switch (size) {
    case 'H': return (signed char) va_arg(*ap, int);
    case 'h': return (short) va_arg(*ap, int);
    case 'l': return va_arg(*ap, long);
    case 'L': return va_arg(*ap, long long);
    case 'z': return va_arg(*ap, ptrdiff_t);
    default: return va_arg(*ap, int);
  }
}

static uint64_t next_unsigned(char size, va_list *ap) {
  switch (size) {
    case 'H': return (unsigned char) va_arg(*ap, unsigned);
    case 'h': return (unsigned short) va_arg(*ap, unsigned);
    case 'l': return va_arg(*ap, unsigned long);
    case 'L': return va_arg(*ap, unsigned long long);
    case 'z': return va_arg(*ap, size_t);
    default: return va_arg(*ap, unsigned);
  }
}

static size_t put_double(mg_pfn_t out, void *param, struct spec f, double v, char conv) {
  char buf[512], pattern[] = "%.*f"; /* 309 digits before the point, and the 100 we allow behind it */
  const char *point = localeconv()->decimal_point, *p = buf;
  char *at;
  int precision = f.precision > 100 ? 100 : f.precision, n;
  pattern[3] = conv;
  if (precision < 0 && (conv == 'g' || conv == 'G')) {
    for (precision = 15; precision < 17; precision++) { /* 15 digits survive text, 17 survive always */
      snprintf(buf, sizeof(buf), pattern, precision, v);
      if (strtod(buf, NULL) == v) break;
    }
  } else if (precision < 0) {
    precision = 6;
  }
  n = snprintf(buf, sizeof(buf), pattern, precision, v);
  if (n < 0 || n >= (int) sizeof(buf)) return 0; /* cannot be: see above */
  if (point != NULL && strcmp(point, ".") != 0 && *point != '\0' && (at = strstr(buf, point)) != NULL) {
    size_t extra = strlen(point) - 1;
    *at = '.';
    memmove(at + 1, at + 1 + extra, strlen(at + 1 + extra) + 1);
  }
  if (v != v || v - v != 0) f.zero = false; /* no zeros before inf and nan */
  if (*p == '-') p++;
  return put_padded(out, param, &f, sign_of(&f, p != buf), 0, p, strlen(p));
}

static size_t put_string(mg_pfn_t out, void *param, struct spec f, const char *s) {
  size_t n = 0;
  if (s != NULL && f.precision < 0) {
    n = strlen(s);
  } else if (s != NULL && f.counted) {
    n = (size_t) f.precision;
  } else if (s != NULL) {
    n = strnlen(s, (size_t) f.precision);
  }
  f.zero = false;
  return put_padded(out, param, &f, "", 0, s, n);
}

/* ---- the format ---- */

static int parse_int(const char **fmt) {
  int n = 0;
  while (**fmt >= '0' && **fmt <= '9') {
    n = n > 100000 ? n : n * 10 + (**fmt - '0');
    (*fmt)++;
  }
  return n;
}

static const char *parse_spec(const char *fmt, struct spec *f, va_list *ap) {
  memset(f, 0, sizeof(*f));
  f->precision = -1;
  for (;; fmt++) {
    if (*fmt == '-') f->left = true;
    else if (*fmt == '0') f->zero = true;
    else if (*fmt == '+') f->plus = true;
    else if (*fmt == ' ') f->space = true;
    else if (*fmt == '#') f->alt = true;
    else break;
  }
  if (*fmt == '*') {
    int n = va_arg(*ap, int);
    if (n < 0) f->left = true;
    f->width = n < 0 ? (size_t) -(long long) n : (size_t) n;
    fmt++;
  } else {
    f->width = (size_t) parse_int(&fmt);
  }
  if (*fmt == '.' && fmt[1] == '*') {
    f->precision = va_arg(*ap, int);
    if (f->precision < 0) f->precision = -1;
    f->counted = true;
    fmt += 2;
  } else if (*fmt == '.') {
    fmt++;
    f->precision = parse_int(&fmt);
  }
  if ((fmt[0] == 'h' && fmt[1] == 'h') || (fmt[0] == 'l' && fmt[1] == 'l')) {
    f->size = fmt[0] == 'h' ? 'H' : 'L';
    fmt += 2;
  } else if (*fmt == 'h' || *fmt == 'l' || *fmt == 'z' || *fmt == 'j' || *fmt == 't') {
    f->size = *fmt == 'j' ? 'L' : *fmt == 't' ? 'z' : *fmt;
    fmt++;
  }
  return fmt;
}

static size_t put_converted(mg_pfn_t out, void *param, struct spec f, char conv, va_list *ap) {
  char ch;
  switch (conv) {
    case 'd':
    case 'i': {
      int64_t v = next_signed(f.size, ap);
      return put_number(out, param, f, v < 0 ? 0 - (uint64_t) v : (uint64_t) v, sign_of(&f, v < 0), 10, false);
    }
    case 'u': return put_number(out, param, f, next_unsigned(f.size, ap), "", 10, false);
    case 'o': return put_number(out, param, f, next_unsigned(f.size, ap), f.alt ? "0" : "", 8, false);
    case 'x':
    case 'X': {
      uint64_t v = next_unsigned(f.size, ap);
      return put_number(out, param, f, v, !f.alt || v == 0 ? "" : conv == 'x' ? "0x" : "0X", 16, conv == 'X');
    }
    case 'p': return put_number(out, param, f, (uintptr_t) va_arg(*ap, void *), "0x", 16, false);
    case 'f': case 'F': case 'e': case 'E': case 'g': case 'G':
      return put_double(out, param, f, va_arg(*ap, double), conv);
    case 'c':
      ch = (char) va_arg(*ap, int);
      f.zero = false;
      return put_padded(out, param, &f, "", 0, &ch, 1);
    case 's': return put_string(out, param, f, va_arg(*ap, char *));
    case 'M':
    case 'm': {
      mg_pm_t printer = va_arg(*ap, mg_pm_t);
      size_t n = conv == 'm' ? put(out, param, "\"", 1) : 0;
      n += printer(out, param, ap);
      return n + (conv == 'm' ? put(out, param, "\"", 1) : 0);
    }
    default: /* '%' is one of these */
      return put(out, param, &conv, 1);
  }
}

size_t mg_vxprintf(void (*out)(char, void *), void *param, const char *fmt, va_list *ap) {
  size_t total = 0;
  while (*fmt != '\0') {
    size_t plain = strcspn(fmt, "%");
    struct spec f;
    total += put(out, param, fmt, plain);
    fmt += plain;
    if (*fmt == '\0') break;
    fmt = parse_spec(fmt + 1, &f, ap);
    if (*fmt == '\0') break;
    total += put_converted(out, param, f, *fmt++, ap);
  }
  return total;
}

size_t mg_xprintf(void (*out)(char, void *), void *param, const char *fmt, ...) {
  va_list ap;
  size_t n;
  va_start(ap, fmt);
  n = mg_vxprintf(out, param, fmt, &ap);
  va_end(ap);
  return n;
}

size_t mg_vsnprintf(char *buf, size_t len, const char *fmt, va_list *ap) {
  struct text t = {buf, len == 0 ? 0 : len - 1, 0};
  mg_vxprintf(pfn_text, &t, fmt, ap);
  if (len > 0) buf[t.len < t.size ? t.len : t.size] = '\0';
  return t.len;
}

size_t mg_snprintf(char *buf, size_t len, const char *fmt, ...) {
  va_list ap;
  size_t n;
  va_start(ap, fmt);
  n = mg_vsnprintf(buf, len, fmt, &ap);
  va_end(ap);
  return n;
}

char *mg_vmprintf(const char *fmt, va_list *ap) {
  struct mg_iobuf io = {NULL, 0, 0, 64, NULL};
  size_t n = mg_vxprintf(mg_pfn_iobuf, &io, fmt, ap);
  /* A text that lost bytes on the way is no text. The empty one has no memory yet. */
  if (io.len != n || !mg_iobuf_reserve(&io, 1)) {
    mg_iobuf_free(&io);
    return NULL;
  }
  io.buf[io.len] = '\0';
  return (char *) io.buf;
}

char *mg_mprintf(const char *fmt, ...) {
  va_list ap;
  char *s;
  va_start(ap, fmt);
  s = mg_vmprintf(fmt, &ap);
  va_end(ap);
  return s;
}
