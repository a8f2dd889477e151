/* test_ring.c - nothing pushed is lost, doubled or out of order, and both bounds hold. The tests with threads are for -fsanitize=thread as
 * well. */
#include "mongoose/base/ring.h"

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "mongoose/base/alloc.h"

static void *item(size_t n) {
  return (void *) (uintptr_t) n;
}

static size_t number(void *p) {
  return (size_t) (uintptr_t) p;
}

TEST(items_come_out_in_order_over_many_laps) {
  struct mg_ring *r = mg_ring_new(3, 1000); /* four slots */
  size_t in = 0, out = 0;
  CHECK(mg_ring_pop(r) == NULL);
  for (int lap = 0; lap < 100; lap++) {
    for (int i = 0; i < 3; i++) CHECK_INT(mg_ring_push(r, item(++in), 10), MG_RING_PUSHED);
    CHECK_INT(mg_ring_count(r), 3);
    CHECK_INT(mg_ring_bytes(r), 30);
    for (int i = 0; i < 3; i++) CHECK_INT(number(mg_ring_pop(r)), ++out);
    CHECK(mg_ring_pop(r) == NULL);
  }
  CHECK_INT(mg_ring_pushed(r), 300);
  CHECK_INT(mg_ring_count(r), 0);
  CHECK_INT(mg_ring_bytes(r), 0);
  mg_ring_free(r);
}

TEST(the_number_of_items_is_bounded_exactly) {
  for (size_t max = 1; max <= 9; max++) {
    struct mg_ring *r = mg_ring_new(max, 1000);
    for (size_t i = 1; i <= max; i++) CHECK_INT(mg_ring_push(r, item(i), 1), MG_RING_PUSHED);
    CHECK_INT(mg_ring_push(r, item(99), 1), MG_RING_FULL);
    CHECK_INT(mg_ring_bytes(r), max); /* what was refused counts for nothing */
    CHECK_INT(number(mg_ring_pop(r)), 1);
    CHECK_INT(mg_ring_push(r, item(99), 1), MG_RING_PUSHED);
    CHECK_INT(mg_ring_push(r, item(99), 1), MG_RING_FULL);
    CHECK_INT(mg_ring_pushed(r), max + 1);
    mg_ring_free(r);
  }
}

TEST(what_counts_for_many_items_takes_their_room_and_all_of_it_or_none) {
  struct mg_ring *r = mg_ring_new(10, 1000);
  CHECK_INT(mg_ring_push_many(r, item(1), 11, 0), MG_RING_FULL); /* never, not even by an empty ring */
  CHECK_INT(mg_ring_push_many(r, item(1), (size_t) -1, 0), MG_RING_FULL);
  CHECK_INT(mg_ring_push_many(r, item(1), 7, 70), MG_RING_PUSHED);
  CHECK_INT(mg_ring_push_many(r, item(2), 4, 40), MG_RING_FULL);
  CHECK_INT(mg_ring_push(r, item(2), 10), MG_RING_PUSHED);
  CHECK_INT(mg_ring_push_many(r, item(3), 2, 20), MG_RING_PUSHED);
  CHECK_INT(mg_ring_push(r, item(4), 10), MG_RING_FULL);
  CHECK_INT(mg_ring_count(r), 10);
  CHECK_INT(mg_ring_bytes(r), 100);
  CHECK_INT(number(mg_ring_pop(r)), 1);
  CHECK_INT(mg_ring_count(r), 3);
  CHECK_INT(mg_ring_bytes(r), 30);
  CHECK_INT(mg_ring_push_many(r, item(4), 7, 970), MG_RING_PUSHED);
  CHECK_INT(number(mg_ring_pop(r)), 2);
  CHECK_INT(number(mg_ring_pop(r)), 3);
  CHECK_INT(number(mg_ring_pop(r)), 4);
  CHECK_INT(mg_ring_pushed(r), 17);
  CHECK_INT(mg_ring_count(r), 0);
  CHECK_INT(mg_ring_bytes(r), 0);
  mg_ring_free(r);
}

TEST(the_number_of_bytes_is_bounded_exactly) {
  struct mg_ring *r = mg_ring_new(100, 100);
  CHECK_INT(mg_ring_push(r, item(1), 101), MG_RING_FULL); /* never, not even by an empty ring */
  CHECK_INT(mg_ring_push(r, item(1), (size_t) -1), MG_RING_FULL);
  CHECK_INT(mg_ring_push(r, item(1), 60), MG_RING_PUSHED);
  CHECK_INT(mg_ring_push(r, item(2), 41), MG_RING_FULL);
  CHECK_INT(mg_ring_push(r, item(2), 40), MG_RING_PUSHED);
  CHECK_INT(mg_ring_push(r, item(3), 0), MG_RING_PUSHED);
  CHECK_INT(mg_ring_push(r, item(4), 1), MG_RING_FULL);
  CHECK_INT(number(mg_ring_pop(r)), 1);
  CHECK_INT(mg_ring_bytes(r), 40);
  CHECK_INT(mg_ring_push(r, item(4), 60), MG_RING_PUSHED);
  mg_ring_free(r);
}

TEST(a_ring_without_room_at_all_or_beyond_reason_is_not_made) {
  CHECK(mg_ring_new(0, 1) == NULL);
  CHECK(mg_ring_new((size_t) -1, 1) == NULL);
  CHECK(mg_ring_new((size_t) MG_RING_MAX_ITEMS + 1, 1) == NULL);
  for (long n = 1; n <= 2; n++) {
    mg_alloc_fail_at(n);
    CHECK(mg_ring_new(10, 10) == NULL);
    mg_alloc_fail_at(0);
  }
  mg_ring_free(NULL);
}

TEST(the_first_push_after_the_announcement_wakes_and_no_other) {
  struct mg_ring *r = mg_ring_new(10, 10);
  CHECK_INT(mg_ring_push(r, item(1), 0), MG_RING_PUSHED);
  CHECK(!mg_ring_arm(r)); /* something is there */
  CHECK_INT(mg_ring_push(r, item(2), 0), MG_RING_PUSHED);
  CHECK_INT(number(mg_ring_pop(r)), 1);
  CHECK_INT(number(mg_ring_pop(r)), 2);
  CHECK(mg_ring_arm(r));
  CHECK_INT(mg_ring_push(r, item(3), 11), MG_RING_FULL); /* nothing to wake up for */
  CHECK_INT(mg_ring_push(r, item(3), 0), MG_RING_WAKE);
  CHECK_INT(mg_ring_push(r, item(4), 0), MG_RING_PUSHED);
  CHECK_INT(number(mg_ring_pop(r)), 3);
  CHECK_INT(number(mg_ring_pop(r)), 4);
  CHECK(mg_ring_arm(r));
  mg_ring_disarm(r);
  CHECK_INT(mg_ring_push(r, item(5), 0), MG_RING_PUSHED);
  mg_ring_free(r);
}

TEST(a_consumer_that_dozes_is_woken_when_the_ring_is_half_full_or_has_no_room) {
  struct mg_ring *r = mg_ring_new(6, 10);
  mg_ring_doze(r);
  CHECK_INT(mg_ring_push(r, item(1), 0), MG_RING_PUSHED);
  CHECK_INT(mg_ring_push(r, item(2), 0), MG_RING_PUSHED);
  CHECK_INT(mg_ring_push(r, item(3), 0), MG_RING_WAKE);
  CHECK_INT(mg_ring_push(r, item(4), 0), MG_RING_PUSHED);
  CHECK(!mg_ring_rouse(r));
  mg_ring_doze(r);
  CHECK_INT(mg_ring_push(r, item(5), 11), MG_RING_FULL); /* for want of bytes */
  CHECK(mg_ring_rouse(r));
  CHECK(!mg_ring_rouse(r));
  while (mg_ring_pop(r) != NULL) continue;
  mg_ring_doze(r);
  CHECK_INT(mg_ring_push(r, item(1), 4), MG_RING_PUSHED);
  CHECK_INT(mg_ring_push(r, item(2), 1), MG_RING_WAKE); /* half of the bytes */
  CHECK_INT(mg_ring_push(r, item(3), 5), MG_RING_PUSHED);
  mg_ring_free(r);
}

TEST(waiting_for_room_ends_by_room_or_by_time) {
  struct mg_ring *r = mg_ring_new(1, 10);
  CHECK(mg_ring_wait(r, 10, 1000));
  CHECK(!mg_ring_wait(r, 11, 1)); /* there will never be */
  CHECK_INT(mg_ring_push(r, item(1), 5), MG_RING_PUSHED);
  CHECK(!mg_ring_wait(r, 5, 1));
  CHECK_INT(number(mg_ring_pop(r)), 1);
  CHECK(mg_ring_wait(r, 5, 1000));
  mg_ring_free(r);
}

/* ---- threads ---- */

enum { PRODUCERS = 4, EACH = 20000, BYTES = 7 };

struct shared {
  struct mg_ring *r;
  int how, done, poppers;          /* done: producers that ended */
  size_t refused, evicted, out;    /* counted together */
  size_t most;                     /* items that one counts for */
  size_t items;                    /* that came out */
  unsigned char seen[PRODUCERS][EACH];
  pthread_mutex_t lock;
  pthread_cond_t bell;
  int rung;
};

struct producer {
  struct shared *s;
  size_t id;
};

static void *code(size_t id, size_t i) {
  return item(1 + id * EACH + i);
}

static size_t items(const struct shared *s, size_t i) {
  return 1 + i % s->most;
}

static void see(struct shared *s, void *p, size_t last[PRODUCERS]) {
  size_t n = number(p) - 1, id = n / EACH, i = n % EACH, got;
  CHECK(id < PRODUCERS);
  if (last != NULL) {
    CHECK(last[id] <= i); /* in the order of its producer */
    last[id] = i + 1;
  }
  CHECK_INT(__atomic_add_fetch(&s->seen[id][i], 1, __ATOMIC_RELAXED), 1); /* once */
  __atomic_add_fetch(&s->out, 1, __ATOMIC_SEQ_CST);
  got = __atomic_add_fetch(&s->items, items(s, i), __ATOMIC_SEQ_CST);
  CHECK(mg_ring_pushed(s->r) >= got);
}

enum { REFUSE, EVICT, WAIT, SLEEPER, DOZER }; /* what producers do without room; SLEEPER and DOZER wait, too */

static void *produce(void *arg) {
  struct producer *p = (struct producer *) arg;
  struct shared *s = p->s;
  for (size_t i = 0; i < EACH; i++) {
    enum mg_ring_fate fate;
    size_t n = items(s, i);
    while ((fate = mg_ring_push_many(s->r, code(p->id, i), n, n * BYTES)) == MG_RING_FULL) {
      if (s->how == REFUSE) {
        __atomic_add_fetch(&s->refused, 1, __ATOMIC_SEQ_CST);
        break;
      }
      if (s->how == EVICT) {
        void *old = mg_ring_pop(s->r);
        if (old != NULL) {
          see(s, old, NULL);
          __atomic_add_fetch(&s->evicted, 1, __ATOMIC_SEQ_CST);
        } else {
          sched_yield();
        }
      } else {
        mg_ring_wait(s->r, n * BYTES, 10000);
      }
    }
    if (fate == MG_RING_WAKE) {
      pthread_mutex_lock(&s->lock);
      s->rung++;
      pthread_cond_signal(&s->bell);
      pthread_mutex_unlock(&s->lock);
    }
  }
  __atomic_add_fetch(&s->done, 1, __ATOMIC_SEQ_CST);
  if (s->how == SLEEPER) { /* the consumer may sleep for good otherwise */
    pthread_mutex_lock(&s->lock);
    s->rung++;
    pthread_cond_signal(&s->bell);
    pthread_mutex_unlock(&s->lock);
  }
  return NULL;
}

static void nap(struct shared *s) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  t.tv_nsec += 1000000;
  if (t.tv_nsec >= 1000000000) {
    t.tv_sec++;
    t.tv_nsec -= 1000000000;
  }
  pthread_mutex_lock(&s->lock);
  if (s->rung == 0) pthread_cond_timedwait(&s->bell, &s->lock, &t);
  s->rung = 0;
  pthread_mutex_unlock(&s->lock);
}

static void *consume(void *arg) {
  struct shared *s = (struct shared *) arg;
  size_t last[PRODUCERS] = {0};
  for (;;) {
    int ended = __atomic_load_n(&s->done, __ATOMIC_SEQ_CST) == PRODUCERS; /* before the look: then nothing comes after it */
    void *p = mg_ring_pop(s->r);
    if (p != NULL) {
      see(s, p, s->poppers == 1 && s->how != EVICT ? last : NULL);
      mg_ring_tell(s->r);
      continue;
    }
    if (ended) return NULL;
    if (s->how == DOZER) { /* wakes up by itself for the last few only */
      mg_ring_doze(s->r);
      if (mg_ring_count(s->r) < 4) nap(s);
    } else if (s->how == SLEEPER) {
      pthread_mutex_lock(&s->lock);
      while (s->rung == 0 && mg_ring_arm(s->r)) {
        if (s->rung == 0) pthread_cond_wait(&s->bell, &s->lock); /* without a time: a ring that is missed hangs the test */
        mg_ring_disarm(s->r);
      }
      s->rung = 0;
      pthread_mutex_unlock(&s->lock);
    } else {
      sched_yield();
    }
  }
}

static void meet(int how, int poppers, size_t max_items, size_t most) {
  static struct shared s;
  struct producer p[PRODUCERS];
  pthread_t makers[PRODUCERS], takers[4];
  size_t missing = 0;
  memset(&s, 0, sizeof(s));
  s.r = mg_ring_new(max_items, max_items * BYTES);
  s.how = how;
  s.most = most;
  s.poppers = poppers;
  pthread_mutex_init(&s.lock, NULL);
  pthread_cond_init(&s.bell, NULL);
  for (int i = 0; i < poppers; i++) pthread_create(&takers[i], NULL, consume, &s);
  for (size_t i = 0; i < PRODUCERS; i++) {
    p[i].s = &s;
    p[i].id = i;
    pthread_create(&makers[i], NULL, produce, &p[i]);
  }
  for (size_t i = 0; i < PRODUCERS; i++) pthread_join(makers[i], NULL);
  for (int i = 0; i < poppers; i++) pthread_join(takers[i], NULL);
  for (size_t i = 0; i < PRODUCERS; i++) {
    for (size_t k = 0; k < EACH; k++) missing += s.seen[i][k] == 0;
  }
  CHECK_INT(missing, s.refused);
  CHECK_INT(s.out + s.refused, PRODUCERS * EACH);
  CHECK_INT(mg_ring_pushed(s.r), s.items);
  CHECK_INT(mg_ring_count(s.r), 0);
  CHECK_INT(mg_ring_bytes(s.r), 0);
  if (how != REFUSE) CHECK_INT(s.refused, 0);
  mg_ring_free(s.r);
  pthread_cond_destroy(&s.bell);
  pthread_mutex_destroy(&s.lock);
}

TEST(many_producers_lose_only_what_was_refused) {
  meet(REFUSE, 1, 64, 1);
  meet(REFUSE, 1, 64, 3);
  meet(REFUSE, 1, 1, 1);
}

TEST(producers_that_make_room_meet_the_consumer_and_each_other) {
  meet(EVICT, 1, 16, 1);
  meet(EVICT, 1, 16, 3);
  meet(EVICT, 1, 1, 1);
}

TEST(producers_that_wait_for_room_lose_nothing) {
  meet(WAIT, 1, 64, 1);
  meet(WAIT, 1, 64, 3);
  meet(WAIT, 1, 3, 1);
  meet(WAIT, 1, 3, 3);
}

TEST(many_consumers_share_without_loss) {
  meet(WAIT, 3, 32, 1);
  meet(WAIT, 3, 32, 3);
  meet(REFUSE, 3, 5, 1);
  meet(REFUSE, 3, 5, 3);
}

TEST(a_consumer_that_sleeps_is_always_woken) {
  meet(SLEEPER, 1, 1000000, 1);
  meet(SLEEPER, 1, 1000000, 3);
  meet(SLEEPER, 1, 8, 1);
  meet(SLEEPER, 1, 8, 3);
}

TEST(a_consumer_that_dozes_gets_everything) {
  meet(DOZER, 1, 64, 1);
  meet(DOZER, 1, 64, 3);
}

/* ---- forks ---- */

static size_t salvaged, last_salvaged;

static void salvage(void *p) {
  if (number(p) <= last_salvaged) _exit(3);
  last_salvaged = number(p);
  salvaged++;
}

/* 0: the child got everything and went on. */
static int child_abandons(struct mg_ring *r, size_t least) {
  int status = -1;
  pid_t pid = fork();
  if (pid == 0) {
    alarm(20); /* the end of a child that hangs */
    mg_ring_abandon(r, salvage);
    _exit(salvaged >= least ? 0 : 4);
  }
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return -1;
  return status;
}

static void *wait_for_room(void *arg) {
  struct mg_ring *r = (struct mg_ring *) arg;
  while (!mg_ring_wait(r, 1, 20000)) continue;
  return NULL;
}

TEST(a_child_is_not_held_up_by_those_who_wait_for_room) {
  struct mg_ring *r = mg_ring_new(3, 100);
  pthread_t t;
  for (size_t i = 1; i <= 3; i++) mg_ring_push(r, item(i), 1);
  pthread_create(&t, NULL, wait_for_room, r);
  for (int i = 0, status = 0; i < 30 && status == 0; i++) {
    status = child_abandons(r, 3);
    CHECK_INT(status, 0);
  }
  mg_ring_pop(r);
  mg_ring_tell(r);
  pthread_join(t, NULL);
  mg_ring_free(r);
}

struct pumped {
  struct mg_ring *r;
  int over;
};

static void *pump_through(void *arg) {
  struct pumped *p = (struct pumped *) arg;
  size_t i = 0;
  while (!__atomic_load_n(&p->over, __ATOMIC_RELAXED)) {
    if (mg_ring_push(p->r, item(++i), 1) == MG_RING_FULL) i--;
    if (i % 3 == 0) mg_ring_pop(p->r);
  }
  return NULL;
}

TEST(a_child_gets_what_is_whole_in_order_while_others_push_and_pop) {
  struct pumped p = {mg_ring_new(100, 1000), 0};
  pthread_t t;
  pthread_create(&t, NULL, pump_through, &p);
  while (mg_ring_count(p.r) < 90) sched_yield();
  for (int i = 0, status = 0; i < 30 && status == 0; i++) {
    status = child_abandons(p.r, 90);
    CHECK_INT(status, 0);
  }
  __atomic_store_n(&p.over, 1, __ATOMIC_RELAXED);
  pthread_join(t, NULL);
  mg_ring_free(p.r);
}

CHECK_MAIN
