/* limits.h - how much a peer may use of us, for each listener or client. All settable, all on by default. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

enum mg_ws_slow { MG_WS_SLOW_CLOSE, MG_WS_SLOW_DROP }; /* a member of a group who does not read: close (1013), or skip the message */

struct mg_ws_limits {
  uint64_t max_frame;   /* bytes of payload; beyond: close 1009, before anything is allocated */
  uint64_t max_message; /* bytes, put together and inflated */
  uint32_t max_ratio;   /* inflated bytes for each compressed one, 0: no bound */
  uint32_t ping;          /* milliseconds without a byte from the peer until it is asked for a sign of life, and again; 0: never … */
  uint32_t pong;          /* … and from the first such question until it is given up, 0: never */
  uint32_t close_timeout; /* milliseconds of close handshake */
  size_t max_backlog;     /* unsent bytes of a member of a group beyond which `slow` applies */
  enum mg_ws_slow slow;
};

struct mg_limits {
  /* HTTP request head; answers 414, 431 */
  uint32_t max_uri;     /* bytes of the request target */
  uint32_t max_header;  /* bytes of one field line */
  uint32_t max_head;    /* bytes of the whole head */
  uint32_t max_headers; /* field lines, at most MG_MAX_HTTP_HEADERS */
  /* HTTP body; answers 413 */
  uint64_t max_body; /* bytes, decoded; also the receive buffer's bound without a protocol is MG_MAX_RECV_SIZE */
  /* HTTP connection */
  uint32_t max_pipeline; /* requests waiting for their answers before reading stops */
  uint32_t max_requests; /* on one connection, 0: no bound */
  /* milliseconds, 0: for ever; answers 408 or a close */
  uint32_t header_timeout; /* from the first byte of a request to its blank line */
  uint32_t body_timeout;   /* without a byte of body */
  uint32_t body_grace;     /* before min_rate is asked for */
  uint32_t min_rate;       /* bytes per second of body on average, after the grace */
  uint32_t idle_timeout;   /* keep-alive without a request */
  uint32_t send_timeout;   /* output waiting and none taken by the peer */
  uint32_t connect_timeout; /* client connections */
  uint32_t tls_timeout;     /* TLS handshakes; an error event */
  uint32_t half_close;      /* 1: a client that has ended its side is answered what it asked; 0: it is gone */
  /* buffers, bytes */
  size_t max_recv;  /* unread input of a connection without a protocol, then reading stops */
  size_t send_high; /* unsent output: is_full is true from here on … */
  size_t send_low;  /* … until it has sunk to this */
  size_t send_max;  /* … and this much is the end: bindings refuse to queue more behind it */
  struct mg_ws_limits ws;
  /* listener */
  uint32_t max_connections;  /* accepted and open at once; 0: 80 % of the descriptor limit. Beyond, accepting pauses */
  uint32_t max_per_address;  /* of one client address, 0: no bound. Beyond, the new one is closed */
};

extern const struct mg_limits mg_limits_default;

MG_END_DECLS
