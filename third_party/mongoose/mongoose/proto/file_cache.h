/* file_cache.h - private to proto/: open files of the host, found by path, kept while they are in use and a little longer.
 *
 * A hit costs one stat to see that the path still leads to the same, unchanged file, and that at most once in a turn of the loop: all
 * requests answered in a turn had arrived before it.
 */
#pragma once
#include "mongoose/loop/conn.h"

MG_BEGIN_DECLS

enum mg_file_kind {
  MG_FILE_NONE,    /* not there, not ours to show, or nothing one could serve */
  MG_FILE_REGULAR,
  MG_FILE_FOLDER,
  MG_FILE_BUSY,    /* out of descriptors or memory */
  MG_FILE_BROKEN   /* the system cannot read it */
};

enum { MG_SIBLINGS = 3 };

struct mg_file {
  struct mg_file *next;          /* in its bucket */
  struct mg_file *newer, *older; /* by use */
  unsigned refs;                 /* one is the cache's */
  int fd;
  uint64_t dev, ino, size;
  int64_t mtime, ctime;          /* nanoseconds since 1970 */
  int64_t modified;              /* seconds, never in the future (RFC 9110 8.8.2.1) */
  uint64_t turn;                 /* of the loop, in which it was last found unchanged */
  uint64_t used;                 /* ms */
  uint64_t coded_at;             /* ms: when coded siblings were looked for, 0: never */
  unsigned coded;                /* bit i: the i-th coding's sibling was there */
  struct mg_str etag;            /* in `fields` */
  char fields[128];              /* ETag, Last-Modified and Accept-Ranges lines */
  size_t fields_len;
  uint32_t hash;
  size_t root_len, path_len;
  char path[];                   /* NUL behind it */
};

struct mg_files;

/* The file `path`, a held reference in *file when regular. The first root_len bytes of it (without a slash behind them) are the folder
 * that links must not lead out of; 0: none. `again`: look even if this turn did. */
enum mg_file_kind mg_file_get(struct mg_mgr *mgr, const char *path, size_t path_len, size_t root_len, bool again, struct mg_file **file);
struct mg_file *mg_file_hold(struct mg_file *f);
void mg_file_drop(void *f); /* a struct mg_file *; fits mg_send_file_ref */
void mg_files_free(struct mg_files *files);

/* "ETag: …\r\nLast-Modified: …\r\nAccept-Ranges: bytes\r\n" into to (128 bytes). Returns the length; *etag points in there. */
size_t mg_file_fields(char *to, uint64_t ino, uint64_t size, int64_t mtime_ns, int64_t modified, struct mg_str *etag);

/* file_open.c: a descriptor of `rel` inside the folder root without leaving it, or -1 with errno. Where the kernel can follow links and
 * stay inside (openat2) it does; otherwise, or with `walk`, no link is followed at all. Never waits. */
int mg_open_beneath(const char *root, const char *rel, int flags, bool walk);

MG_END_DECLS
