/* resolve.c - lookups on helper threads.
 *
 * A lookup is owned by the queue, then by the thread that works on it, then by the loop's wakeup queue, and at last by its
 * connection, whose list of addresses to try it is. Whoever gives one up (its connection closes) only says so: the owner frees it.
 * A question (mg_ask) is a lookup whose answer is told and nothing more.
 */
#include "mongoose/loop/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/bytes.h"
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
  /* Loop thread, and only while it is the connection's question. */
  struct mg_connection *asks; /* NULL: it is the way to a peer */
  struct mg_timer due;
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

/* Told, and the connection stays as it is: a listener or somebody's request is not to end because a name is unknown. */
static void no_answer(struct mg_connection *c, int status, const char *host, const char *why) {
  char text[MG_SOCK_ERR + 256];
  snprintf(text, sizeof(text), "resolve %s: %s", host, why);
  MG_DEBUG(("%lu %s", c->id, text));
  c->status = status;
  mg_call(c, MG_EV_ERROR, text);
}

static const char *reason(const struct mg_lookup *l) {
  return l->error != 0 ? gai_strerror(l->error) : "no address";
}

static void answer(struct mg_connection *c, struct mg_lookup *l) {
  struct mg_resolved told;
  told.addr = l->addr;
  told.n = l->n;
  c->question = NULL; /* the handler may have another */
  mg_timer_free(&c->mgr->timers, &l->due);
  if (l->n == 0) {
    no_answer(c, MG_ERESOLVE, l->host, reason(l));
  } else {
    mg_call(c, MG_EV_RESOLVE, &told);
  }
  mg_free(l);
}

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
  if (l->asks != NULL) {
    answer(c, l);
    return;
  }
  c->is_resolving = 0;
  mg_touch(c);
  if (l->n == 0) {
    mg_error_as(c, MG_ERESOLVE, "%s: %s", l->host, reason(l));
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
  l->node.bytes = 0; /* never refused: there are no more of them than connections */
  l->node.run = found;
  l->node.drop = dropped;
  return l;
}

/* False: no thread, and it is the caller's still. */
static bool enqueue(struct mg_lookup *l, struct mg_wakeq *wakeq) {
  bool ok;
  pthread_once(&s_once, once);
  pthread_mutex_lock(&s_lock);
  ok = s_helpers >= HELPERS || start_helper();
  if (ok && s_helpers < HELPERS) s_helpers++;
  ok = ok || s_helpers > 0;
  if (ok) {
    l->wakeq = wakeq;
    l->state = QUEUED;
    *s_last = l;
    s_last = &l->next;
  }
  pthread_mutex_unlock(&s_lock);
  return ok;
}

static bool has_host(const struct mg_sock_url *u) {
  return u->host.len > 0 && u->host.len < sizeof(((struct mg_lookup *) 0)->host) && u->kind != MG_SOCK_UNIX && u->kind != MG_SOCK_FD;
}

static void want(struct mg_lookup *l, const struct mg_sock_url *u) {
  l->udp = u->kind == MG_SOCK_UDP;
  l->port = htons((uint16_t) u->port);
  memcpy(l->host, u->host.buf, u->host.len);
}

/* RFC 6761 6.3: also every name that ends in it. */
static bool is_localhost(const char *host) {
  static const char name[] = "localhost";
  size_t len = strlen(host), n = sizeof(name) - 1;
  if (len > 0 && host[len - 1] == '.') len--;
  if (len < n || mg_strcasecmp(mg_str_n(host + len - n, n), mg_str(name)) != 0) return false;
  return len == n || host[len - n - 1] == '.';
}

/* What nobody has to be asked for: literals and localhost. */
static bool known(struct mg_lookup *l) {
  if (is_localhost(l->host)) {
    l->addr[0].addr.ip[0] = 127;
    l->addr[0].addr.ip[3] = 1;
    l->addr[1].is_ip6 = true;
    l->addr[1].addr.ip[15] = 1;
    l->n = 2;
  } else if (mg_aton(mg_str(l->host), &l->addr[0])) {
    l->n = 1;
  }
  l->addr[0].port = l->addr[1].port = l->port;
  return l->n > 0;
}

/* The answer comes from the loop, never from within this call. False: no thread, and it is the caller's still. */
static bool begin(struct mg_lookup *l, struct mg_wakeq *wakeq) {
  if (!known(l)) return enqueue(l, wakeq);
  l->state = POSTED;
  l->wakeq = wakeq;
  return mg_wakeq_post(wakeq, &l->node);
}

static void give_up(struct mg_lookup *l) {
  bool ours;
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

void mg_lookup_drop(struct mg_connection *c) {
  struct mg_lookup *l = c->lookup;
  c->lookup = NULL;
  give_up(l);
}

void mg_ask_cancel(struct mg_connection *c) {
  struct mg_lookup *l = c->question;
  if (l == NULL) return;
  c->question = NULL;
  mg_timer_free(&c->mgr->timers, &l->due);
  give_up(l);
}

static void late(void *arg) {
  struct mg_lookup *l = (struct mg_lookup *) arg;
  struct mg_connection *c = l->asks;
  char host[sizeof(l->host)];
  memcpy(host, l->host, sizeof(host));
  mg_ask_cancel(c);
  mg_count(&c->mgr->stats.timeouts, 1);
  if (!c->is_closing) no_answer(c, MG_ETIMEDOUT, host, "timed out");
}

/* A host and nothing else, as it may be written without a scheme here. */
static bool is_host(const char *url) {
  struct mg_addr literal;
  return strlen(url) < sizeof(((struct mg_lookup *) 0)->host) && (strchr(url, ':') == NULL || mg_aton(mg_str(url), &literal));
}

bool mg_ask(struct mg_connection *c, const char *url, uint32_t timeout_ms) {
  struct mg_sock_url u;
  char err[MG_SOCK_ERR], plain[sizeof(((struct mg_lookup *) 0)->host) + 16];
  struct mg_lookup *l;
  int status;
  if (c->is_closing || c->is_dead) return mg_fail(c->mgr, MG_ECLOSED, mg_status_text(MG_ECLOSED)), false;
  if (is_host(url)) {
    snprintf(plain, sizeof(plain), strchr(url, ':') != NULL && url[0] != '[' ? "tcp://[%s]:0" : "tcp://%s:0", url);
    url = plain;
  }
  status = mg_sock_url_parse(&u, url, err);
  if (status == MG_OK && !has_host(&u)) {
    snprintf(err, sizeof(err), "%s: no host to look up", u.label);
    status = MG_EINVAL;
  }
  if (status != MG_OK) return mg_fail(c->mgr, status, err), false;
  l = fresh(c);
  if (l == NULL) return mg_fail(c->mgr, MG_ENOMEM, mg_status_text(MG_ENOMEM)), false;
  want(l, &u);
  l->asks = c;
  if (!begin(l, c->mgr->wakeq)) {
    mg_free(l);
    return mg_fail(c->mgr, MG_ENOMEM, "no thread to look a name up"), false;
  }
  mg_ask_cancel(c);
  c->question = l;
  if (timeout_ms > 0) mg_timer_init(&c->mgr->timers, &l->due, timeout_ms, MG_TIMER_ONCE, late, l);
  return true;
}

void mg_resolve(struct mg_connection *c, const char *url) {
  struct mg_sock_url u;
  char err[MG_SOCK_ERR];
  struct mg_lookup *l;
  int status;
  if ((int) (size_t) c->fd >= 0) { /* it has its peer, or is a listener */
    uint32_t ms = c->mgr->dnstimeout > 0 ? (uint32_t) c->mgr->dnstimeout : 0;
    if (!mg_ask(c, url, ms)) mg_error_as(c, c->mgr->status, "%s", c->mgr->errmsg);
    return;
  }
  status = mg_sock_url_parse(&u, url, err);
  mg_resolve_cancel(c);
  if (status == MG_OK && !has_host(&u)) {
    mg_error_as(c, MG_EINVAL, "%s: no host to look up", u.label);
    return;
  }
  l = status == MG_OK ? fresh(c) : NULL;
  if (l == NULL) {
    mg_error_as(c, status == MG_OK ? MG_ENOMEM : status, "%s", status == MG_OK ? mg_status_text(MG_ENOMEM) : err);
    return;
  }
  c->lookup = l;
  want(l, &u);
  c->is_resolving = 1;
  if (!begin(l, c->mgr->wakeq)) mg_error_as(c, MG_ERESOLVE, "%s: no thread to look it up", u.label);
}

void mg_resolve_cancel(struct mg_connection *c) {
  mg_ask_cancel(c);
  if (c->lookup != NULL) mg_lookup_drop(c);
  c->is_resolving = 0;
}

bool mg_lookup_also(struct mg_connection *c, const struct mg_addr *addr, unsigned n, unsigned at) {
  struct mg_lookup *l = n <= MG_LOOKUP_MAX ? fresh(c) : NULL;
  if (l == NULL) return false;
  c->lookup = l;
  memcpy(l->addr, addr, n * sizeof(*addr));
  l->n = n;
  l->at = at;
  return true;
}

bool mg_lookup_next(struct mg_connection *c, struct mg_addr *to, unsigned *left) {
  struct mg_lookup *l = c->lookup;
  if (l == NULL || l->state != DONE || l->at >= l->n) return false;
  *to = l->addr[l->at++];
  *left = l->n - l->at;
  return true;
}

void mg_lookup_told(struct mg_connection *c) {
  struct mg_resolved told;
  told.addr = c->lookup != NULL ? c->lookup->addr : &c->rem;
  told.n = c->lookup != NULL ? c->lookup->n : 1;
  mg_call(c, MG_EV_RESOLVE, c->is_unix ? NULL : &told);
}
