// A chat room: CLIENTS connections, and "go" messages of theirs, each of which the server answers with one binary message to all.
// OUTSTANDING of them are always on their way, each from another client. What arrives is counted and dropped in the kernel (MSG_TRUNC),
// so that the server is the bottleneck; the first message is read by each client and compared byte for byte.
// usage: ws_room PORT CLIENTS OUTSTANDING SIZE SECONDS  ->  "ready" when the measured part begins, then
// "messages seconds p50_us p99_us errors": messages that reached a client, and the time from a "go" until its bytes, and all before
// them, have reached everyone.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#define MOST 65536 /* of outstanding ones */
static unsigned hist[2000000];
static double sent_at[MOST];
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
static void die(const char *why) { perror(why); exit(1); }
static void get(int fd, char *to, size_t n) {
  ssize_t r;
  for (; n > 0; to += r, n -= (size_t) r) if ((r = recv(fd, to, n, 0)) <= 0) die("recv");
}
static void go(int fd) {
  static const char frame[] = "\x82\x82\0\0\0\0go";
  if (send(fd, frame, 8, MSG_NOSIGNAL) != 8) die("send");
}
int main(int argc, char **argv) {
  if (argc != 6) return fprintf(stderr, "usage: ws_room PORT CLIENTS OUTSTANDING SIZE SECONDS\n"), 2;
  int port = atoi(argv[1]), n = atoi(argv[2]), most = atoi(argv[3]), size = atoi(argv[4]), ep = epoll_create1(0), one = 1, next = 0;
  double secs = atof(argv[5]);
  int head = size < 126 ? 2 : size < 65536 ? 4 : 10, errs = 0;
  size_t frame = (size_t) (head + size);
  if (most < 1 || most >= MOST) return fprintf(stderr, "OUTSTANDING: 1 ... %d\n", MOST - 1), 2;
  int *fds = calloc((size_t) n, sizeof *fds);
  char *b = malloc(frame + 4096);
  for (int i = 0; i < n; i++) {
    int fd = fds[i] = socket(AF_INET, SOCK_STREAM, 0), got = 0;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval tv = {.tv_sec = 10};
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (connect(fd, (void *) &a, sizeof a)) die("connect");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int l = sprintf(b, "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", port);
    send(fd, b, (size_t) l, 0);
    while (got < 4 || memcmp(b + got - 4, "\r\n\r\n", 4)) { get(fd, b + got, 1); if (++got > 4000) die("no end of head"); }
    if (strncmp(b, "HTTP/1.1 101", 12)) return fprintf(stderr, "no 101: %.60s\n", b), 1;
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
  }
  usleep(200000); // a server may let a client into the room a moment after its 101
  go(fds[0]);
  for (int i = 0; i < n; i++) {
    get(fds[i], b, frame);
    errs += (unsigned char) b[0] != 0x82 || b[1] != (size < 126 ? size : size < 65536 ? 126 : 127);
    for (int j = 0; j < size; j++) errs += b[head + j] != 'x';
  }
  puts("ready");
  fflush(stdout);
  double t0 = now(), t = t0, end = t0 + secs;
  unsigned long long bytes = 0, each = (unsigned long long) frame * (unsigned) n;
  long asked = 0, done = 0;
  struct epoll_event ev[512];
  while (t < end) {
    while (asked - done < most) { sent_at[asked++ % MOST] = t; go(fds[next]); next = (next + 1) % n; }
    int k = epoll_wait(ep, ev, 512, 5000);
    if (k <= 0) return fprintf(stderr, "%llu bytes never came\n", each * (unsigned long long) asked - bytes), 1;
    for (int i = 0; i < k; i++) {
      ssize_t r = recv(ev[i].data.fd, NULL, 1 << 20, MSG_DONTWAIT | MSG_TRUNC);
      if (r <= 0) return fprintf(stderr, "a client was closed\n"), 1;
      bytes += (unsigned long long) r;
    }
    t = now();
    for (; done < asked && bytes >= each * (unsigned long long) (done + 1); done++) {
      long us = (long) ((t - sent_at[done % MOST]) * 1e6);
      hist[us < 1999999 ? us : 1999999]++;
    }
    if (done == asked && bytes > each * (unsigned long long) done) errs++; // more than was asked for
  }
  long acc = 0, p50 = 0, p99 = 0;
  for (int i = 0; i < 2000000; i++) { acc += hist[i]; if (!p50 && acc * 2 >= done) p50 = i; if (!p99 && acc * 100 >= done * 99) { p99 = i; break; } }
  printf("%llu %.3f %ld %ld %d\n", bytes / frame, t - t0, p50, p99, errs);
}
