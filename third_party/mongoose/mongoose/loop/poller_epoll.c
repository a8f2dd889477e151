/* poller_epoll.c - readiness on Linux. Level-triggered, because then a handler that leaves bytes in the socket (its
 * buffer is full, its turn is over) is simply told again, and nothing has to remember what was left.
 */
#include "mongoose/loop/poller.h"

#if defined(__linux__)
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "mongoose/base/alloc.h"

#define EVENTS_PER_WAIT 512 /* 6 KB of stack; what does not fit is reported by the next wait */

struct epoll_self {
  int fd;
};

static void *epoll_open(void) {
  struct epoll_self *e = (struct epoll_self *) mg_malloc(sizeof(*e));
  if (e == NULL) return NULL;
  e->fd = epoll_create1(EPOLL_CLOEXEC);
  if (e->fd < 0) {
    mg_free(e);
    return NULL;
  }
  return e;
}

static int epoll_watch(void *self, int fd, unsigned was, unsigned want, void *who) {
  int op = want == 0 ? EPOLL_CTL_DEL : was == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  struct epoll_event ev;
  ev.events = (want & MG_POLL_READ ? (uint32_t) EPOLLIN : 0) | (want & MG_POLL_WRITE ? (uint32_t) EPOLLOUT : 0) |
              (want & MG_POLL_EDGE ? (uint32_t) EPOLLET : 0);
  ev.data.ptr = who;
  return epoll_ctl(((struct epoll_self *) self)->fd, op, fd, &ev);
}

static int epoll_wait_(void *self, int ms, struct mg_ready *out, int max, int *interrupted) {
  struct epoll_event evs[EVENTS_PER_WAIT];
  int i, n;
  *interrupted = 0;
  n = epoll_wait(((struct epoll_self *) self)->fd, evs, max < EVENTS_PER_WAIT ? max : EVENTS_PER_WAIT, ms);
  if (n < 0) {
    if (errno != EINTR) return -1;
    *interrupted = 1;
    return 0;
  }
  for (i = 0; i < n; i++) {
    uint32_t e = evs[i].events;
    out[i].who = evs[i].data.ptr;
    out[i].events = (e & EPOLLIN ? (unsigned) MG_POLL_READ : 0) | (e & EPOLLOUT ? (unsigned) MG_POLL_WRITE : 0) |
                    (e & (EPOLLHUP | EPOLLERR) ? (unsigned) MG_POLL_HUP | MG_POLL_READ : 0);
  }
  return n;
}

static int epoll_fd(void *self) {
  return ((struct epoll_self *) self)->fd;
}

static void epoll_close(void *self) {
  close(((struct epoll_self *) self)->fd);
  mg_free(self);
}

/* close_forgets holds as long as nobody else has a duplicate of the descriptor: whoever shares one (fork without exec)
 * must unwatch before closing. */
const struct mg_poller mg_poller_epoll = {"epoll", epoll_open, epoll_watch, epoll_wait_, epoll_fd, 1, epoll_close};

#endif
