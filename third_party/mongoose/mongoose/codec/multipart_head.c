/* multipart_head.c - Content-Disposition and Content-Type of a part: parameters, quotes, RFC 8187's filename*.
 *
 * A backslash in quotes is undone in front of '"' and '\' only: browsers of old send whole paths, C:\new\table.txt, unescaped.
 * Percent signs in names stay: browsers write %22 for a quote, but a file may as well be called so (RFC 7578 2, WHATWG HTML).
 */
#include <string.h>

#include "mongoose/codec/http_chars.h"
#include "mongoose/codec/multipart_head.h"

#define WORD(s, literal) mg_http_word((s).buf, (s).len, literal, sizeof(literal) - 1)

static int refuse(const char **why, const char *text) {
  *why = text;
  return -400;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

static void skip_blanks(struct mg_str *s) {
  while (s->len > 0 && is_blank(*s->buf)) s->buf++, s->len--;
}

static struct mg_str take(struct mg_str *s, size_t n) {
  struct mg_str head = {s->buf, n};
  s->buf += n;
  s->len -= n;
  return head;
}

static struct mg_str take_token(struct mg_str *s) {
  return take(s, (size_t) (mg_http_skip(s->buf, s->buf + s->len, MG_HTTP_TOKEN) - s->buf));
}

/* *( OWS ";" OWS [ name "=" ( token / quoted-string ) ] ). 1: a parameter, its value as it stands between the quotes; 0: none is
 * left; -1: something else. An unquoted value may have bytes that no token has, as boundaries of some clients do. */
static int next_param(struct mg_str *s, struct mg_str *name, struct mg_str *value) {
  size_t n = 0;
  do {
    skip_blanks(s);
    if (s->len == 0) return 0;
    if (*s->buf != ';') return -1;
    take(s, 1);
    skip_blanks(s);
  } while (s->len == 0 || *s->buf == ';');
  *name = take_token(s);
  if (name->len == 0 || s->len == 0 || *s->buf != '=') return -1;
  take(s, 1);
  if (s->len > 0 && *s->buf == '"') {
    take(s, 1);
    while (n < s->len && s->buf[n] != '"') n += s->buf[n] == '\\' && n + 1 < s->len ? 2 : 1;
    if (n >= s->len) return -1;
    *value = take(s, n);
    take(s, 1);
    return 1;
  }
  while (n < s->len && s->buf[n] != ';' && s->buf[n] != '"' && !is_blank(s->buf[n])) n++;
  *value = take(s, n);
  return n > 0 ? 1 : -1;
}

static struct mg_str unescape(struct mg_str s, char *to) {
  struct mg_str out = {to, 0};
  for (size_t i = 0; i < s.len; i++) {
    if (s.buf[i] == '\\' && i + 1 < s.len && (s.buf[i + 1] == '"' || s.buf[i + 1] == '\\')) i++;
    to[out.len++] = s.buf[i];
  }
  return out;
}

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* charset "'" [ language ] "'" percent-encoded. 1: decoded; 0: in a charset we do not speak, so the plain parameter counts;
 * -1: malformed, or it hides a control byte. */
static int decode_extended(struct mg_str s, char *to, struct mg_str *out) {
  const char *first = (const char *) memchr(s.buf, '\'', s.len), *second, *end = s.buf + s.len;
  struct mg_str charset = {s.buf, first != NULL ? (size_t) (first - s.buf) : 0};
  if (first == NULL) return -1;
  second = (const char *) memchr(first + 1, '\'', (size_t) (end - first - 1));
  if (second == NULL) return -1;
  if (!WORD(charset, "utf-8") && !WORD(charset, "us-ascii")) return 0;
  *out = (struct mg_str){to, 0};
  for (const char *p = second + 1; p < end; p++) {
    char c = *p;
    if (c == '%') {
      if (end - p < 3 || hex(p[1]) < 0 || hex(p[2]) < 0) return -1;
      c = (char) (hex(p[1]) << 4 | hex(p[2]));
      p += 2;
    }
    if (!mg_http_is(c, MG_HTTP_VALUE)) return -1;
    to[out->len++] = c;
  }
  return 1;
}

/* form-data; name=…; filename=…; filename*=… - decoded behind the lines, where there is as much room again. */
static int read_disposition(struct mg_multipart *m, struct mg_str value) {
  struct mg_str name = {NULL, 0}, filename = {NULL, 0}, extended = {NULL, 0}, param, v, word = take_token(&value);
  char *to = m->head + m->head_len;
  int more;
  if (!WORD(word, "form-data")) return refuse(&m->why, "a part is no form-data");
  while ((more = next_param(&value, &param, &v)) > 0) {
    struct mg_str *slot = WORD(param, "name") ? &name : WORD(param, "filename") ? &filename : WORD(param, "filename*") ? &extended : NULL;
    if (slot == NULL) continue;
    if (slot->buf != NULL) return refuse(&m->why, "a part has a name twice");
    *slot = v;
  }
  if (more < 0) return refuse(&m->why, "malformed Content-Disposition");
  if (name.buf == NULL) return refuse(&m->why, "a part has no name");
  m->part.name = unescape(name, to);
  to += m->part.name.len;
  if (extended.buf != NULL) {
    int known = decode_extended(extended, to, &m->part.filename);
    if (known < 0) return refuse(&m->why, "malformed filename*");
    if (known > 0) return 0;
  }
  if (filename.buf != NULL) m->part.filename = unescape(filename, to);
  return 0;
}

struct mg_str mg_multipart_raw_param(struct mg_str s, const char *name) {
  struct mg_str param, value, none = {NULL, 0};
  take_token(&s);
  while (next_param(&s, &param, &value) > 0) {
    if (mg_http_word(param.buf, param.len, name, strlen(name))) return value;
  }
  return none;
}

bool mg_multipart_next_header(struct mg_str *head, struct mg_str *name, struct mg_str *value) {
  const char *eol = head->len > 0 ? (const char *) memchr(head->buf, '\r', head->len) : NULL;
  struct mg_str line;
  if (eol == NULL || eol == head->buf) return false; /* the blank line */
  line = take(head, (size_t) (eol - head->buf));
  take(head, head->len < 2 ? head->len : 2);
  *name = take_token(&line);
  if (line.len > 0) take(&line, 1); /* the colon */
  skip_blanks(&line);
  while (line.len > 0 && is_blank(line.buf[line.len - 1])) line.len--;
  *value = line;
  return true;
}

/* RFC 7578 4.7: the field is of no use in HTTP, and content that really is encoded would be taken for what it is not. */
static bool is_plain_encoding(struct mg_str v) {
  return WORD(v, "binary") || WORD(v, "8bit") || WORD(v, "7bit");
}

int mg_multipart_read_head(struct mg_multipart *m) {
  struct mg_str rest = {m->head, m->head_len}, name, value;
  bool disposed = false;
  memset(&m->part, 0, sizeof(m->part));
  m->part.head = rest;
  while (mg_multipart_next_header(&rest, &name, &value)) {
    const char *colon = name.buf + name.len;
    if (name.len == 0 || *colon != ':') return refuse(&m->why, "malformed header line in a part");
    if (WORD(name, "content-disposition")) {
      if (disposed) return refuse(&m->why, "a part has more than one Content-Disposition");
      disposed = true;
      if (read_disposition(m, value) < 0) return -400;
    } else if (WORD(name, "content-type")) {
      if (m->part.type.buf != NULL) return refuse(&m->why, "a part has more than one Content-Type");
      m->part.type = value;
    } else if (WORD(name, "content-transfer-encoding") && !is_plain_encoding(value)) {
      return refuse(&m->why, "a part has a Content-Transfer-Encoding");
    }
  }
  return disposed ? 0 : refuse(&m->why, "a part has no Content-Disposition");
}

int mg_multipart_boundary(struct mg_str s, char to[MG_MULTIPART_BOUNDARY], const char **why) {
  struct mg_str name, value, boundary = {NULL, 0};
  size_t slash = 0;
  int more;
  skip_blanks(&s);
  while (slash < s.len && s.buf[slash] != ';' && !is_blank(s.buf[slash])) slash++;
  name = take(&s, slash);
  if (!WORD(name, "multipart/form-data")) {
    *why = "not multipart/form-data";
    return -415;
  }
  while ((more = next_param(&s, &name, &value)) > 0) {
    if (!WORD(name, "boundary")) continue;
    if (boundary.buf != NULL) return refuse(why, "more than one boundary");
    boundary = value;
  }
  if (more < 0) return refuse(why, "malformed Content-Type");
  if (boundary.len == 0) return refuse(why, "no boundary");
  if (boundary.len > MG_MULTIPART_BOUNDARY) return refuse(why, "boundary too long");
  for (size_t i = 0; i < boundary.len; i++) {
    char c = boundary.buf[i];
    if (c < 0x20 || c > 0x7e || c == '\\' || (c == ' ' && i + 1 == boundary.len)) return refuse(why, "illegal boundary");
  }
  memcpy(to, boundary.buf, boundary.len);
  return (int) boundary.len;
}
