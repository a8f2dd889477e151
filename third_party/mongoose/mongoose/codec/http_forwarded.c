/* http_forwarded.c - RFC 7239 4: a list of sets of name=value pairs. Read from the left, since only so quotes can be told. */
#include "mongoose/codec/http_forwarded.h"

#include <string.h>

#include "mongoose/base/status.h"
#include "mongoose/codec/http_chars.h"

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

static void skip_blanks(const char **p, const char *end) {
  while (*p < end && is_blank(**p)) (*p)++;
}

static bool token(const char **p, const char *end, struct mg_str *out) {
  const char *from = *p;
  *p = mg_http_skip(from, end, MG_HTTP_TOKEN);
  *out = mg_str_n(from, (size_t) (*p - from));
  return out->len > 0;
}

static bool value(const char **p, const char *end, struct mg_str *out) {
  const char *from;
  if (*p == end || **p != '"') return token(p, end, out);
  from = ++*p;
  while (*p < end && **p != '"' && **p != '\\') (*p)++;
  if (*p == end || **p == '\\') return false;
  *out = mg_str_n(from, (size_t) (*p - from));
  (*p)++;
  return true;
}

#define IS(s, literal) mg_http_word((s).buf, (s).len, literal, sizeof(literal) - 1)

/* forwarded-pair; a parameter may be there only once. */
static bool pair(const char **p, const char *end, struct mg_forwarded *hop) {
  struct mg_str name, v, none = {NULL, 0}, *slot = &none;
  if (!token(p, end, &name) || *p == end || *(*p)++ != '=' || !value(p, end, &v)) return false;
  if (IS(name, "for")) slot = &hop->node;
  if (IS(name, "proto")) slot = &hop->proto;
  if (IS(name, "host")) slot = &hop->host;
  if (slot->buf != NULL) return false;
  *slot = v;
  return true;
}

int mg_forwarded_parse(struct mg_str s, struct mg_forwarded hops[MG_FORWARDED_HOPS]) {
  const char *p = s.buf, *end = s.buf + s.len;
  int n = 0;
  while (p < end) {
    struct mg_forwarded hop;
    bool any = false;
    memset(&hop, 0, sizeof(hop));
    for (;;) {
      skip_blanks(&p, end);
      if (p < end && *p != ';' && *p != ',') {
        if (!pair(&p, end, &hop)) return MG_EPROTO;
        any = true;
        skip_blanks(&p, end);
      }
      if (p == end || *p == ',') break;
      if (*p++ != ';') return MG_EPROTO;
    }
    if (p < end) p++; /* the comma */
    if (!any) continue; /* RFC 9110 5.6.1.2: empty elements are ignored */
    if (n == MG_FORWARDED_HOPS) memmove(hops, hops + 1, (size_t) --n * sizeof(hops[0]));
    hops[n++] = hop;
  }
  return n;
}

bool mg_list_last(struct mg_str *list, struct mg_str *element) {
  while (list->len > 0) {
    size_t end = list->len, from;
    while (end > 0 && is_blank(list->buf[end - 1])) end--;
    for (from = end; from > 0 && list->buf[from - 1] != ',';) from--;
    list->len = from > 0 ? from - 1 : 0;
    while (from < end && is_blank(list->buf[from])) from++;
    *element = mg_str_n(list->buf + from, end - from);
    if (element->len > 0) return true;
  }
  return false;
}
