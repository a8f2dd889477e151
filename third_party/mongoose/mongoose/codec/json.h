/* json.h - take one value out of a JSON document (RFC 8259) without parsing the rest.
 *
 * A path is `$`, then any number of `.key` and `[index]`: `$`, `$.user.name`, `$.items[3].tags[0]`, `$[1]`.
 * A key is every byte up to the next `.` or `[`; it is plain text, and names in the document are unescaped before they
 * are compared (`$.é` finds {"\u00e9":1}). Where a name is used twice, the first one wins.
 *
 * What the scan passes over is checked for brackets and quotes only, and brackets inside a value that is skipped are
 * counted, not told apart. The value returned is complete: a number or literal obeys the grammar and ends at a
 * delimiter, a string has its closing quote, `{` ends with `}` and `[` with `]`. A document that stops too early is
 * MG_JSON_INVALID, unless the value was found before the cut. Bytes behind the value found are not looked at.
 *
 * Nothing recurses, and nothing here allocates except the functions that say so.
 */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

enum {
  MG_JSON_TOO_DEEP = -1, /* more than MG_JSON_MAX_DEPTH brackets open at once */
  MG_JSON_INVALID = -2,  /* not JSON, cut off, or the path is not a path */
  MG_JSON_NOT_FOUND = -3 /* no such key or index */
};

/* Offset of the value at `path`, and its length in *toklen (may be NULL; 0 on failure); strings include their quotes.
 * Or one of the codes above. The other lookups are made of this one. */
ptrdiff_t mg_json_find(struct mg_str json, struct mg_str path, size_t *toklen);

/* The same in the types of the Mongoose API. Documents above INT_MAX bytes are MG_JSON_INVALID. */
int mg_json_get(struct mg_str json, const char *path, int *toklen);
int mg_json_get_n(struct mg_str json, struct mg_str path, int *toklen);

/* The value as a piece of `json`, {NULL, 0} when there is none. */
struct mg_str mg_json_get_tok(struct mg_str json, const char *path);

/* Walk over an object or array: start with ofs 0, pass back what was returned, stop at 0 (end, or malformed). `key`
 * keeps its quotes and is {NULL, 0} in arrays; either pointer may be NULL. */
size_t mg_json_next(struct mg_str obj, size_t ofs, struct mg_str *key, struct mg_str *val);

/* A number, correctly rounded whatever the locale; beyond the range of double ±infinity. false: no number there. */
bool mg_json_get_num(struct mg_str json, const char *path, double *v);
bool mg_json_get_bool(struct mg_str json, const char *path, bool *v);

/* A number cut to its integer part (3.99 -> 3), exact in all 64 bits. `dflt` when there is no number or it does not fit
 * a long. */
long mg_json_get_long(struct mg_str json, const char *path, long dflt);

/* A string, unescaped, with a NUL behind it; the caller calls mg_free. NULL: no string there, or a wrong escape in it,
 * or no memory. The text may hold NULs ("\u0000"), *len (may be NULL) is its true length. Surrogate pairs become one
 * character, lone surrogates U+FFFD. Bytes that are not escaped are copied as they are: control characters and wrong
 * UTF-8 pass. */
char *mg_json_get_str(struct mg_str json, const char *path);
char *mg_json_get_str_n(struct mg_str json, const char *path, size_t *len);

/* A string of hex digits (an even number), or of base64 (RFC 4648 4, padding required), decoded. Otherwise as
 * mg_json_get_str_n. */
char *mg_json_get_hex(struct mg_str json, const char *path, int *len);
char *mg_json_get_b64(struct mg_str json, const char *path, int *len);

/* Unescape `str`, the text between the quotes, and end it with a NUL. false (or -1): a wrong escape, or `len` is too
 * small. str.len + 1 bytes are always enough, and buf may be str.buf. The second form returns the length without the
 * NUL. */
bool mg_json_unescape(struct mg_str str, char *buf, size_t len);
ptrdiff_t mg_json_unescape_n(struct mg_str str, char *buf, size_t len);

/* Is `escaped`, the text between the quotes, another way to write `plain`? */
bool mg_json_text_is(struct mg_str escaped, struct mg_str plain);

MG_END_DECLS
