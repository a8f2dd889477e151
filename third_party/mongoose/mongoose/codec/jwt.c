/* jwt.c - base64url(header) "." base64url(claims) "." base64url(HMAC of what is before). The signature is looked at before anything else. */
#include "mongoose/codec/jwt.h"

#include <stdint.h>
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/base64.h"
#include "mongoose/base/clock.h"
#include "mongoose/base/sha256.h"
#include "mongoose/codec/json.h"

static const char s_header[] = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."; /* {"alg":"HS256","typ":"JWT"} */
enum { TAG = 43 };                                                        /* letters of 32 bytes */

static void sign(struct mg_str key, const char *buf, size_t len, char tag[TAG + 1]) {
  uint8_t mac[32];
  mg_hmac_sha256(mac, (const uint8_t *) key.buf, key.len, (const uint8_t *) buf, len);
  mg_base64url_encode(mac, sizeof(mac), tag, TAG + 1);
}

static bool is_object(struct mg_str json) {
  size_t len;
  ptrdiff_t at = mg_json_find(json, mg_str("$"), &len);
  if (at < 0 || json.buf[at] != '{') return false;
  for (len += (size_t) at; len < json.len; len++) {
    if (memchr(" \t\r\n", json.buf[len], 4) == NULL) return false; /* something follows it */
  }
  return true;
}

char *mg_jwt_sign_hs256(struct mg_str key, struct mg_str claims) {
  size_t head = sizeof(s_header) - 1, body, size;
  char *token;
  if (key.len < MG_JWT_KEY_MIN || !is_object(claims) || claims.len > SIZE_MAX / 2) return NULL;
  size = head + claims.len / 3 * 4 + 4 + 1 + TAG + 1;
  token = (char *) mg_malloc(size);
  if (token == NULL) return NULL;
  memcpy(token, s_header, head);
  body = head + mg_base64url_encode((const unsigned char *) claims.buf, claims.len, token + head, size - head);
  token[body] = '.';
  sign(key, token, body, token + body + 1);
  return token;
}

static struct mg_str decoded(struct mg_str s) {
  struct mg_str out = {(char *) mg_malloc(s.len / 4 * 3 + 4), 0};
  if (out.buf != NULL) out.len = mg_base64url_decode(s.buf, s.len, out.buf, s.len / 4 * 3 + 4);
  return out;
}

static bool text_is(struct mg_str quoted, struct mg_str want) {
  return quoted.len >= 2 && *quoted.buf == '"' && mg_json_text_is(mg_str_n(quoted.buf + 1, quoted.len - 2), want);
}

static bool aud_is(struct mg_str claims, struct mg_str want) {
  struct mg_str aud = mg_json_get_tok(claims, "$.aud"), one;
  if (aud.len > 0 && *aud.buf == '[') {
    for (size_t at = 0; (at = mg_json_next(aud, at, NULL, &one)) > 0;) {
      if (text_is(one, want)) return true;
    }
  }
  return text_is(aud, want);
}

/* RFC 7519 4.1.4, 4.1.5. A claim that is there and is no number is not one that holds. */
static bool in_time(struct mg_str claims, const struct mg_jwt_opts *opts) {
  struct mg_str exp = mg_json_get_tok(claims, "$.exp"), nbf = mg_json_get_tok(claims, "$.nbf");
  double now = (double) (opts->now != 0 ? opts->now : mg_now() / 1000), t;
  if (exp.buf == NULL && opts->need_exp) return false;
  if (exp.buf != NULL && !(mg_json_get_num(claims, "$.exp", &t) && now < t + opts->leeway)) return false;
  return nbf.buf == NULL || (mg_json_get_num(claims, "$.nbf", &t) && now + opts->leeway >= t);
}

static bool header_holds(struct mg_str header) {
  struct mg_str typ = mg_json_get_tok(header, "$.typ");
  return text_is(mg_json_get_tok(header, "$.alg"), mg_str("HS256")) &&
         mg_json_get_tok(header, "$.crit").buf == NULL && /* RFC 7515 4.1.11: extensions that we do not know */
         (typ.buf == NULL || (typ.len == 5 && mg_strcasecmp(typ, mg_str("\"jwt\"")) == 0));
}

static bool claims_hold(struct mg_str claims, const struct mg_jwt_opts *opts) {
  return is_object(claims) && in_time(claims, opts) &&
         (opts->iss.len == 0 || text_is(mg_json_get_tok(claims, "$.iss"), opts->iss)) &&
         (opts->sub.len == 0 || text_is(mg_json_get_tok(claims, "$.sub"), opts->sub)) &&
         (opts->aud.len == 0 || aud_is(claims, opts->aud));
}

bool mg_jwt_verify_hs256(struct mg_str key, struct mg_str token, const struct mg_jwt_opts *opts, struct mg_str *claims) {
  static const struct mg_jwt_opts none;
  struct mg_str head, body, rest, h, b = {NULL, 0};
  char tag[TAG + 1];
  bool ok = false;
  if (claims != NULL) *claims = b;
  if (key.len < MG_JWT_KEY_MIN || token.len <= TAG || token.buf[token.len - TAG - 1] != '.') return false;
  sign(key, token.buf, token.len - TAG - 1, tag);
  if (!mg_memeq(tag, token.buf + token.len - TAG, TAG)) return false;
  rest = mg_str_n(token.buf, token.len - TAG - 1);
  if (!mg_span(rest, &head, &body, '.')) return false;
  h = decoded(head); /* a second dot in body is no letter of base64url */
  if (h.len > 0 && header_holds(h)) {
    b = decoded(body);
    ok = b.len > 0 && claims_hold(b, opts != NULL ? opts : &none);
  }
  mg_free(h.buf);
  if (ok && claims != NULL) {
    *claims = b;
  } else {
    mg_free(b.buf);
  }
  return ok;
}
