/* ws.h - WebSocket over HTTP/1.1 connections, as server and as client (RFC 6455), with permessage-deflate (RFC 7692).
 *
 *   server: MG_EV_HTTP_MSG ──mg_ws_upgrade──> MG_EV_WS_OPEN ──> MG_EV_WS_MSG, MG_EV_WS_CTL … ──> MG_EV_CLOSE
 *   client: mg_ws_connect ──────────────────> MG_EV_WS_OPEN ──> …
 *
 * Pings are answered, fragments put together, masks removed and texts checked before a handler sees anything. What breaks the
 * protocol ends the connection with the close code the RFC asks for: 1002, 1007, 1009. Loop thread only. Functions that can fail
 * say why in mgr->status: MG_ESTATE (no WebSocket, or its close handshake has begun), MG_EINVAL, MG_EFULL, MG_ENOMEM.
 */
#pragma once
#include <stdarg.h>
#include "mongoose/codec/http_parse.h"
#include "mongoose/loop/conn.h"

MG_BEGIN_DECLS

#define WEBSOCKET_OP_CONTINUE 0
#define WEBSOCKET_OP_TEXT 1
#define WEBSOCKET_OP_BINARY 2
#define WEBSOCKET_OP_CLOSE 8
#define WEBSOCKET_OP_PING 9
#define WEBSOCKET_OP_PONG 10

/* MG_EV_WS_MSG: a whole text or binary message. MG_EV_WS_CTL: the payload of a ping, pong or close; it is answered already. */
struct mg_ws_message {
  struct mg_str data; /* valid during the event; mg_ws_hold keeps it */
  uint8_t flags;      /* 128 | opcode: flags & 15 is WEBSOCKET_OP_… */
};

/* For upgrades and connects; all zero is a good start. */
struct mg_ws_opts {
  const struct mg_str *protocols; /* subprotocols, the best first: a server chooses of these, a client offers them */
  size_t nprotocols;
  const struct mg_str *origins;   /* server: the Origin values that may connect, ASCII case ignored; others get 403 */
  size_t norigins;                /* 0: any origin, or none */
  struct mg_str headers;          /* lines to add to the handshake, each with \r\n */
  const struct mg_ws_limits *limits; /* NULL: limits.ws of the listener; for a client mg_limits_default.ws. Copied */
  bool compress;                  /* agree on permessage-deflate when the peer knows it and this build has zlib */
  /* With compress. Without context takeover no memory is kept for a connection between messages. */
  bool takeover;        /* keep the window from message to message: smaller messages, up to 300 KB for each connection */
  uint8_t window_bits;  /* of what we compress: 9 … 15, 0: 15 */
  uint8_t level;        /* 1 … 9, 0: 1 */
  size_t min_size;      /* messages of fewer bytes are sent as they are; 0: 64 */
};

/* ---- opening ---- */

/* In the handler of a request, or later for one that was put off by mg_http_defer (hm must still be whole): take the handshake, and
 * tell MG_EV_WS_OPEN with hm before returning. A request that is no valid handshake is answered here - 400, 403 (origin), 405, 426
 * with the version we speak - and false returned, with MG_EPROTO. To refuse, reply with any status instead of calling this. */
bool mg_ws_upgrade_with(struct mg_connection *c, struct mg_http_message *hm, const struct mg_ws_opts *opts);
/* Mongoose's: fmt makes header lines with \r\n, or is NULL. */
void mg_ws_upgrade(struct mg_connection *c, struct mg_http_message *hm, const char *fmt, ...);
/* Is this request an attempt at a WebSocket handshake (whether or not it is a valid one)? */
bool mg_ws_wanted(struct mg_http_message *hm);

/* url: ws://, wss://, ws+unix://. NULL as for mg_connect. A refused or wrong handshake is MG_EV_ERROR and a close. */
struct mg_connection *mg_ws_connect_with(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data,
                                         const struct mg_ws_opts *opts);
struct mg_connection *mg_ws_connect(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data, const char *fmt, ...);

/* What was agreed on; from MG_EV_WS_OPEN to the end of MG_EV_CLOSE. */
struct mg_str mg_ws_protocol(const struct mg_connection *c); /* the subprotocol, "" for none */
bool mg_ws_compressed(const struct mg_connection *c);

/* ---- sending ---- */

/* One message, or a control frame (125 bytes at most; a close as mg_ws_close). Bytes queued, header included; 0: refused, and
 * nothing was sent - also when limits.send_max bytes wait already (MG_EFULL). Text is not checked for being UTF-8. While a streamed
 * message is open, others wait for its end. */
size_t mg_ws_send(struct mg_connection *c, const void *buf, size_t len, int op);
/* The same without a copy where that can be (a server, not compressed): until done(arg), which is always called. */
size_t mg_ws_send_ref(struct mg_connection *c, const char *buf, size_t len, int op, void (*done)(void *), void *arg);
size_t mg_ws_printf(struct mg_connection *c, int op, const char *fmt, ...);
size_t mg_ws_vprintf(struct mg_connection *c, int op, const char *fmt, va_list *ap);
/* Make a frame of the last len bytes of c->send. Returns c->send.len, 0 when refused. Never compressed. */
size_t mg_ws_wrap(struct mg_connection *c, size_t len, int op);

/* A message of unknown length, in as many fragments as there are writes. */
bool mg_ws_stream_begin(struct mg_connection *c, int op); /* WEBSOCKET_OP_TEXT or _BINARY */
bool mg_ws_stream_write(struct mg_connection *c, const void *buf, size_t len);
bool mg_ws_stream_end(struct mg_connection *c); /* of what is open never refused for MG_EFULL */
bool mg_ws_stream_undo(struct mg_connection *c); /* take a begin back that nothing was written after, as when its first write was refused */

/* ---- receiving ---- */

/* In MG_EV_WS_MSG and MG_EV_WS_CTL: a reference to the memory that data is in, for mg_chunk_drop. NULL: copy it. */
struct mg_chunk *mg_ws_hold(struct mg_connection *c);

/* ---- closing ---- */

/* Begin the close handshake; the connection ends when the peer answers, or after limits.ws.close_timeout. code: 1000-1003, 1007-1014,
 * 3000-4999, or 0 for a close frame without one. reason: UTF-8, 123 bytes at most. */
bool mg_ws_close(struct mg_connection *c, int code, struct mg_str reason);
/* The peer's close code: 1005 when its frame had none, 1006 as long as there was no frame; up to the end of MG_EV_CLOSE. */
int mg_ws_close_code(const struct mg_connection *c);
int mg_ws_sent_code(const struct mg_connection *c); /* ours: 1005 when our frame had none, 0 as long as there was no frame */
struct mg_str mg_ws_close_reason(const struct mg_connection *c);

/* ---- groups ---- */

/* Groups are made by the first to join, and are gone with the last who leaves; closing leaves them all. */
bool mg_ws_join(struct mg_connection *c, struct mg_str group);  /* true also when it is a member already */
bool mg_ws_leave(struct mg_connection *c, struct mg_str group); /* false: it is no member */
size_t mg_ws_members(struct mg_mgr *mgr, struct mg_str group);
/* Text or binary, to every member, framed (and compressed) once for all alike. Returns to how many it was queued; those who have more
 * than limits.ws.max_backlog bytes unread are dealt with by limits.ws.slow, and counted. */
size_t mg_ws_broadcast(struct mg_mgr *mgr, struct mg_str group, int op, struct mg_str data);
size_t mg_ws_broadcast_from(struct mg_connection *c, struct mg_str group, int op, struct mg_str data); /* … but c */

/* ---- memory ---- */

/* Bytes that compression windows of this manager's connections may take together, default 64 MiB. Beyond, connections are made
 * without context takeover; when the peer's offer does not allow that, without compression. */
bool mg_ws_deflate_budget(struct mg_mgr *mgr, size_t bytes);
bool mg_ws_can_compress(void); /* built with zlib */

MG_END_DECLS
