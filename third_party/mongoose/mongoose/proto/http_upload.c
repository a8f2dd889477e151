/* http_upload.c - bodies into files. Whole ones replace the file they are meant for only when all of it is there. */
#include "mongoose/proto/http_upload.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/printf.h"
#include "mongoose/base/status.h"
#include "mongoose/codec/url.h"

static bool write_all(struct mg_fs *fs, void *fd, const char *buf, size_t len) {
  while (len > 0) {
    size_t n = fs->wr(fd, buf, len);
    if (n == 0) return false;
    buf += n;
    len -= n;
  }
  return true;
}

/* ---- in parts ---- */

static bool plain_name(const char *name, size_t len) {
  if (len == 0 || *name == '.') return false;
  for (size_t i = 0; i < len; i++) {
    unsigned char ch = (unsigned char) name[i];
    if (ch < ' ' || ch == 127 || ch == '/' || ch == '\\') return false;
  }
  return true;
}

static bool is_link(struct mg_fs *fs, const char *path) {
  struct stat st;
  return fs == &mg_fs_posix && lstat(path, &st) == 0 && S_ISLNK(st.st_mode); /* others know none */
}

/* Where the file's end is then, or minus a status. */
static long add_part(struct mg_fs *fs, const char *path, size_t offset, struct mg_str body, size_t max_size, size_t *has) {
  struct mg_fd *fd;
  bool ok;
  int kind = fs->st != NULL ? fs->st(path, has, NULL) : 0;
  if (kind == 0) *has = 0;
  if ((kind & MG_FS_DIR) || is_link(fs, path)) return -400;
  if (offset > max_size || body.len > max_size - offset || offset + body.len > LONG_MAX) return -413;
  if (offset != 0 && offset != *has) return -409;
  if (fs->wr == NULL || fs->rm == NULL || (offset == 0 && kind != 0 && !fs->rm(path))) return -500;
  fd = mg_fs_open(fs, path, MG_FS_WRITE); /* which appends */
  if (fd == NULL) return -500;
  ok = write_all(fs, fd->fd, body.buf, body.len);
  mg_fs_close(fd);
  return ok ? (long) (offset + body.len) : -500;
}

long mg_http_upload(struct mg_connection *c, struct mg_http_message *hm, struct mg_fs *fs, const char *dir, size_t max_size) {
  static const char type[] = "Content-Type: text/plain\r\n";
  char name[256], number[24], *path;
  size_t offset = 0, has = 0;
  int len = mg_http_get_var(&hm->query, "file", name, sizeof(name));
  int digits = mg_http_get_var(&hm->query, "offset", number, sizeof(number));
  long end;
  if (len < 0 || !plain_name(name, (size_t) len)) {
    mg_http_reply(c, 400, type, "file: not a plain name\n");
    return -400;
  }
  if (digits != -4 && (digits < 0 || !mg_str_to_num(mg_str_n(number, (size_t) digits), 10, &offset, sizeof(offset)))) {
    mg_http_reply(c, 400, type, "offset: not a number\n");
    return -400;
  }
  path = mg_mprintf("%s/%s", dir, name);
  end = path != NULL ? add_part(fs, path, offset, hm->body, max_size, &has) : -500;
  mg_free(path);
  if (end >= 0) {
    mg_http_reply(c, 200, type, "%ld", end);
  } else if (end == -409) {
    mg_http_reply(c, 409, type, "%lu bytes are there\n", (unsigned long) has);
  } else {
    mg_http_reply(c, (int) -end, type, "%s\n", mg_http_status_text((int) -end));
  }
  return end;
}

/* ---- one body as it arrives ---- */

struct upload {
  struct mg_fs *fs;
  struct mg_fd *fd;
  mg_event_handler_t fn; /* the application's */
  void *fn_data;
  unsigned long long size;
  char *path, *part;
};

static void upload_free(struct upload *u) {
  if (u->fd != NULL) mg_fs_close(u->fd);
  if (u->part != NULL && u->fd != NULL && u->fs->rm != NULL) u->fs->rm(u->part);
  mg_free(u->path);
  mg_free(u->part);
  mg_free(u);
}

/* c->fn while the body is coming: it is over, too, when the connection is. */
static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  struct upload *u = (struct upload *) c->fn_data;
  c->fn = u->fn;
  c->fn_data = u->fn_data;
  if (ev == MG_EV_CLOSE) upload_free(u);
  if (c->fn != NULL) c->fn(c, ev, ev_data);
  if (ev == MG_EV_CLOSE) return;
  u->fn = c->fn; /* what the application made of them */
  u->fn_data = c->fn_data;
  c->fn = on_event;
  c->fn_data = u;
}

static void on_piece(struct mg_connection *c, struct mg_str piece, bool last, void *arg) {
  struct upload *u = (struct upload *) arg;
  bool ok = write_all(u->fs, u->fd->fd, piece.buf, piece.len);
  u->size += piece.len;
  if (ok && !last) return;
  if (c->fn == on_event) {
    c->fn = u->fn;
    c->fn_data = u->fn_data;
  }
  if (ok) {
    mg_fs_close(u->fd);
    ok = u->fs->mv(u->part, u->path);
    if (!ok) u->fs->rm(u->part);
    u->fd = NULL;
  } else {
    mg_http_stop_body(c);
  }
  mg_http_reply(c, ok ? 200 : 500, "Content-Type: text/plain\r\n", ok ? "%llu" : "", u->size);
  upload_free(u);
}

bool mg_http_start_upload(struct mg_connection *c, struct mg_http_message *hm, struct mg_fs *fs, const char *path, size_t max_size) {
  struct upload *u = (struct upload *) mg_calloc(1, sizeof(*u));
  (void) hm;
  if (u != NULL) {
    u->fs = fs;
    u->path = mg_strdup(mg_str(path)).buf;
    u->part = mg_mprintf("%s.%lu.part", path, c->id); /* two may write the same file: the last whole one stays */
  }
  if (u == NULL || u->path == NULL || u->part == NULL) {
    c->mgr->status = MG_ENOMEM;
  } else if (fs->wr == NULL || fs->mv == NULL || fs->rm == NULL) {
    c->mgr->status = MG_EINVAL;
  } else {
    fs->rm(u->part);
    u->fd = mg_fs_open(fs, u->part, MG_FS_WRITE);
    if (u->fd == NULL) c->mgr->status = MG_EIO;
    if (u->fd != NULL && mg_http_stream_body(c, on_piece, u, max_size)) {
      u->fn = c->fn;
      u->fn_data = c->fn_data;
      c->fn = on_event;
      c->fn_data = u;
      return true;
    }
  }
  if (u != NULL) upload_free(u);
  return false;
}
