/* sock_url.c - take a URL apart as far as opening a socket needs it, RFC 3986 3.1 and 3.2. */
#include "mongoose/loop/sock_url.h"

#include <stdio.h>
#include <string.h>

struct scheme {
  const char *name;
  enum mg_sock_kind kind;
  unsigned port; /* 0: must be given */
  const char *alpn; /* schemes with TLS: the protocol's name there, "": none */
};

static const struct scheme s_schemes[] = {
    {"tcp", MG_SOCK_TCP, 0, NULL},        {"udp", MG_SOCK_UDP, 0, NULL},     {"unix", MG_SOCK_UNIX, 0, NULL},
    {"fd", MG_SOCK_FD, 0, NULL},          {"http", MG_SOCK_TCP, 80, NULL},   {"https", MG_SOCK_TCP, 443, "http/1.1"},
    {"ws", MG_SOCK_TCP, 80, NULL},        {"wss", MG_SOCK_TCP, 443, "http/1.1"},    {"mqtt", MG_SOCK_TCP, 1883, NULL},
    {"mqtts", MG_SOCK_TCP, 8883, "mqtt"},    {"tls", MG_SOCK_TCP, 0, ""},      {"ssl", MG_SOCK_TCP, 0, ""},
    {"http+unix", MG_SOCK_UNIX, 0, NULL}, {"ws+unix", MG_SOCK_UNIX, 0, NULL},
};

static struct mg_str span(const char *from, const char *to) {
  struct mg_str s;
  s.buf = (char *) from;
  s.len = (size_t) (to - from);
  return s;
}

/* As much of somebody's text as is put into a message. */
static int clip(size_t len) {
  return len < 60 ? (int) len : 60;
}

static bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char) (c + 32) : c;
}

/* RFC 3986 3.1: ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) */
struct mg_str mg_url_scheme(const char *url) {
  const char *p = url;
  if (url == NULL) return span("", "");
  if (is_alpha(*p)) {
    while (is_alpha(*p) || is_digit(*p) || *p == '+' || *p == '-' || *p == '.') p++;
  }
  return p > url && strncmp(p, "://", 3) == 0 ? span(url, p) : span(url, url);
}

static const struct scheme *find_scheme(struct mg_str name) {
  size_t i, k;
  for (i = 0; i < sizeof(s_schemes) / sizeof(s_schemes[0]); i++) {
    const char *s = s_schemes[i].name;
    if (strlen(s) != name.len) continue;
    for (k = 0; k < name.len && s[k] == lower(name.buf[k]);) k++;
    if (k == name.len) return &s_schemes[i];
  }
  return NULL;
}

static int parse_port(struct mg_str s, unsigned *port, char *err) {
  size_t i;
  unsigned n = 0;
  if (s.len == 0) return snprintf(err, MG_SOCK_ERR, "the port is missing behind the colon"), MG_EINVAL;
  for (i = 0; i < s.len; i++) {
    if (!is_digit(s.buf[i])) {
      snprintf(err, MG_SOCK_ERR, "port \"%.*s\" is not a number", clip(s.len), s.buf);
      return MG_EINVAL;
    }
    if (n <= 65535) n = n * 10 + (unsigned) (s.buf[i] - '0');
  }
  if (n > 65535) {
    snprintf(err, MG_SOCK_ERR, "port %.*s is outside 0-65535", clip(s.len), s.buf);
    return MG_EINVAL;
  }
  *port = n;
  return MG_OK;
}

/* RFC 3986 3.2: [ userinfo "@" ] host [ ":" port ] */
static int parse_authority(struct mg_sock_url *u, struct mg_str auth, unsigned default_port, char *err) {
  const char *p = auth.buf, *end = auth.buf + auth.len, *at, *host_end;
  for (at = end; at > p; at--) {
    if (at[-1] == '@') break;
  }
  p = at;
  if (p < end && *p == '[') {
    host_end = (const char *) memchr(p, ']', (size_t) (end - p));
    if (host_end == NULL || (host_end + 1 < end && host_end[1] != ':')) {
      snprintf(err, MG_SOCK_ERR, "\"%.*s\" is not [IPv6]:port", clip((size_t) (end - p)), p);
      return MG_EINVAL;
    }
    u->bracketed = true;
    u->host = span(p + 1, host_end++);
  } else {
    host_end = (const char *) memchr(p, ':', (size_t) (end - p));
    if (host_end == NULL) host_end = end;
    u->host = span(p, host_end);
    if (host_end < end && memchr(host_end + 1, ':', (size_t) (end - host_end - 1)) != NULL) {
      snprintf(err, MG_SOCK_ERR, "\"%.*s\" has several colons: write IPv6 as [address]:port",
               clip((size_t) (end - p)), p);
      return MG_EINVAL;
    }
  }
  u->port = default_port;
  if (host_end < end) {
    int rc = parse_port(span(host_end + 1, end), &u->port, err);
    if (rc != MG_OK) return rc;
  } else if (default_port == 0) {
    snprintf(err, MG_SOCK_ERR, "\"%.*s\" has no port", clip(auth.len), auth.buf);
    return MG_EINVAL;
  }
  if (u->host.len == 0 && !u->bracketed) {
    snprintf(u->label, sizeof(u->label), "0.0.0.0:%u", u->port);
  } else {
    snprintf(u->label, sizeof(u->label), "%s%.*s%s:%u", u->bracketed ? "[" : "", clip(u->host.len), u->host.buf,
             u->bracketed ? "]" : "", u->port);
  }
  return MG_OK;
}

int mg_sock_url_parse(struct mg_sock_url *u, const char *url, char err[MG_SOCK_ERR]) {
  struct mg_str name = mg_url_scheme(url);
  const struct scheme *scheme = &s_schemes[0];
  const char *p = url, *sep;
  memset(u, 0, sizeof(*u));
  if (url == NULL) return snprintf(err, MG_SOCK_ERR, "the URL is missing"), MG_EINVAL;
  sep = strstr(url, "://");
  if (name.len > 0) {
    scheme = find_scheme(name);
    p = sep + 3;
  } else if (sep != NULL && strcspn(url, "/?#") > (size_t) (sep - url)) {
    scheme = NULL;
    name = span(url, sep);
  }
  if (scheme == NULL) {
    snprintf(err, MG_SOCK_ERR, "scheme \"%.*s\" is unknown", clip(name.len), name.buf);
    return MG_ESCHEME;
  }
  u->kind = scheme->kind;
  u->is_tls = scheme->alpn != NULL;
  u->alpn = u->is_tls && scheme->alpn[0] != '\0' ? scheme->alpn : NULL;
  if (u->kind == MG_SOCK_UNIX || u->kind == MG_SOCK_FD) {
    u->host = span(p, p + strlen(p));
    snprintf(u->label, sizeof(u->label), "%.79s", p);
    return MG_OK;
  }
  return parse_authority(u, span(p, p + strcspn(p, "/?#")), scheme->port, err);
}
