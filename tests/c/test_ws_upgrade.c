/* test_ws_upgrade.c - the server's side of the handshake: what is taken, what is refused and how. */
#include "ws_helpers.h"

static struct mg_str list[2];

LOOP_TEST(the_handshake_of_the_rfc_gets_its_answer) {
  struct peer p;
  char head[2048];
  ws_up();
  p = dial(listener);
  say(&p, HANDSHAKE "\r\n");
  CHECK_INT(take_head(&p, head), 101);
  CHECK(strstr(head, "\r\nUpgrade: websocket\r\n") != NULL && strstr(head, "\r\nConnection: Upgrade\r\n") != NULL);
  CHECK(strstr(head, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") != NULL);
  CHECK(strstr(head, "Extensions") == NULL && strstr(head, "Sec-WebSocket-Protocol") == NULL);
  CHECK(upgraded && opens == 1);
  hang_up(&p);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(closed_with, 1006);
  ws_down();
}
LOOP_TEST(frames_behind_the_request_are_frames_and_not_http) {
  char bytes[512];
  size_t len = sizeof(HANDSHAKE "\r\n") - 1;
  ws_up();
  memcpy(bytes, HANDSHAKE "\r\n", len);
  len += frame_of(bytes + len, 0x81, "GET / HTTP/1.1\r\n\r\n", 18);
  len += frame_of(bytes + len, 0x82, "two", 3);
  for (size_t cut = 0; cut < len; cut += cut < 150 ? 50 : 1) {
    struct peer p = dial(listener);
    char head[2048];
    msgs = 0;
    echoes = true;
    say_n(&p, bytes, cut);
    turns(2);
    say_n(&p, bytes + cut, len - cut);
    CHECK_INT(take_head(&p, head), 101);
    CHECK_FRAME(&p, 0x81, "GET / HTTP/1.1\r\n\r\n", 18);
    CHECK_FRAME(&p, 0x82, "two", 3);
    CHECK_INT(msgs, 2);
    hang_up(&p);
  }
  ws_down();
}
static void upgrade_early(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_HTTP_HDRS) {
    mg_ws_upgrade(c, (struct mg_http_message *) ev_data, NULL);
  } else {
    ws_server(c, ev, ev_data);
  }
}
LOOP_TEST(an_upgrade_may_come_with_the_head_already) {
  struct peer p;
  char bytes[512], head[2048];
  size_t len = sizeof(HANDSHAKE "\r\n") - 1;
  ws_up();
  listener->fn = upgrade_early;
  echoes = true;
  memcpy(bytes, HANDSHAKE "\r\n", len);
  len += frame_of(bytes + len, 0x81, "hello", 5);
  p = dial(listener);
  say_n(&p, bytes, len);
  CHECK_INT(take_head(&p, head), 101);
  CHECK_FRAME(&p, 0x81, "hello", 5);
  CHECK_INT(msgs, 1);
  hang_up(&p);
  ws_down();
}

static unsigned long waiting;
static struct mg_http_message kept;
static struct mg_chunk *kept_chunk;
static void put_off(struct mg_connection *c, struct mg_http_message *hm) {
  kept = *hm;
  kept_chunk = mg_chunk_hold(c->recv.chunk);
  waiting = mg_http_defer(c);
  server = c;
}
LOOP_TEST(an_upgrade_that_was_put_off_finds_its_frames_unread) {
  struct peer p;
  char bytes[512], head[2048];
  size_t len = sizeof(HANDSHAKE "\r\n") - 1;
  ws_up();
  on_http = put_off;
  echoes = true;
  memcpy(bytes, HANDSHAKE "\r\n", len);
  len += frame_of(bytes + len, 0x81, "GET /early HTTP/1.1\r\nHost: x\r\n\r\n", 32);
  p = dial(listener);
  say_n(&p, bytes, len);
  CHECK(UNTIL(server != NULL));
  turns(5);
  CHECK_INT(msgs + opens, 0);
  CHECK(mg_http_aim(server, waiting));
  CHECK(mg_ws_upgrade_with(server, &kept, &opts));
  mg_http_unaim(server);
  mg_chunk_drop(kept_chunk);
  CHECK_INT(take_head(&p, head), 101);
  CHECK_FRAME(&p, 0x81, "GET /early HTTP/1.1\r\nHost: x\r\n\r\n", 32);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(a_handshake_that_was_put_off_can_be_refused_and_the_connection_goes_on) {
  struct peer p;
  ws_up();
  on_http = put_off;
  p = dial(listener);
  say(&p, HANDSHAKE "\r\n");
  CHECK(UNTIL(server != NULL));
  CHECK(mg_http_aim(server, waiting));
  mg_http_reply(server, 403, NULL, "no");
  mg_http_unaim(server);
  mg_chunk_drop(kept_chunk);
  CHECK(UNTIL(answers(&p) == 1));
  CHECK_ANSWER(&p, 0, 403, "no");
  on_http = NULL;
  say(&p, HANDSHAKE "\r\n");
  CHECK(UNTIL(opens == 1));
  hang_up(&p);
  ws_down();
}

LOOP_TEST(what_is_no_handshake_is_told_why) {
#define REQ(method, version, lines) method " / " version "\r\nHost: x\r\n" lines "\r\n"
#define UP "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define V13 "Sec-WebSocket-Version: 13\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
  static const struct {
    const char *request;
    int status;
    const char *says;
  } cases[] = {
      {REQ("GET", "HTTP/1.1", V13 KEY), 426, "Upgrade: websocket"},
      {REQ("GET", "HTTP/1.1", "Upgrade: websocket\r\n" V13 KEY), 426, "Sec-WebSocket-Version: 13"},
      {REQ("GET", "HTTP/1.1", "Upgrade: h2c\r\nConnection: Upgrade\r\n" V13 KEY), 426, "Upgrade: websocket"},
      {REQ("POST", "HTTP/1.1", UP V13 KEY), 405, "Allow: GET"},
      {REQ("GET", "HTTP/1.0", UP V13 KEY), 400, "HTTP/1.1"},
      {REQ("GET", "HTTP/1.1", UP KEY), 426, "Sec-WebSocket-Version: 13"},
      {REQ("GET", "HTTP/1.1", UP "Sec-WebSocket-Version: 12\r\n" KEY), 426, "Sec-WebSocket-Version: 13"},
      {REQ("GET", "HTTP/1.1", UP V13 V13 KEY), 426, "Sec-WebSocket-Version: 13"},
      {REQ("GET", "HTTP/1.1", UP V13), 400, "Sec-WebSocket-Key"},
      {REQ("GET", "HTTP/1.1", UP V13 KEY KEY), 400, "Sec-WebSocket-Key"},
      {REQ("GET", "HTTP/1.1", UP V13 "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4P\r\n"), 400, "Sec-WebSocket-Key"},
      {REQ("GET", "HTTP/1.1", UP V13 "Sec-WebSocket-Key: !!hlIHNhbXBsZSBub25jZQ==\r\n"), 400, "Sec-WebSocket-Key"},
      {REQ("GET", "HTTP/1.1", UP V13 KEY "Content-Length: 2\r\n") "ab", 400, "body"},
      {REQ("GET", "HTTP/1.1", UP V13 KEY "Transfer-Encoding: chunked\r\n") "0\r\n\r\n", 400, "body"},
  };
  ws_up();
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct peer p = dial(listener);
    say(&p, cases[i].request);
    CHECK(UNTIL(answers(&p) == 1));
    CHECK_INT(atoi(p.buf + 9), cases[i].status);
    CHECK(has(&p, cases[i].says));
    CHECK(!upgraded && mgr.status == MG_EPROTO);
    hang_up(&p);
  }
  CHECK_INT(opens, 0);
  ws_down();
}
LOOP_TEST(only_listed_origins_connect) {
  static const char *const refused[] = {"", "Origin: https://evil.example\r\n", "Origin: https://good.example.evil\r\n",
                                        "Origin: https://good.example\r\nOrigin: https://evil.example\r\n"};
  struct peer p;
  ws_up();
  list[0] = mg_str("https://good.example");
  opts.origins = list;
  opts.norigins = 1;
  for (int i = 0; i < 4; i++) {
    p = dial(listener);
    say(&p, HANDSHAKE), say(&p, refused[i]), say(&p, "\r\n");
    CHECK(UNTIL(answers(&p) == 1));
    CHECK_INT(atoi(p.buf + 9), 403);
    hang_up(&p);
  }
  p = ws_dial_with("Origin: HTTPS://good.example\r\n");
  CHECK_INT(opens, 1);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(the_servers_favourite_subprotocol_wins) {
  struct peer p;
  char head[2048];
  ws_up();
  list[0] = mg_str("v2"), list[1] = mg_str("v1");
  opts.protocols = list;
  opts.nprotocols = 2;
  p = dial(listener);
  say(&p, HANDSHAKE "Sec-WebSocket-Protocol: v0, v1\r\nSec-WebSocket-Protocol: v2\r\n\r\n");
  CHECK_INT(take_head(&p, head), 101);
  CHECK(strstr(head, "\r\nSec-WebSocket-Protocol: v2\r\n") != NULL);
  CHECK_STR(mg_ws_protocol(server), "v2");
  hang_up(&p);
  p = dial(listener);
  say(&p, HANDSHAKE "Sec-WebSocket-Protocol: v3\r\n\r\n");
  CHECK_INT(take_head(&p, head), 101);
  CHECK(strstr(head, "Sec-WebSocket-Protocol") == NULL);
  CHECK_STR(mg_ws_protocol(server), "");
  hang_up(&p);
  ws_down();
}
LOOP_TEST(lines_of_the_application_are_added) {
  struct peer p;
  char head[2048];
  ws_up();
  opts.headers = mg_str("X-Seen: 100%\r\nSec-WebSocket-Protocol: mqtt\r\n");
  p = dial(listener);
  say(&p, HANDSHAKE "Sec-WebSocket-Protocol: mqtt\r\n\r\n");
  CHECK_INT(take_head(&p, head), 101);
  CHECK(strstr(head, "\r\nX-Seen: 100%\r\n") != NULL && count_of(head, "Sec-WebSocket-Protocol: mqtt\r\n") == 1);
  CHECK_STR(mg_ws_protocol(server), "mqtt");
  hang_up(&p);
  ws_down();
}
static void twice(struct mg_connection *c, struct mg_http_message *hm) {
  mg_http_reply(c, 200, NULL, "first");
  CHECK(!mg_ws_upgrade_with(c, hm, NULL));
  CHECK_INT(c->mgr->status, MG_ESTATE);
}
LOOP_TEST(a_request_that_is_answered_is_not_upgraded) {
  struct peer p;
  ws_up();
  on_http = twice;
  p = dial(listener);
  say(&p, HANDSHAKE "\r\n");
  CHECK(UNTIL(answers(&p) == 1));
  CHECK_ANSWER(&p, 0, 200, "first");
  hang_up(&p);
  ws_down();
}
static int requests;
static void defer_first(struct mg_connection *c, struct mg_http_message *hm) {
  if (requests++ == 0) {
    waiting = mg_http_defer(c);
    server = c;
  } else {
    CHECK(!mg_ws_upgrade_with(c, hm, NULL));
  }
}
LOOP_TEST(a_handshake_behind_an_unanswered_request_is_refused) {
  struct peer p;
  ws_up();
  on_http = defer_first;
  requests = 0;
  p = dial(listener);
  say(&p, GET("/slow") HANDSHAKE "\r\n");
  CHECK(UNTIL(requests == 2));
  CHECK(mg_http_aim(server, waiting));
  mg_http_reply(server, 200, NULL, "slow");
  mg_http_unaim(server);
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_INT(count_in(&p, "HTTP/1.1 400"), 1);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(running_out_of_memory_in_a_handshake_leaks_nothing) {
  ws_up();
  opts.compress = opts.takeover = true;
  list[0] = mg_str("v1");
  opts.protocols = list;
  opts.nprotocols = 1;
  for (long n = 1; n < 12; n++) {
    struct peer p = dial(listener);
    char head[2048];
    int status;
    say(&p, HANDSHAKE "Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n");
    turns(3);
    say(&p, "\r\n");
    mg_mgr_wait(&mgr, 100);
    mg_alloc_fail_at(n);
    mg_mgr_dispatch(&mgr);
    mg_alloc_fail_at(0);
    mg_mgr_flush(&mgr);
    status = take_head(&p, head);
    CHECK(status == 101 || status == 503 || status == 0);
    hang_up(&p);
  }
  ws_down();
}
CHECK_MAIN
