#include "mongoose/base/chunk.h"

#include "mongoose/base/alloc.h"

struct mg_chunk *mg_chunk_new(size_t size) {
  struct mg_chunk *c;
  if (size > (size_t) -1 - sizeof(*c)) return NULL;
  c = (struct mg_chunk *) mg_malloc(sizeof(*c) + size); /* not zeroed: it is about to be read into */
  if (c == NULL) return NULL;
  c->next = NULL;
  c->size = size;
  c->used = 0;
  c->refs = 1;
  c->data = (char *) (c + 1);
  return c;
}

struct mg_chunk *mg_chunk_hold(struct mg_chunk *c) {
  if (c != NULL) __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
  return c;
}

void mg_chunk_drop(struct mg_chunk *c) {
  if (c != NULL && __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) == 0) mg_free(c);
}

struct mg_chunk *mg_chunk_grow(struct mg_chunk *c, size_t size) {
  if (size > (size_t) -1 - sizeof(*c) || mg_chunk_shared(c)) return NULL;
  c = (struct mg_chunk *) mg_realloc(c, sizeof(*c) + size);
  if (c == NULL) return NULL;
  c->size = size;
  c->data = (char *) (c + 1);
  return c;
}

int mg_chunk_shared(const struct mg_chunk *c) {
  return __atomic_load_n(&c->refs, __ATOMIC_ACQUIRE) > 1;
}
