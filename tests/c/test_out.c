#ifdef __linux__
#include <linux/tcp.h> /* all of struct tcp_info */
#endif
#include "loop_helpers.h"

static struct mg_connection *server, *conn;
static int closes, dones, writes, accepted;
static long written;

static void done(void *arg) {
  (*(int *) arg)++;
}

static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_ACCEPT) {
    conn = c;
    accepted++;
  }
  if (ev == MG_EV_WRITE && c->is_accepted) {
    writes++;
    written += *(long *) ev_data;
  }
  if (ev == MG_EV_CLOSE && c->is_accepted) {
    closes++;
    conn = NULL;
  }
}

static struct peer up_with(const struct mg_limits *l, int rcvbuf) {
  struct mg_listen_opts opts;
  struct peer p;
  memset(&opts, 0, sizeof(opts));
  opts.limits = l;
  loop_up();
  closes = dones = writes = accepted = 0;
  written = 0;
  server = mg_listen_with(&mgr, "tcp://127.0.0.1:0", on_event, NULL, &opts);
  p = dial_with(server, rcvbuf);
  CHECK(UNTIL(accepted == 1));
  return p;
}

static struct peer up(void) {
  return up_with(NULL, 0);
}

static void down(struct peer *p) {
  hang_up(p);
  loop_down();
}

static char *pattern(size_t len, uint32_t x) {
  char *s = (char *) malloc(len + 1);
  for (size_t i = 0; i < len; i++) {
    x = x * 1664525u + 1013904223u;
    s[i] = (char) (x >> 24);
  }
  return s;
}

static int file_of(const char *bytes, size_t len) {
  FILE *f = tmpfile();
  int fd = f != NULL ? dup(fileno(f)) : -1;
  size_t at = 0;
  while (at < len) {
    ssize_t n = write(fd, bytes + at, len - at);
    if (n <= 0) abort();
    at += (size_t) n;
  }
  fclose(f);
  return fd;
}

#ifdef __linux__
LOOP_TEST(the_last_bytes_and_the_end_of_the_stream_are_one_segment) {
  struct peer p = up();
  struct tcp_info info;
  socklen_t len = sizeof(info);
  mg_send(conn, "bye", 3);
  conn->is_draining = 1;
  mg_touch(conn);
  CHECK(UNTIL(closes == 1));
  CHECK(gone(&p));
  CHECK_INT(getsockopt(p.fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
  CHECK_INT(info.tcpi_data_segs_in, 1);
  CHECK_INT(info.tcpi_segs_in, 2); /* with the answer to our SYN; an end of its own would be a third */
  down(&p);
}
#endif

LOOP_TEST(bytes_arrive_and_the_buffer_goes_back) {
  struct peer p = up();
  CHECK(mg_send(conn, "a\0b", 3));
  CHECK(mg_send(conn, "", 0));
  CHECK_INT(mg_unsent(conn), 3);
  CHECK(UNTIL(pump(&p) && p.len == 3));
  CHECK_MEM(p.buf, p.len, "a\0b", 3);
  CHECK_INT(mg_unsent(conn), 0);
  CHECK(conn->send.buf == NULL);
  CHECK_INT(written, 3);
  down(&p);
}

/* 64 MiB in pieces of every kind, to a peer that reads now and then. */
LOOP_TEST(a_slow_reader_gets_every_byte_in_its_place) {
  enum { TOTAL = 64 << 20 };
  struct peer p = up_with(NULL, 65536);
  char *all = pattern(TOTAL, 7);
  size_t at = 0, got = 0;
  int fd = file_of(all, TOTAL), kind = 0, refs = 0, wrong = 0;
  uint32_t x = 99;
  bool blocked = false;
  while (at < TOTAL) {
    size_t n;
    x = x * 1664525u + 1013904223u;
    n = kind % 7 == 6 ? 1 + (x >> 12) % 3000000 : 1 + (x >> 16) % 60000;
    if (n > TOTAL - at) n = TOTAL - at;
    if (kind % 3 == 0) {
      CHECK(mg_send(conn, all + at, n));
    } else if (kind % 3 == 1) {
      refs++;
      CHECK(mg_send_ref(conn, all + at, n, done, &dones));
    } else {
      CHECK(mg_send_file(conn, dup(fd), (int64_t) at, n));
    }
    at += n;
    kind++;
  }
  CHECK_INT(mg_unsent(conn), TOTAL);
  for (int i = 0; i < 200000 && got < TOTAL; i++) {
    mg_mgr_poll(&mgr, 0);
    blocked |= (conn->watched & MG_POLL_WRITE) != 0;
    if (i % 3 == 0) pump_some(&p, 200000);
    if (p.len > 0 && memcmp(p.buf, all + got, p.len) != 0) wrong++;
    got += p.len;
    p.len = 0;
  }
  CHECK_INT(got, TOTAL);
  CHECK_INT(wrong, 0);
  CHECK(blocked);
  turns(2);
  CHECK_INT(dones, refs);
  CHECK_INT(mg_unsent(conn), 0);
  CHECK(conn->send.buf == NULL && conn->segs == NULL && conn->last_seg == NULL && conn->tail_start == 0);
  CHECK_INT(conn->watched, MG_POLL_READ);
  CHECK_INT(written, TOTAL);
  close(fd);
  free(all);
  down(&p);
}

LOOP_TEST(what_follows_in_a_chunk_is_one_piece_with_what_is_before_it) {
  struct peer p = up();
  struct mg_chunk *k = mg_chunk_new(12), *other = mg_chunk_new(4);
  char *at = k->data;
  memcpy(at, "abcdefghijkl", 12);
  memcpy(other->data, "wxyz", 4);
  CHECK(mg_send_chunk(conn, k, at, 3) && mg_send_chunk(conn, k, at + 3, 3));
  CHECK(conn->segs == conn->last_seg && conn->segs->len == 6);
  CHECK_INT(mg_unsent(conn), 6);
  CHECK(mg_send_chunk(conn, k, at + 7, 1)); /* not what follows */
  CHECK(mg_send(conn, "-", 1));
  CHECK(mg_send_chunk(conn, k, at + 8, 1)); /* it follows, but there is something between */
  CHECK(mg_send_chunk(conn, other, other->data, 2) && mg_send_chunk(conn, other, other->data + 2, 2));
  CHECK_INT(mg_unsent(conn), 13);
  CHECK(mg_chunk_shared(k) && mg_chunk_shared(other));
  CHECK(UNTIL(has(&p, "abcdefh-iwxyz")));
  CHECK(!mg_chunk_shared(k) && !mg_chunk_shared(other));
  CHECK(mg_send_chunk(conn, k, at, 3));
  mg_close_conn(conn);
  CHECK(!mg_send_chunk(conn, k, at + 3, 3)); /* dead */
  CHECK(UNTIL(closes == 1));
  CHECK(!mg_chunk_shared(k));
  mg_chunk_drop(k);
  mg_chunk_drop(other);
  down(&p);
}

LOOP_TEST(references_are_given_back_once_on_every_path) {
  static char big[8 << 20];
  struct peer p = up();
  struct mg_connection *udp;
  CHECK(mg_send_ref(conn, "x", 1, done, &dones)); /* sent */
  CHECK(UNTIL(pump(&p) && p.len == 1));
  CHECK_INT(dones, 1);
  CHECK(mg_send_ref(conn, "x", 0, done, &dones)); /* nothing to send */
  CHECK_INT(dones, 2);
  CHECK(mg_send_ref(conn, big, sizeof(big), done, &dones)); /* sent in part, then closed */
  turns(3);
  CHECK_INT(dones, 2);
  CHECK(mg_unsent(conn) > 0 && mg_unsent(conn) < sizeof(big));
  mg_alloc_fail_at(1);
  CHECK(!mg_send_ref(conn, "x", 1, done, &dones)); /* out of memory */
  mg_alloc_fail_at(0);
  CHECK_INT(dones, 3);
  conn->is_closing = 1;
  CHECK(UNTIL(closes == 1));
  CHECK_INT(dones, 4);
  udp = mg_connect(&mgr, "udp://127.0.0.1:9", NULL, NULL);
  mg_send_ref(udp, "x", 1, done, &dones); /* no stream */
  CHECK_INT(dones, 5);
  mg_close_conn(udp);
  CHECK(!mg_send_ref(udp, "x", 1, done, &dones)); /* dead */
  CHECK_INT(dones, 6);
  CHECK(!mg_send(udp, "x", 1));
  down(&p);
  CHECK_INT(dones, 6);
}

LOOP_TEST(references_of_a_peer_that_reset_are_given_back) {
  static char big[8 << 20];
  struct peer p = up();
  struct linger l = {1, 0};
  CHECK(mg_send_ref(conn, big, sizeof(big), done, &dones));
  CHECK(mg_send_file(conn, file_of("abc", 3), 0, 3));
  turns(3);
  setsockopt(p.fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
  hang_up(&p);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(dones, 1);
  down(&p);
}

LOOP_TEST(a_file_shorter_than_promised_closes) {
  struct peer p = up();
  mg_send(conn, "head ", 5);
  CHECK(mg_send_file(conn, file_of("0123456789", 10), 2, 100));
  mg_send(conn, "never", 5);
  CHECK(UNTIL(gone(&p)));
  CHECK_MEM(p.buf, p.len, "head 23456789", 13);
  down(&p);
}

LOOP_TEST(too_much_output_chokes_until_it_has_sunk) {
  struct mg_limits l = mg_limits_default;
  char *data = pattern(8 << 20, 3);
  struct peer p;
  bool sank = false;
  int before;
  l.send_high = 6 << 20;
  l.send_low = 1 << 20;
  p = up_with(&l, 4096);
  mg_send(conn, data, 6 << 20);
  CHECK(conn->is_choked);
  conn->ask = 0; /* who was choked is told, asked or not */
  turns(3);
  before = writes;
  for (int i = 0; i < 100000 && p.len < (6 << 20); i++) {
    mg_mgr_poll(&mgr, 0);
    pump_some(&p, 100000);
    if (mg_unsent(conn) > l.send_low) CHECK(conn->is_choked);
    if (!conn->is_choked) sank = true;
  }
  CHECK(sank && !conn->is_choked);
  CHECK_INT(writes, before + 1);
  CHECK(p.len == 6 << 20 && memcmp(p.buf, data, p.len) == 0);
  free(data);
  down(&p);
}

LOOP_TEST(a_peer_that_takes_nothing_is_reset) {
  static char big[8 << 20];
  struct mg_limits l = mg_limits_default;
  struct peer p;
  l.send_timeout = 5;
  p = up_with(&l, 4096);
  mg_send_ref(conn, big, sizeof(big), done, &dones);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(dones, 1);
  CHECK_INT(mgr.stats.timeouts, 1);
  CHECK(UNTIL(gone(&p)));
  CHECK_INT(p.err, ECONNRESET);
  down(&p);
}

LOOP_TEST(without_a_send_timeout_nobody_is_cut_off) {
  static char big[8 << 20];
  struct mg_limits l = mg_limits_default;
  struct peer p;
  l.send_timeout = 0;
  p = up_with(&l, 4096);
  mg_send_ref(conn, big, sizeof(big), done, &dones);
  turns(2);
  mg_read_due(conn, mgr.now + 100000); /* another deadline of the same connection */
  for (int i = 0; i < 80; i++) mg_mgr_poll(&mgr, 1);
  CHECK_INT(closes, 0);
  for (int i = 0; i < 100000 && p.len < sizeof(big); i++) {
    mg_mgr_poll(&mgr, 0);
    pump(&p);
  }
  CHECK_INT(p.len, sizeof(big));
  down(&p);
}

LOOP_TEST(draining_sends_what_is_queued_to_a_peer_that_closed_his_side) {
  char *data = pattern(8 << 20, 5);
  struct peer p = up();
  mg_send(conn, data, 8 << 20);
  shutdown(p.fd, SHUT_WR); /* end of input with output pending */
  for (int i = 0; i < 100000 && !gone(&p); i++) mg_mgr_poll(&mgr, 1);
  CHECK_INT(p.err, 0);
  CHECK(p.len == 8 << 20 && memcmp(p.buf, data, p.len) == 0);
  free(data);
  down(&p);
}

LOOP_TEST(output_sets_are_joined_in_order) {
  for (int mask = 0; mask < 64; mask++) { /* bytes, segment, bytes in each of two sets */
    struct peer p = up();
    struct mg_out o;
    char expected[32] = "";
    memset(&o, 0, sizeof(o));
    dones = 0;
    mg_out_swap(conn, &o);
    for (int i = 3; i < 6; i++) {
      char text[2] = {(char) ('a' + i), 0};
      static const char names[] = "abcdef";
      if (!(mask >> i & 1)) continue;
      if (i % 3 == 1) {
        mg_send_ref(conn, names + i, 1, done, &dones);
      } else {
        mg_send(conn, text, 1);
      }
    }
    mg_out_swap(conn, &o);
    for (int i = 0; i < 6; i++) {
      char text[2] = {(char) ('a' + i), 0};
      static const char names[] = "abcdef";
      if (!(mask >> i & 1)) continue;
      strcat(expected, text);
      if (i >= 3) continue;
      if (i == 1) {
        mg_send_ref(conn, names + i, 1, done, &dones);
      } else {
        mg_send(conn, text, 1);
      }
    }
    CHECK(mg_out_append(conn, &o));
    CHECK(mg_send(conn, "!", 1));
    strcat(expected, "!");
    CHECK_INT(mg_unsent(conn), strlen(expected));
    CHECK(UNTIL(has(&p, "!")));
    CHECK_MEM(p.buf, p.len, expected, strlen(expected));
    CHECK_INT(dones, (mask >> 1 & 1) + (mask >> 4 & 1));
    CHECK(o.buf.buf == NULL && o.segs == NULL);
    down(&p);
  }
}

CHECK_MAIN
