/* chunk.h - reference-counted memory that bytes arrive in.
 *
 * The loop reads many sockets into one chunk, and whoever wants to keep bytes beyond the event holds
 * the chunk instead of copying: mg_chunk_hold(c->recv.chunk) … mg_chunk_drop(chunk). Bytes below a
 * holder never move and are never written again. Hold and drop may be called from any thread.
 */
#pragma once
#include <stddef.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

struct mg_chunk {
  struct mg_chunk *next; /* for whoever owns the only reference: a free list */
  size_t size;           /* bytes at data */
  size_t used;           /* bytes handed out so far, from the front */
  int refs;              /* touched by atomic operations only */
  char *data;
};

struct mg_chunk *mg_chunk_new(size_t size); /* one reference; NULL when memory is out */
struct mg_chunk *mg_chunk_hold(struct mg_chunk *c); /* NULL is allowed; returns c */
void mg_chunk_drop(struct mg_chunk *c);             /* NULL is allowed; frees with the last reference */
/* More room for the only holder; c may move, its first `used` bytes stay. NULL: memory is out, or shared, and c is as it was. */
struct mg_chunk *mg_chunk_grow(struct mg_chunk *c, size_t size);
int mg_chunk_shared(const struct mg_chunk *c);      /* non-zero when another reference exists */

MG_END_DECLS
