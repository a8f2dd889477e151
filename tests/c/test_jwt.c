/* test_jwt.c - the token of RFC 7515 A.1, tokens signed by another implementation (Python's hmac), and everything that must not pass. */
#include "check.h"
#include "mongoose/base/alloc.h"
#include "mongoose/codec/jwt.h"

static const char key[] = "0123456789abcdef0123456789abcdef";
/* {"alg":"HS256","typ":"JWT"} {"iss":"us","sub":"ada","aud":["x","them"],"exp":1000,"nbf":500} */
static const char good[] = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ1cyIsInN1YiI6ImFkYSIsImF1ZCI6WyJ4IiwidGhlbSJdLCJleHAiOjEwMDAsIm5iZiI6NTAwfQ.XIHPpkOTMCZho9XSerDk0zwvybWTOr0k0xLOvOAynoU";

static bool holds(const char *token, const struct mg_jwt_opts *opts) {
  char *g = mg_test_guarded(token, strlen(token));
  struct mg_str claims;
  bool ok = mg_jwt_verify_hs256(mg_str(key), mg_str_n(g, strlen(token)), opts, &claims);
  CHECK(ok == (claims.buf != NULL));
  mg_free(claims.buf);
  mg_test_unguard(g, strlen(token));
  return ok;
}

TEST(the_token_of_the_rfc_holds_until_it_ends) {
  static const unsigned char k[] = {3, 35, 53, 75, 43, 15, 165, 188, 131, 126, 6, 101, 119, 123, 166, 143, 90, 179, 40, 230, 240, 84, 201, 40, 169, 15, 132, 178, 210, 80, 46, 191, 211, 251, 90, 146, 210, 6, 71, 239, 150, 138, 180, 195, 119, 98, 61, 34, 61, 46, 33, 114, 5, 46, 79, 8, 192, 205, 154, 245, 103, 208, 128, 163};
  struct mg_str rk = {(char *) k, sizeof(k)}, claims, token = mg_str("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
  struct mg_jwt_opts opts = {.now = 1300819379, .iss = mg_str("joe")};
  CHECK(mg_jwt_verify_hs256(rk, token, &opts, &claims));
  CHECK_STR(claims, "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}");
  mg_free(claims.buf);
  opts.now++;
  CHECK(!mg_jwt_verify_hs256(rk, token, &opts, &claims));
  CHECK(!mg_jwt_verify_hs256(rk, token, NULL, NULL)); /* by the clock on the wall */
}
TEST(claims_are_held_against_what_is_asked_for) {
  struct mg_jwt_opts o = {.now = 700};
  CHECK(holds(good, &o));
  o.iss = mg_str("us");
  o.sub = mg_str("ada");
  o.aud = mg_str("them");
  o.need_exp = true;
  CHECK(holds(good, &o));
  o.aud = mg_str("us");
  CHECK(!holds(good, &o));
  o.aud = mg_str("x");
  o.iss = mg_str("them");
  CHECK(!holds(good, &o));
  o.iss = mg_str("");
  o.sub = mg_str("eve");
  CHECK(!holds(good, &o));
}
TEST(times_with_and_without_leeway) {
  static const struct {
    unsigned now, leeway;
    bool ok;
  } rows[] = {{499, 0, false}, {500, 0, true}, {999, 0, true}, {1000, 0, false}, {490, 10, true}, {489, 10, false}, {1009, 10, true}, {1010, 10, false}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    struct mg_jwt_opts o = {.now = rows[i].now, .leeway = rows[i].leeway};
    CHECK_INT(holds(good, &o), rows[i].ok);
  }
}
TEST(what_was_signed_holds_and_reads_the_same) {
  struct mg_jwt_opts o = {.now = 700};
  char *token = mg_jwt_sign_hs256(mg_str(key), mg_str("{\"iss\":\"us\",\"sub\":\"ada\",\"aud\":[\"x\",\"them\"],\"exp\":1000,\"nbf\":500}"));
  CHECK(token != NULL && strcmp(token, good) == 0);
  mg_free(token);
  token = mg_jwt_sign_hs256(mg_str(key), mg_str("{}"));
  CHECK(holds(token, &o));
  o.need_exp = true;
  CHECK(!holds(token, &o));
  mg_free(token);
}
TEST(a_token_that_was_touched_or_cut_does_not_hold) {
  struct mg_jwt_opts o = {.now = 700};
  char touched[sizeof(good)];
  for (size_t i = 0; i < sizeof(good) - 1; i++) {
    memcpy(touched, good, sizeof(good));
    touched[i] = touched[i] == 'A' ? 'B' : 'A';
    CHECK(!holds(touched, &o));
    touched[i] = '\0';
    CHECK(!holds(touched, &o));
  }
}
TEST(signed_but_wrong) {
  static const char *const rows[] = {
      "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ1cyIsInN1YiI6ImFkYSIsImF1ZCI6WyJ4IiwidGhlbSJdLCJleHAiOjEwMDAsIm5iZiI6NTAwfQ.cE-v7PzwIruNsTaxHScE0sQy7c3IvEKTfc0kdoCyTpw", /* alg none */
      "eyJ0eXAiOiJKV1QifQ.eyJpc3MiOiJ1cyIsInN1YiI6ImFkYSIsImF1ZCI6WyJ4IiwidGhlbSJdLCJleHAiOjEwMDAsIm5iZiI6NTAwfQ.kWu4BAmVdrMhDb4dInrFdtrNkIwHf2uCEdwiuQVhDq0", /* no alg */
      "eyJhbGciOiJIUzUxMiJ9.eyJpc3MiOiJ1cyIsInN1YiI6ImFkYSIsImF1ZCI6WyJ4IiwidGhlbSJdLCJleHAiOjEwMDAsIm5iZiI6NTAwfQ.GmVSmg8WtJWTeHwYt4zisacH4gmsdHXXz0hw4sGRwWg", /* alg HS512 */
      "eyJhbGciOjF9.eyJpc3MiOiJ1cyIsInN1YiI6ImFkYSIsImF1ZCI6WyJ4IiwidGhlbSJdLCJleHAiOjEwMDAsIm5iZiI6NTAwfQ.BN_jB5ZrWG_e7yRjJ6Au15YqWD-vhx1HPS6StXJcfVY", /* alg is no text */
      "eyJhbGciOiJIUzI1NiIsImNyaXQiOlsieCJdfQ.eyJpc3MiOiJ1cyIsInN1YiI6ImFkYSIsImF1ZCI6WyJ4IiwidGhlbSJdLCJleHAiOjEwMDAsIm5iZiI6NTAwfQ.zrs2CWBnREbzjVyScMiMVaSgN68B53nH0LbmWlvGXCM", /* crit */
      "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJ1cyIsInN1YiI6ImFkYSIsImF1ZCI6WyJ4IiwidGhlbSJdLCJleHAiOjEwMDAsIm5iZiI6NTAwfQ.vs2y9O5sLyb6X3w6cBuzL12u7JrPSu-UA_NVIsQUmSM", /* typ */
      "IkhTMjU2Ig.eyJpc3MiOiJ1cyIsInN1YiI6ImFkYSIsImF1ZCI6WyJ4IiwidGhlbSJdLCJleHAiOjEwMDAsIm5iZiI6NTAwfQ.Ogc3h8LQ7M-BTfp1oRBYrb4wGODJyeEVNUcMjHM8Pqw", /* header is no object */
      "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.WzFd.eUqK182P5IfBOE82cBqE-NjwumkR5AT4cckCf1VjXkg", /* claims are no object */
      "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.ew.-1txTFqV-fxSaFBjfnBfClfUUiNkjm-g9r5twJSK_EA", /* claims are no JSON */
      "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30geA.LA16FvzXj_C3kc7tHOvNdLTiMUZzP9nROuUZnphVSFI", /* something behind */
      "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOiIxMDAwMDAwIn0.AOM59LbQLKzBouXoU1uzOgRw_ZUNq8TbRLGzV9ovcRo", /* exp is text */
      "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJuYmYiOm51bGx9.Ww_5oVeom9EpFYkKO9eC-Sbd9Xei18HxdcVa0ZKSpvI", /* nbf is null */
      "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..Nwe3c2mClQJU__iN55LYQfpGJbkJ_6VRo3qj9PigzNE", /* no claims */
  };
  struct mg_jwt_opts o = {.now = 700};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    if (holds(rows[i], &o)) fprintf(stderr, "row %zu holds\n", i);
    CHECK(!holds(rows[i], &o));
  }
}
TEST(short_keys_and_what_is_no_claims_are_not_signed) {
  CHECK(mg_jwt_sign_hs256(mg_str("short"), mg_str("{}")) == NULL);
  CHECK(!mg_jwt_verify_hs256(mg_str(""), mg_str(good), NULL, NULL));
  CHECK(mg_jwt_sign_hs256(mg_str(key), mg_str("")) == NULL);
  CHECK(mg_jwt_sign_hs256(mg_str(key), mg_str("[]")) == NULL);
  CHECK(mg_jwt_sign_hs256(mg_str(key), mg_str("{}}")) == NULL);
}
CHECK_MAIN
