/* compress_zlib.c - gzip (RFC 1952) by zlib. */
#include "mongoose/codec/compress_engines.h"

#if MG_ENABLE_ZLIB
#define ZLIB_CONST
#include <limits.h>
#include <zlib.h>

#include "mongoose/base/alloc.h"

enum { GZIP = 16, WINDOW = 15, MEMORY = 8 };

static void *alloc(void *arg, unsigned count, unsigned size) {
  (void) arg;
  return mg_calloc(count, size);
}

static void dealloc(void *arg, void *p) {
  (void) arg;
  mg_free(p);
}

static void *begin(int level, uint64_t size) {
  int window = WINDOW, memory = MEMORY;
  z_stream *s = (z_stream *) mg_calloc(1, sizeof(*s));
  if (s == NULL) return NULL;
  /* A small body needs no large window: 256 KiB of memory would be cleared for nothing. */
  while (size > 0 && window > 10 && size <= 1ull << (window - 1)) window--, memory = memory > 5 ? memory - 1 : memory;
  s->zalloc = alloc;
  s->zfree = dealloc;
  if (deflateInit2(s, level, Z_DEFLATED, window + GZIP, memory, Z_DEFAULT_STRATEGY) == Z_OK) return s;
  mg_free(s);
  return NULL;
}

static bool run(void *state, enum mg_compress_op op, struct mg_str in, struct mg_iobuf *out) {
  static const int how[] = {Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH};
  z_stream *s = (z_stream *) state;
  s->next_in = (const Bytef *) in.buf;
  do {
    size_t piece = in.len < UINT_MAX ? in.len : UINT_MAX, room;
    int r, flush = piece < in.len ? Z_NO_FLUSH : how[op];
    s->avail_in = (uInt) piece;
    do {
      if (!mg_iobuf_reserve(out, MG_COMPRESS_STEP)) return false;
      room = out->size - out->len;
      s->next_out = out->buf + out->len;
      s->avail_out = room < UINT_MAX ? (uInt) room : UINT_MAX;
      room = s->avail_out;
      r = deflate(s, flush);
      if (r == Z_STREAM_ERROR) return false;
      out->len += room - s->avail_out;
    } while (s->avail_out == 0); /* Z_BUF_ERROR says that there was nothing left to do */
    in.len -= piece;
  } while (in.len > 0);
  return true;
}

static void end(void *state) {
  (void) deflateEnd((z_stream *) state);
  mg_free(state);
}

const struct mg_compress_engine mg_compress_gzip = {"gzip", 1, 9, 1, begin, run, end};
#else
typedef int mg_compress_no_zlib; /* a source may not be empty */
#endif
