/* peers.c - open connections counted by client address, for limits.max_per_address. Unix peers are all one address. */
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/loop/io.h"

struct peer {
  uint8_t ip[16];
  unsigned open; /* 0: the place is free */
};

/* Open addressing, linear probing; a place is freed by shifting its followers back, so there are no tombstones. */
struct mg_peers {
  size_t size, used; /* size is a power of two */
  struct peer *at;
};

static void key_of(const struct mg_addr *a, uint8_t ip[16]) {
  memset(ip, 0, 16);
  memcpy(ip, a->addr.ip, a->is_ip6 ? 16 : 4);
  if (!a->is_ip6) ip[10] = ip[11] = 0xff; /* where ::ffff:1.2.3.4 has them; the address itself is in front, so no clash */
}

static size_t slot_of(const struct mg_peers *p, const uint8_t ip[16]) {
  uint64_t h = 1469598103934665603u;
  int i;
  for (i = 0; i < 16; i++) h = (h ^ ip[i]) * 1099511628211u;
  return (size_t) (h ^ h >> 32) & (p->size - 1);
}

static struct peer *find(struct mg_peers *p, const uint8_t ip[16]) {
  size_t i = slot_of(p, ip);
  while (p->at[i].open > 0 && memcmp(p->at[i].ip, ip, 16) != 0) i = (i + 1) & (p->size - 1);
  return &p->at[i];
}

static bool grow(struct mg_peers *p) {
  struct mg_peers bigger = {p->size > 0 ? p->size * 2 : 64, p->used, NULL};
  size_t i;
  bigger.at = (struct peer *) mg_calloc(bigger.size, sizeof(struct peer));
  if (bigger.at == NULL) return false;
  for (i = 0; i < p->size; i++) {
    if (p->at[i].open > 0) *find(&bigger, p->at[i].ip) = p->at[i];
  }
  mg_free(p->at);
  *p = bigger;
  return true;
}

bool mg_peers_enter(struct mg_listener *l, const struct mg_addr *a) {
  struct mg_peers *p = l->peers;
  struct peer *e;
  uint8_t ip[16];
  key_of(a, ip);
  if (p == NULL) p = l->peers = (struct mg_peers *) mg_calloc(1, sizeof(*p));
  if (p == NULL) return false;
  if (p->used * 2 >= p->size && !grow(p)) return false;
  e = find(p, ip);
  if (e->open >= l->limits.max_per_address) return false;
  if (e->open++ == 0) {
    memcpy(e->ip, ip, 16);
    p->used++;
  }
  return true;
}

void mg_peers_leave(struct mg_listener *l, const struct mg_addr *a) {
  struct mg_peers *p = l->peers;
  struct peer *e;
  uint8_t ip[16];
  size_t hole, i;
  if (p == NULL || p->size == 0) return;
  key_of(a, ip);
  e = find(p, ip);
  if (e->open == 0 || --e->open > 0) return;
  p->used--;
  hole = (size_t) (e - p->at);
  for (i = (hole + 1) & (p->size - 1); p->at[i].open > 0; i = (i + 1) & (p->size - 1)) {
    size_t home = slot_of(p, p->at[i].ip);
    if (((i - home) & (p->size - 1)) >= ((i - hole) & (p->size - 1))) {
      p->at[hole] = p->at[i];
      p->at[i].open = 0;
      hole = i;
    }
  }
}

void mg_listener_drop(struct mg_listener *l) {
  if (--l->refs > 0) return;
  if (l->routes != NULL && l->routes_free != NULL) l->routes_free(l->routes);
  if (l->compress_free != NULL) l->compress_free(l->compress);
  mg_nets_free(l->preface_from);
  mg_nets_free(l->trusted);
  if (l->peers != NULL) mg_free(l->peers->at);
  mg_free(l->peers);
  mg_tls_ctx_drop(l->tls);
  mg_free(l);
}
