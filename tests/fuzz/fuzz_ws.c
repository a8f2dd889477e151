/* fuzz_ws.c - the input is what a peer says behind its handshake, in cuts, to a real server over a socket pair.
 *
 * Invariant: the server never crashes; what it says is well-formed frames, with nothing behind a close frame; messages are within the
 * limits, and texts UTF-8; once the peer has ended, the connection closes and leaves nothing. The first byte chooses compression, and
 * whether the bytes are taken as payloads to be framed and masked here, so that the fuzzer gets deeper than into heads, and whether
 * they are written in hex, as the seeds are.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "mongoose/base/log.h"
#include "mongoose/proto/http.h"
#include "mongoose/proto/ws_conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static struct mg_mgr mgr;
static struct mg_connection *listener, *conn;
static struct mg_ws_opts opts;
static uint32_t state;
static bool packs;

static uint32_t any(uint32_t n) {
  state = state * 1664525u + 1013904223u;
  return (state >> 16) % n;
}

static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_ws_message *m = (struct mg_ws_message *) ev_data;
  if (ev == MG_EV_HTTP_MSG) {
    MUST(mg_ws_upgrade_with(c, (struct mg_http_message *) ev_data, &opts));
  } else if (ev == MG_EV_WS_MSG) {
    MUST(m->data.len <= 20000);
    if ((m->flags & 15) == WEBSOCKET_OP_TEXT) MUST(mg_utf8_ok(m->data));
    mg_ws_send(c, m->data.buf, m->data.len, m->flags & 15);
    if (any(16) == 0) mg_ws_broadcast(&mgr, mg_str("all"), WEBSOCKET_OP_TEXT, mg_str("news"));
    if (any(32) == 0 && mg_ws_stream_begin(c, WEBSOCKET_OP_BINARY)) mg_ws_stream_write(c, m->data.buf, m->data.len);
    if (any(8) == 0) mg_ws_stream_end(c);
    if (any(64) == 0) mg_ws_close(c, 1000, mg_str("enough"));
  } else if (ev == MG_EV_WS_CTL) {
    MUST(m->data.len <= 125);
  } else if (ev == MG_EV_WS_OPEN) {
    MUST(mg_ws_join(c, mg_str("all")));
  } else if (ev == MG_EV_CLOSE && c == conn) {
    conn = NULL;
  }
}

static void must_be_frames(const char *s, size_t len) {
  struct mg_ws_frame_rules rules = {1 << 20, false, packs};
  struct mg_str text = mg_str_n(s, len), end = mg_str("\r\n\r\n");
  size_t i;
  for (i = 0; i + 4 <= len && memcmp(s + i, end.buf, 4) != 0; i++) (void) 0;
  MUST(i + 4 <= len && memcmp(text.buf, "HTTP/1.1 101", 12) == 0);
  for (s += i + 4, len -= i + 4; len > 0;) {
    struct mg_ws_frame f;
    int n = mg_ws_frame_parse(&f, mg_str_n(s, len), &rules);
    MUST(n >= 0);
    if (n == 0 || len - (size_t) n < f.len) return;
    s += (size_t) n + f.len;
    len -= (size_t) n + f.len;
    if (f.op == WEBSOCKET_OP_CLOSE) MUST(len == 0);
  }
}

static size_t from_hex(const uint8_t *data, size_t size, uint8_t *to) {
  size_t n = 0, i;
  for (i = 0; i + 2 <= size; i += 2) {
    if (mg_str_to_num(mg_str_n((const char *) data + i, 2), 16, to + n, 1)) n++;
  }
  return n;
}

/* Pieces of the input as frames: the first two bytes of each choose opcode and length. */
static size_t frames_of(const uint8_t *data, size_t size, char *to, size_t room) {
  size_t n = 0;
  while (size >= 2 && room - n > 256 + MG_WS_HEAD_MAX) {
    size_t len = data[1] < size - 2 ? data[1] : size - 2;
    uint8_t mask[4] = {1, 2, 3, 4};
    size_t head = mg_ws_frame_head((uint8_t *) to + n, data[0], len, mask);
    mg_ws_mask(to + n + head, data + 2, len, mask, 0);
    n += head + len;
    data += 2 + len;
    size -= 2 + len;
  }
  return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char request[] =
      "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
  static uint8_t plain[30000];
  static char in[1 << 17], out[1 << 22];
  static struct mg_ws_limits limits;
  size_t at = 0, len = 0, total = sizeof(request) - 1, i;
  ssize_t n;
  int sv[2];
  if (size < 1 || size > 60000) return 0;
  if (listener == NULL) {
    mg_log_set(MG_LL_NONE);
    mg_mgr_init(&mgr);
    listener = mg_http_listen(&mgr, "http://127.0.0.1:0", on_event, NULL);
    MUST(listener != NULL);
    limits = mg_limits_default.ws;
    limits.max_frame = 10000;
    limits.max_message = 20000;
    opts.limits = &limits;
  }
  state = 2166136261u;
  for (i = 0; i < size; i++) state = (state ^ data[i]) * 16777619u;
  opts.compress = (data[0] & 1) != 0;
  opts.takeover = (data[0] & 2) != 0;
  packs = opts.compress && mg_ws_can_compress();
  memcpy(in, request, total);
  i = data[0];
  data++, size--;
  if (i & 8) {
    size = from_hex(data, size, plain);
    data = plain;
  }
  if (i & 4) {
    total += frames_of(data, size, in + total, sizeof(in) - total);
  } else {
    memcpy(in + total, data, size);
    total += size;
  }
  MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
  conn = mg_wrapfd(&mgr, sv[0], on_event, NULL);
  MUST(conn != NULL);
  conn->pfn = listener->pfn;
  conn->proto = listener->proto;
  for (i = 0; i < 5000; i++) {
    if (at < total) {
      size_t k = any(3) == 0 ? total - at : 1 + any(300);
      if (k > total - at) k = total - at;
      n = send(sv[1], in + at, k, MSG_NOSIGNAL);
      if (n > 0) at += (size_t) n;
      if (n < 0 && conn == NULL) at = total;
    } else if (any(4) == 0) {
      shutdown(sv[1], SHUT_WR);
    }
    mg_mgr_poll(&mgr, 0);
    n = len < sizeof(out) ? recv(sv[1], out + len, sizeof(out) - len, 0) : 0;
    if (n > 0) len += (size_t) n;
    if (conn == NULL && n <= 0) break;
  }
  MUST(conn == NULL);
  MUST(mgr.nconns == 1 && !mg_mgr_owes(&mgr));
  MUST(mg_ws_members(&mgr, mg_str("all")) == 0);
  close(sv[1]);
  must_be_frames(out, len);
  return 0;
}
