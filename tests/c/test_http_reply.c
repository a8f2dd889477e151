#include "http_helpers.h"

static struct mg_connection *server, *conn;
static int closes, dones, what;
static bool ok;

static void done(void *arg) {
  (*(int *) arg)++;
}

enum { PLAIN, RECIPE, RECIPE_WITH_BODY, START, START_LENGTH, START_SHORT, START_LONG, RAW_CHUNKS, REF, OWN_FIELDS, CODE, WRONG_LENGTH, LATER, TWICE, START_TWICE, PRINTF };
static int code;

static void serve(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_http_message *hm = (struct mg_http_message *) ev_data;
  if (ev == MG_EV_CLOSE && c->is_accepted) closes++;
  if (ev != MG_EV_HTTP_MSG) return;
  conn = c;
  if (mg_strcmp(hm->uri, mg_str("/next")) == 0) {
    mg_http_reply(c, 200, NULL, "next");
    return;
  }
  switch (what) {
    case PLAIN: ok = mg_http_reply_n(c, 200, mg_str("X: y\r\n"), mg_str_n("a\0b", 3)); break;
    case RECIPE: mg_http_reply(c, 200, "Transfer-Encoding: chunked\r\n", ""); break;
    case RECIPE_WITH_BODY: ok = mg_http_reply_n(c, 200, mg_str("Transfer-Encoding: chunked\r\n"), mg_str("hello")); return;
    case START: ok = mg_http_start(c, 200, mg_str("X: y\r\n")); break;
    case START_LENGTH:
    case START_SHORT:
    case START_LONG: ok = mg_http_start(c, 200, mg_str("Content-Length: 11\r\n")); break;
    case RAW_CHUNKS: ok = mg_send(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 47); break;
    case REF: ok = mg_http_reply_ref(c, 200, mg_str(NULL), mg_str("by reference"), done, &dones); break;
    case OWN_FIELDS: ok = mg_http_reply_n(c, 200, mg_str("date: then\r\nCONNECTION: keep-alive\r\ncontent-length: 2\r\n"), mg_str("ok")); break;
    case CODE: ok = mg_http_reply_n(c, code, mg_str(NULL), mg_str("body")); break;
    case WRONG_LENGTH: ok = mg_http_reply_n(c, 200, mg_str("Content-Length: 3\r\n"), mg_str("longer")); break;
    case TWICE:
      ok = mg_http_reply_n(c, 200, mg_str(NULL), mg_str("once")) && !mg_http_reply_n(c, 200, mg_str(NULL), mg_str("twice")) &&
           c->mgr->status == MG_ESTATE && !mg_http_start(c, 200, mg_str(NULL)) && c->mgr->status == MG_ESTATE &&
           !mg_http_reply_ref(c, 200, mg_str(NULL), mg_str("x"), done, &dones) && dones == 1;
      break;
    case START_TWICE:
      ok = mg_http_start(c, 200, mg_str(NULL)) && !mg_http_start(c, 200, mg_str(NULL)) && c->mgr->status == MG_ESTATE &&
           !mg_http_reply_n(c, 200, mg_str(NULL), mg_str("x")) && c->mgr->status == MG_ESTATE;
      break;
    case PRINTF: mg_http_reply(c, 200, "X: y\r\n", "%d %s", 42, "words"); break;
    default: break;
  }
  if (what == RECIPE || what == START || what == START_LENGTH || what == RAW_CHUNKS || what == START_TWICE) {
    mg_http_write_chunk(c, "hello", 5);
    mg_http_printf_chunk(c, " %s", "world");
    mg_http_write_chunk(c, "", 0);
  }
  if (what == START_SHORT) {
    mg_http_write_chunk(c, "hello", 5);
    mg_http_write_chunk(c, "", 0);
  }
  if (what == START_LONG) mg_http_write_chunk(c, "hello world and more", 20);
}

static struct peer up(int w) {
  loop_up();
  closes = dones = 0;
  ok = false;
  what = w;
  conn = NULL;
  server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve, NULL);
  return dial(server);
}

static void down(struct peer *p) {
  hang_up(p);
  loop_down();
}

/* The answer, and one behind it on the same connection. */
static struct answer ask(struct peer *p, const char *request, bool to_head) {
  struct answer a;
  say(p, request);
  CHECK(UNTIL(answer_at(p, 0, to_head, &a)));
  say(p, GET("/next"));
  CHECK(UNTIL(has(p, "next")));
  CHECK(memcmp(p->buf + a.used, "HTTP/1.1 200 OK\r\n", 17) == 0);
  return a;
}

LOOP_TEST(a_plain_answer_has_what_it_needs_once) {
  struct peer p = up(PLAIN);
  struct answer a = ask(&p, GET("/a"), false);
  CHECK(ok);
  CHECK_MEM(a.body, a.len, "a\0b", 3);
  CHECK_INT(count_of(a.head, "Date: "), 1);
  CHECK_INT(count_of(a.head, "Content-Length: 3\r\n"), 1);
  CHECK_INT(count_of(a.head, "X: y\r\n"), 1);
  CHECK_INT(count_of(a.head, "Connection"), 0);
  answer_free(&a);
  down(&p);
}

LOOP_TEST(a_formatted_answer_is_formatted) {
  struct peer p = up(PRINTF);
  struct answer a = ask(&p, GET("/a"), false);
  CHECK_MEM(a.body, a.len, "42 words", 8);
  answer_free(&a);
  down(&p);
}

LOOP_TEST(fields_of_the_application_are_not_doubled) {
  struct peer p = up(OWN_FIELDS);
  struct answer a = ask(&p, GET("/a"), false);
  CHECK_MEM(a.body, a.len, "ok", 2);
  CHECK_INT(count_of(a.head, "Date:"), 0);
  CHECK_INT(count_of(a.head, "Content-Length"), 0);
  CHECK_INT(count_of(a.head, "Connection: "), 0);
  answer_free(&a);
  down(&p);
}

static const int ways_of_pieces[] = {RECIPE, START, RAW_CHUNKS, START_TWICE};

LOOP_TEST(pieces_are_chunks_and_the_connection_goes_on) {
  for (int i = 0; i < 4; i++) {
    struct peer p = up(ways_of_pieces[i]);
    struct answer a = ask(&p, GET("/a"), false);
    CHECK_MEM(a.body, a.len, "hello world", 11);
    CHECK(a.chunked);
    CHECK_INT(count_of(a.head, "Transfer-Encoding: chunked\r\n"), 1);
    CHECK_INT(count_of(a.head, "Content-Length"), 0);
    answer_free(&a);
    down(&p);
  }
}

LOOP_TEST(a_whole_answer_that_says_chunked_is_chunked) {
  struct peer p = up(RECIPE_WITH_BODY);
  struct answer a = ask(&p, GET("/a"), false);
  CHECK(a.chunked && ok);
  CHECK_MEM(a.body, a.len, "hello", 5);
  answer_free(&a);
  down(&p);
}

LOOP_TEST(pieces_for_http_1_0_end_with_the_connection) {
  for (int i = 0; i < 2; i++) {
    struct peer p = up(ways_of_pieces[i]);
    say(&p, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    CHECK(UNTIL(gone(&p)));
    CHECK_ANSWER(&p, 0, 200, "hello world");
    CHECK(!has(&p, "chunked"));
    CHECK(has(&p, "Connection: close\r\n"));
    down(&p);
  }
}

LOOP_TEST(pieces_of_a_known_length_are_counted) {
  struct peer p = up(START_LENGTH);
  struct answer a = ask(&p, GET("/a"), false);
  CHECK(!a.chunked);
  CHECK_MEM(a.body, a.len, "hello world", 11);
  answer_free(&a);
  down(&p);
  p = up(START_LONG);
  a = ask(&p, GET("/a"), false);
  CHECK_MEM(a.body, a.len, "hello world", 11);
  answer_free(&a);
  down(&p);
}

LOOP_TEST(less_than_promised_closes) {
  struct peer p = up(START_SHORT);
  say(&p, GET("/a") GET("/next"));
  CHECK(UNTIL(gone(&p)));
  CHECK(has(&p, "hello"));
  CHECK(!has(&p, "next"));
  down(&p);
}

/* "Content-Length: 3" before six bytes: the other three must not become an answer. */
LOOP_TEST(a_length_that_lies_closes) {
  struct peer p = up(WRONG_LENGTH);
  say(&p, GET("/a") GET("/next"));
  CHECK(UNTIL(gone(&p)));
  CHECK(!has(&p, "next"));
  down(&p);
}

LOOP_TEST(head_gets_the_head_only) {
  static const int ways[] = {PLAIN, RECIPE, START, REF, START_LENGTH};
  for (int i = 0; i < 5; i++) {
    struct peer p = up(ways[i]);
    struct answer a = ask(&p, "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", true);
    CHECK_INT(a.status, 200);
    CHECK_INT(count_of(a.head, "Content-Length: "), ways[i] == PLAIN || ways[i] == REF || ways[i] == START_LENGTH);
    CHECK_INT(count_of(a.head, "Transfer-Encoding: chunked"), ways[i] == RECIPE || ways[i] == START);
    answer_free(&a);
    down(&p);
  }
}

LOOP_TEST(codes_without_a_body_have_neither_body_nor_length) {
  static const int codes[] = {204, 304};
  for (int i = 0; i < 2; i++) {
    struct peer p;
    struct answer a;
    code = codes[i];
    p = up(CODE);
    a = ask(&p, GET("/a"), false);
    CHECK_INT(a.status, codes[i]);
    CHECK_INT(count_of(a.head, "Content-Length"), 0);
    answer_free(&a);
    down(&p);
  }
}

LOOP_TEST(codes_nobody_knows_are_sent_and_impossible_ones_are_500) {
  static const int codes[][2] = {{299, 299}, {599, 599}, {999, 999}, {99, 500}, {1000, 500}, {-5, 500}};
  for (int i = 0; i < 6; i++) {
    struct peer p;
    struct answer a;
    code = codes[i][0];
    p = up(CODE);
    a = ask(&p, GET("/a"), false);
    CHECK_INT(a.status, codes[i][1]);
    CHECK_MEM(a.body, a.len, "body", 4);
    answer_free(&a);
    down(&p);
  }
}

LOOP_TEST(a_body_by_reference_is_given_back_once) {
  struct peer p = up(REF);
  struct answer a = ask(&p, GET("/a"), false);
  CHECK_MEM(a.body, a.len, "by reference", 12);
  CHECK_INT(dones, 1);
  answer_free(&a);
  down(&p);
  p = up(REF);
  a = ask(&p, "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", true);
  CHECK_INT(dones, 1);
  answer_free(&a);
  down(&p);
}

LOOP_TEST(answering_twice_is_refused) {
  struct peer p = up(TWICE);
  struct answer a = ask(&p, GET("/a"), false);
  CHECK(ok);
  CHECK_MEM(a.body, a.len, "once", 4);
  CHECK_INT(answers(&p), 2);
  answer_free(&a);
  down(&p);
}

LOOP_TEST(an_answer_may_come_from_outside_of_the_handler) {
  struct peer p = up(LATER);
  say(&p, GET("/a") GET("/next"));
  CHECK(UNTIL(conn != NULL && conn->is_resp));
  CHECK(mg_http_current(conn) > 0);
  turns(2);
  CHECK(mg_http_start(conn, 201, mg_str(NULL)));
  turns(2);
  mg_http_write_chunk(conn, "abc", 3);
  CHECK(UNTIL(has(&p, "abc\r\n")));
  mg_http_write_chunk(conn, NULL, 0);
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_ANSWER(&p, 0, 201, "abc");
  CHECK_ANSWER(&p, 1, 200, "next");
  conn = NULL;
  down(&p);
}

static void on_plain(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  if (ev == MG_EV_READ) {
    c->recv.len = 0;
    mg_http_reply(c, 200, NULL, "plain");
    c->is_draining = 1;
  }
}

LOOP_TEST(a_connection_without_a_protocol_can_be_answered_too) {
  struct peer p;
  loop_up();
  server = mg_listen(&mgr, "tcp://127.0.0.1:0", on_plain, NULL);
  p = dial(server);
  say(&p, GET("/"));
  CHECK(UNTIL(gone(&p)));
  CHECK_ANSWER(&p, 0, 200, "plain");
  down(&p);
}

LOOP_TEST(statistics_count_the_answers) {
  struct peer p;
  code = 404;
  p = up(CODE);
  say(&p, GET("/a") GET("/b"));
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_INT(mgr.stats.responses_4xx, 2);
  CHECK_INT(mgr.stats.requests, 2);
  down(&p);
}

CHECK_MAIN
