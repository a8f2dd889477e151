// event_keep.h - the values of an event, to stay as they were at the call.
#pragma once
#include <Python.h>

#include <cstddef>

constexpr size_t field_bytes = 24;  // what a field, or a value in a container, counts for on top of its text

inline size_t text_bytes(PyObject *o) {
  return static_cast<size_t>(PyUnicode_GET_LENGTH(o)) * PyUnicode_KIND(o);
}

// One for each event. Containers that could change are copied, as deep as they go; what is too deep or too much is "...".
struct Keeper {
  static constexpr int deepest = 64;     // levels of containers
  static constexpr long most = 100'000;  // values in the containers of one event

  size_t bytes = 0;  // what has been kept counts for
  long left = most;  // numbers and texts aside

  // A new reference; null with an exception.
  PyObject *keep(PyObject *o, int depth = 0) {
    PyTypeObject *t = Py_TYPE(o);
    if (t == &PyUnicode_Type) {
      bytes += text_bytes(o);
      return Py_NewRef(o);
    }
    if (t == &PyLong_Type || t == &PyFloat_Type || t == &PyBool_Type || o == Py_None) return Py_NewRef(o);
    return keep_other(o, depth);
  }

 private:
  PyObject *keep_other(PyObject *o, int depth);
  PyObject *keep_dict(PyObject *o, int depth);
};
