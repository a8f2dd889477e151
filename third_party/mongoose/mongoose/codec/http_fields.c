/* http_fields.c - what Host, Content-Length, Transfer-Encoding, Connection, Upgrade and Expect tell about a message.
 *
 * These decide where a message ends and who it is for, so anything two readers could take differently is refused:
 * RFC 9112 6.3 and 11.2 (request smuggling).
 */
#include "mongoose/codec/http_fields.h"
#include "mongoose/codec/http_chars.h"

#define WORD(s, literal) mg_http_word((s).buf, (s).len, literal, sizeof(literal) - 1)

static int refuse(struct mg_http_parser *p, int status, const char *why) {
  p->why = why;
  return status;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

/* Cut the next element off a comma-separated list, blanks around it removed; false at the end. "" is one empty element,
 * "a," has two, the second empty: who minds looks at len. */
static bool next_element(struct mg_str *list, struct mg_str *element) {
  if (list->buf == NULL) return false;
  char *p = list->buf, *end = p + list->len, *comma = p;
  while (comma < end && *comma != ',') comma++;
  list->buf = comma < end ? comma + 1 : NULL;
  list->len = comma < end ? (size_t) (end - comma - 1) : 0;
  while (p < comma && is_blank(*p)) p++;
  while (comma > p && is_blank(comma[-1])) comma--;
  element->buf = p;
  element->len = (size_t) (comma - p);
  return true;
}

bool mg_http_is_authority(struct mg_str s) {
  const char *p = s.buf, *end = s.buf + s.len;
  if (s.len == 0) return true;
  if (*p == '[') { /* IP-literal: hex digits, ':' and '.', or a future form within the same alphabet */
    const char *from = ++p;
    while (p < end && (mg_http_is(*p, MG_HTTP_HOST) || *p == ':')) p++;
    if (p == end || *p != ']' || p == from) return false;
    p++;
  } else {
    p = mg_http_skip(p, end, MG_HTTP_HOST);
  }
  if (p == end) return true;
  if (*p++ != ':') return false;
  while (p < end && *p >= '0' && *p <= '9') p++;
  return p == end;
}

static int learn_host(struct mg_http_parser *p, struct mg_str value) {
  if (p->is_response) return 0;
  if (p->has_host) return refuse(p, 400, "more than one Host");
  p->has_host = 1;
  return mg_http_is_authority(value) ? 0 : refuse(p, 400, "illegal Host");
}

/* RFC 9110 8.6 lets a recipient fold equal values of several fields into one. It need not, and we do not. */
static int learn_length(struct mg_http_parser *p, struct mg_str value) {
  uint64_t n = 0;
  if (p->has_length) return refuse(p, 400, "more than one Content-Length");
  if (p->saw_te) return refuse(p, 400, "Content-Length with Transfer-Encoding");
  if (value.len == 0) return refuse(p, 400, "empty Content-Length");
  for (size_t i = 0; i < value.len; i++) {
    unsigned digit = (unsigned) (uint8_t) value.buf[i] - '0';
    if (digit > 9) return refuse(p, 400, "Content-Length is no number");
    if (n > ((uint64_t) INT64_MAX - digit) / 10) return refuse(p, 400, "Content-Length overflows");
    n = n * 10 + digit;
  }
  p->content_length = n;
  p->has_length = 1;
  return 0;
}

/* Only "chunked" is spoken here. The rest is sorted into codings that somebody may have meant (501) and lists
 * that no reader can end safely (400): RFC 9112 6.1 and 6.3. */
static int learn_coding(struct mg_http_parser *p, struct mg_str value) {
  struct mg_str coding;
  bool chunked = false, other = false;
  if (p->saw_te) return refuse(p, 400, "more than one Transfer-Encoding");
  if (p->has_length) return refuse(p, 400, "Transfer-Encoding with Content-Length");
  if (p->minor == 0) return refuse(p, 400, "Transfer-Encoding in HTTP/1.0");
  p->saw_te = 1;
  while (next_element(&value, &coding)) {
    const char *end = coding.buf + coding.len, *rest = mg_http_skip(coding.buf, end, MG_HTTP_TOKEN);
    struct mg_str name = {coding.buf, (size_t) (rest - coding.buf)};
    while (rest < end && is_blank(*rest)) rest++;
    if (name.len == 0 || (rest < end && *rest != ';')) return refuse(p, 400, "malformed Transfer-Encoding");
    if (chunked) return refuse(p, 400, "chunked is not the last coding");
    if (WORD(name, "chunked")) {
      if (rest < end) return refuse(p, 400, "chunked takes no parameters");
      chunked = true;
    } else {
      other = true;
    }
  }
  if (other) return refuse(p, 501, "unknown transfer coding");
  p->chunked = 1;
  return 0;
}

/* RFC 9112 9.3: "close" wins over everything, in whatever order they come. */
static int learn_connection(struct mg_http_parser *p, struct mg_str value) {
  struct mg_str option;
  while (next_element(&value, &option)) {
    if (WORD(option, "close")) {
      p->saw_close = 1;
      p->keep_alive = 0;
    } else if (WORD(option, "keep-alive")) {
      if (!p->saw_close) p->keep_alive = 1;
    } else if (WORD(option, "upgrade")) {
      p->saw_conn_upgrade = 1;
    }
  }
  return 0;
}

static int learn_expect(struct mg_http_parser *p, struct mg_str value) {
  struct mg_str element;
  if (p->is_response) return 0;
  while (next_element(&value, &element)) {
    if (WORD(element, "100-continue")) {
      if (p->minor > 0) p->expect_continue = 1; /* RFC 9110 10.1.1: ignored in HTTP/1.0 */
    } else if (element.len > 0) {
      return refuse(p, 417, "unknown expectation");
    }
  }
  return 0;
}

int mg_http_field_learn(struct mg_http_parser *p, struct mg_str name, struct mg_str value) {
  switch (name.len) {
    case 4: return WORD(name, "host") ? learn_host(p, value) : 0;
    case 6: return WORD(name, "expect") ? learn_expect(p, value) : 0;
    case 7:
      if (WORD(name, "upgrade") && value.len > 0) p->saw_upgrade = 1;
      return 0;
    case 10: return WORD(name, "connection") ? learn_connection(p, value) : 0;
    case 14: return WORD(name, "content-length") ? learn_length(p, value) : 0;
    case 17: return WORD(name, "transfer-encoding") ? learn_coding(p, value) : 0;
    default: return 0;
  }
}
