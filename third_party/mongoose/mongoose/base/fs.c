/* fs.c - what can be said of any file system. */
#include "mongoose/base/fs.h"

#include <stdarg.h>
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/printf.h"

struct mg_fd *mg_fs_open(struct mg_fs *fs, const char *path, int flags) {
  struct mg_fd *fd = (struct mg_fd *) mg_calloc(1, sizeof(*fd));
  if (fd == NULL) return NULL;
  fd->fs = fs;
  fd->fd = fs->op != NULL ? fs->op(path, flags) : NULL;
  if (fd->fd != NULL) return fd;
  mg_free(fd);
  return NULL;
}

void mg_fs_close(struct mg_fd *fd) {
  if (fd == NULL) return;
  fd->fs->cl(fd->fd);
  mg_free(fd);
}

struct step {
  const char *after;
  char *best;
  size_t len;
  bool found;
};

static void step_one(const char *name, void *arg) {
  struct step *s = (struct step *) arg;
  if (strlen(name) >= s->len || strcmp(name, s->after) <= 0 || (s->found && strcmp(name, s->best) >= 0)) return;
  memcpy(s->best, name, strlen(name) + 1);
  s->found = true;
}

bool mg_fs_ls(struct mg_fs *fs, const char *path, char *buf, size_t len) {
  struct mg_str after = mg_strdup(mg_str(buf));
  struct step s = {after.buf, buf, len, false};
  if (after.buf == NULL) return false;
  if (fs->ls != NULL) fs->ls(path, step_one, &s);
  mg_free(after.buf);
  return s.found;
}

struct mg_str mg_file_read(struct mg_fs *fs, const char *path) {
  struct mg_str s = {NULL, 0};
  struct mg_iobuf io = {NULL, 0, 0, 0, NULL};
  struct mg_fd *fd = mg_fs_open(fs, path, MG_FS_READ);
  size_t size = 0;
  if (fd == NULL) return s;
  if (fs->st != NULL && fs->st(path, &size, NULL) == 0) size = 0;
  for (;;) { /* to its end, whatever size it was said to have */
    size_t n;
    if (io.size - io.len < 2 && !mg_iobuf_reserve(&io, size + 2 > io.len + 2 ? size + 2 - io.len : 4096)) {
      mg_iobuf_free(&io);
      mg_fs_close(fd);
      return s;
    }
    n = fs->rd(fd->fd, io.buf + io.len, io.size - io.len - 1);
    if (n == 0) break;
    io.len += n;
  }
  mg_fs_close(fd);
  io.buf[io.len] = '\0';
  s.buf = (char *) io.buf; /* without a chunk it is plain memory */
  s.len = io.len;
  return s;
}

static bool write_all(struct mg_fs *fs, const char *path, const char *buf, size_t len) {
  struct mg_fd *fd;
  size_t done = 0;
  if (fs->wr == NULL || fs->rm == NULL) return false;
  fs->rm(path); /* a left-over: opening appends */
  fd = mg_fs_open(fs, path, MG_FS_WRITE);
  if (fd == NULL) return false;
  while (done < len) {
    size_t n = fs->wr(fd->fd, buf + done, len - done);
    if (n == 0) break;
    done += n;
  }
  mg_fs_close(fd);
  return done == len;
}

bool mg_file_write(struct mg_fs *fs, const char *path, const void *buf, size_t len) {
  char *tmp = mg_mprintf("%s.tmp", path);
  bool ok;
  if (tmp == NULL) return false;
  ok = write_all(fs, tmp, (const char *) buf, len) && fs->mv != NULL && fs->mv(tmp, path);
  if (!ok && fs->rm != NULL) fs->rm(tmp);
  mg_free(tmp);
  return ok;
}

bool mg_file_printf(struct mg_fs *fs, const char *path, const char *fmt, ...) {
  va_list ap;
  char *text;
  bool ok;
  va_start(ap, fmt);
  text = mg_vmprintf(fmt, &ap);
  va_end(ap);
  ok = text != NULL && mg_file_write(fs, path, text, strlen(text));
  mg_free(text);
  return ok;
}
