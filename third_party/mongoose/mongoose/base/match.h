/* match.h - glob patterns over paths and topics, with captures.
 *
 *   ?   one byte, any          *   any run without '/', maybe empty          #   any run, maybe empty
 *
 * All other bytes stand for themselves, and the whole string must match. One capture per wildcard, left to right:
 * earlier runs are as short as the rest of the pattern allows. Time is O(string * pattern) whatever the
 * pattern, there is no recursion, and no memory is taken unless more than 32 wildcards find no room in `caps`.
 */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

/* caps, unless NULL, has room for one entry more than the pattern has wildcards; the one behind the last
 * capture gets a NULL buf (an empty capture does not have one). Without a match caps[0] gets it. */
bool mg_match(struct mg_str str, struct mg_str pattern, struct mg_str *caps);

/* Ours: never writes beyond caps[max_caps - 1]. Number of wildcards in the pattern, of which the first max_caps
 * were stored (then an entry with a NULL buf, if there is room), or -1: no match, or out of memory. */
int mg_match_n(struct mg_str str, struct mg_str pattern, struct mg_str *caps, size_t max_caps);

MG_END_DECLS
