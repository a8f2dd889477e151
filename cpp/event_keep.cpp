// event_keep.cpp - copies of what could change.
#include "event_keep.h"

#include "ref.h"

namespace {

PyObject *too_much() {
  return PyUnicode_FromString("...");
}

}  // namespace

PyObject *Keeper::keep_dict(PyObject *o, int depth) {
  Ref copy(PyDict_New());
  if (!copy) return nullptr;
  Ref items(PyDict_Copy(o));  // nobody else's while it is walked
  if (!items) return nullptr;
  bytes += field_bytes * static_cast<size_t>(PyDict_GET_SIZE(items.get()));
  Py_ssize_t at = 0;
  PyObject *k, *v;
  while (PyDict_Next(items.get(), &at, &k, &v)) {
    if (PyUnicode_CheckExact(k)) bytes += text_bytes(k);
    Ref kept(keep(v, depth + 1));
    if (!kept || PyDict_SetItem(copy.get(), k, kept.get()) < 0) return nullptr;
  }
  return copy.release();
}

PyObject *Keeper::keep_other(PyObject *o, int depth) {
  PyTypeObject *t = Py_TYPE(o);
  if (depth > 0 && --left < 0) return too_much();
  bool dict = t == &PyDict_Type, list = t == &PyList_Type, tuple = t == &PyTuple_Type;
  if (dict || list || tuple) {
    if (depth >= deepest) return too_much();
    if (dict) return keep_dict(o, depth);
    Ref copy(list ? PyList_GetSlice(o, 0, PY_SSIZE_T_MAX) : PySequence_List(o));
    if (!copy) return nullptr;
    bytes += field_bytes * static_cast<size_t>(PyList_GET_SIZE(copy.get()));
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(copy.get()); i++) {
      PyObject *kept = keep(PyList_GET_ITEM(copy.get(), i), depth + 1);
      if (!kept || PyList_SetItem(copy.get(), i, kept) < 0) return nullptr;
    }
    return tuple ? PyList_AsTuple(copy.get()) : copy.release();
  }
  if (t == &PySet_Type) {  // its members can be hashed, so they do not change
    bytes += field_bytes * static_cast<size_t>(PySet_GET_SIZE(o));
    return PySet_New(o);
  }
  if (t == &PyByteArray_Type) {
    bytes += static_cast<size_t>(PyByteArray_GET_SIZE(o));
    return PyBytes_FromStringAndSize(PyByteArray_AS_STRING(o), PyByteArray_GET_SIZE(o));
  }
  if (t == &PyBytes_Type) bytes += static_cast<size_t>(PyBytes_GET_SIZE(o));
  return Py_NewRef(o);
}
