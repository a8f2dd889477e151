/* http_client.c - the asking side: responses taken apart as they come, any number on one connection.
 *
 *   HEAD ──> (MG_EV_HTTP_HDRS) ──> BODY counted, chunked or until the close ──> (MG_EV_HTTP_MSG) ──> HEAD …
 *
 * Requests are written by the application. A body is collected whole, up to limits.max_body, or streamed; interim responses (1xx)
 * are skipped.
 */
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/status.h"
#include "mongoose/codec/http_chunked.h"
#include "mongoose/proto/http_conn.h"

enum phase { HEAD, BODY };
enum told { NOTHING, HDRS, ALL }; /* which handler runs */

enum { MAX_INTERIM = 64 }; /* 1xx in front of one response: more is an attack, not progress */

struct client {
  uint8_t phase;
  uint8_t told;
  uint8_t expect;    /* enum mg_http_expect, of the next response */
  uint8_t no_body;   /* whatever the head says */
  uint8_t streaming;
  uint8_t waiting;   /* a response is owed: mg_http_expect said so */
  uint8_t reusable;  /* after the last response */
  uint8_t interim;   /* 1xx so far */
  uint32_t read_timeout;
  uint64_t flushed;  /* c->flushed when the timeout began */
  size_t head_len;   /* collecting: of head and body in recv */
  uint64_t body_len; /* decoded */
  size_t raw_at;     /* chunked, collecting: offset in recv of the first byte not decoded yet */
  mg_http_body_fn body_fn;
  void *body_arg;
  uint64_t body_max; /* streaming; 0: none */
  struct mg_http_parser p;
  struct mg_http_chunked chunked;
  struct mg_http_message hm;
};

static struct client *client_of(const struct mg_connection *c) {
  return c->proto == &mg_proto_http_client ? (struct client *) c->pfn_data : NULL;
}

static struct client *state_of(struct mg_connection *c) {
  if (c->pfn_data == NULL) c->pfn_data = mg_calloc(1, sizeof(struct client));
  return (struct client *) c->pfn_data;
}

static bool until_close(const struct client *s) {
  return !s->p.chunked && !s->p.has_length && !s->no_body;
}

static bool over(const struct mg_connection *c, const struct client *s) {
  return c->is_closing || c->is_dead || c->pfn_data != s;
}

static bool fail(struct mg_connection *c, int status, const char *what) {
  mg_error_as(c, status, "%s", what);
  return false;
}

static bool malformed(struct mg_connection *c, const char *why) {
  mg_error_as(c, MG_EPROTO, "malformed response: %s", why);
  return false;
}

/* ---- time ---- */

/* From now on. While connecting the deadline is that of connecting. */
static void begin_wait(struct mg_connection *c, struct client *s) {
  if (c->is_connecting || c->is_resolving || c->is_tls_hs || c->is_dead) return;
  s->flushed = c->flushed;
  if (s->waiting && s->read_timeout > 0) {
    mg_read_due(c, c->mgr->now + s->read_timeout);
  } else if (c->read_due != 0) {
    mg_read_due(c, 0);
  }
}

static void timed_out(struct mg_connection *c) {
  struct client *s = client_of(c);
  if (s == NULL || !s->waiting) return;
  if (c->is_full || mg_unsent(c) > 0 || c->flushed != s->flushed) { /* we pause, or send_timeout watches over the request */
    begin_wait(c, s);
    return;
  }
  mg_count(&c->mgr->stats.timeouts, 1);
  mg_error_as(c, MG_ETIMEDOUT, "nothing came for %lu ms", (unsigned long) s->read_timeout);
}

/* ---- one response after the other ---- */

/* False: the handler closed the connection or took it over. */
static bool tell(struct mg_connection *c, struct client *s, int ev) {
  s->told = ev == MG_EV_HTTP_HDRS ? HDRS : ALL;
  if (c->fn != NULL) c->fn(c, ev, &s->hm);
  if (over(c, s)) return false;
  s->told = NOTHING;
  return true;
}

/* All of it is here, and `rest` bytes more. What the handler says about the next one is not to be lost. */
static void response_ends(struct mg_connection *c, struct client *s, size_t rest) {
  s->reusable = s->p.keep_alive && !until_close(s) && rest == 0 && !c->is_eof && !c->is_draining && mg_unsent(c) == 0;
  s->expect = s->waiting = s->interim = 0;
  s->read_timeout = 0;
  c->hint = 0;
  if (c->read_due != 0) mg_read_due(c, 0);
}

static bool next_response(struct mg_connection *c, struct client *s) {
  if (s->p.status == 101) { /* what follows is another protocol's */
    c->proto = NULL;
    c->pfn = NULL;
    c->pfn_data = NULL;
    mg_free(s);
    return false;
  }
  mg_http_parser_reset(&s->p);
  memset(&s->chunked, 0, sizeof(s->chunked));
  s->phase = HEAD;
  s->streaming = 0;
  return c->recv.len > 0;
}

/* `used` bytes of recv are the response. */
static bool deliver(struct mg_connection *c, struct client *s, size_t used) {
  size_t had = c->recv.len, taken;
  mg_http_message_rebase(&s->hm, (const char *) c->recv.buf - s->p.base); /* the buffer may have moved since the head */
  s->p.base = (const char *) c->recv.buf;
  s->hm.body.buf = (char *) c->recv.buf + s->head_len;
  s->hm.body.len = (size_t) s->body_len;
  s->hm.message.len = s->hm.head.len + s->hm.body.len;
  response_ends(c, s, had - used);
  if (!tell(c, s, MG_EV_HTTP_MSG)) return false;
  taken = had - c->recv.len; /* by the handler itself */
  if (used > taken) mg_iobuf_del(&c->recv, 0, used - taken);
  return next_response(c, s);
}

static bool interim(struct mg_connection *c, struct client *s, size_t len) {
  if (++s->interim > MAX_INTERIM) return fail(c, MG_EPROTO, "too many interim responses");
  if ((s->expect & MG_HTTP_INTERIM) && !tell(c, s, MG_EV_HTTP_HDRS)) return false;
  if (s->streaming) return fail(c, MG_ESTATE, "an interim response has no body to stream");
  mg_iobuf_del(&c->recv, 0, len);
  mg_http_parser_reset(&s->p);
  return c->recv.len > 0;
}

static bool read_head(struct mg_connection *c, struct client *s) {
  const struct mg_limits *l = &c->listener->limits;
  struct mg_http_parse_limits pl = {l->max_uri, l->max_header, l->max_head, l->max_headers};
  struct mg_str in = {(char *) c->recv.buf, c->recv.len};
  int n;
  s->p.is_response = 1;
  s->p.is_head = (s->expect & MG_HTTP_TO_HEAD) != 0;
  n = mg_http_parse_head(&s->p, in, &pl, &s->hm);
  if (n == 0) return false;
  if (n < 0) {
    mg_error_as(c, n == -431 ? MG_ETOOBIG : MG_EPROTO, "malformed response: %s", s->p.why != NULL ? s->p.why : "head");
    return false;
  }
  if (s->p.status < 200 && s->p.status != 101) return interim(c, s, (size_t) n);
  s->no_body = s->p.is_head || s->p.status == 101 || s->p.status == 204 || s->p.status == 304 ||
               ((s->expect & MG_HTTP_TO_CONNECT) && s->p.status / 100 == 2);
  if (s->no_body) s->hm.body.len = 0;
  s->phase = BODY;
  s->head_len = s->raw_at = (size_t) n;
  s->body_len = 0;
  if (!tell(c, s, MG_EV_HTTP_HDRS)) return false;
  if (s->streaming) {
    mg_iobuf_del(&c->recv, 0, s->head_len);
  } else if (s->p.has_length && !s->no_body) {
    if (s->p.content_length > l->max_body) {
      mg_error_as(c, MG_ETOOBIG, "response body of %llu bytes is too large", (unsigned long long) s->p.content_length);
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
    if (used <= 0) return malformed(c, "chunk");
    if (s->body_len + piece.len > c->listener->limits.max_body) return fail(c, MG_ETOOBIG, "response body is too large");
    if (piece.len > 0) memmove(c->recv.buf + s->head_len + s->body_len, piece.buf, piece.len);
    s->body_len += piece.len;
    s->raw_at += (size_t) used;
  }
  if (s->chunked.done) return true;
  c->recv.len = s->raw_at = s->head_len + (size_t) s->body_len; /* close the gap that framing left */
  return false;
}

static bool collect(struct mg_connection *c, struct client *s) {
  size_t here = c->recv.len - s->head_len;
  if (s->no_body) return deliver(c, s, s->head_len);
  if (s->p.chunked) return decode_chunks(c, s) && deliver(c, s, s->raw_at);
  if (s->p.has_length) {
    if (here < s->p.content_length) return false;
    s->body_len = s->p.content_length;
    return deliver(c, s, s->head_len + (size_t) s->body_len);
  }
  s->body_len = here;
  if (here > c->listener->limits.max_body) return fail(c, MG_ETOOBIG, "response body is too large");
  return false; /* its end is the connection's */
}

/* ---- a body in pieces ---- */

static bool piece_out(struct mg_connection *c, struct client *s, struct mg_str piece, bool last) {
  s->told = ALL;
  s->body_fn(c, piece, last, s->body_arg);
  if (over(c, s)) return false;
  s->told = NOTHING;
  return true;
}

static bool stream_ends(struct mg_connection *c, struct client *s) {
  struct mg_str none = {NULL, 0};
  response_ends(c, s, c->recv.len);
  return piece_out(c, s, none, true) && next_response(c, s);
}

static bool stream(struct mg_connection *c, struct client *s) {
  while (!c->is_full) {
    struct mg_str in = {(char *) c->recv.buf, c->recv.len}, piece = in;
    ptrdiff_t used;
    if (s->no_body || (s->p.chunked ? s->chunked.done : s->p.has_length && s->body_len == s->p.content_length)) {
      return stream_ends(c, s);
    }
    if (in.len == 0) return false;
    if (s->p.chunked) {
      used = mg_http_chunked_feed(&s->chunked, in, &piece);
      if (used <= 0) return malformed(c, "chunk");
    } else {
      if (s->p.has_length && piece.len > s->p.content_length - s->body_len) piece.len = (size_t) (s->p.content_length - s->body_len);
      used = (ptrdiff_t) piece.len;
    }
    s->body_len += piece.len;
    if (s->body_max > 0 && s->body_len > s->body_max) return fail(c, MG_ETOOBIG, "response body is too large");
    if (piece.len > 0 && !piece_out(c, s, piece, false)) return false;
    mg_iobuf_del(&c->recv, 0, (size_t) used);
  }
  return false;
}

/* ---- hooks ---- */

static void go_on(struct mg_connection *c) {
  bool more = true;
  while (more && !c->is_closing && !c->is_dead && c->proto == &mg_proto_http_client) {
    struct client *s = (struct client *) c->pfn_data;
    if (c->recv.len == 0 && (s == NULL || !s->streaming)) return;
    s = state_of(c);
    if (s == NULL) {
      fail(c, MG_ENOMEM, mg_status_text(MG_ENOMEM));
      return;
    }
    if (s->told != NOTHING) return;
    if (s->phase == BODY && !s->streaming && c->recv.len < s->raw_at) return; /* the application took the bytes itself */
    more = s->phase == HEAD ? read_head(c, s) : s->streaming ? stream(c, s) : collect(c, s);
  }
}

/* Only an end that the peer announced completes a body of unknown length. */
static void closed(struct mg_connection *c, struct client *s) {
  bool by_peer = c->is_eof || c->is_failed, told = c->status != 0;
  if (told || s->told != NOTHING) return;
  if (s->phase == BODY && until_close(s) && c->is_eof && !c->is_failed && !c->is_truncated && (s->streaming || c->recv.len >= s->head_len)) {
    if (!s->streaming) {
      s->body_len = c->recv.len - s->head_len;
      (void) deliver(c, s, c->recv.len);
    } else if (c->recv.len == 0) {
      (void) stream_ends(c, s);
    }
  } else if (by_peer && (s->phase == BODY || c->recv.len > 0)) {
    fail(c, MG_ECLOSED, "connection closed inside of a response");
  } else if (by_peer && s->waiting) {
    fail(c, MG_ECLOSED, "connection closed before a response");
  }
}

static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  struct client *s = (struct client *) c->pfn_data;
  if (ev == MG_EV_READ) {
    if (s != NULL && s->waiting) begin_wait(c, s);
    go_on(c);
  } else if ((ev == MG_EV_CONNECT || ev == MG_EV_TLS_HS) && s != NULL) {
    begin_wait(c, s);
  } else if (ev == MG_EV_CLOSE && s != NULL) {
    closed(c, s);
    if (c->pfn_data == s) {
      c->pfn_data = NULL;
      mg_free(s);
    }
  }
  (void) ev_data;
}

const struct mg_proto mg_proto_http_client = {"http client", go_on, timed_out, NULL, NULL};

/* ---- for applications ---- */

struct mg_connection *mg_http_connect_with(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data,
                                           const struct mg_limits *limits) {
  struct mg_connection *c = mg_connect_with(mgr, url, fn, fn_data, on_event, NULL, limits);
  if (c != NULL) {
    c->proto = &mg_proto_http_client;
    c->alpn = "http/1.1";
  }
  return c;
}

struct mg_connection *mg_http_connect(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data) {
  return mg_http_connect_with(mgr, url, fn, fn_data, NULL);
}

bool mg_http_expect(struct mg_connection *c, unsigned what, uint32_t read_timeout) {
  bool ours = c->proto == &mg_proto_http_client;
  struct client *s = ours ? state_of(c) : NULL;
  if (s == NULL || (s->phase == BODY && s->told != ALL)) {
    c->mgr->status = ours && s == NULL ? MG_ENOMEM : MG_ESTATE;
    return false;
  }
  s->expect = (uint8_t) what;
  s->waiting = 1;
  s->reusable = 0;
  s->read_timeout = read_timeout;
  begin_wait(c, s);
  return true;
}

bool mg_http_reusable(const struct mg_connection *c) {
  const struct client *s = client_of(c);
  if (s == NULL || c->is_closing || c->is_draining || c->is_dead || c->is_eof) return false;
  if (s->told != NOTHING) return s->told == ALL && s->reusable;
  if (!s->reusable || s->waiting || s->phase != HEAD || c->recv.len > 0 || mg_unsent(c) > 0) return false;
  return c->is_tls || mg_sock_quiet((int) (size_t) c->fd); /* under TLS there may be bytes that are not ours to see */
}

bool mg_http_client_busy(const struct mg_connection *c) {
  const struct client *s = client_of(c);
  return s != NULL && s->waiting;
}

bool mg_http_client_stream(struct mg_connection *c, mg_http_body_fn fn, void *arg, uint64_t max_body) {
  struct client *s = client_of(c);
  if (s == NULL || s->told != HDRS || s->streaming) {
    c->mgr->status = MG_ESTATE;
    return false;
  }
  s->streaming = 1;
  s->body_fn = fn;
  s->body_arg = arg;
  s->body_max = max_body;
  return true;
}
