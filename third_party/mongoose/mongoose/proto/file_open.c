/* file_open.c - open a file below a folder, whatever links there are and whatever is being renamed meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "mongoose/proto/file_cache.h"

#ifndef O_PATH
#define O_PATH O_RDONLY /* then folders must be readable to be passed through */
#endif

enum { HOW = O_CLOEXEC | O_NOCTTY | O_NONBLOCK, TRIES = 8 };

#if defined(SYS_openat2)
/* openat2(2): the kernel resolves links and refuses a path that would leave `dir`. */
static int open_resolved(int dir, const char *rel, int flags) {
  enum { NO_MAGICLINKS = 2, BENEATH = 8 };
  struct {
    uint64_t flags, mode, resolve;
  } how = {(uint64_t) flags, 0, BENEATH | NO_MAGICLINKS};
  int fd, i;
  for (i = 0; i < TRIES; i++) { /* EAGAIN: something was renamed while ".." of a link was followed */
    fd = (int) syscall(SYS_openat2, dir, rel, &how, sizeof(how));
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return fd;
  }
  return -1;
}
#endif

/* Name by name, no links. `dir` is the caller's. */
static int open_walking(int dir, const char *rel, int flags) {
  int at = dir, fd = -1;
  while (fd < 0) {
    char name[256];
    size_t n = strcspn(rel, "/");
    bool last = rel[n] == '\0';
    if (n >= sizeof(name)) {
      errno = ENAMETOOLONG;
      break;
    }
    memcpy(name, rel, n);
    name[n] = '\0';
    if (last) {
      struct stat st;
      if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0) break;
      if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) { /* opening a device may do something */
        errno = ENOENT;
        break;
      }
      fd = openat(at, name, flags | O_NOFOLLOW);
      break;
    }
    n = (size_t) openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if ((int) n < 0) break;
    if (at != dir) close(at);
    at = (int) n;
    rel += strcspn(rel, "/");
    while (*rel == '/') rel++;
    if (*rel == '\0') rel = ".";
  }
  if (at != dir) {
    int err = errno;
    close(at);
    errno = err;
  }
  return fd;
}

int mg_open_beneath(const char *root, const char *rel, int flags, bool walk) {
  int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC), fd, err;
  if (dir < 0) return -1;
  if (*rel == '\0') rel = ".";
  flags |= HOW;
#if defined(O_PATH) && defined(__linux__)
  if (flags & O_PATH) flags &= ~(O_NOCTTY | O_NONBLOCK); /* openat2 refuses what has no meaning */
#endif
#if defined(SYS_openat2)
  if (!walk) {
    fd = open_resolved(dir, rel, flags);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) walk = true; /* an old kernel, or a sandbox that does not know the call */
  }
#else
  walk = true;
#endif
  if (walk) fd = open_walking(dir, rel, flags);
  err = errno;
  close(dir);
  errno = err;
  return fd;
}
