/* clock.c - two system clocks and the calendar; no time zone takes part. */
#include "mongoose/base/clock.h"

uint64_t mg_boot_timestamp_ms;

uint64_t mg_nanos(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * 1000000000U + (uint64_t) t.tv_nsec;
}

#if !defined(MG_ENABLE_CUSTOM_MILLIS) || !MG_ENABLE_CUSTOM_MILLIS
uint64_t mg_millis(void) {
  return mg_nanos() / 1000000U;
}
#endif

uint64_t mg_now(void) {
  struct timespec t;
  uint64_t boot = __atomic_load_n(&mg_boot_timestamp_ms, __ATOMIC_RELAXED);
  if (boot != 0) return boot + mg_millis();
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t) t.tv_sec * 1000U + (uint64_t) t.tv_nsec / 1000000U;
}

/* Days in the proleptic Gregorian calendar, with years that begin in March so that the leap day comes last. */
static int64_t days_since_1970(int64_t year, int64_t month /* 0 is January */) {
  int64_t y = year + (month < 2 ? -1 : 0), m = (month + 10) % 12;
  int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
  return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + (153 * m + 2) / 5 - 719468;
}

int64_t mg_timegm(const struct tm *tm) {
  int64_t year = (int64_t) tm->tm_year + 1900 + tm->tm_mon / 12, month = tm->tm_mon % 12;
  if (month < 0) year--, month += 12;
  return ((days_since_1970(year, month) + tm->tm_mday - 1) * 24 + tm->tm_hour) * 3600 + (int64_t) tm->tm_min * 60 +
         tm->tm_sec;
}
