/* timer.c - a pairing heap of timers.
 *
 * Links: `child` is the youngest child, `next` the next elder sibling, `prev` what points here: a sibling or the
 * parent. Only the root, and a timer that is nowhere, has prev == NULL.
 *
 * A poll first moves all that is due from the heap into a list and then works the list off. That makes the rules
 * simple: what is added or re-armed meanwhile goes to the heap and waits for the next poll, so no poll is endless; and
 * since the list uses the same links below a sentinel, mg_timer_free takes a timer out of either without asking where
 * it is.
 */
#include "mongoose/loop/timer.h"

#include <stddef.h>

#include "mongoose/base/alloc.h"

static unsigned long s_seq; /* shared by all threads' heaps; only the order within one heap matters */

static bool before(const struct mg_timer *a, const struct mg_timer *b) {
  if (a->expire != b->expire) return a->expire < b->expire;
  return a->seq < b->seq;
}

/* Two roots, without siblings, become one. */
static struct mg_timer *meld(struct mg_timer *a, struct mg_timer *b) {
  if (a == NULL) return b;
  if (b == NULL) return a;
  if (before(b, a)) {
    struct mg_timer *t = a;
    a = b;
    b = t;
  }
  b->prev = a;
  b->next = a->child;
  if (b->next != NULL) b->next->prev = b;
  a->child = b;
  return a;
}

/* The children of a removed node become one heap: neighbours pairwise, then all pairs into one. Loops, not recursion: a
 * heap just filled in rising order has all its timers as children of one. */
static struct mg_timer *meld_children(struct mg_timer *t) {
  struct mg_timer *pairs = NULL, *root = NULL;
  while (t != NULL) {
    struct mg_timer *a = t, *b = t->next;
    t = b == NULL ? NULL : b->next;
    a->next = a->prev = NULL;
    if (b != NULL) b->next = b->prev = NULL;
    a = meld(a, b);
    a->next = pairs;
    pairs = a;
  }
  while (pairs != NULL) {
    struct mg_timer *a = pairs;
    pairs = pairs->next;
    a->next = NULL;
    root = meld(root, a);
  }
  return root;
}

static uint64_t later(uint64_t now, uint64_t ms) {
  return ms > UINT64_MAX - 1 - now ? UINT64_MAX - 1 : now + ms; /* UINT64_MAX says "none" in mg_timer_next */
}

static uint64_t next_expiry(uint64_t expire, uint64_t period, uint64_t now) {
  return now - expire > period ? later(now, period) : later(expire, period);
}

void mg_timer_init(struct mg_timer **head, struct mg_timer *t, uint64_t milliseconds, unsigned flags,
                   void (*fn)(void *), void *arg) {
  t->period_ms = milliseconds;
  t->expire = 0;
  t->flags = flags & ~(unsigned) MG_TIMER_CALLED;
  t->fn = fn;
  t->arg = arg;
  t->next = t->prev = t->child = NULL;
  t->seq = __atomic_fetch_add(&s_seq, 1, __ATOMIC_RELAXED);
  *head = meld(*head, t);
}

void mg_timer_free(struct mg_timer **head, struct mg_timer *t) {
  struct mg_timer *rest;
  if (t->prev == NULL && *head != t) return; /* not in */
  rest = meld_children(t->child);
  if (t->prev == NULL) {
    *head = rest;
  } else {
    if (t->prev->child == t) {
      t->prev->child = t->next;
    } else {
      t->prev->next = t->next;
    }
    if (t->next != NULL) t->next->prev = t->prev;
    *head = meld(*head, rest);
  }
  t->next = t->prev = t->child = NULL;
}

void mg_timer_poll(struct mg_timer **head, uint64_t now_ms) {
  struct mg_timer due = {0}, *tail = &due, *t;

  /* An expiry of 0 sorts first, so timers never polled come up here and get their real one. */
  while ((t = *head) != NULL && t->expire <= now_ms) {
    mg_timer_free(head, t);
    if (t->expire == 0 && t->period_ms > 0 && !(t->flags & MG_TIMER_RUN_NOW)) {
      t->expire = later(now_ms, t->period_ms);
      *head = meld(*head, t);
      continue;
    }
    if (t->expire == 0) t->expire = now_ms;
    t->prev = tail;
    tail->next = t;
    tail = t;
  }

  while ((t = due.next) != NULL) {
    bool once = !(t->flags & MG_TIMER_REPEAT), autodelete = once && (t->flags & MG_TIMER_AUTODELETE);
    mg_timer_free(head, t);
    t->flags |= MG_TIMER_CALLED;
    if (!once) {
      t->expire = next_expiry(t->expire, t->period_ms, now_ms);
      *head = meld(*head, t); /* before the call, so that the function can free it like any other */
    }
    t->fn(t->arg);
    /* Unless it is ours to delete, `t` may be gone by now. */
    if (autodelete && t->prev == NULL && *head != t) mg_free(t);
  }
}

bool mg_timer_expired(uint64_t *expiration, uint64_t period, uint64_t now) {
  if (*expiration == 0 || *expiration > later(now, period)) *expiration = later(now, period);
  if (*expiration > now) return false;
  *expiration = next_expiry(*expiration, period, now);
  return true;
}

uint64_t mg_timer_next(struct mg_timer **head, uint64_t now_ms) {
  if (*head == NULL) return UINT64_MAX;
  return (*head)->expire <= now_ms ? 0 : (*head)->expire - now_ms;
}
