/* poller_kqueue.c - readiness on macOS and the BSDs. Reading and writing are two filters there: a change of both is
 * still one system call, but they are reported as two entries.
 */
#include "mongoose/loop/poller.h"

#if defined(__APPLE__) || defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__) || defined(__DragonFly__)
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "mongoose/base/alloc.h"

#define EVENTS_PER_WAIT 256 /* 8-16 KB of stack */

struct kqueue_self {
  int fd;
};

static void *kqueue_open(void) {
  struct kqueue_self *k = (struct kqueue_self *) mg_malloc(sizeof(*k));
  if (k == NULL) return NULL;
  k->fd = kqueue();
  if (k->fd < 0 || fcntl(k->fd, F_SETFD, FD_CLOEXEC) != 0) {
    if (k->fd >= 0) close(k->fd);
    mg_free(k);
    return NULL;
  }
  return k;
}

static int kqueue_watch(void *self, int fd, unsigned was, unsigned want, void *who) {
  struct kevent ch[2];
  int n = 0;
  unsigned short add = (unsigned short) (EV_ADD | (want & MG_POLL_EDGE ? EV_CLEAR : 0));
  unsigned changed = was ^ want;
  if (changed & MG_POLL_EDGE) changed |= want & (MG_POLL_READ | MG_POLL_WRITE); /* EV_ADD again alters the flags */
  if (changed & MG_POLL_READ) {
    EV_SET(&ch[n], (uintptr_t) fd, EVFILT_READ, want & MG_POLL_READ ? add : EV_DELETE, 0, 0, who);
    n++;
  }
  if (changed & MG_POLL_WRITE) {
    EV_SET(&ch[n], (uintptr_t) fd, EVFILT_WRITE, want & MG_POLL_WRITE ? add : EV_DELETE, 0, 0, who);
    n++;
  }
  return n == 0 ? 0 : kevent(((struct kqueue_self *) self)->fd, ch, n, NULL, 0, NULL) < 0 ? -1 : 0;
}

static int kqueue_wait(void *self, int ms, struct mg_ready *out, int max, int *interrupted) {
  struct kevent evs[EVENTS_PER_WAIT];
  struct timespec ts;
  int i, n;
  *interrupted = 0;
  ts.tv_sec = ms / 1000;
  ts.tv_nsec = (long) (ms % 1000) * 1000000L;
  n = kevent(((struct kqueue_self *) self)->fd, NULL, 0, evs, max < EVENTS_PER_WAIT ? max : EVENTS_PER_WAIT,
             ms < 0 ? NULL : &ts);
  if (n < 0) {
    if (errno != EINTR) return -1;
    *interrupted = 1;
    return 0;
  }
  for (i = 0; i < n; i++) {
    const struct kevent *e = &evs[i];
    unsigned ready = e->filter == EVFILT_WRITE ? MG_POLL_WRITE : MG_POLL_READ;
    /* EOF on the reading side alone is a half-close, which epoll reports as READ; the writing side is gone for good. */
    if ((e->flags & EV_ERROR) || ((e->flags & EV_EOF) && (e->fflags != 0 || e->filter == EVFILT_WRITE))) {
      ready |= MG_POLL_HUP | MG_POLL_READ;
    }
    out[i].who = (void *) e->udata;
    out[i].events = ready;
  }
  return n;
}

static int kqueue_fd(void *self) {
  return ((struct kqueue_self *) self)->fd;
}

static void kqueue_close(void *self) {
  close(((struct kqueue_self *) self)->fd);
  mg_free(self);
}

const struct mg_poller mg_poller_kqueue = {
    "kqueue", kqueue_open, kqueue_watch, kqueue_wait, kqueue_fd, 1, kqueue_close};

#endif
