/* test_clock.c - the monotonic clock, the wall clock and the calendar. Durations are not tested. */
#include "check.h"
#include "mongoose/base/clock.h"

TEST(the_monotonic_clock_never_goes_back) {
  uint64_t last = mg_nanos();
  for (int i = 0; i < 10000; i++) {
    uint64_t now = mg_nanos();
    CHECK(now >= last);
    last = now;
  }
  uint64_t a = mg_nanos() / 1000000U, b = mg_millis(), c = mg_nanos() / 1000000U;
  CHECK(a <= b && b <= c);
}
TEST(now_is_the_wall_clock_or_what_the_program_trusts) {
  uint64_t a = (uint64_t) time(NULL), b = mg_now() / 1000U + 1, c = (uint64_t) time(NULL) + 1;
  CHECK(a <= b && b <= c + 1); /* time() may lag behind the clock by a tick */
  mg_boot_timestamp_ms = 1000000000000ULL;
  uint64_t low = mg_boot_timestamp_ms + mg_millis(), now = mg_now();
  CHECK(low <= now && now <= mg_boot_timestamp_ms + mg_millis());
  mg_boot_timestamp_ms = 0;
}
TEST(dates_become_seconds) {
  struct tm t = {.tm_year = 70, .tm_mday = 1};
  CHECK_INT(mg_timegm(&t), 0);
  t = (struct tm) {.tm_year = 100, .tm_mon = 1, .tm_mday = 29, .tm_hour = 23, .tm_min = 59, .tm_sec = 60};
  CHECK_INT(mg_timegm(&t), 951868800); /* 2000-03-01 00:00:00 */
  t = (struct tm) {.tm_year = 69, .tm_mon = 11, .tm_mday = 31, .tm_hour = 23, .tm_min = 59, .tm_sec = 59};
  CHECK_INT(mg_timegm(&t), -1);
  t = (struct tm) {.tm_year = 68, .tm_mon = 24, .tm_mday = 1}; /* month 24 of 1968 is January 1970 */
  CHECK_INT(mg_timegm(&t), 0);
  t = (struct tm) {.tm_year = 71, .tm_mon = -12, .tm_mday = 1};
  CHECK_INT(mg_timegm(&t), 0);
}
TEST(every_day_of_a_millennium_comes_back_from_gmtime) {
  for (int64_t day = -180000; day < 180000; day++) {
    time_t at = (time_t) (day * 86400 + 12345);
    struct tm t;
    gmtime_r(&at, &t);
    if (mg_timegm(&t) != at) {
      CHECK_INT(mg_timegm(&t), at);
      return;
    }
  }
}
CHECK_MAIN
