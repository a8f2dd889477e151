#include "loop_helpers.h"
#include "mongoose/loop/io.h"

static struct mg_addr ip4(uint32_t n) {
  struct mg_addr a;
  memset(&a, 0, sizeof(a));
  n = htonl(n);
  memcpy(a.addr.ip, &n, 4);
  a.port = (uint16_t) n; /* ports do not matter */
  return a;
}

static struct mg_addr ip6(uint32_t n) {
  struct mg_addr a;
  memset(&a, 0, sizeof(a));
  a.is_ip6 = true;
  n = htonl(n);
  memcpy(a.addr.ip, &n, 4);
  return a;
}

static struct mg_listener *listener_of(uint32_t max) {
  struct mg_limits l = mg_limits_default;
  l.max_per_address = max;
  return mg_listener_new(&l);
}

TEST(each_address_has_its_own_bound) {
  struct mg_listener *l = listener_of(2);
  struct mg_addr a = ip4(1), b = ip4(2), c = ip6(1);
  CHECK(mg_peers_enter(l, &a) && mg_peers_enter(l, &a) && !mg_peers_enter(l, &a));
  a.port = 7;
  CHECK(!mg_peers_enter(l, &a));
  CHECK(mg_peers_enter(l, &b) && mg_peers_enter(l, &b) && !mg_peers_enter(l, &b));
  CHECK(mg_peers_enter(l, &c)); /* 0:1:: is not 0.0.0.1 */
  mg_peers_leave(l, &a);
  CHECK(mg_peers_enter(l, &a) && !mg_peers_enter(l, &a));
  mg_listener_drop(l);
}

TEST(leaving_without_having_entered_is_harmless) {
  struct mg_listener *l = listener_of(2);
  struct mg_addr a = ip4(1), b = ip4(2);
  mg_peers_leave(l, &a);
  CHECK(mg_peers_enter(l, &a));
  mg_peers_leave(l, &b);
  CHECK(mg_peers_enter(l, &a) && !mg_peers_enter(l, &a));
  mg_listener_drop(l);
}

/* Against a plain array of counters: growth, collisions and places that are closed again. */
TEST(counts_stay_right_while_addresses_come_and_go) {
  enum { N = 700, MAX = 3 };
  struct mg_listener *l = listener_of(MAX);
  unsigned open[N] = {0};
  uint32_t x = 1;
  int wrong = 0;
  for (int i = 0; i < 200000; i++) {
    unsigned n, phase = (unsigned) (i / 20000) % 2;
    struct mg_addr a;
    x = x * 1664525u + 1013904223u;
    n = (x >> 8) % N;
    a = n % 3 == 0 ? ip6(n * 2654435761u) : ip4(n);
    if ((x >> 28) % 4 < (phase ? 1u : 3u)) {
      bool in = mg_peers_enter(l, &a);
      wrong += in != (open[n] < MAX);
      open[n] += in;
    } else if (open[n] > 0) {
      mg_peers_leave(l, &a);
      open[n]--;
    }
  }
  for (unsigned n = 0; n < N; n++) {
    struct mg_addr a = n % 3 == 0 ? ip6(n * 2654435761u) : ip4(n);
    for (unsigned k = open[n]; k < MAX; k++) wrong += !mg_peers_enter(l, &a);
    wrong += mg_peers_enter(l, &a);
  }
  CHECK_INT(wrong, 0);
  mg_listener_drop(l);
}

TEST(without_memory_nobody_enters) {
  struct mg_listener *l = listener_of(2);
  struct mg_addr a = ip4(1);
  for (long n = 1; n <= 2; n++) {
    mg_alloc_fail_at(n);
    CHECK(!mg_peers_enter(l, &a));
    mg_alloc_fail_at(0);
    mg_peers_leave(l, &a);
  }
  CHECK(mg_peers_enter(l, &a));
  mg_listener_drop(l);
}

static int accepted, closes;
static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  if (ev == MG_EV_ACCEPT) accepted++;
  if (ev == MG_EV_CLOSE && c->is_accepted) closes++;
}

LOOP_TEST(connections_beyond_the_bound_are_closed_and_counted) {
  struct mg_limits limits = mg_limits_default;
  struct mg_listen_opts opts;
  struct mg_connection *server;
  struct peer p[4];
  memset(&opts, 0, sizeof(opts));
  limits.max_per_address = 2;
  opts.limits = &limits;
  loop_up();
  accepted = closes = 0;
  server = mg_listen_with(&mgr, "tcp://127.0.0.1:0", on_event, NULL, &opts);
  for (int i = 0; i < 4; i++) p[i] = dial(server);
  CHECK(UNTIL(gone(&p[2]) && gone(&p[3])));
  CHECK_INT(accepted, 2);
  CHECK_INT(mgr.stats.refused, 2);
  CHECK(!gone(&p[0]) && !gone(&p[1]));
  hang_up(&p[0]);
  CHECK(UNTIL(closes == 1));
  hang_up(&p[2]);
  p[2] = dial(server);
  CHECK(UNTIL(accepted == 3));
  for (int i = 1; i < 4; i++) hang_up(&p[i]);
  loop_down();
}

CHECK_MAIN
