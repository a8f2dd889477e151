/* deadline.h - coarse time-outs for very many holders (one per connection), on a timing wheel.
 *
 * Moving a deadline further away, which every request does, is one store: the holder stays in its slot and is looked at
 * again when that comes up. Firing is at most one tick (MG_WHEEL_TICK ms) late and never early.
 */
#pragma once
#include <stdint.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

#define MG_WHEEL_TICK 32u   /* ms */
#define MG_WHEEL_SLOTS 512u /* horizon: 16 s; later deadlines are looked at again then */

struct mg_deadline {
  struct mg_deadline *next, *prev; /* ring of its slot; NULL when not on the wheel */
  uint64_t due;                    /* ms of mg_millis(); 0: none */
  uint64_t slot_due;               /* when its slot comes up */
};

struct mg_wheel {
  struct mg_deadline slots[MG_WHEEL_SLOTS]; /* sentinels */
  uint64_t busy[MG_WHEEL_SLOTS / 64];       /* slots that hold something */
  uint64_t now_tick;                        /* last tick that was worked off */
  uint64_t soonest;                         /* tick of the first busy slot; 0: to be found out */
};

void mg_wheel_init(struct mg_wheel *w, uint64_t now_ms);
/* due 0 clears. O(1). */
void mg_deadline_set(struct mg_wheel *w, struct mg_deadline *d, uint64_t due_ms);
void mg_deadline_clear(struct mg_wheel *w, struct mg_deadline *d); /* off the wheel, before its memory goes away */
/* Calls fn for each holder whose time has come, after clearing its deadline; fn may set, clear or free any holder. */
void mg_wheel_poll(struct mg_wheel *w, uint64_t now_ms, void (*fn)(struct mg_deadline *, void *), void *arg);
/* ms until a slot wants a look, UINT64_MAX when the wheel is empty. */
uint64_t mg_wheel_next(struct mg_wheel *w, uint64_t now_ms);

MG_END_DECLS
