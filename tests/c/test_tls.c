/* TLS between our loop and OpenSSL used by hand, byte by byte where that matters. Certificates are made by the test. */
#include "mongoose/loop/tls_openssl.h"
#include "tls_helpers.h"
#include "mongoose/proto/http.h"

TEST(a_build_says_whether_it_has_tls) {
  CHECK_INT(mg_tls_available(), MG_TLS == MG_TLS_OPENSSL);
}

#if MG_TLS == MG_TLS_NONE

static char s_said[400];

static void note_error(struct mg_connection *c, int ev, void *data) {
  struct mg_tls_opts opts;
  memset(&opts, 0, sizeof(opts));
  if (ev == MG_EV_ACCEPT) mg_tls_init(c, &opts);
  if (ev == MG_EV_ERROR) snprintf(s_said, sizeof(s_said), "%s", (char *) data);
}

LOOP_TEST(without_tls_whoever_asks_for_it_is_told_so) {
  struct mg_connection *lc;
  struct peer p;
  loop_up();
  CHECK(mg_http_listen(&mgr, "https://127.0.0.1:0", note_error, NULL) == NULL);
  CHECK_INT(mgr.status, MG_ETLS);
  CHECK(strstr(mgr.errmsg, "not part of this build") != NULL);
  CHECK(mg_connect(&mgr, "tls://127.0.0.1:1", note_error, NULL) == NULL);
  lc = mg_listen(&mgr, "tcp://127.0.0.1:0", note_error, NULL);
  p = dial(lc);
  CHECK(UNTIL(gone(&p)));
  CHECK(strstr(s_said, "not part of this build") != NULL);
  hang_up(&p);
  loop_down();
}

#else
/* ---- handlers ---- */

struct seen {
  char events[400]; /* names, in a row */
  char error[400];
  int status;
  size_t len;
  struct mg_connection *c;
};

static struct seen seen;

static void remember(struct mg_connection *c, int ev, void *data) {
  static const char *const names[] = {"error ", "open ", "", "resolve ", "connect ", "accept ", "tls ", "", "", "close "};
  if (c->is_listening) return;
  seen.c = ev == MG_EV_CLOSE ? NULL : c;
  if (ev >= 0 && ev < 10 && strlen(seen.events) < 300) strcat(seen.events, names[ev]);
  if (ev != MG_EV_ERROR) return;
  snprintf(seen.error, sizeof(seen.error), "%s", (char *) data);
  seen.status = c->status;
}

static void echo(struct mg_connection *c, int ev, void *data) {
  remember(c, ev, data);
  if (ev == MG_EV_READ) {
    seen.len += c->recv.len;
    mg_send(c, c->recv.buf, c->recv.len);
    c->recv.len = 0;
  }
}

static struct mg_connection *tls_listener(mg_event_handler_t fn, const struct mg_limits *limits) {
  struct mg_tls_opts tls = server_opts();
  struct mg_listen_opts o;
  struct mg_connection *lc;
  memset(&o, 0, sizeof(o));
  o.limits = limits;
  o.tls = &tls;
  loop_up();
  memset(&seen, 0, sizeof(seen));
  lc = mg_listen_with(&mgr, "tls://127.0.0.1:0", fn, NULL, &o);
  if (lc == NULL) {
    fprintf(stderr, "no listener: %s\n", mgr.errmsg);
    exit(2);
  }
  return lc;
}

/* ---- bytes ---- */

static void bytes_come_back(int version) {
  struct mg_connection *lc = tls_listener(echo, NULL);
  struct tpeer t = tdial(lc, version);
  struct mg_tls_info info;
  CHECK(UNTIL(shaken(&t)));
  tsay(&t, "hello", 5);
  CHECK(UNTIL(thas(&t, 5)));
  CHECK_MEM(t.got, t.len, "hello", 5);
  CHECK(strcmp(seen.events, "open accept tls ") == 0);
  CHECK(newest()->is_tls);
  CHECK(!newest()->is_tls_hs);
  CHECK(mg_tls_info_of(newest(), &info));
  CHECK(strcmp(info.version, version == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3") == 0);
  CHECK(mg_tls_peer_new(newest()) == NULL);
  newest()->is_draining = 1;
  CHECK(UNTIL(tgone(&t)));
  CHECK(t.closed);
  thang_up(&t);
  loop_down();
  CHECK(strcmp(seen.events, "open accept tls close ") == 0);
}

LOOP_TEST(bytes_come_back_in_tls_1_3) {
  bytes_come_back(TLS1_3_VERSION);
}

LOOP_TEST(bytes_come_back_in_tls_1_2) {
  bytes_come_back(TLS1_2_VERSION);
}

LOOP_TEST(a_connection_that_ends_without_a_word_is_no_error) {
  struct mg_connection *lc = tls_listener(echo, NULL);
  struct peer p = dial(lc);
  CHECK(UNTIL(newest() != NULL));
  hang_up(&p);
  CHECK(UNTIL(connections_of(lc) == 0));
  loop_down();
  CHECK(strcmp(seen.events, "open accept close ") == 0);
}

/* A queue of everything there is: copied bytes, memory by reference, files; to a peer with little room. */
enum { BIG = 3000000, FILE_LEN = 500000 };
static char *s_big;
static int s_file, s_dropped;

static void dropped(void *arg) {
  (void) arg;
  s_dropped++;
}

static char pattern(size_t i) {
  return (char) (i * 7 + (i >> 8) * 3 + (i >> 16));
}

static void pour(struct mg_connection *c, int ev, void *data) {
  int i;
  remember(c, ev, data);
  if (ev != MG_EV_TLS_HS) return;
  for (i = 0; i < 1000; i++) mg_send(c, s_big + i, 1);
  mg_send_ref(c, s_big + 1000, BIG - 1000, dropped, NULL);
  mg_send(c, s_big, 20000);
  mg_send_file(c, dup(s_file), 100, FILE_LEN - 100);
  mg_send(c, "end", 3);
  mg_send_ref(c, s_big, 10, dropped, NULL);
  mg_send_file(c, dup(s_file), 0, 1000);
  c->is_draining = 1;
}

LOOP_TEST(all_kinds_of_output_arrive_in_order) {
  struct mg_connection *lc = tls_listener(pour, NULL);
  struct tpeer t = tdial(lc, TLS1_3_VERSION);
  FILE *fp = tmpfile();
  size_t i, wrong = 0, len = BIG + 20000 + FILE_LEN - 100 + 3 + 10 + 1000;
  s_big = (char *) malloc(BIG);
  if (s_big == NULL || fp == NULL) abort();
  for (i = 0; i < BIG; i++) s_big[i] = pattern(i);
  CHECK_INT(fwrite(s_big, 1, FILE_LEN, fp), FILE_LEN);
  fflush(fp);
  s_file = fileno(fp);
  s_dropped = 0;
  while (!t.done) tpump(&t), mg_mgr_poll(&mgr, 1);
  for (i = 0; i < 30; i++) mg_mgr_poll(&mgr, 0); /* nobody reads: it has to stop in the middle of a record */
  CHECK(UNTIL(tgone(&t)));
  CHECK_INT(t.len, len);
  CHECK(t.closed);
  CHECK_INT(s_dropped, 2);
  if (t.len == len) {
    const char *p = t.got;
    for (i = 0; i < BIG; i++) wrong += *p++ != pattern(i);
    for (i = 0; i < 20000; i++) wrong += *p++ != pattern(i);
    for (i = 100; i < FILE_LEN; i++) wrong += *p++ != pattern(i);
    wrong += memcmp(p, "end", 3) != 0;
    p += 3;
    for (i = 0; i < 10; i++) wrong += *p++ != pattern(i);
    for (i = 0; i < 1000; i++) wrong += *p++ != pattern(i);
    CHECK_INT(wrong, 0);
  }
  thang_up(&t);
  loop_down();
  fclose(fp);
  free(s_big);
}

static void keep(struct mg_connection *c, int ev, void *data) {
  remember(c, ev, data);
  if (ev != MG_EV_READ) return;
  c->is_full = 1; /* after each read */
  seen.len = c->recv.len;
}

LOOP_TEST(what_tls_holds_is_read_on_although_the_socket_is_silent) {
  struct mg_connection *lc = tls_listener(keep, NULL);
  struct tpeer t = tdial(lc, TLS1_3_VERSION);
  size_t i, len = 300000;
  char *buf = (char *) malloc(len);
  if (buf == NULL) abort();
  for (i = 0; i < len; i++) buf[i] = pattern(i);
  CHECK(UNTIL(shaken(&t)));
  for (i = 0; i < len; i += 10000) SSL_write(t.ssl, buf + i, 10000);
  tflush(&t);
  for (i = 0; i < 2000 && seen.len < len; i++) {
    mg_mgr_poll(&mgr, 1);
    if (seen.c != NULL && seen.c->is_full) {
      seen.c->is_full = 0;
      mg_touch(seen.c);
    }
  }
  CHECK_INT(seen.len, len);
  if (seen.len == len) CHECK(memcmp(seen.c->recv.buf, buf, len) == 0);
  free(buf);
  thang_up(&t);
  loop_down();
}

/* ---- attackers ---- */

LOOP_TEST(an_altered_record_kills_the_session) {
  struct mg_connection *lc = tls_listener(echo, NULL);
  struct tpeer t = tdial(lc, TLS1_3_VERSION);
  char buf[1000];
  int n;
  CHECK(UNTIL(shaken(&t)));
  SSL_write(t.ssl, "pay alice", 9);
  n = BIO_read(t.out, buf, sizeof(buf));
  CHECK(n > 20);
  buf[n - 3] ^= 1;
  say_n(&t.p, buf, (size_t) n);
  CHECK(UNTIL(tgone(&t)));
  CHECK_INT(seen.len, 0);
  CHECK(strstr(seen.error, "bad record mac") != NULL);
  CHECK_INT(seen.status, MG_ETLS);
  thang_up(&t);
  loop_down();
}

LOOP_TEST(an_end_without_close_notify_shows) {
  struct mg_connection *lc = tls_listener(echo, NULL);
  struct tpeer t = tdial(lc, TLS1_3_VERSION);
  CHECK(UNTIL(shaken(&t)));
  tsay(&t, "half", 4);
  CHECK(UNTIL(thas(&t, 4)));
  newest()->is_full = 0;
  shutdown(t.p.fd, SHUT_WR);
  CHECK(UNTIL(seen.c == NULL || seen.c->is_eof));
  CHECK(seen.c == NULL || seen.c->is_truncated);
  CHECK(UNTIL(tgone(&t)));
  thang_up(&t);
  loop_down();
}

static const char *const s_hellos[] = {
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\x16\x03\x01\xff\xff\x01",
    "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x01",
    "\x16\x03\x01\x00\x04\x01\x00\x00\x01\x01\x01\x01\x01\x01\x01",
    "\x80\x2e\x01\x03\x01\x01\x15\x01\x01\x01\x10",
    "\x15\x03\x01\x00\x02\x02\x28",
    "\x17\x03\x03\x00\x05hello",
    "\x14\x03\x03\x00\x01\x01",
    "\x16\x05\x05\x00\x01\x01",
    "SSH-2.0-OpenSSH_9.2\r\n",
};

LOOP_TEST(malformed_hellos_are_refused) {
  struct mg_limits limits = mg_limits_default;
  struct mg_connection *lc;
  size_t i;
  limits.tls_timeout = 60; /* some of them are only short */
  lc = tls_listener(echo, &limits);
  for (i = 0; i < sizeof(s_hellos) / sizeof(s_hellos[0]); i++) {
    struct peer p = dial(lc);
    say(&p, s_hellos[i]);
    seen.error[0] = '\0';
    CHECK(UNTIL(gone(&p)));
    CHECK(seen.error[0] != '\0');
    hang_up(&p);
  }
  CHECK(UNTIL(connections_of(lc) == 0));
  loop_down();
}

/* Each byte of a good hello changed, one at a time: refused or talked to, and the loop lives. */
LOOP_TEST(changed_hellos_do_no_harm) {
  struct mg_limits limits = mg_limits_default;
  struct mg_connection *lc;
  struct tpeer t;
  char hello[2000];
  int len, i;
  limits.tls_timeout = 60;
  lc = tls_listener(echo, &limits);
  t = tdial(lc, TLS1_3_VERSION);
  SSL_do_handshake(t.ssl);
  len = BIO_read(t.out, hello, sizeof(hello));
  thang_up(&t);
  CHECK(len > 100);
  for (i = 0; i < len; i++) {
    struct peer p = dial(lc);
    char old = hello[i];
    hello[i] = (char) (i % 3 == 0 ? 0xff : i % 3 == 1 ? 0 : old ^ 0x10);
    say_n(&p, hello, (size_t) len);
    hello[i] = old;
    mg_mgr_poll(&mgr, 1);
    hang_up(&p);
  }
  CHECK(UNTIL(connections_of(lc) == 0));
  t = tdial(lc, TLS1_3_VERSION);
  CHECK(UNTIL(shaken(&t)));
  thang_up(&t);
  loop_down();
}

LOOP_TEST(a_handshake_that_takes_too_long_is_ended) {
  struct mg_limits limits = mg_limits_default;
  struct mg_connection *lc;
  struct peer p;
  limits.tls_timeout = 40;
  lc = tls_listener(echo, &limits);
  p = dial(lc);
  say_n(&p, "\x16\x03\x01", 3);
  CHECK(UNTIL(gone(&p)));
  CHECK(strstr(seen.error, "timed out") != NULL);
  CHECK_INT(seen.status, MG_ETIMEDOUT);
  CHECK(mgr.stats.timeouts > 0);
  hang_up(&p);
  loop_down();
}

/* ---- both sides ours ---- */

static struct mg_tls_opts s_client;
static char s_answer[100];

static void ask(struct mg_connection *c, int ev, void *data) {
  remember(c, ev, data);
  if (ev == MG_EV_CONNECT) {
    mg_tls_init(c, &s_client);
    mg_send(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 35);
  } else if (ev == MG_EV_HTTP_MSG) {
    struct mg_http_message *hm = (struct mg_http_message *) data;
    snprintf(s_answer, sizeof(s_answer), "%.*s", (int) hm->body.len, hm->body.buf);
    c->is_draining = 1;
  }
}

static void serve(struct mg_connection *c, int ev, void *data) {
  struct mg_tls_opts opts = server_opts();
  if (ev == MG_EV_ACCEPT) mg_tls_init(c, &opts);
  if (ev == MG_EV_HTTP_MSG) mg_http_reply(c, 200, "", "hello");
  (void) data;
}

static bool closed_again(void) {
  return strstr(seen.events, "close") != NULL;
}

static void ask_with(const char *host, const char *name, bool trusting) {
  char url[100];
  struct mg_connection *lc;
  loop_up();
  lc = mg_http_listen(&mgr, "https://127.0.0.1:0", serve, NULL);
  snprintf(url, sizeof(url), "https://%s:%u/", host, port_of(lc));
  memset(&s_client, 0, sizeof(s_client));
  memset(&seen, 0, sizeof(seen));
  s_answer[0] = '\0';
  make_cert();
  if (trusting) s_client.ca = mg_str(s_cert);
  s_client.name = mg_str(name);
  CHECK(mg_http_connect(&mgr, url, ask, NULL) != NULL);
  CHECK(UNTIL(closed_again()));
  loop_down();
}

LOOP_TEST(a_mongoose_program_speaks_https_to_itself) {
  ask_with("localhost", "localhost", true);
  CHECK(strcmp(s_answer, "hello") == 0);
  CHECK(strcmp(seen.events, "open resolve connect tls close ") == 0);
}

LOOP_TEST(the_name_to_verify_is_that_of_the_url_by_default) {
  ask_with("127.0.0.1", NULL, true);
  CHECK(strcmp(s_answer, "hello") == 0);
  ask_with("127.0.0.2", NULL, true);
  CHECK(strcmp(s_answer, "hello") != 0);
}

LOOP_TEST(a_wrong_name_is_refused) {
  ask_with("localhost", "elsewhere.example", true);
  CHECK(strcmp(s_answer, "") == 0);
  CHECK(strstr(seen.error, "hostname mismatch") != NULL);
  CHECK_INT(seen.status, MG_ETLS);
}

LOOP_TEST(who_is_not_trusted_is_refused) {
  ask_with("localhost", "localhost", false);
  CHECK(strcmp(s_answer, "") == 0);
  CHECK(strstr(seen.error, "certificate verify failed") != NULL);
}

/* ---- STARTTLS ---- */

static void starttls(struct mg_connection *c, int ev, void *data) {
  struct mg_tls_opts opts = server_opts();
  echo(c, ev, data);
  if (ev == MG_EV_ACCEPT) mg_send(c, "220 ready\r\n", 11);
  if (ev == MG_EV_ACCEPT) mg_tls_init(c, &opts); /* the line goes out in plain text */
}

LOOP_TEST(tls_begins_behind_plain_output) {
  struct mg_connection *lc;
  struct tpeer t;
  loop_up();
  memset(&seen, 0, sizeof(seen));
  lc = mg_listen(&mgr, "tcp://127.0.0.1:0", starttls, NULL);
  t = tdial(lc, TLS1_3_VERSION);
  CHECK(UNTIL(has(&t.p, "220 ready\r\n")));
  t.fed = 11;
  CHECK(UNTIL(shaken(&t)));
  tsay(&t, "x", 1);
  CHECK(UNTIL(thas(&t, 1)));
  thang_up(&t);
  loop_down();
}

static void starttls_late(struct mg_connection *c, int ev, void *data) {
  struct mg_tls_opts opts = server_opts();
  remember(c, ev, data);
  if (ev == MG_EV_READ) mg_tls_init(c, &opts);
}

LOOP_TEST(bytes_that_came_before_tls_are_not_taken_for_protected_ones) {
  struct mg_connection *lc;
  struct peer p;
  loop_up();
  memset(&seen, 0, sizeof(seen));
  lc = mg_listen(&mgr, "tcp://127.0.0.1:0", starttls_late, NULL);
  p = dial(lc);
  say(&p, "STARTTLS\r\nEVIL");
  CHECK(UNTIL(gone(&p)));
  CHECK(strstr(seen.error, "came before TLS") != NULL);
  hang_up(&p);
  loop_down();
}

/* ---- options ---- */

static struct mg_tls_ctx *try_opts(const struct mg_tls_opts *o, bool client, char err[MG_TLS_ERR]) {
  int status = 99;
  struct mg_tls_ctx *ctx = mg_tls_ctx_new(o, client, &status, err);
  CHECK((ctx != NULL) == (status == MG_OK));
  CHECK((ctx != NULL) == (err[0] == '\0'));
  return ctx;
}

TEST(every_cut_of_a_certificate_or_key_is_an_error_that_does_not_repeat_it) {
  struct mg_tls_opts o = server_opts();
  size_t i, n = o.cert.len;
  char err[MG_TLS_ERR];
  for (i = 1; i < n - 1; i += 3) {
    o.cert.len = i;
    CHECK(try_opts(&o, false, err) == NULL);
  }
  o.cert.len = n;
  for (i = 1; i + 2 < strlen(s_key); i += 3) {
    o.key.len = i;
    CHECK(try_opts(&o, false, err) == NULL);
    if (i > 60) CHECK(strstr(err, "MIGH") == NULL);
  }
  o.key = mg_str("MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0w"); /* without its frame: taken for a path, but not repeated */
  CHECK(try_opts(&o, false, err) == NULL);
  CHECK(strstr(err, "MIGH") == NULL);
  CHECK(strstr(err, "key: ") != NULL);
}

TEST(a_key_of_another_certificate_is_refused) {
  struct mg_tls_opts o = server_opts();
  char err[MG_TLS_ERR], other[1000];
  EVP_PKEY *key = EVP_EC_gen("P-256");
  BIO *bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
  other[BIO_read(bio, other, sizeof(other) - 1)] = '\0';
  BIO_free(bio);
  EVP_PKEY_free(key);
  o.key = mg_str(other);
  CHECK(try_opts(&o, false, err) == NULL);
  CHECK(strstr(err, "key") != NULL);
}

TEST(junk_in_options_is_an_error) {
  char err[MG_TLS_ERR], junk[64];
  struct mg_tls_opts o = server_opts();
  size_t i;
  for (i = 0; i < sizeof(junk); i++) junk[i] = (char) (i * 37);
  o.ca = mg_str_n(junk, sizeof(junk));
  CHECK(try_opts(&o, false, err) == NULL);
  o.ca = mg_str("-----BEGIN CERTIFICATE-----\n\x80\xff====\n-----END CERTIFICATE-----\n");
  CHECK(try_opts(&o, false, err) == NULL);
  o.ca = mg_str("/does/not/exist.pem");
  CHECK(try_opts(&o, true, err) == NULL);
  CHECK(strstr(err, "/does/not/exist.pem") != NULL);
  o = server_opts();
  o.ciphers = mg_str("NO-SUCH-CIPHER");
  CHECK(try_opts(&o, false, err) == NULL);
  o = server_opts();
  o.alpn = mg_str("a,,b");
  CHECK(try_opts(&o, false, err) == NULL);
  o = server_opts();
  o.ocsp = mg_str("\x30\x03\x0a\x01");
  CHECK(try_opts(&o, false, err) == NULL);
  o = server_opts();
  o.client_auth = MG_TLS_AUTH_REQUIRED;
  CHECK(try_opts(&o, false, err) == NULL);
}

/* ---- tickets ---- */

enum { HOUR = 3600 * 1000 };

static bool is_nowhere(const struct mg_tls_tickets *t, const struct mg_tls_ticket_key *k) {
  for (int i = 0; i < 3; i++) {
    if (memcmp(t->keys[i].cipher, k->cipher, sizeof(k->cipher)) == 0) return false;
    if (memcmp(t->keys[i].mac, k->mac, sizeof(k->mac)) == 0) return false;
  }
  return true;
}

TEST(ticket_keys_seal_for_an_hour_and_open_for_two_more) {
  struct mg_tls_tickets *t = mg_tls_tickets_new();
  struct mg_tls_ticket_key first = t->keys[0];
  uint64_t born = first.born;
  CHECK(mg_tls_tickets_rotate(t, born + HOUR - 1));
  CHECK(memcmp(&t->keys[0], &first, sizeof(first)) == 0);
  for (int i = 1; i <= 2; i++) {
    born = t->keys[0].born;
    CHECK(mg_tls_tickets_rotate(t, born + HOUR));
    CHECK(memcmp(&t->keys[i], &first, sizeof(first)) == 0);
    CHECK(memcmp(t->keys[0].cipher, t->keys[1].cipher, sizeof(first.cipher)) != 0);
    CHECK(memcmp(t->keys[0].name, t->keys[1].name, sizeof(first.name)) != 0);
  }
  CHECK(mg_tls_tickets_rotate(t, t->keys[0].born + HOUR));
  CHECK(is_nowhere(t, &first));
  mg_tls_tickets_drop(t);
}

TEST(a_ticket_key_that_nobody_used_for_long_opens_nothing) {
  struct mg_tls_tickets *t = mg_tls_tickets_new();
  struct mg_tls_ticket_key first = t->keys[0];
  CHECK(mg_tls_tickets_rotate(t, first.born + 4 * (uint64_t) HOUR));
  CHECK(is_nowhere(t, &first));
  CHECK(t->keys[0].born != 0 && t->keys[1].born == 0 && t->keys[2].born == 0);
  mg_tls_tickets_drop(t);
}

static SSL_SESSION *s_given; /* in TLS 1.3 tickets come behind the handshake */

static int on_session(SSL *ssl, SSL_SESSION *session) {
  (void) ssl;
  SSL_SESSION_free(s_given);
  s_given = session;
  return 1;
}

static bool resumable(struct tpeer *t) {
  return shaken(t) && (s_given != NULL || (SSL_version(t->ssl) == TLS1_2_VERSION && SSL_SESSION_is_resumable(SSL_get0_session(t->ssl))));
}

/* Dials with a session that may be NULL; the one it has afterwards. */
static SSL_SESSION *comes_again(struct mg_connection *lc, int version, SSL_SESSION *session, bool resumed) {
  struct tpeer t = tdial(lc, version);
  SSL_SESSION *next;
  SSL_CTX_set_session_cache_mode(t.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(t.ctx, on_session);
  if (session != NULL) CHECK(SSL_set_session(t.ssl, session) == 1);
  CHECK(UNTIL(resumable(&t)));
  CHECK_INT(SSL_session_reused(t.ssl), resumed);
  next = s_given != NULL ? s_given : SSL_get1_session(t.ssl);
  s_given = NULL;
  SSL_SESSION_free(session);
  SSL_set_shutdown(t.ssl, SSL_SENT_SHUTDOWN); /* of a connection that just ends the session would be bad */
  thang_up(&t);
  return next;
}

static void tickets_by_the_hour(int version) {
  struct mg_connection *lc = tls_listener(echo, NULL);
  struct mg_tls_tickets *keys = lc->listener->tls->tickets;
  SSL_SESSION *session = comes_again(lc, version, NULL, false), *old;
  session = comes_again(lc, version, session, true);
  CHECK(mg_tls_tickets_rotate(keys, keys->keys[0].born + HOUR));
  old = SSL_SESSION_dup(session);
  session = comes_again(lc, version, session, true); /* opened by the key before, and sealed anew */
  for (int i = 0; i < 2; i++) CHECK(mg_tls_tickets_rotate(keys, keys->keys[0].born + HOUR));
  session = comes_again(lc, version, session, true);
  old = comes_again(lc, version, old, false); /* too old: a whole handshake, and no error */
  SSL_SESSION_free(session);
  SSL_SESSION_free(old);
  CHECK(strstr(seen.events, "error") == NULL);
  loop_down();
}

LOOP_TEST(tickets_of_the_hours_before_are_renewed_in_tls_1_3) {
  tickets_by_the_hour(TLS1_3_VERSION);
}

LOOP_TEST(tickets_of_the_hours_before_are_renewed_in_tls_1_2) {
  tickets_by_the_hour(TLS1_2_VERSION);
}

TEST(equal_options_share_a_context) {
  struct mg_tls_opts o = server_opts();
  struct mg_tls_ctx *a, *b, *other;
  char err[MG_TLS_ERR];
  int status;
  loop_up();
  a = mg_tls_ctx_get(&mgr, &o, false, &status, err);
  b = mg_tls_ctx_get(&mgr, &o, false, &status, err);
  o.tls13_only = true;
  other = mg_tls_ctx_get(&mgr, &o, false, &status, err);
  CHECK(a != NULL && a == b && other != NULL && other != a);
  mg_tls_ctx_drop(a);
  mg_tls_ctx_drop(b);
  mg_tls_ctx_drop(other);
  loop_down();
}

TEST(a_listener_without_certificate_is_refused) {
  struct mg_tls_opts o;
  struct mg_listen_opts lo;
  memset(&o, 0, sizeof(o));
  memset(&lo, 0, sizeof(lo));
  lo.tls = &o;
  loop_up();
  CHECK(mg_listen_with(&mgr, "tls://127.0.0.1:0", echo, NULL, &lo) == NULL);
  CHECK(strstr(mgr.errmsg, "certificate") != NULL);
  CHECK(mg_listen_with(&mgr, "udp://127.0.0.1:0", echo, NULL, &lo) == NULL);
  CHECK_INT(mgr.nconns, 0);
  loop_down();
}

#if MG_ENABLE_ALLOC_FAULTS
TEST(a_context_without_memory_is_an_error_and_leaks_nothing) {
  struct mg_tls_opts o = server_opts();
  long n;
  for (n = 1; n < 40; n++) {
    char err[MG_TLS_ERR];
    int status;
    struct mg_tls_ctx *ctx;
    mg_alloc_fail_at(n);
    ctx = mg_tls_ctx_new(&o, false, &status, err);
    mg_alloc_fail_at(0);
    mg_tls_ctx_drop(ctx);
    if (ctx != NULL) break;
    CHECK(status < 0);
  }
  CHECK(n > 3 && n < 40);
}
#endif
#endif

CHECK_MAIN
