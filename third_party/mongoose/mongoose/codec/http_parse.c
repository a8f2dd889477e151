/* http_parse.c - the state machine of http_parse.h. What single fields mean is in http_fields.c, helpers for a message
 * that is already parsed are in http_message.c.
 *
 * Each state scans from where the last call stopped up to a stop that is the end of the input or of a limit, whichever
 * comes first. So it is the first byte that offends, and not how the bytes were cut, which decides the answer.
 */
#include <limits.h>
#include <string.h>
#include "mongoose/codec/http_chars.h"
#include "mongoose/codec/http_fields.h"

enum state {
  START,   /* blank lines */
  METHOD,  /* METHOD SP */
  TARGET,  /* target SP */
  VERSION, /* HTTP/1.1 CR LF */
  STATUS,  /* HTTP/1.1 SP 200, in responses */
  REASON,  /* SP reason CR LF */
  NAME,    /* field name ':', or the blank line */
  VALUE,   /* value CR LF; the name waits in its header slot */
  DONE,
  REFUSED /* for good; the answer is kept in p->status */
};

enum step { MORE, NEXT, REFUSE };

#define MAX_METHOD 32 /* longest registered one: UPDATEREDIRECTREF, 17 */
#define MAX_BLANK_LINES 2

struct cursor {
  const char *base, *at, *end; /* of what the head's limit lets us see */
  const struct mg_http_parse_limits *limits;
};

const struct mg_http_parse_limits mg_http_parse_defaults = {8192, 8192, 32768, MG_MAX_HTTP_HEADERS};

static struct mg_str slice(const char *from, const char *to) {
  struct mg_str s = {(char *) from, (size_t) (to - from)};
  return s;
}

static enum step refuse(struct mg_http_parser *p, unsigned status, const char *why) {
  if (p->is_response && status != 431) status = 400; /* nobody is answered, so there is one way of being wrong */
  p->status = (uint16_t) status;
  p->state = REFUSED;
  p->why = why;
  return REFUSE;
}

/* Where the scan of something that may have `max` bytes and needs one more to end it has to stop. */
static const char *stop_after(const char *from, const char *end, size_t max) {
  return (size_t) (end - from) > max ? from + max + 1 : end;
}

/* CR LF at c->at? Moves behind it. A CR that is followed by anything else is how requests are smuggled. */
static enum step end_of_line(struct mg_http_parser *p, struct cursor *c) {
  if (*c->at != '\r') return refuse(p, 400, *c->at == '\n' ? "bare LF" : "illegal byte");
  if (c->end - c->at < 2) return MORE;
  if (c->at[1] != '\n') return refuse(p, 400, "bare CR");
  c->at += 2;
  return NEXT;
}

/* RFC 9112 2.2: blank lines before a request are junk from old clients. */
static enum step skip_blank_lines(struct mg_http_parser *p, struct cursor *c) {
  for (;;) {
    enum step step;
    if (c->at == c->end) return MORE;
    if (*c->at != '\r') break;
    if (p->is_response || p->blank == MAX_BLANK_LINES) return refuse(p, 400, "blank lines before the message");
    if ((step = end_of_line(p, c)) != NEXT) return step;
    p->blank++;
  }
  p->line = (uint32_t) (c->at - c->base);
  p->state = p->is_response ? STATUS : METHOD;
  return NEXT;
}

static enum step read_method(struct mg_http_parser *p, struct cursor *c, struct mg_http_message *hm) {
  const char *line = c->base + p->line, *stop = stop_after(line, c->end, MAX_METHOD);
  c->at = mg_http_skip(c->at, stop, MG_HTTP_TOKEN);
  if (c->at - line > MAX_METHOD) return refuse(p, 501, "method too long"); /* RFC 9112 3 */
  if (c->at == stop) return MORE;
  if (*c->at != ' ' || c->at == line) return refuse(p, 400, "malformed method");
  hm->method = slice(line, c->at);
  p->is_head = hm->method.len == 4 && memcmp(line, "HEAD", 4) == 0;
  p->state = TARGET;
  c->at++;
  return NEXT;
}

/* RFC 9112 3.2: which form is allowed depends on the method. query ends where the target ends, in all forms. */
static enum step split_target(struct mg_http_parser *p, struct mg_http_message *hm, const char *from, const char *to) {
  const char *path = from, *mark;
  size_t method_len = hm->method.len, scheme = 0;
  bool is_connect = method_len == 7 && memcmp(hm->method.buf, "CONNECT", 7) == 0;
  hm->uri = slice(from, to);
  hm->query = slice(to, to);
  if (is_connect) { /* authority-form: host and port, both there */
    if (!mg_http_is_authority(hm->uri) || *from == ':' || to[-1] == ':' || to[-1] == ']' ||
        memchr(from, ':', (size_t) (to - from)) == NULL) {
      return refuse(p, 400, "CONNECT needs host:port");
    }
    return NEXT;
  }
  if (*from == '*') {
    if (to - from == 1 && method_len == 7 && memcmp(hm->method.buf, "OPTIONS", 7) == 0) return NEXT;
    return refuse(p, 400, "* is for OPTIONS");
  }
  if (*from != '/') { /* absolute-form */
    const char *host;
    if (to - from > 7 && mg_http_word(from, 7, "http://", 7)) scheme = 7;
    if (to - from > 8 && mg_http_word(from, 8, "https://", 8)) scheme = 8;
    if (scheme == 0) return refuse(p, 400, "malformed target");
    host = from + scheme;
    for (path = host; path < to && *path != '/' && *path != '?';) path++;
    if (path == host || *host == ':' || !mg_http_is_authority(slice(host, path))) {
      return refuse(p, 400, "illegal host in target");
    }
  }
  mark = (const char *) memchr(path, '?', (size_t) (to - path));
  if (mark != NULL) hm->query = slice(mark + 1, to);
  hm->uri = slice(path, mark != NULL ? mark : to);
  /* An empty path is "/" (RFC 9110 4.2.3). The scheme's last slash is one that moves with the message. */
  if (hm->uri.len == 0) hm->uri = slice(from + scheme - 1, from + scheme);
  return NEXT;
}

static enum step read_target(struct mg_http_parser *p, struct cursor *c, struct mg_http_message *hm) {
  const char *from = hm->method.buf + hm->method.len + 1, *stop = stop_after(from, c->end, c->limits->max_uri);
  enum step step;
  c->at = mg_http_skip_target(c->at, stop);
  if ((size_t) (c->at - from) > c->limits->max_uri) return refuse(p, 414, "target too long");
  if (c->at == stop) return MORE;
  if (*c->at != ' ' || c->at == from) return refuse(p, 400, "malformed target");
  if ((step = split_target(p, hm, from, c->at)) != NEXT) return step;
  p->state = VERSION;
  c->at++;
  return NEXT;
}

/* `d` in the picture stands for a digit. MORE when all there is fits, but it is not all. */
static enum step match(const struct cursor *c, const char *picture, size_t n) {
  size_t have = (size_t) (c->end - c->at);
  for (size_t i = 0; i < n && i < have; i++) {
    if (picture[i] == 'd' ? c->at[i] < '0' || c->at[i] > '9' : c->at[i] != picture[i]) return REFUSE;
  }
  return have < n ? MORE : NEXT;
}

static void begin_fields(struct mg_http_parser *p, const struct cursor *c) {
  p->line = (uint32_t) (c->at - c->base);
  p->state = NAME;
}

/* RFC 9112 2.3. Minor versions above 1 only add, so they are served as 1.1 (RFC 9110 2.5). */
static enum step read_version(struct mg_http_parser *p, struct cursor *c, struct mg_http_message *hm) {
  enum step step = NEXT;
  if (c->end - c->at < 10 || memcmp(c->at, "HTTP/1.1\r\n", 10) != 0) step = match(c, "HTTP/d.d\r\n", 10);
  if (step == REFUSE) return refuse(p, 400, "malformed version");
  if (step == MORE) return MORE;
  if (c->at[5] != '1') return refuse(p, 505, "not HTTP/1");
  hm->proto = slice(c->at, c->at + 8);
  p->keep_alive = p->minor = c->at[7] != '0';
  c->at += 10;
  begin_fields(p, c);
  return NEXT;
}

/* RFC 9112 4. The slices lie as Mongoose lays them. */
static enum step read_status(struct mg_http_parser *p, struct cursor *c, struct mg_http_message *hm) {
  enum step step = match(c, "HTTP/1.d ddd", 12);
  const char *at = c->at;
  if (step == REFUSE || (step == NEXT && at[9] == '0')) return refuse(p, 400, "malformed status line");
  if (step == MORE) return MORE;
  hm->method = slice(at, at + 8);
  hm->uri = slice(at + 9, at + 12);
  hm->query = slice(at + 12, at + 12);
  p->keep_alive = p->minor = at[7] != '0';
  p->status = (uint16_t) ((at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0'));
  p->state = REASON;
  c->at += 12;
  return NEXT;
}

static enum step read_reason(struct mg_http_parser *p, struct cursor *c, struct mg_http_message *hm) {
  const char *line = c->base + p->line, *stop = stop_after(line, c->end, c->limits->max_header), *from = line + 12;
  enum step step;
  c->at = mg_http_skip_value(c->at, stop);
  if (c->at > from && *from != ' ') return refuse(p, 400, "malformed status line");
  if ((size_t) (c->at - line) > c->limits->max_header) return refuse(p, 431, "status line too long");
  if (c->at == stop) return MORE;
  hm->proto = slice(c->at > from ? from + 1 : from, c->at);
  if ((step = end_of_line(p, c)) != NEXT) return step;
  begin_fields(p, c);
  return NEXT;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

/* RFC 9112 5: name ':' OWS value OWS CRLF, as often as it takes; ends behind the blank line.
 * A line that begins with a blank (obs-fold) has an empty name, and so has one that begins with ':'. */
static enum step read_fields(struct mg_http_parser *p, struct cursor *c, struct mg_http_message *hm) {
  size_t max = c->limits->max_count < MG_MAX_HTTP_HEADERS ? c->limits->max_count : MG_MAX_HTTP_HEADERS;
  size_t longest = c->limits->max_header;
  struct mg_http_header *header = &hm->headers[p->count];
  const char *line = c->base + p->line, *at = c->at, *end = c->end, *from, *to;
  enum step step = MORE;
  bool in_value = p->state == VALUE;
  int status;
  for (;;) {
    const char *stop = stop_after(line, end, longest);
    if (!in_value) {
      if (at == end) break;
      if (at == line) {
        if (*at == '\r') {
          c->at = at;
          step = end_of_line(p, c);
          at = c->at;
          break;
        }
        if ((size_t) (header - hm->headers) >= max) {
          step = refuse(p, 431, "too many header fields");
          break;
        }
      }
      at = mg_http_skip_name(at, stop);
      if (MG_UNLIKELY(at == stop)) {
        if ((size_t) (at - line) > longest) step = refuse(p, 431, "header field too long");
        break;
      }
      if (MG_UNLIKELY(*at != ':' || at == line)) {
        step = refuse(p, 400, "malformed header field");
        break;
      }
      header->name = slice(line, at);
      at++;
      in_value = true;
    }
    at = mg_http_skip_value(at, stop);
    if (MG_UNLIKELY(at == stop)) {
      if ((size_t) (at - line) > longest) step = refuse(p, 431, "header field too long");
      break;
    }
    if (MG_UNLIKELY(end - at < 2 || at[0] != '\r' || at[1] != '\n')) {
      c->at = at;
      step = end_of_line(p, c);
      break;
    }
    from = line + header->name.len + 1;
    to = at;
    while (from < to && is_blank(*from)) from++;
    while (to > from && is_blank(to[-1])) to--;
    header->value = slice(from, to);
    if (mg_http_field_matters(header->name) && (status = mg_http_field_learn(p, header->name, header->value)) != 0) {
      step = refuse(p, (unsigned) status, p->why);
      break;
    }
    header++;
    at += 2;
    line = at;
    in_value = false;
  }
  p->count = (uint32_t) (header - hm->headers);
  p->line = (uint32_t) (line - c->base);
  if (step == MORE) p->state = in_value ? VALUE : NAME;
  if (in_value) { /* the half header stays visible to rebasing only */
    header->value = slice(header->name.buf, header->name.buf);
    header++;
  }
  if (header < hm->headers + MG_MAX_HTTP_HEADERS) header->name = header->value = slice(at, at);
  c->at = at;
  return step;
}

/* How much of the rest is body: RFC 9112 6.3. A response without a length lasts until the connection ends. */
static void set_body(const struct mg_http_parser *p, struct mg_str in, struct mg_http_message *hm) {
  size_t rest = in.len - p->scanned;
  bool never = p->is_response && (p->is_head || p->status < 200 || p->status == 204 || p->status == 304);
  if (p->chunked || never || !(p->has_length || p->is_response)) rest = 0;
  if (p->has_length && rest > p->content_length) rest = (size_t) p->content_length;
  hm->body = slice(in.buf + p->scanned, in.buf + p->scanned + rest);
  hm->message = slice(hm->head.buf, hm->body.buf + rest);
}

/* The head, by the grammar alone. */
static int read_head(struct mg_http_parser *p, struct mg_str in, const struct mg_http_parse_limits *limits,
                     struct mg_http_message *hm) {
  size_t max_head = limits->max_head < INT_MAX ? limits->max_head : INT_MAX;
  struct cursor c = {in.buf, in.buf + p->scanned, in.buf + (in.len < max_head ? in.len : max_head), limits};
  enum step step = NEXT;
  while (step == NEXT && p->state != DONE) {
    switch ((enum state) p->state) {
      case START: step = skip_blank_lines(p, &c); break;
      case METHOD: step = read_method(p, &c, hm); break;
      case TARGET: step = read_target(p, &c, hm); break;
      case VERSION: step = read_version(p, &c, hm); break;
      case STATUS: step = read_status(p, &c, hm); break;
      case REASON: step = read_reason(p, &c, hm); break;
      case NAME:
      case VALUE:
        step = read_fields(p, &c, hm);
        if (step == NEXT) p->state = DONE;
        break;
      case DONE:
      case REFUSED: break;
    }
  }
  p->scanned = (uint32_t) (c.at - c.base);
  if (step == MORE && in.len > max_head) step = refuse(p, 431, "head too long");
  if (step == REFUSE) return -(int) p->status;
  if (step == MORE) return 0;
  p->upgrade = p->saw_upgrade && p->saw_conn_upgrade && p->minor > 0; /* RFC 9110 7.8: not for HTTP/1.0 */
  hm->head = slice(hm->method.buf, c.at);
  return (int) p->scanned;
}

static void clear(struct mg_http_message *hm) {
  static const struct mg_str empty = {NULL, 0};
  hm->method = hm->uri = hm->query = hm->proto = hm->body = hm->head = hm->message = empty;
  hm->headers[0].name = hm->headers[0].value = empty;
}

void mg_http_parser_reset(struct mg_http_parser *p) {
  uint8_t is_response = p->is_response;
  memset(p, 0, sizeof(*p));
  p->is_response = is_response;
}

int mg_http_parse_head(struct mg_http_parser *p, struct mg_str in, const struct mg_http_parse_limits *limits,
                       struct mg_http_message *hm) {
  int n;
  if (p->state == REFUSED) return -(int) p->status;
  if (p->base == NULL) clear(hm);
  if (in.len == 0 || in.len < p->scanned) return 0;
  if (p->base != NULL && p->base != in.buf) {
    mg_http_message_rebase(hm, (ptrdiff_t) ((uintptr_t) in.buf - (uintptr_t) p->base));
  }
  p->base = in.buf;
  if (p->state == DONE) {
    n = (int) p->scanned;
  } else {
    n = read_head(p, in, limits, hm);
    if (n <= 0) return n;
    if (p->minor > 0 && !p->has_host && !p->is_response) { /* RFC 9112 3.2 */
      refuse(p, 400, "no Host");
      return -400;
    }
  }
  set_body(p, in, hm);
  return n;
}

int mg_http_parse(const char *s, size_t len, struct mg_http_message *hm) {
  static const struct mg_http_parse_limits none = {INT_MAX, INT_MAX, INT_MAX, MG_MAX_HTTP_HEADERS};
  struct mg_http_parser p = {.is_response = len >= 5 && memcmp(s, "HTTP/", 5) == 0};
  struct mg_str in = {(char *) s, len};
  int n = 0;
  clear(hm);
  if (len > 0) n = read_head(&p, in, &none, hm);
  if (n > 0) set_body(&p, in, hm);
  return n < 0 ? -1 : n;
}
