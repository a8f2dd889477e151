/* test_ws_deflate.c - messages packed and unpacked, by themselves and by a server. Without zlib there is nothing to test. */
#include "mongoose/codec/ws_deflate.h"
#include "ws_helpers.h"
#include "mongoose/proto/ws_conn.h"

#define NEEDS_ZLIB if (!mg_ws_can_compress()) return

static size_t unpack(struct mg_ws_inflater *z, struct mg_str in, char *to, size_t room) {
  struct mg_str tail = mg_ws_inflate_tail;
  ptrdiff_t n = mg_ws_inflater_feed(z, &in, to, room), m;
  CHECK(n >= 0 && in.len == 0);
  m = mg_ws_inflater_feed(z, &tail, to + n, room - (size_t) n);
  CHECK(m >= 0);
  return (size_t) (n + m);
}
TEST(what_is_packed_is_unpacked_with_every_window) {
  static char text[100000], out[100001];
  NEEDS_ZLIB;
  for (size_t i = 0; i < sizeof(text); i++) text[i] = (char) ('a' + (i * i / 7) % 17);
  for (unsigned bits = 8; bits < 16; bits++) {
    struct mg_ws_deflater *d = mg_ws_deflater_new(bits, 6);
    struct mg_ws_inflater *z = mg_ws_inflater_new(bits);
    for (int takeover = 0; takeover < 2; takeover++) {
      static const size_t sizes[] = {0, 1, 5, 1000, 100000, 3};
      for (size_t k = 0; k < 6; k++) {
        struct mg_iobuf io = {NULL, 0, 0, 0, NULL};
        if (!takeover) mg_ws_deflater_forget(d), mg_ws_inflater_forget(z);
        CHECK(mg_ws_deflater_feed(d, mg_str_n(text, sizes[k]), true, &io));
        CHECK_MEM(out, unpack(z, mg_str_n((char *) io.buf, io.len), out, sizeof(out)), text, sizes[k]);
        mg_iobuf_free(&io);
      }
    }
    mg_ws_deflater_free(d);
    mg_ws_inflater_free(z);
  }
}
TEST(a_message_may_be_packed_in_pieces) {
  char out[100];
  struct mg_iobuf io = {NULL, 0, 0, 0, NULL};
  struct mg_ws_deflater *d;
  struct mg_ws_inflater *z;
  NEEDS_ZLIB;
  d = mg_ws_deflater_new(15, 1);
  z = mg_ws_inflater_new(15);
  CHECK(mg_ws_deflater_feed(d, mg_str("Hello, "), false, &io));
  CHECK(mg_ws_deflater_feed(d, mg_str(""), false, &io));
  CHECK(mg_ws_deflater_feed(d, mg_str("world"), false, &io));
  CHECK(mg_ws_deflater_feed(d, mg_str(""), true, &io));
  CHECK_MEM(out, unpack(z, mg_str_n((char *) io.buf, io.len), out, sizeof(out)), "Hello, world", 12);
  mg_iobuf_free(&io);
  mg_ws_deflater_free(d);
  mg_ws_inflater_free(z);
}
TEST(the_examples_of_the_rfc_are_unpacked) {
  /* RFC 7692 7.2.3.1, .2 (with the window of the first), .4 (a final block) */
  static const char hello[3][9] = {"\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf2\x00\x11\x00\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"};
  static const size_t lens[] = {7, 5, 8};
  struct mg_ws_inflater *z;
  char out[16];
  NEEDS_ZLIB;
  z = mg_ws_inflater_new(15);
  for (int i = 0; i < 3; i++) {
    CHECK_MEM(out, unpack(z, mg_str_n(hello[i], lens[i]), out, sizeof(out)), "Hello", 5);
  }
  mg_ws_inflater_free(z);
}
TEST(garbage_is_no_message) {
  struct mg_ws_inflater *z;
  char out[64];
  struct mg_str bad = mg_str("\xff\xff\xff\xff");
  NEEDS_ZLIB;
  z = mg_ws_inflater_new(15);
  CHECK_INT(mg_ws_inflater_feed(z, &bad, out, sizeof(out)), -1);
  mg_ws_inflater_free(z);
}

/* ---- on connections ---- */

static size_t packed_frame(char *to, const char *data, size_t len) {
  struct mg_ws_deflater *d = mg_ws_deflater_new(15, 9);
  struct mg_iobuf io = {NULL, 0, 0, 0, NULL};
  size_t n;
  CHECK(mg_ws_deflater_feed(d, mg_str_n(data, len), true, &io));
  n = frame_of(to, 0xc1, io.buf, io.len);
  mg_iobuf_free(&io);
  mg_ws_deflater_free(d);
  return n;
}
#define EXT "Sec-WebSocket-Extensions: permessage-deflate\r\n"
LOOP_TEST(compressed_messages_arrive_whole_and_in_fragments) {
  static char text[30000], frame[31000];
  struct peer p;
  NEEDS_ZLIB;
  for (size_t i = 0; i < sizeof(text); i++) text[i] = (char) ('a' + (i * i / 7) % 17);
  ws_up();
  opts.compress = true;
  p = ws_dial_with(EXT);
  for (int i = 0; i < 3; i++) {
    say_n(&p, frame, packed_frame(frame, text, sizeof(text)));
    CHECK(UNTIL(msgs == 2 * i + 1));
    say_frame(&p, 0x41, "\xf2\x48\xcd", 3);
    SAY(&p, 0x89, "ping");
    say_frame(&p, 0x80, "\xc9\xc9\x07\x00", 4);
    CHECK(UNTIL(msgs == 2 * i + 2));
    CHECK_MEM(heard + heard_len - 11, 11, "ping|Hello|", 11);
    CHECK_MEM(heard, sizeof(text), text, sizeof(text));
    heard_len = 0;
    CHECK_FRAME(&p, 0x8a, "ping", 4);
  }
  hang_up(&p);
  ws_down();
}
LOOP_TEST(what_inflates_too_far_is_1009_and_what_is_none_1007) {
  static char bomb[900000], frame[10000];
  struct peer p;
  size_t n;
  NEEDS_ZLIB;
  memset(bomb, 'x', sizeof(bomb));
  ws_up();
  opts.compress = true;
  p = ws_dial_with(EXT);
  n = packed_frame(frame, bomb, sizeof(bomb)); /* 1000:1, and within max_message */
  say_n(&p, frame, n);
  CHECK_CLOSED(&p, 1009);
  hang_up(&p);
  CHECK_INT(msgs, 0);
  limits.ws.max_ratio = 0;
  limits.ws.max_message = sizeof(bomb) - 1;
  ws_relimit();
  p = ws_dial_with(EXT);
  say_n(&p, frame, n);
  CHECK_CLOSED(&p, 1009);
  hang_up(&p);
  limits.ws.max_message = sizeof(bomb);
  ws_relimit();
  p = ws_dial_with(EXT);
  say_n(&p, frame, n);
  CHECK(UNTIL(msgs == 1));
  CHECK_INT(heard_len, sizeof(bomb) + 1);
  say_frame(&p, 0xc1, "\xff\xff\xff", 3);
  CHECK_CLOSED(&p, 1007);
  hang_up(&p);
  p = ws_dial_with(EXT);
  say_n(&p, frame, packed_frame(frame, "\xff", 1)); /* inflates to what is no UTF-8 */
  CHECK_CLOSED(&p, 1007);
  hang_up(&p);
  p = ws_dial_with(EXT);
  say_frame(&p, 0x01, "a", 1);
  say_frame(&p, 0xc0, "b", 1); /* RFC 7692 6.1: on the first frame only */
  CHECK_CLOSED(&p, 1002);
  hang_up(&p);
  ws_down();
}
LOOP_TEST(windows_beyond_the_budget_are_not_promised) {
  struct peer p[3];
  char head[2048];
  struct mg_ws_site *site;
  NEEDS_ZLIB;
  ws_up();
  opts.compress = opts.takeover = true;
  CHECK(mg_ws_deflate_budget(&mgr, mg_ws_deflater_bytes(15) + mg_ws_inflater_bytes(15)));
  site = (struct mg_ws_site *) mgr.ws_site;
  for (int i = 0; i < 3; i++) {
    p[i] = dial(listener);
    say(&p[i], HANDSHAKE EXT "\r\n");
    CHECK_INT(take_head(&p[i], head), 101);
    CHECK(strstr(head, "permessage-deflate") != NULL);
    CHECK_INT(strstr(head, "server_no_context_takeover; client_no_context_takeover") != NULL, i == 1);
    if (i == 1) {
      hang_up(&p[0]); /* gives its share back */
      CHECK(UNTIL(closes == 1));
      CHECK_INT(site->reserved, 0);
    }
  }
  hang_up(&p[1]), hang_up(&p[2]);
  ws_down();
}
LOOP_TEST(small_messages_and_such_as_do_not_shrink_go_out_as_they_are) {
  char noise[300];
  uint32_t x = 1;
  struct peer p;
  NEEDS_ZLIB;
  for (size_t i = 0; i < sizeof(noise); i++) noise[i] = (char) ((x = x * 1664525u + 1013904223u) >> 24);
  ws_up();
  opts.compress = true;
  p = ws_dial_with(EXT);
  CHECK(mg_ws_send(server, "small", 5, WEBSOCKET_OP_TEXT) > 0);
  CHECK_FRAME(&p, 0x81, "small", 5);
  CHECK(mg_ws_send(server, noise, sizeof(noise), WEBSOCKET_OP_BINARY) > 0);
  CHECK_FRAME(&p, 0x82, noise, sizeof(noise));
  hang_up(&p);
  ws_down();
}
TEST(running_out_of_memory_while_unpacking_ends_the_connection_and_leaks_nothing) {
  static char text[30000], frame[31000];
  size_t len;
  NEEDS_ZLIB;
  for (size_t i = 0; i < sizeof(text); i++) text[i] = (char) ('a' + (i * i / 7) % 17);
  len = packed_frame(frame, text, sizeof(text));
  for (long n = 1; n < 14; n++) {
    struct peer p;
    ws_up();
    opts.compress = true;
    opts.takeover = n % 2 != 0;
    echoes = true;
    p = ws_dial_with(EXT);
    on_msg = NULL;
    echoes = false;
    say_n(&p, frame, len);
    mg_alloc_fail_at(n);
    turns(5);
    mg_alloc_fail_at(0);
    hang_up(&p);
    CHECK(UNTIL(closes == 1));
    ws_down();
  }
}
TEST(a_packed_message_that_cannot_be_queued_is_the_last_of_a_window_that_is_kept) {
  static char noise[20000];
  uint32_t x = 1;
  NEEDS_ZLIB;
  for (size_t i = 0; i < sizeof(noise); i++) noise[i] = (char) ((x = x * 1664525u + 1013904223u) >> 24);
  for (long n = 1; n < 6; n++) {
    struct peer p;
    size_t sent;
    ws_up();
    opts.compress = opts.takeover = true;
    p = ws_dial_with(EXT);
    CHECK(mg_ws_send(server, noise, 100, WEBSOCKET_OP_BINARY) > 0); /* makes the window */
    mg_alloc_fail_at(n);
    sent = mg_ws_send(server, noise, sizeof(noise), WEBSOCKET_OP_BINARY);
    mg_alloc_fail_at(0);
    CHECK(sent > 0 || server->is_closing);
    hang_up(&p);
    ws_down();
  }
}
CHECK_MAIN
