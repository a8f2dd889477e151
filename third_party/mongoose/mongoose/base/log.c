/* log.c - a message is formatted first and written under a lock then, so that lines of threads do not mix and the lock is
 * never held while arguments are turned into text. */
#include "mongoose/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/clock.h"

int mg_log_level = MG_LL_NONE;

static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two below, and the sink */
static pthread_once_t s_once = PTHREAD_ONCE_INIT;
static mg_pfn_t s_fn = mg_pfn_stdout;
static void *s_param;

static __thread char s_prefix[80];
static __thread bool s_inside; /* this thread is in the sink: logging from there would lock itself out */

/* A child must not inherit the lock from a thread that it does not have, nor half a line. A thread that forks in the sink has it already. */
static void before_fork(void) {
  if (!s_inside) pthread_mutex_lock(&s_lock);
}

static void after_fork(void) {
  if (!s_inside) pthread_mutex_unlock(&s_lock);
}

static void once(void) {
  (void) pthread_atfork(before_fork, after_fork, after_fork);
}

static void lock(void) {
  pthread_once(&s_once, once);
  pthread_mutex_lock(&s_lock);
}

void mg_log_set(int level) {
  if (level < MG_LL_NONE) level = MG_LL_NONE;
  if (level > MG_LL_VERBOSE) level = MG_LL_VERBOSE;
  __atomic_store_n(&mg_log_level, level, __ATOMIC_RELAXED);
}

int mg_log_get(void) {
  return __atomic_load_n(&mg_log_level, __ATOMIC_RELAXED);
}

void mg_log_set_fn(mg_pfn_t fn, void *param) {
  if (s_inside) return;
  lock();
  s_fn = fn == NULL ? mg_pfn_stdout : fn;
  s_param = param;
  pthread_mutex_unlock(&s_lock);
}

static void put_all(const char *s, size_t n) {
  for (size_t i = 0; i < n; i++) s_fn(s[i], s_param);
}

static void put_line(const char *prefix, const char *s, size_t n) {
  if (s_inside) return;
  lock();
  s_inside = true;
  put_all(prefix, strlen(prefix));
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char) s[i];
    if ((c < ' ' && c != '\t') || c == 127) {
      char hex[8];
      put_all(hex, mg_snprintf(hex, sizeof(hex), "\\x%02x", c));
    } else {
      s_fn(s[i], s_param);
    }
  }
  s_fn('\n', s_param);
  if (s_fn == mg_pfn_stdout) fflush(stdout);
  s_inside = false;
  pthread_mutex_unlock(&s_lock);
}

void mg_log_prefix(int level, const char *file, int line, const char *function) {
  const char *name = strrchr(file, '/');
  if (s_inside) return; /* the prefix is just being written */
  mg_snprintf(s_prefix, sizeof(s_prefix), "%-6llu %d %.24s:%d:%.24s ", (unsigned long long) mg_millis(), level,
              name == NULL ? file : name + 1, line, function);
}

void mg_log(const char *fmt, ...) {
  char buf[512], *p = buf;
  va_list ap;
  size_t n;
  if (s_inside) return;
  va_start(ap, fmt);
  n = mg_vsnprintf(buf, sizeof(buf), fmt, &ap);
  va_end(ap);
  if (n >= sizeof(buf)) { /* long: from memory, or cut when there is none */
    va_start(ap, fmt);
    p = mg_vmprintf(fmt, &ap);
    va_end(ap);
    if (p == NULL) p = buf, n = sizeof(buf) - 1;
  }
  put_line(s_prefix, p, n);
  s_prefix[0] = '\0';
  if (p != buf) mg_free(p);
}

void mg_hexdump(const void *buf, size_t len) {
  const unsigned char *p = (const unsigned char *) buf;
  if (mg_log_get() == MG_LL_NONE) return;
  for (size_t i = 0; i < len; i += 16) {
    char line[96], text[17];
    size_t n = len - i < 16 ? len - i : 16, at = mg_snprintf(line, sizeof(line), "%04zx  ", i), k;
    for (k = 0; k < n; k++) {
      at += mg_snprintf(line + at, sizeof(line) - at, "%02x ", p[i + k]);
      text[k] = p[i + k] >= ' ' && p[i + k] < 127 ? (char) p[i + k] : '.';
    }
    text[n] = '\0';
    at += mg_snprintf(line + at, sizeof(line) - at, "%*s %s", (int) (3 * (16 - n)), "", text);
    put_line("", line, at);
  }
}
