/* test_timer.c - when timers run, in which order, and what their functions may do. Time is a number the test counts up. */
#include "mongoose/loop/timer.h"

#include "check.h"
#include "mongoose/base/alloc.h"

static void count(void *arg) {
  ++*(int *) arg;
}

TEST(a_one_shot_runs_once_one_period_after_the_first_poll) {
  struct mg_timer *head = NULL, t;
  int n = 0;
  memset(&t, 0xee, sizeof(t)); /* init needs no cleared memory */
  mg_timer_init(&head, &t, 100, MG_TIMER_ONCE, count, &n);
  CHECK_INT(mg_timer_next(&head, 5000), 0); /* it wants to be polled, to begin */
  mg_timer_poll(&head, 5000);
  CHECK_INT(t.expire, 5100);
  CHECK_INT(mg_timer_next(&head, 5000), 100);
  mg_timer_poll(&head, 5099);
  CHECK_INT(n, 0);
  CHECK(!(t.flags & MG_TIMER_CALLED));
  mg_timer_poll(&head, 5100);
  CHECK_INT(n, 1);
  CHECK(t.flags & MG_TIMER_CALLED);
  mg_timer_poll(&head, 9999);
  CHECK_INT(n, 1);
  CHECK(mg_timer_next(&head, 9999) == UINT64_MAX);
  mg_timer_free(&head, &t);
  CHECK(head == NULL);
}

TEST(a_repeating_timer_keeps_its_phase_unless_it_is_a_period_late) {
  struct mg_timer *head = NULL, t;
  int n = 0;
  mg_timer_init(&head, &t, 100, MG_TIMER_REPEAT, count, &n);
  mg_timer_poll(&head, 1000);
  mg_timer_poll(&head, 1150); /* 50 late */
  CHECK_INT(n, 1);
  CHECK_INT(t.expire, 1200);
  mg_timer_poll(&head, 1300); /* exactly one period late: both are made up for, one per poll */
  CHECK_INT(n, 2);
  CHECK_INT(t.expire, 1300);
  mg_timer_poll(&head, 1300);
  CHECK_INT(n, 3);
  CHECK_INT(t.expire, 1400);
  mg_timer_poll(&head, 1501); /* more than one */
  CHECK_INT(n, 4);
  CHECK_INT(t.expire, 1601);
  mg_timer_free(&head, &t);
}

TEST(run_now_runs_at_the_first_poll) {
  struct mg_timer *head = NULL, t, once;
  int n = 0, m = 0;
  mg_timer_init(&head, &t, 100, MG_TIMER_REPEAT | MG_TIMER_RUN_NOW, count, &n);
  mg_timer_init(&head, &once, 100, MG_TIMER_ONCE | MG_TIMER_RUN_NOW, count, &m);
  mg_timer_poll(&head, 1000);
  CHECK_INT(n, 1);
  CHECK_INT(m, 1);
  CHECK_INT(t.expire, 1100);
  mg_timer_poll(&head, 1100);
  CHECK_INT(n, 2);
  mg_timer_poll(&head, 2000);
  CHECK_INT(m, 1); /* ONCE is once */
  mg_timer_free(&head, &t);
}

TEST(zero_milliseconds_mean_the_next_poll_and_then_every_poll) {
  struct mg_timer *head = NULL, once, rep;
  int n = 0, m = 0;
  mg_timer_init(&head, &once, 0, MG_TIMER_ONCE, count, &n);
  mg_timer_init(&head, &rep, 0, MG_TIMER_REPEAT, count, &m);
  for (int i = 1; i <= 5; i++) {
    mg_timer_poll(&head, 7); /* not even the clock has to move */
    CHECK_INT(n, 1);
    CHECK_INT(m, i);
    CHECK_INT(mg_timer_next(&head, 7), 0);
  }
  mg_timer_free(&head, &rep);
}

TEST(a_clock_that_shows_zero_works) {
  struct mg_timer *head = NULL, once, rep, late;
  int n = 0, m = 0, k = 0;
  mg_timer_init(&head, &once, 0, MG_TIMER_ONCE, count, &n);
  mg_timer_init(&head, &rep, 0, MG_TIMER_REPEAT, count, &m);
  mg_timer_init(&head, &late, 10, MG_TIMER_ONCE, count, &k);
  mg_timer_poll(&head, 0);
  mg_timer_poll(&head, 0);
  CHECK_INT(n, 1);
  CHECK_INT(m, 2);
  CHECK_INT(k, 0);
  mg_timer_poll(&head, 10);
  CHECK_INT(k, 1);
  mg_timer_free(&head, &rep);
}

TEST(a_period_beyond_the_end_of_time_never_comes) {
  struct mg_timer *head = NULL, t;
  int n = 0;
  mg_timer_init(&head, &t, UINT64_MAX, MG_TIMER_REPEAT, count, &n);
  mg_timer_poll(&head, 1000);
  mg_timer_poll(&head, UINT64_MAX / 2);
  CHECK_INT(n, 0);
  CHECK(mg_timer_next(&head, 1000) > UINT64_MAX / 2);
  mg_timer_free(&head, &t);
  CHECK(mg_timer_next(&head, 1000) == UINT64_MAX);
}

static int s_order[64], s_orders;
static int s_numbers[64];
static void note(void *arg) {
  s_order[s_orders++] = *(int *) arg;
}

TEST(timers_run_by_time_and_equals_by_age) {
  static const unsigned ms[] = {30, 10, 20, 10, 30, 0, 10};
  static const int want[] = {5, 1, 3, 6, 2, 0, 4};
  struct mg_timer *head = NULL, t[7];
  s_orders = 0;
  for (int i = 0; i < 7; i++) {
    s_numbers[i] = i;
    mg_timer_init(&head, &t[i], ms[i], MG_TIMER_ONCE, note, &s_numbers[i]);
  }
  mg_timer_poll(&head, 100);
  mg_timer_poll(&head, 1000); /* all due in one poll */
  CHECK_INT(s_orders, 7);
  CHECK_MEM((char *) s_order, sizeof(want), (char *) want, sizeof(want));
}

TEST(a_timer_never_polled_can_be_taken_out) {
  struct mg_timer *head = NULL, a, b, c;
  int n = 0;
  mg_timer_init(&head, &a, 1, MG_TIMER_ONCE, count, &n);
  mg_timer_init(&head, &b, 1, MG_TIMER_ONCE, count, &n);
  mg_timer_init(&head, &c, 1, MG_TIMER_ONCE, count, &n);
  mg_timer_free(&head, &b);
  mg_timer_free(&head, &b); /* twice is once */
  mg_timer_free(&head, &a);
  mg_timer_free(&head, &c);
  CHECK(head == NULL);
  mg_timer_poll(&head, 1);
  mg_timer_poll(&head, 100);
  CHECK_INT(n, 0);
}

/* ---- what functions may do: all structs are on the heap, so that ASan sees every touch of a freed one ---- */

struct act {
  struct mg_timer t;
  struct mg_timer **head;
  struct act *victim; /* freed by the function */
  struct act *grow;   /* initialised by it */
  int *calls;
};

static void act(void *arg) {
  struct act *a = (struct act *) arg;
  struct act *victim = a->victim;
  ++*a->calls;
  if (a->grow != NULL) mg_timer_init(a->head, &a->grow->t, 0, MG_TIMER_ONCE, act, a->grow);
  if (victim != NULL) {
    mg_timer_free(a->head, &victim->t);
    free(victim); /* may be `a` */
  }
}

static struct act *new_act(struct mg_timer **head, int *calls) {
  struct act *a = (struct act *) calloc(1, sizeof(*a));
  a->head = head;
  a->calls = calls;
  return a;
}

TEST(a_function_may_free_its_own_timer) {
  struct mg_timer *head = NULL;
  int n = 0;
  static const unsigned flags[] = {MG_TIMER_ONCE, MG_TIMER_REPEAT, MG_TIMER_REPEAT | MG_TIMER_RUN_NOW};
  for (int i = 0; i < 3; i++) {
    struct act *a = new_act(&head, &n);
    a->victim = a;
    mg_timer_init(&head, &a->t, 10, flags[i], act, a);
  }
  for (uint64_t now = 1; now < 100; now += 5) mg_timer_poll(&head, now);
  CHECK_INT(n, 3);
  CHECK(head == NULL);
}

TEST(a_function_may_free_a_timer_that_is_due_in_the_same_poll) {
  struct mg_timer *head = NULL;
  int n = 0;
  struct act *first = new_act(&head, &n), *second = new_act(&head, &n), *third = new_act(&head, &n);
  mg_timer_init(&head, &first->t, 10, MG_TIMER_ONCE, act, first);
  mg_timer_init(&head, &second->t, 10, MG_TIMER_REPEAT, act, second);
  mg_timer_init(&head, &third->t, 10, MG_TIMER_ONCE, act, third);
  first->victim = second;
  third->victim = first; /* ran already */
  mg_timer_poll(&head, 1);
  mg_timer_poll(&head, 11);
  CHECK_INT(n, 2); /* second never ran */
  CHECK(head == NULL);
  free(third);
}

TEST(a_function_may_free_a_timer_that_waits) {
  struct mg_timer *head = NULL;
  int n = 0;
  struct act *a = new_act(&head, &n), *waits[8];
  for (int i = 0; i < 8; i++) {
    waits[i] = new_act(&head, &n);
    mg_timer_init(&head, &waits[i]->t, 100, MG_TIMER_REPEAT, act, waits[i]);
  }
  mg_timer_init(&head, &a->t, 10, MG_TIMER_REPEAT, act, a);
  a->victim = waits[3];
  mg_timer_poll(&head, 1);
  mg_timer_poll(&head, 11);
  a->victim = NULL;
  mg_timer_poll(&head, 101);
  CHECK_INT(n, 9); /* a twice, seven others */
  mg_timer_free(&head, &a->t);
  free(a);
  for (int i = 0; i < 8; i++) {
    if (i == 3) continue;
    mg_timer_free(&head, &waits[i]->t);
    free(waits[i]);
  }
  CHECK(head == NULL);
}

TEST(a_timer_added_by_a_function_waits_for_the_next_poll) {
  struct mg_timer *head = NULL;
  int n = 0;
  struct act *a = new_act(&head, &n);
  a->grow = a; /* a one-shot of 0 ms that starts itself again */
  mg_timer_init(&head, &a->t, 0, MG_TIMER_ONCE, act, a);
  for (int i = 1; i <= 4; i++) {
    mg_timer_poll(&head, 50);
    CHECK_INT(n, i);
  }
  mg_timer_free(&head, &a->t);
  free(a);
}

static void again(void *arg) {
  struct act *a = (struct act *) arg;
  if (++*a->calls < 3) mg_timer_init(a->head, &a->t, 1, MG_TIMER_ONCE | MG_TIMER_AUTODELETE, again, a);
}
static void out_again(void *arg) {
  struct act *a = (struct act *) arg;
  ++*a->calls;
  mg_timer_free(a->head, &a->t); /* it is out already; the struct still goes away by itself */
}

TEST(autodelete_frees_after_the_one_shot_and_only_then) {
  struct mg_timer *head = NULL, *unused;
  int n = 0, m = 0, k = 0;
  struct act *a = (struct act *) mg_calloc(1, sizeof(*a)), *b = (struct act *) mg_calloc(1, sizeof(*b));
  unused = (struct mg_timer *) mg_calloc(1, sizeof(*unused));
  a->head = b->head = &head;
  a->calls = &n;
  b->calls = &m;
  mg_timer_init(&head, &a->t, 1, MG_TIMER_ONCE | MG_TIMER_AUTODELETE, again, a);
  mg_timer_init(&head, &b->t, 1, MG_TIMER_ONCE | MG_TIMER_AUTODELETE, out_again, b);
  mg_timer_init(&head, unused, 1000, MG_TIMER_ONCE | MG_TIMER_AUTODELETE, count, &k);
  for (uint64_t now = 1; now < 20; now++) mg_timer_poll(&head, now);
  CHECK_INT(n, 3); /* re-initialised by its own function twice */
  CHECK_INT(m, 1);
  mg_timer_free(&head, unused);
  mg_free(unused); /* did not run: still ours. A leak or a double free here is ASan's to report */
  CHECK_INT(k, 0);
  CHECK(head == NULL);
}

/* ---- against a model ---- */

enum { N = 300 };
static struct model {
  struct mg_timer t;
  bool in, fresh;
  uint64_t expire, period;
  unsigned flags;
} s_m[N];
static int s_fired[8192], s_num_fired;

static void fired(void *arg) {
  if (s_num_fired < 8192) s_fired[s_num_fired++] = (int) ((struct model *) arg - s_m);
}

static unsigned rnd(unsigned *seed, unsigned n) {
  *seed = *seed * 1664525u + 1013904223u;
  return (*seed >> 8) % n;
}

static uint64_t model_next(uint64_t now) {
  uint64_t best = UINT64_MAX;
  for (int i = 0; i < N; i++) {
    uint64_t left = !s_m[i].in ? UINT64_MAX : s_m[i].fresh || s_m[i].expire <= now ? 0 : s_m[i].expire - now;
    if (left < best) best = left;
  }
  return best;
}

TEST(random_timers_agree_with_a_plain_array) {
  struct mg_timer *head = NULL;
  uint64_t now = 1000;
  unsigned seed = 99;
  memset(s_m, 0, sizeof(s_m));
  for (int step = 0; step < 30000; step++) {
    struct model *m = &s_m[rnd(&seed, N)];
    switch (rnd(&seed, 4)) {
      case 0: case 1:
        if (m->in) break;
        m->in = m->fresh = true;
        m->period = rnd(&seed, 5) == 0 ? 0 : rnd(&seed, 200);
        m->flags = rnd(&seed, 4); /* ONCE, REPEAT, RUN_NOW in all mixtures */
        mg_timer_init(&head, &m->t, m->period, m->flags, fired, m);
        break;
      case 2:
        m->in = false;
        mg_timer_free(&head, &m->t);
        break;
      default: {
        int want[N], num = 0, bad = 0;
        now += rnd(&seed, 60);
        for (int i = 0; i < N; i++) {
          struct model *k = &s_m[i];
          uint64_t was;
          if (!k->in) continue;
          if (k->fresh) k->expire = (k->flags & MG_TIMER_RUN_NOW) ? now : now + k->period;
          k->fresh = false;
          if (k->expire > now) continue;
          want[num++] = i;
          was = k->expire;
          k->expire = now - was > k->period ? now + k->period : was + k->period;
          k->in = (k->flags & MG_TIMER_REPEAT) != 0;
        }
        s_num_fired = 0;
        mg_timer_poll(&head, now);
        if (s_num_fired != num) bad++;
        for (int i = 0; i < num && !bad; i++) { /* each exactly once, in whatever order */
          int seen = 0;
          for (int j = 0; j < s_num_fired; j++) seen += s_fired[j] == want[i];
          bad += seen != 1;
        }
        CHECK_INT(bad, 0);
        if (bad) return;
      }
    }
    if (mg_timer_next(&head, now) != model_next(now)) {
      CHECK_INT(mg_timer_next(&head, now), model_next(now));
      return;
    }
  }
}

TEST(a_hundred_thousand_timers_need_no_stack) {
  enum { MANY = 100000 };
  struct mg_timer *head = NULL, *t = (struct mg_timer *) malloc(MANY * sizeof(*t));
  int n = 0;
  for (int i = 0; i < MANY; i++) mg_timer_init(&head, &t[i], (uint64_t) (i * 7919 % MANY) + 1, MG_TIMER_ONCE, count, &n);
  mg_timer_poll(&head, 1000);
  CHECK_INT(n, 0);
  for (int i = 0; i < MANY; i += 3) mg_timer_free(&head, &t[i]);
  mg_timer_poll(&head, 1000 + MANY / 2);
  mg_timer_poll(&head, 1000 + MANY);
  CHECK_INT(n, MANY - (MANY + 2) / 3);
  CHECK(head == NULL);
  free(t);
}

TEST(expired_says_true_once_per_period) {
  uint64_t t = 0;
  CHECK(!mg_timer_expired(&t, 100, 1000));
  CHECK_INT(t, 1100);
  CHECK(!mg_timer_expired(&t, 100, 1099));
  CHECK(mg_timer_expired(&t, 100, 1120));
  CHECK_INT(t, 1200); /* phase kept */
  CHECK(mg_timer_expired(&t, 100, 1900));
  CHECK_INT(t, 2000);
  CHECK(!mg_timer_expired(&t, 100, 5)); /* the clock was set back */
  CHECK_INT(t, 105);
  CHECK(mg_timer_expired(&t, 0, 105));
}

CHECK_MAIN
