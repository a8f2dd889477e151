/* fuzz_json.c - the first byte is the length of a path, then come path and document.
 *
 * Invariant: whatever the bytes, every skipper gives the same answer; a value found lies inside the document and is
 * found again, with the same length, as the whole of itself; walking with mg_json_next goes forward and ends; typed
 * getters return.
 */
#include <stdlib.h>
#include <string.h>
#include "mongoose/base/alloc.h"
#include "mongoose/codec/json_skip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1 || data[0] > size - 1) return 0;
  struct mg_str path = {(char *) data + 1, data[0]}, json = {(char *) data + 1 + data[0], size - 1 - data[0]},
                root = {(char *) "$", 1};
  struct mg_str key, val;
  ptrdiff_t pos = 0, p;
  size_t len = 0, n, ofs = 0, next;
  for (size_t i = 0; mg_json_skipper_at(i) != NULL; i++) {
    mg_json_skipper_use(mg_json_skipper_at(i));
    p = mg_json_find(json, path, &n);
    if (i > 0 && (p != pos || n != len)) abort();
    pos = p, len = n;
  }
  if (pos >= 0) {
    struct mg_str tok = {json.buf + pos, len};
    if (len < 1 || (size_t) pos > json.len || len > json.len - (size_t) pos) abort();
    if (mg_json_find(tok, root, &n) != 0 || n != len) abort();
    json = tok;
  }
  while ((next = mg_json_next(json, ofs, &key, &val)) > 0) {
    if (next <= ofs || next > json.len || val.buf + val.len != json.buf + next) abort();
    ofs = next;
  }
  double d;
  char *s = mg_json_get_str_n(json, "$", &n), *h = mg_json_get_hex(json, "$", NULL),
       *b = mg_json_get_b64(json, "$", NULL);
  if (s != NULL && (n > json.len || s[n] != '\0')) abort();
  if (mg_json_get_num(json, "$", &d) && d != d) abort();
  (void) mg_json_get_long(json, "$", 0);
  mg_free(s), mg_free(h), mg_free(b);
  return 0;
}
