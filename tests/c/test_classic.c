/* test_classic.c - the API's own steps of listening and connecting, formatted output, marks and groups. */
#include <netinet/ip.h>

#include "loop_helpers.h"

static struct mg_connection *server;
static int connects, errors, resolves;
static char got[256];
static size_t got_len;

static void on_server(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  if (ev == MG_EV_ACCEPT) mg_printf(c, "%s %d%c", "hello", 42, 0);
  if (ev == MG_EV_READ) {
    size_t n = c->recv.len < sizeof(got) - got_len ? c->recv.len : sizeof(got) - got_len;
    memcpy(got + got_len, c->recv.buf, n);
    got_len += n;
    c->recv.len = 0;
  }
}

static void on_client(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  resolves += ev == MG_EV_RESOLVE;
  connects += ev == MG_EV_CONNECT;
  errors += ev == MG_EV_ERROR;
  if (ev == MG_EV_CONNECT) CHECK_INT(mg_printf(c, "%.*s|%05d", 2, "abc", 7), 8);
}

static void up(void) {
  loop_up();
  connects = errors = resolves = 0;
  got_len = 0;
  server = mg_alloc_conn(&mgr);
  CHECK(server != NULL);
  server->fn = on_server;
}

LOOP_TEST(step_by_step_is_the_same_as_at_once) {
  struct mg_connection *c;
  struct peer p;
  up();
  CHECK(mg_open_listener(server, "tcp://127.0.0.1:0"));
  CHECK(server->is_listening && port_of(server) > 0);
  p = dial(server);
  CHECK(UNTIL(has(&p, "hello 42") && p.len == 9)); /* its NUL is a byte */
  c = mg_alloc_conn(&mgr);
  c->fn = on_client;
  c->rem = server->loc;
  mg_connect_resolved(c);
  CHECK(UNTIL(got_len == 8));
  CHECK_MEM(got, got_len, "ab|00007", 8);
  CHECK_INT(connects, 1);
  CHECK_INT(resolves, 1);
  CHECK(c->is_client);
  hang_up(&p);
  loop_down();
}

LOOP_TEST(what_cannot_be_opened_is_told) {
  struct mg_connection *c;
  up();
  CHECK(!mg_open_listener(server, "tcp://127.0.0.1:99999"));
  CHECK_INT(mgr.status, MG_EINVAL);
  CHECK(strstr(mgr.errmsg, "99999") != NULL);
  CHECK(!server->is_listening);
  CHECK(mg_open_listener(server, "tcp://127.0.0.1:0"));
  CHECK(!mg_open_listener(server, "tcp://127.0.0.1:0"));
  CHECK_INT(mgr.status, MG_EINVAL);
  c = mg_alloc_conn(&mgr);
  c->fn = on_client;
  c->rem = server->loc;
  server->is_closing = 1;
  turns(3);
  mg_connect_resolved(c); /* refused: nobody listens any more */
  CHECK(UNTIL(errors == 1));
  CHECK_INT(connects, 0);
  loop_down();
}

TEST(all_of_a_text_is_queued_or_nothing) {
  struct peer p;
  up();
  CHECK(mg_open_listener(server, "tcp://127.0.0.1:0"));
  p = dial(server);
  CHECK(UNTIL(newest() != NULL));
  turns(2);
  for (long at = 1; at < 4; at++) {
    size_t before = mg_unsent(newest()), n;
    mg_alloc_fail_at(at);
    n = mg_printf(newest(), "%1000d%5000s", 1, "x");
    mg_alloc_fail_at(0);
    CHECK(n == 0 || n == 6000);
    CHECK_INT(mg_unsent(newest()) - before, n);
  }
  hang_up(&p);
  loop_down();
}

TEST(marks_are_set_on_the_socket) {
  int tos = 0;
  socklen_t len = sizeof(tos);
  up();
  CHECK(mg_open_listener(server, "udp://127.0.0.1:0"));
  CHECK(mg_dscp(server, 46)); /* expedited forwarding */
  CHECK(getsockopt((int) (size_t) server->fd, IPPROTO_IP, IP_TOS, &tos, &len) == 0);
  CHECK_INT(tos, 46 << 2);
  loop_down();
}

LOOP_TEST(a_group_is_heard) {
  struct sockaddr_in to;
  struct in_addr from;
  int fd;
  up();
  CHECK(mg_open_listener(server, "udp://0.0.0.0:0"));
  CHECK(!mg_multicast_add(server, "no address"));
  CHECK_INT(mgr.status, MG_EINVAL);
  CHECK(!mg_multicast_add(server, "127.0.0.1"));
  if (mg_multicast_add(server, "239.255.77.77")) { /* machines without any route have no group either */
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    memset(&to, 0, sizeof(to));
    to.sin_family = AF_INET;
    to.sin_port = server->loc.port;
    to.sin_addr.s_addr = inet_addr("239.255.77.77");
    from.s_addr = INADDR_ANY;
    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &from, sizeof(from));
    if (sendto(fd, "all", 3, 0, (struct sockaddr *) &to, sizeof(to)) == 3) {
      CHECK(UNTIL(got_len == 3));
      CHECK_MEM(got, got_len, "all", 3);
    }
    close(fd);
  }
  loop_down();
}
CHECK_MAIN
