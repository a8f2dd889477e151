// forms.cpp - request bodies as they come, and the multipart parser as Python sees it.
#include "forms.h"

#include <cstring>

#include "args.h"
#include "errors.h"
#include "module.h"
#include "reply.h"

namespace py = pybind11;

PyObject *call_python(const char *module, const char *fn, PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  Ref m(PyImport_ImportModule(module)), f(m ? PyObject_GetAttrString(m.get(), fn) : nullptr);
  if (!f) return nullptr;
  Py_ssize_t total = n + (kw ? PyTuple_GET_SIZE(kw) : 0);
  std::vector<PyObject *> all{self};
  all.insert(all.end(), args, args + total);
  return PyObject_Vectorcall(f.get(), all.data(), static_cast<size_t>(n + 1), kw);
}

PyObject *conn_upload(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  if (!conn->c) return raise_closed();
  return call_python("pymongoose._upload", "upload", reinterpret_cast<PyObject *>(conn), args, n, kw);
}

PyObject *conn_start_sse(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  if (!conn->c) return raise_closed();
  return call_python("pymongoose._sse", "start_sse", reinterpret_cast<PyObject *>(conn), args, n, kw);
}

// ---- bodies as they come ----

namespace {

void forget_body(Conn *conn) {
  Py_CLEAR(conn->on_body);
  Py_CLEAR(conn->on_body_end);
  Py_CLEAR(conn->on_body_abort);
}

void body_piece(mg_connection *c, Str piece, bool last, void *arg) {
  auto *loop = static_cast<Loop *>(arg);
  auto *conn = static_cast<Conn *>(c->owner);
  if (!conn) return;
  loop->lock();
  Ref hold = Ref::borrow(reinterpret_cast<PyObject *>(conn)), fn = Ref::borrow(last ? conn->on_body_end : conn->on_body), r;
  if (last) {
    forget_body(conn);
    if (!fn) return;
    r = Ref(PyObject_CallNoArgs(fn.get()));
  } else if (!fn) {
    return;
  } else {
    Ref data(PyBytes_FromStringAndSize(piece.buf, static_cast<Py_ssize_t>(piece.len)));
    if (data) r = Ref(PyObject_CallOneArg(fn.get(), data.get()));
  }
  if (!r) {
    loop->failed(conn, last ? MG_EV_HTTP_MSG : MG_EV_READ);
    if (c->is_client) mg_http_cut(c);
    conn_fail_request(conn);
    if (conn->c && !last) mg_http_stop_body(conn->c);  // the rest is for nobody
    conn_body_aborted(conn);
  }
}

}  // namespace

void conn_body_aborted(Conn *conn) {
  Ref fn = Ref::borrow(conn->on_body_abort);
  forget_body(conn);
  if (!fn) return;
  Ref r(PyObject_CallNoArgs(fn.get()));
  if (!r) conn->loop->failed(conn, MG_EV_CLOSE);
}

PyObject *conn_stream_body(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"on_data", "on_end", "max_body", "on_abort"};
  PyObject *a[4];
  if (!take_args("stream_body", names, 4, 1, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  for (int i = 0; i < 4; i++) {
    if (i != 2 && a[i] && (i == 0 || a[i] != Py_None) && !PyCallable_Check(a[i])) {
      return PyErr_Format(PyExc_TypeError, "%s must be callable, not %.200s", names[i], Py_TYPE(a[i])->tp_name);
    }
  }
  unsigned long long max_body = 0;
  if (a[2] && a[2] != Py_None) {
    max_body = PyLong_AsUnsignedLongLong(a[2]);
    if (PyErr_Occurred()) return nullptr;
  }
  if (!conn->loop->on_thread() || !mg_http_stream_body(conn->c, body_piece, conn->loop, max_body)) {
    return raise_status(MG_ESTATE, "stream_body() belongs into the handler of MG_EV_HTTP_HDRS", conn->id);
  }
  Py_XSETREF(conn->on_body, Py_NewRef(a[0]));
  Py_XSETREF(conn->on_body_end, a[1] && a[1] != Py_None ? Py_NewRef(a[1]) : nullptr);
  Py_XSETREF(conn->on_body_abort, a[3] && a[3] != Py_None ? Py_NewRef(a[3]) : nullptr);
  Py_RETURN_NONE;
}

PyObject *conn_refuse_body(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"status", "text"};
  PyObject *a[2];
  if (!take_args("_refuse_body", names, 2, 2, args, n, kw, a)) return nullptr;
  if (!conn->c) Py_RETURN_NONE;
  if (!conn->loop->on_thread()) return conn_post(conn, conn_refuse_body, args, n, kw);
  long status = PyLong_AsLong(a[0]);
  if (status == -1 && PyErr_Occurred()) return nullptr;
  if (mg_http_unanswered(conn->c)) {
    Ref r(conn_reply_to(conn, 0, status, a[1], nullptr, nullptr));
    if (!r) return nullptr;
  }
  mg_http_stop_body(conn->c);
  forget_body(conn);
  Py_RETURN_NONE;
}

PyObject *conn_settle(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  if (n < 1 || kw) return PyErr_Format(PyExc_TypeError, "_settle(fn, *args) takes a function");
  if (!conn->c) Py_RETURN_NONE;
  if (!conn->loop->on_thread()) return conn_post(conn, conn_settle, args, n, kw);
  Loop *loop = conn->loop;
  uint64_t before = loop->put_off;
  Ref v(PyObject_Vectorcall(args[0], args + 1, static_cast<size_t>(n - 1), nullptr)), r;
  if (v) {
    if (!conn->c || loop->put_off != before || !mg_http_unanswered(conn->c)) Py_RETURN_NONE;  // it answered, or somebody will
    if (v.get() == Py_None) {
      r = Ref(conn_reply_to(conn, 0, 204, nullptr, nullptr, nullptr));
    } else if (PyBytes_Check(v.get()) || PyUnicode_Check(v.get()) || PyByteArray_Check(v.get()) || PyMemoryView_Check(v.get())) {
      r = Ref(conn_reply_to(conn, 0, 200, v.get(), nullptr, nullptr));
    } else {
      r = Ref(PyObject_CallFunctionObjArgs(loop->answer, reinterpret_cast<PyObject *>(conn), v.get(), nullptr));
    }
  }
  if (!r) {
    loop->failed(conn, MG_EV_HTTP_MSG);
    if (conn->c && loop->put_off == before) conn_fail_request(conn);
    Py_RETURN_FALSE;
  }
  Py_RETURN_TRUE;
}

// ---- the parser ----

namespace {

py::object text(Str s) {
  return py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(s.buf ? s.buf : "", static_cast<Py_ssize_t>(s.len), "replace"));
}
py::object text_or_none(Str s) {
  return s.buf ? text(s) : py::none();
}

class MultipartParser {
 public:
  MultipartParser(const py::str &content_type, unsigned max_parts) {
    Bytes type;
    if (!type.init(content_type.ptr(), "content_type")) throw py::error_already_set();
    int n = mg_multipart_init(m_.get(), mg_str_n(type.data(), type.size()));
    m_->max_parts = max_parts;
    if (n < 0) fail();
  }

  // The events of these bytes: (name, filename, type, headers) for a part that begins, bytes of its content, None at its end.
  py::list feed(const py::object &data) {
    Bytes b;
    py::list out;
    mg_multipart_event event;
    if (!b.init(data.ptr(), "data")) throw py::error_already_set();
    Str in = mg_str_n(b.data(), b.size());
    do {
      ptrdiff_t n = mg_multipart_feed(m_.get(), in, &event);
      if (n < 0) fail();
      in.buf += n;
      in.len -= static_cast<size_t>(n);
      if (event == MG_MULTIPART_PART) {
        out.append(py::make_tuple(text(m_->part.name), text_or_none(m_->part.filename), text_or_none(m_->part.type), headers()));
      } else if (event == MG_MULTIPART_DATA) {
        out.append(py::bytes(m_->data.buf, m_->data.len));
      } else if (event == MG_MULTIPART_END_OF_PART) {
        out.append(py::none());
      }
    } while (event != MG_MULTIPART_MORE);
    return out;
  }

  void finish() {
    if (mg_multipart_finish(m_.get()) < 0) fail();
  }

 private:
  [[noreturn]] void fail() {
    py::object cls = py::module_::import("pymongoose._errors").attr("FormError");
    PyErr_SetObject(cls.ptr(), cls(m_->status, m_->why).ptr());
    throw py::error_already_set();
  }

  py::list headers() {
    py::list all;
    Str head = m_->part.head, name, value;
    while (mg_multipart_next_header(&head, &name, &value)) all.append(py::make_tuple(text(name), text(value)));
    return all;
  }

  std::unique_ptr<mg_multipart> m_ = std::make_unique<mg_multipart>();
};

py::tuple http_parse_multipart(const py::object &body, const py::object &offset) {
  Bytes b;
  mg_http_part part;
  if (!b.init(body.ptr(), "body")) throw py::error_already_set();
  Py_ssize_t at = PyNumber_AsSsize_t(offset.ptr(), PyExc_OverflowError);
  if (at == -1 && PyErr_Occurred()) throw py::error_already_set();
  if (at < 0) throw py::value_error("offset must be >= 0");
  size_t next = mg_http_next_multipart(mg_str_n(b.data(), b.size()), static_cast<size_t>(at), &part);
  if (next == 0) return py::make_tuple(0, py::none());
  py::dict d;
  d["name"] = text(part.name);
  d["filename"] = text(part.filename);
  d["body"] = py::bytes(part.body.buf, part.body.len);
  return py::make_tuple(next, d);
}

}  // namespace

void bind_forms(py::module_ &m) {
  py::options signatures;
  signatures.disable_function_signatures();
  m.def("http_parse_multipart", http_parse_multipart, py::arg("body"), py::arg("offset") = 0,
        "http_parse_multipart(body: str | bytes-like, offset: int = 0) -> tuple[int, dict | None]\n\n"
        "The part of a whole multipart body that begins with the boundary line at `offset`: the offset of the next one and\n"
        "{'name': str, 'filename': str, 'body': bytes}, filename '' for plain fields; (0, None) at the end and for what is malformed or\n"
        "cut. Backslashes in names stay; HttpMessage.form decodes, checks and says what is wrong.");
  py::class_<MultipartParser>(m, "MultipartParser", "Takes a multipart/form-data body apart as it arrives (RFC 7578).")
      .def(py::init<const py::str &, unsigned>(), py::arg("content_type"), py::arg("max_parts") = static_cast<unsigned>(MG_MULTIPART_PARTS))
      .def("feed", &MultipartParser::feed, py::arg("data"))
      .def("finish", &MultipartParser::finish);
}
