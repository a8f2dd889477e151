/* http_reply.c - heads and bodies of answers, by pointer and length. */
#include <stdarg.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "mongoose/base/clock.h"
#include "mongoose/base/printf.h"
#include "mongoose/base/status.h"
#include "mongoose/loop/io.h"
#include "mongoose/proto/http_encode.h"

enum { HEAD_ROOM = 256 }; /* status line and the fields we add */

/* What the application's own header lines settle already. */
struct own_headers {
  bool date, length, connection, close, transfer, chunked;
  uint64_t content_length;
};

struct mg_str mg_http_date(struct mg_mgr *mgr) {
  struct mg_http_pool *pool = mg_http_pool(mgr);
  struct mg_str s = {NULL, 0};
  if (pool == NULL) return s;
  if (MG_UNLIKELY(mgr->now >= pool->date_until)) {
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t ms = mg_now();
    time_t t = (time_t) (ms / 1000);
    struct tm tm;
    gmtime_r(&t, &tm); /* strftime would speak the process's language */
    pool->date_len = (unsigned) mg_snprintf(pool->date, sizeof(pool->date), "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n",
                                            days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900,
                                            tm.tm_hour, tm.tm_min, tm.tm_sec);
    pool->date_until = mgr->now + 1000 - ms % 1000;
  }
  s.buf = pool->date;
  s.len = pool->date_len;
  return s;
}

static bool has_token(const char *p, const char *end, const char *word) {
  size_t n = strlen(word);
  for (; p + n <= end; p++) {
    if (strncasecmp(p, word, n) == 0) return true;
  }
  return false;
}

/* One line; the length of its name tells which of the four it can be. */
static void look_at_line(const char *p, const char *eol, struct own_headers *own) {
  size_t n = (size_t) (eol - p);
  if (n > 4 && p[4] == ':' && strncasecmp(p, "Date", 4) == 0) {
    own->date = true;
  } else if (n > 10 && p[10] == ':' && strncasecmp(p, "Connection", 10) == 0) {
    own->connection = true;
    own->close = has_token(p + 11, eol, "close");
  } else if (n > 14 && p[14] == ':' && strncasecmp(p, "Content-Length", 14) == 0) {
    const char *d = p + 15;
    own->length = true;
    while (d < eol && (*d == ' ' || *d == '\t')) d++;
    for (; d < eol && *d >= '0' && *d <= '9'; d++) own->content_length = own->content_length * 10 + (uint64_t) (*d - '0');
  } else if (n > 17 && p[17] == ':' && strncasecmp(p, "Transfer-Encoding", 17) == 0) {
    own->transfer = true;
    own->chunked = has_token(p + 18, eol, "chunked");
  }
}

static void look_at(struct mg_str headers, struct own_headers *own) {
  const char *p = headers.buf, *end = headers.len > 0 ? headers.buf + headers.len : p; /* nowhere has no end either */
  memset(own, 0, sizeof(*own));
  while (p < end) {
    const char *eol = (const char *) memchr(p, '\n', (size_t) (end - p));
    if (eol == NULL) eol = end;
    look_at_line(p, eol, own);
    p = eol + 1;
  }
}

/* What an answer written now would belong to. *ok is false when that is nothing, or answered. */
static struct mg_http_xchg *begin(struct mg_connection *c, int code, bool *ok) {
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_xchg *x = hc != NULL ? mg_xchg_target(hc) : NULL;
  *ok = true;
  if (MG_UNLIKELY(c->is_dead)) {
    c->mgr->status = MG_ECLOSED;
    *ok = false;
  } else if (c->proto == &mg_proto_http) {
    if (x != NULL && x->answer < MG_ANSWER_DONE) mg_http_watch_raw(c, x); /* may find that bytes were written by hand */
    if (x == NULL || x->answer != MG_ANSWER_NONE) {
      c->mgr->status = MG_ESTATE;
      *ok = false;
    } else if (MG_UNLIKELY(code >= 100 && code < 200 && code != 101)) { /* RFC 9110 15.2: the client would wait on for the answer */
      c->mgr->status = MG_EINVAL;
      *ok = false;
    } else {
      x->status = (uint16_t) code;
    }
  }
  return x;
}

static char *put(char *p, const char *s, size_t n) {
  memcpy(p, s, n);
  return p + n;
}

static char *put_number(char *p, uint64_t v) {
  char t[20], *e = t + sizeof(t), *s = e;
  do {
    *--s = (char) ('0' + v % 10);
    v /= 10;
  } while (v > 0);
  return put(p, s, (size_t) (e - s));
}

#define PUT(p, literal) put(p, literal, sizeof(literal) - 1)

static char *put_status(char *p, int code) {
  const char *text;
  size_t n;
  if (MG_LIKELY(code == 200)) return PUT(p, "HTTP/1.1 200 OK\r\n");
  p = PUT(p, "HTTP/1.1 ");
  p = put_number(p, (uint64_t) (code < 100 || code > 999 ? 500 : code));
  *p++ = ' ';
  text = mg_http_status_text(code);
  n = strlen(text);
  p = put(p, text, n < 64 ? n : 64);
  return PUT(p, "\r\n");
}

static bool without_body(int code) {
  return (code >= 100 && code < 200) || code == 204 || code == 304;
}

/* Does the connection end with this answer? Settles x->keep_alive. */
static void settle_keep_alive(struct mg_http_xchg *x, const struct own_headers *own) {
  if (own->close || x->early) x->keep_alive = 0;
  if (x->early) x->linger = 1;
}

static char *put_connection(char *p, const struct mg_http_xchg *x, const struct own_headers *own) {
  if (x == NULL || own->connection) return p;
  if (!x->keep_alive) return PUT(p, "Connection: close\r\n");
  if (x->minor == 0) return PUT(p, "Connection: keep-alive\r\n");
  return p;
}

void mg_http_count(struct mg_mgr *mgr, int code) {
  if (code >= 500) {
    mg_count(&mgr->stats.responses_5xx, 1);
  } else if (code >= 400) {
    mg_count(&mgr->stats.responses_4xx, 1);
  }
}

/* Head of a whole answer of `len` bytes, and room for `extra` bytes behind it. NULL: refused. */
static char *whole_head(struct mg_connection *c, int code, struct mg_str headers, const struct own_headers *own, uint64_t len,
                        size_t extra, struct mg_http_xchg **xp) {
  struct mg_http_xchg *x;
  struct mg_str date;
  char *p;
  bool ok;
  x = *xp = begin(c, code, &ok);
  if (!ok) return NULL;
  if (MG_UNLIKELY(x != NULL && x->extra != NULL)) extra += x->extra->len;
  if (!mg_send_reserve(c, HEAD_ROOM + headers.len + extra)) {
    c->mgr->status = MG_ENOMEM;
    return NULL;
  }
  if (x != NULL) {
    settle_keep_alive(x, own);
    /* A length that is not true would make what follows part of this answer, or this answer's rest an answer. */
    if (own->length && own->content_length != len && !x->is_head && !without_body(code)) x->keep_alive = 0;
    /* Nor does a coding other than chunked show its end: only the close does. */
    if (own->transfer && !own->chunked && !x->is_head && !without_body(code)) x->keep_alive = 0;
  }
  p = put_status((char *) c->send.buf + c->send.len, code);
  if (headers.len > 0) p = put(p, headers.buf, headers.len);
  if (MG_UNLIKELY(x != NULL && x->extra != NULL)) p = mg_http_put_extra(p, x, headers);
  if (!own->date) {
    date = mg_http_date(c->mgr);
    p = put(p, date.buf, date.len);
  }
  p = put_connection(p, x, own);
  if (!own->length && !own->transfer && !without_body(code)) {
    p = PUT(p, "Content-Length: ");
    p = put_number(p, len);
    p = PUT(p, "\r\n");
  }
  if (x != NULL && !x->is_head && !without_body(code)) x->body_out = len;
  mg_http_count(c->mgr, code);
  return PUT(p, "\r\n");
}

/* The recipe for a stream: a whole answer with "Transfer-Encoding: chunked", which mg_http_write_chunk goes on with. */
static bool wants_stream(const struct mg_connection *c, const struct own_headers *own) {
  return MG_UNLIKELY(own->chunked) && mg_http_of(c) != NULL;
}

static bool compresses(const struct mg_connection *c) {
  return MG_UNLIKELY(c->listener->compress != NULL);
}

bool mg_http_reply_n(struct mg_connection *c, int code, struct mg_str headers, struct mg_str body) {
  if (compresses(c)) return mg_http_encode_reply(c, code, headers, (struct mg_http_source){body.buf != NULL ? body.buf : "", -1, body.len, NULL, NULL});
  return mg_http_plain_reply(c, code, headers, body);
}

bool mg_http_plain_reply(struct mg_connection *c, int code, struct mg_str headers, struct mg_str body) {
  struct own_headers own;
  struct mg_http_xchg *x;
  char *p;
  bool bodyless;
  look_at(headers, &own);
  if (wants_stream(c, &own)) {
    if (!mg_http_start(c, code, headers)) return false;
    if (body.len == 0) return true;
    mg_http_write_chunk(c, body.buf, body.len);
    mg_http_write_chunk(c, NULL, 0);
    return true;
  }
  p = whole_head(c, code, headers, &own, body.len, body.len, &x);
  if (p == NULL) return false;
  bodyless = (x != NULL && x->is_head) || without_body(code);
  if (!bodyless && body.len > 0) p = put(p, body.buf, body.len);
  c->send.len = (size_t) (p - (char *) c->send.buf);
  if (x != NULL) mg_xchg_done(c, mg_http_of(c), x);
  c->is_resp = 0;
  mg_send_added(c);
  return true;
}

/* The head of a whole answer whose body goes out by reference. *with_body is false when there is to be none after all. */
static bool reply_head(struct mg_connection *c, int code, struct mg_str headers, const struct own_headers *own, uint64_t len,
                       bool *with_body) {
  struct mg_http_xchg *x;
  char *p = whole_head(c, code, headers, own, len, 0, &x);
  if (p == NULL) return false;
  c->send.len = (size_t) (p - (char *) c->send.buf);
  if (x != NULL) mg_xchg_done(c, mg_http_of(c), x);
  c->is_resp = 0;
  mg_send_added(c);
  *with_body = !(x != NULL && x->is_head) && !without_body(code);
  return true;
}

bool mg_http_reply_head(struct mg_connection *c, int code, struct mg_str headers, uint64_t len, bool *with_body) {
  struct own_headers own;
  look_at(headers, &own);
  return reply_head(c, code, headers, &own, len, with_body);
}

static void nothing(void *arg) {
  (void) arg;
}

bool mg_http_reply_ref(struct mg_connection *c, int code, struct mg_str headers, struct mg_str body, void (*done)(void *), void *arg) {
  if (compresses(c)) {
    return mg_http_encode_reply(c, code, headers, (struct mg_http_source){body.buf, -1, body.len, done != NULL ? done : nothing, arg});
  }
  return mg_http_plain_ref(c, code, headers, body, done, arg);
}

bool mg_http_plain_ref(struct mg_connection *c, int code, struct mg_str headers, struct mg_str body, void (*done)(void *), void *arg) {
  struct own_headers own;
  bool with_body = false, ok;
  look_at(headers, &own);
  if (wants_stream(c, &own)) { /* chunks have bytes of ours between them */
    ok = mg_http_plain_reply(c, code, headers, body);
    if (done != NULL) done(arg);
    return ok;
  }
  ok = reply_head(c, code, headers, &own, body.len, &with_body);
  if (ok && with_body) return mg_send_ref(c, body.buf, body.len, done, arg);
  if (done != NULL) done(arg);
  return ok;
}

bool mg_http_reply_file(struct mg_connection *c, int code, struct mg_str headers, int fd, size_t len, void (*done)(void *), void *arg) {
  if (compresses(c)) return mg_http_encode_reply(c, code, headers, (struct mg_http_source){NULL, fd, len, done, arg});
  return mg_http_plain_file(c, code, headers, fd, len, done, arg);
}

bool mg_http_plain_file(struct mg_connection *c, int code, struct mg_str headers, int fd, size_t len, void (*done)(void *), void *arg) {
  struct own_headers own;
  bool with_body = false, ok;
  look_at(headers, &own);
  if (wants_stream(c, &own)) {
    char piece[16384];
    size_t at = 0;
    ok = mg_http_start(c, code, headers);
    while (ok && at < len) {
      ssize_t n = pread(fd, piece, len - at < sizeof(piece) ? len - at : sizeof(piece), (off_t) at);
      if (n <= 0) c->is_closing = 1; /* shorter than promised: cut it */
      if (n <= 0) break;
      mg_http_write_chunk(c, piece, (size_t) n);
      at += (size_t) n;
    }
    if (ok) mg_http_write_chunk(c, NULL, 0);
    done(arg);
    return ok;
  }
  ok = reply_head(c, code, headers, &own, len, &with_body);
  if (ok && with_body) return mg_send_file_ref(c, fd, 0, len, done, arg);
  done(arg);
  return ok;
}

void mg_http_reply(struct mg_connection *c, int code, const char *headers, const char *body_fmt, ...) {
  struct mg_str h = {(char *) (size_t) headers, headers != NULL ? strlen(headers) : 0}, b;
  struct mg_iobuf io = {NULL, 0, 0, 256, NULL};
  va_list ap;
  va_start(ap, body_fmt);
  mg_vxprintf(mg_pfn_iobuf, &io, body_fmt != NULL ? body_fmt : "", &ap);
  va_end(ap);
  b.buf = (char *) io.buf;
  b.len = io.len;
  mg_http_reply_n(c, code, h, b);
  mg_iobuf_free(&io);
}

/* ---- piece by piece ---- */

/* The application's lines without the Transfer-Encoding: how the body is framed is ours to say. */
static char *put_without_transfer(char *p, struct mg_str headers) {
  const char *s = headers.buf, *end = headers.buf + headers.len;
  while (s < end) {
    const char *eol = (const char *) memchr(s, '\n', (size_t) (end - s));
    size_t n = eol != NULL ? (size_t) (eol + 1 - s) : (size_t) (end - s);
    if (n < 18 || strncasecmp(s, "Transfer-Encoding:", 18) != 0) p = put(p, s, n);
    s += n;
  }
  return p;
}

bool mg_http_start(struct mg_connection *c, int code, struct mg_str headers) {
  return compresses(c) ? mg_http_encode_start(c, code, headers) : mg_http_plain_start(c, code, headers);
}

bool mg_http_plain_start(struct mg_connection *c, int code, struct mg_str headers) {
  struct mg_http_conn *hc = mg_http_of(c);
  struct own_headers own;
  struct mg_str date;
  bool ok, last;
  struct mg_http_xchg *x = begin(c, code, &ok);
  char *p;
  if (!ok || x == NULL) {
    if (ok) c->mgr->status = MG_ESTATE;
    return false;
  }
  if (!mg_send_reserve(c, HEAD_ROOM + headers.len + (x->extra != NULL ? x->extra->len : 0))) {
    c->mgr->status = MG_ENOMEM;
    return false;
  }
  look_at(headers, &own);
  last = x->is_head || without_body(code);
  x->framing = last ? MG_FRAME_NONE : own.length ? MG_FRAME_LENGTH : x->minor > 0 ? MG_FRAME_CHUNKED : MG_FRAME_CLOSE;
  x->left = own.content_length;
  if (x->framing == MG_FRAME_CLOSE) x->keep_alive = 0;
  settle_keep_alive(x, &own);
  p = put_status((char *) c->send.buf + c->send.len, code);
  p = put_without_transfer(p, headers);
  if (MG_UNLIKELY(x->extra != NULL)) p = mg_http_put_extra(p, x, headers);
  if (!own.date) {
    date = mg_http_date(c->mgr);
    p = put(p, date.buf, date.len);
  }
  p = put_connection(p, x, &own);
  if (x->minor > 0 && !own.length && !without_body(code)) p = PUT(p, "Transfer-Encoding: chunked\r\n");
  p = PUT(p, "\r\n");
  c->send.len = (size_t) (p - (char *) c->send.buf);
  x->answer = MG_ANSWER_STREAM;
  if (x == hc->cur) c->is_resp = 1;
  mg_http_count(c->mgr, code);
  mg_send_added(c);
  return true;
}

bool mg_http_is_bodiless(const struct mg_connection *c) {
  struct mg_http_conn *hc = mg_http_of(c);
  const struct mg_http_xchg *x = hc != NULL ? mg_xchg_target(hc) : NULL;
  return x != NULL && x->answer == MG_ANSWER_STREAM && x->framing == MG_FRAME_NONE;
}

static void write_chunk(struct mg_connection *c, const char *buf, size_t len) {
  char head[20], *p = head;
  static const char hex[] = "0123456789abcdef";
  int shift = 60;
  while (shift > 0 && (len >> shift & 15) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) *p++ = hex[len >> shift & 15];
  p = PUT(p, "\r\n");
  if (!mg_send_reserve(c, (size_t) (p - head) + len + 2)) {
    c->is_closing = 1; /* a chunk lost in the middle cannot be told otherwise */
    mg_touch(c);
    return;
  }
  mg_send(c, head, (size_t) (p - head));
  mg_send(c, buf, len);
  mg_send(c, "\r\n", 2);
}

void mg_http_put_chunk(struct mg_connection *c, struct mg_http_xchg *x, struct mg_str piece) {
  if (x->framing != MG_FRAME_NONE) x->body_out += piece.len;
  if (x->framing == MG_FRAME_CHUNKED) {
    write_chunk(c, piece.buf, piece.len);
  } else if (x->framing == MG_FRAME_CLOSE) {
    mg_send(c, piece.buf, piece.len);
  }
}

void mg_http_put_end(struct mg_connection *c, const struct mg_http_xchg *x) {
  if (x->framing == MG_FRAME_CHUNKED) write_chunk(c, NULL, 0);
}

void mg_http_write_chunk(struct mg_connection *c, const char *buf, size_t len) {
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_xchg *x = hc != NULL ? mg_xchg_target(hc) : NULL;
  if (c->proto == &mg_proto_http && (x == NULL || x->answer == MG_ANSWER_DONE)) return; /* ended, or never began */
  if (x == NULL || x->answer != MG_ANSWER_STREAM) { /* the head was written by hand, or this is a request: the watcher sees the end */
    write_chunk(c, buf, len);
    if (len == 0) c->is_resp = 0;
    return;
  }
  if (MG_UNLIKELY(x->encoder != NULL)) {
    mg_http_encode_chunk(c, hc, x, buf, len);
    return;
  }
  if (x->framing == MG_FRAME_LENGTH && len > x->left) len = (size_t) x->left; /* more than promised would be read as the next answer */
  if (x->framing != MG_FRAME_NONE) x->body_out += len;
  if (x->framing == MG_FRAME_CHUNKED) {
    write_chunk(c, buf, len);
  } else if (x->framing == MG_FRAME_CLOSE) {
    mg_send(c, buf, len);
  } else if (x->framing == MG_FRAME_LENGTH) {
    mg_send(c, buf, len);
    if (len == 0 && x->left > 0) x->keep_alive = 0; /* less than promised: the close tells the client */
    x->left -= len;
    if (x->left == 0) len = 0;
  }
  if (len == 0) mg_xchg_done(c, hc, x);
}

void mg_http_printf_chunk(struct mg_connection *c, const char *fmt, ...) {
  struct mg_iobuf io = {NULL, 0, 0, 256, NULL};
  va_list ap;
  va_start(ap, fmt);
  mg_vxprintf(mg_pfn_iobuf, &io, fmt, &ap);
  va_end(ap);
  mg_http_write_chunk(c, (char *) io.buf, io.len);
  mg_iobuf_free(&io);
}

void mg_http_cut(struct mg_connection *c) {
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_xchg *x = hc != NULL ? mg_xchg_target(hc) : NULL;
  if (c->is_dead) return;
  if (x != NULL && x->answer == MG_ANSWER_STREAM && x->framing == MG_FRAME_CLOSE) mg_sock_reset_on_close((int) (size_t) c->fd);
  c->is_cut = 1;
  c->is_closing = 1;
  mg_touch(c);
}

/* ---- refusing ---- */

void mg_http_refuse(struct mg_connection *c, struct mg_http_conn *hc, int status, const char *why) {
  struct mg_str headers = {(char *) "Content-Type: text/plain\r\nConnection: close\r\n", 45}, body;
  struct mg_http_xchg *x = hc->cur;
  body.buf = (char *) (size_t) (why != NULL ? why : "");
  body.len = strlen(body.buf);
  x->linger = 1;
  hc->target = NULL;
  mg_xchg_aim(c, hc, x);
  if (x->answer == MG_ANSWER_NONE) {
    bool deferred = x->deferred;
    x->deferred = 0; /* whoever took it over finds it answered */
    mg_http_reply_n(c, status, headers, body);
    x->deferred = deferred;
  }
  x->keep_alive = 0;
  if (hc->hm != NULL) c->hint = 0;
  hc->phase = MG_HTTP_OVER;
  if (x->answer == MG_ANSWER_DONE) mg_http_logged(c, x); /* the connection may linger for long */
  if (hc->queue == NULL) {
    c->is_draining = 1;
    mg_linger(c);
  } else {
    if (x->answer != MG_ANSWER_DONE) { /* cut short in the middle: the close tells */
      mg_http_logged(c, x);
      mg_xchg_done(c, hc, x);
    }
    mg_touch(c);
  }
}
