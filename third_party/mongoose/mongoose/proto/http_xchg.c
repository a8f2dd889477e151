/* http_xchg.c - whose turn it is to speak. Answers may be given in any order; they leave in the order of the requests.
 *
 * The first exchange of the queue writes to the wire. What the others say collects in their own output until they are first.
 * c->send is always the output being filled now; while that is not the wire, c->held points to the wire's.
 */
#include <stddef.h>
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/status.h"
#include "mongoose/proto/http_encode.h"

static uint64_t position(const struct mg_connection *c, const struct mg_http_conn *hc) {
  return (hc->aimed != NULL ? 0 : c->flushed) + c->send.len;
}

void mg_xchg_aim(struct mg_connection *c, struct mg_http_conn *hc, struct mg_http_xchg *x) {
  if (x == &hc->now || x == hc->queue) x = NULL; /* first in line: the wire itself */
  if (hc->aimed == x) return;
  mg_out_swap(c, hc->aimed != NULL ? &hc->aimed->out : &hc->wire);
  mg_out_swap(c, x != NULL ? &x->out : &hc->wire);
  hc->aimed = x;
  c->held = x != NULL ? &hc->wire : NULL;
}

static void enqueue(struct mg_http_conn *hc, struct mg_http_xchg *x) {
  x->next = NULL;
  *hc->queue_last = x;
  hc->queue_last = &x->next;
  hc->queued++;
}

bool mg_xchg_begin(struct mg_connection *c, struct mg_http_conn *hc) {
  struct mg_http_xchg *x = &hc->now;
  if (hc->queue != NULL) {
    x = (struct mg_http_xchg *) mg_calloc(1, sizeof(*x));
    if (x == NULL) return false;
    enqueue(hc, x);
  } else {
    memset(x, 0, offsetof(struct mg_http_xchg, out));
  }
  x->number = (unsigned long) c->served + 1;
  hc->cur = x;
  hc->target = NULL; /* an aim that was forgotten must not lead this answer astray */
  mg_xchg_aim(c, hc, x);
  x->mark = position(c, hc);
  return true;
}

struct mg_http_xchg *mg_xchg_target(struct mg_http_conn *hc) {
  if (hc->target != NULL) return hc->target;
  return hc->cur != NULL && !hc->cur->deferred ? hc->cur : NULL;
}

void mg_xchg_done(struct mg_connection *c, struct mg_http_conn *hc, struct mg_http_xchg *x) {
  x->answer = MG_ANSWER_DONE;
  if (x == hc->cur) c->is_resp = 0;
  if (x != hc->cur) mg_http_logged(c, x); /* it may have to wait for its turn */
  if (!c->in_dirty) mg_touch(c);
}

static void xchg_free(struct mg_connection *c, struct mg_http_conn *hc, struct mg_http_xchg *x) {
  mg_http_logged(c, x);
  mg_http_watch_free(x);
  mg_http_encoder_free(hc, x);
  mg_http_extra_free(x);
  mg_out_free(&x->out);
  mg_free(x);
}

void mg_xchg_release(struct mg_connection *c, struct mg_http_conn *hc) {
  while (hc->queue != NULL && hc->queue->answer == MG_ANSWER_DONE) {
    struct mg_http_xchg *x = hc->queue;
    bool ends = !x->keep_alive, linger = x->linger;
    if (x == hc->cur && hc->phase == MG_HTTP_ANSWER) return; /* go_on finishes the current request itself */
    mg_xchg_aim(c, hc, NULL);
    if (x == hc->cur && hc->phase == MG_HTTP_BODY) ends = linger = true; /* its body is not here, and now nobody wants it */
    hc->queue = x->next;
    hc->queued--;
    if (hc->queue == NULL) hc->queue_last = &hc->queue;
    if (x == hc->cur) hc->cur = NULL;
    if (x == hc->target) hc->target = NULL;
    xchg_free(c, hc, x);
    if (ends) {
      hc->phase = MG_HTTP_OVER;
      c->is_draining = 1;
      if (linger || c->recv.len > 0) mg_linger(c);
      return;
    }
    x = hc->queue;
    if (x != NULL) { /* its turn: out with what it said so far */
      x->mark += c->flushed + c->send.len;
      if (!mg_out_append(c, &x->out)) c->is_closing = 1;
      /* Whoever makes it may have paused before its turn: that this is going out will be told, however little it is. */
      if (x->answer == MG_ANSWER_STREAM) c->is_choked = 1;
    }
  }
  mg_xchg_aim(c, hc, mg_xchg_target(hc));
}

void mg_xchg_free_all(struct mg_connection *c, struct mg_http_conn *hc) {
  mg_xchg_aim(c, hc, NULL);
  while (hc->queue != NULL) {
    struct mg_http_xchg *x = hc->queue;
    hc->queue = x->next;
    xchg_free(c, hc, x);
  }
  hc->queue_last = &hc->queue;
  hc->queued = 0;
  hc->cur = hc->target = NULL;
}

/* ---- answering later ---- */

unsigned long mg_http_defer(struct mg_connection *c) {
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_xchg *x = hc != NULL ? hc->cur : NULL, *q;
  if (hc != NULL && hc->target != NULL && hc->target->answer == MG_ANSWER_NONE) return hc->target->number; /* once more */
  if (x == NULL || x->deferred || x->answer != MG_ANSWER_NONE) {
    c->mgr->status = MG_ESTATE;
    return 0;
  }
  if (x == &hc->now) { /* the first to wait: from here on there is a queue */
    q = (struct mg_http_xchg *) mg_malloc(sizeof(*q));
    if (q == NULL) {
      c->mgr->status = MG_ENOMEM;
      return 0;
    }
    *q = *x;
    x->watch = NULL;
    x->extra = NULL;
    x->log = NULL;
    enqueue(hc, q);
    hc->cur = x = q;
  }
  x->deferred = 1;
  return x->number;
}

/* Whoever wrote by hand may have come to the end of the answer. */
static void watch_target(struct mg_connection *c, struct mg_http_conn *hc) {
  struct mg_http_xchg *x = hc->target;
  if (x == NULL || x->answer == MG_ANSWER_DONE) return;
  mg_http_watch_raw(c, x);
  if (x->answer == MG_ANSWER_DONE) mg_xchg_done(c, hc, x);
}

bool mg_http_aim(struct mg_connection *c, unsigned long number) {
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_xchg *x;
  if (hc == NULL || c->is_dead) return false;
  x = hc->cur == &hc->now && hc->now.number == number ? &hc->now : hc->queue;
  while (x != NULL && x->number != number) x = x->next;
  if (x == NULL || x->answer == MG_ANSWER_DONE) return false;
  watch_target(c, hc);
  hc->target = x;
  mg_xchg_aim(c, hc, x);
  return true;
}

void mg_http_aim_back(struct mg_connection *c, unsigned long number) {
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_xchg *x = NULL;
  if (hc == NULL) return;
  watch_target(c, hc);
  if (number != 0) {
    x = hc->cur == &hc->now && hc->now.number == number ? &hc->now : hc->queue;
    while (x != NULL && x->number != number) x = x->next;
  }
  hc->target = x;
  mg_xchg_aim(c, hc, mg_xchg_target(hc)); /* nobody: the wire, whose draining is what counts then */
}

void mg_http_unaim(struct mg_connection *c) {
  mg_http_aim_back(c, 0);
}

unsigned long mg_http_aimed(const struct mg_connection *c) {
  const struct mg_http_conn *hc = mg_http_of(c);
  return hc != NULL && hc->target != NULL ? hc->target->number : 0;
}

unsigned long mg_http_current(const struct mg_connection *c) {
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_xchg *x = hc != NULL ? mg_xchg_target(hc) : NULL;
  return x != NULL && x->answer != MG_ANSWER_DONE ? x->number : 0;
}

bool mg_http_busy(const struct mg_connection *c) {
  const struct mg_http_conn *hc = mg_http_of(c);
  if (c->proto == &mg_proto_http_client) return mg_http_client_busy(c);
  return hc != NULL && (hc->queue != NULL || (hc->cur != NULL && hc->cur->answer != MG_ANSWER_DONE));
}

bool mg_http_unanswered(const struct mg_connection *c) {
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_xchg *x = hc != NULL ? mg_xchg_target(hc) : NULL;
  return x != NULL && x->answer == MG_ANSWER_NONE;
}

bool mg_http_idle(const struct mg_connection *c) {
  const struct mg_http_conn *hc = mg_http_of(c);
  return hc == NULL || (hc->cur == NULL && hc->target == NULL);
}
