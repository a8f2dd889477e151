/* fs_packed.c - files that are arrays of the program. A folder is what some file's path has in front of a slash. */
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/fs.h"

/* A definition that a generated one, being strong, takes the place of. */
#if defined(__GNUC__)
__attribute__((weak))
#endif
const struct mg_mem_file mg_packed_files[1] = {{NULL, NULL, 0, 0}};

const struct mg_mem_file *mg_mem_files = mg_packed_files;

struct handle {
  const struct mg_mem_file *file;
  size_t at;
};

static const struct mg_mem_file *find(const char *path) {
  const struct mg_mem_file *f = mg_mem_files;
  while (f != NULL && f->path != NULL && strcmp(f->path, path) != 0) f++;
  return f != NULL && f->path != NULL ? f : NULL;
}

/* Behind "folder/" in path, or NULL when it is not in there. */
static const char *inside(const char *path, const char *folder) {
  size_t n = strlen(folder);
  while (n > 0 && folder[n - 1] == '/') n--;
  return strncmp(path, folder, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}

struct mg_str mg_unpacked(const char *path) {
  const struct mg_mem_file *f = find(path);
  return mg_str_n(f != NULL ? (const char *) f->data : NULL, f != NULL ? f->size : 0);
}

static int packed_st(const char *path, size_t *size, time_t *mtime) {
  const struct mg_mem_file *f = find(path);
  if (f != NULL) {
    if (size != NULL) *size = f->size;
    if (mtime != NULL) *mtime = f->mtime;
    return MG_FS_READ;
  }
  for (f = mg_mem_files; f != NULL && f->path != NULL; f++) {
    if (inside(f->path, path) == NULL) continue;
    if (size != NULL) *size = 0;
    if (mtime != NULL) *mtime = 0;
    return MG_FS_READ | MG_FS_DIR;
  }
  return 0;
}

static void packed_ls(const char *path, void (*fn)(const char *, void *), void *arg) {
  const struct mg_mem_file *f, *g;
  for (f = mg_mem_files; f != NULL && f->path != NULL; f++) {
    const char *name = inside(f->path, path), *other;
    size_t n = name != NULL ? strcspn(name, "/") : 0;
    struct mg_str copy;
    if (n == 0) continue;
    for (g = mg_mem_files; g != f; g++) { /* a folder is told once */
      other = inside(g->path, path);
      if (other != NULL && strcspn(other, "/") == n && memcmp(other, name, n) == 0) break;
    }
    if (g != f) continue;
    copy = mg_strdup(mg_str_n(name, n));
    if (copy.buf != NULL) fn(copy.buf, arg);
    mg_free(copy.buf);
  }
}

static void *packed_op(const char *path, int flags) {
  const struct mg_mem_file *f = (flags & MG_FS_WRITE) ? NULL : find(path);
  struct handle *h = f != NULL ? (struct handle *) mg_calloc(1, sizeof(*h)) : NULL;
  if (h != NULL) h->file = f;
  return h;
}

static void packed_cl(void *fd) {
  mg_free(fd);
}

static size_t packed_rd(void *fd, void *buf, size_t len) {
  struct handle *h = (struct handle *) fd;
  size_t left = h->file->size - h->at;
  if (len > left) len = left;
  if (len > 0) memcpy(buf, (const char *) h->file->data + h->at, len);
  h->at += len;
  return len;
}

static size_t packed_sk(void *fd, size_t offset) {
  struct handle *h = (struct handle *) fd;
  h->at = offset < h->file->size ? offset : h->file->size;
  return h->at;
}

static size_t packed_wr(void *fd, const void *buf, size_t len) {
  (void) fd, (void) buf, (void) len;
  return 0;
}

struct mg_fs mg_fs_packed = {packed_st, packed_ls, packed_op, packed_cl, packed_rd, packed_wr, packed_sk, NULL, NULL, NULL};
