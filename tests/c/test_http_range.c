#include "check.h"
#include "mongoose/codec/http_range.h"

static struct mg_http_range r[MG_HTTP_RANGES];

static int ranges(const char *field, uint64_t size) {
  size_t n = strlen(field);
  char *p = mg_test_guarded(field, n);
  int got = mg_http_ranges(mg_str_n(p, n), size, r);
  mg_test_unguard(p, n);
  return got;
}

#define ONE(field, size, from_, len_)       \
  do {                                      \
    CHECK_INT(ranges(field, size), 1);      \
    CHECK_INT(r[0].from, from_);            \
    CHECK_INT(r[0].len, len_);              \
  } while (0)

TEST(one_range_is_cut_to_what_is_there) {
  ONE("bytes=0-0", 10, 0, 1);
  ONE("bytes=9-", 10, 9, 1);
  ONE("bytes=3-5", 10, 3, 3);
  ONE("bytes=3-500", 10, 3, 7);
  ONE("bytes=-3", 10, 7, 3);
  ONE("bytes=-300", 10, 0, 10);
  ONE("bytes=0-18446744073709551615", 10, 0, 10);
  ONE("bytes=0-99999999999999999999999999", 10, 0, 10);
  ONE("bytes=4294967296-4294967297", 5000000000, 4294967296, 2);
  ONE("bytes=18446744073709551613-", UINT64_MAX - 1, (long long) (UINT64_MAX - 2), 1);
  ONE("Bytes=,, 1-2\t,", 10, 1, 2);
}

TEST(ranges_that_are_malformed_say_nothing) {
  static const char *const bad[] = {"", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=x", "bytes=1", "bytes=2-1", "bytes=1-2x", "bytes=1-2,x",
                                    "bytes=1 -2", "bytes=1- 2", "bytes=1-2;3-4", "lines=1-2", "bytes =1-2", "bytes=--1", "bytes=1--2", "bytes=-1-2"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) CHECK_INT(ranges(bad[i], 10), 0);
}

TEST(ranges_behind_the_end_cannot_be_satisfied) {
  CHECK_INT(ranges("bytes=10-", 10), -1);
  CHECK_INT(ranges("bytes=10-11,20-", 10), -1);
  CHECK_INT(ranges("bytes=-0", 10), -1);
  CHECK_INT(ranges("bytes=99999999999999999999-", 10), -1);
  CHECK_INT(ranges("bytes=0-", 0), -1);
  CHECK_INT(ranges("bytes=-1", 0), 0); /* satisfied, by nothing */
  ONE("bytes=10-11,2-3", 10, 2, 2);
}

TEST(several_ranges_must_ascend_and_stay_apart) {
  CHECK_INT(ranges("bytes=0-1,3-4,-1", 10), 3);
  CHECK_INT(r[2].from, 9);
  CHECK_INT(ranges("bytes=0-1,2-3", 10), 2);
  CHECK_INT(ranges("bytes=0-1,1-3", 10), 0);
  CHECK_INT(ranges("bytes=4-5,0-1", 10), 0);
  CHECK_INT(ranges("bytes=5-,-3", 10), 0);
}

TEST(sixteen_ranges_are_served_and_seventeen_are_not) {
  char field[256] = "bytes=";
  for (int i = 0; i < 16; i++) sprintf(field + strlen(field), "%s%d-%d", i > 0 ? "," : "", 2 * i, 2 * i);
  CHECK_INT(ranges(field, 100), 16);
  strcat(field, ",90-90");
  CHECK_INT(ranges(field, 100), 0);
}

CHECK_MAIN
