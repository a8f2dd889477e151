/* test_sha256.c - known digests, every length around a block, and every cut. */
#include "check.h"
#include "mongoose/base/sha256.h"
#include "mongoose/base/printf.h"

/* The digest of s in hex, fed whole or in pieces of `step` bytes. */
static const char *hex_of(const unsigned char *s, size_t len, size_t step) {
  static char hex[65];
  unsigned char digest[32];
  mg_sha256_ctx ctx;
  mg_sha256_init(&ctx);
  for (size_t i = 0; i < len; i += step) mg_sha256_update(&ctx, s + i, len - i < step ? len - i : step);
  mg_sha256_final(digest, &ctx);
  mg_snprintf(hex, sizeof(hex), "%M", mg_print_hex, (int) sizeof(digest), digest);
  return hex;
}
#define IS(text, len, want) CHECK(strcmp(hex_of((const unsigned char *) (text), (len), 1000), want) == 0)

TEST(known_digests) {
  IS("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  IS("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  IS("The quick brown fox jumps over the lazy dog", 43, "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592");
}
TEST(a_million_times_a) {
  unsigned char *s = (unsigned char *) malloc(1000000);
  memset(s, 'a', 1000000);
  CHECK(strcmp(hex_of(s, 1000000, 999), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0") == 0);
  free(s);
}
TEST(lengths_around_a_block) { /* byte i is 7 * i + 3 */
  static const struct {
    size_t len;
    const char *want;
  } rows[] = {
      {55, "e7313d333c272e639f790978283f9eb392e843d0f29b7016828bb1daa4aac70b"},
      {56, "4324d65f3c103567f5589c710bc08f8523f929a9272e3af36fc968e52abc6c27"},
      {57, "35df609437dcfea3279283ab79fd554e2bf78f8f7ae2de532d8ee300b09e8f73"},
      {63, "81c80242132f230c3bd41b3e63bbcff16107339549214a99614ff26664625055"},
      {64, "39e3d7b6b5d075d37d053ad89b24b41bef4f3c29760c84447cab3f3be1882241"},
      {65, "aacca6ff74fdbb296d165a45cecfa04e5127bc008770fbbdd48006f2d2fae95e"},
      {119, "9ce7368e4daf32341631b492e80359dc9f594b48453cd0dd5bf0b19279cc177e"},
      {120, "7836b787757e95e58b3ca5aec90b1b004e8deba1e50e9675af9cabf1a13a04b5"},
      {127, "a8d23e75d936f303d248888d9b165ee543f4cbafcad3c9dd2a79bd84faa11d07"},
      {128, "d2742f1f4ac6bb7ca2b239ee18402ba8b3f9f8e652d2a72973c2b9ba11c08cf6"},
      {129, "307f8fc2c1622b92762e818d39a185d4d667ad49a4b07ceae1f4afa008a93ec4"},
      {300, "04773f8726c81cafcfa1a09a82664b98b00d2021031a1715bca1154f2dad3472"},
  };
  unsigned char s[300];
  for (size_t i = 0; i < sizeof(s); i++) s[i] = (unsigned char) (7 * i + 3);
  for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
    unsigned char *g = (unsigned char *) mg_test_guarded(s, rows[r].len);
    for (size_t step = 1; step <= rows[r].len; step++) CHECK(strcmp(hex_of(g, rows[r].len, step), rows[r].want) == 0);
    mg_test_unguard((char *) g, rows[r].len);
  }
}
static const char *hmac_of(const void *key, size_t key_len, const char *s) {
  static char hex[65];
  unsigned char tag[32];
  mg_hmac_sha256(tag, (const uint8_t *) key, key_len, (const uint8_t *) s, strlen(s));
  mg_snprintf(hex, sizeof(hex), "%M", mg_print_hex, 32, tag);
  return hex;
}
TEST(hmac_vectors) { /* the first two of RFC 4231, then keys of a block and more */
  unsigned char key[131];
  memset(key, 0x0b, 20);
  CHECK(strcmp(hmac_of(key, 20, "Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7") == 0);
  CHECK(strcmp(hmac_of("Jefe", 4, "what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843") == 0);
  memset(key, 0xaa, sizeof(key));
  CHECK(strcmp(hmac_of(key, 0, "Test"), "b84a269128e6a85c693b2371816ba0bb21a2da2bab2b935e37fd8d93d022db6a") == 0);
  CHECK(strcmp(hmac_of(key, 63, "Test"), "904c87fd0272e460fde2eb31a8c0f6d3d04c973c5b47596348d894676dec149e") == 0);
  CHECK(strcmp(hmac_of(key, 64, "Test"), "e8628eb15590fc451f2e3c373d2ccaf62b88e8394df42f6c565c2c53a1952c59") == 0);
  CHECK(strcmp(hmac_of(key, 65, "Test"), "44d1e269628d5a18942af5f3820017c3ba905005ac57b1556d4bcd20655ab899") == 0);
  CHECK(strcmp(hmac_of(key, 131, "Test"), "418aff82f43ee60f41ced499804ce43d5870557fa69365d2bc281788b0d0fc3f") == 0);
}
TEST(one_call_is_the_same_as_three) {
  unsigned char digest[32];
  char hex[65];
  mg_sha256(digest, (const uint8_t *) "abc", 3);
  mg_snprintf(hex, sizeof(hex), "%M", mg_print_hex, 32, digest);
  CHECK(strcmp(hex, hex_of((const unsigned char *) "abc", 3, 3)) == 0);
}
CHECK_MAIN
