#include <errno.h>
#include <fcntl.h>
#include "file_helpers.h"
#include "mongoose/proto/file_cache.h"

static const char *text_of(int fd) {
  static char buf[64];
  ssize_t n;
  if (fd < 0) return NULL;
  n = read(fd, buf, sizeof(buf) - 1);
  buf[n > 0 ? n : 0] = '\0';
  close(fd);
  return buf;
}

static bool opens(const char *rel, bool walk, const char *want) {
  const char *got = text_of(mg_open_beneath(in_folder("root"), rel, O_RDONLY, walk));
  return want == NULL ? got == NULL : got != NULL && strcmp(got, want) == 0;
}

static void make(void) {
  folder_make();
  put_folder("root");
  put_folder("root/sub");
  put_file("secret", "secret");
  put_file("root/a", "a");
  put_file("root/sub/b", "b");
  put_link("root/in", "sub/b");
  put_link("root/sub/up", "../a");
  put_link("root/out", "../secret");
  put_link("root/folder-out", "..");
  put_link("root/absolute", in_folder("root/a"));
  put_link("root/loop", "loop");
  put_link("root/proc", "/proc/self/root");
}

TEST(files_inside_are_opened_either_way) {
  make();
  for (int walk = 0; walk < 2; walk++) {
    CHECK(opens("a", walk, "a"));
    CHECK(opens("sub/b", walk, "b"));
    CHECK(opens("sub//b", walk, "b"));
  }
  folder_remove();
}

TEST(nothing_outside_is_opened_either_way) {
  static const char *const bad[] = {"out", "folder-out/secret", "absolute", "loop", "nothing", "a/b", "proc/etc/passwd", "sub/nothing/x"};
  make();
  for (int walk = 0; walk < 2; walk++) {
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) CHECK(opens(bad[i], walk, NULL));
  }
  CHECK(opens("../secret", false, NULL) || errno == ENOSYS);
  folder_remove();
}

TEST(links_that_stay_inside_are_followed_by_the_kernel_and_never_by_walking) {
  int fd;
  make();
  fd = mg_open_beneath(in_folder("root"), "in", O_RDONLY, false);
#if defined(__linux__)
  if (fd >= 0) CHECK(strcmp(text_of(fd), "b") == 0); /* else an old kernel: it walked */
  if (opens("in", false, "b")) CHECK(opens("sub/up", false, "a"));
#else
  CHECK(fd < 0);
#endif
  CHECK(opens("in", true, NULL));
  CHECK(opens("sub/up", true, NULL));
  folder_remove();
}

TEST(the_folder_itself_and_what_is_no_folder) {
  int fd;
  make();
  for (int walk = 0; walk < 2; walk++) {
    fd = mg_open_beneath(in_folder("root"), "", O_RDONLY | O_DIRECTORY, walk);
    CHECK(fd >= 0);
    if (fd >= 0) close(fd);
    CHECK(mg_open_beneath(in_folder("root/a"), "x", O_RDONLY, walk) < 0);
    CHECK(mg_open_beneath(in_folder("nothing"), "x", O_RDONLY, walk) < 0);
  }
  folder_remove();
}

TEST(a_fifo_is_not_opened_by_walking_and_holds_nobody_up) {
  int fd;
  make();
  CHECK(mkfifo(in_folder("root/fifo"), 0600) == 0);
  CHECK(mg_open_beneath(in_folder("root"), "fifo", O_RDONLY, true) < 0);
  fd = mg_open_beneath(in_folder("root"), "fifo", O_RDONLY, false); /* the caller looks first, with O_PATH */
  if (fd >= 0) close(fd);
  folder_remove();
}

CHECK_MAIN
