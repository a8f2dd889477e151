/* http_cond.c - lists of entity tags, dates and q-values, straight from the message: nothing is copied. */
#include "mongoose/codec/http_cond.h"

#include <string.h>
#include <strings.h>

#include "mongoose/codec/http_time.h"

static bool named(struct mg_str s, const char *name, size_t n) {
  return s.len == n && strncasecmp(s.buf, name, n) == 0;
}

#define FOR_FIELDS(hm, h) \
  for (const struct mg_http_header *h = (hm)->headers; h < (hm)->headers + MG_MAX_HTTP_HEADERS && h->name.len > 0; h++)

const struct mg_str *mg_http_only_field(const struct mg_http_message *hm, const char *name) {
  const struct mg_str *found = NULL;
  size_t n = strlen(name);
  FOR_FIELDS(hm, h) {
    if (!named(h->name, name, n)) continue;
    if (found != NULL) return NULL;
    found = &h->value;
  }
  return found;
}

/* RFC 9110 8.8.3: [ W/ ] DQUOTE *etagc DQUOTE at *p, which moves behind it. False: malformed. */
static bool next_tag(const char **p, const char *end, struct mg_str *tag, bool *weak) {
  const char *from = *p, *q;
  *weak = end - from >= 2 && from[0] == 'W' && from[1] == '/';
  if (*weak) from += 2;
  if (from == end || *from != '"') return false;
  q = (const char *) memchr(from + 1, '"', (size_t) (end - from - 1));
  if (q == NULL) return false;
  *tag = mg_str_n(from, (size_t) (q + 1 - from));
  *p = q + 1;
  return true;
}

/* Is `etag`, a strong one, in the list? "*" is any. */
static bool lists_tag(struct mg_str list, struct mg_str etag, bool strongly) {
  const char *p = list.buf, *end = list.buf + list.len;
  if (list.len == 1 && *p == '*') return true;
  while (p < end) {
    struct mg_str tag;
    bool weak;
    if (*p == ' ' || *p == '\t' || *p == ',') {
      p++;
      continue;
    }
    if (!next_tag(&p, end, &tag, &weak)) return false;
    if (!(weak && strongly) && mg_strcmp(tag, etag) == 0) return true;
  }
  return false;
}

/* RFC 9110 13.1.5: a tag must match strongly, a date exactly; and a date is strong only when the file cannot have changed again within
 * the second it names (8.8.2.2). */
static bool range_applies(struct mg_str value, struct mg_str etag, int64_t modified, int64_t now) {
  int64_t date;
  if (value.len > 0 && (value.buf[0] == '"' || value.buf[0] == 'W')) {
    const char *p = value.buf;
    struct mg_str tag;
    bool weak;
    return next_tag(&p, value.buf + value.len, &tag, &weak) && p == value.buf + value.len && !weak && mg_strcmp(tag, etag) == 0;
  }
  return mg_http_time_read(value, now, &date) && date == modified && modified < now;
}

struct preconditions {
  bool has_match, match, has_none, none, has_range;
  const struct mg_str *modified_since, *unmodified_since, *if_range;
};

static void look(const struct mg_http_message *hm, struct mg_str etag, struct preconditions *c) {
  memset(c, 0, sizeof(*c));
  FOR_FIELDS(hm, h) {
    struct mg_str name = h->name;
    if ((name.buf[0] | 32) == 'r') {
      c->has_range = c->has_range || named(name, "Range", 5);
    } else if (name.len < 8 || (name.buf[0] | 32) != 'i' || (name.buf[1] | 32) != 'f' || name.buf[2] != '-') {
      continue;
    } else if (named(name, "If-Match", 8)) {
      c->has_match = true;
      c->match = c->match || lists_tag(h->value, etag, true);
    } else if (named(name, "If-None-Match", 13)) {
      c->has_none = true;
      c->none = c->none || lists_tag(h->value, etag, false);
    } else if (named(name, "If-Modified-Since", 17)) {
      c->modified_since = &h->value;
    } else if (named(name, "If-Unmodified-Since", 19)) {
      c->unmodified_since = &h->value;
    } else if (named(name, "If-Range", 8)) {
      c->if_range = &h->value;
    }
  }
}

enum mg_http_cond mg_http_cond(const struct mg_http_message *hm, struct mg_str etag, int64_t modified, int64_t now) {
  struct preconditions c;
  int64_t date;
  look(hm, etag, &c);
  if (c.has_match) { /* step 1 */
    if (!c.match) return MG_HTTP_FAILED;
  } else if (c.unmodified_since != NULL && mg_http_time_read(*c.unmodified_since, now, &date)) { /* step 2 */
    if (modified > date) return MG_HTTP_FAILED;
  }
  if (c.has_none) { /* step 3 */
    if (c.none) return MG_HTTP_NOT_MODIFIED;
  } else if (c.modified_since != NULL && mg_http_time_read(*c.modified_since, now, &date)) { /* step 4 */
    if (modified <= date) return MG_HTTP_NOT_MODIFIED;
  }
  if (c.if_range != NULL && c.has_range && !range_applies(*c.if_range, etag, modified, now)) return MG_HTTP_SEND_WHOLE; /* step 5 */
  return MG_HTTP_SEND;
}

/* ---- Accept-Encoding ---- */

/* RFC 9110 12.4.2: "0" [ "." *3digit ] | "1" [ "." *3"0" ], in thousandths. Anything else counts as 0: do not send what may be refused. */
static int weight(struct mg_str s) {
  int v, scale = 100;
  size_t i;
  if (s.len == 0 || s.len > 5 || (s.buf[0] != '0' && s.buf[0] != '1') || (s.len > 1 && s.buf[1] != '.')) return 0;
  v = s.buf[0] == '1' ? 1000 : 0;
  for (i = 2; i < s.len; i++, scale /= 10) {
    if (s.buf[i] < '0' || s.buf[i] > '9') return 0;
    v += (s.buf[i] - '0') * scale;
  }
  return v > 1000 ? 0 : v;
}

static struct mg_str trimmed(struct mg_str s) {
  while (s.len > 0 && (*s.buf == ' ' || *s.buf == '\t')) s.buf++, s.len--;
  while (s.len > 0 && (s.buf[s.len - 1] == ' ' || s.buf[s.len - 1] == '\t')) s.len--;
  return s;
}

int mg_http_accepts_coding(const struct mg_http_message *hm, struct mg_str coding) {
  int exact = -1, star = -1;
  bool identity = mg_strcmp(coding, mg_str_n("identity", 8)) == 0;
  FOR_FIELDS(hm, h) {
    struct mg_str rest = h->value, item;
    if (!named(h->name, "Accept-Encoding", 15)) continue;
    while (mg_span(rest, &item, &rest, ',')) {
      struct mg_str name, params = {NULL, 0}, param;
      int q = 1000;
      if (!mg_span(item, &name, &params, ';')) continue;
      while (mg_span(params, &param, &params, ';')) {
        param = trimmed(param);
        if (param.len >= 2 && (param.buf[0] | 32) == 'q' && param.buf[1] == '=') q = weight(mg_str_n(param.buf + 2, param.len - 2));
      }
      name = trimmed(name);
      if (named(name, coding.buf, coding.len) || (coding.len == 4 && named(coding, "gzip", 4) && named(name, "x-gzip", 6))) {
        exact = q;
      } else if (name.len == 1 && *name.buf == '*') {
        star = q;
      }
    }
  }
  if (exact >= 0) return exact;
  if (star >= 0) return star;
  return identity ? 1 : 0;
}
