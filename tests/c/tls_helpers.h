/* tls_helpers.h - certificates made by the test, and a peer that is OpenSSL between two memories and a plain socket fed by hand. */
#pragma once
#include "loop_helpers.h"
#include "mongoose/loop/tls.h"

#if MG_TLS == MG_TLS_OPENSSL
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* ---- certificates ---- */

static char s_cert[4096], s_key[4096];

static UNUSED void make_cert(void) {
  EVP_PKEY *key;
  X509 *x;
  X509V3_CTX v3;
  X509_EXTENSION *ext;
  BIO *bio;
  if (s_cert[0] != '\0') return;
  key = EVP_EC_gen("P-256");
  x = X509_new();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
  X509_gmtime_adj(X509_getm_notBefore(x), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x), 3600 * 24);
  X509_set_pubkey(x, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *) "test", -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(x));
  X509V3_set_ctx(&v3, x, x, NULL, NULL, 0);
  ext = X509V3_EXT_conf_nid(NULL, &v3, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,DNS:*.example.com");
  X509_add_ext(x, ext, -1);
  X509_EXTENSION_free(ext);
  if (key == NULL || X509_sign(x, key, EVP_sha256()) == 0) abort();
  bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, x);
  BIO_read(bio, s_cert, sizeof(s_cert) - 1);
  BIO_free(bio);
  bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
  BIO_read(bio, s_key, sizeof(s_key) - 1);
  BIO_free(bio);
  X509_free(x);
  EVP_PKEY_free(key);
}

static UNUSED struct mg_tls_opts server_opts(void) {
  struct mg_tls_opts o;
  make_cert();
  memset(&o, 0, sizeof(o));
  o.cert = mg_str(s_cert);
  o.key = mg_str(s_key);
  return o;
}

/* ---- a peer: OpenSSL between two memories, and a plain socket that we feed by hand ---- */

struct tpeer {
  struct peer p;
  SSL_CTX *ctx;
  SSL *ssl;
  BIO *in, *out;
  size_t fed; /* of p.buf */
  char *got;
  size_t len;
  bool done, closed; /* close_notify came */
  int fault;
};

/* TLS for what t->p is connected to. */
static UNUSED void twrap(struct tpeer *t, int version) {
  t->ctx = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(t->ctx, version);
  SSL_CTX_set_max_proto_version(t->ctx, version);
  t->ssl = SSL_new(t->ctx);
  t->in = BIO_new(BIO_s_mem());
  t->out = BIO_new(BIO_s_mem());
  BIO_set_mem_eof_return(t->in, -1);
  SSL_set_bio(t->ssl, t->in, t->out);
  SSL_set_connect_state(t->ssl);
  t->got = (char *) calloc(1, 1);
}

static UNUSED struct tpeer tdial(const struct mg_connection *lc, int version) {
  struct tpeer t;
  memset(&t, 0, sizeof(t));
  t.p = dial(lc);
  twrap(&t, version);
  return t;
}

static UNUSED void thang_up(struct tpeer *t) {
  hang_up(&t->p);
  SSL_free(t->ssl);
  SSL_CTX_free(t->ctx);
  free(t->got);
  ERR_clear_error();
}

static UNUSED void tflush(struct tpeer *t) {
  char buf[65536];
  int n;
  while ((n = BIO_read(t->out, buf, sizeof(buf))) > 0) {
    int at = 0;
    while (at < n && !t->p.eof) {
      ssize_t k = send(t->p.fd, buf + at, (size_t) (n - at), MSG_NOSIGNAL);
      if (k > 0) at += (int) k;
      if (k < 0 && errno != EAGAIN) break;
      if (k < 0) mg_mgr_poll(&mgr, 0);
    }
  }
}

/* Whatever can go on goes on. Always true. */
static UNUSED bool tpump(struct tpeer *t) {
  char buf[16384];
  int n;
  pump(&t->p);
  if (t->p.len > t->fed) t->fed += (size_t) BIO_write(t->in, t->p.buf + t->fed, (int) (t->p.len - t->fed));
  if (!t->done) t->done = SSL_do_handshake(t->ssl) == 1;
  while (t->done && (n = SSL_read(t->ssl, buf, sizeof(buf))) > 0) {
    t->got = (char *) realloc(t->got, t->len + (size_t) n + 1);
    if (t->got == NULL) abort();
    memcpy(t->got + t->len, buf, (size_t) n);
    t->got[t->len += (size_t) n] = '\0';
  }
  if (SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN) t->closed = true;
  ERR_clear_error();
  tflush(t);
  return true;
}

static UNUSED bool shaken(struct tpeer *t) {
  return tpump(t) && t->done;
}

static UNUSED bool thas(struct tpeer *t, size_t len) {
  return tpump(t) && t->len >= len;
}

static UNUSED bool tgone(struct tpeer *t) {
  return tpump(t) && t->p.eof;
}

static UNUSED void tsay(struct tpeer *t, const void *buf, size_t len) {
  if (SSL_write(t->ssl, buf, (int) len) != (int) len) fprintf(stderr, "peer could not say it\n");
  tflush(t);
}
#endif
