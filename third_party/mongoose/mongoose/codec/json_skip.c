/* json_skip.c - choose a skipper for this processor; the plain one, which defines what the others must answer. */
#include "mongoose/codec/json_skip.h"

#include <stdatomic.h>

static ptrdiff_t string(const char *buf, size_t at, size_t len) {
  for (; at < len; at++) {
    if (buf[at] == '"') return (ptrdiff_t) (at + 1);
    if (buf[at] == '\\') at++;
  }
  return MG_JSON_INVALID;
}

static ptrdiff_t nested(const char *buf, size_t at, size_t len, size_t levels) {
  size_t depth = 1;
  if (levels < 1) return MG_JSON_TOO_DEEP;
  while (at < len) {
    ptrdiff_t end;
    switch (buf[at++]) {
      case '"':
        if ((end = string(buf, at, len)) < 0) return end;
        at = (size_t) end;
        break;
      case '\\':
        at++;
        break;
      case '{':
      case '[':
        if (++depth > levels) return MG_JSON_TOO_DEEP;
        break;
      case '}':
      case ']':
        if (--depth == 0) return (ptrdiff_t) at;
        break;
      default:
        break;
    }
  }
  return MG_JSON_INVALID;
}

const struct mg_json_skipper mg_json_skip_scalar = {"scalar", nested, string};

const struct mg_json_skipper *mg_json_skipper_at(size_t i) {
  const struct mg_json_skipper *usable[3];
  size_t n = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("popcnt") &&
      __builtin_cpu_supports("bmi")) {
    usable[n++] = &mg_json_skip_avx2;
  }
  usable[n++] = &mg_json_skip_sse2;
#elif defined(__aarch64__)
  usable[n++] = &mg_json_skip_neon;
#endif
  usable[n++] = &mg_json_skip_scalar;
  return i < n ? usable[i] : NULL;
}

static _Atomic(const struct mg_json_skipper *) s_in_use;

const struct mg_json_skipper *mg_json_skipper(void) {
  /* Relaxed is enough: threads that race store the same pointer, to a constant. */
  const struct mg_json_skipper *s = atomic_load_explicit(&s_in_use, memory_order_relaxed);
  if (MG_UNLIKELY(s == NULL)) {
    s = mg_json_skipper_at(0);
    atomic_store_explicit(&s_in_use, s, memory_order_relaxed);
  }
  return s;
}

void mg_json_skipper_use(const struct mg_json_skipper *skipper) {
  atomic_store_explicit(&s_in_use, skipper, memory_order_relaxed);
}
