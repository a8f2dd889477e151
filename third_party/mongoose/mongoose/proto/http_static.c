/* http_static.c - which file does a request mean? One pass over the path decodes it and refuses whatever could leave the root. */
#include "mongoose/proto/http_static.h"

#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/match.h"
#include "mongoose/base/printf.h"
#include "mongoose/codec/url.h"
#include "mongoose/proto/http_file.h"

/* ---- paths ---- */

static int add_name(struct mg_str name, bool decode, bool dotfiles, char *to, size_t room) {
  int n;
  if (name.len >= room) return -404;
  if (decode) {
    n = mg_url_decode(name.buf, name.len, to, room, 0);
    if (n < 0) return -400;
  } else {
    memcpy(to, name.buf, name.len);
    to[n = (int) name.len] = '\0';
  }
  if (memchr(to, '\0', (size_t) n) != NULL) return -400;
  if (memchr(to, '/', (size_t) n) != NULL || memchr(to, '\\', (size_t) n) != NULL) return -404;
  if (n > 0 && to[0] == '.' && (!dotfiles || n == 1 || (n == 2 && to[1] == '.'))) return -404;
  return n;
}

int mg_http_path(struct mg_str path, bool decode, bool dotfiles, char *to, size_t room) {
  struct mg_str name;
  size_t len = 0;
  if (room > 0) to[0] = '\0';
  while (mg_span(path, &name, &path, '/')) {
    int n;
    if (name.len == 0) continue; /* slashes in a row are one */
    if (len > 0 && len < room) to[len++] = '/';
    if (len >= room) return 404;
    n = add_name(name, decode, dotfiles, to + len, room - len);
    if (n < 0) return -n;
    len += (size_t) n;
  }
  return 0;
}

/* Does `path` begin with these folders? */
static bool is_below(struct mg_str path, struct mg_str prefix) {
  while (prefix.len > 0 && prefix.buf[prefix.len - 1] == '/') prefix.len--;
  if (path.len < prefix.len || (prefix.len > 0 && memcmp(path.buf, prefix.buf, prefix.len) != 0)) return false;
  return path.len == prefix.len || path.buf[prefix.len] == '/';
}

static struct mg_str trim(struct mg_str folder) {
  while (folder.len > 1 && folder.buf[folder.len - 1] == '/') folder.len--;
  return folder;
}

/* "dir,/a=dir1,/b=dir2": the folder for this URI and what is left of it. */
static struct mg_str map_root(struct mg_str map, struct mg_str uri, struct mg_str *rest) {
  struct mg_str item, prefix, folder, root = {NULL, 0};
  size_t longest = 0;
  *rest = uri;
  while (mg_span(map, &item, &map, ',')) {
    if (item.len == 0) continue;
    mg_span(item, &prefix, &folder, '=');
    if (item.buf[0] != '/' || prefix.len == item.len) { /* no prefix */
      if (longest == 0) root = item;
    } else if (folder.len > 0 && prefix.len > longest && is_below(uri, prefix)) {
      longest = prefix.len;
      root = folder;
      *rest = mg_str_n(uri.buf + (prefix.buf[prefix.len - 1] == '/' ? prefix.len - 1 : prefix.len), 0);
      rest->len = uri.len - (size_t) (rest->buf - uri.buf);
    }
  }
  return trim(root);
}

static bool ends_in_slash(struct mg_str uri) {
  return uri.len > 0 && uri.buf[uri.len - 1] == '/';
}

/* ---- answers ---- */

static bool is_get(struct mg_str m) {
  return (m.len == 3 && memcmp(m.buf, "GET", 3) == 0) || (m.len == 4 && memcmp(m.buf, "HEAD", 4) == 0);
}

static bool not_found(struct mg_connection *c, const struct mg_http_message *hm, const struct mg_http_site *site) {
  struct mg_http_site own = {site->opts, {NULL, 0}, site->again}; /* the program named that page */
  struct mg_http_file f;
  const char *page = site->opts->page404;
  bool ok;
  if (page == NULL || *page == '\0' || strlen(page) >= sizeof(f.path)) return mg_http_plain(c, 404, "");
  f.path_len = strlen(page);
  memcpy(f.path, page, f.path_len + 1);
  if (mg_http_file_open(c->mgr, &own, NULL, &f) != MG_FILE_REGULAR) return mg_http_plain(c, 404, "");
  ok = mg_http_file_send(c, hm, site->opts, &f, 404);
  mg_http_file_close(&f);
  return ok;
}

/* To the same path with a slash behind it. Of the slashes in front one is left: "//host/" would lead to another host. */
static bool redirect(struct mg_connection *c, const struct mg_http_message *hm) {
  static const char hex[] = "0123456789ABCDEF";
  struct mg_str uri = hm->uri, none = {NULL, 0};
  char *lines = (char *) mg_malloc(3 * uri.len + 3 * hm->query.len + 32), *p = lines;
  size_t i;
  int part;
  bool ok;
  if (lines == NULL) return mg_http_plain(c, 503, "");
  while (uri.len > 1 && uri.buf[0] == '/' && uri.buf[1] == '/') uri.buf++, uri.len--;
  p += mg_snprintf(p, 16, "Location: ");
  for (part = 0; part < 2; part++) {
    struct mg_str s = part == 0 ? uri : hm->query;
    if (part == 1 && s.len > 0) *p++ = '?';
    for (i = 0; i < s.len; i++) {
      unsigned char ch = (unsigned char) s.buf[i];
      if (ch > 0x20 && ch < 0x7f && strchr("\"<>\\^`{|}", ch) == NULL) {
        *p++ = (char) ch;
      } else {
        *p++ = '%', *p++ = hex[ch >> 4], *p++ = hex[ch & 15];
      }
    }
    if (part == 0) *p++ = '/';
  }
  *p++ = '\r', *p++ = '\n';
  ok = mg_http_reply_n(c, 301, mg_str_n(lines, (size_t) (p - lines)), none);
  mg_free(lines);
  return ok;
}

static bool send_found(struct mg_connection *c, const struct mg_http_message *hm, const struct mg_http_site *site, struct mg_http_file *f) {
  const char *pattern = site->opts->ssi_pattern;
  if (pattern != NULL && *pattern != '\0' && mg_match(mg_str_n(f->path, f->path_len), mg_str(pattern), NULL)) {
    return mg_http_ssi(c, site, f);
  }
  return mg_http_file_send(c, hm, site->opts, f, 200);
}

static bool answer(struct mg_connection *c, const struct mg_http_message *hm, const struct mg_http_site *site, struct mg_http_file *f) {
  enum mg_file_kind kind = mg_http_file_open(c->mgr, site, hm, f);
  bool ok;
  switch (kind) {
    case MG_FILE_REGULAR:
      ok = send_found(c, hm, site, f);
      mg_http_file_close(f);
      return ok;
    case MG_FILE_FOLDER: /* an index that is a folder is none */
      return site->root.len > 0 && !ends_in_slash(hm->uri) ? redirect(c, hm) : not_found(c, hm, site);
    case MG_FILE_BUSY: return mg_http_plain(c, 503, "Retry-After: 1\r\n");
    case MG_FILE_BROKEN: return mg_http_plain(c, 500, "");
    default: return not_found(c, hm, site);
  }
}

bool mg_http_serve_site(struct mg_connection *c, const struct mg_http_message *hm, const struct mg_http_site *site, struct mg_str rest) {
  struct mg_http_file f;
  size_t n = site->root.len;
  int status;
  if (!is_get(hm->method)) return mg_http_plain(c, 405, "Allow: GET, HEAD\r\n");
  if (n == 0 || n + sizeof(MG_HTTP_INDEX) + 2 >= sizeof(f.path) || memchr(site->root.buf, '\0', n) != NULL) return not_found(c, hm, site);
  memcpy(f.path, site->root.buf, n);
  if (site->root.buf[n - 1] != '/') f.path[n++] = '/';
  status = mg_http_path(rest, true, site->opts->dotfiles, f.path + n, sizeof(f.path) - sizeof(MG_HTTP_INDEX) - 1 - n);
  if (status == 400) return mg_http_plain(c, 400, "");
  if (status != 0) return not_found(c, hm, site);
  f.path_len = strlen(f.path);
  if (!ends_in_slash(hm->uri)) return answer(c, hm, site, &f);
  n = f.path_len;
  if (f.path[n - 1] != '/') f.path[n++] = '/';
  memcpy(f.path + n, MG_HTTP_INDEX, sizeof(MG_HTTP_INDEX));
  f.path_len = n + sizeof(MG_HTTP_INDEX) - 1;
  if (site->opts->listing) { /* when there is no index */
    struct mg_http_file index = f;
    enum mg_file_kind kind = mg_http_file_open(c->mgr, site, NULL, &index);
    if (kind == MG_FILE_REGULAR) mg_http_file_close(&index);
    if (kind == MG_FILE_NONE || kind == MG_FILE_FOLDER) {
      f.path[n] = '\0';
      return mg_http_list(c, hm, site, f.path) || not_found(c, hm, site);
    }
  }
  return answer(c, hm, site, &f);
}

bool mg_http_serve_dir(struct mg_connection *c, struct mg_http_message *hm, const struct mg_http_serve_opts *opts) {
  struct mg_http_site site = {opts, {NULL, 0}, true};
  struct mg_str rest = hm->uri;
  if (opts->root_dir != NULL) site.root = map_root(mg_str(opts->root_dir), hm->uri, &rest);
  return mg_http_serve_site(c, hm, &site, rest);
}

bool mg_http_serve_file(struct mg_connection *c, struct mg_http_message *hm, const char *path, const struct mg_http_serve_opts *opts) {
  static const struct mg_http_serve_opts none;
  struct mg_http_site site = {opts != NULL ? opts : &none, {NULL, 0}, true};
  struct mg_http_file f;
  if (!is_get(hm->method)) return mg_http_plain(c, 405, "Allow: GET, HEAD\r\n");
  f.path_len = strlen(path);
  if (f.path_len == 0 || f.path_len >= sizeof(f.path)) return not_found(c, hm, &site);
  memcpy(f.path, path, f.path_len + 1);
  return answer(c, hm, &site, &f);
}
