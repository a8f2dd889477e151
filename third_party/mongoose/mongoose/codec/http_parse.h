/* http_parse.h - the head of an HTTP/1.x message, bytes in, facts out (RFC 9110, RFC 9112).
 *
 * Feed the same message again and again with more bytes behind it: the parser remembers how far it
 * looked and never looks at a byte of a finished line, nor scans an unfinished one, twice. The buffer may move
 * between calls (the slices in `hm` are rebased). Nothing is allocated. The parser is strict: what two readers could
 * understand differently is refused, with the status an HTTP server should answer.
 *
 *   START (at most 2 blank lines) --> REQUEST LINE --> FIELD LINE* --> blank line --> done
 */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

struct mg_http_header {
  struct mg_str name;
  struct mg_str value;
};

struct mg_http_message {
  struct mg_str method, uri, query, proto; /* in responses: protocol, status, "", reason - as Mongoose has it */
  struct mg_http_header headers[MG_MAX_HTTP_HEADERS]; /* ends at the first empty name */
  struct mg_str body;    /* what has arrived of it, decoded; whole in MG_EV_HTTP_MSG */
  struct mg_str head;    /* request line and header fields, with the blank line; begins behind blank lines in front */
  struct mg_str message; /* head and body */
};

struct mg_http_parse_limits {
  uint32_t max_uri;    /* bytes of the request target: 414 beyond */
  uint32_t max_header; /* bytes of one field line: 431 beyond */
  uint32_t max_head;   /* bytes of the whole head: 431 beyond */
  uint32_t max_count;  /* field lines, at most MG_MAX_HTTP_HEADERS: 431 beyond */
};

struct mg_http_parser {
  /* where we are: offsets from the first byte of the message */
  uint32_t line;      /* start of the line being read */
  uint32_t scanned;   /* bytes looked at so far */
  uint32_t count;     /* header fields found */
  uint8_t state;      /* enum in http_parse.c; 0 at the start */
  uint8_t blank;      /* blank lines skipped before the request */
  uint8_t is_response; /* set by the caller before the first byte */
  const char *base;   /* where the message was at the last call */

  /* what was learned */
  uint64_t content_length; /* bytes; valid with has_length */
  uint16_t status;         /* of a response; after a refusal the status that refused */
  uint8_t minor;           /* HTTP/1.minor */
  uint8_t has_length : 1;
  uint8_t chunked : 1;
  uint8_t keep_alive : 1;      /* by version and Connection field (RFC 9112 9.3) */
  uint8_t upgrade : 1;         /* "Connection: upgrade" and an Upgrade field */
  uint8_t expect_continue : 1; /* "Expect: 100-continue" from an HTTP/1.1 client */
  uint8_t has_host : 1;
  uint8_t is_head : 1; /* method is HEAD; for a response set by the caller: it answers one, so it has no body */
  uint8_t saw_close : 1;
  uint8_t saw_te : 1; /* for the parser's own book-keeping */
  uint8_t saw_upgrade : 1;
  uint8_t saw_conn_upgrade : 1;
  const char *why; /* after a refusal: the reason in a few words, static text */
};

extern const struct mg_http_parse_limits mg_http_parse_defaults; /* 8 KiB, 8 KiB, 32 KiB, 100 */

/* Zero everything but is_response: ready for the next message. */
void mg_http_parser_reset(struct mg_http_parser *p);

/* Bytes of the head with its blank line and any blank lines in front (> 0) when it is whole, 0 when more bytes are
 * needed, or minus the HTTP status that refuses it: -400 malformed, -414, -417, -431, -501 (unknown transfer coding,
 * method beyond 32 bytes), -505; responses know -400 and -431 only. A refusal stays. `in` begins at the first byte of
 * the message every time, and hm is the same one. hm->body is set to the bytes behind the head that are there already,
 * no more than has_length allows (nothing of them when chunked; without a length nothing for a request, everything for
 * a response but 1xx, 204, 304), hm->message to head + that. May be called again for a whole head: body grows.
 * Which byte is refused, and with what, does not depend on how the bytes were cut.
 *
 * In absolute-form (RFC 9112 3.2.2) uri is the path; the target's host is checked, not kept, and Host must be
 * there too. */
int mg_http_parse_head(struct mg_http_parser *p, struct mg_str in, const struct mg_http_parse_limits *limits,
                       struct mg_http_message *hm);

/* Add `delta` to every slice in hm that points into the message (the buffer moved). mg_http_parse_head does it by
 * itself: for those who keep hm when the parser is fed no more. */
void mg_http_message_rebase(struct mg_http_message *hm, ptrdiff_t delta);

/* Mongoose's one-shot call, for requests and responses ("HTTP/" in front): head's length, 0 incomplete, -1 malformed.
 * As strict as mg_http_parse_head, without its limits but the number of fields, and a request may lack Host.
 * Without a Content-Length body is empty in a request and the rest of the bytes in a response. */
int mg_http_parse(const char *s, size_t len, struct mg_http_message *hm);
/* Length of the head with its blank line, 0 when it is not there yet, -1 when a byte cannot be in a head (as a CR or LF
 * that is not part of CRLF). At most two blank lines in front belong to it, as for the parser. */
int mg_http_get_request_len(const unsigned char *buf, size_t len);
/* First field of that name, ASCII case ignored; NULL when there is none. */
struct mg_str *mg_http_get_header(struct mg_http_message *hm, const char *name);
/* A parameter inside a field value: mg_http_get_header_var(mg_str("a; b=\"c\""), mg_str("b")) is c. The exact name wins
 * over one that differs in case (names of cookies are case-sensitive, of parameters not). Backslashes stay.
 * NULL as buf: there is none. */
struct mg_str mg_http_get_header_var(struct mg_str s, struct mg_str v);
/* Status code of a response message, 0 when hm is none. */
int mg_http_status(const struct mg_http_message *hm);

MG_END_DECLS
