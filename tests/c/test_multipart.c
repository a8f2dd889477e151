/* Forms taken apart: whole, byte by byte and at every cut, each piece ending at a forbidden page. */
#include "check.h"
#include "mongoose/codec/multipart.h"

/* What came out, as text: "[name|filename|type]content;" for each part, "." at the end, "!status" for a refusal. */
struct outcome {
  char text[65536];
  size_t len;
  const char *why;
};

static struct mg_multipart m;

static void put(struct outcome *o, struct mg_str s) {
  if (o->len + s.len >= sizeof(o->text)) abort();
  if (s.len > 0) memcpy(o->text + o->len, s.buf, s.len);
  o->len += s.len;
}

static void put_or_dash(struct outcome *o, struct mg_str s) {
  put(o, s.buf == NULL ? mg_str("-") : s);
}

static int feed(struct outcome *o, struct mg_str in) {
  enum mg_multipart_event event;
  do {
    ptrdiff_t n = mg_multipart_feed(&m, in, &event);
    if (n < 0) {
      CHECK_INT(mg_multipart_feed(&m, in, &event), n); /* for good */
      return (int) n;
    }
    CHECK((size_t) n <= in.len);
    in.buf += n;
    in.len -= (size_t) n;
    if (event == MG_MULTIPART_PART) {
      put(o, mg_str("["));
      put(o, m.part.name);
      put(o, mg_str("|"));
      put_or_dash(o, m.part.filename);
      put(o, mg_str("|"));
      put_or_dash(o, m.part.type);
      put(o, mg_str("]"));
    } else if (event == MG_MULTIPART_DATA) {
      CHECK(m.data.len > 0);
      put(o, m.data);
    } else if (event == MG_MULTIPART_END_OF_PART) {
      put(o, mg_str(";"));
    } else if (event == MG_MULTIPART_END) {
      put(o, mg_str("."));
    }
  } while (event != MG_MULTIPART_MORE);
  CHECK_INT(in.len, 0);
  return 0;
}

static void run(const char *type, const char *bytes, size_t len, size_t first, size_t step, struct outcome *o) {
  int status = mg_multipart_init(&m, mg_str((char *) type));
  o->len = 0;
  for (size_t at = 0, piece = first; status == 0 && at < len; piece = step) {
    size_t n = len - at < piece ? len - at : piece;
    char *copy = mg_test_guarded(bytes + at, n);
    status = feed(o, mg_str_n(copy, n));
    mg_test_unguard(copy, n);
    at += n;
  }
  if (status == 0) status = mg_multipart_finish(&m);
  o->why = m.why;
  if (status < 0) {
    char text[16];
    snprintf(text, sizeof(text), "!%d", -status);
    put(o, mg_str(text));
  }
}

static struct outcome o;

/* Every way of cutting gives this. */
static void check_n(const char *type, const char *bytes, size_t len, const char *want, size_t want_len) {
  int before = check_failed;
  run(type, bytes, len, len, len, &o);
  CHECK_MEM(o.text, o.len, want, want_len);
  run(type, bytes, len, 1, 1, &o);
  CHECK_MEM(o.text, o.len, want, want_len);
  for (size_t cut = 1; cut < len && check_failed == before; cut++) {
    run(type, bytes, len, cut, len, &o);
    CHECK_MEM(o.text, o.len, want, want_len);
    if (check_failed != before) fprintf(stderr, "^ cut at %zu\n", cut);
  }
}

#define TYPE "multipart/form-data; boundary=b"
#define EXPECT_OF(type, bytes, want) check_n(type, bytes, sizeof(bytes) - 1, want, sizeof(want) - 1)
#define EXPECT(bytes, want) EXPECT_OF(TYPE, bytes, want)
#define PART(params) "--b\r\nContent-Disposition: form-data; " params "\r\n\r\n"

TEST(fields_and_files_come_out_in_order) {
  EXPECT(PART("name=a") "1\r\n" PART("name=\"b\"; filename=\"x.txt\"") "two\r\nlines\r\n" PART("name=c") "\r\n--b--\r\n",
         "[a|-|-]1;[b|x.txt|-]two\r\nlines;[c|-|-];.");
  EXPECT("--b\r\ncontent-type:  text/plain; charset=utf-8 \r\nX-Other: 1\r\nCONTENT-DISPOSITION:form-data;name=a;filename=\"\"\r\n\r\n\r\n--b--",
         "[a||text/plain; charset=utf-8];.");
}

TEST(a_form_without_parts_is_one) {
  EXPECT("--b--", ".");
  EXPECT("--b--\r\n", ".");
}

TEST(what_is_before_and_behind_is_ignored) {
  EXPECT("preamble\r\n--a\r\n-\r\n--" "\r\r\n" PART("name=a") "1\r\n--b--\r\nepilogue\r\n--b\r\n", "[a|-|-]1;.");
  EXPECT("\r\n" PART("name=a") "1\r\n--b-- \t\r\n", "[a|-|-]1;.");
}

TEST(blanks_behind_a_boundary_are_padding) {
  EXPECT("--b \t\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--", "[a|-|-]1;.");
}

TEST(what_is_nearly_a_delimiter_is_content) {
  EXPECT(PART("name=a") "\r\n--a\r\r\n\r\n-\r\n--\r\n\n--b\r--b--b\r\n--b--", "[a|-|-]\r\n--a\r\r\n\r\n-\r\n--\r\n\n--b\r--b--b;.");
  EXPECT_OF("multipart/form-data; boundary=aab", "--aab\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--aa\r\n--aaab\r\n--aab--",
            "[a|-|-]\r\n--aa\r\n--aaab;.");
}

TEST(content_may_be_any_bytes) {
  static char body[700], want[600];
  int n = snprintf(body, sizeof(body), PART("name=a")), w = snprintf(want, sizeof(want), "[a|-|-]");
  for (int i = 0; i < 512; i++) body[n++] = want[w++] = (char) (255 - i % 256);
  n += snprintf(body + n, sizeof(body) - (size_t) n, "\r\n--b--");
  w += snprintf(want + w, sizeof(want) - (size_t) w, ";.");
  check_n(TYPE, body, (size_t) n, want, (size_t) w);
}

TEST(quotes_and_backslashes_are_undone) {
  EXPECT(PART("name=\"a \\\"b\\\" ; c=d\"; filename=\"C:\\new\\\\table.txt\"") "\r\n--b--", "[a \"b\" ; c=d|C:\\new\\table.txt|-];.");
  EXPECT(PART("name=\"\xc3\xa4\xff\"; filename=\"a%22b\"") "\r\n--b--", "[\xc3\xa4\xff|a%22b|-];.");
}

TEST(extended_filenames_win) {
  EXPECT(PART("name=a; filename=\"plain\"; filename*=UTF-8''na%C3%AFve%20file.txt") "\r\n--b--", "[a|na\xc3\xafve file.txt|-];.");
  EXPECT(PART("name=a; filename*=utf-8'en'%2e%2E%2fx; filename=plain") "\r\n--b--", "[a|../x|-];.");
  EXPECT(PART("name=a; filename*=koi8-r''%C1; filename=plain") "\r\n--b--", "[a|plain|-];.");
}

static void refused(const char *bytes, size_t len, const char *why) {
  char want[] = "!400";
  int before = check_failed;
  run(TYPE, bytes, len, len, len, &o);
  CHECK(o.len >= 4 && memcmp(o.text + o.len - 4, want, 4) == 0);
  CHECK(o.why != NULL && strcmp(o.why, why) == 0);
  {
    static char kept[65536];
    size_t n = o.len;
    memcpy(kept, o.text, n);
    check_n(TYPE, bytes, len, kept, n);
  }
  if (check_failed != before) fprintf(stderr, "^ %s: %s\n", why, o.why);
}
#define REFUSED(bytes, why) refused(bytes, sizeof(bytes) - 1, why)

TEST(cut_forms_are_refused) {
  static const char body[] = PART("name=a") "1\r\n--b--";
  for (size_t n = 0; n + 1 < sizeof(body); n++) {
    run(TYPE, body, n, n > 0 ? n : 1, 1, &o);
    CHECK(o.len >= 4 && memcmp(o.text + o.len - 4, "!400", 4) == 0);
    CHECK(strcmp(o.why, "the form ends before its closing boundary") == 0);
  }
  REFUSED("nothing of the kind", "the form ends before its closing boundary");
}

/* CVE-2026-73258: a lone CR or LF, or a NUL, in what are lines to one reader and not to another. */
TEST(odd_bytes_in_heads_are_refused) {
  const char *why = "illegal byte in the head of a part";
  REFUSED("--b\r\nContent-Disposition: form-data; name=a\n\r\n1\r\n--b--", why);
  REFUSED("--b\r\nContent-Disposition: form-data; name=a\r\r\n\r\n1\r\n--b--", why);
  REFUSED("--b\r\nContent-Disposition: form-data; name=\"a\rb\"\r\n\r\n1\r\n--b--", why);
  REFUSED("--b\r\nContent-Disposition: form-data; name=\"a\nX: y\"\r\n\r\n1\r\n--b--", why);
  REFUSED("--b\r\nContent-Disposition: form-data; name=\"a\0b\"\r\n\r\n1\r\n--b--", why);
  REFUSED("--b\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\n1\r\n--b--", why); /* folded */
  REFUSED("--b\r\n: x\r\n\r\n1\r\n--b--", why);
  REFUSED("--b\r\n\n1\r\n--b--", why);
}

TEST(odd_bytes_behind_boundaries_are_refused) {
  const char *why = "illegal byte behind a boundary";
  REFUSED("--bx\r\n\r\n", why);
  REFUSED("--b\nContent-Disposition: form-data; name=a\n\n1\n--b--\n", why);
  REFUSED("--b\rx", why);
  REFUSED("--b-x", why);
  REFUSED(PART("name=a") "1\r\n--bb\r\n", why);
}

TEST(heads_must_tell_one_name) {
  REFUSED("--b\r\n\r\n1\r\n--b--", "a part has no Content-Disposition");
  REFUSED("--b\r\nContent-Type: text/plain\r\n\r\n1\r\n--b--", "a part has no Content-Disposition");
  REFUSED(PART("filename=a") "1\r\n--b--", "a part has no name");
  REFUSED(PART("name=a; name=b") "1\r\n--b--", "a part has a name twice");
  REFUSED(PART("name=a; filename=b; FILENAME=c") "1\r\n--b--", "a part has a name twice");
  REFUSED("--b\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--b--", "a part is no form-data");
  REFUSED("--b\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\n1\r\n--b--",
          "a part has more than one Content-Disposition");
  REFUSED("--b\r\nContent-Type: a/b\r\nContent-Type: a/c\r\n\r\n", "a part has more than one Content-Type");
  REFUSED("--b\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name=a\r\n\r\nMQ==\r\n--b--",
          "a part has a Content-Transfer-Encoding");
  EXPECT("--b\r\nContent-Transfer-Encoding: BINARY\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--", "[a|-|-]1;.");
}

TEST(malformed_parameters_are_refused) {
  const char *why = "malformed Content-Disposition";
  REFUSED(PART("name=\"a") "\r\n--b--", why);
  REFUSED(PART("name=\"a\\\"") "\r\n--b--", why);
  REFUSED(PART("name") "\r\n--b--", why);
  REFUSED(PART("name=") "\r\n--b--", why);
  REFUSED(PART("name =a") "\r\n--b--", why);
  REFUSED(PART("name=a b") "\r\n--b--", why);
  REFUSED(PART("name=\"a\"b") "\r\n--b--", why);
  REFUSED(PART("name=a; filename*=utf-8'x") "\r\n--b--", "malformed filename*");
  REFUSED(PART("name=a; filename*=utf-8''%4") "\r\n--b--", "malformed filename*");
  REFUSED(PART("name=a; filename*=utf-8''a%00b") "\r\n--b--", "malformed filename*");
  REFUSED(PART("name=a; filename*=utf-8''a%0d%0ab") "\r\n--b--", "malformed filename*");
  REFUSED("--b\r\nNo-Colon\r\n\r\n1\r\n--b--", "malformed header line in a part");
  REFUSED("--b\r\nContent-Disposition : form-data; name=a\r\n\r\n1\r\n--b--", "malformed header line in a part");
  EXPECT(PART("; ;name=a; ;") "\r\n--b--", "[a|-|-];.");
}

static char *repeat(const char *what, size_t times, size_t *len) {
  size_t n = strlen(what);
  char *all = (char *) malloc(n * times + 1);
  if (all == NULL) abort();
  for (size_t i = 0; i < times; i++) memcpy(all + i * n, what, n);
  *len = n * times;
  return all;
}

static int parts_in(const char *bytes, size_t len, size_t step) {
  int status = mg_multipart_init(&m, mg_str(TYPE));
  o.len = 0;
  for (size_t at = 0; status == 0 && at < len; at += step) {
    status = feed(&o, mg_str_n((char *) bytes + at, len - at < step ? len - at : step));
    o.len = 0;
  }
  return status;
}

TEST(the_1001st_part_is_413) {
  size_t len, n = strlen(PART("name=a") "\r\n");
  char *all = repeat(PART("name=a") "\r\n", 1001, &len);
  CHECK_INT(parts_in(all, len, len), -413);
  CHECK_INT(parts_in(all, len, 1), -413);
  CHECK_INT(m.parts, 1001);
  CHECK_INT(parts_in(all, len - n, len), 0);
  free(all);
}

TEST(a_head_of_8_kib_is_the_most) {
  size_t len;
  char *body = (char *) malloc(20000), *x;
  for (int over = 0; over < 2; over++) {
    size_t fill = MG_MULTIPART_HEAD - strlen("Content-Disposition: form-data; name=\"\"\r\n\r\n") + (size_t) over;
    x = repeat("x", fill, &len);
    len = (size_t) snprintf(body, 20000, PART("name=\"%s\"") "\r\n--b--", x);
    for (size_t step = 1; step < 20000; step *= 10) CHECK_INT(parts_in(body, len, step), over ? -400 : 0);
    if (!over) CHECK_INT(m.part.name.len, fill);
    free(x);
  }
  free(body);
}

TEST(the_boundary_comes_from_the_content_type) {
  static const struct {
    const char *type;
    int status;
    const char *boundary;
  } rows[] = {{"multipart/form-data; boundary=abc", 0, "abc"},
              {"Multipart/Form-Data;BOUNDARY=\"a b:c\"; charset=utf-8", 0, "a b:c"},
              {" multipart/form-data ; charset=utf-8 ; boundary====x=/?:", 0, "===x=/?:"},
              {"multipart/form-data", -400, "no boundary"},
              {"multipart/form-data; boundary=", -400, "malformed Content-Type"},
              {"multipart/form-data; boundary=\"\"", -400, "no boundary"},
              {"multipart/form-data; boundary=a; boundary=b", -400, "more than one boundary"},
              {"multipart/form-data; boundary=\"a", -400, "malformed Content-Type"},
              {"multipart/form-data; boundary=\"a \"", -400, "illegal boundary"},
              {"multipart/form-data; boundary=\xc3\xa4", -400, "illegal boundary"},
              {"multipart/form-data, boundary=a", -415, "not multipart/form-data"},
              {"multipart/form-data; boundary=1234567890123456789012345678901234567890123456789012345678901234567890", 0,
               "1234567890123456789012345678901234567890123456789012345678901234567890"},
              {"multipart/form-data; boundary=12345678901234567890123456789012345678901234567890123456789012345678901", -400,
               "boundary too long"},
              {"multipart/mixed; boundary=a", -415, "not multipart/form-data"},
              {"application/x-www-form-urlencoded", -415, "not multipart/form-data"},
              {"", -415, "not multipart/form-data"}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    size_t len = strlen(rows[i].type);
    char *type = mg_test_guarded(rows[i].type, len);
    CHECK_INT(mg_multipart_init(&m, mg_str_n(type, len)), rows[i].status);
    if (rows[i].status == 0) {
      CHECK_MEM(m.delim + 4, m.delim_len - 4u, rows[i].boundary, strlen(rows[i].boundary));
    } else {
      CHECK_MEM(m.why, strlen(m.why), rows[i].boundary, strlen(rows[i].boundary));
      CHECK_INT(parts_in("", 0, 1), 0);
    }
    mg_test_unguard(type, len);
  }
}

TEST(headers_of_a_part_can_be_walked) {
  enum mg_multipart_event event;
  static const char body[] = "--b\r\nContent-Disposition: form-data; name=\"\\\"\"\r\nX-Empty:\r\nX-A: \t b c\t\r\n\r\n";
  struct mg_str head, name, value;
  CHECK_INT(mg_multipart_init(&m, mg_str(TYPE)), 0);
  CHECK_INT(mg_multipart_feed(&m, mg_str((char *) body), &event), sizeof(body) - 1);
  CHECK_INT(event, MG_MULTIPART_PART);
  head = m.part.head;
  CHECK(mg_multipart_next_header(&head, &name, &value));
  CHECK_STR(name, "Content-Disposition");
  CHECK_STR(value, "form-data; name=\"\\\"\"");
  CHECK(mg_multipart_next_header(&head, &name, &value));
  CHECK_STR(name, "X-Empty");
  CHECK_STR(value, "");
  CHECK(mg_multipart_next_header(&head, &name, &value));
  CHECK_STR(name, "X-A");
  CHECK_STR(value, "b c");
  CHECK(!mg_multipart_next_header(&head, &name, &value));
}

/* Werkzeug's CVE-2023-46136: a search that starts again at each CR. 8 MiB each; a quadratic one would not come back. */
TEST(no_content_takes_longer_than_linear_time) {
  static const char *const floods[] = {"\r", "\r\n", "\r\n--", "\r\n--aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
  for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
    size_t len, got = 0;
    char *all = repeat(floods[i], (8 << 20) / strlen(floods[i]), &len);
    enum mg_multipart_event event;
    CHECK_INT(mg_multipart_init(&m, mg_str("multipart/form-data; boundary=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")), 0);
    feed(&o, mg_str("--aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\r\nContent-Disposition: form-data; name=a\r\n\r\n"));
    for (size_t at = 0; at < len; at += 1000) {
      struct mg_str in = mg_str_n(all + at, len - at < 1000 ? len - at : 1000);
      do {
        ptrdiff_t n = mg_multipart_feed(&m, in, &event);
        if (n < 0) abort();
        if (event == MG_MULTIPART_DATA) got += m.data.len;
        in.buf += n;
        in.len -= (size_t) n;
      } while (event != MG_MULTIPART_MORE);
    }
    CHECK(got <= len && got + 80 >= len);
    free(all);
  }
}

TEST(mongooses_call_walks_over_a_whole_body) {
  static const char text[] = "--xyz\r\nContent-Disposition: form-data; name=\"val\"\r\n\r\nabc\r\ndef\r\n"
                             "--xyz\r\nContent-Disposition: form-data; name=\"d\\\"ata\"; filename=\"a b.txt\"\r\nContent-Type: text/plain\r\n\r\n"
                             "\r\n--xyz--\r\n";
  char *copy = mg_test_guarded(text, sizeof(text) - 1);
  struct mg_str body = mg_str_n(copy, sizeof(text) - 1);
  struct mg_http_part part;
  size_t at = mg_http_next_multipart(body, 0, &part);
  CHECK(at > 0);
  CHECK_STR(part.name, "val");
  CHECK_STR(part.filename, "");
  CHECK_STR(part.body, "abc\r\ndef");
  CHECK(part.body.buf > copy && part.body.buf < copy + body.len);
  CHECK(memcmp(copy + at, "--xyz\r\n", 7) == 0);
  at = mg_http_next_multipart(body, at, &part);
  CHECK(at > 0);
  CHECK_STR(part.name, "d\\\"ata");
  CHECK_STR(part.filename, "a b.txt");
  CHECK_STR(part.body, "");
  CHECK_INT(mg_http_next_multipart(body, at, &part), 0);
  CHECK_STR(part.filename, "a b.txt"); /* left alone */
  CHECK_INT(mg_http_next_multipart(body, at, NULL), 0);
  CHECK_INT(mg_http_next_multipart(body, body.len, &part), 0);
  CHECK_INT(mg_http_next_multipart(body, body.len + 5, &part), 0);
  mg_test_unguard(copy, sizeof(text) - 1);
}

TEST(mongooses_call_takes_no_cut_part) {
  static const char text[] = "--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x";
  struct mg_http_part part;
  for (size_t n = 0; n < sizeof(text) - 1; n++) {
    char *copy = mg_test_guarded(text, n);
    CHECK_INT(mg_http_next_multipart(mg_str_n(copy, n), 0, &part), 0);
    mg_test_unguard(copy, n);
  }
  CHECK_INT(mg_http_next_multipart(mg_str(text), 0, &part), sizeof(text) - 1 - 3);
  CHECK_INT(mg_http_next_multipart(mg_str(NULL), 0, &part), 0);
  CHECK_INT(mg_http_next_multipart(mg_str("x" "--x\r\n"), 0, &part), 0);
}

CHECK_MAIN
