/* Fields for whoever answers, interim responses, credentials, and what asks for an end of a body. */
#include "http_helpers.h"
#include "mongoose/base/match.h"

static struct mg_connection *server;
static int stopped, pieces;

static void piece(struct mg_connection *c, struct mg_str data, bool last, void *arg) {
  (void) arg;
  (void) last;
  pieces++;
  if (data.len > 0) {
    stopped++;
    mg_http_reply_n(c, 413, mg_str(NULL), mg_str("no more"));
    mg_http_stop_body(c);
  }
}

static void serve(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_http_message *hm = (struct mg_http_message *) ev_data;
  if (ev == MG_EV_HTTP_HDRS && mg_match(hm->uri, mg_str("/stop"), NULL)) CHECK(mg_http_stream_body(c, piece, NULL, 0));
  if (ev == MG_EV_HTTP_HDRS) CHECK(mg_http_set_header(c, mg_str("X-A"), mg_str("old")));
  if (ev != MG_EV_HTTP_MSG) return;
  CHECK(mg_http_set_header(c, mg_str("x-a"), mg_str("new")));
  CHECK(mg_http_set_header(c, mg_str("Vary"), mg_str("Origin")));
  CHECK(!mg_http_set_header(c, mg_str("a b"), mg_str("x")));
  CHECK_INT(c->mgr->status, MG_EINVAL);
  CHECK(!mg_http_set_header(c, mg_str("a"), mg_str("x\r\ny")));
  CHECK(!mg_http_set_header(c, mg_str(""), mg_str("x")));
  if (mg_match(hm->uri, mg_str("/own"), NULL)) {
    mg_http_reply(c, 200, "X-A: mine\r\nVary: Cookie\r\n", "x");
  } else if (mg_match(hm->uri, mg_str("/stream"), NULL)) {
    CHECK(mg_http_start(c, 200, mg_str(NULL)));
    mg_http_write_chunk(c, "x", 1);
    mg_http_write_chunk(c, NULL, 0);
  } else if (mg_match(hm->uri, mg_str("/hints"), NULL)) {
    CHECK(!mg_http_interim(c, 101, mg_str(NULL)) && c->mgr->status == MG_EINVAL);
    CHECK(!mg_http_interim(c, 200, mg_str(NULL)));
    for (int code = 100; code < 200; code += 33) CHECK(!mg_http_reply_n(c, code, mg_str(NULL), mg_str("")) && c->mgr->status == MG_EINVAL);
    CHECK(!mg_http_start(c, 102, mg_str(NULL)));
    CHECK(mg_http_interim(c, 103, mg_str("Link: </a>\r\n")));
    CHECK(mg_http_interim(c, 199, mg_str(NULL)));
    mg_http_reply(c, 200, NULL, "x");
    CHECK(!mg_http_interim(c, 103, mg_str(NULL)) && c->mgr->status == MG_ESTATE);
  } else {
    mg_http_reply(c, 200, NULL, "x");
  }
  CHECK(!mg_http_set_header(c, mg_str("late"), mg_str("x")));
  CHECK_INT(c->mgr->status, MG_ESTATE);
}

static struct peer up(void) {
  loop_up();
  stopped = pieces = 0;
  server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve, NULL);
  return dial(server);
}

static void down(struct peer *p) {
  hang_up(p);
  loop_down();
}

LOOP_TEST(a_set_header_is_in_the_answer_of_its_request_only) {
  struct peer p = up();
  struct answer a;
  say(&p, GET("/") GET("/own") GET("/stream"));
  CHECK(UNTIL(answers(&p) == 3));
  CHECK_INT(count_in(&p, "\r\nx-a: new\r\n"), 2);
  CHECK_INT(count_in(&p, "old"), 0);
  CHECK_INT(count_in(&p, "X-A: mine"), 1);
  CHECK_INT(count_in(&p, "Vary: Origin"), 3);
  CHECK_INT(count_in(&p, "Vary: Cookie"), 1);
  CHECK(answer_at(&p, 0, false, &a));
  CHECK_INT(count_of(a.head, "x-a"), 1);
  answer_free(&a);
  down(&p);
}

LOOP_TEST(a_refusal_has_it_too) {
  struct peer p = up();
  say(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
  CHECK(UNTIL(gone(&p)));
  CHECK(has(&p, "HTTP/1.1 413 "));
  CHECK(has(&p, "\r\nX-A: old\r\n"));
  down(&p);
}

LOOP_TEST(interim_responses_come_in_front_and_are_no_answer) {
  struct peer p = up();
  say(&p, GET("/hints") GET("/hints"));
  CHECK(UNTIL(has(&p, "HTTP/1.1 200 OK")));
  CHECK(UNTIL(answers(&p) == 6));
  CHECK_INT(count_in(&p, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), 2);
  CHECK_INT(count_in(&p, "HTTP/1.1 199 \r\n\r\n"), 2);
  down(&p);
}

LOOP_TEST(an_old_client_gets_no_interim_response) {
  struct peer p = up();
  say(&p, "GET /hints HTTP/1.0\r\n\r\n");
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(answers(&p), 1);
  down(&p);
}

LOOP_TEST(a_body_that_nobody_wants_is_not_read_to_its_end) {
  struct peer p = up();
  say(&p, "POST /stop HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nabc");
  CHECK(UNTIL(has(&p, "no more")));
  CHECK(has(&p, "\r\nConnection: close\r\n"));
  CHECK_INT(stopped, 1);
  CHECK_INT(pieces, 1);
  CHECK(UNTIL(gone(&p)));
  down(&p);
}

static void creds(const char *head, const char *user, const char *pass) {
  char text[600], u[20], w[20];
  struct mg_http_message hm;
  int n = snprintf(text, sizeof(text), "GET /%s HTTP/1.1\r\nHost: x\r\n%s\r\n", head[0] == '?' ? head : "", head[0] == '?' ? "" : head);
  CHECK_INT(mg_http_parse(text, (size_t) n, &hm), n);
  memset(u, 'x', sizeof(u));
  memset(w, 'x', sizeof(w));
  mg_http_creds(&hm, u, sizeof(u), w, sizeof(w));
  CHECK_MEM(u, strlen(u), user, strlen(user));
  CHECK_MEM(w, strlen(w), pass, strlen(pass));
}

TEST(credentials_are_found_where_mongoose_looks) {
  creds("", "", "");
  creds("Authorization: Basic dXNlcjpwYTpzcw==\r\n", "user", "pa:ss");
  creds("Authorization: bAsIc  dXNlcjpwYTpzcw==\r\n", "user", "pa:ss");
  creds("Authorization: Basic dXNlcg==\r\n", "", "");
  creds("Authorization: Basic !!!\r\n", "", "");
  creds("Authorization: Basic\r\n", "", "");
  creds("Authorization: Bearer token\r\n", "", "token");
  creds("Authorization: Digest x\r\nCookie: access_token=t\r\n", "", "");
  creds("Cookie: a=b; access_token=t\r\n", "", "t");
  creds("?access_token=t%20u", "", "t u");
  creds("Authorization: Bearer 12345678901234567890\r\n", "", ""); /* does not fit: cut it would be another */
}

CHECK_MAIN
