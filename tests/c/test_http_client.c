#include "http_helpers.h"

static struct mg_connection *listener, *client, *other; /* other: the server's side, scripted by the test */
static int hdrs, msgs, errors, closes, status;
static char *bodies; /* all of them, each with a '|' behind it */
static char error_text[256];

static void on_server(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  if (ev == MG_EV_ACCEPT) other = c;
  if (ev == MG_EV_READ) c->recv.len = 0;
  if (ev == MG_EV_CLOSE && c == other) other = NULL;
}

static void on_client(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_http_message *hm = (struct mg_http_message *) ev_data;
  if (ev == MG_EV_HTTP_HDRS) hdrs++;
  if (ev == MG_EV_HTTP_MSG) {
    size_t n = strlen(bodies);
    msgs++;
    status = mg_http_status(hm);
    CHECK(mg_http_get_header(hm, "X") != NULL && mg_http_get_header(hm, "X")->len == 1);
    CHECK_INT(hm->message.len, hm->head.len + hm->body.len);
    bodies = (char *) realloc(bodies, n + hm->body.len + 2);
    memcpy(bodies + n, hm->body.buf, hm->body.len);
    memcpy(bodies + n + hm->body.len, "|", 2);
  }
  if (ev == MG_EV_ERROR) {
    errors++;
    snprintf(error_text, sizeof(error_text), "%s", (char *) ev_data);
  }
  if (ev == MG_EV_CLOSE) closes++;
  (void) c;
}

static void up(void) {
  char url[64];
  loop_up();
  hdrs = msgs = errors = closes = status = 0;
  bodies = (char *) calloc(1, 1);
  other = NULL;
  listener = mg_listen(&mgr, "tcp://127.0.0.1:0", on_server, NULL);
  snprintf(url, sizeof(url), "http://127.0.0.1:%d/path?query", port_of(listener));
  client = mg_http_connect(&mgr, url, on_client, NULL);
  CHECK(client != NULL);
  CHECK(UNTIL(other != NULL && !client->is_connecting));
}

static void down(void) {
  loop_down();
  free(bodies);
}

static void send_text(const char *s) {
  mg_send(other, s, strlen(s));
}

#define H "X: 1\r\n"
static const char counted[] = "HTTP/1.1 200 OK\r\n" H "Content-Length: 5\r\n\r\nhello";
static const char in_chunks[] = "HTTP/1.1 200 OK\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nT: v\r\n\r\n";
static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n" H "Content-Length: 5\r\n\r\nhello";
static const char empty[] = "HTTP/1.1 204 No Content\r\n" H "\r\n";
static const char behind[] = "HTTP/1.1 404 Not Found\r\n" H "Content-Length: 3\r\n\r\nbye";

LOOP_TEST(responses_are_the_same_however_they_are_cut) {
  const char *const all[] = {counted, in_chunks, interim, empty};
  for (int i = 0; i < 4; i++) {
    char text[512];
    size_t len;
    snprintf(text, sizeof(text), "%s%s", all[i], behind);
    len = strlen(text);
    up();
    for (size_t cut = 0; cut <= len; cut++) {
      hdrs = msgs = 0;
      bodies[0] = '\0';
      mg_send(other, text, cut);
      turns(3);
      mg_send(other, text + cut, len - cut);
      CHECK(UNTIL(msgs == 2));
      CHECK_INT(hdrs, 2);
      CHECK_INT(status, 404);
      CHECK_MEM(bodies, strlen(bodies), i < 3 ? "hello|bye|" : "|bye|", i < 3 ? 10 : 5);
    }
    hdrs = msgs = 0;
    bodies[0] = '\0';
    for (size_t k = 0; k < len; k++) {
      mg_send(other, text + k, 1);
      turns(2);
    }
    CHECK(UNTIL(msgs == 2));
    CHECK_INT(hdrs, 2);
    CHECK_INT(errors, 0);
    down();
  }
}

LOOP_TEST(a_body_without_a_length_ends_with_the_connection) {
  up();
  send_text("HTTP/1.1 200 OK\r\n" H "\r\nhello");
  CHECK(UNTIL(hdrs == 1));
  send_text(" world");
  turns(3);
  CHECK_INT(msgs, 0);
  other->is_draining = 1;
  CHECK(UNTIL(closes == 1));
  CHECK_INT(msgs, 1);
  CHECK_MEM(bodies, strlen(bodies), "hello world|", 12);
  CHECK_INT(hdrs, 1);
  CHECK_INT(errors, 0);
  down();
}

LOOP_TEST(an_empty_body_without_a_length_is_one_too) {
  up();
  send_text("HTTP/1.0 200 OK\r\n" H "\r\n");
  other->is_draining = 1;
  CHECK(UNTIL(closes == 1));
  CHECK_INT(msgs, 1);
  CHECK_MEM(bodies, strlen(bodies), "|", 1);
  down();
}

LOOP_TEST(a_cut_response_is_an_error_and_no_message) {
  const char *const cut[] = {"HTTP/1.1 200 OK\r\n" H, "HTTP/1.1 200 OK\r\n" H "Content-Length: 5\r\n\r\nhell",
                             "HTTP/1.1 200 OK\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"};
  for (int i = 0; i < 3; i++) {
    up();
    send_text(cut[i]);
    other->is_draining = 1;
    CHECK(UNTIL(closes == 1));
    CHECK_INT(errors, 1);
    CHECK_INT(msgs, 0);
    down();
  }
}

LOOP_TEST(a_close_between_responses_is_no_error) {
  up();
  send_text(counted);
  other->is_draining = 1;
  CHECK(UNTIL(closes == 1));
  CHECK_INT(errors, 0);
  CHECK_INT(msgs, 1);
  down();
}

LOOP_TEST(what_is_no_response_is_an_error) {
  const char *const bad[] = {"SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\n" H "Content-Length: x\r\n\r\n", "HTTP/1.1 200 OK\r\n" H "Transfer-Encoding: chunked\r\n\r\nzz\r\n"};
  for (int i = 0; i < 3; i++) {
    up();
    send_text(bad[i]);
    CHECK(UNTIL(closes == 1));
    CHECK_INT(errors, 1);
    CHECK(strstr(error_text, "malformed") != NULL);
    CHECK_INT(msgs, 0);
    down();
  }
}

LOOP_TEST(a_body_beyond_the_limit_is_an_error) {
  const char *const big[] = {"HTTP/1.1 200 OK\r\n" H "Content-Length: 5\r\n\r\n", "HTTP/1.1 200 OK\r\n" H "\r\nhello",
                             "HTTP/1.1 200 OK\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"};
  for (int i = 0; i < 3; i++) {
    up();
    client->listener->limits.max_body = 4;
    send_text(big[i]);
    CHECK(UNTIL(closes == 1));
    CHECK_INT(errors, 1);
    CHECK(strstr(error_text, "too large") != NULL);
    CHECK_INT(msgs, 0);
    down();
  }
}

LOOP_TEST(the_answer_to_head_has_no_body) {
  up();
  CHECK(mg_http_expect(client, MG_HTTP_TO_HEAD, 0));
  send_text("HTTP/1.1 200 OK\r\n" H "Content-Length: 5\r\n\r\n");
  CHECK(UNTIL(msgs == 1));
  send_text(counted); /* and the next one has one again */
  CHECK(UNTIL(msgs == 2));
  CHECK_MEM(bodies, strlen(bodies), "|hello|", 7);
  CHECK(!mg_http_expect(listener, MG_HTTP_TO_HEAD, 0));
  CHECK_INT(mgr.status, MG_ESTATE);
  down();
}

LOOP_TEST(after_an_upgrade_the_bytes_are_the_applications) {
  up();
  send_text("HTTP/1.1 101 Switching Protocols\r\n" H "\r\nHTTP/1.1 ");
  CHECK(UNTIL(msgs == 1));
  CHECK_INT(status, 101);
  turns(2);
  CHECK_MEM(client->recv.buf, client->recv.len, "HTTP/1.1 ", 9);
  CHECK_INT(errors, 0);
  down();
}

LOOP_TEST(a_large_body_arrives_whole) {
  enum { BIG = 3000000 };
  char *body = (char *) malloc(BIG + 1);
  for (int i = 0; i < BIG; i++) body[i] = (char) ('a' + i % 23);
  body[BIG] = '\0';
  for (int how = 0; how < 3; how++) {
    char line[128];
    up();
    snprintf(line, sizeof(line), "HTTP/1.1 200 OK\r\n" H "%s", how == 0 ? "Content-Length: 3000000\r\n\r\n" : how == 1 ? "Transfer-Encoding: chunked\r\n\r\n2dc6c0\r\n" : "\r\n");
    send_text(line);
    mg_send_ref(other, body, BIG, NULL, NULL);
    if (how == 1) send_text("\r\n0\r\n\r\n");
    if (how == 2) other->is_draining = 1;
    CHECK(UNTIL(msgs == 1));
    CHECK(strlen(bodies) == BIG + 1 && memcmp(bodies, body, BIG) == 0);
    down();
  }
  free(body);
}

/* Both sides are ours. */
static void serve(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_HTTP_MSG) mg_http_reply(c, 200, "X: 1\r\n", "%.*s", (int) ((struct mg_http_message *) ev_data)->uri.len, ((struct mg_http_message *) ev_data)->uri.buf);
}

LOOP_TEST(client_and_server_understand_each_other) {
  char url[64];
  up();
  other = mg_http_listen(&mgr, "http://127.0.0.1:0", serve, NULL);
  snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port_of(other));
  client = mg_http_connect(&mgr, url, on_client, NULL);
  for (int i = 1; i <= 3; i++) {
    mg_send(client, GET("/echo"), strlen(GET("/echo")));
    CHECK(UNTIL(msgs == i));
  }
  CHECK_MEM(bodies, strlen(bodies), "/echo|/echo|/echo|", 18);
  down();
}

TEST(any_allocation_of_the_client_may_fail) {
  for (long n = 1; n < 12; n++) {
    up();
    mg_alloc_fail_at(n);
    send_text(in_chunks);
    turns(3);
    if (other != NULL) send_text(counted);
    turns(3);
    mg_alloc_fail_at(0);
    down();
  }
}

/* ---- bodies in pieces ---- */

static char streamed[256];
static size_t pieces, lasts, pause_after;

static void on_piece(struct mg_connection *c, struct mg_str piece, bool last, void *arg) {
  CHECK(arg == streamed);
  pieces++;
  lasts += last;
  if (last) {
    CHECK_INT(piece.len, 0);
  } else {
    CHECK(strlen(streamed) + piece.len < sizeof(streamed));
    strncat(streamed, piece.buf, piece.len);
    if (pause_after > 0 && pieces == pause_after) c->is_full = 1;
  }
}

static uint64_t stream_max;

static void on_streaming(struct mg_connection *c, int ev, void *ev_data) {
  on_client(c, ev, ev_data);
  if (ev == MG_EV_HTTP_HDRS) {
    CHECK(mg_http_stream_body(c, on_piece, streamed, stream_max));
    CHECK(!mg_http_stream_body(c, on_piece, streamed, stream_max));
    CHECK_INT(mgr.status, MG_ESTATE);
  }
}

static void up_streaming(void) {
  up();
  streamed[0] = '\0';
  pieces = lasts = pause_after = 0;
  stream_max = 0;
  client->fn = on_streaming;
}

LOOP_TEST(a_streamed_response_has_the_same_bytes_however_it_is_cut) {
  const char *const all[] = {counted, in_chunks, interim, empty};
  for (int i = 0; i < 4; i++) {
    size_t len = strlen(all[i]);
    up_streaming();
    for (size_t cut = 0; cut <= len; cut++) {
      streamed[0] = '\0';
      lasts = 0;
      mg_send(other, all[i], cut);
      turns(3);
      mg_send(other, all[i] + cut, len - cut);
      CHECK(UNTIL(lasts == 1));
      CHECK_MEM(streamed, strlen(streamed), "hello", i < 3 ? 5 : 0);
    }
    CHECK_INT(msgs, 0);
    CHECK_INT(errors, 0);
    down();
  }
}

LOOP_TEST(a_streamed_response_without_a_length_ends_with_the_connection) {
  up_streaming();
  send_text("HTTP/1.1 200 OK\r\n" H "\r\nhello");
  CHECK(UNTIL(strlen(streamed) == 5));
  CHECK_INT(lasts, 0);
  other->is_draining = 1;
  CHECK(UNTIL(closes == 1));
  CHECK_INT(lasts, 1);
  CHECK_INT(errors, 0);
  down();
}

LOOP_TEST(a_cut_stream_has_no_last_piece) {
  const char *const cut[] = {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"};
  for (int i = 0; i < 2; i++) {
    up_streaming();
    send_text(cut[i]);
    other->is_draining = 1;
    CHECK(UNTIL(closes == 1));
    CHECK_INT(lasts, 0);
    CHECK_INT(errors, 1);
    CHECK(strstr(error_text, "inside of a response") != NULL);
    down();
  }
}

LOOP_TEST(a_pause_holds_the_stream_and_loses_nothing) {
  up_streaming();
  pause_after = 1;
  send_text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
  CHECK(UNTIL(pieces == 1));
  turns(5);
  CHECK_INT(pieces, 1);
  other->is_draining = 1; /* the peer leaves meanwhile */
  turns(5);
  client->is_full = 0;
  mg_touch(client);
  CHECK(UNTIL(lasts == 1));
  CHECK_MEM(streamed, strlen(streamed), "hello", 5);
  CHECK_INT(errors, 0);
  down();
}

LOOP_TEST(a_stream_has_a_bound_of_its_own) {
  for (int i = 0; i < 2; i++) {
    up_streaming();
    stream_max = i == 0 ? 4 : 5;
    send_text(counted);
    CHECK(UNTIL(errors == 1 || lasts == 1));
    CHECK_INT(errors, i == 0 ? 1 : 0);
    if (i == 0) CHECK_INT(client->status, MG_ETOOBIG);
    down();
  }
}

/* ---- what is expected ---- */

LOOP_TEST(a_response_that_is_owed_and_does_not_come_is_an_error) {
  up();
  CHECK(mg_http_expect(client, 0, 0));
  CHECK(mg_http_busy(client));
  other->is_draining = 1;
  CHECK(UNTIL(closes == 1));
  CHECK_INT(errors, 1);
  CHECK(strstr(error_text, "before a response") != NULL);
  down();
}

LOOP_TEST(a_silent_server_is_given_up_after_the_read_timeout) {
  up();
  CHECK(mg_http_expect(client, 0, 50));
  CHECK(UNTIL(closes == 1));
  CHECK_INT(errors, 1);
  CHECK(strstr(error_text, "nothing came") != NULL);
  CHECK_INT(mgr.stats.timeouts, 1);
  down();
}

LOOP_TEST(no_time_runs_between_responses) {
  up();
  CHECK(mg_http_expect(client, 0, 50));
  send_text(counted);
  CHECK(UNTIL(msgs == 1));
  CHECK(client->read_due == 0);
  CHECK(!mg_http_busy(client));
  down();
}

LOOP_TEST(a_connection_is_reusable_until_the_peer_says_or_does_anything) {
  static const char *const ends[] = {"HTTP/1.1 200 OK\r\n" H "Connection: close\r\nContent-Length: 0\r\n\r\n",
                                     "HTTP/1.0 200 OK\r\n" H "Content-Length: 0\r\n\r\n",
                                     "HTTP/1.1 200 OK\r\n" H "Content-Length: 0\r\n\r\nH"};
  up();
  CHECK(!mg_http_reusable(client));
  send_text(counted);
  CHECK(UNTIL(msgs == 1));
  CHECK(mg_http_reusable(client));
  CHECK(mg_http_expect(client, 0, 0));
  CHECK(!mg_http_reusable(client));
  send_text(counted);
  CHECK(UNTIL(msgs == 2));
  CHECK(mg_http_reusable(client));
  CHECK_INT(send((int) (size_t) other->fd, "x", 1, 0), 1); /* behind our back: only the socket knows */
  CHECK(!mg_http_reusable(client));
  down();
  for (int i = 0; i < 3; i++) {
    up();
    send_text(ends[i]);
    CHECK(UNTIL(msgs == 1));
    CHECK(!mg_http_reusable(client));
    down();
  }
}

LOOP_TEST(interim_responses_are_told_when_asked_for_and_bounded) {
  up();
  CHECK(mg_http_expect(client, MG_HTTP_INTERIM, 0));
  send_text("HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(UNTIL(hdrs == 1));
  send_text(counted);
  CHECK(UNTIL(msgs == 1));
  CHECK_INT(hdrs, 2);
  down();
  up();
  for (int i = 0; i < 100; i++) send_text("HTTP/1.1 102 Processing\r\n\r\n");
  CHECK(UNTIL(closes == 1));
  CHECK_INT(errors, 1);
  CHECK(strstr(error_text, "interim") != NULL);
  CHECK_INT(hdrs, 0);
  down();
}

LOOP_TEST(the_answer_to_connect_has_no_body_when_it_says_yes) {
  up();
  CHECK(mg_http_expect(client, MG_HTTP_TO_CONNECT, 0));
  send_text("HTTP/1.1 200 OK\r\n" H "Content-Length: 5\r\n\r\n");
  CHECK(UNTIL(msgs == 1));
  CHECK(mg_http_expect(client, MG_HTTP_TO_CONNECT, 0));
  send_text("HTTP/1.1 407 Proxy Authentication Required\r\n" H "Content-Length: 2\r\n\r\nno");
  CHECK(UNTIL(msgs == 2));
  CHECK_MEM(bodies, strlen(bodies), "|no|", 4);
  down();
}

LOOP_TEST(limits_of_a_client_are_its_own) {
  struct mg_limits l = mg_limits_default;
  char url[64];
  up();
  l.max_body = 4;
  snprintf(url, sizeof(url), "http://127.0.0.1:%d/", port_of(listener));
  other = NULL;
  client = mg_http_connect_with(&mgr, url, on_client, NULL, &l);
  CHECK(UNTIL(other != NULL && !client->is_connecting));
  send_text(counted);
  CHECK(UNTIL(errors == 1));
  CHECK_INT(client->status, MG_ETOOBIG);
  down();
}

/* A plain socket, because ours would read first. */
LOOP_TEST(an_answer_before_the_request_is_whole_counts_although_the_server_resets) {
  struct linger hard = {1, 0};
  struct peer p;
  char url[64], *body = (char *) calloc(1, 1 << 20);
  struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof(sin);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  up();
  CHECK(bind(fd, (struct sockaddr *) &sin, sizeof(sin)) == 0 && listen(fd, 1) == 0);
  getsockname(fd, (struct sockaddr *) &sin, &len);
  snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(sin.sin_port));
  client = mg_http_connect(&mgr, url, on_client, NULL);
  CHECK(UNTIL(!client->is_connecting));
  p = peer_of(accept(fd, NULL, NULL));
  CHECK(mg_http_expect(client, 0, 0));
  for (int i = 0; i < 16; i++) mg_send(client, body, 1 << 20); /* more than the kernel takes */
  turns(3);
  client->is_full = 1; /* the answer waits in the socket until the write has failed */
  mg_touch(client);
  turns(1);
  say(&p, counted);
  setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  shutdown(p.fd, SHUT_WR);
  pump_some(&p, 65536);
  turns(3);
  client->is_full = 0;
  mg_touch(client);
  CHECK(UNTIL(msgs == 1));
  CHECK_INT(status, 200);
  hang_up(&p);
  CHECK(UNTIL(closes == 1));
  close(fd);
  free(body);
  down();
}

CHECK_MAIN
