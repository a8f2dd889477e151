#include "file_helpers.h"
#include "mongoose/base/fs.h"

/* As the pack tool makes it: this definition takes the place of the library's empty one. */
const struct mg_mem_file mg_packed_files[] = {
    {"/web/index.html", "<h1>", 4, 1000}, {"/web/sub/a.txt", "aaa", 3, 2000}, {"/web/sub/b.txt", "", 0, 3000}, {"/webby", "x", 1, 0}, {NULL, NULL, 0, 0}};

static char names[256];

static void note(const char *name, void *arg) {
  strcat(strcat(names, name), ",");
  (void) arg;
}

static const char *list(const char *path) {
  names[0] = '\0';
  mg_fs_packed.ls(path, note, NULL);
  return names;
}

TEST(packed_files_are_found_by_their_path) {
  size_t size = 0;
  time_t mtime = 0;
  CHECK_STR(mg_unpacked("/web/index.html"), "<h1>");
  CHECK(mg_unpacked("/web/sub/b.txt").buf != NULL);
  CHECK(mg_unpacked("/web/sub").buf == NULL);
  CHECK_INT(mg_fs_packed.st("/web/sub/a.txt", &size, &mtime), MG_FS_READ);
  CHECK_INT(size, 3);
  CHECK_INT(mtime, 2000);
  CHECK_INT(mg_fs_packed.st("/nothing", NULL, NULL), 0);
}

TEST(folders_are_what_is_in_front_of_a_slash) {
  CHECK_INT(mg_fs_packed.st("/web", NULL, NULL), MG_FS_READ | MG_FS_DIR);
  CHECK_INT(mg_fs_packed.st("/web/sub/", NULL, NULL), MG_FS_READ | MG_FS_DIR);
  CHECK_INT(mg_fs_packed.st("/we", NULL, NULL), 0);
  CHECK(strcmp(list("/web"), "index.html,sub,") == 0);
  CHECK(strcmp(list("/web/sub/"), "a.txt,b.txt,") == 0);
  CHECK(strcmp(list(""), "web,webby,") == 0);
  CHECK(strcmp(list("/webby"), "") == 0);
}

TEST(a_handle_reads_and_seeks_and_never_writes) {
  char buf[8];
  void *fd = mg_fs_packed.op("/web/sub/a.txt", MG_FS_READ);
  CHECK(fd != NULL);
  CHECK_INT(mg_fs_packed.rd(fd, buf, 2), 2);
  CHECK_INT(mg_fs_packed.rd(fd, buf, sizeof(buf)), 1);
  CHECK_INT(mg_fs_packed.rd(fd, buf, sizeof(buf)), 0);
  CHECK_INT(mg_fs_packed.sk(fd, 1), 1);
  CHECK_INT(mg_fs_packed.sk(fd, 100), 3);
  CHECK_INT(mg_fs_packed.wr(fd, "x", 1), 0);
  mg_fs_packed.cl(fd);
  CHECK(mg_fs_packed.op("/web/sub/a.txt", MG_FS_WRITE) == NULL);
  CHECK(mg_fs_packed.op("/web/sub", MG_FS_READ) == NULL);
}

TEST(a_program_may_bring_its_own_list) {
  static const struct mg_mem_file own[] = {{"/own", "1", 1, 0}, {NULL, NULL, 0, 0}};
  mg_mem_files = own;
  CHECK_STR(mg_unpacked("/own"), "1");
  CHECK(mg_unpacked("/web/index.html").buf == NULL);
  mg_mem_files = NULL;
  CHECK(mg_unpacked("/own").buf == NULL);
  CHECK_INT(mg_fs_packed.st("/own", NULL, NULL), 0);
  mg_mem_files = mg_packed_files;
}

CHECK_MAIN
