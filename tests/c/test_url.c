/* test_url.c - parts of URLs, percent-encoding, form variables. */
#include "check.h"
#include "mongoose/codec/url.h"

TEST(ports_come_from_the_url_or_its_scheme) {
  static const struct {
    const char *url;
    int port;
  } rows[] = {{"http://h", 80}, {"ws://h/x", 80}, {"https://h", 443}, {"wss://h", 443}, {"mqtt://h", 1883},
              {"mqtts://h", 8883},
              {"HTTPS://h", 443}, {"http://h:81", 81}, {"http://h:81/a:82", 81}, {"http://h:65535", 65535},
              {"http://h:/", 80},
              {"http://[::1]", 80}, {"http://[::1]:82", 82}, {"tcp://h", 0}, {"tcp://:1234", 1234},
              {"h:99", 99}, {":8080", 8080},
              {"http://u:1@h", 80}, {"http://u:1@h:2", 2}, {"http://h?x=:5", 80}, {"http://h#:5", 80},
              {"http://h:00080", 80},
              {"unix:///tmp/a:1", 0}, {"h/?u=http://x:5", 0}, {"", 0}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    if (mg_url_port(rows[i].url) != rows[i].port) fprintf(stderr, "%s\n", rows[i].url);
    CHECK_INT(mg_url_port(rows[i].url), rows[i].port);
  }
  CHECK_INT(mg_url_port(NULL), 0);
}
TEST(what_is_no_port_is_zero) { /* the one before us made 34463 of 99999 */
  static const char *const urls[] = {"http://h:99999", "http://h:65536", "http://h:-1", "http://h:8o",
                                     "http://h: 80", "http://h:0",
                                     "http://h:0x50", "http://::1", "http://h:80:81", "http://h:18446744073709551696"};
  for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
    if (mg_url_port(urls[i]) != 0) fprintf(stderr, "%s\n", urls[i]);
    CHECK_INT(mg_url_port(urls[i]), 0);
  }
}
TEST(hosts) {
  CHECK_STR(mg_url_host("http://a.b:80/c"), "a.b");
  CHECK_STR(mg_url_host("http://[2001:db8::1%2]:80/"), "[2001:db8::1%2]");
  CHECK_STR(mg_url_host("http://[::1]"), "[::1]");
  CHECK_STR(mg_url_host("a.b"), "a.b");
  CHECK_STR(mg_url_host("a.b:1/c"), "a.b");
  CHECK_STR(mg_url_host("http://:80"), "");
  CHECK_STR(mg_url_host("unix:///tmp/x"), "");
  CHECK_STR(mg_url_host("http://h?a@b"), "h");
  CHECK_STR(mg_url_host("http://h/a@b"), "h");
  CHECK_STR(mg_url_host("h/?to=http://x"), "h");
  CHECK_STR(mg_url_host(""), "");
}
TEST(the_host_is_the_one_a_browser_would_go_to) {
  CHECK_STR(mg_url_host("http://good.com@evil.com/"), "evil.com");
  CHECK_STR(mg_url_host("http://a@good.com@evil.com/"), "evil.com");
  CHECK_STR(mg_url_host("http://evil.com\\@good.com/"), "evil.com");
  CHECK_STR(mg_url_host("http://evil.com#@good.com/"), "evil.com");
}
TEST(users_and_passwords) {
  CHECK_STR(mg_url_user("http://u:p@h"), "u");
  CHECK_STR(mg_url_pass("http://u:p@h"), "p");
  CHECK_STR(mg_url_user("http://u@h"), "u");
  CHECK_STR(mg_url_pass("http://u@h"), "");
  CHECK_STR(mg_url_pass("http://u:p:q@h"), "p:q");
  CHECK_STR(mg_url_user("http://:p@h"), "");
  CHECK_STR(mg_url_pass("http://:p@h"), "p");
  CHECK_STR(mg_url_user("http://@h"), "");
  CHECK_STR(mg_url_user("http://h:80/u:p@x"), "");
  CHECK_STR(mg_url_pass("http://h:80"), "");
  CHECK_STR(mg_url_user("u:p@h"), "u");
}
TEST(uris) {
  CHECK(strcmp(mg_url_uri("http://h/a/b?c#d"), "/a/b?c#d") == 0);
  CHECK(strcmp(mg_url_uri("http://h"), "/") == 0);
  CHECK(strcmp(mg_url_uri("http://h?x=/1"), "?x=/1") == 0);
  CHECK(strcmp(mg_url_uri("http://h#x"), "/") == 0);
  CHECK(strcmp(mg_url_uri("h:1/x"), "/x") == 0);
  CHECK(strcmp(mg_url_uri("unix:///tmp/x"), "/tmp/x") == 0);
  CHECK(strcmp(mg_url_uri(""), "/") == 0);
}
TEST(schemes_with_tls) {
  static const char *const yes[] = {"https://h", "wss://h", "mqtts://h", "ssl://h", "tls://h", "tcps://h", "HttpS://h"};
  static const char *const no[] = {"http://h", "ws://h", "mqtt://h", "tcp://h", "httpss://h", "https:/h",
                                    "h/https://", "", "://h"};
  for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) CHECK(mg_url_is_ssl(yes[i]));
  for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) CHECK(!mg_url_is_ssl(no[i]));
}
TEST(encoding_keeps_the_unreserved) {
  char out[100];
  const char *want = "aZ09-._~%20%2f%00%ff%25%2b";
  CHECK_INT(mg_url_encode("aZ09-._~ /\0\xff%+", 14, out, sizeof(out)), strlen(want));
  CHECK_MEM(out, strlen(out), want, strlen(want));
}
TEST(encoding_fits_or_gives_nothing) {
  char *out;
  for (size_t len = 0; len < 8; len++) {
    out = (char *) malloc(len + 1);
    out[0] = 'x';
    CHECK_INT(mg_url_encode("a/bc", 4, out, len), len >= 7 ? 6 : 0);
    CHECK_INT(out[0], len == 0 ? 'x' : len >= 7 ? 'a' : 0);
    free(out);
  }
}
TEST(decoding_undoes_it_for_every_byte) {
  unsigned char all[256];
  char text[800], back[257];
  for (int i = 0; i < 256; i++) all[i] = (unsigned char) i;
  size_t n = mg_url_encode((char *) all, 256, text, sizeof(text));
  char *g = mg_test_guarded(text, n);
  CHECK_INT(mg_url_decode(g, n, back, sizeof(back), 0), 256);
  CHECK_MEM(back, 256, all, 256);
  CHECK_INT(mg_url_decode(g, n, back, sizeof(back), 1), 256);
  CHECK_INT(mg_url_decode(g, n, back, 256, 0), -1); /* no room for the NUL */
  mg_test_unguard(g, n);
  CHECK_INT(mg_url_decode(text, n, text, sizeof(text), 0), 256); /* in place */
  CHECK_MEM(text, 256, all, 256);
}
TEST(plus_is_a_space_in_forms_only) {
  char out[10];
  CHECK_MEM(out, (size_t) mg_url_decode("a+b", 3, out, 10, 1), "a b", 3);
  CHECK_MEM(out, (size_t) mg_url_decode("a+b", 3, out, 10, 0), "a+b", 3);
}
TEST(half_an_escape_is_an_error) {
  static const char *const bad[] = {"%", "%4", "a%", "%4g", "%g4", "%%41", "% 41", "%+1", "%-1"};
  char out[10];
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    char *g = mg_test_guarded(bad[i], strlen(bad[i]));
    CHECK_INT(mg_url_decode(g, strlen(bad[i]), out, sizeof(out), 0), -1);
    mg_test_unguard(g, strlen(bad[i]));
  }
  CHECK_INT(mg_url_decode("", 0, out, 1, 0), 0);
  CHECK_INT(mg_url_decode("", 0, out, 0, 0), -1);
}
TEST(variables_are_found_raw) {
  struct mg_str q = mg_str("a=1&bb=%20+&c=&d&A=2&=x");
  CHECK_STR(mg_http_var(q, mg_str("a")), "1");
  CHECK_STR(mg_http_var(q, mg_str("BB")), "%20+");
  CHECK(mg_http_var(q, mg_str("c")).buf != NULL && mg_http_var(q, mg_str("c")).len == 0);
  CHECK(mg_http_var(q, mg_str("d")).buf == NULL);
  CHECK(mg_http_var(q, mg_str("b")).buf == NULL);
  CHECK(mg_http_var(mg_str(NULL), mg_str("b")).buf == NULL);
  CHECK_STR(mg_http_var(mg_str("x=a=b"), mg_str("x")), "a=b");
}
TEST(variables_end_where_the_buffer_ends) {
  char *g = mg_test_guarded("ab&abc=1", 8);
  struct mg_str v = mg_http_var(mg_str_n(g, 8), mg_str("abc"));
  CHECK_STR(v, "1");
  CHECK(mg_http_var(mg_str_n(g, 6), mg_str("abc")).buf == NULL);
  CHECK(mg_http_var(mg_str_n(g + 6, 2), mg_str("abc")).buf == NULL);
  mg_test_unguard(g, 8);
}
TEST(variables_are_decoded_or_the_reason_is_told) {
  struct mg_str q = mg_str("a=x%20y+z&b=%4&c="), none = mg_str("");
  char out[8];
  CHECK_INT(mg_http_get_var(&q, "a", out, sizeof(out)), 5);
  CHECK_MEM(out, strlen(out), "x y z", 5);
  CHECK_INT(mg_http_get_var(&q, "c", out, sizeof(out)), 0);
  CHECK_INT(mg_http_get_var(&none, "a", out, sizeof(out)), -1);
  CHECK_INT(mg_http_get_var(NULL, "a", out, sizeof(out)), -1);
  CHECK_INT(mg_http_get_var(&q, NULL, out, sizeof(out)), -1);
  CHECK_INT(mg_http_get_var(&q, "a", NULL, 5), -2);
  CHECK_INT(mg_http_get_var(&q, "a", out, 0), -2);
  CHECK_INT(mg_http_get_var(&q, "a", out, 5), -3);
  CHECK_INT(out[0], 0);
  CHECK_INT(mg_http_get_var(&q, "b", out, sizeof(out)), -3);
  CHECK_INT(mg_http_get_var(&q, "d", out, sizeof(out)), -4);
}
CHECK_MAIN
