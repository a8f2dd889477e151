/* utf8.h - is this UTF-8 (RFC 3629)? Any cut of a text, one after the other; strict: no overlong forms, no surrogates, nothing
 * beyond U+10FFFF. Wrong texts are refused at the first byte that no correct text could have there.
 */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

/* All zero at the start of a text. */
struct mg_utf8 {
  uint8_t left;      /* bytes that the character at the end still needs */
  uint8_t low, high; /* the next one is within these, when left > 0 */
};

MG_MUST_CHECK bool mg_utf8_feed(struct mg_utf8 *u, struct mg_str in); /* false: it is none, whatever follows */
static inline bool mg_utf8_whole(const struct mg_utf8 *u) {           /* no character is cut at the end */
  return u->left == 0;
}
static inline bool mg_utf8_ok(struct mg_str text) { /* all of a text */
  struct mg_utf8 u = {0, 0, 0};
  return mg_utf8_feed(&u, text) && mg_utf8_whole(&u);
}

MG_END_DECLS
