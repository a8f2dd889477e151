/* test_wakeup.c - nothing posted is lost, late or out of order. The tests with threads are for -fsanitize=thread as well. */
#include "mongoose/loop/wakeup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>

#include "check.h"
#include "mongoose/base/alloc.h"

struct msg {
  struct mg_wake w;
  int producer, number;
  struct mg_wakeq *repost;
};

struct ctx {
  int last[8];
  size_t run, disorder;
};

static size_t s_dropped;

static void run(struct mg_wake *w, void *arg) {
  struct msg *m = (struct msg *) w;
  struct ctx *c = (struct ctx *) arg;
  c->run++;
  if (m->number <= c->last[m->producer]) c->disorder++;
  c->last[m->producer] = m->number;
  if (m->repost != NULL) {
    m->number++;
    CHECK(mg_wakeq_post(m->repost, w));
    return;
  }
  free(m);
}

static void drop(struct mg_wake *w) {
  s_dropped++;
  free(w);
}

static struct msg *new_msg(int producer, int number, size_t bytes) {
  struct msg *m = (struct msg *) calloc(1, sizeof(*m));
  m->w.bytes = bytes;
  m->w.run = run;
  m->w.drop = drop;
  m->producer = producer;
  m->number = number;
  return m;
}

static bool rings(struct mg_wakeq *q, int ms) {
  struct pollfd p = {mg_wakeq_fd(q), POLLIN, 0};
  return poll(&p, 1, ms) == 1;
}

TEST(messages_run_once_in_order_and_give_their_bytes_back) {
  struct mg_wakeq *q = mg_wakeq_new(1000);
  struct ctx c = {{0}, 0, 0};
  CHECK_INT(mg_wakeq_drain(q, &c), 0);
  for (int i = 1; i <= 10; i++) CHECK(mg_wakeq_post(q, &new_msg(0, i, 7)->w));
  CHECK_INT(mg_wakeq_bytes(q), 70);
  CHECK_INT(mg_wakeq_count(q), 10);
  CHECK_INT(mg_wakeq_drain(q, &c), 10);
  CHECK_INT(mg_wakeq_bytes(q), 0);
  CHECK_INT(mg_wakeq_count(q), 0);
  CHECK_INT(mg_wakeq_drain(q, &c), 0);
  CHECK(mg_wakeq_post(q, &new_msg(0, 11, 7)->w)); /* and again after it ran empty */
  CHECK_INT(mg_wakeq_drain(q, &c), 1);
  CHECK_INT(c.last[0], 11);
  CHECK_INT(c.disorder, 0);
  mg_wakeq_free(q);
}

TEST(what_does_not_fit_is_refused_and_stays_the_callers) {
  struct mg_wakeq *q = mg_wakeq_new(100);
  struct ctx c = {{0}, 0, 0};
  struct msg *m = new_msg(0, 2, 41), *huge = new_msg(0, 3, (size_t) -1), *large = new_msg(0, 4, 101);
  CHECK(!mg_wakeq_post(q, &large->w)); /* not even by an empty queue */
  CHECK(!mg_wakeq_post(q, &huge->w));
  CHECK(mg_wakeq_post(q, &new_msg(0, 1, 60)->w));
  CHECK(!mg_wakeq_post(q, &m->w));
  CHECK(!mg_wakeq_post(q, &huge->w));
  CHECK_INT(mg_wakeq_bytes(q), 60); /* refusals leave no trace */
  CHECK_INT(mg_wakeq_count(q), 1);
  m->w.bytes = 40;
  CHECK(mg_wakeq_post(q, &m->w)); /* full to the brim */
  CHECK_INT(mg_wakeq_drain(q, &c), 2);
  large->w.bytes = 100;
  CHECK(mg_wakeq_post(q, &large->w));
  CHECK_INT(mg_wakeq_drain(q, &c), 1);
  free(huge);
  mg_wakeq_free(q);
}

TEST(a_message_posted_by_a_message_waits_for_the_next_drain) {
  struct mg_wakeq *q = mg_wakeq_new(100);
  struct ctx c = {{0}, 0, 0};
  struct msg *m = new_msg(0, 1, 1);
  m->repost = q;
  CHECK(mg_wakeq_post(q, &m->w));
  CHECK(mg_wakeq_post(q, &new_msg(1, 1, 1)->w));
  CHECK_INT(mg_wakeq_drain(q, &c), 2);
  for (int i = 0; i < 5; i++) CHECK_INT(mg_wakeq_drain(q, &c), 1);
  CHECK(!mg_wakeq_arm(q));
  m->repost = NULL;
  CHECK_INT(mg_wakeq_drain(q, &c), 1);
  CHECK(mg_wakeq_arm(q));
  CHECK_INT(c.disorder, 0);
  mg_wakeq_free(q);
}

TEST(only_the_first_post_after_arming_rings) {
  struct mg_wakeq *q = mg_wakeq_new(100);
  struct ctx c = {{0}, 0, 0};
  CHECK(mg_wakeq_post(q, &new_msg(0, 1, 1)->w));
  CHECK(!rings(q, 0)); /* the loop is awake */
  CHECK(!mg_wakeq_arm(q)); /* and is told not to sleep */
  mg_wakeq_drain(q, &c);
  CHECK(mg_wakeq_arm(q));
  CHECK(!rings(q, 0));
  CHECK(mg_wakeq_post(q, &new_msg(0, 2, 1)->w));
  CHECK(rings(q, 0));
  mg_wakeq_clear(q);
  CHECK(!rings(q, 0));
  CHECK(mg_wakeq_post(q, &new_msg(0, 3, 1)->w)); /* nobody armed since */
  CHECK(!rings(q, 0));
  mg_wakeq_drain(q, &c);
  CHECK(mg_wakeq_arm(q));
  mg_wakeq_disarm(q);
  CHECK(mg_wakeq_post(q, &new_msg(0, 4, 1)->w));
  CHECK(!rings(q, 0));
  mg_wakeq_drain(q, &c);
  CHECK_INT(c.run, 4);
  mg_wakeq_free(q);
}

TEST(a_poke_rings_always_and_keeps_errno) {
  struct mg_wakeq *q = mg_wakeq_new(0);
  errno = 4242;
  for (int i = 0; i < 100000; i++) mg_wakeq_poke(q); /* more than a pipe holds */
  CHECK_INT(errno, 4242);
  CHECK(rings(q, 0));
  mg_wakeq_clear(q);
  CHECK(!rings(q, 0));
  mg_wakeq_poke(q);
  CHECK(rings(q, 0));
  mg_wakeq_free(q);
}

TEST(messages_without_bytes_pass_a_queue_of_none) {
  struct mg_wakeq *q = mg_wakeq_new(0);
  struct ctx c = {{0}, 0, 0};
  CHECK(mg_wakeq_post(q, &new_msg(0, 1, 0)->w));
  CHECK_INT(mg_wakeq_drain(q, &c), 1);
  mg_wakeq_free(q);
}

TEST(what_is_left_is_dropped_with_the_queue) {
  struct mg_wakeq *q = mg_wakeq_new(100);
  s_dropped = 0;
  for (int i = 0; i < 5; i++) CHECK(mg_wakeq_post(q, &new_msg(0, i, 1)->w));
  mg_wakeq_free(q);
  CHECK_INT(s_dropped, 5);
  mg_wakeq_free(NULL);
}

TEST(the_descriptor_is_non_blocking_and_closed_on_exec) {
  struct mg_wakeq *q = mg_wakeq_new(100);
  int fd = mg_wakeq_fd(q);
  CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  mg_wakeq_free(q);
  CHECK(fcntl(fd, F_GETFD) == -1);
}

TEST(a_failed_allocation_is_an_error_and_no_leak) {
  void *probe;
  mg_alloc_fail_at(1);
  probe = mg_malloc(1);
  mg_alloc_fail_at(0);
  mg_free(probe);
  if (probe != NULL) return; /* this build cannot inject faults */
  mg_alloc_fail_at(1);
  CHECK(mg_wakeq_new(1) == NULL);
  mg_alloc_fail_at(0);
}

/* A poster stopped half-way: what mg_wakeq_post does, cut in two. The queue's first field is its head. */
static struct mg_wake *half_post(struct mg_wakeq *q, struct mg_wake *w) {
  w->next = NULL;
  return __atomic_exchange_n((struct mg_wake **) (void *) q, w, __ATOMIC_SEQ_CST);
}
static void other_half(struct mg_wake *prev, struct mg_wake *w) {
  __atomic_store_n(&prev->next, w, __ATOMIC_RELEASE);
}

TEST(a_poster_stopped_half_way_keeps_the_loop_awake_and_the_order) {
  struct mg_wakeq *q = mg_wakeq_new(100);
  struct ctx c = {{0}, 0, 0};
  struct msg *a = new_msg(0, 1, 0), *b = new_msg(0, 2, 0), *d = new_msg(0, 4, 0);
  struct mg_wake *prev = half_post(q, &a->w);
  CHECK_INT(mg_wakeq_drain(q, &c), 0); /* nothing can be reached */
  CHECK(!mg_wakeq_arm(q));             /* yet something is there */
  other_half(prev, &a->w);
  prev = half_post(q, &b->w);
  CHECK(mg_wakeq_post(q, &new_msg(0, 3, 0)->w)); /* a whole one behind the gap */
  CHECK_INT(mg_wakeq_drain(q, &c), 0);           /* a's link is about to be written: it must not be freed yet */
  CHECK(!mg_wakeq_arm(q));
  CHECK(mg_wakeq_post(q, &d->w)); /* goes to the fresh queue, and behind the broken chain */
  CHECK_INT(mg_wakeq_drain(q, &c), 0);
  CHECK(!mg_wakeq_arm(q));
  other_half(prev, &b->w);
  CHECK_INT(mg_wakeq_drain(q, &c), 4);
  CHECK_INT(c.last[0], 4);
  CHECK_INT(c.disorder, 0);
  CHECK(mg_wakeq_arm(q));
  mg_wakeq_free(q);
}

/* ---- threads ---- */

enum { PRODUCERS = 8, POSTS = 20000 };

struct producer {
  struct mg_wakeq *q;
  int number;
  size_t bytes, refused;
};

static void *produce(void *arg) {
  struct producer *p = (struct producer *) arg;
  for (int i = 1; i <= POSTS; i++) {
    struct msg *m = new_msg(p->number, i, p->bytes);
    while (!mg_wakeq_post(p->q, &m->w)) {
      p->refused++;
      sched_yield();
    }
  }
  return NULL;
}

/* The loop as it will be: drain, arm, sleep without a timeout. A lost wakeup hangs here, and the runner's time limit tells. */
static void many_producers(size_t limit, size_t bytes, size_t *refused) {
  struct mg_wakeq *q = mg_wakeq_new(limit);
  struct producer p[PRODUCERS];
  pthread_t th[PRODUCERS];
  struct ctx c;
  size_t over = 0;
  memset(&c, 0, sizeof(c));
  *refused = 0;
  for (int i = 0; i < PRODUCERS; i++) {
    p[i].q = q;
    p[i].number = i;
    p[i].bytes = bytes;
    p[i].refused = 0;
    CHECK_INT(pthread_create(&th[i], NULL, produce, &p[i]), 0);
  }
  while (c.run < (size_t) PRODUCERS * POSTS) {
    over += mg_wakeq_bytes(q) > limit;
    if (mg_wakeq_drain(q, &c) > 0) continue;
    if (!mg_wakeq_arm(q)) continue;
    CHECK(rings(q, -1));
    mg_wakeq_disarm(q);
    mg_wakeq_clear(q);
  }
  for (int i = 0; i < PRODUCERS; i++) {
    pthread_join(th[i], NULL);
    *refused += p[i].refused;
    CHECK_INT(c.last[i], POSTS);
  }
  CHECK_INT(c.disorder, 0);
  CHECK_INT(over, 0);
  CHECK_INT(c.run, (size_t) PRODUCERS * POSTS);
  CHECK_INT(mg_wakeq_bytes(q), 0);
  CHECK_INT(mg_wakeq_count(q), 0);
  CHECK(mg_wakeq_arm(q));
  mg_wakeq_free(q);
}

TEST(eight_producers_lose_nothing_and_keep_their_order) {
  size_t refused;
  many_producers((size_t) PRODUCERS * POSTS * 10, 10, &refused);
  CHECK_INT(refused, 0);
}

TEST(a_small_queue_refuses_and_still_loses_nothing) {
  size_t refused;
  many_producers(200, 10, &refused);
  CHECK(refused > 0);
}

/* One at a time, so that nearly every message finds the loop asleep: the bell, not the queue, is under test. */
static void *ping(void *arg) {
  struct mg_wakeq *q = (struct mg_wakeq *) arg;
  for (int i = 1; i <= 3000; i++) {
    struct msg *m = new_msg(0, i, 1);
    while (!mg_wakeq_post(q, &m->w)) sched_yield(); /* room for one: it is taken when the one before has run */
  }
  return NULL;
}

TEST(a_sleeping_loop_is_woken_by_every_single_message) {
  struct mg_wakeq *q = mg_wakeq_new(1);
  struct ctx c;
  pthread_t th;
  memset(&c, 0, sizeof(c));
  CHECK_INT(pthread_create(&th, NULL, ping, q), 0);
  while (c.run < 3000) {
    if (mg_wakeq_drain(q, &c) > 0 || !mg_wakeq_arm(q)) continue;
    CHECK(rings(q, -1));
    mg_wakeq_disarm(q);
    mg_wakeq_clear(q);
  }
  pthread_join(th, NULL);
  CHECK_INT(c.disorder, 0);
  mg_wakeq_free(q);
}

CHECK_MAIN
