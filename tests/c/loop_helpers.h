/* loop_helpers.h - an event loop and plain sockets that talk to it, in one thread: poll until something holds, never sleep.
 *
 * LOOP_TEST(statement) is a TEST that is run once under each poller. Waiting is bounded by a number of polls, so that what never
 * comes is a failed check and not a hang.
 */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "check.h"
#include "mongoose/base/alloc.h"
#include "mongoose/base/bytes.h"
#include "mongoose/base/log.h"
#include "mongoose/loop/conn.h"

#define UNUSED __attribute__((unused))

static struct mg_mgr mgr;
static const char *poller_name; /* of the test that runs */

static UNUSED void with_poller(const char *name, void (*body)(void)) {
  poller_name = name;
  if (name != NULL) setenv("MG_POLLER", name, 1);
  body();
  unsetenv("MG_POLLER");
}

#define LOOP_TEST(name_)                                      \
  static void name_##_body(void);                             \
  TEST(name_) { with_poller(NULL, name_##_body); }            \
  TEST(name_##_under_poll) { with_poller("poll", name_##_body); } \
  static void name_##_body(void)

static UNUSED void loop_up(void) {
  mg_log_set(MG_LL_NONE);
  mg_mgr_init(&mgr);
  if (mgr.status < 0) {
    fprintf(stderr, "no loop: %s\n", mgr.errmsg);
    exit(2);
  }
}

static UNUSED void loop_down(void) {
  mg_mgr_free(&mgr);
}

/* Poll until cond holds, at most some thousand times; cond may pump peers. Evaluates to cond at the end. */
#define UNTIL(cond)                                                      \
  ({                                                                     \
    bool ok_ = false;                                                    \
    for (int polls_ = 0; polls_ < 3000 && !(ok_ = (cond)); polls_++) mg_mgr_poll(&mgr, 1); \
    ok_;                                                                 \
  })

/* So many turns in which nothing has to happen. */
static UNUSED void turns(int n) {
  while (n-- > 0) mg_mgr_poll(&mgr, 0);
}

/* ---- plain sockets ---- */

struct peer {
  int fd;
  char *buf; /* all that came, with a NUL behind it */
  size_t len, cap;
  bool eof;
  int err;
};

static UNUSED unsigned short port_of(const struct mg_connection *c) {
  return mg_ntohs(c->loc.port);
}

static UNUSED void nonblocking(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static UNUSED struct peer peer_of(int fd) {
  struct peer p = {fd, (char *) calloc(1, 1), 0, 0, false, 0};
  nonblocking(fd);
  return p;
}

/* Connected before the listener accepts: the kernel does that by itself. rcvbuf > 0: a peer with little room. */
static UNUSED struct peer dial_with(const struct mg_connection *lc, int rcvbuf) {
  struct sockaddr_in sin;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  memset(&sin, 0, sizeof(sin));
  sin.sin_family = AF_INET;
  sin.sin_port = lc->loc.port;
  sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (rcvbuf > 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
  setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one));
  if (fd < 0 || connect(fd, (struct sockaddr *) &sin, sizeof(sin)) != 0) {
    perror("connect");
    exit(2);
  }
  return peer_of(fd);
}

static UNUSED struct peer dial(const struct mg_connection *lc) {
  return dial_with(lc, 0);
}

static UNUSED void hang_up(struct peer *p) {
  if (p->fd >= 0) close(p->fd);
  free(p->buf);
  p->fd = -1;
  p->buf = NULL;
}

/* Take what is there, at most `most` bytes. True: always, so that it can stand in a condition. */
static UNUSED bool pump_some(struct peer *p, size_t most) {
  while (most > 0 && p->fd >= 0 && !p->eof) {
    ssize_t n;
    if (p->cap - p->len < 65537) {
      p->cap = 2 * p->cap + 65537;
      p->buf = (char *) realloc(p->buf, p->cap);
      if (p->buf == NULL) abort();
    }
    n = recv(p->fd, p->buf + p->len, most < 65536 ? most : 65536, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (n <= 0) {
      p->eof = true;
      p->err = n < 0 ? errno : 0;
      break;
    }
    p->len += (size_t) n;
    most -= (size_t) n;
    p->buf[p->len] = '\0';
  }
  return true;
}

static UNUSED bool pump(struct peer *p) {
  return pump_some(p, (size_t) 1 << 40);
}

static UNUSED void say_n(struct peer *p, const void *buf, size_t len) {
  ssize_t n = send(p->fd, buf, len, MSG_NOSIGNAL);
  if (n != (ssize_t) len) fprintf(stderr, "peer could say %zd of %zu\n", n, len);
}

static UNUSED void say(struct peer *p, const char *s) {
  say_n(p, s, strlen(s));
}

/* As many bytes as the socket takes of buf + *at; moves *at. True when all is said. */
static UNUSED bool say_more(struct peer *p, const char *buf, size_t len, size_t *at) {
  ssize_t n = *at < len ? send(p->fd, buf + *at, len - *at, MSG_NOSIGNAL) : 0;
  if (n > 0) *at += (size_t) n;
  return *at == len;
}

static UNUSED bool has(struct peer *p, const char *text) {
  pump(p);
  for (size_t i = 0, n = strlen(text); p->buf != NULL && i + n <= p->len; i++) {
    if (memcmp(p->buf + i, text, n) == 0) return true;
  }
  return false;
}

static UNUSED bool gone(struct peer *p) {
  pump(p);
  return p->eof;
}

static UNUSED unsigned connections_of(const struct mg_connection *lc) {
  return lc->listener->open;
}

/* The newest accepted connection. */
static UNUSED struct mg_connection *newest(void) {
  struct mg_connection *c = mgr.conns;
  while (c != NULL && (!c->is_accepted || c->is_dead)) c = c->next;
  return c;
}
