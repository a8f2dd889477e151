/* mgr.c - the manager: how it begins and ends, and what reaches it from elsewhere. Its turns are in turn.c. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "mongoose/base/alloc.h"
#include "mongoose/loop/io.h"

enum { SWEEP_MS = 50 }; /* rate of the sweep for flags that were set directly */

static const size_t WAKE_BYTES = (size_t) 64 << 20;

/* ---- forks ---- */

static pthread_once_t s_once = PTHREAD_ONCE_INIT;
static unsigned s_forks; /* generations between the first process and this one; changed only where there is one thread */

static int s_has_forked;

static void before_fork(void) {
  __atomic_store_n(&s_has_forked, 1, __ATOMIC_RELAXED);
}

static void in_child(void) {
  s_forks++;
}

static void once(void) {
  struct sigaction sa;
  (void) pthread_atfork(before_fork, NULL, in_child);
  /* A peer that went away is an error from send or sendfile, not the end of the process. */
  if (sigaction(SIGPIPE, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL) (void) signal(SIGPIPE, SIG_IGN);
}

bool mg_mgr_has_forked(void) {
  return __atomic_load_n(&s_has_forked, __ATOMIC_RELAXED) != 0;
}

bool mg_mgr_is_copy(const struct mg_mgr *mgr) {
  return mgr->forks != s_forks;
}

/* ---- beginning and end ---- */

static void empty_lists(struct mg_mgr *mgr) {
  mgr->ready = mgr->dirty = mgr->line = mgr->after = NULL;
  mgr->ready_last = &mgr->ready;
  mgr->dirty_last = &mgr->dirty;
  mgr->line_last = &mgr->line;
  mgr->after_last = &mgr->after;
}

static size_t most_connections(void) {
  struct rlimit rl;
  if (getrlimit(RLIMIT_NOFILE, &rl) != 0 || rl.rlim_cur == RLIM_INFINITY || rl.rlim_cur > 1u << 20) return 800000;
  return (size_t) rl.rlim_cur / 5 * 4;
}

void mg_mgr_init(struct mg_mgr *mgr) {
  unsigned edge;
  memset(mgr, 0, sizeof(*mgr));
  empty_lists(mgr);
  mgr->epoll_fd = mgr->pipe = -1;
  mgr->dnstimeout = 3000;
  mgr->dns4.url = "udp://8.8.8.8:53";
  mgr->dns6.url = "udp://[2001:4860:4860::8888]:53";
  mgr->ask = MG_ASK_POLL | MG_ASK_WRITE;
  mgr->sweep_ms = SWEEP_MS;
  pthread_once(&s_once, once);
  mgr->forks = s_forks;
  mg_mgr_tick(mgr);
  mgr->started = mgr->last_sweep = mgr->now;
  mgr->max_connections = most_connections();
  mg_wheel_init(&mgr->wheel, mgr->now);
  mgr->poller = mg_poller_find(getenv("MG_POLLER"));
  if (mgr->poller == NULL) mgr->poller = mg_poller_find(NULL);
  mgr->ids = mg_idtab_new();
  mgr->poll_state = mgr->poller != NULL ? mgr->poller->open() : NULL;
  mgr->wakeq = mg_wakeq_new(WAKE_BYTES);
  if (mgr->ids == NULL || mgr->poll_state == NULL || mgr->wakeq == NULL) {
    mg_fail(mgr, MG_ENOMEM, "no memory or descriptors for an event loop");
    mg_mgr_free(mgr);
    mgr->status = MG_ENOMEM;
    return;
  }
  mgr->epoll_fd = mgr->poller->fd(mgr->poll_state);
  edge = MG_POLL_READ | MG_POLL_EDGE;
  if (mgr->poller->watch(mgr->poll_state, mg_wakeq_fd(mgr->wakeq), 0, edge, mgr) != 0) {
    mg_mgr_free(mgr);
    mgr->status = MG_EIO;
  }
}

void mg_mgr_free(struct mg_mgr *mgr) {
  struct mg_connection *c;
  struct mg_chunk *b;
  struct mg_timer *t;
  while ((t = mgr->timers) != NULL) {
    mg_timer_free(&mgr->timers, t);
    if (t->flags & MG_TIMER_AUTODELETE) mg_free(t);
  }
  mgr->in_dispatch = mgr->ending = true;
  do { /* the lists are threaded through the connections, so they go first, each time */
    empty_lists(mgr);
    c = mgr->conns;
    if (c != NULL) mg_conn_bury(c);
  } while (c != NULL);
  mgr->in_dispatch = false;
  if (mgr->ws_site_free != NULL) mgr->ws_site_free(mgr->ws_site);
  mg_tls_ctx_free(mgr);
  if (mgr->proto_pool_free != NULL) mgr->proto_pool_free(mgr->proto_pool);
  while ((c = mgr->spare) != NULL) {
    mgr->spare = c->next;
    mg_free(c);
  }
  while ((b = mgr->spare_blocks) != NULL) {
    mgr->spare_blocks = b->next;
    mg_chunk_drop(b);
  }
  mg_chunk_drop(mgr->block);
  while (mgr->nout_pool > 0) mg_iobuf_free(&mgr->out_pool[--mgr->nout_pool]);
  if (mgr->wakeq != NULL) mg_wakeq_free(mgr->wakeq);
  if (mgr->poll_state != NULL) mgr->poller->close(mgr->poll_state);
  if (mgr->ids != NULL) mg_idtab_free(mgr->ids);
  memset(mgr, 0, sizeof(*mgr));
  empty_lists(mgr);
  mgr->epoll_fd = mgr->pipe = -1;
}

int mg_mgr_fd(const struct mg_mgr *mgr) {
  return mgr->epoll_fd;
}

struct mg_timer *mg_timer_add(struct mg_mgr *mgr, uint64_t milliseconds, unsigned flags, void (*fn)(void *), void *arg) {
  struct mg_timer *t = (struct mg_timer *) mg_calloc(1, sizeof(*t));
  if (t != NULL) mg_timer_init(&mgr->timers, t, milliseconds, flags | MG_TIMER_AUTODELETE, fn, arg);
  return t;
}

/* ---- wakeups ---- */

struct wakeup {
  struct mg_wake node; /* first */
  unsigned long id;
  size_t len;
};

static void wakeup_drop(struct mg_wake *w) {
  mg_free(w);
}

static void wakeup_run(struct mg_wake *w, void *ctx) {
  struct wakeup *m = (struct wakeup *) (void *) w;
  struct mg_connection *c = (struct mg_connection *) mg_idtab_find(((struct mg_mgr *) ctx)->ids, m->id);
  if (c != NULL && !c->is_dead) {
    struct mg_str data = {(char *) (m + 1), m->len};
    mg_touch(c);
    mg_call(c, MG_EV_WAKEUP, &data);
  }
  mg_free(m);
}

bool mg_wakeup_init_n(struct mg_mgr *mgr, size_t max_bytes) {
  if (mgr->wakeq == NULL) return false;
  mg_wakeq_limit(mgr->wakeq, max_bytes);
  mgr->pipe = mg_wakeq_fd(mgr->wakeq);
  return true;
}

bool mg_wakeup_init(struct mg_mgr *mgr) {
  return mg_wakeup_init_n(mgr, WAKE_BYTES);
}

bool mg_wakeup(struct mg_mgr *mgr, unsigned long id, const void *buf, size_t len) {
  struct wakeup *m;
  if (mgr->pipe < 0 || !mg_idtab_alive(mgr->ids, id) || len > (size_t) -1 / 2) return false;
  m = (struct wakeup *) mg_malloc(sizeof(*m) + len);
  if (m == NULL) return false;
  m->node.next = NULL;
  m->node.bytes = sizeof(*m) + len;
  m->node.run = wakeup_run;
  m->node.drop = wakeup_drop;
  m->id = id;
  m->len = len;
  if (len > 0) memcpy(m + 1, buf, len);
  if (mg_wakeq_post(mgr->wakeq, &m->node)) return true;
  mg_free(m);
  return false;
}
