/* base64.h - RFC 4648: base64 with padding, and base64url without.
 *
 * Decoding is strict, one text per value: only the alphabet, exact padding (none in base64url), and zeros in
 * the bits that stand for nothing.
 */
#pragma once
#include <stddef.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

/* Characters written, without the NUL that is put behind them; 0 when text and NUL do not fit (or n is 0). */
size_t mg_base64_encode(const unsigned char *p, size_t n, char *buf, size_t buflen);
size_t mg_base64url_encode(const unsigned char *p, size_t n, char *buf, size_t buflen);

/* Bytes written, without the NUL that is put behind them; 0 on garbage, when bytes and NUL do not fit, or for "".
 * On 0 dst begins with a NUL, if it has any room. */
size_t mg_base64_decode(const char *src, size_t n, char *dst, size_t dstlen);
size_t mg_base64url_decode(const char *src, size_t n, char *dst, size_t dstlen);

/* A byte at a time: n = mg_base64_update(byte, to, n) …, n = mg_base64_final(to, n), from n = 0. `to` must have room
 * for (bytes + 2) / 3 * 4 + 1 characters. to[n] is scratch until final, which adds padding and a NUL. */
size_t mg_base64_update(unsigned char byte, char *to, size_t n);
size_t mg_base64_final(char *to, size_t n);
size_t mg_base64url_update(unsigned char byte, char *to, size_t n); /* the same in the other alphabet, … */
size_t mg_base64url_final(char *to, size_t n);                      /* … without padding */

MG_END_DECLS
