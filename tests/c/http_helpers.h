/* http_helpers.h - what a strict client makes of the bytes a server sent: one answer after the other. */
#pragma once
#include "loop_helpers.h"
#include "mongoose/codec/http_chunked.h"
#include "mongoose/proto/http.h"

struct answer {
  int status;
  size_t used; /* bytes of the stream it took */
  char *body;  /* decoded, NUL behind it */
  size_t len;
  bool chunked, keep_alive;
  char head[4096];
};

/* The answer at offset `at`; false when it is not whole (a body until close is whole at the end only). */
static UNUSED bool answer_at(struct peer *p, size_t at, bool to_head, struct answer *a) {
  static const struct mg_http_parse_limits any = {65536, 65536, 65536, MG_MAX_HTTP_HEADERS};
  struct mg_http_parser parser;
  struct mg_http_message hm;
  struct mg_str in;
  int n;
  memset(a, 0, sizeof(*a));
  memset(&parser, 0, sizeof(parser));
  pump(p);
  if (p->buf == NULL || at >= p->len) return false;
  in = mg_str_n(p->buf + at, p->len - at);
  parser.is_response = 1;
  parser.is_head = to_head;
  n = mg_http_parse_head(&parser, in, &any, &hm);
  if (n < 0) {
    CHECK_MEM(in.buf, in.len, "a well-formed answer", 20);
    a->status = -1;
    return true;
  }
  if (n == 0) return false;
  a->status = parser.status;
  a->chunked = parser.chunked;
  a->keep_alive = parser.keep_alive;
  a->used = (size_t) n;
  snprintf(a->head, sizeof(a->head), "%.*s", n, in.buf);
  if (to_head || a->status < 200 || a->status == 204 || a->status == 304) {
    a->body = (char *) calloc(1, 1);
  } else if (parser.chunked) {
    struct mg_http_chunked ch;
    memset(&ch, 0, sizeof(ch));
    a->body = (char *) calloc(1, in.len + 1);
    while (!ch.done && a->used < in.len) {
      struct mg_str rest = mg_str_n(in.buf + a->used, in.len - a->used), piece;
      ptrdiff_t took = mg_http_chunked_feed(&ch, rest, &piece);
      CHECK(took > 0);
      if (took <= 0) break;
      memcpy(a->body + a->len, piece.buf, piece.len);
      a->len += piece.len;
      a->used += (size_t) took;
    }
    if (!ch.done) {
      free(a->body);
      a->body = NULL;
      return false;
    }
  } else {
    a->len = parser.has_length ? (size_t) parser.content_length : in.len - (size_t) n;
    if (in.len - (size_t) n < a->len || (!parser.has_length && !p->eof)) return false;
    a->body = (char *) calloc(1, a->len + 1);
    memcpy(a->body, in.buf + n, a->len);
    a->used += a->len;
  }
  return true;
}

static UNUSED void answer_free(struct answer *a) {
  free(a->body);
  a->body = NULL;
}

/* Number of whole answers so far (none of them to HEAD); -1 when something else stands between or behind them. */
static UNUSED int answers(struct peer *p) {
  struct answer a;
  size_t at = 0;
  int n = 0;
  while (answer_at(p, at, false, &a)) {
    answer_free(&a);
    if (a.status < 0) return -1;
    at += a.used;
    n++;
  }
  return n;
}

/* The n-th answer (from 0) has this status and body. */
#define CHECK_ANSWER(p, n, status_, body_)                    \
  do {                                                        \
    struct answer a_;                                         \
    size_t at_ = 0;                                           \
    bool there_ = false;                                      \
    for (int i_ = 0; i_ <= (n); i_++) {                       \
      if (i_ > 0) answer_free(&a_);                           \
      there_ = answer_at(p, at_, false, &a_);                 \
      if (!there_) break;                                     \
      at_ += a_.used;                                         \
    }                                                         \
    CHECK(there_);                                            \
    if (there_) {                                             \
      CHECK_INT(a_.status, status_);                          \
      CHECK_MEM(a_.body, a_.len, body_, strlen(body_));       \
      answer_free(&a_);                                       \
    }                                                         \
  } while (0)

/* Fields named so in a head. */
static UNUSED int count_of(const char *head, const char *text) {
  int n = 0;
  for (const char *p = head; (p = strstr(p, text)) != NULL; p++) n++;
  return n;
}

static UNUSED int count_in(struct peer *p, const char *text) {
  int n = 0;
  size_t i, len = strlen(text);
  pump(p);
  for (i = 0; i + len <= p->len; i++) n += memcmp(p->buf + i, text, len) == 0;
  return n;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
