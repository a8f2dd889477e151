/* compress_engines.h - private to codec/: one table for each library, and what they share. */
#pragma once
#include "mongoose/codec/compress.h"

MG_BEGIN_DECLS

#ifndef MG_ENABLE_ZLIB
#define MG_ENABLE_ZLIB 0 /* set by the build when it found the library */
#endif
#ifndef MG_ENABLE_BROTLI
#define MG_ENABLE_BROTLI 0
#endif
#ifndef MG_ENABLE_ZSTD
#define MG_ENABLE_ZSTD 0
#endif

extern const struct mg_compress_engine mg_compress_gzip, mg_compress_brotli, mg_compress_zstd;

enum { MG_COMPRESS_STEP = 4096 }; /* least room offered to a library at once */

MG_END_DECLS
