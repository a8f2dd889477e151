/* http_body.c - the body of a request: collected behind its head, or passed on piece by piece. */
#include <stddef.h>
#include <string.h>

#include "mongoose/base/status.h"
#include "mongoose/proto/http_conn.h"

static void body_deadline(struct mg_connection *c, struct mg_http_conn *hc) {
  const struct mg_limits *l = &c->listener->limits;
  uint64_t due = l->body_timeout > 0 ? c->mgr->now + l->body_timeout : 0, slow = 0;
  if (l->min_rate > 0) { /* the moment the average falls below the rate, if nothing more comes */
    slow = (hc->body_len - hc->body_from) * 1000 / l->min_rate;
    slow = hc->body_since + (slow > l->body_grace ? slow : l->body_grace);
    if (due == 0 || slow < due) due = slow;
  }
  mg_read_due(c, due);
}

static void stream_piece(struct mg_connection *c, struct mg_http_conn *hc, struct mg_str piece, bool last) {
  hc->in_handler = MG_TOLD_BODY;
  hc->body_fn(c, piece, last, hc->body_arg);
  hc->in_handler = MG_TOLD_NOTHING;
}

static bool stream_ended(struct mg_connection *c, struct mg_http_conn *hc) {
  struct mg_str none = {NULL, 0};
  mg_read_due(c, 0);
  c->is_resp = 1;
  hc->cur->early = 0;
  stream_piece(c, hc, none, true);
  return mg_http_over(c, hc) ? false : mg_http_after_handler(c, hc);
}

/* What is left unread cannot be told from a next request, so there is none. */
static bool body_unwanted(struct mg_connection *c, struct mg_http_conn *hc) {
  hc->cur->keep_alive = 0;
  hc->cur->linger = 1;
  if (c->read_due != 0) mg_read_due(c, 0);
  if (hc->cur->answer == MG_ANSWER_DONE) return mg_http_next(c, hc);
  hc->phase = MG_HTTP_ANSWER;
  return false;
}

static bool stream_body(struct mg_connection *c, struct mg_http_conn *hc) {
  if (!c->is_full && hc->body_since == 0) { /* the pause was ours: the peer's time starts anew */
    hc->body_since = c->mgr->now;
    hc->body_from = hc->body_len;
    body_deadline(c, hc);
  }
  if (hc->body_fn == NULL) return body_unwanted(c, hc);
  while (!c->is_full) {
    struct mg_str in = {(char *) c->recv.buf, c->recv.len}, piece;
    ptrdiff_t used;
    if (hc->p.chunked ? hc->chunked.done : hc->body_len == hc->p.content_length) return stream_ended(c, hc);
    if (in.len == 0) return false;
    if (hc->p.chunked) {
      used = mg_http_chunked_feed(&hc->chunked, in, &piece);
      if (used < 0) {
        mg_http_refuse(c, hc, 400, "malformed chunk");
        return false;
      }
    } else {
      uint64_t left = hc->p.content_length - hc->body_len;
      piece = in;
      if (piece.len > left) piece.len = (size_t) left;
      used = (ptrdiff_t) piece.len;
    }
    hc->cur->body_in = hc->body_len += piece.len;
    if (hc->body_max > 0 && hc->body_len > hc->body_max) {
      mg_http_refuse(c, hc, 413, "body too large");
      return false;
    }
    if (piece.len > 0) {
      body_deadline(c, hc);
      stream_piece(c, hc, piece, false);
      if (mg_http_over(c, hc)) return false;
    }
    mg_http_consume(c, (size_t) used);
    if (hc->body_fn == NULL) return body_unwanted(c, hc);
  }
  hc->body_since = 0;
  if (c->read_due != 0) mg_read_due(c, 0);
  return false;
}

/* Decode what is new behind what is decoded, so that the body ends up in one piece. */
static bool decode_chunks(struct mg_connection *c, struct mg_http_conn *hc) {
  if (hc->raw_at == c->recv.len) return false; /* nothing new: the deadline stays */
  while (hc->raw_at < c->recv.len && !hc->chunked.done) {
    struct mg_str in = {(char *) c->recv.buf + hc->raw_at, c->recv.len - (size_t) hc->raw_at}, piece;
    ptrdiff_t used = mg_http_chunked_feed(&hc->chunked, in, &piece);
    if (used <= 0) {
      mg_http_refuse(c, hc, 400, "malformed chunk");
      return false;
    }
    if (hc->body_len + piece.len > hc->body_max) {
      mg_http_refuse(c, hc, 413, "body too large");
      return false;
    }
    if (piece.len > 0) memmove(c->recv.buf + hc->head_len + hc->body_len, piece.buf, piece.len);
    hc->cur->body_in = hc->body_len += piece.len;
    hc->raw_at += (uint64_t) used;
  }
  if (hc->chunked.done) return true;
  /* Close the gap that framing left, so that it is not kept for the whole of a large body. */
  c->recv.len = hc->head_len + (size_t) hc->body_len;
  hc->raw_at = c->recv.len;
  body_deadline(c, hc);
  return false;
}

static bool collect_body(struct mg_connection *c, struct mg_http_conn *hc) {
  struct mg_http_message *hm = hc->hm;
  size_t end;
  if (hc->p.chunked) {
    if (!decode_chunks(c, hc)) return false;
    end = (size_t) hc->raw_at;
  } else {
    end = hc->head_len + (size_t) hc->p.content_length;
    if (c->recv.len < end) {
      size_t here = c->recv.len - hc->head_len;
      if (here == hc->body_len) return false; /* nothing new: the deadline stays */
      hc->cur->body_in = hc->body_len = here;
      body_deadline(c, hc);
      return false;
    }
    hc->cur->body_in = hc->body_len = hc->p.content_length;
  }
  mg_http_message_rebase(hm, (const char *) c->recv.buf - hc->p.base);
  hc->p.base = (const char *) c->recv.buf;
  hm->body.buf = (char *) c->recv.buf + hc->head_len;
  hm->body.len = (size_t) hc->body_len;
  hm->message.len = hm->head.len + hm->body.len;
  mg_read_due(c, 0);
  hc->body_here = 1;
  hc->cur->early = 0;
  if (hc->cur->answer == MG_ANSWER_NONE && c->listener->routes != NULL && mg_http_route(c, hc, hm)) {
    c->hint = 0;
    mg_http_consume(c, end);
    return mg_http_next(c, hc);
  }
  return mg_http_deliver(c, hc, hm, end);
}

/* By what the head says. A stream's bound replaces that of the listener, and may be none. */
bool mg_http_too_large(const struct mg_http_conn *hc) {
  return hc->p.has_length && hc->p.content_length > hc->body_max && !(hc->streaming && hc->body_max == 0);
}

/* A body follows that is not here yet. True: go on with it. */
bool mg_http_body_start(struct mg_connection *c, struct mg_http_conn *hc, struct mg_http_message *hm) {
  static const char go_ahead[] = "HTTP/1.1 100 Continue\r\n\r\n";
  if (!mg_http_own_message(c, hc)) {
    mg_http_refuse(c, hc, 503, "out of memory");
    return false;
  }
  hm = hc->hm;
  hc->phase = MG_HTTP_BODY;
  hc->cur->early = 1;
  mg_http_tell(c, hc, MG_EV_HTTP_HDRS, hm);
  if (mg_http_over(c, hc)) return false;
  if (hc->cur->answer == MG_ANSWER_NONE && !hc->cur->deferred) mg_http_watch_raw(c, hc->cur);
  if (hc->cur->answer == MG_ANSWER_DONE) { /* refused, or at least not waited for */
    hc->cur->keep_alive = 0;
    hc->cur->linger = 1;
    return mg_http_next(c, hc);
  }
  if (mg_http_too_large(hc)) {
    mg_http_refuse(c, hc, 413, "body too large");
    return false;
  }
  if (hc->p.expect_continue && c->recv.len <= hc->head_len && hc->cur->answer == MG_ANSWER_NONE) {
    mg_send(c, go_ahead, sizeof(go_ahead) - 1);
    hc->cur->mark += sizeof(go_ahead) - 1;
  }
  hc->body_since = c->mgr->now;
  hc->body_from = 0;
  if (hc->streaming) {
    mg_http_consume(c, hc->head_len);
  } else {
    hc->raw_at = hc->head_len;
    if (hc->p.has_length) c->hint = hc->head_len + (size_t) hc->p.content_length;
  }
  body_deadline(c, hc);
  return true;
}

/* The handler may answer before the body is here, with mg_http_reply or by hand. True: on to the next request, if there is one. */
bool mg_http_body_read(struct mg_connection *c, struct mg_http_conn *hc) {
  if (hc->cur->answer != MG_ANSWER_DONE) mg_http_watch_raw(c, hc->cur);
  if (hc->streaming) return stream_body(c, hc);
  if (hc->cur->answer == MG_ANSWER_DONE) {
    hc->cur->keep_alive = 0;
    hc->cur->linger = 1;
    return mg_http_next(c, hc);
  }
  if (c->recv.len < (hc->p.chunked ? hc->raw_at : hc->head_len + hc->body_len)) { /* our offsets are for bytes that are gone */
    mg_error(c, "a request's body was taken out of the receive buffer before it was whole");
    return false;
  }
  return collect_body(c, hc);
}

/* ---- for handlers ---- */

bool mg_http_stream_body(struct mg_connection *c, mg_http_body_fn fn, void *arg, uint64_t max_body) {
  struct mg_http_conn *hc = mg_http_of(c);
  if (c->proto == &mg_proto_http_client) return mg_http_client_stream(c, fn, arg, max_body);
  if (hc == NULL || hc->in_handler != MG_TOLD_HDRS || hc->cur == NULL || hc->streaming) {
    c->mgr->status = MG_ESTATE;
    return false;
  }
  hc->streaming = 1;
  hc->body_fn = fn;
  hc->body_arg = arg;
  hc->body_max = max_body;
  return true;
}

void mg_http_stop_body(struct mg_connection *c) {
  struct mg_http_conn *hc = mg_http_of(c);
  if (hc == NULL || hc->phase != MG_HTTP_BODY || !hc->streaming) return;
  hc->body_fn = NULL;
  mg_touch(c);
}

bool mg_http_body_here(const struct mg_connection *c) {
  const struct mg_http_conn *hc = mg_http_of(c);
  return hc == NULL || hc->body_here;
}
