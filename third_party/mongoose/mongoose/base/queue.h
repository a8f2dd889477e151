/* queue.h - messages from one thread to another (or from an interrupt) through a ring of bytes, without locks and without allocating.
 *
 *   producer: mg_queue_book --> write --> mg_queue_add          consumer: mg_queue_next --> read --> mg_queue_del
 *
 * One producer and one consumer, no more. A message lies in one piece; what does not fit behind the last goes to the front.
 */
#pragma once
#include <stddef.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

struct mg_queue {
  char *buf;
  size_t size;
  volatile size_t tail; /* the consumer's */
  volatile size_t head; /* the producer's */
};

/* buf stays the caller's. A queue of `size` bytes holds a message of up to size - 2 * sizeof(size_t) bytes. */
void mg_queue_init(struct mg_queue *q, char *buf, size_t size);

/* Room for a message of len bytes: where to write it, in *buf, and how much room there is, >= len; 0: not enough, *buf is untouched.
 * Nothing is seen by the consumer before mg_queue_add says how many bytes (up to len) it became. */
size_t mg_queue_book(struct mg_queue *q, char **buf, size_t len);
void mg_queue_add(struct mg_queue *q, size_t len);

/* The oldest message and its length; 0: none. Its bytes stay until mg_queue_del with that length. */
size_t mg_queue_next(struct mg_queue *q, char **buf);
void mg_queue_del(struct mg_queue *q, size_t len);

MG_END_DECLS
