#include "http_helpers.h"
#include "vectors.h"

/* ---- one server for all: what it does depends on the path ---- */

static struct mg_connection *server;
static struct mg_limits limits;
static int hdrs, msgs, closes, pieces, lasts;
static char order[64];
static char last_body[256];
static char *streamed;
static size_t streamed_len, biggest_piece;
static struct mg_connection *held;
static bool pause_each, answer_in_hdrs, stream_all;
static uint64_t stream_max;
static int headers_seen;

static void note(char what) {
  size_t n = strlen(order);
  if (n + 1 < sizeof(order)) order[n] = what;
}

static void on_piece(struct mg_connection *c, struct mg_str piece, bool last, void *arg) {
  CHECK(arg == &streamed);
  CHECK(!last || piece.len == 0);
  streamed = (char *) realloc(streamed, streamed_len + piece.len + 1);
  if (piece.len > 0) memcpy(streamed + streamed_len, piece.buf, piece.len);
  streamed_len += piece.len;
  if (piece.len > biggest_piece) biggest_piece = piece.len;
  pieces++;
  if (pause_each) c->is_full = 1;
  held = c;
  if (last) {
    lasts++;
    mg_http_reply_n(c, 200, mg_str(NULL), mg_str_n(streamed, streamed_len));
    streamed_len = 0;
  }
}

static void serve(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_http_message *hm = (struct mg_http_message *) ev_data;
  if (ev == MG_EV_OPEN) note('O');
  if (ev == MG_EV_ACCEPT) note('A');
  if (ev == MG_EV_READ) note('R');
  if (ev == MG_EV_WRITE) note('W');
  if (ev == MG_EV_CLOSE) {
    note('C');
    if (c->is_accepted) closes++;
  }
  if (ev == MG_EV_HTTP_HDRS) {
    note('H');
    hdrs++;
    headers_seen = 0;
    while (headers_seen < MG_MAX_HTTP_HEADERS && hm->headers[headers_seen].name.len > 0) headers_seen++;
    if (answer_in_hdrs) mg_http_reply(c, 403, NULL, "no\n");
    if (stream_all) CHECK(mg_http_stream_body(c, on_piece, &streamed, stream_max));
  }
  if (ev == MG_EV_HTTP_MSG) {
    note('M');
    msgs++;
    held = c;
    snprintf(last_body, sizeof(last_body), "%.*s", (int) hm->body.len, hm->body.buf);
    if (mg_strcmp(hm->uri, mg_str("/echo")) == 0) {
      mg_http_reply_n(c, 200, mg_str(NULL), hm->body);
    } else if (mg_strcmp(hm->uri, mg_str("/wait")) == 0) {
      return;
    } else if (mg_strcmp(hm->uri, mg_str("/close")) == 0) {
      mg_http_reply(c, 200, NULL, "bye");
      c->is_closing = 1;
    } else if (mg_strcmp(hm->uri, mg_str("/drain")) == 0) {
      mg_http_reply(c, 200, NULL, "bye");
      c->is_draining = 1;
    } else {
      mg_http_reply(c, 200, NULL, "%.*s", (int) hm->uri.len, hm->uri.buf);
    }
  }
}

static struct peer up(void) {
  struct mg_listen_opts opts;
  memset(&opts, 0, sizeof(opts));
  opts.limits = &limits;
  loop_up();
  hdrs = msgs = closes = pieces = lasts = 0;
  pause_each = answer_in_hdrs = stream_all = false;
  stream_max = 0;
  streamed_len = biggest_piece = 0;
  server = mg_http_listen_with(&mgr, "http://127.0.0.1:0", serve, NULL, &opts);
  memset(order, 0, sizeof(order));
  return dial(server);
}

static struct peer up_with(struct mg_limits l) {
  limits = l;
  return up();
}

static struct peer up_plain(void) {
  return up_with(mg_limits_default);
}

static void down(struct peer *p) {
  hang_up(p);
  loop_down();
  free(streamed);
  streamed = NULL;
  streamed_len = 0;
}

/* ---- requests ---- */

LOOP_TEST(events_come_in_the_order_of_mongoose) {
  struct peer p = up_plain();
  say(&p, GET("/a"));
  CHECK(UNTIL(answers(&p) == 1));
  hang_up(&p);
  CHECK(UNTIL(closes == 1));
  CHECK_MEM(order, strlen(order), "OAHMRWC", 7);
  down(&p);
}

LOOP_TEST(a_connection_is_kept_for_the_next_request) {
  struct peer p = up_plain();
  for (int i = 1; i <= 5; i++) {
    say(&p, GET("/a"));
    CHECK(UNTIL(answers(&p) == i));
  }
  CHECK(!gone(&p));
  CHECK_INT(mgr.stats.requests, 5);
  CHECK_INT(mgr.stats.accepted, 1);
  down(&p);
}

LOOP_TEST(pipelined_requests_are_answered_in_order_with_one_write) {
  struct peer p = up_plain();
  say(&p, GET("/1") GET("/2") "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" GET("/4"));
  CHECK(UNTIL(answers(&p) == 4));
  CHECK_ANSWER(&p, 0, 200, "/1");
  CHECK_ANSWER(&p, 1, 200, "/2");
  CHECK_ANSWER(&p, 2, 200, "abc");
  CHECK_ANSWER(&p, 3, 200, "/4");
  CHECK_MEM(order, strlen(order), "OAHMHMHMHMRW", 12);
  down(&p);
}

TEST(a_keep_alive_request_allocates_nothing) {
  struct peer p = up_plain();
  int count = 2;
  say(&p, GET("/a"));
  CHECK(UNTIL(answers(&p) == 1));
  say(&p, GET("/a"));
  CHECK(UNTIL(answers(&p) == 2));
  mg_alloc_fail_at(1);
  while (count < 20) { /* mg_http_reply formats into memory of its own: /echo does not */
    say(&p, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    count++;
    CHECK(UNTIL(answers(&p) == count));
  }
  mg_alloc_fail_at(0);
  down(&p);
}

LOOP_TEST(an_idle_connection_owns_no_memory) {
  struct peer p = up_plain();
  struct mg_connection *c;
  say(&p, GET("/a"));
  CHECK(UNTIL(answers(&p) == 1));
  turns(2);
  c = newest();
  CHECK(c != NULL && c->recv.buf == NULL && c->send.buf == NULL && c->pfn_data == NULL && c->segs == NULL);
  down(&p);
}

static void at_every_cut(const char *request, size_t len, int expected_status, const char *expected_body) {
  for (size_t cut = 1; cut < len; cut++) {
    struct peer p = dial(server);
    say_n(&p, request, cut);
    turns(3);
    say_n(&p, request + cut, len - cut);
    CHECK(UNTIL(answers(&p) == 2));
    CHECK_ANSWER(&p, 0, expected_status, expected_body);
    CHECK_ANSWER(&p, 1, 200, "/next");
    hang_up(&p);
  }
}

static void byte_by_byte(const char *request, size_t len, const char *expected_body) {
  struct peer p = dial(server);
  for (size_t i = 0; i < len; i++) {
    say_n(&p, request + i, 1);
    turns(2);
  }
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_ANSWER(&p, 0, 200, expected_body);
  CHECK_ANSWER(&p, 1, 200, "/next");
  hang_up(&p);
}

static const char counted[] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world" GET("/next");
static const char chunked[] = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nT: v\r\n\r\n" GET("/next");

LOOP_TEST(a_counted_body_is_the_same_however_it_is_cut) {
  struct peer p = up_plain();
  at_every_cut(counted, sizeof(counted) - 1, 200, "hello world");
  byte_by_byte(counted, sizeof(counted) - 1, "hello world");
  down(&p);
}

LOOP_TEST(a_chunked_body_with_trailers_is_the_same_however_it_is_cut) {
  struct peer p = up_plain();
  at_every_cut(chunked, sizeof(chunked) - 1, 200, "hello world");
  byte_by_byte(chunked, sizeof(chunked) - 1, "hello world");
  down(&p);
}

static void on_echo_piece(struct mg_connection *c, struct mg_str piece, bool last, void *arg) {
  on_piece(c, piece, last, arg);
}

static void serve_stream(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_http_message *hm = (struct mg_http_message *) ev_data;
  if (ev == MG_EV_HTTP_HDRS && mg_strcmp(hm->uri, mg_str("/echo")) == 0) {
    CHECK(mg_http_stream_body(c, on_echo_piece, &streamed, 0));
  } else if (ev == MG_EV_HTTP_MSG) {
    CHECK(mg_strcmp(hm->uri, mg_str("/echo")) != 0);
    serve(c, ev, ev_data);
  }
}

LOOP_TEST(a_streamed_body_is_the_same_however_it_is_cut) {
  struct peer p = up_plain();
  server->fn = serve_stream;
  at_every_cut(counted, sizeof(counted) - 1, 200, "hello world");
  at_every_cut(chunked, sizeof(chunked) - 1, 200, "hello world");
  byte_by_byte(counted, sizeof(counted) - 1, "hello world");
  byte_by_byte(chunked, sizeof(chunked) - 1, "hello world");
  down(&p);
}

LOOP_TEST(a_streamed_body_that_is_whole_at_once_keeps_the_connection) {
  struct peer p = up_plain();
  server->fn = serve_stream;
  say(&p, counted);
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_ANSWER(&p, 0, 200, "hello world");
  CHECK(!gone(&p));
  down(&p);
}

LOOP_TEST(headers_are_told_once_and_not_again_for_each_piece_of_body) {
  struct peer p = up_plain();
  say(&p, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
  for (int i = 0; i < 5; i++) {
    turns(3);
    CHECK_INT(hdrs, 1);
    CHECK_INT(msgs, 0);
    say(&p, "z");
  }
  CHECK(UNTIL(answers(&p) == 1));
  CHECK_INT(hdrs, 1);
  CHECK_INT(msgs, 1);
  down(&p);
}

LOOP_TEST(a_request_cut_off_never_reaches_the_handler) {
  for (size_t cut = 1; cut + strlen(GET("/next")) < sizeof(counted); cut++) {
    struct peer p = up_plain();
    if (cut == sizeof(counted) - 1 - strlen(GET("/next"))) {
      down(&p);
      break;
    }
    say_n(&p, counted, cut);
    shutdown(p.fd, SHUT_WR);
    CHECK(UNTIL(closes == 1));
    CHECK_INT(msgs, 0);
    down(&p);
  }
}

LOOP_TEST(nul_bytes_in_bodies_are_bytes) {
  struct peer p = up_plain();
  struct answer a;
  char body[256];
  for (int i = 0; i < 256; i++) body[i] = (char) i;
  say(&p, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 256\r\n\r\n");
  say_n(&p, body, 256);
  CHECK(UNTIL(answers(&p) == 1));
  CHECK(answer_at(&p, 0, false, &a));
  CHECK_MEM(a.body, a.len, body, 256);
  answer_free(&a);
  down(&p);
}

LOOP_TEST(repeated_fields_all_arrive) {
  struct peer p = up_plain();
  say(&p, "GET /a HTTP/1.1\r\nHost: x\r\nA: 1\r\nA: 2\r\na: 3\r\nCookie: b\r\nCookie: c\r\n\r\n");
  CHECK(UNTIL(answers(&p) == 1));
  CHECK_INT(headers_seen, 6);
  down(&p);
}

static char *pattern(size_t len) {
  char *s = (char *) malloc(len + 1);
  uint32_t x = 12345;
  for (size_t i = 0; i < len; i++) {
    x = x * 1664525u + 1013904223u;
    s[i] = (char) (x >> 24);
  }
  return s;
}

static void big_echo(bool in_chunks) {
  enum { BIG = 3 * 1024 * 1024 + 17 };
  struct peer p = up_plain();
  struct answer a;
  char *body = pattern(BIG), *all = (char *) malloc(BIG + BIG / 1000 * 16 + 4096);
  size_t len = 0, at = 0;
  if (in_chunks) {
    len = (size_t) sprintf(all, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0, n; i < BIG; i += n) {
      n = 1 + i % 70000 < BIG - i ? 1 + i % 70000 : BIG - i;
      if (n < 1000 && n < BIG - i) n = 1000;
      len += (size_t) sprintf(all + len, "%zx\r\n", n);
      memcpy(all + len, body + i, n);
      len += n;
      len += (size_t) sprintf(all + len, "\r\n");
    }
    len += (size_t) sprintf(all + len, "0\r\n\r\n");
  } else {
    len = (size_t) sprintf(all, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", BIG);
    memcpy(all + len, body, BIG);
    len += BIG;
  }
  memcpy(all + len, GET("/next"), strlen(GET("/next")));
  len += strlen(GET("/next"));
  CHECK(UNTIL(pump(&p) && say_more(&p, all, len, &at) && has(&p, "/next")));
  CHECK(answer_at(&p, 0, false, &a));
  CHECK_INT(a.len, BIG);
  CHECK(a.len == BIG && memcmp(a.body, body, BIG) == 0);
  answer_free(&a);
  CHECK_INT(hdrs, 2);
  turns(2);
  CHECK(newest() != NULL && newest()->recv.buf == NULL && newest()->hint == 0);
  free(body);
  free(all);
  down(&p);
}

LOOP_TEST(a_large_counted_body_arrives_whole) { big_echo(false); }
LOOP_TEST(a_large_chunked_body_arrives_whole) { big_echo(true); }

/* ---- Expect: 100-continue ---- */

#define EXPECT(len) "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: " len "\r\nExpect: 100-continue\r\n\r\n"

LOOP_TEST(who_expects_a_go_ahead_gets_one) {
  struct peer p = up_plain();
  say(&p, EXPECT("5"));
  CHECK(UNTIL(has(&p, "100 Continue\r\n\r\n")));
  say(&p, "he");
  turns(3);
  say(&p, "llo");
  CHECK(UNTIL(has(&p, "hello")));
  CHECK_INT(count_in(&p, "100 Continue"), 1);
  CHECK_ANSWER(&p, 1, 200, "hello");
  say(&p, GET("/more"));
  CHECK(UNTIL(has(&p, "/more")));
  down(&p);
}

LOOP_TEST(no_go_ahead_when_the_body_is_there) {
  struct peer p = up_plain();
  say(&p, EXPECT("5") "hello");
  CHECK(UNTIL(answers(&p) == 1));
  CHECK_ANSWER(&p, 0, 200, "hello");
  down(&p);
}

LOOP_TEST(an_early_no_closes_instead_of_going_ahead) {
  struct peer p = up_plain();
  answer_in_hdrs = true;
  say(&p, EXPECT("5"));
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(answers(&p), 1);
  CHECK(has(&p, "HTTP/1.1 403 "));
  CHECK(has(&p, "\r\nConnection: close\r\n"));
  CHECK_INT(msgs, 0);
  down(&p);
}

LOOP_TEST(too_much_is_refused_without_a_go_ahead) {
  struct mg_limits l = mg_limits_default;
  l.max_body = 4;
  struct peer p = up_with(l);
  say(&p, EXPECT("5"));
  CHECK(UNTIL(gone(&p)));
  CHECK(has(&p, "HTTP/1.1 413 "));
  CHECK(!has(&p, "100 Continue"));
  down(&p);
}

/* ---- refusals ---- */

/* One status, a close, and nothing behind it is served. */
static void refused_n(struct mg_limits l, const char *bytes, size_t len, int status) {
  struct peer p = up_with(l);
  struct answer a;
  say_n(&p, bytes, len);
  say(&p, GET("/smuggled"));
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(p.err, 0);
  CHECK(answer_at(&p, 0, false, &a));
  CHECK_INT(a.status, status);
  CHECK(!a.keep_alive);
  CHECK_INT(a.used, p.len);
  answer_free(&a);
  CHECK_INT(msgs, 0);
  down(&p);
}

static void refused(struct mg_limits l, const char *bytes, int status) {
  refused_n(l, bytes, strlen(bytes), status);
}

LOOP_TEST(what_breaks_a_rule_or_a_limit_gets_its_status_and_a_close) {
  struct mg_limits l = mg_limits_default;
  refused(l, "GET\r\n\r\n", 400);
  refused(l, "GET / HTTP/1.1\r\n\r\n", 400);
  refused(l, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -48\r\n\r\n", 400);
  refused(l, "GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505);
  refused(l, "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501);
  refused(l, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
  refused(l, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400);
  l.max_uri = 5;
  refused(l, "GET /123456 HTTP/1.1\r\nHost: x\r\n\r\n", 414);
  l = mg_limits_default;
  l.max_header = 20;
  refused(l, "GET / HTTP/1.1\r\nHost: x\r\nA: 123456789012345678901234567890\r\n\r\n", 431);
  l = mg_limits_default;
  l.max_headers = 2;
  refused(l, "GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB: 2\r\n\r\n", 431);
  l = mg_limits_default;
  l.max_head = 30;
  refused(l, "GET / HTTP/1.1\r\nHost: x\r\nAAAAAAAAAAA: 1\r\n\r\n", 431);
  l = mg_limits_default;
  l.max_body = 4;
  refused(l, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", 413);
  refused(l, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 413);
  refused(l, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775000\r\n\r\nhello", 413);
  refused(l, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 413);
}

LOOP_TEST(a_limit_met_exactly_is_no_refusal) {
  struct mg_limits l = mg_limits_default;
  l.max_body = 5;
  struct peer p = up_with(l);
  say(&p, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
  say(&p, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_ANSWER(&p, 0, 200, "hello");
  CHECK_ANSWER(&p, 1, 200, "hello");
  down(&p);
}

LOOP_TEST(a_stream_has_its_own_limit) {
  struct mg_limits l = mg_limits_default;
  l.max_body = 4;
  struct peer p = up_with(l);
  stream_all = true;
  stream_max = 10;
  say(&p, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789");
  CHECK(UNTIL(answers(&p) == 1));
  CHECK_ANSWER(&p, 0, 200, "0123456789");
  say(&p, "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n");
  turns(3);
  say(&p, "6\r\n012345\r\n");
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(answers(&p), 2);
  CHECK(has(&p, "HTTP/1.1 413 "));
  CHECK_INT(lasts, 1);
  down(&p);
}

LOOP_TEST(a_refusal_reaches_a_peer_that_goes_on_sending) {
  struct peer p = up_plain();
  static char junk[100000];
  size_t at = 0;
  memset(junk, 'x', sizeof(junk));
  say(&p, "GET / HTTP/9.9\r\n\r\n");
  CHECK(UNTIL(say_more(&p, junk, sizeof(junk), &at) && gone(&p)));
  CHECK_INT(p.err, 0);
  CHECK(has(&p, "HTTP/1.1 505 "));
  CHECK_INT(answers(&p), 1);
  down(&p);
}

/* ---- streaming with pauses ---- */

LOOP_TEST(a_paused_stream_waits_and_goes_on) {
  enum { BIG = 300000 };
  struct peer p = up_plain();
  char *body = pattern(BIG), head[128];
  struct answer a;
  size_t at = 0;
  int before, paused = 0;
  stream_all = true;
  pause_each = true;
  snprintf(head, sizeof(head), "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", BIG);
  say(&p, head);
  CHECK(UNTIL(say_more(&p, body, BIG, &at) || pieces > 0));
  CHECK(UNTIL(pieces > 0));
  while (answers(&p) == 0 && paused < 1000) {
    before = pieces;
    say_more(&p, body, BIG, &at);
    turns(3);
    if (held->is_full) {
      CHECK(pieces <= before + 1);
      paused++;
      held->is_full = 0;
      mg_touch(held);
    }
  }
  CHECK(paused > 1 && paused < 1000);
  CHECK(answer_at(&p, 0, false, &a));
  CHECK(a.len == BIG && memcmp(a.body, body, BIG) == 0);
  answer_free(&a);
  free(body);
  down(&p);
}

LOOP_TEST(after_a_pause_the_deadline_counts_again) {
  struct mg_limits l = mg_limits_default;
  l.body_timeout = 5;
  struct peer p = up_with(l);
  stream_all = pause_each = true;
  say(&p, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n");
  say(&p, "abc");
  CHECK(UNTIL(pieces > 0));
  pause_each = false;
  for (int i = 0; i < 60; i++) mg_mgr_poll(&mgr, 1); /* our pause is not his fault */
  CHECK(!gone(&p));
  held->is_full = 0;
  mg_touch(held);
  CHECK(UNTIL(gone(&p)));
  CHECK(has(&p, "HTTP/1.1 408 "));
  down(&p);
}

static void stream_in_msg(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_HTTP_MSG) {
    CHECK(!mg_http_stream_body(c, on_piece, &streamed, 0));
    CHECK_INT(c->mgr->status, MG_ESTATE);
    mg_http_reply(c, 200, NULL, "ok");
  }
  (void) ev_data;
}

LOOP_TEST(a_body_that_is_here_cannot_be_asked_for_in_pieces) {
  struct peer p = up_plain();
  server->fn = stream_in_msg;
  say(&p, counted);
  CHECK(UNTIL(answers(&p) == 2));
  CHECK(!mg_http_stream_body(server, on_piece, NULL, 0));
  down(&p);
}

/* ---- time ---- */

LOOP_TEST(a_slow_head_gets_408) {
  struct mg_limits l = mg_limits_default;
  l.header_timeout = 5;
  struct peer p = up_with(l);
  say(&p, "GET / HT");
  CHECK(UNTIL(gone(&p)));
  CHECK(has(&p, "HTTP/1.1 408 "));
  CHECK_INT(answers(&p), 1);
  CHECK_INT(mgr.stats.timeouts, 1);
  down(&p);
}

LOOP_TEST(who_says_nothing_is_closed_without_a_word) {
  struct mg_limits l = mg_limits_default;
  l.header_timeout = 5;
  struct peer p = up_with(l);
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(p.len, 0);
  down(&p);
}

LOOP_TEST(an_idle_connection_is_closed_after_its_time) {
  struct mg_limits l = mg_limits_default;
  l.idle_timeout = 5;
  struct peer p = up_with(l);
  say(&p, GET("/a"));
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(answers(&p), 1);
  CHECK_INT(p.err, 0);
  down(&p);
}

LOOP_TEST(a_body_that_stops_gets_408) {
  struct mg_limits l = mg_limits_default;
  l.body_timeout = 5;
  for (int how = 0; how < 3; how++) {
    struct peer p = up_with(l);
    stream_all = how == 2;
    say(&p, how == 1 ? "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
                     : "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
    CHECK(UNTIL(gone(&p)));
    CHECK(has(&p, "HTTP/1.1 408 "));
    CHECK_INT(answers(&p), 1);
    CHECK_INT(msgs, 0);
    CHECK_INT(lasts, 0);
    down(&p);
  }
}

LOOP_TEST(looking_at_a_connection_does_not_prolong_its_body) {
  struct mg_limits l = mg_limits_default;
  l.body_timeout = 40;
  l.min_rate = 0;
  struct peer p = up_with(l);
  say(&p, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
  CHECK(UNTIL(hdrs == 1));
  CHECK(UNTIL((newest() != NULL ? mg_touch(newest()) : (void) 0, mg_mgr_poll(&mgr, 0), gone(&p))));
  CHECK(has(&p, "HTTP/1.1 408 "));
  down(&p);
}

LOOP_TEST(a_body_below_the_least_rate_gets_408) {
  struct mg_limits l = mg_limits_default;
  l.body_grace = 5;
  l.min_rate = 1000000000;
  for (int how = 0; how < 2; how++) {
    struct peer p = up_with(l);
    int sent = 0;
    stream_all = how == 1;
    say(&p, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nab");
    for (int i = 0; i < 3000 && !gone(&p); i++) {
      mg_mgr_poll(&mgr, 10);
      if (send(p.fd, "x", 1, MSG_NOSIGNAL) == 1) sent++; /* never a pause of body_timeout, and still too slow */
    }
    CHECK(p.eof && sent > 0);
    CHECK(has(&p, "HTTP/1.1 408 "));
    down(&p);
  }
}

LOOP_TEST(a_request_that_waits_for_us_does_not_time_out) {
  struct mg_limits l = mg_limits_default;
  l.header_timeout = l.body_timeout = l.idle_timeout = 5;
  struct peer p = up_with(l);
  say(&p, GET("/wait") GET("/b"));
  CHECK(UNTIL(msgs == 1));
  for (int i = 0; i < 80; i++) mg_mgr_poll(&mgr, 1);
  CHECK(!gone(&p));
  mg_http_reply(held, 200, NULL, "late");
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_ANSWER(&p, 0, 200, "late");
  CHECK_ANSWER(&p, 1, 200, "/b");
  down(&p);
}

/* ---- ends ---- */

LOOP_TEST(an_answer_with_is_closing_or_is_draining_still_goes_out) {
  const char *requests[] = {GET("/close"), GET("/drain"), GET("/close") GET("/x"), GET("/drain") GET("/x")};
  for (int i = 0; i < 4; i++) {
    struct peer p = up_plain();
    say(&p, requests[i]);
    CHECK(UNTIL(gone(&p)));
    CHECK_INT(answers(&p), 1);
    CHECK_ANSWER(&p, 0, 200, "bye");
    down(&p);
  }
}

LOOP_TEST(the_last_request_allowed_closes) {
  struct mg_limits l = mg_limits_default;
  l.max_requests = 3;
  struct peer p = up_with(l);
  say(&p, GET("/1") GET("/2") GET("/3") GET("/4"));
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(answers(&p), 3);
  CHECK_INT(count_in(&p, "Connection: close\r\n"), 1);
  CHECK_INT(p.err, 0);
  down(&p);
}

TEST(the_ten_thousandth_request_closes) {
  struct peer p = up_plain();
  int n = 0;
  size_t at = 0;
  for (int i = 0; i < 9999; i += 99) {
    for (int k = 0; k < 99; k++) say(&p, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(UNTIL(mgr.stats.requests == (uint64_t) i + 99));
  }
  turns(2);
  CHECK(!gone(&p));
  say(&p, GET("/last"));
  CHECK(UNTIL(gone(&p)));
  for (struct answer a; answer_at(&p, at, false, &a); n++) {
    at += a.used;
    answer_free(&a);
  }
  CHECK_INT(n, 10000);
  CHECK_INT(count_in(&p, "Connection: close\r\n"), 1);
  down(&p);
}

LOOP_TEST(versions_and_connection_fields_decide_who_stays) {
  static const struct {
    const char *request;
    bool stays;
    const char *line; /* NULL: no Connection field in the answer */
  } t[] = {
      {"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", true, NULL},
      {"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", false, "Connection: close\r\n"},
      {"GET /a HTTP/1.0\r\n\r\n", false, "Connection: close\r\n"},
      {"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, "Connection: keep-alive\r\n"},
  };
  for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
    struct peer p = up_plain();
    say(&p, t[i].request);
    CHECK(UNTIL(answers(&p) == 1));
    if (t[i].stays) {
      turns(5);
      CHECK(!gone(&p));
    } else {
      CHECK(UNTIL(gone(&p)));
    }
    CHECK_INT(count_in(&p, "Connection: "), t[i].line != NULL);
    if (t[i].line != NULL) CHECK(has(&p, t[i].line));
    CHECK_INT(count_in(&p, "Date: "), 1);
    down(&p);
  }
}

LOOP_TEST(who_asks_faster_than_he_is_answered_is_read_no_further) {
  struct peer p = up_plain();
  static char many[250000];
  size_t n = 0, at = 0, len = strlen(GET("/a"));
  while (n + len < sizeof(many)) {
    memcpy(many + n, GET("/a"), len);
    n += len;
  }
  say(&p, GET("/wait"));
  CHECK(UNTIL(msgs == 1));
  for (int i = 0; i < 200; i++) {
    say_more(&p, many, n, &at);
    mg_mgr_poll(&mgr, 0);
  }
  CHECK(held->is_full);
  CHECK(held->recv.len < 200000);
  mg_http_reply(held, 200, NULL, "go");
  CHECK(UNTIL(pump(&p) && say_more(&p, many, n, &at) && mgr.stats.requests == 1 + n / len));
  turns(3);
  CHECK(!newest()->is_full);
  down(&p);
}

/* A request that ends the connection may be answered later; what comes behind it is nobody's. */
LOOP_TEST(bytes_behind_the_last_request_are_not_hoarded) {
  struct peer p = up_plain();
  static char junk[1 << 20];
  size_t at = 0;
  for (int i = 0; i < 2; i++) {
    if (i > 0) p = up_plain();
    at = 0;
    say(&p, "GET /wait HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    CHECK(UNTIL(msgs == 1));
    for (int k = 0; k < 300; k++) {
      say_more(&p, junk, sizeof(junk), &at);
      mg_mgr_poll(&mgr, 0);
    }
    CHECK(newest()->recv.len < 200000);
    mg_http_reply(held, 200, NULL, "ok");
    CHECK(UNTIL(has(&p, "ok")));
    down(&p);
  }
}

/* ---- all documents, against the server ---- */

LOOP_TEST(documents_of_requests_are_served_or_refused) {
  static const char *files[] = {"http/requests.md", "http/refused.md", "http/smuggling.md", "http/limits.md"};
  struct peer first = up_plain();
  int cases = 0;
  for (size_t f = 0; f < sizeof(files) / sizeof(files[0]); f++) {
    struct vector *all = vectors_read(files[f]);
    for (struct vector *v = all; v != NULL; v = v->next) {
      const struct vector_fact *expect = vector_fact(v, "expect");
      struct peer p;
      struct answer a;
      int before = msgs, status;
      if (strcmp(v->kind, "request") != 0 || expect == NULL) continue;
      p = dial(server);
      say_n(&p, v->bytes, v->len);
      status = atoi(expect->text);
      if (status > 0) {
        bool there = UNTIL(gone(&p)) && answer_at(&p, 0, false, &a);
        if (!there || a.status != status || msgs != before) fprintf(stderr, "%s\n", v->name);
        CHECK(there);
        if (there) {
          CHECK_INT(a.status, status);
          answer_free(&a);
        }
        CHECK_INT(msgs, before);
      } else {
        turns(4);
        pump(&p);
        CHECK(p.len < 12 || p.buf[9] != '4' || memcmp(p.buf + 9, "413", 3) == 0); /* well-formed, and yet too much for our limit */
      }
      cases++;
      hang_up(&p);
    }
    vectors_free(all);
  }
  CHECK(cases > 50);
  down(&first);
}

LOOP_TEST(documents_of_chunked_bodies_are_served_or_refused) {
  struct peer first = up_plain();
  struct vector *all = vectors_read("http/chunked.md");
  for (struct vector *v = all; v != NULL; v = v->next) {
    const struct vector_fact *expect = vector_fact(v, "expect"), *payload = vector_fact(v, "payload");
    for (int how = 0; how < 2; how++) {
      struct peer p = dial(server);
      struct answer a;
      bool there = false;
      stream_all = how == 1;
      streamed_len = 0;
      say(&p, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
      say_n(&p, v->bytes, v->len);
      if (strcmp(expect->text, "ok") == 0) {
        there = UNTIL(answer_at(&p, 0, false, &a));
        CHECK(there);
        if (there) {
          if (a.status != 200) fprintf(stderr, "%s\n", v->name);
          CHECK_INT(a.status, 200);
          CHECK_MEM(a.body, a.len, payload->text, payload->len);
        }
      } else if (strcmp(expect->text, "more") != 0) {
        there = UNTIL(gone(&p)) && answer_at(&p, 0, false, &a);
        CHECK(there);
        if (there && a.status != 400) fprintf(stderr, "%s\n", v->name);
        if (there) CHECK_INT(a.status, 400);
      }
      if (there) answer_free(&a);
      hang_up(&p);
    }
  }
  vectors_free(all);
  down(&first);
}

/* ---- every single allocation fails ---- */

static void script(long n) {
  struct peer p;
  struct mg_listen_opts opts;
  struct mg_connection *lc;
  char chunk[] = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
  memset(&opts, 0, sizeof(opts));
  limits = mg_limits_default;
  limits.max_per_address = 10;
  opts.limits = &limits;
  mg_log_set(MG_LL_NONE);
  mg_alloc_fail_at(n);
  mg_mgr_init(&mgr);
  stream_all = answer_in_hdrs = pause_each = false;
  held = NULL;
  lc = mg_http_listen_with(&mgr, "http://127.0.0.1:0", serve, NULL, &opts);
  if (lc != NULL) {
    mg_route_static(lc, mg_str("/route"), 200, mg_str(NULL), mg_str("static"));
    p = dial(lc);
    say(&p, GET("/a"));
    turns(3);
    send(p.fd, "GET /rou", 8, MSG_NOSIGNAL);
    turns(3);
    send(p.fd, "te HTTP/1.1\r\nHost: x\r\n\r\n", 24, MSG_NOSIGNAL);
    turns(3);
    send(p.fd, chunk, sizeof(chunk) - 1, MSG_NOSIGNAL);
    turns(3);
    send(p.fd, "0\r\n\r\n", 5, MSG_NOSIGNAL);
    turns(3);
    stream_all = true;
    send(p.fd, counted, sizeof(counted) - 1, MSG_NOSIGNAL);
    turns(3);
    stream_all = false;
    send(p.fd, GET("/wait") GET("/b"), strlen(GET("/wait") GET("/b")), MSG_NOSIGNAL);
    turns(3);
    pump(&p);
    hang_up(&p);
    turns(4);
  }
  mg_mgr_free(&mgr);
  mg_alloc_fail_at(0);
  free(streamed);
  streamed = NULL;
  streamed_len = 0;
}

TEST(any_allocation_may_fail) {
  for (long n = 1; n < 120; n++) script(n);
}

CHECK_MAIN
