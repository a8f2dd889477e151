/* conn.c - a connection's life: made by listen, adopt or accept (connect.c has the rest); ended in two steps, because flush may close a socket
 * but only dispatch may tell.
 *
 *   mg_conn_new --> … --> mg_conn_hang_up (descriptor closed) --> mg_conn_bury (MG_EV_CLOSE, struct reused)
 */
#include "mongoose/loop/conn.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/log.h"
#include "mongoose/base/printf.h"
#include "mongoose/loop/io.h"
#include "mongoose/loop/resolve.h"
#include "mongoose/loop/tls.h"

static int fd_of(const struct mg_connection *c) {
  return (int) (size_t) c->fd;
}

int mg_fail(struct mg_mgr *mgr, int status, const char *text) {
  mgr->status = status;
  if (text != mgr->errmsg) mg_snprintf(mgr->errmsg, sizeof(mgr->errmsg), "%s", text != NULL ? text : mg_status_text(status));
  MG_ERROR(("%s", mgr->errmsg));
  return status;
}

/* ---- listeners' shared part ---- */

struct mg_listener *mg_listener_new(const struct mg_limits *limits) {
  struct mg_listener *l = (struct mg_listener *) mg_calloc(1, sizeof(*l));
  if (l == NULL) return NULL;
  l->refs = 1;
  l->limits = limits != NULL ? *limits : mg_limits_default;
  if (l->limits.max_headers > MG_MAX_HTTP_HEADERS || l->limits.max_headers == 0) l->limits.max_headers = MG_MAX_HTTP_HEADERS;
  return l;
}

struct mg_listener *mg_listener_hold(struct mg_listener *l) {
  l->refs++;
  return l;
}

/* ---- one connection ---- */

static struct mg_connection *fresh(struct mg_mgr *mgr) {
  struct mg_connection *c = mgr->spare;
  if (c != NULL) {
    mgr->spare = c->next;
    memset(c, 0, sizeof(*c));
  } else {
    c = (struct mg_connection *) mg_calloc(1, sizeof(*c));
  }
  if (c == NULL) return NULL;
  c->mgr = mgr;
  c->ask = mgr->ask;
  c->fd = (void *) (size_t) -1;
  c->recv.align = c->send.align = 2048; /* growth step for what applications add themselves */
  c->last_packet = &c->packets;
  return c;
}

static void link_in(struct mg_connection *c) {
  struct mg_mgr *mgr = c->mgr;
  c->next = mgr->conns;
  if (c->next != NULL) c->next->prev = c;
  mgr->conns = c;
  mgr->nconns++;
  mg_count(&mgr->stats.connections, 1);
}

static void link_out(struct mg_connection *c) {
  if (c->prev != NULL) {
    c->prev->next = c->next;
  } else {
    c->mgr->conns = c->next;
  }
  if (c->next != NULL) c->next->prev = c->prev;
  c->next = c->prev = NULL;
  c->mgr->nconns--;
  mg_count(&c->mgr->stats.connections, (uint64_t) -1);
}

/* Kept, not freed: a poller may still name it for a moment, while a process being started holds a copy of the descriptor. */
static void release(struct mg_connection *c) {
  c->next = c->mgr->spare;
  c->mgr->spare = c;
}

struct mg_connection *mg_conn_new(struct mg_mgr *mgr, const struct mg_sock *s, struct mg_listener *l) {
  struct mg_connection *c = fresh(mgr);
  if (c == NULL) return NULL;
  c->id = mg_idtab_add(mgr->ids, c);
  if (c->id == 0) {
    release(c);
    return NULL;
  }
  c->listener = mg_listener_hold(l);
  if (s != NULL) {
    c->fd = (void *) (size_t) s->fd;
    c->loc = s->loc;
    c->rem = s->rem;
    c->is_udp = s->is_udp;
    c->is_tls = s->is_tls;
    c->alpn = s->alpn;
    c->is_unix = s->is_unix;
  }
  link_in(c);
  return c;
}

struct mg_connection *mg_alloc_conn(struct mg_mgr *mgr) {
  struct mg_listener *l = mg_listener_new(NULL);
  struct mg_connection *c = l != NULL ? mg_conn_new(mgr, NULL, l) : NULL;
  if (l != NULL) mg_listener_drop(l);
  if (c == NULL) mg_fail(mgr, MG_ENOMEM, NULL);
  return c;
}

void mg_conn_resume(struct mg_connection *listener) {
  if (!listener->is_paused) return;
  listener->is_paused = 0;
  listener->mgr->npaused--;
  listener->read_due = 0;
  mg_conn_due(listener);
  mg_conn_watch(listener, MG_POLL_READ);
}

/* The accepting side may have paused for want of descriptors or room. */
static void resume_listeners(struct mg_mgr *mgr) {
  struct mg_connection *c;
  if (mgr->npaused == 0) return;
  for (c = mgr->conns; c != NULL; c = c->next) {
    if (c->is_paused && !c->is_dead) mg_conn_resume(c); /* if there is no room after all, it pauses again */
  }
}

void mg_conn_hang_up(struct mg_connection *c) {
  if (c->is_dead) return;
  c->is_dead = 1;
  c->is_closing = 1;
  mg_deadline_clear(&c->mgr->wheel, &c->deadline);
  if (c->lookup != NULL) mg_lookup_drop(c);
  if (c->question != NULL) mg_ask_cancel(c);
  if (fd_of(c) >= 0) {
    /* Closing is not enough for epoll when there is a copy of the descriptor: in a forked process, or in the hands of whoever gave
     * us theirs. What we accepted ourselves has none before the first fork. And if we are the forked process: the epoll set and
     * the socket's file are our parent's. */
    if (!mg_mgr_is_copy(c->mgr)) {
      if (MG_UNLIKELY(c->is_tls)) (void) mg_tls_end(c);
      if (!c->is_accepted || !c->mgr->poller->close_forgets || mg_mgr_has_forked()) mg_conn_watch(c, 0);
      if (c->owns_path) mg_sock_unlink(fd_of(c));
    }
    mg_sock_close(fd_of(c));
  }
  c->watched = 0;
  c->fd = (void *) (size_t) -1;
  mg_conn_after(c);
}

void mg_conn_bury(struct mg_connection *c) {
  struct mg_mgr *mgr = c->mgr;
  struct mg_packet *p, *next;
  bool was_accepted = c->is_accepted;
  c->in_after = 1; /* it is being told */
  if (c->is_paused) mgr->npaused--;
  mg_conn_hang_up(c);
  if (!c->is_new) mg_call(c, MG_EV_CLOSE, NULL); /* else nobody ever heard of it */
  mg_idtab_del(mgr->ids, c->id);
  c->id = 0;
  link_out(c);
  mg_out_discard(c);
  mg_iobuf_free(&c->recv);
  mg_iobuf_free(&c->rtls);
  if (MG_UNLIKELY(c->is_tls)) mg_tls_drop(c);
  mg_free(c->tls_name);
  c->tls_name = NULL;
  for (p = c->packets; p != NULL; p = next) {
    next = p->next;
    mg_chunk_drop(p->chunk);
    mg_free(p);
  }
  if (was_accepted) {
    c->listener->open--;
    if (c->is_counted) mg_peers_leave(c->listener, &c->rem);
  }
  mg_free(c->proxied);
  mg_listener_drop(c->listener);
  c->listener = NULL;
  release(c);
  if (was_accepted) resume_listeners(mgr);
}

void mg_call(struct mg_connection *c, int ev, void *ev_data) {
  if (c->pfn != NULL) c->pfn(c, ev, ev_data);
  if (c->fn != NULL) c->fn(c, ev, ev_data);
}

static void report(struct mg_connection *c, int status, const char *fmt, va_list *ap) {
  char text[320];
  mg_vsnprintf(text, sizeof(text), fmt, ap);
  MG_ERROR(("%lu %s", c->id, text));
  c->is_closing = 1;
  c->status = status;
  mg_count(&c->mgr->stats.errors, 1);
  mg_touch(c);
  mg_call(c, MG_EV_ERROR, text);
}

void mg_error(struct mg_connection *c, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  report(c, MG_EIO, fmt, &ap);
  va_end(ap);
}

void mg_error_as(struct mg_connection *c, int status, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  report(c, status, fmt, &ap);
  va_end(ap);
}

void mg_close_conn(struct mg_connection *c) {
  mg_conn_hang_up(c);
  /* It is on the list of those with something to tell; the next dispatch or poll tells. */
}

void mg_linger(struct mg_connection *c) {
  enum { LINGER_MS = 2000 };
  c->is_lingering = 1;
  c->is_full = 0;
  mg_iobuf_free(&c->recv);
  mg_read_due(c, c->mgr->now + LINGER_MS);
  mg_touch(c);
}

/* ---- making them ---- */

bool mg_mgr_is_open(struct mg_mgr *mgr) {
  if (mgr->wakeq == NULL) return false;           /* mg_mgr_init failed, and said why */
  if (mgr->ending) mg_fail(mgr, MG_ECLOSED, NULL); /* else who connects again whenever he is closed would never let it end */
  return !mgr->ending;
}

struct mg_connection *mg_conn_start(struct mg_mgr *mgr, struct mg_sock *s, struct mg_listener *l, mg_event_handler_t fn,
                                    void *fn_data) {
  struct mg_connection *c = l != NULL ? mg_conn_new(mgr, s, l) : NULL;
  if (l != NULL) mg_listener_drop(l);
  if (c == NULL) {
    mg_sock_close(s->fd);
    mg_fail(mgr, MG_ENOMEM, NULL);
    return NULL;
  }
  c->fn = fn;
  c->fn_data = fn_data;
  return c;
}

/* A context that the socket can be served with; NULL with the reason in mgr. */
static struct mg_tls_ctx *server_tls(struct mg_mgr *mgr, const struct mg_tls_opts *opts, const struct mg_sock *s) {
  char err[MG_TLS_ERR];
  int status;
  struct mg_tls_ctx *ctx = s->is_listening ? mg_tls_ctx_get(mgr, opts, false, &status, err) : NULL;
  if (ctx != NULL && mg_tls_can_serve(ctx)) return ctx;
  if (!s->is_listening) {
    mg_fail(mgr, MG_EINVAL, "TLS is for stream listeners");
  } else {
    mg_fail(mgr, ctx == NULL ? status : MG_EINVAL, ctx == NULL ? err : "a TLS server needs a certificate: cert, key");
  }
  mg_tls_ctx_drop(ctx);
  return NULL;
}

/* https:// where nobody can speak it. */
bool mg_tls_missing(struct mg_mgr *mgr, const struct mg_sock *s) {
  if (!s->is_tls || mg_tls_available()) return false;
  mg_sock_close(s->fd);
  mg_fail(mgr, MG_ETLS, "TLS is not part of this build");
  return true;
}

struct mg_connection *mg_listen_with(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data,
                                     const struct mg_listen_opts *opts) {
  struct mg_tls_ctx *tls = NULL;
  struct mg_connection *c;
  struct mg_sock s;
  int err;
  if (!mg_mgr_is_open(mgr)) return NULL;
  err = mg_sock_listen(&s, url, opts != NULL ? &opts->sock : NULL, mgr->errmsg);
  if (err != MG_OK) {
    mg_fail(mgr, err, mgr->errmsg);
    return NULL;
  }
  if (mg_tls_missing(mgr, &s)) return NULL;
  if (opts != NULL && opts->tls != NULL && (tls = server_tls(mgr, opts->tls, &s)) == NULL) {
    mg_sock_close(s.fd);
    return NULL;
  }
  c = mg_conn_start(mgr, &s, mg_listener_new(opts != NULL ? opts->limits : NULL), fn, fn_data);
  if (c == NULL) {
    mg_tls_ctx_drop(tls);
    return NULL;
  }
  c->is_listening = 1;
  c->owns_path = s.is_unix && strncmp(url, "fd:", 3) != 0;
  mg_conn_watch(c, MG_POLL_READ);
  MG_DEBUG(("%lu listening on %s", c->id, url));
  if (tls != NULL) {
    (void) mg_tls_listen(c, tls);
    mg_tls_ctx_drop(tls);
  }
  mg_call(c, MG_EV_OPEN, NULL);
  return c;
}

struct mg_connection *mg_listen(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data) {
  return mg_listen_with(mgr, url, fn, fn_data, NULL);
}

struct mg_connection *mg_wrapfd(struct mg_mgr *mgr, int fd, mg_event_handler_t fn, void *fn_data) {
  struct mg_connection *c;
  struct mg_sock s;
  int err;
  if (!mg_mgr_is_open(mgr)) return NULL;
  err = mg_sock_adopt(&s, fd, mgr->errmsg);
  if (err != MG_OK) {
    mg_fail(mgr, err, mgr->errmsg);
    return NULL;
  }
  c = mg_conn_start(mgr, &s, mg_listener_new(NULL), fn, fn_data);
  if (c == NULL) return NULL;
  c->is_listening = s.is_listening;
  mg_conn_watch(c, MG_POLL_READ);
  mg_call(c, MG_EV_OPEN, NULL);
  return c;
}
