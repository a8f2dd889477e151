/* tls.h - TLS 1.2 and 1.3 for connections (RFC 8446, RFC 5246), by OpenSSL 3 or not at all (MG_TLS).
 *
 *   options ──mg_tls_ctx_new──> context (certificates by name, trust, tickets), shared ──mg_tls_attach──> one connection's session
 *
 * Mongoose programs call mg_tls_init(c, &opts) on MG_EV_ACCEPT or MG_EV_CONNECT; contexts are made once for equal options and kept.
 * A listener that was given a context needs no call. The handshake runs in the wait phase; MG_EV_TLS_HS tells of its end, or
 * MG_EV_ERROR with OpenSSL's reason. Bytes sent before it is over wait for it. A failure is never plain text instead.
 */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

struct mg_connection;
struct mg_mgr;
struct mg_tls_ctx;

#define MG_TLS_ERR 256 /* bytes of the text that explains a failure; never key material */

/* Results of mg_tls_recv and mg_tls_send besides a number of bytes; 0 of mg_tls_recv is the peer's polite end. */
enum { MG_IO_ERR = -1, MG_IO_WAIT = -2, MG_IO_RESET = -3 };

enum mg_tls_client_auth {
  MG_TLS_AUTH_DEFAULT, /* required when a server has a `ca`, else none */
  MG_TLS_AUTH_NONE,
  MG_TLS_AUTH_OPTIONAL, /* asked for; what is shown must verify */
  MG_TLS_AUTH_REQUIRED
};

/* One more certificate of a server, for the names in `name` (comma-separated, *.example.com for one label); empty: those in it. */
struct mg_tls_cert {
  struct mg_str name, cert, key;
};

/* PEM text, or the path of a PEM file, wherever that is asked for. */
struct mg_tls_opts {
  struct mg_str ca;   /* whom to trust; clients: instead of the system's store, servers: for client certificates */
  struct mg_str cert; /* certificate, and the chain that leads to it */
  struct mg_str key;
  struct mg_str name; /* clients: the server's name or address to verify; empty: the URL's host */
  int skip_verification; /* clients take any certificate: for tests */

  /* ours */
  const struct mg_tls_cert *more; /* servers: certificates chosen by the name the client asks for (SNI) */
  size_t nmore;
  struct mg_str alpn;    /* protocols, comma-separated, best first (RFC 7301); empty: what the protocol layer speaks; "-": none */
  struct mg_str ciphers; /* TLS 1.2, OpenSSL's syntax; empty: ECDHE with AES-GCM or ChaCha20 */
  struct mg_str ocsp;    /* DER, or the path of a DER file: response stapled to `cert` (RFC 6066 8) */
  enum mg_tls_client_auth client_auth;
  bool tls13_only;
  bool no_resumption; /* every handshake is a full one */
  bool ktls;          /* let the kernel encrypt where it can, so that files go out by sendfile */
};

/* ---- contexts: loop thread, but for hold and drop ---- */

bool mg_tls_available(void); /* is TLS built in? */
/* NULL with an mg_status (MG_EINVAL, MG_ETLS, MG_ENOMEM) and its reason. One reference. */
struct mg_tls_ctx *mg_tls_ctx_new(const struct mg_tls_opts *opts, bool is_client, int *status, char err[MG_TLS_ERR]);
/* The same, or the context made before from equal options and files that have not changed since, of this manager. */
struct mg_tls_ctx *mg_tls_ctx_get(struct mg_mgr *mgr, const struct mg_tls_opts *opts, bool is_client, int *status, char err[MG_TLS_ERR]);
struct mg_tls_ctx *mg_tls_ctx_hold(struct mg_tls_ctx *ctx);
void mg_tls_ctx_drop(struct mg_tls_ctx *ctx); /* NULL is allowed */
/* From now on the listener uses ctx for new connections; those that are open keep what they have. Sessions of before can be resumed
 * when the same clients are let in. False: not a listener. */
bool mg_tls_listen(struct mg_connection *listener, struct mg_tls_ctx *ctx);
bool mg_tls_can_serve(const struct mg_tls_ctx *ctx); /* it has a certificate and is not a client's */

void mg_tls_ctx_init(struct mg_mgr *mgr); /* Mongoose's: mgr->tls_ctx, made on first use anyhow */
void mg_tls_ctx_free(struct mg_mgr *mgr);

/* ---- a connection's session ---- */

/* Mongoose's: TLS from here on. On failure MG_EV_ERROR and the connection closes. For STARTTLS, too: output that waits goes out in
 * plain text first; input that came already is an error, since it was not protected. */
void mg_tls_init(struct mg_connection *c, const struct mg_tls_opts *opts);
/* The same with a context that is there. `name` as in the options; NULL: the URL's host. False after MG_EV_ERROR. */
bool mg_tls_attach(struct mg_connection *c, struct mg_tls_ctx *ctx, const char *name);
void mg_tls_free(struct mg_connection *c); /* Mongoose's: no TLS any more. What was protected does not go on in plain text: it closes */

/* The loop's own calls, in any phase: they run no callbacks. */
void mg_tls_drop(struct mg_connection *c); /* the session, without a word; also of a connection that has none */
bool mg_tls_accept(struct mg_connection *c, struct mg_tls_ctx *ctx); /* a connection that was just accepted; false: no memory */
void mg_tls_handshake(struct mg_connection *c); /* as far as it goes: c->is_tls_hs falls when it is over, c->is_failed rises */
long mg_tls_recv(struct mg_connection *c, void *buf, size_t len);
long mg_tls_send(struct mg_connection *c, const void *buf, size_t len); /* repeat a call that waits with at least the same bytes */
long mg_tls_sendfile(struct mg_connection *c, int fd, int64_t ofs, size_t len); /* only when mg_tls_in_kernel */
bool mg_tls_in_kernel(const struct mg_connection *c);   /* does the kernel encrypt the output? */
size_t mg_tls_pending(struct mg_connection *c);         /* > 0: bytes can be had without the socket */
void mg_tls_flush(struct mg_connection *c);             /* Mongoose's; nothing waits in here */
bool mg_tls_end(struct mg_connection *c);               /* close_notify, once. False: the socket is full, call again */
const char *mg_tls_error(const struct mg_connection *c); /* why c->is_failed, NULL: not TLS's fault */

/* ---- what was agreed on ---- */

struct mg_tls_info {
  const char *version, *cipher; /* "TLSv1.3", OpenSSL's name; static */
  struct mg_str alpn;           /* empty: none; like server_name until the connection ends */
  struct mg_str server_name;    /* SNI */
  bool resumed, verified, in_kernel, truncated;
};
/* False: no TLS, or not yet. */
bool mg_tls_info_of(const struct mg_connection *c, struct mg_tls_info *info);

/* Who the peer is. subject and issuer as in RFC 4514; names as "DNS:…", "IP:…", "URI:…", "email:…"; times in seconds since 1970. */
struct mg_tls_peer {
  struct mg_str der, subject, issuer, serial; /* serial: hexadecimal */
  struct mg_str *names;
  size_t nnames;
  int64_t not_before, not_after;
  uint8_t sha256[32]; /* of der */
  bool verified;      /* against the trust that was configured, and for clients the name */
};
/* NULL: it showed no certificate, or no memory. Free with mg_tls_peer_free. */
struct mg_tls_peer *mg_tls_peer_new(const struct mg_connection *c);
void mg_tls_peer_free(struct mg_tls_peer *p);

MG_END_DECLS
