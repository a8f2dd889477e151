/* http_auth.c - who asks: Mongoose's two helpers for Basic and Bearer credentials (RFC 7617, RFC 6750). */
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/base64.h"
#include "mongoose/codec/http_chars.h"
#include "mongoose/codec/url.h"
#include "mongoose/proto/http.h"

static void put(struct mg_str s, char *to, size_t size) {
  if (size == 0) return;
  if (s.len >= size || memchr(s.buf != NULL ? s.buf : "", 0, s.len) != NULL) s.len = 0; /* cut credentials would be others */
  if (s.len > 0) memcpy(to, s.buf, s.len);
  to[s.len] = '\0';
}

static bool has_scheme(struct mg_str *s, const char *low, size_t n) {
  if (s->len <= n || s->buf[n] != ' ' || !mg_http_word(s->buf, n, low, n)) return false;
  s->buf += n;
  s->len -= n;
  while (s->len > 0 && *s->buf == ' ') s->buf++, s->len--;
  return true;
}

static void basic(struct mg_str token, char *user, size_t userlen, char *pass, size_t passlen) {
  char text[1024], *colon;
  size_t n = token.len / 4 * 3 + 1 <= sizeof(text) ? mg_base64_decode(token.buf, token.len, text, sizeof(text)) : 0;
  colon = n > 0 ? (char *) memchr(text, ':', n) : NULL;
  if (colon != NULL) {
    put(mg_str_n(text, (size_t) (colon - text)), user, userlen);
    put(mg_str_n(colon + 1, n - (size_t) (colon + 1 - text)), pass, passlen);
  }
  mg_bzero((volatile unsigned char *) text, sizeof(text));
}

void mg_http_creds(struct mg_http_message *hm, char *user, size_t userlen, char *pass, size_t passlen) {
  struct mg_str none = {NULL, 0}, *v = mg_http_get_header(hm, "Authorization"), token;
  put(none, user, userlen);
  put(none, pass, passlen);
  if (v != NULL) {
    token = *v;
    if (has_scheme(&token, "basic", 5)) {
      basic(token, user, userlen, pass, passlen);
    } else if (has_scheme(&token, "bearer", 6)) {
      put(token, pass, passlen);
    }
    return;
  }
  v = mg_http_get_header(hm, "Cookie");
  if (v != NULL) {
    token = mg_http_get_header_var(*v, mg_str("access_token"));
    if (token.buf != NULL) {
      put(token, pass, passlen);
      return;
    }
  }
  if (passlen > 0) mg_http_get_var(&hm->query, "access_token", pass, passlen);
}

void mg_http_bauth(struct mg_connection *c, const char *user, const char *pass) {
  size_t u = strlen(user), n = u + 1 + strlen(pass), size = (n + 2) / 3 * 4 + 1;
  char *plain = (char *) mg_malloc(n + size);
  if (plain == NULL) { /* a request without its credentials would be another request */
    c->is_closing = 1;
    return;
  }
  memcpy(plain, user, u);
  plain[u] = ':';
  memcpy(plain + u + 1, pass, n - u - 1);
  mg_base64_encode((unsigned char *) plain, n, plain + n, size);
  mg_send(c, "Authorization: Basic ", 21);
  mg_send(c, plain + n, size - 1);
  mg_send(c, "\r\n", 2);
  mg_bzero((volatile unsigned char *) plain, n + size);
  mg_free(plain);
}
