/* fuzz_ws_client.c - the input is what a server says to our WebSocket client, over a Unix socket, in cuts.
 *
 * Invariant: the client never crashes; it opens only for the answer to its own key; messages are within the limits, and texts UTF-8; what
 * it says are masked frames, with nothing behind a close frame; once the server has ended, the connection closes and leaves nothing.
 * The first byte: 1 the input is all of the answer, $KEY in it being the right Sec-WebSocket-Accept, else it follows a good one;
 * 2 compression is agreed on; 4 the input is payloads to be framed here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "mongoose/base/log.h"
#include "mongoose/proto/http.h"
#include "mongoose/proto/ws_conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static struct mg_mgr mgr;
static struct mg_connection *conn;
static char url[128], path[100], accept_key[32];
static int listener = -1, opens;
static uint32_t state;

static uint32_t any(uint32_t n) {
  state = state * 1664525u + 1013904223u;
  return (state >> 16) % n;
}

static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_ws_message *m = (struct mg_ws_message *) ev_data;
  if (ev == MG_EV_WS_OPEN) {
    struct mg_str *v = mg_http_get_header((struct mg_http_message *) ev_data, "Sec-WebSocket-Accept");
    MUST(++opens == 1 && v != NULL && mg_strcmp(mg_ws_trim(*v), mg_str(accept_key)) == 0);
  } else if (ev == MG_EV_WS_MSG) {
    MUST(opens == 1 && m->data.len <= 20000);
    if ((m->flags & 15) == WEBSOCKET_OP_TEXT) MUST(mg_utf8_ok(m->data));
    mg_ws_send(c, m->data.buf, m->data.len, m->flags & 15);
    if (any(64) == 0) mg_ws_close(c, 1000, mg_str("enough"));
  } else if (ev == MG_EV_WS_CTL) {
    MUST(m->data.len <= 125);
  } else if (ev == MG_EV_CLOSE && c == conn) {
    conn = NULL;
  }
}

static void remove_path(void) {
  unlink(path);
}

static void listen_here(void) {
  struct sockaddr_un sa;
  memset(&sa, 0, sizeof(sa));
  sa.sun_family = AF_UNIX;
  snprintf(path, sizeof(path), "/tmp/fuzz_ws_client.%d", (int) getpid());
  memcpy(sa.sun_path, path, strlen(path));
  listener = socket(AF_UNIX, SOCK_STREAM, 0);
  unlink(path);
  MUST(listener >= 0 && bind(listener, (struct sockaddr *) &sa, sizeof(sa)) == 0 && listen(listener, 8) == 0);
  atexit(remove_path);
  snprintf(url, sizeof(url), "ws+unix://%s", path);
  mg_log_set(MG_LL_NONE);
  mg_mgr_init(&mgr);
}

/* Its request, from which the right answer follows. */
static size_t read_request(int fd, char *buf, size_t size) {
  struct mg_http_message hm;
  size_t len = 0;
  int i, n = 0;
  for (i = 0; i < 100 && n <= 0; i++) {
    ssize_t k = recv(fd, buf + len, size - len, MSG_DONTWAIT);
    if (k > 0) len += (size_t) k;
    n = mg_http_parse(buf, len, &hm);
    mg_mgr_poll(&mgr, 0);
  }
  MUST(n > 0 && (size_t) n == len && mg_http_get_header(&hm, "Sec-WebSocket-Key") != NULL);
  mg_ws_accept(*mg_http_get_header(&hm, "Sec-WebSocket-Key"), accept_key);
  return len;
}

static size_t put(char *to, size_t at, size_t room, const void *from, size_t len) {
  if (len > room - at) len = room - at;
  memcpy(to + at, from, len);
  return at + len;
}

static size_t answer(uint8_t how, const uint8_t *data, size_t size, char *to, size_t room) {
  static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
  size_t n = 0, i;
  if (how & 1) {
    for (i = 0; i < size; i++) {
      bool here = size - i >= 4 && memcmp(data + i, "$KEY", 4) == 0;
      n = here ? put(to, n, room, accept_key, strlen(accept_key)) : put(to, n, room, data + i, 1);
      if (here) i += 3;
    }
    return n;
  }
  n = put(to, n, room, head, sizeof(head) - 1);
  n = put(to, n, room, accept_key, strlen(accept_key));
  if ((how & 2) && mg_ws_can_compress()) n = put(to, n, room, "\r\nSec-WebSocket-Extensions: permessage-deflate", 46);
  n = put(to, n, room, "\r\n\r\n", 4);
  if (!(how & 4)) return put(to, n, room, data, size);
  while (size >= 2 && room - n > 256 + MG_WS_HEAD_MAX) { /* the first two bytes of each piece choose opcode and length */
    size_t len = data[1] < size - 2 ? data[1] : size - 2;
    n += mg_ws_frame_head((uint8_t *) to + n, data[0], len, NULL);
    n = put(to, n, room, data + 2, len);
    data += 2 + len;
    size -= 2 + len;
  }
  return n;
}

static void must_be_frames(const char *s, size_t len, bool packs) {
  struct mg_ws_frame_rules rules = {1 << 20, true, packs};
  while (len > 0) {
    struct mg_ws_frame f;
    int n = mg_ws_frame_parse(&f, mg_str_n(s, len), &rules);
    MUST(n >= 0);
    if (n == 0 || len - (size_t) n < f.len) return;
    s += (size_t) n + f.len;
    len -= (size_t) n + f.len;
    if (f.op == WEBSOCKET_OP_CLOSE) MUST(len == 0);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static char in[1 << 17], out[1 << 22];
  struct mg_ws_opts opts;
  struct mg_ws_limits limits = mg_limits_default.ws;
  size_t at = 0, len, total, i;
  int fd;
  if (size < 1 || size > 60000) return 0;
  if (listener < 0) listen_here();
  state = 2166136261u;
  for (i = 0; i < size; i++) state = (state ^ data[i]) * 16777619u;
  limits.max_frame = 10000;
  limits.max_message = 20000;
  memset(&opts, 0, sizeof(opts));
  opts.limits = &limits;
  opts.compress = (data[0] & 2) != 0;
  opens = 0;
  conn = mg_ws_connect_with(&mgr, url, on_event, NULL, &opts);
  MUST(conn != NULL && (fd = accept(listener, NULL, NULL)) >= 0);
  len = read_request(fd, out, sizeof(out));
  total = answer(data[0], data + 1, size - 1, in, sizeof(in));
  len = 0;
  for (i = 0; i < 5000 && conn != NULL; i++) {
    ssize_t n;
    if (at < total) {
      size_t k = any(3) == 0 ? total - at : 1 + any(300);
      if (k > total - at) k = total - at;
      n = send(fd, in + at, k, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) at += (size_t) n;
      if (n < 0 && conn->is_closing) at = total;
    } else if (any(4) == 0) {
      shutdown(fd, SHUT_WR);
    }
    mg_mgr_poll(&mgr, 0);
    n = len < sizeof(out) ? recv(fd, out + len, sizeof(out) - len, MSG_DONTWAIT) : 0;
    if (n > 0) len += (size_t) n;
  }
  MUST(conn == NULL && mgr.nconns == 0 && !mg_mgr_owes(&mgr));
  close(fd);
  must_be_frames(out, len, opts.compress);
  return 0;
}
