/* http_ssi.c - server-side includes: the two forms of <!--#include … -->, below the root and to a depth, and nothing that runs anything. */
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/codec/mime.h"
#include "mongoose/proto/http_file.h"

enum { DEPTH = 8 };
static const size_t MOST = 16u << 20; /* bytes of a page, includes and all */
static const char s_error[] = "[an error occurred while processing this directive]"; /* what servers have always said */

struct page {
  struct mg_mgr *mgr;
  const struct mg_http_site *site;
  struct mg_iobuf out;
  bool failed;
};

static void add(struct page *p, const char *s, size_t n) {
  if (p->failed || n == 0) return;
  if (n > MOST - p->out.len || mg_iobuf_add(&p->out, (size_t) -1, s, n) != n) p->failed = true;
}

static void add_file(struct page *p, struct mg_http_file *f, int depth);

static const char *find_text(const char *p, const char *end, const char *what) {
  size_t n = strlen(what);
  while ((size_t) (end - p) >= n) {
    const char *q = (const char *) memchr(p, *what, (size_t) (end - p) - n + 1);
    if (q == NULL || memcmp(q, what, n) == 0) return q;
    p = q + 1;
  }
  return NULL;
}

/* include (file|virtual) = "value" */
static bool read_include(struct mg_str s, bool *is_virtual, struct mg_str *value) {
  struct mg_str word, rest;
  const char *quote;
  static const char blanks[] = " \t\r\n";
  while (s.len > 0 && strchr(blanks, *s.buf) != NULL) s.buf++, s.len--;
  if (s.len < 8 || memcmp(s.buf, "include", 7) != 0 || strchr(blanks, s.buf[7]) == NULL) return false;
  s = mg_str_n(s.buf + 7, s.len - 7);
  while (s.len > 0 && strchr(blanks, *s.buf) != NULL) s.buf++, s.len--;
  if (!mg_span(s, &word, &rest, '=')) return false;
  *is_virtual = mg_strcmp(word, mg_str("virtual")) == 0;
  if ((!*is_virtual && mg_strcmp(word, mg_str("file")) != 0) || rest.len < 2 || rest.buf[0] != '"') return false;
  quote = (const char *) memchr(rest.buf + 1, '"', rest.len - 1);
  if (quote == NULL) return false;
  *value = mg_str_n(rest.buf + 1, (size_t) (quote - rest.buf - 1));
  return true;
}

static bool include(struct page *p, const struct mg_http_file *from, struct mg_str directive, int depth) {
  struct mg_http_file *f;
  struct mg_str value;
  bool is_virtual, ok = false;
  size_t n = (size_t) (mg_http_behind_root(p->site, from->path) - from->path), beside = from->path_len;
  if (depth >= DEPTH || !read_include(directive, &is_virtual, &value) || value.len == 0) return false;
  if (!is_virtual) { /* beside the page */
    if (value.buf[0] == '/') return false;
    while (beside > n && from->path[beside - 1] != '/') beside--;
    n = beside;
  }
  f = (struct mg_http_file *) mg_malloc(sizeof(*f)); /* not on the stack, once per level */
  if (f == NULL) return false;
  memcpy(f->path, from->path, n);
  if (n < sizeof(f->path) && mg_http_path(value, is_virtual, p->site->opts->dotfiles, f->path + n, sizeof(f->path) - n) == 0) {
    f->path_len = n + strlen(f->path + n);
    ok = mg_http_file_open(p->mgr, p->site, NULL, f) == MG_FILE_REGULAR;
    if (ok) add_file(p, f, depth + 1);
    if (ok) mg_http_file_close(f);
  }
  mg_free(f);
  return ok;
}

static void add_file(struct page *p, struct mg_http_file *f, int depth) {
  struct mg_str text = mg_http_file_read(f, MOST);
  const char *at = text.buf, *end = text.buf + text.len;
  if (text.buf == NULL) p->failed = true;
  while (text.buf != NULL && at < end && !p->failed) { /* else a page of many includes goes on to read what is for nobody */
    const char *open = find_text(at, end, "<!--#"), *close = open != NULL ? find_text(open, end, "-->") : NULL;
    if (close == NULL) break;
    add(p, at, (size_t) (open - at));
    if (!include(p, f, mg_str_n(open + 5, (size_t) (close - open - 5)), depth)) add(p, s_error, sizeof(s_error) - 1);
    at = close + 3;
  }
  if (text.buf != NULL) add(p, at, (size_t) (end - at));
  mg_free(text.buf);
}

bool mg_http_ssi(struct mg_connection *c, const struct mg_http_site *site, struct mg_http_file *f) {
  struct page p = {c->mgr, site, {NULL, 0, 0, 0, NULL}, false};
  const char *extra_types = site->opts->mime_types, *extra = site->opts->extra_headers;
  struct mg_iobuf head = {NULL, 0, 0, 256, NULL};
  struct mg_str type = mg_mime_type(mg_str_n(f->path, f->path_len), mg_str_n(extra_types, extra_types != NULL ? strlen(extra_types) : 0));
  struct mg_http_file plain = *f; /* of a coded sibling there is nothing to read */
  bool ok;
  if (mg_http_file_open(c->mgr, site, NULL, &plain) != MG_FILE_REGULAR) return mg_http_plain(c, 404, "");
  add_file(&p, &plain, 0);
  mg_http_file_close(&plain);
  if (type.len == 24 && memcmp(type.buf, "application/octet-stream", 24) == 0) type = mg_str("text/html; charset=utf-8");
  if (p.failed || mg_iobuf_add(&head, 0, "Content-Type: ", 14) == 0 || mg_iobuf_add(&head, head.len, type.buf, type.len) == 0 ||
      mg_iobuf_add(&head, head.len, "\r\n", 2) == 0 ||
      (extra != NULL && *extra != '\0' && mg_iobuf_add(&head, head.len, extra, strlen(extra)) == 0)) {
    ok = mg_http_plain(c, 500, "");
  } else {
    ok = mg_http_reply_n(c, 200, mg_str_n((char *) head.buf, head.len), mg_str_n((char *) p.out.buf, p.out.len));
  }
  mg_iobuf_free(&head);
  mg_iobuf_free(&p.out);
  return ok;
}

bool mg_http_serve_ssi(struct mg_connection *c, const char *root, const char *fullpath) {
  static const struct mg_http_serve_opts none;
  struct mg_http_site site = {&none, mg_str_n(root, strlen(root)), true};
  struct mg_http_file f;
  struct mg_str rest;
  size_t n;
  while (site.root.len > 1 && root[site.root.len - 1] == '/') site.root.len--;
  rest = mg_str_n(fullpath + site.root.len, strlen(fullpath) > site.root.len ? strlen(fullpath) - site.root.len : 0);
  if (site.root.len == 0 || site.root.len + 1 >= sizeof(f.path) || strncmp(fullpath, root, site.root.len) != 0 || rest.len == 0 ||
      (rest.buf[0] != '/' && root[site.root.len - 1] != '/')) {
    return mg_http_plain(c, 404, "");
  }
  n = site.root.len;
  memcpy(f.path, root, n);
  if (root[n - 1] != '/') f.path[n++] = '/';
  if (mg_http_path(rest, false, true, f.path + n, sizeof(f.path) - n) != 0) return mg_http_plain(c, 404, "");
  f.path_len = strlen(f.path);
  return mg_http_ssi(c, &site, &f);
}
