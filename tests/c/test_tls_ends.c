/* TLS where something ends or is in the way: full sockets, peers that hang up, servers that fall silent. */
#include "tls_helpers.h"
#include "mongoose/proto/http.h"
#include "mongoose/proto/ws.h"

#if MG_TLS == MG_TLS_OPENSSL

static struct mg_connection *s_conn;
static size_t s_heard, s_send;
static int s_status;
static char s_error[300];
static bool s_up;

/* A server's side of a socket pair with little room; the peer's is t->p.fd. */
static void pair_up(struct tpeer *t, mg_event_handler_t fn, int version) {
  struct mg_tls_opts o = server_opts();
  struct mg_tls_ctx *ctx;
  char err[MG_TLS_ERR];
  int sv[2], status, small = 4096;
  s_heard = 0;
  s_up = false;
  CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
  setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
  memset(t, 0, sizeof(*t));
  t->p = peer_of(sv[1]);
  twrap(t, version);
  s_conn = mg_wrapfd(&mgr, sv[0], fn, NULL);
  ctx = mg_tls_ctx_get(&mgr, &o, false, &status, err);
  CHECK(ctx != NULL && mg_tls_attach(s_conn, ctx, NULL));
  mg_tls_ctx_drop(ctx);
}

static void say_it_and_go(struct mg_connection *c, int ev, void *data) {
  static char bytes[1 << 16];
  (void) data;
  if (ev == MG_EV_TLS_HS) {
    s_up = true;
    mg_send(c, bytes, s_send);
    c->is_draining = 1;
  } else if (ev == MG_EV_READ) {
    s_heard += c->recv.len;
    c->recv.len = 0;
  } else if (ev == MG_EV_CLOSE) {
    s_conn = NULL;
  }
}

/* RFC 8446 6.1: without it the peer has to take the answer for one that was cut, wherever the socket happened to be full. */
static void polite_end(int version) {
  loop_up();
  for (s_send = 500; s_send < 40000; s_send += 977) {
    struct tpeer t;
    pair_up(&t, say_it_and_go, version);
    while (!s_up && tpump(&t)) mg_mgr_poll(&mgr, 0);
    turns(3); /* as much as fits, and nobody reads */
    CHECK(UNTIL(tgone(&t)));
    CHECK_INT(t.len, s_send);
    CHECK(t.closed);
    CHECK(UNTIL(s_conn == NULL));
    thang_up(&t);
  }
  loop_down();
}

LOOP_TEST(the_end_is_polite_even_when_the_socket_is_full) {
  polite_end(TLS1_3_VERSION);
}

LOOP_TEST(the_end_is_polite_even_when_the_socket_is_full_in_tls_1_2) {
  polite_end(TLS1_2_VERSION);
}

static void hear(struct mg_connection *c, int ev, void *data) {
  (void) data;
  if (ev == MG_EV_READ) {
    s_heard += c->recv.len;
    c->recv.len = 0;
  } else if (ev == MG_EV_CLOSE) {
    s_conn = NULL;
  }
}

/* The client's last words of the handshake and its first request come together, and our tickets have no room to go. */
LOOP_TEST(what_came_with_the_end_of_the_handshake_is_read_though_tickets_wait) {
  char junk[1024] = "";
  struct tpeer t;
  int fd;
  loop_up();
  pair_up(&t, hear, TLS1_3_VERSION);
  fd = (int) (size_t) s_conn->fd;
  while (SSL_do_handshake(t.ssl) != 1) {
    pump(&t.p);
    if (t.p.len > t.fed) t.fed += (size_t) BIO_write(t.in, t.p.buf + t.fed, (int) (t.p.len - t.fed));
    if (SSL_is_init_finished(t.ssl)) break;
    tflush(&t);
    mg_mgr_poll(&mgr, 0);
  }
  CHECK_INT(SSL_write(t.ssl, "hello", 5), 5);
  while (send(fd, junk, sizeof(junk), MSG_NOSIGNAL) > 0) continue;
  tflush(&t); /* Finished and "hello" */
  turns(3);
  CHECK(s_conn->is_tls_hs); /* else the test tests nothing */
  CHECK(UNTIL((pump(&t.p), s_heard == 5)));
  thang_up(&t);
  CHECK(UNTIL(s_conn == NULL));
  loop_down();
}

/* ---- a server by hand ---- */

struct tserver {
  int lfd, fd;
  SSL_CTX *ctx;
  SSL *ssl;
  unsigned short port;
};

static void tserver_up(struct tserver *s) {
  struct sockaddr_in sin;
  socklen_t len = sizeof(sin);
  BIO *b;
  EVP_PKEY *key;
  X509 *x;
  make_cert();
  memset(s, 0, sizeof(*s));
  memset(&sin, 0, sizeof(sin));
  sin.sin_family = AF_INET;
  sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  s->fd = -1;
  s->lfd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(s->lfd, (struct sockaddr *) &sin, sizeof(sin)) == 0 && listen(s->lfd, 5) == 0);
  getsockname(s->lfd, (struct sockaddr *) &sin, &len);
  s->port = ntohs(sin.sin_port);
  nonblocking(s->lfd);
  s->ctx = SSL_CTX_new(TLS_server_method());
  b = BIO_new_mem_buf(s_cert, -1);
  x = PEM_read_bio_X509(b, NULL, NULL, NULL);
  BIO_free(b);
  b = BIO_new_mem_buf(s_key, -1);
  key = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
  BIO_free(b);
  CHECK(SSL_CTX_use_certificate(s->ctx, x) == 1 && SSL_CTX_use_PrivateKey(s->ctx, key) == 1);
  X509_free(x);
  EVP_PKEY_free(key);
}

static void tserver_takes(struct tserver *s, int fd) {
  nonblocking(fd);
  s->fd = fd;
  s->ssl = SSL_new(s->ctx);
  SSL_set_fd(s->ssl, fd);
  SSL_set_accept_state(s->ssl);
}

static bool tserver_shaken(struct tserver *s) {
  int fd = s->fd < 0 ? accept(s->lfd, NULL, NULL) : -1;
  if (fd >= 0) tserver_takes(s, fd);
  return s->fd >= 0 && SSL_do_handshake(s->ssl) == 1;
}

static void tserver_down(struct tserver *s) {
  SSL_free(s->ssl);
  SSL_CTX_free(s->ctx);
  if (s->fd >= 0) close(s->fd);
  close(s->lfd);
  ERR_clear_error();
}

static struct mg_tls_opts s_any;

static void upload(struct mg_connection *c, int ev, void *data) {
  static char body[1 << 20];
  if (ev == MG_EV_CONNECT) {
    s_any.skip_verification = 1;
    mg_tls_init(c, &s_any);
  } else if (ev == MG_EV_TLS_HS) {
    int i;
    mg_http_expect(c, 0, 0);
    mg_send(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16777216\r\n\r\n", 62);
    for (i = 0; i < 16; i++) mg_send(c, body, sizeof(body));
  } else if (ev == MG_EV_HTTP_MSG) {
    s_status = mg_http_status((struct mg_http_message *) data);
  } else if (ev == MG_EV_ERROR) {
    snprintf(s_error, sizeof(s_error), "%s", (char *) data);
  } else if (ev == MG_EV_CLOSE) {
    s_conn = NULL;
  }
}

/* The answer is in our socket when our next write meets the hang-up. It counts, as it does in plain text. */
LOOP_TEST(an_answer_before_the_server_hung_up_counts) {
  static const char answer[] = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n";
  struct mg_connection *http;
  struct tserver s;
  char some[1000];
  int sv[2];
  loop_up();
  s_status = 0;
  tserver_up(&s);
  CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
  http = mg_http_connect(&mgr, "http://127.0.0.1:9", NULL, NULL); /* for its protocol */
  s_conn = mg_wrapfd(&mgr, sv[0], upload, NULL);
  CHECK(http != NULL && s_conn != NULL);
  s_conn->is_client = 1;
  s_conn->pfn = http->pfn;
  s_conn->proto = http->proto;
  http->is_closing = 1;
  upload(s_conn, MG_EV_CONNECT, NULL);
  tserver_takes(&s, sv[1]);
  CHECK(UNTIL(tserver_shaken(&s)));
  CHECK(UNTIL(SSL_read(s.ssl, some, sizeof(some)) > 0));
  mg_mgr_wait(&mgr, 0);
  mg_mgr_dispatch(&mgr);
  CHECK_INT(SSL_write(s.ssl, answer, sizeof(answer) - 1), sizeof(answer) - 1);
  while (recv(sv[1], some, sizeof(some), 0) > 0) continue; /* room for our next write, which finds nobody */
  shutdown(sv[1], SHUT_RD);
  if (s_conn != NULL) mg_touch(s_conn);
  mg_mgr_flush(&mgr);
  CHECK(UNTIL(s_status != 0 || s_conn == NULL));
  CHECK_INT(s_status, 413);
  tserver_down(&s);
  CHECK(UNTIL(s_conn == NULL));
  loop_down();
}

static void ws_client(struct mg_connection *c, int ev, void *data) {
  if (ev == MG_EV_CONNECT) {
    s_any.skip_verification = 1;
    mg_tls_init(c, &s_any);
  } else if (ev == MG_EV_ERROR) {
    snprintf(s_error, sizeof(s_error), "%s", (char *) data);
  } else if (ev == MG_EV_CLOSE) {
    s_conn = NULL;
  }
}

LOOP_TEST(a_websocket_server_that_only_shakes_hands_is_given_up) {
  struct tserver s;
  char url[60];
  loop_up();
  s_error[0] = '\0';
  tserver_up(&s);
  snprintf(url, sizeof(url), "wss://127.0.0.1:%u/", s.port);
  s_conn = mg_ws_connect(&mgr, url, ws_client, NULL, NULL);
  CHECK(s_conn != NULL);
  s_conn->listener->limits.connect_timeout = 60;
  CHECK(UNTIL(tserver_shaken(&s)));
  CHECK(UNTIL(s_conn == NULL));
  CHECK(strcmp(s_error, "WebSocket handshake timed out") == 0);
  tserver_down(&s);
  loop_down();
}
#endif

CHECK_MAIN
