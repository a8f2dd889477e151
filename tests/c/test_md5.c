/* test_md5.c - known digests, every length around a block, and every cut. */
#include "check.h"
#include "mongoose/base/md5.h"
#include "mongoose/base/printf.h"

/* The digest of s in hex, fed whole or in pieces of `step` bytes. */
static const char *hex_of(const unsigned char *s, size_t len, size_t step) {
  static char hex[65];
  unsigned char digest[16];
  mg_md5_ctx ctx;
  mg_md5_init(&ctx);
  for (size_t i = 0; i < len; i += step) mg_md5_update(&ctx, s + i, len - i < step ? len - i : step);
  mg_md5_final(&ctx, digest);
  mg_snprintf(hex, sizeof(hex), "%M", mg_print_hex, (int) sizeof(digest), digest);
  return hex;
}
#define IS(text, len, want) CHECK(strcmp(hex_of((const unsigned char *) (text), (len), 1000), want) == 0)

TEST(known_digests) {
  IS("", 0, "d41d8cd98f00b204e9800998ecf8427e");
  IS("abc", 3, "900150983cd24fb0d6963f7d28e17f72");
  IS("The quick brown fox jumps over the lazy dog", 43, "9e107d9d372bb6826bd81d3542a419d6");
}
TEST(a_million_times_a) {
  unsigned char *s = (unsigned char *) malloc(1000000);
  memset(s, 'a', 1000000);
  CHECK(strcmp(hex_of(s, 1000000, 999), "7707d6ae4e027c70eea2a935c2296f21") == 0);
  free(s);
}
TEST(lengths_around_a_block) { /* byte i is 7 * i + 3 */
  static const struct {
    size_t len;
    const char *want;
  } rows[] = {
      {55, "52c0e574e1198de5fe3f8f11440dcb1b"},
      {56, "46c9907fc908ee68b1e7b8e71286a518"},
      {57, "1c805dd236c35cab25fcb1bc73802c51"},
      {63, "a62f6d59e837867693f042f5b8f5a236"},
      {64, "7160b8fb5e9e4023d549c3971fbaeead"},
      {65, "70bd662e7aefbda85a0f7244167b7897"},
      {119, "e84905d4214f4d1ca56c2cdcc152b143"},
      {120, "e3eb5a6c8669ea01a8c185b8abc8a5dc"},
      {127, "acce2474d6cc8302120d09c818d17ef7"},
      {128, "10b2da1a82f16d99a81a7203fe9f02cb"},
      {129, "03fefbbcebe2959cf2270241aafe0250"},
      {300, "3ea74b65673e1390b90da3e462c02f9f"},
  };
  unsigned char s[300];
  for (size_t i = 0; i < sizeof(s); i++) s[i] = (unsigned char) (7 * i + 3);
  for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
    unsigned char *g = (unsigned char *) mg_test_guarded(s, rows[r].len);
    for (size_t step = 1; step <= rows[r].len; step++) CHECK(strcmp(hex_of(g, rows[r].len, step), rows[r].want) == 0);
    mg_test_unguard((char *) g, rows[r].len);
  }
}
CHECK_MAIN
