/* http_range.c - "bytes=" 1#( first "-" [ last ] | "-" suffix ), read to its end before anything of it is believed. */
#include "mongoose/codec/http_range.h"

#include <string.h>
#include <strings.h>

static bool digits(const char **p, const char *end, uint64_t *v) {
  const char *from = *p;
  for (*v = 0; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
    uint64_t d = (uint64_t) (**p - '0');
    *v = *v > (UINT64_MAX - d) / 10 ? UINT64_MAX : *v * 10 + d; /* beyond any file: the end */
  }
  return *p > from;
}

static void skip_space(const char **p, const char *end) {
  while (*p < end && (**p == ' ' || **p == '\t')) (*p)++;
}

/* One range-spec. False: malformed. len 0: beyond the representation. */
static bool one(const char **p, const char *end, uint64_t size, struct mg_http_range *r) {
  uint64_t first, last = UINT64_MAX;
  if (*p < end && **p == '-') {
    (*p)++;
    if (!digits(p, end, &last)) return false;
    r->len = last < size ? last : size;
    r->from = size - r->len;
    return true;
  }
  if (!digits(p, end, &first) || *p == end || **p != '-') return false;
  (*p)++;
  if (*p < end && **p >= '0' && **p <= '9' && (!digits(p, end, &last) || last < first)) return false;
  r->from = first;
  r->len = 0;
  if (first < size) r->len = last - first < size - first ? last - first + 1 : size - first;
  return true;
}

static bool suffix_is_some(const char *p, const char *end) {
  uint64_t n;
  return digits(&p, end, &n) && n > 0;
}

int mg_http_ranges(struct mg_str field, uint64_t size, struct mg_http_range *out) {
  const char *p = field.buf, *end = field.buf + field.len;
  uint64_t behind = 0; /* end of the range before */
  int n = 0, seen = 0;
  bool empty = false; /* a suffix of nothing: it is satisfied, by all there is (14.1.2) */
  bool in_order = true;
  if (field.len < 6 || strncasecmp(p, "bytes=", 6) != 0) return 0;
  p += 6;
  for (;;) {
    struct mg_http_range r;
    skip_space(&p, end);
    if (p < end && *p == ',') { /* RFC 9110 5.6.1: empty elements are nothing */
      p++;
      continue;
    }
    if (p == end) break;
    empty = empty || (size == 0 && *p == '-' && suffix_is_some(p + 1, end));
    if (!one(&p, end, size, &r)) return 0;
    skip_space(&p, end);
    if (p < end && *p != ',') return 0;
    if (++seen > MG_HTTP_RANGES) in_order = false;
    if (r.len == 0) continue;
    if (n > 0 && r.from < behind) in_order = false;
    behind = r.from + r.len;
    if (n < MG_HTTP_RANGES) out[n] = r;
    n++;
  }
  if (seen == 0 || !in_order || empty) return 0;
  return n > 0 ? n : -1;
}
