/* ws_conn.h - private to proto/: the state of one WebSocket, and what all those of a manager share.
 *
 *   OPEN ──we close──> CLOSING ──the peer's close, or the deadline──> OVER
 *    `──the peer's close, or its mistake: our close frame is sent──────^
 */
#pragma once
#include "mongoose/codec/utf8.h"
#include "mongoose/codec/ws_deflate.h"
#include "mongoose/codec/ws_frame.h"
#include "mongoose/proto/ws.h"

MG_BEGIN_DECLS

struct mg_http_conn;
struct mg_ws_group;

enum mg_ws_state { MG_WS_OPEN, MG_WS_CLOSING, MG_WS_OVER };

/* A connection in a group: in the group's table at `at`, and on the connection's list. */
struct mg_ws_membership {
  struct mg_ws_membership *next; /* of the connection */
  struct mg_ws_group *group;
  struct mg_connection *c;
  size_t at;
};

/* A message that came up while a streamed one was open. */
struct mg_ws_waiting {
  struct mg_ws_waiting *next;
  int op;
  size_t len; /* bytes behind this struct */
};

struct mg_ws_conn {
  uint8_t state;    /* enum mg_ws_state */
  uint8_t in_frame; /* the head of the frame at the front of c->recv is in `frame` */
  uint8_t head_len;
  uint8_t msg_op;   /* opcode of the message being put together, 0: none */
  uint8_t packed;   /* it is compressed */
  uint8_t telling;  /* a handler runs */
  uint8_t stopped_reading; /* is_full is ours */
  uint8_t stream_op;       /* opcode of the message that we stream, 0: none */
  uint8_t stream_first;    /* nothing of it was sent yet */
  uint8_t reason_len;
  uint8_t compress;        /* `deflate` was agreed on */
  uint8_t level;
  uint16_t peer_code, our_code; /* of the close frames; 0: there was none */
  struct mg_ws_frame frame;
  uint64_t seen;  /* bytes of its payload that are unmasked and checked */
  struct mg_utf8 utf8;
  uint64_t heard;  /* ms: when something came last */
  uint64_t pinged; /* ms: when the last ping went out */
  uint64_t asked;  /* ms: when the first ping went out that nothing came after, 0: none */
  struct mg_chunk *msg;  /* what is put together; `used` bytes */
  struct mg_chunk *told; /* memory of the message that the handler looks at */
  struct mg_ws_limits limits;
  struct mg_str protocol;
  struct mg_ws_deflate deflate;
  size_t min_size;
  struct mg_ws_deflater *deflater; /* of its own, with takeover */
  struct mg_ws_inflater *inflater;
  size_t reserved;                 /* of the manager's budget */
  struct mg_ws_membership *groups;
  struct mg_ws_waiting *waiting, **last_waiting;
  size_t waiting_bytes; /* with what each costs besides: an empty one is memory, too, and a frame later */
  struct mg_http_conn *http; /* state of the handshake's side, to be freed when its functions have returned */
  char reason[124];
};

struct mg_ws_site {
  struct mg_ws_group **groups; /* hash table, a power of two of lists */
  size_t ngroups, nslots;
  uint32_t seed;
  struct mg_ws_deflater *deflaters[16]; /* shared by all without takeover; by window bits */
  uint8_t levels[16];
  struct mg_ws_inflater *inflater;
  struct mg_chunk *spare;   /* for unpacking into */
  struct mg_iobuf packed;   /* for packing into */
  struct mg_chunk *log;     /* frames sent to a group of late, behind each other … */
  uint32_t log_of;          /* … and which (its hash: that two may have the same costs nothing but memory for a while) */
  size_t budget, reserved;  /* bytes of windows */
  uint8_t masks[256];       /* random bytes */
  size_t masks_left;
};

extern const struct mg_proto mg_proto_ws;

static inline struct mg_ws_conn *mg_ws_of(const struct mg_connection *c) {
  return c->proto == &mg_proto_ws ? (struct mg_ws_conn *) c->pfn_data : NULL;
}

/* ws_conn.c */
struct mg_ws_conn *mg_ws_conn_new(struct mg_connection *c, const struct mg_ws_opts *opts, const struct mg_ws_limits *limits);
void mg_ws_conn_free(struct mg_connection *c, struct mg_ws_conn *ws); /* before or after it was installed */
void mg_ws_install(struct mg_connection *c, struct mg_ws_conn *ws);   /* c speaks WebSocket from here on */
/* ws_read.c */
void mg_ws_read(struct mg_connection *c, struct mg_ws_conn *ws);
/* ws_send.c */
struct mg_ws_conn *mg_ws_may_send(struct mg_connection *c, size_t len); /* NULL: no, and mgr->status says why */
size_t mg_ws_put(struct mg_connection *c, unsigned first, const void *buf, size_t len); /* a frame; 0: out of memory */
/* A close frame and what follows from it. code 0: without one. */
void mg_ws_say_close(struct mg_connection *c, struct mg_ws_conn *ws, int code, struct mg_str reason);
/* Pack all of a message, or a piece, into site->packed. Takeover or not is the connection's affair. */
bool mg_ws_pack(struct mg_connection *c, struct mg_ws_conn *ws, struct mg_str in, bool begin, bool last);
bool mg_ws_hold_back(struct mg_connection *c, struct mg_ws_conn *ws, const void *buf, size_t len, int op);
/* ws_group.c */
void mg_ws_leave_all(struct mg_connection *c, struct mg_ws_conn *ws);
void mg_ws_groups_free(struct mg_ws_site *site);
/* ws_site.c */
struct mg_ws_site *mg_ws_site(struct mg_mgr *mgr); /* NULL: out of memory */
bool mg_ws_new_mask(struct mg_ws_site *site, uint8_t mask[4]);
struct mg_ws_deflater *mg_ws_deflater_of(struct mg_ws_site *site, struct mg_ws_conn *ws, const struct mg_ws_window *w);
struct mg_ws_inflater *mg_ws_inflater_of(struct mg_ws_site *site, struct mg_ws_conn *ws, const struct mg_ws_window *w);
/* Wish and agreement, for opts and what is left of the budget. */
void mg_ws_wish(struct mg_ws_site *site, const struct mg_ws_opts *opts, bool is_client, struct mg_ws_deflate *wish);
void mg_ws_agree(struct mg_ws_site *site, struct mg_ws_conn *ws, const struct mg_ws_opts *opts, const struct mg_ws_deflate *agreed,
                 bool is_client);
/* ws_upgrade.c: for both sides of the handshake */
struct mg_str *mg_ws_field(struct mg_http_message *hm, const char *name, size_t *i); /* the next from *i on, which is then behind it */
bool mg_ws_lists(struct mg_http_message *hm, const char *name, const char *token);   /* is it in the field's comma-separated list? */
/* What answers a key (RFC 6455 4.2.2): 28 characters and a NUL. */
void mg_ws_accept(struct mg_str key, char to[29]);

MG_END_DECLS
