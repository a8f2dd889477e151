/* alloc.h - the one door to the heap, so that tests can make any single allocation fail.
 *
 * That needs a build with MG_ENABLE_ALLOC_FAULTS; test builds have it.
 */
#pragma once
#include <stddef.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

void *mg_calloc(size_t count, size_t size); /* zeroed; NULL when out of memory or on overflow */
void *mg_malloc(size_t size);
void *mg_realloc(void *p, size_t size); /* on failure NULL, and p stays valid */
void mg_free(void *p);

/* Fault injection: let the n-th allocation from now fail (1 = the next one), 0 turns it off. In builds without
 * MG_ENABLE_ALLOC_FAULTS it does nothing. */
void mg_alloc_fail_at(long n);

MG_END_DECLS
