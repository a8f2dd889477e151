/* fuzz_http_chunked.c - the input is a body in the chunked coding.
 *
 * Invariant: whole or in cuts, the payload, the end and the refusal are the same; a call takes at least one byte
 * and never more than it was given; payload lies inside the input and never exceeds it.
 */
#include <stdlib.h>
#include <string.h>
#include "mongoose/base/status.h"
#include "mongoose/codec/http_chunked.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)        \
  do {                    \
    if (!(cond)) abort(); \
  } while (0)

struct outcome {
  ptrdiff_t status;
  size_t used, len;
  char *payload;
  int done;
};

/* Pieces of 1 to `most` bytes, each in a block of its exact size. */
static struct outcome decode(const char *bytes, size_t len, size_t most, uint32_t random) {
  struct mg_http_chunked c = {0};
  struct outcome o = {0, 0, 0, (char *) malloc(len + 1), 0};
  MUST(o.payload != NULL);
  while (o.used < len && !c.done && o.status == 0) {
    random = random * 1664525u + 1013904223u;
    size_t n = most >= len ? len - o.used : 1 + (random >> 16) % most;
    if (n > len - o.used) n = len - o.used;
    char *copy = (char *) malloc(n);
    MUST(copy != NULL);
    memcpy(copy, bytes + o.used, n);
    for (size_t at = 0; at < n && !c.done && o.status == 0;) {
      struct mg_str in = {copy + at, n - at}, body;
      ptrdiff_t took = mg_http_chunked_feed(&c, in, &body);
      MUST(took > 0 || took == MG_EPROTO || took == MG_ETOOBIG);
      if (took < 0) {
        o.status = took;
        break;
      }
      MUST((size_t) took <= in.len && body.buf >= in.buf && body.buf + body.len <= in.buf + took &&
           o.len + body.len <= len);
      memcpy(o.payload + o.len, body.buf, body.len);
      o.len += body.len;
      at += (size_t) took;
      o.used += (size_t) took;
    }
    free(copy);
  }
  o.done = c.done;
  return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const size_t cuts[] = {1, 30};
  struct outcome whole = decode((const char *) data, size, size, 0);
  for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
    struct outcome cut = decode((const char *) data, size, cuts[i], (uint32_t) size);
    MUST(whole.status == cut.status && whole.done == cut.done);
    MUST(whole.status != 0 || whole.used == cut.used); /* a refusing call takes nothing */
    MUST(whole.len == cut.len && memcmp(whole.payload, cut.payload, whole.len) == 0);
    free(cut.payload);
  }
  free(whole.payload);
  return 0;
}
