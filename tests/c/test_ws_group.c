/* test_ws_group.c - groups, and messages that many hear. */
#include "ws_helpers.h"
#include "mongoose/proto/ws_conn.h"

enum { N = 5 };
static struct peer peers[N];
static struct mg_connection *conns[N];

static void up(const char *lines) {
  ws_up();
  for (int i = 0; i < N; i++) {
    peers[i] = ws_dial_with(lines);
    conns[i] = server;
  }
}
static void down(void) {
  for (int i = 0; i < N; i++) hang_up(&peers[i]);
  ws_down();
}
#define ROOM mg_str("room")

LOOP_TEST(members_hear_and_others_do_not) {
  up("");
  for (int i = 0; i < 3; i++) CHECK(mg_ws_join(conns[i], ROOM));
  CHECK(mg_ws_join(conns[0], ROOM));
  CHECK_INT(mg_ws_members(&mgr, ROOM), 3);
  CHECK_INT(mg_ws_members(&mgr, mg_str("other")), 0);
  CHECK_INT(mg_ws_broadcast(&mgr, ROOM, WEBSOCKET_OP_TEXT, mg_str("all")), 3);
  CHECK_INT(mg_ws_broadcast_from(conns[1], ROOM, WEBSOCKET_OP_BINARY, mg_str("but one")), 2);
  CHECK_INT(mg_ws_broadcast(&mgr, mg_str("other"), WEBSOCKET_OP_TEXT, mg_str("nobody")), 0);
  CHECK_INT(mg_ws_broadcast(&mgr, ROOM, WEBSOCKET_OP_PING, mg_str("no")), 0);
  for (int i = 0; i < 3; i++) {
    CHECK_FRAME(&peers[i], 0x81, "all", 3);
    if (i != 1) CHECK_FRAME(&peers[i], 0x82, "but one", 7);
  }
  CHECK(mg_ws_leave(conns[0], ROOM));
  CHECK(!mg_ws_leave(conns[0], ROOM));
  CHECK_INT(mg_ws_broadcast(&mgr, ROOM, WEBSOCKET_OP_TEXT, mg_str("two left")), 2);
  CHECK_FRAME(&peers[1], 0x81, "two left", 8);
  CHECK_FRAME(&peers[2], 0x81, "two left", 8);
  turns(3);
  for (int i = 0; i < N; i++) CHECK(pump(&peers[i]) && peers[i].len == 0);
  CHECK_INT(mgr.stats.ws_out, 3 + 2 + 2);
  down();
}
LOOP_TEST(a_connection_that_closes_leaves_all_its_groups) {
  up("");
  for (int i = 0; i < N; i++) {
    CHECK(mg_ws_join(conns[i], ROOM));
    CHECK(mg_ws_join(conns[i], mg_str_n("\0b", 2)));
  }
  hang_up(&peers[2]);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(mg_ws_members(&mgr, ROOM), N - 1);
  CHECK_INT(mg_ws_broadcast(&mgr, mg_str_n("\0b", 2), WEBSOCKET_OP_TEXT, mg_str("x")), N - 1);
  peers[2] = ws_dial();
  down();
}
LOOP_TEST(there_may_be_many_groups_and_the_last_to_leave_ends_one) {
  char name[32];
  up("");
  for (int i = 0; i < 1000; i++) {
    snprintf(name, sizeof(name), "group %d", i);
    CHECK(mg_ws_join(conns[i % N], mg_str(name)));
  }
  CHECK_INT(((struct mg_ws_site *) mgr.ws_site)->ngroups, 1000);
  for (int i = 0; i < 1000; i += 2) {
    snprintf(name, sizeof(name), "group %d", i);
    CHECK_INT(mg_ws_members(&mgr, mg_str(name)), 1);
    CHECK(mg_ws_leave(conns[i % N], mg_str(name)));
    CHECK_INT(mg_ws_members(&mgr, mg_str(name)), 0);
  }
  CHECK_INT(((struct mg_ws_site *) mgr.ws_site)->ngroups, 500);
  for (int i = 0; i < N; i++) mg_ws_close(conns[i], 0, mg_str(""));
  for (int i = 0; i < N; i++) say_frame(&peers[i], 0x88, "", 0);
  CHECK(UNTIL(closes == N));
  CHECK_INT(((struct mg_ws_site *) mgr.ws_site)->ngroups, 0);
  down();
}
LOOP_TEST(a_large_message_is_one_block_that_all_share) {
  static char big[50000];
  up("");
  memset(big, 'g', sizeof(big));
  for (int i = 0; i < N; i++) CHECK(mg_ws_join(conns[i], ROOM));
  CHECK_INT(mg_ws_broadcast(&mgr, ROOM, WEBSOCKET_OP_BINARY, mg_str_n(big, sizeof(big))), N);
  for (int i = 1; i < N; i++) CHECK(conns[i]->segs != NULL && conns[i]->segs->buf == conns[0]->segs->buf);
  for (int i = 0; i < N; i++) CHECK_FRAME(&peers[i], 0x82, big, sizeof(big));
  down();
}
static size_t pieces(const struct mg_connection *c) {
  size_t n = 0;
  for (const struct mg_seg *s = c->segs; s != NULL; s = s->next) n++;
  return n;
}
LOOP_TEST(messages_that_wait_together_are_few_pieces_and_each_member_hears_its_own) {
  enum { ROUNDS = 200, SIZE = 1500 };
  static char text[2 * ROUNDS][SIZE];
  struct mg_ws_site *site;
  up("");
  for (int i = 0; i < N; i++) CHECK(mg_ws_join(conns[i], ROOM));
  CHECK(mg_ws_join(conns[0], mg_str("other")) && mg_ws_join(conns[1], mg_str("other")));
  for (int k = 0; k < 2 * ROUNDS; k++) memset(text[k], 'a' + k % 26, SIZE);
  for (int k = 0; k < ROUNDS; k++) { /* nobody sends meanwhile */
    struct mg_str s = mg_str_n(text[k], SIZE);
    CHECK_INT(k % 50 == 7 ? mg_ws_broadcast_from(conns[2], ROOM, WEBSOCKET_OP_TEXT, s) : mg_ws_broadcast(&mgr, ROOM, WEBSOCKET_OP_TEXT, s),
              k % 50 == 7 ? N - 1 : N);
  }
  CHECK(pieces(conns[0]) < 20);
  CHECK(pieces(conns[2]) < 30); /* where one is left out, the next begins anew */
  for (int k = ROUNDS; k < 2 * ROUNDS; k++) {
    struct mg_str s = mg_str_n(text[k], SIZE);
    CHECK_INT(mg_ws_broadcast(&mgr, k % 2 ? ROOM : mg_str("other"), WEBSOCKET_OP_TEXT, s), k % 2 ? N : 2);
  }
  for (int i = 0; i < N; i++) {
    for (int k = 0; k < 2 * ROUNDS; k++) {
      bool hears = k < ROUNDS ? i != 2 || k % 50 != 7 : k % 2 || i < 2;
      if (hears) CHECK_FRAME(&peers[i], 0x81, text[k], SIZE);
    }
    turns(2);
    CHECK(pump(&peers[i]) && peers[i].len == 0);
  }
  site = (struct mg_ws_site *) mgr.ws_site;
  CHECK(site->log != NULL && !mg_chunk_shared(site->log));
  CHECK_INT(mg_ws_broadcast(&mgr, ROOM, WEBSOCKET_OP_TEXT, mg_str_n(text[0], SIZE)), N);
  CHECK(site->log->used <= SIZE + MG_WS_HEAD_MAX); /* all had sent theirs: from the start again */
  for (int i = 0; i < N; i++) CHECK_FRAME(&peers[i], 0x81, text[0], SIZE);
  down();
}
LOOP_TEST(a_group_that_says_little_holds_no_more_than_it_said) {
  static char text[2000];
  struct mg_ws_site *site;
  char name[8] = "a";
  up("");
  for (int i = 0; i < N; i++, name[0]++) CHECK(mg_ws_join(conns[i], mg_str(name)));
  for (int round = 0; round < 10; round++) {
    for (name[0] = 'a'; name[0] < 'a' + N; name[0]++) {
      CHECK_INT(mg_ws_broadcast(&mgr, mg_str(name), WEBSOCKET_OP_BINARY, mg_str_n(text, sizeof(text))), 1);
      site = (struct mg_ws_site *) mgr.ws_site;
      CHECK(site->log->size <= sizeof(text) + MG_WS_HEAD_MAX);
    }
  }
  for (int i = 0; i < 10 * N; i++) CHECK_FRAME(&peers[i / 10], 0x82, text, sizeof(text));
  down();
}
static void fill(int times) {
  static char big[100000];
  for (int i = 0; i < times; i++) {
    mg_ws_broadcast(&mgr, ROOM, WEBSOCKET_OP_BINARY, mg_str_n(big, sizeof(big)));
    for (int k = 1; k < N; k++) pump(&peers[k]), peers[k].len = 0;
    mg_mgr_poll(&mgr, 0);
    for (int k = 1; k < N; k++) pump(&peers[k]), peers[k].len = 0;
  }
}
LOOP_TEST(a_member_who_does_not_read_is_closed_with_1013) {
  up("");
  for (int i = 0; i < N; i++) CHECK(mg_ws_join(conns[i], ROOM));
  for (int i = 0; i < N; i++) mg_ws_of(conns[i])->limits.max_backlog = 300000;
  fill(200);
  CHECK_INT(mgr.stats.ws_slow, 1);
  CHECK_INT(mgr.stats.ws_dropped, 0);
  CHECK_INT(mg_ws_sent_code(conns[0]), 1013);
  CHECK_INT(mg_ws_of(conns[1])->state, MG_WS_OPEN);
  CHECK(mg_unsent(conns[0]) < 600000);
  down();
}
LOOP_TEST(a_member_who_does_not_read_may_miss_messages_instead) {
  up("");
  for (int i = 0; i < N; i++) CHECK(mg_ws_join(conns[i], ROOM));
  for (int i = 0; i < N; i++) {
    mg_ws_of(conns[i])->limits.max_backlog = 300000;
    mg_ws_of(conns[i])->limits.slow = MG_WS_SLOW_DROP;
  }
  fill(200);
  CHECK(mgr.stats.ws_dropped > 0 && mgr.stats.ws_dropped < 200);
  CHECK_INT(mgr.stats.ws_slow, 0);
  CHECK_INT(mgr.stats.ws_out + mgr.stats.ws_dropped, 200 * N);
  CHECK_INT(mg_ws_of(conns[0])->state, MG_WS_OPEN);
  down();
}
LOOP_TEST(a_broadcast_waits_for_the_end_of_a_streamed_message) {
  up("");
  CHECK(mg_ws_join(conns[0], ROOM));
  CHECK(mg_ws_stream_begin(conns[0], WEBSOCKET_OP_TEXT) && mg_ws_stream_write(conns[0], "a", 1));
  CHECK_INT(mg_ws_broadcast(&mgr, ROOM, WEBSOCKET_OP_BINARY, mg_str("news")), 1);
  CHECK(mg_ws_stream_end(conns[0]));
  CHECK_FRAME(&peers[0], 0x01, "a", 1);
  CHECK_FRAME(&peers[0], 0x80, "", 0);
  CHECK_FRAME(&peers[0], 0x82, "news", 4);
  down();
}

/* What a frame of a server holds, unpacked with a window that goes on. */
static void check_packed(struct peer *p, struct mg_ws_inflater *z, const char *want, size_t len) {
  struct mg_ws_frame f;
  int head = 0;
  char out[65536];
  struct mg_str in, tail = mg_ws_inflate_tail;
  ptrdiff_t n, m;
  CHECK(UNTIL(frame_here(p, &f, &head)));
  if (head == 0) return;
  CHECK(f.rsv1 && f.fin);
  in = mg_str_n(p->buf + head, (size_t) f.len);
  n = mg_ws_inflater_feed(z, &in, out, sizeof(out));
  m = mg_ws_inflater_feed(z, &tail, out + (n > 0 ? n : 0), sizeof(out) - (size_t) (n > 0 ? n : 0));
  CHECK(n >= 0 && m >= 0);
  if (n >= 0 && m >= 0) CHECK_MEM(out, (size_t) (n + m), want, len);
  forget(p, (size_t) head + (size_t) f.len);
}
LOOP_TEST(compressed_members_share_a_frame_and_their_windows_go_on) {
  static const char *const lines[N] = {"", "Sec-WebSocket-Extensions: permessage-deflate\r\n", "Sec-WebSocket-Extensions: permessage-deflate\r\n",
                                       "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n",
                                       "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n"};
  static char text[6000];
  struct mg_ws_inflater *z[N] = {NULL};
  if (!mg_ws_can_compress()) return;
  for (size_t i = 0; i < sizeof(text); i++) text[i] = (char) ('a' + (i * 7 + i / 50) % 26);
  ws_up();
  opts.compress = opts.takeover = true;
  for (int i = 0; i < N; i++) {
    peers[i] = ws_dial_with(lines[i]);
    conns[i] = server;
    CHECK_INT(mg_ws_compressed(server), i > 0);
    CHECK(mg_ws_join(server, ROOM));
    z[i] = mg_ws_inflater_new(15);
  }
  for (int round = 0; round < 3; round++) {
    for (int i = 1; i < N; i++) CHECK(mg_ws_send(conns[i], text, 500, WEBSOCKET_OP_TEXT) > 0); /* its own window moves */
    CHECK_INT(mg_ws_broadcast(&mgr, ROOM, WEBSOCKET_OP_TEXT, mg_str_n(text, sizeof(text))), N);
    CHECK_FRAME(&peers[0], 0x81, text, sizeof(text));
    for (int i = 1; i < N; i++) {
      check_packed(&peers[i], z[i], text, 500);
      check_packed(&peers[i], z[i], text, sizeof(text));
    }
  }
  for (int i = 0; i < N; i++) mg_ws_inflater_free(z[i]);
  down();
}
TEST(running_out_of_memory_drops_a_message_and_says_so) {
  static char big[50000];
  up("");
  for (long n = 1; n < 6; n++) {
    mg_alloc_fail_at(n);
    if (!mg_ws_join(conns[0], ROOM)) CHECK_INT(mgr.status, MG_ENOMEM);
    mg_alloc_fail_at(0);
  }
  CHECK(mg_ws_join(conns[0], ROOM));
  mg_alloc_fail_at(1);
  CHECK_INT(mg_ws_broadcast(&mgr, ROOM, WEBSOCKET_OP_BINARY, mg_str_n(big, sizeof(big))), 0);
  mg_alloc_fail_at(2);
  CHECK_INT(mg_ws_broadcast(&mgr, ROOM, WEBSOCKET_OP_BINARY, mg_str_n(big, sizeof(big))), 0);
  mg_alloc_fail_at(0);
  CHECK_INT(mgr.stats.ws_dropped, 2);
  CHECK_INT(mg_ws_broadcast(&mgr, ROOM, WEBSOCKET_OP_BINARY, mg_str("ok")), 1);
  CHECK_FRAME(&peers[0], 0x82, "ok", 2);
  down();
}
CHECK_MAIN
