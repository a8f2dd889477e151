/* clock.h - what time it is: a clock that only goes forward, for deadlines, and the one on the wall.
 * A build with MG_ENABLE_CUSTOM_MILLIS brings its own mg_millis.
 */
#pragma once
#include <stdint.h>
#include <time.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

uint64_t mg_millis(void); /* of a monotonic clock */
uint64_t mg_nanos(void);  /* of the same clock */

/* Milliseconds since 1970. With mg_boot_timestamp_ms set (wall clock minus mg_millis(), by a program that trusts SNTP
 * more than its host) it is that plus mg_millis(). Written by one thread, before others look. */
uint64_t mg_now(void);
extern uint64_t mg_boot_timestamp_ms;

/* Seconds since 1970 of a date in UTC; fields out of range are carried on (month 12 is January of the next year).
 * tm_wday, tm_yday and tm_isdst are not read. */
int64_t mg_timegm(const struct tm *tm);

MG_END_DECLS
