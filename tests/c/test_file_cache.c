#include <fcntl.h>
#include "file_helpers.h"
#include "loop_helpers.h"
#include "mongoose/proto/file_cache.h"
#include "mongoose/proto/http.h"

static enum mg_file_kind get(const char *name, bool again, struct mg_file **f) {
  const char *path = in_folder(name);
  return mg_file_get(&mgr, path, strlen(path), strlen(folder), again, f);
}

static void up(void) {
  loop_up();
  folder_make();
}

static void down(void) {
  folder_remove();
  loop_down();
}

TEST(a_file_is_opened_once) {
  struct mg_file *a, *b;
  up();
  put_file("a", "12345");
  CHECK_INT(get("a", false, &a), MG_FILE_REGULAR);
  CHECK_INT(get("a", true, &b), MG_FILE_REGULAR);
  CHECK(a == b);
  CHECK_INT(a->size, 5);
  CHECK(a->etag.len > 2 && a->etag.buf[0] == '"' && a->etag.buf[a->etag.len - 1] == '"');
  mg_file_drop(a);
  mg_file_drop(b);
  down();
}

TEST(other_kinds_are_not_opened) {
  struct mg_file *f;
  up();
  put_folder("d");
  CHECK(mkfifo(in_folder("fifo"), 0600) == 0);
  put_link("out", "/etc/passwd");
  CHECK_INT(get("d", false, &f), MG_FILE_FOLDER);
  CHECK_INT(get("", false, &f), MG_FILE_FOLDER);
  CHECK_INT(get("fifo", false, &f), MG_FILE_NONE);
  CHECK_INT(get("out", false, &f), MG_FILE_NONE);
  CHECK_INT(get("nothing", false, &f), MG_FILE_NONE);
  CHECK(f == NULL);
  down();
}

TEST(a_replaced_file_is_another_one_from_the_next_turn_on) {
  struct mg_file *a, *b;
  up();
  put_file("a", "old");
  turns(1);
  CHECK_INT(get("a", false, &a), MG_FILE_REGULAR);
  put_file("new", "newer");
  CHECK(rename(in_folder("new"), in_folder("a")) == 0);
  CHECK_INT(get("a", false, &b), MG_FILE_REGULAR);
  CHECK(a == b); /* what was asked in this turn was asked before */
  mg_file_drop(b);
  CHECK_INT(get("a", true, &b), MG_FILE_REGULAR);
  CHECK(a != b && b->size == 5);
  mg_file_drop(b);
  turns(1);
  CHECK(unlink(in_folder("a")) == 0);
  CHECK_INT(get("a", false, &b), MG_FILE_NONE);
  CHECK_INT(a->size, 3); /* held, so it is still there */
  mg_file_drop(a);
  down();
}

TEST(a_file_changed_in_place_is_noticed) {
  struct mg_file *a, *b;
  up();
  put_file("a", "old");
  CHECK_INT(get("a", false, &a), MG_FILE_REGULAR);
  put_file("a", "longer");
  CHECK_INT(get("a", true, &b), MG_FILE_REGULAR);
  CHECK_INT(b->size, 6);
  mg_file_drop(a);
  mg_file_drop(b);
  down();
}

static int open_descriptors(void) {
  int n = 0;
  for (int fd = 0; fd < 4096; fd++) n += fcntl(fd, F_GETFD) >= 0;
  return n;
}

TEST(descriptors_are_bounded_and_given_back) {
  struct mg_file *f, *held;
  int before;
  up();
  before = open_descriptors();
  mgr.max_connections = 16 * 20;
  put_file("held", "held");
  CHECK_INT(get("held", false, &held), MG_FILE_REGULAR);
  for (int i = 0; i < 100; i++) {
    char name[16], byte;
    snprintf(name, sizeof(name), "%d", i);
    put_file(name, name);
    CHECK_INT(get(name, false, &f), MG_FILE_REGULAR);
    CHECK(pread(f->fd, &byte, 1, 0) == 1 && byte == name[0]);
    mg_file_drop(f);
  }
  CHECK(open_descriptors() <= before + 21);
  mg_file_drop(held);
  loop_down();
  CHECK(open_descriptors() < before);
  folder_remove();
}

TEST(files_nobody_asks_for_are_closed_after_a_while) {
  struct mg_file *f;
  int before;
  up();
  put_file("a", "a");
  before = open_descriptors();
  CHECK_INT(get("a", false, &f), MG_FILE_REGULAR);
  mg_file_drop(f);
  CHECK_INT(open_descriptors(), before + 1);
  mg_mgr_poll(&mgr, 0);
  mg_timer_poll(&mgr.timers, mgr.now); /* it is seen for the first time */
  mgr.now += 20000;
  mg_timer_poll(&mgr.timers, mgr.now);
  CHECK_INT(open_descriptors(), before);
  down();
}

TEST(without_memory_it_is_busy_and_nothing_leaks) {
  struct mg_file *f;
  up();
  put_file("a", "a");
  for (long n = 1; n < 4; n++) {
    mg_alloc_fail_at(n);
    if (get("a", false, &f) == MG_FILE_REGULAR) mg_file_drop(f);
    mg_alloc_fail_at(0);
  }
  CHECK_INT(get("a", false, &f), MG_FILE_REGULAR);
  mg_file_drop(f);
  down();
}

CHECK_MAIN
