// headers.cpp - a mapping or a sequence of pairs becomes header lines; nothing gets through that could end a line early.
#include <cstring>
#include <strings.h>

#include "args.h"
#include "connection.h"

namespace {

bool is_token(const char *p, size_t n) {  // RFC 9110 5.6.2
  static const char special[] = "!#$%&'*+-.^_`|~";
  if (n == 0) return false;
  for (size_t i = 0; i < n; i++) {
    auto ch = static_cast<unsigned char>(p[i]);
    bool ok = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch != 0 && strchr(special, ch));
    if (!ok) return false;
  }
  return true;
}

bool is_value(const char *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    auto ch = static_cast<unsigned char>(p[i]);
    if ((ch < 0x20 && ch != '\t') || ch == 0x7f) return false;
  }
  return true;
}

bool add_line(std::string &out, PyObject *name, PyObject *value, bool *has_type) {
  Bytes n, v;
  Ref text;
  if (!n.init(name, "header name")) return false;
  if (PyLong_Check(value)) {  // {"Content-Length": 5}: what is meant is clear
    text = Ref(PyObject_Str(value));
    if (!text) return false;
    value = text.get();
  }
  if (!v.init(value, "header value")) return false;
  if (!is_token(n.data(), n.size())) {
    PyErr_Format(PyExc_ValueError, "Header name %R contains an illegal character", name);
    return false;
  }
  if (!is_value(v.data(), v.size())) {
    PyErr_Format(PyExc_ValueError, "Header value %R contains an illegal character", value);
    return false;
  }
  if (n.size() == 12 && strncasecmp(n.data(), "Content-Type", 12) == 0) *has_type = true;
  out.append(n.data(), n.size()).append(": ").append(v.data(), v.size()).append("\r\n");
  return true;
}

bool add_pair(std::string &out, PyObject *pair, bool *has_type) {
  Ref fast(PySequence_Fast(pair, "headers must be a mapping or a sequence of (name, value) pairs"));
  if (!fast) return false;
  if (PySequence_Fast_GET_SIZE(fast.get()) != 2) {
    PyErr_SetString(PyExc_ValueError, "headers must be a mapping or a sequence of (name, value) pairs");
    return false;
  }
  return add_line(out, PySequence_Fast_GET_ITEM(fast.get(), 0), PySequence_Fast_GET_ITEM(fast.get(), 1), has_type);
}

}  // namespace

bool conn_text_headers(std::string &out, PyObject *headers, const char *default_type) {
  bool has_type = false;
  out.clear();
  if (headers && PyDict_CheckExact(headers)) {
    PyObject *k, *v;
    Py_ssize_t pos = 0;
    while (PyDict_Next(headers, &pos, &k, &v)) {
      if (!add_line(out, k, v, &has_type)) return false;
    }
  } else if (headers && headers != Py_None) {
    Ref items = PyMapping_Check(headers) && PyObject_HasAttrString(headers, "items") ? Ref(PyMapping_Items(headers)) : Ref::borrow(headers);
    Ref fast(items ? PySequence_Fast(items.get(), "headers must be a mapping or a sequence of (name, value) pairs") : nullptr);
    if (!fast) return false;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.get()); i++) {
      if (!add_pair(out, PySequence_Fast_GET_ITEM(fast.get(), i), &has_type)) return false;
    }
  }
  if (default_type && !has_type) out.append("Content-Type: ").append(default_type).append("\r\n");
  return true;
}
