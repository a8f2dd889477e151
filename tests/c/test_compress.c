#include "check.h"
#include "mongoose/base/alloc.h"
#include "mongoose/codec/compress.h"

/* What the libraries make of it is proved by other readers, in the Python tests; here: that output comes when it must. */

static enum mg_coding pick(const char *accept, bool *identity_ok) {
  static const uint8_t order[] = {MG_ZSTD, MG_BROTLI, MG_GZIP, MG_IDENTITY};
  struct mg_accept_coding a;
  bool ok;
  memset(&a, 0, sizeof(a));
  if (accept != NULL) mg_accept_coding(&a, mg_str(accept));
  return mg_accept_pick(&a, order, identity_ok != NULL ? identity_ok : &ok);
}

TEST(the_heaviest_coding_wins_and_ours_among_equals) {
  CHECK_INT(pick(NULL, NULL), MG_IDENTITY);
  CHECK_INT(pick("", NULL), MG_IDENTITY);
  CHECK_INT(pick("gzip, deflate, br, zstd", NULL), MG_ZSTD);
  CHECK_INT(pick("gzip;q=0.9, br ; q=0.8", NULL), MG_GZIP);
  CHECK_INT(pick("GZIP", NULL), MG_GZIP);
  CHECK_INT(pick("x-gzip", NULL), MG_GZIP);
  CHECK_INT(pick("deflate, compress", NULL), MG_IDENTITY);
  CHECK_INT(pick("*", NULL), MG_ZSTD);
  CHECK_INT(pick("*;q=0.1, gzip", NULL), MG_GZIP);
  CHECK_INT(pick("zstd;q=0, *", NULL), MG_BROTLI);
  CHECK_INT(pick("gzip;q=0", NULL), MG_IDENTITY);
  CHECK_INT(pick("gzip;q=0.001", NULL), MG_GZIP);
  CHECK_INT(pick("identity, gzip;q=0.5", NULL), MG_IDENTITY);
  CHECK_INT(pick("identity;q=0.5, gzip;q=0.5", NULL), MG_GZIP);
}

TEST(identity_can_be_refused) {
  bool ok;
  pick("gzip", &ok);
  CHECK(ok);
  pick("gzip, identity;q=0", &ok);
  CHECK(!ok);
  pick("gzip, *;q=0", &ok);
  CHECK(!ok);
  pick("identity;q=0.1, *;q=0", &ok);
  CHECK(ok);
}

TEST(malformed_weights_leave_their_element_out) {
  CHECK_INT(pick("gzip;q=1.001", NULL), MG_IDENTITY);
  CHECK_INT(pick("gzip;q=2", NULL), MG_IDENTITY);
  CHECK_INT(pick("gzip;q=0.1234", NULL), MG_IDENTITY);
  CHECK_INT(pick("gzip;q=-1", NULL), MG_IDENTITY);
  CHECK_INT(pick("gzip;q=", NULL), MG_IDENTITY);
  CHECK_INT(pick("gzip;level=1", NULL), MG_IDENTITY);
  CHECK_INT(pick("gzip;q=1.", NULL), MG_GZIP);
}

static void each(void (*test)(enum mg_coding)) {
  int k;
  for (k = MG_ZSTD; k < MG_CODINGS; k++) {
    if (mg_compress_engine_of((enum mg_coding) k) != NULL) test((enum mg_coding) k);
  }
}

static void flushes(enum mg_coding k) {
  struct mg_compressor *z = mg_compress_begin(k, 99, 0); /* clamped */
  struct mg_iobuf out = {NULL, 0, 0, 0, NULL};
  size_t before = 0;
  int i;
  CHECK(z != NULL);
  for (i = 0; i < 3; i++) {
    CHECK(mg_compress_update(z, mg_str("data: tick\n\n"), &out));
    CHECK(mg_compress_flush(z, &out));
    CHECK(out.len > before);
    before = out.len;
  }
  CHECK(mg_compress_finish(z, &out));
  mg_compress_free(z);
  mg_iobuf_free(&out);
}
TEST(each_flush_lets_something_out) {
  each(flushes);
}

static void large(enum mg_coding k) {
  enum { LEN = 1 << 20 };
  struct mg_compressor *z = mg_compress_begin(k, 1, LEN);
  struct mg_iobuf out = {NULL, 0, 0, 0, NULL};
  char *noise = (char *) malloc(LEN);
  uint32_t r = 1;
  size_t i;
  for (i = 0; i < LEN; i++) noise[i] = (char) ((r = r * 1664525u + 1013904223u) >> 24);
  CHECK(mg_compress_update(z, mg_str_n(noise, LEN), &out));
  CHECK(mg_compress_finish(z, &out));
  CHECK(out.len >= LEN * 9 / 10 && out.len < LEN * 11 / 10); /* noise stays as long as it is */
  mg_compress_free(z);
  mg_iobuf_free(&out);
  free(noise);
}
TEST(input_larger_than_any_buffer_goes_through) {
  each(large);
}

static void faults(enum mg_coding k) {
  long n;
  bool done = false;
  for (n = 1; !done && n < 200; n++) {
    struct mg_iobuf out = {NULL, 0, 0, 0, NULL};
    struct mg_compressor *z;
    mg_alloc_fail_at(n);
    z = mg_compress_begin(k, 1, 0);
    done = z != NULL && mg_compress_update(z, mg_str("some text"), &out) && mg_compress_finish(z, &out);
    mg_alloc_fail_at(0);
    mg_compress_free(z);
    mg_iobuf_free(&out);
  }
  CHECK(done);
}
TEST(out_of_memory_is_told) {
  each(faults);
}

CHECK_MAIN
