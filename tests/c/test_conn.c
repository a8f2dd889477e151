#include <sys/wait.h>

#include "loop_helpers.h"

static struct mg_connection *server, *conn;
static int closes, accepted, connects, errors, opens;
static char last_error[256];

static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_OPEN) opens++;
  if (ev == MG_EV_ACCEPT) {
    conn = c;
    accepted++;
  }
  if (ev == MG_EV_CONNECT) connects++;
  if (ev == MG_EV_ERROR) {
    errors++;
    snprintf(last_error, sizeof(last_error), "%s", (char *) ev_data);
  }
  if (ev == MG_EV_READ) {
    mg_send(c, c->recv.buf, c->recv.len);
    c->recv.len = 0;
  }
  if (ev == MG_EV_CLOSE && !c->is_listening) closes++;
}

static void up(void) {
  loop_up();
  closes = accepted = connects = errors = opens = 0;
  last_error[0] = '\0';
  conn = NULL;
}

static void listen_on(const char *url) {
  server = mg_listen(&mgr, url, on_event, NULL);
  CHECK(server != NULL);
}

static int got;
static void on_client(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_CONNECT) mg_send(c, "hello", 5);
  if (ev == MG_EV_READ) {
    got += (int) c->recv.len;
    c->recv.len = 0;
    return;
  }
  on_event(c, ev, ev_data);
}

LOOP_TEST(a_client_connects_and_talks) {
  char url[64];
  struct mg_connection *c;
  up();
  got = 0;
  listen_on("tcp://127.0.0.1:0");
  snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", port_of(server));
  c = mg_connect(&mgr, url, on_client, NULL);
  CHECK(c != NULL && c->is_client && c->is_connecting);
  CHECK(mg_send(c, "early ", 6)); /* waits for the connection */
  CHECK(UNTIL(got == 11));
  CHECK_INT(connects, 1);
  CHECK(!c->is_connecting);
  CHECK_INT(c->rem.port, server->loc.port);
  loop_down();
  CHECK_INT(closes, 2);
  CHECK_INT(errors, 0);
}

LOOP_TEST(a_refused_connection_is_an_error_and_a_close) {
  char url[64];
  up();
  listen_on("tcp://127.0.0.1:0");
  snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", port_of(server));
  mg_close_conn(server);
  turns(2);
  CHECK(mg_connect(&mgr, url, on_event, NULL) != NULL);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(errors, 1);
  CHECK_INT(connects, 0);
  CHECK(strstr(last_error, "refused") != NULL);
  loop_down();
}

LOOP_TEST(a_connect_without_an_answer_times_out) {
  char url[64];
  struct mg_connection *c;
  struct sockaddr_in sin;
  socklen_t len = sizeof(sin);
  int fd = socket(AF_INET, SOCK_STREAM, 0), fill[8];
  up();
  memset(&sin, 0, sizeof(sin));
  sin.sin_family = AF_INET;
  sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(bind(fd, (struct sockaddr *) &sin, sizeof(sin)) == 0 && listen(fd, 0) == 0);
  getsockname(fd, (struct sockaddr *) &sin, &len);
  for (int i = 0; i < 8; i++) { /* the queue of one is full, so the kernel drops who comes next */
    fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void) !connect(fill[i], (struct sockaddr *) &sin, len);
  }
  snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", ntohs(sin.sin_port));
  c = mg_connect(&mgr, url, on_event, NULL);
  mg_read_due(c, mgr.now + 5);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(errors, 1);
  CHECK(strstr(last_error, "timed out") != NULL);
  for (int i = 0; i < 8; i++) close(fill[i]);
  close(fd);
  loop_down();
}

LOOP_TEST(bad_addresses_are_refused_with_a_reason) {
  up();
  listen_on("tcp://127.0.0.1:0");
  CHECK(mg_listen(&mgr, "tcp://127.0.0.1:99999", on_event, NULL) == NULL);
  CHECK(mgr.status < 0 && mgr.errmsg[0] != '\0');
  CHECK(mg_connect(&mgr, "gopher://127.0.0.1:1", on_event, NULL) == NULL);
  CHECK_INT(mgr.status, MG_ESCHEME);
  CHECK(mg_wrapfd(&mgr, -1, on_event, NULL) == NULL);
  loop_down();
}

LOOP_TEST(unix_sockets_connect_and_talk) {
  char url[128];
  up();
  got = 0;
  snprintf(url, sizeof(url), "unix://@mg-test-conn-%d", (int) getpid());
  listen_on(url);
  CHECK(mg_connect(&mgr, url, on_client, NULL) != NULL);
  CHECK(UNTIL(got == 5));
  CHECK_INT(connects, 1);
  CHECK(conn->is_unix);
  loop_down();
  CHECK_INT(closes, 2);
}

LOOP_TEST(a_descriptor_is_adopted) {
  int sv[2];
  struct mg_connection *c;
  struct peer p;
  up();
  CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
  c = mg_wrapfd(&mgr, sv[0], on_event, NULL);
  CHECK(c != NULL);
  CHECK_INT(opens, 1);
  p = peer_of(sv[1]);
  say(&p, "through");
  CHECK(UNTIL(has(&p, "through")));
  hang_up(&p);
  CHECK(UNTIL(closes == 1));
  loop_down();
}

LOOP_TEST(a_listening_descriptor_is_adopted) {
  struct sockaddr_in sin;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct peer p;
  up();
  memset(&sin, 0, sizeof(sin));
  sin.sin_family = AF_INET;
  sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(bind(fd, (struct sockaddr *) &sin, sizeof(sin)) == 0 && listen(fd, 8) == 0);
  server = mg_wrapfd(&mgr, fd, on_event, NULL);
  CHECK(server != NULL && server->is_listening);
  p = dial(server);
  say(&p, "x");
  CHECK(UNTIL(has(&p, "x")));
  CHECK_INT(accepted, 1);
  hang_up(&p);
  loop_down();
}

LOOP_TEST(ids_are_not_used_again) {
  struct peer p;
  unsigned long first;
  up();
  listen_on("tcp://127.0.0.1:0");
  p = dial(server);
  CHECK(UNTIL(accepted == 1));
  first = conn->id;
  hang_up(&p);
  CHECK(UNTIL(closes == 1));
  CHECK(!mg_idtab_alive(mgr.ids, first));
  p = dial(server);
  CHECK(UNTIL(accepted == 2));
  CHECK(conn->id != first);
  hang_up(&p);
  loop_down();
}

LOOP_TEST(a_listener_may_be_closed_or_drained_before_its_connections) {
  for (int how = 0; how < 3; how++) {
    struct peer p;
    up();
    listen_on("tcp://127.0.0.1:0");
    p = dial(server);
    CHECK(UNTIL(accepted == 1));
    if (how == 0) mg_close_conn(server);
    if (how == 1) server->is_closing = 1;
    if (how == 2) server->is_draining = 1;
    turns(3);
    CHECK_INT(mgr.nconns, 1);
    say(&p, "still");
    CHECK(UNTIL(has(&p, "still")));
    hang_up(&p);
    CHECK(UNTIL(closes == 1));
    loop_down();
  }
}

LOOP_TEST(a_peer_that_resets_is_closed_without_an_error) {
  struct peer p;
  struct linger l = {1, 0};
  up();
  listen_on("tcp://127.0.0.1:0");
  p = dial(server);
  CHECK(UNTIL(accepted == 1));
  setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
  hang_up(&p);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(errors, 0);
  loop_down();
}

LOOP_TEST(nobody_lingers_for_a_peer_that_has_ended) {
  struct peer p;
  up();
  listen_on("tcp://127.0.0.1:0");
  p = dial(server);
  CHECK(UNTIL(accepted == 1));
  conn->is_full = 1; /* so that the end is not seen before */
  turns(1);
  conn->is_eof = 1;
  conn->is_draining = 1;
  mg_linger(conn);
  turns(3);
  CHECK_INT(closes, 1);
  hang_up(&p);
  loop_down();
}

static void close_in_handler(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_ACCEPT) c->is_closing = 1;
  on_event(c, ev, ev_data);
}

LOOP_TEST(a_connection_may_be_turned_away_when_it_is_accepted) {
  struct peer p;
  up();
  server = mg_listen(&mgr, "tcp://127.0.0.1:0", close_in_handler, NULL);
  p = dial(server);
  CHECK(UNTIL(gone(&p) && closes == 1));
  CHECK_INT(connections_of(server), 0);
  hang_up(&p);
  loop_down();
}

LOOP_TEST(the_file_of_a_unix_socket_goes_with_its_listener_but_not_with_a_forked_copy) {
  char url[80], path[64];
  pid_t child;
  int state;
  snprintf(path, sizeof(path), "/tmp/mg-test-conn-%d.sock", (int) getpid());
  snprintf(url, sizeof(url), "unix://%s", path);
  up();
  CHECK(mg_listen(&mgr, url, on_event, NULL) != NULL);
  CHECK_INT(access(path, F_OK), 0);
  child = fork();
  if (child == 0) {
    mg_mgr_free(&mgr);
    _exit(0);
  }
  CHECK(waitpid(child, &state, 0) == child);
  CHECK_INT(access(path, F_OK), 0);
  CHECK(mg_connect(&mgr, url, on_client, NULL) != NULL); /* and it still listens */
  CHECK(UNTIL(accepted == 1));
  loop_down();
  CHECK_INT(access(path, F_OK), -1);
}

LOOP_TEST(any_allocation_of_a_connection_may_fail) {
  for (long n = 1; n < 25; n++) {
    char url[64];
    int fd;
    up();
    mg_alloc_fail_at(n);
    server = mg_listen(&mgr, "tcp://127.0.0.1:0", on_event, NULL);
    if (server != NULL) {
      struct peer p = dial(server);
      snprintf(url, sizeof(url), "tcp://127.0.0.1:%d", port_of(server));
      mg_connect(&mgr, url, on_client, NULL);
      fd = socket(AF_INET, SOCK_STREAM, 0);
      if (mg_wrapfd(&mgr, fd, on_event, NULL) == NULL) CHECK(mgr.status < 0);
      say(&p, "abc");
      turns(5);
      hang_up(&p);
      turns(3);
    }
    mg_alloc_fail_at(0);
    loop_down();
  }
}

TEST(a_deadline_set_after_the_end_is_none) {
  struct mg_connection *c;
  loop_up();
  c = mg_alloc_conn(&mgr);
  c->write_due = mgr.now + 1000; /* its output waited for the peer */
  mg_close_conn(c);
  mg_read_due(c, 0);
  CHECK(c->deadline.next == NULL);
  mg_read_due(c, mgr.now + 1000);
  CHECK(c->deadline.next == NULL);
  turns(3);
  loop_down();
}

CHECK_MAIN
