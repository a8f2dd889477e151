/* tls_ctx.c - a context: what a listener or a kind of client needs for its handshakes, made once and shared by its connections.
 *
 *   mg_tls_ctx ── ssls[0]  default certificate        all with the same trust, tickets and ALPN;
 *              └─ ssls[n]  chosen by name (SNI)        only the certificate differs
 */
#include "mongoose/loop/tls_openssl.h"

#if MG_TLS == MG_TLS_OPENSSL
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "mongoose/base/alloc.h"
#include "mongoose/loop/io.h"

enum { CACHED = 64 };

/* RFC 9325: forward secrecy and authenticated encryption, nothing else. */
static const char TLS12_CIPHERS[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
static const char TLS13_CIPHERS[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

bool mg_tls_available(void) {
  return true;
}

/* Elliptic curves, and the hybrid where OpenSSL has it. No finite fields: a few bytes of a client would cost 8192-bit arithmetic here. */
static const char *const GROUPS[] = {"X25519MLKEM768:X25519:P-256:X448:P-521:P-384", "X25519:P-256:X448:P-521:P-384", "P-256:P-521:P-384"};

/* ---- callbacks of OpenSSL ---- */

static struct mg_tls *of(SSL *ssl) {
  return (struct mg_tls *) ((struct mg_connection *) SSL_get_app_data(ssl))->tls;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct mg_tls_name *) a)->name, ((const struct mg_tls_name *) b)->name);
}

static SSL_CTX *find_name(const struct mg_tls_ctx *ctx, char *name) {
  struct mg_tls_name key = {name, NULL}, *found;
  char *dot;
  if (ctx->nnames == 0) return NULL;
  found = (struct mg_tls_name *) bsearch(&key, ctx->names, ctx->nnames, sizeof(key), by_name);
  if (found == NULL && (dot = strchr(name, '.')) != NULL && dot > name) { /* RFC 6125 6.4.3: the whole leftmost label */
    char c = dot[-1];
    dot[-1] = '*';
    key.name = dot - 1;
    found = (struct mg_tls_name *) bsearch(&key, ctx->names, ctx->nnames, sizeof(key), by_name);
    dot[-1] = c;
  }
  return found != NULL ? found->ssl : NULL;
}

static int server_name_cb(SSL *ssl, int *alert, void *arg) {
  struct mg_tls_ctx *ctx = (struct mg_tls_ctx *) arg;
  struct mg_tls *t = of(ssl);
  const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  SSL_CTX *found;
  size_t i;
  if (name == NULL || strlen(name) > MG_TLS_NAME) return SSL_TLSEXT_ERR_NOACK;
  for (i = 0; name[i] != '\0'; i++) t->sni[i] = (char) tolower((unsigned char) name[i]);
  t->sni[i] = '\0';
  if ((found = find_name(ctx, t->sni)) == NULL) return SSL_TLSEXT_ERR_NOACK; /* the default certificate may do */
  if (found != SSL_get_SSL_CTX(ssl) && SSL_set_SSL_CTX(ssl, found) == NULL) return *alert = SSL_AD_INTERNAL_ERROR, SSL_TLSEXT_ERR_ALERT_FATAL;
  return SSL_TLSEXT_ERR_OK;
}

static int alpn_cb(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in, unsigned inlen, void *arg) {
  struct mg_tls_ctx *ctx = (struct mg_tls_ctx *) arg;
  struct mg_connection *c = (struct mg_connection *) SSL_get_app_data(ssl);
  unsigned char protos[MG_TLS_ALPN];
  const unsigned char *ours = ctx->alpn, *theirs, *end;
  int len = ctx->alpn_len;
  if (len == 0 && c->alpn != NULL) {
    len = mg_tls_alpn_wire(mg_str(c->alpn), protos);
    ours = protos;
  }
  if (len <= 0) return SSL_TLSEXT_ERR_NOACK;
  for (end = ours + len; ours < end; ours += 1 + ours[0]) {
    for (theirs = in; theirs < in + inlen && theirs + 1 + theirs[0] <= in + inlen; theirs += 1 + theirs[0]) {
      if (theirs[0] != ours[0] || memcmp(theirs + 1, ours + 1, ours[0]) != 0) continue;
      *out = theirs + 1;
      *outlen = theirs[0];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 3.2: no_application_protocol */
}

static int ocsp_cb(SSL *ssl, void *arg) {
  struct mg_tls_ctx *ctx = (struct mg_tls_ctx *) arg;
  unsigned char *copy = (unsigned char *) OPENSSL_memdup(ctx->ocsp, ctx->ocsp_len); /* ssl frees it */
  if (copy == NULL) return SSL_TLSEXT_ERR_NOACK;
  SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long) ctx->ocsp_len);
  return SSL_TLSEXT_ERR_OK;
}

static int take_any(int ok, X509_STORE_CTX *store) {
  (void) ok, (void) store;
  return 1; /* what was wrong stays readable: mg_tls_info_of says it is not verified */
}

/* ---- building ---- */

int mg_tls_alpn_wire(struct mg_str list, unsigned char out[MG_TLS_ALPN]) {
  struct mg_str item;
  size_t n = 0;
  while (mg_span(list, &item, &list, ',')) {
    while (item.len > 0 && *item.buf == ' ') item.buf++, item.len--;
    while (item.len > 0 && item.buf[item.len - 1] == ' ') item.len--;
    if (item.len == 0 || item.len > 255 || n + 1 + item.len > MG_TLS_ALPN) return -1;
    out[n++] = (unsigned char) item.len;
    memcpy(out + n, item.buf, item.len);
    n += item.len;
  }
  return (int) n;
}

static bool text_of(struct mg_str s, char *out, size_t size) {
  if (s.len >= size || memchr(s.buf, '\0', s.len) != NULL) return false;
  memcpy(out, s.buf, s.len);
  out[s.len] = '\0';
  return true;
}

static bool set_ciphers(SSL_CTX *ssl, const struct mg_tls_opts *o, char *err) {
  char list[1024];
  if (o->ciphers.len > 0 && !text_of(o->ciphers, list, sizeof(list))) {
    snprintf(err, MG_TLS_ERR, "ciphers: the list is too long");
    return false;
  }
  if (SSL_CTX_set_cipher_list(ssl, o->ciphers.len > 0 ? list : TLS12_CIPHERS) == 1 && SSL_CTX_set_ciphersuites(ssl, TLS13_CIPHERS) == 1) {
    return true;
  }
  mg_tls_explain(err, "ciphers");
  return false;
}

static bool set_groups(SSL_CTX *ssl, char *err) {
  size_t i;
  for (i = 0; i < sizeof(GROUPS) / sizeof(GROUPS[0]); i++) {
    if (SSL_CTX_set1_groups_list(ssl, GROUPS[i]) == 1) break;
  }
  if (i == sizeof(GROUPS) / sizeof(GROUPS[0])) return mg_tls_explain(err, "groups"), false;
  ERR_clear_error(); /* of those it does not know */
  return true;
}

static SSL_CTX *ssl_new(struct mg_tls_ctx *ctx, const struct mg_tls_opts *o, char *err) {
  SSL_CTX *ssl = SSL_CTX_new(ctx->is_client ? TLS_client_method() : TLS_server_method());
  bool any = o->skip_verification != 0, ok;
  int verify = SSL_VERIFY_NONE;
  enum mg_tls_client_auth auth = o->client_auth;
  if (ssl == NULL) {
    mg_tls_explain(err, "TLS");
    return NULL;
  }
  SSL_CTX_set_min_proto_version(ssl, o->tls13_only ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION);
  SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  if (o->ktls) SSL_CTX_set_options(ssl, SSL_OP_ENABLE_KTLS);
  /* Idle connections own no buffers; a chain is given, not searched for at each handshake. */
  SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_read_ahead(ssl, 1);
  if (SSL_CTX_get_security_level(ssl) < 2) SSL_CTX_set_security_level(ssl, 2);
  ok = set_ciphers(ssl, o, err) && set_groups(ssl, err);
  if (ctx->is_client) {
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (!o->no_resumption) SSL_CTX_sess_set_new_cb(ssl, mg_tls_new_session_cb);
    verify = any ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
    if (ok && o->ca.len > 0) {
      ok = mg_tls_use_ca(ssl, o->ca, false, err);
    } else if (ok && !any) {
      ok = mg_tls_use_system_ca(ssl, err);
    }
  } else {
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF); /* tickets: nothing is kept here */
    SSL_CTX_set_timeout(ssl, 7200);
    SSL_CTX_set_session_id_context(ssl, ctx->trust, sizeof(ctx->trust));
    SSL_CTX_set_tlsext_servername_callback(ssl, server_name_cb);
    SSL_CTX_set_tlsext_servername_arg(ssl, ctx);
    SSL_CTX_set_alpn_select_cb(ssl, alpn_cb, ctx);
    if (o->no_resumption) {
      SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
      SSL_CTX_set_num_tickets(ssl, 0);
    } else {
      SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, mg_tls_ticket_cb);
    }
    if (auth == MG_TLS_AUTH_DEFAULT) auth = o->ca.len > 0 ? MG_TLS_AUTH_REQUIRED : MG_TLS_AUTH_NONE;
    if (auth != MG_TLS_AUTH_NONE) verify = SSL_VERIFY_PEER | (auth == MG_TLS_AUTH_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    if (ok && auth != MG_TLS_AUTH_NONE && o->ca.len == 0 && !any) {
      snprintf(err, MG_TLS_ERR, "ca: client certificates are asked for, and there is nothing to verify them with");
      ok = false;
    }
    if (ok && o->ca.len > 0) ok = mg_tls_use_ca(ssl, o->ca, true, err);
  }
  SSL_CTX_set_verify(ssl, verify, any ? take_any : NULL);
  if (ok) return ssl;
  SSL_CTX_free(ssl);
  return NULL;
}

static bool add_ssl(struct mg_tls_ctx *ctx, const struct mg_tls_opts *o, struct mg_str cert, struct mg_str key, char *err) {
  SSL_CTX *ssl = ssl_new(ctx, o, err);
  if (ssl == NULL) return false;
  ctx->ssls[ctx->nssls++] = ssl; /* there is room for all of them */
  return cert.len == 0 || mg_tls_use_cert(ssl, cert, key, err);
}

static bool add_name(struct mg_tls_ctx *ctx, const char *name, size_t len, SSL_CTX *ssl, char *err) {
  struct mg_tls_name *more;
  char *copy;
  size_t i;
  if (len == 0 || len > MG_TLS_NAME || memchr(name, '\0', len) != NULL) {
    snprintf(err, MG_TLS_ERR, "a name of a certificate has %lu bytes, 1-%d are possible", (unsigned long) len, MG_TLS_NAME);
    return false;
  }
  more = (struct mg_tls_name *) mg_realloc(ctx->names, (ctx->nnames + 1) * sizeof(*more));
  if (more != NULL) ctx->names = more;
  copy = (char *) mg_calloc(1, len + 1);
  if (more == NULL || copy == NULL) {
    snprintf(err, MG_TLS_ERR, "out of memory");
    mg_free(copy);
    return false;
  }
  for (i = 0; i < len; i++) copy[i] = (char) tolower((unsigned char) name[i]);
  for (i = 0; i < ctx->nnames; i++) {
    if (strcmp(ctx->names[i].name, copy) != 0) continue;
    mg_free(copy); /* the first certificate for a name is the one */
    return true;
  }
  ctx->names[ctx->nnames].name = copy;
  ctx->names[ctx->nnames++].ssl = ssl;
  return true;
}

static bool add_names_within(struct mg_tls_ctx *ctx, SSL_CTX *ssl, char *err) {
  X509 *x = SSL_CTX_get0_certificate(ssl);
  GENERAL_NAMES *names = x != NULL ? (GENERAL_NAMES *) X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL) : NULL;
  bool ok = true;
  int i;
  for (i = 0; ok && i < sk_GENERAL_NAME_num(names); i++) {
    const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
    if (n->type != GEN_DNS) continue;
    ok = add_name(ctx, (const char *) ASN1_STRING_get0_data(n->d.dNSName), (size_t) ASN1_STRING_length(n->d.dNSName), ssl, err);
  }
  GENERAL_NAMES_free(names);
  return ok;
}

static bool add_more(struct mg_tls_ctx *ctx, const struct mg_tls_opts *o, char *err) {
  size_t i;
  bool ok = add_names_within(ctx, ctx->ssls[0], err);
  for (i = 0; ok && i < o->nmore; i++) {
    struct mg_str item, rest = o->more[i].name;
    if (o->more[i].cert.len == 0) {
      snprintf(err, MG_TLS_ERR, "cert: number %lu of the further certificates is empty", (unsigned long) i + 1);
      return false;
    }
    ok = add_ssl(ctx, o, o->more[i].cert, o->more[i].key, err);
    if (ok && rest.len == 0) ok = add_names_within(ctx, ctx->ssls[ctx->nssls - 1], err);
    while (ok && mg_span(rest, &item, &rest, ',')) {
      while (item.len > 0 && *item.buf == ' ') item.buf++, item.len--;
      ok = add_name(ctx, item.buf, item.len, ctx->ssls[ctx->nssls - 1], err);
    }
  }
  if (ok && ctx->nnames > 0) qsort(ctx->names, ctx->nnames, sizeof(*ctx->names), by_name);
  return ok;
}

static bool set_ocsp(struct mg_tls_ctx *ctx, struct mg_str what, char *err) {
  char path[1024];
  BIO *bio;
  OCSP_RESPONSE *r = NULL;
  int len;
  if (what.len > 0 && what.buf[0] == 0x30) { /* DER: a SEQUENCE */
    bio = BIO_new_mem_buf(what.buf, (int) what.len);
  } else {
    bio = text_of(what, path, sizeof(path)) ? BIO_new_file(path, "rb") : NULL;
  }
  if (bio != NULL) r = d2i_OCSP_RESPONSE_bio(bio, NULL);
  BIO_free(bio);
  len = r != NULL ? i2d_OCSP_RESPONSE(r, &ctx->ocsp) : -1;
  OCSP_RESPONSE_free(r);
  if (len <= 0) {
    mg_tls_explain(err, "ocsp");
    return false;
  }
  ctx->ocsp_len = (size_t) len;
  SSL_CTX_set_tlsext_status_cb(ctx->ssls[0], ocsp_cb);
  SSL_CTX_set_tlsext_status_arg(ctx->ssls[0], ctx);
  return true;
}

/* ---- what options are equal ---- */

static void mix(EVP_MD_CTX *md, struct mg_str s) {
  uint64_t n = s.len;
  char path[1024];
  struct stat st;
  EVP_DigestUpdate(md, &n, sizeof(n));
  if (s.len > 0) EVP_DigestUpdate(md, s.buf, s.len);
  if (s.len > 0 && s.buf[0] != '-' && text_of(s, path, sizeof(path)) && stat(path, &st) == 0) { /* a file may change behind its name */
#if defined(__APPLE__)
    int64_t part = (int64_t) st.st_mtimespec.tv_nsec;
#else
    int64_t part = (int64_t) st.st_mtim.tv_nsec; /* it may change twice in a second */
#endif
    int64_t is[6] = {(int64_t) st.st_dev, (int64_t) st.st_ino, (int64_t) st.st_size, (int64_t) st.st_mtime, (int64_t) st.st_ctime, part};
    EVP_DigestUpdate(md, is, sizeof(is));
  }
}

static bool hash_opts(const struct mg_tls_opts *o, bool is_client, uint8_t key[32], uint8_t trust[32]) {
  int flags[6] = {is_client, o->skip_verification != 0, (int) o->client_auth, o->tls13_only, o->no_resumption, o->ktls};
  EVP_MD_CTX *md = EVP_MD_CTX_new();
  size_t i;
  bool ok = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
  if (ok) {
    EVP_DigestUpdate(md, flags, 3 * sizeof(flags[0]));
    mix(md, o->ca);
    ok = EVP_DigestFinal_ex(md, trust, NULL) == 1 && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
  }
  if (ok) {
    EVP_DigestUpdate(md, trust, 32);
    EVP_DigestUpdate(md, flags, sizeof(flags));
    mix(md, o->cert), mix(md, o->key), mix(md, o->alpn), mix(md, o->ciphers), mix(md, o->ocsp);
    for (i = 0; i < o->nmore; i++) mix(md, o->more[i].name), mix(md, o->more[i].cert), mix(md, o->more[i].key);
    ok = EVP_DigestFinal_ex(md, key, NULL) == 1;
  }
  EVP_MD_CTX_free(md);
  return ok;
}

/* ---- contexts ---- */

static void ctx_free(struct mg_tls_ctx *ctx) {
  size_t i;
  for (i = 0; i < ctx->nnames; i++) mg_free(ctx->names[i].name);
  for (i = 0; i < ctx->nssls; i++) SSL_CTX_free(ctx->ssls[i]);
  mg_tls_sessions_free(ctx);
  mg_tls_tickets_drop(ctx->tickets);
  OPENSSL_free(ctx->ocsp);
  mg_free(ctx->names);
  mg_free(ctx->ssls);
  mg_free(ctx);
}

static bool build(struct mg_tls_ctx *ctx, const struct mg_tls_opts *o, char *err) {
  bool none = o->alpn.len == 1 && o->alpn.buf[0] == '-';
  ctx->alpn_len = none ? -1 : mg_tls_alpn_wire(o->alpn, ctx->alpn);
  if (!none && ctx->alpn_len < 0) {
    snprintf(err, MG_TLS_ERR, "alpn: protocol names have 1-255 bytes, all of them %d", MG_TLS_ALPN);
    return false;
  }
  ctx->has_cert = o->cert.len > 0;
  if (!add_ssl(ctx, o, o->cert, o->key, err)) return false;
  return ctx->is_client || (add_more(ctx, o, err) && (o->ocsp.len == 0 || set_ocsp(ctx, o->ocsp, err)));
}

struct mg_tls_ctx *mg_tls_ctx_new(const struct mg_tls_opts *opts, bool is_client, int *status, char err[MG_TLS_ERR]) {
  struct mg_tls_ctx *ctx = (struct mg_tls_ctx *) mg_calloc(1, sizeof(*ctx));
  *status = MG_OK;
  err[0] = '\0';
  if (ctx != NULL) {
    ctx->refs = 1;
    ctx->is_client = is_client;
    ctx->ssls = (SSL_CTX **) mg_calloc(opts->nmore + 1, sizeof(*ctx->ssls));
    if (!is_client) ctx->tickets = mg_tls_tickets_new();
  }
  if (ctx == NULL || ctx->ssls == NULL || (!is_client && ctx->tickets == NULL) || !hash_opts(opts, is_client, ctx->key, ctx->trust)) {
    *status = MG_ENOMEM;
    snprintf(err, MG_TLS_ERR, "out of memory");
  } else if (!build(ctx, opts, err)) {
    *status = MG_ETLS;
  }
  ERR_clear_error();
  if (*status == MG_OK) return ctx;
  if (ctx != NULL) ctx_free(ctx);
  return NULL;
}

struct mg_tls_ctx *mg_tls_ctx_get(struct mg_mgr *mgr, const struct mg_tls_opts *opts, bool is_client, int *status, char err[MG_TLS_ERR]) {
  struct mg_tls_ctx *ctx, **last = (struct mg_tls_ctx **) &mgr->tls_ctx;
  uint8_t key[32], trust[32];
  unsigned n = 0;
  *status = MG_OK;
  if (!hash_opts(opts, is_client, key, trust)) {
    *status = MG_ENOMEM;
    snprintf(err, MG_TLS_ERR, "out of memory");
    return NULL;
  }
  for (; (ctx = *last) != NULL; last = &ctx->next) {
    if (memcmp(ctx->key, key, sizeof(key)) == 0) return mg_tls_ctx_hold(ctx);
    if (++n == CACHED) { /* the one that was made first */
      *last = ctx->next;
      mg_tls_ctx_drop(ctx);
      break;
    }
  }
  ctx = mg_tls_ctx_new(opts, is_client, status, err);
  if (ctx == NULL) return NULL;
  ctx->next = (struct mg_tls_ctx *) mgr->tls_ctx;
  mgr->tls_ctx = ctx;
  return mg_tls_ctx_hold(ctx);
}

struct mg_tls_ctx *mg_tls_ctx_hold(struct mg_tls_ctx *ctx) {
  if (ctx != NULL) __atomic_add_fetch(&ctx->refs, 1, __ATOMIC_RELAXED);
  return ctx;
}

void mg_tls_ctx_drop(struct mg_tls_ctx *ctx) {
  if (ctx != NULL && __atomic_sub_fetch(&ctx->refs, 1, __ATOMIC_ACQ_REL) == 0) ctx_free(ctx);
}

void mg_tls_ctx_init(struct mg_mgr *mgr) {
  (void) mgr;
}

void mg_tls_ctx_free(struct mg_mgr *mgr) {
  struct mg_tls_ctx *ctx = (struct mg_tls_ctx *) mgr->tls_ctx, *next;
  mgr->tls_ctx = NULL;
  for (; ctx != NULL; ctx = next) {
    next = ctx->next;
    mg_tls_ctx_drop(ctx);
  }
}

bool mg_tls_can_serve(const struct mg_tls_ctx *ctx) {
  return ctx->has_cert && !ctx->is_client;
}

bool mg_tls_listen(struct mg_connection *lc, struct mg_tls_ctx *ctx) {
  struct mg_tls_ctx *old = lc->listener->tls;
  if (!lc->is_listening || lc->is_udp) return mg_fail(lc->mgr, MG_ESTATE, "TLS is for stream listeners"), false;
  if (!mg_tls_can_serve(ctx)) return mg_fail(lc->mgr, MG_EINVAL, "a TLS server needs a certificate: cert, key"), false;
  if (old != NULL && old != ctx && memcmp(old->trust, ctx->trust, sizeof(ctx->trust)) == 0) { /* tickets of before stay good */
    __atomic_add_fetch(&old->tickets->refs, 1, __ATOMIC_RELAXED);
    mg_tls_tickets_drop(ctx->tickets);
    ctx->tickets = old->tickets;
  }
  lc->listener->tls = mg_tls_ctx_hold(ctx);
  mg_tls_ctx_drop(old);
  lc->is_tls = 1;
  return true;
}
#else
typedef int mg_tls_ctx_is_not_built;
#endif
