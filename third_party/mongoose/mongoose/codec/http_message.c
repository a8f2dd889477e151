/* http_message.c - small services around a parsed message: find a field, a parameter in it, the status; move it. */
#include <string.h>
#include "mongoose/codec/http_chars.h"
#include "mongoose/codec/http_parse.h"

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char) (c + 32) : c;
}

static bool same(const char *a, const char *b, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

static void move(struct mg_str *s, ptrdiff_t delta) {
  /* through integers: the old buffer may be gone, and pointers into it must not be computed with */
  if (s->buf != NULL) s->buf = (char *) ((uintptr_t) s->buf + (uintptr_t) delta);
}

void mg_http_message_rebase(struct mg_http_message *hm, ptrdiff_t delta) {
  struct mg_str *parts[] = {&hm->method, &hm->uri, &hm->query, &hm->proto, &hm->body, &hm->head, &hm->message};
  for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) move(parts[i], delta);
  for (size_t i = 0; i < MG_MAX_HTTP_HEADERS && hm->headers[i].name.len > 0; i++) {
    move(&hm->headers[i].name, delta);
    move(&hm->headers[i].value, delta);
  }
}

struct mg_str *mg_http_get_header(struct mg_http_message *hm, const char *name) {
  size_t n = strlen(name);
  for (size_t i = 0; i < MG_MAX_HTTP_HEADERS && hm->headers[i].name.len > 0; i++) {
    if (hm->headers[i].name.len == n && same(hm->headers[i].name.buf, name, n)) return &hm->headers[i].value;
  }
  return NULL;
}

static bool separates(char c) {
  return c == ';' || c == ',' || c == ' ' || c == '\t';
}

/* The value that begins at p: quoted, without its quotes but with its backslashes, or up to a separator.
 * NULL as buf when a quote is not closed. */
static struct mg_str parameter_value(const char *p, const char *end) {
  struct mg_str value = {NULL, 0};
  const char *from = p;
  if (p < end && *p == '"') {
    for (from = ++p; p < end && *p != '"'; p++) {
      if (*p == '\\' && end - p > 1) p++;
    }
    if (p >= end) return value;
  } else {
    while (p < end && !separates(*p)) p++;
  }
  value.buf = (char *) from;
  value.len = (size_t) (p - from);
  return value;
}

/* Names of parameters ignore case, names of cookies do not: the exact name wins, wherever it is. */
struct mg_str mg_http_get_header_var(struct mg_str s, struct mg_str v) {
  struct mg_str found = {NULL, 0}, value;
  const char *p = s.buf, *end = s.buf == NULL ? NULL : s.buf + s.len;
  while (p < end) {
    const char *name = p;
    if (separates(*p)) {
      p++;
      continue;
    }
    while (p < end && *p != '=' && !separates(*p)) p++;
    size_t n = (size_t) (p - name);
    if (p == end || *p != '=') continue;
    value = parameter_value(++p, end);
    if (value.buf == NULL) break;
    p = value.buf + value.len;
    if (p < end && *p == '"') p++;
    if (n == 0 || n != v.len) continue;
    if (memcmp(name, v.buf, n) == 0) return value;
    if (found.buf == NULL && same(name, v.buf, n)) found = value;
  }
  return found;
}

int mg_http_status(const struct mg_http_message *hm) {
  int status = 0;
  if (hm->method.len < 5 || memcmp(hm->method.buf, "HTTP/", 5) != 0 || hm->uri.len != 3) return 0;
  for (size_t i = 0; i < 3; i++) {
    if (hm->uri.buf[i] < '0' || hm->uri.buf[i] > '9') return 0;
    status = status * 10 + hm->uri.buf[i] - '0';
  }
  return status;
}

/* Lines end in CRLF only, as in the parser, and its two blank lines in front are skipped here too. */
int mg_http_get_request_len(const unsigned char *buf, size_t len) {
  const char *p = (const char *) buf, *start = p, *end = p + len, *line = p;
  int blank = 0;
  if (len == 0) return 0;
  for (;;) {
    p = mg_http_skip_value(p, end);
    if (p == end) return 0;
    if (*p != '\r') return -1;
    if (end - p < 2) return 0;
    if (p[1] != '\n') return -1;
    if (p == line) {
      if (line > start + 2 * blank) return (int) (p + 2 - start);
      if (++blank > 2) return -1;
    }
    p += 2;
    line = p;
  }
}
