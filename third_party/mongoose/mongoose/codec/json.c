/* json.c - the walk along a path. Level by level: look for the member or element, skip what comes before it.
 *
 * Skipping is json_skip's; typed values are json_value.c's; names with escapes are compared by json_text.c. Offsets are
 * ptrdiff_t and negative when they are an error, so that each step can hand the error of the step below it on.
 */
#include "mongoose/codec/json.h"

#include <limits.h>
#include <string.h>
#include "mongoose/codec/json_skip.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static size_t skip_space(struct mg_str json, size_t at) {
  for (; at < json.len; at++) {
    char c = json.buf[at];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') break;
  }
  return at;
}

/* `at` is behind an opening quote; offset behind the closing one. Most strings are names of a few bytes, for which one
 * look at 16 bytes costs less than the call. */
static ptrdiff_t string_end(struct mg_str json, size_t at) {
#if defined(__SSE2__)
  if (json.len - at >= 16) {
    __m128i v = _mm_loadu_si128((const __m128i *) (const void *) (json.buf + at));
    unsigned quotes = (unsigned) _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
    unsigned slashes = (unsigned) _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    if (quotes != 0 && (slashes & (quotes - 1) & ~quotes) == 0) { /* and no backslash before the first of them */
      return (ptrdiff_t) (at + (size_t) __builtin_ctz(quotes) + 1);
    }
  }
#endif
  return mg_json_skipper()->string(json.buf, at, json.len);
}

/* Does `word` start at `at`? */
static ptrdiff_t word_end(struct mg_str json, size_t at, const char *word, size_t len) {
  if (json.len - at < len || memcmp(json.buf + at, word, len) != 0) return MG_JSON_INVALID;
  return (ptrdiff_t) (at + len);
}

static size_t digits_end(struct mg_str json, size_t at) {
  while (at < json.len && json.buf[at] >= '0' && json.buf[at] <= '9') at++;
  return at;
}

/* RFC 8259 6: [ minus ] int [ frac ] [ exp ], where int has no leading zero. */
static ptrdiff_t number_end(struct mg_str json, size_t at) {
  size_t start = at += json.buf[at] == '-', end = digits_end(json, at);
  if (end == start || (json.buf[start] == '0' && end > start + 1)) return MG_JSON_INVALID;
  if (end < json.len && json.buf[end] == '.') {
    start = end + 1;
    if ((end = digits_end(json, start)) == start) return MG_JSON_INVALID;
  }
  if (end < json.len && (json.buf[end] == 'e' || json.buf[end] == 'E')) {
    start = end + 1;
    if (start < json.len && (json.buf[start] == '+' || json.buf[start] == '-')) start++;
    if ((end = digits_end(json, start)) == start) return MG_JSON_INVALID;
  }
  return (ptrdiff_t) end;
}

/* Offset behind the value at `at`, inside `depth` open brackets. */
static ptrdiff_t value_end(struct mg_str json, size_t at, size_t depth) {
  ptrdiff_t end;
  if (at >= json.len) return MG_JSON_INVALID;
  switch (json.buf[at]) {
    case '"': return string_end(json, at + 1);
    case '{':
    case '[':
      if (depth >= MG_JSON_MAX_DEPTH) return MG_JSON_TOO_DEEP;
      end = mg_json_skipper()->nested(json.buf, at + 1, json.len, MG_JSON_MAX_DEPTH - depth);
      /* In ASCII each closer is its opener + 2. */
      return end < 0 || json.buf[end - 1] == json.buf[at] + 2 ? end : (ptrdiff_t) MG_JSON_INVALID;
    case 't': return word_end(json, at, "true", 4);
    case 'f': return word_end(json, at, "false", 5);
    case 'n': return word_end(json, at, "null", 4);
    default: return number_end(json, at);
  }
}

/* One step of an object or array: `at` is behind a value; offset of the next name or element, NOT_FOUND at `closer`. */
static ptrdiff_t after_comma(struct mg_str json, size_t at, char closer) {
  at = skip_space(json, at);
  if (at >= json.len) return MG_JSON_INVALID;
  if (json.buf[at] == closer) return MG_JSON_NOT_FOUND;
  return json.buf[at] == ',' ? (ptrdiff_t) skip_space(json, at + 1) : (ptrdiff_t) MG_JSON_INVALID;
}

/* The same behind the opening bracket, where no comma is due. */
static ptrdiff_t after_opener(struct mg_str json, size_t at, char closer) {
  at = skip_space(json, at);
  return at < json.len && json.buf[at] == closer ? (ptrdiff_t) MG_JSON_NOT_FOUND : (ptrdiff_t) at;
}

/* A name and its colon: `at` should be at the quote. The text between the quotes goes to *name; offset of the value. */
static ptrdiff_t read_name(struct mg_str json, size_t at, struct mg_str *name) {
  if (at >= json.len || json.buf[at] != '"') return MG_JSON_INVALID;
  ptrdiff_t end = string_end(json, at + 1);
  if (end < 0) return end;
  name->buf = json.buf + at + 1;
  name->len = (size_t) end - at - 2;
  at = skip_space(json, (size_t) end);
  return at < json.len && json.buf[at] == ':' ? (ptrdiff_t) skip_space(json, at + 1) : (ptrdiff_t) MG_JSON_INVALID;
}

static bool name_is(struct mg_str name, struct mg_str key) {
  if (name.len == key.len) { /* then an escape in the name would make it too short */
    return name.buf[0] == key.buf[0] && memcmp(name.buf, key.buf, key.len) == 0 &&
           memchr(key.buf, '\\', key.len) == NULL;
  }
  /* An escape takes at most 6 bytes for one: longer names need not be searched for one. */
  return name.len > key.len && name.len / 6 <= key.len && memchr(name.buf, '\\', name.len) != NULL &&
         mg_json_text_is(name, key);
}

/* `at` is at the first byte of a value: offset of its member `key`. */
static ptrdiff_t find_member(struct mg_str json, size_t at, struct mg_str key, size_t depth) {
  for (ptrdiff_t pos = after_opener(json, at + 1, '}');; pos = after_comma(json, (size_t) pos, '}')) {
    struct mg_str name;
    if (pos < 0 || (pos = read_name(json, (size_t) pos, &name)) < 0 || name_is(name, key)) return pos;
    if ((pos = value_end(json, (size_t) pos, depth)) < 0) return pos;
  }
}

static ptrdiff_t find_element(struct mg_str json, size_t at, size_t index, size_t depth) {
  for (ptrdiff_t pos = after_opener(json, at + 1, ']');; pos = after_comma(json, (size_t) pos, ']')) {
    if (pos < 0 || index-- == 0) return pos;
    if ((pos = value_end(json, (size_t) pos, depth)) < 0) return pos;
  }
}

static bool is_path(struct mg_str path) {
  size_t i = 1, start;
  if (path.len < 1 || path.buf[0] != '$') return false;
  while (i < path.len) {
    if (path.buf[i] == '.') {
      for (start = ++i; i < path.len && path.buf[i] != '.' && path.buf[i] != '[';) i++;
    } else if (path.buf[i] == '[') {
      start = i + 1;
      i = digits_end(path, start);
      if (i >= path.len || path.buf[i] != ']') return false;
      i += i > start; /* over the bracket, except of "[]" which the line below refuses */
    } else {
      return false;
    }
    if (i == start) return false;
  }
  return true;
}

/* Digits up to `]`, as a number; one that is too large is no index of any array. */
static size_t read_index(struct mg_str path, size_t *at) {
  size_t index = 0;
  for (; path.buf[*at] != ']'; (*at)++) {
    size_t digit = (size_t) (path.buf[*at] - '0');
    index = index > (SIZE_MAX - digit) / 10 ? SIZE_MAX : index * 10 + digit;
  }
  ++*at;
  return index;
}

ptrdiff_t mg_json_find(struct mg_str json, struct mg_str path, size_t *toklen) {
  size_t at, depth = 0, step = 1;
  ptrdiff_t pos, end;
  if (toklen != NULL) *toklen = 0;
  if (json.len > PTRDIFF_MAX || !is_path(path)) return MG_JSON_INVALID;
  at = skip_space(json, 0);
  while (step < path.len) {
    bool by_name = path.buf[step++] == '.';
    if (at >= json.len) return MG_JSON_INVALID;
    if (json.buf[at] != (by_name ? '{' : '[')) { /* something else, which has no such parts: if it is anything */
      return (end = value_end(json, at, depth)) < 0 ? end : (ptrdiff_t) MG_JSON_NOT_FOUND;
    }
    if (++depth > MG_JSON_MAX_DEPTH) return MG_JSON_TOO_DEEP;
    if (by_name) {
      struct mg_str key = {path.buf + step, 0};
      for (; step < path.len && path.buf[step] != '.' && path.buf[step] != '['; step++) key.len++;
      pos = find_member(json, at, key, depth);
    } else {
      pos = find_element(json, at, read_index(path, &step), depth);
    }
    if (pos < 0) return pos;
    at = (size_t) pos;
  }
  if ((end = value_end(json, at, depth)) < 0) return end;
  if (json.buf[end - 1] != '"' && json.buf[end - 1] != '}' && json.buf[end - 1] != ']') {
    /* A number or word shows its end only by what is behind it: where an object was cut off it may go on. */
    static const char delimiters[] = " \t\r\n,]}";
    if ((size_t) end < json.len ? memchr(delimiters, json.buf[end], sizeof(delimiters) - 1) == NULL : depth > 0) {
      return MG_JSON_INVALID;
    }
  }
  if (toklen != NULL) *toklen = (size_t) end - at;
  return (ptrdiff_t) at;
}

int mg_json_get_n(struct mg_str json, struct mg_str path, int *toklen) {
  size_t len = 0;
  ptrdiff_t pos = json.len > INT_MAX ? (ptrdiff_t) MG_JSON_INVALID : mg_json_find(json, path, &len);
  if (toklen != NULL) *toklen = (int) len;
  return (int) pos;
}

static struct mg_str str_of(const char *s) {
  struct mg_str str = {(char *) s, s == NULL ? 0 : strlen(s)};
  return str;
}

int mg_json_get(struct mg_str json, const char *path, int *toklen) {
  return mg_json_get_n(json, str_of(path), toklen);
}

struct mg_str mg_json_get_tok(struct mg_str json, const char *path) {
  struct mg_str tok = {NULL, 0};
  size_t len;
  ptrdiff_t pos = mg_json_find(json, str_of(path), &len);
  if (pos >= 0) tok.buf = json.buf + pos, tok.len = len;
  return tok;
}

size_t mg_json_next(struct mg_str obj, size_t ofs, struct mg_str *key, struct mg_str *val) {
  struct mg_str name = {NULL, 0};
  size_t at = skip_space(obj, 0);
  ptrdiff_t pos, end;
  if (obj.len > PTRDIFF_MAX || at >= obj.len || ofs > obj.len || (obj.buf[at] != '{' && obj.buf[at] != '[')) return 0;
  char closer = (char) (obj.buf[at] + 2);
  pos = ofs == 0 ? after_opener(obj, at + 1, closer) : after_comma(obj, ofs, closer);
  if (pos >= 0 && closer == '}') {
    pos = read_name(obj, (size_t) pos, &name);
    if (pos >= 0) name.buf--, name.len += 2; /* with its quotes */
  }
  if (pos < 0 || (end = value_end(obj, (size_t) pos, 1)) < 0) return 0;
  if (key != NULL) *key = name;
  if (val != NULL) val->buf = obj.buf + pos, val->len = (size_t) (end - pos);
  return (size_t) end;
}
