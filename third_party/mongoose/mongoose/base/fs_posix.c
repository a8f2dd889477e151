/* fs_posix.c - the host's file system. Only regular files are opened, and never in a way that waits: a FIFO has no end. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mongoose/base/fs.h"

static void *to_handle(int fd) {
  return (void *) (size_t) ((unsigned) fd + 1U); /* descriptor 0 is one, too */
}

static int to_fd(void *handle) {
  return (int) ((size_t) handle - 1U);
}

static int posix_st(const char *path, size_t *size, time_t *mtime) {
  struct stat st;
  if (stat(path, &st) != 0) return 0;
  if (size != NULL) *size = (size_t) st.st_size;
  if (mtime != NULL) *mtime = st.st_mtime;
  return MG_FS_READ | MG_FS_WRITE | (S_ISDIR(st.st_mode) ? MG_FS_DIR : 0);
}

static void posix_ls(const char *path, void (*fn)(const char *, void *), void *arg) {
  DIR *dir = opendir(path);
  struct dirent *e;
  if (dir == NULL) return;
  while ((e = readdir(dir)) != NULL) {
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) fn(e->d_name, arg);
  }
  closedir(dir);
}

static void *posix_op(const char *path, int flags) {
  int how = O_NONBLOCK | O_NOCTTY | O_CLOEXEC, fd;
  struct stat st;
  how |= !(flags & MG_FS_WRITE) ? O_RDONLY : (flags & MG_FS_READ) ? O_RDWR | O_CREAT | O_APPEND : O_WRONLY | O_CREAT | O_APPEND;
  fd = open(path, how, 0644);
  if (fd < 0) return NULL;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) return to_handle(fd);
  close(fd);
  return NULL;
}

static void posix_cl(void *fd) {
  close(to_fd(fd));
}

static size_t posix_rd(void *fd, void *buf, size_t len) {
  ssize_t n;
  do n = read(to_fd(fd), buf, len);
  while (n < 0 && errno == EINTR);
  return n > 0 ? (size_t) n : 0;
}

static size_t posix_wr(void *fd, const void *buf, size_t len) {
  ssize_t n;
  do n = write(to_fd(fd), buf, len);
  while (n < 0 && errno == EINTR);
  return n > 0 ? (size_t) n : 0;
}

static size_t posix_sk(void *fd, size_t offset) {
  off_t at = lseek(to_fd(fd), (off_t) offset, SEEK_SET);
  return at < 0 ? 0 : (size_t) at;
}

static bool posix_mv(const char *from, const char *to) {
  return rename(from, to) == 0;
}

static bool posix_rm(const char *path) {
  return unlink(path) == 0;
}

static bool posix_mkd(const char *path) {
  return mkdir(path, 0755) == 0;
}

struct mg_fs mg_fs_posix = {posix_st, posix_ls, posix_op, posix_cl, posix_rd, posix_wr, posix_sk, posix_mv, posix_rm, posix_mkd};
