/* test_sock.c - sockets open where the URL says, and refusals say why. Loopback only; ports are chosen by the system. */
#include "mongoose/loop/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "check.h"

static char s_err[MG_SOCK_ERR];
static int s_first_free; /* the lowest free descriptor when the tests began */
static char s_dir[] = "/tmp/mgsockXXXXXX";

static const char *url(const char *format, unsigned long n) {
  static char buf[4][300];
  static int at;
  at = (at + 1) % 4;
  snprintf(buf[at], sizeof(buf[at]), format, n);
  return buf[at];
}

static const char *path_url(const char *scheme, const char *name) {
  static char buf[300];
  snprintf(buf, sizeof(buf), "%s%s/%s", scheme, s_dir, name);
  return buf;
}

static unsigned port_of(const struct mg_sock *s) {
  return ntohs(s->loc.port);
}

static int wait_for(int fd, short events) {
  struct pollfd p = {fd, events, 0};
  return poll(&p, 1, 10000);
}

static int option(int fd, int level, int name) {
  int value = -1;
  socklen_t len = sizeof(value);
  return getsockopt(fd, level, name, &value, &len) == 0 ? value : -1;
}

static void check_flags(int fd) {
  CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

#define REFUSED(url_, status, text)                              \
  do {                                                           \
    struct mg_sock s_;                                           \
    CHECK_INT(mg_sock_listen(&s_, url_, NULL, s_err), status);   \
    CHECK_INT(s_.fd, -1);                                        \
    CHECK_MEM(s_err, strlen(s_err), text, strlen(text));         \
  } while (0)

TEST(ports_are_digits_between_0_and_65535) {
  REFUSED("http://:99999", MG_EINVAL, "port 99999 is outside 0-65535");
  REFUSED("http://:65536", MG_EINVAL, "port 65536 is outside 0-65535");
  REFUSED("http://127.0.0.1:4294967376", MG_EINVAL, "port 4294967376 is outside 0-65535");
  REFUSED("http://127.0.0.1:18446744073709551696", MG_EINVAL, "port 18446744073709551696 is outside 0-65535");
  REFUSED("http://:-1", MG_EINVAL, "port \"-1\" is not a number");
  REFUSED("http://:8x", MG_EINVAL, "port \"8x\" is not a number");
  REFUSED("http://:+80", MG_EINVAL, "port \"+80\" is not a number");
  REFUSED("http://127.0.0.1: 80", MG_EINVAL, "port \" 80\" is not a number");
  REFUSED("http://127.0.0.1:", MG_EINVAL, "the port is missing behind the colon");
  REFUSED("tcp://127.0.0.1", MG_EINVAL, "\"127.0.0.1\" has no port");
  REFUSED("udp://127.0.0.1/", MG_EINVAL, "\"127.0.0.1\" has no port");
  REFUSED("127.0.0.1", MG_EINVAL, "\"127.0.0.1\" has no port");
  REFUSED("", MG_EINVAL, "\"\" has no port");
  REFUSED(NULL, MG_EINVAL, "the URL is missing");
}

TEST(unknown_schemes_are_named) {
  REFUSED("gopher://127.0.0.1:70", MG_ESCHEME, "scheme \"gopher\" is unknown");
  REFUSED("htt p://127.0.0.1:70", MG_ESCHEME, "scheme \"htt p\" is unknown");
  REFUSED("://127.0.0.1:70", MG_ESCHEME, "scheme \"\" is unknown");
  REFUSED("httpx://:0", MG_ESCHEME, "scheme \"httpx\" is unknown");
}

TEST(hosts_to_listen_on_are_addresses) {
  REFUSED("http://example.invalid:0", MG_EINVAL, "\"example.invalid\" is not an IP address");
  REFUSED("http://[127.0.0.1]:0", MG_EINVAL, "\"127.0.0.1\" is not an IP address");
  REFUSED("http://[]:0", MG_EINVAL, "\"\" is not an IP address");
  REFUSED("http://[::1:0", MG_EINVAL, "\"[::1:0\" is not [IPv6]:port");
  REFUSED("http://[::1]80", MG_EINVAL, "\"[::1]80\" is not [IPv6]:port");
  REFUSED("http://::1:80", MG_EINVAL, "\"::1:80\" has several colons: write IPv6 as [address]:port");
  REFUSED("tcp://192.0.2.1:0", MG_EIO, "192.0.2.1:0: this machine does not have that address");
  CHECK_INT(errno, EADDRNOTAVAIL);
}

TEST(long_nonsense_is_cut_in_the_message_not_in_memory) {
  static char text[5000];
  struct mg_sock s;
  memset(text, 'a', sizeof(text) - 1);
  CHECK_INT(mg_sock_listen(&s, text, NULL, s_err), MG_EINVAL);
  memcpy(text, "http://", 7);
  CHECK_INT(mg_sock_listen(&s, text, NULL, s_err), MG_EINVAL);
  memcpy(text, "unix:///", 8);
  CHECK_INT(mg_sock_listen(&s, text, NULL, s_err), MG_EINVAL);
  memcpy(text, "fd://", 5);
  CHECK_INT(mg_sock_listen(&s, text, NULL, s_err), MG_EINVAL);
  memset(text, '1', sizeof(text) - 1);
  memcpy(text, "fd://", 5);
  CHECK_INT(mg_sock_listen(&s, text, NULL, s_err), MG_EINVAL);
  memcpy(text, "tcp://:", 7);
  CHECK_INT(mg_sock_listen(&s, text, NULL, s_err), MG_EINVAL);
  CHECK(strlen(s_err) < MG_SOCK_ERR);
}

TEST(schemes_are_cut_off_urls) {
  CHECK_STR(mg_url_scheme("http://x"), "http");
  CHECK_STR(mg_url_scheme("ws+unix:///x"), "ws+unix");
  CHECK_STR(mg_url_scheme("127.0.0.1:80"), "");
  CHECK_STR(mg_url_scheme("1http://x"), "");
  CHECK_STR(mg_url_scheme("http:/x"), "");
  CHECK_STR(mg_url_scheme(""), "");
  CHECK_STR(mg_url_scheme(NULL), "");
}

TEST(a_tcp_listener_has_its_real_port_and_the_right_options) {
  static const char *const urls[] = {"tcp://127.0.0.1:0", "HTTP://user:pa@ss@127.0.0.1:0/x?y@z:1", "127.0.0.1:0", "wss://localhost:0#f"};
  for (size_t i = 0; i < 4; i++) {
    struct mg_sock s;
    CHECK_INT(mg_sock_listen(&s, urls[i], NULL, s_err), MG_OK);
    if (s.fd < 0) continue;
    CHECK(s.is_listening && !s.is_udp && !s.is_unix && !s.connecting);
    CHECK(port_of(&s) != 0);
    CHECK_MEM((char *) s.loc.addr.ip, 4, "\177\0\0\1", 4);
    check_flags(s.fd);
    CHECK(option(s.fd, IPPROTO_TCP, TCP_NODELAY) > 0);
    CHECK(option(s.fd, SOL_SOCKET, SO_REUSEADDR) > 0);
    CHECK_INT(option(s.fd, SOL_SOCKET, SO_REUSEPORT), 0);
    mg_sock_close(s.fd);
  }
}

#if defined(__linux__)
/* The name of the congestion control of a socket that listens there, or of one that nobody touched (NULL). */
static const char *congestion_control(const char *url) {
  static char name[32];
  socklen_t len = sizeof(name) - 1;
  struct mg_sock s = {.fd = -1};
  memset(name, 0, sizeof(name));
  if (url == NULL) {
    s.fd = socket(AF_INET, SOCK_STREAM, 0);
  } else if (mg_sock_listen(&s, url, NULL, s_err) != MG_OK) {
    return "";
  }
  CHECK_INT(getsockopt(s.fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
  mg_sock_close(s.fd);
  return name;
}

TEST(only_loopback_listeners_are_kept_from_pacing) { /* tells more where the system's default is bbr */
  char system[32];
  snprintf(system, sizeof(system), "%s", congestion_control(NULL));
  CHECK(strcmp(congestion_control("tcp://0.0.0.0:0"), system) == 0);
  CHECK(strcmp(congestion_control("tcp://[::]:0"), system) == 0);
  if (strncmp(system, "bbr", 3) == 0) snprintf(system, sizeof(system), "reno");
  CHECK(strcmp(congestion_control("tcp://127.0.0.1:0"), system) == 0);
  CHECK(strcmp(congestion_control("tcp://127.9.8.7:0"), system) == 0);
  CHECK(strcmp(congestion_control("tcp://[::1]:0"), system) == 0);
}
#endif

TEST(a_busy_address_is_EADDRINUSE_with_the_address) {
  struct mg_sock a, b;
  char want[80];
  CHECK_INT(mg_sock_listen(&a, "tcp://127.0.0.1:0", NULL, s_err), MG_OK);
  CHECK_INT(mg_sock_listen(&b, url("http://127.0.0.1:%lu", port_of(&a)), NULL, s_err), MG_EADDRINUSE);
  CHECK_INT(errno, EADDRINUSE);
  snprintf(want, sizeof(want), "127.0.0.1:%u: address already in use", port_of(&a));
  CHECK_MEM(s_err, strlen(s_err), want, strlen(want));
  CHECK_INT(b.fd, -1);
  mg_sock_close(a.fd);
  CHECK_INT(mg_sock_listen(&b, url("http://127.0.0.1:%lu", port_of(&a)), NULL, s_err), MG_OK);
  mg_sock_close(b.fd);
}

TEST(two_udp_servers_do_not_share_a_port_by_accident) {
  struct mg_sock a, b;
  CHECK_INT(mg_sock_listen(&a, "udp://127.0.0.1:0", NULL, s_err), MG_OK);
  CHECK(a.is_udp && !a.is_listening && port_of(&a) != 0);
  check_flags(a.fd);
  CHECK_INT(mg_sock_listen(&b, url("udp://127.0.0.1:%lu", port_of(&a)), NULL, s_err), MG_EADDRINUSE);
  mg_sock_close(a.fd);
}

TEST(reuseport_shares_a_port_on_demand) {
  struct mg_sock a, b, c;
  struct mg_sock_opts o = {0, true, false, 0};
  CHECK_INT(mg_sock_listen(&a, "tcp://127.0.0.1:0", &o, s_err), MG_OK);
  CHECK_INT(mg_sock_listen(&b, url("tcp://127.0.0.1:%lu", port_of(&a)), &o, s_err), MG_OK);
  CHECK_INT(port_of(&a), port_of(&b));
  CHECK_INT(mg_sock_listen(&c, url("tcp://127.0.0.1:%lu", port_of(&a)), NULL, s_err), MG_EADDRINUSE);
  mg_sock_close(a.fd);
  mg_sock_close(b.fd);
}

static bool has_ipv6(void) {
  struct mg_sock s;
  bool ok = mg_sock_listen(&s, "tcp://[::1]:0", NULL, s_err) == MG_OK;
  mg_sock_close(s.fd);
  return ok;
}

TEST(ipv6_only_is_what_the_option_says) {
  struct mg_sock s, c;
  struct mg_sock_opts only = {0, false, true, 0};
  if (!has_ipv6()) return;
  CHECK_INT(mg_sock_listen(&s, "tcp://[::]:0", NULL, s_err), MG_OK);
  CHECK(s.loc.is_ip6);
  CHECK_INT(option(s.fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
  CHECK_INT(mg_sock_connect(&c, url("tcp://127.0.0.1:%lu", port_of(&s)), s_err), MG_OK);
  mg_sock_close(c.fd);
  mg_sock_close(s.fd);
  CHECK_INT(mg_sock_listen(&s, "tcp://[::]:0", &only, s_err), MG_OK);
  CHECK_INT(option(s.fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
  mg_sock_close(s.fd);
}

/* Connect, accept, compare the addresses of both ends, one byte across. */
static void talk(const struct mg_sock *l, const char *to) {
  struct mg_sock c, a;
  char x = 0;
  CHECK_INT(mg_sock_connect(&c, to, s_err), MG_OK);
  if (c.fd < 0) {
    fprintf(stderr, "%s\n", s_err);
    return;
  }
  check_flags(c.fd);
  CHECK_INT(wait_for(l->fd, POLLIN), 1);
  CHECK(mg_sock_accept(l, &a) >= 0);
  CHECK_INT(wait_for(c.fd, POLLOUT), 1);
  CHECK_INT(mg_sock_connected(c.fd, s_err), MG_OK);
  check_flags(a.fd);
  CHECK_INT(a.is_unix, l->is_unix);
  CHECK(!a.is_listening && !a.connecting && !a.is_udp);
  if (!l->is_unix) {
    CHECK(option(a.fd, IPPROTO_TCP, TCP_NODELAY) > 0); /* inherited */
    CHECK_MEM((char *) a.rem.addr.ip, 16, (char *) c.loc.addr.ip, 16);
    CHECK_MEM((char *) a.loc.addr.ip, 16, (char *) c.rem.addr.ip, 16);
    CHECK_INT(a.rem.port, c.loc.port);
    CHECK_INT(a.loc.port, c.rem.port);
    CHECK(a.loc.port == l->loc.port && a.rem.port != 0);
    CHECK_INT(a.rem.is_ip6, c.loc.is_ip6);
  }
  CHECK_INT(write(a.fd, "x", 1), 1);
  CHECK_INT(wait_for(c.fd, POLLIN), 1);
  CHECK_INT(read(c.fd, &x, 1), 1);
  CHECK_INT(x, 'x');
  mg_sock_close(a.fd);
  mg_sock_close(c.fd);
  CHECK(mg_sock_accept(l, &a) == -1 && a.fd == -1); /* no more, and it does not block */
  CHECK(errno == EAGAIN || errno == EWOULDBLOCK);
}

TEST(accepted_sockets_know_both_ends) {
  struct mg_sock l;
  CHECK_INT(mg_sock_listen(&l, "tcp://127.0.0.1:0", NULL, s_err), MG_OK);
  talk(&l, url("tcp://127.0.0.1:%lu", port_of(&l)));
  talk(&l, url("ws://localhost:%lu/path", port_of(&l)));
  mg_sock_close(l.fd);
  CHECK_INT(mg_sock_listen(&l, "tcp://:0", NULL, s_err), MG_OK); /* any address: the kernel is asked which */
  talk(&l, url("tcp://127.0.0.1:%lu", port_of(&l)));
  talk(&l, url("tcp://127.0.0.2:%lu", port_of(&l)));
  mg_sock_close(l.fd);
  if (!has_ipv6()) return;
  CHECK_INT(mg_sock_listen(&l, "http://[::1]:0", NULL, s_err), MG_OK);
  talk(&l, url("tcp://[::1]:%lu", port_of(&l)));
  mg_sock_close(l.fd);
}

TEST(a_closed_port_refuses_at_once_or_after_writability) {
  struct mg_sock l, c;
  int rc;
  CHECK_INT(mg_sock_listen(&l, "tcp://127.0.0.1:0", NULL, s_err), MG_OK);
  mg_sock_close(l.fd);
  rc = mg_sock_connect(&c, url("tcp://127.0.0.1:%lu", port_of(&l)), s_err);
  if (rc == MG_OK) {
    CHECK(c.connecting);
    CHECK_INT(wait_for(c.fd, POLLOUT), 1);
    rc = mg_sock_connected(c.fd, s_err);
    mg_sock_close(c.fd);
  }
  CHECK_INT(rc, MG_EIO);
  CHECK(strstr(s_err, "connection refused") != NULL);
  CHECK_INT(errno, ECONNREFUSED);
}

TEST(names_are_left_to_a_resolver_and_nonsense_is_not) {
  struct mg_sock c;
  CHECK_INT(mg_sock_connect(&c, "http://example.invalid", s_err), MG_ERESOLVE);
  CHECK_MEM(s_err, strlen(s_err), "host \"example.invalid\" is not resolved", 38);
  CHECK_INT(mg_sock_connect(&c, "http://[::zz]:80", s_err), MG_EINVAL);
  CHECK_INT(mg_sock_connect(&c, "http://:80", s_err), MG_EINVAL);
  CHECK_INT(mg_sock_connect(&c, "http://127.0.0.1:0", s_err), MG_EINVAL);
  CHECK_INT(mg_sock_connect(&c, "http://127.0.0.1:99999", s_err), MG_EINVAL);
  CHECK_INT(mg_sock_connect(&c, "nope://127.0.0.1:1", s_err), MG_ESCHEME);
  CHECK_INT(mg_sock_connect(&c, "fd://3", s_err), MG_EINVAL);
  CHECK_INT(mg_sock_connected(-1, s_err), MG_EIO);
}

TEST(udp_connects_and_speaks) {
  struct mg_sock s, c;
  char x = 0;
  CHECK_INT(mg_sock_listen(&s, "udp://127.0.0.1:0", NULL, s_err), MG_OK);
  CHECK_INT(mg_sock_connect(&c, url("udp://127.0.0.1:%lu", port_of(&s)), s_err), MG_OK);
  CHECK(c.is_udp && !c.connecting && c.loc.port != 0 && c.rem.port == s.loc.port);
  CHECK_INT(send(c.fd, "u", 1, 0), 1);
  CHECK_INT(wait_for(s.fd, POLLIN), 1);
  CHECK_INT(recv(s.fd, &x, 1, 0), 1);
  CHECK_INT(x, 'u');
  mg_sock_close(s.fd);
  mg_sock_close(c.fd);
}

TEST(a_socket_shut_for_output_still_reads) {
  int fd[2];
  char x;
  CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
  mg_sock_shut(fd[0]);
  CHECK_INT(read(fd[1], &x, 1), 0);
  CHECK_INT(write(fd[1], "x", 1), 1);
  CHECK_INT(read(fd[0], &x, 1), 1);
  mg_sock_close(fd[0]);
  mg_sock_close(fd[1]);
  mg_sock_close(-1); /* nothing to do */
}

/* ---- Unix ---- */

TEST(a_unix_socket_listens_with_its_mode_and_is_talked_to) {
  struct mg_sock l;
  struct mg_sock_opts o = {0, false, false, 0622};
  struct stat st;
  CHECK_INT(mg_sock_listen(&l, path_url("unix://", "a.sock"), &o, s_err), MG_OK);
  CHECK(l.is_unix && l.is_listening);
  check_flags(l.fd);
  CHECK_INT(stat(path_url("", "a.sock"), &st), 0);
  CHECK_INT(st.st_mode & 0777, 0622); /* bits a umask would take are there */
  talk(&l, path_url("ws+unix://", "a.sock"));
  mg_sock_close(l.fd);
  unlink(path_url("", "a.sock"));
}

TEST(a_stale_unix_socket_is_replaced_a_served_one_is_not) {
  struct mg_sock a, b;
  CHECK_INT(mg_sock_listen(&a, path_url("unix://", "b.sock"), NULL, s_err), MG_OK);
  CHECK_INT(mg_sock_listen(&b, path_url("http+unix://", "b.sock"), NULL, s_err), MG_EADDRINUSE);
  CHECK(strstr(s_err, "b.sock: address already in use") != NULL);
  CHECK(mg_sock_accept(&a, &b) >= 0); /* the question whether somebody serves it was a connection, closed by now */
  mg_sock_close(b.fd);
  talk(&a, path_url("unix://", "b.sock"));
  mg_sock_close(a.fd);
  CHECK_INT(access(path_url("", "b.sock"), F_OK), 0); /* left over, as after a crash */
  CHECK_INT(mg_sock_listen(&b, path_url("unix://", "b.sock"), NULL, s_err), MG_OK);
  talk(&b, path_url("unix://", "b.sock"));
  mg_sock_close(b.fd);
  unlink(path_url("", "b.sock"));
}

TEST(a_file_that_is_no_socket_is_never_removed) {
  FILE *f = fopen(path_url("", "file"), "w");
  CHECK(f != NULL);
  fclose(f);
  {
    struct mg_sock s;
    CHECK_INT(mg_sock_listen(&s, path_url("unix://", "file"), NULL, s_err), MG_EADDRINUSE);
    CHECK(strstr(s_err, "exists and is not a socket") != NULL);
  }
  CHECK_INT(access(path_url("", "file"), F_OK), 0);
  unlink(path_url("", "file"));
}

TEST(unix_paths_are_absolute_and_of_limited_length) {
  char path[300] = "unix:///tmp/";
  struct mg_sock s;
  size_t room = sizeof(((struct sockaddr_un *) 0)->sun_path);
  REFUSED("unix://", MG_EINVAL, "\"\" is not an absolute path: write unix:///path");
  REFUSED("unix:///", MG_EINVAL, "\"/\" is not an absolute path: write unix:///path");
  REFUSED("unix://tmp/x.sock", MG_EINVAL, "\"tmp/x.sock\" is not an absolute path: write unix:///path");
  snprintf(path, sizeof(path), "unix://%s/", s_dir);
  memset(path + strlen(path), 'p', room); /* too long by some; then cut to just fit, and to be one too long */
  path[7 + room] = '\0';
  CHECK_INT(mg_sock_listen(&s, path, NULL, s_err), MG_EINVAL);
  CHECK(strstr(s_err, "bytes") != NULL);
  path[7 + room - 1] = '\0';
  CHECK_INT(mg_sock_listen(&s, path, NULL, s_err), MG_OK);
  talk(&s, path);
  mg_sock_close(s.fd);
  unlink(path + 7);
  CHECK_INT(mg_sock_listen(&s, path_url("unix://", "no/such/dir.sock"), NULL, s_err), MG_EIO);
  CHECK_INT(errno, ENOENT);
  CHECK_INT(mg_sock_connect(&s, path_url("unix://", "nobody.sock"), s_err), MG_EIO);
}

#if defined(__linux__)
TEST(abstract_sockets_have_a_name_and_no_file) {
  struct mg_sock a, b;
  const char *name = url("unix://@mg-test-%lu", (unsigned long) getpid());
  CHECK_INT(mg_sock_listen(&a, name, NULL, s_err), MG_OK);
  talk(&a, name);
  CHECK_INT(mg_sock_listen(&b, name, NULL, s_err), MG_EADDRINUSE);
  mg_sock_close(a.fd);
  CHECK_INT(mg_sock_listen(&b, name, NULL, s_err), MG_OK); /* gone with its socket */
  mg_sock_close(b.fd);
}
#endif

/* ---- adopted ---- */

TEST(an_adopted_listener_is_one) {
  struct mg_sock a, b;
  CHECK_INT(mg_sock_listen(&a, "tcp://127.0.0.1:0", NULL, s_err), MG_OK);
  fcntl(a.fd, F_SETFL, 0);
  fcntl(a.fd, F_SETFD, 0);
  CHECK_INT(mg_sock_listen(&b, url("fd://%lu", (unsigned long) a.fd), NULL, s_err), MG_OK);
  CHECK_INT(b.fd, a.fd);
  check_flags(b.fd);
  CHECK(b.is_listening && !b.is_udp && !b.is_unix);
  CHECK_INT(b.loc.port, a.loc.port);
  talk(&b, url("tcp://127.0.0.1:%lu", port_of(&b)));
  mg_sock_close(b.fd);
}

TEST(an_adopted_socket_that_is_only_bound_begins_to_listen) {
  struct sockaddr_in in;
  struct mg_sock s;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  memset(&in, 0, sizeof(in));
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK_INT(bind(fd, (struct sockaddr *) &in, sizeof(in)), 0);
  CHECK_INT(mg_sock_listen(&s, url("fd://%lu", (unsigned long) fd), NULL, s_err), MG_OK);
  CHECK(s.is_listening && option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1);
  talk(&s, url("tcp://127.0.0.1:%lu", port_of(&s)));
  mg_sock_close(fd);
}

TEST(an_adopted_connection_is_a_connection) {
  struct mg_sock s;
  int fd[2];
  CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
  CHECK_INT(mg_sock_listen(&s, url("fd://%lu", (unsigned long) fd[0]), NULL, s_err), MG_OK);
  CHECK(s.is_unix && !s.is_listening && !s.is_udp && !s.connecting);
  close(fd[0]);
  close(fd[1]);
  CHECK_INT(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
  CHECK_INT(mg_sock_adopt(&s, fd[0], s_err), MG_OK);
  CHECK(s.is_udp);
  close(fd[0]);
  close(fd[1]);
}

TEST(what_is_no_socket_is_not_adopted_and_not_closed) {
  struct mg_sock s;
  int fd[2];
  CHECK_INT(pipe(fd), 0);
  CHECK_INT(mg_sock_adopt(&s, fd[0], s_err), MG_EINVAL);
  CHECK(strstr(s_err, "not a socket") != NULL && s.fd == -1);
  CHECK(fcntl(fd[0], F_GETFD) != -1);
  close(fd[0]);
  close(fd[1]);
  CHECK_INT(mg_sock_adopt(&s, fd[0], s_err), MG_EINVAL);
  CHECK(strstr(s_err, "is not open") != NULL);
  REFUSED("fd://", MG_EINVAL, "\"\" is not the number of a descriptor");
  REFUSED("fd://3x", MG_EINVAL, "\"3x\" is not the number of a descriptor");
  REFUSED("fd://-1", MG_EINVAL, "\"-1\" is not the number of a descriptor");
  REFUSED("fd://99999999999", MG_EINVAL, "\"99999999999\" is not the number of a descriptor");
}

TEST(without_descriptors_every_opening_fails_with_a_reason) {
  struct rlimit old, none;
  struct mg_sock s;
  int last;
  getrlimit(RLIMIT_NOFILE, &old);
  none = old;
  last = dup(0);
  close(last);
  none.rlim_cur = (rlim_t) last; /* the lowest free number is the first forbidden one */
  setrlimit(RLIMIT_NOFILE, &none);
  CHECK_INT(mg_sock_listen(&s, "tcp://127.0.0.1:0", NULL, s_err), MG_EIO);
  CHECK_INT(errno, EMFILE);
  CHECK_MEM(s_err, strlen(s_err), "127.0.0.1:0: out of file descriptors", 36);
  CHECK_INT(mg_sock_listen(&s, path_url("unix://", "fd.sock"), NULL, s_err), MG_EIO);
  CHECK_INT(mg_sock_connect(&s, "tcp://127.0.0.1:9", s_err), MG_EIO);
  setrlimit(RLIMIT_NOFILE, &old);
}

TEST(nothing_here_leaves_descriptors_or_files_behind) { /* keep this last */
  int fd = dup(0);
  CHECK_INT(fd, s_first_free);
  close(fd);
  CHECK_INT(rmdir(s_dir), 0);
}

__attribute__((constructor)) static void make_dir(void) {
  if (mkdtemp(s_dir) == NULL) abort();
  s_first_free = dup(0);
  close(s_first_free);
}

CHECK_MAIN
