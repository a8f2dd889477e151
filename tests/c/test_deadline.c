/* test_deadline.c - deadlines fire once, never early, at most a tick late. Time is a number the test counts up. */
#include "mongoose/loop/deadline.h"

#include <stdbool.h>

#include "check.h"

static struct mg_wheel w;

struct holder {
  struct mg_deadline d; /* first, so that one cast leads back */
  uint64_t want; /* the model: due time, 0 for none */
  int fired;
  struct holder *victim;
  uint64_t again;
};

static uint64_t s_now, s_early, s_surprise;

static void fire(struct mg_deadline *d, void *arg) {
  struct holder *h = (struct holder *) d;
  (void) arg;
  if (d->due != 0) s_surprise++; /* it was to be cleared before the call */
  if (h->want == 0) {
    s_surprise++;
  } else {
    s_early += s_now < h->want;
  }
  h->want = 0;
  h->fired++;
  if (h->victim != NULL) {
    mg_deadline_clear(&w, &h->victim->d);
    free(h->victim);
    h->victim = NULL;
  }
  if (h->again != 0) {
    h->want = h->again;
    mg_deadline_set(&w, d, h->again);
  }
}

static void set(struct holder *h, uint64_t due) {
  h->want = due;
  mg_deadline_set(&w, &h->d, due);
}

static void poll(uint64_t now) {
  s_now = now;
  mg_wheel_poll(&w, now, fire, NULL);
}

static void start(uint64_t now) {
  s_early = s_surprise = 0;
  s_now = now;
  mg_wheel_init(&w, now);
}

TEST(an_empty_wheel_wants_nothing) {
  start(123456);
  CHECK(mg_wheel_next(&w, 123456) == UINT64_MAX);
  poll(999999);
  CHECK(mg_wheel_next(&w, 0) == UINT64_MAX);
}

TEST(a_deadline_is_never_early_and_at_most_a_tick_late) {
  for (uint64_t offset = 0; offset < 70; offset++) {
    for (uint64_t due = 1; due < 200; due++) {
      struct holder h;
      uint64_t t0 = 32000 + offset, now = t0;
      memset(&h, 0, sizeof(h));
      start(t0);
      set(&h, t0 + due);
      while (!h.fired && now < t0 + due + 100) poll(++now);
      if (now < t0 + due || now - (t0 + due) >= MG_WHEEL_TICK) CHECK_INT(now, t0 + due);
    }
  }
  CHECK_INT(s_early + s_surprise, 0);
}

TEST(next_leads_straight_to_the_deadline) {
  struct holder h;
  static const uint64_t dues[] = {1, 31, 32, 33, 1000, 16000, 16384, 16385, 60000, 1000000};
  for (size_t i = 0; i < sizeof(dues) / sizeof(dues[0]); i++) {
    uint64_t now = 77777, looks = 0;
    memset(&h, 0, sizeof(h));
    start(now);
    set(&h, now + dues[i]);
    while (!h.fired && looks < 1000) { /* sleep as told, as the loop does */
      uint64_t ms = mg_wheel_next(&w, now);
      CHECK(ms != UINT64_MAX);
      if (ms == UINT64_MAX) return;
      now += ms;
      poll(now);
      looks++;
    }
    CHECK(now >= 77777 + dues[i] && now < 77777 + dues[i] + MG_WHEEL_TICK);
    CHECK(looks <= 1 + dues[i] / ((MG_WHEEL_SLOTS - 2) * MG_WHEEL_TICK)); /* once per horizon */
    CHECK(mg_wheel_next(&w, now) == UINT64_MAX);
  }
}

TEST(moving_a_deadline_away_leaves_the_holder_where_it_is) {
  struct holder h;
  memset(&h, 0, sizeof(h));
  start(0);
  set(&h, 100);
  CHECK_INT(h.d.slot_due, 128);
  for (uint64_t due = 200; due <= 5000; due += 100) set(&h, due);
  CHECK_INT(h.d.slot_due, 128);
  poll(128);
  CHECK_INT(h.fired, 0);
  CHECK_INT(h.d.slot_due, 5024); /* looked at, put where it belongs */
  set(&h, 300);                  /* nearer: moved at once */
  CHECK_INT(h.d.slot_due, 320);
  poll(319);
  CHECK_INT(h.fired, 0);
  poll(320);
  CHECK_INT(h.fired, 1);
  CHECK_INT(s_surprise + s_early, 0);
}

TEST(a_cleared_deadline_does_not_fire_and_leaves_the_wheel) {
  struct holder a, b;
  memset(&a, 0, sizeof(a));
  memset(&b, 0, sizeof(b));
  start(0);
  mg_deadline_clear(&w, &a.d); /* not on the wheel: nothing */
  set(&a, 100);
  set(&b, 100);
  set(&a, 0);
  CHECK(a.d.next == NULL && a.d.prev == NULL);
  CHECK_INT(mg_wheel_next(&w, 0), 128);
  mg_deadline_clear(&w, &b.d);
  CHECK(mg_wheel_next(&w, 0) == UINT64_MAX);
  poll(1000);
  CHECK_INT(a.fired + b.fired, 0);
}

TEST(a_deadline_in_the_past_fires_at_the_next_tick) {
  struct holder h;
  memset(&h, 0, sizeof(h));
  start(1000);
  set(&h, 5);
  poll(1023);
  CHECK_INT(h.fired, 0);
  poll(1024);
  CHECK_INT(h.fired, 1);
}

TEST(a_holder_set_again_by_its_function_waits_for_the_next_poll) {
  struct holder h;
  memset(&h, 0, sizeof(h));
  start(0);
  set(&h, 10);
  h.again = 10; /* in the past for ever */
  for (int i = 1; i <= 5; i++) {
    poll((uint64_t) i * 3200); /* many ticks each */
    CHECK_INT(h.fired, i);
  }
}

TEST(a_function_may_free_any_holder) {
  struct holder a, *same = (struct holder *) calloc(1, sizeof(a)), *later = (struct holder *) calloc(1, sizeof(a)), b;
  memset(&a, 0, sizeof(a));
  memset(&b, 0, sizeof(b));
  start(0);
  set(&a, 50);
  set(&b, 50);
  set(same, 50); /* behind both in the same slot */
  set(later, 5000);
  a.victim = same;
  b.victim = later;
  poll(64);
  CHECK_INT(a.fired + b.fired, 2);
  CHECK(mg_wheel_next(&w, 64) == UINT64_MAX);
  poll(10000);
  CHECK_INT(s_surprise, 0);
}

TEST(a_long_pause_fires_everything_once) {
  enum { N = 2000 };
  static struct holder h[N];
  int fired = 0;
  memset(h, 0, sizeof(h));
  start(0);
  for (int i = 0; i < N; i++) set(&h[i], (uint64_t) (i * 20 + 1));
  poll(N * 20 + 1000000);
  for (int i = 0; i < N; i++) fired += h[i].fired;
  CHECK_INT(fired, N);
  CHECK_INT(s_surprise + s_early, 0);
  CHECK(mg_wheel_next(&w, N * 20 + 1000000) == UINT64_MAX);
}

TEST(a_pause_of_ages_costs_one_round_of_the_wheel) { /* tick by tick this would not end today */
  struct holder h;
  memset(&h, 0, sizeof(h));
  start(0);
  set(&h, 40);
  poll(UINT64_MAX / 2);
  CHECK_INT(h.fired, 1);
  set(&h, UINT64_MAX / 2 + 100);
  poll(UINT64_MAX / 2 + 132);
  CHECK_INT(h.fired, 2);
}

TEST(a_clock_that_stands_or_goes_back_does_no_harm) {
  struct holder h;
  memset(&h, 0, sizeof(h));
  start(10000);
  set(&h, 10100);
  poll(9000);
  poll(10000);
  poll(10000);
  CHECK_INT(h.fired, 0);
  poll(10112);
  CHECK_INT(h.fired, 1);
}

TEST(the_end_of_time_is_a_deadline_too) {
  struct holder h;
  uint64_t now = 1000;
  memset(&h, 0, sizeof(h));
  start(now);
  set(&h, UINT64_MAX);
  for (int i = 0; i < 100; i++) poll(now += 20000);
  CHECK_INT(h.fired, 0);
  CHECK(mg_wheel_next(&w, now) <= MG_WHEEL_SLOTS * MG_WHEEL_TICK);
}

static unsigned rnd(unsigned *seed, unsigned n) {
  *seed = *seed * 1664525u + 1013904223u;
  return (*seed >> 8) % n;
}

TEST(random_deadlines_agree_with_a_plain_array) {
  enum { N = 400 };
  static struct holder h[N];
  static uint64_t set_at[N];
  static const unsigned reach[] = {50, 1000, 16500, 70000}, steps[] = {1, 10, 100, 3000, 40000};
  uint64_t now = 5000;
  unsigned seed = 4711;
  memset(h, 0, sizeof(h));
  start(now);
  for (int step = 0; step < 60000; step++) {
    unsigned i = rnd(&seed, N), what = rnd(&seed, 8);
    if (what < 5) {
      set(&h[i], now + rnd(&seed, reach[rnd(&seed, 4)]));
      set_at[i] = now;
    } else if (what == 5) {
      set(&h[i], 0);
    } else {
      uint64_t next = mg_wheel_next(&w, now), first = UINT64_MAX;
      int missing = 0, on = 0;
      for (i = 0; i < N; i++) {
        if (h[i].want != 0 && h[i].want < first) first = h[i].want;
        on += h[i].d.next != NULL;
      }
      CHECK((next == UINT64_MAX) == (on == 0) && (on == 0) == (first == UINT64_MAX));
      /* A look is never wanted later than the first deadline plus a tick (or now plus a tick, for those in the past). */
      if (on > 0 && next != 0) CHECK(now + next < (first > now ? first : now) + MG_WHEEL_TICK + 1);
      now += rnd(&seed, steps[rnd(&seed, 5)]);
      poll(now);
      for (i = 0; i < N; i++) { /* whoever is a tick over, and was set a tick ago, must have fired */
        missing += h[i].want != 0 && h[i].want + MG_WHEEL_TICK <= now && set_at[i] + MG_WHEEL_TICK <= now;
      }
      if (missing || s_early || s_surprise) {
        CHECK_INT(missing, 0);
        CHECK_INT(s_early, 0);
        CHECK_INT(s_surprise, 0);
        return;
      }
    }
  }
}

CHECK_MAIN
