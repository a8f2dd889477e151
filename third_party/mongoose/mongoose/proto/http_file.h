/* http_file.h - private to proto/: from a request's path to a file, and from a file to an answer.
 *
 *   URI path --http_static.c--> path on disk --file_cache.c or mg_fs--> struct mg_http_file --http_file.c--> answer
 */
#pragma once
#include "mongoose/proto/file_cache.h"
#include "mongoose/proto/http_conn.h"
#include "mongoose/proto/http_static.h"

MG_BEGIN_DECLS

/* Where files come from, for one answer. */
struct mg_http_site {
  const struct mg_http_serve_opts *opts;
  struct mg_str root; /* folder, without slashes at the end unless it is "/" itself; empty: the path is the program's own */
  bool again;         /* look at the disk although this turn of the loop did */
};

/* What is behind the root in a path below it. */
static inline const char *mg_http_behind_root(const struct mg_http_site *site, const char *path) {
  path += site->root.len;
  while (*path == '/') path++;
  return path;
}

/* A file that was found. Free it with mg_http_file_close. */
struct mg_http_file {
  struct mg_file *file; /* of the host, or NULL: */
  struct mg_fs *fs;
  char path[MG_PATH_MAX];
  size_t path_len;
  uint64_t size;
  int64_t modified;
  struct mg_str etag, fields;
  char own_fields[128];
  const char *coding; /* Content-Encoding, or NULL */
  const char *suffix; /* of the sibling that has it, or "" */
  bool has_codings;   /* what is sent depends on Accept-Encoding */
};

/* http_file.c */
/* Find the file that f->path names; with hm perhaps a coded sibling instead that this client likes better. */
enum mg_file_kind mg_http_file_open(struct mg_mgr *mgr, const struct mg_http_site *site, const struct mg_http_message *hm,
                                    struct mg_http_file *f);
void mg_http_file_close(struct mg_http_file *f);
/* Answer with it, by the preconditions and ranges of hm. code 200, or an error whose page it is: then without those. */
bool mg_http_file_send(struct mg_connection *c, const struct mg_http_message *hm, const struct mg_http_serve_opts *opts,
                       struct mg_http_file *f, int code);
bool mg_http_plain(struct mg_connection *c, int code, const char *headers); /* an answer that names its status, nothing more */
/* The whole file in memory of its own, NUL behind it; {NULL, 0} when it cannot be read or is longer than `most`. */
struct mg_str mg_http_file_read(struct mg_http_file *f, size_t most);

/* http_listing.c */
bool mg_http_list(struct mg_connection *c, const struct mg_http_message *hm, const struct mg_http_site *site, const char *path);

/* http_ssi.c: f is the page; path and root as in mg_http_site */
bool mg_http_ssi(struct mg_connection *c, const struct mg_http_site *site, struct mg_http_file *f);

/* http_static.c */
/* Names between slashes, decoded once when `decode`, into to as "a/b" with a NUL. 0, 400 for what no client may send (a malformed
 * percent-encoding, a NUL), 404 for what names nothing here: "..", hidden names, a slash or backslash inside of a name, too long. */
int mg_http_path(struct mg_str path, bool decode, bool dotfiles, char *to, size_t room);
bool mg_http_serve_site(struct mg_connection *c, const struct mg_http_message *hm, const struct mg_http_site *site, struct mg_str rest);

MG_END_DECLS
