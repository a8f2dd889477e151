#include "file_helpers.h"
#include "http_helpers.h"
#include "mongoose/proto/http_file.h"

static struct mg_connection *server;
static struct mg_http_serve_opts opts;
static char root[64], map[256];
static int msgs;

static void serve(struct mg_connection *c, int ev, void *ev_data) {
  if (ev != MG_EV_HTTP_MSG) return;
  msgs++;
  if (!mg_http_serve_dir(c, (struct mg_http_message *) ev_data, &opts)) {
    CHECK_INT(mgr.status, MG_ENOMEM);
    c->is_closing = 1;
  }
}

static struct peer up(void) {
  loop_up();
  folder_make();
  put_folder("root");
  put_folder("root/sub");
  put_file("root/index.html", "index");
  put_file("root/a.txt", "0123456789");
  put_file("root/sub/b", "b");
  put_file("root/.hidden", "secret");
  put_file("secret", "secret");
  snprintf(root, sizeof(root), "%s", in_folder("root"));
  memset(&opts, 0, sizeof(opts));
  opts.root_dir = root;
  msgs = 0;
  server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve, NULL);
  return dial(server);
}

static void down(struct peer *p) {
  hang_up(p);
  folder_remove();
  loop_down();
}

static int path_of(const char *path, bool decode, bool dotfiles, char *to, size_t room) {
  return mg_http_path(mg_str(path), decode, dotfiles, to, room);
}

TEST(a_path_is_decoded_once_and_name_by_name) {
  char to[64];
  CHECK_INT(path_of("/a//b%20c/%2541/", true, false, to, sizeof(to)), 0);
  CHECK(strcmp(to, "a/b c/%41") == 0);
  CHECK_INT(path_of("a%20b", false, false, to, sizeof(to)), 0);
  CHECK(strcmp(to, "a%20b") == 0);
  CHECK_INT(path_of("///", true, false, to, sizeof(to)), 0);
  CHECK(strcmp(to, "") == 0);
}

TEST(a_path_that_could_leave_is_refused) {
  static const struct {
    const char *path;
    int status;
  } rows[] = {{"/..", 404}, {"/a/../b", 404}, {"/%2e%2E", 404}, {"/.", 404}, {"/a%2fb", 404}, {"/a\\b", 404}, {"/a%5cb", 404}, {"/%00", 400},
              {"/a%00b", 400}, {"/%", 400}, {"/%g0", 400}, {"/%2", 400}, {"/.x", 404}};
  char to[64];
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) CHECK_INT(path_of(rows[i].path, true, false, to, sizeof(to)), rows[i].status);
  CHECK_INT(path_of("/.x", true, true, to, sizeof(to)), 0);
  CHECK_INT(path_of("/..", true, true, to, sizeof(to)), 404);
}

TEST(a_path_is_never_written_beyond_its_room) {
  char to[16];
  for (size_t room = 1; room <= sizeof(to); room++) {
    memset(to, 'x', sizeof(to));
    CHECK_INT(path_of("/abc/defgh/i", true, false, to, room), room > strlen("abc/defgh/i") ? 0 : 404);
    for (size_t i = room; i < sizeof(to); i++) CHECK(to[i] == 'x');
  }
}

LOOP_TEST(files_of_a_folder_are_served) {
  struct peer p = up();
  say(&p, GET("/a.txt") GET("/") GET("/sub/b") GET("/nothing") GET("/.hidden") GET("/sub/"));
  CHECK(UNTIL(answers(&p) == 6));
  CHECK_ANSWER(&p, 0, 200, "0123456789");
  CHECK_ANSWER(&p, 1, 200, "index");
  CHECK_ANSWER(&p, 2, 200, "b");
  CHECK_ANSWER(&p, 3, 404, "404 Not Found\n");
  CHECK_ANSWER(&p, 4, 404, "404 Not Found\n");
  CHECK_ANSWER(&p, 5, 404, "404 Not Found\n");
  CHECK_INT(msgs, 6);
  down(&p);
}

LOOP_TEST(a_folder_without_its_slash_is_redirected_here) {
  struct peer p = up();
  say(&p, GET("/sub?q=%22<") GET("//sub") "POST /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
  CHECK(UNTIL(answers(&p) == 3));
  CHECK(has(&p, "301 Moved Permanently\r\nLocation: /sub/?q=%22%3C\r\n"));
  CHECK_INT(count_in(&p, "\r\nLocation: /sub/\r\n"), 1);
  CHECK(has(&p, "405 Method Not Allowed"));
  CHECK(has(&p, "\r\nAllow: GET, HEAD\r\n"));
  down(&p);
}

LOOP_TEST(prefixes_choose_the_folder) {
  struct peer p = up();
  snprintf(map, sizeof(map), "%s,/x=%s/sub,/x/y/=%s", root, root, root);
  opts.root_dir = map;
  say(&p, GET("/x/b") GET("/x/y/a.txt") GET("/xx/b") GET("/a.txt") GET("/x"));
  CHECK(UNTIL(answers(&p) == 5));
  CHECK_ANSWER(&p, 0, 200, "b");
  CHECK_ANSWER(&p, 1, 200, "0123456789");
  CHECK_ANSWER(&p, 2, 404, "404 Not Found\n");
  CHECK_ANSWER(&p, 3, 200, "0123456789");
  CHECK(has(&p, "\r\nLocation: /x/\r\n"));
  down(&p);
}

LOOP_TEST(a_route_of_files_needs_no_handler) {
  struct peer p = up();
  struct mg_http_serve_opts o = opts;
  CHECK(mg_route_serve(server, mg_str("/files/"), &o));
  o.cache_control = "max-age=5";
  CHECK(mg_route_serve(server, mg_str("/files/sub"), &o));
  CHECK(mg_route_static(server, mg_str("/files/fixed"), 200, mg_str(""), mg_str("fixed")));
  say(&p, GET("/files/a.txt") GET("/files/sub/a.txt") GET("/files/fixed") GET("/files") GET("/filesx"));
  CHECK(UNTIL(answers(&p) == 5));
  CHECK_ANSWER(&p, 0, 200, "0123456789");
  CHECK_ANSWER(&p, 1, 200, "0123456789");
  CHECK_ANSWER(&p, 2, 200, "fixed");
  CHECK_INT(count_in(&p, "\r\nCache-Control: max-age=5\r\n"), 1);
  CHECK(has(&p, "\r\nLocation: /files/\r\n"));
  CHECK_INT(msgs, 1);
  CHECK(!mg_route_serve(server, mg_str("files"), &o));
  o.root_dir = "";
  CHECK(!mg_route_serve(server, mg_str("/"), &o));
  CHECK_INT(mgr.status, MG_EINVAL);
  down(&p);
}

LOOP_TEST(a_page_of_ones_own_says_not_found) {
  struct peer p = up();
  opts.page404 = in_folder("root/sub/b");
  say(&p, GET("/nothing") "HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(UNTIL(count_in(&p, "404 Not Found") == 2));
  CHECK_ANSWER(&p, 0, 404, "b");
  down(&p);
}

LOOP_TEST(without_memory_it_says_so_or_ends) {
  for (long n = 1; n < 16; n++) {
    struct peer p = up();
    if (n % 2) CHECK(mg_route_serve(server, mg_str("/"), &opts));
    turns(1);
    say(&p, GET("/a.txt"));
    mg_alloc_fail_at((n + 1) / 2);
    turns(3);
    mg_alloc_fail_at(0);
    CHECK(UNTIL(answers(&p) == 1 || gone(&p)));
    down(&p);
  }
}

CHECK_MAIN
