#include "http_helpers.h"
#include "mongoose/proto/http_conn.h"
#include "mongoose/proto/http_log.h"
#include "mongoose/proto/http_static.h"
#include "mongoose/proto/ws.h"

static struct mg_connection *server;
static char lines[64][4096];
static int levels[64], told;

static void take(void *arg, int level, struct mg_str json) {
  CHECK(arg == &told);
  if (told < 64) {
    snprintf(lines[told], sizeof(lines[told]), "%.*s", (int) json.len, json.buf);
    levels[told] = level;
  }
  told++;
}

static unsigned long later, laters[4];
static int nlater;

static void on_piece(struct mg_connection *c, struct mg_str piece, bool last, void *arg) {
  (void) arg;
  if (piece.len > 0 && mg_http_unanswered(c)) {
    mg_http_start(c, 200, mg_str(""));
    mg_http_write_chunk(c, "begun", 5);
  }
  if (last) mg_http_write_chunk(c, NULL, 0);
}

static void serve(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_http_message *hm = (struct mg_http_message *) ev_data;
  if (ev == MG_EV_HTTP_HDRS && mg_strcmp(hm->uri, mg_str("/echo")) == 0) mg_http_stream_body(c, on_piece, NULL, 0);
  if (ev != MG_EV_HTTP_MSG) return;
  if (mg_strcmp(hm->uri, mg_str("/missing")) == 0) {
    mg_http_reply(c, 404, NULL, "no");
  } else if (mg_strcmp(hm->uri, mg_str("/broken")) == 0) {
    mg_http_reply(c, 500, NULL, "oh");
  } else if (mg_strcmp(hm->uri, mg_str("/stream")) == 0) {
    mg_http_start(c, 200, mg_str(""));
    mg_http_write_chunk(c, "12345", 5);
    mg_http_write_chunk(c, "678", 3);
    mg_http_write_chunk(c, NULL, 0);
  } else if (mg_strcmp(hm->uri, mg_str("/endless")) == 0) {
    mg_http_start(c, 200, mg_str(""));
    mg_http_write_chunk(c, "1", 1);
  } else if (mg_strcmp(hm->uri, mg_str("/raw")) == 0) {
    static const char raw[] = "HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nraw!";
    mg_send(c, raw, sizeof(raw) - 1);
  } else if (mg_strcmp(hm->uri, mg_str("/raw-close")) == 0) {
    static const char raw[] = "HTTP/1.1 203 OK\r\n\r\nto the end";
    mg_send(c, raw, sizeof(raw) - 1);
    c->is_draining = 1;
  } else if (mg_strcmp(hm->uri, mg_str("/later")) == 0) {
    later = mg_http_defer(c);
    if (nlater < 4) laters[nlater++] = later;
  } else if (mg_strcmp(hm->uri, mg_str("/never")) == 0) {
    (void) c;
  } else if (mg_strcmp(hm->uri, mg_str("/ws")) == 0) {
    mg_ws_upgrade(c, hm, NULL);
  } else {
    mg_http_reply(c, 200, NULL, "hello");
  }
}

static struct peer up(void) {
  loop_up();
  told = nlater = 0;
  later = 0;
  memset(lines, 0, sizeof(lines));
  server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve, NULL);
  CHECK(mg_http_log(server, take, &told));
  return dial(server);
}

static void down(struct peer *p) {
  hang_up(p);
  loop_down();
}

static bool says(int n, const char *text) {
  bool found = strstr(lines[n], text) != NULL;
  if (!found) fprintf(stderr, "not in %s\n", lines[n]);
  return found;
}

LOOP_TEST(a_record_tells_the_request_and_its_answer) {
  struct peer p = up();
  say(&p, "GET /a%20b?q=1 HTTP/1.1\r\nHost: example.org:80\r\nUser-Agent: curl/8\r\nReferer: http://x/\r\nX-Request-ID: r-1\r\n"
          "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n");
  CHECK(UNTIL(answers(&p) == 1));
  CHECK_INT(told, 1);
  CHECK_INT(levels[0], MG_HTTP_LOG_INFO);
  CHECK(strncmp(lines[0], "{\"ts\":", 6) == 0);
  CHECK(says(0, ",\"level\":\"info\",\"message\":\"request\",\"client\":\"127.0.0.1\",\"method\":\"GET\",\"path\":\"/a%20b\",\"query\":\"q=1\","
                "\"host\":\"example.org:80\",\"user_agent\":\"curl/8\",\"referer\":\"http://x/\",\"request_id\":\"r-1\","
                "\"trace_id\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"parent_id\":\"00f067aa0ba902b7\",\"status\":200,\"duration_ms\":"));
  CHECK(says(0, ",\"bytes_in\":0,\"bytes_out\":5}"));
  down(&p);
}

LOOP_TEST(levels_follow_the_status) {
  struct peer p = up();
  say(&p, GET("/") GET("/missing") GET("/broken"));
  CHECK(UNTIL(answers(&p) == 3));
  CHECK_INT(told, 3);
  CHECK_INT(levels[1], MG_HTTP_LOG_WARNING);
  CHECK_INT(levels[2], MG_HTTP_LOG_ERROR);
  CHECK(says(1, "\"level\":\"warning\"") && says(1, "\"status\":404"));
  CHECK(says(2, "\"level\":\"error\"") && says(2, "\"status\":500"));
  down(&p);
}

LOOP_TEST(bodies_are_counted_however_they_are_framed) {
  struct peer p = up();
  say(&p, "POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
  say(&p, "POST /raw HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n");
  say(&p, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(UNTIL(told == 3));
  CHECK(says(0, "\"status\":200") && says(0, "\"bytes_in\":3,\"bytes_out\":8}"));
  CHECK(says(1, "\"status\":201") && says(1, "\"bytes_in\":2,\"bytes_out\":4}"));
  CHECK(says(2, "\"bytes_out\":0}"));
  down(&p);
}

LOOP_TEST(what_a_client_writes_stays_one_line_of_json) {
  struct peer p = up();
  say(&p, "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: a\"b\\c\td\xe9\r\nReferer: \xc3\xa9\"\r\n\r\n");
  CHECK(UNTIL(told == 1));
  CHECK(says(0, "\"user_agent\":\"a\\\"b\\\\c\\u0009d\\u00e9\""));
  CHECK(says(0, "\"referer\":\"\xc3\xa9\\\"\""));
  down(&p);
}

LOOP_TEST(of_the_memory_of_records_the_largest_serves_the_next_one) {
  static const char longer[] = "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: "
                               "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\r\n\r\n";
  struct peer p = up();
  const void *small, *large;
  say(&p, GET("/"));
  CHECK(UNTIL(told == 1));
  small = mg_http_pool(&mgr)->record;
  say(&p, longer);
  CHECK(UNTIL(told == 2));
  large = mg_http_pool(&mgr)->record;
  CHECK(small != NULL && large != NULL && large != small);
  say(&p, GET("/"));
  say(&p, longer);
  CHECK(UNTIL(told == 4));
  CHECK(mg_http_pool(&mgr)->record == large);
  down(&p);
}

LOOP_TEST(a_refused_head_is_told_with_its_reason) {
  struct peer p = up();
  say(&p, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
  CHECK(UNTIL(told == 1));
  CHECK(says(0, "\"client\":\"127.0.0.1\",\"error\":\"") && says(0, "\"status\":400"));
  CHECK(strstr(lines[0], "\"method\"") == NULL);
  down(&p);
}

LOOP_TEST(an_answer_that_does_not_come_to_its_end_is_aborted) {
  struct peer p = up(), q = dial(server);
  say(&p, GET("/endless"));
  CHECK(UNTIL(has(&p, "1\r\n1\r\n")));
  say(&q, GET("/never"));
  turns(20);
  CHECK_INT(told, 0);
  hang_up(&p);
  CHECK(UNTIL(told == 1));
  CHECK(says(0, "\"status\":200") && says(0, "\"bytes_out\":1,\"aborted\":true}"));
  CHECK_INT(levels[0], MG_HTTP_LOG_WARNING);
  hang_up(&q);
  CHECK(UNTIL(told == 2));
  CHECK(says(1, "\"status\":499") && says(1, "\"aborted\":true}"));
  loop_down();
}

LOOP_TEST(deferred_answers_are_told_when_they_are_given) {
  struct peer p = up();
  struct mg_connection *c;
  say(&p, GET("/later") GET("/missing"));
  CHECK(UNTIL(told == 1)); /* the second one was answered first, though it has to wait for its turn */
  CHECK(says(0, "\"path\":\"/missing\"") && says(0, "\"status\":404"));
  c = newest();
  CHECK(c != NULL && mg_http_aim(c, later));
  mg_http_reply(c, 200, NULL, "at last");
  mg_http_unaim(c);
  mg_touch(c);
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_INT(told, 2);
  CHECK(says(1, "\"path\":\"/later\"") && says(1, "\"bytes_out\":7}"));
  down(&p);
}

static void answer_later(int n, const char *text) {
  struct mg_connection *c = newest();
  CHECK(c != NULL && mg_http_aim(c, laters[n]));
  mg_http_reply(c, 200, NULL, "%s", text);
  mg_http_unaim(c);
  mg_touch(c);
}

LOOP_TEST(an_answer_that_waits_for_its_turn_is_told_when_it_is_given) {
  struct peer p = up();
  say(&p, GET("/later") GET("/later"));
  CHECK(UNTIL(nlater == 2));
  answer_later(1, "second");
  turns(5);
  CHECK_INT(told, 1);
  CHECK(says(0, "\"bytes_out\":6}"));
  answer_later(0, "first");
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_INT(told, 2);
  CHECK(says(1, "\"bytes_out\":5}"));
  down(&p);
}

LOOP_TEST(a_refusal_is_told_at_once_though_the_connection_lingers) {
  static const char *const requests[] = {
      "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", /* 400 */
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n",          /* 413 */
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",    /* 400, in the body */
  };
  for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
    struct peer p = up(); /* which does not hang up */
    say(&p, requests[i]);
    CHECK(UNTIL(answers(&p) == 1));
    CHECK_INT(told, 1);
    CHECK(says(0, "\"status\":4") && strstr(lines[0], "aborted") == NULL);
    down(&p);
    CHECK_INT(told, 1);
  }
}

LOOP_TEST(what_came_of_a_body_is_counted_when_the_client_goes) {
  struct peer p = up();
  say(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  turns(5);
  hang_up(&p);
  CHECK(UNTIL(told == 1));
  CHECK(says(0, "\"status\":499") && says(0, "\"bytes_in\":3,") && says(0, "\"aborted\":true"));
  p = dial(server);
  say(&p, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n");
  CHECK(UNTIL(has(&p, "begun")));
  hang_up(&p);
  CHECK(UNTIL(told == 2));
  CHECK(says(1, "\"status\":200") && says(1, "\"bytes_in\":4,\"bytes_out\":5,\"aborted\":true}"));
  loop_down();
}

LOOP_TEST(an_answer_cut_by_its_request_is_aborted_behind_another_that_waits) {
  struct peer p = up();
  say(&p, GET("/later"));
  say(&p, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
  CHECK(UNTIL(nlater == 1));
  turns(5);
  say(&p, "broken\r\n");
  turns(5);
  CHECK_INT(told, 1);
  CHECK(says(0, "\"path\":\"/echo\"") && says(0, "\"bytes_in\":2,\"bytes_out\":5,\"aborted\":true}"));
  answer_later(0, "first");
  CHECK(UNTIL(told == 2 && gone(&p)));
  CHECK(says(1, "\"bytes_out\":5}"));
  down(&p);
}

LOOP_TEST(an_answer_by_hand_that_ends_with_the_connection_is_whole) {
  struct peer p = up();
  say(&p, GET("/raw-close"));
  CHECK(UNTIL(gone(&p)));
  CHECK(has(&p, "to the end"));
  CHECK(UNTIL(told == 1));
  CHECK(says(0, "\"status\":203") && says(0, "\"bytes_out\":10}"));
  CHECK_INT(levels[0], MG_HTTP_LOG_INFO);
  down(&p);
}

static void too_much(struct mg_connection *c, int ev, void *ev_data) {
  static char big[8 << 20];
  (void) ev_data;
  if (ev != MG_EV_HTTP_MSG) return;
  mg_http_reply_n(c, 200, mg_str(""), mg_str_n(big, sizeof(big)));
  c->is_draining = 1;
}

LOOP_TEST(a_connection_that_drains_slowly_is_refused_nothing) {
  struct mg_limits limits = mg_limits_default;
  struct mg_listen_opts opts;
  struct peer p;
  uint64_t timeouts;
  memset(&opts, 0, sizeof(opts));
  loop_up();
  told = 0;
  limits.header_timeout = 1;
  opts.limits = &limits;
  server = mg_http_listen_with(&mgr, "http://127.0.0.1:0", too_much, NULL, &opts);
  CHECK(mg_http_log(server, take, &told));
  p = dial_with(server, 4096);
  timeouts = mgr.stats.timeouts;
  say(&p, GET("/") "GET /half");
  CHECK(UNTIL(mgr.stats.timeouts > timeouts));
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(answers(&p), 1);
  CHECK_INT(told, 1);
  down(&p);
}

LOOP_TEST(an_upgrade_is_told_with_101) {
  struct peer p = up();
  say(&p, "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  CHECK(UNTIL(has(&p, "101 Switching")));
  CHECK_INT(told, 1);
  CHECK(says(0, "\"status\":101") && strstr(lines[0], "aborted") == NULL);
  down(&p);
}

LOOP_TEST(answers_without_a_handler_are_told) {
  struct peer p = up();
  CHECK(mg_route_static(server, mg_str("/s"), 203, mg_str(""), mg_str("static")));
  say(&p, GET("/s"));
  CHECK(UNTIL(told == 1));
  CHECK(says(0, "\"status\":203") && says(0, "\"bytes_out\":6}"));
  down(&p);
}

LOOP_TEST(only_http_listeners_have_one) {
  struct mg_connection *lc;
  loop_up();
  lc = mg_listen(&mgr, "tcp://127.0.0.1:0", serve, NULL);
  CHECK(lc != NULL && !mg_http_log(lc, take, &told));
  loop_down();
}

CHECK_MAIN
