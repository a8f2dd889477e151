/* http_watch.c - an application may write its answer with mg_send alone. We read along, as a client would, only to learn where the
 * answer ends and whether the connection can be used again; the bytes themselves are not touched.
 */
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/proto/http_conn.h"

enum { HEAD, LENGTH, CHUNKED, CLOSE };
enum { HEAD_MAX = 65536 };

void mg_http_watch_free(struct mg_http_xchg *x) {
  if (x->watch == NULL) return;
  mg_iobuf_free(&x->watch->head);
  mg_free(x->watch);
  x->watch = NULL;
}

static void until_close(struct mg_http_xchg *x) {
  x->watch->state = CLOSE;
  x->keep_alive = 0;
}

/* The head is whole: what follows? */
static void head_done(struct mg_http_xchg *x, const struct mg_http_parser *p) {
  if (p->status < 200 && p->status != 101) { /* 100 Continue and the like: the answer itself comes next */
    mg_http_watch_free(x);
    x->answer = MG_ANSWER_NONE;
    return;
  }
  x->status = p->status;
  if (p->saw_close) x->keep_alive = 0;
  if (p->chunked) {
    x->watch->state = CHUNKED;
  } else if (p->has_length) {
    x->watch->left = p->content_length;
    x->watch->state = LENGTH;
  } else if (p->status == 204 || p->status == 304 || x->is_head) {
    x->watch->state = LENGTH;
  } else {
    until_close(x);
  }
  if (x->is_head || p->status == 204 || p->status == 304 || (x->watch->state == LENGTH && x->watch->left == 0)) {
    x->answer = MG_ANSWER_DONE;
  }
}

/* Bytes of buf that belong to the head, or to what can be told before it is whole. */
static size_t feed_head(struct mg_http_xchg *x, const char *buf, size_t len) {
  static const struct mg_http_parse_limits any = {8192, HEAD_MAX, HEAD_MAX, MG_MAX_HTTP_HEADERS};
  struct mg_http_message hm;
  struct mg_http_parser p;
  struct mg_str in;
  size_t before = x->watch->head.len;
  int n;
  if (len > HEAD_MAX) len = HEAD_MAX; /* a large body right behind the head need not be copied */
  if (mg_iobuf_add(&x->watch->head, before, buf, len) != len) {
    until_close(x);
    return len;
  }
  in.buf = (char *) x->watch->head.buf;
  in.len = x->watch->head.len;
  memset(&p, 0, sizeof(p));
  p.is_response = 1;
  n = mg_http_parse_head(&p, in, &any, &hm);
  if (n == 0) return len;
  if (n < 0) { /* not for us to judge; it ends with the connection */
    until_close(x);
    return len;
  }
  mg_iobuf_free(&x->watch->head);
  head_done(x, &p);
  return (size_t) n - before;
}

void mg_http_watch_bytes(struct mg_http_xchg *x, const char *buf, size_t len) {
  while (len > 0 && x->answer < MG_ANSWER_DONE && x->answer != MG_ANSWER_STREAM) {
    struct mg_http_watch *w;
    size_t used = len;
    if (x->answer == MG_ANSWER_NONE) {
      x->watch = (struct mg_http_watch *) mg_calloc(1, sizeof(*x->watch));
      x->answer = MG_ANSWER_RAW;
    }
    w = x->watch;
    if (w == NULL) { /* unread for want of memory, so the connection can only end with it */
      x->keep_alive = 0;
    } else if (w->state == HEAD) {
      used = feed_head(x, buf, len);
    } else if (w->state == LENGTH) {
      used = w->left < len ? (size_t) w->left : len;
      w->left -= used;
      x->body_out += used;
      if (w->left == 0) x->answer = MG_ANSWER_DONE;
    } else if (w->state == CHUNKED) {
      struct mg_str in = {(char *) (size_t) buf, len}, body;
      ptrdiff_t n = mg_http_chunked_feed(&w->chunked, in, &body);
      if (n <= 0) {
        until_close(x);
      } else {
        used = (size_t) n;
        x->body_out += body.len;
        if (w->chunked.done) x->answer = MG_ANSWER_DONE;
      }
    } else {
      x->body_out += len;
    }
    buf += used;
    len -= used;
  }
}

void mg_http_watch_raw(struct mg_connection *c, struct mg_http_xchg *x) {
  struct mg_http_conn *hc = mg_http_of(c);
  uint64_t base = hc->aimed != NULL ? 0 : c->flushed;
  size_t from = x->mark > base ? (size_t) (x->mark - base) : 0;
  if (x->answer != MG_ANSWER_NONE && x->answer != MG_ANSWER_RAW) return;
  if (from < c->send.len) mg_http_watch_bytes(x, (char *) c->send.buf + from, c->send.len - from);
  x->mark = base + c->send.len;
  if (c->is_draining && !c->is_eof && x->watch != NULL && x->watch->state == CLOSE) x->answer = MG_ANSWER_DONE;
}
