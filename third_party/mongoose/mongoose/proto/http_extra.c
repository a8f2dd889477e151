/* http_extra.c - what goes out beside the answer: fields for whoever gives it, and interim responses in front of it. */
#include <string.h>
#include <strings.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/status.h"
#include "mongoose/codec/http_chars.h"
#include "mongoose/loop/io.h"
#include "mongoose/proto/http_conn.h"

/* Bytes of the first line of s with its end. */
static size_t line_len(struct mg_str s) {
  const char *eol = (const char *) memchr(s.buf, '\n', s.len);
  return eol != NULL ? (size_t) (eol + 1 - s.buf) : s.len;
}

static bool is_named(struct mg_str line, const char *name, size_t n) {
  return line.len > n && line.buf[n] == ':' && strncasecmp(line.buf, name, n) == 0;
}

static bool has_field(struct mg_str headers, const char *name, size_t n) {
  while (headers.len > 0) {
    size_t len = line_len(headers);
    if (is_named(headers, name, n)) return true;
    headers.buf += len;
    headers.len -= len;
  }
  return false;
}

static bool is_field(struct mg_str name, struct mg_str value) {
  return name.len > 0 && mg_http_skip(name.buf, name.buf + name.len, MG_HTTP_TOKEN) == name.buf + name.len &&
         (value.len == 0 || mg_http_skip_value(value.buf, value.buf + value.len) == value.buf + value.len);
}

static struct mg_http_xchg *unanswered(struct mg_connection *c) {
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_xchg *x = hc != NULL && !c->is_dead ? mg_xchg_target(hc) : NULL;
  if (x != NULL) mg_http_watch_raw(c, x);
  if (x != NULL && x->answer == MG_ANSWER_NONE) return x;
  c->mgr->status = c->is_dead ? MG_ECLOSED : MG_ESTATE;
  return NULL;
}

void mg_http_extra_free(struct mg_http_xchg *x) {
  if (x->extra == NULL) return;
  mg_iobuf_free(x->extra);
  mg_free(x->extra);
  x->extra = NULL;
}

bool mg_http_set_header(struct mg_connection *c, struct mg_str name, struct mg_str value) {
  struct mg_http_xchg *x = unanswered(c);
  struct mg_iobuf *io;
  size_t at = 0;
  char *p;
  if (x == NULL) return false;
  c->mgr->status = MG_EINVAL;
  if (!is_field(name, value)) return false;
  c->mgr->status = MG_ENOMEM;
  if (x->extra == NULL) {
    x->extra = (struct mg_iobuf *) mg_calloc(1, sizeof(*x->extra));
    if (x->extra == NULL) return false;
    x->extra->align = 128;
  }
  io = x->extra;
  if (mg_iobuf_reserve(io, name.len + value.len + 4) == 0) return false;
  while (at < io->len) { /* instead of the one that was set before */
    struct mg_str rest = {(char *) io->buf + at, io->len - at};
    size_t n = line_len(rest);
    if (is_named(rest, name.buf, name.len)) {
      mg_iobuf_del(io, at, n);
    } else {
      at += n;
    }
  }
  p = (char *) io->buf + io->len;
  memcpy(p, name.buf, name.len);
  memcpy(p + name.len, ": ", 2);
  if (value.len > 0) memcpy(p + name.len + 2, value.buf, value.len);
  memcpy(p + name.len + 2 + value.len, "\r\n", 2);
  io->len += name.len + value.len + 4;
  c->mgr->status = MG_OK;
  return true;
}

/* A field that the answer has itself counts. Vary is a list, so both of them do (RFC 9110 12.5.5). */
char *mg_http_put_extra(char *p, const struct mg_http_xchg *x, struct mg_str headers) {
  struct mg_str rest = {(char *) x->extra->buf, x->extra->len};
  while (rest.len > 0) {
    size_t n = line_len(rest), name = (size_t) ((const char *) memchr(rest.buf, ':', n) - rest.buf);
    if (is_named(rest, "Vary", 4) || !has_field(headers, rest.buf, name)) {
      memcpy(p, rest.buf, n);
      p += n;
    }
    rest.buf += n;
    rest.len -= n;
  }
  return p;
}

bool mg_http_interim(struct mg_connection *c, int code, struct mg_str headers) {
  struct mg_http_xchg *x = unanswered(c);
  const char *text = mg_http_status_text(code);
  char line[64];
  size_t n;
  if (x == NULL) return false;
  if (code < 100 || code > 199 || code == 101) { /* 101 is for good */
    c->mgr->status = MG_EINVAL;
    return false;
  }
  if (x->minor == 0) return true; /* RFC 9110 15.2: such a client would take it for the answer */
  memcpy(line, "HTTP/1.1 ", 9);
  line[9] = (char) ('0' + code / 100);
  line[10] = (char) ('0' + code / 10 % 10);
  line[11] = (char) ('0' + code % 10);
  line[12] = ' ';
  n = strlen(text) < 40 ? strlen(text) : 40;
  memcpy(line + 13, text, n);
  memcpy(line + 13 + n, "\r\n", 2);
  n += 15;
  if (!mg_send_reserve(c, n + headers.len + 2)) {
    c->mgr->status = MG_ENOMEM;
    return false;
  }
  mg_send(c, line, n);
  mg_send(c, headers.buf, headers.len);
  mg_send(c, "\r\n", 2);
  x->mark += n + headers.len + 2; /* these bytes are no answer written by hand */
  return true;
}
