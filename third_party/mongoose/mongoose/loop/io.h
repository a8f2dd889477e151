/* io.h - private to loop/: the system calls of the wait and flush phases. */
#pragma once
#include "mongoose/loop/conn.h"

MG_BEGIN_DECLS

enum mg_out_result { MG_OUT_EMPTY, MG_OUT_BLOCKED, MG_OUT_FAILED };

/* out.c */
/* As much as the socket takes. `last`: nothing follows, so the end of the stream goes out with the last bytes (the socket is shut down
 * for writing), not as a segment of its own. */
enum mg_out_result mg_out_write(struct mg_connection *c, bool last);
enum mg_out_result mg_out_write_tls(struct mg_connection *c); /* out_tls.c: through the session */
void mg_out_sent(struct mg_connection *c, size_t n); /* n bytes from the front went out */
void mg_out_release(struct mg_connection *c);             /* an empty buffer goes back to the pool */
void mg_out_discard(struct mg_connection *c);
bool mg_send_reserve(struct mg_connection *c, size_t len); /* room behind c->send.len … */
void mg_send_added(struct mg_connection *c);               /* … after writing there and adding to len */

/* io.c */
void mg_io_accept(struct mg_connection *listener);
void mg_io_recv(struct mg_connection *c);
void mg_io_recv_datagrams(struct mg_connection *c);
bool mg_io_send_datagram(struct mg_connection *c, const void *buf, size_t len);
void mg_io_settle_recv(struct mg_connection *c); /* after dispatch: leave the shared block */
void mg_io_begin_turn(struct mg_mgr *mgr);       /* a fresh block, or the old one again */

struct mg_packet { /* one datagram */
  struct mg_packet *next;
  struct mg_addr rem;
  struct mg_chunk *chunk;
  char *buf;
  size_t len;
};

/* conn.c */
struct mg_connection *mg_conn_new(struct mg_mgr *mgr, const struct mg_sock *s, struct mg_listener *l);
/* A connection over s and l, which are its own now, or are freed with NULL: out of memory. */
bool mg_tls_missing(struct mg_mgr *mgr, const struct mg_sock *s); /* the URL wants what is not built in: closed, and said so */
void mg_tls_begins(struct mg_connection *c); /* MG_EV_ACCEPT or MG_EV_CONNECT was told */
struct mg_connection *mg_conn_start(struct mg_mgr *mgr, struct mg_sock *s, struct mg_listener *l, mg_event_handler_t fn, void *fn_data);
bool mg_mgr_is_open(struct mg_mgr *mgr); /* for new connections */
void mg_conn_hang_up(struct mg_connection *c); /* close the descriptor; MG_EV_CLOSE is owed */
void mg_conn_bury(struct mg_connection *c);    /* MG_EV_CLOSE, then the struct goes to the spare ones */
void mg_conn_resume(struct mg_connection *listener); /* accept again */
struct mg_listener *mg_listener_new(const struct mg_limits *limits);
struct mg_listener *mg_listener_hold(struct mg_listener *l);
void mg_listener_drop(struct mg_listener *l);
bool mg_peers_enter(struct mg_listener *l, const struct mg_addr *a); /* false: over the bound */
void mg_peers_leave(struct mg_listener *l, const struct mg_addr *a);

/* connect.c */
void mg_connect_done(struct mg_connection *c);                    /* the socket is connected, or failed to */
void mg_connect_late(struct mg_connection *c);                    /* its time is over */

/* mgr.c */
bool mg_mgr_has_forked(void); /* some child of this process may hold copies of descriptors */
bool mg_mgr_is_copy(const struct mg_mgr *mgr); /* made before this process was forked off: it belongs to the parent */
/* turn.c */
void mg_conn_ready(struct mg_connection *c);
void mg_conn_after(struct mg_connection *c);
void mg_conn_watch(struct mg_connection *c, unsigned want);
void mg_conn_due(struct mg_connection *c); /* re-arm the deadline after read_due or write_due changed */
int mg_fail(struct mg_mgr *mgr, int status, const char *text);

MG_END_DECLS
