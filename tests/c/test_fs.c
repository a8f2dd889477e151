#include "file_helpers.h"
#include "mongoose/base/alloc.h"
#include "mongoose/base/fs.h"

TEST(a_file_is_written_read_and_replaced) {
  struct mg_str s;
  folder_make();
  CHECK(mg_file_write(&mg_fs_posix, in_folder("a"), "a\0b", 3));
  s = mg_file_read(&mg_fs_posix, in_folder("a"));
  CHECK_MEM(s.buf, s.len + 1, "a\0b", 4);
  mg_free(s.buf);
  CHECK(mg_file_printf(&mg_fs_posix, in_folder("a"), "%d-%s", 5, "x"));
  s = mg_file_read(&mg_fs_posix, in_folder("a"));
  CHECK_STR(s, "5-x");
  mg_free(s.buf);
  CHECK(mg_file_write(&mg_fs_posix, in_folder("empty"), "", 0));
  s = mg_file_read(&mg_fs_posix, in_folder("empty"));
  CHECK(s.buf != NULL && s.len == 0);
  mg_free(s.buf);
  CHECK(mg_fs_posix.st(in_folder("a.tmp"), NULL, NULL) == 0);
  folder_remove();
}

TEST(a_left_over_of_an_earlier_write_does_not_stay) {
  struct mg_str s;
  folder_make();
  put_file("a.tmp", "half of something long");
  CHECK(mg_file_write(&mg_fs_posix, in_folder("a"), "new", 3));
  s = mg_file_read(&mg_fs_posix, in_folder("a"));
  CHECK_STR(s, "new");
  mg_free(s.buf);
  folder_remove();
}

TEST(what_cannot_be_read_or_written_is_told) {
  folder_make();
  CHECK(mg_file_read(&mg_fs_posix, in_folder("nothing")).buf == NULL);
  CHECK(mg_file_read(&mg_fs_posix, in_folder("")).buf == NULL);
  CHECK(!mg_file_write(&mg_fs_posix, in_folder("nowhere/a"), "x", 1));
  CHECK(!mg_file_write(&mg_fs_packed, "/a", "x", 1));
  CHECK(mg_fs_open(&mg_fs_posix, in_folder("nothing"), MG_FS_READ) == NULL);
  mg_fs_close(NULL);
  folder_remove();
}

TEST(a_folder_is_stepped_through_in_order) {
  char name[16] = "";
  folder_make();
  put_file("b", "");
  put_file("a", "");
  put_folder("c");
  put_file("a name that is longer", "");
  CHECK(mg_fs_ls(&mg_fs_posix, in_folder(""), name, sizeof(name)) && strcmp(name, "a") == 0);
  CHECK(mg_fs_ls(&mg_fs_posix, in_folder(""), name, sizeof(name)) && strcmp(name, "b") == 0);
  CHECK(mg_fs_ls(&mg_fs_posix, in_folder(""), name, sizeof(name)) && strcmp(name, "c") == 0);
  CHECK(!mg_fs_ls(&mg_fs_posix, in_folder(""), name, sizeof(name)));
  folder_remove();
}

TEST(without_memory_nothing_is_read) {
  struct mg_str s;
  folder_make();
  put_file("a", "text");
  for (long n = 1; n <= 2; n++) {
    mg_alloc_fail_at(n);
    s = mg_file_read(&mg_fs_posix, in_folder("a"));
    mg_alloc_fail_at(0);
    if (s.buf != NULL) CHECK_STR(s, "text"); /* a build without fault injection */
    mg_free(s.buf);
  }
  folder_remove();
}

CHECK_MAIN
