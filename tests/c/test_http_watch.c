#include "http_helpers.h"

/* One answer by hand, in these pieces, a turn apart (the first in the handler, or later too). */
static const char *const *script;
static int npieces, said, msgs;
static bool by_ref, in_handler;
static struct mg_connection *server, *conn;

static void say_piece(void) {
  const char *s = script[said++];
  if (by_ref) {
    mg_send_ref(conn, s, strlen(s), NULL, NULL);
  } else {
    mg_send(conn, s, strlen(s));
  }
}

static void serve(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_http_message *hm = (struct mg_http_message *) ev_data;
  if (ev != MG_EV_HTTP_MSG) return;
  msgs++;
  conn = c;
  if (mg_strcmp(hm->uri, mg_str("/raw")) != 0) {
    mg_http_reply(c, 200, NULL, "%.*s", (int) hm->uri.len, hm->uri.buf);
  } else if (in_handler) {
    while (said < npieces) say_piece();
  }
}

/* The answer by hand, then two more on the same connection: one that was pipelined, one that comes afterwards. */
static void goes_on(const char *request, const char *const *pieces, int n, const char *whole) {
  for (int how = 0; how < 4; how++) {
    struct peer p;
    char *expected;
    loop_up();
    server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve, NULL);
    p = dial(server);
    script = pieces;
    npieces = n;
    said = msgs = 0;
    by_ref = how & 1;
    in_handler = how & 2;
    say(&p, request);
    say(&p, GET("/piped"));
    CHECK(UNTIL(msgs >= 1));
    turns(2);
    while (said < n) {
      CHECK_INT(msgs, 1);
      say_piece();
      turns(2);
    }
    CHECK(UNTIL(has(&p, "/piped")));
    say(&p, GET("/next"));
    CHECK(UNTIL(has(&p, "/next")));
    CHECK(!gone(&p));
    expected = (char *) malloc(strlen(whole) + 1);
    strcpy(expected, whole);
    CHECK_MEM(p.buf, strlen(whole) < p.len ? strlen(whole) : p.len, expected, strlen(whole));
    CHECK(memcmp(p.buf + strlen(whole), "HTTP/1.1 200 OK\r\n", 17) == 0);
    free(expected);
    hang_up(&p);
    loop_down();
  }
}

#define PIECES(...) (const char *const[]){__VA_ARGS__}, (int) (sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

LOOP_TEST(a_counted_answer_by_hand_completes_the_request) {
  goes_on(GET("/raw"), PIECES("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  goes_on(GET("/raw"), PIECES("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "hello"),
          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  goes_on(GET("/raw"), PIECES("HTTP/1.1 200 OK\r", "\nContent-Le", "ngth: 5\r\n\r", "\nhe", "llo"),
          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  goes_on(GET("/raw"), PIECES("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

LOOP_TEST(an_answer_by_hand_without_a_body_completes_the_request) {
  goes_on(GET("/raw"), PIECES("HTTP/1.1 204 No Content\r\n", "\r\n"), "HTTP/1.1 204 No Content\r\n\r\n");
  goes_on(GET("/raw"), PIECES("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"), "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
  goes_on("HEAD /raw HTTP/1.1\r\nHost: x\r\n\r\n", PIECES("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
  goes_on("HEAD /raw HTTP/1.1\r\nHost: x\r\n\r\n", PIECES("HTTP/1.1 200 OK\r\n", "\r\n"), "HTTP/1.1 200 OK\r\n\r\n");
}

LOOP_TEST(a_chunked_answer_by_hand_completes_the_request) {
  goes_on(GET("/raw"), PIECES("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhel", "lo\r\n0\r", "\n\r\n"),
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
}

LOOP_TEST(an_interim_answer_by_hand_is_not_the_answer) {
  goes_on(GET("/raw"), PIECES("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Le", "ngth: 1\r\n\r\nx"),
          "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
}

static char *big;
enum { BIG = 2000000 };

static void serve_big(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_http_message *hm = (struct mg_http_message *) ev_data;
  if (ev != MG_EV_HTTP_MSG) return;
  if (mg_strcmp(hm->uri, mg_str("/raw")) == 0) {
    mg_send(c, "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n", 44);
    if (by_ref) {
      mg_send_ref(c, big, BIG, NULL, NULL);
    } else {
      mg_send(c, big, BIG);
    }
  } else {
    mg_http_reply(c, 200, NULL, "small");
  }
}

LOOP_TEST(a_large_answer_by_hand_completes_the_request) {
  big = (char *) malloc(BIG);
  memset(big, 'b', BIG);
  for (int how = 0; how < 2; how++) {
    struct peer p;
    by_ref = how;
    loop_up();
    server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve_big, NULL);
    p = dial(server);
    say(&p, GET("/raw") GET("/x"));
    CHECK(UNTIL(pump(&p) && p.len > BIG && answers(&p) == 2));
    CHECK_ANSWER(&p, 1, 200, "small");
    hang_up(&p);
    loop_down();
  }
  free(big);
}

/* Streaming by hand while the request's body still comes: what was flushed before the end is not forgotten. */
static void on_piece(struct mg_connection *c, struct mg_str piece, bool last, void *arg) {
  mg_send(c, piece.buf, piece.len);
  (void) last;
  (void) arg;
}

static void serve_pipe(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_HTTP_HDRS) {
    struct mg_http_message *hm = (struct mg_http_message *) ev_data;
    if (mg_strcmp(hm->uri, mg_str("/pipe")) != 0) return;
    mg_http_stream_body(c, on_piece, NULL, 0);
    mg_send(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", 38);
  } else if (ev == MG_EV_HTTP_MSG) {
    mg_http_reply(c, 200, NULL, "next");
  }
}

LOOP_TEST(an_answer_by_hand_may_follow_the_body_as_it_comes) {
  struct peer p;
  loop_up();
  server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve_pipe, NULL);
  p = dial(server);
  say(&p, "POST /pipe HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n");
  turns(3);
  say(&p, "ab");
  CHECK(UNTIL(has(&p, "ab")));
  say(&p, "cd");
  CHECK(UNTIL(has(&p, "abcd")));
  say(&p, "ef" GET("/next"));
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_ANSWER(&p, 0, 200, "abcdef");
  CHECK_ANSWER(&p, 1, 200, "next");
  hang_up(&p);
  loop_down();
}

static void serve_until_close(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  if (ev == MG_EV_HTTP_MSG) {
    msgs++;
    mg_send(c, "HTTP/1.1 200 OK\r\n\r\nhello", 24);
    conn = c;
  }
}

LOOP_TEST(an_answer_by_hand_without_a_length_ends_with_the_connection) {
  struct peer p;
  loop_up();
  msgs = 0;
  server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve_until_close, NULL);
  p = dial(server);
  say(&p, GET("/a") GET("/b"));
  CHECK(UNTIL(has(&p, "hello")));
  turns(3);
  CHECK_INT(msgs, 1);
  CHECK(!gone(&p));
  mg_send(conn, " world", 6);
  conn->is_draining = 1;
  CHECK(UNTIL(gone(&p)));
  CHECK_ANSWER(&p, 0, 200, "hello world");
  hang_up(&p);
  loop_down();
}

static void serve_close_line(struct mg_connection *c, int ev, void *ev_data) {
  static const char s[] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
  (void) ev_data;
  if (ev == MG_EV_HTTP_MSG) mg_send(c, s, sizeof(s) - 1);
}

LOOP_TEST(an_answer_by_hand_that_announces_a_close_is_followed_by_one) {
  struct peer p;
  loop_up();
  server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve_close_line, NULL);
  p = dial(server);
  say(&p, GET("/a") GET("/b"));
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(answers(&p), 1);
  CHECK_INT(p.err, 0);
  hang_up(&p);
  loop_down();
}

CHECK_MAIN
