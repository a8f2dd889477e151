/* fs.h - a file system as a table of functions: the host's, files packed into the program, or one of your own.
 *
 * Paths are NUL-terminated. Functions that a file system lacks are NULL. Nothing here keeps a path inside a folder: serving does.
 */
#pragma once
#include <time.h>
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

enum { MG_FS_READ = 1, MG_FS_WRITE = 2, MG_FS_DIR = 4 };

struct mg_fs {
  int (*st)(const char *path, size_t *size, time_t *mtime); /* MG_FS_… flags, 0: not there. size and mtime may be NULL */
  void (*ls)(const char *path, void (*fn)(const char *name, void *arg), void *arg); /* each entry, in no order, not "." and ".." */
  void *(*op)(const char *path, int flags); /* MG_FS_WRITE creates and appends to regular files; NULL: failed */
  void (*cl)(void *fd);
  size_t (*rd)(void *fd, void *buf, size_t len); /* 0: end or error */
  size_t (*wr)(void *fd, const void *buf, size_t len);
  size_t (*sk)(void *fd, size_t offset); /* from the start; returns where it is then */
  bool (*mv)(const char *from, const char *to);
  bool (*rm)(const char *path);
  bool (*mkd)(const char *path);
};

extern struct mg_fs mg_fs_posix;
extern struct mg_fs mg_fs_packed; /* read only */

struct mg_fd {
  void *fd;
  struct mg_fs *fs;
};

struct mg_fd *mg_fs_open(struct mg_fs *fs, const char *path, int flags); /* NULL: failed */
void mg_fs_close(struct mg_fd *fd);                                      /* NULL is allowed */
/* Step through a folder: with buf "" the first name in byte order, then the one behind the one in buf. False at the end. */
bool mg_fs_ls(struct mg_fs *fs, const char *path, char *buf, size_t len);

/* A whole file, with a NUL behind it, to be given to mg_free; {NULL, 0} when it is not there or memory is out. */
struct mg_str mg_file_read(struct mg_fs *fs, const char *path);
/* Replace a file, by writing "path.tmp" and renaming it: readers see the old one or the new one. */
bool mg_file_write(struct mg_fs *fs, const char *path, const void *buf, size_t len);
bool mg_file_printf(struct mg_fs *fs, const char *path, const char *fmt, ...);

/* ---- files in memory ---- */

struct mg_mem_file {
  const char *path; /* as it is asked for, "/web/index.html"; NULL ends the list */
  const void *data;
  size_t size;
  time_t mtime; /* seconds since 1970 */
};

/* What mg_fs_packed serves. It is mg_packed_files unless the program points it to a list of its own (before it is used); the list must
 * stay. `python -m pymongoose pack` makes a C file that defines mg_packed_files; without one that list is empty. */
extern const struct mg_mem_file *mg_mem_files;
extern const struct mg_mem_file mg_packed_files[];

/* The bytes of a packed file, {NULL, 0} when there is none. */
struct mg_str mg_unpacked(const char *path);

MG_END_DECLS
