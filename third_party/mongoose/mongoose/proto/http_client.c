/* http_client.c - the asking side: responses taken apart as they come, any number on one connection.
 *
 *   HEAD ──> (MG_EV_HTTP_HDRS) ──> BODY counted, chunked or until the close ──> (MG_EV_HTTP_MSG) ──> HEAD …
 *
 * Requests are written by the application. A body is collected whole, up to limits.max_body; interim responses (1xx) are skipped.
 */
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/status.h"
#include "mongoose/codec/http_chunked.h"
#include "mongoose/proto/http.h"

enum { HEAD, BODY };

struct client {
  uint8_t phase;
  uint8_t to_head;   /* the next response answers a HEAD request: it has no body */
  uint8_t in_handler;
  size_t head_len;
  uint64_t body_len; /* decoded */
  size_t raw_at;     /* chunked: offset in recv of the first byte not decoded yet */
  struct mg_http_parser p;
  struct mg_http_chunked chunked;
  struct mg_http_message hm;
};

static void go_on(struct mg_connection *c);
static const struct mg_proto proto_client = {"http client", go_on, NULL, NULL};

static struct client *state_of(struct mg_connection *c) {
  struct client *s = (struct client *) c->pfn_data;
  if (s == NULL) {
    s = (struct client *) mg_calloc(1, sizeof(*s));
    c->pfn_data = s;
  }
  return s;
}

static bool bodyless(const struct client *s) {
  return s->p.is_head || s->p.status == 101 || s->p.status == 204 || s->p.status == 304;
}

static bool until_close(const struct client *s) {
  return !s->p.chunked && !s->p.has_length && !bodyless(s);
}

/* False: the handler closed the connection or took it over. */
static bool tell(struct mg_connection *c, struct client *s, int ev) {
  s->in_handler = 1;
  if (c->fn != NULL) c->fn(c, ev, &s->hm);
  s->in_handler = 0;
  return !c->is_closing && !c->is_dead && c->pfn_data == s && c->recv.len >= s->head_len;
}

/* The body is whole: `used` bytes of recv were the response. */
static bool deliver(struct mg_connection *c, struct client *s, size_t used) {
  mg_http_message_rebase(&s->hm, (const char *) c->recv.buf - s->p.base); /* the buffer may have moved since the head */
  s->p.base = (const char *) c->recv.buf;
  s->hm.body.buf = (char *) c->recv.buf + s->head_len;
  s->hm.body.len = (size_t) s->body_len;
  s->hm.message.len = s->hm.head.len + s->hm.body.len;
  c->hint = 0;
  if (!tell(c, s, MG_EV_HTTP_MSG)) return false;
  mg_iobuf_del(&c->recv, 0, used);
  if (s->p.status == 101) { /* what follows is another protocol's */
    c->proto = NULL;
    c->pfn = NULL;
    c->pfn_data = NULL;
    mg_free(s);
    return false;
  }
  memset(&s->p, 0, sizeof(s->p));
  memset(&s->chunked, 0, sizeof(s->chunked));
  s->phase = HEAD;
  return c->recv.len > 0;
}

static bool read_head(struct mg_connection *c, struct client *s) {
  const struct mg_limits *l = &c->listener->limits;
  struct mg_http_parse_limits pl = {l->max_uri, l->max_header, l->max_head, l->max_headers};
  struct mg_str in = {(char *) c->recv.buf, c->recv.len};
  int n;
  s->p.is_response = 1;
  s->p.is_head = s->to_head;
  n = mg_http_parse_head(&s->p, in, &pl, &s->hm);
  if (n == 0) return false;
  if (n < 0) {
    mg_error(c, "malformed response: %s", s->p.why != NULL ? s->p.why : "head");
    return false;
  }
  if (s->p.status < 200 && s->p.status != 101) {
    mg_iobuf_del(&c->recv, 0, (size_t) n);
    memset(&s->p, 0, sizeof(s->p));
    return c->recv.len > 0;
  }
  s->to_head = 0;
  s->phase = BODY;
  s->head_len = s->raw_at = (size_t) n;
  s->body_len = 0;
  if (!tell(c, s, MG_EV_HTTP_HDRS)) return false;
  if (s->p.has_length && !bodyless(s)) {
    if (s->p.content_length > l->max_body) {
      mg_error(c, "response body of %llu bytes is too large", (unsigned long long) s->p.content_length);
      return false;
    }
    c->hint = s->head_len + (size_t) s->p.content_length;
  }
  return true;
}

/* In place, so that the body ends up in one piece. True when its end was found. */
static bool decode_chunks(struct mg_connection *c, struct client *s) {
  while (s->raw_at < c->recv.len && !s->chunked.done) {
    struct mg_str in = {(char *) c->recv.buf + s->raw_at, c->recv.len - s->raw_at}, piece;
    ptrdiff_t used = mg_http_chunked_feed(&s->chunked, in, &piece);
    if (used <= 0) {
      mg_error(c, "malformed response: chunk");
      return false;
    }
    if (s->body_len + piece.len > c->listener->limits.max_body) {
      mg_error(c, "response body is too large");
      return false;
    }
    if (piece.len > 0) memmove(c->recv.buf + s->head_len + s->body_len, piece.buf, piece.len);
    s->body_len += piece.len;
    s->raw_at += (size_t) used;
  }
  if (s->chunked.done) return true;
  c->recv.len = s->raw_at = s->head_len + (size_t) s->body_len; /* close the gap that framing left */
  return false;
}

static bool read_body(struct mg_connection *c, struct client *s) {
  size_t here = c->recv.len - s->head_len;
  if (bodyless(s)) return deliver(c, s, s->head_len);
  if (s->p.chunked) return decode_chunks(c, s) && deliver(c, s, s->raw_at);
  if (s->p.has_length) {
    if (here < s->p.content_length) return false;
    s->body_len = s->p.content_length;
    return deliver(c, s, s->head_len + (size_t) s->body_len);
  }
  s->body_len = here;
  if (here > c->listener->limits.max_body) mg_error(c, "response body is too large");
  return false; /* its end is the connection's */
}

static void go_on(struct mg_connection *c) {
  bool more = c->recv.len > 0;
  while (more && !c->is_closing && !c->is_dead && c->proto == &proto_client) {
    struct client *s = state_of(c);
    if (s == NULL) {
      mg_error(c, "out of memory");
      return;
    }
    if (s->in_handler || (s->phase == BODY && c->recv.len < s->raw_at)) return; /* the application took the bytes itself */
    more = s->phase == HEAD ? read_head(c, s) : read_body(c, s);
  }
}

/* Only an end that the peer announced completes a body of unknown length. */
static void closed(struct mg_connection *c, struct client *s) {
  bool clean = c->is_eof && !c->is_failed;
  if (s->phase == BODY && until_close(s) && clean && c->recv.len >= s->head_len) {
    if (deliver(c, s, c->recv.len)) return;
  } else if (c->is_eof && (s->phase == BODY || c->recv.len > 0)) {
    mg_error(c, "connection closed inside of a response");
  }
}

static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_READ) {
    go_on(c);
  } else if (ev == MG_EV_CLOSE && c->pfn_data != NULL) {
    struct client *s = (struct client *) c->pfn_data;
    closed(c, s);
    c->pfn_data = NULL;
    mg_free(s);
  }
  (void) ev_data;
}

struct mg_connection *mg_http_connect(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data) {
  struct mg_connection *c = mg_connect_svc(mgr, url, fn, fn_data, on_event, NULL);
  if (c != NULL) c->proto = &proto_client;
  return c;
}

bool mg_http_expect_head(struct mg_connection *c) {
  struct client *s = c->proto == &proto_client ? state_of(c) : NULL;
  if (s == NULL) {
    c->mgr->status = c->proto == &proto_client ? MG_ENOMEM : MG_ESTATE;
    return false;
  }
  s->to_head = 1;
  return true;
}
