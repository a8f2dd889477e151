/* fuzz_http_cond.c - header lines of a conditional request.
 *
 * Invariant: there is an answer whatever they say, weights are 0 to 1000, and a date that was read is written as what it means.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "mongoose/codec/http_cond.h"
#include "mongoose/codec/http_time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void dates(struct mg_str s) {
  char text[MG_HTTP_TIME_LEN];
  int64_t t, back;
  if (!mg_http_time_read(s, 1800000000, &t)) return;
  mg_http_time_write(t, text);
  if (t > -62135596800LL && t < 253402300799LL && (!mg_http_time_read(mg_str_n(text, sizeof(text)), 0, &back) || back != t)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char line[] = "GET / HTTP/1.1\r\nHost: a\r\n";
  struct mg_http_message hm;
  char *text = (char *) malloc(sizeof(line) + size + 4);
  size_t n = sizeof(line) - 1;
  memcpy(text, line, n);
  memcpy(text + n, data, size);
  memcpy(text + n + size, "\r\n\r\n", 4);
  if (mg_http_parse(text, n + size + 4, &hm) > 0) {
    int q = mg_http_accepts_coding(&hm, mg_str("gzip"));
    if (q < 0 || q > 1000) abort();
    if ((int) mg_http_cond(&hm, mg_str("\"a\""), 1000000000, 1800000000) > MG_HTTP_FAILED) abort();
    for (int i = 0; i < MG_MAX_HTTP_HEADERS && hm.headers[i].name.len > 0; i++) dates(hm.headers[i].value);
  }
  dates(mg_str_n((const char *) data, size));
  free(text);
  return 0;
}
