/* test_match.c - patterns, against examples and against a matcher too simple to be wrong. */
#include "check.h"
#include "mongoose/base/alloc.h"
#include "mongoose/base/match.h"

static bool matches(const char *s, const char *pattern) {
  return mg_match(mg_str(s), mg_str(pattern), NULL);
}

TEST(the_whole_string_must_match) {
  CHECK(matches("", "") && matches("abc", "abc"));
  CHECK(!matches("abcd", "abc") && !matches("abc", "abcd") && !matches("", "a") && !matches("a", ""));
}
TEST(question_mark_is_exactly_one_byte) {
  CHECK(matches("a", "?") && matches("/", "?") && matches("abc", "a?c"));
  CHECK(!matches("", "?") && !matches("ab", "?"));
}
TEST(star_stops_at_a_slash_and_hash_does_not) {
  CHECK(matches("/api/", "/api/*") && matches("/api/v1", "/api/*") && !matches("/api/v1/x", "/api/*"));
  CHECK(matches("/api/", "/api/#") && matches("/api/v1/x", "/api/#") && !matches("/ap", "/api/#"));
  CHECK(matches("/a/b/c.php", "#.php") && !matches("/a/b/c.php5", "#.php"));
  CHECK(matches("/a/b/x.php.php", "#.php") && matches("aab", "*ab") && matches("a/b/ab/c", "#ab*/c"));
}
TEST(one_capture_per_wildcard) {
  struct mg_str caps[5];
  CHECK(mg_match(mg_str("/u/42/files/a/b.txt"), mg_str("/u/*/files/#.t?t"), caps));
  CHECK_STR(caps[0], "42");
  CHECK_STR(caps[1], "a/b");
  CHECK_STR(caps[2], "x");
  CHECK(caps[3].buf == NULL && caps[3].len == 0);
}
TEST(an_empty_capture_has_an_address_and_the_terminator_has_none) {
  struct mg_str caps[3] = {{NULL, 9}, {NULL, 9}, {NULL, 9}};
  CHECK(mg_match(mg_str(NULL), mg_str("*#"), caps));
  CHECK(caps[0].buf != NULL && caps[0].len == 0);
  CHECK(caps[1].buf != NULL && caps[1].len == 0);
  CHECK(caps[2].buf == NULL && caps[2].len == 0);
  CHECK(!mg_match(mg_str("a"), mg_str("b*"), caps));
  CHECK(caps[0].buf == NULL);
}
TEST(no_capture_is_written_beyond_max_caps) {
  struct mg_str caps[4];
  for (size_t max = 0; max < 4; max++) {
    memset(caps, 0x55, sizeof(caps));
    CHECK_INT(mg_match_n(mg_str("a-b-c"), mg_str("*-*-*"), caps, max), 3);
    if (max > 1) CHECK_STR(caps[1], "b");
    CHECK_INT(caps[max].len, 0x5555555555555555LL);
  }
  CHECK_INT(mg_match_n(mg_str("a-b-c"), mg_str("*-*-*"), caps, 4), 3);
  CHECK(caps[3].buf == NULL);
  CHECK_INT(mg_match_n(mg_str("a-b"), mg_str("*-*-*"), caps, 4), -1);
}
TEST(hundreds_of_wildcards_are_fine) { /* 25 crashed the one before us */
  enum { N = 500 };
  static struct mg_str caps[N + 1];
  char pattern[N], s[N];
  memset(pattern, '?', N);
  memset(s, 'x', N);
  CHECK_INT(mg_match_n(mg_str_n(s, N), mg_str_n(pattern, N), caps, N + 1), N);
  CHECK(caps[N - 1].buf == s + N - 1 && caps[N].buf == NULL);
  CHECK(mg_match(mg_str_n(s, N), mg_str_n(pattern, N), NULL));
  CHECK(!mg_match(mg_str_n(s, N - 1), mg_str_n(pattern, N), NULL));
}
TEST(many_wildcards_without_memory_do_not_match) {
  char pattern[40];
  memset(pattern, '*', sizeof(pattern));
  CHECK(mg_match(mg_str("x"), mg_str_n(pattern, 40), NULL));
  mg_alloc_fail_at(1);
  CHECK(!mg_match(mg_str("x"), mg_str_n(pattern, 40), NULL));
  mg_alloc_fail_at(0);
}
TEST(hostile_patterns_end_soon) { /* exponential, or even cubic, matching would not end while anybody waits */
  enum { N = 20000, M = 400 };
  char *s = (char *) malloc(N), pattern[M];
  memset(s, 'a', N);
  for (size_t i = 0; i < M; i += 2) pattern[i] = '*', pattern[i + 1] = 'a';
  pattern[M - 1] = 'b';
  CHECK(!mg_match(mg_str_n(s, N), mg_str_n(pattern, M), NULL));
  for (size_t i = 0; i < M; i += 2) pattern[i] = '#';
  CHECK(!mg_match(mg_str_n(s, N), mg_str_n(pattern, M), NULL));
  /* a '?' over a slash: stars must be taken back */
  for (size_t i = 0; i < M; i += 2) pattern[i] = '*', pattern[i + 1] = '?';
  pattern[M - 1] = 'b';
  for (size_t i = 0; i < N; i += 100) s[i] = '/';
  CHECK(!mg_match(mg_str_n(s, N), mg_str_n(pattern, M), NULL));
  free(s);
}

/* Tries everything. */
static bool oracle(const char *s, const char *p) {
  if (*p == '\0') return *s == '\0';
  if (*p == '*' || *p == '#') {
    for (;; s++) {
      if (oracle(s, p + 1)) return true;
      if (*s == '\0' || (*p == '*' && *s == '/')) return false;
    }
  }
  return *s != '\0' && (*p == '?' || *p == *s) && oracle(s + 1, p + 1);
}
/* The captures must rebuild the string. */
static bool rebuilds(const char *s, const char *p, const struct mg_str *cap) {
  for (; *p != '\0'; p++) {
    if (*p != '*' && *p != '#' && *p != '?') {
      if (*s++ != *p) return false;
      continue;
    }
    if (cap->buf != s || (*p == '?' && cap->len != 1) || (*p == '*' && memchr(cap->buf, '/', cap->len))) return false;
    s += cap++->len;
  }
  return *s == '\0' && cap->buf == NULL;
}
TEST(short_strings_and_patterns_match_as_the_definition_says) {
  static const char pa[] = "a/?*#", sa[] = "a/b";
  char s[8], p[8];
  struct mg_str caps[8];
  long agreed = 0, matched = 0;
  for (int pl = 0; pl <= 5; pl++) {
    int pn = 1;
    for (int i = 0; i < pl; i++) pn *= 5;
    for (int pi = 0; pi < pn; pi++) {
      for (int i = 0, v = pi; i < pl; i++, v /= 5) p[i] = pa[v % 5];
      p[pl] = '\0';
      for (int sl = 0; sl <= 5; sl++) {
        int sn = 1;
        for (int i = 0; i < sl; i++) sn *= 3;
        for (int si = 0; si < sn; si++) {
          for (int i = 0, v = si; i < sl; i++, v /= 3) s[i] = sa[v % 3];
          s[sl] = '\0';
          bool want = oracle(s, p), got = mg_match(mg_str(s), mg_str(p), caps);
          if (want != got || (got && !rebuilds(s, p, caps))) {
            fprintf(stderr, "match(%s, %s)\n", s, p);
            CHECK(want == got);
            CHECK(!"captures");
            return;
          }
          agreed++;
          matched += got;
        }
      }
    }
  }
  CHECK(agreed > 1000000 && matched > 1000);
}
CHECK_MAIN
