/* ring.h - a bounded queue of pointers: any number of threads push, any number pop, none holds a lock.
 *
 * Both bounds are exact: never more than max_items are in it, nor more than max_bytes (each pointer says how many items, and bytes, it
 * counts for). Order is kept for each pusher. One consumer may sleep: it announces that (mg_ring_arm), and the first push after that says
 * "wake it"; or it dozes, to look again by itself before long, and is woken only when the ring gets half full, by items or by bytes.
 * A ring of millions costs address space; its pages come as they are used.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

struct mg_ring;

enum mg_ring_fate {
  MG_RING_FULL,   /* not taken; the item is still the caller's */
  MG_RING_PUSHED, /* taken, and perhaps gone already */
  MG_RING_WAKE    /* taken, and the consumer announced that it sleeps: wake it */
};

#define MG_RING_MAX_ITEMS (((uint64_t) 1 << 28) - 1)
#define MG_RING_MAX_BYTES (((uint64_t) 1 << 36) - 1)

/* NULL: out of memory, or max_items is 0 or above MG_RING_MAX_ITEMS. More than MG_RING_MAX_BYTES is taken as that. */
struct mg_ring *mg_ring_new(size_t max_items, size_t max_bytes);
void mg_ring_free(struct mg_ring *r);                            /* what is in it is the caller's: pop it before. No thread may use r any more */
/* Instead, in a forked child, whose other threads stopped wherever they were: fn gets every item but those that one of them had in its hands. */
void mg_ring_abandon(struct mg_ring *r, void (*fn)(void *item));

/* Any thread; item is not NULL. What counts for more than max_bytes is never taken, not even by an empty ring. */
enum mg_ring_fate mg_ring_push(struct mg_ring *r, void *item, size_t bytes);
/* The same for one that counts for n items, at least 1: all of them or none. */
enum mg_ring_fate mg_ring_push_many(struct mg_ring *r, void *item, size_t n, size_t bytes);
/* Any thread. The oldest item, or NULL: empty, or the oldest is still being put there by its pusher. */
void *mg_ring_pop(struct mg_ring *r);

/* The consumer, before it sleeps. False when something is in the ring already: do not sleep. */
bool mg_ring_arm(struct mg_ring *r);
void mg_ring_doze(struct mg_ring *r); /* instead, when it will look again by itself */
/* Any thread, after MG_RING_FULL: true when the consumer announced either. It is to be woken, by this caller alone. */
bool mg_ring_rouse(struct mg_ring *r);
void mg_ring_disarm(struct mg_ring *r);

/* Any thread that may sleep: until there is room for one item of so many bytes, at most ms milliseconds. True: there was. The room is not
 * held for the caller. */
bool mg_ring_wait(struct mg_ring *r, size_t bytes, unsigned ms);
/* After pops: wake those who wait for room. One atomic read when nobody does. */
void mg_ring_tell(struct mg_ring *r);

uint64_t mg_ring_pushed(const struct mg_ring *r); /* any thread: items taken since the ring was made */
size_t mg_ring_count(const struct mg_ring *r);    /* any thread: items in it */
size_t mg_ring_bytes(const struct mg_ring *r);    /* any thread: what they count for */

MG_END_DECLS
