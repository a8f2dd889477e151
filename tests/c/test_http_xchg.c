#include "http_helpers.h"

static struct mg_connection *server, *conn;
static unsigned long waiting[32];
static int nwaiting, msgs, closes;
static bool defer_in_hdrs;
static int no_more;

static void serve(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_http_message *hm = (struct mg_http_message *) ev_data;
  if (c->is_accepted) conn = c;
  if (ev == MG_EV_CLOSE && c->is_accepted) closes++;
  if (ev == MG_EV_HTTP_HDRS && defer_in_hdrs) waiting[nwaiting++] = mg_http_defer(c);
  if (ev != MG_EV_HTTP_MSG) return;
  msgs++;
  if (mg_strcmp(hm->uri, mg_str("/defer")) == 0) {
    unsigned long n = mg_http_current(c);
    if (defer_in_hdrs) return;
    waiting[nwaiting] = mg_http_defer(c);
    CHECK(n > 0 && waiting[nwaiting] == n);
    CHECK_INT(mg_http_defer(c), 0); /* once */
    CHECK_INT(mg_http_current(c), 0);
    nwaiting++;
  } else if (mg_strcmp(hm->uri, mg_str("/wait")) == 0) {
    return;
  } else {
    mg_http_reply(c, 200, NULL, "%.*s", (int) hm->uri.len, hm->uri.buf);
    no_more += !mg_http_reply_n(c, 200, mg_str(NULL), mg_str("twice")) && c->mgr->status == MG_ESTATE;
    if (mg_strcmp(hm->uri, mg_str("/drain")) == 0) c->is_draining = 1;
  }
}

static struct peer up(void) {
  loop_up();
  nwaiting = msgs = closes = no_more = 0;
  defer_in_hdrs = false;
  server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve, NULL);
  return dial(server);
}

static void down(struct peer *p) {
  hang_up(p);
  loop_down();
}

static bool answer_to(unsigned long n, const char *body) {
  bool ok = mg_http_aim(conn, n);
  if (ok) ok = mg_http_reply_n(conn, 200, mg_str(NULL), mg_str(body));
  mg_http_unaim(conn);
  return ok;
}

LOOP_TEST(sixteen_answers_in_any_order_leave_in_the_order_of_the_requests) {
  static const int orders[][16] = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                                   {15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
                                   {3, 9, 0, 15, 1, 14, 7, 2, 8, 4, 13, 6, 5, 12, 10, 11}};
  for (int o = 0; o < 3; o++) {
    for (int step = 0; step < 2; step++) { /* all in one turn, or a turn between them */
      struct peer p = up();
      char body[16];
      for (int i = 0; i < 16; i++) say(&p, GET("/defer"));
      CHECK(UNTIL(nwaiting == 16));
      for (int i = 0; i < 16; i++) {
        snprintf(body, sizeof(body), "%d", orders[o][i]);
        CHECK(answer_to(waiting[orders[o][i]], body));
        if (step) turns(1);
      }
      CHECK(UNTIL(answers(&p) == 16));
      for (int i = 0; i < 16; i++) {
        snprintf(body, sizeof(body), "%d", i);
        CHECK_ANSWER(&p, i, 200, body);
      }
      CHECK(!mg_http_busy(conn));
      say(&p, GET("/next"));
      CHECK(UNTIL(answers(&p) == 17));
      turns(2);
      CHECK(conn->pfn_data == NULL && conn->recv.buf == NULL && conn->send.buf == NULL);
      down(&p);
    }
  }
}

LOOP_TEST(the_seventeenth_request_waits_for_room) {
  struct peer p = up();
  for (int i = 0; i < 20; i++) say(&p, GET("/defer"));
  CHECK(UNTIL(nwaiting == 16));
  turns(5);
  CHECK_INT(nwaiting, 16);
  CHECK(answer_to(waiting[0], "0"));
  CHECK(UNTIL(nwaiting == 17));
  for (int i = 1; i < 17; i++) CHECK(answer_to(waiting[i], "x"));
  CHECK(UNTIL(nwaiting == 20));
  for (int i = 17; i < 20; i++) CHECK(answer_to(waiting[i], "y"));
  CHECK(UNTIL(answers(&p) == 20));
  down(&p);
}

LOOP_TEST(answers_given_at_once_wait_behind_deferred_ones) {
  struct peer p = up();
  say(&p, GET("/1") GET("/defer") GET("/3") GET("/defer") GET("/5"));
  CHECK(UNTIL(msgs == 5));
  CHECK(UNTIL(answers(&p) == 1));
  CHECK(answer_to(waiting[1], "four"));
  turns(3);
  CHECK_INT(answers(&p), 1);
  CHECK(mg_http_busy(conn));
  CHECK(answer_to(waiting[0], "two"));
  CHECK(UNTIL(answers(&p) == 5));
  CHECK_ANSWER(&p, 0, 200, "/1");
  CHECK_ANSWER(&p, 1, 200, "two");
  CHECK_ANSWER(&p, 2, 200, "/3");
  CHECK_ANSWER(&p, 3, 200, "four");
  CHECK_ANSWER(&p, 4, 200, "/5");
  CHECK_INT(no_more, 3); /* each of those was refused its second answer */
  down(&p);
}

LOOP_TEST(pieces_and_raw_bytes_collect_until_it_is_their_turn) {
  struct peer p = up();
  say(&p, GET("/defer") GET("/defer") GET("/defer") GET("/last"));
  CHECK(UNTIL(msgs == 4));
  CHECK(mg_http_aim(conn, waiting[1]));
  CHECK(mg_http_start(conn, 200, mg_str(NULL)));
  mg_http_write_chunk(conn, "tw", 2);
  mg_http_unaim(conn);
  turns(2);
  CHECK(mg_http_aim(conn, waiting[2]));
  mg_send(conn, "HTTP/1.1 200 OK\r\nContent-Le", 27);
  mg_http_unaim(conn);
  turns(2);
  CHECK(mg_http_aim(conn, waiting[2]));
  mg_send(conn, "ngth: 5\r\n\r\nthree", 16);
  mg_http_unaim(conn);
  turns(2);
  CHECK_INT(p.len, 0);
  CHECK(answer_to(waiting[0], "one"));
  CHECK(UNTIL(has(&p, "2\r\ntw\r\n")));
  CHECK(!has(&p, "three"));
  CHECK(mg_http_aim(conn, waiting[1]));
  mg_http_write_chunk(conn, "o", 1);
  mg_http_write_chunk(conn, "", 0);
  CHECK(!mg_http_aim(conn, waiting[1]));
  mg_http_unaim(conn);
  CHECK(UNTIL(answers(&p) == 4));
  CHECK_ANSWER(&p, 0, 200, "one");
  CHECK_ANSWER(&p, 1, 200, "two");
  CHECK_ANSWER(&p, 2, 200, "three");
  CHECK_ANSWER(&p, 3, 200, "/last");
  say(&p, GET("/again"));
  CHECK(UNTIL(answers(&p) == 5));
  down(&p);
}

static int dones;
static void done(void *arg) {
  (*(int *) arg)++;
}

LOOP_TEST(references_keep_their_place_in_the_queue) {
  static char big[300000];
  struct peer p = up();
  memset(big, 'b', sizeof(big) - 1);
  dones = 0;
  say(&p, GET("/defer") GET("/defer") GET("/defer") GET("/last"));
  CHECK(UNTIL(msgs == 4));
  for (int i = 2; i >= 0; i--) {
    CHECK(mg_http_aim(conn, waiting[i]));
    CHECK(mg_http_reply_ref(conn, 200, mg_str(NULL), mg_str_n(big, sizeof(big) - 1), done, &dones));
    mg_http_unaim(conn);
    turns(1);
  }
  CHECK(UNTIL(answers(&p) == 4));
  for (int i = 0; i < 3; i++) CHECK_ANSWER(&p, i, 200, big);
  CHECK_ANSWER(&p, 3, 200, "/last");
  CHECK_INT(dones, 3);
  down(&p);
}

LOOP_TEST(references_of_a_peer_that_left_are_given_back_once) {
  static char big[300000];
  struct peer p = up();
  dones = 0;
  say(&p, GET("/defer") GET("/defer"));
  CHECK(UNTIL(msgs == 2));
  CHECK(mg_http_aim(conn, waiting[1]));
  CHECK(mg_http_reply_ref(conn, 200, mg_str(NULL), mg_str_n(big, sizeof(big)), done, &dones));
  mg_http_unaim(conn);
  turns(2);
  CHECK_INT(dones, 0);
  hang_up(&p);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(dones, 1);
  down(&p);
}

LOOP_TEST(an_answer_to_who_left_is_refused) {
  struct peer p = up();
  unsigned long id;
  say(&p, GET("/defer"));
  CHECK(UNTIL(nwaiting == 1));
  id = conn->id;
  hang_up(&p);
  CHECK(UNTIL(closes == 1));
  CHECK(!mg_idtab_alive(mgr.ids, id));
  down(&p);
}

LOOP_TEST(numbers_of_others_and_of_answered_ones_cannot_be_aimed_at) {
  struct peer p = up();
  say(&p, GET("/defer"));
  CHECK(UNTIL(nwaiting == 1));
  CHECK(!mg_http_aim(conn, waiting[0] + 1));
  CHECK(!mg_http_aim(conn, 0));
  CHECK(!mg_http_aim(server, waiting[0]));
  CHECK_INT(mg_http_defer(server), 0);
  CHECK(!mg_http_reply_n(conn, 200, mg_str(NULL), mg_str("x"))); /* nobody aimed */
  CHECK_INT(mgr.status, MG_ESTATE);
  CHECK(answer_to(waiting[0], "a"));
  CHECK(!answer_to(waiting[0], "b"));
  CHECK(UNTIL(answers(&p) == 1));
  CHECK_ANSWER(&p, 0, 200, "a");
  down(&p);
}

LOOP_TEST(a_deferred_last_request_closes_after_its_answer) {
  struct peer p = up();
  say(&p, GET("/defer") "GET /defer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" GET("/never"));
  CHECK(UNTIL(nwaiting == 2));
  turns(2);
  CHECK(answer_to(waiting[1], "b"));
  turns(2);
  CHECK(!gone(&p));
  CHECK(answer_to(waiting[0], "a"));
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(p.err, 0);
  CHECK_INT(answers(&p), 2);
  CHECK_INT(msgs, 2);
  down(&p);
}

LOOP_TEST(a_refusal_waits_behind_deferred_answers_and_then_closes) {
  struct peer p = up();
  say(&p, GET("/defer") "GET / HTTP/9.9\r\n\r\n" GET("/never"));
  CHECK(UNTIL(nwaiting == 1));
  turns(3);
  CHECK(!gone(&p));
  CHECK_INT(p.len, 0);
  CHECK(answer_to(waiting[0], "a"));
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(p.err, 0);
  CHECK_INT(answers(&p), 2);
  CHECK_ANSWER(&p, 0, 200, "a");
  CHECK(has(&p, "HTTP/1.1 505 "));
  CHECK_INT(msgs, 1);
  down(&p);
}

LOOP_TEST(deferred_while_the_body_comes) {
  struct peer p = up();
  defer_in_hdrs = true;
  say(&p, "POST /defer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
  CHECK(UNTIL(nwaiting == 1));
  say(&p, "hello");
  CHECK(UNTIL(msgs == 1));
  defer_in_hdrs = false;
  CHECK(answer_to(waiting[0], "ok"));
  say(&p, GET("/next"));
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_ANSWER(&p, 0, 200, "ok");
  down(&p);
}

/* The body is not here yet: the connection cannot be used again, whichever way the answer was written. */
LOOP_TEST(answered_before_the_body_is_here) {
  for (int raw = 0; raw < 2; raw++) {
    struct peer p = up();
    defer_in_hdrs = true;
    say(&p, "POST /defer HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
    CHECK(UNTIL(nwaiting == 1));
    if (raw) {
      CHECK(mg_http_aim(conn, waiting[0]));
      mg_send(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 40);
      mg_http_unaim(conn);
    } else {
      CHECK(answer_to(waiting[0], "ok"));
    }
    turns(1);
    say(&p, "cde" GET("/next"));
    CHECK(UNTIL(gone(&p)));
    CHECK_INT(p.err, 0);
    CHECK_INT(answers(&p), 1);
    CHECK_INT(msgs, 0);
    down(&p);
  }
}

LOOP_TEST(a_peer_that_leaves_while_an_answer_is_behind_another_is_closed) {
  struct peer p = up();
  say(&p, GET("/defer") GET("/wait"));
  CHECK(UNTIL(msgs == 2));
  hang_up(&p);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(connections_of(server), 0);
  down(&p);
}

LOOP_TEST(draining_behind_deferred_answers_loses_none) {
  struct peer p = up();
  say(&p, GET("/defer") GET("/drain") GET("/never"));
  CHECK(UNTIL(msgs == 2));
  turns(3);
  CHECK(!gone(&p));
  CHECK(answer_to(waiting[0], "first"));
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(answers(&p), 2);
  CHECK_ANSWER(&p, 0, 200, "first");
  CHECK_ANSWER(&p, 1, 200, "/drain");
  CHECK_INT(msgs, 2);
  down(&p);
}

/* An aim that was forgotten must not lead the next request's answer astray. */
LOOP_TEST(the_next_request_is_answered_by_itself_whatever_was_aimed_at) {
  struct peer p = up();
  say(&p, GET("/defer"));
  CHECK(UNTIL(nwaiting == 1));
  CHECK(mg_http_aim(conn, waiting[0]));
  say(&p, GET("/two"));
  CHECK(UNTIL(msgs == 2));
  mg_http_unaim(conn);
  CHECK(answer_to(waiting[0], "one"));
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_ANSWER(&p, 0, 200, "one");
  CHECK_ANSWER(&p, 1, 200, "/two");
  down(&p);
}

static void queue_script(long n) {
  struct peer p;
  loop_up();
  nwaiting = msgs = 0;
  server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve, NULL);
  p = dial(server);
  conn = NULL;
  mg_alloc_fail_at(n);
  say(&p, GET("/wait") GET("/wait"));
  turns(3);
  server->fn = NULL;
  if (conn != NULL && mg_http_busy(conn) && mg_http_current(conn) > 0) {
    unsigned long first = mg_http_defer(conn);
    dones = 0;
    if (first > 0) {
      turns(2);
      if (conn->is_closing == 0 && mg_http_current(conn) > 0) {
        mg_send(conn, "HTTP/1.1 200 OK\r\n", 17);
        turns(1);
        mg_send_ref(conn, "Content-Length: 0\r\n\r\n", 21, done, &dones);
        CHECK(dones <= 1);
      }
      if (mg_http_aim(conn, first)) mg_http_reply(conn, 200, NULL, "%d", 12);
      mg_http_unaim(conn);
    }
  }
  turns(3);
  hang_up(&p);
  turns(4);
  loop_down();
  mg_alloc_fail_at(0);
}

TEST(any_allocation_of_the_queue_may_fail) {
  for (long n = 1; n < 60; n++) queue_script(n);
}

CHECK_MAIN
