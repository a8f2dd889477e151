/* ws_read.c - from bytes to messages.
 *
 * Frames are unmasked and checked where they lie, as far as they are there. A message of one frame is told from that place; what comes
 * in fragments is put together in a chunk of its own, and what is compressed unpacked into one.
 */
#include <string.h>

#include "mongoose/base/status.h"
#include "mongoose/proto/ws_conn.h"

enum {
  PAUSE_BYTES = 65536,          /* input of a peer who does not read, before reading stops */
  FREE_INFLATE = 65536,         /* up to here no ratio is asked for: a text that repeats itself may be worth more than 100:1 */
  SPARE_CHUNK = 256 * 1024,
};

/* ---- ends ---- */

static void forget_message(struct mg_ws_conn *ws) {
  mg_chunk_drop(ws->msg);
  ws->msg = NULL;
  ws->msg_op = 0;
}

/* Both close frames are out, or ours is and we wait for no other. `hasty`: the peer may still be sending. */
static void end(struct mg_connection *c, struct mg_ws_conn *ws, bool hasty) {
  ws->state = MG_WS_OVER;
  ws->in_frame = 0;
  c->hint = 0;
  forget_message(ws);
  if (ws->stopped_reading) c->is_full = ws->stopped_reading = 0;
  if (c->is_client && !hasty) { /* RFC 6455 7.1.1: the server closes first */
    mg_read_due(c, c->mgr->now + ws->limits.close_timeout);
    return;
  }
  c->is_draining = 1;
  if (hasty) mg_linger(c);
}

static void fail(struct mg_connection *c, struct mg_ws_conn *ws, int code, const char *why) {
  mg_ws_say_close(c, ws, code, mg_str(why));
  end(c, ws, true);
}

/* ---- telling ---- */

/* False: the connection is not to be read any more. */
static bool tell(struct mg_connection *c, struct mg_ws_conn *ws, int ev, int op, struct mg_str data, struct mg_chunk *in) {
  struct mg_ws_message m = {data, (uint8_t) (MG_WS_FIN | op)};
  ws->told = in;
  ws->telling = 1;
  if (c->fn != NULL) c->fn(c, ev, &m);
  ws->telling = 0;
  ws->told = NULL;
  return !c->is_closing && !c->is_dead;
}

/* The memory that a message was told from. */
static void put_away(struct mg_ws_site *site, struct mg_chunk *m) {
  if (site->spare == NULL && m->size <= SPARE_CHUNK && !mg_chunk_shared(m)) {
    site->spare = m;
  } else {
    mg_chunk_drop(m);
  }
}

static struct mg_chunk *chunk_for(struct mg_ws_site *site, size_t size) {
  struct mg_chunk *m = site->spare;
  if (m == NULL) {
    m = mg_chunk_new(size);
  } else {
    site->spare = NULL;
  }
  if (m != NULL) m->used = 0;
  return m;
}

/* Unpack a whole message. 0, or a close code. */
static int unpack(struct mg_connection *c, struct mg_ws_conn *ws, struct mg_str in, struct mg_chunk **out) {
  const struct mg_ws_window *w = c->is_client ? &ws->deflate.server : &ws->deflate.client;
  struct mg_ws_site *site = mg_ws_site(c->mgr);
  struct mg_ws_inflater *z = mg_ws_inflater_of(site, ws, w);
  struct mg_str parts[2] = {in, mg_ws_inflate_tail};
  uint64_t most = ws->limits.max_message, by_ratio = (uint64_t) in.len * ws->limits.max_ratio;
  size_t cap, first = in.len * 4 < 1024 ? 1024 : in.len * 4;
  struct mg_chunk *m, *larger;
  int i;
  if (ws->limits.max_ratio > 0 && by_ratio < most) most = by_ratio > FREE_INFLATE ? by_ratio : most < FREE_INFLATE ? most : FREE_INFLATE;
  cap = most < (size_t) -1 / 4 ? (size_t) most : (size_t) -1 / 4;
  m = z != NULL ? chunk_for(site, first <= cap ? first : cap + 1) : NULL;
  if (m == NULL) return 1011;
  if (!w->takeover) mg_ws_inflater_forget(z);
  for (i = 0; i < 2; i++) {
    for (;;) {
      size_t room = (m->size < cap + 1 ? m->size : cap + 1) - m->used; /* one too many tells that it is too large */
      ptrdiff_t n = mg_ws_inflater_feed(z, &parts[i], m->data + m->used, room);
      if (n < 0) {
        put_away(site, m);
        return 1007;
      }
      m->used += (size_t) n;
      if ((size_t) n < room) break;
      if (m->used > cap) {
        put_away(site, m);
        return 1009;
      }
      larger = mg_chunk_grow(m, m->size < cap / 2 ? 2 * m->size : cap + 1);
      if (larger == NULL) {
        put_away(site, m);
        return 1011;
      }
      m = larger;
    }
  }
  *out = m;
  return 0;
}

/* ---- whole frames ---- */

/* Twice what is needed, but no more than there can be: then that at once, since a step for each of the last fragments would be a copy
 * of all for each. */
static size_t grown(size_t size, uint64_t most) {
  return size <= most / 2 ? 2 * size : (size_t) (most > size ? most : size);
}

static bool add_fragment(struct mg_ws_conn *ws, struct mg_str data, uint64_t most) {
  struct mg_chunk *m = ws->msg;
  size_t size = m != NULL ? m->used + data.len : data.len;
  if (m == NULL) {
    m = mg_chunk_new(size < 2048 ? 4096 : grown(size, most));
    if (m == NULL) return false;
  } else if (m->size < size) {
    m = mg_chunk_grow(m, grown(size, most));
    if (m == NULL) return false;
  }
  if (data.len > 0) memcpy(m->data + m->used, data.buf, data.len);
  m->used += data.len;
  ws->msg = m;
  return true;
}

static bool tell_packed(struct mg_connection *c, struct mg_ws_conn *ws, int op, struct mg_str data) {
  struct mg_chunk *m = NULL;
  int code = unpack(c, ws, data, &m);
  bool ok;
  if (code == 0 && op == WEBSOCKET_OP_TEXT && !mg_utf8_ok(mg_str_n(m->data, m->used))) {
    put_away(mg_ws_site(c->mgr), m);
    code = 1007;
  }
  if (code != 0) {
    fail(c, ws, code, code == 1009 ? "message too large" : code == 1007 ? "malformed message" : "out of memory");
    return false;
  }
  ok = tell(c, ws, MG_EV_WS_MSG, op, mg_str_n(m->data, m->used), m);
  put_away(mg_ws_site(c->mgr), m);
  return ok;
}

static bool tell_message(struct mg_connection *c, struct mg_ws_conn *ws, int op, struct mg_str data, struct mg_chunk *in) {
  mg_count(&c->mgr->stats.ws_in, 1);
  return ws->packed ? tell_packed(c, ws, op, data) : tell(c, ws, MG_EV_WS_MSG, op, data, in);
}

static bool data_frame(struct mg_connection *c, struct mg_ws_conn *ws, struct mg_str data) {
  int op = ws->msg_op;
  struct mg_chunk *m;
  bool ok;
  if (ws->frame.fin && !ws->packed && !mg_utf8_whole(&ws->utf8)) {
    fail(c, ws, 1007, "text ends inside of a character");
    return false;
  }
  if (ws->state != MG_WS_OPEN) { /* was on its way before our close frame; only its end matters */
    if (ws->frame.fin) forget_message(ws);
    return true;
  }
  if (ws->frame.fin && ws->frame.op != WEBSOCKET_OP_CONTINUE) {
    ws->msg_op = 0;
    return tell_message(c, ws, op, data, c->recv.chunk);
  }
  if (!add_fragment(ws, data, ws->limits.max_message)) {
    fail(c, ws, 1011, "out of memory");
    return false;
  }
  if (!ws->frame.fin) return true;
  m = ws->msg;
  ws->msg = NULL;
  ws->msg_op = 0;
  ok = tell_message(c, ws, op, mg_str_n(m->data, m->used), m);
  mg_chunk_drop(m);
  return ok;
}

static bool close_frame(struct mg_connection *c, struct mg_ws_conn *ws, struct mg_str data) {
  int code = data.len >= 2 ? MG_LOAD_BE16(data.buf) : 1005;
  if (data.len == 1 || (data.len > 1 && !mg_ws_close_code_ok(code))) {
    fail(c, ws, 1002, "malformed close frame");
    return false;
  }
  if (data.len > 2 && !mg_utf8_ok(mg_str_n(data.buf + 2, data.len - 2))) {
    fail(c, ws, 1007, "malformed close reason");
    return false;
  }
  ws->peer_code = (uint16_t) code;
  if (data.len > 2) {
    ws->reason_len = (uint8_t) (data.len - 2);
    memcpy(ws->reason, data.buf + 2, ws->reason_len);
  }
  mg_ws_say_close(c, ws, code == 1005 ? 0 : code, mg_str(""));
  ws->state = MG_WS_OVER;
  if (!tell(c, ws, MG_EV_WS_CTL, WEBSOCKET_OP_CLOSE, data, c->recv.chunk)) return false;
  end(c, ws, false);
  return false;
}

static bool control_frame(struct mg_connection *c, struct mg_ws_conn *ws, struct mg_str data) {
  if (ws->frame.op == WEBSOCKET_OP_CLOSE) return close_frame(c, ws, data);
  if (ws->frame.op == WEBSOCKET_OP_PING && ws->state == MG_WS_OPEN && !c->is_draining) {
    (void) mg_ws_put(c, MG_WS_FIN | WEBSOCKET_OP_PONG, data.buf, data.len);
  }
  return ws->state != MG_WS_OPEN || tell(c, ws, MG_EV_WS_CTL, ws->frame.op, data, c->recv.chunk);
}

/* ---- bytes ---- */

/* False: no, or not yet. */
static bool read_head(struct mg_connection *c, struct mg_ws_conn *ws) {
  const struct mg_ws_frame_rules rules = {ws->limits.max_frame, !c->is_client, ws->compress != 0};
  struct mg_ws_frame *f = &ws->frame;
  int n = mg_ws_frame_parse(f, mg_str_n((char *) c->recv.buf, c->recv.len), &rules);
  /* A message goes on with continuation frames and nothing else, and those do nothing else (RFC 6455 5.4). */
  if (n >= 0 && f->op < WEBSOCKET_OP_CLOSE && (f->op == WEBSOCKET_OP_CONTINUE) != (ws->msg_op != 0)) n = -1002;
  if (n > 0 && f->op < WEBSOCKET_OP_CLOSE) {
    uint64_t before = ws->msg != NULL ? ws->msg->used : 0;
    if (f->len > ws->limits.max_message || before > ws->limits.max_message - f->len) n = -1009;
  }
  if (MG_UNLIKELY(n <= 0)) {
    if (n < 0) fail(c, ws, -n, n == -1009 ? "message too large" : "malformed frame");
    return false;
  }
  if (f->op == WEBSOCKET_OP_TEXT || f->op == WEBSOCKET_OP_BINARY) {
    ws->msg_op = f->op;
    ws->packed = f->rsv1;
    memset(&ws->utf8, 0, sizeof(ws->utf8));
  }
  ws->head_len = (uint8_t) n;
  ws->in_frame = 1;
  ws->seen = 0;
  return true;
}

/* Unmask and check what is new. True: the frame is whole. */
static bool read_payload(struct mg_connection *c, struct mg_ws_conn *ws) {
  const struct mg_ws_frame *f = &ws->frame;
  uint64_t here = c->recv.len - ws->head_len;
  if (here > f->len) here = f->len;
  if (here > ws->seen) {
    char *p = (char *) c->recv.buf + ws->head_len + ws->seen;
    size_t n = (size_t) (here - ws->seen);
    if (!c->is_client) mg_ws_mask(p, p, n, f->mask, ws->seen);
    ws->seen = here;
    if (ws->msg_op == WEBSOCKET_OP_TEXT && f->op < WEBSOCKET_OP_CLOSE && !ws->packed && !mg_utf8_feed(&ws->utf8, mg_str_n(p, n))) {
      fail(c, ws, 1007, "text is not UTF-8");
      return false;
    }
  }
  if (here == f->len) return true;
  c->hint = ws->head_len + (size_t) f->len;
  return false;
}

/* False: stop. */
static bool take_frame(struct mg_connection *c, struct mg_ws_conn *ws) {
  struct mg_str data = {(char *) c->recv.buf + ws->head_len, (size_t) ws->frame.len};
  size_t used = ws->head_len + data.len, had = c->recv.len, taken;
  c->hint = 0;
  ws->in_frame = 0;
  if (!(ws->frame.op >= WEBSOCKET_OP_CLOSE ? control_frame(c, ws, data) : data_frame(c, ws, data))) return false;
  taken = had - c->recv.len; /* by the handler itself */
  if (used > taken) mg_iobuf_del(&c->recv, 0, used - taken);
  return true;
}

void mg_ws_read(struct mg_connection *c, struct mg_ws_conn *ws) {
  bool stop;
  if (ws->telling || c->is_dead) return;
  if (ws->stopped_reading && !c->is_choked) c->is_full = ws->stopped_reading = 0;
  while (c->recv.len > 0 && !c->is_full && !c->is_closing && !c->is_draining) {
    if (ws->state == MG_WS_OVER) { /* RFC 6455 5.5.1: nothing behind a close frame means anything */
      c->recv.len = 0;
      return;
    }
    if (MG_UNLIKELY(c->is_choked) && ws->state == MG_WS_OPEN) break; /* who does not read his answers gets no more of them */
    if (!ws->in_frame && !read_head(c, ws)) break;
    if (MG_UNLIKELY(c->recv.len < ws->head_len + ws->seen)) {
      mg_error(c, "a WebSocket frame was taken out of the receive buffer before it was whole");
      return;
    }
    if (!read_payload(c, ws)) break;
    if (!take_frame(c, ws)) return;
  }
  stop = c->is_choked && c->recv.len >= PAUSE_BYTES && ws->state == MG_WS_OPEN;
  if (stop && !c->is_full && !c->is_closing && !c->is_draining) c->is_full = ws->stopped_reading = 1;
}
