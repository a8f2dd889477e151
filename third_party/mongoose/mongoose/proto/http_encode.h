/* http_encode.h - private to proto/: answers in a content coding (RFC 9110 8.4, 12.5.3). */
#pragma once
#include "mongoose/proto/http_conn.h"

MG_BEGIN_DECLS

/* Where a whole body comes from. */
struct mg_http_source {
  const char *buf;         /* NULL: from fd */
  int fd;
  size_t len;
  void (*done)(void *arg); /* NULL: buf is good for the call only */
  void *arg;
};

struct mg_http_encoder; /* of one exchange */

void mg_http_negotiate(struct mg_connection *c, struct mg_http_xchg *x, const struct mg_http_message *hm);

/* On listeners that compress these come before the plain functions below, and end there. */
bool mg_http_encode_reply(struct mg_connection *c, int code, struct mg_str headers, struct mg_http_source from);
bool mg_http_encode_start(struct mg_connection *c, int code, struct mg_str headers);
void mg_http_encode_chunk(struct mg_connection *c, struct mg_http_conn *hc, struct mg_http_xchg *x, const char *buf, size_t len);
void mg_http_encoder_free(struct mg_http_conn *hc, struct mg_http_xchg *x);

/* Large bodies: some more of what is first in line, as far as the output has room. */
void mg_http_pump(struct mg_connection *c, struct mg_http_conn *hc);
void mg_http_pump_next(struct mg_connection *c, struct mg_http_conn *hc); /* is there such a body first in line? */

/* http_reply.c: as they are, without a coding. */
bool mg_http_plain_reply(struct mg_connection *c, int code, struct mg_str headers, struct mg_str body);
bool mg_http_plain_ref(struct mg_connection *c, int code, struct mg_str headers, struct mg_str body, void (*done)(void *), void *arg);
bool mg_http_plain_file(struct mg_connection *c, int code, struct mg_str headers, int fd, size_t len, void (*done)(void *), void *arg);
bool mg_http_plain_start(struct mg_connection *c, int code, struct mg_str headers);
void mg_http_put_chunk(struct mg_connection *c, struct mg_http_xchg *x, struct mg_str piece); /* framed as x is */
void mg_http_put_end(struct mg_connection *c, const struct mg_http_xchg *x);

MG_END_DECLS
