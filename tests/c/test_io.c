#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "loop_helpers.h"

static struct mg_connection *server, *conn;
static int closes, accepted, reads;
static size_t total;
static bool keep, full_once;
static char order[256];

static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  if (ev == MG_EV_ACCEPT) {
    conn = c;
    accepted++;
  }
  if (ev == MG_EV_READ) {
    reads++;
    if (c->is_udp) {
      mg_send(c, c->recv.buf, c->recv.len);
      if (strlen(order) + c->recv.len + 2 < sizeof(order)) sprintf(order + strlen(order), "%.*s|", (int) c->recv.len, c->recv.buf);
      return; /* left there: the next datagram must not follow it */
    }
    if (full_once) {
      c->is_full = 1;
      full_once = false;
    }
    total += c->recv.len;
    if (!keep) c->recv.len = 0;
  }
  if (ev == MG_EV_CLOSE && c->is_accepted) closes++;
}

static void up(const char *url, const struct mg_limits *l) {
  struct mg_listen_opts opts;
  memset(&opts, 0, sizeof(opts));
  opts.limits = l;
  loop_up();
  closes = accepted = reads = 0;
  total = 0;
  keep = full_once = false;
  memset(order, 0, sizeof(order));
  server = mg_listen_with(&mgr, url, on_event, NULL, &opts);
  CHECK(server != NULL);
}

LOOP_TEST(an_idle_connection_owns_no_buffers) {
  struct peer p;
  up("tcp://127.0.0.1:0", NULL);
  p = dial(server);
  say(&p, "abc");
  CHECK(UNTIL(total == 3));
  turns(2);
  CHECK(conn->recv.buf == NULL && conn->send.buf == NULL && conn->recv.chunk == NULL);
  hang_up(&p);
  loop_down();
}

LOOP_TEST(what_is_left_unread_is_kept_and_grows) {
  struct peer p;
  up("tcp://127.0.0.1:0", NULL);
  keep = true;
  p = dial(server);
  for (int i = 0; i < 2000; i++) {
    char text[16];
    snprintf(text, sizeof(text), "%04d;", i % 10000);
    say(&p, text);
    if (i % 7 == 0) turns(1);
  }
  CHECK(UNTIL(conn->recv.len == 10000));
  for (int i = 0; i < 2000; i++) CHECK_INT(atoi((char *) conn->recv.buf + 5 * i), i);
  CHECK(conn->recv.chunk != NULL && !mg_chunk_shared(conn->recv.chunk)); /* left the block that all share */
  mg_iobuf_del(&conn->recv, 0, 9995);
  CHECK_MEM(conn->recv.buf, conn->recv.len, "1999;", 5);
  hang_up(&p);
  loop_down();
}

static struct mg_chunk *kept;
static char *kept_bytes;
static void keep_first(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  if (ev != MG_EV_READ) return;
  if (kept == NULL) {
    kept = mg_chunk_hold(c->recv.chunk);
    kept_bytes = (char *) c->recv.buf;
  }
  c->recv.len = 0;
  reads++;
}

LOOP_TEST(bytes_whose_chunk_is_held_stay_as_they_are) {
  struct peer p;
  up("tcp://127.0.0.1:0", NULL);
  server->fn = keep_first;
  kept = NULL;
  p = dial(server);
  say(&p, "first");
  CHECK(UNTIL(kept != NULL));
  for (int i = 0; i < 300; i++) {
    say(&p, "other bytes, many of them");
    turns(1);
  }
  CHECK_MEM(kept_bytes, 5, "first", 5);
  hang_up(&p);
  loop_down();
  CHECK_MEM(kept_bytes, 5, "first", 5);
  mg_chunk_drop(kept);
}

LOOP_TEST(is_full_stops_reading_until_it_is_cleared) {
  struct peer p;
  up("tcp://127.0.0.1:0", NULL);
  full_once = true;
  p = dial(server);
  say(&p, "abc");
  CHECK(UNTIL(total == 3));
  say(&p, "def");
  turns(5);
  CHECK_INT(total, 3);
  CHECK(conn->is_full);
  CHECK_INT(conn->watched, 0);
  conn->is_full = 0; /* directly: the sweep sees it */
  CHECK(UNTIL(total == 6));
  hang_up(&p);
  loop_down();
}

LOOP_TEST(unread_input_is_bounded_and_goes_on_when_taken) {
  struct mg_limits l = mg_limits_default;
  static char junk[1 << 20];
  struct peer p;
  size_t at = 0;
  l.max_recv = 100000;
  up("tcp://127.0.0.1:0", &l);
  keep = true;
  p = dial(server);
  for (int i = 0; i < 300; i++) {
    say_more(&p, junk, sizeof(junk), &at);
    turns(1);
  }
  CHECK(conn->recv.len >= 100000 && conn->recv.len < 500000);
  keep = false;
  total = conn->recv.len;
  conn->recv.len = 0;
  CHECK(UNTIL(say_more(&p, junk, sizeof(junk), &at) && total == sizeof(junk)));
  hang_up(&p);
  loop_down();
}

LOOP_TEST(a_draining_connection_is_read_no_further) {
  static char junk[1 << 20];
  struct peer p;
  size_t at = 0;
  up("tcp://127.0.0.1:0", NULL);
  keep = true;
  p = dial_with(server, 4096);
  CHECK(UNTIL(accepted == 1));
  for (int i = 0; i < 8; i++) mg_send(conn, junk, sizeof(junk));
  conn->is_draining = 1;
  for (int i = 0; i < 100; i++) {
    say_more(&p, junk, sizeof(junk), &at);
    turns(1);
  }
  CHECK_INT(closes, 0);
  CHECK(conn->recv.len < 300000);
  hang_up(&p);
  loop_down();
}

/* As after a fork: epoll goes by the open file, which the copy keeps alive, and would report for a connection that is no more. */
TEST(a_copy_in_a_forked_process_does_not_keep_a_connection_ready) {
  struct peer p;
  struct pollfd pfd;
  int hold[2], state;
  pid_t child;
  char ch;
  up("tcp://127.0.0.1:0", NULL);
  p = dial(server);
  CHECK(UNTIL(accepted == 1));
  CHECK_INT(pipe(hold), 0);
  child = fork();
  if (child == 0) { /* keeps the copy until it is told to go */
    close(hold[1]);
    _exit(read(hold[0], &ch, 1) != 0);
  }
  conn->is_closing = 1;
  CHECK(UNTIL(closes == 1));
  say(&p, "anybody there?");
  pfd.fd = mg_mgr_fd(&mgr);
  pfd.events = POLLIN;
  CHECK_INT(poll(&pfd, 1, 50), 0); /* loopback: it was there before say() returned */
  close(hold[0]);
  close(hold[1]);
  CHECK(waitpid(child, &state, 0) == child);
  hang_up(&p);
  loop_down();
}

TEST(a_copy_of_an_adopted_descriptor_does_not_keep_its_connection_ready) {
  struct pollfd pfd;
  int sv[2], copy;
  struct mg_connection *c;
  up("tcp://127.0.0.1:0", NULL);
  CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
  copy = dup(sv[0]);
  c = mg_wrapfd(&mgr, sv[0], NULL, NULL);
  CHECK(c != NULL);
  turns(2);
  c->is_closing = 1;
  turns(3);
  CHECK_INT(write(sv[1], "x", 1), 1);
  pfd.fd = copy;
  pfd.events = POLLIN;
  CHECK_INT(poll(&pfd, 1, 10000), 1);
  pfd.fd = mg_mgr_fd(&mgr);
  CHECK_INT(poll(&pfd, 1, 0), 0);
  close(copy);
  close(sv[1]);
  loop_down();
}

/* ---- datagrams ---- */

LOOP_TEST(datagrams_of_several_peers_are_answered_each_by_itself) {
  struct sockaddr_in sin;
  struct peer p[3];
  up("udp://127.0.0.1:0", NULL);
  memset(&sin, 0, sizeof(sin));
  sin.sin_family = AF_INET;
  sin.sin_port = server->loc.port;
  sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < 3; i++) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK_INT(connect(fd, (struct sockaddr *) &sin, sizeof(sin)), 0);
    p[i] = peer_of(fd);
  }
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 3; i++) {
      char text[] = {(char) ('0' + round), (char) ('0' + i), 0};
      say(&p[i], text);
    }
  }
  CHECK(UNTIL(reads == 9));
  CHECK_MEM(order, strlen(order), "00|01|02|10|11|12|20|21|22|", 27);
  for (int i = 0; i < 3; i++) {
    char expected[8];
    for (int round = 0; round < 3; round++) {
      expected[2 * round] = (char) ('0' + round);
      expected[2 * round + 1] = (char) ('0' + i);
    }
    CHECK(UNTIL(pump(&p[i]) && p[i].len == 6));
    CHECK_MEM(p[i].buf, p[i].len, expected, 6);
    hang_up(&p[i]);
  }
  turns(1);
  CHECK(server->recv.buf == NULL);
  loop_down();
}

static int client_got;
static void on_udp_client(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  if (ev == MG_EV_CONNECT) mg_send(c, "ping", 4);
  if (ev == MG_EV_READ) client_got += c->recv.len == 4 && memcmp(c->recv.buf, "ping", 4) == 0;
}

LOOP_TEST(a_datagram_client_gets_its_answer) {
  char url[64];
  up("udp://127.0.0.1:0", NULL);
  client_got = 0;
  snprintf(url, sizeof(url), "udp://127.0.0.1:%d", port_of(server));
  CHECK(mg_connect(&mgr, url, on_udp_client, NULL) != NULL);
  CHECK(UNTIL(client_got == 1));
  loop_down();
}

LOOP_TEST(a_datagram_for_nobody_does_not_close_the_socket) {
  char url[64];
  struct mg_connection *c;
  up("udp://127.0.0.1:0", NULL);
  client_got = 0;
  snprintf(url, sizeof(url), "udp://127.0.0.1:%d", port_of(server));
  mg_close_conn(server);
  turns(1);
  c = mg_connect(&mgr, url, on_udp_client, NULL);
  for (int i = 0; i < 20; i++) {
    mg_mgr_poll(&mgr, 1);
    mg_send(c, "ping", 4);
  }
  CHECK(!c->is_closing && !c->is_dead);
  loop_down();
}

/* ---- accepting ---- */

LOOP_TEST(beyond_max_connections_accepting_waits_for_room) {
  struct mg_limits l = mg_limits_default;
  struct peer p[5];
  l.max_connections = 3;
  up("tcp://127.0.0.1:0", &l);
  for (int i = 0; i < 5; i++) p[i] = dial(server);
  CHECK(UNTIL(accepted == 3));
  turns(5);
  CHECK_INT(accepted, 3);
  CHECK(server->is_paused);
  CHECK_INT(mgr.npaused, 1);
  hang_up(&p[0]);
  CHECK(UNTIL(accepted == 4));
  hang_up(&p[1]);
  hang_up(&p[2]);
  CHECK(UNTIL(accepted == 5 && closes == 3));
  turns(3);
  CHECK_INT(connections_of(server), 2);
  CHECK(!server->is_paused && mgr.npaused == 0);
  hang_up(&p[3]);
  hang_up(&p[4]);
  loop_down();
}

LOOP_TEST(a_paused_listener_may_be_closed) {
  struct mg_limits l = mg_limits_default;
  struct peer p, q;
  l.max_connections = 1;
  up("tcp://127.0.0.1:0", &l);
  p = dial(server);
  q = dial(server);
  CHECK(UNTIL(server->is_paused));
  mg_close_conn(server);
  turns(3);
  CHECK_INT(mgr.npaused, 0);
  hang_up(&p);
  hang_up(&q);
  CHECK(UNTIL(closes == 1));
  loop_down();
}

/* In a child, since the descriptors of the whole process run out. */
static int without_descriptors(void) {
  struct rlimit rl;
  struct peer p[40];
  int spare[64], n = 0;
  uint64_t turns_before;
  check_failed = 0;
  up("tcp://127.0.0.1:0", NULL);
  for (int i = 0; i < 10; i++) p[i] = dial(server); /* wait in the kernel's queue */
  getrlimit(RLIMIT_NOFILE, &rl);
  rl.rlim_cur = 64;
  setrlimit(RLIMIT_NOFILE, &rl);
  while (n < 64 && (spare[n] = dup(0)) >= 0) n++;
  close(spare[--n]);
  close(spare[--n]); /* room for two */
  CHECK(UNTIL(server->is_paused));
  CHECK_INT(accepted, 2);
  mgr.sweep_ms = 0;
  turns(2);
  turns_before = mgr.stats.turns;
  for (int i = 0; i < 3; i++) mg_mgr_poll(&mgr, 60); /* each one sleeps, or is a pause that ends */
  CHECK(mgr.stats.accept_pauses <= 3);
  CHECK_INT(mgr.stats.turns, turns_before + 3);
  while (n > 0) close(spare[--n]);
  for (int i = 0; i < 3000 && accepted < 10; i++) mg_mgr_poll(&mgr, 5);
  CHECK_INT(accepted, 10);
  for (int i = 0; i < 10; i++) hang_up(&p[i]);
  loop_down();
  return check_failed;
}

LOOP_TEST(without_descriptors_accepting_pauses_and_does_not_spin) {
  int status = -1;
  pid_t pid = fork();
  if (pid == 0) _exit(without_descriptors() != 0);
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
  CHECK_INT(status, 0);
}

CHECK_MAIN
