/* test_sha384.c - digests by another implementation (OpenSSL's, through Python) for every length around a block, and every cut. */
#include "check.h"
#include "mongoose/base/printf.h"
#include "mongoose/base/sha384.h"

static const char *hex_of(const unsigned char *s, size_t len, size_t step) {
  static char hex[97];
  unsigned char digest[48];
  mg_sha384_ctx ctx;
  mg_sha384_init(&ctx);
  for (size_t i = 0; i < len; i += step) mg_sha384_update(&ctx, s + i, len - i < step ? len - i : step);
  mg_sha384_final(digest, &ctx);
  mg_snprintf(hex, sizeof(hex), "%M", mg_print_hex, (int) sizeof(digest), digest);
  return hex;
}

TEST(lengths_around_a_block) { /* byte i is 7 * i + 3 */
  static const struct {
    size_t len;
    const char *want;
  } rows[] = {
      {0, "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b"},
      {1, "8a6c69af6fb6247635f837958446fb8f10e39bd5fbc244f7e635176339a3be614f6394247f01dbe1126c178c7bd48cb5"},
      {111, "341388a9dc2275074e90cf394323761919761c805fd9e370977c9966a0e8c81a52135f02577670b0071638a4a26dbc31"},
      {112, "619cc5d06138526d70659eccf602d197e63e1050e22039a7feb40a30a5b2b08fb03729e291df12f8c576e6f1cd8af22a"},
      {113, "484a92d02b61b620ccae687fce4cd073eb995294a777d5deb5356bc8c1e2ce984f63f16420058ac5da666fda410a4feb"},
      {127, "f8234ab81f5f9641c656680825a9bbb3c2616bcc80b65d5e479a4d96742e1b8742330c9e8256ef5f03caa932487044ca"},
      {128, "e8480e9c4dd90f88104a79cbaccec48edbd798a142b4f241d726dc252f1502350e824c7d18dadd59d7d716919fb8f9bf"},
      {129, "430173387764874661acba1e914e50f6d0fbac534809e859b1da4396fad3d5f24c25c6a2d02486d8fbda3994713d981a"},
      {239, "fc75ded15c6080ff96ac03391fc1302ca180128e4b6a4a2f17782f2ec016fc3f79b48b5fed3305fb7fdff9fd29434525"},
      {240, "4c4bc5dae174dd68cb5a62e066e01e339e4980e4a35531b732dcf88e9c579e66f7c0d044779e2eda8a597684ca7cffd6"},
      {255, "15f3347894a150a64eb82a7044bb5ec8b1d33488716fce4932ba73beb97eabd1ad796bc0a569129ba98120ae1ed7edce"},
      {256, "23f0634552ba15289fa02c8a37e3a391e79e230dca05db03a7696630c5ba3a3352d1624f52832e4d6183c0eb70198e9a"},
      {257, "233012efa9647f875d85d37154bffb19077acae572625ebfdc80d3a538447cb754aca3a3a5bdd41df8bf8870e1f0f2bd"},
      {300, "060eb8e1c01cc6c6c8c03fcb7898155f2b836fb97c9d331a7a296a1a209aac9d261b2b268c4ba3c7299a3dd12b5bf81f"},
  };
  unsigned char s[300], digest[48];
  char hex[97];
  for (size_t i = 0; i < sizeof(s); i++) s[i] = (unsigned char) (7 * i + 3);
  for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
    unsigned char *g = (unsigned char *) mg_test_guarded(s, rows[r].len);
    for (size_t step = 1; step <= rows[r].len + 1; step++) CHECK(strcmp(hex_of(g, rows[r].len, step), rows[r].want) == 0);
    mg_sha384(digest, g, rows[r].len);
    mg_snprintf(hex, sizeof(hex), "%M", mg_print_hex, 48, digest);
    CHECK(strcmp(hex, rows[r].want) == 0);
    mg_test_unguard((char *) g, rows[r].len);
  }
}
TEST(a_million_times_a) { /* of FIPS 180-4's examples */
  unsigned char *s = (unsigned char *) malloc(1000000);
  memset(s, 'a', 1000000);
  CHECK(strcmp(hex_of(s, 1000000, 999), "9d0e1809716474cb086e834e310a4a1ced149e9c00f248527972cec5704c2a5b07b8b3dc38ecc4ebae97ddd87f3d8985") == 0);
  free(s);
}
CHECK_MAIN
