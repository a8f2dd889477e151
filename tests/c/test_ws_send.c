/* test_ws_send.c - from messages to bytes. */
#include "ws_helpers.h"
#include "mongoose/proto/ws_conn.h"

LOOP_TEST(messages_of_every_kind_of_length_are_framed) {
  static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, 300000};
  char *big = (char *) malloc(300000);
  struct peer p;
  ws_up();
  memset(big, 'z', 300000);
  p = ws_dial();
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    size_t n = sizes[i], head = n < 126 ? 2 : n < 65536 ? 4 : 10;
    CHECK_INT(mg_ws_send(server, big, n, WEBSOCKET_OP_BINARY), n + head);
    CHECK_FRAME(&p, 0x82, big, n);
  }
  CHECK_INT(mgr.stats.ws_out, 7);
  CHECK_INT(mg_ws_printf(server, WEBSOCKET_OP_TEXT, "%d%s", 42, "!"), 5);
  CHECK_FRAME(&p, 0x81, "42!", 3);
  CHECK_INT(mg_ws_send(server, "p", 1, WEBSOCKET_OP_PING), 3);
  CHECK_FRAME(&p, 0x89, "p", 1);
  CHECK_INT(mg_ws_send(server, "p", 1, WEBSOCKET_OP_PONG), 3);
  CHECK_FRAME(&p, 0x8a, "p", 1);
  CHECK_INT(mg_ws_send(server, big, 126, WEBSOCKET_OP_PING), 0);
  CHECK_INT(mgr.status, MG_EINVAL);
  CHECK_INT(mg_ws_send(server, big, 1, 3), 0);
  CHECK_INT(mg_ws_send(server, big, 1, WEBSOCKET_OP_CONTINUE), 0);
  CHECK_INT(mg_ws_send(server, big, 1, WEBSOCKET_OP_CLOSE), 0);
  CHECK_INT(mg_ws_send(server, "\x03\xe8" "bye", 5, WEBSOCKET_OP_CLOSE), 7);
  CHECK_FRAME(&p, 0x88, "\x03\xe8" "bye", 5);
  free(big);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(what_is_in_the_output_can_be_wrapped) {
  struct peer p;
  ws_up();
  p = ws_dial();
  mg_send(server, "wrapped", 7);
  CHECK_INT(mg_ws_wrap(server, 7, WEBSOCKET_OP_BINARY), 9);
  CHECK_INT(mg_ws_wrap(server, 100, WEBSOCKET_OP_BINARY), 0);
  CHECK_FRAME(&p, 0x82, "wrapped", 7);
  hang_up(&p);
  ws_down();
}
static int freed;
static void count_free(void *arg) {
  (void) arg;
  freed++;
}
LOOP_TEST(a_message_by_reference_is_freed_once) {
  static char big[100000];
  struct peer p;
  ws_up();
  freed = 0;
  memset(big, 'r', sizeof(big));
  p = ws_dial();
  CHECK_INT(mg_ws_send_ref(server, big, sizeof(big), WEBSOCKET_OP_BINARY, count_free, NULL), sizeof(big) + 10);
  CHECK_FRAME(&p, 0x82, big, sizeof(big));
  CHECK_INT(freed, 1);
  CHECK(mg_ws_send_ref(server, big, 5, WEBSOCKET_OP_PING, count_free, NULL) > 0);
  CHECK_INT(freed, 2);
  mg_ws_close(server, 1000, mg_str(""));
  CHECK_INT(mg_ws_send_ref(server, big, 5, WEBSOCKET_OP_TEXT, count_free, NULL), 0);
  CHECK_INT(freed, 3);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(a_streamed_message_leaves_in_fragments_and_others_wait_for_its_end) {
  struct peer p;
  ws_up();
  p = ws_dial();
  CHECK(!mg_ws_stream_write(server, "x", 1) && mgr.status == MG_ESTATE);
  CHECK(!mg_ws_stream_end(server));
  CHECK(!mg_ws_stream_begin(server, WEBSOCKET_OP_PING) && mgr.status == MG_EINVAL);
  CHECK(mg_ws_stream_begin(server, WEBSOCKET_OP_TEXT));
  CHECK(!mg_ws_stream_begin(server, WEBSOCKET_OP_TEXT) && mgr.status == MG_ESTATE);
  CHECK(mg_ws_stream_write(server, "one", 3));
  CHECK_INT(mg_ws_send(server, "between", 7, WEBSOCKET_OP_BINARY), 9);
  CHECK_INT(mg_ws_send(server, "", 0, WEBSOCKET_OP_TEXT), 2); /* 0 would say that it was refused */
  CHECK(mg_ws_send(server, "ping", 4, WEBSOCKET_OP_PING) > 0);
  CHECK(mg_ws_stream_write(server, "two", 3));
  CHECK_FRAME(&p, 0x01, "one", 3);
  CHECK_FRAME(&p, 0x89, "ping", 4);
  CHECK_FRAME(&p, 0x00, "two", 3);
  CHECK(mg_ws_stream_end(server));
  CHECK_FRAME(&p, 0x80, "", 0);
  CHECK_FRAME(&p, 0x82, "between", 7);
  CHECK_FRAME(&p, 0x81, "", 0);
  CHECK(mg_ws_stream_begin(server, WEBSOCKET_OP_BINARY));
  CHECK(mg_ws_stream_end(server));
  CHECK_FRAME(&p, 0x82, "", 0);
  CHECK_INT(mgr.stats.ws_out, 4);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(more_than_may_wait_is_refused_and_nothing_of_it_is_sent) {
  static char big[60000];
  struct peer p;
  int sent = 0;
  ws_up();
  limits.send_max = 500000;
  ws_relimit();
  p = ws_dial();
  for (int i = 0; i < 20; i++) sent += mg_ws_send(server, big, sizeof(big), WEBSOCKET_OP_BINARY) > 0;
  CHECK_INT(sent, 8);
  CHECK_INT(mgr.status, MG_EFULL);
  CHECK_INT(mg_ws_send(server, big, 600000, WEBSOCKET_OP_BINARY), 0);
  for (int i = 0; i < sent; i++) CHECK_FRAME(&p, 0x82, big, sizeof(big));
  CHECK(mg_ws_send(server, big, 10, WEBSOCKET_OP_BINARY) > 0);
  CHECK_FRAME(&p, 0x82, big, 10);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(tiny_messages_that_wait_behind_a_streamed_one_are_counted_with_what_they_cost) {
  enum { MOST = 100000 };
  struct peer p;
  struct mg_ws_waiting *w;
  size_t n = 0, held = 0;
  ws_up();
  limits.send_max = MOST;
  ws_relimit();
  p = ws_dial();
  CHECK(mg_ws_stream_begin(server, WEBSOCKET_OP_BINARY));
  while (n < MOST && mg_ws_send(server, "", 0, WEBSOCKET_OP_TEXT) > 0) n++;
  CHECK_INT(mgr.status, MG_EFULL);
  for (w = mg_ws_of(server)->waiting; w != NULL; w = w->next) held += sizeof(*w) + w->len;
  CHECK(n > 1000 && held <= MOST);
  CHECK(!mg_ws_stream_write(server, "full", 4) && mgr.status == MG_EFULL);
  CHECK(mg_ws_stream_end(server)); /* its end makes room */
  CHECK(mg_unsent(server) <= MOST);
  CHECK_FRAME(&p, 0x82, "", 0);
  while (n-- > 0) CHECK_FRAME(&p, 0x81, "", 0);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(a_begin_that_nothing_was_written_after_can_be_taken_back) {
  struct peer p;
  ws_up();
  p = ws_dial();
  CHECK(!mg_ws_stream_undo(server) && mgr.status == MG_ESTATE);
  CHECK(mg_ws_stream_begin(server, WEBSOCKET_OP_TEXT));
  CHECK(mg_ws_send(server, "between", 7, WEBSOCKET_OP_BINARY) > 0);
  CHECK(!mg_ws_stream_write(server, "x", limits.send_max) && mgr.status == MG_EFULL);
  CHECK(mg_ws_stream_undo(server));
  CHECK_FRAME(&p, 0x82, "between", 7);
  CHECK(mg_ws_stream_begin(server, WEBSOCKET_OP_BINARY));
  CHECK(mg_ws_stream_write(server, "x", 1));
  CHECK(!mg_ws_stream_undo(server) && mgr.status == MG_ESTATE); /* too late */
  CHECK(mg_ws_stream_end(server));
  CHECK_FRAME(&p, 0x02, "x", 1);
  CHECK_FRAME(&p, 0x80, "", 0);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(frames_around_tiny_messages_count_for_the_bound_as_well) {
  enum { MOST = 100000 };
  struct peer p;
  ws_up();
  limits.send_max = MOST;
  ws_relimit();
  p = ws_dial();
  while (mg_unsent(server) < 2 * MOST && mg_ws_send(server, "x", 1, WEBSOCKET_OP_TEXT) > 0) continue;
  CHECK_INT(mgr.status, MG_EFULL);
  CHECK(mg_unsent(server) > MOST - 10 && mg_unsent(server) <= MOST);
  while (mg_unsent(server) < 2 * MOST && mg_ws_send(server, "", 0, WEBSOCKET_OP_PING) > 0) continue;
  CHECK(mg_unsent(server) <= MOST);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(what_is_no_websocket_sends_nothing) {
  ws_up();
  CHECK_INT(mg_ws_send(listener, "x", 1, WEBSOCKET_OP_TEXT), 0);
  CHECK_INT(mgr.status, MG_ESTATE);
  CHECK_INT(mg_ws_wrap(listener, 0, WEBSOCKET_OP_TEXT), 0);
  CHECK(!mg_ws_stream_begin(listener, WEBSOCKET_OP_TEXT));
  CHECK(!mg_ws_close(listener, 1000, mg_str("")));
  CHECK(!mg_ws_join(listener, mg_str("x")));
  CHECK(mg_ws_hold(listener) == NULL);
  CHECK_INT(mg_ws_close_code(listener), 1006);
  ws_down();
}
TEST(running_out_of_memory_refuses_and_says_so) {
  static char big[20000];
  struct peer p;
  ws_up();
  p = ws_dial();
  mg_alloc_fail_at(1);
  CHECK_INT(mg_ws_send(server, big, sizeof(big), WEBSOCKET_OP_BINARY), 0);
  mg_alloc_fail_at(0);
  CHECK_INT(mgr.status, MG_ENOMEM);
  freed = 0;
  mg_alloc_fail_at(1);
  (void) mg_ws_send_ref(server, big, sizeof(big), WEBSOCKET_OP_BINARY, count_free, NULL);
  mg_alloc_fail_at(0);
  CHECK_INT(freed, 1);
  CHECK_INT(mg_unsent(server), 0);
  CHECK(mg_ws_stream_begin(server, WEBSOCKET_OP_TEXT));
  mg_alloc_fail_at(1);
  CHECK_INT(mg_ws_send(server, "waits", 5, WEBSOCKET_OP_TEXT), 0);
  mg_alloc_fail_at(0);
  CHECK(mg_ws_stream_end(server));
  CHECK_FRAME(&p, 0x81, "", 0);
  hang_up(&p);
  ws_down();
}
/* What was refused was not said: the next piece is still the first. */
TEST(a_first_piece_that_had_no_memory_may_be_written_again) {
  static char big[20000];
  struct peer p;
  ws_up();
  p = ws_dial();
  CHECK(mg_ws_stream_begin(server, WEBSOCKET_OP_BINARY));
  mg_alloc_fail_at(1);
  CHECK(!mg_ws_stream_write(server, big, sizeof(big)));
  mg_alloc_fail_at(0);
  CHECK_INT(mgr.status, MG_ENOMEM);
  CHECK(mg_ws_stream_write(server, big, sizeof(big)));
  CHECK_FRAME(&p, 0x02, big, sizeof(big));
  CHECK(mg_ws_stream_end(server));
  CHECK_FRAME(&p, 0x80, "", 0);
  hang_up(&p);
  ws_down();
}
/* A piece that is in our window and never in the peer's would make nonsense of all that follows. */
TEST(a_packed_piece_that_had_no_memory_ends_the_connection) {
  static char noise[40000];
  struct peer p;
  uint32_t x = 1;
  long n;
  size_t i;
  if (!mg_ws_can_compress()) return;
  for (i = 0; i < sizeof(noise); i++) noise[i] = (char) ((x = x * 1664525u + 1013904223u) >> 24);
  for (n = 1; n < 12; n++) {
    bool ok;
    ws_up();
    opts.compress = opts.takeover = true;
    p = dial(listener);
    say(&p, HANDSHAKE "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    CHECK(UNTIL(opens == 1 && has(&p, "\r\n\r\n")));
    CHECK(mg_ws_stream_begin(server, WEBSOCKET_OP_BINARY));
    mg_alloc_fail_at(n);
    ok = mg_ws_stream_write(server, noise, sizeof(noise));
    mg_alloc_fail_at(0);
    CHECK(ok || server->is_closing);
    hang_up(&p);
    ws_down();
  }
}
CHECK_MAIN
