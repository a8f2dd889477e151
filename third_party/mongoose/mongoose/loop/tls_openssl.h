/* tls_openssl.h - private to the files of the OpenSSL engine: contexts (tls_ctx.c), PEM (tls_pem.c), tickets and sessions
 * (tls_resume.c), connections (tls_conn.c), identities (tls_peer.c).
 */
#pragma once
#include "mongoose/config.h"
#if MG_TLS == MG_TLS_OPENSSL
#include <openssl/ssl.h>
#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "pymongoose's TLS needs OpenSSL 3.0 or newer"
#endif

#include "mongoose/loop/conn.h"
#include "mongoose/loop/tls.h"

MG_BEGIN_DECLS

enum { MG_TLS_NAME = 255, MG_TLS_SESSIONS = 64, MG_TLS_ALPN = 256 };

/* A name of a certificate, in small letters; "*.example.com" stands for one label. */
struct mg_tls_name {
  char *name;
  SSL_CTX *ssl; /* borrowed from ctx->ssls */
};

/* Keys that session tickets are sealed with (RFC 5077, RFC 8446 4.6.1): the first seals, the others only open. */
struct mg_tls_tickets {
  int refs;
  struct mg_tls_ticket_key {
    uint8_t name[16], cipher[32], mac[32];
    uint64_t born; /* ms; 0: none */
  } keys[3];
};

struct mg_tls_session { /* of a client, to be resumed */
  char *peer;           /* "name:port" */
  SSL_SESSION *session;
};

struct mg_tls_ctx {
  int refs; /* atomic */
  bool is_client, has_cert;
  SSL_CTX **ssls; /* [0]: the default certificate's */
  size_t nssls;
  struct mg_tls_name *names; /* sorted */
  size_t nnames;
  unsigned char alpn[MG_TLS_ALPN]; /* as on the wire; alpn_len 0: the protocol's, -1: none */
  int alpn_len;
  struct mg_tls_tickets *tickets;
  uint8_t trust[32]; /* hash of who is let in: sessions of others are not resumed */
  uint8_t key[32];   /* of the options, for mg_tls_ctx_get */
  struct mg_tls_ctx *next;
  struct mg_tls_session sessions[MG_TLS_SESSIONS];
  unsigned next_session;
  unsigned char *ocsp;
  size_t ocsp_len;
};

/* c->tls */
struct mg_tls {
  SSL *ssl;
  struct mg_tls_ctx *ctx;
  bool started;  /* the socket is known to ssl */
  bool broken;   /* a fatal error: not a byte more */
  bool ended;    /* nothing more is said: our close_notify is out, or the peer is gone */
  bool ending;   /* … it waits for room in the socket */
  char sni[MG_TLS_NAME + 1];  /* the name that was asked for, or that we ask for */
  char peer[MG_TLS_NAME + 8]; /* clients: key of the session */
  char why[MG_TLS_ERR];
};

/* tls_pem.c: each with a reason in err on failure. */
struct mg_str mg_tls_read(struct mg_str what, const char *option, bool secret, char *err); /* PEM text, from a file if need be; {NULL, 0} */
void mg_tls_read_free(struct mg_str text, struct mg_str what);
bool mg_tls_use_cert(SSL_CTX *ssl, struct mg_str cert, struct mg_str key, char *err);
bool mg_tls_use_ca(SSL_CTX *ssl, struct mg_str ca, bool for_clients, char *err);
bool mg_tls_use_system_ca(SSL_CTX *ssl, char *err);
void mg_tls_explain(char *err, const char *what); /* what, and the reason that OpenSSL queued; the queue is empty afterwards */

/* tls_resume.c */
struct mg_tls_tickets *mg_tls_tickets_new(void);
void mg_tls_tickets_drop(struct mg_tls_tickets *t);
bool mg_tls_tickets_rotate(struct mg_tls_tickets *t, uint64_t now); /* as it should be at that ms; false: no random bytes */
int mg_tls_ticket_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal);
int mg_tls_new_session_cb(SSL *ssl, SSL_SESSION *s);
void mg_tls_resume(struct mg_tls *t);
void mg_tls_sessions_free(struct mg_tls_ctx *ctx);

/* tls_ctx.c */
int mg_tls_alpn_wire(struct mg_str list, unsigned char out[MG_TLS_ALPN]); /* length, -1: not a list of protocols */

MG_END_DECLS
#endif
