#include "check.h"
#include "mongoose/codec/http_time.h"

static const int64_t now = 1800000000; /* in 2027 */

TEST(dates_are_written_as_imf_fixdate) {
  static const struct {
    int64_t t;
    const char *text;
  } rows[] = {{784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, {0, "Thu, 01 Jan 1970 00:00:00 GMT"}, {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
              {-1, "Wed, 31 Dec 1969 23:59:59 GMT"}, {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"}, {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
              {INT64_MIN, "Mon, 01 Jan 0001 00:00:00 GMT"}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    char to[MG_HTTP_TIME_LEN];
    int64_t back = 0;
    mg_http_time_write(rows[i].t, to);
    CHECK_MEM(to, sizeof(to), rows[i].text, strlen(rows[i].text));
    CHECK(mg_http_time_read(mg_str_n(to, sizeof(to)), now, &back));
    if (rows[i].t > INT64_MIN && rows[i].t < INT64_MAX) CHECK_INT(back, rows[i].t);
  }
}

static int64_t read_date(const char *s) {
  size_t n = strlen(s);
  char *p = mg_test_guarded(s, n);
  int64_t t = -99;
  CHECK(mg_http_time_read(mg_str_n(p, n), now, &t) || t == -99);
  mg_test_unguard(p, n);
  return t;
}

TEST(three_forms_are_read) {
  CHECK_INT(read_date("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
  CHECK_INT(read_date("Sunday, 06-Nov-94 08:49:37 GMT"), 784111777);
  CHECK_INT(read_date("Sun Nov  6 08:49:37 1994"), 784111777);
}

TEST(a_year_with_two_digits_is_at_most_fifty_years_ahead) {
  CHECK_INT(read_date("Sunday, 06-Nov-94 08:49:37 GMT"), read_date("Sun, 06 Nov 1994 08:49:37 GMT"));
  CHECK_INT(read_date("Sunday, 06-Nov-60 08:49:37 GMT"), read_date("Sun, 06 Nov 2060 08:49:37 GMT"));
}

TEST(what_is_no_date_is_refused_at_every_cut) {
  static const char whole[] = "Sun, 06 Nov 1994 08:49:37 GMT";
  static const char *const bad[] = {"yesterday", "784111777", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 6 Nov 1994 08:49:37 GMT",
                                    "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Xxx 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 32 Nov 1994 08:49:37 GMT",
                                    "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT", "Sun,06 Nov 1994 08:49:37 GMT"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) CHECK_INT(read_date(bad[i]), -99);
  for (size_t n = 0; n + 1 < sizeof(whole); n++) {
    char cut[64] = "";
    memcpy(cut, whole, n);
    CHECK_INT(read_date(cut), -99);
  }
}

CHECK_MAIN
