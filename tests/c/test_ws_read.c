/* test_ws_read.c - from bytes to messages: cuts, fragments, limits, and the close code of everything that is wrong. */
#include "ws_helpers.h"
#include "mongoose/proto/ws_conn.h"

/* Frames that a client may send, one after the other; with a ping inside of a message. */
static size_t conversation(char *to) {
  static char big[70000];
  size_t n = 0;
  memset(big, 'b', sizeof(big));
  n += frame_of(to + n, 0x81, "h\xc3\xa4llo", 6);
  n += frame_of(to + n, 0x82, "", 0);
  n += frame_of(to + n, 0x01, "fr\xe2", 3);
  n += frame_of(to + n, 0x89, "are you there", 13);
  n += frame_of(to + n, 0x00, "", 0);
  n += frame_of(to + n, 0x80, "\x82\xac|ag", 5);
  n += frame_of(to + n, 0x82, big, 200);
  n += frame_of(to + n, 0x8a, "unasked", 7);
  return n;
}
static void check_conversation(struct peer *p) {
  static const char first[] = "h\xc3\xa4llo||are you there|fr\xe2\x82\xac|ag|";
  char want[512];
  size_t n = sizeof(first) - 1;
  CHECK(UNTIL(msgs == 4 && ctls == 2));
  memset(want, 'b', sizeof(want));
  memcpy(want, first, n);
  memcpy(want + n + 200, "|unasked|", 9);
  CHECK_MEM(heard, heard_len, want, n + 200 + 9);
  CHECK_FRAME(p, 0x8a, "are you there", 13);
  msgs = ctls = 0;
  heard_len = 0;
}
LOOP_TEST(messages_are_the_same_at_every_cut) {
  char bytes[1024];
  size_t len = conversation(bytes);
  struct peer p;
  ws_up();
  p = ws_dial();
  for (size_t cut = 0; cut <= len; cut++) {
    say_n(&p, bytes, cut);
    turns(2);
    say_n(&p, bytes + cut, len - cut);
    check_conversation(&p);
  }
  hang_up(&p);
  ws_down();
}
LOOP_TEST(messages_are_the_same_byte_by_byte) {
  char bytes[1024];
  size_t len = conversation(bytes);
  struct peer p;
  ws_up();
  p = ws_dial();
  for (size_t i = 0; i < len; i++) {
    say_n(&p, bytes + i, 1);
    mg_mgr_poll(&mgr, 0);
  }
  check_conversation(&p);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(large_messages_arrive_whole) {
  static const size_t sizes[] = {16384, 65535, 65536, 300000, 1 << 20};
  char *big = (char *) malloc(1 << 20);
  struct peer p;
  ws_up();
  echoes = true;
  p = ws_dial();
  for (size_t i = 0; i < 1 << 20; i++) big[i] = (char) ('a' + i % 23);
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    say_frame(&p, 0x81, big, sizes[i]);
    CHECK_FRAME(&p, 0x81, big, sizes[i]);
    say_frame(&p, 0x01, big, sizes[i] / 2);
    say_frame(&p, 0x80, big + sizes[i] / 2, sizes[i] - sizes[i] / 2);
    CHECK_FRAME(&p, 0x81, big, sizes[i]);
  }
  free(big);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(what_breaks_the_protocol_ends_with_its_close_code) {
  static const struct {
    struct {
      int first;
      const char *data;
      size_t len;
    } frames[3];
    int code;
  } cases[] = {
      {{{0xc1, "rsv1", 4}}, 1002},
      {{{0xa1, "rsv2", 4}}, 1002},
      {{{0x83, "opcode 3", 8}}, 1002},
      {{{0x8b, "opcode 11", 9}}, 1002},
      {{{0x09, "ping in fragments", 17}}, 1002},
      {{{0x80, "goes on with nothing", 20}}, 1002},
      {{{0x01, "a", 1}, {0x81, "b", 1}}, 1002},
      {{{0x01, "a", 1}, {0x80, "b", 1}, {0x80, "c", 1}}, 1002},
      {{{0x81, "\xff", 1}}, 1007},
      {{{0x81, "cut \xe2\x82", 6}}, 1007},
      {{{0x01, "a\xe2", 2}, {0x80, "(", 1}}, 1007},
      {{{0x88, "x", 1}}, 1002},
      {{{0x88, "\x03\xe7", 2}}, 1002},
      {{{0x88, "\x03\xed", 2}}, 1002},
      {{{0x88, "\x13\x88", 2}}, 1002},
      {{{0x88, "\x03\xe8\xff", 3}}, 1007},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct peer p;
    ws_up();
    p = ws_dial();
    for (int k = 0; k < 3 && cases[i].frames[k].data != NULL; k++) {
      say_frame(&p, (unsigned) cases[i].frames[k].first, cases[i].frames[k].data, cases[i].frames[k].len);
    }
    SAY(&p, 0x81, "never looked at");
    CHECK_CLOSED(&p, cases[i].code);
    hang_up(&p);
    CHECK(UNTIL(closes == 1));
    CHECK_INT(sent_with, cases[i].code);
    CHECK_INT(msgs, cases[i].frames[2].data != NULL ? 1 : 0);
    ws_down();
  }
}
LOOP_TEST(an_unmasked_frame_is_refused) {
  struct peer p;
  ws_up();
  p = ws_dial();
  say_n(&p, "\x81\x01x", 3);
  CHECK_CLOSED(&p, 1002);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(text_is_refused_as_soon_as_it_is_known_to_be_wrong) {
  char frame[2048], text[1000];
  struct peer p;
  memset(text, 'a', sizeof(text));
  text[100] = (char) 0xc0;
  frame_of(frame, 0x81, text, sizeof(text));
  ws_up();
  p = ws_dial();
  say_n(&p, frame, 8 + 100);
  turns(5);
  CHECK(!gone(&p));
  say_n(&p, frame + 108, 1); /* of 1000 */
  CHECK_CLOSED(&p, 1007);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(limits_hold_before_the_bytes_are_there) {
  static const char huge[] = "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff";
  struct peer p;
  char bytes[2100];
  memset(bytes, 'x', sizeof(bytes));
  ws_up();
  limits.ws.max_frame = 1500;
  limits.ws.max_message = 2000;
  ws_relimit();
  p = ws_dial();
  say_n(&p, huge, 10);
  CHECK_CLOSED(&p, 1009);
  hang_up(&p);
  p = ws_dial();
  say_frame(&p, 0x82, bytes, 1500);
  say_frame(&p, 0x02, bytes, 1000);
  say_frame(&p, 0x80, bytes, 1000);
  CHECK(UNTIL(msgs == 2));
  say_n(&p, "\x82\xfe\x05\xdd", 4); /* 1501 */
  CHECK_CLOSED(&p, 1009);
  hang_up(&p);
  p = ws_dial();
  say_frame(&p, 0x02, bytes, 1000);
  say_n(&p, "\x80\xfe\x03\xe9" "mask", 8); /* 1001 more */
  CHECK_CLOSED(&p, 1009);
  hang_up(&p);
  ws_down();
}

LOOP_TEST(fragments_take_no_more_memory_than_a_message_may_have_and_do_not_grow_one_by_one) {
  struct mg_ws_conn *ws = NULL;
  struct peer p;
  char bytes[30000];
  memset(bytes, 'x', sizeof(bytes));
  ws_up();
  limits.ws.max_message = 50000;
  ws_relimit();
  p = ws_dial();
  say_frame(&p, 0x02, bytes, sizeof(bytes));
  CHECK(UNTIL(server != NULL && (ws = mg_ws_of(server)) != NULL && ws->msg != NULL));
  if (ws != NULL && ws->msg != NULL) CHECK_INT(ws->msg->size, 50000);
  hang_up(&p);
  p = ws_dial();
  say_frame(&p, 0x02, bytes, 10000);
  say_frame(&p, 0x00, bytes, 20000);
  CHECK(UNTIL(server != NULL && (ws = mg_ws_of(server)) != NULL && ws->msg != NULL && ws->msg->used == 30000));
  if (ws != NULL && ws->msg != NULL) CHECK_INT(ws->msg->size, 50000);
  hang_up(&p);
  ws_down();
}

static struct mg_chunk *held[64];
static struct mg_str kept[64];
static int nheld;
static void keep(struct mg_connection *c, struct mg_ws_message *m) {
  held[nheld] = mg_ws_hold(c);
  kept[nheld] = m->data;
  CHECK(held[nheld] != NULL);
  nheld++;
}
LOOP_TEST(a_message_that_is_held_stays_as_it_was) {
  struct peer p;
  char text[4000];
  ws_up();
  on_msg = keep;
  nheld = 0;
  p = ws_dial();
  for (int i = 0; i < 30; i++) {
    memset(text, 'a' + i % 26, sizeof(text));
    if (i % 3 == 0) {
      say_frame(&p, 0x01, text, 2000);
      say_frame(&p, 0x80, text, 2000);
    } else {
      say_frame(&p, 0x81, text, i % 3 == 1 ? 10 : 4000);
    }
    if (i % 7 == 0) turns(3);
  }
  CHECK(UNTIL(nheld == 30));
  hang_up(&p);
  CHECK(UNTIL(closes == 1));
  ws_down();
  for (int i = 0; i < nheld; i++) {
    memset(text, 'a' + i % 26, sizeof(text));
    CHECK_MEM(kept[i].buf, kept[i].len, text, i % 3 == 1 ? 10u : 4000u);
    mg_chunk_drop(held[i]);
  }
}
LOOP_TEST(who_asks_and_does_not_read_is_read_no_further) {
  char frame[140], many[140 * 400];
  struct peer p;
  size_t len, total = 0, most = 0;
  char data[125];
  memset(data, 'p', sizeof(data));
  ws_up();
  limits.send_high = 100000;
  limits.send_low = 50000;
  ws_relimit();
  p = ws_dial();
  len = frame_of(frame, 0x89, data, sizeof(data));
  for (int i = 0; i < 400; i++) memcpy(many + (size_t) i * len, frame, len);
  for (int i = 0; i < 3000; i++) { /* as long as the sockets take it */
    size_t at = 0;
    say_more(&p, many, 400 * len, &at);
    if (at % len != 0) {
      size_t rest = len - at % len, done = 0;
      while (done < rest && i < 3000) {
        say_more(&p, many + at, rest, &done);
        at += done, rest -= done, done = 0;
        if (rest == 0) break;
        mg_mgr_poll(&mgr, 0);
        i++;
      }
      if (rest > 0) break;
    }
    total += at;
    mg_mgr_poll(&mgr, 0);
    if (mg_unsent(server) > most) most = mg_unsent(server);
  }
  CHECK(server->is_full);
  CHECK(most >= 100000 && most < 100000 + 3 * 65536);
  CHECK(total > 0);
  for (int i = 0; i < 3000 && (server->is_full || mg_unsent(server) > 0); i++) { /* now he reads, and all goes on */
    pump(&p);
    mg_mgr_poll(&mgr, 1);
  }
  CHECK(!server->is_full);
  hang_up(&p);
  ws_down();
}
static void pause_once(struct mg_connection *c, struct mg_ws_message *m) {
  hear(m->data);
  c->is_full = 1;
}
LOOP_TEST(a_handler_can_pause_between_two_messages_of_one_read) {
  struct peer p;
  char bytes[64];
  size_t n;
  ws_up();
  on_msg = pause_once;
  p = ws_dial();
  n = frame_of(bytes, 0x81, "one", 3);
  n += frame_of(bytes + n, 0x81, "two", 3);
  say_n(&p, bytes, n);
  CHECK(UNTIL(msgs == 1));
  turns(5);
  CHECK_INT(msgs, 1);
  server->is_full = 0;
  mg_touch(server);
  CHECK(UNTIL(msgs == 2));
  CHECK_MEM(heard, heard_len, "one|two|", 8);
  hang_up(&p);
  ws_down();
}
TEST(running_out_of_memory_in_a_message_ends_with_1011_or_nothing_at_all) {
  char text[3000];
  memset(text, 'm', sizeof(text));
  for (long n = 1; n < 15; n++) {
    struct peer p;
    ws_up();
    echoes = true;
    p = ws_dial();
    say_frame(&p, 0x01, text, 1500);
    turns(2);
    say_frame(&p, 0x80, text, 1500);
    mg_alloc_fail_at(n);
    turns(4);
    mg_alloc_fail_at(0);
    CHECK(UNTIL(has(&p, "m") || gone(&p) || p.len > 0 || msgs == 1));
    hang_up(&p);
    CHECK(UNTIL(closes == 1));
    ws_down();
  }
}
CHECK_MAIN
