/* utf8_fast.h - private to utf8: checking long texts with what some processors have. */
#pragma once
#include <stddef.h>
#include "mongoose/base/str.h"

enum { MG_UTF8_FAST = 64 }; /* bytes it takes at least */

/* How far a text that begins at p with a character was looked at, up to the start of a character that may be cut off or the end of a
 * block of 64 bytes; NULL: it is wrong. */
#if defined(__x86_64__)
const uint8_t *mg_utf8_skip_avx2(const uint8_t *p, const uint8_t *end);
#endif
