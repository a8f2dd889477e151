/* tls_none.c - a build without TLS: whoever asks for it is told so. */
#include "mongoose/config.h"

#if MG_TLS == MG_TLS_NONE
#include <stdio.h>
#include <string.h>

#include "mongoose/loop/conn.h"
#include "mongoose/loop/io.h"
#include "mongoose/loop/tls.h"

static const char WHY[] = "TLS is not part of this build";

bool mg_tls_available(void) {
  return false;
}

struct mg_tls_ctx *mg_tls_ctx_new(const struct mg_tls_opts *opts, bool is_client, int *status, char err[MG_TLS_ERR]) {
  (void) opts, (void) is_client;
  *status = MG_ETLS;
  snprintf(err, MG_TLS_ERR, "%s", WHY);
  return NULL;
}

struct mg_tls_ctx *mg_tls_ctx_get(struct mg_mgr *mgr, const struct mg_tls_opts *opts, bool is_client, int *status, char err[MG_TLS_ERR]) {
  (void) mgr;
  return mg_tls_ctx_new(opts, is_client, status, err);
}

struct mg_tls_ctx *mg_tls_ctx_hold(struct mg_tls_ctx *ctx) {
  return ctx;
}

void mg_tls_ctx_drop(struct mg_tls_ctx *ctx) {
  (void) ctx;
}

bool mg_tls_listen(struct mg_connection *listener, struct mg_tls_ctx *ctx) {
  (void) ctx;
  mg_fail(listener->mgr, MG_ETLS, WHY);
  return false;
}

bool mg_tls_can_serve(const struct mg_tls_ctx *ctx) {
  (void) ctx;
  return false;
}

void mg_tls_ctx_init(struct mg_mgr *mgr) {
  (void) mgr;
}

void mg_tls_ctx_free(struct mg_mgr *mgr) {
  (void) mgr;
}

void mg_tls_init(struct mg_connection *c, const struct mg_tls_opts *opts) {
  (void) opts;
  mg_error_as(c, MG_ETLS, "%s", WHY);
}

bool mg_tls_attach(struct mg_connection *c, struct mg_tls_ctx *ctx, const char *name) {
  (void) ctx, (void) name;
  mg_error_as(c, MG_ETLS, "%s", WHY);
  return false;
}

void mg_tls_free(struct mg_connection *c) {
  mg_tls_drop(c);
}

void mg_tls_drop(struct mg_connection *c) {
  c->is_tls = c->is_tls_hs = 0;
}

bool mg_tls_accept(struct mg_connection *c, struct mg_tls_ctx *ctx) {
  (void) c, (void) ctx;
  return false;
}

void mg_tls_handshake(struct mg_connection *c) {
  (void) c;
}

long mg_tls_recv(struct mg_connection *c, void *buf, size_t len) {
  (void) c, (void) buf, (void) len;
  return MG_IO_ERR;
}

long mg_tls_send(struct mg_connection *c, const void *buf, size_t len) {
  (void) c, (void) buf, (void) len;
  return MG_IO_ERR;
}

long mg_tls_sendfile(struct mg_connection *c, int fd, int64_t ofs, size_t len) {
  (void) c, (void) fd, (void) ofs, (void) len;
  return MG_IO_ERR;
}

bool mg_tls_in_kernel(const struct mg_connection *c) {
  (void) c;
  return false;
}

size_t mg_tls_pending(struct mg_connection *c) {
  (void) c;
  return 0;
}

void mg_tls_flush(struct mg_connection *c) {
  (void) c;
}

bool mg_tls_end(struct mg_connection *c) {
  (void) c;
  return true;
}

const char *mg_tls_error(const struct mg_connection *c) {
  (void) c;
  return NULL;
}

bool mg_tls_info_of(const struct mg_connection *c, struct mg_tls_info *info) {
  (void) c;
  memset(info, 0, sizeof(*info));
  return false;
}

struct mg_tls_peer *mg_tls_peer_new(const struct mg_connection *c) {
  (void) c;
  return NULL;
}

void mg_tls_peer_free(struct mg_tls_peer *p) {
  (void) p;
}
#else
typedef int mg_tls_none_is_not_built;
#endif
