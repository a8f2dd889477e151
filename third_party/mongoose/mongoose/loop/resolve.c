/* resolve.c - lookups on helper threads.
 *
 * A lookup is owned by the queue, then by the thread that works on it, then by the loop's wakeup queue, and at last by its
 * connection, whose list of addresses to try it is. Whoever gives one up (its connection closes) only says so: the owner frees it.
 */
#include "mongoose/loop/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/log.h"
#include "mongoose/base/status.h"
#include "mongoose/loop/io.h"
#include "mongoose/loop/sock_url.h"

enum { HELPERS = 4 };

enum state { QUEUED, RUNNING, POSTED, DONE };

struct mg_lookup {
  struct mg_wake node; /* first: how it comes back */
  struct mg_lookup *next;
  struct mg_wakeq *wakeq; /* NULL: nobody waits for it */
  unsigned long id;       /* of the connection */
  enum state state;
  int error;              /* of getaddrinfo */
  bool udp;
  uint16_t port;          /* network order */
  unsigned n, at;
  struct mg_addr addr[MG_LOOKUP_MAX];
  char host[256];
};

static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER; /* for all of these, and for wakeq and state of every lookup */
static struct mg_lookup *s_queue, **s_last = &s_queue;
static unsigned s_helpers;
static pthread_once_t s_once = PTHREAD_ONCE_INIT;

static void before_fork(void) {
  pthread_mutex_lock(&s_lock);
}

static void in_parent(void) {
  pthread_mutex_unlock(&s_lock);
}

static void in_child(void) { /* which has none of the threads */
  s_queue = NULL;
  s_last = &s_queue;
  s_helpers = 0;
  pthread_mutex_unlock(&s_lock);
}

static void once(void) {
  (void) pthread_atfork(before_fork, in_parent, in_child);
}

/* ---- on a helper thread ---- */

static bool take_addr(const struct addrinfo *ai, uint16_t port, struct mg_addr *a) {
  memset(a, 0, sizeof(*a));
  a->port = port;
  if (ai->ai_family == AF_INET6) {
    const struct sockaddr_in6 *s6 = (const struct sockaddr_in6 *) (const void *) ai->ai_addr;
    a->is_ip6 = true;
    a->scope_id = s6->sin6_scope_id <= 255 ? (uint8_t) s6->sin6_scope_id : 0;
    memcpy(a->addr.ip, &s6->sin6_addr, 16);
    return true;
  }
  if (ai->ai_family != AF_INET) return false;
  memcpy(a->addr.ip, &((const struct sockaddr_in *) (const void *) ai->ai_addr)->sin_addr, 4);
  return true;
}

/* In the system's order (RFC 6724), but with the families taking turns, so that one that leads nowhere costs one attempt before
 * the other is tried (RFC 8305 4). */
static void take_all(struct mg_lookup *l, const struct addrinfo *first) {
  const struct addrinfo *same = first, *other = first;
  bool turn = true;
  while (l->n < MG_LOOKUP_MAX && (same != NULL || other != NULL)) {
    const struct addrinfo **from = (turn && same != NULL) || other == NULL ? &same : &other;
    bool want_same = from == &same;
    while (*from != NULL && ((*from)->ai_family == first->ai_family) != want_same) *from = (*from)->ai_next;
    if (*from != NULL) {
      if (take_addr(*from, l->port, &l->addr[l->n])) l->n++;
      *from = (*from)->ai_next;
      turn = !want_same;
    } else {
      turn = !turn;
    }
  }
}

static void ask(struct mg_lookup *l) {
  struct addrinfo hints, *found = NULL;
  memset(&hints, 0, sizeof(hints));
  hints.ai_socktype = l->udp ? SOCK_DGRAM : SOCK_STREAM;
  l->error = getaddrinfo(l->host, NULL, &hints, &found);
  if (l->error == 0 && found != NULL) take_all(l, found);
  if (found != NULL) freeaddrinfo(found);
}

static void *help(void *arg) {
  pthread_mutex_lock(&s_lock);
  while (s_queue != NULL) {
    struct mg_lookup *l = s_queue;
    s_queue = l->next;
    if (s_queue == NULL) s_last = &s_queue;
    l->state = RUNNING;
    pthread_mutex_unlock(&s_lock);
    ask(l);
    pthread_mutex_lock(&s_lock);
    l->state = POSTED;
    /* Under the lock: as long as wakeq is set its queue is there. */
    if (l->wakeq == NULL) {
      mg_free(l);
    } else {
      (void) mg_wakeq_post(l->wakeq, &l->node);
    }
  }
  s_helpers--;
  pthread_mutex_unlock(&s_lock);
  return arg;
}

static bool start_helper(void) {
  pthread_attr_t attr;
  pthread_t thread;
  sigset_t all, before;
  int err;
  if (pthread_attr_init(&attr) != 0) return false;
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  sigfillset(&all); /* signals are for threads that expect them */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  err = pthread_create(&thread, &attr, help, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  return err == 0;
}

/* ---- on the loop thread ---- */

static void found(struct mg_wake *w, void *ctx) {
  struct mg_lookup *l = (struct mg_lookup *) (void *) w;
  struct mg_mgr *mgr = (struct mg_mgr *) ctx;
  struct mg_connection *c;
  bool wanted;
  pthread_mutex_lock(&s_lock);
  wanted = l->wakeq != NULL;
  l->state = DONE;
  pthread_mutex_unlock(&s_lock);
  if (!wanted) {
    mg_free(l);
    return;
  }
  c = (struct mg_connection *) mg_idtab_find(mgr->ids, l->id); /* there: when it ends it gives its lookup up */
  if (c->is_closing) return;
  c->is_resolving = 0;
  mg_touch(c);
  if (l->n == 0) {
    mg_error_as(c, MG_ERESOLVE, "%s: %s", l->host, l->error != 0 ? gai_strerror(l->error) : "no address");
    return;
  }
  mg_lookup_found(c);
}

static void dropped(struct mg_wake *w) {
  mg_free(w);
}

static struct mg_lookup *fresh(struct mg_connection *c) {
  struct mg_lookup *l = (struct mg_lookup *) mg_calloc(1, sizeof(*l));
  if (l == NULL) return NULL;
  l->id = c->id;
  l->state = DONE;
  c->lookup = l;
  return l;
}

void mg_resolve(struct mg_connection *c, const char *url) {
  struct mg_sock_url u;
  char err[MG_SOCK_ERR];
  struct mg_lookup *l;
  int status = mg_sock_url_parse(&u, url, err);
  bool ok;
  mg_resolve_cancel(c);
  if (status == MG_OK && (u.host.len == 0 || u.host.len >= sizeof(l->host) || u.kind == MG_SOCK_UNIX || u.kind == MG_SOCK_FD)) {
    mg_error_as(c, MG_EINVAL, "%s: no host to look up", u.label);
    return;
  }
  l = status == MG_OK ? fresh(c) : NULL;
  if (l == NULL) {
    mg_error_as(c, status == MG_OK ? MG_ENOMEM : status, "%s", status == MG_OK ? mg_status_text(MG_ENOMEM) : err);
    return;
  }
  l->node.bytes = 0; /* never refused: there are no more of them than connections */
  l->node.run = found;
  l->node.drop = dropped;
  l->udp = u.kind == MG_SOCK_UDP;
  l->port = htons((uint16_t) u.port);
  memcpy(l->host, u.host.buf, u.host.len);
  c->is_resolving = 1;
  pthread_once(&s_once, once);
  pthread_mutex_lock(&s_lock);
  l->wakeq = c->mgr->wakeq;
  l->state = QUEUED;
  ok = s_helpers >= HELPERS || start_helper();
  if (ok && s_helpers < HELPERS) s_helpers++;
  if (!ok && s_helpers == 0) {
    l->state = DONE;
  } else {
    *s_last = l;
    s_last = &l->next;
    ok = true;
  }
  pthread_mutex_unlock(&s_lock);
  if (!ok) mg_error_as(c, MG_ERESOLVE, "%s: no thread to look it up", u.label);
}

void mg_lookup_drop(struct mg_connection *c) {
  struct mg_lookup *l = c->lookup;
  bool ours;
  c->lookup = NULL;
  pthread_mutex_lock(&s_lock);
  if (l->state == QUEUED) {
    struct mg_lookup **at = &s_queue;
    while (*at != NULL && *at != l) at = &(*at)->next;
    if (*at == l) *at = l->next; /* else: this process was forked off, and the queue is the parent's */
    if (*at == NULL) s_last = at;
  }
  ours = l->state == QUEUED || l->state == DONE;
  l->wakeq = NULL;
  pthread_mutex_unlock(&s_lock);
  if (ours) mg_free(l);
}

void mg_resolve_cancel(struct mg_connection *c) {
  if (c->lookup != NULL) mg_lookup_drop(c);
  c->is_resolving = 0;
}

bool mg_lookup_also(struct mg_connection *c, const struct mg_addr *addr, unsigned n) {
  struct mg_lookup *l = fresh(c);
  if (l == NULL || n > MG_LOOKUP_MAX) return false;
  memcpy(l->addr, addr, n * sizeof(*addr));
  l->n = n;
  return true;
}

bool mg_lookup_next(struct mg_connection *c, struct mg_addr *to, unsigned *left) {
  struct mg_lookup *l = c->lookup;
  if (l == NULL || l->state != DONE || l->at >= l->n) return false;
  *to = l->addr[l->at++];
  *left = l->n - l->at;
  return true;
}
