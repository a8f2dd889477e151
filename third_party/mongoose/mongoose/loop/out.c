/* out.c - what a connection has to say: bytes in c->send, with segments (memory and files by reference) between them.
 *
 *   c->send:   |--- after₁ ---|--- after₂ ---|---- tail ----|
 *   on wire:    ~~~~~~~~~~~~~~ seg₁ ~~~~~~~~~~ seg₂ ~~~~~~~~~
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/sendfile.h>
#endif

#include "mongoose/base/alloc.h"
#include "mongoose/loop/conn.h"
#include "mongoose/loop/io.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif
#ifndef MSG_MORE
#define MSG_MORE 0
#endif

enum { OUT_SIZE = 4096, OUT_KEEP = 16384, IOV_MAX_ = 64, TURN_SHARE = 4 << 20 };

static int fd_of(const struct mg_connection *c) {
  return (int) (size_t) c->fd;
}

/* Send buffers live as long as there is something in them; between two answers a connection has none. */
static bool take_buffer(struct mg_connection *c, size_t need) {
  struct mg_mgr *mgr = c->mgr;
  if (need <= OUT_SIZE && mgr->nout_pool > 0) {
    size_t align = c->send.align;
    c->send = mgr->out_pool[--mgr->nout_pool];
    c->send.align = align;
    return true;
  }
  return mg_iobuf_resize(&c->send, need < OUT_SIZE ? OUT_SIZE : need) != 0;
}

static void give_buffer(struct mg_mgr *mgr, struct mg_iobuf *io) {
  if (io->buf == NULL) return;
  if (io->chunk == NULL && io->size >= OUT_SIZE && io->size <= OUT_KEEP && mgr->nout_pool < MG_OUT_POOL) {
    mgr->out_pool[mgr->nout_pool] = *io;
    mgr->out_pool[mgr->nout_pool++].len = 0;
    io->buf = NULL;
    io->size = io->len = 0;
  } else {
    mg_iobuf_free(io);
  }
}

void mg_out_release(struct mg_connection *c) {
  if (c->send.len == 0 && c->send.buf != NULL) give_buffer(c->mgr, &c->send);
}

size_t mg_unsent(const struct mg_connection *c) {
  size_t n = c->send.len + c->seg_bytes;
  if (c->held != NULL) n += c->held->buf.len + c->held->seg_bytes;
  return n;
}

static void note_queued(struct mg_connection *c) {
  if (MG_UNLIKELY(mg_unsent(c) >= c->listener->limits.send_high)) c->is_choked = 1;
  if (!c->in_dirty) mg_touch(c);
}

bool mg_send_reserve(struct mg_connection *c, size_t len) {
  if (MG_UNLIKELY(c->is_dead)) return false;
  if (c->send.buf == NULL) return take_buffer(c, len);
  return c->send.size - c->send.len >= len || mg_iobuf_reserve(&c->send, len) != 0;
}

bool mg_send(struct mg_connection *c, const void *buf, size_t len) {
  if (c->is_udp) return mg_io_send_datagram(c, buf, len);
  if (len == 0) return !c->is_dead;
  if (!mg_send_reserve(c, len)) return false;
  memcpy(c->send.buf + c->send.len, buf, len);
  c->send.len += len;
  note_queued(c);
  return true;
}

void mg_send_added(struct mg_connection *c) {
  note_queued(c);
}

static void seg_free(struct mg_seg *s) {
  if (s->done != NULL) {
    s->done(s->arg);
  } else if (s->fd >= 0) {
    close(s->fd);
  }
  mg_free(s);
}

static bool add_seg(struct mg_connection *c, struct mg_seg seg) {
  struct mg_seg *s = c->is_dead || c->is_udp ? NULL : (struct mg_seg *) mg_malloc(sizeof(*s));
  if (s == NULL) {
    if (seg.done != NULL) {
      seg.done(seg.arg);
    } else if (seg.fd >= 0) {
      close(seg.fd);
    }
    return false;
  }
  *s = seg;
  s->after = c->send.len - c->tail_start;
  c->tail_start = c->send.len;
  if (c->last_seg != NULL) {
    c->last_seg->next = s;
  } else {
    c->segs = s;
  }
  c->last_seg = s;
  c->seg_bytes += s->len;
  note_queued(c);
  return true;
}

bool mg_send_ref(struct mg_connection *c, const char *buf, size_t len, void (*done)(void *), void *arg) {
  if (c->proto != NULL && c->proto->sending_ref != NULL) c->proto->sending_ref(c, buf, len);
  if (len == 0 || c->is_udp) {
    bool ok = len == 0 || mg_send(c, buf, len);
    if (done != NULL) done(arg);
    return ok;
  }
  return add_seg(c, (struct mg_seg){.buf = buf, .len = len, .fd = -1, .done = done, .arg = arg});
}

static void drop_chunk(void *arg) {
  mg_chunk_drop((struct mg_chunk *) arg);
}

bool mg_send_chunk(struct mg_connection *c, struct mg_chunk *k, const char *buf, size_t len) {
  struct mg_seg *s = c->last_seg;
  if (s == NULL || s->arg != k || s->done != drop_chunk || s->buf + s->len != buf || c->tail_start != c->send.len || c->is_dead) {
    return mg_send_ref(c, buf, len, drop_chunk, mg_chunk_hold(k));
  }
  if (c->proto != NULL && c->proto->sending_ref != NULL) c->proto->sending_ref(c, buf, len);
  s->len += len;
  c->seg_bytes += len;
  note_queued(c);
  return true;
}

bool mg_send_file(struct mg_connection *c, int fd, int64_t ofs, size_t len) {
  if (len == 0) {
    close(fd);
    return !c->is_dead;
  }
  return add_seg(c, (struct mg_seg){.len = len, .fd = fd, .ofs = ofs});
}

bool mg_send_file_ref(struct mg_connection *c, int fd, int64_t ofs, size_t len, void (*done)(void *), void *arg) {
  if (len == 0) {
    done(arg);
    return !c->is_dead;
  }
  return add_seg(c, (struct mg_seg){.len = len, .fd = fd, .ofs = ofs, .done = done, .arg = arg});
}

void mg_out_swap(struct mg_connection *c, struct mg_out *o) {
  struct mg_out mine = {c->send, c->segs, c->last_seg, c->seg_bytes, c->tail_start};
  c->send = o->buf;
  c->segs = o->segs;
  c->last_seg = o->last_seg;
  c->seg_bytes = o->seg_bytes;
  c->tail_start = o->tail_start;
  *o = mine;
}

bool mg_out_append(struct mg_connection *c, struct mg_out *from) {
  size_t before = c->send.len - c->tail_start; /* bytes that follow our last segment */
  bool ok = true;
  if (c->send.len == 0 && c->segs == NULL) {
    give_buffer(c->mgr, &c->send);
    mg_out_swap(c, from);
  } else {
    if (from->buf.len > 0) {
      ok = mg_send_reserve(c, from->buf.len);
      if (ok) {
        memcpy(c->send.buf + c->send.len, from->buf.buf, from->buf.len);
        if (from->segs != NULL) c->tail_start = c->send.len + from->tail_start;
        c->send.len += from->buf.len;
      }
    } else if (from->segs != NULL) {
      c->tail_start = c->send.len;
    }
    if (ok && from->segs != NULL) {
      from->segs->after += before;
      if (c->last_seg != NULL) {
        c->last_seg->next = from->segs;
      } else {
        c->segs = from->segs;
      }
      c->last_seg = from->last_seg;
      c->seg_bytes += from->seg_bytes;
      from->segs = from->last_seg = NULL;
      from->seg_bytes = from->tail_start = 0;
    }
    from->buf.len = 0;
  }
  give_buffer(c->mgr, &from->buf);
  mg_out_free(from);
  note_queued(c);
  return ok;
}

void mg_out_free(struct mg_out *o) {
  struct mg_seg *s, *next;
  for (s = o->segs; s != NULL; s = next) {
    next = s->next;
    seg_free(s);
  }
  mg_iobuf_free(&o->buf);
  o->segs = o->last_seg = NULL;
  o->seg_bytes = o->tail_start = 0;
}

void mg_out_discard(struct mg_connection *c) {
  struct mg_out o;
  memset(&o, 0, sizeof(o));
  o.buf.align = c->send.align;
  mg_out_swap(c, &o);
  mg_out_free(&o);
}

/* n bytes of the buffer and the leading memory segments went out. */
void mg_out_sent(struct mg_connection *c, size_t n) {
  size_t from_buf = 0;
  while (n > 0 || (c->segs != NULL && c->segs->after == 0 && c->segs->len == 0)) {
    struct mg_seg *s = c->segs;
    size_t head = s != NULL ? s->after : c->send.len - from_buf, k = head < n ? head : n;
    from_buf += k;
    n -= k;
    if (s == NULL) break;
    s->after -= k;
    if (s->after > 0) break;
    k = s->len < n ? s->len : n;
    s->len -= k;
    c->seg_bytes -= k;
    if (s->buf != NULL) {
      s->buf += k;
    } else {
      s->ofs += (int64_t) k;
    }
    n -= k;
    if (s->len > 0) break;
    c->segs = s->next;
    if (c->segs == NULL) c->last_seg = NULL;
    seg_free(s);
  }
  c->flushed += from_buf;
  if (from_buf == c->send.len) {
    c->send.len = 0;
  } else {
    mg_iobuf_del(&c->send, 0, from_buf);
  }
  c->tail_start = c->tail_start > from_buf ? c->tail_start - from_buf : 0;
}

/* Bytes of the buffer and memory segments up to the first file, as one gathered write. */
static ssize_t write_memory(struct mg_connection *c, bool more) {
  struct iovec iov[IOV_MAX_];
  struct msghdr msg;
  size_t at = 0;
  int n = 0, flags = MSG_NOSIGNAL;
  struct mg_seg *s;
  if (more) flags |= MSG_MORE;
  for (s = c->segs; s != NULL && n < IOV_MAX_ - 2; s = s->next) {
    if (s->after > 0) iov[n++] = (struct iovec){c->send.buf + at, s->after};
    at += s->after;
    if (s->buf == NULL) break;
    iov[n++] = (struct iovec){(void *) (size_t) s->buf, s->len};
  }
  if (s == NULL && c->send.len > at) iov[n++] = (struct iovec){c->send.buf + at, c->send.len - at};
  if (n == 1) return send(fd_of(c), iov[0].iov_base, iov[0].iov_len, flags); /* the kernel has less to look at */
  memset(&msg, 0, sizeof(msg));
  msg.msg_iov = iov;
  msg.msg_iovlen = (size_t) n;
  return sendmsg(fd_of(c), &msg, flags);
}

static ssize_t write_file(struct mg_connection *c, struct mg_seg *s) {
  ssize_t n;
  size_t want = s->len < 1u << 20 ? s->len : 1u << 20; /* one peer at a time gets no more than this of a turn */
#if defined(__linux__)
  off_t ofs = (off_t) s->ofs;
  n = sendfile(fd_of(c), s->fd, &ofs, want);
#else
  char tmp[16384];
  if (want > sizeof(tmp)) want = sizeof(tmp);
  n = pread(s->fd, tmp, want, (off_t) s->ofs);
  if (n > 0) n = send(fd_of(c), tmp, (size_t) n, MSG_NOSIGNAL);
#endif
  if (n == 0) { /* the file is shorter than promised: the peer must not take the next bytes for it */
    errno = EIO;
    return -1;
  }
  return n;
}

enum mg_out_result mg_out_write(struct mg_connection *c, bool last) {
  size_t total = 0;
  bool corked = false;
  if (MG_UNLIKELY(c->is_tls)) return mg_out_write_tls(c);
  while (c->send.len > 0 || c->segs != NULL) {
    struct mg_seg *s = c->segs;
    ssize_t n;
    size_t want;
    if (MG_LIKELY(s == NULL)) {
      want = c->send.len;
      n = send(fd_of(c), c->send.buf, want, MSG_NOSIGNAL | (last ? MSG_MORE : 0));
      corked = last;
    } else if (s->buf == NULL && s->after == 0) {
      want = s->len;
      n = write_file(c, s);
    } else {
      struct mg_seg *f = s;
      while (f != NULL && f->buf != NULL) f = f->next;
      n = write_memory(c, f != NULL);
      want = 0; /* unknown: more iovecs may follow */
    }
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK ? MG_OUT_BLOCKED : MG_OUT_FAILED;
    }
    c->put += (size_t) n;
    total += (size_t) n;
    mg_count(&c->mgr->stats.bytes_out, (uint64_t) n);
    if (MG_LIKELY(s == NULL && (size_t) n == want)) {
      c->flushed += (uint64_t) n;
      c->send.len = c->tail_start = 0;
    } else {
      mg_out_sent(c, (size_t) n);
      if (want > 0 && (size_t) n < want && (s == NULL || s->buf != NULL)) return MG_OUT_BLOCKED;
      if (total >= TURN_SHARE) return MG_OUT_BLOCKED; /* fairness: the rest in the next turn */
    }
  }
  if (corked && !c->is_shut) { /* lets out what MSG_MORE held back, too */
    c->is_shut = 1;
    mg_sock_shut(fd_of(c));
  }
  return MG_OUT_EMPTY;
}
