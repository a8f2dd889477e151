#include "file_helpers.h"
#include "http_helpers.h"
#include "mongoose/proto/http_static.h"

#define ERROR "[an error occurred while processing this directive]"

static char root[64], page[64];

static void serve(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_HTTP_MSG) CHECK(mg_http_serve_ssi(c, root, page));
  (void) ev_data;
}

static struct peer up(const char *text) {
  loop_up();
  folder_make();
  put_folder("root");
  put_folder("root/sub");
  put_file("secret", "secret");
  put_file("root/part", "PART");
  put_file("root/sub/two", "2<!--#include file=\"three\"-->");
  put_file("root/sub/three", "3");
  put_link("root/out", "../secret");
  put_file("root/page", text);
  snprintf(root, sizeof(root), "%s", in_folder("root"));
  snprintf(page, sizeof(page), "%s", in_folder("root/page"));
  return dial(mg_http_listen(&mgr, "http://127.0.0.1:0", serve, NULL));
}

static void down(struct peer *p) {
  hang_up(p);
  folder_remove();
  loop_down();
}

static void becomes(const char *text, const char *want) {
  struct peer p = up(text);
  say(&p, GET("/"));
  CHECK(UNTIL(answers(&p) == 1));
  CHECK_ANSWER(&p, 0, 200, want);
  down(&p);
}

TEST(includes_are_put_in) {
  becomes("", "");
  becomes("a<b", "a<b");
  becomes("[<!--#include file=\"part\" -->]", "[PART]");
  becomes("<!--#include virtual=\"/sub/two\"-->", "23");
  becomes("<!--#  include\n virtual=\"sub/%74wo\" -->.", "23.");
}

TEST(what_is_no_include_stays_or_is_an_error) {
  becomes("<!-- text --><!--", "<!-- text --><!--");
  becomes("<!--#include file=\"part\"", "<!--#include file=\"part\"");
  becomes("<!--#exec cmd=\"id\"-->", ERROR);
  becomes("<!--#include-->", ERROR);
  becomes("<!--#include file=part-->", ERROR);
  becomes("<!--#include file=\"part-->", ERROR);
  becomes("<!--#include file=\"\"-->", ERROR);
  becomes("<!--#include href=\"part\"-->", ERROR);
}

TEST(nothing_outside_is_included) {
  becomes("<!--#include file=\"../secret\"-->", ERROR);
  becomes("<!--#include virtual=\"/../secret\"-->", ERROR);
  becomes("<!--#include virtual=\"/%2e%2e/secret\"-->", ERROR);
  becomes("<!--#include file=\"/etc/passwd\"-->", ERROR);
  becomes("<!--#include file=\"out\"-->", ERROR);
}

TEST(a_page_that_includes_itself_ends) {
  becomes("x<!--#include file=\"page\"-->", "xxxxxxxxx" ERROR);
}

TEST(a_page_that_includes_itself_very_often_ends_when_it_is_too_large) {
  enum { TIMES = 200 };
  static const char one[] = "<!--#include file=\"page\"-->";
  char *text = (char *) calloc(TIMES * sizeof(one) + 300000, 1);
  struct peer p;
  for (int i = 0; i < TIMES; i++) strcat(text, one);
  memset(text + strlen(text), 'x', 250000); /* so that few pages are too many */
  p = up(text);
  alarm(60); /* 200 to the power of 8 files would be read */
  say(&p, GET("/"));
  CHECK(UNTIL(answers(&p) == 1));
  CHECK_ANSWER(&p, 0, 500, "500 Internal Server Error\n");
  alarm(0);
  down(&p);
  free(text);
}

LOOP_TEST(a_page_outside_of_the_root_is_not_there) {
  struct peer p = up("");
  static const char *const bad[] = {"secret", "root/../secret", "root/out", "root/nothing", "root", "rootx"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    snprintf(page, sizeof(page), "%s", in_folder(bad[i]));
    p.len = 0;
    say(&p, GET("/"));
    CHECK(UNTIL(answers(&p) == 1));
    CHECK_ANSWER(&p, 0, 404, "404 Not Found\n");
  }
  down(&p);
}

CHECK_MAIN
