/* ws_send.c - from messages to bytes: framed straight into c->send, packed where that was agreed on and pays. */
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/printf.h"
#include "mongoose/base/status.h"
#include "mongoose/loop/io.h"
#include "mongoose/proto/ws_conn.h"

static size_t refused(struct mg_connection *c, int status) {
  c->mgr->status = status;
  return 0;
}

static struct mg_ws_conn *open_for_output(struct mg_connection *c) {
  struct mg_ws_conn *ws = mg_ws_of(c);
  if (MG_LIKELY(ws != NULL && ws->state == MG_WS_OPEN && !c->is_closing && !c->is_draining && !c->is_dead)) return ws;
  refused(c, MG_ESTATE);
  return NULL;
}

struct mg_ws_conn *mg_ws_may_send(struct mg_connection *c, size_t len) {
  struct mg_ws_conn *ws = open_for_output(c);
  size_t most = c->listener->limits.send_max, head = (len < 126 ? 2u : len < 65536 ? 4u : 10u) + (c->is_client ? 4u : 0u);
  if (MG_UNLIKELY(ws == NULL)) return NULL;
  if (ws->stream_op != 0) head = sizeof(struct mg_ws_waiting); /* which is more: it may have to wait */
  if (MG_UNLIKELY(len > most || mg_unsent(c) + ws->waiting_bytes + head > most - len)) {
    refused(c, MG_EFULL);
    return NULL;
  }
  return ws;
}

size_t mg_ws_put(struct mg_connection *c, unsigned first, const void *buf, size_t len) {
  uint8_t mask[4], *p;
  size_t n;
  if (c->is_client && !mg_ws_new_mask(mg_ws_site(c->mgr), mask)) return refused(c, MG_EIO);
  if (!mg_send_reserve(c, MG_WS_HEAD_MAX + len)) return refused(c, MG_ENOMEM);
  p = c->send.buf + c->send.len;
  n = mg_ws_frame_head(p, first, len, c->is_client ? mask : NULL);
  if (c->is_client) {
    mg_ws_mask(p + n, buf, len, mask, 0);
  } else if (len > 0) {
    memcpy(p + n, buf, len);
  }
  c->send.len += n + len;
  mg_send_added(c);
  return n + len;
}

void mg_ws_say_close(struct mg_connection *c, struct mg_ws_conn *ws, int code, struct mg_str reason) {
  uint8_t text[MG_WS_CONTROL_MAX];
  size_t n = 0;
  if (ws->our_code != 0) return;
  ws->our_code = code != 0 ? (uint16_t) code : 1005;
  if (code != 0) {
    MG_STORE_BE16(text, code);
    n = 2;
    if (reason.len > 0) memcpy(text + 2, reason.buf, reason.len);
    n += reason.len;
  }
  (void) mg_ws_put(c, MG_WS_FIN | WEBSOCKET_OP_CLOSE, text, n);
}

/* ---- packing ---- */

static const struct mg_ws_window *our_window(const struct mg_connection *c, const struct mg_ws_conn *ws) {
  return c->is_client ? &ws->deflate.client : &ws->deflate.server;
}

bool mg_ws_pack(struct mg_connection *c, struct mg_ws_conn *ws, struct mg_str in, bool begin, bool last) {
  const struct mg_ws_window *w = our_window(c, ws);
  struct mg_ws_site *site = mg_ws_site(c->mgr);
  struct mg_ws_deflater *d = mg_ws_deflater_of(site, ws, w);
  site->packed.len = 0;
  if (d == NULL) return false;
  if (begin && !w->takeover) mg_ws_deflater_forget(d);
  return mg_ws_deflater_feed(d, in, last, &site->packed);
}

/* What was packed last may have been large. */
static void packed_done(struct mg_ws_site *site) {
  enum { KEEP = 256 * 1024 };
  if (site->packed.size > KEEP) mg_iobuf_free(&site->packed);
}

static size_t put_message(struct mg_connection *c, struct mg_ws_conn *ws, const void *buf, size_t len, int op) {
  size_t n = 0;
  if (ws->compress && len >= ws->min_size) {
    struct mg_ws_site *site = mg_ws_site(c->mgr);
    if (!mg_ws_pack(c, ws, mg_str_n((const char *) buf, len), true, true)) {
      if (our_window(c, ws)->takeover) c->is_closing = 1; /* the peer's window would differ from ours */
      refused(c, MG_ENOMEM);
    } else if (site->packed.len >= len && !our_window(c, ws)->takeover) {
      n = mg_ws_put(c, MG_WS_FIN | (unsigned) op, buf, len);
    } else {
      n = mg_ws_put(c, MG_WS_FIN | MG_WS_RSV1 | (unsigned) op, site->packed.buf, site->packed.len);
      if (n == 0 && our_window(c, ws)->takeover) c->is_closing = 1; /* likewise: it is in our window, and will never be in theirs */
    }
    packed_done(site);
  } else {
    n = mg_ws_put(c, MG_WS_FIN | (unsigned) op, buf, len);
  }
  if (n > 0) mg_count(&c->mgr->stats.ws_out, 1);
  return n;
}

/* ---- one message ---- */

bool mg_ws_hold_back(struct mg_connection *c, struct mg_ws_conn *ws, const void *buf, size_t len, int op) {
  struct mg_ws_waiting *w = (struct mg_ws_waiting *) mg_malloc(sizeof(*w) + len);
  if (w == NULL) return refused(c, MG_ENOMEM) != 0;
  w->next = NULL;
  w->op = op;
  w->len = len;
  if (len > 0) memcpy(w + 1, buf, len);
  *ws->last_waiting = w;
  ws->last_waiting = &w->next;
  ws->waiting_bytes += sizeof(*w) + len;
  return true;
}

static size_t send_close(struct mg_connection *c, const uint8_t *p, size_t len) {
  struct mg_str reason = {NULL, 0};
  size_t before = c->send.len;
  if (len == 1) return refused(c, MG_EINVAL);
  if (len > 2) reason = mg_str_n((const char *) p + 2, len - 2);
  if (!mg_ws_close(c, len >= 2 ? MG_LOAD_BE16(p) : 0, reason)) return 0;
  return c->send.len - before;
}

static const uint8_t any_mask[4];

size_t mg_ws_send(struct mg_connection *c, const void *buf, size_t len, int op) {
  struct mg_ws_conn *ws = mg_ws_may_send(c, len);
  if (MG_UNLIKELY(ws == NULL)) return 0;
  if (MG_LIKELY(op == WEBSOCKET_OP_TEXT || op == WEBSOCKET_OP_BINARY)) {
    if (MG_UNLIKELY(ws->stream_op != 0)) {
      uint8_t head[MG_WS_HEAD_MAX];
      size_t n = mg_ws_frame_head(head, (unsigned) op, len, c->is_client ? any_mask : NULL); /* an empty one is some bytes, too */
      return mg_ws_hold_back(c, ws, buf, len, op) ? n + len : 0;
    }
    return put_message(c, ws, buf, len, op);
  }
  if (op == WEBSOCKET_OP_CLOSE) return send_close(c, (const uint8_t *) buf, len);
  if ((op != WEBSOCKET_OP_PING && op != WEBSOCKET_OP_PONG) || len > MG_WS_CONTROL_MAX) return refused(c, MG_EINVAL);
  return mg_ws_put(c, MG_WS_FIN | (unsigned) op, buf, len);
}

size_t mg_ws_send_ref(struct mg_connection *c, const char *buf, size_t len, int op, void (*done)(void *), void *arg) {
  struct mg_ws_conn *ws = mg_ws_of(c);
  bool copies = ws == NULL || c->is_client || ws->stream_op != 0 || (ws->compress && len >= ws->min_size) || len == 0 ||
                (op != WEBSOCKET_OP_TEXT && op != WEBSOCKET_OP_BINARY);
  size_t n;
  if (copies || mg_ws_may_send(c, len) == NULL) {
    n = copies ? mg_ws_send(c, buf, len, op) : 0;
    if (done != NULL) done(arg);
    return n;
  }
  if (!mg_send_reserve(c, MG_WS_HEAD_MAX)) {
    if (done != NULL) done(arg);
    return refused(c, MG_ENOMEM);
  }
  n = mg_ws_frame_head(c->send.buf + c->send.len, MG_WS_FIN | (unsigned) op, len, NULL);
  c->send.len += n;
  if (!mg_send_ref(c, buf, len, done, arg)) {
    c->send.len -= n; /* nothing was said after all */
    return refused(c, MG_ENOMEM);
  }
  mg_count(&c->mgr->stats.ws_out, 1);
  return n + len;
}

size_t mg_ws_vprintf(struct mg_connection *c, int op, const char *fmt, va_list *ap) {
  struct mg_iobuf io = {NULL, 0, 0, 256, NULL};
  size_t n = mg_vxprintf(mg_pfn_iobuf, &io, fmt, ap);
  n = io.len == n ? mg_ws_send(c, io.buf, io.len, op) : refused(c, MG_ENOMEM);
  mg_iobuf_free(&io);
  return n;
}

size_t mg_ws_printf(struct mg_connection *c, int op, const char *fmt, ...) {
  size_t n;
  va_list ap;
  va_start(ap, fmt);
  n = mg_ws_vprintf(c, op, fmt, &ap);
  va_end(ap);
  return n;
}

size_t mg_ws_wrap(struct mg_connection *c, size_t len, int op) {
  struct mg_ws_conn *ws = mg_ws_may_send(c, 0);
  uint8_t head[MG_WS_HEAD_MAX], mask[4], *p;
  bool control = op == WEBSOCKET_OP_PING || op == WEBSOCKET_OP_PONG;
  size_t n;
  if (ws == NULL) return 0;
  if (len > c->send.len - c->tail_start || (control ? len > MG_WS_CONTROL_MAX : op != WEBSOCKET_OP_TEXT && op != WEBSOCKET_OP_BINARY)) {
    return refused(c, MG_EINVAL);
  }
  if (ws->stream_op != 0 && !control) return refused(c, MG_ESTATE);
  if (c->is_client && !mg_ws_new_mask(mg_ws_site(c->mgr), mask)) return refused(c, MG_EIO);
  if (!mg_send_reserve(c, MG_WS_HEAD_MAX)) return refused(c, MG_ENOMEM);
  n = mg_ws_frame_head(head, MG_WS_FIN | (unsigned) op, len, c->is_client ? mask : NULL);
  p = c->send.buf + c->send.len - len;
  memmove(p + n, p, len);
  memcpy(p, head, n);
  if (c->is_client) mg_ws_mask(p + n, p + n, len, mask, 0);
  c->send.len += n;
  mg_send_added(c);
  if (!control) mg_count(&c->mgr->stats.ws_out, 1);
  return c->send.len;
}

/* ---- piece by piece ---- */

bool mg_ws_stream_begin(struct mg_connection *c, int op) {
  struct mg_ws_conn *ws = mg_ws_may_send(c, 0);
  if (ws == NULL) return false;
  if (ws->stream_op != 0 || (op != WEBSOCKET_OP_TEXT && op != WEBSOCKET_OP_BINARY)) {
    return refused(c, ws->stream_op != 0 ? MG_ESTATE : MG_EINVAL) != 0;
  }
  ws->stream_op = (uint8_t) op;
  ws->stream_first = 1;
  return true;
}

/* Streams are packed only with a window of the connection's own: the shared one is anybody's between two pieces. */
static bool stream_put(struct mg_connection *c, struct mg_ws_conn *ws, struct mg_str piece, bool last) {
  bool pack = ws->compress && our_window(c, ws)->takeover;
  unsigned first = (last ? MG_WS_FIN : 0) | (ws->stream_first ? ws->stream_op | (pack ? MG_WS_RSV1 : 0u) : WEBSOCKET_OP_CONTINUE);
  struct mg_ws_site *site = mg_ws_site(c->mgr);
  bool ok = !pack || mg_ws_pack(c, ws, piece, ws->stream_first != 0, last);
  if (ok && pack) piece = mg_str_n((char *) site->packed.buf, site->packed.len);
  if (ok) ok = mg_ws_put(c, first, piece.buf, piece.len) > 0;
  if (pack) packed_done(site);
  if (ok) {
    ws->stream_first = 0;
    return true;
  }
  if (pack) { /* the peer's window would differ from ours */
    c->is_closing = 1;
    refused(c, MG_ENOMEM);
  }
  return false;
}

bool mg_ws_stream_write(struct mg_connection *c, const void *buf, size_t len) {
  struct mg_ws_conn *ws = mg_ws_may_send(c, len);
  if (ws == NULL) return false;
  if (ws->stream_op == 0) return refused(c, MG_ESTATE) != 0;
  return len == 0 || stream_put(c, ws, mg_str_n((const char *) buf, len), false);
}

/* What came up meanwhile. */
static void say_waiting(struct mg_connection *c, struct mg_ws_conn *ws) {
  while (ws->waiting != NULL && !c->is_closing) {
    struct mg_ws_waiting *w = ws->waiting;
    ws->waiting = w->next;
    ws->waiting_bytes -= sizeof(*w) + w->len;
    if (put_message(c, ws, w + 1, w->len, w->op) == 0) c->is_closing = 1; /* it was promised */
    mg_free(w);
  }
  if (ws->waiting == NULL) ws->last_waiting = &ws->waiting;
}

bool mg_ws_stream_end(struct mg_connection *c) { /* is never too much: what waits behind it was counted for more than its frames are */
  struct mg_ws_conn *ws = open_for_output(c);
  if (ws == NULL) return false;
  if (ws->stream_op == 0) return refused(c, MG_ESTATE) != 0;
  if (!stream_put(c, ws, mg_str(""), true)) return false;
  mg_count(&c->mgr->stats.ws_out, 1);
  ws->stream_op = 0;
  say_waiting(c, ws);
  return true;
}

bool mg_ws_stream_undo(struct mg_connection *c) {
  struct mg_ws_conn *ws = open_for_output(c);
  if (ws == NULL) return false;
  if (ws->stream_op == 0 || !ws->stream_first) return refused(c, MG_ESTATE) != 0;
  ws->stream_op = 0;
  say_waiting(c, ws);
  return true;
}
