/* alloc.h - the one door to the heap, so that tests can make any single allocation fail.
 *
 * MG_ALLOC_FAIL_AT=n in the environment of a build with MG_ENABLE_ALLOC_FAULTS makes the n-th call fail.
 */
#pragma once
#include <stddef.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

void *mg_calloc(size_t count, size_t size); /* zeroed; NULL when out of memory or on overflow */
void *mg_malloc(size_t size);
void *mg_realloc(void *p, size_t size); /* on failure NULL, and p stays valid */
void mg_free(void *p);

/* Fault injection: let the n-th allocation from now fail (1 = the next one), 0 turns it off. Always present, for tests. */
void mg_alloc_fail_at(long n);

MG_END_DECLS
