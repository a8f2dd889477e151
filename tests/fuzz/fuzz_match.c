/* fuzz_match.c - the first byte is the length of the pattern; then come pattern and string.
 *
 * Invariant: matching ends, whatever the pattern; putting the captures in place of the wildcards gives the string back;
 * nothing is written beyond max_caps, and with fewer captures the answer stays the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "mongoose/base/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mg_str pattern, s, caps[257], two[2];
  size_t at = 0, w = 0;
  int n;
  if (size < 1 || data[0] > size - 1) return 0;
  pattern = mg_str_n((const char *) data + 1, data[0]);
  s = mg_str_n((const char *) data + 1 + pattern.len, size - 1 - pattern.len);
  n = mg_match_n(s, pattern, caps, 257);
  if (mg_match_n(s, pattern, two, 2) != n || mg_match(s, pattern, NULL) != (n >= 0)) abort();
  if (n < 0) return 0;
  for (size_t i = 0; i < pattern.len; i++) {
    char c = pattern.buf[i];
    if (c == '*' || c == '?' || c == '#') {
      struct mg_str cap = caps[w++];
      if (cap.buf != s.buf + at || cap.len > s.len - at) abort();
      if ((c == '?' && cap.len != 1) || (c == '*' && memchr(cap.buf, '/', cap.len) != NULL)) abort();
      at += cap.len;
    } else if (at >= s.len || s.buf[at++] != c) {
      abort();
    }
  }
  if (at != s.len || w != (size_t) n || caps[n].buf != NULL) abort();
  return 0;
}
