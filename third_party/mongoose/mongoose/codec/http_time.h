/* http_time.h - dates in header fields (RFC 9110 5.6.7): one form is written, three are read. */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

enum { MG_HTTP_TIME_LEN = 29 }; /* "Sun, 06 Nov 1994 08:49:37 GMT" */

/* Seconds since 1970 as IMF-fixdate, MG_HTTP_TIME_LEN bytes and no NUL. Years outside 1..9999 are taken to the nearer end. */
void mg_http_time_write(int64_t seconds, char *to);

/* IMF-fixdate, the form of RFC 850 and that of asctime. False for anything else: such a field is to be ignored.
 * `now` decides the century of a year with two digits (more than 50 years ahead means the past). */
bool mg_http_time_read(struct mg_str text, int64_t now, int64_t *seconds);

MG_END_DECLS
