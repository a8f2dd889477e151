/* ws_group.c - connections that hear the same: a table of groups by name, and messages framed once for all members.
 *
 *   site->groups[hash] ──> group ──> members[0 … n-1]      connection ──> membership ──> membership …
 */
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/status.h"
#include "mongoose/proto/ws_conn.h"

enum {
  FIRST_SLOTS = 64,
  COPY = 1024, /* up to here a copy costs less than a segment for each member */
  VARIANTS = 8, /* windows 8 … 15 */
  LOG_MOST = 65536,
};

struct mg_ws_group {
  struct mg_ws_group *next;
  uint32_t hash;
  size_t n, size, name_len; /* the name is behind this struct */
  struct mg_ws_membership **members;
};

/* The seed keeps peers who name groups from choosing names that meet in one list. */
static uint32_t hash_of(const struct mg_ws_site *site, struct mg_str s) {
  uint32_t h = 2166136261u ^ site->seed;
  size_t i;
  for (i = 0; i < s.len; i++) h = (h ^ (uint8_t) s.buf[i]) * 16777619u + (h >> 15);
  return h;
}

static struct mg_ws_group **slot(struct mg_ws_site *site, struct mg_str name, uint32_t hash) {
  struct mg_ws_group **g = &site->groups[hash & (site->nslots - 1)];
  while (*g != NULL && ((*g)->hash != hash || mg_strcmp(mg_str_n((char *) (*g + 1), (*g)->name_len), name) != 0)) g = &(*g)->next;
  return g;
}

static struct mg_ws_group *find(struct mg_mgr *mgr, struct mg_str name) {
  struct mg_ws_site *site = (struct mg_ws_site *) mgr->ws_site;
  return site != NULL && site->nslots > 0 ? *slot(site, name, hash_of(site, name)) : NULL;
}

/* Room for one more group, with lists of about one. */
static bool make_slots(struct mg_ws_site *site) {
  size_t size = site->nslots == 0 ? FIRST_SLOTS : 2 * site->nslots, i;
  struct mg_ws_group **old = site->groups, **fresh, *g, *next;
  if (site->ngroups < site->nslots) return true;
  fresh = (struct mg_ws_group **) mg_calloc(size, sizeof(struct mg_ws_group *));
  if (fresh == NULL) return site->nslots > 0; /* longer lists, then */
  for (i = 0; i < site->nslots; i++) {
    for (g = old[i]; g != NULL; g = next) {
      next = g->next;
      g->next = fresh[g->hash & (size - 1)];
      fresh[g->hash & (size - 1)] = g;
    }
  }
  mg_free(old);
  site->groups = fresh;
  site->nslots = size;
  return true;
}

static struct mg_ws_group *find_or_make(struct mg_ws_site *site, struct mg_str name) {
  uint32_t hash = hash_of(site, name);
  struct mg_ws_group **at, *g;
  if (!make_slots(site)) return NULL;
  at = slot(site, name, hash);
  if (*at != NULL) return *at;
  g = (struct mg_ws_group *) mg_malloc(sizeof(*g) + name.len);
  if (g == NULL) return NULL;
  memset(g, 0, sizeof(*g));
  g->hash = hash;
  g->name_len = name.len;
  if (name.len > 0) memcpy(g + 1, name.buf, name.len);
  *at = g;
  site->ngroups++;
  return g;
}

static void group_drop(struct mg_ws_site *site, struct mg_ws_group *g) {
  struct mg_ws_group **at = &site->groups[g->hash & (site->nslots - 1)];
  if (g->n > 0) return;
  while (*at != g) at = &(*at)->next;
  *at = g->next;
  site->ngroups--;
  mg_free(g->members);
  mg_free(g);
}

void mg_ws_groups_free(struct mg_ws_site *site) { /* connections are gone, and so are the groups */
  mg_free(site->groups);
}

/* ---- members ---- */

static struct mg_ws_membership **membership(struct mg_ws_conn *ws, const struct mg_ws_group *g) {
  struct mg_ws_membership **m = &ws->groups;
  while (*m != NULL && (*m)->group != g) m = &(*m)->next;
  return m;
}

bool mg_ws_join(struct mg_connection *c, struct mg_str name) {
  struct mg_ws_conn *ws = mg_ws_of(c);
  struct mg_ws_site *site = mg_ws_site(c->mgr);
  struct mg_ws_group *g;
  struct mg_ws_membership *m;
  if (ws == NULL || c->is_dead) {
    c->mgr->status = MG_ESTATE;
    return false;
  }
  g = site != NULL ? find_or_make(site, name) : NULL;
  if (g != NULL && *membership(ws, g) != NULL) return true;
  m = g != NULL ? (struct mg_ws_membership *) mg_malloc(sizeof(*m)) : NULL;
  if (m != NULL && g->n == g->size) {
    size_t size = g->size < 8 ? 8 : 2 * g->size;
    void *p = mg_realloc(g->members, size * sizeof(*g->members));
    if (p != NULL) {
      g->members = (struct mg_ws_membership **) p;
      g->size = size;
    }
  }
  if (m == NULL || g->n == g->size) {
    mg_free(m);
    if (g != NULL) group_drop(site, g);
    c->mgr->status = MG_ENOMEM;
    return false;
  }
  m->group = g;
  m->c = c;
  m->at = g->n;
  m->next = ws->groups;
  ws->groups = m;
  g->members[g->n++] = m;
  return true;
}

/* Take *at off the connection's list, and its place in the group's table is filled with the last one. */
static void leave(struct mg_ws_site *site, struct mg_ws_membership **at) {
  struct mg_ws_membership *m = *at;
  struct mg_ws_group *g = m->group;
  *at = m->next;
  g->n--;
  g->members[m->at] = g->members[g->n];
  g->members[m->at]->at = m->at;
  mg_free(m);
  group_drop(site, g);
}

bool mg_ws_leave(struct mg_connection *c, struct mg_str name) {
  struct mg_ws_conn *ws = mg_ws_of(c);
  struct mg_ws_group *g = find(c->mgr, name);
  struct mg_ws_membership **m = ws != NULL && g != NULL ? membership(ws, g) : NULL;
  if (m == NULL || *m == NULL) return false;
  leave(mg_ws_site(c->mgr), m);
  return true;
}

void mg_ws_leave_all(struct mg_connection *c, struct mg_ws_conn *ws) {
  while (ws->groups != NULL) leave(mg_ws_site(c->mgr), &ws->groups);
}

size_t mg_ws_members(struct mg_mgr *mgr, struct mg_str name) {
  struct mg_ws_group *g = find(mgr, name);
  return g != NULL ? g->n : 0;
}

/* ---- broadcast ---- */

/* The message as it goes out: plain, and packed for each size of window, each made when the first member needs it. */
struct piece {
  struct mg_chunk *chunk; /* NULL: not made yet */
  char *at;
  size_t len;
};
struct frames {
  struct mg_ws_group *group;
  struct piece plain, packed[VARIANTS];
  int op;
  struct mg_str data;
};

static bool frame(struct piece *p, unsigned first, const void *buf, size_t len) {
  uint8_t head[MG_WS_HEAD_MAX];
  size_t n = mg_ws_frame_head(head, first, len, NULL);
  if (p->chunk == NULL) return false;
  p->at = p->chunk->data + p->chunk->used;
  memcpy(p->at, head, n);
  if (len > 0) memcpy(p->at + n, buf, len);
  p->len = n + len;
  p->chunk->used += p->len;
  return true;
}

/* Where a plain frame goes: behind the one before, as long as that is of the same group and still on its way to somebody, so that for
 * most members what they have yet to send stays one piece however many messages it is. The first stands alone, for one message an hour
 * must not hold more memory than it has. */
static struct mg_chunk *log_with_room(struct mg_ws_site *site, const struct mg_ws_group *g, size_t size) {
  struct mg_chunk *k = site->log;
  size_t want = size;
  if (k != NULL && !mg_chunk_shared(k)) k->used = 0;
  if (k != NULL && k->used > 0) {
    if (site->log_of != g->hash) {
      k->used = k->size; /* others have no use for it */
    } else if (size > k->size - k->used) {
      want = 2 * k->size < LOG_MOST ? 2 * k->size : LOG_MOST;
    }
  }
  site->log_of = g->hash;
  if (k != NULL && size <= k->size - k->used) return mg_chunk_hold(k);
  mg_chunk_drop(k);
  site->log = NULL;
  if (size > LOG_MOST) return mg_chunk_new(size);
  site->log = mg_chunk_new(want < size ? size : want);
  return mg_chunk_hold(site->log);
}

static const struct piece *plain_frame(struct mg_ws_site *site, struct frames *fs) {
  if (fs->plain.chunk == NULL) {
    fs->plain.chunk = log_with_room(site, fs->group, MG_WS_HEAD_MAX + fs->data.len);
    (void) frame(&fs->plain, MG_WS_FIN | (unsigned) fs->op, fs->data.buf, fs->data.len);
  }
  return &fs->plain;
}

static const struct piece *packed_frame(struct mg_connection *c, struct mg_ws_conn *ws, struct frames *fs) {
  static const struct piece none;
  struct mg_ws_site *site = mg_ws_site(c->mgr);
  struct mg_ws_window w = {ws->deflate.server.bits, 0};
  struct mg_ws_deflater *d;
  struct piece *p = &fs->packed[w.bits & 7];
  if (p->chunk != NULL) return p;
  d = mg_ws_deflater_of(site, ws, &w);
  site->packed.len = 0;
  if (d == NULL) return &none;
  mg_ws_deflater_forget(d);
  if (!mg_ws_deflater_feed(d, fs->data, true, &site->packed)) return &none;
  if (site->packed.len >= fs->data.len) {
    *p = *plain_frame(site, fs);
    mg_chunk_hold(p->chunk);
  } else {
    p->chunk = mg_chunk_new(MG_WS_HEAD_MAX + site->packed.len);
    (void) frame(p, MG_WS_FIN | MG_WS_RSV1 | (unsigned) fs->op, site->packed.buf, site->packed.len);
  }
  return p;
}

static bool send_frame(struct mg_connection *c, struct mg_ws_conn *ws, struct frames *fs) {
  bool pack = ws->compress && fs->data.len >= ws->min_size;
  const struct piece *p;
  /* What goes out must be masked for this peer alone, or wait for the end of a streamed message. */
  if (c->is_client || ws->stream_op != 0) return mg_ws_send(c, fs->data.buf, fs->data.len, fs->op) > 0;
  p = pack ? packed_frame(c, ws, fs) : plain_frame(mg_ws_site(c->mgr), fs);
  if (p->chunk == NULL) return false;
  if (pack && ws->deflater != NULL) mg_ws_deflater_forget(ws->deflater); /* what the peer's window now holds is not in ours */
  if (p->len <= COPY ? !mg_send(c, p->at, p->len) : !mg_send_chunk(c, p->chunk, p->at, p->len)) return false;
  mg_count(&c->mgr->stats.ws_out, 1);
  return true;
}

static bool send_to(struct mg_connection *c, struct frames *fs) {
  struct mg_ws_conn *ws = mg_ws_of(c);
  struct mg_str why = mg_str("too slow in reading");
  if (ws->state != MG_WS_OPEN || c->is_closing || c->is_draining || c->is_dead) return false;
  if (MG_UNLIKELY(mg_unsent(c) + ws->waiting_bytes > ws->limits.max_backlog)) {
    if (ws->limits.slow == MG_WS_SLOW_DROP) {
      mg_count(&c->mgr->stats.ws_dropped, 1);
    } else {
      mg_count(&c->mgr->stats.ws_slow, 1);
      mg_ws_close(c, 1013, why);
    }
    return false;
  }
  if (send_frame(c, ws, fs)) return true;
  mg_count(&c->mgr->stats.ws_dropped, 1); /* out of memory */
  return false;
}

static size_t broadcast(struct mg_mgr *mgr, struct mg_connection *but, struct mg_str name, int op, struct mg_str data) {
  struct mg_ws_group *g = find(mgr, name);
  struct frames fs;
  size_t i, n = 0;
  if (op != WEBSOCKET_OP_TEXT && op != WEBSOCKET_OP_BINARY) {
    mgr->status = MG_EINVAL;
    return 0;
  }
  if (g == NULL) return 0;
  memset(&fs, 0, sizeof(fs));
  fs.group = g;
  fs.op = op;
  fs.data = data;
  for (i = 0; i < g->n; i++) { /* nothing in here runs a handler, so nobody joins or leaves */
    if (g->members[i]->c != but) n += send_to(g->members[i]->c, &fs);
  }
  mg_chunk_drop(fs.plain.chunk);
  for (i = 0; i < VARIANTS; i++) mg_chunk_drop(fs.packed[i].chunk);
  return n;
}

size_t mg_ws_broadcast(struct mg_mgr *mgr, struct mg_str group, int op, struct mg_str data) {
  return broadcast(mgr, NULL, group, op, data);
}

size_t mg_ws_broadcast_from(struct mg_connection *c, struct mg_str group, int op, struct mg_str data) {
  return broadcast(c->mgr, c, group, op, data);
}
