/* The parser against the documents in tests/vectors/http, each fed in every way, and against what fits no document. */
#include "check.h"
#include "mongoose/codec/http_chars.h"
#include "mongoose/codec/http_parse.h"
#include "vectors.h"

#define NEXT_MESSAGE "GET /next HTTP/1.1\r\nHost: n\r\n\r\n"

static const char *documents[] = {"http/requests.md", "http/refused.md",   "http/smuggling.md",
                                  "http/limits.md",   "http/responses.md", NULL};

static struct mg_str str(const char *s, size_t n) {
  struct mg_str r = {(char *) s, n};
  return r;
}

static struct mg_http_parser fresh(const struct vector *v) {
  struct mg_http_parser p;
  memset(&p, 0, sizeof(p));
  p.is_response = strcmp(v->kind, "response") == 0;
  return p;
}

static bool equal(struct mg_str s, const struct vector_fact *fact) {
  return s.len == fact->len && memcmp(s.buf, fact->text, s.len) == 0;
}

static struct mg_str *part(struct mg_http_message *hm, const char *key) {
  if (strcmp(key, "method") == 0) return &hm->method;
  if (strcmp(key, "uri") == 0) return &hm->uri;
  if (strcmp(key, "query") == 0) return &hm->query;
  if (strcmp(key, "proto") == 0) return &hm->proto;
  return NULL;
}

static size_t count_headers(const struct mg_http_message *hm) {
  size_t n = 0;
  while (n < MG_MAX_HTTP_HEADERS && hm->headers[n].name.len > 0) n++;
  return n;
}

static void check_header(const struct mg_http_header *h, const struct vector_fact *fact) {
  size_t n = h->name.len, v = h->value.len;
  CHECK(fact->len >= n + 2 && memcmp(fact->text, h->name.buf, n) == 0 && memcmp(fact->text + n, " =", 2) == 0);
  CHECK(v == 0 ? fact->len == n + 2 : fact->len == n + 3 + v && memcmp(fact->text + n + 3, h->value.buf, v) == 0);
}

static void check_flags(const struct mg_http_parser *p, const char *want) {
  char got[100];
  snprintf(got, sizeof(got), "%s%s%s%s%s", p->keep_alive ? "keep-alive" : "close", p->chunked ? " chunked" : "",
           p->upgrade ? " upgrade" : "", p->expect_continue ? " continue" : "", p->is_head ? " head" : "");
  CHECK_MEM(got, strlen(got), want, strlen(want));
}

static void check_slices_lie_inside(const struct mg_http_message *hm, const char *from, const char *to) {
  const struct mg_str all[] = {hm->method, hm->uri, hm->query, hm->proto, hm->body, hm->head, hm->message};
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) CHECK(all[i].buf >= from && all[i].buf + all[i].len <= to);
  for (size_t i = 0; i < count_headers(hm); i++) {
    CHECK(hm->headers[i].name.buf >= from && hm->headers[i].value.buf + hm->headers[i].value.len <= to);
  }
}

/* Every fact of the document; `whole` when nothing was put behind the block, so that the body may be judged. */
static void check_facts(const struct vector *v, const struct mg_http_parser *p, struct mg_http_message *hm,
                        bool whole) {
  size_t headers = 0;
  for (size_t i = 0; i < v->nfacts; i++) {
    const struct vector_fact *fact = &v->facts[i];
    struct mg_str *slice = part(hm, fact->key);
    if (slice != NULL)
      CHECK(equal(*slice, fact));
    else if (strcmp(fact->key, "header") == 0)
      check_header(&hm->headers[headers++], fact);
    else if (strcmp(fact->key, "flags") == 0)
      check_flags(p, fact->text);
    else if (strcmp(fact->key, "body") == 0)
      CHECK(!whole || equal(hm->body, fact));
    else if (strcmp(fact->key, "length") == 0) {
      CHECK_INT(p->has_length, strcmp(fact->text, "none") != 0);
      if (p->has_length) CHECK_INT(p->content_length, strtoll(fact->text, NULL, 10));
    } else
      CHECK(strcmp(fact->key, "expect") == 0);
  }
  if (headers > 0) CHECK_INT(count_headers(hm), headers);
}

static int expected(const struct vector *v) {
  const struct vector_fact *fact = vector_fact(v, "expect");
  if (fact == NULL) {
    fprintf(stderr, "%s expects nothing\n", v->name);
    abort();
  }
  return strcmp(fact->text, "ok") == 0 ? 1 : strcmp(fact->text, "more") == 0 ? 0 : -atoi(fact->text);
}

/* Feed the prefixes 1 … len whose ends `cut` picks, each at a place of its own that ends at a forbidden page;
 * make every earlier place unreadable. Returns the last answer; hm points into *place, which the caller frees. */
static int feed(struct mg_http_parser *p, struct mg_http_message *hm, const char *bytes, size_t len, size_t first,
                size_t step, char **place, size_t *seen) {
  int n = 0;
  *place = NULL;
  for (size_t end = first;; end = end + step < len ? end + step : len) {
    char *copy = mg_test_guarded(bytes, end);
    n = mg_http_parse_head(p, str(copy, end), &mg_http_parse_defaults, hm);
    if (*place != NULL) mg_test_unguard(*place, *seen);
    *place = copy;
    *seen = end;
    if (n != 0 || end == len) return n;
  }
}

static void judge(const struct vector *v, const char *bytes, size_t len, size_t first, size_t step) {
  static struct mg_http_message hm;
  struct mg_http_parser p = fresh(v);
  int want = expected(v), before = check_failed, n;
  size_t seen;
  char *place;
  memset(&hm, 0xa5, sizeof(hm)); /* the parser must not count on zeros */
  n = feed(&p, &hm, bytes, len, first, step, &place, &seen);
  if (want <= 0) {
    CHECK_INT(n, want);
    if (want < 0) {
      CHECK(p.why != NULL && p.why[0] != '\0');
      CHECK_INT(mg_http_parse_head(&p, str(place, seen), &mg_http_parse_defaults, &hm), want); /* for good */
    }
  } else {
    CHECK(n > 0);
    if (n > 0) {
      check_slices_lie_inside(&hm, place, place + seen);
      check_facts(v, &p, &hm, seen == v->len && len == v->len);
      CHECK(hm.head.buf + hm.head.len == place + n);
      CHECK_MEM(place + n - 4, 4, "\r\n\r\n", 4);
      CHECK_INT(p.count, count_headers(&hm));
      CHECK(p.why == NULL);
    }
  }
  mg_test_unguard(place, seen);
  if (check_failed != before) fprintf(stderr, "^ %s, first %zu, step %zu\n", v->name, first, step);
}

static void each(void (*fn)(const struct vector *v)) {
  for (size_t i = 0; documents[i] != NULL; i++) {
    struct vector *all = vectors_read(documents[i]);
    CHECK(all != NULL);
    for (struct vector *v = all; v != NULL; v = v->next) fn(v);
    vectors_free(all);
  }
}

static void whole(const struct vector *v) {
  judge(v, v->bytes, v->len, v->len, 1);
}
static void byte_by_byte(const struct vector *v) {
  judge(v, v->bytes, v->len, 1, v->len < 2000 ? 1 : 61);
}
static void at_every_cut(const struct vector *v) {
  for (size_t cut = 1; cut < v->len; cut += v->len < 2000 ? 1 : 331) judge(v, v->bytes, v->len, cut, v->len - cut);
}
static void with_another_behind(const struct vector *v) {
  if (expected(v) == 0) return;
  size_t more = sizeof(NEXT_MESSAGE) - 1;
  char *both = (char *) malloc(v->len + more);
  if (both == NULL) abort();
  memcpy(both, v->bytes, v->len);
  memcpy(both + v->len, NEXT_MESSAGE, more);
  judge(v, both, v->len + more, v->len + more, 1);
  judge(v, both, v->len + more, 1, v->len < 2000 ? 1 : 61);
  free(both);
}

TEST(vectors_hold_when_fed_whole) {
  each(whole);
}
TEST(vectors_hold_byte_by_byte_while_the_buffer_moves) {
  each(byte_by_byte);
}
TEST(vectors_hold_at_every_cut) {
  each(at_every_cut);
}
TEST(vectors_hold_with_the_next_message_behind) {
  each(with_another_behind);
}

static int parse(struct mg_http_parser *p, struct mg_http_message *hm, const char *text) {
  memset(p, 0, sizeof(*p));
  return mg_http_parse_head(p, str(text, strlen(text)), &mg_http_parse_defaults, hm);
}

TEST(alphabets_are_those_of_the_rfc) {
  const char *alnum = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  for (int c = 0; c < 256; c++) {
    bool letter = c != 0 && strchr(alnum, c) != NULL, visible = c > 0x20 && c < 0x7f;
    bool value = c == '\t' || (c >= 0x20 && c != 0x7f);
    CHECK_INT(mg_http_is((char) c, MG_HTTP_TOKEN), letter || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL));
    CHECK_INT(mg_http_is((char) c, MG_HTTP_VALUE), value);
    CHECK_INT(mg_http_is((char) c, MG_HTTP_TARGET), visible && c != '#');
    CHECK_INT(mg_http_is((char) c, MG_HTTP_HOST), letter || (c != 0 && strchr("-._~%!$&'()*+,;=", c) != NULL));
    CHECK_INT(mg_http_is((char) c, MG_HTTP_QUOTED), value && c != '"' && c != '\\');
  }
}

/* The wide steps against the table: each byte value at each place of 40, so before, in and behind 16-byte steps. */
TEST(wide_scans_stop_where_the_table_says) {
  char text[40];
  for (int c = 0; c < 256; c++) {
    for (size_t at = 0; at < sizeof(text); at++) {
      memset(text, 'x', sizeof(text));
      text[at] = (char) c;
      char *s = mg_test_guarded(text, sizeof(text)), *end = s + sizeof(text);
      CHECK(mg_http_skip_name(s, end) == mg_http_skip(s, end, MG_HTTP_TOKEN));
      CHECK(mg_http_skip_value(s, end) == mg_http_skip(s, end, MG_HTTP_VALUE));
      CHECK(mg_http_skip_target(s, end) == mg_http_skip(s, end, MG_HTTP_TARGET));
      mg_test_unguard(s, sizeof(text));
    }
  }
}

TEST(words_of_every_length_compare_without_case) {
  const char *low = "abcdefghijklmnop-rstuvwxyz", *up = "ABCDEFGHIJKLMNOP-RSTUVWXYZ";
  char other[32];
  for (size_t n = 0; n <= 26; n++) {
    CHECK(mg_http_word(up, n, low, n));
    CHECK(!mg_http_word(up, n, low, n + 1));
    for (size_t i = 0; i < n; i++) {
      memcpy(other, up, 27);
      other[i] = '!';
      CHECK(!mg_http_word(other, n, low, n));
    }
  }
}

TEST(limits_of_the_caller_count) {
  static struct mg_http_message hm;
  const char *text = "GET /abcd HTTP/1.1\r\nHost: abc\r\n\r\n"; /* target 5, line 9, head 33, 1 field */
  struct mg_http_parse_limits exact = {5, 9, 33, 1}, l;
  struct {
    int index, status;
  } less[] = {{0, -414}, {1, -431}, {2, -431}, {3, -431}};
  struct mg_http_parser p = {0};
  CHECK_INT(mg_http_parse_head(&p, str(text, strlen(text)), &exact, &hm), 33);
  for (size_t i = 0; i < 4; i++) {
    l = exact;
    *(&l.max_uri + less[i].index) -= 1;
    mg_http_parser_reset(&p);
    CHECK_INT(mg_http_parse_head(&p, str(text, strlen(text)), &l, &hm), less[i].status);
  }
  l = exact;
  l.max_uri = l.max_header = l.max_head = l.max_count = UINT32_MAX;
  mg_http_parser_reset(&p);
  CHECK_INT(mg_http_parse_head(&p, str(text, strlen(text)), &l, &hm), 33);
}

TEST(an_unfinished_line_is_not_scanned_again) {
  static struct mg_http_message hm;
  char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX: bbbbbbbbbbbbbbbbbbbbbbb";
  size_t len = sizeof(text) - 1;
  struct mg_http_parser p = {0};
  CHECK_INT(mg_http_parse_head(&p, str(text, len), &mg_http_parse_defaults, &hm), 0);
  CHECK_INT(p.scanned, len);
  memset(text + 16, 1, len - 17); /* looked at once: illegal bytes put there later go unseen */
  CHECK_INT(mg_http_parse_head(&p, str(text, len), &mg_http_parse_defaults, &hm), 0);
}

TEST(a_finished_head_gets_its_body_as_it_grows) {
  static struct mg_http_message hm;
  const char *text = "\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET";
  size_t head = strlen(text) - 8;
  struct mg_http_parser p = {0};
  for (size_t n = head; n <= head + 8; n++) {
    char *copy = mg_test_guarded(text, n);
    size_t body = n - head < 5 ? n - head : 5;
    CHECK_INT(mg_http_parse_head(&p, str(copy, n), &mg_http_parse_defaults, &hm), head);
    CHECK_MEM(hm.body.buf, hm.body.len, "hello", body);
    CHECK_STR(hm.method, "POST");
    CHECK(hm.message.buf == copy + 2 && hm.message.len == head - 2 + body); /* the blank line in front is not of it */
    CHECK(hm.head.buf == copy + 2 && hm.head.len == head - 2);
    mg_test_unguard(copy, n);
  }
}

TEST(reset_keeps_the_direction_only) {
  struct mg_http_parser p, want;
  memset(&p, 0xff, sizeof(p));
  memset(&want, 0, sizeof(want));
  p.is_response = want.is_response = 1;
  mg_http_parser_reset(&p);
  CHECK(memcmp(&p, &want, sizeof(p)) == 0);
}

TEST(a_response_to_head_has_no_body) {
  static struct mg_http_message hm;
  const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/";
  struct mg_http_parser p = {.is_response = 1, .is_head = 1};
  CHECK_INT(mg_http_parse_head(&p, str(text, strlen(text)), &mg_http_parse_defaults, &hm), strlen(text) - 5);
  CHECK_INT(hm.body.len, 0);
  CHECK_INT(p.content_length, 5);
}

TEST(nothing_is_not_a_head) {
  static struct mg_http_message hm;
  struct mg_http_parser p = {0};
  CHECK_INT(mg_http_parse_head(&p, str(NULL, 0), &mg_http_parse_defaults, &hm), 0);
  CHECK_INT(mg_http_parse(NULL, 0, &hm), 0);
  CHECK(mg_http_get_header(&hm, "Host") == NULL);
}

TEST(one_shot_takes_requests_and_responses) {
  static struct mg_http_message hm;
  const char *request = "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\nrest", *bare = "GET / HTTP/1.1\r\n\r\n";
  const char *post = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcdef",
             *response = "HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nxyz";
  CHECK_INT(mg_http_parse(request, strlen(request), &hm), strlen(request) - 4);
  CHECK_STR(hm.uri, "/a");
  CHECK_STR(hm.query, "b");
  CHECK_STR(hm.body, "");
  CHECK_INT(mg_http_status(&hm), 0);
  CHECK_INT(mg_http_parse(bare, strlen(bare), &hm), strlen(bare)); /* not malformed, only not servable */
  CHECK_INT(mg_http_parse(post, strlen(post), &hm), strlen(post) - 6);
  CHECK_STR(hm.body, "abc");
  CHECK_INT(mg_http_parse(response, strlen(response), &hm), strlen(response) - 3);
  CHECK_STR(hm.body, "xyz");
  CHECK_STR(hm.proto, "Not Found");
  CHECK_INT(mg_http_status(&hm), 404);
  CHECK_INT(mg_http_parse(request, 20, &hm), 0);
  CHECK_INT(mg_http_parse("GET /\n\n", 7, &hm), -1);
  CHECK_INT(mg_http_parse("HTTP/1.1 200\n", 13, &hm), -1);
}

TEST(request_len_wants_crlf_and_clean_bytes) {
  const struct {
    const char *text;
    int want;
  } rows[] = {{"", 0},
              {"GET / HTTP/1.1\r\n", 0},
              {"a\r\n\r\n", 5},
              {"a\r\n\r\nb", 5},
              {"a\r\nb: \xff\t\r\n\r\n", 12},
              {"\r\n\r\na\r\n\r\n", 9},
              {"\r\n\r\n\r\n", -1},
              {"a\r", 0},
              {"a\rb", -1},
              {"a\n", -1},
              {"a\x01", -1},
              {"a\x7f", -1}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    size_t n = strlen(rows[i].text);
    char *s = mg_test_guarded(rows[i].text, n);
    CHECK_INT(mg_http_get_request_len((unsigned char *) s, n), rows[i].want);
    mg_test_unguard(s, n);
  }
  CHECK_INT(mg_http_get_request_len((const unsigned char *) "a\0\r\n\r\n", 6), -1);
}

TEST(header_is_found_without_case_and_first_of_its_name) {
  static struct mg_http_message hm;
  struct mg_http_parser p;
  struct mg_str *value;
  CHECK(parse(&p, &hm, "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\nX-AB: 3\r\n\r\n") > 0);
  value = mg_http_get_header(&hm, "x-A");
  CHECK(value != NULL);
  if (value != NULL) CHECK_STR(*value, "1");
  CHECK(mg_http_get_header(&hm, "X-") == NULL);
  CHECK(mg_http_get_header(&hm, "") == NULL);
}

TEST(header_is_found_in_a_full_table) {
  static struct mg_http_message hm;
  static char text[4096];
  struct mg_http_parser p;
  strcpy(text, "GET / HTTP/1.1\r\n");
  for (int i = 0; i < MG_MAX_HTTP_HEADERS - 1; i++) strcat(text, "A: b\r\n");
  strcat(text, "Host: last\r\n\r\n");
  CHECK(parse(&p, &hm, text) > 0);
  CHECK_INT(count_headers(&hm), MG_MAX_HTTP_HEADERS);
  CHECK(mg_http_get_header(&hm, "Host") == &hm.headers[MG_MAX_HTTP_HEADERS - 1].value);
  CHECK(mg_http_get_header(&hm, "C") == NULL);
}

TEST(header_var_reads_parameters_and_cookies) {
  const struct {
    const char *s, *v, *want;
  } rows[] = {{"a; b=\"c\"", "b", "c"},
              {"multipart/form-data; boundary=--x", "boundary", "--x"},
              {"a=1; b=2;c=3", "c", "3"},
              {"Digest realm=\"a, b\", nonce=x", "nonce", "x"},
              {"Digest realm=\"a, b\"", "realm", "a, b"},
              {"x=\"nonce=y\"; nonce=z", "nonce", "z"},
              {"ab=1; b=2", "b", "2"},
              {"b=", "b", ""},
              {"b=a=c", "b", "a=c"},
              {"A=1; a=2", "a", "2"},
              {"BOUNDARY=x", "boundary", "x"},
              {"a=\"\\\"q\"; b=1", "b", "1"},
              {"a=\"open", "a", NULL},
              {"a", "a", NULL},
              {"", "a", NULL},
              {"=x", "", NULL},
              {"aa=1", "a", NULL}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    size_t n = strlen(rows[i].s);
    char *s = mg_test_guarded(rows[i].s, n);
    struct mg_str got = mg_http_get_header_var(str(s, n), str(rows[i].v, strlen(rows[i].v)));
    CHECK_INT(got.buf != NULL, rows[i].want != NULL);
    if (rows[i].want != NULL) CHECK_MEM(got.buf, got.len, rows[i].want, strlen(rows[i].want));
    mg_test_unguard(s, n);
  }
}

CHECK_MAIN
