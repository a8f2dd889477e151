/* wakeup.h - work posted to the loop from any thread: a lock-free multi-producer, single-consumer queue and one
 * descriptor.
 *
 * Order is kept for each producer. The descriptor is written only when the loop announced that it is about to sleep
 * (mg_wakeq_arm), and only by the first poster after that.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

struct mg_wake {
  struct mg_wake *next;
  size_t bytes;                                  /* counted against the limit until it ran; 0: never refused */
  void (*run)(struct mg_wake *self, void *ctx);  /* on the loop thread; owns and frees self */
  void (*drop)(struct mg_wake *self);            /* instead of run, when the queue goes away first */
};

struct mg_wakeq;

struct mg_wakeq *mg_wakeq_new(size_t max_bytes); /* NULL: out of memory or descriptors */
void mg_wakeq_free(struct mg_wakeq *q);          /* drops what is left; no thread may post any more */
int mg_wakeq_fd(const struct mg_wakeq *q);       /* readable after a post while armed; watch it edge-triggered */
void mg_wakeq_clear(struct mg_wakeq *q);         /* empty the descriptor: only under pollers without MG_POLL_EDGE */

/* Any thread. False, and w still the caller's, when that would exceed max_bytes; so a message larger than the limit is
 * never taken, not even by an empty queue. Once it returned true `w` may be gone. */
bool mg_wakeq_post(struct mg_wakeq *q, struct mg_wake *w);
/* Any thread: make the descriptor readable, without a message (signal handlers too: async-signal-safe). */
void mg_wakeq_poke(struct mg_wakeq *q);

/* Loop thread. Drop everything that is in the queue, without running it. */
void mg_wakeq_discard(struct mg_wakeq *q);
/* Loop thread. Run everything that was in the queue when the call began; the number run. Messages behind one whose
 * poster was stopped half-way stay for the next call: ask mg_wakeq_arm, not this number, whether the queue is empty. */
size_t mg_wakeq_drain(struct mg_wakeq *q, void *ctx);
/* Loop thread, before blocking: from now on a post rings. False when something is in the queue already: do not
 * block. */
bool mg_wakeq_arm(struct mg_wakeq *q);
void mg_wakeq_disarm(struct mg_wakeq *q);
void mg_wakeq_limit(struct mg_wakeq *q, size_t max_bytes); /* any thread: for posts from now on */
size_t mg_wakeq_bytes(const struct mg_wakeq *q); /* any thread: bytes waiting */
size_t mg_wakeq_count(const struct mg_wakeq *q); /* any thread: messages waiting */

MG_END_DECLS
