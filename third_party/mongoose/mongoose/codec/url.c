/* url.c - one parser finds all parts in one pass; each function gives one of them. */
#include "mongoose/codec/url.h"

#include <limits.h>
#include <string.h>

struct url {
  struct mg_str scheme, user, pass, host, port;
  bool has_port;
  const char *rest; /* behind the authority */
};

static bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* Length of a scheme that "://" follows, or 0. RFC 3986 3.1: a "://" further on, in a query perhaps, is not ours. */
static size_t scheme_len(const char *s) {
  size_t n = 0;
  if (!is_alpha(s[0])) return 0;
  while (is_alpha(s[n]) || is_digit(s[n]) || s[n] == '+' || s[n] == '-' || s[n] == '.') n++;
  return strncmp(s + n, "://", 3) == 0 ? n : 0;
}

static struct url parse(const char *s) {
  struct url u;
  struct mg_str auth;
  size_t n, i, colon;
  memset(&u, 0, sizeof(u));
  if (s == NULL) s = "";
  n = scheme_len(s);
  u.scheme = mg_str_n(s, n);
  if (n > 0) s += n + 3;
  auth = mg_str_n(s, strcspn(s, "/?#\\"));
  u.rest = s + auth.len;
  u.user = u.pass = mg_str_n(auth.buf, 0);
  for (i = auth.len; i > 0; i--) {
    if (auth.buf[i - 1] != '@') continue;
    mg_span(mg_str_n(auth.buf, i - 1), &u.user, &u.pass, ':');
    auth = mg_str_n(auth.buf + i, auth.len - i);
    break;
  }
  /* The colon before the port: not one inside an IPv6 address. */
  colon = auth.len;
  for (i = auth.len; i > 0 && auth.buf[i - 1] != ']'; i--) {
    if (auth.buf[i - 1] == ':') colon = i - 1;
  }
  u.host = mg_str_n(auth.buf, colon);
  if (colon < auth.len) {
    u.has_port = true;
    u.port = mg_str_n(auth.buf + colon + 1, auth.len - colon - 1);
  }
  return u;
}

static bool scheme_is(const struct url *u, const char *name) {
  return mg_strcasecmp(u->scheme, mg_str(name)) == 0;
}

unsigned short mg_url_port(const char *url) {
  static const struct {
    const char *scheme;
    unsigned short port;
  } defaults[] = {{"http", 80}, {"ws", 80}, {"https", 443}, {"wss", 443}, {"mqtt", 1883}, {"mqtts", 8883}};
  struct url u = parse(url);
  uint16_t port = 0;
  if (u.has_port && u.port.len > 0) { /* RFC 3986 3.2.3: an empty port is the default one */
    for (size_t i = 0; i < u.port.len; i++) {
      if (!is_digit(u.port.buf[i])) return 0;
    }
    return mg_str_to_num(u.port, 10, &port, sizeof(port)) ? port : 0;
  }
  for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
    if (scheme_is(&u, defaults[i].scheme)) return defaults[i].port;
  }
  return 0;
}

struct mg_str mg_url_host(const char *url) {
  return parse(url).host;
}

struct mg_str mg_url_user(const char *url) {
  return parse(url).user;
}

struct mg_str mg_url_pass(const char *url) {
  return parse(url).pass;
}

const char *mg_url_uri(const char *url) {
  struct url u = parse(url);
  return *u.rest == '/' || *u.rest == '?' ? u.rest : "/";
}

int mg_url_is_ssl(const char *url) {
  static const char *const names[] = {"https", "wss", "mqtts", "ssl", "tls", "tcps"};
  struct url u = parse(url);
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    if (scheme_is(&u, names[i])) return 1;
  }
  return 0;
}

size_t mg_url_encode(const char *s, size_t n, char *buf, size_t len) {
  static const char hex[] = "0123456789abcdef";
  size_t i, o = 0;
  for (i = 0; i < n; i++) {
    unsigned char c = (unsigned char) s[i];
    bool plain = is_alpha(s[i]) || is_digit(s[i]) || (c != 0 && strchr("-._~", c) != NULL);
    if (len - o <= (plain ? 1U : 3U)) break; /* room for the NUL as well; o never passes len */
    if (plain) {
      buf[o++] = s[i];
    } else {
      buf[o++] = '%';
      buf[o++] = hex[c >> 4];
      buf[o++] = hex[c & 15];
    }
  }
  if (i < n) o = 0;
  if (len > 0) buf[o] = '\0';
  return o;
}

static int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int mg_url_decode(const char *s, size_t n, char *to, size_t to_len, int is_form) {
  size_t i, o = 0;
  for (i = 0; i < n; i++) {
    char c = s[i];
    if (o + 1 >= to_len || o >= INT_MAX) return -1;
    if (c == '%') {
      int high, low;
      if (n - i < 3 || (high = hex_digit(s[i + 1])) < 0 || (low = hex_digit(s[i + 2])) < 0) return -1;
      c = (char) (unsigned char) (high << 4 | low);
      i += 2;
    } else if (c == '+' && is_form) {
      c = ' ';
    }
    to[o++] = c;
  }
  if (o >= to_len) return -1;
  to[o] = '\0';
  return (int) o;
}

struct mg_str mg_http_var(struct mg_str buf, struct mg_str name) {
  struct mg_str item;
  while (mg_span(buf, &item, &buf, '&')) {
    if (item.len <= name.len || item.buf[name.len] != '=') continue;
    if (mg_strcasecmp(mg_str_n(item.buf, name.len), name) != 0) continue;
    return mg_str_n(item.buf + name.len + 1, item.len - name.len - 1);
  }
  return mg_str_n(NULL, 0);
}

int mg_http_get_var(const struct mg_str *buf, const char *name, char *dst, size_t dst_len) {
  struct mg_str v;
  int n;
  if (dst == NULL || dst_len == 0) return -2;
  dst[0] = '\0';
  if (buf == NULL || buf->buf == NULL || buf->len == 0 || name == NULL) return -1;
  v = mg_http_var(*buf, mg_str(name));
  if (v.buf == NULL) return -4;
  n = mg_url_decode(v.buf, v.len, dst, dst_len, 1);
  if (n < 0) dst[0] = '\0';
  return n < 0 ? -3 : n;
}
