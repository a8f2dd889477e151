/* wakeup.c - the queue by which other threads give work to the loop, and the bell that wakes it.
 *
 * The queue, after Dmitry Vyukov's intrusive multi-producer queue. A poster makes itself the newest by exchanging
 * `head`, then links its predecessor to itself; no poster ever waits for another. `stub` is the predecessor of the
 * oldest message.
 *
 *      stub -> a -> b -> c <- head           the loop takes a..c off in one go:
 *      stub <- head          a -> b -> c     head is the stub again, the chain belongs to the loop alone
 *
 * Taking them off needs `stub.next` to be linked; then nobody else writes it (whoever exchanges `head` from now on gets
 * a predecessor behind it), so it can be cleared before `head` is exchanged back to the stub.
 *
 * The gap. Between a poster's exchange and its link the queue is not connected, and it may stay so for as long as that
 * thread is off the processor. Two places meet it:
 *   - stub.next is NULL although head is not the stub: messages are in the queue, none can be reached. drain runs
 *     nothing.
 *   - inside the chain, a.next is NULL although a is not the last one. a must not run, since it may be freed then and
 *     the poster is about to write a.next. The chain is kept as it is; the next drain goes on there, and appends what
 *     it takes off to its end, whose `next` no poster writes any more. So order holds.
 * In both states mg_wakeq_arm returns false, for it asks whether `head` is the stub and the chain empty, not whether
 * something can be reached. The loop then polls without blocking and drains again until the poster has linked: a few
 * instructions, or a time slice if it was preempted in between. It never sleeps on a message that is in the queue.
 *
 * The bell. Poster: exchange head, then look at `armed`. Loop: set `armed`, then look at head. All four are
 * sequentially consistent, so at least one of the two sees the other: either the poster rings or the loop does not
 * block. Exchanging `armed` back to 0 makes one poster of many the one that rings.
 */
#include "mongoose/loop/wakeup.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include "mongoose/base/alloc.h"

#if defined(__linux__) && !defined(MG_WAKEUP_BY_PIPE) /* the latter lets tests run the other half on Linux */
#include <sys/eventfd.h>
#else
#include <fcntl.h>
#endif

struct mg_wakeq {
  /* posters */
  struct mg_wake *head;
  size_t bytes, count;
  char pad1[64]; /* the loop's own fields are not to share a cache line with those */
  /* posters look, the loop writes */
  int armed;
  int rung; /* by pipe only: there is something to read */
  char pad2[64];
  /* the loop */
  struct mg_wake stub;
  struct mg_wake *first, *last; /* taken off the queue, not run yet */
  size_t max_bytes;
  int fd_read, fd_write;
};

#if defined(__linux__) && !defined(MG_WAKEUP_BY_PIPE)

static int bell_open(struct mg_wakeq *q) {
  q->fd_read = q->fd_write = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return q->fd_read < 0 ? -1 : 0;
}

static void bell_close(struct mg_wakeq *q) {
  close(q->fd_read);
}

/* Every write is a new event for an edge-triggered watcher, so the counter need never be read; it would take 2^64 rings
 * to fill. */
static void bell_ring(struct mg_wakeq *q) {
  uint64_t one = 1;
  while (write(q->fd_write, &one, sizeof(one)) < 0 && errno == EINTR) continue;
}

static void bell_rest(struct mg_wakeq *q) {
  (void) q;
}

void mg_wakeq_clear(struct mg_wakeq *q) {
  uint64_t n;
  while (read(q->fd_read, &n, sizeof(n)) < 0 && errno == EINTR) continue;
}

#else

static int bell_open(struct mg_wakeq *q) {
  int fd[2], i;
  if (pipe(fd) != 0) return -1;
  for (i = 0; i < 2; i++) {
    int flags = fcntl(fd[i], F_GETFL, 0);
    if (flags < 0 || fcntl(fd[i], F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd[i], F_SETFD, FD_CLOEXEC) != 0) {
      close(fd[0]);
      close(fd[1]);
      return -1;
    }
  }
  q->fd_read = fd[0];
  q->fd_write = fd[1];
  return 0;
}

static void bell_close(struct mg_wakeq *q) {
  close(q->fd_read);
  close(q->fd_write);
}

/* A full pipe is readable, and that is all a ring is to do. */
static void bell_ring(struct mg_wakeq *q) {
  char one = 1;
  __atomic_store_n(&q->rung, 1, __ATOMIC_RELEASE);
  while (write(q->fd_write, &one, 1) < 0 && errno == EINTR) continue;
}

/* A pipe that nobody reads fills up, and a write that fails is no new event: unlike an eventfd it has to be emptied
 * under edge-triggered watchers too. A ring between these two lines leaves a byte and its mark for the next time. */
static void bell_rest(struct mg_wakeq *q) {
  if (__atomic_exchange_n(&q->rung, 0, __ATOMIC_ACQ_REL)) mg_wakeq_clear(q);
}

void mg_wakeq_clear(struct mg_wakeq *q) {
  char buf[256];
  ssize_t n;
  do n = read(q->fd_read, buf, sizeof(buf));
  while (n > 0 || (n < 0 && errno == EINTR));
}

#endif

struct mg_wakeq *mg_wakeq_new(size_t max_bytes) {
  struct mg_wakeq *q = (struct mg_wakeq *) mg_calloc(1, sizeof(*q));
  if (q == NULL) return NULL;
  q->max_bytes = max_bytes;
  q->head = &q->stub;
  if (bell_open(q) != 0) {
    mg_free(q);
    return NULL;
  }
  return q;
}

int mg_wakeq_fd(const struct mg_wakeq *q) {
  return q->fd_read;
}

/* Room is taken by compare-and-swap rather than by adding and taking back: a large message that is being refused must
 * not make a small one that fits be refused as well. */
static bool take_room(struct mg_wakeq *q, size_t bytes) {
  size_t used = __atomic_load_n(&q->bytes, __ATOMIC_RELAXED);
  if (bytes == 0) return true; /* not to be counted, nor ever refused */
  do {
    size_t max = __atomic_load_n(&q->max_bytes, __ATOMIC_RELAXED);
    if (used > max || bytes > max - used) return false;
  } while (!__atomic_compare_exchange_n(&q->bytes, &used, used + bytes, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return true;
}

bool mg_wakeq_post(struct mg_wakeq *q, struct mg_wake *w) {
  struct mg_wake *prev;
  if (!take_room(q, w->bytes)) return false;
  __atomic_add_fetch(&q->count, 1, __ATOMIC_RELAXED);
  __atomic_store_n(&w->next, NULL, __ATOMIC_RELAXED);
  prev = __atomic_exchange_n(&q->head, w, __ATOMIC_SEQ_CST);
  __atomic_store_n(&prev->next, w, __ATOMIC_RELEASE); /* from here on `w` may have run and be gone */
  if (__atomic_load_n(&q->armed, __ATOMIC_SEQ_CST) && __atomic_exchange_n(&q->armed, 0, __ATOMIC_SEQ_CST)) bell_ring(q);
  return true;
}

void mg_wakeq_poke(struct mg_wakeq *q) {
  int saved = errno; /* a signal handler must leave it as it was */
  bell_ring(q);
  errno = saved;
}

/* Everything that can be reached goes from the queue to the end of the loop's chain. */
static void take_off(struct mg_wakeq *q) {
  struct mg_wake *first = __atomic_load_n(&q->stub.next, __ATOMIC_ACQUIRE), *last;
  if (first == NULL) return;
  __atomic_store_n(&q->stub.next, NULL, __ATOMIC_RELAXED);
  last = __atomic_exchange_n(&q->head, &q->stub, __ATOMIC_SEQ_CST);
  if (q->first == NULL) {
    q->first = first;
  } else {
    __atomic_store_n(&q->last->next, first, __ATOMIC_RELAXED);
  }
  q->last = last;
}

/* The oldest of the chain, NULL when it is empty or broken by the gap. */
static struct mg_wake *next_in_chain(struct mg_wakeq *q) {
  struct mg_wake *w = q->first, *next;
  if (w == NULL) return NULL;
  next = __atomic_load_n(&w->next, __ATOMIC_ACQUIRE);
  if (next == NULL && w != q->last) return NULL;
  q->first = next;
  if (next == NULL) q->last = NULL;
  return w;
}

size_t mg_wakeq_drain(struct mg_wakeq *q, void *ctx) {
  struct mg_wake *w;
  size_t n = 0, bytes;
  bell_rest(q);
  take_off(q); /* once: what is posted by the functions below waits for the next drain */
  while ((w = next_in_chain(q)) != NULL) {
    bytes = w->bytes;
    w->run(w, ctx);
    __atomic_sub_fetch(&q->bytes, bytes, __ATOMIC_RELAXED);
    __atomic_sub_fetch(&q->count, 1, __ATOMIC_RELAXED);
    n++;
  }
  return n;
}

bool mg_wakeq_arm(struct mg_wakeq *q) {
  __atomic_store_n(&q->armed, 1, __ATOMIC_SEQ_CST);
  if (q->first == NULL && __atomic_load_n(&q->head, __ATOMIC_SEQ_CST) == &q->stub) return true;
  mg_wakeq_disarm(q);
  return false;
}

void mg_wakeq_disarm(struct mg_wakeq *q) {
  __atomic_store_n(&q->armed, 0, __ATOMIC_SEQ_CST);
}

void mg_wakeq_limit(struct mg_wakeq *q, size_t max_bytes) {
  __atomic_store_n(&q->max_bytes, max_bytes, __ATOMIC_RELAXED);
}

size_t mg_wakeq_bytes(const struct mg_wakeq *q) {
  return __atomic_load_n(&q->bytes, __ATOMIC_RELAXED);
}

size_t mg_wakeq_count(const struct mg_wakeq *q) {
  return __atomic_load_n(&q->count, __ATOMIC_RELAXED);
}

void mg_wakeq_discard(struct mg_wakeq *q) {
  struct mg_wake *w;
  size_t bytes;
  take_off(q);
  while ((w = next_in_chain(q)) != NULL) {
    bytes = w->bytes;
    w->drop(w);
    __atomic_sub_fetch(&q->bytes, bytes, __ATOMIC_RELAXED);
    __atomic_sub_fetch(&q->count, 1, __ATOMIC_RELAXED);
  }
}

void mg_wakeq_free(struct mg_wakeq *q) {
  if (q == NULL) return;
  mg_wakeq_discard(q);
  bell_close(q);
  mg_free(q);
}
