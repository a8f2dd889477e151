/* ws_conn.c - a WebSocket's life after the handshake: made, fed, asked whether it lives, closed, freed. */
#include "mongoose/proto/ws_conn.h"

#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/status.h"
#include "mongoose/proto/http_conn.h"

struct mg_ws_conn *mg_ws_conn_new(struct mg_connection *c, const struct mg_ws_opts *opts, const struct mg_ws_limits *limits) {
  struct mg_ws_conn *ws = mg_ws_site(c->mgr) != NULL ? (struct mg_ws_conn *) mg_calloc(1, sizeof(*ws)) : NULL;
  if (ws == NULL) return NULL;
  ws->limits = opts->limits != NULL ? *opts->limits : *limits;
  ws->last_waiting = &ws->waiting;
  return ws;
}

void mg_ws_conn_free(struct mg_connection *c, struct mg_ws_conn *ws) {
  struct mg_ws_waiting *w, *next;
  mg_ws_leave_all(c, ws);
  mg_ws_site(c->mgr)->reserved -= ws->reserved;
  mg_ws_deflater_free(ws->deflater);
  mg_ws_inflater_free(ws->inflater);
  mg_chunk_drop(ws->msg);
  mg_free(ws->protocol.buf);
  for (w = ws->waiting; w != NULL; w = next) {
    next = w->next;
    mg_free(w);
  }
  if (ws->http != NULL) mg_http_left(c, ws->http);
  mg_free(ws);
}

/* ---- time ---- */

/* Is the peer there? Asked only of one that we listen to, and who has not been left behind with what is ours to read: send_timeout watches
 * over that. Output of this very turn does not count, else who is told something in every turn would never be asked. Each question has
 * its interval, and the first that nothing came after its time for an answer: the next look is at whichever ends first. */
static void watch_life(struct mg_connection *c, struct mg_ws_conn *ws) {
  const struct mg_ws_limits *l = &ws->limits;
  uint64_t now = c->mgr->now, next = (ws->pinged > ws->heard ? ws->pinged : ws->heard) + l->ping;
  if (c->is_full || (!c->is_writable && mg_unsent(c) > 0)) {
    ws->asked = 0;
    next = now + l->ping;
  } else if (ws->asked != 0 && l->pong > 0 && now >= ws->asked + l->pong) {
    mg_count(&c->mgr->stats.timeouts, 1);
    c->is_failed = 1; /* nobody is there to be told */
    c->is_closing = 1;
    return;
  } else if (now >= next) {
    (void) mg_ws_put(c, MG_WS_FIN | WEBSOCKET_OP_PING, "", 0);
    ws->pinged = now;
    if (ws->asked == 0) ws->asked = now;
    next = now + l->ping;
  }
  mg_read_due(c, ws->asked != 0 && l->pong > 0 && ws->asked + l->pong < next ? ws->asked + l->pong : next);
}

static void ws_timeout(struct mg_connection *c) {
  struct mg_ws_conn *ws = (struct mg_ws_conn *) c->pfn_data;
  if (ws->state == MG_WS_OPEN) {
    watch_life(c, ws);
  } else { /* the close handshake took too long */
    mg_count(&c->mgr->stats.timeouts, 1);
    c->is_closing = 1;
  }
}

/* ---- hooks ---- */

static void ws_settle(struct mg_connection *c) {
  struct mg_ws_conn *ws = (struct mg_ws_conn *) c->pfn_data;
  if (MG_UNLIKELY(ws->http != NULL)) {
    mg_http_left(c, ws->http);
    ws->http = NULL;
  }
  if (MG_UNLIKELY(c->is_draining) && ws->state == MG_WS_OPEN && !c->is_eof) { /* the application ends it without a word */
    struct mg_str none = {NULL, 0};
    mg_ws_say_close(c, ws, 1001, none);
    ws->state = MG_WS_OVER;
  }
  if (c->recv.len > 0 || ws->stopped_reading) mg_ws_read(c, ws);
}

const struct mg_proto mg_proto_ws = {"websocket", ws_settle, ws_timeout, NULL, NULL};

static void ws_event(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_ws_conn *ws = (struct mg_ws_conn *) c->pfn_data;
  if (ev == MG_EV_READ) {
    ws->heard = c->mgr->now;
    ws->asked = 0; /* any byte is a sign of life */
    mg_ws_read(c, ws);
  } else if (ev == MG_EV_CLOSE) { /* the application first: it may ask for the close code */
    mg_event_handler_t fn = c->fn;
    c->fn = NULL;
    if (fn != NULL) fn(c, ev, ev_data);
    c->pfn_data = NULL;
    c->proto = NULL;
    mg_ws_conn_free(c, ws);
  }
}

void mg_ws_install(struct mg_connection *c, struct mg_ws_conn *ws) {
  c->proto = &mg_proto_ws;
  c->pfn = ws_event;
  c->pfn_data = ws;
  c->is_websocket = 1;
  ws->heard = c->mgr->now;
  mg_read_due(c, ws->limits.ping > 0 ? c->mgr->now + ws->limits.ping : 0);
  mg_touch(c);
}

/* ---- asking ---- */

struct mg_str mg_ws_protocol(const struct mg_connection *c) {
  const struct mg_ws_conn *ws = mg_ws_of(c);
  return ws != NULL ? ws->protocol : mg_str("");
}

bool mg_ws_compressed(const struct mg_connection *c) {
  const struct mg_ws_conn *ws = mg_ws_of(c);
  return ws != NULL && ws->compress;
}

int mg_ws_close_code(const struct mg_connection *c) {
  const struct mg_ws_conn *ws = mg_ws_of(c);
  return ws != NULL && ws->peer_code != 0 ? ws->peer_code : 1006;
}

int mg_ws_sent_code(const struct mg_connection *c) {
  const struct mg_ws_conn *ws = mg_ws_of(c);
  return ws != NULL ? ws->our_code : 0;
}

struct mg_str mg_ws_close_reason(const struct mg_connection *c) {
  const struct mg_ws_conn *ws = mg_ws_of(c);
  return ws != NULL ? mg_str_n(ws->reason, ws->reason_len) : mg_str("");
}

struct mg_chunk *mg_ws_hold(struct mg_connection *c) {
  struct mg_ws_conn *ws = mg_ws_of(c);
  return ws != NULL ? mg_chunk_hold(ws->told) : NULL;
}

/* ---- closing ---- */

bool mg_ws_close(struct mg_connection *c, int code, struct mg_str reason) {
  struct mg_ws_conn *ws = mg_ws_of(c);
  if (ws == NULL || ws->state != MG_WS_OPEN || c->is_closing || c->is_dead) {
    c->mgr->status = MG_ESTATE;
    return false;
  }
  if ((code == 0 ? reason.len > 0 : !mg_ws_close_code_ok(code)) || reason.len > MG_WS_CONTROL_MAX - 2 || !mg_utf8_ok(reason)) {
    c->mgr->status = MG_EINVAL;
    return false;
  }
  ws->state = MG_WS_CLOSING;
  mg_ws_say_close(c, ws, code, reason);
  mg_read_due(c, c->mgr->now + (ws->limits.close_timeout > 0 ? ws->limits.close_timeout : 1));
  return true;
}
