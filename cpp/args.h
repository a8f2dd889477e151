// args.h - the bytes behind a Python argument that may be text or anything bytes-like.
//
//   Bytes body;
//   if (!body.init(obj, "body")) return nullptr;  // TypeError: body must be str or bytes-like, not int
//   mg_send(c, body.data(), body.size());
//
// Nothing is copied: bytes and str answer with a pointer of their own (a str that is not ASCII keeps its UTF-8 once it
// was asked for), everything else is held through Py_buffer, so that a bytearray cannot be resized under the view.
// Needs the GIL to be made and dropped; data() may be read without it. `obj` must live longer than the view, as the
// arguments of a running call do.
#pragma once
#include <Python.h>

class Bytes {
 public:
  Bytes() = default;
  ~Bytes() { release(); }
  Bytes(const Bytes &) = delete;
  Bytes &operator=(const Bytes &) = delete;

  // False with a Python exception set: TypeError for an object of the wrong kind (or a buffer with gaps),
  // UnicodeEncodeError for a str with lone surrogates that no decoding of ours made, ValueError for a released
  // memoryview. The bytes are only meaningful after true. May be called again: the earlier view is then dropped.
  bool init(PyObject *obj, const char *arg_name) {
    release();
    if (PyBytes_Check(obj)) {
      data_ = PyBytes_AS_STRING(obj);
      size_ = PyBytes_GET_SIZE(obj);
      return true;
    }
    if (PyUnicode_Check(obj)) {
      data_ = PyUnicode_AsUTF8AndSize(obj, &size_);
      return data_ != nullptr || init_escaped(obj);
    }
    return init_buffer(obj, arg_name);
  }

  const char *data() const { return data_; }  // never NULL after init, not even for an empty argument
  size_t size() const { return static_cast<size_t>(size_); }
  bool escaped() const { return copy_ != nullptr; }  // a str with escaped surrogates: the bytes may be no UTF-8

 private:
  // Text that we decoded ourselves (surrogateescape) goes back out as the bytes it came from.
  bool init_escaped(PyObject *obj) {
    PyErr_Clear();
    copy_ = PyUnicode_AsEncodedString(obj, "utf-8", "surrogateescape");
    if (copy_ == nullptr) {
      size_ = 0;
      return false;
    }
    data_ = PyBytes_AS_STRING(copy_);
    size_ = PyBytes_GET_SIZE(copy_);
    return true;
  }

  bool init_buffer(PyObject *obj, const char *arg_name) {
    if (!PyObject_CheckBuffer(obj)) {
      PyErr_Format(PyExc_TypeError, "%s must be str or bytes-like, not %.200s", arg_name, Py_TYPE(obj)->tp_name);
      return false;
    }
    if (PyObject_GetBuffer(obj, &view_, PyBUF_SIMPLE) != 0) {
      if (PyErr_ExceptionMatches(PyExc_BufferError)) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError, "%s must be str or bytes-like, not a %.200s with gaps between its bytes",
                     arg_name, Py_TYPE(obj)->tp_name);
      }
      return false;
    }
    held_ = true;
    data_ = view_.buf != nullptr ? static_cast<const char *>(view_.buf) : "";
    size_ = view_.len;
    return true;
  }

  void release() {
    if (held_) PyBuffer_Release(&view_);
    Py_CLEAR(copy_);
    held_ = false;
    data_ = "";
    size_ = 0;
  }

  const char *data_ = "";
  Py_ssize_t size_ = 0;
  PyObject *copy_ = nullptr;  // bytes made for a str with escaped surrogates
  bool held_ = false;         // view_ is ours to release; it is not initialised otherwise
  Py_buffer view_;
};
