#include <pthread.h>
#include <poll.h>
#include "loop_helpers.h"

static struct mg_connection *server, *conn;
static int closes, accepted, ticks, wakes, polls;
static char order[64];
static char *woken;
static size_t woken_len;

static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  if (c->is_accepted && ev >= MG_EV_OPEN && ev <= MG_EV_CLOSE && ev != MG_EV_POLL && strlen(order) < 60) {
    order[strlen(order)] = ev == MG_EV_OPEN ? 'O' : ev == MG_EV_ACCEPT ? 'A' : ev == MG_EV_READ ? 'R' : ev == MG_EV_WRITE ? 'W' : ev == MG_EV_CLOSE ? 'C' : '?';
  }
  if (ev == MG_EV_POLL && c->is_accepted) polls++;
  if (ev == MG_EV_ACCEPT) {
    conn = c;
    accepted++;
  }
  if (ev == MG_EV_READ && c->is_accepted) {
    mg_send(c, c->recv.buf, c->recv.len);
    c->recv.len = 0;
  }
  if (ev == MG_EV_WAKEUP) {
    struct mg_str *s = (struct mg_str *) ev_data;
    wakes++;
    woken = (char *) realloc(woken, woken_len + s->len + 1);
    if (s->len > 0) memcpy(woken + woken_len, s->buf, s->len);
    woken_len += s->len;
  }
  if (ev == MG_EV_CLOSE && c->is_accepted) closes++;
}

static struct peer up(void) {
  struct peer p;
  loop_up();
  closes = accepted = ticks = wakes = polls = 0;
  woken_len = 0;
  memset(order, 0, sizeof(order));
  server = mg_listen(&mgr, "tcp://127.0.0.1:0", on_event, NULL);
  p = dial(server);
  CHECK(UNTIL(accepted == 1));
  return p;
}

static void down(struct peer *p) {
  hang_up(p);
  loop_down();
  free(woken);
  woken = NULL;
}

LOOP_TEST(events_come_in_order_and_close_in_the_same_poll) {
  struct peer p = up();
  say(&p, "x");
  CHECK(UNTIL(has(&p, "x")));
  CHECK_MEM(order, strlen(order), "OARW", 4);
  conn->is_closing = 1;
  mg_mgr_poll(&mgr, 0); /* few connections: the sweep runs in every turn */
  CHECK_INT(closes, 1);
  CHECK_MEM(order, strlen(order), "OARWC", 5);
  CHECK(gone(&p));
  down(&p);
}

LOOP_TEST(flags_set_directly_are_noticed_among_many) {
  struct peer p = up(), many[100];
  struct mg_connection *c[101];
  int n = 0;
  for (int i = 0; i < 100; i++) many[i] = dial(server);
  CHECK(UNTIL(accepted == 101));
  for (struct mg_connection *k = mgr.conns; k != NULL; k = k->next) {
    if (k->is_accepted) c[n++] = k;
  }
  CHECK_INT(n, 101);
  c[3]->is_closing = 1;
  c[50]->is_draining = 1;
  CHECK(UNTIL(closes == 2));
  for (int i = 0; i < 100; i++) hang_up(&many[i]);
  CHECK(UNTIL(closes >= 100));
  down(&p);
}

LOOP_TEST(a_hundred_connections_are_accepted_in_one_turn) {
  struct peer p = up(), many[100];
  for (int i = 0; i < 100; i++) many[i] = dial(server);
  mg_mgr_poll(&mgr, 10);
  CHECK_INT(accepted, 101);
  for (int i = 0; i < 100; i++) hang_up(&many[i]);
  down(&p);
}

/* With no sweep, a wait that does not look at what is queued already would last for ever. */
LOOP_TEST(output_queued_between_polls_does_not_wait) {
  struct peer p = up();
  mgr.sweep_ms = 0;
  turns(2);
  alarm(20);
  CHECK(mg_send(conn, "now", 3));
  CHECK_INT(mg_mgr_timeout(&mgr), 0);
  mg_mgr_poll(&mgr, -1);
  CHECK(has(&p, "now"));
  conn->is_closing = 1;
  mg_touch(conn);
  mg_mgr_poll(&mgr, -1);
  CHECK_INT(closes, 1);
  alarm(0);
  down(&p);
}

/* ---- bursts: output for more connections than one turn writes to ---- */

enum { MANY = 200 };
static struct peer many[MANY];
static struct mg_connection *theirs[MANY];
static int writes[MANY]; /* MG_EV_WRITE of theirs[i] */

static void on_burst(struct mg_connection *c, int ev, void *ev_data) {
  on_event(c, ev, ev_data);
  for (int i = 0; ev == MG_EV_WRITE && i < MANY; i++) writes[i] += theirs[i] == c;
}

static struct peer up_with_many(void) {
  struct peer p = up();
  int n = 0;
  mgr.sweep_ms = 0; /* it visits all, and is not what is looked at here */
  for (int i = 0; i < MANY; i++) many[i] = dial(server);
  CHECK(UNTIL(accepted == MANY + 1));
  turns(10);
  for (struct mg_connection *k = mgr.conns; k != NULL; k = k->next) {
    if (!k->is_accepted) continue;
    if (n < MANY) {
      k->fn = on_burst;
      theirs[n++] = k;
    } else {
      conn = k; /* the oldest: p's */
    }
  }
  CHECK_INT(n, MANY);
  CHECK(conn != NULL);
  memset(writes, 0, sizeof(writes));
  return p;
}

static void say_to_many(const char *text) {
  for (int i = 0; i < MANY; i++) CHECK(mg_send(theirs[i], text, strlen(text)));
}

static int have(const char *text) {
  int n = 0;
  for (int i = 0; i < MANY; i++) n += pump(&many[i]) && many[i].len == strlen(text) && memcmp(many[i].buf, text, many[i].len) == 0;
  return n;
}

static void down_with_many(struct peer *p) {
  for (int i = 0; i < MANY; i++) hang_up(&many[i]);
  down(p);
}

LOOP_TEST(a_burst_is_written_in_parts_and_others_are_answered_between_them) {
  struct peer p = up_with_many();
  say_to_many("burst");
  mg_mgr_poll(&mgr, 0);
  CHECK(mgr.line != NULL);
  CHECK_INT(mg_mgr_timeout(&mgr), 0);
  say(&p, "x");
  CHECK(UNTIL(has(&p, "x")));
  CHECK(have("burst") < MANY);
  alarm(20);
  while (have("burst") < MANY) mg_mgr_poll(&mgr, -1); /* no wait is for ever while somebody stands in line */
  alarm(0);
  CHECK(mgr.line == NULL);
  down_with_many(&p);
}

LOOP_TEST(what_is_added_for_somebody_in_line_leaves_in_the_same_write) {
  struct peer p = up_with_many();
  int once = 0, twice = 0;
  say_to_many("a");
  mg_mgr_poll(&mgr, 0);
  say_to_many("b");
  CHECK(UNTIL(have("ab") == MANY));
  turns(2); /* MG_EV_WRITE comes a turn later */
  for (int i = 0; i < MANY; i++) once += writes[i] == 1, twice += writes[i] == 2;
  CHECK_INT(once + twice, MANY);
  CHECK(twice > 0 && once > twice); /* only the first part had gone when the second message came */
  down_with_many(&p);
}

LOOP_TEST(who_closes_in_line_is_told_once_and_the_others_keep_their_places) {
  struct peer p = up_with_many();
  int last = MANY - 1;
  say_to_many("a");
  mg_mgr_poll(&mgr, 0);
  CHECK(theirs[last]->in_line && theirs[last - 1]->in_line && theirs[last - 2]->in_line);
  mg_close_conn(theirs[last]);
  theirs[last - 1]->is_closing = 1;
  mg_touch(theirs[last - 1]);
  hang_up(&many[last - 2]);
  CHECK(UNTIL(closes == 3 && mgr.line == NULL));
  CHECK_INT(have("a"), MANY - 2); /* what was queued is still tried by is_closing, not after mg_close_conn */
  turns(3);
  CHECK_INT(closes, 3);
  down_with_many(&p);
}

LOOP_TEST(a_loop_ends_while_somebody_stands_in_line) {
  struct peer p = up_with_many();
  say_to_many("a");
  mg_mgr_poll(&mgr, 0);
  CHECK(mgr.line != NULL);
  down_with_many(&p);
  CHECK_INT(closes, MANY + 1);
}

LOOP_TEST(a_sweep_of_zero_tells_nobody_and_notices_what_was_touched) {
  struct peer p = up();
  int before;
  mgr.sweep_ms = 0;
  before = polls;
  conn->is_draining = 1;
  turns(5);
  CHECK_INT(polls, before);
  CHECK_INT(closes, 0);
  mg_touch(conn);
  turns(1);
  CHECK_INT(closes, 1);
  down(&p);
}

LOOP_TEST(poll_events_go_to_those_who_ask) {
  struct peer p = up();
  turns(2);
  CHECK(polls > 0);
  polls = 0;
  conn->ask = 0;
  turns(5);
  CHECK_INT(polls, 0);
  down(&p);
}

static void tick(void *arg) {
  (*(int *) arg)++;
}

LOOP_TEST(timers_run_within_polls) {
  struct peer p = up();
  CHECK(mg_timer_add(&mgr, 1, MG_TIMER_REPEAT, tick, &ticks) != NULL);
  CHECK(mg_timer_add(&mgr, 5, MG_TIMER_ONCE, tick, &wakes) != NULL);
  CHECK(mg_mgr_timeout(&mgr) >= 0);
  CHECK(UNTIL(ticks >= 5 && wakes == 1));
  down(&p);
}

LOOP_TEST(a_wakeup_keeps_size_and_order) {
  struct peer p = up();
  size_t len = 3 << 20;
  char *big = (char *) malloc(len);
  memset(big, 'w', len);
  CHECK(!mg_wakeup(&mgr, conn->id, "x", 1)); /* not initialised */
  CHECK(mg_wakeup_init(&mgr));
  for (int i = 0; i < 5000; i++) CHECK(mg_wakeup(&mgr, conn->id, i % 2 ? "b" : "a", 1));
  CHECK(mg_wakeup(&mgr, conn->id, big, len));
  CHECK(mg_wakeup(&mgr, conn->id, NULL, 0));
  CHECK_INT(mg_mgr_timeout(&mgr), 0);
  CHECK(UNTIL(wakes == 5002));
  CHECK_INT(woken_len, 5000 + len);
  for (int i = 0; i < 5000; i++) CHECK(woken[i] == (i % 2 ? 'b' : 'a'));
  CHECK(memcmp(woken + 5000, big, len) == 0);
  CHECK_INT(mgr.stats.wakeups, 5002);
  free(big);
  down(&p);
}

LOOP_TEST(a_wakeup_for_nobody_or_beyond_the_limit_is_refused) {
  struct peer p = up();
  unsigned long id = conn->id;
  char bytes[600];
  memset(bytes, 0, sizeof(bytes));
  CHECK(mg_wakeup_init_n(&mgr, 1000));
  CHECK(!mg_wakeup(&mgr, 0, "x", 1));
  CHECK(!mg_wakeup(&mgr, id + 1000, "x", 1));
  CHECK(mg_wakeup(&mgr, id, bytes, sizeof(bytes)));
  CHECK(!mg_wakeup(&mgr, id, bytes, sizeof(bytes)));
  CHECK(UNTIL(wakes == 1));
  CHECK(mg_wakeup(&mgr, id, bytes, sizeof(bytes)));
  mg_close_conn(conn); /* the message is dropped with its receiver */
  CHECK(UNTIL(closes == 1));
  CHECK(!mg_wakeup(&mgr, id, "x", 1));
  CHECK_INT(wakes, 1);
  down(&p);
}

static void *poster(void *arg) {
  for (int i = 0; i < 1000; i++) {
    char text[16];
    snprintf(text, sizeof(text), "%04d;", i);
    while (!mg_wakeup(&mgr, *(unsigned long *) arg, text, 5)) { }
  }
  return NULL;
}

LOOP_TEST(wakeups_of_a_thread_interrupt_the_wait_and_none_is_lost) {
  struct peer p = up();
  unsigned long id = conn->id;
  pthread_t t;
  CHECK(mg_wakeup_init(&mgr));
  mgr.sweep_ms = 0;
  alarm(60);
  CHECK_INT(pthread_create(&t, NULL, poster, &id), 0);
  while (wakes < 1000) mg_mgr_poll(&mgr, -1);
  pthread_join(t, NULL);
  alarm(0);
  for (int i = 0; i < 1000; i++) CHECK_INT(atoi(woken + 5 * i), i);
  down(&p);
}

TEST(the_loop_has_a_descriptor_that_tells_when_to_poll) {
  struct peer p = up();
  struct pollfd pfd = {mg_mgr_fd(&mgr), POLLIN, 0};
  turns(2);
  CHECK(pfd.fd >= 0);
  CHECK_INT(poll(&pfd, 1, 0), 0);
  say(&p, "x");
  CHECK_INT(poll(&pfd, 1, 10000), 1);
  CHECK(UNTIL(has(&p, "x")));
  mgr.sweep_ms = 0;
  turns(1);
  CHECK_INT(mg_mgr_timeout(&mgr), -1);
  mg_read_due(conn, mgr.now + 1000);
  CHECK(mg_mgr_timeout(&mgr) > 0 && mg_mgr_timeout(&mgr) <= 1100);
  mgr.sweep_ms = 50;
  CHECK(mg_mgr_timeout(&mgr) <= 50);
  down(&p);
}

TEST(the_poll_poller_has_no_descriptor) {
  struct peer p;
  setenv("MG_POLLER", "poll", 1);
  p = up();
  CHECK_INT(mg_mgr_fd(&mgr), -1);
  unsetenv("MG_POLLER");
  down(&p);
}

static void reconnect(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  if (ev == MG_EV_CLOSE) {
    closes++;
    if (closes < 1000) mg_connect(c->mgr, (const char *) c->fn_data, reconnect, c->fn_data);
  }
}

LOOP_TEST(handlers_that_connect_again_do_not_keep_the_loop_alive) {
  char url[64];
  struct peer p = up();
  snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", port_of(server));
  mg_connect(&mgr, url, reconnect, url);
  turns(3);
  down(&p);
  CHECK(closes < 10);
}

TEST(a_loop_without_memory_fails_and_every_call_on_it_fails) {
  for (long n = 1; n < 20; n++) {
    int status;
    mg_log_set(MG_LL_NONE);
    mg_alloc_fail_at(n);
    mg_mgr_init(&mgr);
    mg_alloc_fail_at(0);
    status = mgr.status;
    if (status < 0) {
      CHECK(mg_listen(&mgr, "tcp://127.0.0.1:0", on_event, NULL) == NULL);
      CHECK(mg_connect(&mgr, "tcp://127.0.0.1:1", on_event, NULL) == NULL);
      CHECK(!mg_wakeup_init(&mgr));
      CHECK(!mg_wakeup(&mgr, 1, "x", 1));
      CHECK_INT(mg_mgr_timeout(&mgr), -1);
      mg_mgr_poll(&mgr, 0);
    }
    mg_mgr_free(&mgr);
  }
}

CHECK_MAIN
