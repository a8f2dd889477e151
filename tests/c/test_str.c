/* test_str.c - strings with a length, ending at a forbidden page where it matters. */
#include "check.h"
#include "mongoose/base/alloc.h"
#include "mongoose/base/str.h"

TEST(mg_str_is_a_type_and_a_function) {
  struct mg_str s = mg_str("x");
  CHECK_STR(s, "x");
  CHECK_STR(mg_str(NULL), "");
  CHECK(mg_str(NULL).buf == NULL);
  CHECK_STR(mg_str_n("abc", 2), "ab");
}
TEST(order_is_by_bytes_and_a_prefix_comes_first) {
  CHECK(mg_strcmp(mg_str("a"), mg_str("b")) < 0);
  CHECK(mg_strcmp(mg_str("ab"), mg_str("a")) > 0);
  CHECK(mg_strcmp(mg_str("\x80"), mg_str("a")) > 0);
  CHECK_INT(mg_strcmp(mg_str_n("a\0b", 3), mg_str_n("a\0b", 3)), 0);
  CHECK_INT(mg_strcmp(mg_str(NULL), mg_str("")), 0);
}
TEST(only_ascii_letters_have_a_case) {
  CHECK_INT(mg_strcasecmp(mg_str("HoSt"), mg_str("hOsT")), 0);
  CHECK(mg_strcasecmp(mg_str("a"), mg_str("B")) < 0);
  CHECK(mg_strcasecmp(mg_str("[" /* between Z and a */), mg_str("{")) != 0);
  CHECK(mg_strcasecmp(mg_str("\xc0"), mg_str("\xe0")) != 0);
  CHECK(mg_strcasecmp(mg_str("\xc0"), mg_str("a")) > 0);
  CHECK(mg_strcasecmp(mg_str("ab"), mg_str("A")) > 0);
  CHECK_INT(mg_casecmp("ETag", "etAG"), 0);
  CHECK(mg_casecmp("ETag", "etAGs") != 0);
}
TEST(a_copy_is_its_own_and_ends_with_nul) {
  struct mg_str c = mg_strdup(mg_str_n("a\0bcd", 4));
  CHECK_MEM(c.buf, c.len + 1, "a\0bc", 5);
  mg_free(c.buf);
  c = mg_strdup(mg_str(""));
  CHECK(c.buf != NULL && c.len == 0 && c.buf[0] == '\0');
  mg_free(c.buf);
  CHECK(mg_strdup(mg_str(NULL)).buf == NULL);
}
TEST(a_copy_without_memory_is_null) {
  mg_alloc_fail_at(1);
  struct mg_str c = mg_strdup(mg_str("abc"));
  mg_alloc_fail_at(0);
  CHECK(c.buf == NULL && c.len == 0);
}
TEST(span_gives_every_item_and_stops) {
  struct mg_str rest = mg_str("a,,b,"), item;
  CHECK(mg_span(rest, &item, &rest, ',')); CHECK_STR(item, "a");
  CHECK(mg_span(rest, &item, &rest, ',')); CHECK_STR(item, "");
  CHECK(mg_span(rest, &item, &rest, ',')); CHECK_STR(item, "b");
  CHECK(!mg_span(rest, &item, &rest, ',')); CHECK_STR(item, "b");
}
TEST(span_reads_no_byte_behind_the_end_and_may_drop_a_half) {
  char *g = mg_test_guarded("key=v", 5);
  struct mg_str a, b;
  CHECK(mg_span(mg_str_n(g, 5), &a, NULL, '=')); CHECK_STR(a, "key");
  CHECK(mg_span(mg_str_n(g, 5), NULL, &b, '=')); CHECK_STR(b, "v");
  CHECK(mg_span(mg_str_n(g, 5), &a, &b, ';')); CHECK_STR(a, "key=v"); CHECK_STR(b, "");
  mg_test_unguard(g, 5);
}
TEST(numbers_of_every_base_and_width) {
  uint8_t a = 0;
  uint16_t b = 0;
  uint32_t c = 0;
  uint64_t d = 0;
  CHECK(mg_str_to_num(mg_str("255"), 10, &a, 1)); CHECK_INT(a, 255);
  CHECK(mg_str_to_num(mg_str("0xFfFf"), 0, &b, 2)); CHECK_INT(b, 65535);
  CHECK(mg_str_to_num(mg_str("ff"), 16, &c, 4)); CHECK_INT(c, 255);
  CHECK(mg_str_to_num(mg_str("0b101"), 0, &c, 4)); CHECK_INT(c, 5);
  CHECK(mg_str_to_num(mg_str("0b1"), 16, &c, 4)); CHECK_INT(c, 0xb1); /* b is a digit there */
  CHECK(mg_str_to_num(mg_str("017"), 0, &c, 4)); CHECK_INT(c, 17); /* no octal by accident */
  CHECK(mg_str_to_num(mg_str("18446744073709551615"), 10, &d, 8)); CHECK(d == UINT64_MAX);
}
TEST(what_is_no_number_or_too_big_leaves_the_value_alone) {
  static const char *const bad[] = {"",   "-1", "+1", " 1",    "1 ", "1a",
                                    "256", "0x", "0b", "0x100", "99999999999999999999999"};
  uint8_t v = 7;
  uint64_t q = 7;
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    if (mg_str_to_num(mg_str(bad[i]), 0, &v, 1)) fprintf(stderr, "%s\n", bad[i]);
    CHECK(!mg_str_to_num(mg_str(bad[i]), 0, &v, 1));
  }
  CHECK(!mg_str_to_num(mg_str("18446744073709551616"), 10, &q, 8));
  CHECK(!mg_str_to_num(mg_str("1"), 10, &q, 3));
  CHECK(!mg_str_to_num(mg_str("1"), 7, &q, 8));
  CHECK(!mg_str_to_num(mg_str("2"), 2, &q, 8));
  CHECK(!mg_str_to_num(mg_str(NULL), 10, &q, 8));
  CHECK(v == 7 && q == 7);
}
TEST(secrets_are_wiped_and_compared) {
  unsigned char b[4] = "abc";
  mg_bzero(b, 3);
  CHECK_MEM(b, 4, "\0\0\0\0", 4);
  CHECK(mg_memeq("abc", "abc", 3));
  CHECK(!mg_memeq("abc", "abd", 3));
  CHECK(!mg_memeq("abc", "Abc", 3));
  CHECK(mg_memeq("a", "b", 0));
}
TEST(paths_that_leave_their_directory_are_not_sane) {
  static const char *const good[] = {"", "/", "a", "/a/b.c", "/...", "/a..b/..c/d..", "/.hidden", "/a/~b"};
  static const char *const bad[] = {"..",   "../a",     "/..",   "/../a", "a/..",
                                    "a/../b", "a\\..\\b", "..\\a", "~root", "a\\.."};
  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) CHECK(mg_path_is_sane(mg_str(good[i])));
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) CHECK(!mg_path_is_sane(mg_str(bad[i])));
  CHECK(!mg_path_is_sane(mg_str_n("a\0b", 3)));
  char *g = mg_test_guarded("/a/.", 4);
  CHECK(mg_path_is_sane(mg_str_n(g, 4)));
  mg_test_unguard(g, 4);
}
CHECK_MAIN
