#include "loop_helpers.h"
#include "mongoose/proto/proxy.h"

static struct mg_connection *server;
static int opened, closed;

static void serve(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  if (!c->is_accepted) return;
  if (ev == MG_EV_OPEN) opened++;
  if (ev == MG_EV_CLOSE) closed++;
  if (ev == MG_EV_READ) {
    mg_send(c, c->recv.buf, c->recv.len);
    c->recv.len = 0;
  }
}

static void up(void) {
  loop_up();
  opened = closed = 0;
  server = mg_listen(&mgr, "tcp://127.0.0.1:0", serve, NULL);
  CHECK(mg_proxy_from(server, mg_str("127.0.0.0/8")));
}

LOOP_TEST(what_follows_the_header_in_one_piece_is_read) {
  struct peer p;
  struct mg_connection *c;
  up();
  p = dial(server);
  say(&p, "PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\nhello");
  CHECK(UNTIL(has(&p, "hello")));
  c = newest();
  CHECK_INT(mg_ntohs(c->rem.port), 9);
  CHECK_INT(mg_ntohs(mg_proxy_info(c)->target.port), 10);
  hang_up(&p);
  CHECK(UNTIL(closed == 1));
  loop_down();
}

LOOP_TEST(a_connection_that_never_says_it_is_never_told_of) {
  struct peer p, q, r;
  up();
  p = dial(server);
  q = dial(server);
  r = dial(server);
  say(&p, "PROXY TCP4 1.2.3.4 nonsense\r\n");
  say(&q, "PROXY TC");
  hang_up(&q);
  CHECK(UNTIL(gone(&p) && mgr.stats.proxy_errors == 2));
  turns(10);
  CHECK_INT(connections_of(server), 1);
  CHECK_INT(opened + closed, 0);
  hang_up(&p);
  loop_down(); /* with one of them under way */
  CHECK_INT(opened + closed, 0);
  hang_up(&r);
}

LOOP_TEST(an_unread_rest_does_not_make_the_loop_spin) {
  struct peer p;
  uint64_t before;
  up();
  p = dial(server);
  say(&p, "PROXY TCP4 1.2.3.4 5.6.7.8");
  turns(20);
  before = mgr.stats.bytes_in;
  CHECK_INT(before, 26); /* taken out of the socket, so that it is not ready for ever */
  hang_up(&p);
  loop_down();
}

LOOP_TEST(wrong_networks_and_listeners_are_refused) {
  struct mg_connection *udp;
  up();
  CHECK(!mg_proxy_from(server, mg_str("nowhere")));
  CHECK_INT(mgr.status, MG_EINVAL);
  udp = mg_listen(&mgr, "udp://127.0.0.1:0", serve, NULL);
  CHECK(!mg_proxy_from(udp, mg_str("127.0.0.1")));
  loop_down();
}

CHECK_MAIN
