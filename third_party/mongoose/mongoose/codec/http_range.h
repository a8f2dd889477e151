/* http_range.h - which bytes a Range field asks for (RFC 9110 14.1.2, 14.2). */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

enum { MG_HTTP_RANGES = 16 }; /* more in one request, and it gets the whole: that many are an attack or a mistake */

struct mg_http_range {
  uint64_t from, len; /* len > 0 */
};

/* Number of ranges (1..MG_HTTP_RANGES) of a representation of `size` bytes; 0: the field says nothing that we follow (another unit, a
 * malformed set, too many, not ascending, overlapping), so send the whole; -1: none of them lies in it, answer 416. */
int mg_http_ranges(struct mg_str field, uint64_t size, struct mg_http_range *out);

MG_END_DECLS
