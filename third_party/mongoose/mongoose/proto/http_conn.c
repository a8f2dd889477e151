/* http_conn.c - from bytes to requests: one step of the connection's state at a time, as far as the bytes go. */
#include "mongoose/proto/http_conn.h"

#include <stddef.h>
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/status.h"
#include "mongoose/proto/file_cache.h"
#include "mongoose/proto/http_encode.h"

enum {
  SPARE_STATES = 512,
  PIPELINE_BYTES = 65536, /* requests behind one that waits for its answer: bytes taken before reading stops */
};

/* ---- state, from the pool ---- */

static void pool_free(void *arg) {
  struct mg_http_pool *pool = (struct mg_http_pool *) arg;
  struct mg_http_conn *hc, *next;
  mg_files_free(pool->files);
  mg_free(pool->record);
  for (hc = pool->spare; hc != NULL; hc = next) {
    next = hc->next_spare;
    mg_free(hc);
  }
  mg_free(pool);
}

struct mg_http_pool *mg_http_pool(struct mg_mgr *mgr) {
  if (MG_UNLIKELY(mgr->proto_pool == NULL)) {
    mgr->proto_pool = mg_calloc(1, sizeof(struct mg_http_pool));
    mgr->proto_pool_free = mgr->proto_pool != NULL ? pool_free : NULL;
  }
  return (struct mg_http_pool *) mgr->proto_pool;
}

static struct mg_http_conn *state_new(struct mg_connection *c) {
  struct mg_http_pool *pool = mg_http_pool(c->mgr);
  struct mg_http_conn *hc;
  if (pool == NULL) return NULL;
  hc = pool->spare;
  if (hc != NULL) {
    pool->spare = hc->next_spare;
    pool->nspare--;
  } else {
    hc = (struct mg_http_conn *) mg_calloc(1, sizeof(*hc));
    if (hc == NULL) return NULL;
  }
  memset(hc, 0, offsetof(struct mg_http_conn, chunked));
  hc->queue_last = &hc->queue;
  c->pfn_data = hc;
  return hc;
}

void mg_http_left(struct mg_connection *c, struct mg_http_conn *hc) {
  struct mg_http_pool *pool = mg_http_pool(c->mgr);
  mg_http_logged(c, &hc->now);
  if (hc->hm != NULL) mg_free(hc->hm);
  if (hc->now.watch != NULL) mg_http_watch_free(&hc->now);
  if (hc->now.encoder != NULL) mg_http_encoder_free(hc, &hc->now);
  if (hc->now.extra != NULL) mg_http_extra_free(&hc->now);
  if (hc->queue != NULL || hc->aimed != NULL) mg_xchg_free_all(c, hc);
  if (pool->nspare < SPARE_STATES) {
    hc->next_spare = pool->spare;
    pool->spare = hc;
    pool->nspare++;
  } else {
    mg_free(hc);
  }
}

static void state_free(struct mg_connection *c, struct mg_http_conn *hc) {
  c->pfn_data = NULL;
  mg_http_left(c, hc);
}

struct mg_http_conn *mg_http_leave(struct mg_connection *c) {
  struct mg_http_conn *hc = (struct mg_http_conn *) c->pfn_data;
  struct mg_http_xchg *x = mg_xchg_target(hc);
  if (x != NULL && MG_UNLIKELY(x->log != NULL)) {
    x->status = 101;
    mg_http_log_end(c, x, true);
  }
  mg_xchg_aim(c, hc, NULL);
  c->is_resp = c->is_owed = 0;
  c->hint = 0;
  if (hc->stopped_reading) c->is_full = 0;
  return hc;
}

/* The scratch message serves whatever is whole in one read; the rest needs its own. */
static bool own_message(struct mg_connection *c, struct mg_http_conn *hc, unsigned count) {
  struct mg_http_message *from = &mg_http_pool(c->mgr)->scratch;
  if (hc->hm != NULL) return true;
  hc->hm = (struct mg_http_message *) mg_malloc(sizeof(*hc->hm));
  if (hc->hm == NULL) return false;
  hc->hm->method = from->method;
  hc->hm->uri = from->uri;
  hc->hm->query = from->query;
  hc->hm->proto = from->proto;
  hc->hm->body = from->body;
  hc->hm->head = from->head;
  hc->hm->message = from->message;
  if (count < MG_MAX_HTTP_HEADERS) count++; /* the terminator, too */
  memcpy(hc->hm->headers, from->headers, count * sizeof(from->headers[0]));
  return true;
}

/* ---- one request after the other ---- */

static void tell(struct mg_connection *c, struct mg_http_conn *hc, int ev, struct mg_http_message *hm) {
  hc->in_handler = ev == MG_EV_HTTP_HDRS ? MG_TOLD_HDRS : MG_TOLD_BODY;
  if (c->fn != NULL) c->fn(c, ev, hm);
  hc->in_handler = MG_TOLD_NOTHING;
}

static void fresh_head(struct mg_http_conn *hc) {
  mg_http_parser_reset(&hc->p);
  hc->streaming = 0;
}

/* Nothing more is read; what is queued goes out, then the connection ends. */
static void finish_connection(struct mg_connection *c, struct mg_http_conn *hc, bool linger) {
  hc->phase = MG_HTTP_OVER;
  if (hc->queue != NULL) return; /* the last of them ends it */
  c->is_draining = 1;
  if (linger || c->recv.len > 0) mg_linger(c);
}

/* The request is answered: on to the next. False: no next. */
static bool next_request(struct mg_connection *c, struct mg_http_conn *hc) {
  struct mg_http_xchg *x = hc->cur;
  bool go_on = x->keep_alive, linger = x->linger;
  c->is_resp = 0;
  mg_http_logged(c, x);
  if (x->watch != NULL) mg_http_watch_free(x);
  if (MG_UNLIKELY(x->extra != NULL)) mg_http_extra_free(x);
  hc->cur = NULL;
  if (hc->hm != NULL) {
    mg_free(hc->hm);
    hc->hm = NULL;
  }
  if (hc->queue != NULL) mg_xchg_release(c, hc);
  if (c->is_draining || c->is_closing) return false;
  if (!go_on) {
    finish_connection(c, hc, linger);
    return false;
  }
  hc->phase = MG_HTTP_HEAD;
  return true;
}

static void idle(struct mg_connection *c, struct mg_http_conn *hc) {
  uint32_t ms = c->listener->limits.idle_timeout;
  if (hc->stopped_reading) c->is_full = 0;
  state_free(c, hc);
  mg_read_due(c, ms > 0 ? c->mgr->now + ms : 0);
}

/* The message is with its handler, or was: what now? True: the next one may be looked at. */
static bool after_handler(struct mg_connection *c, struct mg_http_conn *hc) {
  struct mg_http_xchg *x = hc->cur;
  if (x->answer == MG_ANSWER_DONE) return next_request(c, hc);
  if (x->deferred && x->answer == MG_ANSWER_NONE && !hc->p.upgrade) { /* what follows an upgrade may not be HTTP */
    if (!hc->cur->keep_alive) {
      hc->phase = MG_HTTP_OVER;
      return false;
    }
    hc->cur = NULL;
    c->is_resp = 0;
    if (hc->hm != NULL) {
      mg_free(hc->hm);
      hc->hm = NULL;
    }
    hc->phase = MG_HTTP_HEAD;
    return true;
  }
  mg_http_watch_raw(c, x);
  if (x->answer == MG_ANSWER_DONE) return next_request(c, hc);
  hc->phase = MG_HTTP_ANSWER;
  if (c->read_due != 0) mg_read_due(c, 0);
  return false;
}

static bool deliver(struct mg_connection *c, struct mg_http_conn *hc, struct mg_http_message *hm, size_t consumed) {
  size_t had, taken;
  c->is_resp = 1;
  c->hint = 0;
  had = c->recv.len;
  if (hc->cur->answer != MG_ANSWER_DONE) tell(c, hc, MG_EV_HTTP_MSG, hm);
  if (c->is_closing || c->is_dead) return false;
  taken = had - c->recv.len; /* by the handler itself, which must not cost the next request its head */
  if (consumed > taken) mg_http_consume(c, consumed - taken);
  if (c->pfn_data != hc) return false; /* another protocol took over */
  return after_handler(c, hc);
}

/* For the body's reader; the ones above are what is called for a request that came whole. */
bool mg_http_own_message(struct mg_connection *c, struct mg_http_conn *hc) {
  return own_message(c, hc, hc->p.count);
}

void mg_http_tell(struct mg_connection *c, struct mg_http_conn *hc, int ev, struct mg_http_message *hm) {
  tell(c, hc, ev, hm);
}

bool mg_http_next(struct mg_connection *c, struct mg_http_conn *hc) {
  return next_request(c, hc);
}

bool mg_http_after_handler(struct mg_connection *c, struct mg_http_conn *hc) {
  return after_handler(c, hc);
}

bool mg_http_deliver(struct mg_connection *c, struct mg_http_conn *hc, struct mg_http_message *hm, size_t consumed) {
  return deliver(c, hc, hm, consumed);
}

/* ---- the head ---- */

static bool read_head(struct mg_connection *c, struct mg_http_conn *hc) {
  const struct mg_limits *l = &c->listener->limits;
  struct mg_http_parse_limits pl = {l->max_uri, l->max_header, l->max_head, l->max_headers};
  struct mg_http_message *hm = hc->hm != NULL ? hc->hm : &mg_http_pool(c->mgr)->scratch;
  struct mg_str in = {(char *) c->recv.buf, c->recv.len};
  bool fresh = hc->p.scanned == 0;
  int n = mg_http_parse_head(&hc->p, in, &pl, hm);
  struct mg_http_xchg *x;
  if (MG_UNLIKELY(n == 0)) {
    if (!own_message(c, hc, hc->p.count)) {
      c->is_closing = 1;
      return false;
    }
    if (fresh && hc->phase == MG_HTTP_HEAD) mg_read_due(c, l->header_timeout > 0 ? c->mgr->now + l->header_timeout : 0);
    return false;
  }
  if (!mg_xchg_begin(c, hc)) {
    c->is_closing = 1;
    return false;
  }
  x = hc->cur;
  c->served++;
  mg_count(&c->mgr->stats.requests, 1);
  if (MG_UNLIKELY(n < 0)) {
    x->minor = 1;
    if (c->listener->log != NULL) mg_http_log_begin(c, x, NULL, hc->p.why);
    mg_http_refuse(c, hc, -n, hc->p.why);
    return false;
  }
  x->minor = hc->p.minor;
  x->is_head = hc->p.is_head;
  x->keep_alive = hc->p.keep_alive && (l->max_requests == 0 || c->served < l->max_requests);
  if (MG_UNLIKELY(c->listener->log != NULL)) mg_http_log_begin(c, x, hm, NULL);
  if (MG_UNLIKELY(c->listener->compress != NULL)) mg_http_negotiate(c, x, hm);
  /* RFC 9110 9.3.6: for a proxy in front a tunnel begins behind a 2xx, so what follows is no request that it knows of. */
  if (MG_UNLIKELY(hm->method.len == 7 && memcmp(hm->method.buf, "CONNECT", 7) == 0)) x->keep_alive = 0;
  hc->head_len = (uint32_t) n;
  if (hc->p.chunked) memset(&hc->chunked, 0, sizeof(hc->chunked));
  hc->body_len = 0;
  hc->body_max = l->max_body;
  hc->body_here = hc->p.chunked == 0 && (!hc->p.has_length || c->recv.len - (size_t) n >= hc->p.content_length);
  if (MG_LIKELY(hc->body_here)) {
    size_t end = (size_t) n + (hc->p.has_length ? (size_t) hc->p.content_length : 0);
    if (hc->p.has_length) x->body_in = hc->p.content_length;
    if (c->listener->routes != NULL && mg_http_route(c, hc, hm)) {
      mg_http_consume(c, end);
      return next_request(c, hc);
    }
    tell(c, hc, MG_EV_HTTP_HDRS, hm);
    if (c->proto != &mg_proto_http && !c->is_closing && !c->is_dead) mg_http_consume(c, end); /* what follows is another protocol's */
    if (mg_http_over(c, hc)) return false;
    if (mg_http_too_large(hc)) {
      if (hc->cur->answer == MG_ANSWER_NONE) hc->cur->linger = 1;
      mg_http_refuse(c, hc, 413, "body too large");
      return false;
    }
    if (hc->streaming) {
      hc->phase = MG_HTTP_BODY;
      hc->body_since = c->mgr->now;
      hc->body_from = 0;
      mg_http_consume(c, (size_t) n);
      return true;
    }
    return deliver(c, hc, hm, end);
  }
  if (!mg_http_body_start(c, hc, hm)) return hc == c->pfn_data && hc->phase == MG_HTTP_HEAD && !mg_http_over(c, hc);
  return true;
}

void mg_http_go_on(struct mg_connection *c) {
  struct mg_http_conn *hc = (struct mg_http_conn *) c->pfn_data;
  bool more = true;
  while (more) {
    if (c->is_closing || c->is_draining || c->is_dead) return;
    if (hc == NULL) {
      if (c->recv.len == 0) return;
      hc = state_new(c);
      if (hc == NULL) {
        c->is_closing = 1;
        return;
      }
    }
    switch (hc->phase) {
      case MG_HTTP_HEAD:
        if (hc->cur == NULL && hc->queue != NULL && hc->queued >= c->listener->limits.max_pipeline) {
          if (c->read_due != 0) mg_read_due(c, 0); /* enough of them wait, for us */
          more = false;
          break;
        }
        if (c->recv.len == 0) {
          if (hc->queue == NULL) {
            idle(c, hc);
            return;
          }
          more = false;
          break;
        }
        if (MG_UNLIKELY(c->is_choked) && hc->p.scanned == 0) { /* who does not read his answers gets no more of them */
          if (c->read_due != 0) mg_read_due(c, 0);             /* send_timeout watches over him */
          more = false;
          break;
        }
        more = read_head(c, hc);
        if (more && hc->phase == MG_HTTP_HEAD) fresh_head(hc);
        break;
      case MG_HTTP_BODY:
        more = mg_http_body_read(c, hc);
        if (more) fresh_head(hc);
        break;
      case MG_HTTP_ANSWER:
        if (hc->cur->answer != MG_ANSWER_DONE) mg_http_watch_raw(c, hc->cur);
        more = hc->cur->answer == MG_ANSWER_DONE && next_request(c, hc);
        if (more) fresh_head(hc);
        break;
      default: /* nothing behind the last request is looked at; it must not collect either */
        if (c->recv.len > 0) {
          mg_http_consume(c, c->recv.len);
          if (hc->cur != NULL) hc->cur->linger = 1;
        }
        more = false;
        break;
    }
    if (c->pfn_data != hc) return; /* gone, or another protocol */
  }
  if (c->is_closing || c->is_draining || c->is_dead) return;
  /* Somebody who asks faster than he is answered is read no further. */
  if (hc->phase == MG_HTTP_ANSWER || hc->phase == MG_HTTP_HEAD) {
    bool stop = c->recv.len >= PIPELINE_BYTES && (hc->phase == MG_HTTP_ANSWER || hc->queue != NULL || c->is_choked);
    if (stop != hc->stopped_reading) {
      hc->stopped_reading = stop;
      c->is_full = stop;
    }
  }
}

/* ---- hooks ---- */

static void settle(struct mg_connection *c) {
  struct mg_http_conn *hc = (struct mg_http_conn *) c->pfn_data;
  if (MG_UNLIKELY(c->is_pumping)) {
    c->is_pumping = 0;
    if (hc != NULL) mg_http_pump(c, hc);
  }
  if (hc == NULL && c->recv.len == 0) return;
  if (hc != NULL && hc->queue != NULL) {
    if (c->is_draining && hc->phase == MG_HTTP_ANSWER && hc->cur->answer == MG_ANSWER_DONE) { /* the application wants no next one */
      hc->phase = MG_HTTP_OVER;
      hc->cur = NULL;
    }
    mg_xchg_release(c, hc);
    mg_http_pump_next(c, hc);
    c->is_owed = hc->queue != NULL && (hc->queue != hc->cur || hc->cur->deferred);
    if (c->is_draining || c->is_closing) {
      if (c->is_owed && c->recv.len > 0) mg_http_consume(c, c->recv.len);
      return;
    }
  }
  if (MG_UNLIKELY(c->is_draining) && hc != NULL && hc->phase == MG_HTTP_ANSWER) mg_http_watch_raw(c, hc->cur); /* this may be its end */
  if (!c->is_listening) mg_http_go_on(c);
  if (c->is_owed && c->proto == &mg_proto_http) { /* the last answer may have ended just now: draining waits for it no more */
    hc = (struct mg_http_conn *) c->pfn_data;
    c->is_owed = hc != NULL && hc->queue != NULL;
  }
  if (MG_UNLIKELY(c->proto != &mg_proto_http) && c->proto != NULL && c->proto->settle != NULL) c->proto->settle(c); /* upgraded just now */
}

/* Half a request is nobody's any more. */
static bool http_owes(const struct mg_connection *c) {
  const struct mg_http_conn *hc = (const struct mg_http_conn *) c->pfn_data;
  if (hc == NULL || hc->phase == MG_HTTP_BODY) return false;
  return hc->queue != NULL || (hc->cur != NULL && hc->cur->answer != MG_ANSWER_DONE) || (c->recv.len > 0 && c->is_choked);
}

static void http_settle(struct mg_connection *c) {
  settle(c);
  if (MG_UNLIKELY(c->is_eof) && c->proto == &mg_proto_http && !http_owes(c)) c->is_draining = 1;
}

static void http_timeout(struct mg_connection *c) {
  struct mg_http_conn *hc = (struct mg_http_conn *) c->pfn_data;
  mg_count(&c->mgr->stats.timeouts, 1);
  if (hc != NULL && !c->is_draining && (hc->phase == MG_HTTP_BODY || (hc->phase == MG_HTTP_HEAD && c->recv.len > 0))) {
    if (hc->cur != NULL || mg_xchg_begin(c, hc)) {
      if (hc->phase == MG_HTTP_HEAD && c->listener->log != NULL) mg_http_log_begin(c, hc->cur, NULL, "head too slow");
      mg_http_refuse(c, hc, 408, hc->phase == MG_HTTP_BODY ? "body too slow" : "head too slow");
      return;
    }
  }
  if (hc != NULL && hc->queue != NULL) return; /* it waits for us */
  c->is_draining = 1;
}

static void http_sending_ref(struct mg_connection *c, const char *buf, size_t len) {
  struct mg_http_conn *hc = (struct mg_http_conn *) c->pfn_data;
  struct mg_http_xchg *x = hc != NULL ? mg_xchg_target(hc) : NULL;
  if (x == NULL || x->answer == MG_ANSWER_STREAM || x->answer == MG_ANSWER_DONE) return;
  mg_http_watch_raw(c, x);
  mg_http_watch_bytes(x, buf, len);
}

const struct mg_proto mg_proto_http = {"http", http_settle, http_timeout, http_sending_ref, http_owes};

static void http_event(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_READ) {
    mg_http_go_on(c);
  } else if (ev == MG_EV_ACCEPT || ev == MG_EV_TLS_HS) {
    if (mg_http_pool(c->mgr) == NULL) c->is_closing = 1;
    if (c->listener->limits.header_timeout > 0) mg_read_due(c, c->mgr->now + c->listener->limits.header_timeout);
  } else if (ev == MG_EV_CLOSE) {
    if (c->pfn_data != NULL) state_free(c, (struct mg_http_conn *) c->pfn_data);
  }
  (void) ev_data;
}

struct mg_connection *mg_http_listen_with(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data,
                                          const struct mg_listen_opts *opts) {
  struct mg_connection *c = mg_listen_with(mgr, url, fn, fn_data, opts);
  if (c != NULL) {
    c->pfn = http_event;
    c->alpn = "http/1.1";
    c->proto = &mg_proto_http;
  }
  return c;
}

struct mg_connection *mg_http_listen(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data) {
  return mg_http_listen_with(mgr, url, fn, fn_data, NULL);
}
