/* str.h - a string is a pointer and a length; it owns nothing and needs no NUL at its end.
 *
 * `mg_str` names a struct and the function that makes one: struct mg_str s = mg_str("x"). Both are called
 * mg_str_s behind a macro, in C and in C++ alike, so that one symbol serves both languages.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mongoose/base/bytes.h"
#include "mongoose/config.h"

MG_BEGIN_DECLS

#define mg_str mg_str_s

struct mg_str {
  char *buf;
  size_t len;
};

struct mg_str mg_str(const char *s); /* of a NUL-terminated string; NULL gives an empty one */
struct mg_str mg_str_n(const char *s, size_t n);

/* Order by bytes, a prefix before what it begins: < 0, 0, > 0. The case of A-Z is ignored by the other two. */
int mg_strcmp(const struct mg_str a, const struct mg_str b);
int mg_strcasecmp(const struct mg_str a, const struct mg_str b);
int mg_casecmp(const char *a, const char *b);

/* A copy from mg_malloc with a NUL behind it, to be given to mg_free. {NULL, 0} when memory is out or s.buf is NULL. */
struct mg_str mg_strdup(const struct mg_str s);

/* Split s at the first `delim` into what is before (*a) and behind it (*b); no delimiter: all of it and an empty *b.
 * False when s is empty, and both are then left alone. a and b may be NULL or point to s:
 *   while (mg_span(rest, &item, &rest, ',')) … */
bool mg_span(struct mg_str s, struct mg_str *a, struct mg_str *b, char delim);

/* Read all of str as an unsigned number into the val_len (1, 2, 4, 8) bytes at val. Base 2, 8, 10, 16 (0b and 0x
 * allowed in front where they fit the base), or 0 to go by that prefix. False, and *val untouched, on anything else
 * than digits, an empty string, or a number too big. */
bool mg_str_to_num(struct mg_str str, int base, void *val, size_t val_len);

void mg_bzero(volatile unsigned char *buf, size_t len); /* zeroes that the optimiser must not drop */
bool mg_memeq(const void *a, const void *b, size_t len); /* takes the same time wherever the first difference is */

/* May this path, already decoded, be appended to a directory without leaving it? No NUL byte, no ".." between
 * slashes or backslashes, no "~" in front. Links are the file system's business. */
bool mg_path_is_sane(const struct mg_str path);

MG_END_DECLS
