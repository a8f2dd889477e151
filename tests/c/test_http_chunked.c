/* The chunked decoder against tests/vectors/http/chunked.md, fed in every way, and the promises of its header. */
#include "check.h"
#include "mongoose/base/status.h"
#include "mongoose/codec/http_chunked.h"
#include "vectors.h"

struct outcome {
  ptrdiff_t status; /* 0 or MG_E… */
  size_t used, payload_len;
  char payload[32768];
  bool done;
};

static struct mg_str str(const char *s, size_t n) {
  struct mg_str r = {(char *) s, n};
  return r;
}

/* Feed bytes[0..len) in pieces whose size `first`, then `step`; each piece ends at a forbidden page. */
static void decode(const char *bytes, size_t len, size_t first, size_t step, struct outcome *o) {
  struct mg_http_chunked c = {0};
  struct mg_str body;
  memset(o, 0, sizeof(*o));
  for (size_t piece = first; o->used < len && !c.done && o->status == 0; piece = step) {
    size_t n = len - o->used < piece ? len - o->used : piece, at = 0;
    char *copy = mg_test_guarded(bytes + o->used, n);
    while (at < n && !c.done) {
      ptrdiff_t took = mg_http_chunked_feed(&c, str(copy + at, n - at), &body);
      if (took < 0) {
        o->status = took;
        CHECK_INT(body.len, 0);
        CHECK_INT(mg_http_chunked_feed(&c, str(copy + at, n - at), &body), took); /* for good */
        break;
      }
      CHECK(took > 0 && (size_t) took <= n - at);
      CHECK(body.buf >= copy + at && body.buf + body.len <= copy + at + took);
      if (took <= 0 || o->payload_len + body.len > sizeof(o->payload)) abort();
      memcpy(o->payload + o->payload_len, body.buf, body.len);
      o->payload_len += body.len;
      at += (size_t) took;
    }
    o->used += at;
    if (c.done) CHECK_INT(mg_http_chunked_feed(&c, str("x", 1), &body), 0);
    mg_test_unguard(copy, n);
  }
  o->done = c.done;
}

static void judge(const struct vector *v, size_t first, size_t step) {
  static struct outcome o;
  const struct vector_fact *expect = vector_fact(v, "expect"), *payload = vector_fact(v, "payload"),
                           *rest = vector_fact(v, "rest");
  int before = check_failed;
  if (expect == NULL || payload == NULL) abort();
  decode(v->bytes, v->len, first, step, &o);
  CHECK_INT(o.status, strcmp(expect->text, "bad") == 0 ? MG_EPROTO : strcmp(expect->text, "big") == 0 ? MG_ETOOBIG : 0);
  CHECK_INT(o.done, strcmp(expect->text, "ok") == 0);
  CHECK_MEM(o.payload, o.payload_len, payload->text, payload->len);
  if (o.done) CHECK_INT(v->len - o.used, rest == NULL ? 0 : rest->len);
  if (o.done && rest != NULL) CHECK_MEM(v->bytes + o.used, v->len - o.used, rest->text, rest->len);
  if (check_failed != before) fprintf(stderr, "^ %s, first %zu, step %zu\n", v->name, first, step);
}

static void each(void (*fn)(const struct vector *v)) {
  struct vector *all = vectors_read("http/chunked.md");
  CHECK(all != NULL);
  for (struct vector *v = all; v != NULL; v = v->next) fn(v);
  vectors_free(all);
}

static void whole(const struct vector *v) {
  judge(v, v->len, 1);
}
static void byte_by_byte(const struct vector *v) {
  judge(v, 1, v->len < 2000 ? 1 : 13);
}
static void at_every_cut(const struct vector *v) {
  for (size_t cut = 1; cut < v->len; cut += v->len < 2000 ? 1 : 331) judge(v, cut, v->len);
}

TEST(vectors_hold_when_fed_whole) {
  each(whole);
}
TEST(vectors_hold_byte_by_byte) {
  each(byte_by_byte);
}
TEST(vectors_hold_at_every_cut) {
  each(at_every_cut);
}

/* What a decoder allows, told by bytes: for each state, the bytes that may follow. */
TEST(only_the_grammars_bytes_pass) {
  const char *digits = "0123456789abcdefABCDEF",
             *token = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const struct {
    const char *before, *more;
    bool token, text;
  } rows[] = {{"", digits, false, false},
              {"1", "0123456789abcdefABCDEF; \t\r", false, false},
              {"1 ", "; \t", false, false},
              {"1;", " \t", true, false},
              {"1;a", "=; \t\r", true, false},
              {"1;a ", "=; \t", false, false},
              {"1;a=", "\" \t", true, false},
              {"1;a=b", "; \t\r", true, false},
              {"1;a=\"", "", false, true},
              {"1;a=\"\\", "", false, true},
              {"1;a=\"b\"", "; \t\r", false, false},
              {"1\r", "\n", false, false},
              {"1\r\nx", "\r", false, false},
              {"1\r\nx\r", "\n", false, false},
              {"1\r\nx\r\n", digits, false, false},
              {"0\r\n", "\r", true, false},
              {"0\r\nX", ":", true, false},
              {"0\r\nX:", "\r", false, true},
              {"0\r\nX:\r", "\n", false, false},
              {"0\r\n\r", "\n", false, false}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    for (int b = 0; b < 256; b++) {
      struct mg_http_chunked c = {0};
      struct mg_str body;
      char byte = (char) b;
      bool legal = b != 0 && strchr(rows[i].more, b) != NULL;
      legal |= rows[i].token && b != 0 && strchr(token, b) != NULL;
      legal |= rows[i].text && (b == '\t' || (b >= 0x20 && b != 0x7f));
      size_t n = strlen(rows[i].before), at = 0;
      while (at < n) {
        ptrdiff_t took = mg_http_chunked_feed(&c, str(rows[i].before + at, n - at), &body);
        if (took <= 0) abort();
        at += (size_t) took;
      }
      CHECK_INT(mg_http_chunked_feed(&c, str(&byte, 1), &body), legal ? 1 : MG_EPROTO);
    }
  }
}

TEST(each_call_yields_one_piece) {
  struct mg_http_chunked c = {0};
  struct mg_str body;
  const char *text = "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
  CHECK_INT(mg_http_chunked_feed(&c, str(text, strlen(text)), &body), 10); /* up to the second chunk's payload */
  CHECK_STR(body, "ab");
  CHECK_INT(mg_http_chunked_feed(&c, str(text + 10, strlen(text) - 10), &body), 8);
  CHECK_STR(body, "c");
  CHECK(c.done);
}

TEST(nothing_takes_nothing) {
  struct mg_http_chunked c = {0};
  struct mg_str body;
  CHECK_INT(mg_http_chunked_feed(&c, str(NULL, 0), &body), 0);
  CHECK_INT(body.len, 0);
}

TEST(a_chunk_beyond_4_gib_is_counted_down) {
  static char zeros[1 << 20];
  struct mg_http_chunked c = {0};
  struct mg_str body;
  uint64_t want = 0x100000001u, got = 0;
  CHECK_INT(mg_http_chunked_feed(&c, str("100000001\r\n", 11), &body), 11);
  while (got < want &&
         mg_http_chunked_feed(&c, str(zeros, want - got < sizeof(zeros) ? (size_t) (want - got) : sizeof(zeros)),
                              &body) > 0) {
    got += body.len;
  }
  CHECK(got == want && c.left == 0);
  CHECK_INT(mg_http_chunked_feed(&c, str("\r\n0\r\n\r\n", 7), &body), 7);
  CHECK(c.done);
}

CHECK_MAIN
