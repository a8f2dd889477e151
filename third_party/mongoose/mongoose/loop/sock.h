/* sock.h - the operating system's sockets, opened with precise errors. No loop, no connection in here.
 *
 *   tcp://0.0.0.0:80   udp://:53   unix:///run/x.sock   fd://3 (adopted: systemd's LISTEN_FDS, a parent's socket)
 *   http://, https://, ws://, wss://, mqtt://, mqtts://, ssl:// and tls:// are tcp; http+unix:///path, ws+unix:///path
 *   are unix.
 *
 * Without a scheme it is tcp. Without a port it is that of the scheme: 80, 443, 1883, 8883; the others have none and
 * need it. Names of users are skipped, what follows the authority (/path?query) is not looked at. A Unix path is all
 * that follows "unix://", so it starts with the third slash; "unix://@name" is a name in Linux's abstract namespace.
 */
#pragma once
#include "mongoose/base/status.h"
#include "mongoose/base/str.h"
#include "mongoose/loop/addr.h"

MG_BEGIN_DECLS

#define MG_SOCK_ERR 160 /* bytes of the text that explains a failure */

struct mg_sock {
  int fd;              /* -1 when not open */
  bool is_udp;
  bool is_unix;
  bool is_listening;   /* fd:// may be a stream that is connected already */
  bool is_tls;         /* the URL's scheme says so */
  const char *alpn;    /* the protocol of such a scheme, NULL: it names none */
  struct mg_str host;  /* of the URL, and no longer valid than that */
  bool connecting;     /* connect is under way: wait for writability, then mg_sock_connected() */
  struct mg_addr loc;  /* the real address: port 0 is resolved */
  struct mg_addr rem;
};

struct mg_sock_opts {
  int backlog;        /* 0: MG_SOCK_LISTEN_BACKLOG_SIZE */
  bool reuseport;     /* SO_REUSEPORT: several processes share the port */
  bool ipv6_only;     /* [::] without IPv4 */
  unsigned unix_mode; /* permission bits of a Unix socket's file, 0: by umask */
};

/* Open, bind and listen; non-blocking, close-on-exec, TCP_NODELAY (inherited by accepted sockets on Linux). Where the
 * system's congestion control paces (bbr), a listener on a loopback address takes reno in its place. A Unix path
 * whose socket file is left over from a dead server is reused, one that is served is MG_EADDRINUSE. On failure an
 * mg_status and its reason in `err`, with the address: "127.0.0.1:80: address already in use", "port 99999 is outside
 * 0-65535", "scheme \"gopher\" is unknown". errno has the system's number when it is MG_EIO or MG_EADDRINUSE.
 * fd://N makes a bound stream socket listen; the descriptor stays the caller's when that fails. mg_sock_close leaves
 * the file of a Unix socket in place, since another process may serve the same socket: who owns the path unlinks it. */
int mg_sock_listen(struct mg_sock *s, const char *url, const struct mg_sock_opts *opts, char err[MG_SOCK_ERR]);

/* Start a non-blocking connect to a numeric address, localhost or a Unix path. MG_ERESOLVE for other host names. */
int mg_sock_connect(struct mg_sock *s, const char *url, char err[MG_SOCK_ERR]);
/* The same to an address that is known. */
int mg_sock_connect_to(struct mg_sock *s, const struct mg_addr *to, bool udp, char err[MG_SOCK_ERR]);
/* The peer has neither sent what nobody read yet nor closed. */
bool mg_sock_quiet(int fd);
bool mg_sock_pending(int fd); /* still on its way to the peer */
int mg_sock_connected(int fd, char err[MG_SOCK_ERR]); /* after writability: MG_OK, or why it failed */

/* What an adopted descriptor is: fills s, makes it non-blocking. */
int mg_sock_adopt(struct mg_sock *s, int fd, char err[MG_SOCK_ERR]);

/* The next waiting connection: its descriptor (non-blocking, close-on-exec) and both addresses filled from the accept
 * call itself; loc is copied from `listener` unless that is bound to any address. -1 with errno set. */
int mg_sock_accept(const struct mg_sock *listener, struct mg_sock *out);

void mg_sock_close(int fd);
void mg_sock_unlink(int fd); /* remove the file that a listening Unix socket is bound to */
void mg_sock_reset_on_close(int fd); /* close() then resets instead of ending politely */
void mg_sock_shut(int fd); /* no more output; the peer reads the end */
/* Scheme of a URL ("http"), empty when it has none. */
struct mg_str mg_url_scheme(const char *url);

MG_END_DECLS
