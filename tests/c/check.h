/* check.h - a test file is a list of TEST(statement) { … } and one CHECK_MAIN. Every failure is reported, not only the first.
 *
 * Run with words as arguments to run only the tests whose names contain one of them.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct check_test {
  const char *name;
  void (*fn)(void);
  struct check_test *next;
};
static struct check_test *check_first, **check_tail = &check_first;
static int check_failed;

#define TEST(name_)                                                               \
  static void name_(void);                                                        \
  static struct check_test check_##name_ = {#name_, name_, NULL};                 \
  __attribute__((constructor)) static void check_add_##name_(void) {              \
    *check_tail = &check_##name_;                                                 \
    check_tail = &check_##name_.next;                                             \
  }                                                                               \
  static void name_(void)

#define CHECK(cond)                                                               \
  do {                                                                            \
    if (!(cond)) {                                                                \
      check_failed++;                                                             \
      fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #cond);           \
    }                                                                             \
  } while (0)

#define CHECK_INT(got, want)                                                      \
  do {                                                                            \
    long long got_ = (long long) (got), want_ = (long long) (want);               \
    if (got_ != want_) {                                                          \
      check_failed++;                                                             \
      fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #got, got_, want_); \
    }                                                                             \
  } while (0)

#define CHECK_MEM(got, got_len, want, want_len)                                   \
  do {                                                                            \
    size_t gl_ = (got_len), wl_ = (want_len);                                     \
    if (gl_ != wl_ || (wl_ > 0 && memcmp((got), (want), wl_) != 0)) {             \
      check_failed++;                                                             \
      fprintf(stderr, "%s:%d: %s is \"%.*s\", not \"%.*s\"\n", __FILE__, __LINE__, #got, (int) gl_, (const char *) (got), (int) wl_, (const char *) (want)); \
    }                                                                             \
  } while (0)

/* A struct mg_str against a string literal. */
#define CHECK_STR(got, want) CHECK_MEM((got).buf, (got).len, want, sizeof(want) - 1)

/* A copy of the bytes whose end touches an unreadable page: one byte too far is a crash. Freed by mg_test_unguard. */
static inline char *mg_test_guarded(const void *bytes, size_t len) {
  size_t page = (size_t) sysconf(_SC_PAGESIZE), room = (len + page - 1) / page * page;
  char *p = (char *) mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED || mprotect(p + room, page, PROT_NONE) != 0) abort();
  if (len > 0) memcpy(p + room - len, bytes, len);
  return p + room - len;
}
static inline void mg_test_unguard(char *bytes, size_t len) {
  size_t page = (size_t) sysconf(_SC_PAGESIZE), room = (len + page - 1) / page * page;
  munmap(bytes + len - room, room + page);
}

#define CHECK_MAIN                                                                \
  int main(int argc, char **argv) {                                               \
    int run = 0, bad = 0;                                                         \
    for (struct check_test *t = check_first; t != NULL; t = t->next) {            \
      int wanted = argc < 2;                                                      \
      for (int i = 1; i < argc; i++) wanted |= strstr(t->name, argv[i]) != NULL;  \
      if (!wanted) continue;                                                      \
      check_failed = 0;                                                           \
      t->fn();                                                                    \
      run++;                                                                      \
      if (check_failed) {                                                         \
        bad++;                                                                    \
        fprintf(stderr, "FAILED %s\n", t->name);                                  \
      }                                                                           \
    }                                                                             \
    printf("%d passed, %d failed\n", run - bad, bad);                             \
    return bad != 0 || run == 0;                                                  \
  }
