/* fuzz_http_range.c - the first 8 bytes are the size, the rest is a Range field.
 *
 * Invariant: every range is some bytes, inside of the representation, behind the one before; and there are at most 16.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "mongoose/codec/http_range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mg_http_range r[MG_HTTP_RANGES];
  uint64_t whole, behind = 0;
  int n;
  if (size < 8) return 0;
  memcpy(&whole, data, 8);
  n = mg_http_ranges(mg_str_n((const char *) data + 8, size - 8), whole, r);
  if (n < -1 || n > MG_HTTP_RANGES) abort();
  for (int i = 0; i < n; i++) {
    if (r[i].len == 0 || r[i].from < behind || r[i].from >= whole || r[i].len > whole - r[i].from) abort();
    behind = r[i].from + r[i].len;
  }
  return 0;
}
