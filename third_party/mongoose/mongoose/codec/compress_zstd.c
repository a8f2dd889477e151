/* compress_zstd.c - zstd (RFC 8878) by Facebook's zstd. */
#include "mongoose/codec/compress_engines.h"

#if MG_ENABLE_ZSTD
#include <zstd.h>

/* RFC 9659: a decoder of the web need not have a window of more than 8 MiB; less memory here is the better reason. */
enum { WINDOW = 18 };

static void *begin(int level, uint64_t size) {
  ZSTD_CCtx *s = ZSTD_createCCtx();
  if (s == NULL) return NULL;
  if (ZSTD_isError(ZSTD_CCtx_setParameter(s, ZSTD_c_compressionLevel, level)) ||
      ZSTD_isError(ZSTD_CCtx_setParameter(s, ZSTD_c_windowLog, WINDOW)) ||
      (size > 0 && ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(s, size)))) {
    ZSTD_freeCCtx(s);
    return NULL;
  }
  return s;
}

static bool run(void *state, enum mg_compress_op op, struct mg_str in, struct mg_iobuf *out) {
  static const ZSTD_EndDirective how[] = {ZSTD_e_continue, ZSTD_e_flush, ZSTD_e_end};
  ZSTD_CCtx *s = (ZSTD_CCtx *) state;
  ZSTD_inBuffer from = {in.buf, in.len, 0};
  size_t left;
  do {
    ZSTD_outBuffer to;
    if (!mg_iobuf_reserve(out, MG_COMPRESS_STEP)) return false;
    to.dst = out->buf + out->len;
    to.size = out->size - out->len;
    to.pos = 0;
    left = ZSTD_compressStream2(s, &to, &from, how[op]);
    if (ZSTD_isError(left)) return false;
    out->len += to.pos;
  } while (op == MG_COMPRESS_MORE ? from.pos < from.size : left > 0);
  return true;
}

static void end(void *state) {
  ZSTD_freeCCtx((ZSTD_CCtx *) state);
}

const struct mg_compress_engine mg_compress_zstd = {"zstd", 1, 19, 1, begin, run, end};
#else
typedef int mg_compress_no_zstd; /* a source may not be empty */
#endif
