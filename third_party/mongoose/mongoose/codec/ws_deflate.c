#include "mongoose/codec/ws_deflate.h"

#include "mongoose/base/alloc.h"

static const char tail[4] = {0, 0, (char) 0xff, (char) 0xff}; /* RFC 7692 7.2.2 */
const struct mg_str mg_ws_inflate_tail = {(char *) (size_t) tail, 4};

#if defined(MG_ENABLE_ZLIB) && MG_ENABLE_ZLIB
#include <limits.h>
#include <string.h>
#include <zlib.h>

enum {
  WINDOW = 32768,
  FINALS = 8, /* final blocks in one go: each costs us a window, and an honest peer has at most one in a message */
};

static voidpf z_alloc(voidpf opaque, uInt items, uInt size) {
  (void) opaque;
  return mg_calloc(items, size);
}

static void z_free(voidpf opaque, voidpf p) {
  (void) opaque;
  mg_free(p);
}

bool mg_ws_can_compress(void) {
  return true;
}

/* ---- packing ---- */

struct mg_ws_deflater {
  z_stream z;
};

static int mem_level(unsigned bits) {
  return bits > 14 ? 8 : bits > 9 ? (int) bits - 7 : 2;
}

size_t mg_ws_deflater_bytes(unsigned bits) {
  return ((size_t) 4 << bits) + ((size_t) 512 << mem_level(bits)) + 8192;
}

struct mg_ws_deflater *mg_ws_deflater_new(unsigned bits, unsigned level) {
  struct mg_ws_deflater *d = (struct mg_ws_deflater *) mg_calloc(1, sizeof(*d));
  /* zlib's windows begin at 9 bits; what is packed without any reference back fits 8. */
  int strategy = bits < 9 ? Z_HUFFMAN_ONLY : Z_DEFAULT_STRATEGY, window = bits < 9 ? 9 : (int) bits;
  if (d == NULL) return NULL;
  d->z.zalloc = z_alloc;
  d->z.zfree = z_free;
  if (deflateInit2(&d->z, (int) level, Z_DEFLATED, -window, mem_level((unsigned) window), strategy) != Z_OK) {
    mg_free(d);
    return NULL;
  }
  return d;
}

void mg_ws_deflater_free(struct mg_ws_deflater *d) {
  if (d == NULL) return;
  (void) deflateEnd(&d->z);
  mg_free(d);
}

void mg_ws_deflater_forget(struct mg_ws_deflater *d) {
  (void) deflateReset(&d->z);
}

bool mg_ws_deflater_feed(struct mg_ws_deflater *d, struct mg_str in, bool last, struct mg_iobuf *out) {
  if (in.len == 0) { /* zlib flushes nothing twice: an empty block, but for its last four bytes */
    if (last) return mg_iobuf_add(out, out->len, "", 1) == 1;
    return true;
  }
  while (in.len > 0) { /* zlib counts in 32 bits */
    size_t piece = in.len < UINT_MAX / 4 ? in.len : UINT_MAX / 4;
    d->z.next_in = (Bytef *) in.buf;
    d->z.avail_in = (uInt) piece;
    in.buf += piece;
    in.len -= piece;
    do {
      size_t room = deflateBound(&d->z, d->z.avail_in) + 16;
      if (!mg_iobuf_reserve(out, room)) return false;
      d->z.next_out = out->buf + out->len;
      d->z.avail_out = (uInt) room;
      if (deflate(&d->z, in.len > 0 ? Z_NO_FLUSH : Z_SYNC_FLUSH) == Z_STREAM_ERROR) return false;
      out->len += room - d->z.avail_out;
    } while (d->z.avail_out == 0);
  }
  if (last) out->len -= 4;
  return true;
}

/* ---- unpacking ---- */

struct mg_ws_inflater {
  z_stream z;
};

size_t mg_ws_inflater_bytes(unsigned bits) {
  return ((size_t) 1 << bits) + 12288;
}

struct mg_ws_inflater *mg_ws_inflater_new(unsigned bits) {
  struct mg_ws_inflater *i = (struct mg_ws_inflater *) mg_calloc(1, sizeof(*i));
  if (i == NULL) return NULL;
  i->z.zalloc = z_alloc;
  i->z.zfree = z_free;
  if (inflateInit2(&i->z, -(int) (bits < 9 ? 9 : bits)) != Z_OK) {
    mg_free(i);
    return NULL;
  }
  return i;
}

void mg_ws_inflater_free(struct mg_ws_inflater *i) {
  if (i == NULL) return;
  (void) inflateEnd(&i->z);
  mg_free(i);
}

void mg_ws_inflater_forget(struct mg_ws_inflater *i) {
  (void) inflateReset(&i->z);
}

/* A block said that it is the last one, which a peer may do (RFC 7692 7.2.3.4); the window goes on all the same. */
static bool after_final_block(z_stream *z) {
  unsigned char window[WINDOW];
  uInt n = sizeof(window);
  if (inflateGetDictionary(z, window, &n) != Z_OK || inflateReset(z) != Z_OK) return false;
  return n == 0 || inflateSetDictionary(z, window, n) == Z_OK;
}

ptrdiff_t mg_ws_inflater_feed(struct mg_ws_inflater *i, struct mg_str *in, void *to, size_t room) {
  z_stream *z = &i->z;
  size_t want = room < UINT_MAX / 2 ? room : UINT_MAX / 2, piece = in->len < UINT_MAX / 2 ? in->len : UINT_MAX / 2;
  z->next_out = (Bytef *) to;
  z->avail_out = (uInt) want;
  z->next_in = (Bytef *) in->buf;
  z->avail_in = (uInt) piece;
  for (int finals = 0;;) {
    int res = inflate(z, Z_SYNC_FLUSH);
    if (res == Z_STREAM_END) {
      if (++finals > FINALS || !after_final_block(z)) return -1;
      if (z->avail_in > 0 && z->avail_out > 0) continue;
    } else if (res != Z_OK && res != Z_BUF_ERROR) {
      return -1;
    }
    break;
  }
  in->buf += piece - z->avail_in;
  in->len -= piece - z->avail_in;
  return (ptrdiff_t) (want - z->avail_out);
}

#else

bool mg_ws_can_compress(void) {
  return false;
}
struct mg_ws_deflater *mg_ws_deflater_new(unsigned bits, unsigned level) {
  (void) bits, (void) level;
  return NULL;
}
void mg_ws_deflater_free(struct mg_ws_deflater *d) {
  (void) d;
}
size_t mg_ws_deflater_bytes(unsigned bits) {
  (void) bits;
  return 0;
}
void mg_ws_deflater_forget(struct mg_ws_deflater *d) {
  (void) d;
}
bool mg_ws_deflater_feed(struct mg_ws_deflater *d, struct mg_str in, bool last, struct mg_iobuf *out) {
  (void) d, (void) in, (void) last, (void) out;
  return false;
}
struct mg_ws_inflater *mg_ws_inflater_new(unsigned bits) {
  (void) bits;
  return NULL;
}
void mg_ws_inflater_free(struct mg_ws_inflater *z) {
  (void) z;
}
size_t mg_ws_inflater_bytes(unsigned bits) {
  (void) bits;
  return 0;
}
void mg_ws_inflater_forget(struct mg_ws_inflater *z) {
  (void) z;
}
ptrdiff_t mg_ws_inflater_feed(struct mg_ws_inflater *z, struct mg_str *in, void *to, size_t room) {
  (void) z, (void) in, (void) to, (void) room;
  return -1;
}
#endif
