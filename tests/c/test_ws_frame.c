/* test_ws_frame.c - heads of frames, whole and at every cut, and masks at every offset and length. */
#include "check.h"
#include "mongoose/codec/ws_frame.h"

static const struct mg_ws_frame_rules from_client = {1 << 20, true, false}, from_server = {1 << 20, false, false},
                                      packed = {1 << 20, true, true};

static int parse(const char *bytes, size_t len, const struct mg_ws_frame_rules *rules, struct mg_ws_frame *f) {
  char *p = mg_test_guarded(bytes, len);
  int n = mg_ws_frame_parse(f, mg_str_n(p, len), rules);
  mg_test_unguard(p, len);
  return n;
}
#define PARSE(literal, rules) parse(literal, sizeof(literal) - 1, rules, &f)

TEST(lengths_are_7_16_or_64_bits) {
  struct mg_ws_frame f;
  CHECK_INT(PARSE("\x81\x85" "abcd", &from_client), 6);
  CHECK(f.len == 5 && f.op == 1 && f.fin && !f.rsv1 && memcmp(f.mask, "abcd", 4) == 0);
  CHECK_INT(PARSE("\x02\x7d", &from_server), 2);
  CHECK(f.len == 125 && f.op == 2 && !f.fin);
  CHECK_INT(PARSE("\x82\x7e\x00\x7e", &from_server), 4);
  CHECK_INT(f.len, 126);
  CHECK_INT(PARSE("\x82\xfe\xff\xff" "abcd", &from_client), 8);
  CHECK_INT(f.len, 65535);
  CHECK_INT(PARSE("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", &from_server), 10);
  CHECK_INT(f.len, 65536);
}
TEST(a_head_is_incomplete_at_every_cut) {
  static const char head[] = "\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00" "abcd";
  struct mg_ws_frame f;
  for (size_t n = 0; n < sizeof(head) - 1; n++) CHECK_INT(parse(head, n, &from_client, &f), 0);
  CHECK_INT(parse(head, sizeof(head) - 1, &from_client, &f), 14);
}
TEST(reserved_bits_and_opcodes_are_refused_at_the_first_byte) {
  struct mg_ws_frame f;
  for (int b = 0; b < 256; b++) {
    char c = (char) b;
    int op = b & 15, fin = b >> 7;
    bool ok = (b & 0x70) == 0 && (op <= 2 || (op >= 8 && op <= 10 && fin));
    CHECK_INT(parse(&c, 1, &from_client, &f), ok ? 0 : -1002);
    ok = (b & 0x30) == 0 && (op <= 2 || (op >= 8 && op <= 10 && fin)) && ((b & 0x40) == 0 || op == 1 || op == 2);
    CHECK_INT(parse(&c, 1, &packed, &f), ok ? 0 : -1002);
  }
}
TEST(only_clients_mask) {
  struct mg_ws_frame f;
  CHECK_INT(PARSE("\x81\x05", &from_client), -1002);
  CHECK_INT(PARSE("\x81\x85", &from_server), -1002);
}
TEST(control_frames_are_short) {
  struct mg_ws_frame f;
  CHECK_INT(PARSE("\x89\x7d", &from_server), 2);
  CHECK_INT(PARSE("\x89\x7e", &from_server), -1002);
  CHECK_INT(PARSE("\x88\x7f", &from_server), -1002);
}
TEST(lengths_use_as_few_bytes_as_they_need) {
  struct mg_ws_frame f;
  CHECK_INT(PARSE("\x82\x7e\x00\x7d", &from_server), -1002);
  CHECK_INT(PARSE("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", &from_server), -1002);
}
TEST(a_length_beyond_the_limit_is_1009_before_anything_of_it_is_there) {
  struct mg_ws_frame f;
  CHECK_INT(PARSE("\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x00", &from_server), 10);
  CHECK_INT(PARSE("\x82\x7f\x00\x00\x00\x00\x00\x10\x00\x01", &from_server), -1009);
  CHECK_INT(PARSE("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", &from_server), -1009);
  CHECK_INT(PARSE("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xf0", &from_client), -1009);
}
TEST(what_is_written_is_read_again) {
  static const uint64_t lens[] = {0, 1, 125, 126, 65535, 65536, 1 << 20};
  for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
    uint8_t head[MG_WS_HEAD_MAX];
    struct mg_ws_frame f;
    size_t n = mg_ws_frame_head(head, MG_WS_FIN | MG_WS_RSV1 | 2, lens[i], (const uint8_t *) "wxyz");
    CHECK_INT(parse((char *) head, n, &packed, &f), n);
    CHECK(f.fin && f.rsv1 && f.op == 2 && f.len == lens[i] && memcmp(f.mask, "wxyz", 4) == 0);
    n = mg_ws_frame_head(head, 1, lens[i], NULL);
    CHECK_INT(parse((char *) head, n, &from_server, &f), n);
    CHECK(!f.fin && f.op == 1 && f.len == lens[i]);
  }
}
TEST(masks_fit_at_every_offset_length_and_alignment) {
  static const uint8_t mask[4] = {0x11, 0x82, 0xf3, 0x04};
  for (size_t len = 0; len < 100; len++) {
    for (uint64_t ofs = 0; ofs < 9; ofs++) {
      uint8_t plain[100];
      char *to;
      size_t bad = 0;
      for (size_t i = 0; i < len; i++) plain[i] = (uint8_t) (i * 7 + 3);
      to = mg_test_guarded(plain, len);
      mg_ws_mask(to, to, len, mask, ofs);
      for (size_t i = 0; i < len; i++) bad += (uint8_t) to[i] != (plain[i] ^ mask[(ofs + i) % 4]);
      mg_ws_mask(to, plain, len, mask, ofs);
      for (size_t i = 0; i < len; i++) bad += (uint8_t) to[i] != (plain[i] ^ mask[(ofs + i) % 4]);
      CHECK_INT(bad, 0);
      mg_test_unguard(to, len);
    }
  }
}
TEST(close_codes_are_those_of_the_registry_and_of_applications) {
  for (int code = 0; code < 6000; code++) {
    bool ok = (code >= 1000 && code < 1015 && code != 1004 && code != 1005 && code != 1006) || (code >= 3000 && code < 5000);
    CHECK_INT(mg_ws_close_code_ok(code), ok);
  }
}
CHECK_MAIN
