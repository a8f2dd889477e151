/* http_file.c - one file as an answer: which coding, do the preconditions hold, which ranges; then head and bytes.
 *
 * Up to SMALL bytes are read behind the head and leave with it in one send; more goes by sendfile. A file that turns out shorter than
 * its head said ends the connection, so that nobody takes what follows for the rest of it.
 */
#include "mongoose/proto/http_file.h"

#include <string.h>
#include <strings.h>
#include <sys/types.h>
#include <unistd.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/clock.h"
#include "mongoose/base/printf.h"
#include "mongoose/base/rand.h"
#include "mongoose/codec/http_cond.h"
#include "mongoose/codec/http_range.h"
#include "mongoose/codec/http_time.h"
#include "mongoose/codec/mime.h"
#include "mongoose/loop/io.h"

enum { SMALL = 16384, CODED_MS = 1000, HEAD_ROOM = 1024, MEMORY = 64 << 20 };

static const char *const s_suffix[MG_SIBLINGS] = {".br", ".zst", ".gz"};
static const char *const s_coding[MG_SIBLINGS] = {"br", "zstd", "gzip"};

static bool is_host(const struct mg_fs *fs) {
  return fs == NULL || fs == &mg_fs_posix;
}

/* ---- finding it ---- */

static enum mg_file_kind find_host(struct mg_mgr *mgr, const struct mg_http_site *site, struct mg_http_file *f) {
  enum mg_file_kind kind = mg_file_get(mgr, f->path, f->path_len, site->root.len, site->again, &f->file);
  if (kind != MG_FILE_REGULAR) return kind;
  f->size = f->file->size;
  f->modified = f->file->modified;
  f->etag = f->file->etag;
  f->fields = mg_str_n(f->file->fields, f->file->fields_len);
  return kind;
}

static enum mg_file_kind find_other(struct mg_fs *fs, struct mg_http_file *f) {
  int64_t now = (int64_t) (mg_now() / 1000);
  size_t size = 0;
  time_t mtime = 0;
  int flags = fs->st != NULL ? fs->st(f->path, &size, &mtime) : 0;
  if (flags == 0) return MG_FILE_NONE;
  if (flags & MG_FS_DIR) return MG_FILE_FOLDER;
  f->fs = fs;
  f->size = size;
  f->modified = (int64_t) mtime < now ? (int64_t) mtime : now;
  f->fields = mg_str_n(f->own_fields, 0);
  f->fields.len = mg_file_fields(f->own_fields, 0, size, (int64_t) mtime * 1000000000, f->modified, &f->etag);
  return MG_FILE_REGULAR;
}

static enum mg_file_kind find(struct mg_mgr *mgr, const struct mg_http_site *site, struct mg_http_file *f) {
  f->file = NULL;
  f->fs = NULL;
  return is_host(site->opts->fs) ? find_host(mgr, site, f) : find_other(site->opts->fs, f);
}

/* A sibling older than the file itself is what somebody forgot to make again. */
static bool find_coded(struct mg_mgr *mgr, const struct mg_http_site *site, const struct mg_http_file *f, int i, struct mg_http_file *coded) {
  size_t n = strlen(s_suffix[i]);
  if (f->path_len + n >= sizeof(coded->path)) return false;
  memcpy(coded->path, f->path, f->path_len);
  memcpy(coded->path + f->path_len, s_suffix[i], n + 1);
  coded->path_len = f->path_len + n;
  if (find(mgr, site, coded) != MG_FILE_REGULAR) return false;
  if (coded->modified >= f->modified) return true;
  mg_http_file_close(coded);
  return false;
}

/* Which siblings there are is looked up once a second: whether one came is no matter of truth, only of size. */
static unsigned codings_of(struct mg_mgr *mgr, const struct mg_http_site *site, struct mg_http_file *f, struct mg_http_file *coded) {
  unsigned bits = 0;
  int i;
  if (f->file != NULL && f->file->coded_at != 0 && mgr->now - f->file->coded_at < CODED_MS) return f->file->coded;
  for (i = 0; i < MG_SIBLINGS; i++) {
    if (!find_coded(mgr, site, f, i, coded)) continue;
    mg_http_file_close(coded);
    bits |= 1u << i;
  }
  if (f->file != NULL) {
    f->file->coded = bits;
    f->file->coded_at = mgr->now;
  }
  return bits;
}

static void choose_coding(struct mg_mgr *mgr, const struct mg_http_site *site, const struct mg_http_message *hm, struct mg_http_file *f) {
  struct mg_http_file coded; /* two paths on the stack; only what is assigned is used */
  unsigned bits = codings_of(mgr, site, f, &coded);
  int best = -1, most = 0, i;
  f->has_codings = bits != 0;
  while (bits != 0) {
    for (i = 0, best = -1, most = 0; i < MG_SIBLINGS; i++) { /* of equals the first, which is the smallest as a rule */
      int q = (bits & 1u << i) ? mg_http_accepts_coding(hm, mg_str(s_coding[i])) : 0;
      if (q > most) most = q, best = i;
    }
    if (best < 0 || most < mg_http_accepts_coding(hm, mg_str("identity"))) return;
    if (find_coded(mgr, site, f, best, &coded)) break;
    bits &= ~(1u << best);
  }
  if (bits == 0) return;
  mg_http_file_close(f);
  f->file = coded.file;
  f->fs = coded.fs;
  f->size = coded.size;
  f->modified = coded.modified;
  if (f->file != NULL) {
    f->etag = coded.etag;
    f->fields = coded.fields;
  } else { /* the lines are in `coded` */
    memcpy(f->own_fields, coded.own_fields, sizeof(f->own_fields));
    f->fields = mg_str_n(f->own_fields, coded.fields.len);
    f->etag = mg_str_n(f->own_fields + (coded.etag.buf - coded.own_fields), coded.etag.len);
  }
  f->coding = s_coding[best];
  f->suffix = s_suffix[best];
}

enum mg_file_kind mg_http_file_open(struct mg_mgr *mgr, const struct mg_http_site *site, const struct mg_http_message *hm,
                                    struct mg_http_file *f) {
  enum mg_file_kind kind = find(mgr, site, f);
  f->coding = NULL;
  f->suffix = "";
  f->has_codings = false;
  if (kind == MG_FILE_REGULAR && hm != NULL) choose_coding(mgr, site, hm, f);
  return kind;
}

void mg_http_file_close(struct mg_http_file *f) {
  if (f->file != NULL) mg_file_drop(f->file);
  f->file = NULL;
}

/* ---- its bytes ---- */

/* `len` bytes from `from` into `to`; false when there are not that many. */
static bool read_into(struct mg_http_file *f, uint64_t from, char *to, size_t len) {
  size_t done = 0;
  if (f->file != NULL) {
    while (done < len) {
      ssize_t n = pread(f->file->fd, to + done, len - done, (off_t) (from + done));
      if (n <= 0) break;
      done += (size_t) n;
    }
  } else {
    struct mg_fd *fd;
    memcpy(f->path + f->path_len, f->suffix, strlen(f->suffix) + 1); /* find_coded saw that it fits */
    fd = mg_fs_open(f->fs, f->path, MG_FS_READ);
    f->path[f->path_len] = '\0';
    if (fd == NULL) return false;
    if (from == 0 || (f->fs->sk != NULL && f->fs->sk(fd->fd, (size_t) from) == from)) {
      while (done < len) {
        size_t n = f->fs->rd(fd->fd, to + done, len - done);
        if (n == 0) break;
        done += n;
      }
    }
    mg_fs_close(fd);
  }
  return done == len;
}

struct mg_str mg_http_file_read(struct mg_http_file *f, size_t most) {
  struct mg_str s = {NULL, 0};
  if (f->size > most) return s;
  s.buf = (char *) mg_malloc((size_t) f->size + 1);
  if (s.buf == NULL) return s;
  if (!read_into(f, 0, s.buf, (size_t) f->size)) {
    mg_free(s.buf);
    s.buf = NULL;
    return s;
  }
  s.len = (size_t) f->size;
  s.buf[s.len] = '\0';
  return s;
}

static bool queue_bytes(struct mg_connection *c, struct mg_http_file *f, uint64_t from, uint64_t len) {
  char *copy;
  if (len == 0) return true;
  if (len <= SMALL) {
    if (!mg_send_reserve(c, (size_t) len) || !read_into(f, from, (char *) c->send.buf + c->send.len, (size_t) len)) return false;
    c->send.len += (size_t) len;
    mg_send_added(c);
    return true;
  }
  if (f->file != NULL) return mg_send_file_ref(c, f->file->fd, (int64_t) from, (size_t) len, mg_file_drop, mg_file_hold(f->file));
  copy = len <= MEMORY ? (char *) mg_malloc((size_t) len) : NULL;
  if (copy == NULL || !read_into(f, from, copy, (size_t) len)) {
    mg_free(copy);
    return false;
  }
  return mg_send_ref(c, copy, (size_t) len, mg_free, copy);
}

/* The head is out: what cannot follow it can only be told by an end. */
static bool queue_or_end(struct mg_connection *c, struct mg_http_file *f, uint64_t from, uint64_t len) {
  if (queue_bytes(c, f, from, len)) return true;
  c->is_closing = 1;
  mg_touch(c);
  return true;
}

/* ---- the answer ---- */

static bool has_line(struct mg_str lines, const char *name) {
  struct mg_str line;
  size_t n = strlen(name);
  while (mg_span(lines, &line, &lines, '\n')) {
    if (line.len > n && line.buf[n] == ':' && strncasecmp(line.buf, name, n) == 0) return true;
  }
  return false;
}

struct lines {
  char *buf, few[HEAD_ROOM];
  size_t len, size;
};

static void add(struct lines *l, const char *s, size_t n) {
  if (n > l->size - l->len) n = 0; /* cannot be: sized beforehand */
  if (n > 0) memcpy(l->buf + l->len, s, n);
  l->len += n;
}

static void add_line(struct lines *l, const char *name, struct mg_str value) {
  add(l, name, strlen(name));
  add(l, value.buf, value.len);
  add(l, "\r\n", 2);
}

static struct mg_str text_of(const char *s) {
  return mg_str_n(s, s != NULL ? strlen(s) : 0);
}

/* The fields of an answer with `code`; what = NULL: no Content-Type. False: out of memory. */
static bool begin_lines(struct lines *l, const struct mg_http_serve_opts *o, const struct mg_http_file *f, int code, struct mg_str type,
                        size_t room) {
  struct mg_str extra = text_of(o->extra_headers), cache = text_of(o->cache_control);
  bool body = code != 304;
  l->len = 0;
  l->size = 256 + f->fields.len + type.len + cache.len + extra.len + room;
  l->buf = l->size <= sizeof(l->few) ? l->few : (char *) mg_malloc(l->size);
  if (l->buf == NULL) return false;
  if (body && type.len > 0 && !(extra.len > 0 && has_line(extra, "Content-Type"))) add_line(l, "Content-Type: ", type);
  if (code < 400) add(l, f->fields.buf, f->fields.len);
  if (body && f->coding != NULL) add_line(l, "Content-Encoding: ", mg_str(f->coding));
  if (f->has_codings) add_line(l, "Vary: ", mg_str("Accept-Encoding"));
  if (cache.len > 0 && code < 400 && !(extra.len > 0 && has_line(extra, "Cache-Control"))) add_line(l, "Cache-Control: ", cache);
  if (code < 400) add(l, extra.buf, extra.len);
  return true;
}

static void end_lines(struct lines *l) {
  if (l->buf != l->few) mg_free(l->buf);
}

bool mg_http_plain(struct mg_connection *c, int code, const char *headers) {
  char lines[512], body[64];
  struct mg_str h = {lines, 0}, b = {body, 0};
  h.len = mg_snprintf(lines, sizeof(lines), "Content-Type: text/plain; charset=utf-8\r\n%s", headers);
  b.len = mg_snprintf(body, sizeof(body), "%d %s\n", code, mg_http_status_text(code));
  return mg_http_reply_n(c, code, h, b);
}

static bool send_ranges(struct mg_connection *c, const struct mg_http_serve_opts *o, struct mg_http_file *f, struct mg_str type,
                        const struct mg_http_range *r, int n) {
  enum { PART = 160 };
  char boundary[33], head[PART + 256], field[96];
  struct mg_str multi = {field, 0};
  unsigned char random[16];
  uint64_t total = 0;
  size_t len;
  struct lines l;
  bool ok, with_body = false;
  int i;
  if (type.len > 256) type = mg_str("application/octet-stream"); /* someone's own; it must fit the parts */
  if (!mg_random(random, sizeof(random))) return mg_http_plain(c, 503, ""); /* a boundary that could be guessed could be in the file */
  mg_snprintf(boundary, sizeof(boundary), "%M", mg_print_hex, (int) sizeof(random), random);
  multi.len = mg_snprintf(field, sizeof(field), "multipart/byteranges; boundary=%s", boundary);
#define PART_HEAD(i)                                                                                                                 \
  mg_snprintf(head, sizeof(head), "%s--%s\r\nContent-Type: %.*s\r\nContent-Range: bytes %llu-%llu/%llu\r\n\r\n", (i) > 0 ? "\r\n" : "", \
              boundary, (int) type.len, type.buf, (unsigned long long) r[i].from, (unsigned long long) (r[i].from + r[i].len - 1),     \
              (unsigned long long) f->size)
  for (i = 0; i < n; i++) total += PART_HEAD(i) + r[i].len;
  total += 2 + 2 + 32 + 4;
  if (!begin_lines(&l, o, f, 206, multi, 0)) return mg_http_plain(c, 503, "");
  ok = mg_http_reply_head(c, 206, mg_str_n(l.buf, l.len), total, &with_body);
  end_lines(&l);
  if (!ok || !with_body) return ok;
  for (i = 0; i < n && ok; i++) {
    len = PART_HEAD(i);
    ok = mg_send(c, head, len) && queue_bytes(c, f, r[i].from, r[i].len);
  }
  len = mg_snprintf(head, sizeof(head), "\r\n--%s--\r\n", boundary);
  if (!ok || !mg_send(c, head, len)) {
    c->is_closing = 1;
    mg_touch(c);
  }
#undef PART_HEAD
  return true;
}

static bool send_part(struct mg_connection *c, const struct mg_http_serve_opts *o, struct mg_http_file *f, struct mg_str type, int code,
                      const struct mg_http_range *r) {
  struct lines l;
  char content_range[96];
  bool ok, with_body = false;
  if (!begin_lines(&l, o, f, code, type, sizeof(content_range))) return mg_http_plain(c, 503, "");
  if (code == 206) {
    add(&l, content_range, mg_snprintf(content_range, sizeof(content_range), "Content-Range: bytes %llu-%llu/%llu\r\n",
                                       (unsigned long long) r->from, (unsigned long long) (r->from + r->len - 1),
                                       (unsigned long long) f->size));
  }
  ok = mg_http_reply_head(c, code, mg_str_n(l.buf, l.len), r->len, &with_body);
  end_lines(&l);
  return ok && with_body ? queue_or_end(c, f, r->from, r->len) : ok;
}

bool mg_http_file_send(struct mg_connection *c, const struct mg_http_message *hm, const struct mg_http_serve_opts *o,
                       struct mg_http_file *f, int code) {
  struct mg_http_range ranges[MG_HTTP_RANGES], whole = {0, f->size};
  const struct mg_str *range;
  struct mg_str type = mg_mime_type(mg_str_n(f->path, f->path_len), text_of(o->mime_types));
  enum mg_http_cond cond;
  char line[96];
  int n = 0;
  if (f->fs != NULL && f->size > MEMORY && hm->method.len == 3) return mg_http_plain(c, 500, ""); /* such a file system is for small ones */
  if (code != 200) return send_part(c, o, f, type, code, &whole);
  cond = mg_http_cond(hm, f->etag, f->modified, (int64_t) (mg_now() / 1000));
  if (cond == MG_HTTP_FAILED) return mg_http_plain(c, 412, "");
  if (cond == MG_HTTP_NOT_MODIFIED) {
    whole.len = 0;
    return send_part(c, o, f, type, 304, &whole);
  }
  range = cond == MG_HTTP_SEND && hm->method.len == 3 ? mg_http_only_field(hm, "Range") : NULL; /* RFC 9110 14.2: of GET only */
  if (range != NULL) n = mg_http_ranges(*range, f->size, ranges);
  if (n < 0) {
    mg_snprintf(line, sizeof(line), "Accept-Ranges: bytes\r\nContent-Range: bytes */%llu\r\n", (unsigned long long) f->size);
    return mg_http_plain(c, 416, line);
  }
  if (n > 1 && f->coding != NULL) n = 0; /* clients would undo the coding on the multipart, which has none: RFC 9110 14.2 lets it be whole */
  if (n > 1) return send_ranges(c, o, f, type, ranges, n);
  if (n == 1) return send_part(c, o, f, type, 206, ranges);
  return send_part(c, o, f, type, 200, &whole);
}
