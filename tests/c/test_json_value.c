/* test_json_value.c - numbers, strings and bytes out of JSON: json_value.c and json_text.c. */
#include <limits.h>
#include <locale.h>
#include "check.h"
#include "mongoose/base/alloc.h"
#include "mongoose/codec/json.h"

#define S(literal) ((struct mg_str){(char *) (literal), sizeof(literal) - 1})

static struct mg_str text(const char *s) {
  return (struct mg_str){(char *) s, strlen(s)};
}

static uint64_t s_random = 1;
static unsigned random_below(unsigned n) {
  s_random ^= s_random << 13, s_random ^= s_random >> 7, s_random ^= s_random << 17;
  return (unsigned) (s_random >> 33) % n;
}

/* ---- numbers ---- */

static double num(const char *json) {
  double v = -12345;
  CHECK(mg_json_get_num(text(json), "$", &v));
  return v;
}

TEST(numbers_round_correctly) {
  static const char *const cases[] = {"0",
                                      "-0",
                                      "1",
                                      "-1",
                                      "3.14",
                                      "123456789012345",
                                      "1e22",
                                      "1e23",
                                      "1e-22",
                                      "1e-23",
                                      "0.1",
                                      "0.000001",
                                      "9007199254740993",
                                      "9007199254740993.0000000000000000000000000000001",
                                      "1.7976931348623157e308",
                                      "1.7976931348623159e308",
                                      "1e309",
                                      "-1e999999999999999999999",
                                      "4.9e-324",
                                      "2.4703282292062327208e-324",
                                      "2.4703282292062328e-324",
                                      "1e-999999999999999999999",
                                      "2.2250738585072011e-308",
                                      "0.00000000000000000000000000000000000000000000000000001e60",
                                      "100000000000000000000000000000000000000e-38",
                                      "8.5e15",
                                      "0e999"};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    double got = num(cases[i]), want = strtod(cases[i], NULL);
    if (memcmp(&got, &want, sizeof(got)) != 0) fprintf(stderr, "%s: %.17g, not %.17g\n", cases[i], got, want);
    CHECK(memcmp(&got, &want, sizeof(got)) == 0);
  }
}

TEST(random_numbers_round_as_strtod_does) {
  for (int round = 0; round < 20000; round++) {
    char s[64];
    int n = snprintf(s, sizeof(s), "%s%u", random_below(2) ? "-" : "", 1 + random_below(9));
    for (unsigned i = random_below(21); i > 0; i--) s[n++] = (char) ('0' + random_below(10));
    if (random_below(2)) {
      s[n++] = '.';
      for (unsigned i = 1 + random_below(20); i > 0; i--) s[n++] = (char) ('0' + random_below(10));
    }
    s[n] = '\0';
    if (random_below(2))
      snprintf(s + n, sizeof(s) - (size_t) n, "e%d", (int) random_below(round % 2 ? 60 : 700) - (round % 2 ? 30 : 350));
    CHECK(num(s) == strtod(s, NULL));
  }
}

TEST(a_digit_far_behind_tips_a_tie) {
  static char s[4000];
  memset(s, '0', sizeof(s));
  memcpy(s, "9007199254740993.", 17); /* half way between two doubles, the even one is below */
  s[sizeof(s) - 1] = '\0';
  CHECK(num(s) == 9007199254740992.0);
  s[sizeof(s) - 2] = '1';
  CHECK(num(s) == 9007199254740994.0);
  memset(s, '0', sizeof(s)); /* thousands of zeros behind the point, brought back by the exponent */
  s[1] = '.';
  memcpy(s + sizeof(s) - 7, "1e3992", 7); /* the 1 is decimal 3992 */
  CHECK(num(s) == 1.0);
}

TEST(numbers_do_not_depend_on_the_locale) {
  static const char *const names[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "fr_FR"};
  for (size_t i = 0; i < 4 && setlocale(LC_NUMERIC, names[i]) == NULL; i++)
    continue; /* without any: still a test of digits */
  CHECK(num("3.14159265358979323846") == 3.14159265358979323846);
  CHECK(num("0.5") == 0.5);
  setlocale(LC_NUMERIC, "C");
}

TEST(what_is_no_number_gives_none) {
  double v = 7;
  bool b = true;
  CHECK(!mg_json_get_num(S("{\"a\":\"1\"}"), "$.a", &v) && v == 7);
  CHECK(!mg_json_get_num(S("{\"a\":true}"), "$.a", &v) && v == 7);
  CHECK(!mg_json_get_num(S("{\"a\":1}"), "$.b", &v) && v == 7);
  CHECK(mg_json_get_num(S("5"), "$", NULL));
  CHECK(!mg_json_get_bool(S("[null,1,\"true\"]"), "$[0]", &b) && b);
  CHECK(!mg_json_get_bool(S("[null,1,\"true\"]"), "$[1]", &b) && b);
  CHECK(!mg_json_get_bool(S("[null,1,\"true\"]"), "$[2]", &b) && b);
}

TEST(booleans_are_read) {
  bool b = false;
  CHECK(mg_json_get_bool(S("[true,false]"), "$[0]", &b) && b);
  CHECK(mg_json_get_bool(S("[true,false]"), "$[1]", &b) && !b);
}

TEST(longs_are_cut_not_rounded_and_never_wrap) {
  static const struct {
    const char *json;
    long want;
  } cases[] = {
    {"0", 0},
    {"-0", 0},
    {"42", 42},
    {"-42", -42},
    {"3.14", 3},
    {"3.99", 3},
    {"-3.99", -3},
    {"0.99", 0},
    {"1e3", 1000},
    {"1.5e1", 15},
    {"1234e-2", 12},
    {"1e-5", 0},
    {"1e-99999999999999999999", 0},
    {"1e20", -7},
    {"1e99999999999999999999", -7},
    {"0e99", 0},
    {"\"5\"", -7},
    {"null", -7},
#if LONG_MAX > 0x7fffffff
    {"9007199254740993", 9007199254740993},
    {"9223372036854775807", LONG_MAX},
    {"9223372036854775807.9", LONG_MAX},
    {"9223372036854775808", -7},
    {"-9223372036854775808", LONG_MIN},
    {"-9223372036854775808.5", LONG_MIN},
    {"-9223372036854775809", -7},
    {"18446744073709551617", -7},
#endif
    {"99999999999999999999999", -7}
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    CHECK_INT(mg_json_get_long(text(cases[i].json), "$", -7), cases[i].want);
  CHECK_INT(mg_json_get_long(S("{\"a\":1}"), "$.b", 9), 9);
}

/* ---- strings ---- */

TEST(strings_are_unescaped) {
  static const struct {
    const char *json, *want;
    size_t len;
  } cases[] = {{"\"\"", "", 0},
               {"\"plain\"", "plain", 5},
               {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
               {"\"\\u0041\\u00e9\\u20AC\"", "A\xc3\xa9\xe2\x82\xac", 6},
               {"\"\\ud83d\\ude00!\"", "\xf0\x9f\x98\x80!", 5},
               {"\"a\\u0000b\"", "a\0b", 3},
               {"\"\\ud83d\"", "\xef\xbf\xbd", 3},
               {"\"\\ude00x\"", "\xef\xbf\xbdx", 4},
               {"\"\\ud83dx\"", "\xef\xbf\xbdx", 4},
               {"\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80", 7},
               {"\"\\ud83d\\n\"", "\xef\xbf\xbd\n", 4},
               {"\"\\udbff\\udfff\"", "\xf4\x8f\xbf\xbf", 4},
               {"\"\\u07ff\\u0800\\uffff\"", "\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf", 8}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    size_t len = 99;
    char *s = mg_json_get_str_n(text(cases[i].json), "$", &len);
    CHECK(s != NULL);
    if (s == NULL) continue;
    CHECK_MEM(s, len, cases[i].want, cases[i].len);
    CHECK_INT(s[len], 0);
    mg_free(s);
  }
}

TEST(wrong_escapes_give_no_string) {
  static const char *const bad[] = {"\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\u\"", "\"\\ud83d\\uzzzz\"",
                                    "\"\\0\"", "1",         "[]",          "null",    "\"open"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    size_t len = 9;
    CHECK(mg_json_get_str_n(text(bad[i]), "$", &len) == NULL && len == 0);
    CHECK(mg_json_get_str(text(bad[i]), "$") == NULL);
  }
}

TEST(unescape_never_writes_beyond_its_buffer) {
  struct mg_str in = S("ab\\n\\u20ac\\ud83d\\ude00z"); /* 11 bytes and a NUL */
  for (size_t room = 0; room < 16; room++) {
    char *buf = mg_test_guarded("                ", room);
    CHECK_INT(mg_json_unescape_n(in, buf, room), room >= 12 ? 11 : -1);
    CHECK(mg_json_unescape(in, buf, room) == (room >= 12));
    mg_test_unguard(buf, room);
  }
  CHECK(!mg_json_unescape(in, NULL, 100));
  char same[] = "\\u0041\\n\\ud800.";
  CHECK_INT(mg_json_unescape_n((struct mg_str){same, sizeof(same) - 1}, same, sizeof(same)), 6);
  CHECK_MEM(same, 6, "A\n\xef\xbf\xbd.", 6);
}

TEST(unescape_takes_every_cut_without_reading_on) {
  const char *s = "a\\n\\u00e9\\ud83d\\ude00";
  for (size_t n = 0; n <= strlen(s); n++) {
    char *p = mg_test_guarded(s, n), out[32];
    int whole = n <= 1 || n == 3 || n == 9 || n == 15 || n == 21;
    CHECK(mg_json_unescape((struct mg_str){p, n}, out, sizeof(out)) == whole);
    CHECK(!mg_json_text_is((struct mg_str){p, n}, S("a\n\xc3\xa9?")));
    mg_test_unguard(p, n);
  }
}

TEST(without_memory_there_is_no_string) {
  size_t len = 9;
  mg_alloc_fail_at(1);
  char *s = mg_json_get_str_n(S("\"abc\""), "$", &len);
  mg_alloc_fail_at(0);
#if defined(MG_ENABLE_ALLOC_FAULTS) && MG_ENABLE_ALLOC_FAULTS
  CHECK(s == NULL && len == 0);
#else
  CHECK(s != NULL && len == 3);
#endif
  mg_free(s);
}

TEST(hex_and_base64_are_decoded) {
  struct mg_str json =
      S("{\"h\":\"00fFa1\",\"odd\":\"abc\",\"g\":\"0g\",\"e\":\"\",\"b\":\"AP8+/"
        "w==\",\"b2\":\"aGVsbG8h\",\"b1\":\"aGVsbG8=\",\"np\":\"aGVsbG8\","
        "\"bad\":\"a*==\",\"mid\":\"ab=c\",\"pads\":\"a===\",\"u\":\"\\u0061GVs\"}");
  static const struct {
    const char *path;
    int hex, len;
    const char *want;
  } cases[] = {{"$.h", 1, 3, "\x00\xff\xa1"},
               {"$.odd", 1, -1, ""},
               {"$.g", 1, -1, ""},
               {"$.e", 1, 0, ""},
               {"$.e", 0, 0, ""},
               {"$.b", 0, 4, "\x00\xff\x3e\xff"},
               {"$.b2", 0, 6, "hello!"},
               {"$.b1", 0, 5, "hello"},
               {"$.np", 0, -1, ""},
               {"$.bad", 0, -1, ""},
               {"$.mid", 0, -1, ""},
               {"$.pads", 0, -1, ""},
               {"$.u", 0, 3, "hel"},
               {"$.none", 0, -1, ""}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    int len = 77;
    char *s = cases[i].hex ? mg_json_get_hex(json, cases[i].path, &len) : mg_json_get_b64(json, cases[i].path, &len);
    CHECK((s == NULL) == (cases[i].len < 0));
    CHECK_INT(len, cases[i].len < 0 ? 0 : cases[i].len);
    if (s != NULL) CHECK_MEM(s, (size_t) len, cases[i].want, (size_t) cases[i].len);
    mg_free(s);
  }
}

CHECK_MAIN
