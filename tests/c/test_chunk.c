/* test_chunk.c - memory with holders. Run under ASan: a wrong count is a leak or a use after free. */
#include <pthread.h>

#include "check.h"
#include "mongoose/base/alloc.h"
#include "mongoose/base/chunk.h"

TEST(a_new_chunk_has_one_holder_and_all_its_bytes) {
  struct mg_chunk *c = mg_chunk_new(100);
  CHECK(c != NULL && c->size == 100 && c->used == 0 && c->next == NULL && !mg_chunk_shared(c));
  memset(c->data, 1, c->size);
  mg_chunk_drop(c);
}
TEST(bytes_live_until_the_last_holder_drops) {
  struct mg_chunk *c = mg_chunk_new(1);
  CHECK(mg_chunk_hold(c) == c);
  CHECK(mg_chunk_shared(c));
  c->data[0] = 'x';
  mg_chunk_drop(c);
  CHECK(!mg_chunk_shared(c));
  CHECK(c->data[0] == 'x');
  mg_chunk_drop(c);
}
TEST(null_is_held_and_dropped_by_nobody) {
  CHECK(mg_chunk_hold(NULL) == NULL);
  mg_chunk_drop(NULL);
}
TEST(no_memory_and_no_such_size_give_null) {
  mg_alloc_fail_at(1);
  CHECK(mg_chunk_new(10) == NULL);
  mg_alloc_fail_at(0);
  CHECK(mg_chunk_new((size_t) -1) == NULL);
  CHECK(mg_chunk_new((size_t) -1 - sizeof(struct mg_chunk) + 1) == NULL);
}
TEST(the_only_holder_can_have_more_room) {
  struct mg_chunk *c = mg_chunk_new(4), *n;
  memcpy(c->data, "abcd", c->used = 4);
  n = mg_chunk_grow(mg_chunk_hold(c), 100000);
  CHECK(n == NULL);
  mg_chunk_drop(c);
  mg_alloc_fail_at(1);
  CHECK(mg_chunk_grow(c, 100000) == NULL && c->size == 4);
  mg_alloc_fail_at(0);
  CHECK(mg_chunk_grow(c, (size_t) -1) == NULL);
  n = mg_chunk_grow(c, 100000);
  CHECK(n != NULL && n->size == 100000 && n->used == 4);
  CHECK_MEM(n->data, n->used, "abcd", 4);
  memset(n->data, 1, n->size);
  mg_chunk_drop(n);
}
static void *hold_and_drop(void *arg) {
  struct mg_chunk *c = (struct mg_chunk *) arg;
  for (int i = 0; i < 10000; i++) mg_chunk_drop(mg_chunk_hold(c));
  mg_chunk_drop(c);
  return NULL;
}
TEST(threads_hold_and_drop_together) {
  pthread_t t[4];
  struct mg_chunk *c = mg_chunk_new(1);
  for (int i = 0; i < 4; i++) pthread_create(&t[i], NULL, hold_and_drop, mg_chunk_hold(c));
  for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
  CHECK(!mg_chunk_shared(c));
  mg_chunk_drop(c);
}
CHECK_MAIN
