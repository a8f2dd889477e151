/* http_static.h - files over HTTP: a folder or one file, whole or in ranges, from disk or from memory (RFC 9110 13, 14, 15.3.7).
 *
 * GET and HEAD only, 405 for the rest. Strong ETag and Last-Modified, all preconditions, single and multiple ranges, and a file beside
 * it named .br, .zst or .gz instead, when the client takes that coding. Nothing outside of the root is served: not by "..", not encoded,
 * not through symbolic links. Neither are hidden files and whatever is not a regular file. Changes on disk are seen by the next request.
 */
#pragma once
#include "mongoose/base/fs.h"
#include "mongoose/proto/http.h"

MG_BEGIN_DECLS

#ifndef MG_HTTP_INDEX
#define MG_HTTP_INDEX "index.html" /* what a folder is asked for */
#endif

/* Zero is the default of every field but root_dir. */
struct mg_http_serve_opts {
  const char *root_dir;      /* "dir", or by URI prefix, the longest wins: "dir,/a=dir1,/b=dir2" */
  const char *ssi_pattern;   /* files whose path matches (mg_match) have their includes put in: "#.shtml" */
  const char *extra_headers; /* lines with \r\n, for 200, 206 and 304. What they name is not added again */
  const char *mime_types;    /* "ext=type,ext=type", before our own table */
  const char *page404;       /* path of a file to send with 404 */
  struct mg_fs *fs;          /* NULL: the host's. Another one knows no links; its files are copied to memory to be sent */
  /* ours */
  const char *cache_control; /* value of that field */
  bool listing;              /* answer a folder without an index with a list of it */
  bool dotfiles;             /* serve names that begin with a dot, too */
};

/* Answer a request with the file that its path names below opts->root_dir. A folder gets its index, and its "/" by a redirect.
 * In the handler of a request, or aimed at one (mg_http_aim). False as mg_http_reply_n. */
bool mg_http_serve_dir(struct mg_connection *c, struct mg_http_message *hm, const struct mg_http_serve_opts *opts);
/* The same with this file whatever hm's path; symbolic links are followed, it is the program that names it. opts may be NULL. */
bool mg_http_serve_file(struct mg_connection *c, struct mg_http_message *hm, const char *path, const struct mg_http_serve_opts *opts);
/* Answer with `fullpath`, a file below `root`, its includes put in: <!--#include file="beside.html" --> beside the file that says so,
 * <!--#include virtual="/x.html" --> below the root. They nest 8 deep. What cannot be included becomes an error text. */
bool mg_http_serve_ssi(struct mg_connection *c, const char *root, const char *fullpath);

/* Requests on this HTTP listener whose path is `prefix` or below it ("/assets", "/") are answered by mg_http_serve_dir without a
 * handler, with what is behind the prefix. The longest prefix wins, and mg_route_static before all. Everything is copied, but for fs;
 * opts->root_dir is one folder, whatever bytes are in it. A prefix that is set again replaces the folder. False: MG_EINVAL, MG_ENOMEM. */
bool mg_route_serve(struct mg_connection *listener, struct mg_str prefix, const struct mg_http_serve_opts *opts);

MG_END_DECLS
