/* turn.c - one turn of the loop: wait, dispatch, flush. Work is in proportion to what is ready, never to what is open.
 *
 *   wait ──(ready list)──> dispatch ──(dirty list)──> flush ──(after list: closed, written)──> next dispatch
 *                                                       └──(line: the rest of a burst)──> next flush
 */
#include <errno.h>
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/clock.h"
#include "mongoose/base/log.h"
#include "mongoose/loop/io.h"

enum {
  EVENTS = 32,        /* readiness taken per wait: what the processor's caches hold from its receive to its send */
  FLUSHES = 64,       /* of a burst that are flushed in one turn; more than EVENTS, so that answers are no burst */
  SWEEP_FREE = 64,    /* up to this many connections it runs in every turn: it costs nothing */
};

/* ---- lists ---- */

void mg_conn_ready(struct mg_connection *c) {
  struct mg_mgr *mgr = c->mgr;
  if (c->in_ready) return;
  c->in_ready = 1;
  c->ready_next = NULL;
  *mgr->ready_last = c;
  mgr->ready_last = &c->ready_next;
}

void mg_touch(struct mg_connection *c) {
  struct mg_mgr *mgr = c->mgr;
  if (c->in_dirty || c->is_dead) return;
  c->in_dirty = 1;
  c->dirty_next = NULL;
  *mgr->dirty_last = c;
  mgr->dirty_last = &c->dirty_next;
}

void mg_conn_after(struct mg_connection *c) {
  struct mg_mgr *mgr = c->mgr;
  if (c->in_after) return;
  c->in_after = 1;
  c->after_next = NULL;
  *mgr->after_last = c;
  mgr->after_last = &c->after_next;
}

static struct mg_connection *take(struct mg_connection **first, struct mg_connection ***last) {
  struct mg_connection *c = *first;
  *first = NULL;
  *last = first;
  return c;
}

bool mg_mgr_owes(const struct mg_mgr *mgr) {
  return mgr->after != NULL || mgr->ready != NULL;
}

/* ---- readiness and deadlines ---- */

void mg_conn_watch(struct mg_connection *c, unsigned want) {
  int fd = (int) (size_t) c->fd;
  if (c->watched == want || fd < 0) return;
  if (c->mgr->poller->watch(c->mgr->poll_state, fd, c->watched, want, c) == 0) {
    c->watched = (uint8_t) want;
  } else if (!c->is_dead) {
    c->last_errno = errno;
    c->is_failed = 1;
    mg_conn_ready(c);
  }
}

void mg_conn_due(struct mg_connection *c) {
  uint64_t due = c->read_due;
  if (c->is_dead) return; /* its struct will be another connection's, so it must be in no slot of the wheel */
  if (c->write_due != 0 && (due == 0 || c->write_due < due)) due = c->write_due;
  if (due != c->deadline.due) mg_deadline_set(&c->mgr->wheel, &c->deadline, due);
}

void mg_read_due(struct mg_connection *c, uint64_t ms) {
  c->read_due = ms;
  mg_conn_due(c);
}

static void deadline_passed(struct mg_deadline *d, void *arg) {
  struct mg_connection *c = (struct mg_connection *) ((char *) d - offsetof(struct mg_connection, deadline));
  struct mg_mgr *mgr = (struct mg_mgr *) arg;
  if (c->is_dead) return;
  if (c->write_due != 0 && c->write_due <= mgr->now) {
    c->write_due = 0;
    c->is_failed = 1; /* reset, not a polite end: the kernel need not keep what the peer does not read */
    c->is_closing = 1;
    mg_sock_reset_on_close((int) (size_t) c->fd);
    mg_count(&mgr->stats.timeouts, 1);
    MG_DEBUG(("%lu peer took no output in time", c->id));
  } else if (c->read_due != 0 && c->read_due <= mgr->now) {
    c->read_due = 0;
    if (c->is_listening) {
      mg_conn_resume(c);
    } else if (c->is_lingering) {
      c->is_closing = 1;
    } else if (c->is_connecting || c->is_resolving) {
      mg_connect_late(c);
    } else if (c->is_prefaced) {
      mg_count(&mgr->stats.timeouts, 1);
      mg_count(&mgr->stats.proxy_errors, 1);
      c->is_closing = 1;
    } else if (c->is_tls_hs) {
      mg_count(&mgr->stats.timeouts, 1);
      mg_error_as(c, MG_ETIMEDOUT, "TLS handshake timed out");
    } else if (c->proto != NULL && c->proto->timeout != NULL) {
      c->proto->timeout(c);
    } else {
      mg_count(&mgr->stats.timeouts, 1);
      c->is_closing = 1;
    }
  }
  mg_conn_due(c);
  mg_touch(c);
}

/* ---- phase 1: wait ---- */

static uint64_t least(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static bool has_output(const struct mg_mgr *mgr) { /* dirty: something was queued between two polls */
  return mgr->dirty != NULL || mgr->line != NULL;
}

static bool sweeps(const struct mg_mgr *mgr) {
  return mgr->sweep_ms > 0 && mgr->nconns > 0;
}

int mg_mgr_timeout(const struct mg_mgr *mgr) {
  uint64_t now = mg_millis(), t;
  if (mgr->wakeq == NULL) return -1;
  if (mg_mgr_owes(mgr) || has_output(mgr) || !mg_wakeq_arm(mgr->wakeq)) return 0; /* posts ring from here on */
  t = least(mg_timer_next((struct mg_timer **) (size_t) &mgr->timers, now), mg_wheel_next((struct mg_wheel *) (size_t) &mgr->wheel, now));
  if (sweeps(mgr)) t = least(t, now - mgr->last_sweep >= mgr->sweep_ms ? 0 : mgr->sweep_ms - (now - mgr->last_sweep));
  return t > 0x7fffffff ? -1 : (int) t;
}

static int wait_ms(struct mg_mgr *mgr, int ms) {
  uint64_t t;
  if (ms == 0 || mg_mgr_owes(mgr) || has_output(mgr)) return 0;
  t = least(mg_timer_next(&mgr->timers, mgr->now), mg_wheel_next(&mgr->wheel, mgr->now));
  if (sweeps(mgr)) t = least(t, mgr->sweep_ms);
  if (ms < 0) return t > 0x7fffffff ? -1 : (int) t;
  return (int) least(t, (uint64_t) ms);
}

static void readiness(struct mg_mgr *mgr, struct mg_connection *c, unsigned events) {
  if (c->is_dead) return;
  if (c->is_listening && !c->is_udp) {
    mg_io_accept(c);
  } else if (c->is_connecting) {
    if (events & (MG_POLL_WRITE | MG_POLL_HUP)) mg_conn_ready(c);
  } else if (c->is_udp) {
    if (events & (MG_POLL_READ | MG_POLL_HUP)) mg_io_recv_datagrams(c);
  } else {
    if (events & MG_POLL_WRITE) {
      mg_touch(c);
      if (MG_UNLIKELY(c->tls_wants_write)) events |= MG_POLL_READ;
    }
    if (MG_UNLIKELY(c->is_eof && !c->is_client && (events & MG_POLL_HUP))) { /* it had ended its side, now it is gone */
      c->is_failed = 1;
      mg_conn_ready(c);
    } else if ((events & MG_POLL_READ) || ((events & MG_POLL_HUP) && !c->is_full)) {
      mg_io_recv(c);
    } else if ((events & MG_POLL_HUP) && c->is_client) { /* what it sent before it went is read when reading goes on */
      mg_conn_watch(c, 0);
    } else if (events & MG_POLL_HUP) { /* reading is paused, but the peer is gone altogether */
      c->is_failed = 1;
      mg_conn_ready(c);
    }
  }
  (void) mgr;
}

void mg_mgr_tick(struct mg_mgr *mgr) {
  mgr->clock = mg_nanos();
#if MG_ENABLE_CUSTOM_MILLIS
  mgr->now = mg_millis();
#else
  mgr->now = mgr->clock / 1000000U;
#endif
}

/* With thousands of connections each is out of the caches when its turn comes: its lines travel while the one before is served. */
static void prefetch(const void *conn) {
  const char *p = (const char *) conn;
  size_t i;
  for (i = 0; i < sizeof(struct mg_connection); i += 64) __builtin_prefetch(p + i, 1);
}

void mg_mgr_wait(struct mg_mgr *mgr, int ms) {
  struct mg_ready found[EVENTS];
  int i, n, interrupted = 0;
  if (mgr->wakeq == NULL) return;
  mg_io_begin_turn(mgr);
  mg_count(&mgr->stats.turns, 1);
  if (ms != 0) {
    ms = wait_ms(mgr, ms);
    if (ms != 0 && !mg_wakeq_arm(mgr->wakeq)) ms = 0;
  }
  n = mgr->poller->wait(mgr->poll_state, ms, found, EVENTS, &interrupted);
  mg_wakeq_disarm(mgr->wakeq);
  mg_mgr_tick(mgr);
  mgr->interrupted = interrupted != 0;
  for (i = 0; i < n; i++) {
    if (i + 1 < n) prefetch(found[i + 1].who);
    if (found[i].who == mgr) {
      mg_wakeq_clear(mgr->wakeq);
      mgr->interrupted = true; /* a poke without a message is a signal's way to say "look" */
    } else {
      readiness(mgr, (struct mg_connection *) found[i].who, found[i].events);
    }
  }
}

/* ---- phase 2: dispatch ---- */

static void tell_datagrams(struct mg_connection *c) {
  while (c->packets != NULL && !c->is_dead) {
    struct mg_packet *p = c->packets;
    long n = (long) p->len;
    c->packets = p->next;
    if (c->packets == NULL) c->last_packet = &c->packets;
    mg_iobuf_free(&c->recv); /* datagrams do not run together */
    c->rem = p->rem;
    c->recv.buf = (unsigned char *) p->buf;
    c->recv.size = c->recv.len = p->len;
    c->recv.chunk = p->chunk;
    mg_free(p);
    if (!c->is_closing && !c->is_draining) mg_call(c, MG_EV_READ, &n);
  }
  mg_iobuf_free(&c->recv);
}

/* The handler of MG_EV_ACCEPT or MG_EV_CONNECT had its chance to call mg_tls_init. */
void mg_tls_begins(struct mg_connection *c) {
  static const struct mg_tls_opts defaults;
  uint32_t ms = c->listener->limits.tls_timeout;
  if (c->is_closing || c->is_dead) return;
  if (c->tls == NULL) {
    if (c->is_client) {
      mg_tls_init(c, &defaults); /* the system's trust, the URL's name */
    } else {
      mg_error_as(c, MG_ETLS, "TLS: the listener has no certificate, and mg_tls_init was not called on MG_EV_ACCEPT");
    }
  }
  if (c->is_tls_hs && !c->is_closing) mg_read_due(c, ms > 0 ? c->mgr->now + ms : 0);
}

static void tls_is_up(struct mg_connection *c) {
  c->is_tls_new = 0;
  mg_read_due(c, 0);
  mg_call(c, MG_EV_TLS_HS, NULL);
}

/* TLS says why. A server's alert reaches its peer only when what he sent is taken off the socket before it is closed. */
static void tls_failed(struct mg_connection *c) {
  bool linger = c->is_tls_hs && !c->is_client;
  mg_error_as(c, MG_ETLS, "%s", mg_tls_error(c));
  if (!linger || c->is_dead) return;
  c->is_cut = 1;
  c->is_failed = c->is_closing = 0;
  c->is_draining = 1;
  mg_out_discard(c);
  mg_linger(c);
}

static void tell_ready(struct mg_connection *c) {
  if (c->is_dead) return;
  mg_touch(c);
  if (MG_UNLIKELY(c->is_prefaced)) { /* of the events only a failure, and that is nobody's but ours */
    c->is_closing = 1;
    return;
  }
  if (c->is_new) {
    c->is_new = 0;
    c->is_writable = 1;
    mg_call(c, MG_EV_OPEN, NULL);
    mg_call(c, MG_EV_ACCEPT, NULL);
    if (MG_UNLIKELY(c->is_tls)) mg_tls_begins(c);
  }
  if (c->is_connecting) mg_connect_done(c);
  if (c->is_udp) tell_datagrams(c);
  if (MG_UNLIKELY(c->is_tls_new) && !c->is_closing && !c->is_dead) tls_is_up(c);
  if (c->got > 0 && !c->is_closing && !c->is_dead) {
    long n = (long) c->got;
    c->got = 0;
    c->is_readable = 1;
    mg_call(c, MG_EV_READ, &n);
  }
  if (c->is_failed && !c->is_closing) {
    if (!c->is_lingering && mg_tls_error(c) != NULL) {
      tls_failed(c);
      return;
    }
    if (c->last_errno != 0 && c->last_errno != ECONNRESET && c->last_errno != EPIPE) {
      mg_error(c, "%s", strerror(c->last_errno));
    }
    c->is_closing = 1;
  } else if (c->is_eof && !c->is_draining && !c->is_closing) {
    if (c->listener->limits.half_close && c->proto != NULL && c->proto->owes != NULL && c->proto->owes(c)) return; /* settle sees to the end */
    c->is_draining = 1; /* what is queued still goes out; what was promised for later is nobody's any more */
  }
}

static void tell_after(struct mg_mgr *mgr) {
  struct mg_connection *c, *next;
  for (c = take(&mgr->after, &mgr->after_last); c != NULL; c = next) {
    next = c->after_next;
    c->in_after = 0;
    if (c->put > 0 && (!c->is_dead || (c->ask & MG_ASK_WRITE))) {
      long n = (long) c->put;
      c->put = 0;
      mg_call(c, MG_EV_WRITE, &n);
    }
    if (c->is_dead && !c->in_ready && !c->in_dirty && !c->in_line) {
      mg_conn_bury(c);
    } else if (c->is_dead) {
      mg_conn_after(c); /* a list still knows it: next turn */
    }
  }
}

static void sweep(struct mg_mgr *mgr) {
  struct mg_connection *c;
  uint64_t uptime = mgr->now - mgr->started;
  mgr->last_sweep = mgr->now;
  for (c = mgr->conns; c != NULL; c = c->next) {
    if (c->is_dead) continue;
    if ((c->ask & MG_ASK_POLL) && !c->is_new) mg_call(c, MG_EV_POLL, &uptime);
    if (c->is_closing || c->is_draining || c->send.len > 0 || (c->is_full != 0) != ((c->watched & MG_POLL_READ) == 0)) mg_touch(c);
  }
}

static void settle(struct mg_mgr *mgr) {
  struct mg_connection *c;
  for (c = mgr->dirty; c != NULL; c = c->dirty_next) { /* settling appends behind us */
    if (c->proto != NULL && c->proto->settle != NULL && !c->is_dead && !c->is_closing && !c->is_new) c->proto->settle(c);
  }
}

void mg_mgr_dispatch(struct mg_mgr *mgr) {
  struct mg_connection *c, *next;
  if (mgr->wakeq == NULL) return;
  mgr->in_dispatch = true;
  if (mgr->after != NULL) tell_after(mgr);
  if (mgr->timers != NULL) mg_timer_poll(&mgr->timers, mgr->now);
  mg_wheel_poll(&mgr->wheel, mgr->now, deadline_passed, mgr);
  mg_count(&mgr->stats.wakeups, mg_wakeq_drain(mgr->wakeq, mgr));
  for (c = take(&mgr->ready, &mgr->ready_last); c != NULL; c = next) {
    next = c->ready_next;
    c->in_ready = 0;
    if (next != NULL) __builtin_prefetch(next->owner, 1);
    tell_ready(c);
  }
  if (sweeps(mgr) && (mgr->nconns <= SWEEP_FREE || mgr->now - mgr->last_sweep >= mgr->sweep_ms)) sweep(mgr);
  settle(mgr);
  for (c = mgr->dirty; c != NULL; c = c->dirty_next) mg_io_settle_recv(c);
  mgr->in_dispatch = false;
}

/* ---- phase 3: flush ---- */

/* Is anybody going to take what is read? */
static bool wants_input(const struct mg_connection *c) {
  if (c->is_full || c->is_eof) return false;
  if (MG_UNLIKELY(c->is_draining) && !c->is_lingering && !c->is_owed) return false;
  return c->proto != NULL || c->is_udp || c->recv.len < c->listener->limits.max_recv; /* a protocol has limits of its own */
}

static void update_interest(struct mg_connection *c, bool blocked) {
  unsigned want = 0;
  if (wants_input(c)) want |= MG_POLL_READ;
  if (blocked) want |= MG_POLL_WRITE;
  if (MG_UNLIKELY(c->is_eof) && !c->is_draining) want |= MG_POLL_HUP; /* it waits for answers: tell when it is gone altogether */
  if (MG_UNLIKELY(c->is_tls) && !c->is_lingering) {
    if (c->is_tls_hs || c->tls_wants_read) want = MG_POLL_READ; /* that is what output waits for, too */
    if (c->tls_wants_write) want |= MG_POLL_WRITE;
  }
  if (want != c->watched) mg_conn_watch(c, want);
}

/* Is what is queued the last the peer hears? */
static bool ends(const struct mg_connection *c) {
  return c->is_draining && !c->is_pumping && (!c->is_owed || c->is_eof);
}

static void flush_one(struct mg_connection *c) {
  struct mg_mgr *mgr = c->mgr;
  enum mg_out_result res = MG_OUT_EMPTY;
  size_t put = c->put;
  bool goes_on = false; /* a protocol that waited for room looks at its input again */
  if (c->is_dead || c->is_connecting || c->is_resolving || (c->is_listening && !c->is_closing && !c->is_draining)) {
    if ((c->is_connecting || c->is_resolving) && c->is_closing) mg_conn_hang_up(c);
    return;
  }
  if (c->is_closing) { /* what the socket takes at once may go; nobody waits for the rest */
    if (!c->is_failed && c->held == NULL && !c->is_listening && !c->is_udp) (void) mg_out_write(c, false); /* perhaps it ends with a reset */
    mg_conn_hang_up(c);
    return;
  }
  if (MG_UNLIKELY(c->is_tls_hs) && c->tls_wants_write && !c->is_lingering) mg_tls_handshake(c);
  if (c->held != NULL) mg_out_swap(c, c->held);
  if (c->send.len > 0 || c->segs != NULL) {
    res = mg_out_write(c, ends(c));
    c->is_writable = res == MG_OUT_EMPTY;
    if (res == MG_OUT_EMPTY && c->send.buf != NULL) mg_out_release(c);
  }
  if (c->held != NULL) mg_out_swap(c, c->held);
  if (MG_UNLIKELY(c->is_tls) && res == MG_OUT_EMPTY && ends(c) && !mg_tls_end(c)) res = MG_OUT_BLOCKED; /* the last word is output, too */
  if (MG_UNLIKELY(res == MG_OUT_FAILED)) {
    int err = errno;
    mg_out_discard(c);
    if (c->is_client && c->proto != NULL && (err == EPIPE || err == ECONNRESET) && !c->is_eof && !c->is_draining) {
      /* A server may answer and close before it has read all: the answer counts, and the socket's error comes behind it. */
      update_interest(c, false);
      return;
    }
    c->last_errno = err;
    c->is_failed = 1;
    mg_conn_hang_up(c);
    return;
  }
  if (res == MG_OUT_BLOCKED) {
    uint32_t ms = c->listener->limits.send_timeout;
    if (ms > 0 && (c->put != put || c->write_due == 0)) {
      c->write_due = mgr->now + ms;
      mg_conn_due(c);
    }
  } else if (c->write_due != 0) {
    c->write_due = 0;
    mg_conn_due(c);
  }
  if (c->is_choked && mg_unsent(c) <= c->listener->limits.send_low) {
    c->is_choked = 0;
    goes_on = c->recv.len > 0;
    mg_conn_after(c);
  } else if (c->put != put && (c->ask & MG_ASK_WRITE)) {
    mg_conn_after(c);
  }
  if (MG_UNLIKELY(c->is_pumping) && res != MG_OUT_BLOCKED) goes_on = true;
  if (MG_UNLIKELY(res == MG_OUT_EMPTY && ends(c))) {
    if (!c->is_lingering || c->is_eof) {
      mg_conn_hang_up(c);
      return;
    }
    if (!c->is_shut) {
      c->is_shut = 1;
      mg_sock_shut((int) (size_t) c->fd);
    }
  }
  update_interest(c, res == MG_OUT_BLOCKED);
  if (MG_UNLIKELY(c->is_tls_more) && wants_input(c)) mg_io_recv(c);
  if (goes_on) mg_touch(c);
}

/* Writing to a thousand members of a group takes milliseconds. So a burst stands in line, and between its parts the loop looks at what
 * came meanwhile: others are answered, and what is said to the same members until their turn comes leaves in the same write. */
void mg_mgr_flush(struct mg_mgr *mgr) {
  struct mg_connection *fresh = NULL, **last = &fresh, *c, *next;
  unsigned n = 0;
  for (c = take(&mgr->dirty, &mgr->dirty_last); c != NULL; c = next) {
    next = c->dirty_next;
    c->in_dirty = 0;
    if (c->in_line) continue; /* it keeps its place */
    c->in_line = 1;
    c->line_next = NULL;
    *last = c;
    last = &c->line_next;
    n++;
  }
  if (n <= FLUSHES) { /* answers do not wait behind a burst */
    for (c = fresh; c != NULL; c = c->line_next) {
      c->in_line = 0;
      flush_one(c);
    }
  } else {
    *mgr->line_last = fresh;
    mgr->line_last = last;
  }
  for (n = 0; n < FLUSHES && (c = mgr->line) != NULL; n++) {
    mgr->line = c->line_next;
    if (mgr->line != NULL) {
      prefetch(mgr->line);
    } else {
      mgr->line_last = &mgr->line;
    }
    c->in_line = 0;
    flush_one(c);
  }
  mg_mgr_tick(mgr);
}

/* ---- all three ---- */

void mg_mgr_poll(struct mg_mgr *mgr, int ms) {
  mg_mgr_tick(mgr);
  mg_mgr_wait(mgr, ms);
  mg_mgr_dispatch(mgr);
  mg_mgr_flush(mgr);
  if (mgr->after != NULL) { /* callbacks are welcome here, so do not let MG_EV_WRITE and MG_EV_CLOSE wait for the next call */
    mgr->in_dispatch = true;
    tell_after(mgr);
    mgr->in_dispatch = false;
  }
}
