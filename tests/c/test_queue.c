/* test_queue.c - order, every length at every place of the ring, a full queue, and two threads. */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

#include "check.h"
#include "mongoose/base/queue.h"

static bool put(struct mg_queue *q, const void *data, size_t len) {
  char *to = NULL;
  if (mg_queue_book(q, &to, len) < len || to == NULL) return false;
  memcpy(to, data, len);
  mg_queue_add(q, len);
  return true;
}

TEST(messages_come_out_in_order_and_whole) {
  char ring[64], *at;
  struct mg_queue q;
  mg_queue_init(&q, ring, sizeof(ring));
  CHECK_INT(mg_queue_next(&q, &at), 0);
  CHECK(put(&q, "one", 3) && put(&q, "three", 5));
  CHECK_MEM(at, mg_queue_next(&q, &at), "one", 3);
  CHECK_INT(mg_queue_next(&q, &at), 3); /* still there */
  mg_queue_del(&q, 3);
  CHECK_INT(mg_queue_next(&q, &at), 5);
  CHECK_MEM(at, 5, "three", 5);
  mg_queue_del(&q, 5);
  CHECK_INT(mg_queue_next(&q, &at), 0);
}
TEST(a_full_queue_says_so_and_goes_on) {
  char ring[100], *at;
  struct mg_queue q;
  int n = 0;
  mg_queue_init(&q, ring, sizeof(ring));
  while (put(&q, "0123456789", 10)) n++;
  CHECK(n >= 4);
  CHECK(!put(&q, "0123456789", 10));
  CHECK_INT(mg_queue_next(&q, &at), 10);
  mg_queue_del(&q, 10);
  mg_queue_next(&q, &at);
  mg_queue_del(&q, 10);
  CHECK(put(&q, "abc", 3)); /* at the front */
  while (mg_queue_next(&q, &at) == 10) mg_queue_del(&q, 10);
  CHECK_MEM(at, mg_queue_next(&q, &at), "abc", 3);
}
TEST(a_message_of_any_length_fits_an_empty_queue_wherever_it_stands) {
  char data[200];
  for (size_t size = 0; size < 120; size++) {
    size_t most = size > 2 * sizeof(size_t) ? size - 2 * sizeof(size_t) : 0;
    char *ring = mg_test_guarded(data, size), *at;
    for (size_t first = 1; first <= most; first++) {
      for (size_t then = 1; then <= most; then++) {
        struct mg_queue q;
        mg_queue_init(&q, ring, size);
        memset(data, (int) first, sizeof(data));
        CHECK(put(&q, data, first));
        CHECK_INT(mg_queue_next(&q, &at), first);
        mg_queue_del(&q, first);
        if (!put(&q, data, then)) { /* at most once, until the consumer has looked */
          CHECK_INT(mg_queue_next(&q, &at), 0);
          CHECK(put(&q, data, then));
        }
        CHECK_INT(mg_queue_next(&q, &at), then);
        mg_queue_del(&q, then);
        CHECK_INT(mg_queue_next(&q, &at), 0);
      }
    }
    mg_test_unguard(ring, size);
    CHECK(mg_queue_book(&(struct mg_queue) {data, size, 0, 0}, &(char *) {NULL}, most + 1) == 0);
  }
}

enum { COUNT = 20000 };
static void *produce(void *arg) {
  struct mg_queue *q = (struct mg_queue *) arg;
  unsigned char m[40];
  for (unsigned i = 0; i < COUNT; i++) {
    size_t len = 4 + i % 37;
    memset(m, (int) (i & 255), sizeof(m));
    memcpy(m, &i, 4);
    while (!put(q, m, len)) sched_yield();
  }
  return NULL;
}
TEST(two_threads) {
  static char ring[300];
  struct mg_queue q;
  pthread_t t;
  mg_queue_init(&q, ring, sizeof(ring));
  CHECK(pthread_create(&t, NULL, produce, &q) == 0);
  for (unsigned i = 0; i < COUNT; i++) {
    char *at;
    size_t len;
    unsigned number;
    while ((len = mg_queue_next(&q, &at)) == 0) sched_yield();
    memcpy(&number, at, 4);
    if (number != i || len != 4 + i % 37 || (len > 4 && (unsigned char) at[len - 1] != (i & 255))) {
      CHECK_INT(number, i);
      break;
    }
    mg_queue_del(&q, len);
  }
  pthread_join(t, NULL);
}
CHECK_MAIN
