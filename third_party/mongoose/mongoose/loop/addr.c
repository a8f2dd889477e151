/* addr.c - text to address and back. The system's inet_pton knows the grammar of RFC 4291 2.2; what is added here is
 * what URLs put around it: brackets, a scope, "localhost", nothing at all.
 */
#include "mongoose/loop/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t s_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}; /* RFC 4291 2.5.5.2 */

/* Digits only, at most `max`. */
static bool parse_number(const char *s, size_t len, unsigned max, unsigned *result) {
  unsigned n = 0;
  size_t i;
  if (len == 0) return false;
  for (i = 0; i < len; i++) {
    if (s[i] < '0' || s[i] > '9') return false;
    n = n * 10 + (unsigned) (s[i] - '0');
    if (n > max) return false;
  }
  *result = n;
  return true;
}

/* "2" or "eth0". The field has 8 bits: an interface with a higher index cannot be named here, and is refused, not
 * cut. */
static bool parse_scope(const char *s, size_t len, uint8_t *scope) {
  char name[IF_NAMESIZE];
  unsigned n;
  if (!parse_number(s, len, 255, &n)) {
    if (len == 0 || len >= sizeof(name) || (s[0] >= '0' && s[0] <= '9')) return false;
    memcpy(name, s, len);
    name[len] = '\0';
    n = if_nametoindex(name);
  }
  if (n == 0 || n > 255) return false;
  *scope = (uint8_t) n;
  return true;
}

bool mg_aton(struct mg_str str, struct mg_addr *addr) {
  const char *s = str.buf, *percent;
  size_t len = s == NULL ? 0 : str.len, host_len;
  struct mg_addr a;
  char text[INET6_ADDRSTRLEN];
  bool bracketed = len >= 2 && s[0] == '[' && s[len - 1] == ']';

  memset(&a, 0, sizeof(a));
  if (bracketed) s++, len -= 2;
  if (len > 0 && memchr(s, '\0', len) != NULL) return false; /* inet_pton would stop there and call the rest valid */

  if (len == 0 && !bracketed) {
    /* any address: zeros */
  } else if (len == 9 && !bracketed && memcmp(s, "localhost", 9) == 0) {
    static const uint8_t loopback[4] = {127, 0, 0, 1};
    memcpy(a.addr.ip, loopback, sizeof(loopback));
  } else {
    percent = (const char *) memchr(s, '%', len);
    host_len = percent == NULL ? len : (size_t) (percent - s);
    if (host_len == 0 || host_len >= sizeof(text)) return false;
    memcpy(text, s, host_len);
    text[host_len] = '\0';
    if (inet_pton(AF_INET6, text, a.addr.ip) == 1) {
      a.is_ip6 = true;
      if (percent != NULL && !parse_scope(percent + 1, len - host_len - 1, &a.scope_id)) return false;
    } else if (bracketed || percent != NULL || inet_pton(AF_INET, text, a.addr.ip) != 1) {
      return false;
    }
  }

  addr->addr = a.addr;
  addr->scope_id = a.scope_id;
  addr->is_ip6 = a.is_ip6;
  return true;
}

static size_t print_to(const struct mg_addr *a, bool brackets, bool with_port, char *buf, size_t len) {
  const uint8_t *p = a->addr.ip;
  char port[8] = "";
  int n;
  if (with_port) snprintf(port, sizeof(port), ":%u", (unsigned) ntohs(a->port));
  if (a->is_ip6) {
    unsigned g[8];
    for (n = 0; n < 8; n++) g[n] = (unsigned) p[2 * n] << 8 | p[2 * n + 1];
    n = snprintf(buf, len, "%s%x:%x:%x:%x:%x:%x:%x:%x%s%s", brackets ? "[" : "", g[0], g[1], g[2], g[3], g[4], g[5],
                 g[6], g[7], brackets ? "]" : "", port);
  } else {
    n = snprintf(buf, len, "%u.%u.%u.%u%s", p[0], p[1], p[2], p[3], port);
  }
  return n < 0 ? 0 : (size_t) n;
}

size_t mg_addr_print(const struct mg_addr *a, bool with_port, char *buf, size_t len) {
  return print_to(a, with_port, with_port, buf, len);
}

static size_t emit(void (*out)(char, void *), void *arg, const struct mg_addr *a, bool with_port) {
  char text[MG_ADDR_TEXT];
  size_t i, n = print_to(a, true, with_port, text, sizeof(text));
  for (i = 0; i < n; i++) out(text[i], arg);
  return n;
}

size_t mg_print_ip(void (*out)(char, void *), void *arg, va_list *ap) {
  return emit(out, arg, va_arg(*ap, struct mg_addr *), false);
}

size_t mg_print_ip_port(void (*out)(char, void *), void *arg, va_list *ap) {
  return emit(out, arg, va_arg(*ap, struct mg_addr *), true);
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits) {
  unsigned bytes = bits / 8, rest = bits % 8;
  if (memcmp(a, b, bytes) != 0) return false;
  return rest == 0 || ((a[bytes] ^ b[bytes]) & (0xff00u >> rest) & 0xffu) == 0;
}

/* 1: fits, 0: does not, -1: malformed. */
static int entry_fits(const char *s, size_t len, const uint8_t *ip, bool is_ip6) {
  const char *slash = (const char *) memchr(s, '/', len);
  struct mg_str text;
  struct mg_addr net;
  unsigned bits;
  text.buf = (char *) s;
  text.len = slash == NULL ? len : (size_t) (slash - s);
  if (text.len == 0 || !mg_aton(text, &net)) return -1;
  bits = net.is_ip6 ? 128 : 32;
  if (slash != NULL && !parse_number(slash + 1, len - text.len - 1, bits, &bits)) return -1;
  return net.is_ip6 == is_ip6 && same_bits(net.addr.ip, ip, bits) ? 1 : 0;
}

int mg_check_ip_acl(struct mg_str acl, struct mg_addr *remote_ip) {
  const uint8_t *ip = remote_ip->addr.ip;
  bool is_ip6 = remote_ip->is_ip6;
  int allowed = acl.len == 0;
  size_t at = 0;
  if (is_ip6 && memcmp(ip, s_mapped, sizeof(s_mapped)) == 0) ip += sizeof(s_mapped), is_ip6 = false;
  while (at < acl.len) {
    const char *s = acl.buf + at, *comma = (const char *) memchr(s, ',', acl.len - at);
    size_t len = comma == NULL ? acl.len - at : (size_t) (comma - s);
    int fits;
    if (len < 2 || (s[0] != '+' && s[0] != '-')) return -1;
    if ((fits = entry_fits(s + 1, len - 1, ip, is_ip6)) < 0) return -1;
    if (fits) allowed = s[0] == '+';
    at += len + 1;
    if (comma != NULL && at == acl.len) return -1; /* a comma with nothing behind it */
  }
  return allowed;
}
