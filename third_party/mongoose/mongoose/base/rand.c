/* rand.c - the kernel is asked for up to 256 bytes at a time, which it never gives in part. */
#include "mongoose/base/rand.h"

#include <errno.h>
#include <string.h>

#include "mongoose/base/str.h"

#if !defined(MG_ENABLE_CUSTOM_RANDOM) || !MG_ENABLE_CUSTOM_RANDOM
#if defined(__linux__)
#include <sys/random.h>
static long some_random(void *buf, size_t len) {
  return (long) getrandom(buf, len > 256 ? 256 : len, 0);
}
#else
#include <unistd.h>
#if defined(__APPLE__)
#include <sys/random.h>
#endif
static long some_random(void *buf, size_t len) {
  if (len > 256) len = 256; /* getentropy refuses more at once */
  return getentropy(buf, len) == 0 ? (long) len : -1;
}
#endif

bool mg_random(void *buf, size_t len) {
  unsigned char *p = (unsigned char *) buf;
  size_t done = 0;
  while (done < len) {
    long n = some_random(p + done, len - done);
    if (n > 0) {
      done += (size_t) n;
    } else if (n == 0 || errno != EINTR) {
      mg_bzero(p, len);
      return false;
    }
  }
  return true;
}
#endif

char *mg_random_str(char *buf, size_t len) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  unsigned char pool[64];
  size_t done = 0;
  if (len == 0) return NULL;
  while (done < len - 1) {
    if (!mg_random(pool, sizeof(pool))) {
      buf[0] = '\0';
      return NULL;
    }
    /* Two of the 64 values of six bits have no letter: skipped, since folding them would favour some letters. */
    for (size_t i = 0; i < sizeof(pool) && done < len - 1; i++) {
      if ((pool[i] & 63) < sizeof(letters) - 1) buf[done++] = letters[pool[i] & 63];
    }
  }
  buf[done] = '\0';
  mg_bzero(pool, sizeof(pool));
  return buf;
}
