/* deadline.c - a timing wheel of one level. A tick is MG_WHEEL_TICK ms; slot (tick % MG_WHEEL_SLOTS) is a ring of the
 * holders to look at when that tick has come. A holder sits at its deadline's tick, rounded up so that it never fires
 * early, or, when that is beyond the horizon, in the farthest slot, or in an earlier one if its deadline was moved away
 * since: whoever is looked at too early is put back by its true deadline.
 */
#include "mongoose/loop/deadline.h"

#include <stddef.h>

static unsigned slot_of(uint64_t tick) {
  return (unsigned) (tick % MG_WHEEL_SLOTS);
}

static void ring_init(struct mg_deadline *s) {
  s->next = s->prev = s;
}

static void unlink_from(struct mg_wheel *w, struct mg_deadline *d) {
  unsigned i = slot_of(d->slot_due / MG_WHEEL_TICK);
  d->prev->next = d->next;
  d->next->prev = d->prev;
  /* During a poll the ring may hang on the poll's own sentinel: then the slot has its bit for others, or none. */
  if (w->slots[i].next == &w->slots[i]) w->busy[i / 64] &= ~(1ull << (i % 64));
  if (d->slot_due == w->soonest * MG_WHEEL_TICK) w->soonest = 0;
  d->next = d->prev = NULL;
}

static void link_to(struct mg_wheel *w, struct mg_deadline *d) {
  uint64_t tick = d->due / MG_WHEEL_TICK + (d->due % MG_WHEEL_TICK != 0);
  struct mg_deadline *s;
  unsigned i;
  if (tick <= w->now_tick) tick = w->now_tick + 1;
  if (tick - w->now_tick >= MG_WHEEL_SLOTS) tick = w->now_tick + MG_WHEEL_SLOTS - 1;
  i = slot_of(tick);
  s = &w->slots[i];
  d->slot_due = tick * MG_WHEEL_TICK;
  d->next = s;
  d->prev = s->prev;
  s->prev->next = d;
  s->prev = d;
  w->busy[i / 64] |= 1ull << (i % 64);
  if (tick < w->soonest) w->soonest = tick;
}

void mg_wheel_init(struct mg_wheel *w, uint64_t now_ms) {
  size_t i;
  for (i = 0; i < MG_WHEEL_SLOTS; i++) {
    ring_init(&w->slots[i]);
    w->slots[i].due = w->slots[i].slot_due = 0;
  }
  for (i = 0; i < MG_WHEEL_SLOTS / 64; i++) w->busy[i] = 0;
  w->now_tick = now_ms / MG_WHEEL_TICK;
  w->soonest = 0;
}

void mg_deadline_clear(struct mg_wheel *w, struct mg_deadline *d) {
  d->due = 0;
  if (d->next != NULL) unlink_from(w, d);
}

void mg_deadline_set(struct mg_wheel *w, struct mg_deadline *d, uint64_t due_ms) {
  if (due_ms == 0) {
    mg_deadline_clear(w, d);
    return;
  }
  d->due = due_ms;
  if (d->next != NULL) {
    if (due_ms >= d->slot_due) return; /* the usual case: looked at in time where it is */
    unlink_from(w, d);
  }
  link_to(w, d);
}

void mg_wheel_poll(struct mg_wheel *w, uint64_t now_ms, void (*fn)(struct mg_deadline *, void *), void *arg) {
  uint64_t target = now_ms / MG_WHEEL_TICK, tick = w->now_tick;
  if (target <= tick) return;
  if (target - tick > MG_WHEEL_SLOTS) tick = target - MG_WHEEL_SLOTS; /* once around is everything */
  /* Moved on before the first call: whatever fn sets now lands behind `target` and is not worked off in this poll. It
   * may land in a slot this loop has yet to come to; then it is looked at, is not due, and is put back. */
  w->now_tick = target;
  if (w->soonest <= target) w->soonest = 0;
  while (tick < target) {
    struct mg_deadline ring, *s, *d;
    unsigned i = slot_of(++tick);
    if ((w->busy[i / 64] >> (i % 64)) == 0) { /* nothing from here to the end of the word */
      uint64_t skip = 63 - i % 64;
      tick = skip < target - tick ? tick + skip : target;
      continue;
    }
    s = &w->slots[i];
    if (s->next == s) continue;
    /* Onto a sentinel of our own: fn may free any holder, also one that waits in this ring, and what is put back into
     * this slot is not met again. */
    ring.next = s->next;
    ring.prev = s->prev;
    ring.next->prev = ring.prev->next = &ring;
    ring_init(s);
    w->busy[i / 64] &= ~(1ull << (i % 64));
    while ((d = ring.next) != &ring) {
      unlink_from(w, d);
      if (d->due > now_ms) {
        link_to(w, d);
      } else {
        d->due = 0;
        fn(d, arg);
      }
    }
  }
}

static uint64_t find_soonest(const struct mg_wheel *w) {
  unsigned first = slot_of(w->now_tick + 1), left = MG_WHEEL_SLOTS, i = first;
  while (left > 0) {
    uint64_t bits = w->busy[i / 64] >> (i % 64);
    unsigned span = 64 - i % 64, skip = bits == 0 ? span : (unsigned) __builtin_ctzll(bits);
    if (skip >= left) break;
    if (bits != 0) return w->now_tick + 1 + (MG_WHEEL_SLOTS - left) + skip;
    left -= skip;
    i = (i + skip) % MG_WHEEL_SLOTS;
  }
  return 0;
}

uint64_t mg_wheel_next(struct mg_wheel *w, uint64_t now_ms) {
  uint64_t due;
  if (w->soonest == 0) w->soonest = find_soonest(w);
  if (w->soonest == 0) return UINT64_MAX;
  due = w->soonest * MG_WHEEL_TICK;
  return due <= now_ms ? 0 : due - now_ms;
}
