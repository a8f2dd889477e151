/* conn.h - a connection: a socket, its two buffers, its handlers; and the manager that owns them all.
 *
 * Loop thread only, but for what says otherwise. Fields up to the line "ours" are Mongoose's and may be used as there.
 */
#pragma once
#include <stdarg.h>
#include "mongoose/base/iobuf.h"
#include "mongoose/base/str.h"
#include "mongoose/loop/addr.h"
#include "mongoose/loop/deadline.h"
#include "mongoose/loop/event.h"
#include "mongoose/loop/idtab.h"
#include "mongoose/loop/limits.h"
#include "mongoose/loop/nets.h"
#include "mongoose/loop/poller.h"
#include "mongoose/loop/sock.h"
#include "mongoose/loop/timer.h"
#include "mongoose/loop/tls.h"
#include "mongoose/loop/wakeup.h"

MG_BEGIN_DECLS

struct mg_mgr;
struct mg_connection;
struct mg_peers;
struct mg_packet;
struct mg_lookup;

/* Bytes, or a part of a file, that go out in their place between the bytes of c->send without being copied there. */
struct mg_seg {
  struct mg_seg *next;
  size_t after;    /* bytes of the buffer that go out between the segment before and this one */
  const char *buf; /* NULL: from file */
  size_t len;      /* bytes left */
  int fd;          /* file to send from, closed afterwards unless somebody wants to know when it is done; -1: memory */
  int64_t ofs;     /* in that file */
  void (*done)(void *arg); /* sent or dropped: the memory is the caller's again. Runs in any phase, so without locks */
  void *arg;
};

/* Everything that waits to be written: a buffer and the segments in it. c->send and c->segs are one, spelled out. */
struct mg_out {
  struct mg_iobuf buf;
  struct mg_seg *segs, *last_seg;
  size_t seg_bytes;  /* sum of segment lengths */
  size_t tail_start; /* buffer bytes before and between segments: the rest follows the last one */
};

/* What a protocol adds to a connection besides its event handler c->pfn. Any function may be NULL. */
struct mg_proto {
  const char *name;
  /* At the end of a dispatch in which something happened to c: go on with what can go on. */
  void (*settle)(struct mg_connection *c);
  /* c->read_due has come. */
  void (*timeout)(struct mg_connection *c);
  /* Application bytes are about to be queued by reference. */
  void (*sending_ref)(struct mg_connection *c, const char *buf, size_t len);
  /* Is the peer to be told something yet, though it says no more itself? With limits.half_close settle has to end what owes nothing. */
  bool (*owes)(const struct mg_connection *c);
};

/* What a listener shares with the connections it accepted; lives as long as any of them. */
struct mg_listener {
  unsigned refs;
  unsigned open;          /* accepted connections that are open now */
  struct mg_limits limits;
  struct mg_peers *peers; /* open connections by address, with limits.max_per_address */
  void *routes;           /* of the protocol layer; freed by routes_free */
  void (*routes_free)(void *);
  void *compress;         /* likewise: how answers are compressed, NULL: not at all */
  void (*compress_free)(void *);
  /* What some peers must say before anything else, PROXY headers. `in` is all that came so far; bytes that belong to it when it is
   * whole, 0 while all of `in` does and more must come, < 0: refused. Runs in the wait phase, sees no handler. */
  ptrdiff_t (*preface)(struct mg_connection *c, struct mg_str in);
  struct mg_nets *preface_from;
  struct mg_nets *trusted;  /* peers whose word on the client's address is taken (proto) */
  unsigned trusted_fields;  /* … in which header fields */
  void (*log)(void *arg, int level, struct mg_str json); /* access log (proto/http_log.h) */
  void *log_arg;
  uint64_t log_turn, log_ahead; /* the turn for which it is known how far the wall's clock is ahead of the loop's, ns */
  struct mg_tls_ctx *tls; /* for connections accepted from now on; NULL: plain, or mg_tls_init on MG_EV_ACCEPT */
};

struct mg_connection {
  struct mg_connection *next; /* in mgr->conns */
  struct mg_mgr *mgr;
  struct mg_addr loc; /* local address; of an accepted connection that of its listener when that is not a wildcard */
  struct mg_addr rem;
  void *fd;         /* descriptor as (void *) (size_t) fd */
  unsigned long id; /* > 0, unique in the process's life as far as anyone will see */
  struct mg_iobuf recv; /* incoming bytes: consume with mg_iobuf_del or by setting len = 0 */
  struct mg_iobuf send; /* outgoing bytes */
  struct mg_iobuf rtls; /* incoming encrypted bytes */
  mg_event_handler_t fn;
  void *fn_data;
  mg_event_handler_t pfn; /* the protocol's, runs first */
  void *pfn_data;
  char data[MG_DATA_SIZE];
  void *tls;
  unsigned is_listening : 1;
  unsigned is_client : 1;
  unsigned is_accepted : 1;
  unsigned is_resolving : 1;
  unsigned is_connecting : 1;
  unsigned is_tls : 1;
  unsigned is_tls_hs : 1;
  unsigned is_udp : 1;
  unsigned is_websocket : 1;
  unsigned is_mqtt5 : 1;
  unsigned is_hexdumping : 1;
  unsigned is_draining : 1; /* set it: send what is queued, then close */
  unsigned is_closing : 1;  /* set it: close at the end of this turn, dropping what is queued */
  unsigned is_full : 1;     /* set it: stop reading; clear it: go on */
  unsigned is_resp : 1;     /* an answer is being made; the next request waits */
  unsigned is_readable : 1;
  unsigned is_writable : 1;

  /* ours */
  unsigned is_unix : 1;
  unsigned owns_path : 1;  /* we made the Unix socket's file, so we take it away */
  unsigned is_eof : 1;     /* the peer sent its last byte */
  unsigned is_choked : 1;  /* output went over limits.send_high and has not sunk to send_low */
  unsigned is_lingering : 1; /* refused a peer that may still be sending: shut down, read on for a moment, close */
  unsigned is_shut : 1;    /* shutdown(SHUT_WR) was done for that */
  unsigned is_paused : 1;  /* a listener that does not accept for now */
  unsigned in_ready : 1;   /* list membership */
  unsigned in_dirty : 1;
  unsigned in_line : 1;
  unsigned in_after : 1;
  unsigned is_new : 1;     /* accepted in wait, not announced yet */
  unsigned is_dead : 1;    /* descriptor closed, MG_EV_CLOSE is owed */
  unsigned is_failed : 1;  /* is_closing came from an I/O error */
  unsigned is_tls_new : 1;  /* the handshake is over, MG_EV_TLS_HS is to be told */
  unsigned is_tls_more : 1; /* TLS holds bytes that there was no room for: the socket will not say so */
  unsigned tls_wants_read : 1;  /* output waits for input */
  unsigned tls_wants_write : 1; /* input, or the handshake, waits for room in the socket */
  unsigned is_truncated : 1;    /* is_eof came without TLS's close_notify: somebody may have cut it */
  unsigned is_cut : 1;     /* the end is not to look like one: no close_notify, no FIN with the last bytes */
  unsigned is_owed : 1;    /* the protocol has answers to come that draining waits for */
  unsigned is_prefaced : 1; /* listener->preface must be said first; until then recv collects it and handlers know nothing */
  unsigned is_counted : 1; /* in listener->peers */
  unsigned is_pumping : 1; /* the protocol adds to the output whenever some of it went out: settle is called for that */
  uint8_t ask;             /* MG_ASK_… */
  uint8_t watched;         /* MG_POLL_… the poller has */
  int status;              /* mg_status of the last MG_EV_ERROR */
  int last_errno;          /* of the I/O error */
  char *tls_name;          /* host of a TLS client's URL */
  const char *alpn;        /* what is spoken here, for TLS to offer and accept (RFC 7301); NULL: nothing */
  struct mg_connection *prev;
  struct mg_connection *ready_next, *dirty_next, *line_next, *after_next;
  const struct mg_proto *proto;
  struct mg_lookup *lookup; /* of the peer's name: under way, or the addresses that are left to try */
  struct mg_lookup *question; /* mg_ask */
  struct mg_listener *listener; /* limits and routes; also clients have one */
  struct mg_seg *segs, *last_seg; /* with send: the struct mg_out being filled */
  size_t seg_bytes, tail_start;
  struct mg_out *held;     /* the real output, while send collects an answer whose turn has not come */
  uint64_t flushed;        /* bytes of send written so far */
  size_t got;              /* bytes received in this turn, for MG_EV_READ */
  size_t put;              /* bytes written since the last MG_EV_WRITE */
  size_t hint;             /* bytes the protocol wants to see in recv before it can go on, 0: any */
  struct mg_deadline deadline; /* the earlier of: */
  uint64_t read_due, write_due;
  uint64_t connect_due;    /* when a client's time for name and addresses is over, 0: never */
  struct mg_packet *packets, **last_packet; /* datagrams received in this turn */
  uint32_t served;         /* messages so far, for protocols that bound them */
  void *owner;             /* for bindings */
  void *proxied;           /* what the preface told, one block of memory */
};

/* Counters, cheap enough to be always on. Written by the loop thread; other threads may read a slightly old number,
 * by mg_counted(). */
struct mg_stats {
  uint64_t accepted, connections, requests, responses_4xx, responses_5xx, bytes_in, bytes_out;
  uint64_t errors;   /* MG_EV_ERROR raised */
  uint64_t timeouts; /* deadlines that closed or refused */
  uint64_t refused;  /* connections over max_per_address */
  uint64_t proxy_errors; /* connections without the PROXY header that was due, or with a malformed one */
  uint64_t wakeups;  /* messages delivered */
  uint64_t turns;    /* poll iterations */
  uint64_t accept_pauses;
  uint64_t ws_in, ws_out; /* WebSocket messages received; queued, broadcasts for each member */
  uint64_t ws_dropped;    /* broadcasts that a slow member did not get */
  uint64_t ws_slow;       /* slow members closed */
  uint64_t log_lost;      /* records of the access log for which there was no memory */
};

/* The loop's thread, the only one that writes them. */
static inline void mg_count(uint64_t *counter, uint64_t n) {
  __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline uint64_t mg_counted(const uint64_t *counter) { /* any thread */
  return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

#define MG_OUT_POOL 256 /* send buffers kept for reuse */

struct mg_dns {
  const char *url;
  struct mg_connection *c;
};

struct mg_mgr {
  struct mg_connection *conns;
  struct mg_dns dns4, dns6;
  int dnstimeout; /* ms, of mg_resolve by those who have their peer */
  bool use_dns6;
  unsigned long nextid; /* kept for Mongoose's sake; ids come from a table */
  unsigned long timerid;
  void *userdata;
  void *tls_ctx;
  uint16_t mqtt_id;
  void *active_dns_requests;
  struct mg_timer *timers;
  int epoll_fd; /* -1 when the poller has none */
  int pipe;     /* descriptor of the wakeup queue after mg_wakeup_init, else -1 */

  /* ours */
  const struct mg_poller *poller;
  void *poll_state;
  struct mg_wakeq *wakeq;
  struct mg_idtab *ids;
  struct mg_wheel wheel;
  uint64_t now;        /* mg_millis() after the last wait or flush */
  uint64_t clock;      /* mg_nanos() then */
  uint64_t started;    /* mg_millis() at init */
  unsigned forks;      /* how often this process was forked off when the manager was made */
  uint64_t last_sweep;
  uint32_t sweep_ms;   /* how often flags set directly are noticed; 0: never (bindings that mark connections themselves) */
  uint8_t ask;         /* for new connections */
  bool interrupted;    /* the last wait ended by a signal */
  bool in_dispatch;
  bool ending;         /* mg_mgr_free is at work: nothing new is opened */
  unsigned nconns, npaused; /* open; listeners that wait for room */
  struct mg_connection *ready, **ready_last; /* has something to dispatch */
  struct mg_connection *dirty, **dirty_last; /* has output, or flags changed */
  struct mg_connection *line, **line_last;   /* waits for its flush: a turn has only so many */
  struct mg_connection *after, **after_last; /* flush left an event to tell */
  struct mg_connection *spare;               /* structs for reuse */
  struct mg_chunk *block;                    /* where this turn's reads go */
  struct mg_chunk *spare_blocks;
  unsigned nspare_blocks;
  struct mg_iobuf out_pool[MG_OUT_POOL];
  unsigned nout_pool;
  void *proto_pool;                          /* the protocol layer's own spare parts */
  void (*proto_pool_free)(void *);
  void *ws_site;                             /* WebSocket groups, compressors, masks */
  void (*ws_site_free)(void *);
  size_t max_connections;                    /* resolved from the descriptor limit */
  struct mg_stats stats;
  int status;                                /* of the last call that returned NULL */
  char errmsg[MG_SOCK_ERR];
};

struct mg_listen_opts {
  const struct mg_limits *limits; /* NULL: mg_limits_default */
  struct mg_sock_opts sock;
  const struct mg_tls_opts *tls; /* NULL: none here; then https:// and the like want mg_tls_init on MG_EV_ACCEPT */
};

/* Connections. On failure NULL; mgr->status and mgr->errmsg say why. */
struct mg_connection *mg_listen(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data);
struct mg_connection *mg_listen_with(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data,
                                     const struct mg_listen_opts *opts);
struct mg_connection *mg_connect(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data);
struct mg_connection *mg_connect_svc(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data,
                                     mg_event_handler_t pfn, void *pfn_data);
/* Ours: the same with limits (NULL: the defaults), which are this connection's own. A host name is looked up first (resolve.h), and
 * its addresses are tried one after the other until one answers, all within limits.connect_timeout. */
struct mg_connection *mg_connect_with(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data,
                                      mg_event_handler_t pfn, void *pfn_data, const struct mg_limits *limits);
/* Adopt a connected or listening descriptor. */
struct mg_connection *mg_wrapfd(struct mg_mgr *mgr, int fd, mg_event_handler_t fn, void *fn_data);
/* The steps of listening and connecting one by one: a connection without a socket; a listening socket for it (false: mgr->status and
 * mgr->errmsg); a socket to the address in c->rem, UDP with c->is_udp, with events as for mg_connect. */
struct mg_connection *mg_alloc_conn(struct mg_mgr *mgr);
bool mg_open_listener(struct mg_connection *c, const char *url);
void mg_connect_resolved(struct mg_connection *c);
bool mg_dscp(struct mg_connection *c, uint8_t dscp);                /* mark what is sent, 0 … 63 (RFC 2474). False: errno says why */
bool mg_multicast_add(struct mg_connection *c, const char *group); /* UDP listener: hear what is sent to that address, too. As before */

/* Copy `len` bytes to the output. UDP: one datagram, at once. False when memory is out or c is closing. */
bool mg_send(struct mg_connection *c, const void *buf, size_t len);
/* Formatted text (base/printf.h), all of it or nothing; the bytes queued. */
size_t mg_printf(struct mg_connection *c, const char *fmt, ...);
size_t mg_vprintf(struct mg_connection *c, const char *fmt, va_list *ap);
/* mg_send without a copy: buf must stay until done(arg) is called, which always happens, on failure before returning. */
bool mg_send_ref(struct mg_connection *c, const char *buf, size_t len, void (*done)(void *), void *arg);
/* The same with a part of a chunk, which is held until then; what follows in it what was sent last becomes one piece with that. */
bool mg_send_chunk(struct mg_connection *c, struct mg_chunk *k, const char *buf, size_t len);
/* Part of a file, by sendfile; the descriptor is closed afterwards, on failure too. */
bool mg_send_file(struct mg_connection *c, int fd, int64_t ofs, size_t len);
/* The same, but the descriptor stays the caller's and open until done(arg), which is always called. */
bool mg_send_file_ref(struct mg_connection *c, int fd, int64_t ofs, size_t len, void (*done)(void *), void *arg);
size_t mg_unsent(const struct mg_connection *c); /* bytes queued: buffer, segments and files */

void mg_call(struct mg_connection *c, int ev, void *ev_data); /* c->pfn, then c->fn */
void mg_error(struct mg_connection *c, const char *fmt, ...);  /* MG_EV_ERROR, then close */
void mg_error_as(struct mg_connection *c, int status, const char *fmt, ...); /* the same with an mg_status, in c->status */
void mg_close_conn(struct mg_connection *c);                   /* close now, MG_EV_CLOSE included; not from c's own handler */
/* Ours: after setting a flag or consuming input outside of an event, so that the loop looks at c without a sweep. */
void mg_touch(struct mg_connection *c);
/* Shut down politely after an answer that refuses: what the peer still sends is read and dropped for a moment, so that the answer
 * is not lost to a reset. */
void mg_linger(struct mg_connection *c);
void mg_read_due(struct mg_connection *c, uint64_t ms); /* set c->read_due: 0 none */

/* Output sets, for protocols that answer out of order. */
void mg_out_swap(struct mg_connection *c, struct mg_out *o);     /* exchange c's output being filled with o */
bool mg_out_append(struct mg_connection *c, struct mg_out *from); /* move all of from behind c's output */
void mg_out_free(struct mg_out *o);

/* The manager. mg_mgr_init leaves mgr->status < 0 on failure; every call then fails cleanly. */
void mg_mgr_init(struct mg_mgr *mgr);
void mg_mgr_free(struct mg_mgr *mgr); /* closes everything, with MG_EV_CLOSE */
void mg_mgr_poll(struct mg_mgr *mgr, int ms);

/* Its three phases (docs/architecture.md). Only dispatch runs callbacks. */
void mg_mgr_tick(struct mg_mgr *mgr); /* read the clock: before a wait that does not follow a flush at once */
void mg_mgr_wait(struct mg_mgr *mgr, int ms); /* ms: -1 for ever */
void mg_mgr_dispatch(struct mg_mgr *mgr);
void mg_mgr_flush(struct mg_mgr *mgr); /* of a burst (a broadcast) only a part: mgr->line is the rest, and wait does not block before it */
bool mg_mgr_owes(const struct mg_mgr *mgr); /* flush left events to tell: dispatch soon, wait will not block */
int mg_mgr_fd(const struct mg_mgr *mgr);     /* readable when wait would find something; -1 when the poller has none */
int mg_mgr_timeout(const struct mg_mgr *mgr); /* ms until the next poll is due, -1: none. Ask before each wait on the fd: only then do
                                               * posts of other threads make it readable */

/* Wakeups: from any thread, MG_EV_WAKEUP at the connection. mg_wakeup is false for an unknown or dead id and for a full queue. */
bool mg_wakeup_init(struct mg_mgr *mgr);
bool mg_wakeup_init_n(struct mg_mgr *mgr, size_t max_bytes); /* of messages waiting at once; default 64 MiB */
bool mg_wakeup(struct mg_mgr *mgr, unsigned long id, const void *buf, size_t len);

struct mg_timer *mg_timer_add(struct mg_mgr *mgr, uint64_t milliseconds, unsigned flags, void (*fn)(void *), void *arg);

MG_END_DECLS
