#include "loop_helpers.h"
#include "mongoose/base/status.h"
#include "mongoose/loop/resolve.h"

static struct mg_connection *listener;
static int resolves, connects, errors, closes, accepts, fault;
static char error_text[256];

static void on_server(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_ACCEPT) accepts++;
  (void) c;
  (void) ev_data;
}

static void on_client(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_RESOLVE) resolves++;
  if (ev == MG_EV_CONNECT) connects++;
  if (ev == MG_EV_CLOSE) closes++;
  if (ev == MG_EV_ERROR) {
    errors++;
    fault = c->status;
    snprintf(error_text, sizeof(error_text), "%s", (char *) ev_data);
  }
}

static void up(const char *url) {
  loop_up();
  resolves = connects = errors = closes = accepts = fault = 0;
  listener = url != NULL ? mg_listen(&mgr, url, on_server, NULL) : NULL;
}

static struct mg_connection *ask(const char *host) {
  char url[128];
  snprintf(url, sizeof(url), "tcp://%s:%d", host, listener != NULL ? port_of(listener) : 9);
  return mg_connect(&mgr, url, on_client, NULL);
}

/* The only name besides localhost that every machine knows is its own, and not every one does. */
static bool own_name(char *name, size_t len) {
  struct mg_connection *c;
  bool ok;
  if (gethostname(name, len) != 0) return false;
  up("tcp://0.0.0.0:0");
  c = ask(name);
  CHECK(c != NULL && c->is_resolving);
  CHECK(UNTIL(connects + errors > 0));
  ok = connects > 0;
  loop_down();
  return ok;
}

LOOP_TEST(a_name_is_looked_up_and_connected_to) {
  char name[256] = "";
  if (!own_name(name, sizeof(name))) return;
  up("tcp://0.0.0.0:0");
  CHECK(ask(name) != NULL);
  CHECK_INT(resolves, 0);
  CHECK(UNTIL(connects == 1 && accepts == 1));
  CHECK_INT(resolves, 1);
  CHECK_INT(errors, 0);
  loop_down();
}

LOOP_TEST(a_name_that_nobody_has_is_an_error) {
  up(NULL);
  CHECK(ask("no-such-name.invalid") != NULL); /* RFC 6761 6.4 */
  CHECK(UNTIL(closes == 1));
  CHECK_INT(errors, 1);
  CHECK_INT(fault, MG_ERESOLVE);
  CHECK(strstr(error_text, "no-such-name.invalid") != NULL);
  CHECK_INT(connects + resolves, 0);
  loop_down();
}

LOOP_TEST(localhost_is_both_loopback_addresses) {
  const char *const at[] = {"tcp://127.0.0.1:0", "tcp://[::1]:0"};
  for (int i = 0; i < 2; i++) {
    up(at[i]);
    if (listener == NULL) continue; /* a machine without IPv6 */
    CHECK(ask("localhost") != NULL);
    CHECK(UNTIL(connects == 1 && accepts == 1));
    CHECK_INT(errors, 0);
    loop_down();
  }
}

LOOP_TEST(when_no_address_answers_there_is_one_error) {
  up("tcp://127.0.0.1:0");
  char url[64];
  snprintf(url, sizeof(url), "tcp://localhost:%d", port_of(listener));
  mg_close_conn(listener);
  turns(2);
  CHECK(mg_connect(&mgr, url, on_client, NULL) != NULL);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(errors, 1);
  CHECK_INT(connects, 0);
  loop_down();
}

LOOP_TEST(many_lookups_share_few_threads) {
  up(NULL);
  for (int i = 0; i < 50; i++) CHECK(ask("no..name") != NULL);
  CHECK(UNTIL(closes == 50));
  CHECK_INT(errors, 50);
  loop_down();
}

LOOP_TEST(a_lookup_may_be_given_up_at_any_time) {
  up(NULL);
  for (int i = 0; i < 20; i++) {
    struct mg_connection *c = ask("no..name");
    if (i % 2 == 0) c->is_closing = 1;
    if (i % 3 == 0) turns(1);
  }
  turns(1);
  loop_down(); /* with some of them under way */
}

LOOP_TEST(a_lookup_has_the_connect_timeout) {
  struct mg_limits l = mg_limits_default;
  struct mg_connection *c;
  up(NULL);
  l.connect_timeout = 1;
  c = mg_connect_with(&mgr, "tcp://no-such-name.invalid:9", on_client, NULL, NULL, NULL, &l);
  CHECK(c != NULL);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(errors, 1); /* whichever comes first */
  CHECK(fault == MG_ETIMEDOUT || fault == MG_ERESOLVE);
  loop_down();
}

/* What the application posts may fill the queue; a lookup without a deadline must come back all the same. */
LOOP_TEST(a_lookup_comes_back_though_the_queue_is_full) {
  struct mg_limits l = mg_limits_default;
  up(NULL);
  CHECK(mg_wakeup_init_n(&mgr, 0));
  l.connect_timeout = 0;
  CHECK(mg_connect_with(&mgr, "tcp://no..name:9", on_client, NULL, NULL, NULL, &l) != NULL);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(fault, MG_ERESOLVE);
  loop_down();
}

TEST(any_allocation_of_a_lookup_may_fail) {
  for (long n = 1; n < 8; n++) {
    struct mg_connection *c;
    up(NULL);
    mg_alloc_fail_at(n);
    c = ask("no..name");
    mg_alloc_fail_at(0);
    if (c != NULL) CHECK(UNTIL(closes == 1));
    loop_down();
  }
}

CHECK_MAIN
