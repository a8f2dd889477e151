/* nets.c - the entries of the list in one block of memory, compared one after the other: such lists are short. */
#include "mongoose/loop/nets.h"

#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/status.h"

struct net {
  uint8_t ip[16];
  uint8_t bits;
  bool is_ip6;
};

struct mg_nets {
  size_t count;
  bool has_unix;
  struct net at[];
};

static struct mg_str trim(struct mg_str s) {
  while (s.len > 0 && (s.buf[0] == ' ' || s.buf[0] == '\t')) s.buf++, s.len--;
  while (s.len > 0 && (s.buf[s.len - 1] == ' ' || s.buf[s.len - 1] == '\t')) s.len--;
  return s;
}

static bool read_net(struct mg_str s, struct net *n) {
  char *slash = (char *) memchr(s.buf, '/', s.len);
  struct mg_str host = s, bits;
  struct mg_addr a;
  memset(&a, 0, sizeof(a));
  memset(n, 0, sizeof(*n));
  if (slash != NULL) host.len = (size_t) (slash - s.buf);
  if (host.len == 0 || !mg_aton(host, &a)) return false;
  n->is_ip6 = a.is_ip6;
  n->bits = a.is_ip6 ? 128 : 32;
  memcpy(n->ip, a.addr.ip, a.is_ip6 ? 16 : 4);
  if (slash == NULL) return true;
  bits = mg_str_n(slash + 1, s.len - host.len - 1);
  return bits.len > 0 && bits.len <= 3 && mg_str_to_num(bits, 10, &n->bits, 1) && n->bits <= (a.is_ip6 ? 128 : 32);
}

struct mg_nets *mg_nets_new(struct mg_str text, int *err) {
  struct mg_str rest = text, item;
  struct mg_nets *n;
  size_t count = 1, i;
  for (i = 0; i < text.len; i++) count += text.buf[i] == ',';
  n = (struct mg_nets *) mg_calloc(1, sizeof(*n) + count * sizeof(n->at[0]));
  *err = n == NULL ? MG_ENOMEM : MG_OK;
  if (n == NULL) return NULL;
  if (text.len == 0 || text.buf[text.len - 1] == ',') *err = MG_EINVAL;
  while (*err == MG_OK && mg_span(rest, &item, &rest, ',')) {
    item = trim(item);
    if (item.len == 4 && memcmp(item.buf, "unix", 4) == 0) {
      n->has_unix = true;
    } else if (read_net(item, &n->at[n->count])) {
      n->count++;
    } else {
      *err = MG_EINVAL;
    }
  }
  if (*err == MG_OK) return n;
  mg_free(n);
  return NULL;
}

void mg_nets_free(struct mg_nets *n) {
  mg_free(n);
}

static bool fits(const struct net *n, const uint8_t *ip) {
  unsigned bytes = n->bits / 8, rest = n->bits % 8;
  if (memcmp(n->ip, ip, bytes) != 0) return false;
  return rest == 0 || ((n->ip[bytes] ^ ip[bytes]) & (0xff00u >> rest) & 0xffu) == 0;
}

bool mg_nets_has(const struct mg_nets *n, const struct mg_addr *a) {
  static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const uint8_t *ip;
  bool is_ip6;
  size_t i;
  if (n == NULL) return false;
  if (a == NULL) return n->has_unix;
  ip = a->addr.ip;
  is_ip6 = a->is_ip6;
  if (is_ip6 && memcmp(ip, mapped, sizeof(mapped)) == 0) ip += sizeof(mapped), is_ip6 = false;
  for (i = 0; i < n->count; i++) {
    if (n->at[i].is_ip6 == is_ip6 && fits(&n->at[i], ip)) return true;
  }
  return false;
}
