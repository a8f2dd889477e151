/* iobuf.h - a growing byte buffer; c->recv and c->send are such buffers.
 *
 * The first four fields are Mongoose's. `chunk` says who owns the bytes:
 *
 *   chunk == NULL   buf came from mg_malloc (or is NULL) and is freed by this buffer
 *   chunk != NULL   buf points into that chunk, of which this buffer holds one reference.
 *                   Deleting from the front then only moves `buf`, so that views below stay whole;
 *                   anything that would move or overwrite held bytes copies first.
 */
#pragma once
#include <stddef.h>
#include "mongoose/base/chunk.h"

MG_BEGIN_DECLS

struct mg_iobuf {
  unsigned char *buf;
  size_t size;  /* bytes allocated, or usable from buf on */
  size_t len;   /* bytes in use */
  size_t align; /* growth step in bytes, 0: exact */
  struct mg_chunk *chunk;
};

/* All that can fail return 1 for success and 0 when memory is out, as Mongoose does; the buffer is
 * then as it was. mg_iobuf_add returns the bytes added: len or 0. A NULL `buf` adds len zero bytes.
 * `ofs` may be (size_t) -1 for the end. mg_iobuf_del clips `len`, returns the bytes deleted. */
int mg_iobuf_init(struct mg_iobuf *io, size_t size, size_t align);
int mg_iobuf_resize(struct mg_iobuf *io, size_t size); /* 0 frees */
void mg_iobuf_free(struct mg_iobuf *io);
size_t mg_iobuf_add(struct mg_iobuf *io, size_t ofs, const void *buf, size_t len);
size_t mg_iobuf_del(struct mg_iobuf *io, size_t ofs, size_t len);

/* Ours: room for `extra` more bytes behind len that nobody else looks at, growing geometrically. A chunk that only
 * this buffer holds is written to in place, one that others hold too is left for memory of our own.
 * 1, or 0 when memory is out. */
int mg_iobuf_reserve(struct mg_iobuf *io, size_t extra);

MG_END_DECLS
