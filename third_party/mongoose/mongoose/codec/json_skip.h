/* json_skip.h - find where a JSON object, array or string ends, as fast as the processor can.
 *
 * One struct of functions per instruction set, all with the same answers for all bytes, right or wrong:
 * a backslash takes the next byte with it, inside strings and outside; quotes alternate; brackets outside strings are
 * counted without telling {} from []. None reads at or behind buf + len. For json.c, and for tests that compare them.
 */
#pragma once
#include "mongoose/base/str.h"
#include "mongoose/codec/json.h"

MG_BEGIN_DECLS

struct mg_json_skipper {
  const char *name;
  /* `at` is just behind the opening bracket. Offset behind the one that closes it, MG_JSON_INVALID when there is none,
   * MG_JSON_TOO_DEEP when more than `levels` brackets, the first one included, were open at once before that. */
  ptrdiff_t (*nested)(const char *buf, size_t at, size_t len, size_t levels);
  /* `at` is just behind the opening quote. Offset behind the closing one, or MG_JSON_INVALID. */
  ptrdiff_t (*string)(const char *buf, size_t at, size_t len);
};

extern const struct mg_json_skipper mg_json_skip_scalar;
#if defined(__x86_64__)
extern const struct mg_json_skipper mg_json_skip_sse2;
extern const struct mg_json_skipper mg_json_skip_avx2; /* needs AVX2, PCLMUL, POPCNT, BMI1 */
#elif defined(__aarch64__)
extern const struct mg_json_skipper mg_json_skip_neon;
#endif

/* The i-th skipper this processor can run, fastest first; NULL behind the last, which is the scalar one. */
const struct mg_json_skipper *mg_json_skipper_at(size_t i);

/* The one in use: number 0, found at the first call, from any thread. */
const struct mg_json_skipper *mg_json_skipper(void);

/* For tests: use this one from now on, NULL for the fastest again. */
void mg_json_skipper_use(const struct mg_json_skipper *skipper);

MG_END_DECLS
