/* http_time.c - by hand, because strftime and strptime speak the process's language. */
#include "mongoose/codec/http_time.h"

#include <string.h>
#include <time.h>

#include "mongoose/base/clock.h"

static const char s_days[] = "SunMonTueWedThuFriSat", s_months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static char *put2(char *p, int v) {
  *p++ = (char) ('0' + v / 10);
  *p++ = (char) ('0' + v % 10);
  return p;
}

static char *put(char *p, const char *s, size_t n) {
  memcpy(p, s, n);
  return p + n;
}

void mg_http_time_write(int64_t seconds, char *to) {
  static const int64_t first = -62135596800LL, last = 253402300799LL; /* of the years 1 and 9999 */
  time_t t = (time_t) (seconds < first ? first : seconds > last ? last : seconds);
  struct tm tm;
  char *p = to;
  memset(&tm, 0, sizeof(tm));
  gmtime_r(&t, &tm);
  p = put(p, s_days + 3 * tm.tm_wday, 3);
  p = put(p, ", ", 2);
  p = put2(p, tm.tm_mday);
  *p++ = ' ';
  p = put(p, s_months + 3 * tm.tm_mon, 3);
  *p++ = ' ';
  p = put2(p, (tm.tm_year + 1900) / 100);
  p = put2(p, (tm.tm_year + 1900) % 100);
  *p++ = ' ';
  p = put2(p, tm.tm_hour);
  *p++ = ':';
  p = put2(p, tm.tm_min);
  *p++ = ':';
  p = put2(p, tm.tm_sec);
  put(p, " GMT", 4);
}

/* A pattern: letters stand for digits of a number, 'w' for the rest of a day's name, '_' for a digit or a space; all else for itself. */
static bool match(struct mg_str s, const char *pattern, struct tm *tm) {
  size_t i = 0;
  int year = 0, digits = 0;
  bool has_month = false;
  memset(tm, 0, sizeof(*tm));
  for (; *pattern != '\0'; pattern++) {
    int *field = NULL, d;
    if (*pattern == 'w') {
      size_t from = i;
      while (i < s.len && ((s.buf[i] | 32) >= 'a' && (s.buf[i] | 32) <= 'z')) i++;
      if (i - from < 3 || i - from > 9) return false;
      continue;
    }
    if (*pattern == 'm') {
      int m = 0;
      if (s.len - i < 3) return false;
      while (m < 12 && memcmp(s_months + 3 * m, s.buf + i, 3) != 0) m++;
      if (m == 12) return false;
      tm->tm_mon = m;
      has_month = true;
      i += 3;
      continue;
    }
    if (i >= s.len) return false;
    switch (*pattern) {
      case 'D': case '_': field = &tm->tm_mday; break;
      case 'Y': field = &year; digits++; break;
      case 'H': field = &tm->tm_hour; break;
      case 'N': field = &tm->tm_min; break;
      case 'S': field = &tm->tm_sec; break;
      default: break;
    }
    if (field == NULL) {
      if (s.buf[i++] != *pattern) return false;
      continue;
    }
    d = s.buf[i++] - '0';
    if (*pattern == '_' && d == ' ' - '0') d = 0;
    if (d < 0 || d > 9) return false;
    *field = *field * 10 + d;
  }
  tm->tm_year = digits == 2 ? year : year - 1900;
  return i == s.len && has_month && tm->tm_mday >= 1 && tm->tm_mday <= 31 && tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

bool mg_http_time_read(struct mg_str s, int64_t now, int64_t *seconds) {
  struct tm tm;
  if (match(s, "w, DD m YYYY HH:NN:SS GMT", &tm) || match(s, "w m _D HH:NN:SS YYYY", &tm)) {
    *seconds = mg_timegm(&tm);
    return true;
  }
  if (!match(s, "w, DD-m-YY HH:NN:SS GMT", &tm)) return false;
  tm.tm_year += 100; /* 20YY, or 19YY when that is too far ahead */
  *seconds = mg_timegm(&tm);
  if (*seconds > now + 50LL * 31556952) {
    tm.tm_year -= 100;
    *seconds = mg_timegm(&tm);
  }
  return true;
}
