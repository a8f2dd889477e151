/* poller.c - which pollers this system has, the best one first. */
#include "mongoose/loop/poller.h"

#include <stddef.h>
#include <string.h>

static const struct mg_poller *const s_pollers[] = {
#if defined(__linux__)
    &mg_poller_epoll,
#endif
#if defined(__APPLE__) || defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__) || defined(__DragonFly__)
    &mg_poller_kqueue,
#endif
    &mg_poller_poll,
};

const struct mg_poller *mg_poller_find(const char *name) {
  size_t i;
  if (name == NULL) return s_pollers[0];
  for (i = 0; i < sizeof(s_pollers) / sizeof(s_pollers[0]); i++) {
    if (strcmp(s_pollers[i]->name, name) == 0) return s_pollers[i];
  }
  return NULL;
}
