/* http_listing.c - a folder as a page, for those who ask for it. Names are data: escaped for HTML where they are shown, percent-encoded
 * and behind "./" where they are links, so that no name is markup, a scheme or a host.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/printf.h"
#include "mongoose/codec/http_time.h"
#include "mongoose/codec/url.h"
#include "mongoose/proto/http_file.h"

enum { MOST = 10000 };

struct entry {
  char *name;
  uint64_t size;
  int64_t modified;
  bool is_folder;
};

struct listing {
  const struct mg_http_site *site;
  const char *path; /* of the folder, with a slash */
  struct entry *entries;
  size_t count, room;
  bool failed, cut;
};

static void add(struct listing *l, const char *name, uint64_t size, int64_t modified, bool is_folder) {
  struct entry *e;
  if (l->failed || l->cut) return;
  if (l->count == MOST) {
    l->cut = true;
    return;
  }
  if (l->count == l->room) {
    size_t room = l->room > 0 ? 2 * l->room : 64;
    e = (struct entry *) mg_realloc(l->entries, room * sizeof(*e));
    if (e == NULL) {
      l->failed = true;
      return;
    }
    l->entries = e;
    l->room = room;
  }
  e = &l->entries[l->count];
  e->name = mg_strdup(mg_str(name)).buf;
  e->size = size;
  e->modified = modified;
  e->is_folder = is_folder;
  if (e->name == NULL) {
    l->failed = true;
  } else {
    l->count++;
  }
}

static bool shown(const struct listing *l, const char *name) {
  return name[0] != '\0' && strchr(name, '\\') == NULL && (name[0] != '.' || l->site->opts->dotfiles);
}

static void add_other(const char *name, void *arg) {
  struct listing *l = (struct listing *) arg;
  struct mg_fs *fs = l->site->opts->fs;
  char path[MG_PATH_MAX];
  size_t size = 0;
  time_t mtime = 0;
  int flags;
  if (!shown(l, name) || mg_snprintf(path, sizeof(path), "%s%s", l->path, name) >= sizeof(path)) return;
  flags = fs->st(path, &size, &mtime);
  if (flags != 0) add(l, name, size, (int64_t) mtime, (flags & MG_FS_DIR) != 0);
}

/* What a link leads to is shown only when it would be served. */
static bool look_at(const struct listing *l, int dir, const char *name, struct stat *st) {
  char path[MG_PATH_MAX], root[MG_PATH_MAX];
  int fd;
  bool ok;
  if (fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) != 0) return false;
  if (!S_ISLNK(st->st_mode)) return true;
  if (mg_snprintf(path, sizeof(path), "%s%s", mg_http_behind_root(l->site, l->path), name) >= sizeof(path)) return false;
  mg_snprintf(root, sizeof(root), "%.*s", (int) l->site->root.len, l->site->root.buf);
#if defined(O_PATH)
  fd = mg_open_beneath(root, path, O_PATH, false);
#else
  fd = mg_open_beneath(root, path, O_RDONLY, false);
#endif
  if (fd < 0) return false;
  ok = fstat(fd, st) == 0;
  close(fd);
  return ok;
}

static bool read_host(struct listing *l) {
  char root[MG_PATH_MAX];
  struct dirent *e;
  int fd;
  DIR *dir;
  mg_snprintf(root, sizeof(root), "%.*s", (int) l->site->root.len, l->site->root.buf);
  fd = mg_open_beneath(root, mg_http_behind_root(l->site, l->path), O_RDONLY | O_DIRECTORY, false);
  dir = fd >= 0 ? fdopendir(fd) : NULL;
  if (dir == NULL) {
    if (fd >= 0) close(fd);
    return false;
  }
  while ((e = readdir(dir)) != NULL) {
    struct stat st;
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || !shown(l, e->d_name)) continue;
    if (!look_at(l, fd, e->d_name, &st) || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))) continue;
    add(l, e->d_name, (uint64_t) st.st_size, (int64_t) st.st_mtime, S_ISDIR(st.st_mode));
  }
  closedir(dir);
  return true;
}

static bool read_other(struct listing *l) {
  struct mg_fs *fs = l->site->opts->fs;
  char path[MG_PATH_MAX];
  size_t n = strlen(l->path);
  if (fs->ls == NULL || fs->st == NULL || n == 0 || n >= sizeof(path)) return false;
  memcpy(path, l->path, n + 1);
  while (n > 1 && path[n - 1] == '/') path[--n] = '\0';
  if (!(fs->st(path, NULL, NULL) & MG_FS_DIR)) return false;
  fs->ls(path, add_other, l);
  return true;
}

static int by_name(const void *a, const void *b) {
  const struct entry *x = (const struct entry *) a, *y = (const struct entry *) b;
  if (x->is_folder != y->is_folder) return x->is_folder ? -1 : 1;
  return strcmp(x->name, y->name);
}

static void print_text(struct mg_iobuf *io, const char *s, size_t n) {
  if (n > 0) mg_xprintf(mg_pfn_iobuf, io, "%M", mg_print_html_esc, (int) n, s);
}

static void print_entry(struct mg_iobuf *io, const struct entry *e) {
  char link[3 * 256 + 1], date[MG_HTTP_TIME_LEN];
  size_t n = strlen(e->name);
  if (n > 255 || mg_url_encode(e->name, n, link, sizeof(link)) == 0) return;
  mg_http_time_write(e->modified, date);
  mg_xprintf(mg_pfn_iobuf, io, "<tr><td><a href=\"./%s%s\">", link, e->is_folder ? "/" : "");
  print_text(io, e->name, n);
  mg_xprintf(mg_pfn_iobuf, io, "%s</a></td><td>%.*s</td><td>", e->is_folder ? "/" : "", (int) sizeof(date), date);
  if (!e->is_folder) mg_xprintf(mg_pfn_iobuf, io, "%llu", (unsigned long long) e->size);
  mg_xprintf(mg_pfn_iobuf, io, "</td></tr>\n");
}

static void print_page(struct mg_iobuf *io, const struct mg_http_message *hm, const struct listing *l) {
  char title[MG_PATH_MAX];
  int n = mg_url_decode(hm->uri.buf, hm->uri.len, title, sizeof(title), 0);
  size_t i;
  int twice;
  if (n < 0) n = 0;
  mg_xprintf(mg_pfn_iobuf, io, "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\">");
  for (twice = 0; twice < 2; twice++) {
    mg_xprintf(mg_pfn_iobuf, io, twice ? "</title></head>\n<body><h1>Index of " : "<title>Index of ");
    print_text(io, title, (size_t) n);
  }
  mg_xprintf(mg_pfn_iobuf, io, "</h1>\n<table cellpadding=\"3\">\n<tr align=\"left\"><th>Name</th><th>Modified</th><th>Bytes</th></tr>\n");
  if (*mg_http_behind_root(l->site, l->path) != '\0') mg_xprintf(mg_pfn_iobuf, io, "<tr><td><a href=\"../\">../</a></td></tr>\n");
  for (i = 0; i < l->count; i++) print_entry(io, &l->entries[i]);
  mg_xprintf(mg_pfn_iobuf, io, "</table>%s</body></html>\n", l->cut ? "<p>There is more.</p>" : "");
}

bool mg_http_list(struct mg_connection *c, const struct mg_http_message *hm, const struct mg_http_site *site, const char *path) {
  static const char headers[] =
      "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-cache\r\n"
      "Content-Security-Policy: default-src 'none'\r\nX-Content-Type-Options: nosniff\r\n";
  struct listing l = {site, path, NULL, 0, 0, false, false};
  struct mg_iobuf io = {NULL, 0, 0, 4096, NULL};
  bool there = site->opts->fs == NULL || site->opts->fs == &mg_fs_posix ? read_host(&l) : read_other(&l), ok = false;
  size_t i;
  if (there && !l.failed) {
    if (l.count > 0) qsort(l.entries, l.count, sizeof(*l.entries), by_name);
    print_page(&io, hm, &l);
    ok = mg_http_reply_n(c, 200, mg_str_n(headers, sizeof(headers) - 1), mg_str_n((char *) io.buf, io.len));
    mg_iobuf_free(&io);
  } else if (there) {
    ok = mg_http_plain(c, 503, "");
  }
  for (i = 0; i < l.count; i++) mg_free(l.entries[i].name);
  mg_free(l.entries);
  return ok;
}
