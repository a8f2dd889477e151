/* http_log.c - records of the access log. What the request says is written as JSON when its head is there, since its bytes are gone when the
 * answer is complete; room is left in front of it and behind it for what is known then.
 */
#include "mongoose/proto/http_log.h"

#include <arpa/inet.h>
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/clock.h"
#include "mongoose/base/status.h"
#include "mongoose/codec/http_chars.h"
#include "mongoose/codec/utf8.h"
#include "mongoose/proto/http_conn.h"
#include "mongoose/proto/http_origin.h"

enum {
  FRONT = 96,  /* {"ts":…,"level":"warning","message":"request" */
  BACK = 160,  /* ,"status":…,"duration_ms":…,"bytes_in":…,"bytes_out":…,"aborted":true} */
  ID_MAX = 128 /* of a request id */
};

struct mg_http_record {
  uint64_t began; /* ns */
  char *end;      /* of what is written; begins at text + FRONT */
  char text[];
};

bool mg_http_log(struct mg_connection *c, mg_http_log_fn fn, void *arg) {
  bool ok = c->is_listening && c->proto == &mg_proto_http;
  c->mgr->status = ok ? MG_OK : MG_EINVAL;
  if (!ok) return false;
  c->listener->log = fn;
  c->listener->log_arg = arg;
  return true;
}

/* ---- JSON ---- */

#define PUT(p, literal) put(p, literal, sizeof(literal) - 1)

static char *put(char *p, const char *s, size_t n) {
  memcpy(p, s, n);
  return p + n;
}

static char *put_number(char *p, uint64_t v) {
  char t[20], *e = t + sizeof(t), *s = e;
  do {
    *--s = (char) ('0' + v % 10);
    v /= 10;
  } while (v > 0);
  return put(p, s, (size_t) (e - s));
}

/* v / 10^digits, all digits */
static char *put_fixed(char *p, uint64_t v, int digits) {
  uint64_t unit = 1;
  int i;
  for (i = 0; i < digits; i++) unit *= 10;
  p = put_number(p, v / unit);
  *p++ = '.';
  for (unit /= 10; unit > 0; unit /= 10) *p++ = (char) ('0' + v / unit % 10);
  return p;
}

static bool is_special(unsigned char b) {
  return b < 0x20 || b == '"' || b == '\\' || b >= 0x7f;
}

static size_t specials(struct mg_str s) {
  size_t i, n = 0;
  for (i = 0; i < s.len; i++) n += is_special((unsigned char) s.buf[i]);
  return n;
}

static size_t text_size(struct mg_str s) { /* at most, with its quotes */
  return s.len + 5 * specials(s) + 2;
}

/* What is no UTF-8 is taken for ISO 8859-1, which every sequence of bytes is. */
static char *put_text(char *p, struct mg_str s) {
  static const char hex[] = "0123456789abcdef";
  bool as_is;
  size_t i;
  *p++ = '"';
  if (specials(s) == 0) {
    if (s.len > 0) p = put(p, s.buf, s.len);
  } else {
    as_is = mg_utf8_ok(s);
    for (i = 0; i < s.len; i++) {
      unsigned char b = (unsigned char) s.buf[i];
      if (b == '"' || b == '\\') {
        *p++ = '\\';
        *p++ = (char) b;
      } else if (b < 0x20 || b == 0x7f || (b >= 0x80 && !as_is)) {
        p = PUT(p, "\\u00");
        *p++ = hex[b >> 4];
        *p++ = hex[b & 15];
      } else {
        *p++ = (char) b;
      }
    }
  }
  *p++ = '"';
  return p;
}

/* ---- the request ---- */

/* Fields of a record, in their order. */
enum { CLIENT, METHOD, PATH, QUERY, HOST, AGENT, REFERER, REQUEST_ID, TRACE, PARENT, REFUSED, FIELDS };
static const char *const names[FIELDS] = {"client",  "method",     "path",     "query",     "host", "user_agent",
                                          "referer", "request_id", "trace_id", "parent_id", "error"};

static struct mg_http_record *record_new(struct mg_connection *c, const struct mg_str *fields) {
  size_t size = FRONT + BACK, i;
  struct mg_http_record *r;
  for (i = 0; i < FIELDS; i++) {
    if (fields[i].len > 0) size += text_size(fields[i]) + strlen(names[i]) + 4;
  }
  r = (struct mg_http_record *) mg_malloc(sizeof(*r) + size);
  if (r == NULL) {
    c->mgr->stats.log_lost++;
    return NULL;
  }
  r->began = c->mgr->clock;
  r->end = r->text + FRONT;
  for (i = 0; i < FIELDS; i++) {
    if (fields[i].len == 0) continue;
    r->end = PUT(r->end, ",\"");
    r->end = put(r->end, names[i], strlen(names[i]));
    r->end = PUT(r->end, "\":");
    r->end = put_text(r->end, fields[i]);
  }
  return r;
}

static bool is_hex(const char *s, size_t n) { /* lower-case, not all zero */
  bool zero = true;
  size_t i;
  for (i = 0; i < n; i++) {
    if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f'))) return false;
    zero = zero && s[i] == '0';
  }
  return !zero;
}

/* W3C Trace Context: 00-<32 trace id>-<16 parent id>-<2 flags>, later versions may have more behind it. */
static void learn_trace(struct mg_str v, struct mg_str *fields) {
  if (v.len < 55 || v.buf[2] != '-' || v.buf[35] != '-' || v.buf[52] != '-' || (v.len > 55 && v.buf[55] != '-')) return;
  if (memcmp(v.buf, "ff", 2) == 0 || (v.len > 55 && memcmp(v.buf, "00", 2) == 0)) return;
  if (!is_hex(v.buf + 3, 32) || !is_hex(v.buf + 36, 16)) return;
  fields[TRACE] = mg_str_n(v.buf + 3, 32);
  fields[PARENT] = mg_str_n(v.buf + 36, 16);
}

static void learn_headers(const struct mg_http_message *hm, struct mg_str *fields) {
  int i;
  for (i = 0; i < MG_MAX_HTTP_HEADERS && hm->headers[i].name.len > 0; i++) {
    const struct mg_http_header *h = &hm->headers[i];
    size_t n = h->name.len;
    if (n == 10 && mg_http_word(h->name.buf, n, "user-agent", 10)) {
      fields[AGENT] = h->value;
    } else if (n == 7 && mg_http_word(h->name.buf, n, "referer", 7)) {
      fields[REFERER] = h->value;
    } else if (n == 12 && mg_http_word(h->name.buf, n, "x-request-id", 12)) {
      if (h->value.len <= ID_MAX) fields[REQUEST_ID] = h->value;
    } else if (n == 11 && mg_http_word(h->name.buf, n, "traceparent", 11)) {
      learn_trace(h->value, fields);
    }
  }
}

static void learn_client(const struct mg_addr *a, char buf[INET6_ADDRSTRLEN], struct mg_str *field) {
  char *p = buf;
  int i;
  if (a->is_ip6) { /* RFC 5952 */
    if (inet_ntop(AF_INET6, a->addr.ip, buf, INET6_ADDRSTRLEN) != NULL) *field = mg_str(buf);
    return;
  }
  for (i = 0; i < 4; i++) {
    if (i > 0) *p++ = '.';
    p = put_number(p, a->addr.ip[i]);
  }
  *field = mg_str_n(buf, (size_t) (p - buf));
}

void mg_http_log_begin(struct mg_connection *c, struct mg_http_xchg *x, const struct mg_http_message *hm, const char *why) {
  struct mg_str fields[FIELDS];
  char client[INET6_ADDRSTRLEN];
  struct mg_http_origin o;
  memset(fields, 0, sizeof(fields));
  if (hm != NULL) {
    mg_http_origin_of(c, hm, &o);
    fields[METHOD] = hm->method;
    fields[PATH] = hm->uri;
    fields[QUERY] = hm->query;
    fields[HOST] = o.host;
    learn_headers(hm, fields);
  } else {
    o.addr = c->rem;
    o.known = !c->is_unix;
    fields[REFUSED] = mg_str(why != NULL ? why : "malformed");
  }
  if (o.known) learn_client(&o.addr, client, &fields[CLIENT]);
  x->log = record_new(c, fields);
}

/* ---- the answer ---- */

static uint64_t wall_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec > 0 ? (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000 : 0;
}

void mg_http_log_end(struct mg_connection *c, struct mg_http_xchg *x, bool whole) {
  static const char *const levels[] = {"info", "warning", "error"};
  struct mg_http_record *r = x->log;
  char front[FRONT], *p = front, *start, *e = r->end;
  uint64_t now = mg_nanos();
  int status = x->status > 0 ? x->status : 499;
  int level = status >= 500 ? MG_HTTP_LOG_ERROR : status >= 400 ? MG_HTTP_LOG_WARNING : MG_HTTP_LOG_INFO;
  x->log = NULL;
  if (!whole && level == MG_HTTP_LOG_INFO) level = MG_HTTP_LOG_WARNING;
  p = PUT(p, "{\"ts\":");
  p = put_fixed(p, wall_us(), 6);
  p = PUT(p, ",\"level\":\"");
  p = put(p, levels[level], strlen(levels[level]));
  p = PUT(p, "\",\"message\":\"request\"");
  start = r->text + FRONT - (p - front);
  memcpy(start, front, (size_t) (p - front));
  e = PUT(e, ",\"status\":");
  e = put_number(e, (uint64_t) status);
  e = PUT(e, ",\"duration_ms\":");
  e = put_fixed(e, now > r->began ? (now - r->began) / 1000 : 0, 3);
  e = PUT(e, ",\"bytes_in\":");
  e = put_number(e, x->body_in);
  e = PUT(e, ",\"bytes_out\":");
  e = put_number(e, x->body_out);
  if (!whole) e = PUT(e, ",\"aborted\":true");
  *e++ = '}';
  if (c->listener->log != NULL) c->listener->log(c->listener->log_arg, level, mg_str_n(start, (size_t) (e - start)));
  mg_free(r);
}
