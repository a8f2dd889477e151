/* match.c - one loop over string and pattern, and one way back when it is stuck. */
#include "mongoose/base/match.h"

#include <limits.h>
#include <string.h>

#include "mongoose/base/alloc.h"

static bool is_wildcard(char c) {
  return c == '?' || c == '*' || c == '#';
}

static size_t count_wildcards(struct mg_str pattern) {
  size_t i, n = 0;
  for (i = 0; i < pattern.len; i++) n += is_wildcard(pattern.buf[i]);
  return n;
}

/* Backtracking that cannot explode, for two reasons:
 *
 * - A '#' matches anything, so once a later '#' is reached nothing before it need be tried again.
 * - What lies between two '*' has a fixed length, so a '*' whose run has grown to its end without success need never
 *   start again at or before that end. Its capture, start and length, remembers the end: no table is needed.
 *
 * So every run grows over each byte of the string once. `cap` holds one zeroed entry per wildcard. */
static bool run(struct mg_str s, struct mg_str p, struct mg_str *cap) {
  size_t i = 0, j = 0, w = 0;       /* next byte, next pattern byte, next wildcard */
  size_t run_j = 0, run_w = 0;      /* the run to grow when we are stuck */
  bool have_run = false;
  while (i < s.len || j < p.len) {
    if (j < p.len) {
      char c = p.buf[j];
      bool spent = c == '*' && cap[w].buf != NULL && s.buf + i <= cap[w].buf + cap[w].len;
      if (c == '#' || (c == '*' && !spent)) {
        cap[w] = mg_str_n(s.buf + i, 0);
        run_j = j++;
        run_w = w++;
        have_run = true;
        if (c != '#' || j < p.len) continue;
        cap[run_w].len = s.len - i; /* a '#' at the end takes the rest */
        return true;
      }
      if (i < s.len && c != '*' && (c == '?' || c == s.buf[i])) {
        if (c == '?') cap[w++] = mg_str_n(s.buf + i, 1);
        i++, j++;
        continue;
      }
    }
    for (;;) { /* stuck: let the nearest run that can grow take one byte more */
      if (!have_run) return false;
      i = (size_t) (cap[run_w].buf - s.buf) + cap[run_w].len;
      if (i < s.len && (p.buf[run_j] == '#' || s.buf[i] != '/')) break;
      if (p.buf[run_j] == '#') return false;
      do {
        if (run_j == 0) return false;
        if (is_wildcard(p.buf[--run_j])) run_w--;
      } while (p.buf[run_j] != '*' && p.buf[run_j] != '#');
    }
    cap[run_w].len++;
    i++;
    j = run_j + 1;
    w = run_w + 1;
  }
  return true;
}

int mg_match_n(struct mg_str str, struct mg_str pattern, struct mg_str *caps, size_t max_caps) {
  struct mg_str few[32], *cap = few;
  size_t n = count_wildcards(pattern);
  bool ok;
  if (caps == NULL) max_caps = 0;
  if (max_caps > 0) caps[0] = mg_str_n(NULL, 0);
  if (str.buf == NULL) str = mg_str_n("", 0); /* so that captures have an address */
  if (n > INT_MAX) return -1;
  if (n <= max_caps) {
    cap = caps;
  } else if (n > sizeof(few) / sizeof(few[0])) {
    cap = (struct mg_str *) mg_calloc(n, sizeof(*cap));
    if (cap == NULL) return -1;
  }
  if (n > 0) memset(cap, 0, n * sizeof(*cap));
  ok = run(str, pattern, cap);
  if (ok && n > max_caps && max_caps > 0) memcpy(caps, cap, max_caps * sizeof(*caps));
  if (max_caps > 0 && (!ok || n < max_caps)) caps[ok ? n : 0] = mg_str_n(NULL, 0);
  if (cap != few && cap != caps) mg_free(cap);
  return ok ? (int) n : -1;
}

bool mg_match(struct mg_str str, struct mg_str pattern, struct mg_str *caps) {
  return mg_match_n(str, pattern, caps, caps == NULL ? 0 : count_wildcards(pattern) + 1) >= 0;
}
