/* tls_conn.c - one connection's session: handshake, records in, records out, and the end. OpenSSL reads and writes the socket itself,
 * so that the kernel can take the encryption over (kTLS); nothing in here runs a callback of the application but mg_tls_init.
 */
#include "mongoose/loop/tls_openssl.h"

#if MG_TLS == MG_TLS_OPENSSL
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/bytes.h"
#include "mongoose/loop/io.h"

static struct mg_tls *of(const struct mg_connection *c) {
  return (struct mg_tls *) c->tls;
}

static struct mg_tls *session_new(struct mg_connection *c, struct mg_tls_ctx *ctx) {
  struct mg_tls *t = (struct mg_tls *) mg_calloc(1, sizeof(*t));
  if (t == NULL) return NULL;
  t->ssl = SSL_new(ctx->ssls[0]);
  if (t->ssl == NULL) {
    ERR_clear_error();
    mg_free(t);
    return NULL;
  }
  SSL_set_app_data(t->ssl, c);
  t->ctx = mg_tls_ctx_hold(ctx);
  mg_tls_drop(c);
  c->tls = t;
  c->is_tls = c->is_tls_hs = 1;
  return t;
}

void mg_tls_free(struct mg_connection *c) {
  struct mg_tls *t = of(c);
  if (t != NULL && t->started) {
    c->is_closing = 1;
    mg_touch(c);
  } else {
    mg_tls_drop(c);
  }
}

void mg_tls_drop(struct mg_connection *c) {
  struct mg_tls *t = of(c);
  c->is_tls = c->is_tls_hs = c->is_tls_new = c->is_tls_more = 0;
  c->tls_wants_read = c->tls_wants_write = 0;
  if (t == NULL) return;
  SSL_free(t->ssl); /* its callbacks may still look at c->tls */
  c->tls = NULL;
  mg_tls_ctx_drop(t->ctx);
  mg_free(t);
}

bool mg_tls_accept(struct mg_connection *c, struct mg_tls_ctx *ctx) {
  struct mg_tls *t = session_new(c, ctx);
  if (t == NULL) return false;
  SSL_set_accept_state(t->ssl);
  c->tls_wants_read = 1;
  return true;
}

/* ---- clients ---- */

static bool is_address(const char *name) {
  unsigned char a[16];
  return inet_pton(AF_INET, name, a) == 1 || inet_pton(AF_INET6, name, a) == 1;
}

/* Whom do we expect, and how do we ask for him? RFC 9525; names in the subject are not looked at, a wildcard stands for one label. */
static bool expect(struct mg_tls *t, const char *name, char *err) {
  size_t n = name != NULL ? strlen(name) : 0;
  bool ok = true;
  if (n > 0 && name[n - 1] == '.') n--; /* the root's dot is not part of certificates' names */
  if (n > MG_TLS_NAME || (n > 0 && name[0] == '.')) { /* for OpenSSL a dot in front stands for all names below */
    snprintf(err, MG_TLS_ERR, n > MG_TLS_NAME ? "name: more than %d bytes" : "name: begins with a dot", MG_TLS_NAME);
    return false;
  }
  if (n > 0) memcpy(t->sni, name, n);
  t->sni[n] = '\0';
  if (n == 0) {
    if (SSL_get_verify_mode(t->ssl) == SSL_VERIFY_NONE) return true;
    snprintf(err, MG_TLS_ERR, "name: there is no name to verify the server by");
    return false;
  }
  SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  if (is_address(t->sni)) {
    ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), t->sni) == 1;
  } else {
    ok = SSL_set1_host(t->ssl, t->sni) == 1 && SSL_set_tlsext_host_name(t->ssl, t->sni) == 1;
  }
  if (!ok) mg_tls_explain(err, "name");
  return ok;
}

static bool offer_protocols(struct mg_connection *c, struct mg_tls *t) {
  unsigned char protos[MG_TLS_ALPN];
  const unsigned char *list = t->ctx->alpn;
  int len = t->ctx->alpn_len;
  if (len == 0 && c->alpn != NULL) {
    len = mg_tls_alpn_wire(mg_str(c->alpn), protos);
    list = protos;
  }
  return len <= 0 || SSL_set_alpn_protos(t->ssl, list, (unsigned) len) == 0;
}

bool mg_tls_attach(struct mg_connection *c, struct mg_tls_ctx *ctx, const char *name) {
  char err[MG_TLS_ERR] = "out of memory";
  struct mg_tls *t;
  bool ok;
  if (c->is_closing || c->is_dead) return false; /* it was told */
  if (c->is_udp || c->is_listening) {
    mg_error_as(c, MG_ESTATE, "TLS is for stream connections");
    return false;
  }
  if (c->tls != NULL && of(c)->started) { /* one session cannot be taken for another on the same bytes */
    mg_error_as(c, MG_ESTATE, "TLS is spoken here already");
    return false;
  }
  if (c->recv.len > 0 && !c->is_tls) { /* whoever sits between could have put it there */
    mg_error_as(c, MG_ETLS, "%lu bytes came before TLS", (unsigned long) c->recv.len);
    return false;
  }
  if (mg_unsent(c) > 0 && !c->is_tls && !c->is_connecting && mg_out_write(c, false) != MG_OUT_EMPTY) {
    mg_error_as(c, MG_ETLS, "plain output waits that the peer does not take");
    return false;
  }
  t = session_new(c, ctx);
  ok = t != NULL;
  if (ok && ctx->is_client) {
    SSL_set_connect_state(t->ssl);
    ok = expect(t, name != NULL ? name : c->tls_name, err) && offer_protocols(c, t);
    c->tls_wants_write = 1; /* it speaks first */
  } else if (ok) {
    SSL_set_accept_state(t->ssl);
    c->tls_wants_read = 1;
  }
  if (!ok) {
    mg_error_as(c, t == NULL ? MG_ENOMEM : MG_ETLS, "TLS: %s", err);
    return false;
  }
  /* STARTTLS; for a connection that is yet to be announced the deadline is set when it is. */
  if (!c->is_connecting && !c->is_resolving && !c->is_new) mg_read_due(c, c->listener->limits.tls_timeout > 0 ? c->mgr->now + c->listener->limits.tls_timeout : 0);
  mg_touch(c);
  return true;
}

void mg_tls_init(struct mg_connection *c, const struct mg_tls_opts *opts) {
  char err[MG_TLS_ERR], name[MG_TLS_NAME + 1];
  int status;
  bool given = opts->name.len > 0;
  struct mg_tls_ctx *ctx;
  if (given && (opts->name.len > MG_TLS_NAME || memchr(opts->name.buf, '\0', opts->name.len) != NULL)) {
    mg_error_as(c, MG_EINVAL, "TLS: name: %lu bytes, %d are possible", (unsigned long) opts->name.len, MG_TLS_NAME);
    return;
  }
  if (given) {
    memcpy(name, opts->name.buf, opts->name.len);
    name[opts->name.len] = '\0';
  }
  ctx = mg_tls_ctx_get(c->mgr, opts, c->is_client, &status, err);
  if (ctx == NULL) {
    mg_error_as(c, status, "TLS: %s", err);
    return;
  }
  (void) mg_tls_attach(c, ctx, given ? name : NULL);
  mg_tls_ctx_drop(ctx);
}

/* ---- the handshake ---- */

/* Note why; the first reason is the one that explains. */
static void broke(struct mg_connection *c, const char *what) {
  struct mg_tls *t = of(c);
  unsigned long e = ERR_peek_error();
  const char *why = e != 0 ? ERR_reason_error_string(e) : NULL;
  long verdict = SSL_get_verify_result(t->ssl);
  if (t->why[0] == '\0') {
    if (c->is_tls_hs && verdict != X509_V_OK && SSL_get_verify_callback(t->ssl) == NULL && SSL_get0_peer_certificate(t->ssl) == NULL) {
      snprintf(t->why, sizeof(t->why), "%s: certificate verify failed: %s", what, X509_verify_cert_error_string(verdict));
    } else if (e != 0 && ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) > SSL_AD_REASON_OFFSET) {
      snprintf(t->why, sizeof(t->why), "%s: refused by the peer: %s", what, why != NULL ? why : "alert");
    } else {
      snprintf(t->why, sizeof(t->why), "%s: %s", what, why != NULL ? why : "failed");
    }
  }
  ERR_clear_error();
  t->broken = true;
  c->is_failed = 1;
  c->last_errno = EPROTO;
  mg_conn_ready(c);
}

void mg_tls_handshake(struct mg_connection *c) {
  struct mg_tls *t = of(c);
  int rc, e;
  if (t == NULL || t->broken) return; /* is_tls without a session: mg_tls_init is yet to come */
  if (!t->started) {
    t->started = SSL_set_fd(t->ssl, (int) (size_t) c->fd) == 1;
    if (!t->started) {
      broke(c, "TLS");
      return;
    }
    if (c->is_client && t->ctx->is_client && t->sni[0] != '\0') {
      snprintf(t->peer, sizeof(t->peer), "%s:%u", t->sni, (unsigned) mg_ntohs(c->rem.port));
      mg_tls_resume(t);
    }
  }
  ERR_clear_error();
  errno = 0;
  rc = SSL_do_handshake(t->ssl);
  e = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, rc);
  c->tls_wants_read = e == SSL_ERROR_WANT_READ;
  c->tls_wants_write = e == SSL_ERROR_WANT_WRITE;
  if (e == SSL_ERROR_NONE) {
    SSL_set_options(t->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF); /* not fatal: who stopped sending may still read; c->is_truncated tells */
    c->is_tls_hs = 0;
    c->is_tls_new = 1; /* to be told */
    mg_conn_ready(c);
  } else if (e == SSL_ERROR_WANT_WRITE) {
    mg_conn_watch(c, MG_POLL_READ | MG_POLL_WRITE);
  } else if (e == SSL_ERROR_WANT_READ) {
    mg_conn_watch(c, MG_POLL_READ);
  } else if (!c->is_client && SSL_get_state(t->ssl) == TLS_ST_BEFORE && ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    ERR_clear_error(); /* somebody looked whether the port is open: not a word was said */
    t->broken = true;
    c->is_eof = 1;
    mg_conn_ready(c);
  } else {
    if (e == SSL_ERROR_SYSCALL && errno != 0) {
      snprintf(t->why, sizeof(t->why), "TLS handshake: %s", strerror(errno));
    } else if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
      snprintf(t->why, sizeof(t->why), "TLS handshake: connection closed by the peer");
    }
    broke(c, "TLS handshake");
  }
}

/* ---- bytes ---- */

static long io_failed(struct mg_connection *c, int rc, bool writing) {
  struct mg_tls *t = of(c);
  int e = SSL_get_error(t->ssl, rc);
  switch (e) {
    case SSL_ERROR_WANT_READ: return MG_IO_WAIT;
    case SSL_ERROR_WANT_WRITE: return MG_IO_WAIT;
    case SSL_ERROR_ZERO_RETURN: /* close_notify; or the socket's end without it, RFC 8446 6.1: it may have been cut */
      c->is_truncated = BIO_eof(SSL_get_rbio(t->ssl)) != 0;
      return 0;
    case SSL_ERROR_SYSCALL:
      if (writing && (errno == ECONNRESET || errno == EPIPE)) { /* what the peer said before it hung up can still be read */
        t->ended = true;
        return MG_IO_RESET;
      }
      t->broken = true;
      if (errno == ECONNRESET || errno == EPIPE || errno == 0) return MG_IO_RESET;
      snprintf(t->why, sizeof(t->why), "TLS: %s", strerror(errno));
      break;
    default: break;
  }
  broke(c, "TLS");
  return MG_IO_ERR;
}

long mg_tls_recv(struct mg_connection *c, void *buf, size_t len) {
  struct mg_tls *t = of(c);
  int n;
  if (t == NULL || c->is_tls_hs) return MG_IO_WAIT;
  if (t->broken) return MG_IO_RESET;
  ERR_clear_error();
  errno = 0;
  n = SSL_read(t->ssl, buf, len > INT_MAX ? INT_MAX : (int) len);
  if (MG_LIKELY(n > 0)) return n;
  c->tls_wants_write = SSL_want_write(t->ssl); /* TLS 1.3: an answer to a key update comes first */
  return io_failed(c, n, false);
}

long mg_tls_send(struct mg_connection *c, const void *buf, size_t len) {
  struct mg_tls *t = of(c);
  int n;
  if (t == NULL || c->is_tls_hs) return MG_IO_WAIT;
  if (t->broken || t->ended) return MG_IO_RESET;
  ERR_clear_error();
  errno = 0;
  n = SSL_write(t->ssl, buf, len > INT_MAX ? INT_MAX : (int) len);
  if (MG_LIKELY(n > 0)) return n;
  c->tls_wants_read = SSL_want_read(t->ssl);
  return io_failed(c, n, true);
}

bool mg_tls_in_kernel(const struct mg_connection *c) {
  const struct mg_tls *t = of(c);
  return t != NULL && t->started && BIO_get_ktls_send(SSL_get_wbio(t->ssl)) != 0;
}

long mg_tls_sendfile(struct mg_connection *c, int fd, int64_t ofs, size_t len) {
  struct mg_tls *t = of(c);
  ossl_ssize_t n;
  if (t == NULL || c->is_tls_hs) return MG_IO_WAIT;
  if (t->broken || t->ended) return MG_IO_RESET;
  ERR_clear_error();
  errno = 0;
  n = SSL_sendfile(t->ssl, fd, (off_t) ofs, len, 0);
  if (n >= 0) return (long) n;
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return MG_IO_WAIT;
  return io_failed(c, (int) n, true);
}

size_t mg_tls_pending(struct mg_connection *c) {
  struct mg_tls *t = of(c);
  return t != NULL && SSL_has_pending(t->ssl) ? 1 : 0;
}

void mg_tls_flush(struct mg_connection *c) {
  (void) c;
}

bool mg_tls_end(struct mg_connection *c) {
  struct mg_tls *t = of(c);
  bool waits = false;
  int rc;
  if (t == NULL || (t->ended && !t->ending)) return true;
  t->ending = false;
  t->ended = true;
  if (!t->started || t->broken || c->is_tls_hs || c->is_failed || c->is_cut || mg_unsent(c) > 0) return true;
  ERR_clear_error();
  rc = SSL_shutdown(t->ssl); /* the peer's answer is not waited for (RFC 8446 6.1) */
  if (rc < 0) waits = SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_WRITE;
  ERR_clear_error();
  t->ending = waits;
  return !waits;
}

const char *mg_tls_error(const struct mg_connection *c) {
  const struct mg_tls *t = of(c);
  return t != NULL && t->why[0] != '\0' ? t->why : NULL;
}
#else
typedef int mg_tls_conn_is_not_built;
#endif
