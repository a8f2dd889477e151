/* test_ws_conn.c - the close handshake, signs of life, and ends without a word. */
#include "ws_helpers.h"

LOOP_TEST(a_close_frame_is_answered_with_its_code) {
  static const struct {
    const char *payload;
    size_t len;
    int code;
    const char *why;
  } cases[] = {{"", 0, 1005, ""},           {"\x03\xe8", 2, 1000, ""},          {"\x03\xe9going", 7, 1001, "going"},
               {"\x0b\xb8mine", 6, 3000, "mine"}, {"\x13\x87last", 6, 4999, "last"}, {"\x03\xf6", 2, 1014, ""}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct peer p;
    ws_up();
    p = ws_dial();
    say_frame(&p, 0x88, cases[i].payload, cases[i].len);
    CHECK_CLOSED(&p, cases[i].code);
    CHECK(UNTIL(closes == 1));
    CHECK_INT(closed_with, cases[i].code);
    CHECK_INT(sent_with, cases[i].code);
    CHECK(strcmp(closed_why, cases[i].why) == 0);
    CHECK_INT(ctls, 1);
    CHECK_INT(last_op, WEBSOCKET_OP_CLOSE);
    hang_up(&p);
    ws_down();
  }
}
LOOP_TEST(our_close_waits_for_the_peers) {
  struct peer p;
  ws_up();
  p = ws_dial();
  CHECK(mg_ws_close(server, 4000, mg_str("enough")));
  CHECK_FRAME(&p, 0x88, "\x0f\xa0" "enough", 8);
  CHECK(!mg_ws_close(server, 4000, mg_str("")) && mgr.status == MG_ESTATE);
  CHECK_INT(mg_ws_send(server, "late", 4, WEBSOCKET_OP_TEXT), 0);
  CHECK_INT(mgr.status, MG_ESTATE);
  SAY(&p, 0x81, "was on its way");
  SAY(&p, 0x89, "so was this");
  turns(5);
  CHECK(!gone(&p) && p.len == 0);
  CHECK_INT(msgs, 0);
  say_frame(&p, 0x88, "\x0f\xa0", 2);
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(p.len, 0);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(closed_with, 4000);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(a_peer_who_does_not_answer_our_close_is_cut) {
  struct peer p;
  ws_up();
  limits.ws.close_timeout = 50;
  ws_relimit();
  p = ws_dial();
  CHECK(mg_ws_close(server, 0, mg_str("")));
  CHECK_FRAME(&p, 0x88, "", 0);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(closed_with, 1006);
  CHECK_INT(sent_with, 1005);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(a_peer_who_goes_on_talking_behind_our_close_is_cut_in_time_as_well) {
  struct peer p;
  ws_up();
  limits.ws.close_timeout = 50;
  ws_relimit();
  p = ws_dial();
  CHECK(mg_ws_close(server, 1000, mg_str("")));
  for (int i = 0; i < 3000000 && closes == 0; i++) {
    char f[32];
    size_t at = 0;
    (void) say_more(&p, f, frame_of(f, 0x81, "and another thing", 17), &at);
    mg_mgr_poll(&mgr, 1);
  }
  CHECK_INT(closes, 1);
  CHECK_INT(closed_with, 1006);
  CHECK_INT(msgs, 0);
  CHECK_INT(mgr.stats.timeouts, 1);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(a_peer_who_does_not_read_our_close_is_cut_in_time_as_well) {
  static char big[16 << 20];
  struct peer p;
  ws_up();
  limits.ws.close_timeout = 50;
  ws_relimit();
  p = ws_dial();
  CHECK(mg_ws_send(server, big, sizeof(big), WEBSOCKET_OP_BINARY) > 0);
  turns(5);
  CHECK(mg_unsent(server) > 0);
  CHECK(mg_ws_close(server, 1000, mg_str("")));
  CHECK(UNTIL(closes == 1));
  CHECK_INT(mgr.stats.timeouts, 1);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(codes_and_reasons_that_no_frame_may_have_are_not_sent) {
  char longer[124];
  struct peer p;
  ws_up();
  memset(longer, 'x', sizeof(longer));
  p = ws_dial();
  CHECK(!mg_ws_close(server, 1005, mg_str("")) && mgr.status == MG_EINVAL);
  CHECK(!mg_ws_close(server, 1006, mg_str("")));
  CHECK(!mg_ws_close(server, 999, mg_str("")));
  CHECK(!mg_ws_close(server, 70000, mg_str("")));
  CHECK(!mg_ws_close(server, 0, mg_str("a reason without a code")));
  CHECK(!mg_ws_close(server, 1000, mg_str("\xff")));
  CHECK(!mg_ws_close(server, 1000, mg_str_n(longer, 124)));
  CHECK(mg_ws_close(server, 1000, mg_str_n(longer, 123)));
  hang_up(&p);
  ws_down();
}
LOOP_TEST(a_silent_peer_is_asked_and_then_given_up) {
  struct peer p;
  ws_up();
  limits.ws.ping = 40;
  limits.ws.pong = 40;
  ws_relimit();
  p = ws_dial();
  CHECK_FRAME(&p, 0x89, "", 0);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(closed_with, 1006);
  CHECK_INT(mgr.stats.timeouts, 1);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(a_peer_who_answers_pings_stays_and_is_asked_again_after_the_interval_however_long_a_pong_may_take) {
  struct peer p;
  ws_up();
  limits.ws.ping = 40;
  limits.ws.pong = 3600 * 1000;
  ws_relimit();
  p = ws_dial();
  for (int i = 0; i < 4; i++) {
    CHECK_FRAME(&p, 0x89, "", 0);
    SAY(&p, 0x8a, "");
    CHECK(UNTIL(ctls == i + 1));
  }
  CHECK_INT(closes, 0);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(pings_go_out_at_their_interval_while_a_pong_is_waited_for) {
  struct peer p;
  ws_up();
  limits.ws.ping = 40;
  limits.ws.pong = 3600 * 1000;
  ws_relimit();
  p = ws_dial();
  for (int i = 0; i < 3; i++) CHECK_FRAME(&p, 0x89, "", 0);
  CHECK_INT(closes, 0);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(a_pong_is_given_its_time_and_no_more_however_long_the_interval_is) {
  struct peer p;
  ws_up();
  limits.ws.ping = 500;
  limits.ws.pong = 30;
  ws_relimit();
  p = ws_dial();
  CHECK_FRAME(&p, 0x89, "", 0);
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(p.len, 0); /* one ping was all */
  CHECK(UNTIL(closes == 1));
  CHECK_INT(closed_with, 1006);
  CHECK_INT(mgr.stats.timeouts, 1);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(a_pong_that_came_in_time_counts_for_the_ping_before_it_only) {
  struct peer p;
  ws_up();
  limits.ws.ping = 40;
  limits.ws.pong = 400;
  ws_relimit();
  p = ws_dial();
  CHECK_FRAME(&p, 0x89, "", 0);
  SAY(&p, 0x8a, "");
  CHECK(UNTIL(ctls == 1));
  CHECK_FRAME(&p, 0x89, "", 0);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(mgr.stats.timeouts, 1);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(without_a_pong_timeout_nobody_is_given_up) {
  struct peer p;
  ws_up();
  limits.ws.ping = 40;
  limits.ws.pong = 0;
  ws_relimit();
  p = ws_dial();
  for (int i = 0; i < 3; i++) CHECK_FRAME(&p, 0x89, "", 0);
  CHECK_INT(closes, 0);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(a_silent_peer_is_given_up_also_when_it_is_told_something_in_every_turn) {
  struct peer p;
  ws_up();
  limits.ws.ping = 40;
  limits.ws.pong = 40;
  ws_relimit();
  p = ws_dial();
  for (int i = 0; i < 3000000 && closes == 0; i++) {
    if (server != NULL) (void) mg_ws_send(server, "x", 1, WEBSOCKET_OP_TEXT); /* waits while the deadlines of the turn are looked at */
    mg_mgr_poll(&mgr, 1);
    pump(&p);
    p.len = 0;
  }
  CHECK_INT(closes, 1);
  CHECK_INT(mgr.stats.timeouts, 1);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(draining_says_going_away) {
  struct peer p;
  ws_up();
  p = ws_dial();
  server->is_draining = 1;
  mg_touch(server);
  CHECK_CLOSED(&p, 1001);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(a_peer_that_is_gone_without_a_close_frame_is_1006) {
  struct peer p;
  ws_up();
  p = ws_dial();
  SAY(&p, 0x01, "half");
  turns(2);
  hang_up(&p);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(closed_with, 1006);
  CHECK_INT(sent_with, 0);
  ws_down();
}
LOOP_TEST(a_manager_that_ends_frees_open_websockets) {
  struct peer p;
  ws_up();
  p = ws_dial();
  SAY(&p, 0x01, "half");
  CHECK(mg_ws_join(server, mg_str("room")));
  CHECK(mg_ws_stream_begin(server, WEBSOCKET_OP_TEXT));
  CHECK_INT(mg_ws_send(server, "waits", 5, WEBSOCKET_OP_TEXT), 7);
  turns(2);
  ws_down();
  CHECK_INT(closes, 1);
  hang_up(&p);
}
CHECK_MAIN
