/* str.h - a string is a pointer and a length; it owns nothing and needs no NUL at its end. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

#ifdef __cplusplus
struct mg_str_s {
  char *buf;
  size_t len;
};
#define mg_str mg_str_s /* in C++ a struct and a function cannot share the name in all positions */
#else
struct mg_str {
  char *buf;
  size_t len;
};
#endif

struct mg_str mg_str_s(const char *s); /* of a NUL-terminated string; NULL gives an empty one */
struct mg_str mg_str_n(const char *s, size_t n);

MG_END_DECLS
