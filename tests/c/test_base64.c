/* test_base64.c - RFC 4648 10, round trips at every length, and what must be refused. */
#include "check.h"
#include "mongoose/base/base64.h"

static const char *const vectors[][3] = {
    {"", "", ""}, {"f", "Zg==", "Zg"}, {"fo", "Zm8=", "Zm8"}, {"foo", "Zm9v", "Zm9v"}, {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"}, {"foobar", "Zm9vYmFy", "Zm9vYmFy"}, {"\xfb\xff\xfe", "+//+", "-__-"}};

TEST(vectors_of_the_rfc) {
  char out[20];
  for (size_t i = 0; i < 8; i++) {
    const char *raw = vectors[i][0], *b64 = vectors[i][1], *url = vectors[i][2];
    const unsigned char *bytes = (const unsigned char *) raw;
    CHECK_MEM(out, mg_base64_encode(bytes, strlen(raw), out, sizeof(out)), b64, strlen(b64));
    CHECK_INT(out[strlen(b64)], 0);
    CHECK_MEM(out, mg_base64url_encode(bytes, strlen(raw), out, sizeof(out)), url, strlen(url));
    CHECK_MEM(out, mg_base64_decode(b64, strlen(b64), out, sizeof(out)), raw, strlen(raw));
    CHECK_INT(out[strlen(raw)], 0);
    CHECK_MEM(out, mg_base64url_decode(url, strlen(url), out, sizeof(out)), raw, strlen(raw));
  }
}
TEST(every_length_comes_back_and_only_from_buffers_with_room) {
  unsigned char raw[64];
  for (size_t i = 0; i < sizeof(raw); i++) raw[i] = (unsigned char) (i * 37 + 200);
  for (size_t n = 1; n <= sizeof(raw); n++) {
    size_t need = (n + 2) / 3 * 4;
    char *in = mg_test_guarded(raw, n), *full = (char *) malloc(need + 1), *out;
    CHECK_INT(mg_base64_encode((unsigned char *) in, n, full, need), 0);
    CHECK_INT(full[0], 0);
    CHECK_INT(mg_base64_encode((unsigned char *) in, n, full, need + 1), need);
    out = (char *) malloc(n + 1);
    char *src = mg_test_guarded(full, need);
    CHECK_INT(mg_base64_decode(src, need, out, n), 0);
    CHECK_INT(out[0], 0);
    CHECK_MEM(out, mg_base64_decode(src, need, out, n + 1), raw, n);
    for (size_t cut = 1; cut < 4; cut++) CHECK_INT(mg_base64_decode(src, need - cut, out, n + 1), 0);
    size_t url = mg_base64url_encode((unsigned char *) in, n, full, need + 1);
    CHECK_INT(url, (n * 8 + 5) / 6);
    CHECK_MEM(out, mg_base64url_decode(full, url, out, n + 1), raw, n);
    mg_test_unguard(src, need);
    mg_test_unguard(in, n);
    free(out);
    free(full);
  }
}
TEST(byte_by_byte_gives_the_same) {
  unsigned char raw[20] = "\0\1\2\377\376\375 and some text";
  for (size_t n = 0; n <= sizeof(raw); n++) {
    char once[40] = "", each[40];
    size_t at = 0, len = mg_base64_encode(raw, n, once, sizeof(once));
    for (size_t i = 0; i < n; i++) at = mg_base64_update(raw[i], each, at);
    at = mg_base64_final(each, at);
    CHECK_MEM(each, at + 1, once, len + 1);
    len = mg_base64url_encode(raw, n, once, sizeof(once));
    at = 0;
    for (size_t i = 0; i < n; i++) at = mg_base64url_update(raw[i], each, at);
    at = mg_base64url_final(each, at);
    CHECK_MEM(each, at + 1, n > 0 ? once : "", len + 1);
  }
}
TEST(garbage_is_refused) {
  static const char *const bad[] = {"Z", "Zg", "Zg=", "Zg===", "====", "=Zg=", "Z===", "Zm9v=", "Zg==Zg==",
                                    "Zm9 ", "Zm9v\n", "-__-",
                                    "Zh==" /* spare bits */, "Zm9=", "A=A=", "Zg==\n", "Zm\377v"};
  static const char *const bad_url[] = {"Z", "Zg==", "+//+", "Zh", "Zm9", "Zm9vY", "Zm 9"};
  char out[40];
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    out[0] = 'x';
    if (mg_base64_decode(bad[i], strlen(bad[i]), out, sizeof(out)) != 0) fprintf(stderr, "%s\n", bad[i]);
    CHECK_INT(mg_base64_decode(bad[i], strlen(bad[i]), out, sizeof(out)), 0);
    CHECK_INT(out[0], 0);
  }
  for (size_t i = 0; i < sizeof(bad_url) / sizeof(bad_url[0]); i++) {
    CHECK_INT(mg_base64url_decode(bad_url[i], strlen(bad_url[i]), out, sizeof(out)), 0);
  }
  CHECK_INT(mg_base64_decode("Zg\0=", 4, out, sizeof(out)), 0);
  CHECK_INT(mg_base64_decode("Zg==", 4, NULL, 0), 0);
  CHECK_INT(mg_base64_encode((const unsigned char *) "a", 1, NULL, 0), 0);
}
CHECK_MAIN
