/* timer.h - things to do at a given millisecond.
 *
 * `struct mg_timer **head` is the root of a pairing heap: adding is O(1), taking the next one O(log n). Timers that are
 * due at the same millisecond run in the order in which they were initialised.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

#define MG_TIMER_ONCE 0        /* call the function once */
#define MG_TIMER_REPEAT 1      /* call it periodically */
#define MG_TIMER_RUN_NOW 2     /* REPEAT: call it at the next poll, too; ONCE: then, and not a period later */
#define MG_TIMER_CALLED 4      /* was called at least once */
#define MG_TIMER_AUTODELETE 8  /* mg_free the struct after a one-shot ran. fn must not free it, but may init it anew */

struct mg_timer {
  uint64_t period_ms;
  uint64_t expire; /* 0 until the first poll after mg_timer_init; then ms of mg_millis(). Read it, do not write it */
  unsigned flags;
  void (*fn)(void *);
  void *arg;
  struct mg_timer *next; /* sibling in the heap */
  struct mg_timer *prev; /* elder sibling or parent */
  struct mg_timer *child;
  unsigned long seq; /* decides between equals */
};

/* Puts `t` in. Its memory may be uninitialised, which is why this cannot see whether it is in already: a timer that is
 * (one that is waiting, a REPEAT one inside its own function) must go through mg_timer_free first. A one-shot inside
 * its function is out, and may be initialised again. */
void mg_timer_init(struct mg_timer **head, struct mg_timer *t, uint64_t milliseconds, unsigned flags,
                   void (*fn)(void *), void *arg);
/* Takes it out; safe when it is not in. The struct is the caller's. */
void mg_timer_free(struct mg_timer **head, struct mg_timer *t);
/* Calls all that is due, each at most once; a function may free its own timer or others and add new ones, which wait
 * for the next poll. A timer seen for the first time expires one period from now_ms. A REPEAT one keeps its phase,
 * unless it is more than one period late: then it starts afresh from now_ms. */
void mg_timer_poll(struct mg_timer **head, uint64_t now_ms);
/* The same arithmetic without a heap: true once per period; *expiration 0 starts it, so does a clock that was set
 * back. */
bool mg_timer_expired(uint64_t *expiration, uint64_t period, uint64_t now);
/* Ours: ms from now until the next one is due, 0 when one is due or has not been polled yet, UINT64_MAX when there is
 * none. O(1). */
uint64_t mg_timer_next(struct mg_timer **head, uint64_t now_ms);

MG_END_DECLS
