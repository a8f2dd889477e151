// event_text.cpp - plain values as JSON. Most fields are short texts without anything to escape, and small numbers.
#define PY_SSIZE_T_CLEAN
#include "event_text.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "event_lines.h"

using namespace events;

PyObject *events::s_ts, *events::s_level, *events::s_message;

namespace {

constexpr uint64_t each(unsigned char b) {
  return 0x0101010101010101U * b;
}

bool is_special(unsigned char b) {
  return b < 0x20 || b == '"' || b == '\\';
}

// Of UTF-8. Borrows make the wrong bytes look special only behind one that is.
bool any_special(const char *s, size_t n) {
  for (; n >= 8; s += 8, n -= 8) {
    uint64_t v;
    memcpy(&v, s, 8);
    uint64_t quote = v ^ each('"'), slash = v ^ each('\\');
    if ((((v - each(0x20)) & ~v) | ((quote - each(1)) & ~quote) | ((slash - each(1)) & ~slash)) & each(0x80)) return true;
  }
  for (; n; s++, n--) {
    if (is_special(static_cast<unsigned char>(*s))) return true;
  }
  return false;
}

char *escape(char *p, const char *s, size_t n) {
  static const char hex[] = "0123456789abcdef";
  for (; n; s++, n--) {
    auto b = static_cast<unsigned char>(*s);
    if (!is_special(b)) {
      *p++ = *s;
      continue;
    }
    *p++ = '\\';
    switch (b) {
      case '\b': *p++ = 'b'; break;
      case '\t': *p++ = 't'; break;
      case '\n': *p++ = 'n'; break;
      case '\f': *p++ = 'f'; break;
      case '\r': *p++ = 'r'; break;
      case '"':
      case '\\': *p++ = *s; break;
      default:
        memcpy(p, "u00", 3);
        p[3] = hex[b >> 4];
        p[4] = hex[b & 15];
        p += 5;
    }
  }
  return p;
}

// The text, escaped, between before and after.
bool put_text(LineBuilder &out, PyObject *text, const char *before, const char *after) {
  const char *s;
  Py_ssize_t len;
  if (PyUnicode_IS_COMPACT_ASCII(text)) {
    s = static_cast<const char *>(PyUnicode_DATA(text));
    len = PyUnicode_GET_LENGTH(text);
  } else if (!(s = PyUnicode_AsUTF8AndSize(text, &len))) {
    if (PyErr_ExceptionMatches(PyExc_UnicodeError)) PyErr_Clear();  // half of a surrogate pair
    return false;
  }
  auto n = static_cast<size_t>(len);
  bool special = any_special(s, n);
  char *p = out.room((special ? 6 * n : n) + strlen(before) + strlen(after));
  if (!p) return false;
  while (*before) *p++ = *before++;
  if (special) {
    p = escape(p, s, n);
  } else {
    memcpy(p, s, n);
    p += n;
  }
  while (*after) *p++ = *after++;
  out.wrote(p);
  return true;
}

bool put_word(LineBuilder &out, const char *word) {
  return out.add(word, strlen(word));
}

bool put_int(LineBuilder &out, PyObject *value) {
  int over = 0;
  long long n = PyLong_AsLongLongAndOverflow(value, &over);
  if (over) return false;
  char *p = out.room(24);
  if (!p) return false;
  out.wrote(std::to_chars(p, p + 24, n).ptr);
  return true;
}

// The shortest text that is this number again.
bool put_float(LineBuilder &out, double v) {
  if (!std::isfinite(v)) return put_word(out, "null");
#if defined(__cpp_lib_to_chars)
  double size = std::fabs(v);
  bool fixed = v == 0 || (size >= 1e-5 && size < 1e16);
  char *p = out.room(40);
  if (!p) return false;
  char *end = std::to_chars(p, p + 36, v, fixed ? std::chars_format::fixed : std::chars_format::scientific).ptr;
  if (fixed && !memchr(p, '.', static_cast<size_t>(end - p))) {
    memcpy(end, ".0", 2);
    end += 2;
  }
  out.wrote(end);
  return true;
#else
  char *text = PyOS_double_to_string(v, 'r', 0, Py_DTSF_ADD_DOT_0, nullptr);
  bool ok = text && put_word(out, text);
  PyMem_Free(text);
  return ok;
#endif
}

// A time between 2004 and 2106, which a double knows to a quarter of a microsecond, or half of one: seven digits behind the point are that
// number again, and six are where they can be.
bool put_time(LineBuilder &out, double v) {
  if (!(v >= 0x1p30 && v < 0x1p32)) return put_float(out, v);
  auto seconds = static_cast<uint64_t>(v);
  double rest = v - static_cast<double>(seconds);
  auto parts = static_cast<uint64_t>(rest * 1e6 + 0.5);
  int digits = 6;
  if (static_cast<double>(seconds * 1000000 + parts) / 1e6 != v) {
    parts = static_cast<uint64_t>(rest * 1e7 + 0.5);
    digits = 7;
  }
  if (parts >= (digits == 6 ? 1000000U : 10000000U)) return put_float(out, v);  // the next second
  for (; digits > 1 && parts % 10 == 0; digits--) parts /= 10;
  char *p = out.room(24);
  if (!p) return false;
  p = std::to_chars(p, p + 10, seconds).ptr;
  *p++ = '.';
  for (int i = digits; i-- > 0; parts /= 10) p[i] = static_cast<char>('0' + parts % 10);
  out.wrote(p + digits);
  return true;
}

bool put_value(LineBuilder &out, PyObject *value) {
  PyTypeObject *t = Py_TYPE(value);
  if (t == &PyUnicode_Type) return put_text(out, value, "\"", "\"");
  if (t == &PyLong_Type) return put_int(out, value);
  if (t == &PyFloat_Type) return put_float(out, PyFloat_AS_DOUBLE(value));
  if (value == Py_True) return put_word(out, "true");
  if (value == Py_False) return put_word(out, "false");
  if (value == Py_None) return put_word(out, "null");
  return false;
}

bool same(PyObject *a, PyObject *b) {
  return a == b || (PyUnicode_GET_LENGTH(a) == PyUnicode_GET_LENGTH(b) && PyUnicode_Compare(a, b) == 0);
}

bool put_field(LineBuilder &out, PyObject *name, PyObject *value) {
  return put_text(out, name, ",\"", "\":") && put_value(out, value);
}

bool put_bound(LineBuilder &out, const EventParts &e) {
  Py_ssize_t at = 0;
  PyObject *name, *value;
  while (PyDict_Next(e.bound, &at, &name, &value)) {
    if (!PyUnicode_CheckExact(name)) return false;
    bool known = same(name, s_ts) || same(name, s_level) || same(name, s_message);
    for (Py_ssize_t i = 0; i < e.n && !known; i++) known = same(name, PyTuple_GET_ITEM(e.names, i));
    if (!known && !put_field(out, name, value)) return false;
  }
  return true;
}

}  // namespace

bool write_event(LineBuilder &out, const EventParts &e) {
  Py_ssize_t at_ts = -1;
  for (Py_ssize_t i = 0; i < e.n && at_ts < 0; i++) {
    if (same(PyTuple_GET_ITEM(e.names, i), s_ts)) at_ts = i;
  }
  if (!PyUnicode_CheckExact(e.message) || !put_word(out, "{\"ts\":")) return false;
  if (!(at_ts < 0 ? put_time(out, e.ts) : put_value(out, e.values[at_ts]))) return false;
  if (!put_word(out, ",\"level\":\"") || !out.add(static_cast<const char *>(PyUnicode_DATA(e.level)), static_cast<size_t>(PyUnicode_GET_LENGTH(e.level))) ||
      !put_text(out, e.message, "\",\"message\":\"", "\"")) {
    return false;
  }
  for (Py_ssize_t i = 0; i < e.n; i++) {
    if (i != at_ts && e.values[i] && !put_field(out, PyTuple_GET_ITEM(e.names, i), e.values[i])) return false;
  }
  return (!e.bound || put_bound(out, e)) && out.add("}", 1);
}
