/* sock.c - sockets: address to descriptor, and a text for everything that can go wrong on the way. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* accept4 */
#endif
#include "mongoose/loop/sock_url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- errors ---- */

/* Own words for what people meet, the system's for the rest. */
static const char *reason(int e) {
  switch (e) {
    case EADDRINUSE: return "address already in use";
    case EADDRNOTAVAIL: return "this machine does not have that address";
    case EAFNOSUPPORT: return "this system does not support that kind of address";
    case EACCES: case EPERM: return "permission denied";
    case ECONNREFUSED: return "connection refused";
    case ECONNRESET: return "connection reset by the peer";
    case ETIMEDOUT: return "connection timed out";
    case EHOSTUNREACH: case ENETUNREACH: return "no route to that address";
    case EMFILE: case ENFILE: return "out of file descriptors";
    case ENOENT: return "no such file or directory";
    case ENOTDIR: return "not a directory";
    default: return strerror(e);
  }
}

static int fail(int e, const char *label, char *err) {
  snprintf(err, MG_SOCK_ERR, "%s: %s", label, reason(e));
  errno = e;
  if (e == EADDRINUSE) return MG_EADDRINUSE;
  if (e == ETIMEDOUT) return MG_ETIMEDOUT;
  return e == ENOMEM || e == ENOBUFS ? MG_ENOMEM : MG_EIO;
}

/* ---- addresses ---- */

union any_addr {
  struct sockaddr sa;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
  struct sockaddr_un un;
  struct sockaddr_storage storage;
};

static socklen_t to_sockaddr(const struct mg_addr *a, union any_addr *sa) {
  memset(sa, 0, sizeof(*sa));
  if (a->is_ip6) {
    sa->in6.sin6_family = AF_INET6;
    sa->in6.sin6_port = a->port;
    sa->in6.sin6_scope_id = a->scope_id;
    memcpy(&sa->in6.sin6_addr, a->addr.ip, 16);
    return sizeof(sa->in6);
  }
  sa->in.sin_family = AF_INET;
  sa->in.sin_port = a->port;
  memcpy(&sa->in.sin_addr, a->addr.ip, 4);
  return sizeof(sa->in);
}

static void from_sockaddr(const union any_addr *sa, struct mg_addr *a) {
  memset(a, 0, sizeof(*a));
  if (sa->sa.sa_family == AF_INET6) {
    a->is_ip6 = true;
    a->port = sa->in6.sin6_port;
    a->scope_id = sa->in6.sin6_scope_id <= 255 ? (uint8_t) sa->in6.sin6_scope_id : 0;
    memcpy(a->addr.ip, &sa->in6.sin6_addr, 16);
  } else if (sa->sa.sa_family == AF_INET) {
    a->port = sa->in.sin_port;
    memcpy(a->addr.ip, &sa->in.sin_addr, 4);
  }
}

static bool is_wildcard(const struct mg_addr *a) {
  static const uint8_t zeros[16];
  return memcmp(a->addr.ip, zeros, a->is_ip6 ? 16 : 4) == 0;
}

static void read_local(int fd, struct mg_addr *a) {
  union any_addr sa;
  socklen_t len = sizeof(sa);
  memset(a, 0, sizeof(*a));
  memset(&sa, 0, sizeof(sa));
  if (getsockname(fd, &sa.sa, &len) == 0) from_sockaddr(&sa, a);
}

static int unix_sockaddr(const struct mg_sock_url *u, union any_addr *sa, socklen_t *len, char *err) {
  struct mg_str path = u->host;
  bool abstract = path.len > 0 && path.buf[0] == '@';
  memset(sa, 0, sizeof(*sa));
  sa->un.sun_family = AF_UNIX;
#if !defined(__linux__)
  if (abstract) return snprintf(err, MG_SOCK_ERR, "\"%s\": abstract sockets exist on Linux only", u->label), MG_EINVAL;
#endif
  if (path.len < 2 || (path.buf[0] != '/' && !abstract)) {
    snprintf(err, MG_SOCK_ERR, "\"%s\" is not an absolute path: write unix:///path", u->label);
    return MG_EINVAL;
  }
  /* A path needs its NUL within sun_path, an abstract name has a NUL instead of its @. */
  if (path.len > sizeof(sa->un.sun_path) - (abstract ? 0 : 1)) {
    snprintf(err, MG_SOCK_ERR, "the path of a Unix socket has %lu bytes, %lu are possible", (unsigned long) path.len,
             (unsigned long) sizeof(sa->un.sun_path) - (abstract ? 0 : 1));
    return MG_EINVAL;
  }
  memcpy(sa->un.sun_path, path.buf, path.len);
  if (abstract) sa->un.sun_path[0] = '\0';
  *len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + path.len + (abstract ? 0 : 1));
  return MG_OK;
}

/* ---- descriptors ---- */

static int prepare(int fd) { /* non-blocking, close-on-exec */
  int flags = fcntl(fd, F_GETFL, 0), fd_flags = fcntl(fd, F_GETFD, 0);
  if (flags < 0 || fd_flags < 0) return -1;
  if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return -1;
  if (!(fd_flags & FD_CLOEXEC) && fcntl(fd, F_SETFD, fd_flags | FD_CLOEXEC) != 0) return -1;
#if defined(SO_NOSIGPIPE)
  int on = 1;
  (void) setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
#endif
  return 0;
}

void mg_sock_close(int fd) {
  if (fd >= 0) close(fd); /* not repeated on EINTR: the descriptor is gone, and perhaps somebody else's already */
}

void mg_sock_unlink(int fd) {
  struct sockaddr_un sun;
  socklen_t len = sizeof(sun);
  memset(&sun, 0, sizeof(sun));
  if (getsockname(fd, (struct sockaddr *) &sun, &len) == 0 && sun.sun_family == AF_UNIX && sun.sun_path[0] != '\0') {
    unlink(sun.sun_path);
  }
}

void mg_sock_reset_on_close(int fd) {
  static const struct linger now = {1, 0};
  (void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

void mg_sock_shut(int fd) {
  (void) shutdown(fd, SHUT_WR);
}

static int close_keeping_errno(int fd) {
  int e = errno;
  close(fd);
  errno = e;
  return -1;
}

static int open_socket(int family, int type) {
#if defined(SOCK_NONBLOCK) && defined(SOCK_CLOEXEC)
  return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
#else
  int fd = socket(family, type, 0);
  return fd >= 0 && prepare(fd) != 0 ? close_keeping_errno(fd) : fd;
#endif
}

static int accept_one(int fd, union any_addr *sa, socklen_t *len) {
#if defined(SOCK_NONBLOCK) && defined(SOCK_CLOEXEC)
  return accept4(fd, &sa->sa, len, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
  int n = accept(fd, &sa->sa, len);
  return n >= 0 && prepare(n) != 0 ? close_keeping_errno(n) : n;
#endif
}

/* Best effort: a socket without it works, only slower. */
static void set_nodelay(int fd) {
  int on = 1;
  (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* Congestion control that paces (bbr, where it is the system's) arms a timer for every segment. The loopback device has
 * nothing to congest: there the pauses cost both sides CPU time and help nobody. Accepted sockets inherit it. */
static void do_not_pace_loopback(int fd, const struct mg_addr *a) {
#if defined(__linux__) && defined(TCP_CONGESTION)
  static const uint8_t ip6_loopback[16] = {[15] = 1};
  char name[16] = "";
  socklen_t len = sizeof(name);
  bool loopback = a->is_ip6 ? memcmp(a->addr.ip, ip6_loopback, 16) == 0 : a->addr.ip[0] == 127;
  if (!loopback || getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) != 0 || strncmp(name, "bbr", 3) != 0) return;
  (void) setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4); /* every kernel has it, everybody may choose it */
#else
  (void) fd, (void) a;
#endif
}

static int set_flag(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof(value));
}

static void clear(struct mg_sock *s, char *err) {
  memset(s, 0, sizeof(*s));
  s->fd = -1;
  err[0] = '\0';
}

static void from_url(struct mg_sock *s, const struct mg_sock_url *u) {
  s->is_tls = u->is_tls;
  s->alpn = u->alpn;
  s->host = u->host;
}

/* ---- listen ---- */

static int backlog_of(const struct mg_sock_opts *o) {
  return o->backlog > 0 ? o->backlog : MG_SOCK_LISTEN_BACKLOG_SIZE;
}

static int try_ip(int fd, const struct mg_sock_url *u, const struct mg_addr *a, const struct mg_sock_opts *o) {
  union any_addr sa;
  socklen_t len = to_sockaddr(a, &sa);
  bool tcp = u->kind == MG_SOCK_TCP;
  /* A restarted server must not wait for TIME_WAIT to pass. Not for UDP: there it would let two servers take one
   * port. */
  if (tcp && set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1) != 0) return -1;
  if (o->reuseport) {
#if defined(SO_REUSEPORT)
    if (set_flag(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0) return -1;
#else
    errno = EOPNOTSUPP;
    return -1;
#endif
  }
  /* Always said, since the system's default can be either (net.ipv6.bindv6only). */
  if (a->is_ip6 && set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, o->ipv6_only) != 0) return -1;
  if (tcp) set_nodelay(fd), do_not_pace_loopback(fd, a);
  if (bind(fd, &sa.sa, len) != 0) return -1;
  return tcp ? listen(fd, backlog_of(o)) : 0;
}

static int listen_ip(struct mg_sock *s, const struct mg_sock_url *u, const struct mg_sock_opts *o, char *err) {
  struct mg_addr a;
  int fd;
  memset(&a, 0, sizeof(a));
  if (!mg_aton(u->host, &a) || (u->bracketed && !a.is_ip6) || (u->bracketed && u->host.len == 0)) {
    snprintf(err, MG_SOCK_ERR, "\"%.*s\" is not an IP address", u->host.len < 60 ? (int) u->host.len : 60, u->host.buf);
    return MG_EINVAL;
  }
  a.port = htons((uint16_t) u->port);
  fd = open_socket(a.is_ip6 ? AF_INET6 : AF_INET, u->kind == MG_SOCK_UDP ? SOCK_DGRAM : SOCK_STREAM);
  if (fd < 0) return fail(errno, u->label, err);
  if (try_ip(fd, u, &a, o) != 0) {
    close_keeping_errno(fd);
    return fail(errno, u->label, err);
  }
  s->fd = fd;
  s->is_udp = u->kind == MG_SOCK_UDP;
  s->is_listening = !s->is_udp;
  read_local(fd, &s->loc);
  return MG_OK;
}

/* Is the socket file at this path left over from a process that is gone? Then it is removed. Of two servers that start
 * at the same moment, one could remove what the other has just bound; that the file is still the one that was tested
 * narrows this to a few instructions. Returns 0 when bind is worth another try, else -1 with errno. */
static int remove_stale(const union any_addr *sa, socklen_t len) {
  struct stat before, after;
  int fd, rc;
  if (lstat(sa->un.sun_path, &before) != 0) return errno == ENOENT ? 0 : -1;
  if (!S_ISSOCK(before.st_mode)) return errno = EEXIST, -1;
  if ((fd = open_socket(AF_UNIX, SOCK_STREAM)) < 0) return -1;
  rc = connect(fd, &sa->sa, len);
  close_keeping_errno(fd);
  if (rc != 0 && errno == ENOENT) return 0;
  /* Only a refusal proves that nobody listens: EAGAIN is a full backlog, EACCES tells nothing. */
  if (rc == 0 || errno != ECONNREFUSED) return errno = EADDRINUSE, -1;
  if (lstat(sa->un.sun_path, &after) != 0) return errno == ENOENT ? 0 : -1;
  if (after.st_ino != before.st_ino || after.st_dev != before.st_dev) return errno = EADDRINUSE, -1;
  return unlink(sa->un.sun_path) == 0 || errno == ENOENT ? 0 : -1;
}

static int try_unix(int fd, const union any_addr *sa, socklen_t len, const struct mg_sock_opts *o) {
  const char *path = sa->un.sun_path;
  int rc = bind(fd, &sa->sa, len);
  if (rc != 0 && errno == EADDRINUSE && path[0] != '\0') {
    if (remove_stale(sa, len) != 0) return -1;
    rc = bind(fd, &sa->sa, len);
  }
  if (rc != 0) return -1;
  /* Before listen: until then every connect is refused, so nobody gets in by the permissions the file was born with. */
  if ((o->unix_mode != 0 && path[0] != '\0' && chmod(path, (mode_t) (o->unix_mode & 0777)) != 0) ||
      listen(fd, backlog_of(o)) != 0) {
    int e = errno;
    if (path[0] != '\0') unlink(path);
    errno = e;
    return -1;
  }
  return 0;
}

static int listen_unix(struct mg_sock *s, const struct mg_sock_url *u, const struct mg_sock_opts *o, char *err) {
  union any_addr sa;
  socklen_t len = 0;
  int fd, rc = unix_sockaddr(u, &sa, &len, err);
  if (rc != MG_OK) return rc;
  if ((fd = open_socket(AF_UNIX, SOCK_STREAM)) < 0) return fail(errno, u->label, err);
  if (try_unix(fd, &sa, len, o) != 0) {
    close_keeping_errno(fd);
    if (errno != EEXIST) return fail(errno, u->label, err);
    snprintf(err, MG_SOCK_ERR, "%s: exists and is not a socket", u->label);
    return MG_EADDRINUSE;
  }
  s->fd = fd;
  s->is_unix = s->is_listening = true;
  return MG_OK;
}

static int listen_fd(struct mg_sock *s, const struct mg_sock_url *u, const struct mg_sock_opts *o, char *err) {
  size_t i;
  int fd = 0, rc, e;
  union any_addr sa;
  socklen_t len = sizeof(sa);
  for (i = 0; i < u->host.len && i < 9 && u->host.buf[i] >= '0' && u->host.buf[i] <= '9'; i++) {
    fd = fd * 10 + (u->host.buf[i] - '0');
  }
  if (i == 0 || i < u->host.len) {
    snprintf(err, MG_SOCK_ERR, "\"%s\" is not the number of a descriptor", u->label);
    return MG_EINVAL;
  }
  if ((rc = mg_sock_adopt(s, fd, err)) != MG_OK) return rc;
  /* A parent may have bound only, and left listening to us. */
  if (!s->is_udp && !s->is_listening && getpeername(fd, &sa.sa, &len) != 0 && errno == ENOTCONN) {
    if (listen(fd, backlog_of(o)) != 0) {
      e = errno;
      s->fd = -1;
      snprintf(err, MG_SOCK_ERR, "descriptor %d: %s", fd, reason(e));
      errno = e;
      return e == EADDRINUSE ? MG_EADDRINUSE : MG_EIO;
    }
    s->is_listening = true;
    if (!s->is_unix) read_local(fd, &s->loc);
  }
  return MG_OK;
}

int mg_sock_listen(struct mg_sock *s, const char *url, const struct mg_sock_opts *opts, char err[MG_SOCK_ERR]) {
  static const struct mg_sock_opts defaults;
  struct mg_sock_url u;
  int rc;
  clear(s, err);
  if (opts == NULL) opts = &defaults;
  if ((rc = mg_sock_url_parse(&u, url, err)) != MG_OK) return rc;
  from_url(s, &u);
  return u.kind == MG_SOCK_UNIX ? listen_unix(s, &u, opts, err)
         : u.kind == MG_SOCK_FD ? listen_fd(s, &u, opts, err)
                        : listen_ip(s, &u, opts, err);
}

int mg_sock_adopt(struct mg_sock *s, int fd, char err[MG_SOCK_ERR]) {
  union any_addr sa;
  socklen_t len = sizeof(int);
  int type = 0, listening = 0;
  clear(s, err);
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0) {
    snprintf(err, MG_SOCK_ERR, "descriptor %d is %s", fd, errno == EBADF ? "not open" : "not a socket");
    return MG_EINVAL;
  }
  if (type != SOCK_STREAM && type != SOCK_DGRAM) {
    snprintf(err, MG_SOCK_ERR, "descriptor %d is neither a stream nor a datagram socket", fd);
    return MG_EINVAL;
  }
  memset(&sa, 0, sizeof(sa));
  len = sizeof(sa);
  if (getsockname(fd, &sa.sa, &len) != 0 || prepare(fd) != 0) {
    int e = errno;
    snprintf(err, MG_SOCK_ERR, "descriptor %d: %s", fd, reason(e));
    errno = e;
    return MG_EIO;
  }
  from_sockaddr(&sa, &s->loc);
  s->is_udp = type == SOCK_DGRAM;
  s->is_unix = sa.sa.sa_family == AF_UNIX;
#if defined(SO_ACCEPTCONN)
  len = sizeof(listening);
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0) listening = 0;
#endif
  s->is_listening = listening != 0;
  if (!s->is_unix && !s->is_udp) set_nodelay(fd);
  len = sizeof(sa);
  if (!s->is_listening && getpeername(fd, &sa.sa, &len) == 0) from_sockaddr(&sa, &s->rem);
  s->fd = fd;
  return MG_OK;
}

/* ---- connect ---- */

static int start_connect(struct mg_sock *s, const union any_addr *sa, socklen_t len, enum mg_sock_kind kind, const char *label,
                         char *err) {
  int fd = open_socket(sa->sa.sa_family, kind == MG_SOCK_UDP ? SOCK_DGRAM : SOCK_STREAM);
  if (fd < 0) return fail(errno, label, err);
  if (kind == MG_SOCK_TCP) set_nodelay(fd);
  if (connect(fd, &sa->sa, len) != 0) {
    /* An interrupted connect goes on in the background just as one of a non-blocking socket does. */
    if (errno != EINPROGRESS && errno != EINTR) {
      close_keeping_errno(fd);
      return fail(errno, label, err);
    }
    s->connecting = true;
  }
  s->fd = fd;
  s->is_udp = kind == MG_SOCK_UDP;
  s->is_unix = kind == MG_SOCK_UNIX;
  if (!s->is_unix) read_local(fd, &s->loc);
  return MG_OK;
}

int mg_sock_connect(struct mg_sock *s, const char *url, char err[MG_SOCK_ERR]) {
  struct mg_sock_url u;
  union any_addr sa;
  socklen_t len = 0;
  int rc;
  clear(s, err);
  if ((rc = mg_sock_url_parse(&u, url, err)) != MG_OK) return rc;
  s->is_udp = u.kind == MG_SOCK_UDP;
  from_url(s, &u);
  if (u.kind == MG_SOCK_FD) return snprintf(err, MG_SOCK_ERR, "fd:// cannot be connected to"), MG_EINVAL;
  if (u.kind == MG_SOCK_UNIX) {
    if ((rc = unix_sockaddr(&u, &sa, &len, err)) != MG_OK) return rc;
  } else {
    if (u.host.len == 0) return snprintf(err, MG_SOCK_ERR, "there is no host to connect to"), MG_EINVAL;
    if (u.port == 0) return snprintf(err, MG_SOCK_ERR, "%s: port 0 cannot be connected to", u.label), MG_EINVAL;
    if (!mg_aton(u.host, &s->rem) || (u.bracketed && !s->rem.is_ip6)) {
      int n = u.host.len < 60 ? (int) u.host.len : 60;
      snprintf(err, MG_SOCK_ERR, u.bracketed ? "\"%.*s\" is not an IPv6 address" : "host \"%.*s\" is not resolved", n,
               u.host.buf);
      return u.bracketed ? MG_EINVAL : MG_ERESOLVE;
    }
    s->rem.port = htons((uint16_t) u.port);
    len = to_sockaddr(&s->rem, &sa);
  }
  return start_connect(s, &sa, len, u.kind, u.label, err);
}

int mg_sock_connect_to(struct mg_sock *s, const struct mg_addr *to, bool udp, char err[MG_SOCK_ERR]) {
  char label[MG_ADDR_TEXT];
  union any_addr sa;
  clear(s, err);
  s->rem = *to;
  mg_addr_print(to, true, label, sizeof(label));
  return start_connect(s, &sa, to_sockaddr(to, &sa), udp ? MG_SOCK_UDP : MG_SOCK_TCP, label, err);
}

bool mg_sock_quiet(int fd) {
  char byte;
  return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

bool mg_sock_pending(int fd) {
  struct pollfd p = {fd, POLLOUT, 0}; /* asking for the error would take it away */
  return poll(&p, 1, 0) == 0;
}

int mg_sock_connected(int fd, char err[MG_SOCK_ERR]) {
  int e = 0;
  socklen_t len = sizeof(e);
  err[0] = '\0';
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) != 0) e = errno;
  if (e == 0) return MG_OK;
  snprintf(err, MG_SOCK_ERR, "%s", reason(e));
  errno = e;
  return e == ETIMEDOUT ? MG_ETIMEDOUT : MG_EIO;
}

/* ---- accept ---- */

int mg_sock_accept(const struct mg_sock *listener, struct mg_sock *out) {
  union any_addr sa;
  socklen_t len;
  int fd;
  do {
    len = sizeof(sa);
    sa.sa.sa_family = AF_UNSPEC;
    fd = accept_one(listener->fd, &sa, &len);
  } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EPROTO)); /* that one left: the next */
  memset(out, 0, sizeof(*out));
  out->fd = fd;
  if (fd < 0) return -1;
  out->is_unix = listener->is_unix;
  if (out->is_unix) return fd;
  from_sockaddr(&sa, &out->rem);
  if (is_wildcard(&listener->loc)) {
    read_local(fd, &out->loc);
  } else {
    out->loc = listener->loc;
  }
  return fd;
}
