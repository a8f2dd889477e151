/* test_json.c - the walk along a path, and the skippers under it: each lookup with every skipper this processor runs,
 * in documents that end at an unreadable page. Typed values are in test_json_value.c. */
#include <limits.h>
#include "check.h"
#include "mongoose/codec/json_skip.h"

#define S(literal) ((struct mg_str){(char *) (literal), sizeof(literal) - 1})

static struct mg_str text(const char *s) {
  return (struct mg_str){(char *) s, strlen(s)};
}

/* Look `path` up with all skippers, which must agree. Offset or error; *tok is set when found. */
static ptrdiff_t find(struct mg_str json, const char *path, struct mg_str *tok) {
  struct mg_str at_edge = {mg_test_guarded(json.buf, json.len), json.len};
  ptrdiff_t pos = 0;
  size_t len = 0;
  for (size_t i = 0; mg_json_skipper_at(i) != NULL; i++) {
    size_t n;
    mg_json_skipper_use(mg_json_skipper_at(i));
    ptrdiff_t p = mg_json_find(at_edge, text(path), &n);
    CHECK(i == 0 || (p == pos && n == len));
    pos = p, len = n;
  }
  mg_json_skipper_use(NULL);
  mg_test_unguard(at_edge.buf, at_edge.len);
  if (pos >= 0 && tok != NULL) *tok = (struct mg_str){json.buf + pos, len};
  if (pos < 0) CHECK_INT(len, 0);
  return pos;
}

static void finds(const char *json, const char *path, const char *want) {
  struct mg_str tok = {NULL, 0};
  ptrdiff_t pos = find(text(json), path, &tok);
  if (pos < 0) fprintf(stderr, "%s in %s: %d\n", path, json, (int) pos);
  CHECK_MEM(tok.buf, tok.len, want, strlen(want));
}

static void fails(const char *json, const char *path, int want) {
  ptrdiff_t pos = find(text(json), path, NULL);
  if (pos != want) fprintf(stderr, "%s in %s: %d, not %d\n", path, json, (int) pos, want);
  CHECK_INT(pos, want);
}

/* ---- paths ---- */

static const char *const sample =
    "{\"a\": 3, \"b\" : [1 , \"two\",{\"c\":true}, [] ],\n \"\":0, \"d\":{\"e\":{\"f\":-1.5e3}}, \"long name of a "
    "member\":null,"
    "\"esc\":\"q\\\"}\\\\\", \"last\":{}}";

TEST(paths_lead_to_values) {
  finds(sample, "$.a", "3");
  finds(sample, "$.b", "[1 , \"two\",{\"c\":true}, [] ]");
  finds(sample, "$.b[0]", "1");
  finds(sample, "$.b[1]", "\"two\"");
  finds(sample, "$.b[2].c", "true");
  finds(sample, "$.b[3]", "[]");
  finds(sample, "$.d.e.f", "-1.5e3");
  finds(sample, "$.long name of a member", "null");
  finds(sample, "$.esc", "\"q\\\"}\\\\\"");
  finds(sample, "$.last", "{}");
  finds(sample, "$", sample);
  finds(" \t\r\n[10, [20,30]] ", "$[1][1]", "30");
  finds("7", "$", "7");
  finds(" \"x\" ", "$", "\"x\"");
}

TEST(what_is_not_there_is_not_found) {
  fails(sample, "$.nope", MG_JSON_NOT_FOUND);
  fails(sample, "$.b[4]", MG_JSON_NOT_FOUND);
  fails(sample, "$.b[99999999999999999999999999]", MG_JSON_NOT_FOUND);
  fails(sample, "$.b.c", MG_JSON_NOT_FOUND);
  fails(sample, "$.a.b", MG_JSON_NOT_FOUND);
  fails(sample, "$.d[0]", MG_JSON_NOT_FOUND);
  fails(sample, "$.esc[0]", MG_JSON_NOT_FOUND);
  fails("{}", "$.a", MG_JSON_NOT_FOUND);
  fails("[ ]", "$[0]", MG_JSON_NOT_FOUND);
}

TEST(what_is_no_path_is_invalid) {
  static const char *const bad[] = {"",    "a",    ".a",    "$a",  "$.",    "$..a", "$.a.", "$[",
                                    "$[]", "$[x]", "$[-1]", "$[1", "$[1]a", "$.a[", "$$"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) fails("{\"a\":[1]}", bad[i], MG_JSON_INVALID);
  CHECK_INT(mg_json_get(S("{}"), NULL, NULL), MG_JSON_INVALID);
}

TEST(first_of_equal_names_wins) {
  finds("{\"a\":1,\"a\":2}", "$.a", "1");
}

TEST(names_are_compared_unescaped) {
  finds("{\"\\u00e9\":1}", "$.\xc3\xa9", "1");
  finds("{\"\\u0061\":1}", "$.a", "1");
  finds("{\"a\\nb\":1}", "$.a\nb", "1");
  finds("{\"\\ud83d\\ude00\":1}", "$.\xf0\x9f\x98\x80", "1");
  finds("{\"ab\":0,\"a\\\\b\":1}", "$.a\\b", "1");
  fails("{\"a\\\\b\":1}", "$.a\\\\b", MG_JSON_NOT_FOUND);
  fails("{\"a\\n\":1}", "$.a\\n", MG_JSON_NOT_FOUND);
  fails("{\"a\\x\":1}", "$.ax", MG_JSON_NOT_FOUND);
  fails("{\"a\\u0062\":1}", "$.abc", MG_JSON_NOT_FOUND);
}

TEST(wrong_documents_are_invalid) {
  static const char *const bad[] = {"",   " ",  "{",   "[",    "\"",   "\"\\", "\"\\\"", "-",   "01",  "1.",
                                    ".5", "1e", "1e+", "+1",   "1.e5", "tru",  "truex",  "nul", "nan", "1x",
                                    "{]", "[}", "[1}", "\x01", "'a'",  "}",    "]",      ",",   ":"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) fails(bad[i], "$", MG_JSON_INVALID);
  fails("{a:1}", "$.a", MG_JSON_INVALID);
  fails("{\"a\" 1}", "$.a", MG_JSON_INVALID);
  fails("{\"a\":1 \"b\":2}", "$.b", MG_JSON_INVALID);
  fails("{\"a\":1,}", "$.b", MG_JSON_INVALID);
  fails("{,\"a\":1}", "$.a", MG_JSON_INVALID);
  fails("{\"a\":}", "$.a", MG_JSON_INVALID);
  fails("[1 2]", "$[1]", MG_JSON_INVALID);
  fails("[1,]", "$[1]", MG_JSON_INVALID);
  fails("[,1]", "$[0]", MG_JSON_INVALID);
  fails("{\"a\":1:2}", "$.a", MG_JSON_INVALID);
  fails("{\"a\":[1}", "$.b", MG_JSON_INVALID);
  fails("{\"a\":12", "$.a", MG_JSON_INVALID); /* more digits may have been cut off */
  fails("{\"a\":tr", "$.a.b", MG_JSON_INVALID);
}

static char *brackets(size_t n, char open, char close) {
  char *s = (char *) malloc(2 * n + 1);
  if (s == NULL) abort();
  memset(s, open, n);
  memset(s + n, close, n);
  s[2 * n] = '\0';
  return s;
}

TEST(depth_is_limited_not_recursed) {
  static const struct {
    size_t n;
    int want;
  } cases[] = {{1, 0},
               {MG_JSON_MAX_DEPTH - 1, 0},
               {MG_JSON_MAX_DEPTH, 0},
               {MG_JSON_MAX_DEPTH + 1, MG_JSON_TOO_DEEP},
               {100000, MG_JSON_TOO_DEEP}};
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    char *s = brackets(cases[i].n, '[', ']');
    fails(s, "$", cases[i].want);
    fails(s, "$[1]", cases[i].want < 0 ? cases[i].want : MG_JSON_NOT_FOUND);
    free(s);
  }
  char *s = brackets(MG_JSON_MAX_DEPTH + 1, '[', ']'), path[3 * (MG_JSON_MAX_DEPTH + 2) + 2] = "$";
  for (int i = 0; i < MG_JSON_MAX_DEPTH; i++) strcat(path, "[0]");
  fails(s, path, MG_JSON_TOO_DEEP); /* the value has bracket 65 itself */
  strcat(path, "[0]");
  fails(s, path, MG_JSON_TOO_DEEP);
  s[MG_JSON_MAX_DEPTH] = '7'; /* 64 brackets around a number */
  path[strlen(path) - 3] = '\0';
  finds(s, path, "7");
  free(s);
}

TEST(bytes_behind_the_value_are_not_looked_at) {
  finds("{\"a\":1, garbage", "$.a", "1");
  finds("[1]]", "$", "[1]");
}

/* ---- every cut ---- */

TEST(every_truncation_is_invalid_or_answers_as_the_whole) {
  static const char *const paths[] = {
      "$",     "$.a",    "$.b",    "$.b[1]", "$.b[2].c", "$.d.e.f", "$.long name of a member",
      "$.esc", "$.last", "$.none", "$.b[9]"};
  struct mg_str whole = text(sample);
  for (size_t p = 0; p < sizeof(paths) / sizeof(paths[0]); p++) {
    struct mg_str want = {NULL, 0}, got = {NULL, 0};
    ptrdiff_t pos = find(whole, paths[p], &want);
    for (size_t n = 0; n < whole.len; n++) {
      ptrdiff_t cut = find((struct mg_str){whole.buf, n}, paths[p], &got);
      if (cut == MG_JSON_INVALID) continue;
      CHECK_INT(cut, pos);
      if (cut >= 0) CHECK(got.len == want.len && (size_t) cut + got.len <= n);
    }
    CHECK(pos >= 0 || pos == MG_JSON_NOT_FOUND);
  }
  for (size_t n = 0; n < whole.len; n++) CHECK_INT(find((struct mg_str){whole.buf, n}, "$", NULL), MG_JSON_INVALID);
}

/* ---- random documents, against a slow reader that remembers where everything is ---- */

static uint64_t s_random = 1;
static unsigned random_below(unsigned n) {
  s_random ^= s_random << 13, s_random ^= s_random >> 7, s_random ^= s_random << 17;
  return (unsigned) (s_random >> 33) % n;
}

struct doc {
  char buf[6000];
  size_t len;
  struct {
    char path[400];
    size_t at, len;
  } values[200];
  size_t count;
};

static void put(struct doc *d, const char *s) {
  for (; *s != '\0' && d->len < sizeof(d->buf); s++) d->buf[d->len++] = *s;
}
static void put_space(struct doc *d) {
  static const char *const spaces[] = {"", "", "", " ", "\n  ", "\t", " \r\n                    "};
  put(d, spaces[random_below(7)]);
}
static void put_string_body(struct doc *d, unsigned max) {
  static const char *const parts[] = {"\\\"",
                                      "\\\\",
                                      "\\\\\\\"",
                                      "{",
                                      "}",
                                      "[",
                                      "]",
                                      ",",
                                      ":",
                                      "a",
                                      "bc",
                                      "\xc3\xa9",
                                      "\\u0041",
                                      "\\\\\\\\\\\\\\\\",
                                      "text of some length "};
  for (unsigned n = random_below(max); n > 0; n--) put(d, parts[random_below(15)]);
}
/* Write a value that lives at `path`, and note where it is. */
static void put_value(struct doc *d, const char *path, int depth) {
  static const char *const scalars[] = {"0", "-12.5e-3", "true", "false", "null", "123456789", "\"\""};
  size_t slot = d->count++, start = d->len, n;
  unsigned kind = random_below(depth > 6 ? 2 : 6);
  if (slot >= 200) abort();
  if (kind == 0) {
    put(d, scalars[random_below(7)]);
  } else if (kind == 1) {
    put(d, "\"");
    put_string_body(d, 12);
    put(d, "\"");
  } else {
    put(d, kind < 4 ? "[" : "{");
    n = random_below(5);
    for (size_t i = 0; i < n && d->count < 150 && d->len < 4000; i++) {
      char below[400], name[16];
      if (i > 0) put(d, ",");
      put_space(d);
      snprintf(name, sizeof(name), "k%zu%s", i, i % 2 ? "" : "\\\"");
      if (kind < 4) {
        snprintf(below, sizeof(below), "%.300s[%zu]", path, i);
      } else {
        put(d, "\"");
        put(d, name);
        put(d, "\"");
        put_space(d);
        put(d, ":");
        put_space(d);
        snprintf(below, sizeof(below), "%.300s.k%zu%s", path, i, i % 2 ? "" : "\"");
      }
      put_value(d, below, depth + 1);
      put_space(d);
    }
    put(d, kind < 4 ? "]" : "}");
  }
  snprintf(d->values[slot].path, sizeof(d->values[slot].path), "%s", path);
  d->values[slot].at = start;
  d->values[slot].len = d->len - start;
}

TEST(random_documents_give_up_all_their_values) {
  static struct doc d;
  size_t values = 0;
  for (int round = 0; round < 300; round++) {
    d.len = d.count = 0;
    put_space(&d);
    put_value(&d, "$", 0);
    put_space(&d);
    values += d.count;
    for (size_t i = 0; i < d.count; i++) {
      struct mg_str tok = {NULL, 0};
      CHECK_INT(find((struct mg_str){d.buf, d.len}, d.values[i].path, &tok), d.values[i].at);
      CHECK_INT(tok.len, d.values[i].len);
    }
  }
  CHECK(values > 2000);
}

/* What json_skip.h promises, one byte at a time, written apart from the code. */
static ptrdiff_t slow_nested(const char *s, size_t at, size_t len, size_t levels) {
  size_t depth = 1;
  int in_string = 0;
  for (; at < len; at++) {
    if (s[at] == '\\') {
      at++;
    } else if (s[at] == '"') {
      in_string = !in_string;
    } else if (!in_string && strchr("[{", s[at]) != NULL && s[at] != 0) {
      if (++depth > levels) return MG_JSON_TOO_DEEP;
    } else if (!in_string && strchr("]}", s[at]) != NULL && s[at] != 0) {
      if (--depth == 0) return (ptrdiff_t) at + 1;
    }
  }
  return MG_JSON_INVALID;
}
static ptrdiff_t slow_string(const char *s, size_t at, size_t len) {
  for (; at < len; at += s[at] == '\\' ? 2 : 1) {
    if (s[at] == '"') return (ptrdiff_t) at + 1;
  }
  return MG_JSON_INVALID;
}

TEST(skippers_agree_on_noise) {
  static const char *const mixes[] = {"[]",
                                      "[]{}\"\\ ",
                                      "[[[]]{}}a",
                                      "\"\\\\\\\\a",
                                      "\"\\[]aaaaaaaaaaaaaaaaaaa",
                                      "[[[[[[[[[]aaaa",
                                      "[]aaaaaaaaaaaaaaaaaaaa\"",
                                      "\\\\\\\\\\\\\\\\\\\\\\\\\\\"",
                                      "[]]a{"};
  size_t found = 0, lost = 0, deep = 0;
  for (int round = 0; round < 20000; round++) {
    char s[400];
    const char *mix = mixes[random_below(9)];
    size_t len = random_below(round % 4 ? 300 : 70), at = random_below(80),
           levels = 1 + random_below(round % 2 ? 64 : 6);
    for (size_t i = 0; i < len; i++) s[i] = mix[random_below((unsigned) strlen(mix))];
    if (at > len) at = len;
    char *p = mg_test_guarded(s, len);
    ptrdiff_t nested = slow_nested(s, at, len, levels), string = slow_string(s, at, len);
    for (size_t i = 0; mg_json_skipper_at(i) != NULL; i++) {
      CHECK_INT(mg_json_skipper_at(i)->nested(p, at, len, levels), nested);
      CHECK_INT(mg_json_skipper_at(i)->string(p, at, len), string);
    }
    mg_test_unguard(p, len);
    *(nested == MG_JSON_INVALID ? &lost : nested < 0 ? &deep : &found) += 1;
  }
  CHECK(found > 1000 && lost > 1000 && deep > 1000); /* the noise has all answers in it */
}

TEST(nothing_in_front_of_the_document_is_read) {
  long page = sysconf(_SC_PAGESIZE);
  char *p = (char *) mmap(NULL, (size_t) page * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED || mprotect(p, (size_t) page, PROT_NONE) != 0) abort();
  memset(p + page, 'x', (size_t) page);
  for (size_t len = 1; len < 200; len++) {
    for (size_t at = 0; at < len; at++) {
      for (size_t i = 0; mg_json_skipper_at(i) != NULL; i++) {
        CHECK_INT(mg_json_skipper_at(i)->nested(p + page, at, len, 9), MG_JSON_INVALID);
        CHECK_INT(mg_json_skipper_at(i)->string(p + page, at, len), MG_JSON_INVALID);
      }
    }
  }
  munmap(p, (size_t) page * 2);
}

TEST(closers_are_found_at_every_place_of_a_block) {
  for (size_t before = 0; before < 140; before++) {
    for (size_t behind = 0; behind < 70; behind += 23) {
      char s[300];
      size_t n = 0;
      for (; n < before; n++) s[n] = "[]{}ab"[n % 6]; /* leaves at most one open */
      if (before % 6 == 1 || before % 6 == 3) s[n++] = ']';
      s[n++] = '}';
      memset(s + n, ']', behind);
      char *p = mg_test_guarded(s, n + behind);
      for (size_t i = 0; mg_json_skipper_at(i) != NULL; i++)
        CHECK_INT(mg_json_skipper_at(i)->nested(p, 0, n + behind, 2), n);
      mg_test_unguard(p, n + behind);
    }
  }
}

TEST(some_skipper_is_in_use_and_the_scalar_one_is_last) {
  size_t n = 0;
  while (mg_json_skipper_at(n) != NULL) n++;
  CHECK(n >= 1 && mg_json_skipper_at(n - 1) == &mg_json_skip_scalar);
  CHECK(mg_json_skipper() == mg_json_skipper_at(0));
  CHECK(mg_json_skipper_at(n + 5) == NULL);
}

/* ---- next ---- */

TEST(next_walks_objects_with_names_in_quotes) {
  struct mg_str obj = S(" { \"a\" : 1 , \"b\\\"\":[1,2], \"c\":{\"d\":\"}\"} } "), key, val;
  size_t ofs = mg_json_next(obj, 0, &key, &val);
  CHECK_STR(key, "\"a\"");
  CHECK_STR(val, "1");
  ofs = mg_json_next(obj, ofs, &key, &val);
  CHECK_STR(key, "\"b\\\"\"");
  CHECK_STR(val, "[1,2]");
  ofs = mg_json_next(obj, ofs, &key, &val);
  CHECK_STR(key, "\"c\"");
  CHECK_STR(val, "{\"d\":\"}\"}");
  CHECK(ofs > 0);
  CHECK_INT(mg_json_next(obj, ofs, NULL, NULL), 0);
}

TEST(next_walks_arrays_without_names) {
  struct mg_str arr = S("[1, \"x\" ,[]]"), key, val;
  size_t ofs = mg_json_next(arr, 0, &key, &val);
  CHECK(ofs > 0 && key.buf == NULL && key.len == 0);
  CHECK_STR(val, "1");
  ofs = mg_json_next(arr, ofs, &key, &val);
  CHECK_STR(val, "\"x\"");
  ofs = mg_json_next(arr, ofs, NULL, &val);
  CHECK_STR(val, "[]");
  CHECK_INT(mg_json_next(arr, ofs, &key, &val), 0);
}

TEST(next_stops_at_what_is_wrong) {
  static const char *const bad[] = {"",  " ",      "1",       "\"a\"",     "{}",    "[]",  "[",
                                    "{", "{\"a\"", "{\"a\":", "{\"a\":x}", "{1:2}", "[,]", "[1"};
  struct mg_str key, val;
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]) - 1; i++) CHECK_INT(mg_json_next(text(bad[i]), 0, &key, &val), 0);
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) CHECK_INT(mg_json_next(text(bad[i]), 99, &key, &val), 0);
  size_t ofs = mg_json_next(S("[1,]"), 0, &key, &val);
  CHECK(ofs > 0 && mg_json_next(S("[1,]"), ofs, &key, &val) == 0);
  CHECK_INT(mg_json_next((struct mg_str){NULL, 0}, 0, &key, &val), 0);
}

/* ---- the Mongoose forms ---- */

TEST(int_forms_say_the_same) {
  int len = 9;
  CHECK_INT(mg_json_get(S("{\"a\":12}"), "$.a", &len), 5);
  CHECK_INT(len, 2);
  CHECK_INT(mg_json_get_n(S("{\"a\":12}"), (struct mg_str){(char *) "$.abc", 3}, &len), 5);
  CHECK_INT(mg_json_get(S("{\"a\":12}"), "$.b", &len), MG_JSON_NOT_FOUND);
  CHECK_INT(len, 0);
  CHECK_STR(mg_json_get_tok(S("{\"a\":\"x\"}"), "$.a"), "\"x\"");
  struct mg_str none = mg_json_get_tok(S("{}"), "$.a");
  CHECK(none.buf == NULL && none.len == 0);
  CHECK_INT(mg_json_get((struct mg_str){NULL, 0}, "$", NULL), MG_JSON_INVALID);
}

TEST(documents_beyond_int_are_refused_by_int_forms_only) {
  size_t size = (size_t) INT_MAX + 4096; /* address space only: just two pages are touched */
  char *p = (char *) mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  int len = 9;
  CHECK(p != MAP_FAILED);
  if (p == MAP_FAILED) return;
  memcpy(p, "{\"a\":7}", 7);
  struct mg_str json = {p, size};
  CHECK_INT(mg_json_get(json, "$.a", &len), MG_JSON_INVALID);
  CHECK_INT(len, 0);
  CHECK_INT(mg_json_find(json, S("$.a"), NULL), 5);
  json.len = INT_MAX;
  CHECK_INT(mg_json_get(json, "$.a", &len), 5);
  munmap(p, size);
}

CHECK_MAIN
