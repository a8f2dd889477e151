#include "check.h"
#include "mongoose/codec/http_cond.h"

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
enum { MODIFIED = 784111777 };
#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"
#define OLDER "Sun, 06 Nov 1994 08:49:36 GMT"
#define NEWER "Sun, 06 Nov 1994 08:49:38 GMT"

static char text[1024];
static struct mg_http_message hm;

static const struct mg_http_message *request(const char *fields) {
  snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
  CHECK(mg_http_parse(text, strlen(text), &hm) > 0);
  return &hm;
}

static int cond(const char *fields) {
  return (int) mg_http_cond(request(fields), mg_str("\"a\""), MODIFIED, MODIFIED + 100);
}

TEST(without_preconditions_it_is_sent) {
  CHECK_INT(cond(""), MG_HTTP_SEND);
  CHECK_INT(cond("Range: bytes=0-1\r\nIf: x\r\nIf-: x\r\n"), MG_HTTP_SEND);
}

TEST(a_tag_that_matches_weakly_is_not_modified) {
  CHECK_INT(cond("If-None-Match: \"a\"\r\n"), MG_HTTP_NOT_MODIFIED);
  CHECK_INT(cond("if-none-match: W/\"a\"\r\n"), MG_HTTP_NOT_MODIFIED);
  CHECK_INT(cond("If-None-Match: \"b\" , \"a\"\r\n"), MG_HTTP_NOT_MODIFIED);
  CHECK_INT(cond("If-None-Match: \"b\"\r\nIf-None-Match: \"a\"\r\n"), MG_HTTP_NOT_MODIFIED);
  CHECK_INT(cond("If-None-Match: *\r\n"), MG_HTTP_NOT_MODIFIED);
  CHECK_INT(cond("If-None-Match: \"b\"\r\n"), MG_HTTP_SEND);
  CHECK_INT(cond("If-None-Match: \"b, \"a\r\n"), MG_HTTP_SEND);
  CHECK_INT(cond("If-None-Match: a\r\n"), MG_HTTP_SEND);
  CHECK_INT(cond("If-None-Match: \"\r\n"), MG_HTTP_SEND);
  CHECK_INT(cond("If-None-Match: W/\r\n"), MG_HTTP_SEND);
}

TEST(a_tag_in_if_match_must_match_strongly) {
  CHECK_INT(cond("If-Match: \"a\"\r\n"), MG_HTTP_SEND);
  CHECK_INT(cond("If-Match: *\r\n"), MG_HTTP_SEND);
  CHECK_INT(cond("If-Match: W/\"a\"\r\n"), MG_HTTP_FAILED);
  CHECK_INT(cond("If-Match: \"b\"\r\n"), MG_HTTP_FAILED);
  CHECK_INT(cond("If-Match: \"b\"\r\nIf-None-Match: \"a\"\r\n"), MG_HTTP_FAILED);
}

TEST(dates_count_only_without_tags) {
  CHECK_INT(cond("If-Modified-Since: " DATE "\r\n"), MG_HTTP_NOT_MODIFIED);
  CHECK_INT(cond("If-Modified-Since: " NEWER "\r\n"), MG_HTTP_NOT_MODIFIED);
  CHECK_INT(cond("If-Modified-Since: " OLDER "\r\n"), MG_HTTP_SEND);
  CHECK_INT(cond("If-Modified-Since: never\r\n"), MG_HTTP_SEND);
  CHECK_INT(cond("If-Modified-Since: " DATE "\r\nIf-None-Match: \"b\"\r\n"), MG_HTTP_SEND);
  CHECK_INT(cond("If-Unmodified-Since: " DATE "\r\n"), MG_HTTP_SEND);
  CHECK_INT(cond("If-Unmodified-Since: " OLDER "\r\n"), MG_HTTP_FAILED);
  CHECK_INT(cond("If-Unmodified-Since: " OLDER "\r\nIf-Match: \"a\"\r\n"), MG_HTTP_SEND);
}

TEST(if_range_decides_about_the_range_alone) {
  CHECK_INT(cond("Range: bytes=0-1\r\nIf-Range: \"a\"\r\n"), MG_HTTP_SEND);
  CHECK_INT(cond("Range: bytes=0-1\r\nIf-Range: W/\"a\"\r\n"), MG_HTTP_SEND_WHOLE);
  CHECK_INT(cond("Range: bytes=0-1\r\nIf-Range: \"a\", \"b\"\r\n"), MG_HTTP_SEND_WHOLE);
  CHECK_INT(cond("Range: bytes=0-1\r\nIf-Range: " DATE "\r\n"), MG_HTTP_SEND);
  CHECK_INT(cond("Range: bytes=0-1\r\nIf-Range: " NEWER "\r\n"), MG_HTTP_SEND_WHOLE);
  CHECK_INT(cond("If-Range: \"b\"\r\n"), MG_HTTP_SEND);
  /* The file could change once more within this very second. */
  CHECK_INT(mg_http_cond(request("Range: bytes=0-1\r\nIf-Range: " DATE "\r\n"), mg_str("\"a\""), MODIFIED, MODIFIED), MG_HTTP_SEND_WHOLE);
}

static int accepts(const char *field, const char *coding) {
  char line[256];
  snprintf(line, sizeof(line), "Accept-Encoding: %s\r\n", field);
  return mg_http_accepts_coding(request(line), mg_str(coding));
}

TEST(codings_have_weights) {
  CHECK_INT(accepts("gzip", "gzip"), 1000);
  CHECK_INT(accepts("x-GZIP", "gzip"), 1000);
  CHECK_INT(accepts("gzip", "br"), 0);
  CHECK_INT(accepts("gzip;q=0.5, br ; Q=0.125", "br"), 125);
  CHECK_INT(accepts("*;q=0.3, br", "gzip"), 300);
  CHECK_INT(accepts("*, br;q=0", "br"), 0);
  CHECK_INT(accepts("gzip;q=1.001", "gzip"), 0);
  CHECK_INT(accepts("gzip;q=x", "gzip"), 0);
  CHECK_INT(accepts("gzip;q=1.000;x=y", "gzip"), 1000);
  CHECK_INT(accepts("gzip", "identity"), 1);
  CHECK_INT(accepts("gzip, identity;q=0.9", "identity"), 900);
  CHECK_INT(accepts("*;q=0", "identity"), 0);
  CHECK_INT(mg_http_accepts_coding(request(""), mg_str("gzip")), 0);
  CHECK_INT(mg_http_accepts_coding(request("Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n"), mg_str("gzip")), 1000);
}

TEST(a_field_that_comes_twice_is_not_the_only_one) {
  CHECK(mg_http_only_field(request("Range: a\r\nRange: b\r\n"), "Range") == NULL);
  CHECK(mg_http_only_field(request("Rang: a\r\n"), "Range") == NULL);
  CHECK_STR(*mg_http_only_field(request("rANGE: a\r\n"), "Range"), "a");
}

CHECK_MAIN
