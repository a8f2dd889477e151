/* test_poller.c - the same cases for every poller this system has. */
#include "mongoose/loop/poller.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "check.h"
#include "mongoose/base/alloc.h"
#include "mongoose/loop/wakeup.h"

static const char *const s_names[] = {"epoll", "kqueue", "poll"};

/* One TEST runs its body for each poller found. */
#define EACH(name_)                                                \
  static void body_##name_(const struct mg_poller *p, void *self); \
  TEST(name_) {                                                    \
    int found = 0;                                                 \
    for (size_t i = 0; i < 3; i++) {                               \
      const struct mg_poller *p = mg_poller_find(s_names[i]);      \
      void *self;                                                  \
      int before = check_failed;                                   \
      if (p == NULL) continue;                                     \
      found++;                                                     \
      CHECK((self = p->open()) != NULL);                           \
      if (self == NULL) continue;                                  \
      body_##name_(p, self);                                       \
      p->close(self);                                              \
      if (check_failed > before) fprintf(stderr, "  with %s\n", p->name); \
    }                                                              \
    CHECK(found > 0);                                              \
  }                                                                \
  static void body_##name_(const struct mg_poller *p, void *self)

static int s_who[2000];

static int wait_one(const struct mg_poller *p, void *self, int ms, struct mg_ready *r) {
  int interrupted = 7, n = p->wait(self, ms, r, 1, &interrupted);
  CHECK_INT(interrupted, 0);
  return n;
}

static void pair(int fd[2]) {
  CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
  fcntl(fd[0], F_SETFL, O_NONBLOCK);
  fcntl(fd[1], F_SETFL, O_NONBLOCK);
}

static void unpair(int fd[2]) {
  close(fd[0]);
  close(fd[1]);
}

TEST(pollers_are_found_by_name_and_the_best_without) {
  CHECK(mg_poller_find("poll") != NULL);
  CHECK(mg_poller_find("select") == NULL);
  CHECK(mg_poller_find("") == NULL);
  CHECK(mg_poller_find(NULL) != NULL);
#if defined(__linux__)
  CHECK(mg_poller_find(NULL) == mg_poller_find("epoll"));
  CHECK(mg_poller_find("kqueue") == NULL);
#endif
}

EACH(nothing_watched_is_a_timeout) {
  struct mg_ready r;
  CHECK_INT(wait_one(p, self, 0, &r), 0);
  CHECK_INT(wait_one(p, self, 1, &r), 0);
}

EACH(readiness_is_reported_as_long_as_it_lasts) {
  struct mg_ready r;
  int fd[2];
  char c;
  pair(fd);
  CHECK_INT(p->watch(self, fd[0], 0, MG_POLL_READ, &s_who[1]), 0);
  CHECK_INT(wait_one(p, self, 0, &r), 0);
  CHECK_INT(write(fd[1], "ab", 2), 2);
  for (int i = 0; i < 3; i++) { /* level-triggered */
    CHECK_INT(wait_one(p, self, -1, &r), 1);
    CHECK(r.who == &s_who[1]);
    CHECK_INT(r.events, MG_POLL_READ);
  }
  CHECK_INT(read(fd[0], &c, 1), 1);
  CHECK_INT(wait_one(p, self, -1, &r), 1);
  CHECK_INT(read(fd[0], &c, 1), 1);
  CHECK_INT(wait_one(p, self, 0, &r), 0);
  CHECK_INT(p->watch(self, fd[0], MG_POLL_READ, 0, NULL), 0);
  unpair(fd);
}

EACH(the_set_of_events_can_change) {
  struct mg_ready r;
  int fd[2];
  pair(fd);
  CHECK_INT(write(fd[1], "x", 1), 1);
  CHECK_INT(p->watch(self, fd[0], 0, MG_POLL_WRITE, &s_who[1]), 0);
  CHECK_INT(wait_one(p, self, -1, &r), 1);
  CHECK_INT(r.events, MG_POLL_WRITE);
  CHECK_INT(p->watch(self, fd[0], MG_POLL_WRITE, MG_POLL_READ, &s_who[2]), 0);
  CHECK_INT(wait_one(p, self, -1, &r), 1);
  CHECK_INT(r.events, MG_POLL_READ);
  CHECK(r.who == &s_who[2]);
  CHECK_INT(p->watch(self, fd[0], MG_POLL_READ, 0, NULL), 0);
  CHECK_INT(wait_one(p, self, 0, &r), 0);
  CHECK_INT(p->watch(self, fd[0], 0, MG_POLL_READ | MG_POLL_WRITE, &s_who[3]), 0); /* and come back */
  if (strcmp(p->name, "kqueue") != 0) {
    CHECK_INT(wait_one(p, self, -1, &r), 1);
    CHECK_INT(r.events, MG_POLL_READ | MG_POLL_WRITE);
  }
  CHECK_INT(p->watch(self, fd[0], MG_POLL_READ | MG_POLL_WRITE, 0, NULL), 0);
  unpair(fd);
}

EACH(a_peer_that_is_gone_is_HUP_together_with_READ) {
  struct mg_ready r;
  int fd[2];
  pair(fd);
  CHECK_INT(p->watch(self, fd[0], 0, MG_POLL_WRITE, &s_who[1]), 0);
  close(fd[1]);
  CHECK_INT(wait_one(p, self, -1, &r), 1);
  CHECK_INT(r.events & (MG_POLL_HUP | MG_POLL_READ), MG_POLL_HUP | MG_POLL_READ);
  CHECK_INT(p->watch(self, fd[0], MG_POLL_WRITE, 0, NULL), 0);
  close(fd[0]);
}

EACH(a_half_close_is_READ_only) {
  struct mg_ready r;
  int fd[2];
  pair(fd);
  CHECK_INT(p->watch(self, fd[0], 0, MG_POLL_READ, &s_who[1]), 0);
  CHECK_INT(shutdown(fd[1], SHUT_WR), 0);
  CHECK_INT(wait_one(p, self, -1, &r), 1);
  CHECK_INT(r.events, MG_POLL_READ);
  CHECK_INT(p->watch(self, fd[0], MG_POLL_READ, 0, NULL), 0);
  unpair(fd);
}

EACH(a_closed_descriptor_is_forgotten_when_the_poller_says_so) {
  struct mg_ready r;
  int fd[2];
  pair(fd);
  CHECK_INT(p->watch(self, fd[0], 0, MG_POLL_READ, &s_who[1]), 0);
  if (!p->close_forgets) CHECK_INT(p->watch(self, fd[0], MG_POLL_READ, 0, NULL), 0);
  unpair(fd);
  CHECK_INT(wait_one(p, self, 0, &r), 0);
  pair(fd); /* most likely the same numbers */
  CHECK_INT(p->watch(self, fd[0], 0, MG_POLL_READ, &s_who[2]), 0);
  CHECK_INT(write(fd[1], "x", 1), 1);
  CHECK_INT(wait_one(p, self, -1, &r), 1);
  CHECK(r.who == &s_who[2]);
  if (!p->close_forgets) CHECK_INT(p->watch(self, fd[0], MG_POLL_READ, 0, NULL), 0);
  unpair(fd);
}

EACH(a_bad_descriptor_is_an_error_with_errno) {
  errno = 0;
  CHECK_INT(p->watch(self, -1, 0, MG_POLL_READ, NULL), -1);
  CHECK_INT(errno, EBADF);
}

#if defined(__linux__) /* kqueue does not mind a second add */
EACH(watching_twice_and_forgetting_a_stranger_are_errors) {
  int fd[2];
  pair(fd);
  CHECK_INT(p->watch(self, fd[0], 0, MG_POLL_READ, NULL), 0);
  errno = 0;
  CHECK_INT(p->watch(self, fd[0], 0, MG_POLL_READ, NULL), -1);
  CHECK_INT(errno, EEXIST);
  CHECK_INT(p->watch(self, fd[1], MG_POLL_READ, 0, NULL), -1);
  CHECK_INT(errno, ENOENT);
  CHECK_INT(p->watch(self, fd[1], MG_POLL_READ, MG_POLL_WRITE, NULL), -1);
  CHECK_INT(errno, ENOENT);
  CHECK_INT(p->watch(self, fd[0], MG_POLL_READ, 0, NULL), 0);
  CHECK_INT(p->watch(self, fd[0], MG_POLL_READ, 0, NULL), -1);
  unpair(fd);
}
#endif

EACH(many_ready_descriptors_all_get_their_turn_through_a_small_window) {
  enum { N = 300 };
  static int fd[N][2];
  int seen[N] = {0}, missing = 0;
  for (int i = 0; i < N; i++) {
    pair(fd[i]);
    CHECK_INT(p->watch(self, fd[i][0], 0, MG_POLL_READ, &s_who[i]), 0);
    CHECK_INT(write(fd[i][1], "x", 1), 1);
  }
  for (int turn = 0; turn < N; turn++) { /* nobody reads: all stay ready all the time */
    struct mg_ready r[7];
    int interrupted, n = p->wait(self, -1, r, 7, &interrupted);
    CHECK_INT(n, 7);
    for (int k = 0; k < n; k++) seen[(int *) r[k].who - s_who]++;
  }
  for (int i = 0; i < N; i++) missing += seen[i] == 0;
  CHECK_INT(missing, 0);
  for (int i = 0; i < N; i += 2) CHECK_INT(p->watch(self, fd[i][0], MG_POLL_READ, 0, NULL), 0); /* every other leaves */
  memset(seen, 0, sizeof(seen));
  for (int turn = 0; turn < 4; turn++) {
    struct mg_ready r[1000];
    int interrupted, n = p->wait(self, -1, r, 1000, &interrupted);
    CHECK_INT(n, N / 2);
    for (int k = 0; k < n; k++) seen[(int *) r[k].who - s_who]++;
  }
  for (int i = 0; i < N; i++) missing += seen[i] != (i % 2 == 0 ? 0 : 4);
  CHECK_INT(missing, 0);
  for (int i = 0; i < N; i++) {
    if (i % 2 != 0) CHECK_INT(p->watch(self, fd[i][0], MG_POLL_READ, 0, NULL), 0);
    unpair(fd[i]);
  }
}

static void on_alarm(int sig) {
  (void) sig;
}

EACH(a_signal_interrupts_a_wait_without_end) {
  struct sigaction sa, old;
  struct itimerval it = {{0, 2000}, {0, 2000}}, off = {{0, 0}, {0, 0}}; /* again and again: one before the wait does not count */
  struct mg_ready r;
  int interrupted = 0;
  memset(&sa, 0, sizeof(sa));
  sa.sa_handler = on_alarm;
  sigaction(SIGALRM, &sa, &old);
  setitimer(ITIMER_REAL, &it, NULL);
  CHECK_INT(p->wait(self, -1, &r, 1, &interrupted), 0);
  setitimer(ITIMER_REAL, &off, NULL);
  sigaction(SIGALRM, &old, NULL);
  CHECK(interrupted != 0);
}

EACH(its_own_descriptor_can_be_polled) {
  int fd[2], own = p->fd(self);
  struct pollfd pfd = {own, POLLIN, 0};
  if (own < 0) return;
  CHECK(fcntl(own, F_GETFD) & FD_CLOEXEC);
  pair(fd);
  CHECK_INT(p->watch(self, fd[0], 0, MG_POLL_READ, NULL), 0);
  CHECK_INT(poll(&pfd, 1, 0), 0);
  CHECK_INT(write(fd[1], "x", 1), 1);
  CHECK_INT(poll(&pfd, 1, -1), 1);
  unpair(fd);
}

static void run(struct mg_wake *w, void *ctx) {
  (void) w;
  ++*(int *) ctx;
}

EACH(the_bell_rings_once_per_sleep_under_every_poller) {
  struct mg_wakeq *q = mg_wakeq_new(10);
  struct mg_wake w = {NULL, 1, run, NULL};
  struct mg_ready r;
  int ran = 0;
  bool edge = strcmp(p->name, "poll") != 0;
  CHECK_INT(p->watch(self, mg_wakeq_fd(q), 0, MG_POLL_READ | MG_POLL_EDGE, &s_who[9]), 0);
  for (int i = 0; i < 100; i++) {
    CHECK(mg_wakeq_arm(q));
    CHECK_INT(wait_one(p, self, 0, &r), 0);
    CHECK(mg_wakeq_post(q, &w));
    CHECK_INT(wait_one(p, self, -1, &r), 1);
    CHECK(r.who == &s_who[9] && (r.events & MG_POLL_READ));
    mg_wakeq_disarm(q);
    if (!edge) mg_wakeq_clear(q); /* an edge-triggered bell is never read */
    CHECK_INT(wait_one(p, self, 0, &r), 0);
    CHECK_INT(mg_wakeq_drain(q, &ran), 1);
  }
  CHECK_INT(ran, 100);
  CHECK_INT(p->watch(self, mg_wakeq_fd(q), MG_POLL_READ | MG_POLL_EDGE, 0, NULL), 0);
  mg_wakeq_free(q);
}

TEST(every_failed_allocation_is_an_error_and_no_leak) {
  void *probe;
  mg_alloc_fail_at(1);
  probe = mg_malloc(1);
  mg_alloc_fail_at(0);
  mg_free(probe);
  if (probe != NULL) return; /* this build cannot inject faults */
  for (size_t k = 0; k < 3; k++) {
    const struct mg_poller *p = mg_poller_find(s_names[k]);
    int faults = 0;
    if (p == NULL) continue;
    for (long n = 1; n < 20; n++) {
      void *self;
      int fd[2], ok = 1, tried = 0;
      pair(fd);
      mg_alloc_fail_at(n);
      self = p->open();
      if (self == NULL) {
        faults++;
      } else {
        /* Far apart, so that the index by descriptor grows as well. */
        int far = fcntl(fd[0], F_DUPFD, 200);
        struct mg_ready r;
        for (; tried < 2 && ok; tried++) {
          errno = 0;
          ok = p->watch(self, tried ? far : fd[0], 0, MG_POLL_READ, &s_who[tried]) == 0;
          if (!ok) {
            CHECK_INT(errno, ENOMEM);
            faults++;
            CHECK_INT(p->watch(self, tried ? far : fd[0], 0, MG_POLL_READ, &s_who[tried]), 0); /* and it recovers */
          }
        }
        CHECK_INT(write(fd[1], "x", 1), 1);
        CHECK_INT(wait_one(p, self, -1, &r), 1);
        p->close(self);
        close(far);
      }
      mg_alloc_fail_at(0);
      unpair(fd);
    }
    CHECK_INT(faults, strcmp(p->name, "poll") == 0 ? 5 : 1);
  }
}

CHECK_MAIN
