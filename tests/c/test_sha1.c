/* test_sha1.c - known digests, every length around a block, and every cut. */
#include "check.h"
#include "mongoose/base/sha1.h"
#include "mongoose/base/printf.h"

/* The digest of s in hex, fed whole or in pieces of `step` bytes. */
static const char *hex_of(const unsigned char *s, size_t len, size_t step) {
  static char hex[65];
  unsigned char digest[20];
  mg_sha1_ctx ctx;
  mg_sha1_init(&ctx);
  for (size_t i = 0; i < len; i += step) mg_sha1_update(&ctx, s + i, len - i < step ? len - i : step);
  mg_sha1_final(digest, &ctx);
  mg_snprintf(hex, sizeof(hex), "%M", mg_print_hex, (int) sizeof(digest), digest);
  return hex;
}
#define IS(text, len, want) CHECK(strcmp(hex_of((const unsigned char *) (text), (len), 1000), want) == 0)

TEST(known_digests) {
  IS("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  IS("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
  IS("The quick brown fox jumps over the lazy dog", 43, "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12");
}
TEST(a_million_times_a) {
  unsigned char *s = (unsigned char *) malloc(1000000);
  memset(s, 'a', 1000000);
  CHECK(strcmp(hex_of(s, 1000000, 999), "34aa973cd4c4daa4f61eeb2bdbad27316534016f") == 0);
  free(s);
}
TEST(lengths_around_a_block) { /* byte i is 7 * i + 3 */
  static const struct {
    size_t len;
    const char *want;
  } rows[] = {
      {55, "ddf57317ef34bfee3b6df83d359098930eb278bc"},
      {56, "a0d492bb0fc889d0eca3bc137066ab6f4f74f369"},
      {57, "11a02dcf95859677a62e75024067c22b165d890f"},
      {63, "c55856749bef509bdfe6bfebfc7bf4e793e82132"},
      {64, "bede92be29c3874e1b54ddc77988d606fc857a8e"},
      {65, "b05a80522b053d6dc7e0a517d0e70212c7dad11f"},
      {119, "504e27376a6e0f0dba8295b85cb25dc4dfa17d23"},
      {120, "82134b02fb3f702491be9bed581eeab59334acb2"},
      {127, "34d5e582029e9b9b85b2febe31da3db7cdabaaea"},
      {128, "a09133e6730ffe899efb70204cb5646cd5dc24ee"},
      {129, "808aea332ce367541d37adae7f94e59c5c1a934e"},
      {300, "2b498a2177b181ad0e5eddbd5cb58b8d52cf6941"},
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
