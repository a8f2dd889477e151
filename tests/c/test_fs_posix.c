#include "file_helpers.h"
#include "mongoose/base/fs.h"

TEST(files_and_folders_are_told_apart) {
  size_t size = 99;
  time_t mtime = 0;
  struct stat st;
  folder_make();
  put_file("a", "12345");
  CHECK_INT(mg_fs_posix.st(in_folder("a"), &size, &mtime), MG_FS_READ | MG_FS_WRITE);
  CHECK_INT(size, 5);
  CHECK(stat(in_folder("a"), &st) == 0 && mtime == st.st_mtime);
  CHECK_INT(mg_fs_posix.st(in_folder(""), NULL, NULL), MG_FS_READ | MG_FS_WRITE | MG_FS_DIR);
  CHECK_INT(mg_fs_posix.st(in_folder("nothing"), &size, &mtime), 0);
  folder_remove();
}

TEST(a_handle_reads_seeks_and_appends) {
  char buf[8];
  void *fd;
  folder_make();
  fd = mg_fs_posix.op(in_folder("a"), MG_FS_WRITE);
  CHECK(fd != NULL);
  CHECK_INT(mg_fs_posix.wr(fd, "123", 3), 3);
  mg_fs_posix.cl(fd);
  fd = mg_fs_posix.op(in_folder("a"), MG_FS_READ | MG_FS_WRITE);
  CHECK_INT(mg_fs_posix.wr(fd, "45", 2), 2);
  CHECK_INT(mg_fs_posix.sk(fd, 1), 1);
  CHECK_INT(mg_fs_posix.rd(fd, buf, sizeof(buf)), 4);
  CHECK_MEM(buf, 4, "2345", 4);
  CHECK_INT(mg_fs_posix.rd(fd, buf, sizeof(buf)), 0);
  mg_fs_posix.cl(fd);
  CHECK(mg_fs_posix.mv(in_folder("a"), in_folder("b")));
  CHECK(!mg_fs_posix.rm(in_folder("a")));
  CHECK(mg_fs_posix.rm(in_folder("b")));
  CHECK(mg_fs_posix.mkd(in_folder("d")));
  CHECK(!mg_fs_posix.mkd(in_folder("d")));
  folder_remove();
}

TEST(what_is_no_file_is_not_opened_and_nobody_waits) {
  folder_make();
  CHECK(mkfifo(in_folder("fifo"), 0600) == 0);
  CHECK(mg_fs_posix.op(in_folder("fifo"), MG_FS_READ) == NULL);
  CHECK(mg_fs_posix.op(in_folder("fifo"), MG_FS_WRITE) == NULL);
  CHECK(mg_fs_posix.op(in_folder(""), MG_FS_READ) == NULL);
  CHECK(mg_fs_posix.op("/dev/null", MG_FS_READ) == NULL);
  folder_remove();
}

CHECK_MAIN
