// event_lines.cpp - the type Lines: a sequence of lines that share their memory with those they were cut from, and a buffer of all of them.
#define PY_SSIZE_T_CLEAN
#include "event_lines.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

namespace {

PyTypeObject *lines_type;

struct Lines {
  PyObject_HEAD
  PyObject *data, *ends;  // as LineBuilder made them
  Py_ssize_t first, last; // lines
};

Lines *self_of(PyObject *o) {
  return reinterpret_cast<Lines *>(o);
}

Py_ssize_t *ends_of(const Lines *l) {
  return reinterpret_cast<Py_ssize_t *>(PyBytes_AS_STRING(l->ends));
}

Py_ssize_t begin_of(const Lines *l, Py_ssize_t line) {
  return line ? ends_of(l)[line - 1] : 0;
}

char *text_of(const Lines *l) {
  return PyBytes_AS_STRING(l->data) + begin_of(l, l->first);
}

Py_ssize_t bytes_of(const Lines *l) {
  return begin_of(l, l->last) - begin_of(l, l->first);
}

PyObject *lines_new(PyObject *data, PyObject *ends, Py_ssize_t first, Py_ssize_t last) {
  PyObject *o = lines_type->tp_alloc(lines_type, 0);
  if (!o) return nullptr;
  self_of(o)->data = Py_NewRef(data);
  self_of(o)->ends = Py_NewRef(ends);
  self_of(o)->first = first;
  self_of(o)->last = last;
  return o;
}

// Large pieces are used again: what malloc gives back to the system and gets anew costs a page fault for each page.
constexpr size_t spares = 3;
constexpr Py_ssize_t spare_least = 64 << 10, spare_most = 5 << 20;
std::atomic<PyObject *> spare[spares];  // there may be no lock around us (free-threaded Python)

void keep_spare(PyObject *data) {  // takes over the reference
  for (auto &s : spare) {
    PyObject *none = nullptr;
    if (s.compare_exchange_strong(none, data)) return;
  }
  Py_DECREF(data);
}

PyObject *take_spare(size_t bytes) {
  for (auto &s : spare) {
    PyObject *data = s.exchange(nullptr);
    if (data && static_cast<size_t>(PyBytes_GET_SIZE(data)) >= bytes) return data;
    if (data) keep_spare(data);
  }
  return nullptr;
}

void give_back(PyObject *data) {
  if (data && Py_REFCNT(data) == 1 && PyBytes_GET_SIZE(data) >= spare_least && PyBytes_GET_SIZE(data) <= spare_most) {
    keep_spare(data);
  } else {
    Py_XDECREF(data);
  }
}

void dealloc(PyObject *o) {
  PyTypeObject *type = Py_TYPE(o);
  give_back(self_of(o)->data);
  Py_XDECREF(self_of(o)->ends);
  type->tp_free(o);
  Py_DECREF(type);
}

bool add_item(LineBuilder &out, PyObject *line) {
  if (!PyBytes_Check(line)) {
    PyErr_Format(PyExc_TypeError, "a line must be bytes, not %.200s", Py_TYPE(line)->tp_name);
    return false;
  }
  return out.add(PyBytes_AS_STRING(line), static_cast<size_t>(PyBytes_GET_SIZE(line))) && out.end_line();
}

PyObject *make(PyTypeObject *, PyObject *args, PyObject *kwargs) {
  PyObject *given;
  if (kwargs && PyDict_GET_SIZE(kwargs)) return PyErr_Format(PyExc_TypeError, "Lines() takes no keywords");
  if (!PyArg_ParseTuple(args, "O:Lines", &given)) return nullptr;
  Ref items(PySequence_Tuple(given));
  if (!items) return nullptr;
  LineBuilder out;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.get()); i++) {
    if (!add_item(out, PyTuple_GET_ITEM(items.get(), i))) return nullptr;
  }
  return out.finish();
}

Py_ssize_t length(PyObject *o) {
  return self_of(o)->last - self_of(o)->first;
}

PyObject *item(PyObject *o, Py_ssize_t i) {
  Lines *l = self_of(o);
  if (i < 0 || i >= length(o)) return PyErr_Format(PyExc_IndexError, "there is no such line");
  Py_ssize_t from = begin_of(l, l->first + i), end = ends_of(l)[l->first + i];
  return PyBytes_FromStringAndSize(PyBytes_AS_STRING(l->data) + from, end - from - 1);
}

PyObject *subscript(PyObject *o, PyObject *key) {
  if (!PySlice_Check(key)) {
    Py_ssize_t i = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (i == -1 && PyErr_Occurred()) return nullptr;
    return item(o, i < 0 ? i + length(o) : i);
  }
  Py_ssize_t from, to, step;
  if (PySlice_Unpack(key, &from, &to, &step) < 0) return nullptr;
  Py_ssize_t n = PySlice_AdjustIndices(length(o), &from, &to, step);
  if (step != 1) return PyErr_Format(PyExc_ValueError, "lines are cut out in one piece");
  Lines *l = self_of(o);
  return lines_new(l->data, l->ends, l->first + from, l->first + from + n);
}

int get_buffer(PyObject *o, Py_buffer *view, int flags) {
  return PyBuffer_FillInfo(view, o, text_of(self_of(o)), bytes_of(self_of(o)), 1, flags);
}

PyObject *fit(PyObject *o, PyObject *arg) {
  Py_ssize_t room = PyLong_AsSsize_t(arg);
  if (room == -1 && PyErr_Occurred()) return nullptr;
  Lines *l = self_of(o);
  const Py_ssize_t *from = ends_of(l) + l->first, *to = ends_of(l) + l->last, begin = begin_of(l, l->first);
  if (room >= bytes_of(l)) return PyLong_FromSsize_t(length(o));
  return PyLong_FromSsize_t(std::upper_bound(from, to, begin + room) - from);
}

PyObject *join(PyObject *, PyObject *arg) {
  Ref parts(PySequence_Tuple(arg));
  if (!parts) return nullptr;
  size_t bytes = 0;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(parts.get()); i++) {
    PyObject *part = PyTuple_GET_ITEM(parts.get(), i);
    if (!PyObject_TypeCheck(part, lines_type)) return PyErr_Format(PyExc_TypeError, "join() takes Lines, not %.200s", Py_TYPE(part)->tp_name);
    bytes += static_cast<size_t>(bytes_of(self_of(part)));
  }
  LineBuilder out;
  if (!out.begin(bytes)) return nullptr;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(parts.get()); i++) {
    const Lines *l = self_of(PyTuple_GET_ITEM(parts.get(), i));
    if (!out.add_lines(text_of(l), ends_of(l) + l->first, static_cast<size_t>(l->last - l->first), begin_of(l, l->first))) return nullptr;
  }
  return out.finish();
}

PyObject *get_nbytes(PyObject *o, void *) {
  return PyLong_FromSsize_t(bytes_of(self_of(o)));
}

PyMethodDef methods[] = {
    {"fit", fit, METH_O, "fit($self, room, /)\n--\n\nHow many lines, from the front, have room in so many bytes, their line feeds included."},
    {"join", join, METH_O | METH_STATIC, "join(parts, /)\n--\n\nThe lines of several behind each other."},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef getters[] = {
    {"nbytes", get_nbytes, nullptr, "Bytes of all lines, their line feeds included.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char *>("Lines(lines, /)\n--\n\nLines of bytes without their line feeds, which lie behind each other in memory. As a buffer: all of "
                                   "them, each with its line feed. Slices share the memory.")},
    {Py_tp_new, reinterpret_cast<void *>(make)},
    {Py_tp_dealloc, reinterpret_cast<void *>(dealloc)},
    {Py_tp_methods, methods},
    {Py_tp_getset, getters},
    {Py_sq_length, reinterpret_cast<void *>(length)},
    {Py_sq_item, reinterpret_cast<void *>(item)},
    {Py_mp_length, reinterpret_cast<void *>(length)},
    {Py_mp_subscript, reinterpret_cast<void *>(subscript)},
    {Py_bf_getbuffer, reinterpret_cast<void *>(get_buffer)},
    {0, nullptr},
};
PyType_Spec spec = {"pymongoose._core.Lines", sizeof(Lines), 0, Py_TPFLAGS_DEFAULT, slots};

// Another size, with what fits of the first `used` bytes. False: it stays as it is.
bool resize(Ref &bytes, size_t size, size_t used) {
  if (size > PY_SSIZE_T_MAX) {
    PyErr_NoMemory();
    return false;
  }
  Ref other(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
  if (!other) return false;
  if (used) memcpy(PyBytes_AS_STRING(other.get()), PyBytes_AS_STRING(bytes.get()), used);
  bytes = std::move(other);
  return true;
}

}  // namespace

bool LineBuilder::begin(size_t bytes) {
  PyObject *again = bytes >= static_cast<size_t>(spare_least) ? take_spare(bytes) : nullptr;
  if (!again) return room(bytes ? bytes : 1) != nullptr;
  data_ = Ref(again);
  text_ = PyBytes_AS_STRING(again);
  size_ = static_cast<size_t>(PyBytes_GET_SIZE(again));
  return true;
}

char *LineBuilder::grow(size_t n) {
  size_t size = std::max(used_ + n, size_ + size_ / 2 + 512);
  if (size < used_) PyErr_NoMemory();
  if (size < used_ || !resize(data_, size, used_)) return nullptr;
  text_ = PyBytes_AS_STRING(data_.get());
  size_ = size;
  return text_ + used_;
}

bool LineBuilder::add(const char *text, size_t n) {
  char *p = room(n);
  if (!p) return false;
  if (n) memcpy(p, text, n);
  used_ += n;
  return true;
}

bool LineBuilder::more_lines(size_t n) {
  size_t most = std::max(max_lines_ * 2, lines_ + n + 64);
  if (!resize(ends_, most * sizeof(Py_ssize_t), lines_ * sizeof(Py_ssize_t))) return false;
  max_lines_ = most;
  end_ = reinterpret_cast<Py_ssize_t *>(PyBytes_AS_STRING(ends_.get()));
  return true;
}

bool LineBuilder::end_line() {
  if (!add("\n", 1) || (lines_ == max_lines_ && !more_lines(1))) return false;
  end_[lines_++] = static_cast<Py_ssize_t>(used_);
  line_ = used_;
  return true;
}

bool LineBuilder::add_lines(const char *text, const Py_ssize_t *ends, size_t n, Py_ssize_t begin) {
  if (n == 0) return true;
  Py_ssize_t ahead = static_cast<Py_ssize_t>(used_) - begin;
  if (!add(text, static_cast<size_t>(ends[n - 1] - begin)) || (n > max_lines_ - lines_ && !more_lines(n))) return false;
  for (size_t i = 0; i < n; i++) end_[lines_++] = ends[i] + ahead;
  line_ = used_;
  return true;
}

bool LineBuilder::add_text(const char *text, size_t size, size_t n) {
  if ((n > max_lines_ - lines_ && !more_lines(n)) || !add(text, size)) return false;
  const char *begin = text_ + line_, *end = text_ + used_;
  for (const char *p = begin; p < end; end_[lines_++] = p - text_) p = static_cast<const char *>(memchr(p, '\n', static_cast<size_t>(end - p))) + 1;
  line_ = used_;
  return true;
}

PyObject *LineBuilder::finish() {
  if ((!data_ || used_ < size_ / 4 * 3) && !resize(data_, used_, used_)) return nullptr;
  if ((!ends_ || lines_ < max_lines_ / 4 * 3) && !resize(ends_, lines_ * sizeof(Py_ssize_t), lines_ * sizeof(Py_ssize_t))) return nullptr;
  return lines_new(data_.get(), ends_.get(), 0, static_cast<Py_ssize_t>(lines_));
}

bool add_lines_type(PyObject *module) {
  lines_type = reinterpret_cast<PyTypeObject *>(PyType_FromModuleAndSpec(module, &spec, nullptr));
  return lines_type && PyModule_AddObjectRef(module, "Lines", reinterpret_cast<PyObject *>(lines_type)) == 0;
}
