/* queue.c - each message has its length in front; a length of 0 sends the consumer back to the front of the ring.
 *
 *   tail                head               the byte range [tail, head) is full. head == tail: empty, so head never catches up with tail
 *    |len|message|len|msg|                 from behind. Positions are released by their writer and acquired by the other side.
 */
#include "mongoose/base/queue.h"

#include <stdbool.h>
#include <string.h>

enum { FRONT = sizeof(size_t) };

static size_t look(const volatile size_t *p) {
  return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void show(volatile size_t *p, size_t v) {
  __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static size_t get_len(const struct mg_queue *q, size_t at) {
  size_t n;
  memcpy(&n, q->buf + at, FRONT);
  return n;
}

static void put_len(struct mg_queue *q, size_t at, size_t n) {
  memcpy(q->buf + at, &n, FRONT);
}

void mg_queue_init(struct mg_queue *q, char *buf, size_t size) {
  q->buf = buf;
  q->size = size;
  q->tail = q->head = 0;
}

/* Behind every message there is room for the mark that leads to the front, so head is at most size - FRONT. */
size_t mg_queue_book(struct mg_queue *q, char **buf, size_t len) {
  size_t head = q->head, tail = look(&q->tail), room;
  if (q->size < 2 * FRONT || len > q->size - 2 * FRONT) return 0;
  if (head >= tail) {
    room = q->size - head < 2 * FRONT ? 0 : q->size - head - 2 * FRONT;
    if (len > room) {
      bool fits = tail > FRONT + len;
      if (!fits && (head != tail || head == 0)) return 0;
      put_len(q, head, 0);
      show(&q->head, 0);
      if (!fits) return 0; /* it is empty, and all of it is room when the consumer has followed */
      head = 0;
      room = tail - FRONT - 1;
    }
  } else {
    if (tail - head <= FRONT + len) return 0;
    room = tail - head - FRONT - 1;
  }
  *buf = q->buf + head + FRONT;
  return room;
}

void mg_queue_add(struct mg_queue *q, size_t len) {
  size_t head = q->head;
  if (len == 0) return; /* 0 is the mark; and nothing was said */
  put_len(q, head, len);
  show(&q->head, head + FRONT + len);
}

size_t mg_queue_next(struct mg_queue *q, char **buf) {
  size_t tail = q->tail, len;
  if (tail == look(&q->head)) return 0;
  len = get_len(q, tail);
  if (len == 0) { /* the mark */
    tail = 0;
    show(&q->tail, 0);
    if (look(&q->head) == 0) return 0;
    len = get_len(q, 0);
  }
  *buf = q->buf + tail + FRONT;
  return len;
}

void mg_queue_del(struct mg_queue *q, size_t len) {
  show(&q->tail, q->tail + FRONT + len);
}
