/* fuzz_tls.c - what a client says to a TLS server over a socket pair: the input itself, or a good client's bytes changed by it.
 *
 * Invariant: the server never crashes; it says TLS records and nothing else; it hears a request only behind a handshake that the client
 * finished, too; once the client has ended, the connection closes and leaves nothing. The first byte: 1 the input is all the client says,
 * else it is changes of three bytes each (where in the client's bytes, and what to xor there); 2 TLS 1.2.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "mongoose/base/log.h"
#include "mongoose/loop/tls.h"
#include "mongoose/proto/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#if MG_TLS == MG_TLS_OPENSSL
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#define MUST(cond) do { if (!(cond)) abort(); } while (0)

static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

static struct mg_mgr mgr;
static struct mg_connection *conn, *listener;
static struct mg_tls_ctx *ctx;
static SSL_CTX *client;
static int requests;

static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  if (ev == MG_EV_HTTP_MSG) {
    requests++;
    mg_http_reply(c, 200, NULL, "hello");
  } else if (ev == MG_EV_CLOSE && c == conn) {
    conn = NULL;
  }
}

static void make_context(void) {
  static char cert[4096], key[4096];
  struct mg_tls_opts opts;
  char err[MG_TLS_ERR];
  int status;
  EVP_PKEY *pkey = EVP_EC_gen("P-256");
  X509 *x = X509_new();
  BIO *a = BIO_new(BIO_s_mem()), *b = BIO_new(BIO_s_mem());
  X509_gmtime_adj(X509_getm_notBefore(x), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x), 3600 * 24);
  X509_set_pubkey(x, pkey);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *) "localhost", -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(x));
  MUST(X509_sign(x, pkey, EVP_sha256()) > 0 && PEM_write_bio_X509(a, x) && PEM_write_bio_PrivateKey(b, pkey, NULL, NULL, 0, NULL, NULL));
  MUST(BIO_read(a, cert, sizeof(cert) - 1) > 0 && BIO_read(b, key, sizeof(key) - 1) > 0);
  BIO_free(a);
  BIO_free(b);
  X509_free(x);
  EVP_PKEY_free(pkey);
  memset(&opts, 0, sizeof(opts));
  opts.cert = mg_str(cert);
  opts.key = mg_str(key);
  opts.ca = mg_str(cert);
  opts.client_auth = MG_TLS_AUTH_OPTIONAL;
  ctx = mg_tls_ctx_new(&opts, false, &status, err);
  client = SSL_CTX_new(TLS_client_method());
  mg_log_set(MG_LL_NONE);
  mg_mgr_init(&mgr);
  listener = mg_http_listen(&mgr, "http://127.0.0.1:0", on_event, NULL);
  MUST(ctx != NULL && client != NULL && listener != NULL);
}

static SSL *new_client(uint8_t how) {
  SSL *ssl = SSL_new(client);
  BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(in, -1);
  SSL_set_bio(ssl, in, out);
  SSL_set_connect_state(ssl);
  SSL_set_tlsext_host_name(ssl, "localhost");
  MUST(SSL_set_alpn_protos(ssl, (const unsigned char *) "\x08http/1.1", 9) == 0);
  if (how & 2) SSL_set_max_proto_version(ssl, TLS1_2_VERSION);
  return ssl;
}

/* The next of what the good client says, with its part of the changes. */
static size_t client_says(SSL *ssl, const uint8_t *edits, size_t size, size_t *said, char *buf, size_t room) {
  int n, i;
  size_t k;
  bool asks = !SSL_is_init_finished(ssl) && SSL_do_handshake(ssl) == 1;
  if (asks) SSL_write(ssl, REQUEST, sizeof(REQUEST) - 1);
  ERR_clear_error();
  n = BIO_read(SSL_get_wbio(ssl), buf, (int) room);
  for (i = 0; i < n; i++, (*said)++) {
    for (k = 0; k + 3 <= size; k += 3) {
      if (*said == (size_t) (edits[k] << 8 | edits[k + 1]) % 1000) buf[i] ^= (char) edits[k + 2];
    }
  }
  return n > 0 ? (size_t) n : 0;
}

static void must_be_records(const unsigned char *s, size_t len) {
  while (len >= 5) {
    size_t n = (size_t) (s[3] << 8 | s[4]);
    MUST(s[0] >= 20 && s[0] <= 23 && n <= 16384 + 256); /* an alert may repeat a version that nobody knows */
    if (len - 5 < n) return;
    s += 5 + n;
    len -= 5 + n;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static char in[1 << 16], out[1 << 20];
  size_t said = 0, len = 0, fed = 0;
  uint8_t how;
  int sv[2], i, quiet = 0;
  SSL *ssl;
  if (size < 1 || size > 30000) return 0;
  if (ctx == NULL) make_context();
  how = *data++, size--;
  requests = 0;
  MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
  conn = mg_wrapfd(&mgr, sv[0], on_event, NULL);
  MUST(conn != NULL);
  conn->is_accepted = 0;
  conn->pfn = listener->pfn;
  conn->proto = listener->proto;
  conn->alpn = listener->alpn;
  MUST(mg_tls_attach(conn, ctx, NULL));
  ssl = new_client(how);
  if (how & 1) MUST(send(sv[1], data, size, MSG_NOSIGNAL) == (ssize_t) size);
  for (i = 0; i < 200 && (conn != NULL || quiet < 2); i++) {
    ssize_t n = how & 1 ? 0 : (ssize_t) client_says(ssl, data, size, &said, in, sizeof(in));
    quiet = n > 0 ? 0 : quiet + 1;
    if (n > 0) (void) !send(sv[1], in, (size_t) n, MSG_NOSIGNAL);
    if (quiet > 4) shutdown(sv[1], SHUT_WR);
    mg_mgr_poll(&mgr, 0);
    n = recv(sv[1], out + len, sizeof(out) - len, 0);
    if (n > 0) len += (size_t) n;
    if (n > 0) quiet = 0;
    if (len > fed) fed += (size_t) BIO_write(SSL_get_rbio(ssl), out + fed, (int) (len - fed));
  }
  MUST(conn == NULL && mgr.nconns == 1 && !mg_mgr_owes(&mgr));
  MUST(requests == 0 || SSL_is_init_finished(ssl));
  must_be_records((unsigned char *) out, len);
  SSL_free(ssl);
  ERR_clear_error();
  close(sv[1]);
  return 0;
}
#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  (void) data, (void) size;
  return 0;
}
#endif
