/* timer.h - things to do at a given millisecond.
 *
 * `struct mg_timer **head` is the root of a pairing heap: adding is O(1), taking the next one O(log n).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

#define MG_TIMER_ONCE 0        /* call the function once */
#define MG_TIMER_REPEAT 1      /* call it periodically */
#define MG_TIMER_RUN_NOW 2     /* call it at the next poll, too */
#define MG_TIMER_CALLED 4      /* was called at least once */
#define MG_TIMER_AUTODELETE 8  /* free the struct after a one-shot ran */

struct mg_timer {
  uint64_t period_ms;
  uint64_t expire; /* 0 until the first poll after mg_timer_init; then ms of mg_millis() */
  unsigned flags;
  void (*fn)(void *);
  void *arg;
  struct mg_timer *next; /* sibling in the heap */
  struct mg_timer *prev; /* elder sibling or parent */
  struct mg_timer *child;
};

void mg_timer_init(struct mg_timer **head, struct mg_timer *t, uint64_t milliseconds, unsigned flags, void (*fn)(void *), void *arg);
void mg_timer_free(struct mg_timer **head, struct mg_timer *t); /* takes it out; safe when it is not in. The struct is the caller's */
void mg_timer_poll(struct mg_timer **head, uint64_t now_ms);     /* calls all that is due; a timer may free itself or others */
bool mg_timer_expired(uint64_t *expiration, uint64_t period, uint64_t now);
/* Ours: ms from now until the next one is due, 0 when one is due, UINT64_MAX when there is none. O(1). */
uint64_t mg_timer_next(struct mg_timer **head, uint64_t now_ms);

MG_END_DECLS
