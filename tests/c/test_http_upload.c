#include "file_helpers.h"
#include "http_helpers.h"
#include "mongoose/base/printf.h"
#include "mongoose/proto/http_upload.h"

static struct mg_connection *server;
static char dir[64], whole[512];
static long result;
static int msgs, closes;
static bool whole_ok;
static size_t most;

static void handle(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_http_message *hm = (struct mg_http_message *) ev_data;
  if (ev == MG_EV_HTTP_HDRS && mg_strcmp(hm->uri, mg_str("/whole")) == 0) {
    whole_ok = mg_http_start_upload(c, hm, &mg_fs_posix, whole, most);
    if (!whole_ok) mg_http_reply(c, 500, NULL, "no");
  } else if (ev == MG_EV_HTTP_MSG && mg_strcmp(hm->uri, mg_str("/part")) == 0) {
    result = mg_http_upload(c, hm, &mg_fs_posix, dir, most);
  } else if (ev == MG_EV_HTTP_MSG) {
    msgs++;
    mg_http_reply(c, 200, NULL, "other");
  } else if (ev == MG_EV_CLOSE && c->is_accepted) {
    closes++;
  }
}

static struct peer up(void) {
  loop_up();
  folder_make();
  put_folder("up");
  put_file("secret", "secret");
  snprintf(dir, sizeof(dir), "%s", in_folder("up"));
  snprintf(whole, sizeof(whole), "%s", in_folder("up/whole"));
  most = 100;
  msgs = closes = 0;
  server = mg_http_listen(&mgr, "http://127.0.0.1:0", handle, NULL);
  return dial(server);
}

static void down(struct peer *p) {
  hang_up(p);
  CHECK(UNTIL(connections_of(server) == 0));
  folder_remove();
  loop_down();
}

static void post(struct peer *p, const char *target, const char *body) {
  char text[1024];
  snprintf(text, sizeof(text), "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", target, strlen(body), body);
  say(p, text);
}

static bool file_is(const char *name, const char *want) {
  struct mg_str s = mg_file_read(&mg_fs_posix, in_folder(name));
  bool same = want == NULL ? s.buf == NULL : s.buf != NULL && mg_strcmp(s, mg_str(want)) == 0;
  mg_free(s.buf);
  return same;
}

/* No file but these many is in the folder. */
static int files_in(const char *name) {
  DIR *d = opendir(in_folder(name));
  struct dirent *e;
  int n = 0;
  while (d != NULL && (e = readdir(d)) != NULL) n += e->d_name[0] != '.';
  if (d != NULL) closedir(d);
  return n;
}

LOOP_TEST(parts_are_put_together_and_a_wrong_offset_is_told) {
  struct peer p = up();
  post(&p, "/part?file=a.bin&offset=0", "01234");
  post(&p, "/part?file=a.bin&offset=5", "56789");
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_ANSWER(&p, 0, 200, "5");
  CHECK_ANSWER(&p, 1, 200, "10");
  CHECK(file_is("up/a.bin", "0123456789"));
  post(&p, "/part?file=a.bin&offset=5", "56789"); /* sent twice */
  post(&p, "/part?file=a.bin&offset=11", "x");     /* one was lost */
  CHECK(UNTIL(answers(&p) == 4));
  CHECK_ANSWER(&p, 2, 409, "10 bytes are there\n");
  CHECK_ANSWER(&p, 3, 409, "10 bytes are there\n");
  CHECK_INT(result, -409);
  CHECK(file_is("up/a.bin", "0123456789"));
  post(&p, "/part?file=a.bin", "new");
  CHECK(UNTIL(answers(&p) == 5));
  CHECK_INT(result, 3);
  CHECK(file_is("up/a.bin", "new"));
  down(&p);
}

/* CVE-2022-25299 */
LOOP_TEST(no_name_leads_out_of_the_folder) {
  static const char *const names[] = {"../secret", "..%2fsecret", "%2e%2e/secret", "..%5csecret", "/etc/x", "%2fetc%2fx", "a/b", "..", ".", ".hidden", "",
                                      "a%00b", "a%0ab", "a%", "%zz", "link"};
  struct peer p = up();
  int n = (int) (sizeof(names) / sizeof(names[0]));
  put_link("up/link", "../secret");
  put_folder("up/folder");
  for (int i = 0; i < n; i++) {
    char target[100];
    snprintf(target, sizeof(target), "/part?offset=0&file=%s", names[i]);
    post(&p, target, "evil");
    CHECK(UNTIL(answers(&p) == i + 1));
    CHECK_INT(result, -400);
  }
  post(&p, "/part?file=folder", "evil");
  post(&p, "/part?offset=0", "evil");
  CHECK(UNTIL(answers(&p) == n + 2));
  CHECK_INT(count_in(&p, "HTTP/1.1 400 "), n + 2);
  CHECK(file_is("secret", "secret"));
  CHECK_INT(files_in("up"), 2);
  down(&p);
}

LOOP_TEST(offsets_and_sizes_are_checked) {
  static const struct {
    const char *query;
    long want;
  } rows[] = {{"offset=x", -400}, {"offset=-1", -400}, {"offset=", -400}, {"offset=1e3", -400}, {"offset=99999999999999999999", -400},
              {"offset=18446744073709551615", -413}, {"offset=99", -413}, {"offset=1", -409}, {"offset=0", 3}};
  struct peer p = up();
  for (int i = 0; i < (int) (sizeof(rows) / sizeof(rows[0])); i++) {
    char target[100];
    snprintf(target, sizeof(target), "/part?file=a&%s", rows[i].query);
    post(&p, target, "abc");
    CHECK(UNTIL(answers(&p) == i + 1));
    CHECK_INT(result, rows[i].want);
  }
  most = 2;
  post(&p, "/part?file=b", "abc");
  CHECK(UNTIL(answers(&p) == 10));
  CHECK_INT(result, -413);
  CHECK(file_is("up/b", NULL));
  snprintf(dir, sizeof(dir), "%s", in_folder("nowhere"));
  most = 100;
  post(&p, "/part?file=b", "abc");
  CHECK(UNTIL(answers(&p) == 11));
  CHECK_INT(result, -500);
  down(&p);
}

LOOP_TEST(a_body_replaces_the_file_when_it_is_whole) {
  struct peer p = up();
  put_file("up/whole", "old");
  say(&p, "PUT /whole HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n");
  CHECK(UNTIL(files_in("up") == 2));
  CHECK(file_is("up/whole", "old"));
  say(&p, "3\r\n567\r\n0\r\n\r\n" GET("/next"));
  CHECK(UNTIL(answers(&p) == 2));
  CHECK_ANSWER(&p, 0, 200, "8");
  CHECK_ANSWER(&p, 1, 200, "other");
  CHECK(file_is("up/whole", "01234567"));
  CHECK_INT(files_in("up"), 1);
  post(&p, "/whole", "");
  CHECK(UNTIL(answers(&p) == 3));
  CHECK_ANSWER(&p, 2, 200, "0");
  CHECK(file_is("up/whole", ""));
  CHECK_INT(msgs, 1);
  down(&p);
  CHECK_INT(closes, 1);
}

LOOP_TEST(a_client_that_goes_away_or_says_too_much_leaves_nothing) {
  struct peer p = up(), q;
  put_file("up/whole", "old");
  say(&p, "PUT /whole HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n01234");
  CHECK(UNTIL(files_in("up") == 2));
  hang_up(&p);
  CHECK(UNTIL(closes == 1));
  CHECK_INT(files_in("up"), 1);
  q = dial(server);
  say(&q, "PUT /whole HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n60\r\n");
  for (int i = 0; i < 12; i++) say(&q, "01234567");
  say(&q, "\r\n60\r\n01234567");
  CHECK(UNTIL(answers(&q) == 1));
  CHECK_ANSWER(&q, 0, 413, "body too large");
  CHECK(UNTIL(files_in("up") == 1 || gone(&q)));
  hang_up(&q);
  CHECK(UNTIL(closes == 2));
  CHECK_INT(files_in("up"), 1);
  CHECK(file_is("up/whole", "old"));
  p = dial(server);
  say(&p, "PUT /whole HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n01"); /* the manager goes first */
  CHECK(UNTIL(files_in("up") == 2));
  mg_mgr_free(&mgr);
  CHECK_INT(files_in("up"), 1);
  CHECK_INT(closes, 3);
  hang_up(&p);
  folder_remove();
}

LOOP_TEST(a_file_that_cannot_be_made_leaves_the_request_to_the_handler) {
  struct peer p = up();
  snprintf(whole, sizeof(whole), "%s", in_folder("nowhere/x"));
  post(&p, "/whole", "abc");
  CHECK(UNTIL(answers(&p) == 1));
  CHECK_ANSWER(&p, 0, 500, "no");
  CHECK(!whole_ok);
  CHECK_INT(mgr.status, MG_EIO);
  down(&p);
}

/* Every allocation of an upload fails once. */
TEST(without_memory_there_is_an_answer_or_a_close_and_no_file) {
  for (long at = 1; at < 40; at++) {
    struct peer p = up();
    UNTIL(connections_of(server) == 1);
    mg_alloc_fail_at(at);
    say(&p, "PUT /whole HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n");
    turns(10);
    say(&p, "0\r\n\r\n");
    UNTIL(gone(&p) || answers(&p) == 1);
    mg_alloc_fail_at(0);
    CHECK(files_in("up") == 0 || file_is("up/whole", "01234"));
    down(&p);
  }
}
CHECK_MAIN
