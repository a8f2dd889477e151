/* compress.c - the choice of a coding, and the way to its library. */
#include "mongoose/codec/compress.h"

#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/codec/compress_engines.h"
#include "mongoose/codec/http_chars.h"

struct mg_compressor {
  const struct mg_compress_engine *engine;
  void *state;
};

const struct mg_compress_engine *mg_compress_engine_of(enum mg_coding coding) {
  switch (coding) {
#if MG_ENABLE_ZLIB
    case MG_GZIP: return &mg_compress_gzip;
#endif
#if MG_ENABLE_BROTLI
    case MG_BROTLI: return &mg_compress_brotli;
#endif
#if MG_ENABLE_ZSTD
    case MG_ZSTD: return &mg_compress_zstd;
#endif
    default: return NULL;
  }
}

struct mg_compressor *mg_compress_begin(enum mg_coding coding, int level, uint64_t size) {
  const struct mg_compress_engine *e = mg_compress_engine_of(coding);
  struct mg_compressor *z = e != NULL ? (struct mg_compressor *) mg_malloc(sizeof(*z)) : NULL;
  if (z == NULL) return NULL;
  z->engine = e;
  if (level < e->level_min) level = e->level_min;
  if (level > e->level_max) level = e->level_max;
  z->state = e->begin(level, size);
  if (z->state != NULL) return z;
  mg_free(z);
  return NULL;
}

bool mg_compress_update(struct mg_compressor *z, struct mg_str in, struct mg_iobuf *out) {
  return z->engine->run(z->state, MG_COMPRESS_MORE, in, out);
}

bool mg_compress_flush(struct mg_compressor *z, struct mg_iobuf *out) {
  return z->engine->run(z->state, MG_COMPRESS_FLUSH, mg_str_n("", 0), out);
}

bool mg_compress_finish(struct mg_compressor *z, struct mg_iobuf *out) {
  return z->engine->run(z->state, MG_COMPRESS_FINISH, mg_str_n("", 0), out);
}

void mg_compress_free(struct mg_compressor *z) {
  if (z == NULL) return;
  z->engine->end(z->state);
  mg_free(z);
}

/* ---- Accept-Encoding ---- */

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

static struct mg_str trim(struct mg_str s) {
  while (s.len > 0 && is_blank(s.buf[0])) s.buf++, s.len--;
  while (s.len > 0 && is_blank(s.buf[s.len - 1])) s.len--;
  return s;
}

/* RFC 9110 12.4.2: 0 to 1 with at most three decimals. -1: malformed. */
static int weight(struct mg_str s) {
  int q, scale = 100;
  size_t i;
  if (s.len == 0 || s.len > 5 || (s.buf[0] != '0' && s.buf[0] != '1') || (s.len > 1 && s.buf[1] != '.')) return -1;
  q = (s.buf[0] - '0') * 1000;
  for (i = 2; i < s.len; i++, scale /= 10) {
    if (s.buf[i] < '0' || s.buf[i] > '9') return -1;
    q += (s.buf[i] - '0') * scale;
  }
  return q <= 1000 ? q : -1;
}

#define IS(s, literal) mg_http_word((s).buf, (s).len, literal, sizeof(literal) - 1)

void mg_accept_coding(struct mg_accept_coding *a, struct mg_str value) {
  struct mg_str item, name, param;
  while (mg_span(value, &item, &value, ',')) {
    int q = 1000, coding = -1;
    if (!mg_span(item, &name, &param, ';')) continue;
    name = trim(name);
    param = trim(param);
    if (param.len > 0) {
      if (param.len < 2 || (param.buf[0] | 0x20) != 'q' || param.buf[1] != '=') continue;
      q = weight(mg_str_n(param.buf + 2, param.len - 2));
      if (q < 0) continue;
    }
    if (IS(name, "gzip") || IS(name, "x-gzip")) coding = MG_GZIP; /* RFC 9110 8.4.1.3 */
    if (IS(name, "br")) coding = MG_BROTLI;
    if (IS(name, "zstd")) coding = MG_ZSTD;
    if (IS(name, "identity")) coding = MG_IDENTITY;
    if (coding >= 0) {
      a->q[coding] = (uint16_t) q;
      a->named |= (uint8_t) (1u << coding);
    } else if (name.len == 1 && name.buf[0] == '*') {
      a->any = (uint16_t) q;
      a->has_any = 1;
    }
  }
}

enum mg_coding mg_accept_pick(const struct mg_accept_coding *a, const uint8_t *order, bool *identity_ok) {
  enum mg_coding best = MG_IDENTITY;
  bool named = (a->named & 1u << MG_IDENTITY) != 0;
  /* Without a word on it identity is acceptable, as what is sent when nothing better fits. */
  unsigned most = named ? a->q[MG_IDENTITY] : 0;
  *identity_ok = named ? a->q[MG_IDENTITY] > 0 : !(a->has_any && a->any == 0);
  for (; *order != MG_IDENTITY; order++) {
    unsigned q = a->named & 1u << *order ? a->q[*order] : a->has_any ? a->any : 0;
    if (q == 0 || (best == MG_IDENTITY ? q < most : q <= most)) continue;
    best = (enum mg_coding) *order;
    most = q;
  }
  return best;
}
