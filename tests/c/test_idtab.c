/* test_idtab.c - ids name one connection, once. The last test is for -fsanitize=thread. */
#include "mongoose/loop/idtab.h"

#include <pthread.h>

#include "check.h"
#include "mongoose/base/alloc.h"

static int who[4096];

TEST(an_id_finds_its_connection_and_nothing_after_that) {
  struct mg_idtab *t = mg_idtab_new();
  unsigned long a = mg_idtab_add(t, &who[1]), b = mg_idtab_add(t, &who[2]);
  CHECK(a != 0 && b != 0 && a != b);
  CHECK_INT(a, 1ul << 20); /* generation 1, slot 0 */
  CHECK(mg_idtab_find(t, a) == &who[1] && mg_idtab_find(t, b) == &who[2]);
  CHECK(mg_idtab_alive(t, a) && mg_idtab_alive(t, b));
  mg_idtab_del(t, a);
  CHECK(mg_idtab_find(t, a) == NULL && !mg_idtab_alive(t, a));
  CHECK(mg_idtab_find(t, b) == &who[2]);
  mg_idtab_del(t, a); /* again: nothing */
  CHECK(mg_idtab_find(t, b) == &who[2]);
  mg_idtab_free(t);
}

TEST(unknown_ids_are_dead) {
  struct mg_idtab *t = mg_idtab_new();
  static const unsigned long ids[] = {0, 1, 1023, 1ul << 20, (1ul << 20) | 5, (2ul << 20), ~0ul, (1ul << 20) - 1, (1ul << 21) - 1};
  for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
    CHECK(mg_idtab_find(t, ids[i]) == NULL && !mg_idtab_alive(t, ids[i]));
    mg_idtab_del(t, ids[i]);
  }
  mg_idtab_add(t, who); /* now a segment is there, and its free slots have the id 0 */
  for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
    if (ids[i] == 1ul << 20) continue;
    CHECK(mg_idtab_find(t, ids[i]) == NULL && !mg_idtab_alive(t, ids[i]));
    mg_idtab_del(t, ids[i]);
  }
  CHECK_INT((mg_idtab_add(t, who)) & 0xfffff, 1); /* the deletes above put nothing into the queue of free slots */
  mg_idtab_free(t);
}

TEST(a_slot_rests_while_others_are_free) {
  struct mg_idtab *t = mg_idtab_new();
  unsigned long first = mg_idtab_add(t, who), id;
  mg_idtab_del(t, first);
  for (int i = 0; i < 1023; i++) {
    id = mg_idtab_add(t, who);
    CHECK((id & 0xfffff) != (first & 0xfffff));
    mg_idtab_del(t, id);
  }
  id = mg_idtab_add(t, who);
  CHECK_INT(id, first + (1ul << 20)); /* same slot, next generation */
  CHECK(!mg_idtab_alive(t, first) && mg_idtab_alive(t, id));
  mg_idtab_del(t, first);
  CHECK(mg_idtab_alive(t, id)); /* a stale id deletes nobody */
  mg_idtab_free(t);
}

TEST(a_million_ids_fit_and_one_more_does_not) {
  const size_t n = 1u << 20;
  struct mg_idtab *t = mg_idtab_new();
  unsigned long *ids = (unsigned long *) malloc(n * sizeof(*ids));
  size_t bad = 0;
  for (size_t i = 0; i < n; i++) ids[i] = mg_idtab_add(t, ids + i);
  for (size_t i = 0; i < n; i++) bad += ids[i] == 0 || mg_idtab_find(t, ids[i]) != ids + i;
  CHECK_INT(bad, 0);
  CHECK_INT(mg_idtab_add(t, who), 0);
  mg_idtab_del(t, ids[777777]);
  CHECK_INT(mg_idtab_add(t, who), ids[777777] + (1ul << 20));
  CHECK_INT(mg_idtab_add(t, who), 0);
  free(ids);
  mg_idtab_free(t);
}

TEST(random_adds_and_deletes_agree_with_a_list) {
  enum { N = 3000 };
  struct mg_idtab *t = mg_idtab_new();
  static unsigned long live[N], dead[N];
  size_t bad = 0;
  unsigned seed = 12345;
  for (int step = 0; step < 200000; step++) {
    size_t i = (seed = seed * 1103515245u + 12345u) / 65536u % N;
    if (live[i] == 0) {
      live[i] = mg_idtab_add(t, &who[i]);
      bad += live[i] == 0;
    } else {
      mg_idtab_del(t, live[i]);
      dead[i] = live[i];
      live[i] = 0;
    }
    i = (seed = seed * 1103515245u + 12345u) / 65536u % N;
    bad += mg_idtab_find(t, live[i]) != (live[i] ? &who[i] : NULL);
    bad += mg_idtab_alive(t, live[i]) != (live[i] != 0);
    bad += mg_idtab_alive(t, dead[i]);
  }
  CHECK_INT(bad, 0);
  mg_idtab_free(t);
}

TEST(every_failed_allocation_is_an_error_and_no_leak) {
  void *probe;
  mg_alloc_fail_at(1);
  probe = mg_malloc(1);
  mg_alloc_fail_at(0);
  mg_free(probe);
  if (probe != NULL) return; /* this build cannot inject faults */
  for (long n = 1; n <= 3; n++) {
    struct mg_idtab *t;
    unsigned long id;
    mg_alloc_fail_at(n);
    t = mg_idtab_new();
    CHECK((t == NULL) == (n == 1));
    if (t == NULL) continue;
    id = mg_idtab_add(t, who);
    CHECK((id == 0) == (n == 2));
    if (id == 0) CHECK(mg_idtab_add(t, who) != 0); /* and it recovers */
    mg_alloc_fail_at(0);
    mg_idtab_free(t);
  }
  mg_alloc_fail_at(0);
}

struct shared {
  struct mg_idtab *t;
  unsigned long latest; /* atomic */
  unsigned long old;    /* atomic: was deleted before this was stored */
  unsigned long alive, wrong;
  int stop; /* atomic */
};

static void *looker(void *arg) {
  struct shared *s = (struct shared *) arg;
  unsigned long alive = 0, wrong = 0;
  while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
    alive += mg_idtab_alive(s->t, __atomic_load_n(&s->latest, __ATOMIC_ACQUIRE));
    wrong += mg_idtab_alive(s->t, __atomic_load_n(&s->old, __ATOMIC_ACQUIRE));
  }
  alive += mg_idtab_alive(s->t, __atomic_load_n(&s->latest, __ATOMIC_ACQUIRE));
  __atomic_fetch_add(&s->alive, alive, __ATOMIC_RELAXED);
  __atomic_fetch_add(&s->wrong, wrong, __ATOMIC_RELAXED);
  return NULL;
}

TEST(other_threads_may_ask_while_the_loop_adds_and_deletes) {
  enum { KEEP = 5000, ROUNDS = 60000 };
  static unsigned long ring[KEEP];
  struct shared s = {mg_idtab_new(), 0, 0, 0, 0, 0};
  pthread_t th[3];
  for (int i = 0; i < 3; i++) CHECK_INT(pthread_create(&th[i], NULL, looker, &s), 0);
  for (int i = 0; i < ROUNDS; i++) {
    unsigned long *id = &ring[i % KEEP];
    if (*id != 0) {
      mg_idtab_del(s.t, *id);
      __atomic_store_n(&s.old, *id, __ATOMIC_RELEASE);
    }
    *id = mg_idtab_add(s.t, &who[0]);
    __atomic_store_n(&s.latest, *id, __ATOMIC_RELEASE);
  }
  __atomic_store_n(&s.stop, 1, __ATOMIC_RELEASE);
  for (int i = 0; i < 3; i++) pthread_join(th[i], NULL);
  CHECK(s.alive >= 3);
  CHECK_INT(s.wrong, 0); /* dead ids stay dead */
  mg_idtab_free(s.t);
}

CHECK_MAIN
