/* compress_brotli.c - br (RFC 7932) by Google's brotli. */
#include "mongoose/codec/compress_engines.h"

#if MG_ENABLE_BROTLI
#include <brotli/encode.h>

#include "mongoose/base/alloc.h"

enum { WINDOW = 18 }; /* bits; the library's own default of 22 takes megabytes for each answer */

static void *alloc(void *arg, size_t size) {
  (void) arg;
  return mg_malloc(size);
}

static void dealloc(void *arg, void *p) {
  (void) arg;
  mg_free(p);
}

static void *begin(int level, uint64_t size) {
  BrotliEncoderState *s = BrotliEncoderCreateInstance(alloc, dealloc, NULL);
  if (s == NULL) return NULL;
  BrotliEncoderSetParameter(s, BROTLI_PARAM_QUALITY, (uint32_t) level);
  BrotliEncoderSetParameter(s, BROTLI_PARAM_LGWIN, WINDOW);
  if (size > 0 && size < UINT32_MAX) BrotliEncoderSetParameter(s, BROTLI_PARAM_SIZE_HINT, (uint32_t) size);
  return s;
}

static bool run(void *state, enum mg_compress_op op, struct mg_str in, struct mg_iobuf *out) {
  static const BrotliEncoderOperation how[] = {BROTLI_OPERATION_PROCESS, BROTLI_OPERATION_FLUSH, BROTLI_OPERATION_FINISH};
  BrotliEncoderState *s = (BrotliEncoderState *) state;
  const uint8_t *next = (const uint8_t *) in.buf;
  size_t left = in.len;
  do {
    size_t room, had;
    uint8_t *to;
    if (!mg_iobuf_reserve(out, MG_COMPRESS_STEP)) return false;
    had = room = out->size - out->len;
    to = out->buf + out->len;
    if (!BrotliEncoderCompressStream(s, how[op], &left, &next, &room, &to, NULL)) return false;
    out->len += had - room;
  } while (left > 0 || BrotliEncoderHasMoreOutput(s));
  return op != MG_COMPRESS_FINISH || BrotliEncoderIsFinished(s);
}

static void end(void *state) {
  BrotliEncoderDestroyInstance((BrotliEncoderState *) state);
}

const struct mg_compress_engine mg_compress_brotli = {"br", 0, 11, 3, begin, run, end};
#else
typedef int mg_compress_no_brotli; /* a source may not be empty */
#endif
