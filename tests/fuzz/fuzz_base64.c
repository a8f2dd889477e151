/* fuzz_base64.c - the input as bytes to encode, and as text to decode.
 *
 * Invariant: encoding and decoding gives the bytes back; a text that decodes is exactly what encodes to it (one text
 * per value); buffers one byte too small give 0.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "mongoose/base/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const uint8_t *data, size_t size, size_t (*enc)(const unsigned char *, size_t, char *, size_t),
                  size_t (*dec)(const char *, size_t, char *, size_t)) {
  size_t room = (size + 2) / 3 * 4 + 1, n, m;
  char *text = (char *) malloc(room), *back = (char *) malloc(room);
  n = enc(data, size, text, room);
  if (size > 0 && (n == 0 || dec(text, n, back, size) != 0 || dec(text, n, back, size + 1) != size)) abort();
  if (memcmp(back, data, size) != 0) abort();
  if (size > 0 && enc(data, size, text, n) != 0) abort();
  m = dec((const char *) data, size, back, room);
  if (m > 0 && (enc((unsigned char *) back, m, text, room) != size || memcmp(text, data, size) != 0)) abort();
  free(text);
  free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  check(data, size, mg_base64_encode, mg_base64_decode);
  check(data, size, mg_base64url_encode, mg_base64url_decode);
  return 0;
}
