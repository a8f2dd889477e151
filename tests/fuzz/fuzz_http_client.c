/* fuzz_http_client.c - the input is what a server says, in cuts, to our client over a socket pair.
 *
 * Invariant: the client never crashes; a head is told before its message; the messages that were whole, and what is said about the
 * rest, depend on the bytes alone, not on how they were cut, nor on whether bodies are collected or streamed; in the end the connection
 * closes and leaves nothing. The first byte chooses what the responses are expected to answer.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "mongoose/base/log.h"
#include "mongoose/proto/http_conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static struct mg_mgr mgr;
static struct mg_connection *conn;
static mg_event_handler_t client_events;
static uint32_t state;
static uint8_t choice;
static bool streams, in_message, raw; /* raw: what follows a 101 */
static uint64_t whole, part;          /* digests of messages that were complete, and of the body under way */
static int messages;

static uint32_t any(uint32_t n) {
  state = state * 1664525u + 1013904223u;
  return (state >> 16) % n;
}

static uint64_t mix(uint64_t h, const char *s, size_t len) {
  size_t i;
  for (i = 0; i < len; i++) h = (h ^ (uint8_t) s[i]) * 1099511628211u;
  return h;
}

static void complete(void) {
  MUST(in_message);
  in_message = false;
  whole = (whole ^ part) * 1099511628211u;
  messages++;
}

static void on_piece(struct mg_connection *c, struct mg_str piece, bool last, void *arg) {
  (void) arg;
  part = mix(part, piece.buf, piece.len);
  if (any(8) == 0 && !last) c->is_full = 1;
  if (last) {
    complete();
    mg_http_expect(c, choice & 7, 1000);
  }
}

static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_http_message *hm = (struct mg_http_message *) ev_data;
  if (ev == MG_EV_HTTP_HDRS) {
    int status = mg_http_status(hm);
    if (status < 200 && status != 101) return;
    part = mix(14695981039346656037u, hm->head.buf, hm->head.len);
    in_message = true;
    raw = status == 101;
    if (streams && !raw) MUST(mg_http_stream_body(c, on_piece, NULL, c->listener->limits.max_body));
  } else if (ev == MG_EV_HTTP_MSG) {
    part = mix(part, hm->body.buf, hm->body.len);
    complete();
    mg_http_expect(c, choice & 7, 1000);
  } else if (ev == MG_EV_CLOSE && c == conn) {
    conn = NULL;
  }
}

static void run(const uint8_t *data, size_t size, bool whole_at_once) {
  int sv[2], i;
  size_t at = 0;
  whole = part = 0;
  messages = 0;
  in_message = raw = false;
  MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
  conn = mg_wrapfd(&mgr, sv[0], on_event, NULL);
  MUST(conn != NULL);
  conn->is_client = 1;
  conn->pfn = client_events;
  conn->proto = &mg_proto_http_client;
  conn->listener->limits.max_body = 5000;
  if (choice & 8) MUST(mg_http_expect(conn, choice & 7, 1000));
  for (i = 0; conn != NULL && i < 100000; i++) {
    if (at < size) {
      size_t k = whole_at_once ? size - at : 1 + any(40);
      ssize_t n;
      if (k > size - at) k = size - at;
      n = send(sv[1], data + at, k, MSG_NOSIGNAL);
      if (n > 0) at += (size_t) n;
      if (n < 0 && conn->is_closing) at = size;
    } else {
      shutdown(sv[1], SHUT_WR);
    }
    if (raw) conn->recv.len = 0;
    if (conn->is_full && any(2)) {
      conn->is_full = 0;
      mg_touch(conn);
    }
    mg_mgr_poll(&mgr, 0);
  }
  MUST(conn == NULL && mgr.nconns == 0 && !mg_mgr_owes(&mgr));
  close(sv[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint64_t digest;
  int count;
  size_t i;
  if (size < 1 || size > 30000) return 0;
  if (client_events == NULL) {
    struct mg_connection *c;
    mg_log_set(MG_LL_NONE);
    mg_mgr_init(&mgr);
    c = mg_http_connect(&mgr, "http://127.0.0.1:9", NULL, NULL); /* its events are what is wanted, not the connection */
    MUST(c != NULL);
    client_events = c->pfn;
    mg_close_conn(c);
    while (mgr.nconns > 0) mg_mgr_poll(&mgr, 0);
  }
  state = 2166136261u;
  for (i = 0; i < size; i++) state = (state ^ data[i]) * 16777619u;
  choice = data[0] & (8 | MG_HTTP_TO_HEAD | MG_HTTP_TO_CONNECT);
  streams = false;
  run(data + 1, size - 1, true);
  digest = whole;
  count = messages;
  run(data + 1, size - 1, false);
  MUST(whole == digest && messages == count);
  streams = true;
  run(data + 1, size - 1, false);
  MUST(whole == digest && messages == count);
  return 0;
}
