/* tls_pem.c - certificates, keys and trust from PEM text or files into an SSL_CTX. What goes wrong is told with the option's name and
 * OpenSSL's reason; of the key's text, not even a wrong path is repeated.
 */
#include "mongoose/loop/tls_openssl.h"

#if MG_TLS == MG_TLS_OPENSSL
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "mongoose/base/alloc.h"

static const size_t MAX_FILE = (size_t) 16 << 20; /* a store of the whole world's authorities is 200 KB */

void mg_tls_explain(char *err, const char *what) {
  unsigned long e = ERR_peek_error();
  const char *why = e != 0 ? ERR_reason_error_string(e) : NULL;
  if (e != 0 && ERR_SYSTEM_ERROR(e)) why = strerror(ERR_GET_REASON(e));
  snprintf(err, MG_TLS_ERR, "%s: %s", what, why != NULL ? why : "failed");
  ERR_clear_error();
}

static bool has(struct mg_str s, const char *word) {
  size_t n = strlen(word), i;
  for (i = 0; i + n <= s.len; i++) {
    if (memcmp(s.buf + i, word, n) == 0) return true;
  }
  return false;
}

static bool is_pem(struct mg_str s) {
  return has(s, "-----BEGIN ");
}

static struct mg_str read_file(const char *path, const char *option, bool secret, char *err) {
  struct mg_str out = {NULL, 0};
  FILE *fp = fopen(path, "rb");
  size_t cap = 0;
  if (fp == NULL) {
    if (secret || (strlen(path) > 60 && strchr(path, '.') == NULL)) { /* base64 has no dots: it may be a key in the wrong place */
      snprintf(err, MG_TLS_ERR, "%s: is neither PEM text nor the path of a file that can be read (%s)", option, strerror(errno));
    } else {
      snprintf(err, MG_TLS_ERR, "%s: %.150s: %s", option, path, strerror(errno));
    }
    return out;
  }
  for (;;) {
    size_t n;
    if (cap - out.len < 4096) {
      char *p = (char *) mg_realloc(out.buf, cap = 2 * cap + 16384);
      if (p == NULL || cap > 2 * MAX_FILE) {
        snprintf(err, MG_TLS_ERR, p == NULL ? "out of memory" : "%s: the file is too large", option);
        mg_free(p == NULL ? out.buf : p);
        out.buf = NULL;
        out.len = 0;
        break;
      }
      out.buf = p;
    }
    n = fread(out.buf + out.len, 1, cap - out.len, fp);
    out.len += n;
    if (n == 0) break;
  }
  if (out.buf != NULL && (ferror(fp) || out.len == 0)) {
    snprintf(err, MG_TLS_ERR, "%s: the file is %s", option, ferror(fp) ? "not readable" : "empty");
    mg_free(out.buf);
    out.buf = NULL;
    out.len = 0;
  }
  fclose(fp);
  return out;
}

struct mg_str mg_tls_read(struct mg_str what, const char *option, bool secret, char *err) {
  struct mg_str none = {NULL, 0}, s;
  char path[1024];
  if (is_pem(what)) return what;
  if (what.len >= sizeof(path) || memchr(what.buf, '\0', what.len) != NULL || memchr(what.buf, '\n', what.len) != NULL) {
    snprintf(err, MG_TLS_ERR, "%s: is neither PEM text nor a path", option);
    return none;
  }
  memcpy(path, what.buf, what.len);
  path[what.len] = '\0';
  s = read_file(path, option, secret, err);
  return s;
}

void mg_tls_read_free(struct mg_str text, struct mg_str what) {
  if (text.buf == NULL || text.buf == what.buf) return;
  OPENSSL_cleanse(text.buf, text.len); /* it may be a key */
  mg_free(text.buf);
}

/* Without it, OpenSSL would ask at the terminal. */
static int no_password(char *buf, int size, int rwflag, void *asked) {
  (void) buf, (void) size, (void) rwflag;
  *(bool *) asked = true;
  return -1;
}

static bool at_end_of_pem(void) {
  unsigned long e = ERR_peek_last_error();
  bool end = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
  if (end) ERR_clear_error();
  return end;
}

static BIO *open_text(struct mg_str s) {
  return s.len <= INT_MAX ? BIO_new_mem_buf(s.buf, (int) s.len) : NULL;
}

static bool use_chain(SSL_CTX *ssl, BIO *bio, char *err) {
  X509 *x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
  int ok;
  if (x == NULL) {
    if (at_end_of_pem()) {
      snprintf(err, MG_TLS_ERR, "cert: there is no certificate in it");
    } else {
      mg_tls_explain(err, "cert");
    }
    return false;
  }
  ok = SSL_CTX_use_certificate(ssl, x);
  X509_free(x);
  while (ok == 1 && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
    ok = SSL_CTX_add0_chain_cert(ssl, x);
    if (ok != 1) X509_free(x);
  }
  if (ok == 1 && at_end_of_pem()) return true;
  mg_tls_explain(err, "cert");
  return false;
}

static bool use_key(SSL_CTX *ssl, struct mg_str text, char *err) {
  bool asked = false, ok;
  BIO *bio = open_text(text);
  EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, &asked) : NULL;
  BIO_free(bio);
  if (key == NULL) {
    if (asked) {
      snprintf(err, MG_TLS_ERR, "key: it is encrypted; decrypt it first (openssl pkey)");
    } else if (ERR_peek_error() == 0 || ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_UNSUPPORTED || at_end_of_pem()) {
      snprintf(err, MG_TLS_ERR, "key: there is no private key in it");
    } else {
      mg_tls_explain(err, "key");
    }
    ERR_clear_error();
    return false;
  }
  ok = SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;
  EVP_PKEY_free(key);
  if (!ok) mg_tls_explain(err, "key");
  return ok;
}

bool mg_tls_use_cert(SSL_CTX *ssl, struct mg_str cert, struct mg_str key, char *err) {
  struct mg_str ctext = mg_tls_read(cert, "cert", false, err), ktext;
  bool ok = false;
  BIO *bio;
  if (ctext.buf == NULL) return false;
  ERR_clear_error();
  bio = open_text(ctext);
  if (bio == NULL) mg_tls_explain(err, "cert");
  ok = bio != NULL && use_chain(ssl, bio, err);
  BIO_free(bio);
  if (ok) {
    ktext = key.len > 0 ? mg_tls_read(key, "key", true, err) : ctext; /* both may be in one file */
    ok = ktext.buf != NULL && use_key(ssl, ktext, err);
    if (key.len > 0) mg_tls_read_free(ktext, key);
  }
  mg_tls_read_free(ctext, cert);
  return ok;
}

bool mg_tls_use_ca(SSL_CTX *ssl, struct mg_str ca, bool for_clients, char *err) {
  struct mg_str text = mg_tls_read(ca, "ca", false, err);
  X509_STORE *store = SSL_CTX_get_cert_store(ssl);
  BIO *bio;
  X509 *x;
  size_t n = 0;
  bool ok;
  if (text.buf == NULL) return false;
  ERR_clear_error();
  bio = open_text(text);
  ok = bio != NULL && store != NULL;
  while (ok && (x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)) != NULL) {
    ok = X509_STORE_add_cert(store, x) == 1 && (!for_clients || SSL_CTX_add_client_CA(ssl, x) == 1);
    X509_free(x);
    n++;
  }
  if (ok) ok = at_end_of_pem();
  if (!ok) {
    mg_tls_explain(err, "ca");
  } else if (n == 0) {
    snprintf(err, MG_TLS_ERR, "ca: there is no certificate in it");
  }
  BIO_free(bio);
  mg_tls_read_free(text, ca);
  return ok && n > 0;
}

/* OpenSSL's default place is right when it is the system's own; one that came in a wheel was built for another system. */
bool mg_tls_use_system_ca(SSL_CTX *ssl, char *err) {
  static const char *const places[] = {
      "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Alpine, Arch */
      "/etc/pki/tls/certs/ca-bundle.crt",                  /* Fedora, RHEL */
      "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* CentOS */
      "/etc/ssl/ca-bundle.pem",                            /* openSUSE */
      "/etc/ssl/cert.pem",                                 /* macOS, OpenBSD, Alpine */
      "/opt/homebrew/etc/ca-certificates/cert.pem",
      "/usr/local/share/certs/ca-root-nss.crt", /* FreeBSD */
  };
  size_t i;
  if (SSL_CTX_set_default_verify_paths(ssl) != 1) {
    mg_tls_explain(err, "the system's certificates");
    return false;
  }
  if (getenv(X509_get_default_cert_file_env()) != NULL || getenv(X509_get_default_cert_dir_env()) != NULL) return true;
  if (access(X509_get_default_cert_file(), R_OK) == 0) return true;
  for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
    if (access(places[i], R_OK) == 0 && SSL_CTX_load_verify_file(ssl, places[i]) == 1) break;
  }
  ERR_clear_error(); /* nothing found: then nothing is trusted, and each connection says so */
  return true;
}
#else
typedef int mg_tls_pem_is_not_built; /* ISO C wants a translation unit to have something in it */
#endif
