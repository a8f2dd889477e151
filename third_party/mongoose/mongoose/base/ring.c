/* ring.c - the bounded queue with many ends, after Dmitry Vyukov's.
 *
 * A slot has a turn: 2n while it is empty in the n-th lap around the ring, 2n + 1 while it is full. So memory of zeros is an empty ring,
 * and pages that were never reached are never touched.
 *
 *   push: tail claims the slot (compare-and-swap), item is written, turn becomes odd  ──┐ release
 *   pop:  turn is odd ──> head claims it, item is read, turn becomes the next lap's  <──┘ acquire
 *
 * Between claim and turn a thread may be off the processor. A pop that meets such a slot says "nothing there" (nobody waits for a
 * pusher). A push meets one only when it comes around to a slot whose popper was stopped half-way; that popper needs nothing from anybody,
 * so the push yields until it is done.
 *
 * Room: items and bytes are one number, taken before the slot is and given back after it is free again. So there are always as many slots
 * as room for items.
 *
 * The bell. Pusher: set the turn, then look at `armed`. Consumer: set `armed`, then look at tail. With a full fence between the two on
 * both sides at least one sees the other.
 */
#include "mongoose/base/ring.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "mongoose/base/alloc.h"

struct slot {
  uint64_t turn;
  void *item;
  uint64_t load; /* as below */
};

enum { AWAKE, ASLEEP, DOZING };

enum { BYTE_BITS = 36 };

static uint64_t load_of(uint64_t items, uint64_t bytes) {
  return items << BYTE_BITS | bytes;
}

static uint64_t items_of(uint64_t load) {
  return load >> BYTE_BITS;
}

static uint64_t bytes_of(uint64_t load) {
  return load & MG_RING_MAX_BYTES;
}

struct mg_ring {
  /* pushers */
  uint64_t tail;
  uint64_t load;  /* bytes in the lower bits, items above them */
  uint64_t extra; /* items pushed beyond one for each slot */
  char pad1[64]; /* the ends are not to share a cache line */
  /* poppers */
  uint64_t head;
  char pad2[64];
  /* read by all, written seldom */
  int armed, waiters; /* armed: one of the above */
  struct slot *slots;
  uint64_t mask;
  unsigned bits;
  uint64_t max_items, max_bytes;
  pthread_mutex_t lock; /* of those who wait for room */
  pthread_cond_t room;
};

static bool open_room(struct mg_ring *r) {
  pthread_condattr_t attr;
  bool ok;
  if (pthread_condattr_init(&attr) != 0) return false;
#if defined(__APPLE__)
  ok = true; /* waits by relative times instead */
#else
  ok = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0;
#endif
  if (ok) ok = pthread_cond_init(&r->room, &attr) == 0;
  pthread_condattr_destroy(&attr);
  if (ok && pthread_mutex_init(&r->lock, NULL) != 0) {
    pthread_cond_destroy(&r->room);
    ok = false;
  }
  return ok;
}

struct mg_ring *mg_ring_new(size_t max_items, size_t max_bytes) {
  struct mg_ring *r;
  unsigned bits = 0;
  if (max_items == 0 || max_items > MG_RING_MAX_ITEMS || max_items > ((size_t) -1 >> 2) / sizeof(struct slot)) return NULL;
  while (((size_t) 1 << bits) < max_items) bits++;
  r = (struct mg_ring *) mg_calloc(1, sizeof(*r));
  if (r == NULL) return NULL;
  r->slots = (struct slot *) mg_calloc((size_t) 1 << bits, sizeof(*r->slots)); /* large ones are mapped zeros, not touched here */
  if (r->slots == NULL || !open_room(r)) {
    mg_free(r->slots);
    mg_free(r);
    return NULL;
  }
  r->bits = bits;
  r->mask = ((uint64_t) 1 << bits) - 1;
  r->max_items = max_items;
  r->max_bytes = max_bytes < MG_RING_MAX_BYTES ? max_bytes : MG_RING_MAX_BYTES;
  return r;
}

void mg_ring_free(struct mg_ring *r) {
  if (r == NULL) return;
  pthread_cond_destroy(&r->room);
  pthread_mutex_destroy(&r->lock);
  mg_free(r->slots);
  mg_free(r);
}

/* The lock and its condition stay as they are: destroying a condition waits for those who wait for it, and here nobody will ever wake up. */
void mg_ring_abandon(struct mg_ring *r, void (*fn)(void *item)) {
  uint64_t at;
  for (at = r->head; at != r->tail; at++) {
    struct slot *s = &r->slots[at & r->mask];
    if (s->turn == (at >> r->bits << 1) + 1) fn(s->item); /* else it was being filled */
  }
  mg_free(r->slots);
  mg_free(r);
}

static bool has_room(const struct mg_ring *r, uint64_t load, uint64_t n, uint64_t bytes) {
  return n <= r->max_items - items_of(load) && bytes <= r->max_bytes - bytes_of(load);
}

/* By compare-and-swap rather than by adding and taking back: a large item that is being refused must not make a small one that fits be
 * refused as well. The load then; 0: there is no room. */
static uint64_t take_room(struct mg_ring *r, uint64_t n, uint64_t bytes) {
  uint64_t load = __atomic_load_n(&r->load, __ATOMIC_RELAXED), after;
  do {
    if (!has_room(r, load, n, bytes)) return 0;
    after = load + load_of(n, bytes);
  } while (!__atomic_compare_exchange_n(&r->load, &load, after, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
  return after;
}

static bool half_full(const struct mg_ring *r, uint64_t load) {
  return items_of(load) >= r->max_items / 2 || bytes_of(load) >= r->max_bytes / 2;
}

enum mg_ring_fate mg_ring_push(struct mg_ring *r, void *item, size_t bytes) {
  return mg_ring_push_many(r, item, 1, bytes);
}

enum mg_ring_fate mg_ring_push_many(struct mg_ring *r, void *item, size_t n, size_t bytes) {
  uint64_t load = take_room(r, n, bytes), tail, turn, empty;
  struct slot *s;
  int armed;
  if (load == 0) return MG_RING_FULL;
  if (n > 1) __atomic_fetch_add(&r->extra, n - 1, __ATOMIC_SEQ_CST); /* before it can be popped */
  tail = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
  for (;;) {
    s = &r->slots[tail & r->mask];
    turn = __atomic_load_n(&s->turn, __ATOMIC_ACQUIRE);
    empty = tail >> r->bits << 1;
    if (turn == empty) {
      if (__atomic_compare_exchange_n(&r->tail, &tail, tail + 1, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) break;
      continue;
    }
    if ((int64_t) (turn - empty) < 0) sched_yield(); /* its popper is on the way out */
    tail = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
  }
  s->item = item;
  s->load = load_of(n, bytes);
  __atomic_store_n(&s->turn, empty + 1, __ATOMIC_SEQ_CST); /* an exchange on x86: the fence before the look at `armed` */
  armed = __atomic_load_n(&r->armed, __ATOMIC_SEQ_CST);
  if (armed == AWAKE || (armed == DOZING && !half_full(r, load))) return MG_RING_PUSHED;
  return mg_ring_rouse(r) ? MG_RING_WAKE : MG_RING_PUSHED;
}

void *mg_ring_pop(struct mg_ring *r) {
  uint64_t head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE), turn, full;
  struct slot *s;
  void *item;
  uint64_t load;
  for (;;) {
    s = &r->slots[head & r->mask];
    turn = __atomic_load_n(&s->turn, __ATOMIC_ACQUIRE);
    full = (head >> r->bits << 1) + 1;
    if (turn == full) {
      if (__atomic_compare_exchange_n(&r->head, &head, head + 1, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) break;
      continue;
    }
    if ((int64_t) (turn - full) < 0) return NULL;
    head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
  }
  item = s->item;
  load = s->load;
  __atomic_store_n(&s->turn, full + 1, __ATOMIC_RELEASE);
  __atomic_sub_fetch(&r->load, load, __ATOMIC_SEQ_CST); /* before mg_ring_tell looks for waiters */
  return item;
}

/* tail moves before the turn is set, so a push that is half done keeps the consumer awake, too. */
bool mg_ring_arm(struct mg_ring *r) {
  __atomic_store_n(&r->armed, ASLEEP, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&r->tail, __ATOMIC_SEQ_CST) == __atomic_load_n(&r->head, __ATOMIC_SEQ_CST)) return true;
  mg_ring_disarm(r);
  return false;
}

void mg_ring_doze(struct mg_ring *r) {
  __atomic_store_n(&r->armed, DOZING, __ATOMIC_SEQ_CST);
}

bool mg_ring_rouse(struct mg_ring *r) {
  return __atomic_load_n(&r->armed, __ATOMIC_SEQ_CST) != AWAKE && __atomic_exchange_n(&r->armed, AWAKE, __ATOMIC_SEQ_CST) != AWAKE;
}

void mg_ring_disarm(struct mg_ring *r) {
  __atomic_store_n(&r->armed, AWAKE, __ATOMIC_SEQ_CST);
}

/* Under the lock: a popper that saw no waiter yet gave its room before this thread looks, and one that saw it needs the lock to wake it,
 * so nothing is missed. */
bool mg_ring_wait(struct mg_ring *r, size_t bytes, unsigned ms) {
  bool there, again = true;
  struct timespec t;
#if defined(__APPLE__)
  t.tv_sec = (time_t) (ms / 1000);
  t.tv_nsec = (long) (ms % 1000) * 1000000;
#else
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_sec += (time_t) (ms / 1000);
  t.tv_nsec += (long) (ms % 1000) * 1000000;
  if (t.tv_nsec >= 1000000000) {
    t.tv_sec++;
    t.tv_nsec -= 1000000000;
  }
#endif
  pthread_mutex_lock(&r->lock);
  __atomic_add_fetch(&r->waiters, 1, __ATOMIC_SEQ_CST);
  while (!(there = has_room(r, __atomic_load_n(&r->load, __ATOMIC_SEQ_CST), 1, bytes)) && again) {
#if defined(__APPLE__)
    again = pthread_cond_timedwait_relative_np(&r->room, &r->lock, &t) != ETIMEDOUT;
#else
    again = pthread_cond_timedwait(&r->room, &r->lock, &t) != ETIMEDOUT;
#endif
  }
  __atomic_sub_fetch(&r->waiters, 1, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&r->lock);
  return there;
}

void mg_ring_tell(struct mg_ring *r) {
  if (__atomic_load_n(&r->waiters, __ATOMIC_SEQ_CST) == 0) return;
  pthread_mutex_lock(&r->lock);
  pthread_cond_broadcast(&r->room);
  pthread_mutex_unlock(&r->lock);
}

/* tail first: what it counts has its share of `extra` already. */
uint64_t mg_ring_pushed(const struct mg_ring *r) {
  uint64_t tail = __atomic_load_n(&r->tail, __ATOMIC_SEQ_CST);
  return tail + __atomic_load_n(&r->extra, __ATOMIC_SEQ_CST);
}

size_t mg_ring_count(const struct mg_ring *r) {
  return (size_t) items_of(__atomic_load_n(&r->load, __ATOMIC_SEQ_CST));
}

size_t mg_ring_bytes(const struct mg_ring *r) {
  return (size_t) bytes_of(__atomic_load_n(&r->load, __ATOMIC_RELAXED));
}
