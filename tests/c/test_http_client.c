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

CHECK_MAIN
