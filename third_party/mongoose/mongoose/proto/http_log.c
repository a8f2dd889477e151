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
  FRONT = 72,  /* {"ts":…,"level":"warning","message":"request" */
  BACK = 144,  /* ,"status":…,"duration_ms":…,"bytes_in":…,"bytes_out":…,"aborted":true} */
  NAME = 16,   /* ,"user_agent":" */
  STEP = 256,  /* of a record's size */
  ID_MAX = 128 /* of a request id */
};

struct mg_http_record {
  uint64_t began; /* ns */
  char *end;      /* of what is written; begins at text + FRONT */
  size_t size;    /* of text */
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

static inline char *put(char *p, const char *s, size_t n) {
  memcpy(p, s, n);
  return p + n;
}

/* The same for texts of a few bytes and any number of them, which are not worth a call. */
static inline char *put_short(char *p, const char *s, size_t n) {
  uint64_t first, last;
  uint32_t begin, end;
  size_t i;
  if (n > 16) return put(p, s, n);
  if (n >= 8) {
    memcpy(&first, s, 8);
    memcpy(&last, s + n - 8, 8);
    memcpy(p, &first, 8);
    memcpy(p + n - 8, &last, 8);
  } else if (n >= 4) {
    memcpy(&begin, s, 4);
    memcpy(&end, s + n - 4, 4);
    memcpy(p, &begin, 4);
    memcpy(p + n - 4, &end, 4);
  } else {
    for (i = 0; i < n; i++) p[i] = s[i];
  }
  return p + n;
}

static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960"
                            "616263646566676869707172737475767778798081828384858687888990919293949596979899";

/* The last `digits` digits of v, an even number of them. */
static inline char *put_digits(char *p, uint64_t v, int digits) {
  int i;
  for (i = digits; i > 0; i -= 2, v /= 100) memcpy(p + i - 2, pairs + v % 100 * 2, 2);
  return p + digits;
}

static char *put_number(char *p, uint64_t v) {
  char t[20], *e = t + sizeof(t), *s = e;
  for (; v >= 100; v /= 100) memcpy(s -= 2, pairs + v % 100 * 2, 2);
  if (v >= 10) {
    memcpy(s -= 2, pairs + v * 2, 2);
  } else {
    *--s = (char) ('0' + v);
  }
  return put_short(p, s, (size_t) (e - s));
}

static bool is_special(unsigned char b) {
  return b < 0x20 || b == '"' || b == '\\' || b >= 0x7f;
}

/* Eight bytes at a time: the high bit of a byte that is special is set, perhaps that of one behind it, too. */
static inline uint64_t special_of_8(const char *s) {
  const uint64_t ones = 0x0101010101010101U, high = 0x8080808080808080U;
  uint64_t v, quote, slash, del;
  memcpy(&v, s, 8);
  quote = v ^ ones * '"';
  slash = v ^ ones * '\\';
  del = v ^ ones * 0x7f;
  return (v | (v - ones * 0x20) | (quote - ones) | (slash - ones) | (del - ones)) & high;
}

/* Most have none. */
static size_t specials(struct mg_str s) {
  size_t i = 0, n = 0;
  while (s.len - i >= 8 && special_of_8(s.buf + i) == 0) i += 8;
  for (; i < s.len; i++) n += is_special((unsigned char) s.buf[i]);
  return n;
}

static size_t text_size(struct mg_str s, size_t special) { /* at most, with its quotes */
  return s.len + 5 * special + 2;
}

/* What is no UTF-8 is taken for ISO 8859-1, which every sequence of bytes is. */
static char *put_special(char *p, struct mg_str s) {
  static const char hex[] = "0123456789abcdef";
  bool as_is = mg_utf8_ok(s);
  size_t i;
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
  return p;
}

/* ---- the request ---- */

/* Fields of a record, in their order. */
enum { CLIENT, METHOD, PATH, QUERY, HOST, AGENT, REFERER, REQUEST_ID, TRACE, PARENT, REFUSED, FIELDS };

static const struct {
  char text[NAME]; /* so many are written, whatever the length */
  size_t len;
} begins[FIELDS] = {
#define BEGIN(name) {",\"" name "\":\"", sizeof(",\"" name "\":\"") - 1}
    BEGIN("client"),  BEGIN("method"),     BEGIN("path"),     BEGIN("query"),     BEGIN("host"), BEGIN("user_agent"),
    BEGIN("referer"), BEGIN("request_id"), BEGIN("trace_id"), BEGIN("parent_id"), BEGIN("error"),
#undef BEGIN
};

/* Most requests are answered at once, so one record serves one after the other. */
static struct mg_http_record *record_alloc(struct mg_http_pool *pool, size_t size) {
  struct mg_http_record *r = pool != NULL ? pool->record : NULL;
  if (r != NULL && r->size >= size) {
    pool->record = NULL;
    return r;
  }
  size = (size + STEP - 1) / STEP * STEP;
  r = (struct mg_http_record *) mg_malloc(sizeof(*r) + size);
  if (r != NULL) r->size = size;
  return r;
}

static void record_free(struct mg_http_pool *pool, struct mg_http_record *r) {
  struct mg_http_record *other = pool != NULL ? pool->record : NULL;
  if (pool != NULL && r->size <= 4 * STEP && (other == NULL || other->size < r->size)) { /* a small one is not to stand in the way */
    pool->record = r;
    r = other;
  }
  mg_free(r);
}

static struct mg_http_record *record_new(struct mg_connection *c, const struct mg_str *fields) {
  size_t size = FRONT + BACK, special[FIELDS] = {0}, i;
  struct mg_http_record *r;
  char *p;
  for (i = 0; i < FIELDS; i++) {
    if (fields[i].len == 0) continue;
    special[i] = specials(fields[i]);
    size += NAME + text_size(fields[i], special[i]);
  }
  r = record_alloc(mg_http_pool(c->mgr), size);
  if (r == NULL) {
    mg_count(&c->mgr->stats.log_lost, 1);
    return NULL;
  }
  r->began = c->mgr->clock;
  p = r->text + FRONT;
  for (i = 0; i < FIELDS; i++) {
    if (fields[i].len == 0) continue;
    memcpy(p, begins[i].text, NAME);
    p += begins[i].len;
    p = special[i] == 0 ? put_short(p, fields[i].buf, fields[i].len) : put_special(p, fields[i]);
    *p++ = '"';
  }
  r->end = p;
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

/* By the clock on the wall: how far that is ahead of the other is looked up once a turn. */
static uint64_t wall_us(struct mg_connection *c, uint64_t now) {
  struct mg_listener *l = c->listener;
  struct timespec t;
  if (l->log_turn != c->mgr->clock) {
    clock_gettime(CLOCK_REALTIME, &t);
    l->log_ahead = t.tv_sec > 0 ? (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec - now : 0 - now;
    l->log_turn = c->mgr->clock;
  }
  return (l->log_ahead + now) / 1000;
}

void mg_http_log_end(struct mg_connection *c, struct mg_http_xchg *x, bool whole) {
  static const struct mg_str middles[] = {
#define MIDDLE(level) {(char *) (size_t) ",\"level\":\"" level "\",\"message\":\"request\"", sizeof(",\"level\":\"" level "\",\"message\":\"request\"") - 1}
      MIDDLE("info"), MIDDLE("warning"), MIDDLE("error")
#undef MIDDLE
  };
  struct mg_http_record *r = x->log;
  char front[FRONT], *p = front, *start, *e = r->end;
  uint64_t now = mg_nanos(), wall = wall_us(c, now), took = now > r->began ? (now - r->began) / 1000 : 0;
  int status = x->status > 0 ? x->status : 499;
  int level = status >= 500 ? MG_HTTP_LOG_ERROR : status >= 400 ? MG_HTTP_LOG_WARNING : MG_HTTP_LOG_INFO;
  x->log = NULL;
  if (!whole && level == MG_HTTP_LOG_INFO) level = MG_HTTP_LOG_WARNING;
  p = PUT(p, "{\"ts\":");
  p = put_number(p, wall / 1000000);
  *p++ = '.';
  p = put_digits(p, wall % 1000000, 6);
  p = put(p, middles[level].buf, middles[level].len);
  start = r->text + FRONT - (p - front);
  memcpy(start, front, (size_t) (p - front));
  e = PUT(e, ",\"status\":");
  e = put_number(e, (uint64_t) status);
  e = PUT(e, ",\"duration_ms\":");
  e = put_number(e, took / 1000);
  *e++ = '.';
  *e++ = (char) ('0' + took % 1000 / 100);
  e = put_digits(e, took % 100, 2);
  e = PUT(e, ",\"bytes_in\":");
  e = put_number(e, x->body_in);
  e = PUT(e, ",\"bytes_out\":");
  e = put_number(e, x->body_out);
  if (!whole) e = PUT(e, ",\"aborted\":true");
  *e++ = '}';
  if (c->listener->log != NULL) c->listener->log(c->listener->log_arg, level, mg_str_n(start, (size_t) (e - start)));
  record_free(mg_http_pool(c->mgr), r);
}
