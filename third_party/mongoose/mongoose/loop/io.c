/* io.c - accept and receive, called in the wait phase: nothing in here runs a callback.
 *
 * Reads of one turn are packed behind each other into one shared block, so that hundreds of small requests touch little memory
 * and an idle connection owns none. What a handler left unread moves to a chunk of the connection's own.
 */
#include "mongoose/loop/io.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <unistd.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/clock.h"
#include "mongoose/loop/tls.h"

enum {
  BLOCK = 4 * MG_IO_SIZE < 65536 ? 65536 : 4 * MG_IO_SIZE,
  BLOCK_SPARE = 16,
  BIG_READ = 256 * 1024, /* at most this much of one connection in a turn */
  DATAGRAM = 65536,
  DATAGRAMS = 64,
  ACCEPTS = 256,
  PAUSE_MS = 200, /* when descriptors ran out */
};

static int fd_of(const struct mg_connection *c) {
  return (int) (size_t) c->fd;
}

/* ---- the block ---- */

static void keep_block(struct mg_mgr *mgr, struct mg_chunk *b) {
  if (b == NULL) return;
  if (!mg_chunk_shared(b) && mgr->nspare_blocks < BLOCK_SPARE) {
    b->next = mgr->spare_blocks;
    mgr->spare_blocks = b;
    mgr->nspare_blocks++;
  } else {
    mg_chunk_drop(b); /* whoever holds it frees it */
  }
}

void mg_io_begin_turn(struct mg_mgr *mgr) {
  struct mg_chunk *b = mgr->block;
  if (b == NULL || b->used == 0) return;
  if (mg_chunk_shared(b)) {
    mgr->block = NULL;
    mg_chunk_drop(b);
  } else {
    b->used = 0;
  }
}

static struct mg_chunk *block_with_room(struct mg_mgr *mgr, size_t room) {
  struct mg_chunk *b = mgr->block;
  if (MG_LIKELY(b != NULL && b->size - b->used >= room)) return b;
  mgr->block = NULL;
  keep_block(mgr, b);
  b = mgr->spare_blocks;
  if (b != NULL && room <= BLOCK) {
    mgr->spare_blocks = b->next;
    mgr->nspare_blocks--;
    b->used = 0;
  } else {
    b = mg_chunk_new(room > BLOCK ? room : BLOCK);
  }
  return mgr->block = b;
}

/* ---- streams ---- */

/* Room behind the bytes that are there already, in memory only this connection writes to. */
static bool make_room(struct mg_connection *c, size_t want) {
  struct mg_iobuf *io = &c->recv;
  struct mg_chunk *n;
  size_t size;
  if (io->size - io->len >= want) return true;
  if (io->chunk == NULL && io->buf != NULL) return mg_iobuf_reserve(io, want) != 0; /* the application put it there */
  size = io->len + want;
  if (size < 2 * io->len) size = 2 * io->len;
  if (c->hint > 0 && size > c->hint) size = c->hint > io->len + want ? c->hint : io->len + want;
  n = mg_chunk_new(size);
  if (n == NULL) return false;
  if (io->len > 0) memcpy(n->data, io->buf, io->len); /* nowhere is no source, not even of nothing */
  n->used = n->size;
  mg_chunk_drop(io->chunk);
  io->chunk = n;
  io->buf = (unsigned char *) n->data;
  io->size = n->size;
  return true;
}

/* As many records as there is room for: bytes that TLS holds already make no socket readable. */
static ssize_t recv_tls(struct mg_connection *c, char *to, size_t room) {
  size_t got = 0;
  long n = 0;
  c->is_tls_more = 0;
  if (c->tls_wants_read) mg_touch(c); /* output waited for this */
  c->tls_wants_read = 0;
  while (got < room) {
    n = mg_tls_recv(c, to + got, room - got);
    if (n <= 0) break;
    got += (size_t) n;
    if (mg_tls_pending(c) == 0) return (ssize_t) got;
    c->is_tls_more = got == room;
  }
  if (n == 0 && got > 0) c->is_eof = 1;
  if (got > 0 || n == 0) return (ssize_t) got;
  if (n == MG_IO_WAIT) {
    errno = EAGAIN;
    if (c->tls_wants_write) mg_conn_watch(c, c->watched | MG_POLL_WRITE);
  } else if (n == MG_IO_RESET) {
    errno = ECONNRESET;
  } else {
    errno = EPROTO;
  }
  return -1;
}

static void failed(struct mg_connection *c, int err) {
  c->last_errno = err;
  c->is_failed = 1;
  mg_conn_ready(c);
}

/* ---- what must be said first ---- */

static void refuse_preface(struct mg_connection *c) {
  mg_count(&c->mgr->stats.proxy_errors, 1);
  c->is_closing = 1;
  mg_touch(c);
}

/* Looked at in the socket and taken out up to its end only: what follows may not be for our eyes (TLS). True when it is whole. */
static bool recv_preface(struct mg_connection *c) {
  struct mg_listener *l = c->listener;
  char peek[4096];
  ssize_t n = recv(fd_of(c), peek, sizeof(peek), MSG_PEEK);
  size_t had = c->recv.len, belongs;
  struct mg_str in;
  ptrdiff_t used;
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return false;
  if (n <= 0 || mg_iobuf_add(&c->recv, had, peek, (size_t) n) != (size_t) n) {
    refuse_preface(c); /* a port scan, a broken proxy, or no memory */
    return false;
  }
  in.buf = (char *) c->recv.buf;
  in.len = c->recv.len;
  used = l->preface(c, in);
  if (used < 0) {
    refuse_preface(c);
    return false;
  }
  belongs = used == 0 ? (size_t) n : (size_t) used - had; /* of the bytes that are still in the socket */
  if (recv(fd_of(c), peek, belongs, 0) != (ssize_t) belongs) {
    refuse_preface(c);
    return false;
  }
  mg_count(&c->mgr->stats.bytes_in, belongs);
  if (used == 0) return false;
  mg_iobuf_free(&c->recv);
  c->is_prefaced = 0;
  mg_read_due(c, 0);
  if (l->limits.max_per_address > 0 && !(c->is_counted = mg_peers_enter(l, &c->rem))) {
    mg_count(&c->mgr->stats.refused, 1);
    c->is_closing = 1;
    mg_touch(c);
    return false;
  }
  mg_conn_ready(c); /* now it is accepted */
  return true;
}

void mg_io_recv(struct mg_connection *c) {
  struct mg_mgr *mgr = c->mgr;
  struct mg_chunk *b = NULL;
  size_t room;
  ssize_t n;
  char *to;
  if (MG_UNLIKELY(c->is_prefaced) && !recv_preface(c)) return;
  if (MG_UNLIKELY(c->is_lingering)) { /* nobody listens any more */
    char nowhere[4096];
    n = recv(fd_of(c), nowhere, sizeof(nowhere), 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) failed(c, 0);
    return;
  }
  if (MG_UNLIKELY(c->is_tls_hs)) {
    mg_tls_handshake(c);
    if (c->is_tls_hs) return;
  }
  if (MG_LIKELY(c->recv.len == 0)) {
    if (c->recv.buf != NULL) mg_iobuf_free(&c->recv);
    if (c->hint > BLOCK / 2 && make_room(c, c->hint < BIG_READ ? c->hint : BIG_READ)) {
      room = c->recv.size;
      to = (char *) c->recv.buf;
    } else {
      b = block_with_room(mgr, MG_IO_SIZE);
      if (b == NULL) {
        failed(c, ENOMEM);
        return;
      }
      room = b->size - b->used;
      to = b->data + b->used;
    }
  } else {
    size_t want = c->hint > c->recv.len ? c->hint - c->recv.len : MG_IO_SIZE;
    if (want > c->recv.len + MG_IO_SIZE) want = c->recv.len + MG_IO_SIZE; /* what was promised is not yet what came */
    if (want > BIG_READ) want = BIG_READ;
    if (!make_room(c, want)) {
      failed(c, ENOMEM);
      return;
    }
    room = c->recv.size - c->recv.len;
    to = (char *) c->recv.buf + c->recv.len;
  }
  n = MG_UNLIKELY(c->is_tls) ? recv_tls(c, to, room) : recv(fd_of(c), to, room, 0);
  if (MG_LIKELY(n > 0)) {
    if (b != NULL) {
      c->recv.buf = (unsigned char *) to;
      c->recv.size = c->recv.len = (size_t) n;
      c->recv.chunk = mg_chunk_hold(b);
      b->used += ((size_t) n + 63) & ~(size_t) 63;
      if (b->used > b->size) b->used = b->size;
    } else {
      c->recv.len += (size_t) n;
    }
    c->got += (size_t) n;
    mg_count(&mgr->stats.bytes_in, (uint64_t) n);
    mg_conn_ready(c);
  } else if (n == 0) {
    c->is_eof = 1;
    mg_conn_ready(c);
  } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
    failed(c, errno);
  }
}

void mg_io_settle_recv(struct mg_connection *c) {
  struct mg_iobuf *io = &c->recv;
  struct mg_chunk *n;
  size_t size;
  if (io->buf == NULL) return;
  if (io->len == 0) {
    mg_iobuf_free(io);
    return;
  }
  if (io->chunk == NULL || io->chunk->size != BLOCK) return; /* its own already */
  size = io->len + 512;
  if (c->hint > size) size = c->hint < 2 * size + 4096 ? c->hint : 2 * size + 4096;
  if (size == BLOCK) size++;
  n = mg_chunk_new(size);
  if (n == NULL) return; /* then it stays where it is: correct, only less frugal */
  memcpy(n->data, io->buf, io->len);
  n->used = n->size;
  mg_chunk_drop(io->chunk);
  io->chunk = n;
  io->buf = (unsigned char *) n->data;
  io->size = n->size;
}

/* ---- listeners ---- */

void mg_io_accept(struct mg_connection *lc) {
  struct mg_mgr *mgr = lc->mgr;
  struct mg_listener *l = lc->listener;
  struct mg_sock ls, s;
  size_t max = l->limits.max_connections > 0 ? l->limits.max_connections : mgr->max_connections;
  int i;
  memset(&ls, 0, sizeof(ls));
  ls.fd = fd_of(lc);
  ls.is_unix = lc->is_unix;
  ls.loc = lc->loc;
  for (i = 0; i < ACCEPTS; i++) {
    struct mg_connection *c;
    bool prefaced, counted;
    if (l->open >= max) goto pause;
    if (mg_sock_accept(&ls, &s) < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) goto pause;
      if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO) continue;
      return;
    }
    prefaced = l->preface_from != NULL && mg_nets_has(l->preface_from, s.is_unix ? NULL : &s.rem);
    counted = l->limits.max_per_address > 0 && !prefaced;
    if (counted && !mg_peers_enter(l, &s.rem)) {
      mg_sock_close(s.fd);
      mg_count(&mgr->stats.refused, 1);
      continue;
    }
    c = mg_conn_new(mgr, &s, l);
    if (c == NULL) {
      if (counted) mg_peers_leave(l, &s.rem);
      mg_sock_close(s.fd);
      goto pause;
    }
    l->open++;
    c->is_accepted = 1;
    c->is_counted = counted;
    c->is_prefaced = prefaced;
    c->fn = lc->fn;
    c->fn_data = lc->fn_data;
    c->pfn = lc->pfn;
    c->pfn_data = NULL;
    c->proto = lc->proto;
    c->owner = NULL;
    c->ask = lc->ask;
    c->is_hexdumping = lc->is_hexdumping;
    c->is_tls = lc->is_tls;
    c->alpn = lc->alpn;
    if (MG_UNLIKELY(l->tls != NULL) && !mg_tls_accept(c, l->tls)) {
      c->is_failed = 1;
      c->last_errno = ENOMEM;
    }
    c->is_new = 1;
    mg_count(&mgr->stats.accepted, 1);
    mg_conn_watch(c, MG_POLL_READ);
    if (MG_LIKELY(!prefaced)) {
      mg_conn_ready(c);
    } else if (l->limits.header_timeout > 0) {
      mg_read_due(c, mgr->now + l->limits.header_timeout);
    }
  }
  return;
pause:
  /* Waiting peers stay in the kernel's queue; spinning on a ready listener would help nobody. A close or the deadline resumes. */
  lc->is_paused = 1;
  mgr->npaused++;
  mg_count(&mgr->stats.accept_pauses, 1);
  mg_conn_watch(lc, 0);
  lc->read_due = mgr->now + PAUSE_MS;
  mg_conn_due(lc);
}

/* ---- datagrams ---- */

static socklen_t to_sockaddr(const struct mg_addr *a, struct sockaddr_storage *ss) {
  memset(ss, 0, sizeof(*ss));
  if (a->is_ip6) {
    struct sockaddr_in6 *s6 = (struct sockaddr_in6 *) ss;
    s6->sin6_family = AF_INET6;
    s6->sin6_port = a->port;
    s6->sin6_scope_id = a->scope_id;
    memcpy(&s6->sin6_addr, a->addr.ip, 16);
    return sizeof(*s6);
  } else {
    struct sockaddr_in *s4 = (struct sockaddr_in *) ss;
    s4->sin_family = AF_INET;
    s4->sin_port = a->port;
    memcpy(&s4->sin_addr, a->addr.ip, 4);
    return sizeof(*s4);
  }
}

static void from_sockaddr(const struct sockaddr_storage *ss, struct mg_addr *a) {
  memset(a, 0, sizeof(*a));
  if (ss->ss_family == AF_INET6) {
    const struct sockaddr_in6 *s6 = (const struct sockaddr_in6 *) ss;
    a->is_ip6 = true;
    a->port = s6->sin6_port;
    a->scope_id = (uint8_t) s6->sin6_scope_id;
    memcpy(a->addr.ip, &s6->sin6_addr, 16);
  } else if (ss->ss_family == AF_INET) {
    const struct sockaddr_in *s4 = (const struct sockaddr_in *) ss;
    a->port = s4->sin_port;
    memcpy(a->addr.ip, &s4->sin_addr, 4);
  }
}

void mg_io_recv_datagrams(struct mg_connection *c) {
  int i;
  for (i = 0; i < DATAGRAMS; i++) {
    struct sockaddr_storage ss;
    socklen_t sl = sizeof(ss);
    struct mg_chunk *b = block_with_room(c->mgr, DATAGRAM);
    struct mg_packet *p;
    ssize_t n;
    if (b == NULL) return;
    ss.ss_family = AF_UNSPEC;
    n = recvfrom(fd_of(c), b->data + b->used, DATAGRAM, 0, (struct sockaddr *) &ss, &sl);
    if (n < 0) {
      /* A refused port on the other side (ECONNREFUSED) concerns one datagram, not this socket. */
      if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ECONNREFUSED) failed(c, errno);
      return;
    }
    p = (struct mg_packet *) mg_calloc(1, sizeof(*p));
    if (p == NULL) return;
    p->rem = c->rem;
    if (ss.ss_family != AF_UNSPEC) from_sockaddr(&ss, &p->rem);
    p->chunk = mg_chunk_hold(b);
    p->buf = b->data + b->used;
    p->len = (size_t) n;
    b->used += ((size_t) n + 63) & ~(size_t) 63;
    if (b->used > b->size) b->used = b->size;
    *c->last_packet = p;
    c->last_packet = &p->next;
    mg_count(&c->mgr->stats.bytes_in, (uint64_t) n);
    mg_conn_ready(c);
  }
}

bool mg_io_send_datagram(struct mg_connection *c, const void *buf, size_t len) {
  struct sockaddr_storage ss;
  socklen_t sl;
  ssize_t n;
  if (c->is_dead) return false;
  if (c->is_client) {
    n = send(fd_of(c), buf, len, 0);
  } else {
    sl = to_sockaddr(&c->rem, &ss);
    n = sendto(fd_of(c), buf, len, 0, (struct sockaddr *) &ss, sl);
  }
  if (n < 0) {
    c->last_errno = errno;
    return false;
  }
  mg_count(&c->mgr->stats.bytes_out, (uint64_t) n);
  return (size_t) n == len;
}
