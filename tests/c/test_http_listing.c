#include "file_helpers.h"
#include "http_helpers.h"
#include "mongoose/proto/http_static.h"

static const struct mg_mem_file packed[] = {{"/web/a<b>", "1", 1, 0}, {"/web/sub/c", "22", 2, 0}, {"/web/.x", "", 0, 0}, {NULL, NULL, 0, 0}};
static struct mg_http_serve_opts opts;
static char root[64];

static void serve(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_HTTP_MSG) CHECK(mg_http_serve_dir(c, (struct mg_http_message *) ev_data, &opts));
}

static struct peer up(void) {
  loop_up();
  folder_make();
  memset(&opts, 0, sizeof(opts));
  snprintf(root, sizeof(root), "%s", folder);
  opts.root_dir = root;
  opts.listing = true;
  return dial(mg_http_listen(&mgr, "http://127.0.0.1:0", serve, NULL));
}

static void down(struct peer *p) {
  hang_up(p);
  folder_remove();
  loop_down();
}

LOOP_TEST(names_are_escaped_as_text_and_as_links) {
  struct peer p = up();
  put_file("<i>&\"'", "");
  put_file("javascript:x", "");
  put_folder("d");
  say(&p, GET("/"));
  CHECK(UNTIL(answers(&p) == 1));
  CHECK_INT(count_in(&p, "<i>"), 0);
  CHECK(has(&p, "<a href=\"./%3ci%3e%26%22%27\">&lt;i&gt;&amp;&quot;&#"));
  CHECK(has(&p, "<a href=\"./javascript%3ax\">"));
  CHECK(has(&p, "<a href=\"./d/\">d/</a>"));
  CHECK_INT(count_in(&p, "href=\"../\""), 0);
  down(&p);
}

LOOP_TEST(what_is_not_served_is_not_shown) {
  struct peer p = up();
  put_file(".hidden", "");
  put_link("out", "/etc/passwd");
  put_link("broken", "nowhere");
  put_link("inside", "a");
  put_file("a", "");
  CHECK(mkfifo(in_folder("fifo"), 0600) == 0);
  say(&p, GET("/"));
  CHECK(UNTIL(answers(&p) == 1));
  CHECK_INT(count_in(&p, "<a href"), 2);
  CHECK(has(&p, "./a\"") && has(&p, "./inside\""));
  down(&p);
}

LOOP_TEST(a_packed_folder_is_listed_too) {
  struct peer p = up();
  mg_mem_files = packed;
  opts.root_dir = "/web";
  opts.fs = &mg_fs_packed;
  say(&p, GET("/") GET("/sub/") GET("/nothing/"));
  CHECK(UNTIL(answers(&p) == 3));
  CHECK(has(&p, "a&lt;b&gt;"));
  CHECK(has(&p, "./sub/\""));
  CHECK(has(&p, "./c\""));
  CHECK_INT(count_in(&p, "./.x"), 0);
  CHECK_INT(count_in(&p, "404 Not Found\r\n"), 1);
  mg_mem_files = mg_packed_files;
  down(&p);
}

CHECK_MAIN
