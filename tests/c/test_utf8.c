/* test_utf8.c - every code point, every cut, and the byte at which a wrong text is refused. */
#include "check.h"
#include "mongoose/codec/utf8.h"

static size_t encode(uint32_t cp, char *to) {
  if (cp < 0x80) return to[0] = (char) cp, 1;
  if (cp < 0x800) return to[0] = (char) (0xC0 | cp >> 6), to[1] = (char) (0x80 | (cp & 63)), 2;
  if (cp < 0x10000) {
    return to[0] = (char) (0xE0 | cp >> 12), to[1] = (char) (0x80 | (cp >> 6 & 63)), to[2] = (char) (0x80 | (cp & 63)), 3;
  }
  to[0] = (char) (0xF0 | cp >> 18), to[1] = (char) (0x80 | (cp >> 12 & 63)), to[2] = (char) (0x80 | (cp >> 6 & 63));
  to[3] = (char) (0x80 | (cp & 63));
  return 4;
}

TEST(every_code_point_but_the_surrogates_is_taken) {
  for (uint32_t cp = 0; cp < 0x110100; cp++) {
    char s[16] = "aaaaaaaaaaaaaaa";
    size_t n = encode(cp, s);
    bool want = cp < 0x110000 && !(cp >= 0xD800 && cp < 0xE000);
    if (mg_utf8_ok(mg_str_n(s, n)) != want || mg_utf8_ok(mg_str_n(s, 15)) != want) CHECK_INT(cp, -1);
  }
}
TEST(two_and_three_bytes_are_judged_alike_alone_and_in_a_long_text) {
  char text[80];
  for (uint32_t b = 0; b < 1u << 24; b += b < 1u << 16 ? 1 : 251) {
    char s[3] = {(char) (b >> 16), (char) (b >> 8), (char) b};
    struct mg_utf8 u = {0, 0, 0};
    bool slow = true, fast;
    memset(text, 'x', sizeof(text));
    memcpy(text + 38, s, 3);
    for (int i = 0; i < 3 && slow; i++) slow = mg_utf8_feed(&u, mg_str_n(s + i, 1));
    slow = slow && mg_utf8_whole(&u);
    fast = mg_utf8_ok(mg_str_n(text, sizeof(text)));
    if (slow != fast) CHECK_INT(b, -1);
  }
}
/* Long texts are looked at in blocks of 32 and 64 bytes, where the processor can. */
TEST(four_bytes_are_judged_alike_alone_and_across_the_blocks_of_a_long_text) {
  static const uint8_t edges[] = {'a',  0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
                                  0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
  static const size_t places[] = {0, 29, 31, 61, 63, 124, 139};
  enum { E = sizeof(edges), LEN = 160 };
  char text[LEN];
  for (size_t filler = 0; filler < 2; filler++) {
    for (uint32_t n = 0; n < E * E * E * E; n++) {
      char s[4] = {(char) edges[n / E / E / E], (char) edges[n / E / E % E], (char) edges[n / E % E], (char) edges[n % E]};
      size_t at = places[n % 7];
      struct mg_utf8 u = {0, 0, 0};
      bool slow = true, fast;
      for (size_t i = 0; i < LEN; i++) text[i] = filler == 0 ? 'x' : (i < at ? i : i - at) % 2 ? '\xa4' : '\xc3';
      if (filler == 1 && at % 2) text[at - 1] = 'x';
      if (filler == 1 && (LEN - at) % 2) text[LEN - 1] = 'x';
      memcpy(text + at, s, 4);
      for (int i = 0; i < 4 && slow; i++) slow = mg_utf8_feed(&u, mg_str_n(s + i, 1));
      slow = slow && mg_utf8_whole(&u);
      fast = mg_utf8_ok(mg_str_n(text, LEN));
      if (slow != fast) CHECK_INT(n, -1);
    }
  }
}
TEST(a_text_is_the_same_however_it_is_cut) {
  static const char text[] = "plain, then \xc3\xa4\xd0\x96\xe2\x82\xac \xf0\x9f\x98\x80 and a longer run of ASCII letters behind \xd0\x96\xd0\x96\xd0\x96\xd0\x96\xe2\x82\xac\xe2\x82\xac\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80 \xe4\xbd\xa0\xe5\xa5\xbd";
  size_t len = sizeof(text) - 1;
  for (size_t a = 0; a <= len; a++) {
    for (size_t b = a; b <= len; b++) {
      struct mg_utf8 u = {0, 0, 0};
      char *x = mg_test_guarded(text, a), *y = mg_test_guarded(text + a, b - a), *z = mg_test_guarded(text + b, len - b);
      CHECK(mg_utf8_feed(&u, mg_str_n(x, a)) && mg_utf8_feed(&u, mg_str_n(y, b - a)) && mg_utf8_feed(&u, mg_str_n(z, len - b)));
      CHECK(mg_utf8_whole(&u));
      mg_test_unguard(x, a), mg_test_unguard(y, b - a), mg_test_unguard(z, len - b);
    }
  }
}
TEST(a_wrong_text_is_refused_at_the_first_byte_that_shows_it) {
  static const struct {
    const char *bytes;
    size_t refused_at;
  } cases[] = {{"\x80", 0},         {"\xbf", 0},         {"\xc0", 0},         {"\xc1", 0},         {"\xf5", 0},
               {"\xff", 0},         {"\xfe", 0},         {"\xc3(", 1},        {"\xe0\x9f", 1},     {"\xed\xa0", 1},
               {"\xe2\x82(", 2},    {"\xf0\x8f", 1},     {"\xf4\x90", 1},     {"\xf0\x9f\x98(", 3}, {"\xf0\x9f(", 2},
               {"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80", 12}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct mg_utf8 u = {0, 0, 0};
    for (size_t k = 0; k <= cases[i].refused_at; k++) {
      CHECK_INT(mg_utf8_feed(&u, mg_str_n(cases[i].bytes + k, 1)), k < cases[i].refused_at);
    }
    CHECK(!mg_utf8_ok(mg_str(cases[i].bytes)));
  }
}
TEST(a_text_that_ends_inside_of_a_character_is_not_whole) {
  CHECK(!mg_utf8_ok(mg_str("abc\xc3")));
  CHECK(!mg_utf8_ok(mg_str("\xf0\x9f\x98")));
  CHECK(!mg_utf8_ok(mg_str("a\xe2\x82")));
  CHECK(mg_utf8_ok(mg_str("")));
  CHECK(mg_utf8_ok(mg_str_n("\0", 1)));
}
CHECK_MAIN
