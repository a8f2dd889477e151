/* test_rand.c - bytes that differ, letters that are letters. */
#include "check.h"
#include "mongoose/base/rand.h"

TEST(every_byte_asked_for_is_filled_and_none_behind) {
  static unsigned char b[1001], seen[1001];
  for (int round = 0; round < 20; round++) { /* the chance that one byte is 0 in all of them is 256^-20 */
    b[1000] = 0x5a;
    CHECK(mg_random(b, 1000));
    CHECK_INT(b[1000], 0x5a);
    for (int i = 0; i < 1000; i++) seen[i] |= b[i];
  }
  for (int i = 0; i < 1000; i++) CHECK(seen[i] != 0);
  CHECK(mg_random(b, 0));
}
TEST(two_draws_differ) {
  unsigned char a[32], b[32];
  CHECK(mg_random(a, 32) && mg_random(b, 32));
  CHECK(memcmp(a, b, 32) != 0);
}
TEST(random_strings_are_letters_and_digits_with_a_nul) {
  char s[5000];
  int seen[256] = {0}, kinds = 0;
  CHECK(mg_random_str(s, sizeof(s)) == s);
  CHECK_INT(strlen(s), sizeof(s) - 1);
  for (size_t i = 0; s[i] != '\0'; i++) seen[(unsigned char) s[i]] = 1;
  for (int c = 0; c < 256; c++) {
    kinds += seen[c];
    CHECK(!seen[c] || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
  }
  CHECK_INT(kinds, 62);
}
TEST(small_buffers_get_what_fits) {
  char s[2] = "xy";
  CHECK(mg_random_str(s, 0) == NULL && s[0] == 'x');
  CHECK(mg_random_str(s, 1) == s && s[0] == '\0' && s[1] == 'y');
}
CHECK_MAIN
