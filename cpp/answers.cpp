// answers.cpp - everything a connection says in HTTP: whole answers, streams, chunks; at once or to an exchange put off earlier.
#include <cstring>

#include "args.h"
#include "connection.h"
#include "errors.h"

namespace {

constexpr size_t by_reference = 4096;  // from here on a body is sent from the caller's object

// A Python object that the core sends from. Given back on the loop thread when the lock is next held.
struct Lent {
  Loop *loop;
  PyObject *owner;
};

PyObject *core_error(Conn *conn) {
  int status = conn->c ? conn->loop->mgr.status : MG_ECLOSED;
  if (status == MG_ESTATE) {
    return raise_status(MG_ESTATE, "there is no request to answer here: it is answered already, or none was made", conn->id);
  }
  return raise_status(status, nullptr, conn->id);
}

// For the answer that is aimed at. Called when it is certain that there is one, or else the answer itself will say that there is none.
bool set_compress(Conn *conn, PyObject *compress) {
  if (!PyBool_Check(compress)) {
    PyErr_Format(PyExc_TypeError, "compress must be bool or None, not %.200s", Py_TYPE(compress)->tp_name);
    return false;
  }
  if (mg_http_compress_answer(conn->c, compress == Py_True ? MG_COMPRESS_ALWAYS : MG_COMPRESS_NEVER)) return true;
  if (compress == Py_False || conn->c->listener->compress) return true;
  raise_status(MG_ESTATE, "compress=True on a listener that was made without compress=", conn->id);
  return false;
}

// Points the core at an exchange for as long as it lives.
class Aim {
 public:
  Aim(mg_connection *c, unsigned long number)
      : c_(number ? c : nullptr), before_(mg_http_aimed(c)), ok_(!number || mg_http_aim(c, number)) {
    if (!ok_) c_ = nullptr;
  }
  ~Aim() {
    if (c_) mg_http_aim_back(c_, before_);  // inside of a then= callback that is its own exchange
  }
  explicit operator bool() const { return ok_; }

 private:
  mg_connection *c_;
  unsigned long before_;
  bool ok_;
};

}  // namespace

void *lent_new(Loop *loop, PyObject *bytes) {
  return new Lent{loop, Py_NewRef(bytes)};
}

void lent_back(void *arg) {
  auto *lent = static_cast<Lent *>(arg);
  lent->loop->drop_later(lent->owner);
  delete lent;
}

PyObject *conn_reply_to(Conn *conn, unsigned long number, long status, PyObject *body, PyObject *headers, const char *default_type,
                        PyObject *compress) {
  static const char plain[] = "Content-Type: text/plain\r\n";
  mg_connection *c = conn->c;
  Bytes b;
  if (!c) return raise_closed();
  if (status < 200 || status > 999) {
    return PyErr_Format(PyExc_ValueError, status >= 100 && status < 200
        ? "status must be 200-999, not %ld: the client would wait on for the answer (see informational)" : "status must be 200-999, not %ld", status);
  }
  if (body && body != Py_None && !b.init(body, "body")) return nullptr;
  Str h = {const_cast<char *>(plain), sizeof(plain) - 1};
  if (headers || default_type) {
    if (!conn_text_headers(conn->loop->scratch, headers, default_type ? default_type : "text/plain")) return nullptr;
    h = {conn->loop->scratch.data(), conn->loop->scratch.size()};
  }
  Aim aim(c, number);
  if (!aim) return raise_status(MG_ESTATE, "this request is answered already", conn->id);
  if (MG_UNLIKELY(compress && compress != Py_None) && !set_compress(conn, compress)) return nullptr;
  Str text = {const_cast<char *>(b.data() ? b.data() : ""), b.size()};
  bool ok;
  if (text.len >= by_reference && body && PyBytes_CheckExact(body)) {
    WarmBody *w = conn->loop->warm.find(conn->loop, body);
    ok = w ? mg_http_reply_file(c, static_cast<int>(status), h, w->fd, text.len, WarmBodies::done, w)
           : mg_http_reply_ref(c, static_cast<int>(status), h, text, lent_back, lent_new(conn->loop, body));
  } else {
    ok = mg_http_reply_n(c, static_cast<int>(status), h, text);
  }
  if (MG_UNLIKELY(!ok)) return core_error(conn);
  Py_RETURN_NONE;
}

PyObject *conn_start_to(Conn *conn, unsigned long number, long status, PyObject *headers, PyObject *compress) {
  if (!conn->c) return raise_closed();
  if (status < 200 || status > 999) return PyErr_Format(PyExc_ValueError, "status must be 200-999, not %ld", status);
  if (!conn_text_headers(conn->loop->scratch, headers, nullptr)) return nullptr;
  Aim aim(conn->c, number);
  if (!aim) return raise_status(MG_ESTATE, "this request is answered already", conn->id);
  if (compress && compress != Py_None && !set_compress(conn, compress)) return nullptr;
  Str h = {conn->loop->scratch.data(), conn->loop->scratch.size()};
  if (!mg_http_start(conn->c, static_cast<int>(status), h)) return core_error(conn);
  Py_RETURN_NONE;
}

PyObject *conn_write_to(Conn *conn, unsigned long number, PyObject *data, bool end) {
  mg_connection *c = conn->c;
  Bytes b;
  if (!c) return raise_closed();
  if (data && !b.init(data, "data")) return nullptr;
  Aim aim(c, number);
  if (!aim && end && b.size() == 0) Py_RETURN_NONE;  // its Content-Length ended it
  if (!aim) return raise_status(MG_ESTATE, "this answer is complete already", conn->id);
  size_t waiting = mg_unsent(c);  // what this answer has put aside until its turn counts, too
  if (waiting > 0 && waiting + b.size() > c->listener->limits.send_max) {
    return raise_status(MG_EFULL, "the peer does not read fast enough: too much output is waiting (see full and on_drain)", conn->id);
  }
  if (b.size() > 0) mg_http_write_chunk(c, b.data(), b.size());
  if (end) mg_http_write_chunk(c, nullptr, 0);
  Py_RETURN_NONE;
}

PyObject *conn_set_header(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"name", "value"};
  PyObject *a[2];
  Bytes name, value;
  if (!take_args("set_header", names, 2, 2, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  if (!name.init(a[0], "name") || !value.init(a[1], "value")) return nullptr;
  if (!conn->loop->on_thread()) return conn_post(conn, conn_set_header, args, n, kw);
  if (!mg_http_set_header(conn->c, mg_str_n(name.data(), name.size()), mg_str_n(value.data(), value.size()))) {
    if (conn->loop->mgr.status != MG_EINVAL) return core_error(conn);
    return PyErr_Format(PyExc_ValueError, "Header %R: %R contains an illegal character", a[0], a[1]);
  }
  Py_RETURN_NONE;
}

PyObject *conn_informational(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"status", "headers"};
  PyObject *a[2];
  if (!take_args("informational", names, 2, 1, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  if (!conn->loop->on_thread()) return conn_post(conn, conn_informational, args, n, kw);
  long status = PyLong_AsLong(a[0]);
  if (status == -1 && PyErr_Occurred()) return nullptr;
  if (status < 100 || status > 199 || status == 101) return PyErr_Format(PyExc_ValueError, "status must be 100 or 102-199, not %ld", status);
  if (!conn_text_headers(conn->loop->scratch, a[1], nullptr)) return nullptr;
  Str h = {conn->loop->scratch.data(), conn->loop->scratch.size()};
  if (!mg_http_interim(conn->c, static_cast<int>(status), h)) return core_error(conn);
  Py_RETURN_NONE;
}

PyObject *conn_http_basic_auth(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"user", "password"};
  PyObject *a[2];
  Bytes user, password;
  if (!take_args("http_basic_auth", names, 2, 2, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  if (!user.init(a[0], "user") || !password.init(a[1], "password")) return nullptr;
  if (strlen(user.data()) != user.size() || strlen(password.data()) != password.size() || memchr(user.data(), ':', user.size())) {
    PyErr_SetString(PyExc_ValueError, "user must have no ':', user and password no NUL");
    return nullptr;
  }
  if (!conn->loop->on_thread()) return conn_post(conn, conn_http_basic_auth, args, n, kw);
  mg_http_bauth(conn->c, user.data(), password.data());
  Py_RETURN_NONE;
}
