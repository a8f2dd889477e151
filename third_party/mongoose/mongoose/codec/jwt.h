/* jwt.h - JSON Web Tokens signed with HMAC-SHA256 (RFC 7519, RFC 7515 with "alg":"HS256"), and nothing else: what a token says about its
 * own algorithm is compared with that, never followed.
 */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

/* What a token's claims are held against; empty strings and zeros ask for nothing. */
struct mg_jwt_opts {
  struct mg_str iss, aud, sub; /* must be there and equal; of an array "aud" one must be */
  uint64_t now;                /* seconds since 1970 for "exp" and "nbf"; 0: mg_now() / 1000 */
  unsigned leeway;             /* seconds by which clocks may differ */
  bool need_exp;               /* a token that never ends is refused */
};

enum { MG_JWT_KEY_MIN = 32 }; /* bytes: RFC 7518 3.2 asks for a key as long as the hash */

/* The token of these claims, a JSON object, with a NUL, for mg_free. NULL: the key is too short, claims are none, or memory is out. */
char *mg_jwt_sign_hs256(struct mg_str key, struct mg_str claims);

/* True when `token` was signed with key and its claims hold. Then *claims, if not NULL, is their JSON, for mg_free, with a NUL behind it.
 * Otherwise it is empty, and nothing of the token is to be believed. opts may be NULL: "exp" and "nbf" are looked at then, too. */
bool mg_jwt_verify_hs256(struct mg_str key, struct mg_str token, const struct mg_jwt_opts *opts, struct mg_str *claims);

MG_END_DECLS
