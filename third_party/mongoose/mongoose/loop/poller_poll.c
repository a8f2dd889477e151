/* poller_poll.c - readiness by poll(2), for systems with nothing better and to cross-check the others. The call itself
 * costs O(watched); everything around it is O(1): an index from descriptor to array place, removal by moving the last
 * one in. MG_POLL_EDGE is beyond poll and treated as level.
 */
#include "mongoose/loop/poller.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>

#include "mongoose/base/alloc.h"

struct poll_self {
  struct pollfd *fds;
  void **who;
  size_t used, room;  /* of fds and who */
  size_t *place;      /* by descriptor: 1 + its index in fds, 0 when not watched */
  size_t place_room;
  size_t start;       /* where the next report begins, so that a small `max` starves nobody */
};

static void *poll_open(void) {
  return mg_calloc(1, sizeof(struct poll_self));
}

static int grow(struct poll_self *p) {
  size_t room = p->room == 0 ? 16 : p->room * 2;
  struct pollfd *fds;
  void **who;
  if (p->used < p->room) return 0;
  if (room > (size_t) -1 / sizeof(*fds) || room > (size_t) -1 / sizeof(*who)) return -1;
  fds = (struct pollfd *) mg_realloc(p->fds, room * sizeof(*fds));
  if (fds == NULL) return -1;
  p->fds = fds; /* larger than `room` says if the next step fails: no harm */
  who = (void **) mg_realloc(p->who, room * sizeof(*who));
  if (who == NULL) return -1;
  p->who = who;
  p->room = room;
  return 0;
}

static int grow_place(struct poll_self *p, size_t fd) {
  size_t room = p->place_room == 0 ? 64 : p->place_room, *place;
  if (fd < p->place_room) return 0;
  while (room <= fd) room *= 2; /* fd is an int: this ends well below SIZE_MAX */
  if (room > (size_t) -1 / sizeof(*place)) return -1;
  place = (size_t *) mg_realloc(p->place, room * sizeof(*place));
  if (place == NULL) return -1;
  memset(place + p->place_room, 0, (room - p->place_room) * sizeof(*place));
  p->place = place;
  p->place_room = room;
  return 0;
}

static void forget(struct poll_self *p, size_t at) {
  size_t last = --p->used;
  p->place[p->fds[at].fd] = 0;
  if (at != last) {
    p->fds[at] = p->fds[last];
    p->who[at] = p->who[last];
    p->place[p->fds[at].fd] = at + 1;
  }
}

static int poll_watch(void *self, int fd, unsigned was, unsigned want, void *who) {
  struct poll_self *p = (struct poll_self *) self;
  size_t at;
  if (fd < 0) {
    errno = EBADF;
    return -1;
  }
  at = (size_t) fd < p->place_room ? p->place[fd] : 0;
  if ((was != 0) != (at != 0)) { /* as epoll answers: the caller lost track */
    errno = at != 0 ? EEXIST : ENOENT;
    return -1;
  }
  if (want == 0) {
    if (at == 0) {
      errno = ENOENT;
      return -1;
    }
    forget(p, at - 1);
    return 0;
  }
  if (at == 0) {
    if (grow(p) != 0 || grow_place(p, (size_t) fd) != 0) {
      errno = ENOMEM;
      return -1;
    }
    p->fds[p->used].fd = fd;
    p->place[fd] = at = ++p->used;
  }
  p->fds[at - 1].events = (short) ((want & MG_POLL_READ ? POLLIN : 0) | (want & MG_POLL_WRITE ? POLLOUT : 0));
  p->fds[at - 1].revents = 0;
  p->who[at - 1] = who;
  return 0;
}

static int poll_wait(void *self, int ms, struct mg_ready *out, int max, int *interrupted) {
  struct poll_self *p = (struct poll_self *) self;
  int n, found = 0;
  size_t i, seen;
  *interrupted = 0;
  n = poll(p->fds, (nfds_t) p->used, ms);
  if (n < 0) {
    if (errno != EINTR) return -1;
    *interrupted = 1;
    return 0;
  }
  if (n > max) n = max;
  i = p->start < p->used ? p->start : 0;
  for (seen = 0; found < n && seen < p->used; seen++) {
    short e = p->fds[i].revents;
    if (e != 0) {
      out[found].who = p->who[i];
      out[found].events = (e & POLLIN ? (unsigned) MG_POLL_READ : 0) | (e & POLLOUT ? (unsigned) MG_POLL_WRITE : 0) |
                          (e & (POLLHUP | POLLERR | POLLNVAL) ? (unsigned) MG_POLL_HUP | MG_POLL_READ : 0);
      found++;
    }
    if (++i == p->used) i = 0;
  }
  p->start = i;
  return found;
}

static int poll_fd(void *self) {
  (void) self;
  return -1;
}

static void poll_close(void *self) {
  struct poll_self *p = (struct poll_self *) self;
  mg_free(p->fds);
  mg_free(p->who);
  mg_free(p->place);
  mg_free(p);
}

const struct mg_poller mg_poller_poll = {"poll", poll_open, poll_watch, poll_wait, poll_fd, 0, poll_close};
