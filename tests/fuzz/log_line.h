/* log_line.h - a reader of access-log lines that shares nothing with their writer: strict JSON (RFC 8259) and UTF-8 (RFC 3629), no name
 * twice. What is not as it must be aborts. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MUST(cond) do { if (!(cond)) abort(); } while (0)

enum { LINE_FIELDS = 24 };

struct log_line {
  int n;
  char *name[LINE_FIELDS], *text[LINE_FIELDS]; /* unescaped, UTF-8; numbers and `true` as they are written */
  size_t len[LINE_FIELDS];
};

static inline unsigned line_hex4(const char **p, const char *end) {
  unsigned v = 0;
  for (int i = 0; i < 4; i++, ++*p) {
    char c;
    LINE_MUST(*p < end);
    c = **p;
    LINE_MUST((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'));
    v = v << 4 | (unsigned) (c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
  }
  return v;
}

/* A character at *p that stands for itself, to *out. */
static inline void line_char(const char **p, const char *end, char **out) {
  const unsigned char *s = (const unsigned char *) *p;
  size_t n = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 : *s >= 0xe0 && *s < 0xf0 ? 3 : *s >= 0xf0 && *s < 0xf5 ? 4 : 0;
  LINE_MUST(n > 0 && *s >= 0x20 && (size_t) (end - *p) >= n);
  for (size_t i = 1; i < n; i++) LINE_MUST((s[i] & 0xc0) == 0x80);
  LINE_MUST(!(*s == 0xe0 && s[1] < 0xa0) && !(*s == 0xed && s[1] > 0x9f) && !(*s == 0xf0 && s[1] < 0x90) && !(*s == 0xf4 && s[1] > 0x8f));
  memcpy(*out, *p, n);
  *out += n;
  *p += n;
}

static inline char *line_text(const char **p, const char *end, size_t *len) {
  char *text = (char *) malloc((size_t) (end - *p) + 1), *out = text;
  LINE_MUST(text != NULL && *p < end && *(*p)++ == '"');
  for (;;) {
    LINE_MUST(*p < end);
    if (**p == '"') break;
    if (**p != '\\') {
      line_char(p, end, &out);
      continue;
    }
    LINE_MUST(++*p < end);
    if (*(*p)++ == 'u') {
      unsigned v = line_hex4(p, end);
      LINE_MUST(v < 0x800); /* no line needs more */
      if (v < 0x80) {
        *out++ = (char) v;
      } else {
        *out++ = (char) (0xc0 | v >> 6);
        *out++ = (char) (0x80 | (v & 63));
      }
    } else {
      LINE_MUST((*p)[-1] == '"' || (*p)[-1] == '\\'); /* nor other escapes */
      *out++ = (*p)[-1];
    }
  }
  ++*p;
  *len = (size_t) (out - text);
  *out = '\0';
  return text;
}

/* 0 | [1-9][0-9]* with perhaps a fraction; or true */
static inline char *line_value(const char **p, const char *end, size_t *len) {
  const char *from = *p;
  char *text;
  if (end - *p >= 4 && memcmp(*p, "true", 4) == 0) {
    *p += 4;
  } else {
    LINE_MUST(*p < end && **p >= '0' && **p <= '9');
    if (*(*p)++ != '0') {
      while (*p < end && **p >= '0' && **p <= '9') ++*p;
    }
    if (*p < end && **p == '.') {
      const char *point = (*p)++;
      while (*p < end && **p >= '0' && **p <= '9') ++*p;
      LINE_MUST(*p > point + 1);
    }
  }
  *len = (size_t) (*p - from);
  text = (char *) calloc(1, *len + 1);
  LINE_MUST(text != NULL);
  memcpy(text, from, *len);
  return text;
}

static inline void log_line_read(struct log_line *l, const char *buf, size_t size) {
  const char *p = buf, *end = buf + size;
  LINE_MUST(p < end && *p++ == '{');
  for (l->n = 0;; l->n++) {
    size_t name_len;
    LINE_MUST(l->n < LINE_FIELDS);
    l->name[l->n] = line_text(&p, end, &name_len);
    for (int i = 0; i < l->n; i++) LINE_MUST(strcmp(l->name[i], l->name[l->n]) != 0);
    LINE_MUST(p < end && *p++ == ':' && p < end);
    l->text[l->n] = *p == '"' ? line_text(&p, end, &l->len[l->n]) : line_value(&p, end, &l->len[l->n]);
    LINE_MUST(p < end);
    if (*p++ == '}') break;
    LINE_MUST(p[-1] == ',');
  }
  l->n++;
  LINE_MUST(p == end);
}

/* The number of a field, or -1. */
static inline int log_line_find(const struct log_line *l, const char *name) {
  for (int i = 0; i < l->n; i++) {
    if (strcmp(l->name[i], name) == 0) return i;
  }
  return -1;
}

static inline void log_line_free(struct log_line *l) {
  for (int i = 0; i < l->n; i++) {
    free(l->name[i]);
    free(l->text[i]);
  }
  l->n = 0;
}
