// message.cpp - HttpMessage.
//
// While a handler runs, a message is a thin object over the core's parsed head; nothing is copied or decoded before it is asked
// for. When the handler returns and nobody kept the object it is used again for the next request. When somebody did (the object,
// or a memoryview of it, which holds the object) the message takes a reference to the chunk of memory the bytes are in, and a copy of
// the slices that point there: the bytes themselves stay where they are, for as long as they are wanted.
#include "message.h"

#include <cstddef>
#include <cstring>
#include <strings.h>

#include "args.h"
#include "forms.h"
#include "module.h"

PyTypeObject *msg_type;

namespace {

PyObject *text(const char *p, size_t n) {
  return PyUnicode_DecodeUTF8(p, static_cast<Py_ssize_t>(n), "surrogateescape");
}
PyObject *text(Str s) {
  return text(s.buf ? s.buf : "", s.len);
}

PyObject *cached(PyObject **slot, Str s) {
  if (!*slot) *slot = text(s);
  return Py_XNewRef(*slot);
}

Msg *self_of(PyObject *o) {
  return reinterpret_cast<Msg *>(o);
}

void forget(Msg *m) {
  Py_CLEAR(m->method);
  Py_CLEAR(m->uri);
  Py_CLEAR(m->query);
  Py_CLEAR(m->proto);
  Py_CLEAR(m->body_bytes);
  Py_CLEAR(m->body_text);
  Py_CLEAR(m->form);
}

size_t header_count(const mg_http_message *hm) {
  size_t n = 0;
  while (n < MG_MAX_HTTP_HEADERS && hm->headers[n].name.len > 0) n++;
  return n;
}

// The copy ends behind the last header's terminator, so that a kept message is small. What follows in the struct is not in it: the
// body's slice is in Msg.
mg_http_message *copy_of(const mg_http_message *hm) {
  size_t n = header_count(hm);
  size_t bytes = offsetof(mg_http_message, headers) + (n < MG_MAX_HTTP_HEADERS ? n + 1 : n) * sizeof(mg_http_header);
  void *copy = PyMem_Malloc(bytes);
  if (copy) memcpy(copy, hm, bytes);
  return static_cast<mg_http_message *>(copy);
}

// ---- attributes ----

PyObject *get_method(PyObject *o, void *) {
  return cached(&self_of(o)->method, self_of(o)->hm->method);
}
PyObject *get_uri(PyObject *o, void *) {
  return cached(&self_of(o)->uri, self_of(o)->hm->uri);
}
PyObject *get_query(PyObject *o, void *) {
  return cached(&self_of(o)->query, self_of(o)->hm->query);
}
PyObject *get_proto(PyObject *o, void *) {
  return cached(&self_of(o)->proto, self_of(o)->hm->proto);
}
PyObject *get_body(PyObject *o, void *) {
  return PyMemoryView_FromObject(o);
}
PyObject *get_body_bytes(PyObject *o, void *) {
  Msg *m = self_of(o);
  if (!m->body_bytes) m->body_bytes = PyBytes_FromStringAndSize(m->body.buf, static_cast<Py_ssize_t>(m->body.len));
  return Py_XNewRef(m->body_bytes);
}
PyObject *get_body_text(PyObject *o, void *) {
  return cached(&self_of(o)->body_text, self_of(o)->body);
}
PyObject *get_params(PyObject *o, void *) {
  Ref parse(PyImport_ImportModule("urllib.parse"));
  Ref query(text(self_of(o)->hm->query));
  Ref fn(parse ? PyObject_GetAttrString(parse.get(), "parse_qs") : nullptr);
  Ref args(query ? PyTuple_Pack(1, query.get()) : nullptr);
  Ref kw(Py_BuildValue("{s:O}", "keep_blank_values", Py_True));
  if (!fn || !args || !kw) return nullptr;
  return PyObject_Call(fn.get(), args.get(), kw.get());
}

// The slices of a scheme or host that was told are in the message's bytes, which a kept message holds.
Origin origin_of(const Msg *m) {
  if (!m->c) return m->origin;
  mg_http_origin o;
  mg_http_origin_of(m->c, m->hm, &o);
  return {o.addr, o.known, o.scheme, o.host};
}

PyObject *get_client_addr(PyObject *o, void *) {
  Origin origin = origin_of(self_of(o));
  char ip[MG_ADDR_TEXT];
  if (!origin.known) Py_RETURN_NONE;
  size_t n = mg_addr_print(&origin.addr, false, ip, sizeof(ip));
  PyObject *host = PyUnicode_FromStringAndSize(ip, static_cast<Py_ssize_t>(n));
  return Py_BuildValue("(NiO)", host, static_cast<int>(mg_ntohs(origin.addr.port)), origin.addr.is_ip6 ? Py_True : Py_False);
}
PyObject *get_scheme(PyObject *o, void *) {
  Ref s(text(origin_of(self_of(o)).scheme));
  return s ? PyObject_CallMethod(s.get(), "lower", nullptr) : nullptr;
}
PyObject *get_host(PyObject *o, void *) {
  return text(origin_of(self_of(o)).host);
}

PyObject *header(PyObject *o, PyObject *const *args, Py_ssize_t n) {
  if (n < 1 || n > 2) return PyErr_Format(PyExc_TypeError, "header(name, default=None) takes 1 or 2 arguments, not %zd", n);
  Bytes name;
  if (!name.init(args[0], "name")) return nullptr;
  const mg_http_message *hm = self_of(o)->hm;
  for (size_t i = 0; i < MG_MAX_HTTP_HEADERS && hm->headers[i].name.len > 0; i++) {
    const mg_http_header &h = hm->headers[i];
    if (h.name.len == name.size() && strncasecmp(h.name.buf, name.data(), h.name.len) == 0) return text(h.value);
  }
  return Py_NewRef(n > 1 ? args[1] : Py_None);
}

PyObject *headers(PyObject *o, PyObject *) {
  const mg_http_message *hm = self_of(o)->hm;
  size_t n = header_count(hm);
  Ref list(PyList_New(static_cast<Py_ssize_t>(n)));
  if (!list) return nullptr;
  for (size_t i = 0; i < n; i++) {
    Ref name(text(hm->headers[i].name)), value(text(hm->headers[i].value));
    PyObject *pair = name && value ? PyTuple_Pack(2, name.get(), value.get()) : nullptr;
    if (!pair) return nullptr;
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), pair);
  }
  return list.release();
}

PyObject *query_var(PyObject *o, PyObject *arg) {
  Bytes name;
  if (!name.init(arg, "name")) return nullptr;
  Str v = mg_http_var(self_of(o)->hm->query, mg_str_n(name.data(), name.size()));
  if (v.len == 0) Py_RETURN_NONE;
  if (v.len > 2047) return PyErr_Format(PyExc_ValueError, "query variable is %zu bytes long, more than 2047; use params", v.len);
  char buf[2048];
  int len = mg_url_decode(v.buf, v.len, buf, sizeof(buf), 1);
  if (len < 0) Py_RETURN_NONE;
  return text(buf, static_cast<size_t>(len));
}

PyObject *status(PyObject *o, PyObject *) {
  int code = mg_http_status(self_of(o)->hm);
  if (code <= 0) Py_RETURN_NONE;
  return PyLong_FromLong(code);
}

PyObject *header_var(PyObject *o, PyObject *const *args, Py_ssize_t n) {
  if (n != 2) return PyErr_Format(PyExc_TypeError, "header_var(header, var) takes 2 arguments, not %zd", n);
  Bytes name, var;
  if (!name.init(args[0], "header") || !var.init(args[1], "var")) return nullptr;
  const mg_http_message *hm = self_of(o)->hm;
  for (size_t i = 0; i < MG_MAX_HTTP_HEADERS && hm->headers[i].name.len > 0; i++) {
    const mg_http_header &h = hm->headers[i];
    if (h.name.len != name.size() || strncasecmp(h.name.buf, name.data(), h.name.len) != 0) continue;
    Str v = mg_http_get_header_var(h.value, mg_str_n(var.data(), var.size()));
    if (!v.buf) Py_RETURN_NONE;
    return text(v);
  }
  Py_RETURN_NONE;
}

PyObject *json_of(PyObject *o, PyObject *) {
  Ref json(PyImport_ImportModule("json")), body(get_body_bytes(o, nullptr));
  if (!json || !body) return nullptr;
  return PyObject_CallMethod(json.get(), "loads", "O", body.get());
}

// ---- what Python makes of it ----

PyObject *get_form(PyObject *o, void *) {
  Msg *m = self_of(o);
  if (!m->form) m->form = call_python("pymongoose._forms", "form_of", o, nullptr, 0, nullptr);
  return Py_XNewRef(m->form);
}
PyObject *get_cookies(PyObject *o, void *) {
  return call_python("pymongoose._cookies", "cookies_of", o, nullptr, 0, nullptr);
}
PyObject *basic_auth(PyObject *o, PyObject *) {
  return call_python("pymongoose._auth", "credentials_of", o, nullptr, 0, nullptr);
}

int truth(PyObject *) {
  return 1;
}

PyObject *repr(PyObject *o) {
  Ref method(get_method(o, nullptr)), uri(get_uri(o, nullptr));
  if (!method || !uri) return nullptr;
  return PyUnicode_FromFormat("<HttpMessage %U %U, %zu bytes>", method.get(), uri.get(), self_of(o)->body.len);
}

int get_buffer(PyObject *o, Py_buffer *view, int flags) {
  const Str &body = self_of(o)->body;
  return PyBuffer_FillInfo(view, o, const_cast<char *>(body.buf ? body.buf : ""), static_cast<Py_ssize_t>(body.len), 1, flags);
}

void dealloc(PyObject *o) {
  Msg *m = self_of(o);
  PyTypeObject *type = Py_TYPE(o);
  forget(m);
  if (m->own) PyMem_Free(m->hm);
  mg_chunk_drop(m->chunk);
  PyObject_Free(o);
  Py_DECREF(type);
}

PyGetSetDef getset[] = {
    {"method", get_method, nullptr, "str: request method, as sent (RFC 9110 9).", nullptr},
    {"uri", get_uri, nullptr, "str: path of the request target, still percent-encoded.", nullptr},
    {"query", get_query, nullptr, "str: query of the request target without the '?', still percent-encoded.", nullptr},
    {"proto", get_proto, nullptr, "str: protocol version, 'HTTP/1.1'.", nullptr},
    {"client_addr", get_client_addr, nullptr,
     "tuple[str, int, bool] | None: who asked (ip, port, is it IPv6), seen through the proxies that listen(trusted_proxies=...) names; "
     "port 0 when it was not told. None: a Unix socket, or a trusted proxy hides the client.",
     nullptr},
    {"scheme", get_scheme, nullptr, "str: 'https' or 'http', as the outermost trusted proxy was asked.", nullptr},
    {"host", get_host, nullptr,
     "str: host and port that were asked for: told by a trusted proxy, of the target in absolute form, or the Host field; '' without.", nullptr},
    {"body", get_body, nullptr,
     "memoryview: the body where it arrived, no copy. Valid for as long as it is kept, on any thread.", nullptr},
    {"body_bytes", get_body_bytes, nullptr, "bytes: a copy of the body, made once.", nullptr},
    {"body_text", get_body_text, nullptr, "str: the body as UTF-8, undecodable bytes as surrogate escapes. Made once.", nullptr},
    {"text", get_body_text, nullptr, "str: the same as body_text.", nullptr},
    {"params", get_params, nullptr,
     "dict[str, list[str]]: query parameters, decoded like urllib.parse.parse_qs(keep_blank_values=True): names are case-sensitive, "
     "'?a=' is {'a': ['']}, '+' is a space, UTF-8 with U+FFFD for what is none.",
     nullptr},
    {"form", get_form, nullptr,
     "Form: fields and files of a body that is application/x-www-form-urlencoded or multipart/form-data; empty for no body. Parsed once.\n\n"
     "Raises:\n    FormError: it is neither (415), malformed (400), or has more than 1,000 fields (413). Unhandled in a handler, that is the answer.",
     nullptr},
    {"cookies", get_cookies, nullptr,
     "dict[str, str]: what the Cookie fields hold (RFC 6265 4.2, read as browsers write them); the first of a name, which is the one with "
     "the most specific path.",
     nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

template <typename F>
PyCFunction fast(F f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}

PyMethodDef methods[] = {
    {"header", fast(header), METH_FASTCALL,
     "header($self, name, default=None, /)\n--\n\nstr: value of the first field of that name, ASCII case ignored; default when there is none."},
    {"headers", headers, METH_NOARGS, "headers($self)\n--\n\nlist[tuple[str, str]]: all fields in order, repeated ones too."},
    {"query_var", query_var, METH_O,
     "query_var($self, name, /)\n--\n\nstr | None: decoded query variable; None when it is missing or empty. Names match ignoring case; params is "
     "exact.\n\nRaises:\n    ValueError: the value is longer than 2047 bytes."},
    {"status", status, METH_NOARGS, "status($self)\n--\n\nint | None: status code of a response, None for a request."},
    {"header_var", fast(header_var), METH_FASTCALL,
     "header_var($self, header, var, /)\n--\n\nstr | None: parameter inside a header value, as the filename in Content-Disposition."},
    {"basic_auth", basic_auth, METH_NOARGS,
     "basic_auth($self)\n--\n\ntuple[str, str] | None: user and password of Authorization: Basic (RFC 7617); None when it is absent or malformed."},
    {"json", json_of, METH_NOARGS, "json($self)\n--\n\nThe body parsed as JSON.\n\nRaises:\n    ValueError: it is none."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char *>(
         "A request or response, as a view of the bytes it arrived in.\n\n"
         "Attributes are decoded on first use. A message, and any memoryview of it, may be kept for as long as you like and used on any\n"
         "thread; nothing is copied for that. It supports the buffer protocol: its bytes are the body.")},
    {Py_tp_getset, getset},
    {Py_tp_methods, methods},
    {Py_tp_repr, reinterpret_cast<void *>(repr)},
    {Py_tp_dealloc, reinterpret_cast<void *>(dealloc)},
    {Py_nb_bool, reinterpret_cast<void *>(truth)},
    {Py_bf_getbuffer, reinterpret_cast<void *>(get_buffer)},
    {0, nullptr},
};
PyType_Spec spec = {"pymongoose.HttpMessage", sizeof(Msg), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

}  // namespace

Msg *msg_begin(Loop *loop, mg_connection *c, mg_http_message *hm) {
  Msg *m = loop->spare;
  if (MG_LIKELY(m != nullptr)) {
    loop->spare = nullptr;
  } else {
    m = PyObject_New(Msg, msg_type);
    if (!m) return nullptr;
    m->chunk = nullptr;
    m->own = false;
    m->method = m->uri = m->query = m->proto = m->body_bytes = m->body_text = m->form = nullptr;
  }
  m->c = c;
  m->hm = hm;
  m->body = hm->body;
  return m;
}

void msg_copy(mg_http_message *to, const Msg *m) {
  memset(to, 0, sizeof(*to));
  memcpy(to, m->hm, offsetof(mg_http_message, headers));
  for (size_t i = 0, n = header_count(m->hm); i < n; i++) to->headers[i] = m->hm->headers[i];
  to->body = m->body;
}

void msg_end(Loop *loop, Msg *m, mg_chunk *chunk) {
  auto *o = reinterpret_cast<PyObject *>(m);
  if (MG_LIKELY(Py_REFCNT(o) == 1)) {
    forget(m);
    if (loop->spare) {
      m->hm = nullptr;
      Py_DECREF(o);
    } else {
      loop->spare = m;
    }
    return;
  }
  m->origin = origin_of(m);
  m->c = nullptr;
  mg_http_message *copy = copy_of(m->hm);
  if (!copy) Py_FatalError("pymongoose: no memory for a message that is being kept");
  m->hm = copy;
  m->own = true;
  m->chunk = mg_chunk_hold(chunk);
  Py_DECREF(o);
}

void bind_message(pybind11::module_ &m) {
  msg_type = reinterpret_cast<PyTypeObject *>(PyType_FromModuleAndSpec(m.ptr(), &spec, nullptr));
  if (!msg_type || PyModule_AddObjectRef(m.ptr(), "HttpMessage", reinterpret_cast<PyObject *>(msg_type)) < 0) {
    throw pybind11::error_already_set();
  }
}
