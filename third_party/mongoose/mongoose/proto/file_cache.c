/* file_cache.c - at most a few hundred descriptors, dropped when nobody asked for them lately: a deleted file gives its space back. */
#include "mongoose/proto/file_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/clock.h"
#include "mongoose/codec/http_time.h"
#include "mongoose/proto/http_conn.h"

enum { BUCKETS = 256, MOST = 512, LEAST = 8, KEEP_MS = 10000 };

struct mg_files {
  struct mg_mgr *mgr;
  struct mg_file *bucket[BUCKETS];
  struct mg_file *newest, *oldest;
  size_t count, most;
  struct mg_timer timer;
  bool timed;
};

#if defined(__APPLE__)
#define NANOS(st, which) ((int64_t) (st)->st_##which##timespec.tv_sec * 1000000000 + (st)->st_##which##timespec.tv_nsec)
#else
#define NANOS(st, which) ((int64_t) (st)->st_##which##tim.tv_sec * 1000000000 + (st)->st_##which##tim.tv_nsec)
#endif

struct mg_file *mg_file_hold(struct mg_file *f) {
  f->refs++;
  return f;
}

void mg_file_drop(void *arg) {
  struct mg_file *f = (struct mg_file *) arg;
  if (--f->refs > 0) return;
  close(f->fd);
  mg_free(f);
}

/* ---- the list by use ---- */

static void unlink_use(struct mg_files *fs, struct mg_file *f) {
  if (f->newer != NULL) {
    f->newer->older = f->older;
  } else {
    fs->newest = f->older;
  }
  if (f->older != NULL) {
    f->older->newer = f->newer;
  } else {
    fs->oldest = f->newer;
  }
}

static void link_use(struct mg_files *fs, struct mg_file *f) {
  f->newer = NULL;
  f->older = fs->newest;
  if (fs->newest != NULL) {
    fs->newest->newer = f;
  } else {
    fs->oldest = f;
  }
  fs->newest = f;
}

static void forget(struct mg_files *fs, struct mg_file *f) {
  struct mg_file **slot = &fs->bucket[f->hash % BUCKETS];
  while (*slot != f) slot = &(*slot)->next;
  *slot = f->next;
  unlink_use(fs, f);
  fs->count--;
  mg_file_drop(f);
}

static void expire(void *arg) {
  struct mg_files *fs = (struct mg_files *) arg;
  while (fs->oldest != NULL && fs->oldest->used + KEEP_MS <= fs->mgr->now) forget(fs, fs->oldest);
  fs->timed = fs->count > 0;
  if (fs->timed) mg_timer_init(&fs->mgr->timers, &fs->timer, KEEP_MS, MG_TIMER_ONCE, expire, fs);
}

static struct mg_files *files_of(struct mg_mgr *mgr) {
  struct mg_http_pool *pool = mg_http_pool(mgr);
  struct mg_files *fs;
  if (pool == NULL || pool->files != NULL) return pool != NULL ? pool->files : NULL;
  fs = (struct mg_files *) mg_calloc(1, sizeof(*fs));
  if (fs == NULL) return NULL;
  fs->mgr = mgr;
  fs->most = mgr->max_connections / 16; /* connections come first where descriptors are few */
  if (fs->most > MOST) fs->most = MOST;
  if (fs->most < LEAST) fs->most = LEAST;
  return pool->files = fs;
}

void mg_files_free(struct mg_files *fs) {
  if (fs == NULL) return;
  if (fs->timed) mg_timer_free(&fs->mgr->timers, &fs->timer);
  while (fs->oldest != NULL) forget(fs, fs->oldest);
  mg_free(fs);
}

/* ---- one file ---- */

static bool same(const struct mg_file *f, const struct stat *st) {
  return f->ino == (uint64_t) st->st_ino && f->dev == (uint64_t) st->st_dev && f->size == (uint64_t) st->st_size &&
         f->mtime == NANOS(st, m) && f->ctime == NANOS(st, c) && S_ISREG(st->st_mode);
}

static char *put_hex(char *p, uint64_t v) {
  static const char hex[] = "0123456789abcdef";
  int shift = 60;
  while (shift > 0 && (v >> shift & 15) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) *p++ = hex[v >> shift & 15];
  return p;
}

#define PUT(p, literal) (memcpy(p, literal, sizeof(literal) - 1), (p) + sizeof(literal) - 1)

size_t mg_file_fields(char *to, uint64_t ino, uint64_t size, int64_t mtime_ns, int64_t modified, struct mg_str *etag) {
  char *p = PUT(to, "ETag: ");
  etag->buf = p;
  *p++ = '"';
  p = put_hex(p, ino);
  *p++ = '-';
  p = put_hex(p, size);
  *p++ = '-';
  p = put_hex(p, (uint64_t) mtime_ns);
  *p++ = '"';
  etag->len = (size_t) (p - etag->buf);
  p = PUT(p, "\r\nLast-Modified: ");
  mg_http_time_write(modified, p);
  p += MG_HTTP_TIME_LEN;
  p = PUT(p, "\r\nAccept-Ranges: bytes\r\n");
  return (size_t) (p - to);
}

static enum mg_file_kind kind_of_error(void) {
  if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) return MG_FILE_BUSY;
  return errno == EIO ? MG_FILE_BROKEN : MG_FILE_NONE; /* what may not be read is not there for the client, either */
}

/* First without opening (O_PATH), because opening a FIFO or a device is an event for whoever is at its other end. */
static enum mg_file_kind open_file(const char *path, size_t root_len, int *fd, struct stat *st) {
  char root[MG_PATH_MAX];
  const char *rel = path + root_len;
  int flags = O_RDONLY;
#if defined(O_PATH)
  flags = O_PATH;
#endif
  if (root_len >= sizeof(root)) return MG_FILE_NONE;
  memcpy(root, path, root_len);
  root[root_len] = '\0';
  while (*rel == '/' && root_len > 0) rel++;
  if (root_len == 0) {
    if (stat(path, st) != 0) return kind_of_error();
  } else {
    *fd = mg_open_beneath(root, rel, flags, false);
    if (*fd < 0) return kind_of_error();
    if (fstat(*fd, st) != 0) memset(st, 0, sizeof(*st));
    close(*fd);
  }
  if (S_ISDIR(st->st_mode)) return MG_FILE_FOLDER;
  if (!S_ISREG(st->st_mode)) return MG_FILE_NONE;
  *fd = root_len == 0 ? open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : mg_open_beneath(root, rel, O_RDONLY, false);
  if (*fd < 0) return kind_of_error();
  if (fstat(*fd, st) == 0 && S_ISREG(st->st_mode)) return MG_FILE_REGULAR;
  close(*fd); /* exchanged in between */
  return MG_FILE_NONE;
}

static struct mg_file *find(const struct mg_files *fs, const char *path, size_t len, size_t root_len, uint32_t hash) {
  struct mg_file *f = fs->bucket[hash % BUCKETS];
  while (f != NULL && !(f->hash == hash && f->path_len == len && f->root_len == root_len && memcmp(f->path, path, len) == 0)) f = f->next;
  return f;
}

static struct mg_file *file_new(const char *path, size_t path_len, size_t root_len, int fd, const struct stat *st) {
  struct mg_file *f = (struct mg_file *) mg_malloc(sizeof(*f) + path_len + 1);
  int64_t now = (int64_t) (mg_now() / 1000);
  if (f == NULL) return NULL;
  memset(f, 0, sizeof(*f));
  f->refs = 1;
  f->fd = fd;
  f->dev = (uint64_t) st->st_dev;
  f->ino = (uint64_t) st->st_ino;
  f->size = (uint64_t) st->st_size;
  f->mtime = NANOS(st, m);
  f->ctime = NANOS(st, c);
  f->modified = (int64_t) st->st_mtime < now ? (int64_t) st->st_mtime : now;
  f->fields_len = mg_file_fields(f->fields, f->ino, f->size, f->mtime, f->modified, &f->etag);
  f->root_len = root_len;
  f->path_len = path_len;
  memcpy(f->path, path, path_len + 1);
  return f;
}

enum mg_file_kind mg_file_get(struct mg_mgr *mgr, const char *path, size_t len, size_t root_len, bool again, struct mg_file **file) {
  struct mg_files *fs = files_of(mgr);
  uint32_t hash = 2166136261u;
  enum mg_file_kind kind;
  struct mg_file *f;
  struct stat st;
  size_t i;
  int fd = -1;
  *file = NULL;
  if (fs == NULL) return MG_FILE_BUSY;
  for (i = 0; i < len; i++) hash = (hash ^ (unsigned char) path[i]) * 16777619u;
  f = find(fs, path, len, root_len, hash);
  if (f != NULL && (again || f->turn != mgr->stats.turns)) {
    if (stat(path, &st) != 0 || !same(f, &st)) {
      forget(fs, f);
      f = NULL;
    } else {
      f->turn = mgr->stats.turns;
    }
  }
  if (f == NULL) {
    kind = open_file(path, root_len, &fd, &st);
    if (kind == MG_FILE_BUSY && fs->oldest != NULL) { /* perhaps we have the ones that are missing */
      while (fs->oldest != NULL) forget(fs, fs->oldest);
      kind = open_file(path, root_len, &fd, &st);
    }
    if (kind != MG_FILE_REGULAR) return kind;
    f = file_new(path, len, root_len, fd, &st);
    if (f == NULL) {
      close(fd);
      return MG_FILE_BUSY;
    }
    while (fs->count >= fs->most) forget(fs, fs->oldest);
    f->hash = hash;
    f->turn = mgr->stats.turns;
    f->next = fs->bucket[hash % BUCKETS];
    fs->bucket[hash % BUCKETS] = f;
    fs->count++;
    link_use(fs, f);
    if (!fs->timed) {
      mg_timer_init(&mgr->timers, &fs->timer, KEEP_MS, MG_TIMER_ONCE, expire, fs);
      fs->timed = true;
    }
  } else if (fs->newest != f) {
    unlink_use(fs, f);
    link_use(fs, f);
  }
  f->used = mgr->now;
  *file = mg_file_hold(f);
  return MG_FILE_REGULAR;
}
