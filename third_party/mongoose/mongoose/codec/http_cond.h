/* http_cond.h - conditional requests (RFC 9110 13) and the choice of a coding (12.5.3), from the fields of a request. */
#pragma once
#include "mongoose/codec/http_parse.h"

MG_BEGIN_DECLS

enum mg_http_cond {
  MG_HTTP_SEND,         /* do what the method says, Range included */
  MG_HTTP_SEND_WHOLE,   /* the same, but If-Range failed: without Range */
  MG_HTTP_NOT_MODIFIED, /* 304 */
  MG_HTTP_FAILED        /* 412 */
};

/* The preconditions of a GET or HEAD, in the order of RFC 9110 13.2.2, against a representation that exists: `etag` with its quotes,
 * `modified` and `now` in seconds since 1970. */
enum mg_http_cond mg_http_cond(const struct mg_http_message *hm, struct mg_str etag, int64_t modified, int64_t now);

/* How much the client wants `coding`, 0 (not at all) to 1000, by its Accept-Encoding fields; "identity" is 1 unless it is named.
 * Without such a field 0: it may not understand any. */
int mg_http_accepts_coding(const struct mg_http_message *hm, struct mg_str coding);

/* The first field of that name, NULL when there is none or when there are several: their order would matter. */
const struct mg_str *mg_http_only_field(const struct mg_http_message *hm, const char *name);

MG_END_DECLS
