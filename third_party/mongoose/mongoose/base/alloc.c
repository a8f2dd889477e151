#include "mongoose/base/alloc.h"

#include <stdlib.h>

#if defined(MG_ENABLE_ALLOC_FAULTS) && MG_ENABLE_ALLOC_FAULTS
static long s_countdown; /* tests are single-threaded where they use this */

void mg_alloc_fail_at(long n) {
  s_countdown = n;
}
static int fails_now(void) {
  return s_countdown > 0 && --s_countdown == 0;
}
#else
void mg_alloc_fail_at(long n) {
  (void) n;
}
static int fails_now(void) {
  return 0;
}
#endif

void *mg_calloc(size_t count, size_t size) {
  return fails_now() ? NULL : calloc(count, size);
}

void *mg_malloc(size_t size) {
  return fails_now() ? NULL : malloc(size);
}

void *mg_realloc(void *p, size_t size) {
  return fails_now() ? NULL : realloc(p, size);
}

void mg_free(void *p) {
  free(p);
}
