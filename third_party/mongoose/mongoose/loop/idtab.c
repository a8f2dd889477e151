/* idtab.c - ids to connections. Slots live in segments of 1024 that are made when needed and stay where they are. A
 * slot's `id` word is the whole truth about it: the id of its tenant, or 0; other threads read that word and nothing
 * else.
 *
 * Free slots wait in a queue, so that a slot rests as long as possible before it is used again. With a 64-bit long a
 * slot's generation has 44 bits and does not come round in practice; with a 32-bit one it has 12, and the queue makes a
 * repetition as late as it can be: after at least 1024 * 4095 other ids.
 */
#include "mongoose/loop/idtab.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "mongoose/base/alloc.h"

#define SLOT_BITS 20u
#define SEG_BITS 10u
#define SEG_SLOTS (1ul << SEG_BITS)
#define SEGS (1ul << (SLOT_BITS - SEG_BITS))
#define MAX_GENERATION (ULONG_MAX >> SLOT_BITS)

struct slot {
  void *who;
  unsigned long id;         /* 0: free. Written by the loop thread, read by all */
  unsigned long generation; /* of the last tenant */
  uint32_t next_free;       /* slot number + 1, 0: last in the queue */
};

struct mg_idtab {
  struct slot *segs[SEGS];
  size_t num_segs;
  uint32_t first_free, last_free; /* slot number + 1, 0: none */
};

static struct slot *slot_at(const struct mg_idtab *t, unsigned long number) {
  struct slot *seg = __atomic_load_n(&t->segs[number >> SEG_BITS], __ATOMIC_ACQUIRE);
  return seg == NULL ? NULL : &seg[number & (SEG_SLOTS - 1)];
}

static struct slot *slot_of(const struct mg_idtab *t, unsigned long id) {
  return slot_at(t, id & ((1ul << SLOT_BITS) - 1));
}

static void queue_free(struct mg_idtab *t, struct slot *s, uint32_t number) {
  s->next_free = 0;
  if (t->last_free != 0) {
    slot_at(t, t->last_free - 1)->next_free = number + 1;
  } else {
    t->first_free = number + 1;
  }
  t->last_free = number + 1;
}

static bool add_segment(struct mg_idtab *t) {
  struct slot *seg;
  size_t i, base = t->num_segs * SEG_SLOTS;
  if (t->num_segs == SEGS) return false;
  seg = (struct slot *) mg_calloc(SEG_SLOTS, sizeof(*seg));
  if (seg == NULL) return false;
  __atomic_store_n(&t->segs[t->num_segs++], seg, __ATOMIC_RELEASE); /* its zeros are seen before its address */
  for (i = 0; i < SEG_SLOTS; i++) queue_free(t, &seg[i], (uint32_t) (base + i));
  return true;
}

struct mg_idtab *mg_idtab_new(void) {
  return (struct mg_idtab *) mg_calloc(1, sizeof(struct mg_idtab));
}

void mg_idtab_free(struct mg_idtab *t) {
  size_t i;
  if (t == NULL) return;
  for (i = 0; i < t->num_segs; i++) mg_free(t->segs[i]);
  mg_free(t);
}

unsigned long mg_idtab_add(struct mg_idtab *t, void *who) {
  unsigned long number, id;
  struct slot *s;
  if (t->first_free == 0 && !add_segment(t)) return 0;
  number = t->first_free - 1;
  s = slot_at(t, number);
  t->first_free = s->next_free;
  if (t->first_free == 0) t->last_free = 0;
  s->generation = s->generation == MAX_GENERATION ? 1 : s->generation + 1;
  s->who = who;
  id = s->generation << SLOT_BITS | number;
  __atomic_store_n(&s->id, id, __ATOMIC_RELEASE);
  return id;
}

void mg_idtab_del(struct mg_idtab *t, unsigned long id) {
  struct slot *s = id == 0 ? NULL : slot_of(t, id);
  if (s == NULL || s->id != id) return;
  __atomic_store_n(&s->id, 0, __ATOMIC_RELEASE);
  s->who = NULL;
  queue_free(t, s, (uint32_t) (id & ((1ul << SLOT_BITS) - 1)));
}

void *mg_idtab_find(const struct mg_idtab *t, unsigned long id) {
  struct slot *s = id == 0 ? NULL : slot_of(t, id);
  return s != NULL && s->id == id ? s->who : NULL;
}

bool mg_idtab_alive(const struct mg_idtab *t, unsigned long id) {
  struct slot *s = id == 0 ? NULL : slot_of(t, id);
  return s != NULL && __atomic_load_n(&s->id, __ATOMIC_ACQUIRE) == id;
}
