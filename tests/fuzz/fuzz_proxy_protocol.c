/* fuzz_proxy_protocol.c - the input is the beginning of a connection.
 *
 * Invariant: cut anywhere, the parser asks for more until the byte that decides, and decides the same; the header ends inside the input,
 * and so do the slices it found.
 */
#include <stdlib.h>
#include <string.h>
#include "mongoose/base/status.h"
#include "mongoose/codec/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static void must_lie_inside(struct mg_str s, const char *from, ptrdiff_t len) {
  MUST(s.len == 0 || (s.buf >= from && s.buf + s.len <= from + len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mg_proxy_header h;
  char *copy = (char *) malloc(size + 1);
  ptrdiff_t whole, n;
  size_t cut;
  MUST(copy != NULL);
  if (size > 0) memcpy(copy, data, size);
  whole = mg_proxy_parse(mg_str_n(copy, size), &h);
  MUST(whole <= (ptrdiff_t) size && (whole >= 0 || whole == MG_EPROTO));
  if (whole > 0) {
    must_lie_inside(h.authority, copy, whole);
    must_lie_inside(h.unique_id, copy, whole);
    must_lie_inside(h.src_path, copy, whole);
    must_lie_inside(h.dst_path, copy, whole);
  }
  for (cut = 0; cut < size && cut < 300; cut++) {
    n = mg_proxy_parse(mg_str_n(copy, cut), &h);
    MUST(n == 0 || n == whole);
    MUST(n != 0 || mg_proxy_wants(mg_str_n(copy, cut)) > cut || whole < 0);
  }
  free(copy);
  return 0;
}
