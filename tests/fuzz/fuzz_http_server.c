/* fuzz_http_server.c - the input is what a client says, in cuts, to a real server over a socket pair.
 *
 * Invariant: the server never crashes; what it says is well-formed responses, the last one perhaps cut; a handler sees a request's
 * head before its message; each request is one line of the access log, well-formed; once the client has ended and every deferred answer is given, the connection closes and leaves nothing.
 * How requests are answered (at once, later, in pieces, by hand, as a stream) depends on the input.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "log_line.h"
#include "mongoose/codec/http_chunked.h"
#include "mongoose/loop/io.h"
#include "mongoose/proto/http.h"
#include "mongoose/proto/http_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static struct mg_mgr mgr;
static struct mg_connection *listener, *conn;
static uint32_t state;
static unsigned long waiting[64];
static int nwaiting, heads;

static uint64_t lines;

static void take(void *arg, int level, struct mg_str json) {
  struct log_line line;
  (void) arg;
  (void) level;
  log_line_read(&line, json.buf, json.len);
  log_line_free(&line);
  lines++;
}

static uint32_t any(uint32_t n) {
  state = state * 1664525u + 1013904223u;
  return (state >> 16) % n;
}

static void on_piece(struct mg_connection *c, struct mg_str piece, bool last, void *arg) {
  (void) arg;
  (void) piece;
  if (any(8) == 0 && !last) c->is_full = 1;
  if (last) mg_http_reply(c, 200, NULL, "streamed");
}

static bool is_head(const struct mg_http_message *hm) {
  return hm->method.len == 4 && memcmp(hm->method.buf, "HEAD", 4) == 0;
}

static void answer(struct mg_connection *c, struct mg_http_message *hm) {
  static const char raw[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nraw";
  switch (is_head(hm) ? 0 : any(6)) {
    case 0: mg_http_reply(c, 204, NULL, ""); break;
    case 1: mg_http_reply_n(c, 200, mg_str(NULL), hm->body); break;
    case 2:
      if (nwaiting < 64) waiting[nwaiting++] = mg_http_defer(c);
      break;
    case 3:
      mg_http_start(c, 200, mg_str(NULL));
      mg_http_write_chunk(c, hm->body.buf, hm->body.len > 0 ? 1 : 0);
      mg_http_write_chunk(c, NULL, 0);
      break;
    case 4: mg_send(c, raw, sizeof(raw) - 1); break;
    default: mg_http_reply_ref(c, 200, mg_str(NULL), mg_str("reference"), NULL, NULL); break;
  }
}

static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_HTTP_HDRS && !is_head((struct mg_http_message *) ev_data)) { /* answers to HEAD could not be told apart below */
    if (any(4) == 0) mg_http_stream_body(c, on_piece, NULL, any(2) * 100);
    if (any(16) == 0) mg_http_reply(c, 403, NULL, "early");
  }
  if (ev == MG_EV_HTTP_MSG) {
    MUST(heads-- == 1);
    answer(c, (struct mg_http_message *) ev_data);
  } else if (ev == MG_EV_HTTP_HDRS) {
    heads = 1;
  }
  if (ev == MG_EV_CLOSE && c == conn) conn = NULL;
}

static void answer_one(void) {
  int i = (int) any((uint32_t) nwaiting);
  if (mg_http_aim(conn, waiting[i])) mg_http_reply(conn, 200, NULL, "later");
  mg_http_unaim(conn);
  waiting[i] = waiting[--nwaiting];
}

static void turn(void) {
  if (conn != NULL && conn->is_full && any(2)) {
    conn->is_full = 0;
    mg_touch(conn);
  }
  mg_mgr_poll(&mgr, 0);
  if (conn != NULL && nwaiting > 0 && any(3) == 0) answer_one();
}

static void must_be_responses(const char *s, size_t len) {
  static const struct mg_http_parse_limits lim = {8192, 65536, 65536, MG_MAX_HTTP_HEADERS};
  while (len > 0) {
    struct mg_http_parser p;
    struct mg_http_message hm;
    size_t used;
    int n;
    memset(&p, 0, sizeof(p));
    p.is_response = 1;
    n = mg_http_parse_head(&p, mg_str_n(s, len), &lim, &hm);
    MUST(n >= 0);
    if (n == 0) return;
    used = (size_t) n;
    if (p.chunked) {
      struct mg_http_chunked ch;
      memset(&ch, 0, sizeof(ch));
      while (!ch.done && used < len) {
        struct mg_str piece;
        ptrdiff_t k = mg_http_chunked_feed(&ch, mg_str_n(s + used, len - used), &piece);
        MUST(k > 0);
        used += (size_t) k;
      }
    } else if (p.has_length) {
      if (len - used < p.content_length) return;
      used += (size_t) p.content_length;
    } else {
      MUST(p.status < 200 || p.status == 204 || !p.keep_alive);
      if (p.status == 200) return;
    }
    s += used;
    len -= used;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static char out[1 << 20];
  size_t at = 0, len = 0, i;
  ssize_t n;
  int sv[2];
  if (listener == NULL) {
    struct mg_listen_opts opts;
    static struct mg_limits limits;
    memset(&opts, 0, sizeof(opts));
    limits = mg_limits_default;
    limits.max_body = 5000;
    limits.max_requests = 40;
    opts.limits = &limits;
    mg_mgr_init(&mgr);
    listener = mg_http_listen_with(&mgr, "http://127.0.0.1:0", on_event, NULL, &opts);
    MUST(listener != NULL && mg_http_log(listener, take, NULL));
  }
  state = 2166136261u;
  for (i = 0; i < size; i++) state = (state ^ data[i]) * 16777619u;
  nwaiting = heads = 0;
  MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
  conn = mg_wrapfd(&mgr, sv[0], on_event, NULL);
  MUST(conn != NULL);
  conn->pfn = listener->pfn;
  conn->proto = listener->proto;
  mg_listener_drop(conn->listener);
  conn->listener = mg_listener_hold(listener->listener);
  lines = mgr.stats.requests;
  for (i = 0; i < 5000; i++) {
    if (at < size) {
      size_t k = any(3) == 0 ? size - at : 1 + any(40);
      if (k > size - at) k = size - at;
      n = send(sv[1], data + at, k, MSG_NOSIGNAL);
      if (n > 0) at += (size_t) n;
      if (n < 0 && conn == NULL) at = size;
    } else if (nwaiting == 0 && any(4) == 0) {
      shutdown(sv[1], SHUT_WR);
    }
    turn();
    n = recv(sv[1], out + len, sizeof(out) - len, 0);
    if (n > 0) len += (size_t) n;
    if (conn == NULL && n <= 0) break;
  }
  MUST(conn == NULL); /* closed, and so the loop is idle but for the listener */
  MUST(mgr.nconns == 1 && !mg_mgr_owes(&mgr));
  MUST(lines == mgr.stats.requests);
  close(sv[1]);
  must_be_responses(out, len);
  return 0;
}
