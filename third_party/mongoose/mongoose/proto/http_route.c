/* http_route.c - answers that need no handler: GET and HEAD of a path, written from memory; files below a prefix. */
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/printf.h"
#include "mongoose/base/status.h"
#include "mongoose/loop/io.h"
#include "mongoose/proto/http_conn.h"
#include "mongoose/proto/http_file.h"

struct route {
  struct route *next; /* in its bucket */
  int status;
  struct mg_str path, head, body; /* head: status line and fields up to where Date goes */
};

/* Files below a prefix. The strings of opts are behind the struct. */
struct folder {
  struct folder *next; /* whose prefix is as long or shorter */
  struct mg_str prefix; /* without a slash at its end */
  struct mg_http_serve_opts opts;
};

struct routes {
  size_t size, used; /* size is a power of two */
  struct route **at;
  struct folder *folders;
};

static size_t hash(struct mg_str path) {
  uint32_t h = 2166136261u;
  size_t i;
  for (i = 0; i < path.len; i++) h = (h ^ (unsigned char) path.buf[i]) * 16777619u;
  return h;
}

static void routes_free(void *arg) {
  struct routes *r = (struct routes *) arg;
  size_t i;
  for (i = 0; i < r->size; i++) {
    struct route *e, *next;
    for (e = r->at[i]; e != NULL; e = next) {
      next = e->next;
      mg_free(e);
    }
  }
  while (r->folders != NULL) {
    struct folder *f = r->folders;
    r->folders = f->next;
    mg_free(f);
  }
  mg_free(r->at);
  mg_free(r);
}

static struct routes *routes_of(struct mg_connection *listener) {
  struct mg_listener *l = listener->listener;
  if (l->routes == NULL) {
    l->routes = mg_calloc(1, sizeof(struct routes));
    l->routes_free = l->routes != NULL ? routes_free : NULL;
  }
  return (struct routes *) l->routes;
}

static struct route *find(const struct routes *r, struct mg_str path) {
  struct route *e = r->size > 0 ? r->at[hash(path) & (r->size - 1)] : NULL;
  while (e != NULL && (e->path.len != path.len || memcmp(e->path.buf, path.buf, path.len) != 0)) e = e->next;
  return e;
}

static bool grow(struct routes *r) {
  size_t size = r->size > 0 ? r->size * 2 : 16, i;
  struct route **at = (struct route **) mg_calloc(size, sizeof(*at));
  if (at == NULL) return false;
  for (i = 0; i < r->size; i++) {
    struct route *e, *next;
    for (e = r->at[i]; e != NULL; e = next) {
      size_t slot = hash(e->path) & (size - 1);
      next = e->next;
      e->next = at[slot];
      at[slot] = e;
    }
  }
  mg_free(r->at);
  r->at = at;
  r->size = size;
  return true;
}

static struct mg_str copy_to(char **p, struct mg_str s) {
  struct mg_str r = {*p, s.len};
  if (s.len > 0) memcpy(*p, s.buf, s.len);
  *p += s.len;
  return r;
}

bool mg_route_static(struct mg_connection *c, struct mg_str path, int status, struct mg_str headers, struct mg_str body) {
  struct routes *r;
  struct route *e, **slot;
  char line[96], length[48], *p;
  struct mg_str l;
  c->mgr->status = MG_EINVAL;
  if (!c->is_listening || c->proto != &mg_proto_http || path.len == 0 || path.buf[0] != '/' || status < 200 || status > 599) return false;
  c->mgr->status = MG_ENOMEM;
  r = routes_of(c);
  if (r == NULL) return false;
  if (r->used >= r->size && !grow(r)) return false;
  l.buf = line;
  l.len = mg_snprintf(line, sizeof(line), "HTTP/1.1 %d %s\r\n", status, mg_http_status_text(status));
  length[0] = '\0';
  if (status != 204 && status != 304) mg_snprintf(length, sizeof(length), "Content-Length: %llu\r\n", (unsigned long long) body.len);
  e = (struct route *) mg_malloc(sizeof(*e) + path.len + l.len + headers.len + strlen(length) + body.len);
  if (e == NULL) return false;
  p = (char *) (e + 1);
  e->status = status;
  e->path = copy_to(&p, path);
  e->head = copy_to(&p, l);
  copy_to(&p, headers);
  l.buf = length;
  l.len = strlen(length);
  copy_to(&p, l);
  e->head.len = (size_t) (p - e->head.buf);
  e->body = copy_to(&p, body);
  for (slot = &r->at[hash(path) & (r->size - 1)]; *slot != NULL; slot = &(*slot)->next) {
    if ((*slot)->path.len == path.len && memcmp((*slot)->path.buf, path.buf, path.len) == 0) {
      struct route *old = *slot;
      *slot = old->next;
      mg_free(old);
      r->used--;
      break;
    }
  }
  slot = &r->at[hash(path) & (r->size - 1)];
  e->next = *slot;
  *slot = e;
  r->used++;
  c->mgr->status = MG_OK;
  return true;
}

/* ---- files ---- */

static struct folder *find_folder(const struct routes *r, struct mg_str path) {
  struct folder *f = r->folders;
  while (f != NULL && (path.len < f->prefix.len || memcmp(path.buf, f->prefix.buf, f->prefix.len) != 0 ||
                       (path.len > f->prefix.len && path.buf[f->prefix.len] != '/'))) {
    f = f->next;
  }
  return f;
}

static void copy_text(char **p, const char **s) {
  size_t n = *s != NULL ? strlen(*s) + 1 : 0;
  if (n > 0) *s = (const char *) memcpy(*p, *s, n);
  *p += n;
}

static size_t text_size(const char *s) {
  return s != NULL ? strlen(s) + 1 : 0;
}

bool mg_route_serve(struct mg_connection *c, struct mg_str prefix, const struct mg_http_serve_opts *o) {
  struct routes *r;
  struct folder *f, **slot;
  char *p;
  c->mgr->status = MG_EINVAL;
  if (!c->is_listening || c->proto != &mg_proto_http || prefix.len == 0 || prefix.buf[0] != '/' || text_size(o->root_dir) < 2) return false;
  while (prefix.len > 0 && prefix.buf[prefix.len - 1] == '/') prefix.len--;
  c->mgr->status = MG_ENOMEM;
  r = routes_of(c);
  if (r == NULL) return false;
  f = (struct folder *) mg_malloc(sizeof(*f) + prefix.len + 1 + text_size(o->root_dir) + text_size(o->ssi_pattern) + text_size(o->extra_headers) +
                                  text_size(o->mime_types) + text_size(o->page404) + text_size(o->cache_control));
  if (f == NULL) return false;
  f->opts = *o;
  p = (char *) (f + 1);
  f->prefix = copy_to(&p, prefix);
  copy_text(&p, &f->opts.root_dir);
  copy_text(&p, &f->opts.ssi_pattern);
  copy_text(&p, &f->opts.extra_headers);
  copy_text(&p, &f->opts.mime_types);
  copy_text(&p, &f->opts.page404);
  copy_text(&p, &f->opts.cache_control);
  for (slot = &r->folders; *slot != NULL && (*slot)->prefix.len > prefix.len;) slot = &(*slot)->next;
  f->next = *slot;
  *slot = f;
  for (slot = &f->next; *slot != NULL && (*slot)->prefix.len == prefix.len; slot = &(*slot)->next) {
    struct folder *old = *slot;
    if (memcmp(old->prefix.buf, prefix.buf, prefix.len) != 0) continue;
    *slot = old->next;
    mg_free(old);
    break;
  }
  c->mgr->status = MG_OK;
  return true;
}

static bool serve_folder(struct mg_connection *c, const struct mg_http_message *hm, const struct folder *f) {
  struct mg_http_site site = {&f->opts, mg_str(f->opts.root_dir), false};
  while (site.root.len > 1 && site.root.buf[site.root.len - 1] == '/') site.root.len--;
  return mg_http_serve_site(c, hm, &site, mg_str_n(hm->uri.buf + f->prefix.len, hm->uri.len - f->prefix.len));
}

/* ---- answering ---- */

static bool is_get(struct mg_str m) {
  return (m.len == 3 && memcmp(m.buf, "GET", 3) == 0) || (m.len == 4 && memcmp(m.buf, "HEAD", 4) == 0);
}

bool mg_http_route(struct mg_connection *c, struct mg_http_conn *hc, const struct mg_http_message *hm) {
  static const char close_line[] = "Connection: close\r\n", keep_line[] = "Connection: keep-alive\r\n";
  const struct route *e = find((const struct routes *) c->listener->routes, hm->uri);
  struct mg_http_xchg *x = hc->cur;
  struct mg_str date;
  char *p;
  if (e == NULL) {
    const struct folder *f = find_folder((const struct routes *) c->listener->routes, hm->uri);
    if (f == NULL) return false;
    if (!serve_folder(c, hm, f)) c->is_closing = 1; /* out of memory: there is nobody else to answer */
    return true;
  }
  if (!is_get(hm->method)) {
    struct mg_str allow = {(char *) "Allow: GET, HEAD\r\n", 18}, none = {NULL, 0};
    return mg_http_reply_n(c, 405, allow, none);
  }
  date = mg_http_date(c->mgr);
  if (!mg_send_reserve(c, e->head.len + date.len + sizeof(keep_line) + 2 + e->body.len)) return false;
  p = (char *) c->send.buf + c->send.len;
  memcpy(p, e->head.buf, e->head.len);
  p += e->head.len;
  memcpy(p, date.buf, date.len);
  p += date.len;
  if (!x->keep_alive || x->minor == 0) {
    const char *line = x->keep_alive ? keep_line : close_line;
    size_t n = (x->keep_alive ? sizeof(keep_line) : sizeof(close_line)) - 1;
    memcpy(p, line, n);
    p += n;
  }
  memcpy(p, "\r\n", 2);
  p += 2;
  if (!x->is_head) {
    memcpy(p, e->body.buf, e->body.len);
    p += e->body.len;
  }
  c->send.len = (size_t) (p - (char *) c->send.buf);
  x->status = (uint16_t) e->status;
  if (!x->is_head) x->body_out = e->body.len;
  mg_http_count(c->mgr, e->status);
  mg_xchg_done(c, hc, x);
  mg_send_added(c);
  return true;
}
