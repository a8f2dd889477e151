/* rand.h - random bytes nobody can predict, from the operating system and nowhere else: there is no
 * fall-back generator. A build with MG_ENABLE_CUSTOM_RANDOM brings its own mg_random.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

/* False when the system has none; the bytes are then zero and must not be used. */
MG_MUST_CHECK bool mg_random(void *buf, size_t len);

/* len - 1 random letters and digits and a NUL. Returns buf, or NULL, with an empty string in it, when there is no
 * randomness (or len is 0). */
char *mg_random_str(char *buf, size_t len);

MG_END_DECLS
