/* test_iobuf.c - growth, deletion, bytes in chunks that others hold, and every allocation failing. */
#include "check.h"
#include "mongoose/base/alloc.h"
#include "mongoose/base/iobuf.h"

/* A buffer over the bytes of a new chunk, with `spare` bytes behind them. */
static struct mg_iobuf in_chunk(const char *bytes, size_t spare) {
  struct mg_iobuf io = {NULL, 0, 0, 0, NULL};
  io.len = strlen(bytes);
  io.size = io.len + spare;
  io.chunk = mg_chunk_new(io.size);
  io.buf = (unsigned char *) io.chunk->data;
  io.chunk->used = io.len;
  memcpy(io.buf, bytes, io.len);
  return io;
}

TEST(sizes_follow_the_growth_step) {
  struct mg_iobuf io;
  CHECK_INT(mg_iobuf_init(&io, 0, 10), 1);
  CHECK(io.buf == NULL && io.size == 0);
  CHECK_INT(mg_iobuf_resize(&io, 1), 1);
  CHECK_INT(io.size, 10);
  CHECK_INT(mg_iobuf_resize(&io, 20), 1);
  CHECK_INT(io.size, 20);
  CHECK_INT(mg_iobuf_resize(&io, 0), 1);
  CHECK(io.buf == NULL && io.size == 0 && io.len == 0);
}
TEST(bytes_go_in_at_front_middle_and_end) {
  struct mg_iobuf io;
  mg_iobuf_init(&io, 0, 0);
  CHECK_INT(mg_iobuf_add(&io, 0, "cd", 2), 2);
  CHECK_INT(mg_iobuf_add(&io, 0, "a", 1), 1);
  CHECK_INT(mg_iobuf_add(&io, 1, "b", 1), 1);
  CHECK_INT(mg_iobuf_add(&io, (size_t) -1, "e", 1), 1);
  CHECK_INT(mg_iobuf_add(&io, 2, NULL, 2), 2);
  CHECK_INT(mg_iobuf_add(&io, 2, "x", 0), 0);
  CHECK_MEM(io.buf, io.len, "ab\0\0cde", 7);
  mg_iobuf_free(&io);
}
TEST(bytes_come_out_of_front_middle_and_end) {
  struct mg_iobuf io;
  mg_iobuf_init(&io, 0, 0);
  mg_iobuf_add(&io, 0, "abcdefgh", 8);
  CHECK_INT(mg_iobuf_del(&io, 0, 2), 2);
  CHECK_INT(mg_iobuf_del(&io, 2, 1), 1);
  CHECK_INT(mg_iobuf_del(&io, 4, 99), 1);
  CHECK_INT(mg_iobuf_del(&io, (size_t) -1, 1), 0);
  CHECK_MEM(io.buf, io.len, "cdfg", 4);
  CHECK_INT(mg_iobuf_del(&io, 0, (size_t) -1), 4);
  CHECK_INT(io.len, 0);
  mg_iobuf_free(&io);
}
TEST(growth_is_geometric) {
  struct mg_iobuf io;
  int moves = 0;
  mg_iobuf_init(&io, 0, 0);
  for (int i = 0; i < 100000; i++) {
    size_t before = io.size;
    CHECK_INT(mg_iobuf_add(&io, io.len, "x", 1), 1);
    moves += io.size != before;
  }
  CHECK(moves < 40);
  CHECK_INT(io.len, 100000);
  mg_iobuf_free(&io);
}
TEST(shrinking_cuts_the_bytes) {
  struct mg_iobuf io;
  mg_iobuf_init(&io, 10, 0);
  mg_iobuf_add(&io, 0, "abcdef", 6);
  CHECK_INT(mg_iobuf_resize(&io, 3), 1);
  CHECK_MEM(io.buf, io.len, "abc", 3);
  mg_iobuf_free(&io);
}
TEST(reserved_room_can_be_written_to) {
  struct mg_iobuf io;
  mg_iobuf_init(&io, 0, 0);
  CHECK_INT(mg_iobuf_reserve(&io, 0), 1);
  CHECK_INT(mg_iobuf_reserve(&io, 100), 1);
  memset(io.buf + io.len, 1, 100);
  CHECK_INT(io.len, 0);
  mg_iobuf_free(&io);
}
TEST(absurd_lengths_are_refused_and_change_nothing) {
  struct mg_iobuf io, chunked = in_chunk("abc", 0);
  mg_iobuf_init(&io, 0, 16);
  mg_iobuf_add(&io, 0, "abc", 3);
  CHECK_INT(mg_iobuf_add(&io, 0, NULL, (size_t) -1), 0);
  CHECK_INT(mg_iobuf_reserve(&io, (size_t) -1), 0);
  CHECK_INT(mg_iobuf_reserve(&io, (size_t) -1 / 2), 0);
  CHECK_INT(mg_iobuf_add(&chunked, 0, NULL, (size_t) -1 / 2), 0);
  CHECK_MEM(io.buf, io.len, "abc", 3);
  CHECK_MEM(chunked.buf, chunked.len, "abc", 3);
  mg_iobuf_free(&io);
  mg_iobuf_free(&chunked);
}
TEST(deleting_from_the_front_of_a_chunk_leaves_held_bytes_alone) {
  struct mg_iobuf io = in_chunk("GET /one GET /two", 4);
  struct mg_chunk *held = mg_chunk_hold(io.chunk);
  unsigned char *view = io.buf;
  CHECK_INT(mg_iobuf_del(&io, 0, 9), 9);
  CHECK_MEM(view, 17, "GET /one GET /two", 17);
  CHECK_MEM(io.buf, io.len, "GET /two", 8);
  CHECK(io.buf == view + 9 && io.chunk == held);
  CHECK_INT(io.size, 12);
  mg_iobuf_free(&io);
  CHECK_MEM(view, 8, "GET /one", 8);
  mg_chunk_drop(held);
}
TEST(deleting_inside_a_held_chunk_copies_first) {
  struct mg_iobuf io = in_chunk("abcdef", 0);
  struct mg_chunk *held = mg_chunk_hold(io.chunk);
  CHECK_INT(mg_iobuf_del(&io, 2, 2), 2);
  CHECK_MEM(io.buf, io.len, "abef", 4);
  CHECK(io.chunk == NULL);
  CHECK_MEM(held->data, 6, "abcdef", 6);
  mg_iobuf_free(&io);
  mg_chunk_drop(held);
}
TEST(deleting_inside_a_chunk_of_our_own_moves_in_place) {
  struct mg_iobuf io = in_chunk("abcdef", 0);
  CHECK_INT(mg_iobuf_del(&io, 2, 2), 2);
  CHECK_MEM(io.buf, io.len, "abef", 4);
  CHECK(io.chunk != NULL);
  mg_iobuf_free(&io);
}
TEST(adding_to_a_held_chunk_copies_first) {
  for (size_t ofs = 0; ofs <= 3; ofs++) {
    struct mg_iobuf io = in_chunk("abc", 8);
    struct mg_chunk *held = mg_chunk_hold(io.chunk);
    CHECK_INT(mg_iobuf_add(&io, ofs, "-", 1), 1);
    CHECK_INT(io.len, 4);
    CHECK_INT(io.buf[ofs], '-');
    CHECK(io.chunk == NULL);
    CHECK_MEM(held->data, 3, "abc", 3);
    mg_iobuf_free(&io);
    mg_chunk_drop(held);
  }
}
TEST(adding_to_a_chunk_of_our_own_uses_its_room) {
  struct mg_iobuf io = in_chunk("abc", 1);
  CHECK_INT(mg_iobuf_add(&io, 0, "-", 1), 1);
  CHECK(io.chunk != NULL);
  CHECK_INT(mg_iobuf_add(&io, 4, "+", 1), 1); /* and leaves it when it is full */
  CHECK(io.chunk == NULL);
  CHECK_MEM(io.buf, io.len, "-abc+", 5);
  mg_iobuf_free(&io);
}
TEST(an_emptied_buffer_does_not_write_over_held_bytes) { /* c->recv.len = 0 is a Mongoose habit */
  struct mg_iobuf io = in_chunk("secret", 0), tail = in_chunk("secret", 0);
  struct mg_chunk *held = mg_chunk_hold(io.chunk), *held_tail = mg_chunk_hold(tail.chunk);
  io.len = 0;
  CHECK_INT(mg_iobuf_reserve(&io, 6), 1);
  memcpy(io.buf, "public", 6);
  CHECK_INT(mg_iobuf_del(&tail, 2, 99), 4);
  CHECK_INT(mg_iobuf_reserve(&tail, 4), 1);
  memcpy(tail.buf + tail.len, "XXXX", 4);
  CHECK_MEM(held->data, 6, "secret", 6);
  CHECK_MEM(held_tail->data, 6, "secret", 6);
  CHECK_MEM(tail.buf, 6, "seXXXX", 6);
  mg_iobuf_free(&io);
  mg_iobuf_free(&tail);
  mg_chunk_drop(held);
  mg_chunk_drop(held_tail);
}
TEST(one_byte_of_room_in_a_held_chunk_is_left_too) { /* growing by half of 1 is no growth */
  struct mg_iobuf io = in_chunk("a", 0);
  struct mg_chunk *held = mg_chunk_hold(io.chunk);
  io.len = 0;
  CHECK_INT(mg_iobuf_reserve(&io, 1), 1);
  CHECK(io.chunk == NULL && io.size >= 1);
  mg_iobuf_free(&io);
  mg_chunk_drop(held);
}
TEST(resizing_takes_bytes_out_of_a_chunk) {
  struct mg_iobuf io = in_chunk("abcdef", 2);
  CHECK_INT(mg_iobuf_resize(&io, 3), 1);
  CHECK_MEM(io.buf, io.len, "abc", 3);
  CHECK(io.chunk == NULL);
  mg_iobuf_free(&io);
}
/* Everything that allocates, once; each allocation fails in turn. */
static int all_calls(struct mg_iobuf *io, struct mg_iobuf *chunked) {
  int ok = mg_iobuf_init(io, 8, 8);
  ok &= mg_iobuf_add(io, 0, "0123456789", 10) == 10;
  ok &= mg_iobuf_resize(io, 64);
  ok &= mg_iobuf_reserve(io, 100);
  ok &= mg_iobuf_add(chunked, 1, "yy", 2) == 2;
  ok &= mg_iobuf_reserve(chunked, 100);
  return ok;
}
TEST(without_memory_a_call_says_so_and_changes_nothing) {
  int failures = 0;
  for (long n = 1;; n++) {
    struct mg_iobuf io, chunked = in_chunk("abc", 0), held = in_chunk("xyz", 0);
    struct mg_chunk *hold = mg_chunk_hold(held.chunk);
    mg_alloc_fail_at(n);
    int ok = all_calls(&io, &chunked);
    ok &= mg_iobuf_del(&held, 1, 1) == 1;
    mg_alloc_fail_at(0);
    CHECK(io.len == 0 || io.len == 10);
    CHECK_MEM(io.buf, io.len, "0123456789", io.len);
    CHECK(io.len <= io.size && chunked.len <= chunked.size);
    if (chunked.len == 5) CHECK_MEM(chunked.buf, chunked.len, "ayybc", 5);
    else CHECK_MEM(chunked.buf, chunked.len, "abc", 3);
    if (held.len == 2) CHECK_MEM(held.buf, held.len, "xz", 2);
    else CHECK_MEM(held.buf, held.len, "xyz", 3);
    CHECK_MEM(hold->data, 3, "xyz", 3);
    mg_iobuf_free(&io);
    mg_iobuf_free(&chunked);
    mg_iobuf_free(&held);
    mg_chunk_drop(hold);
    if (ok) break;
    failures++;
  }
  CHECK(failures >= 5);
}
CHECK_MAIN
