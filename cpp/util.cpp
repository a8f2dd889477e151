// util.cpp - the small functions of the core: URLs, form variables, globs, digests, codecs, randomness, the log level.
//
// None of them is called for every request, so this is plain pybind11. Objects are taken as they come and checked here,
// for errors that name the argument. Bytes that come out as text (decoded URLs, captures) use surrogateescape, and
// text that went through it is taken back as the same bytes: nothing is lost on the way through str.
#include "module.h"

#include <climits>
#include <cstring>
#include <string>
#include <vector>

#include "args.h"
#include "mongoose/base/base64.h"
#include "mongoose/base/clock.h"
#include "mongoose/base/crc.h"
#include "mongoose/base/log.h"
#include "mongoose/base/match.h"
#include "mongoose/base/md5.h"
#include "mongoose/base/rand.h"
#include "mongoose/base/sha1.h"
#include "mongoose/base/sha256.h"
#include "mongoose/codec/http_text.h"
#include "mongoose/codec/url.h"

namespace py = pybind11;

namespace {

// Work on that many bytes takes longer than handing the GIL over and back.
constexpr size_t kUnlockedFrom = 64 * 1024;

template <class Work>
void for_bytes(size_t size, Work work) {
  if (size >= kUnlockedFrom) {
    py::gil_scoped_release unlocked;
    work();
  } else {
    work();
  }
}

// --- arguments and results

// A view of an argument for the time of the call, or an exception.
class View {
 public:
  View(const py::object &obj, const char *name) {
    if (!bytes_.init(obj.ptr(), name)) throw py::error_already_set();
  }
  const char *data() const { return bytes_.data(); }
  const unsigned char *bytes() const { return reinterpret_cast<const unsigned char *>(bytes_.data()); }
  size_t size() const { return bytes_.size(); }
  struct mg_str str() const { return {const_cast<char *>(bytes_.data()), bytes_.size()}; }

 private:
  Bytes bytes_;
};

// Text for functions that stop at a NUL: str only, and no NUL within. UTF-8 of a str has one behind it.
class CText {
 public:
  CText(const py::object &obj, const char *name) : view_(str_only(obj, name), name) {
    if (std::strlen(view_.data()) != view_.size()) {
      throw py::value_error(std::string(name) + " must not contain a NUL character");
    }
  }
  const char *get() const { return view_.data(); }

 private:
  static const py::object &str_only(const py::object &obj, const char *name) {
    if (PyUnicode_Check(obj.ptr())) return obj;
    throw py::type_error(std::string(name) + " must be str, not " + Py_TYPE(obj.ptr())->tp_name);
  }
  View view_;
};

// An int in [least, most].
long long whole(const py::object &obj, const char *name, long long least, long long most) {
  if (!PyIndex_Check(obj.ptr())) {
    throw py::type_error(std::string(name) + " must be int, not " + Py_TYPE(obj.ptr())->tp_name);
  }
  int overflow;
  py::object number = py::reinterpret_steal<py::object>(PyNumber_Index(obj.ptr()));
  long long v = number ? PyLong_AsLongLongAndOverflow(number.ptr(), &overflow) : -1;
  if (v == -1 && PyErr_Occurred()) throw py::error_already_set();
  if (overflow == 0 && v >= least && v <= most) return v;
  PyErr_Format(PyExc_ValueError, "%s must be %lld to %lld, not %S", name, least, most, number.ptr());
  throw py::error_already_set();
}

py::object owned(PyObject *made) {
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

py::object text(const char *buf, size_t len) {
  return owned(PyUnicode_DecodeUTF8(buf, static_cast<Py_ssize_t>(len), "surrogateescape"));
}

py::object text(struct mg_str s) { return text(s.len == 0 ? "" : s.buf, s.len); }

// A new bytes object of `size` that nobody else has seen yet, to be written to.
py::object new_bytes(size_t size) { return owned(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size))); }

unsigned char *bytes_of(const py::object &bytes) {
  return reinterpret_cast<unsigned char *>(PyBytes_AS_STRING(bytes.ptr()));
}

// Fits every kind of object with its head; whether there is memory for it is another question.
constexpr long long kLongest = PY_SSIZE_T_MAX / 2;

[[noreturn]] void no_randomness() {
  PyErr_SetString(PyExc_OSError, "the operating system has no random bytes");
  throw py::error_already_set();
}

// --- URLs and forms

py::object url_encode(const py::object &data) {
  View from(data, "data");
  if (from.size() > (PY_SSIZE_T_MAX - 1) / 3) return owned(PyErr_NoMemory());
  std::string to(3 * from.size() + 1, '\0');
  return text(to.data(), mg_url_encode(from.data(), from.size(), to.data(), to.size()));
}

py::object url_decode(const py::object &data, bool form) {
  View from(data, "data");
  if (from.size() >= INT_MAX) throw py::value_error("data must be shorter than 2 GiB");
  std::string to(from.size() + 1, '\0');
  int n = mg_url_decode(from.data(), from.size(), to.data(), to.size(), form);
  if (n < 0) throw py::value_error("data has a '%' without two hex digits behind it");
  return text(to.data(), static_cast<size_t>(n));
}

int url_port(const py::object &url) { return mg_url_port(CText(url, "url").get()); }
py::object url_host(const py::object &url) { return text(mg_url_host(CText(url, "url").get())); }
py::object url_user(const py::object &url) { return text(mg_url_user(CText(url, "url").get())); }
py::object url_pass(const py::object &url) { return text(mg_url_pass(CText(url, "url").get())); }
bool url_is_ssl(const py::object &url) { return mg_url_is_ssl(CText(url, "url").get()) != 0; }

py::object url_uri(const py::object &url) {
  CText from(url, "url");
  const char *uri = mg_url_uri(from.get());
  return text(uri, std::strlen(uri));
}

py::object http_var(const py::object &buf, const py::object &name) {
  View from(buf, "buf"), wanted(name, "name");
  struct mg_str value = mg_http_var(from.str(), wanted.str());
  return value.buf == nullptr ? py::object(py::none()) : text(value);
}

py::object http_status_text(const py::object &code) {
  const char *phrase = mg_http_status_text(static_cast<int>(whole(code, "code", INT_MIN, INT_MAX)));
  return text(phrase, std::strlen(phrase));
}

py::tuple match(const py::object &s, const py::object &pattern) {
  View str(s, "s"), glob(pattern, "pattern");
  size_t wildcards = 0;
  for (size_t i = 0; i < glob.size(); i++) wildcards += std::memchr("?*#", glob.data()[i], 3) != nullptr;
  std::vector<struct mg_str> found(wildcards + 1);
  int n = mg_match_n(str.str(), glob.str(), found.data(), found.size());
  py::list captures;
  for (int i = 0; i < n; i++) captures.append(text(found[static_cast<size_t>(i)]));
  return py::make_tuple(n >= 0, captures);
}

// --- digests and codecs

py::object md5(const py::object &data) {
  View from(data, "data");
  py::object digest = new_bytes(16);
  for_bytes(from.size(), [&] {
    mg_md5_ctx ctx;
    mg_md5_init(&ctx);
    mg_md5_update(&ctx, from.bytes(), from.size());
    mg_md5_final(&ctx, bytes_of(digest));
  });
  return digest;
}

py::object sha1(const py::object &data) {
  View from(data, "data");
  py::object digest = new_bytes(20);
  for_bytes(from.size(), [&] {
    mg_sha1_ctx ctx;
    mg_sha1_init(&ctx);
    mg_sha1_update(&ctx, from.bytes(), from.size());
    mg_sha1_final(bytes_of(digest), &ctx);
  });
  return digest;
}

py::object sha256(const py::object &data) {
  View from(data, "data");
  py::object digest = new_bytes(32);
  for_bytes(from.size(), [&] { mg_sha256(bytes_of(digest), from.bytes(), from.size()); });
  return digest;
}

py::object hmac_sha256(const py::object &key, const py::object &data) {
  View secret(key, "key"), from(data, "data");
  py::object digest = new_bytes(32);
  for_bytes(secret.size() + from.size(), [&] {
    mg_hmac_sha256(bytes_of(digest), secret.bytes(), secret.size(), from.bytes(), from.size());
  });
  return digest;
}

py::object base64_encode(const py::object &data) {
  View from(data, "data");
  if (from.size() > (PY_SSIZE_T_MAX - 8) / 4 * 3) return owned(PyErr_NoMemory());
  size_t len = (from.size() + 2) / 3 * 4;
  // The NUL that the core puts behind the text has its place in every str.
  py::object to = owned(PyUnicode_New(static_cast<Py_ssize_t>(len), 127));
  if (len == 0) return to;  // the interpreter's one empty str: not ours to write to
  char *chars = reinterpret_cast<char *>(PyUnicode_1BYTE_DATA(to.ptr()));
  for_bytes(from.size(), [&] { mg_base64_encode(from.bytes(), from.size(), chars, len + 1); });
  return to;
}

py::object base64_decode(const py::object &data) {
  View from(data, "data");
  std::string to(from.size() / 4 * 3 + 1, '\0');
  size_t n = 0;
  for_bytes(from.size(), [&] { n = mg_base64_decode(from.data(), from.size(), to.data(), to.size()); });
  return py::bytes(to.data(), n);
}

uint32_t crc32(const py::object &data, const py::object &initial) {
  View from(data, "data");
  uint32_t crc = static_cast<uint32_t>(whole(initial, "initial", 0, UINT32_MAX));
  for_bytes(from.size(), [&] { crc = mg_crc32(crc, from.data(), from.size()); });
  return crc;
}

// --- clock, randomness, log

py::object random_bytes(const py::object &length) {
  size_t n = static_cast<size_t>(whole(length, "length", 0, kLongest));
  if (n == 0) return py::bytes();
  py::object made = new_bytes(n);
  bool ok = false;
  for_bytes(n, [&] { ok = mg_random(bytes_of(made), n); });
  if (!ok) no_randomness();
  return made;
}

py::object random_str(const py::object &length) {
  size_t n = static_cast<size_t>(whole(length, "length", 0, kLongest));
  py::object made = owned(PyUnicode_New(static_cast<Py_ssize_t>(n), 127));
  if (n == 0) return made;  // as in base64_encode
  char *chars = reinterpret_cast<char *>(PyUnicode_1BYTE_DATA(made.ptr()));
  bool ok = false;
  for_bytes(n, [&] { ok = mg_random_str(chars, n + 1) != nullptr; });
  if (!ok) no_randomness();
  return made;
}

void log_set(const py::object &level) {
  mg_log_set(static_cast<int>(whole(level, "level", MG_LL_NONE, MG_LL_VERBOSE)));
}

// --- names

void bind_urls(py::module_ &m) {
  m.def("url_encode", url_encode, py::arg("data"),
        "url_encode(data: str | bytes-like) -> str\n\n"
        "Percent-encode every byte but letters, digits and -._~ in lower-case hex.");
  m.def("url_decode", url_decode, py::arg("data"), py::kw_only(), py::arg("form") = false,
        "url_decode(data: str | bytes-like, *, form: bool = False) -> str\n\n"
        "Undo url_encode; with form=True a '+' is a space. Bytes that are not UTF-8 decode with surrogateescape.\n\n"
        "Raises:\n"
        "    ValueError: a '%' without two hex digits behind it.");
  m.def("url_port", url_port, py::arg("url"),
        "url_port(url: str) -> int\n\n"
        "The port, or what the scheme implies: http and ws 80, https and wss 443, mqtt 1883, mqtts 8883. 0 when there\n"
        "is neither, and for what is no port (letters, above 65535).");
  m.def("url_host", url_host, py::arg("url"),
        "url_host(url: str) -> str\n\nThe host, \"\" when absent; an IPv6 address keeps its brackets.");
  m.def("url_user", url_user, py::arg("url"),
        "url_user(url: str) -> str\n\nThe user name, not decoded, \"\" when absent.");
  m.def("url_pass", url_pass, py::arg("url"),
        "url_pass(url: str) -> str\n\nThe password, not decoded, \"\" when absent.");
  m.def("url_uri", url_uri, py::arg("url"),
        "url_uri(url: str) -> str\n\nPath and query, from the '/' (or the '?') on; \"/\" when absent.");
  m.def("url_is_ssl", url_is_ssl, py::arg("url"),
        "url_is_ssl(url: str) -> bool\n\nDoes the scheme mean TLS: https, wss, mqtts, ssl, tls, tcps?");
  m.def("http_var", http_var, py::arg("buf"), py::arg("name"),
        "http_var(buf: str | bytes-like, name: str | bytes-like) -> str | None\n\n"
        "The value of the first \"name=value\" between '&' in a query string or form body, as it stands there (see\n"
        "url_decode). \"\" when it is empty, None when there is none. Letter case of the name is ignored.");
  m.def("http_status_text", http_status_text, py::arg("code"),
        "http_status_text(code: int) -> str\n\nThe reason phrase of a status, \"\" for codes that nobody registered.");
  m.def("match", match, py::arg("s"), py::arg("pattern"),
        "match(s: str | bytes-like, pattern: str | bytes-like) -> tuple[bool, list[str]]\n\n"
        "Does all of `s` match, and what did each wildcard stand for? `?` is one byte of the UTF-8 text, `*` any run\n"
        "without '/', `#` any run; earlier runs are as short as the rest allows. Any number of wildcards, time\n"
        "O(len(s) * len(pattern)). The list is empty when there is no match.");
}

void bind_digests(py::module_ &m) {
  m.def("md5", md5, py::arg("data"),
        "md5(data: str | bytes-like) -> bytes\n\nThe 16-byte MD5 digest, for old protocols: it protects nothing.");
  m.def("sha1", sha1, py::arg("data"),
        "sha1(data: str | bytes-like) -> bytes\n\nThe 20-byte SHA-1 digest; not for signatures.");
  m.def("sha256", sha256, py::arg("data"), "sha256(data: str | bytes-like) -> bytes\n\nThe 32-byte SHA-256 digest.");
  m.def("hmac_sha256", hmac_sha256, py::arg("key"), py::arg("data"),
        "hmac_sha256(key: str | bytes-like, data: str | bytes-like) -> bytes\n\n"
        "The 32-byte HMAC-SHA-256 (RFC 2104). Compare tags with hmac.compare_digest.");
  m.def("base64_encode", base64_encode, py::arg("data"),
        "base64_encode(data: str | bytes-like) -> str\n\nBase64 with padding (RFC 4648 4), in one line.");
  m.def("base64_decode", base64_decode, py::arg("data"),
        "base64_decode(data: str | bytes-like) -> bytes\n\n"
        "Undo base64_encode. b\"\" for everything that is not exactly such a text: other characters (white space\n"
        "too), missing padding.");
  m.def("crc32", crc32, py::arg("data"), py::arg("initial") = 0,
        "crc32(data: str | bytes-like, initial: int = 0) -> int\n\n"
        "CRC-32 as in gzip and zip. `initial` is the result for the data in front of this.\n\n"
        "Raises:\n"
        "    ValueError: initial is not in 0 to 2**32 - 1.");
}

void bind_system(py::module_ &m) {
  m.def("millis", mg_millis,
        "millis() -> int\n\nMilliseconds of a clock that only goes forward, for measuring; not the time of day.");
  m.def("random_bytes", random_bytes, py::arg("length"),
        "random_bytes(length: int) -> bytes\n\n"
        "`length` unpredictable bytes from the operating system.\n\n"
        "Raises:\n"
        "    ValueError: length is negative.\n"
        "    OSError: the system has none.");
  m.def("random_str", random_str, py::arg("length"),
        "random_str(length: int) -> str\n\n"
        "`length` unpredictable letters (A-Z, a-z) and digits, just under 6 bits each. Raises as random_bytes.");
  m.def("log_set", log_set, py::arg("level"),
        "log_set(level: int) -> None\n\n"
        "How much the engine writes to standard output: MG_LL_NONE (0, at the start) to MG_LL_VERBOSE (4).\n\n"
        "Raises:\n"
        "    ValueError: level is not in 0 to 4.");
  m.def("log_get", mg_log_get, "log_get() -> int\n\nThe level set by log_set.");
}

}  // namespace

void bind_util(py::module_ &m) {
  py::options signatures;
  signatures.disable_function_signatures();  // the first line of each docstring says more
  bind_urls(m);
  bind_digests(m);
  bind_system(m);
}
