// ref.h - owning PyObject pointer for code that speaks the C API directly. All of it needs Python's lock.
#pragma once
#include <Python.h>

#include <unistd.h>

#include <atomic>
#include <utility>

// Set at the interpreter's exit. Threads of ours that want Python's lock after that are ended on the spot (up to 3.13), and their
// frames are unwound without the lock: nothing may be given back then.
inline std::atomic<bool> python_ends{false};

// PyEval_RestoreThread for threads that the interpreter may end there: they stop for good instead, as they do from 3.14 on, so that
// no frame of ours is unwound without the lock.
inline void relock(PyThreadState *state) {
  try {
    PyEval_RestoreThread(state);
  } catch (...) {  // only the unwinding of a thread that is being ended comes out of there
    for (;;) pause();
  }
}

class Ref {
 public:
  Ref() = default;
  explicit Ref(PyObject *owned) : p_(owned) {}  // takes over one reference (or nullptr)
  static Ref borrow(PyObject *p) {
    Py_XINCREF(p);
    return Ref(p);
  }
  Ref(Ref &&o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Ref &operator=(Ref &&o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  Ref(const Ref &) = delete;
  Ref &operator=(const Ref &) = delete;
  ~Ref() {
    if (p_ && !python_ends.load(std::memory_order_relaxed)) Py_DECREF(p_);
  }
  PyObject *get() const { return p_; }
  PyObject *release() { return std::exchange(p_, nullptr); }
  explicit operator bool() const { return p_ != nullptr; }

 private:
  PyObject *p_ = nullptr;
};

// An exception that is set survives what runs in this object's scope (clean-up code that calls into Python).
class KeepError {
 public:
  KeepError() { PyErr_Fetch(&type_, &value_, &trace_); }
  ~KeepError() {
    if (!python_ends.load(std::memory_order_relaxed)) PyErr_Restore(type_, value_, trace_);
  }
  KeepError(const KeepError &) = delete;
  KeepError &operator=(const KeepError &) = delete;

 private:
  PyObject *type_, *value_, *trace_;
};
