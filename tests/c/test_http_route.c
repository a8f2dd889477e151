#include "http_helpers.h"

static struct mg_connection *server;
static int msgs;

static void serve(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_HTTP_MSG) {
    msgs++;
    mg_http_reply(c, 200, NULL, "handler");
  }
  (void) ev_data;
}

static struct peer up(void) {
  loop_up();
  msgs = 0;
  server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve, NULL);
  CHECK(mg_route_static(server, mg_str("/s"), 200, mg_str("Content-Type: text/plain\r\n"), mg_str("static")));
  return dial(server);
}

static void down(struct peer *p) {
  hang_up(p);
  loop_down();
}

LOOP_TEST(a_static_path_needs_no_handler) {
  struct peer p = up();
  struct answer a;
  say(&p, GET("/s") GET("/s?q=1") GET("/other") GET("/s/") GET("/S"));
  CHECK(UNTIL(answers(&p) == 5));
  CHECK_ANSWER(&p, 0, 200, "static");
  CHECK_ANSWER(&p, 1, 200, "static");
  CHECK_ANSWER(&p, 2, 200, "handler");
  CHECK_INT(msgs, 3);
  CHECK(answer_at(&p, 0, false, &a));
  CHECK_INT(count_of(a.head, "Date: "), 1);
  CHECK_INT(count_of(a.head, "Content-Type: text/plain\r\n"), 1);
  CHECK_INT(count_of(a.head, "Content-Length: 6\r\n"), 1);
  CHECK_INT(count_of(a.head, "Connection"), 0);
  answer_free(&a);
  down(&p);
}

LOOP_TEST(head_of_a_static_path_is_the_head) {
  struct peer p = up();
  struct answer a;
  say(&p, "HEAD /s HTTP/1.1\r\nHost: x\r\n\r\n" GET("/other"));
  CHECK(UNTIL(has(&p, "handler")));
  CHECK(answer_at(&p, 0, true, &a));
  CHECK_INT(count_of(a.head, "Content-Length: 6\r\n"), 1);
  CHECK(memcmp(p.buf + a.used, "HTTP/1.1 200", 12) == 0);
  answer_free(&a);
  down(&p);
}

LOOP_TEST(other_methods_of_a_static_path_are_not_allowed) {
  struct peer p = up();
  say(&p, "POST /s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" GET("/s"));
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_ANSWER(&p, 0, 405, "");
  CHECK(has(&p, "Allow: GET, HEAD\r\n"));
  CHECK_ANSWER(&p, 1, 200, "static");
  down(&p);
}

/* However the bytes come, a static path is a static path. */
LOOP_TEST(a_body_that_comes_later_makes_no_difference) {
  struct peer p = up();
  say(&p, "GET /s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n");
  turns(3);
  say(&p, "abc" "POST /s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" GET("/s"));
  CHECK(UNTIL(answers(&p) == 3));
  CHECK_ANSWER(&p, 0, 200, "static");
  CHECK_ANSWER(&p, 1, 405, "");
  CHECK_ANSWER(&p, 2, 200, "static");
  CHECK_INT(msgs, 0);
  down(&p);
}

LOOP_TEST(static_answers_keep_or_close_as_asked) {
  static const struct {
    const char *request;
    bool stays;
    const char *line;
  } t[] = {
      {"GET /s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", false, "Connection: close\r\n"},
      {"GET /s HTTP/1.0\r\n\r\n", false, "Connection: close\r\n"},
      {"GET /s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, "Connection: keep-alive\r\n"},
  };
  for (int i = 0; i < 3; i++) {
    struct peer p = up();
    say(&p, t[i].request);
    CHECK(UNTIL(answers(&p) == 1));
    CHECK(has(&p, t[i].line));
    if (!t[i].stays) CHECK(UNTIL(gone(&p)));
    turns(3);
    CHECK(gone(&p) == !t[i].stays);
    CHECK_ANSWER(&p, 0, 200, "static");
    down(&p);
  }
}

LOOP_TEST(a_path_set_again_is_replaced_and_many_fit) {
  struct peer p = up();
  char path[32];
  CHECK(mg_route_static(server, mg_str("/s"), 404, mg_str(NULL), mg_str("new")));
  for (int i = 0; i < 500; i++) {
    snprintf(path, sizeof(path), "/r%d", i);
    CHECK(mg_route_static(server, mg_str(path), 200, mg_str(NULL), mg_str(path)));
  }
  say(&p, GET("/s") GET("/r0") GET("/r499") GET("/r500"));
  CHECK(UNTIL(answers(&p) == 4));
  CHECK_ANSWER(&p, 0, 404, "new");
  CHECK_ANSWER(&p, 1, 200, "/r0");
  CHECK_ANSWER(&p, 2, 200, "/r499");
  CHECK_ANSWER(&p, 3, 200, "handler");
  CHECK_INT(mgr.stats.responses_4xx, 1);
  down(&p);
}

LOOP_TEST(static_answers_queue_behind_deferred_ones_too) {
  struct peer p = up();
  CHECK(mg_route_static(server, mg_str("/e"), 204, mg_str(NULL), mg_str(NULL)));
  say(&p, GET("/e") GET("/s"));
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_ANSWER(&p, 0, 204, "");
  down(&p);
}

TEST(only_listeners_paths_and_final_codes_make_a_static_answer) {
  struct mg_connection *plain;
  loop_up();
  server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve, NULL);
  plain = mg_listen(&mgr, "tcp://127.0.0.1:0", serve, NULL);
  CHECK(!mg_route_static(plain, mg_str("/a"), 200, mg_str(NULL), mg_str("")));
  CHECK_INT(mgr.status, MG_EINVAL);
  CHECK(!mg_route_static(server, mg_str("a"), 200, mg_str(NULL), mg_str("")));
  CHECK(!mg_route_static(server, mg_str(""), 200, mg_str(NULL), mg_str("")));
  CHECK(!mg_route_static(server, mg_str("/a"), 100, mg_str(NULL), mg_str("")));
  CHECK(!mg_route_static(server, mg_str("/a"), 600, mg_str(NULL), mg_str("")));
  for (long n = 1; n <= 3; n++) {
    mg_alloc_fail_at(n);
    CHECK(!mg_route_static(server, mg_str("/a"), 200, mg_str(NULL), mg_str("x")) || n == 3);
    mg_alloc_fail_at(0);
  }
  CHECK(mg_route_static(server, mg_str("/a"), 200, mg_str(NULL), mg_str("x")));
  CHECK_INT(mgr.status, MG_OK);
  loop_down();
}

CHECK_MAIN
