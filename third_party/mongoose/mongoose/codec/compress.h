/* compress.h - content codings for answers: gzip, br and zstd, each when its library was found by the build.
 *
 *   begin ──> update* ──> flush ──> update* ──> … ──> finish ──> free
 *
 * All output is appended to `out`. Nothing is said about when it comes but after flush: then whoever reads has everything so far.
 */
#pragma once
#include "mongoose/base/iobuf.h"
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

enum mg_coding { MG_IDENTITY, MG_ZSTD, MG_BROTLI, MG_GZIP, MG_CODINGS };

struct mg_compressor;

/* What a library has to do. `op` goes with the last of the input. */
enum mg_compress_op { MG_COMPRESS_MORE, MG_COMPRESS_FLUSH, MG_COMPRESS_FINISH };
struct mg_compress_engine {
  const char *name;       /* as in Content-Encoding */
  int level_min, level_max, level_default; /* the default is for answers made on the fly: little time for most of the gain */
  void *(*begin)(int level, uint64_t size); /* size of all input, 0: unknown. NULL: out of memory */
  bool (*run)(void *state, enum mg_compress_op op, struct mg_str in, struct mg_iobuf *out);
  void (*end)(void *state);
};

/* NULL when it is not part of this build, and for MG_IDENTITY. */
const struct mg_compress_engine *mg_compress_engine_of(enum mg_coding coding);

/* NULL: out of memory, or not in this build. `level` is clamped to what the library has. */
struct mg_compressor *mg_compress_begin(enum mg_coding coding, int level, uint64_t size);
/* False: out of memory; then only free may follow. */
bool mg_compress_update(struct mg_compressor *z, struct mg_str in, struct mg_iobuf *out);
bool mg_compress_flush(struct mg_compressor *z, struct mg_iobuf *out);
bool mg_compress_finish(struct mg_compressor *z, struct mg_iobuf *out);
void mg_compress_free(struct mg_compressor *z);

/* ---- which one: Accept-Encoding (RFC 9110 12.5.3) ---- */

struct mg_accept_coding {
  uint16_t q[MG_CODINGS]; /* thousandths */
  uint16_t any;           /* "*" */
  uint8_t named;          /* bit per coding that was named */
  uint8_t has_any;
};

/* Add one field line to `a` (zeroed before the first). Elements that are malformed are left out. */
void mg_accept_coding(struct mg_accept_coding *a, struct mg_str value);
/* The first of `order` (ends with MG_IDENTITY) with the highest weight above 0 that is not below identity's, else
 * MG_IDENTITY. *identity_ok: false when the client refuses the bytes as they are. */
enum mg_coding mg_accept_pick(const struct mg_accept_coding *a, const uint8_t *order, bool *identity_ok);

MG_END_DECLS
