/* http_encode.c - which answers are compressed, and how they get out.
 *
 *   reply ──> judge ──┬─ as it is ─────────────────────────────────> plain reply
 *                     ├─ small: at once, with its length ──────────> plain reply
 *                     └─ large: chunks, a piece in each turn (pump) ─> plain start, chunks
 *   start ──> judge ──┬─ as it is ─────────────────────────────────> plain start
 *                     └─ write by write, flushed each time ────────> plain start, chunks
 */
#include "mongoose/proto/http_encode.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/match.h"
#include "mongoose/base/status.h"
#include "mongoose/codec/http_chars.h"

enum {
  PIECE = 64 * 1024,     /* of input in one turn, so that nobody else waits long */
  AHEAD = 128 * 1024,    /* of output that may wait in the meantime */
  TYPE_MAX = 127,
};

static const char default_types[] =
    "text/*,application/json,application/*+json,application/javascript,application/x-javascript,application/xml,application/*+xml,"
    "application/x-ndjson,application/graphql,application/manifest+json,application/wasm,application/yaml,application/toml,"
    "image/svg+xml,image/bmp,image/x-icon,image/vnd.microsoft.icon,font/ttf,font/otf,multipart/byteranges";

/* Of a listener. */
struct compression {
  uint8_t order[MG_CODINGS]; /* ends with MG_IDENTITY */
  int level[MG_CODINGS];
  size_t min_size, whole_max;
  bool on_request;
  char types[]; /* patterns, comma-separated */
};

struct mg_http_encoder {
  struct mg_compressor *z;
  struct mg_iobuf out;   /* compressed and not sent */
  struct mg_http_source from;
  size_t at;             /* taken from there */
  uint64_t left;         /* counted: bytes of body that the application still owes */
  bool pumped, counted;
};

/* ---- settings ---- */

static bool read_codings(const char *text, uint8_t *order) {
  struct mg_str rest = mg_str(text != NULL ? text : "zstd,br,gzip"), item;
  int n = 0, k;
  while (mg_span(rest, &item, &rest, ',')) {
    int coding = MG_CODINGS;
    for (k = MG_ZSTD; k < MG_CODINGS; k++) {
      const struct mg_compress_engine *e = mg_compress_engine_of((enum mg_coding) k);
      if (e != NULL && mg_strcasecmp(item, mg_str(e->name)) == 0) coding = k;
      if (memchr(order, k, (size_t) n) != NULL && coding == k) return false; /* twice */
    }
    if (coding < MG_CODINGS) {
      order[n++] = (uint8_t) coding;
    } else if (text != NULL) {
      return false;
    }
  }
  order[n] = MG_IDENTITY;
  return n > 0;
}

bool mg_http_compress(struct mg_connection *c, const struct mg_http_compression *o) {
  const char *types = o->types != NULL ? o->types : default_types;
  struct compression *z;
  c->mgr->status = MG_EINVAL;
  if (!c->is_listening || c->proto != &mg_proto_http) return false;
  z = (struct compression *) mg_calloc(1, sizeof(*z) + strlen(types) + 1);
  c->mgr->status = z == NULL ? MG_ENOMEM : MG_OK;
  if (z == NULL) return false;
  memcpy(z->types, types, strlen(types) + 1);
  memcpy(z->level, o->level, sizeof(z->level));
  z->min_size = o->min_size;
  z->whole_max = o->whole_max;
  z->on_request = o->on_request;
  if (!read_codings(o->codings, z->order)) {
    c->mgr->status = MG_EINVAL;
    mg_free(z);
    return false;
  }
  mg_free(c->listener->compress);
  c->listener->compress = z;
  c->listener->compress_free = mg_free;
  return true;
}

bool mg_http_compress_answer(struct mg_connection *c, enum mg_http_compress_how how) {
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_xchg *x = hc != NULL ? mg_xchg_target(hc) : NULL;
  if (x == NULL || x->answer != MG_ANSWER_NONE || (how == MG_COMPRESS_ALWAYS && c->listener->compress == NULL)) {
    c->mgr->status = MG_ESTATE;
    return false;
  }
  x->compress = (uint8_t) how;
  return true;
}

/* ---- what the client takes ---- */

#define IS(s, literal) mg_http_word((s).buf, (s).len, literal, sizeof(literal) - 1)

void mg_http_negotiate(struct mg_connection *c, struct mg_http_xchg *x, const struct mg_http_message *hm) {
  const struct compression *z = (const struct compression *) c->listener->compress;
  struct mg_accept_coding a;
  bool identity_ok = true;
  int i;
  memset(&a, 0, sizeof(a));
  for (i = 0; i < MG_MAX_HTTP_HEADERS && hm->headers[i].name.len > 0; i++) {
    if (IS(hm->headers[i].name, "accept-encoding")) mg_accept_coding(&a, hm->headers[i].value);
  }
  x->coding = (uint8_t) mg_accept_pick(&a, z->order, &identity_ok);
  x->no_identity = !identity_ok;
}

/* ---- what the answer is ---- */

struct facts {
  struct mg_str type;
  uint64_t length;
  bool has_length, has_type, varies, fixed; /* fixed: its bytes may not change */
};

static struct mg_str next_line(struct mg_str *rest) {
  char *eol = (char *) memchr(rest->buf, '\n', rest->len);
  struct mg_str line = *rest;
  if (eol != NULL) line.len = (size_t) (eol + 1 - rest->buf);
  rest->buf += line.len;
  rest->len -= line.len;
  return line;
}

/* The value, when that is the line's name. */
static bool field(struct mg_str line, const char *name, struct mg_str *value) {
  size_t n = strlen(name);
  if (line.len <= n || line.buf[n] != ':' || strncasecmp(line.buf, name, n) != 0) return false;
  *value = mg_str_n(line.buf + n + 1, line.len - n - 1);
  while (value->len > 0 && (value->buf[0] == ' ' || value->buf[0] == '\t')) value->buf++, value->len--;
  while (value->len > 0 && (uint8_t) value->buf[value->len - 1] <= ' ') value->len--;
  return true;
}

static bool lists(struct mg_str value, const char *word) {
  struct mg_str item;
  while (mg_span(value, &item, &value, ',')) {
    while (item.len > 0 && item.buf[0] == ' ') item.buf++, item.len--;
    while (item.len > 0 && item.buf[item.len - 1] == ' ') item.len--;
    if (mg_strcasecmp(item, mg_str(word)) == 0) return true;
  }
  return false;
}

static void look(struct mg_str headers, struct facts *f) {
  static const char *const fixing[] = {"Content-Encoding", "Content-Range", "Transfer-Encoding", "Content-MD5", "Digest", "Repr-Digest",
                                       "Content-Digest"};
  struct mg_str v;
  size_t i;
  memset(f, 0, sizeof(*f));
  while (headers.len > 0) {
    struct mg_str line = next_line(&headers);
    if (field(line, "Content-Type", &v)) {
      f->type = v;
      f->has_type = true;
    } else if (field(line, "Content-Length", &v)) {
      f->has_length = mg_str_to_num(v, 10, &f->length, sizeof(f->length));
    } else if (field(line, "Cache-Control", &v)) {
      f->fixed |= lists(v, "no-transform"); /* RFC 9111 5.2.2.6 */
    } else if (field(line, "Vary", &v)) {
      f->varies |= lists(v, "Accept-Encoding") || lists(v, "*");
    }
    for (i = 0; i < sizeof(fixing) / sizeof(fixing[0]); i++) {
      if (field(line, fixing[i], &v) && !(i == 2 && mg_strcasecmp(v, mg_str("chunked")) == 0)) f->fixed = true;
    }
  }
}

static bool worth_it(const char *types, struct mg_str type) {
  struct mg_str rest = mg_str(types), pattern, plain;
  char lower[TYPE_MAX + 1];
  size_t i;
  mg_span(type, &plain, NULL, ';');
  if (type.len == 0 || plain.len > TYPE_MAX) return false;
  while (plain.len > 0 && plain.buf[plain.len - 1] == ' ') plain.len--;
  for (i = 0; i < plain.len; i++) lower[i] = (char) (plain.buf[i] >= 'A' && plain.buf[i] <= 'Z' ? plain.buf[i] | 0x20 : plain.buf[i]);
  plain.buf = lower;
  while (mg_span(rest, &pattern, &rest, ',')) {
    while (pattern.len > 0 && pattern.buf[0] == ' ') pattern.buf++, pattern.len--;
    if (mg_match(plain, pattern, NULL)) return true;
  }
  return false;
}

/* ---- the two together ---- */

enum verdict { AS_IT_IS, VARY, ENCODE }; /* VARY: as it is, but another client would get it otherwise */

static enum verdict judge(const struct compression *z, const struct mg_http_xchg *x, int code, const struct facts *f, bool sized,
                          uint64_t len) {
  bool fits;
  if (x->compress == MG_COMPRESS_NEVER || f->fixed || code < 200 || code == 204 || code == 206) return AS_IT_IS;
  if (x->compress == MG_COMPRESS_ALWAYS) {
    fits = true;
  } else {
    if (z->on_request) return AS_IT_IS;
    fits = f->has_type ? worth_it(z->types, f->type) : code == 304; /* 304 speaks of the answer that it stands for */
    if (sized && len < z->min_size && code != 304) fits = false;
  }
  if (!fits && !(x->no_identity && len > 0)) return AS_IT_IS;
  return x->coding != MG_IDENTITY ? ENCODE : fits ? VARY : AS_IT_IS;
}

/* The application's lines for that verdict, in `out`. False: out of memory. */
static bool rewrite(struct mg_str headers, const struct facts *f, enum verdict verdict, const char *coding, struct mg_iobuf *out) {
  static const char vary[] = "Vary: Accept-Encoding\r\n", name[] = "Content-Encoding: ";
  struct mg_str v;
  if (!mg_iobuf_reserve(out, headers.len + 128)) return false;
  while (headers.len > 0) {
    struct mg_str line = next_line(&headers);
    if (verdict == ENCODE) {
      if (field(line, "Content-Length", &v) || field(line, "Accept-Ranges", &v)) continue; /* those of other bytes */
      if (field(line, "ETag", &v) && v.len > 0 && v.buf[0] == '"') { /* RFC 9110 8.8.3.3: strong ones differ between codings */
        mg_iobuf_add(out, out->len, "ETag: W/", 8);
        mg_iobuf_add(out, out->len, v.buf, v.len);
        mg_iobuf_add(out, out->len, "\r\n", 2);
        continue;
      }
    }
    mg_iobuf_add(out, out->len, line.buf, line.len);
  }
  if (verdict == ENCODE && coding != NULL) {
    mg_iobuf_add(out, out->len, name, sizeof(name) - 1);
    mg_iobuf_add(out, out->len, coding, strlen(coding));
    mg_iobuf_add(out, out->len, "\r\n", 2);
  }
  if (!f->varies) mg_iobuf_add(out, out->len, vary, sizeof(vary) - 1);
  return true;
}

static struct mg_str text_of(const struct mg_iobuf *io) {
  return mg_str_n((char *) io->buf, io->len);
}

/* ---- whole answers ---- */

static void drop(struct mg_http_source *from) {
  if (from->done != NULL) from->done(from->arg);
  from->done = NULL;
}

static bool plain(struct mg_connection *c, int code, struct mg_str headers, const struct mg_http_source *from) {
  if (from->buf == NULL && from->len > 0) return mg_http_plain_file(c, code, headers, from->fd, from->len, from->done, from->arg);
  if (from->done == NULL) return mg_http_plain_reply(c, code, headers, mg_str_n(from->buf, from->len));
  return mg_http_plain_ref(c, code, headers, mg_str_n(from->buf, from->len), from->done, from->arg);
}

/* Add `piece` bytes of the source to `out`, compressed. */
static bool compress_some(struct mg_compressor *z, const struct mg_http_source *from, size_t at, size_t piece, struct mg_iobuf *out) {
  char tmp[16384];
  ssize_t n;
  if (from->buf != NULL) return mg_compress_update(z, mg_str_n(from->buf + at, piece), out);
  for (; piece > 0; piece -= (size_t) n, at += (size_t) n) {
    n = pread(from->fd, tmp, piece < sizeof(tmp) ? piece : sizeof(tmp), (off_t) at);
    if (n <= 0 || !mg_compress_update(z, mg_str_n(tmp, (size_t) n), out)) return false;
  }
  return true;
}

static bool encode_whole(const struct compression *z, enum mg_coding coding, const struct mg_http_source *from, struct mg_iobuf *out) {
  struct mg_compressor *zc;
  int level = z->level[coding];
  bool ok;
  zc = mg_compress_begin(coding, level != 0 ? level : mg_compress_engine_of(coding)->level_default, from->len);
  ok = zc != NULL && compress_some(zc, from, 0, from->len, out) && mg_compress_finish(zc, out);
  mg_compress_free(zc);
  return ok;
}

/* A body that is good for the call only, kept for longer. */
static bool own(struct mg_http_source *from) {
  char *copy;
  if (from->buf == NULL || from->done != NULL) return true;
  copy = (char *) mg_malloc(from->len);
  if (copy == NULL) return false;
  memcpy(copy, from->buf, from->len);
  from->buf = copy;
  from->done = mg_free;
  from->arg = copy;
  return true;
}

static struct mg_http_encoder *encoder_new(const struct compression *z, enum mg_coding coding, uint64_t size) {
  struct mg_http_encoder *e = (struct mg_http_encoder *) mg_calloc(1, sizeof(*e));
  int level = z->level[coding];
  if (e == NULL) return NULL;
  e->z = mg_compress_begin(coding, level != 0 ? level : mg_compress_engine_of(coding)->level_default, size);
  if (e->z != NULL) return e;
  mg_free(e);
  return NULL;
}

void mg_http_encoder_free(struct mg_http_conn *hc, struct mg_http_xchg *x) {
  struct mg_http_encoder *e = x->encoder;
  if (e == NULL) return;
  x->encoder = NULL;
  if (e->pumped) hc->pumps--;
  drop(&e->from);
  mg_compress_free(e->z);
  mg_iobuf_free(&e->out);
  mg_free(e);
}

/* Too much for one turn: its head now, its body by and by. Takes the source. */
static bool reply_large(struct mg_connection *c, struct mg_http_xchg *x, int code, struct mg_str headers, struct mg_http_source from) {
  const struct compression *z = (const struct compression *) c->listener->compress;
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_encoder *e;
  if (x->is_head) {
    bool ok = mg_http_plain_start(c, code, headers);
    drop(&from);
    if (ok) mg_http_write_chunk(c, NULL, 0);
    return ok;
  }
  e = own(&from) ? encoder_new(z, (enum mg_coding) x->coding, from.len) : NULL;
  if (e == NULL || !mg_http_plain_start(c, code, headers)) {
    if (e == NULL) c->mgr->status = MG_ENOMEM;
    if (e != NULL) mg_compress_free(e->z);
    mg_free(e);
    drop(&from);
    return false;
  }
  e->from = from;
  e->pumped = true;
  x->encoder = e;
  hc->pumps++;
  mg_http_pump_next(c, hc); /* during a settle, where touching does nothing, only this leads to another one */
  mg_touch(c);
  return true;
}

bool mg_http_encode_reply(struct mg_connection *c, int code, struct mg_str headers, struct mg_http_source from) {
  const struct compression *z = (const struct compression *) c->listener->compress;
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_xchg *x = hc != NULL ? mg_xchg_target(hc) : NULL;
  struct mg_iobuf lines = {NULL, 0, 0, 0, NULL}, out = {NULL, 0, 0, 0, NULL};
  const struct mg_compress_engine *engine;
  enum verdict verdict;
  struct facts f;
  uint64_t len;
  bool ok;
  if (x == NULL) return plain(c, code, headers, &from);
  look(headers, &f);
  len = from.len == 0 && x->is_head && f.has_length ? f.length : from.len; /* an answer to HEAD may say its length only */
  verdict = judge(z, x, code, &f, true, len);
  if (verdict == AS_IT_IS) return plain(c, code, headers, &from);
  engine = mg_compress_engine_of((enum mg_coding) x->coding);
  if (verdict == ENCODE && len > 0 && from.len <= z->whole_max && from.len > 0) {
    bool shrunk = encode_whole(z, (enum mg_coding) x->coding, &from, &out) && (out.len < from.len || x->no_identity);
    if (!shrunk) verdict = VARY;
  }
  if (!rewrite(headers, &f, verdict, code != 304 && verdict == ENCODE ? engine->name : NULL, &lines)) {
    ok = plain(c, code, headers, &from);
  } else if (verdict == VARY || code == 304) {
    ok = plain(c, code, text_of(&lines), &from);
  } else if (out.len > 0) {
    ok = mg_http_plain_reply(c, code, text_of(&lines), text_of(&out));
    drop(&from);
  } else {
    ok = reply_large(c, x, code, text_of(&lines), from);
  }
  mg_iobuf_free(&lines);
  mg_iobuf_free(&out);
  return ok;
}

/* ---- answers in pieces ---- */

bool mg_http_encode_start(struct mg_connection *c, int code, struct mg_str headers) {
  const struct compression *z = (const struct compression *) c->listener->compress;
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_xchg *x = hc != NULL ? mg_xchg_target(hc) : NULL;
  struct mg_iobuf lines = {NULL, 0, 0, 0, NULL};
  struct mg_http_encoder *e = NULL;
  enum verdict verdict;
  struct facts f;
  bool ok;
  if (x == NULL) return mg_http_plain_start(c, code, headers);
  look(headers, &f);
  verdict = judge(z, x, code, &f, f.has_length, f.has_length ? f.length : 1);
  if (verdict == AS_IT_IS || code == 304) return mg_http_plain_start(c, code, headers);
  if (verdict == ENCODE && !x->is_head) {
    e = encoder_new(z, (enum mg_coding) x->coding, 0);
    if (e == NULL) verdict = VARY;
  }
  if (!rewrite(headers, &f, verdict, verdict == ENCODE ? mg_compress_engine_of((enum mg_coding) x->coding)->name : NULL, &lines)) {
    c->mgr->status = MG_ENOMEM;
    ok = false;
  } else {
    ok = mg_http_plain_start(c, code, text_of(&lines));
  }
  mg_iobuf_free(&lines);
  if (e != NULL && ok) {
    e->counted = f.has_length;
    e->left = f.length;
    x->encoder = e;
  } else if (e != NULL) {
    mg_compress_free(e->z);
    mg_free(e);
  }
  return ok;
}

static void lost(struct mg_connection *c) { /* what is missing in the middle can be told by the close only */
  c->is_closing = 1;
  mg_touch(c);
}

/* What is compressed by now, as a piece of the answer. */
static void let_out(struct mg_connection *c, struct mg_http_xchg *x) {
  struct mg_iobuf *out = &x->encoder->out;
  if (out->len > 0) mg_http_put_chunk(c, x, text_of(out));
  out->len = 0;
}

static void finish(struct mg_connection *c, struct mg_http_conn *hc, struct mg_http_xchg *x) {
  if (!mg_compress_finish(x->encoder->z, &x->encoder->out)) {
    lost(c);
    return;
  }
  let_out(c, x);
  mg_http_put_end(c, x);
  mg_http_encoder_free(hc, x);
  mg_xchg_done(c, hc, x);
}

void mg_http_encode_chunk(struct mg_connection *c, struct mg_http_conn *hc, struct mg_http_xchg *x, const char *buf, size_t len) {
  struct mg_http_encoder *e = x->encoder;
  if (e->pumped) return; /* a whole answer: nothing can be added */
  if (e->counted) {
    if (len == 0 && e->left > 0) { /* less than promised: no end, so that the client sees it is not whole */
      x->keep_alive = 0;
      mg_http_encoder_free(hc, x);
      mg_xchg_done(c, hc, x);
      return;
    }
    if (len > e->left) len = (size_t) e->left;
    e->left -= len;
  }
  if (len > 0 && !(mg_compress_update(e->z, mg_str_n(buf, len), &e->out))) {
    lost(c);
    return;
  }
  if (len == 0 || (e->counted && e->left == 0)) {
    finish(c, hc, x);
  } else if (mg_compress_flush(e->z, &e->out)) {
    let_out(c, x);
  } else {
    lost(c);
  }
}

/* ---- large bodies ---- */

static struct mg_http_xchg *first_in_line(struct mg_http_conn *hc) {
  struct mg_http_xchg *x = hc->queue != NULL ? hc->queue : hc->cur;
  return x != NULL && x->encoder != NULL && x->encoder->pumped && x->answer == MG_ANSWER_STREAM ? x : NULL;
}

void mg_http_pump_next(struct mg_connection *c, struct mg_http_conn *hc) {
  c->is_pumping = first_in_line(hc) != NULL;
}

void mg_http_pump(struct mg_connection *c, struct mg_http_conn *hc) {
  struct mg_http_xchg *x = first_in_line(hc);
  struct mg_http_encoder *e = x != NULL ? x->encoder : NULL;
  size_t piece;
  if (e != NULL && mg_unsent(c) < AHEAD) {
    mg_xchg_aim(c, hc, x);
    piece = e->from.len - e->at < PIECE ? e->from.len - e->at : PIECE;
    if (!compress_some(e->z, &e->from, e->at, piece, &e->out)) {
      lost(c); /* also when a file has become shorter than it was */
    } else {
      e->at += piece;
      let_out(c, x);
      if (e->at == e->from.len) finish(c, hc, x);
    }
    mg_xchg_aim(c, hc, hc->target != NULL ? hc->target : hc->cur);
  }
  mg_http_pump_next(c, hc);
}
