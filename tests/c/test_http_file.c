#include "file_helpers.h"
#include "http_helpers.h"
#include "mongoose/proto/http_static.h"

static struct mg_connection *server;
static struct mg_http_serve_opts opts;
static char file[512];

static void serve(struct mg_connection *c, int ev, void *ev_data) {
  if (ev == MG_EV_HTTP_MSG) CHECK(mg_http_serve_file(c, (struct mg_http_message *) ev_data, file, &opts));
}

static struct peer up(void) {
  loop_up();
  folder_make();
  put_file("a.txt", "0123456789");
  snprintf(file, sizeof(file), "%s", in_folder("a.txt"));
  memset(&opts, 0, sizeof(opts));
  server = mg_http_listen(&mgr, "http://127.0.0.1:0", serve, NULL);
  return dial(server);
}

static void down(struct peer *p) {
  hang_up(p);
  folder_remove();
  loop_down();
}

#define ASK(fields) "GET / HTTP/1.1\r\nHost: x\r\n" fields "\r\n"

LOOP_TEST(ranges_of_a_file) {
  struct peer p = up();
  say(&p, ASK("Range: bytes=2-4\r\n") ASK("Range: bytes=-1\r\n") ASK("Range: bytes=10-\r\n") ASK("Range: x\r\n"));
  CHECK(UNTIL(answers(&p) == 4));
  CHECK_ANSWER(&p, 0, 206, "234");
  CHECK_ANSWER(&p, 1, 206, "9");
  CHECK_ANSWER(&p, 2, 416, "416 Range Not Satisfiable\n");
  CHECK_ANSWER(&p, 3, 200, "0123456789");
  CHECK(has(&p, "\r\nContent-Range: bytes 2-4/10\r\n"));
  CHECK(has(&p, "\r\nContent-Range: bytes */10\r\n"));
  down(&p);
}

LOOP_TEST(two_ranges_are_two_parts) {
  struct peer p = up();
  say(&p, ASK("Range: bytes=0-0,5-6\r\n") ASK(""));
  CHECK(UNTIL(answers(&p) == 2)); /* its length is right: the next answer is where it should be */
  CHECK(has(&p, "Content-Range: bytes 0-0/10\r\n\r\n0\r\n--"));
  CHECK(has(&p, "Content-Range: bytes 5-6/10\r\n\r\n56\r\n--"));
  CHECK_ANSWER(&p, 1, 200, "0123456789");
  down(&p);
}

LOOP_TEST(fields_of_ones_own_take_the_place_of_ours) {
  struct peer p = up();
  opts.extra_headers = "content-type: a/b\r\nX-Y: z\r\n";
  opts.cache_control = "no-cache";
  say(&p, ASK("") ASK("If-None-Match: *\r\n"));
  CHECK(UNTIL(count_in(&p, "X-Y: z\r\n") == 2));
  CHECK_INT(count_in(&p, "ontent-"), 3); /* the type, twice, and the length of the one that has a body */
  CHECK_INT(count_in(&p, "Content-Type"), 0);
  CHECK_INT(count_in(&p, "Cache-Control: no-cache\r\n"), 2);
  CHECK_INT(count_in(&p, "304 Not Modified\r\n"), 1);
  down(&p);
}

LOOP_TEST(a_large_file_arrives_whole_and_one_cut_short_ends_the_connection) {
  enum { BIG = 5 << 20 };
  struct peer p = up();
  char *data = (char *) malloc(BIG);
  FILE *f = fopen(file, "w");
  struct answer a;
  for (int i = 0; i < BIG; i++) data[i] = (char) (i * 7 + i / 1000);
  CHECK(f != NULL && fwrite(data, 1, BIG, f) == BIG && fclose(f) == 0);
  say(&p, ASK(""));
  CHECK(UNTIL(answers(&p) == 1));
  CHECK(answer_at(&p, 0, false, &a) && a.len == BIG && memcmp(a.body, data, BIG) == 0);
  answer_free(&a);
  free(data);
  hang_up(&p);

  p = dial_with(server, 4096);
  say(&p, ASK("") ASK(""));
  CHECK(UNTIL(pump_some(&p, 1) && p.len > 0));
  CHECK(truncate(file, 100) == 0);
  CHECK(UNTIL(gone(&p)));
  CHECK(p.len < BIG);
  CHECK_INT(count_in(&p, "HTTP/1.1"), 1);
  down(&p);
}

/* A file system without links whose files are made up. */
static int made_st(const char *path, size_t *size, time_t *mtime) {
  if (strcmp(path, "/made/big") != 0) return 0;
  if (size != NULL) *size = 100000;
  if (mtime != NULL) *mtime = 1000000000;
  return MG_FS_READ;
}
static size_t made_at;
static void *made_op(const char *path, int flags) {
  (void) path, (void) flags;
  made_at = 0;
  return &made_at;
}
static void made_cl(void *fd) {
  (void) fd;
}
static size_t made_rd(void *fd, void *buf, size_t len) {
  size_t n = 100000 - made_at < 1000 ? 100000 - made_at : 1000;
  (void) fd;
  if (n > len) n = len;
  for (size_t i = 0; i < n; i++) ((char *) buf)[i] = (char) ('a' + (made_at + i) % 26);
  made_at += n;
  return n;
}
static size_t made_sk(void *fd, size_t offset) {
  (void) fd;
  return made_at = offset;
}

LOOP_TEST(another_file_system_is_read_to_be_sent) {
  struct mg_fs made = {made_st, NULL, made_op, made_cl, made_rd, NULL, made_sk, NULL, NULL, NULL};
  struct peer p = up();
  struct answer a;
  opts.fs = &made;
  strcpy(file, "/made/big");
  say(&p, ASK("Range: bytes=26-28\r\n") ASK("If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n") ASK(""));
  CHECK(UNTIL(answers(&p) == 3));
  CHECK_ANSWER(&p, 0, 206, "abc");
  CHECK(has(&p, "304 Not Modified"));
  CHECK(has(&p, "\r\nContent-Length: 100000\r\n"));
  strcpy(file, "/made/nothing");
  p.len = 0;
  say(&p, ASK(""));
  CHECK(UNTIL(answers(&p) == 1));
  CHECK(answer_at(&p, 0, false, &a));
  CHECK_INT(a.status, 404);
  answer_free(&a);
  down(&p);
}

CHECK_MAIN
