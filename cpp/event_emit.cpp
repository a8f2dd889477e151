// event_emit.cpp - check the arguments, read the clock, keep the values, push.
#include "event_emit.h"

#include <ctime>

#include "event_keep.h"
#include "event_text.h"

namespace events {

PyObject *bound_fields;

int level_of(EventQueue *q, PyObject *given) {
  PyObject *found = PyUnicode_CheckExact(given) || PyLong_CheckExact(given) ? PyDict_GetItemWithError(q->levels, given) : nullptr;
  Ref other;
  if (!found) {
    if (PyErr_Occurred()) return -1;
    other = Ref(PyObject_CallOneArg(q->other_level, given));
    if (!other) return -1;
    found = other.get();
  }
  long n = PyLong_AsLong(found);
  if (n < 0 || n >= event_levels) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "level is out of range");
    return -1;
  }
  return static_cast<int>(n);
}

namespace {

bool now(EventQueue *q, double *ts) {
  if (!q->clock) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    *ts = static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
    return true;
  }
  Ref r(PyObject_CallNoArgs(q->clock));
  if (!r) return false;
  *ts = PyFloat_AsDouble(r.get());
  return *ts != -1.0 || !PyErr_Occurred();
}

PyObject *said(Fate fate) {
  if (fate == failed) return nullptr;
  return PyBool_FromLong(fate == taken);
}

bool is_name(PyObject *name, PyObject *known, Py_ssize_t length) {
  return name == known || (PyUnicode_GET_LENGTH(name) == length && PyUnicode_Compare(name, known) == 0);
}

// The dict of bind(), which is never changed, only replaced: a new reference, or null when it is empty.
PyObject *bound_here() {
  PyObject *value = nullptr;
  if (PyContextVar_Get(bound_fields, Py_None, &value) < 0) PyErr_Clear();  // of a foreign type it cannot be
  if (value && PyDict_CheckExact(value) && PyDict_GET_SIZE(value) > 0) return value;
  Py_XDECREF(value);
  return nullptr;
}

}  // namespace

PyObject *emit(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
  EventQueue *q = self_of(self);
  if (n != 1 || !PyUnicode_Check(args[0])) {
    if (n == 1) return PyErr_Format(PyExc_TypeError, "message must be str, not %.200s", Py_TYPE(args[0])->tp_name);
    return PyErr_Format(PyExc_TypeError, "emit() takes a message and keywords; %zd positional arguments were given", n);
  }
  Py_ssize_t fields = names ? PyTuple_GET_SIZE(names) : 0, at_level = -1;
  int level = level_info;
  for (Py_ssize_t i = 0; i < fields; i++) {
    PyObject *name = PyTuple_GET_ITEM(names, i);
    if (is_name(name, s_level, 5)) {
      at_level = i;
      level = level_of(q, args[1 + i]);
      if (level < 0) return nullptr;
    } else if (is_name(name, s_message, 7)) {
      PyErr_SetString(PyExc_TypeError, "message is given once, as the first argument");
      return nullptr;
    }
  }
  if (level < q->lowest) {
    q->below.fetch_add(1, std::memory_order_relaxed);
    Py_RETURN_FALSE;
  }
  if (q->state.load(std::memory_order_relaxed) == closed) return said(refuse(q, is_closed));
  double ts;
  if (!now(q, &ts)) return nullptr;
  empty_graveyard(q);
  auto *r = static_cast<Record *>(PyMem_RawMalloc(head_size + static_cast<size_t>(fields ? fields : 1) * sizeof(PyObject *)));
  if (!r) return PyErr_NoMemory();
  r->kind = kind_event;
  r->events = 1;
  r->level = static_cast<uint8_t>(level);
  r->ts = ts;
  r->n = 0;
  r->message = Py_NewRef(args[0]);
  r->names = Py_XNewRef(names);
  r->bound = bound_here();
  Keeper keeper;
  keeper.bytes = base_bytes + text_bytes(args[0]) + field_bytes * static_cast<size_t>(fields + (r->bound ? PyDict_GET_SIZE(r->bound) : 0));
  for (; r->n < fields; r->n++) {
    PyObject *kept = nullptr;
    if (r->n != at_level && !(kept = keeper.keep(args[1 + r->n]))) {
      KeepError keep;
      bury(r);
      return nullptr;
    }
    r->values[r->n] = kept;
  }
  return said(put(q, r, keeper.bytes));
}

}  // namespace events
