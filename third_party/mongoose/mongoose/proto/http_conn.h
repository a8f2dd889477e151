/* http_conn.h - private to proto/: the state of one HTTP connection.
 *
 *   HEAD ──> (MG_EV_HTTP_HDRS) ──> BODY ──> (MG_EV_HTTP_MSG) ──answered──> HEAD …
 *                                   `──────────> ANSWER ──answered later──^
 *
 * Between requests a connection has no such state at all: it comes from a pool with the first byte and goes back.
 */
#pragma once
#include "mongoose/codec/http_chunked.h"
#include "mongoose/proto/http.h"

MG_BEGIN_DECLS

enum mg_http_phase { MG_HTTP_HEAD, MG_HTTP_BODY, MG_HTTP_ANSWER, MG_HTTP_OVER };

enum mg_http_told { MG_TOLD_NOTHING, MG_TOLD_HDRS, MG_TOLD_BODY }; /* which handler runs */

enum mg_http_answer {
  MG_ANSWER_NONE,   /* nothing said yet */
  MG_ANSWER_STREAM, /* head out through mg_http_start, body under way */
  MG_ANSWER_RAW,    /* the application writes the bytes itself: we read along to see where the answer ends */
  MG_ANSWER_DONE
};

enum mg_http_framing { MG_FRAME_NONE, MG_FRAME_CHUNKED, MG_FRAME_LENGTH, MG_FRAME_CLOSE };

/* Reads along in what an application sends by itself. */
struct mg_http_watch {
  struct mg_iobuf head;          /* its head as far as it went */
  struct mg_http_chunked chunked;
  uint64_t left;
  uint8_t state;
};

/* One request and its answer. */
struct mg_http_encoder;
struct mg_http_xchg {
  struct mg_http_xchg *next;
  unsigned long number;
  uint64_t mark;        /* c->flushed + c->send.len when the answer began: raw bytes are behind it */
  uint64_t left;        /* MG_FRAME_LENGTH: body bytes still to come */
  uint64_t body_in, body_out; /* bytes of the bodies, for the log */
  struct mg_http_record *log; /* on listeners with an access log, until the answer is told */
  uint16_t status;      /* of the answer, 0 before it begins */
  uint8_t answer;       /* enum mg_http_answer */
  uint8_t framing;      /* enum mg_http_framing */
  uint8_t minor;        /* HTTP/1.minor */
  uint8_t coding;       /* enum mg_coding: what the client would like best; on listeners that compress */
  uint8_t compress;     /* enum mg_http_compress_how */
  uint8_t no_identity : 1; /* … and it does not take bytes as they are */
  uint8_t is_head : 1;
  uint8_t keep_alive : 1;
  uint8_t early : 1;    /* being answered before its body is here: the connection cannot go on */
  uint8_t linger : 1;   /* a refusal: shut down politely */
  uint8_t deferred : 1;
  uint8_t counted : 1;  /* in the statistics */
  struct mg_http_watch *watch;
  struct mg_http_encoder *encoder; /* of an answer in a content coding that is under way */
  struct mg_iobuf *extra; /* lines of mg_http_set_header */
  struct mg_out out;    /* what it says before its turn; last, and empty in `now`, which never waits */
};

struct mg_http_conn {
  struct mg_http_conn *next_spare;
  uint8_t phase;
  uint8_t in_handler;      /* enum mg_http_told */
  uint8_t stopped_reading; /* is_full is ours */
  uint8_t streaming;
  uint8_t body_here;       /* the whole body is in recv */
  uint32_t head_len;
  uint64_t body_len;       /* decoded bytes so far; MG_HTTP_BODY */
  uint64_t body_max;
  uint64_t raw_at;         /* chunked, collecting: offset in recv of the first byte not decoded yet */
  uint64_t body_since;     /* ms: the least rate is asked for from here on; 0 after a pause */
  uint64_t body_from;      /* body_len then */
  struct mg_http_parser p;
  struct mg_http_message *hm; /* kept over several reads; NULL: the manager's scratch one */
  mg_http_body_fn body_fn;
  void *body_arg;
  struct mg_http_xchg *cur;   /* the request being read or handled: &now, or the last of the queue */
  struct mg_http_xchg *target; /* chosen by mg_http_aim */
  struct mg_http_xchg *aimed; /* the exchange c->send belongs to; NULL: the wire */
  struct mg_http_xchg *queue, **queue_last; /* deferred ones, and those behind them */
  unsigned queued;
  unsigned pumps;             /* exchanges whose whole answer is compressed piece by piece */
  /* From here on nothing is cleared between requests: it is empty, or written before it is read. */
  struct mg_http_chunked chunked;
  struct mg_http_xchg now;
  struct mg_out wire;         /* the real output, while c->send is aimed at an exchange in the queue */
};

struct mg_http_pool {
  struct mg_http_conn *spare;
  unsigned nspare;
  struct mg_http_message scratch;
  uint64_t date_until; /* mgr->now up to which `date` is right */
  char date[40];       /* "Date: …\r\n" */
  unsigned date_len;
  struct mg_http_record *record; /* for the next request of a listener with an access log */
  struct mg_files *files; /* open ones, when some were served (file_cache.h) */
};

extern const struct mg_proto mg_proto_http;

/* http_conn.c */
struct mg_http_pool *mg_http_pool(struct mg_mgr *mgr); /* NULL: out of memory */
void mg_http_go_on(struct mg_connection *c);
/* Another protocol takes the connection over, perhaps inside of a handler: nothing is queued or aimed any more. The state stays for
 * the functions that are still running; give it to mg_http_left after that. */
struct mg_http_conn *mg_http_leave(struct mg_connection *c);
void mg_http_left(struct mg_connection *c, struct mg_http_conn *hc);
static inline struct mg_http_conn *mg_http_of(const struct mg_connection *c) {
  return c->proto == &mg_proto_http ? (struct mg_http_conn *) c->pfn_data : NULL;
}

static inline bool mg_http_over(const struct mg_connection *c, const struct mg_http_conn *hc) {
  return c->is_closing || c->is_dead || c->pfn_data != hc || hc->phase == MG_HTTP_OVER;
}
static inline void mg_http_consume(struct mg_connection *c, size_t n) {
  mg_iobuf_del(&c->recv, 0, n);
}
bool mg_http_own_message(struct mg_connection *c, struct mg_http_conn *hc); /* hc->hm is there; false: out of memory */
void mg_http_tell(struct mg_connection *c, struct mg_http_conn *hc, int ev, struct mg_http_message *hm);
bool mg_http_deliver(struct mg_connection *c, struct mg_http_conn *hc, struct mg_http_message *hm, size_t consumed); /* MG_EV_HTTP_MSG */
bool mg_http_after_handler(struct mg_connection *c, struct mg_http_conn *hc); /* true: the next request may be looked at */
bool mg_http_next(struct mg_connection *c, struct mg_http_conn *hc);          /* it is answered; false: there is no next */

/* http_body.c */
bool mg_http_too_large(const struct mg_http_conn *hc);
bool mg_http_body_start(struct mg_connection *c, struct mg_http_conn *hc, struct mg_http_message *hm);
bool mg_http_body_read(struct mg_connection *c, struct mg_http_conn *hc);

/* http_xchg.c */
bool mg_xchg_begin(struct mg_connection *c, struct mg_http_conn *hc);    /* the next request's exchange is hc->cur */
void mg_xchg_aim(struct mg_connection *c, struct mg_http_conn *hc, struct mg_http_xchg *x); /* NULL: the wire */
void mg_xchg_done(struct mg_connection *c, struct mg_http_conn *hc, struct mg_http_xchg *x);
void mg_xchg_release(struct mg_connection *c, struct mg_http_conn *hc);  /* let out what may go out */
void mg_xchg_free_all(struct mg_connection *c, struct mg_http_conn *hc);
struct mg_http_xchg *mg_xchg_target(struct mg_http_conn *hc);            /* what an answer now would answer */

/* http_client.c */
extern const struct mg_proto mg_proto_http_client;
bool mg_http_client_stream(struct mg_connection *c, mg_http_body_fn fn, void *arg, uint64_t max_body);
bool mg_http_client_busy(const struct mg_connection *c);

/* http_watch.c */
void mg_http_watch_raw(struct mg_connection *c, struct mg_http_xchg *x);  /* look at what was added to c->send since mark */
void mg_http_watch_bytes(struct mg_http_xchg *x, const char *buf, size_t len);
void mg_http_watch_free(struct mg_http_xchg *x);

/* http_extra.c */
char *mg_http_put_extra(char *p, const struct mg_http_xchg *x, struct mg_str headers); /* at most x->extra->len bytes */
void mg_http_extra_free(struct mg_http_xchg *x);

/* http_log.c */
void mg_http_log_begin(struct mg_connection *c, struct mg_http_xchg *x, const struct mg_http_message *hm, const char *why); /* NULL hm: refused */
void mg_http_log_end(struct mg_connection *c, struct mg_http_xchg *x, bool whole); /* with x->log only */
static inline void mg_http_logged(struct mg_connection *c, struct mg_http_xchg *x) {
  if (MG_UNLIKELY(x->log != NULL)) mg_http_log_end(c, x, x->answer == MG_ANSWER_DONE);
}

/* http_reply.c */
void mg_http_refuse(struct mg_connection *c, struct mg_http_conn *hc, int status, const char *why);
struct mg_str mg_http_date(struct mg_mgr *mgr);
void mg_http_count(struct mg_mgr *mgr, int status); /* for the statistics */
/* The head of a whole answer whose body, len bytes, the caller queues behind it. *with_body is false when there is to be none after all. */
bool mg_http_reply_head(struct mg_connection *c, int code, struct mg_str headers, uint64_t len, bool *with_body);

/* http_route.c */
bool mg_http_route(struct mg_connection *c, struct mg_http_conn *hc, const struct mg_http_message *hm); /* true: answered */

MG_END_DECLS
