// json.cpp - json_get and its typed relatives: one value out of a document, without parsing the rest.
//
// These are plain METH_FASTCALL functions. A look-up in a small document takes the core some 30 ns, and pybind11's own
// dispatch (a tuple, a list of overloads, type casters) would add 100 to 250 ns to each call. What comes with
// that: arguments are read by hand, and nothing here may throw, for the interpreter's C frames are the callers.
//
// A document of any length is searched once, by mg_json_find. What was found is then taken as a document of its own,
// under the GIL: should another thread write to a bytearray while it is searched, the value may be a mixture of old
// and new, but it is checked to be a value.
#include "module.h"

#include <cstring>
#include <memory>

#include "args.h"
#include "mongoose/codec/json.h"

namespace {

// From here on a search takes longer than handing the GIL over and back (tens of microseconds under load).
constexpr size_t kUnlockedFrom = 256 * 1024;

// Arguments of a call, borrowed, in the order of the signature.
struct Call {
  PyObject *doc = nullptr;
  PyObject *path = nullptr;
  PyObject *dflt = nullptr;
};

// The place of a keyword, nullptr for one that the function does not have. cymongoose names the document `data`.
PyObject **slot_of(Call &call, PyObject *keyword) noexcept {
  if (PyUnicode_CompareWithASCIIString(keyword, "doc") == 0) return &call.doc;
  if (PyUnicode_CompareWithASCIIString(keyword, "data") == 0) return &call.doc;
  if (PyUnicode_CompareWithASCIIString(keyword, "path") == 0) return &call.path;
  if (call.dflt != nullptr && PyUnicode_CompareWithASCIIString(keyword, "default") == 0) return &call.dflt;
  return nullptr;
}

bool read_keywords(const char *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                   Call &call) noexcept {
  PyObject **positional[] = {nargs > 0 ? &call.doc : nullptr, nargs > 1 ? &call.path : nullptr,
                             nargs > 2 ? &call.dflt : nullptr};
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
    PyObject *keyword = PyTuple_GET_ITEM(kwnames, i), **slot = slot_of(call, keyword);
    if (slot == nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, keyword);
      return false;
    }
    for (PyObject **taken : positional) {
      if (taken != slot) continue;
      PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", function, keyword);
      return false;
    }
    *slot = args[nargs + i];
  }
  return true;
}

// A function with a third argument sets `call.dflt` to what that is when it is not given. False: TypeError is set.
bool read_args(const char *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, Call &call) noexcept {
  Py_ssize_t most = call.dflt != nullptr ? 3 : 2;
  if (nargs > most) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)", function, most, nargs);
    return false;
  }
  if (nargs > 0) call.doc = args[0];
  if (nargs > 1) call.path = args[1];
  if (nargs > 2) call.dflt = args[2];
  if (kwnames != nullptr && !read_keywords(function, args, nargs, kwnames, call)) return false;
  if (call.doc == nullptr || call.path == nullptr) {
    PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", function,
                 call.doc == nullptr ? "doc" : "path");
    return false;
  }
  return true;
}

struct mg_str piece(const char *buf, size_t len) noexcept { return {const_cast<char *>(buf), len}; }

// Looks at the document and keeps it for as long as the token is used.
class Found {
 public:
  // False: a Python exception is set. After true, tok() is the value, of length 0 when there is none at the path.
  bool find(const Call &call) noexcept {
    Bytes path;
    if (!PyUnicode_Check(call.path)) {
      PyErr_Format(PyExc_TypeError, "path must be str, not %.200s", Py_TYPE(call.path)->tp_name);
      return false;
    }
    if (!doc_.init(call.doc, "doc") || !path.init(call.path, "path")) return false;
    struct mg_str json = piece(doc_.data(), doc_.size()), where = piece(path.data(), path.size());
    ptrdiff_t at;
    size_t len = 0;
    if (json.len > kUnlockedFrom) {
      Py_BEGIN_ALLOW_THREADS
      at = mg_json_find(json, where, &len);
      Py_END_ALLOW_THREADS
    } else {
      at = mg_json_find(json, where, &len);
    }
    if (at >= 0) tok_ = piece(json.buf + at, len);
    return true;
  }

  struct mg_str tok() const noexcept { return tok_; }

 private:
  Bytes doc_;
  struct mg_str tok_ = {nullptr, 0};
};

// "$" names the whole document: the token itself.
constexpr char kItself[] = "$";

PyObject *text(const char *buf, size_t len) noexcept {
  return PyUnicode_DecodeUTF8(buf, static_cast<Py_ssize_t>(len), "surrogateescape");
}

PyObject *json_get(PyObject *, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) noexcept {
  Call call;
  Found found;
  if (!read_args("json_get", args, nargs, kwnames, call) || !found.find(call)) return nullptr;
  struct mg_str tok = found.tok();
  if (tok.len == 0) Py_RETURN_NONE;
  return text(tok.buf, tok.len);
}

PyObject *json_get_num(PyObject *, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) noexcept {
  Call call;
  Found found;
  double v;
  call.dflt = Py_None;
  if (!read_args("json_get_num", args, nargs, kwnames, call) || !found.find(call)) return nullptr;
  if (mg_json_get_num(found.tok(), kItself, &v)) return PyFloat_FromDouble(v);
  return Py_NewRef(call.dflt);
}

PyObject *json_get_bool(PyObject *, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) noexcept {
  Call call;
  Found found;
  bool v;
  call.dflt = Py_None;
  if (!read_args("json_get_bool", args, nargs, kwnames, call) || !found.find(call)) return nullptr;
  if (mg_json_get_bool(found.tok(), kItself, &v)) return PyBool_FromLong(v);
  return Py_NewRef(call.dflt);
}

// The core's function gives back one default for "no number" and "does not fit": two defaults tell those from a value.
bool to_long(struct mg_str tok, long *v) noexcept {
  *v = mg_json_get_long(tok, kItself, 0);
  return *v != 0 || mg_json_get_long(tok, kItself, 1) == 0;
}

PyObject *json_get_long(PyObject *, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) noexcept {
  Call call;
  Found found;
  long v;
  PyObject *zero = PyLong_FromLong(0);  // one of the interpreter's small numbers
  if (zero == nullptr) return nullptr;
  call.dflt = zero;
  PyObject *result = nullptr;
  if (read_args("json_get_long", args, nargs, kwnames, call) && found.find(call)) {
    result = to_long(found.tok(), &v) ? PyLong_FromLong(v) : Py_NewRef(call.dflt);
  }
  Py_DECREF(zero);
  return result;
}

struct FreeMem {
  void operator()(char *p) const noexcept { PyMem_Free(p); }
};

// `inside` is the text between the quotes, with at least one escape. None for an escape that JSON does not have.
PyObject *unescaped(struct mg_str inside) noexcept {
  char small[512];
  std::unique_ptr<char, FreeMem> large;
  char *to = small;
  if (inside.len >= sizeof(small)) {
    large.reset(static_cast<char *>(PyMem_Malloc(inside.len + 1)));
    if (large == nullptr) return PyErr_NoMemory();
    to = large.get();
  }
  ptrdiff_t n = mg_json_unescape_n(inside, to, inside.len + 1);
  if (n < 0) Py_RETURN_NONE;
  return text(to, static_cast<size_t>(n));
}

PyObject *json_get_str(PyObject *, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) noexcept {
  Call call;
  Found found;
  if (!read_args("json_get_str", args, nargs, kwnames, call) || !found.find(call)) return nullptr;
  struct mg_str tok = found.tok();
  if (tok.len < 2 || tok.buf[0] != '"') Py_RETURN_NONE;
  struct mg_str inside = piece(tok.buf + 1, tok.len - 2);
  if (std::memchr(inside.buf, '\\', inside.len) != nullptr) return unescaped(inside);
  return text(inside.buf, inside.len);
}

// The first line of each is what inspect.signature() reads.
constexpr char kGetDoc[] =
    "json_get($module, doc, path)\n--\n\n"
    "The value at `path` as it is written in the document: a string keeps its quotes and escapes, an object or\n"
    "array is returned whole. None when there is no such value or the document is malformed before it.\n\n"
    "Args:\n"
    "    doc: the document, str or bytes-like (UTF-8). Only what is in front of the value is looked at.\n"
    "    path: `$`, then any number of `.key` and `[index]`: \"$.user.tags[0]\". Keys are plain text; the first of\n"
    "        two equal names wins.\n\n"
    "Raises:\n"
    "    TypeError: doc or path is of another type.";
constexpr char kNumDoc[] =
    "json_get_num($module, doc, path, default=None)\n--\n\n"
    "The number at `path` as a float, correctly rounded; infinity beyond the range of a float. `default` when\n"
    "there is no number. Arguments as for json_get.";
constexpr char kBoolDoc[] =
    "json_get_bool($module, doc, path, default=None)\n--\n\n"
    "True or False at `path`, `default` when there is neither. Arguments as for json_get.";
constexpr char kLongDoc[] =
    "json_get_long($module, doc, path, default=0)\n--\n\n"
    "The number at `path` cut to its integer part (3.99 is 3), exact to the last of a C long's bits (64 on Linux and\n"
    "macOS). `default` when there is no number or it does not fit. Arguments as for json_get.";
constexpr char kStrDoc[] =
    "json_get_str($module, doc, path)\n--\n\n"
    "The string at `path` with its escapes resolved; None when there is no string or it holds a wrong escape.\n"
    "Surrogate pairs are one character, lone surrogates U+FFFD; bytes that are not UTF-8 decode with surrogateescape.\n"
    "Arguments as for json_get.";

using Fast = PyObject *(*) (PyObject *, PyObject *const *, Py_ssize_t, PyObject *) noexcept;

// By way of void (*)(): the compiler warns about the direct cast that the interpreter's headers ask for.
PyCFunction plain(Fast f) noexcept { return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f)); }

}  // namespace

void bind_json(pybind11::module_ &m) {
  constexpr int flags = METH_FASTCALL | METH_KEYWORDS;
  static PyMethodDef functions[] = {{"json_get", plain(json_get), flags, kGetDoc},
                                    {"json_get_num", plain(json_get_num), flags, kNumDoc},
                                    {"json_get_bool", plain(json_get_bool), flags, kBoolDoc},
                                    {"json_get_long", plain(json_get_long), flags, kLongDoc},
                                    {"json_get_str", plain(json_get_str), flags, kStrDoc},
                                    {nullptr, nullptr, 0, nullptr}};
  if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw pybind11::error_already_set();
}
