/* test_ws_client.c - the client's side: against answers that a test scripts, and against our own server. */
#include "ws_helpers.h"
#include "mongoose/proto/ws_conn.h"

static struct mg_connection *client, *other; /* other: the scripted server's side */
static int c_opens, c_msgs, c_errors, c_closes, c_code;
static char c_error[256], c_heard[512], request[4096];

static void on_script(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  if (ev == MG_EV_ACCEPT) other = c;
  if (ev == MG_EV_CLOSE && c == other) other = NULL;
}
static void on_client(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_ws_message *m = (struct mg_ws_message *) ev_data;
  if (ev == MG_EV_WS_OPEN) {
    c_opens++;
    CHECK_INT(mg_http_status((struct mg_http_message *) ev_data), 101);
  } else if (ev == MG_EV_WS_MSG) {
    c_msgs++;
    snprintf(c_heard, sizeof(c_heard), "%.*s", (int) m->data.len, m->data.buf);
  } else if (ev == MG_EV_ERROR) {
    c_errors++;
    snprintf(c_error, sizeof(c_error), "%s", (char *) ev_data);
  } else if (ev == MG_EV_CLOSE) {
    c_closes++;
    c_code = mg_ws_close_code(c);
    client = NULL;
  }
}
static void reset(void) {
  c_opens = c_msgs = c_errors = c_closes = c_code = 0;
  c_error[0] = c_heard[0] = '\0';
}
static void dial_script(struct mg_connection *lc, const struct mg_ws_opts *o, const char *path) {
  char url[128];
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d%s", port_of(lc), path);
  reset();
  other = NULL;
  client = mg_ws_connect_with(&mgr, url, on_client, NULL, o);
  CHECK(client != NULL);
  CHECK(UNTIL(other != NULL && other->recv.len > 4 && memcmp(other->recv.buf + other->recv.len - 4, "\r\n\r\n", 4) == 0));
  snprintf(request, sizeof(request), "%.*s", (int) other->recv.len, (char *) other->recv.buf);
  other->recv.len = 0;
}
/* The answer to the key of `request`. */
static const char *accept_line(void) {
  static char line[80];
  char a[29];
  mg_ws_accept(mg_str_n(strstr(request, "Sec-WebSocket-Key: ") + 19, 24), a);
  snprintf(line, sizeof(line), "Sec-WebSocket-Accept: %s\r\n", a);
  return line;
}
static void text(const char *s) {
  mg_send(other, s, strlen(s));
}
#define OK "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n"

LOOP_TEST(the_request_is_what_the_rfc_asks_for) {
  static struct mg_str two[] = {{(char *) "v2", 2}, {(char *) "v1", 2}};
  struct mg_ws_opts o;
  struct mg_connection *lc;
  char host[64];
  loop_up();
  memset(&o, 0, sizeof(o));
  o.protocols = two;
  o.nprotocols = 2;
  o.headers = mg_str("X-Mine: 100%\r\n");
  lc = mg_listen(&mgr, "tcp://127.0.0.1:0", on_script, NULL);
  dial_script(lc, &o, "/path?q=1#fragment");
  snprintf(host, sizeof(host), "\r\nHost: 127.0.0.1:%d\r\n", port_of(lc));
  CHECK(strncmp(request, "GET /path?q=1 HTTP/1.1\r\n", 24) == 0);
  CHECK(strstr(request, host) != NULL);
  CHECK(strstr(request, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n") != NULL);
  CHECK(strstr(request, "\r\nSec-WebSocket-Version: 13\r\n") != NULL);
  CHECK(strstr(request, "\r\nSec-WebSocket-Protocol: v2, v1\r\n") != NULL);
  CHECK(strstr(request, "\r\nX-Mine: 100%\r\n") != NULL && strstr(request, "Extensions") == NULL);
  text(OK), text(accept_line()), text("Sec-WebSocket-Protocol: v1\r\n\r\n");
  CHECK(UNTIL(c_opens == 1));
  CHECK_STR(mg_ws_protocol(client), "v1");
  loop_down();
}
LOOP_TEST(an_answer_may_come_in_any_cut_with_frames_behind_it) {
  struct mg_connection *lc;
  char answer[512];
  size_t len = 1;
  loop_up();
  lc = mg_listen(&mgr, "tcp://127.0.0.1:0", on_script, NULL);
  for (size_t cut = 0; cut < len; cut += 5) {
    dial_script(lc, NULL, "/");
    snprintf(answer, sizeof(answer), "HTTP/1.1 103 Early Hints\r\n\r\n" OK "%s\r\n\x81\x05hello\x89\x01p", accept_line());
    len = strlen(answer);
    mg_send(other, answer, cut);
    turns(3);
    mg_send(other, answer + cut, len - cut);
    CHECK(UNTIL(c_msgs == 1));
    CHECK(strcmp(c_heard, "hello") == 0);
    CHECK(UNTIL(other->recv.len >= 7)); /* the pong, masked */
    CHECK_INT(other->recv.buf[0], 0x8a);
    CHECK_INT(other->recv.buf[1], 0x81);
    CHECK_INT(other->recv.buf[6] ^ other->recv.buf[2], 'p');
    client->is_closing = 1;
    CHECK(UNTIL(c_closes == 1 && other == NULL));
    CHECK_INT(c_errors, 0);
  }
  loop_down();
}
LOOP_TEST(an_answer_that_is_none_to_our_question_is_an_error) {
  static const struct {
    const char *head; /* '*' becomes the right accept line */
    const char *says;
  } cases[] = {
      {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403 Forbidden"},
      {"HTTP/1.1 301 Moved\r\nLocation: /x\r\n\r\n", "301"},
      {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n*\r\n", "upgrade"},
      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n*\r\n", "upgrade"},
      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n*\r\n", "upgrade"},
      {OK "\r\n", "Accept"},
      {OK "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", "Accept"},
      {OK "*Sec-WebSocket-Protocol: v9\r\n\r\n", "subprotocol"},
      {OK "*Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "extensions"},
      {"SSH-2.0-OpenSSH_9.2\r\n\r\n", "malformed"},
  };
  struct mg_connection *lc;
  loop_up();
  lc = mg_listen(&mgr, "tcp://127.0.0.1:0", on_script, NULL);
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    const char *star = strchr(cases[i].head, '*');
    dial_script(lc, NULL, "/");
    mg_send(other, cases[i].head, star != NULL ? (size_t) (star - cases[i].head) : strlen(cases[i].head));
    if (star != NULL) text(accept_line()), text(star + 1);
    CHECK(UNTIL(c_closes == 1));
    CHECK_INT(c_errors, 1);
    CHECK_INT(c_opens, 0);
    CHECK(strstr(c_error, cases[i].says) != NULL);
    CHECK(UNTIL(other == NULL));
  }
  dial_script(lc, NULL, "/");
  text("HTTP/1.1 101 Swi");
  other->is_draining = 1;
  CHECK(UNTIL(c_closes == 1));
  CHECK_INT(c_errors, 1);
  loop_down();
}
LOOP_TEST(a_server_that_does_not_answer_is_given_up) {
  struct mg_connection *lc;
  loop_up();
  lc = mg_listen(&mgr, "tcp://127.0.0.1:0", on_script, NULL);
  dial_script(lc, NULL, "/");
  mg_read_due(client, mgr.now + 30);
  CHECK(UNTIL(c_closes == 1));
  CHECK_INT(c_errors, 1);
  CHECK(strstr(c_error, "timed out") != NULL);
  loop_down();
}
LOOP_TEST(a_masked_frame_from_a_server_is_refused) {
  struct mg_connection *lc;
  char answer[512];
  loop_up();
  lc = mg_listen(&mgr, "tcp://127.0.0.1:0", on_script, NULL);
  dial_script(lc, NULL, "/");
  snprintf(answer, sizeof(answer), OK "%s\r\n\x81\x81", accept_line());
  text(answer);
  CHECK(UNTIL(c_opens == 1 && other->recv.len >= 8));
  CHECK_INT(other->recv.buf[0], 0x88);
  CHECK_INT((other->recv.buf[6] ^ other->recv.buf[2]) << 8 | (other->recv.buf[7] ^ other->recv.buf[3]), 1002);
  CHECK_INT(c_errors, 0);
  loop_down();
}

/* Our client and our server. */
static void talk(bool compress, bool takeover) {
  static char big[200000];
  struct mg_ws_opts o;
  char url[64];
  ws_up();
  reset();
  for (size_t i = 0; i < sizeof(big); i++) big[i] = (char) ('a' + (i * i >> 7) % 20);
  opts.compress = compress;
  opts.takeover = takeover;
  o = opts;
  echoes = true;
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d/", port_of(listener));
  client = mg_ws_connect_with(&mgr, url, on_client, NULL, &o);
  CHECK(UNTIL(c_opens == 1));
  CHECK_INT(mg_ws_compressed(client), compress && mg_ws_can_compress());
  CHECK_INT(mg_ws_compressed(server), compress && mg_ws_can_compress());
  for (int i = 1; i < 6; i++) {
    size_t n = i < 5 ? (size_t) i * 100 : sizeof(big);
    CHECK(mg_ws_send(client, big, n, WEBSOCKET_OP_TEXT) > 0);
    CHECK(UNTIL(c_msgs == i));
    CHECK_MEM(c_heard, strlen(c_heard), big, n < 511 ? n : 511);
  }
  CHECK(mg_ws_stream_begin(client, WEBSOCKET_OP_TEXT));
  CHECK(mg_ws_stream_write(client, big, 300) && mg_ws_stream_write(client, big + 300, 100));
  CHECK(mg_ws_stream_end(client));
  CHECK(UNTIL(c_msgs == 6));
  CHECK_MEM(c_heard, strlen(c_heard), big, 400);
  CHECK(mg_ws_close(client, 3001, mg_str("done")));
  CHECK(UNTIL(c_closes == 1 && closes == 1));
  CHECK_INT(closed_with, 3001);
  CHECK_INT(c_code, 3001);
  CHECK(strcmp(closed_why, "done") == 0);
  CHECK_INT(errors + c_errors, 0);
  CHECK(((struct mg_ws_site *) mgr.ws_site)->reserved == 0);
  ws_down();
}
LOOP_TEST(client_and_server_understand_each_other) {
  talk(false, false);
}
LOOP_TEST(client_and_server_understand_each_other_in_compressed_messages) {
  talk(true, false);
  talk(true, true);
}
LOOP_TEST(a_close_by_the_server_ends_the_client) {
  char url[64];
  ws_up();
  reset();
  snprintf(url, sizeof(url), "ws://127.0.0.1:%d/", port_of(listener));
  client = mg_ws_connect(&mgr, url, on_client, NULL, "X-N: %d\r\n", 7);
  CHECK(UNTIL(c_opens == 1));
  CHECK(mg_ws_close(server, 1001, mg_str("")));
  CHECK(UNTIL(c_closes == 1 && closes == 1));
  CHECK_INT(c_code, 1001);
  CHECK_INT(closed_with, 1001);
  ws_down();
}
LOOP_TEST(a_server_that_closes_but_does_not_hang_up_is_cut) {
  struct mg_connection *lc;
  struct mg_ws_limits brief = mg_limits_default.ws;
  struct mg_ws_opts o;
  char answer[512];
  brief.close_timeout = 40;
  memset(&o, 0, sizeof(o));
  o.limits = &brief;
  loop_up();
  lc = mg_listen(&mgr, "tcp://127.0.0.1:0", on_script, NULL);
  dial_script(lc, &o, "/");
  snprintf(answer, sizeof(answer), OK "%s\r\n", accept_line());
  text(answer);
  CHECK(UNTIL(c_opens == 1));
  CHECK(mg_ws_close(client, 1000, mg_str("")));
  text("\x88\x02\x03\xe8");
  CHECK(UNTIL(c_closes == 1));
  CHECK_INT(c_code, 1000);
  CHECK_INT(c_errors, 0);
  loop_down();
}
LOOP_TEST(a_path_may_speak_of_unix) {
  struct mg_connection *lc;
  loop_up();
  lc = mg_listen(&mgr, "tcp://127.0.0.1:0", on_script, NULL);
  dial_script(lc, NULL, "/a?b=unix:c");
  CHECK(strncmp(request, "GET /a?b=unix:c HTTP/1.1\r\n", 26) == 0);
  loop_down();
}

TEST(a_budget_that_is_overdrawn_gives_no_windows) {
  struct mg_ws_opts o;
  struct mg_ws_deflate wish;
  struct mg_ws_site *site;
  memset(&o, 0, sizeof(o));
  o.compress = o.takeover = true;
  loop_up();
  site = mg_ws_site(&mgr);
  site->budget = 1000;
  site->reserved = 2000; /* by clients that asked at the same time */
  mg_ws_wish(site, &o, true, &wish);
  CHECK(!wish.client.takeover && !wish.server.takeover);
  site->reserved = 0;
  loop_down();
}

TEST(urls_and_requests_that_cannot_be_are_refused_at_once) {
  loop_up();
  CHECK(mg_ws_connect(&mgr, "ws://127.0.0.1:1/a b", on_client, NULL, NULL) == NULL);
  CHECK_INT(mgr.status, MG_EINVAL);
  CHECK(mg_ws_connect(&mgr, "ws://127.0.0.1:1/a\r\nX: y", on_client, NULL, NULL) == NULL);
  CHECK(mg_ws_connect(&mgr, "gopher://127.0.0.1:1/", on_client, NULL, NULL) == NULL);
  CHECK_INT(mgr.status, MG_ESCHEME);
  loop_down();
}
CHECK_MAIN
