/* fuzz_http_forwarded.c - the input is the value of a Forwarded field, and of a plain list.
 *
 * Invariant: slices lie inside the input and have no quotes at their ends; the list is gone through in as many steps as it has commas.
 */
#include <stdlib.h>
#include <string.h>
#include "mongoose/base/status.h"
#include "mongoose/codec/compress.h"
#include "mongoose/codec/http_forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static void inside(struct mg_str s, struct mg_str in) {
  MUST(s.len == 0 || (s.buf >= in.buf && s.buf + s.len <= in.buf + in.len && s.buf[0] != '"' && s.buf[s.len - 1] != '"'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mg_forwarded hops[MG_FORWARDED_HOPS];
  struct mg_accept_coding accept;
  char *copy = (char *) malloc(size + (size == 0));
  struct mg_str in = {copy, size}, rest = in, item;
  size_t commas = 1, i;
  int n, k;
  MUST(copy != NULL);
  if (size > 0) memcpy(copy, data, size);
  n = mg_forwarded_parse(in, hops);
  MUST(n == MG_EPROTO || (n >= 0 && n <= MG_FORWARDED_HOPS));
  for (k = 0; k < n; k++) {
    inside(hops[k].node, in);
    inside(hops[k].proto, in);
    inside(hops[k].host, in);
  }
  for (i = 0; i < size; i++) commas += copy[i] == ',';
  while (mg_list_last(&rest, &item)) MUST(item.len > 0 && commas-- > 0);
  memset(&accept, 0, sizeof(accept));
  mg_accept_coding(&accept, in);
  for (k = 0; k < MG_CODINGS; k++) MUST(accept.q[k] <= 1000);
  free(copy);
  return 0;
}
