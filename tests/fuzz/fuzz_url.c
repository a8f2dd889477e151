/* fuzz_url.c - the input as a URL, as text to encode, as text to decode, and as a form.
 *
 * Invariant: every part of a URL lies inside it; decoding what was encoded gives it back; what was decoded is never
 * longer than it was, never written past the buffer; a form variable lies inside the form.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "mongoose/codec/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct mg_str part, const char *whole, size_t len) {
  if (part.len > 0 && (part.buf < whole || part.buf + part.len > whole + len)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *in = (const char *) data;
  char *url = (char *) malloc(size + 1), *text = (char *) malloc(3 * size + 1), *back = (char *) malloc(size + 1);
  struct mg_str form = mg_str_n(in, size), item, rest = form;
  size_t len, n;
  int got;
  memcpy(url, data, size);
  url[size] = '\0';
  len = strlen(url);
  inside(mg_url_host(url), url, len);
  inside(mg_url_user(url), url, len);
  inside(mg_url_pass(url), url, len);
  if (strcmp(mg_url_uri(url), "/") != 0) inside(mg_str(mg_url_uri(url)), url, len);
  (void) mg_url_port(url);
  (void) mg_url_is_ssl(url);

  n = mg_url_encode(in, size, text, 3 * size + 1);
  if (n < size || (size > 0 && mg_url_encode(in, size, text, n) != 0)) abort();
  mg_url_encode(in, size, text, n + 1);
  if (mg_url_decode(text, n, back, size + 1, 0) != (int) size || memcmp(back, in, size) != 0) abort();
  got = mg_url_decode(in, size, back, size + 1, 1);
  if (got < -1 || got > (int) size) abort();
  if (got > 0 && mg_url_decode(in, size, back, (size_t) got, 1) != -1) abort();

  while (mg_span(rest, &item, &rest, '&')) {
    struct mg_str name = mg_str_n(NULL, 0); /* stays that when there is nothing between two '&' */
    mg_span(item, &name, NULL, '=');
    inside(mg_http_var(form, name), in, size);
    if (item.len > 0 && name.len < item.len && mg_http_var(form, name).buf == NULL) abort();
    if (form.len > 4096) break; /* the walk is quadratic, the harness not the code */
  }
  free(url);
  free(text);
  free(back);
  return 0;
}
