#include "warm.h"

#include <unistd.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "loop.h"

namespace {

constexpr unsigned enough = 8;  // answers with the same object before a file is worth its making

int file_of(PyObject *bytes) {
#if defined(__linux__) && defined(MFD_CLOEXEC)
  int fd = memfd_create("pymongoose-body", MFD_CLOEXEC);
  const char *p = PyBytes_AS_STRING(bytes);
  Py_ssize_t left = PyBytes_GET_SIZE(bytes);
  while (fd >= 0 && left > 0) {
    ssize_t n = write(fd, p, static_cast<size_t>(left));
    if (n <= 0) {
      close(fd);
      return -1;
    }
    p += n;
    left -= n;
  }
  return fd;
#else
  (void)bytes;
  return -1;
#endif
}

}  // namespace

void WarmBodies::drop(WarmBody *w) {
  if (--w->refs > 0) return;
  if (w->fd >= 0) close(w->fd);
  w->loop->drop_later(w->bytes);
  delete w;
}

void WarmBodies::done(void *warm) {
  drop(static_cast<WarmBody *>(warm));
}

WarmBody *WarmBodies::find(Loop *loop, PyObject *bytes) {
  Py_ssize_t size = PyBytes_GET_SIZE(bytes);
  if (size < smallest || size > largest) return nullptr;
  for (WarmBody *w : at_) {
    if (!w || w->bytes != bytes) continue;
    if (w->hits < enough && ++w->hits == enough) w->fd = file_of(bytes);  // counts no further: the file is made once
    if (w->fd < 0) return nullptr;
    w->refs++;
    return w;
  }
  WarmBody *&place = at_[next_++ % at_.size()];
  if (place) drop(place);
  place = new WarmBody{loop, Py_NewRef(bytes)};
  return nullptr;
}

void WarmBodies::clear() {
  for (WarmBody *&w : at_) {
    if (w) drop(std::exchange(w, nullptr));
  }
}
