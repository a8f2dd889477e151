/* fuzz_http_parse.c - the input is a message, read as request and as response, under usual and under small limits.
 *
 * Invariant: fed whole, and fed in cuts with the buffer at a new place each time, a message gets the same answer and
 * the same slices, all inside the message; the one-shot call takes what the strict parser takes; what is accepted holds
 * no control byte, no bare CR or LF, and not both Content-Length and chunked.
 */
#include <stdlib.h>
#include <string.h>
#include "mongoose/codec/http_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)        \
  do {                    \
    if (!(cond)) abort(); \
  } while (0)

static void same_slice(struct mg_str a, const char *in_a, struct mg_str b, const char *in_b, size_t len) {
  MUST(a.len == b.len && a.buf - in_a == b.buf - in_b);
  MUST(a.buf >= in_a && (size_t) (a.buf - in_a) <= len && a.len <= len - (size_t) (a.buf - in_a));
}

static void same_message(const struct mg_http_message *a, const char *in_a, const struct mg_http_message *b,
                         const char *in_b, size_t len) {
  same_slice(a->method, in_a, b->method, in_b, len);
  same_slice(a->uri, in_a, b->uri, in_b, len);
  same_slice(a->query, in_a, b->query, in_b, len);
  same_slice(a->proto, in_a, b->proto, in_b, len);
  same_slice(a->head, in_a, b->head, in_b, len);
  for (size_t i = 0; i < MG_MAX_HTTP_HEADERS; i++) {
    MUST(a->headers[i].name.len == b->headers[i].name.len);
    if (a->headers[i].name.len == 0) break;
    same_slice(a->headers[i].name, in_a, b->headers[i].name, in_b, len);
    same_slice(a->headers[i].value, in_a, b->headers[i].value, in_b, len);
  }
}

static void clean(const char *s, size_t len) {
  for (size_t i = 0; i < len; i++) {
    if (s[i] == '\n')
      MUST(i > 0 && s[i - 1] == '\r');
    else if (s[i] == '\r')
      MUST(i + 1 < len && s[i + 1] == '\n');
    else
      MUST(s[i] == '\t' || ((uint8_t) s[i] >= 0x20 && s[i] != 0x7f));
  }
}

/* Cuts of 1 to `most` bytes; the parser sees the message at a new place every time. */
static int feed_cut(struct mg_http_parser *p, struct mg_str in, const struct mg_http_parse_limits *limits,
                    struct mg_http_message *hm, uint32_t most, char **place) {
  uint32_t random = (uint32_t) in.len;
  int got = 0;
  for (size_t end = 0; got == 0 && end < in.len;) {
    char *moved;
    random = random * 1664525u + 1013904223u;
    end += 1 + (random >> 16) % most;
    if (end > in.len) end = in.len;
    MUST((moved = (char *) malloc(end)) != NULL);
    memcpy(moved, in.buf, end);
    free(*place);
    *place = moved;
    got = mg_http_parse_head(p, (struct mg_str){moved, end}, limits, hm);
  }
  return got;
}

static void compare(struct mg_str in, bool is_response, const struct mg_http_parse_limits *limits, uint32_t most) {
  static struct mg_http_message a, b, once;
  struct mg_http_parser whole, cut;
  char *place = NULL;
  int want, got;
  memset(&whole, 0, sizeof(whole));
  whole.is_response = is_response;
  cut = whole;
  want = mg_http_parse_head(&whole, in, limits, &a);
  got = feed_cut(&cut, in, limits, &b, most, &place);
  MUST(got == want && cut.state == whole.state && cut.count == whole.count);
  if (want > 0) {
    same_message(&a, in.buf, &b, place, (size_t) want);
    clean(in.buf, (size_t) want);
    MUST(cut.content_length == whole.content_length && cut.status == whole.status &&
         cut.keep_alive == whole.keep_alive);
    MUST(!(whole.chunked && whole.has_length) && whole.chunked == cut.chunked && whole.has_length == cut.has_length);
    MUST(mg_http_get_request_len((const uint8_t *) in.buf, in.len) == want);
    MUST(mg_http_parse(in.buf, in.len, &once) == want);
    same_message(&a, in.buf, &once, in.buf, (size_t) want);
  }
  free(place);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const struct mg_http_parse_limits small = {20, 24, 120, 3};
  struct mg_str in = {(char *) data, size};
  uint32_t most = size < 2000 ? 9 : 2000;
  if (size == 0) return 0;
  compare(in, false, &mg_http_parse_defaults, most);
  compare(in, true, &mg_http_parse_defaults, most);
  compare(in, false, &small, most);
  compare(in, true, &small, most);
  (void) mg_http_get_header_var(in, (struct mg_str){in.buf, size < 3 ? size : 3});
  return 0;
}
