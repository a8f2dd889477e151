/* out_tls.c - the same queue of bytes, memory and files as out.c, through a TLS session.
 *
 * A record costs a header, a tag and a system call, so small pieces are copied together until one is full; what is larger than a
 * record goes to the cipher from where it lies. Files go out by sendfile when the kernel encrypts, else they are read into records.
 * A write that has to wait is repeated with at least the same bytes, as OpenSSL wants it: the queue only grows at its end.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mongoose/loop/conn.h"
#include "mongoose/loop/io.h"
#include "mongoose/loop/tls.h"

enum { RECORD = 16384, TURN_SHARE = 1 << 20 /* one peer at a time gets no more than this of a turn */ };

struct record {
  size_t len;
  char data[RECORD];
};

static void put(struct record *r, const void *from, size_t n) {
  if (n > RECORD - r->len) n = RECORD - r->len;
  if (n == 0) return;
  memcpy(r->data + r->len, from, n);
  r->len += n;
}

/* False, with errno: the file is shorter than promised, or cannot be read. */
static bool put_file(struct record *r, const struct mg_seg *s) {
  size_t want = s->len < RECORD - r->len ? s->len : RECORD - r->len, got = 0;
  while (got < want) {
    ssize_t n = pread(s->fd, r->data + r->len, want - got, (off_t) (s->ofs + (int64_t) got));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = EIO;
    if (n <= 0) return false;
    got += (size_t) n;
    r->len += (size_t) n;
  }
  return true;
}

/* From the front of the queue until the record is full or a file comes that goes out otherwise. False, with errno, for a bad file. */
static bool fill(struct mg_connection *c, struct record *r, bool sendfile) {
  const struct mg_seg *s;
  size_t at = 0;
  r->len = 0;
  for (s = c->segs; s != NULL && r->len < RECORD; s = s->next) {
    put(r, c->send.buf + at, s->after);
    at += s->after;
    if (s->buf != NULL) {
      put(r, s->buf, s->len);
    } else if (sendfile || r->len == RECORD) {
      return true;
    } else if (!put_file(r, s)) {
      return r->len > 0; /* what is before it still goes */
    }
  }
  if (s == NULL && c->send.len > at) put(r, c->send.buf + at, c->send.len - at);
  return true;
}

/* Bytes that lie at the front in one piece. */
static size_t front(const struct mg_connection *c, const char **p) {
  const struct mg_seg *s = c->segs;
  *p = (const char *) c->send.buf;
  if (s == NULL) return c->send.len;
  if (s->after > 0) return s->after;
  *p = s->buf;
  return s->buf != NULL ? s->len : 0;
}

static long write_some(struct mg_connection *c, struct record *r, size_t most) {
  const char *p;
  size_t n = front(c, &p), done = 0;
  bool sendfile = mg_tls_in_kernel(c);
  long w = 0;
  if (n == 0 && sendfile) { /* a file */
    struct mg_seg *s = c->segs;
    w = mg_tls_sendfile(c, s->fd, s->ofs, s->len < most ? s->len : most);
    if (w == 0) errno = EIO;
    return w == 0 ? MG_IO_ERR : w;
  }
  if (n < RECORD && c->segs != NULL) {
    if (!fill(c, r, sendfile)) return MG_IO_ERR;
    return mg_tls_send(c, r->data, r->len);
  }
  while (done < n && done < most && (w = mg_tls_send(c, p + done, n - done)) > 0) done += (size_t) w;
  return done > 0 ? (long) done : w;
}

enum mg_out_result mg_out_write_tls(struct mg_connection *c) {
  struct record r;
  size_t total = 0;
  while (c->send.len > 0 || c->segs != NULL) {
    long n;
    if (total >= TURN_SHARE) return MG_OUT_BLOCKED; /* fairness: the rest in the next turn */
    errno = 0;
    n = write_some(c, &r, TURN_SHARE - total);
    if (n == MG_IO_WAIT) return MG_OUT_BLOCKED;
    if (n <= 0) {
      if (errno == 0) errno = n == MG_IO_RESET ? ECONNRESET : EPROTO;
      return MG_OUT_FAILED;
    }
    c->put += (size_t) n;
    total += (size_t) n;
    mg_count(&c->mgr->stats.bytes_out, (uint64_t) n);
    mg_out_sent(c, (size_t) n);
  }
  return MG_OUT_EMPTY;
}
