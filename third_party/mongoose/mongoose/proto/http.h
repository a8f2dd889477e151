/* http.h - HTTP/1.1 over connections: listen, answer at once, later, or piece by piece (RFC 9110, RFC 9112).
 *
 * A request and its answer are one exchange. Handlers get MG_EV_HTTP_HDRS once when the head is there and MG_EV_HTTP_MSG when
 * the body is, too. Answers leave in the order of the requests, whatever order they are given in.
 */
#pragma once
#include "mongoose/codec/compress.h"
#include "mongoose/codec/http_parse.h"
#include "mongoose/codec/http_text.h"
#include "mongoose/loop/conn.h"

MG_BEGIN_DECLS

struct mg_connection *mg_http_listen(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data);
struct mg_connection *mg_http_listen_with(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data,
                                          const struct mg_listen_opts *opts);
/* A client: write the request with mg_printf or mg_send on MG_EV_CONNECT, a body in pieces with mg_http_write_chunk or mg_send while
 * c->is_choked is not set. Each response is told by MG_EV_HTTP_HDRS once and by MG_EV_HTTP_MSG with its body, which is
 * limits.max_body bytes at most; mg_http_stream_body works here, too. Interim responses are skipped. A malformed, cut or oversized
 * response is MG_EV_ERROR and a close: never part of a body as a whole one. After 101 the connection is a plain one. Requests may
 * follow each other on one connection. */
struct mg_connection *mg_http_connect(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data);
/* Ours: with limits (NULL: the defaults): those of head, body and connecting. */
struct mg_connection *mg_http_connect_with(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data,
                                           const struct mg_limits *limits);

enum mg_http_expect {
  MG_HTTP_TO_HEAD = 1,    /* the next response answers HEAD: no body, whatever its head says */
  MG_HTTP_TO_CONNECT = 2, /* … answers CONNECT: with 2xx it has no body, and what follows is the tunnel's (RFC 9110 9.3.6) */
  MG_HTTP_INTERIM = 4     /* MG_EV_HTTP_HDRS tells of interim responses (1xx), too: 100 Continue */
};
/* Ours: what there is to know about the next response, before or after its request is queued; the last call counts. From then on a
 * close without a response is an error, and so are read_timeout ms (0: any) without a byte from the peer while nothing of the request
 * waits to be sent. False: MG_ESTATE (no HTTP client, or in the middle of a response), MG_ENOMEM. */
bool mg_http_expect(struct mg_connection *c, unsigned what, uint32_t read_timeout);
/* Ours: may this client's connection carry another request? In the handler of a whole response: did both sides leave it open, with
 * nothing behind the response and nothing of the request unsent? Between responses: and has the peer been quiet since? */
bool mg_http_reusable(const struct mg_connection *c);

/* ---- answering at once ---- */

/* Mongoose's: `headers` are lines with \r\n (or NULL), the body is formatted. */
void mg_http_reply(struct mg_connection *c, int code, const char *headers, const char *body_fmt, ...);

/* Pointer and length; a NUL byte is a byte. Adds Date, Content-Length (not for 1xx, 204, 304) and Connection where the headers
 * lack them; a HEAD request gets the head only. False, with mgr->status: MG_EINVAL for an interim status (see mg_http_interim), MG_ESTATE when the request is answered already or there
 * is none on this HTTP connection, MG_ECLOSED, MG_ENOMEM. */
bool mg_http_reply_n(struct mg_connection *c, int code, struct mg_str headers, struct mg_str body);
/* The same, the body by reference until done(arg), which is always called. */
bool mg_http_reply_ref(struct mg_connection *c, int code, struct mg_str headers, struct mg_str body, void (*done)(void *), void *arg);

/* The same, the body from the first len bytes of a file, by sendfile; fd stays the caller's, open until done(arg). */
bool mg_http_reply_file(struct mg_connection *c, int code, struct mg_str headers, int fd, size_t len, void (*done)(void *), void *arg);

/* Ours: a field for the answer to the current request, whoever gives it: a refusal by the engine, an error, a handler's answer that
 * has no such field itself (Vary is added in any case). Set again it replaces. Not for bytes that are sent by hand. False: MG_ESTATE,
 * MG_EINVAL (illegal bytes), MG_ENOMEM, MG_ECLOSED. */
bool mg_http_set_header(struct mg_connection *c, struct mg_str name, struct mg_str value);

/* Ours: an interim response in front of the answer, as 103 Early Hints with Link fields (RFC 8297, RFC 9110 15.2). An HTTP/1.0 client
 * gets none. False: MG_EINVAL (not 1xx, or 101), MG_ESTATE, MG_ENOMEM, MG_ECLOSED. */
bool mg_http_interim(struct mg_connection *c, int code, struct mg_str headers);

/* ---- who asks ---- */

/* Mongoose's: credentials of a request, as strings: user and password of Basic; no user and the token of Bearer, of a cookie or a
 * query variable access_token. Empty when there are none, or when they do not fit: what is cut is somebody else's. */
void mg_http_creds(struct mg_http_message *hm, char *user, size_t userlen, char *pass, size_t passlen);
/* Mongoose's, for a client: one Authorization line of Basic. Call it between the request line and the blank line. */
void mg_http_bauth(struct mg_connection *c, const char *user, const char *pass);

/* ---- answering piece by piece ---- */

/* The head of an answer whose body follows in mg_http_write_chunk calls: chunked for HTTP/1.1, until the close for HTTP/1.0,
 * counted when the headers have a Content-Length. False as above. */
bool mg_http_start(struct mg_connection *c, int code, struct mg_str headers);
/* A piece of body; len 0 ends it. After a head sent with mg_send or mg_printf it writes a chunk. */
void mg_http_write_chunk(struct mg_connection *c, const char *buf, size_t len);
void mg_http_printf_chunk(struct mg_connection *c, const char *fmt, ...);

/* Give an answer that has begun up: the connection ends, and in a way that shows the client that the answer is not whole - by the
 * missing end of a chunked or counted body, by a reset where the close itself would be the end. */
void mg_http_cut(struct mg_connection *c);

/* ---- answering in a content coding ---- */

/* How answers of a listener are compressed, for clients whose Accept-Encoding asks for it. */
struct mg_http_compression {
  const char *codings;   /* "zstd,br,gzip": which, the preferred one first; NULL: these three, as far as they are built in */
  int level[MG_CODINGS]; /* by enum mg_coding; 0: the library's engine for answers on the fly, see codec/compress.h */
  size_t min_size;       /* bytes of a body below which it is not worth it */
  size_t whole_max;      /* up to this a whole answer is compressed at once; beyond in pieces, one in each turn of the loop */
  const char *types;     /* "application/json,text/#": patterns of mg_match; NULL: text, JSON, XML, scripts, fonts and the like */
  bool on_request;       /* only answers that ask for it by mg_http_compress_answer */
};

/* Compress answers of this HTTP listener. Not compressed are 1xx, 204, 206, 304 and what has a Content-Encoding, Content-Range, a digest or
 * "no-transform" already; mg_route_static; answers written with mg_send. What is compressed gets Content-Encoding, Vary and a weak
 * ETag, also in the answer to HEAD; each chunk written is flushed. False: MG_EINVAL (no HTTP listener, a coding that is unknown or
 * not built in), MG_ENOMEM. */
bool mg_http_compress(struct mg_connection *listener, const struct mg_http_compression *opts);

enum mg_http_compress_how {
  MG_COMPRESS_AUTO,   /* by type and size */
  MG_COMPRESS_NEVER,  /* as for secrets beside what a stranger chose: BREACH */
  MG_COMPRESS_ALWAYS  /* whatever type and size, when the client takes it */
};
/* For the answer about to be given. False: MG_ESTATE, there is none, it has begun, or the listener does not compress. */
bool mg_http_compress_answer(struct mg_connection *c, enum mg_http_compress_how how);

/* ---- answering later ---- */

/* In the handler of a request: its answer comes later, other requests of the connection may go on meanwhile. The number
 * of the exchange, > 0, or 0 when there is nothing to answer. */
unsigned long mg_http_defer(struct mg_connection *c);
/* Point the functions above at that exchange, until mg_http_unaim. False when it is answered or gone. */
bool mg_http_aim(struct mg_connection *c, unsigned long exchange);
void mg_http_unaim(struct mg_connection *c);
/* For who aims while somebody else may be aiming: where to (0: nowhere) before; and point there again, answered or not. */
unsigned long mg_http_aimed(const struct mg_connection *c);
void mg_http_aim_back(struct mg_connection *c, unsigned long exchange);
/* Number of the exchange that waits for an answer now, 0 for none. */
unsigned long mg_http_current(const struct mg_connection *c);
/* Of an answer that mg_http_start began and nothing ended: nothing of a body will be sent, for it is one to HEAD, or its status has none. */
bool mg_http_is_bodiless(const struct mg_connection *c);
/* In MG_EV_HTTP_HDRS: has the whole body arrived with the head? */
bool mg_http_body_here(const struct mg_connection *c);
/* Nothing was said yet in answer to the exchange that an answer now would belong to. */
bool mg_http_unanswered(const struct mg_connection *c);
/* No request is being read, handled or aimed at. */
bool mg_http_idle(const struct mg_connection *c);
/* Some exchange of this connection is not fully answered; of a client: mg_http_expect was called and the response is not whole. */
bool mg_http_busy(const struct mg_connection *c);

/* ---- bodies as they come ---- */

typedef void (*mg_http_body_fn)(struct mg_connection *c, struct mg_str piece, bool last, void *arg);
/* In MG_EV_HTTP_HDRS: have the body in pieces (decoded; the last call has last set and no bytes) instead of MG_EV_HTTP_MSG.
 * Set c->is_full to pause, clear it and mg_touch(c) to go on. The size limit is then `max_body` bytes, 0: none. */
bool mg_http_stream_body(struct mg_connection *c, mg_http_body_fn fn, void *arg, uint64_t max_body);
/* Nobody wants the rest of that body: fn is not called again, and the connection ends with the answer, given or to come. */
void mg_http_stop_body(struct mg_connection *c);

/* ---- answers that need no handler ---- */

/* GET and HEAD of exactly `path` on this listener are answered from memory; other methods get 405. Everything is copied.
 * A path that is set again replaces the answer. False: MG_EINVAL (no HTTP listener, bad path or status), MG_ENOMEM. */
bool mg_route_static(struct mg_connection *listener, struct mg_str path, int status, struct mg_str headers, struct mg_str body);

MG_END_DECLS
