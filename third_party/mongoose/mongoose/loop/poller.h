/* poller.h - readiness of descriptors, one file per system call: poller_epoll.c, poller_poll.c, poller_kqueue.c.
 * Level-triggered, but `edge` descriptors (the wakeup eventfd) report each new event once where the system can.
 */
#pragma once
#include "mongoose/config.h"

MG_BEGIN_DECLS

enum { MG_POLL_READ = 1, MG_POLL_WRITE = 2, MG_POLL_HUP = 4, MG_POLL_EDGE = 8 };

struct mg_ready {
  void *who;       /* as given to watch(); kqueue tells reading and writing in two entries */
  unsigned events; /* READ | WRITE | HUP; an error is reported as HUP together with READ */
};

struct mg_poller {
  const char *name;
  void *(*open)(void); /* NULL on failure */
  /* From `was` to `want` (sets of READ, WRITE, EDGE; HUP, which is reported anyhow, keeps it watched; was 0: not watched yet, want 0:
   * forget). 0, or -1 with errno. */
  int (*watch)(void *self, int fd, unsigned was, unsigned want, void *who);
  /* Fill up to max entries; block at most ms milliseconds (-1: until something happens). Returns the number, 0 on
   * timeout and on EINTR with *interrupted set, -1 on failure. */
  int (*wait)(void *self, int ms, struct mg_ready *out, int max, int *interrupted);
  int (*fd)(void *self); /* itself pollable: a descriptor; else -1 */
  int close_forgets;     /* non-zero when close(fd) removes it by itself, so that no call is needed */
  void (*close)(void *self);
};

/* Those of other systems are declared all the same, and not defined. */
extern const struct mg_poller mg_poller_epoll, mg_poller_kqueue, mg_poller_poll;

/* The best of this system, or the one named by `name` ("epoll", "poll", "kqueue"); NULL when that is not built in. */
const struct mg_poller *mg_poller_find(const char *name);

MG_END_DECLS
