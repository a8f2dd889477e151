#include "mongoose/base/iobuf.h"

#include <string.h>

#include "mongoose/base/alloc.h"

static size_t round_up(size_t size, size_t align) {
  size_t n;
  if (align == 0) return size;
  n = size % align;
  if (n == 0) return size;
  return size > (size_t) -1 - (align - n) ? size : size + (align - n);
}

int mg_iobuf_init(struct mg_iobuf *io, size_t size, size_t align) {
  memset(io, 0, sizeof(*io));
  io->align = align;
  return mg_iobuf_resize(io, size);
}

void mg_iobuf_free(struct mg_iobuf *io) {
  if (io->chunk != NULL) {
    mg_chunk_drop(io->chunk);
  } else {
    mg_free(io->buf);
  }
  io->chunk = NULL;
  io->buf = NULL;
  io->size = io->len = 0;
}

/* Out of a chunk into memory of its own. */
static int move_out(struct mg_iobuf *io, size_t size) {
  size_t len = io->len < size ? io->len : size;
  unsigned char *p = (unsigned char *) mg_malloc(size);
  if (p == NULL) return 0;
  if (len > 0) memcpy(p, io->buf, len);
  mg_chunk_drop(io->chunk);
  io->chunk = NULL;
  io->buf = p;
  io->size = size;
  io->len = len;
  return 1;
}

int mg_iobuf_resize(struct mg_iobuf *io, size_t size) {
  unsigned char *p;
  size = round_up(size, io->align);
  if (size == 0) {
    mg_iobuf_free(io);
    return 1;
  }
  if (size == io->size) return 1;
  if (io->chunk != NULL) return move_out(io, size);
  p = (unsigned char *) mg_realloc(io->buf, size);
  if (p == NULL) return 0;
  io->buf = p;
  io->size = size;
  if (io->len > size) io->len = size;
  return 1;
}

int mg_iobuf_reserve(struct mg_iobuf *io, size_t extra) {
  size_t want;
  /* Room in a chunk that somebody holds is none: their bytes may lie behind len, after the buffer was emptied. */
  int shared = io->chunk != NULL && mg_chunk_shared(io->chunk);
  if (extra == 0 || (io->size - io->len >= extra && !shared)) return 1;
  if (extra > (size_t) -1 / 2 - io->len) return 0;
  want = io->len + extra;
  if (!shared && want < io->size + io->size / 2) want = io->size + io->size / 2;
  return shared ? move_out(io, round_up(want, io->align)) : mg_iobuf_resize(io, want);
}

size_t mg_iobuf_add(struct mg_iobuf *io, size_t ofs, const void *buf, size_t len) {
  if (ofs > io->len) ofs = io->len;
  if (len == 0) return 0;
  if (!mg_iobuf_reserve(io, len)) return 0; /* leaves a chunk that others hold: below we write */
  if (ofs < io->len) memmove(io->buf + ofs + len, io->buf + ofs, io->len - ofs);
  if (buf != NULL) {
    memcpy(io->buf + ofs, buf, len);
  } else {
    memset(io->buf + ofs, 0, len);
  }
  io->len += len;
  return len;
}

size_t mg_iobuf_del(struct mg_iobuf *io, size_t ofs, size_t len) {
  if (ofs > io->len) ofs = io->len;
  if (len > io->len - ofs) len = io->len - ofs;
  if (len == 0) return 0;
  if (io->chunk != NULL && ofs == 0) {
    io->buf += len;
    io->size -= len;
    io->len -= len;
    return len;
  }
  if (io->chunk != NULL && mg_chunk_shared(io->chunk) && ofs + len < io->len && !move_out(io, io->len)) return 0;
  memmove(io->buf + ofs, io->buf + ofs + len, io->len - ofs - len);
  io->len -= len;
  return len;
}
