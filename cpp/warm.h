// warm.h - large bodies that are sent again and again, kept where the kernel can send them from without copying.
//
// A bytes object never changes, so a body that is answered with repeatedly (an asset in memory) is written once into an anonymous
// file (memfd_create), and from then on goes out by sendfile: page references instead of a copy of each byte. Linux only; elsewhere,
// and for bodies seen for the first times, nothing is found here and the body is sent from the object itself.
#pragma once
#include <Python.h>

#include <array>

struct Loop;

// One such body: held by the cache while it is in it, and by every answer under way.
struct WarmBody {
  Loop *loop;
  PyObject *bytes;
  int fd = -1;
  unsigned refs = 1, hits = 0;
};

class WarmBodies {
 public:
  static constexpr Py_ssize_t smallest = 32 * 1024, largest = 1024 * 1024;

  // A body that is worth sending by file, or null. `bytes` is an exact bytes object. Loop thread, lock held.
  WarmBody *find(Loop *loop, PyObject *bytes);
  static void done(void *warm);  // an answer went out, or was dropped; any phase of the loop
  void clear();

 private:
  static void drop(WarmBody *w);
  std::array<WarmBody *, 8> at_{};
  unsigned next_ = 0;
};
