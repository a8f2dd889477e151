/* compress_brotli.c - br (RFC 7932) by Google's brotli. */
#include "mongoose/codec/compress_engines.h"

#if MG_ENABLE_BROTLI
#include <brotli/encode.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include "mongoose/base/alloc.h"

enum { WINDOW = 18 }; /* bits; the library's own default of 22 takes megabytes for each answer */

/* The library, as it is usually built, ends the process when it is out of memory. So that call does not return: it jumps out of the
 * library, and what was allocated for this encoder is freed from our own list. */
struct block {
  struct block *next, **at;
  max_align_t data[];
};

struct encoder {
  BrotliEncoderState *state;
  struct block *blocks;
  bool armed, broken;
  jmp_buf out_of_memory;
};

static void *alloc(void *arg, size_t size) {
  struct encoder *e = (struct encoder *) arg;
  struct block *b = size < SIZE_MAX - sizeof(*b) ? (struct block *) mg_malloc(sizeof(*b) + size) : NULL;
  if (b == NULL && e->armed) longjmp(e->out_of_memory, 1);
  if (b == NULL) return NULL;
  b->next = e->blocks;
  b->at = &e->blocks;
  if (b->next != NULL) b->next->at = &b->next;
  e->blocks = b;
  return b->data;
}

static void dealloc(void *arg, void *p) {
  struct block *b;
  (void) arg;
  if (p == NULL) return;
  b = (struct block *) (void *) ((char *) p - offsetof(struct block, data));
  *b->at = b->next;
  if (b->next != NULL) b->next->at = b->at;
  mg_free(b);
}

static void end(void *state) {
  struct encoder *e = (struct encoder *) state;
  while (e->blocks != NULL) dealloc(e, e->blocks->data); /* the library's own account may be unfinished */
  mg_free(e);
}

static void *begin(int level, uint64_t size) {
  struct encoder *e = (struct encoder *) mg_calloc(1, sizeof(*e));
  if (e == NULL) return NULL;
  e->state = BrotliEncoderCreateInstance(alloc, dealloc, e); /* this one copes with NULL */
  if (e->state == NULL) {
    end(e);
    return NULL;
  }
  BrotliEncoderSetParameter(e->state, BROTLI_PARAM_QUALITY, (uint32_t) level);
  BrotliEncoderSetParameter(e->state, BROTLI_PARAM_LGWIN, WINDOW);
  if (size > 0 && size < UINT32_MAX) BrotliEncoderSetParameter(e->state, BROTLI_PARAM_SIZE_HINT, (uint32_t) size);
  return e;
}

static bool feed(BrotliEncoderState *s, BrotliEncoderOperation op, struct mg_str in, struct mg_iobuf *out) {
  const uint8_t *next = (const uint8_t *) in.buf;
  size_t left = in.len;
  do {
    size_t room, had;
    uint8_t *to;
    if (!mg_iobuf_reserve(out, MG_COMPRESS_STEP)) return false;
    had = room = out->size - out->len;
    to = out->buf + out->len;
    if (!BrotliEncoderCompressStream(s, op, &left, &next, &room, &to, NULL)) return false;
    out->len += had - room;
  } while (left > 0 || BrotliEncoderHasMoreOutput(s));
  return op != BROTLI_OPERATION_FINISH || BrotliEncoderIsFinished(s);
}

static bool run(void *state, enum mg_compress_op op, struct mg_str in, struct mg_iobuf *out) {
  static const BrotliEncoderOperation how[] = {BROTLI_OPERATION_PROCESS, BROTLI_OPERATION_FLUSH, BROTLI_OPERATION_FINISH};
  struct encoder *e = (struct encoder *) state;
  if (e->broken) return false;
  if (setjmp(e->out_of_memory) != 0) {
    e->armed = false;
    e->broken = true;
    return false;
  }
  e->armed = true;
  e->broken = !feed(e->state, how[op], in, out);
  e->armed = false;
  return !e->broken;
}

const struct mg_compress_engine mg_compress_brotli = {"br", 0, 11, 3, begin, run, end};
#else
typedef int mg_compress_no_brotli; /* a source may not be empty */
#endif
