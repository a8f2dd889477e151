#include "loop_helpers.h"
#include "mongoose/base/status.h"
#include "mongoose/loop/resolve.h"

static struct mg_connection *listener;
static int resolves, connects, errors, closes, accepts, fault;
static char error_text[400];
static struct mg_addr told[MG_LOOKUP_MAX];
static unsigned ntold;

static void on_server(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_ACCEPT) accepts++;
  (void) c;
  (void) ev_data;
}

static void on_client(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_RESOLVE) {
    const struct mg_resolved *r = (const struct mg_resolved *) ev_data;
    resolves++;
    ntold = r != NULL ? r->n : 0;
    if (r != NULL) memcpy(told, r->addr, r->n * sizeof(*told));
  }
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
  ntold = 0;
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
    CHECK_INT(resolves, 1);
    CHECK_INT(ntold, 2);
    CHECK(!told[0].is_ip6 && told[0].addr.ip[0] == 127 && told[1].is_ip6 && told[1].addr.ip[15] == 1);
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

/* ---- questions ---- */

/* A listener: it has no peer, and must live on whatever is told. */
static struct mg_connection *asker(void) {
  struct mg_connection *c;
  up(NULL);
  c = mg_listen(&mgr, "tcp://127.0.0.1:0", on_client, NULL);
  CHECK(c != NULL);
  return c;
}

static void answer_is(const char *url, const char *const *want, unsigned n) {
  struct mg_connection *c = asker();
  CHECK(mg_ask(c, url, 0));
  CHECK_INT(resolves, 0); /* never from within the call */
  CHECK(UNTIL(resolves + errors > 0));
  CHECK_INT(errors, 0);
  CHECK_INT(ntold, n);
  for (unsigned i = 0; i < n && i < ntold; i++) {
    char text[MG_ADDR_TEXT];
    mg_addr_print(&told[i], true, text, sizeof(text));
    CHECK(strcmp(text, want[i]) == 0);
  }
  CHECK(c->is_listening && !c->is_closing && closes == 0);
  loop_down();
}

LOOP_TEST(literals_and_localhost_are_told_by_the_next_turn) {
  static const char *const four[] = {"192.0.2.7:0"}, *const four80[] = {"192.0.2.7:80"}, *const six[] = {"[2001:db8:0:0:0:0:0:1]:8443"},
      *const bare6[] = {"[2001:db8:0:0:0:0:0:1]:0"}, *const local[] = {"127.0.0.1:5", "[0:0:0:0:0:0:0:1]:5"}, *const local0[] = {"127.0.0.1:0", "[0:0:0:0:0:0:0:1]:0"};
  answer_is("192.0.2.7", four, 1);
  answer_is("http://192.0.2.7/path", four80, 1);
  answer_is("https://[2001:db8::1]:8443", six, 1);
  answer_is("2001:db8::1", bare6, 1);
  answer_is("udp://LocalHost:5", local, 2);
  answer_is("localhost.", local0, 2);
  answer_is("tcp://app.localhost:5", local, 2); /* RFC 6761 6.3 */
}

LOOP_TEST(a_question_without_an_answer_leaves_its_connection_open) {
  struct mg_connection *c = asker();
  CHECK(mg_ask(c, "no..name", 0));
  CHECK(UNTIL(errors == 1));
  CHECK_INT(fault, MG_ERESOLVE);
  CHECK(strncmp(error_text, "resolve no..name: ", 18) == 0);
  turns(3);
  CHECK(!c->is_closing && closes == 0 && errors == 1);
  CHECK(mg_ask(c, "localhost", 0)); /* and it may ask again */
  CHECK(UNTIL(resolves == 1));
  loop_down();
}

LOOP_TEST(what_is_no_host_is_refused_at_once) {
  static const char *const wrong[] = {"", "unix:///tmp/x", "fd://3", "gopher://host:70", "tcp://:80", "tcp://host", "a:b:c"};
  struct mg_connection *c = asker();
  char name[300];
  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
    CHECK(!mg_ask(c, wrong[i], 0));
    CHECK(mgr.status < 0 && mgr.errmsg[0] != '\0');
  }
  memset(name, 'a', sizeof(name) - 1);
  name[sizeof(name) - 1] = '\0';
  CHECK(!mg_ask(c, name, 0));
  turns(3);
  CHECK_INT(resolves + errors, 0);
  CHECK(c->question == NULL);
  loop_down();
}

LOOP_TEST(a_cancelled_question_is_not_answered) {
  static const char *const names[] = {"localhost", "192.0.2.1", "no..name"};
  for (int i = 0; i < 3; i++) {
    struct mg_connection *c = asker();
    CHECK(mg_ask(c, names[i], 1000));
    mg_resolve_cancel(c);
    mg_resolve_cancel(c);
    turns(5);
    CHECK(mg_ask(c, "127.0.0.9", 0)); /* what is answered now is this one */
    CHECK(UNTIL(resolves == 1));
    turns(5);
    CHECK_INT(resolves, 1);
    CHECK_INT(errors, 0);
    CHECK_INT(told[0].addr.ip[3], 9);
    loop_down();
  }
}

LOOP_TEST(a_new_question_takes_the_place_of_the_old) {
  struct mg_connection *c = asker();
  for (int i = 0; i < 20; i++) CHECK(mg_ask(c, i % 2 == 0 ? "no..name" : "127.0.0.1", 1000));
  CHECK(mg_ask(c, "127.0.0.9", 1000));
  CHECK(UNTIL(resolves == 1));
  turns(5);
  CHECK_INT(resolves + errors, 1);
  CHECK_INT(told[0].addr.ip[3], 9);
  loop_down();
}

static void on_again(struct mg_connection *c, int ev, void *ev_data) {
  on_client(c, ev, ev_data);
  if (ev == MG_EV_RESOLVE && resolves == 1) CHECK(mg_ask(c, "no..name", 0));
  if (ev == MG_EV_ERROR && errors == 1) CHECK(mg_ask(c, "127.0.0.3", 0));
  if (ev == MG_EV_RESOLVE && resolves == 2) c->is_closing = 1;
  if (ev == MG_EV_CLOSE) CHECK(!mg_ask(c, "127.0.0.1", 0)); /* nobody is left to tell */
}

LOOP_TEST(the_handler_of_an_answer_may_ask_again_and_close) {
  up(NULL);
  CHECK(mg_ask(mg_listen(&mgr, "tcp://127.0.0.1:0", on_again, NULL), "127.0.0.1", 5000));
  CHECK(UNTIL(closes == 1));
  CHECK_INT(resolves, 2);
  CHECK_INT(errors, 1);
  loop_down();
}

LOOP_TEST(connections_that_ask_may_close_at_any_time) {
  up(NULL);
  for (int i = 0; i < 20; i++) {
    struct mg_connection *c = mg_listen(&mgr, "udp://127.0.0.1:0", on_client, NULL);
    CHECK(mg_ask(c, i % 4 == 0 ? "127.0.0.1" : "no..name", i % 5 == 0 ? 1 : 0));
    if (i % 2 == 0) c->is_closing = 1;
    if (i % 3 == 0) turns(1);
  }
  loop_down(); /* with some of them under way */
}

LOOP_TEST(a_question_goes_beside_the_way_to_a_peer) {
  struct mg_connection *c;
  up("tcp://127.0.0.1:0");
  c = ask("localhost");
  CHECK(mg_ask(c, "127.0.0.9", 0));
  CHECK_INT(resolves, 1); /* of connecting */
  CHECK(UNTIL(connects == 1 && resolves == 2));
  CHECK_INT(errors, 0);
  mg_resolve(c, "127.0.0.8"); /* Mongoose's name for it; the socket stays */
  CHECK(UNTIL(resolves == 3));
  turns(3);
  CHECK_INT(told[0].addr.ip[3], 8);
  CHECK(connects == 1 && closes == 0);
  loop_down();
}

TEST(any_allocation_of_a_question_may_fail) {
  for (long n = 1; n < 4; n++) {
    struct mg_connection *c = asker();
    bool ok;
    mg_alloc_fail_at(n);
    ok = mg_ask(c, "127.0.0.1", 100);
    mg_alloc_fail_at(0);
    CHECK(ok || mgr.status == MG_ENOMEM);
    if (ok) CHECK(UNTIL(resolves == 1));
    loop_down();
  }
}

CHECK_MAIN
