// reply.cpp - answers that outlive the handler: each names its connection and the number of its exchange.
#include "reply.h"

#include <memory>
#include <utility>

#include "args.h"
#include "errors.h"
#include "websocket.h"
#include "forms.h"
#include "module.h"

namespace {

PyTypeObject *reply_type, *body_type;

struct Reply {
  PyObject_HEAD
  Conn *conn;
  unsigned long number;
  bool done;
};

struct Body {
  PyObject_HEAD
  Conn *conn;
  unsigned long number;
  PyObject *on_drain, *on_close;
  bool ended;
  bool was_full;  // and on_drain has not been called since
  bool mute;      // an answer without a body, over with its head: what is written goes nowhere
};

Reply *reply_of(PyObject *o) {
  return reinterpret_cast<Reply *>(o);
}
Body *body_of(PyObject *o) {
  return reinterpret_cast<Body *>(o);
}

// ---- Reply ----

// Methods of a Reply on another thread: posted as a method of its connection, so that order is kept.
typedef PyObject *(*ReplyMethod)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);

PyObject *post(PyObject *self, Conn *conn, ReplyMethod fn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  struct Call {
    Ref self, kw;
    std::vector<Ref> args;
  };
  Loop *loop = conn->loop;
  auto call = std::make_shared<Call>();
  size_t bytes = sizeof(Call);
  call->self = Ref::borrow(self);
  call->kw = Ref::borrow(kw);
  Py_ssize_t total = n + (kw ? PyTuple_GET_SIZE(kw) : 0);
  for (Py_ssize_t i = 0; i < total; i++) {
    bool changes = PyByteArray_Check(args[i]) || (PyMemoryView_Check(args[i]) && !PyMemoryView_GET_BUFFER(args[i])->readonly);
    call->args.push_back(changes ? Ref(PyBytes_FromObject(args[i])) : Ref::borrow(args[i]));
    if (!call->args.back()) return nullptr;
    if (PyBytes_Check(call->args.back().get())) bytes += static_cast<size_t>(PyBytes_GET_SIZE(call->args.back().get()));
  }
  auto hold = std::make_shared<Ref>(Ref::borrow(reinterpret_cast<PyObject *>(conn)));
  bool ok = loop->post(
      [call, hold, fn, n] {
        auto *c = reinterpret_cast<Conn *>(hold->get());
        if (!c->c) return;
        Loop *l = c->loop;
        std::vector<PyObject *> raw;
        for (const Ref &r : call->args) raw.push_back(r.get());
        Ref r(fn(call->self.get(), raw.data(), n, call->kw.get()));
        if (!r) l->failed(c, MG_EV_WAKEUP);
      },
      bytes);
  return ok ? Py_NewRef(Py_None) : nullptr;
}

PyObject *reply_reply(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"status", "body", "headers", "compress"};
  PyObject *a[4];
  Reply *r = reply_of(self);
  if (!take_args("reply", names, 4, 1, args, n, kw, a)) return nullptr;
  if (!r->conn->c) return raise_closed();
  if (!r->conn->loop->on_thread()) return post(self, r->conn, reply_reply, args, n, kw);
  long status = PyLong_AsLong(a[0]);
  if (status == -1 && PyErr_Occurred()) return nullptr;
  PyObject *out = conn_reply_to(r->conn, r->number, status, a[1], a[2] == Py_None ? nullptr : a[2], nullptr, a[3]);
  if (out) r->done = true;
  return out;
}

PyObject *reply_json(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"obj", "status_code", "headers", "compress"};
  PyObject *a[4];
  Reply *r = reply_of(self);
  if (!take_args("reply_json", names, 4, 1, args, n, kw, a)) return nullptr;
  if (!r->conn->c) return raise_closed();
  if (!r->conn->loop->on_thread()) return post(self, r->conn, reply_json, args, n, kw);
  PyObject *out = conn_reply_json_to(r->conn, r->number, a[0], a[1], a[2], a[3]);
  if (out) r->done = true;
  return out;
}

PyObject *reply_start(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"status", "headers", "on_drain", "compress", "on_close"};
  PyObject *a[5];
  Reply *r = reply_of(self);
  if (!take_args("start_response", names, 5, 1, args, n, kw, a)) return nullptr;
  long status = PyLong_AsLong(a[0]);
  if (status == -1 && PyErr_Occurred()) return nullptr;
  if (!r->conn->c) return raise_closed();
  PyObject *out = nullptr;
  Loop *loop = r->conn->loop;
  loop->call_sync([&] {  // the caller wants to know whether it worked before it writes
    out = r->conn->c ? conn_stream(r->conn, r->number, status, a[1], a[2], a[3], a[4]) : raise_closed();
    return out != nullptr;
  });
  if (out) r->done = true;
  return out;
}

PyObject *reply_ws_upgrade(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  Reply *r = reply_of(self);
  if (r->done) return raise_status(MG_ESTATE, "this request is answered already", r->conn->id);
  PyObject *out = ws_upgrade_to(r->conn, r->number, "ws_upgrade", args, n, kw);
  if (out) r->done = true;
  return out;
}

// Connection._settle for this request.
PyObject *reply_settle(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  Reply *r = reply_of(self);
  Conn *conn = r->conn;
  if (!conn->c) Py_RETURN_NONE;
  if (!conn->loop->on_thread()) return post(self, conn, reply_settle, args, n, kw);
  if (!mg_http_aim(conn->c, r->number)) Py_RETURN_NONE;
  PyObject *out = conn_settle(conn, args, n, kw);
  r->done = true;  // by now, or whoever the function handed it on to
  if (conn->c) mg_http_unaim(conn->c);
  return out;
}

PyObject *reply_cancelled(PyObject *self, void *) {
  return PyBool_FromLong(!reply_of(self)->conn->c && !reply_of(self)->done);
}
PyObject *reply_done(PyObject *self, void *) {
  return PyBool_FromLong(reply_of(self)->done);
}
PyObject *reply_conn(PyObject *self, void *) {
  return Py_NewRef(reinterpret_cast<PyObject *>(reply_of(self)->conn));
}

void reply_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  Reply *r = reply_of(self);
  PyObject_GC_UnTrack(self);
  Conn *conn = r->conn;
  if (conn && conn->c && !r->done) {
    // Nobody can answer any more: an error tells the client, which else would wait until it gives up.
    KeepError keep;
    unsigned long number = r->number;
    auto hold = std::make_shared<Ref>(Ref::borrow(reinterpret_cast<PyObject *>(conn)));
    auto fail = [hold, number] {
      auto *c = reinterpret_cast<Conn *>(hold->get());
      if (!c->c || !mg_http_aim(c->c, number)) return;
      c->loop->refusal = 0;
      conn_fail_request(c);
      if (c->c) mg_http_unaim(c->c);
    };
    if (conn->loop->closing || conn->loop->closed) {
    } else if (!conn->loop->post(fail, 0)) {
      PyErr_Clear();
    }
  }
  Py_XDECREF(reinterpret_cast<PyObject *>(conn));
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

int reply_traverse(PyObject *self, visitproc visit, void *arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(reinterpret_cast<PyObject *>(reply_of(self)->conn));
  return 0;
}

template <typename F>
PyCFunction fn(F f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}
constexpr int KW = METH_FASTCALL | METH_KEYWORDS;

PyMethodDef reply_methods[] = {
    {"_settle", fn(reply_settle), KW, "_settle($self, fn, /, *args)\n--\n\nCall fn(*args) on the loop thread; its result is the answer."},
    {"reply", fn(reply_reply), KW, "reply($self, status, body=b'', headers=None, compress=None)\n--\n\nAnswer the request, as Connection.reply(). Any thread."},
    {"reply_json", fn(reply_json), KW, "reply_json($self, obj, status_code=200, headers=None, compress=None)\n--\n\nAnswer with JSON. Any thread."},
    {"start_response", fn(reply_start), KW,
     "start_response($self, status, headers=None, on_drain=None, compress=None, on_close=None)\n--\n\nResponseBody: answer in pieces. Any thread; waits for the loop."},
    {"ws_upgrade", fn(reply_ws_upgrade), KW,
     "ws_upgrade($self, msg, extra_headers=None, *, protocols=(), compress=False, origins=None, limits=None)\n--\n\n"
     "Take the WebSocket handshake of a request that was put off, as Connection.ws_upgrade(); msg is the HttpMessage that was kept. Any "
     "thread; waits for the loop."},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef reply_getset[] = {
    {"cancelled", reply_cancelled, nullptr, "bool: the client went away before it was answered.", nullptr},
    {"done", reply_done, nullptr, "bool: answered.", nullptr},
    {"connection", reply_conn, nullptr, "Connection: whose request this is.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyType_Slot reply_slots[] = {
    {Py_tp_doc, const_cast<char *>(
         "The answer to one request, to be given later and from any thread; made by Connection.defer().\n\n"
         "Answers of pipelined requests leave in the order of the requests. A Reply that is dropped without an answer gives 500.")},
    {Py_tp_methods, reply_methods},
    {Py_tp_getset, reply_getset},
    {Py_tp_traverse, reinterpret_cast<void *>(reply_traverse)},
    {Py_tp_dealloc, reinterpret_cast<void *>(reply_dealloc)},
    {0, nullptr},
};
PyType_Spec reply_spec = {"pymongoose.Reply", sizeof(Reply), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, reply_slots};

// ---- ResponseBody ----

// Bytes between what is written to it now and the peer.
size_t waiting(const Body *b) {
  mg_connection *c = b->conn->c;
  unsigned long before = mg_http_aimed(c);
  bool aimed = mg_http_aim(c, b->number);
  size_t n = mg_unsent(c);
  if (aimed) mg_http_aim_back(c, before);
  return n;
}

// The connection holds those that have callbacks, for they may be held by nothing else than these. Loop thread.
void forget_stream(Body *b) {
  PyObject *list = b->conn->streams;
  for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); i++) {
    if (PyList_GET_ITEM(list, i) == reinterpret_cast<PyObject *>(b)) {
      Ref hold = Ref::borrow(reinterpret_cast<PyObject *>(b));
      if (PySequence_DelItem(list, i) < 0) PyErr_Clear();
      return;
    }
  }
}

bool remember_stream(Body *b) {
  Conn *conn = b->conn;
  if (!conn->streams && !(conn->streams = PyList_New(0))) return false;
  return PyList_Append(conn->streams, reinterpret_cast<PyObject *>(b)) == 0;
}

// Over: answered, as by the last of its Content-Length.
bool is_over(const Body *b) {
  mg_connection *c = b->conn->c;
  unsigned long before = mg_http_aimed(c);
  if (b->ended || !mg_http_aim(c, b->number)) return true;
  mg_http_aim_back(c, before);
  return false;
}

PyObject *body_write(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"data"};
  PyObject *a[1];
  Body *b = body_of(self);
  if (!take_args("write", names, 1, 1, args, n, kw, a)) return nullptr;
  if (!b->conn->c) return raise_closed();
  if (!b->conn->loop->on_thread()) return post(self, b->conn, body_write, args, n, kw);
  if (b->mute && !b->ended) Py_RETURN_NONE;
  if (b->ended) return raise_status(MG_ESTATE, "this answer is complete already", b->conn->id);
  PyObject *r = conn_write_to(b->conn, b->number, a[0], false);
  if (r && b->on_drain && waiting(b) >= b->conn->c->listener->limits.send_high) b->was_full = true;
  return r;
}

PyObject *body_end(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"data"};
  PyObject *a[1];
  Body *b = body_of(self);
  if (!take_args("end", names, 1, 0, args, n, kw, a)) return nullptr;
  if (b->mute) b->ended = true;
  if (!b->conn->c || b->ended) Py_RETURN_NONE;
  if (!b->conn->loop->on_thread()) return post(self, b->conn, body_end, args, n, kw);
  b->ended = true;
  forget_stream(b);
  return conn_write_to(b->conn, b->number, a[0], true);
}

PyObject *body_enter(PyObject *self, PyObject *) {
  return Py_NewRef(self);
}

// Half an answer must not look whole, nor may the client wait for the rest of one that nobody can finish. Any thread.
void give_up(Body *b) {
  Conn *conn = b->conn;
  if (b->mute) b->ended = true;
  if (b->ended || !conn->c || conn->loop->closing || conn->loop->closed) return;
  b->ended = true;
  if (conn->loop->on_thread()) forget_stream(b);
  KeepError keep;
  unsigned long number = b->number;
  auto hold = std::make_shared<Ref>(Ref::borrow(reinterpret_cast<PyObject *>(conn)));
  auto cut = [hold, number] {
    auto *c = reinterpret_cast<Conn *>(hold->get());
    if (!c->c || !mg_http_aim(c->c, number)) return;
    mg_http_cut(c->c);
    mg_http_unaim(c->c);
  };
  if (conn->loop->on_thread()) {
    cut();
  } else if (!conn->loop->post(cut, 0)) {
    PyErr_Clear();
  }
}

PyObject *body_abort(PyObject *self, PyObject *) {
  give_up(body_of(self));
  Py_RETURN_NONE;
}

PyObject *body_exit(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  Body *b = body_of(self);
  if (n > 0 && args[0] != Py_None) {
    give_up(b);
    Py_RETURN_FALSE;
  }
  Ref r(body_end(self, nullptr, 0, nullptr));
  return r ? Py_NewRef(Py_False) : nullptr;
}

PyObject *body_full(PyObject *self, void *) {
  Body *b = body_of(self);
  mg_connection *c = b->conn->c;
  if (!c || b->mute) Py_RETURN_FALSE;
  // What an exchange has put aside changes under the loop's hands: other threads look at the flag that says as much. Whoever hears that
  // it is full will wait for on_drain, so that comes even if it is not true by now.
  if (!b->conn->loop->on_thread()) {
    b->was_full = true;
    return PyBool_FromLong(c->is_choked);
  }
  bool full = waiting(b) >= c->listener->limits.send_high;
  if (full) b->was_full = true;
  return PyBool_FromLong(full);
}
PyObject *body_closed(PyObject *self, void *) {
  return PyBool_FromLong(!body_of(self)->conn->c || body_of(self)->ended || body_of(self)->mute);
}

int body_traverse(PyObject *self, visitproc visit, void *arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(reinterpret_cast<PyObject *>(body_of(self)->conn));
  Py_VISIT(body_of(self)->on_drain);
  Py_VISIT(body_of(self)->on_close);
  return 0;
}

int body_clear(PyObject *self) {
  Py_CLEAR(body_of(self)->on_drain);
  Py_CLEAR(body_of(self)->on_close);
  return 0;
}

void body_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  give_up(body_of(self));
  body_clear(self);
  Py_XDECREF(reinterpret_cast<PyObject *>(body_of(self)->conn));
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

PyMethodDef body_methods[] = {
    {"write", fn(body_write), KW,
     "write($self, data)\n--\n\nSend a piece (str as UTF-8, bytes-like); of the answer to HEAD nothing is sent. Any thread.\n\nRaises:\n    ConnectionClosed: the client went away.\n"
     "    QueueFull: it does not read and Limits.send_max bytes are waiting."},
    {"end", fn(body_end), KW, "end($self, data=b'')\n--\n\nSend a last piece and finish the answer. Idempotent. Any thread."},
    {"close", fn(body_end), KW, "close($self)\n--\n\nThe same as end()."},
    {"abort", body_abort, METH_NOARGS,
     "abort($self, /)\n--\n\nGive it up: the connection ends, in a way that shows the client that the answer is not whole. Idempotent. Any thread."},
    {"__enter__", body_enter, METH_NOARGS, nullptr},
    {"__exit__", fn(body_exit), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef body_getset[] = {
    {"full", body_full, nullptr, "bool: Limits.send_high bytes are waiting: pause until on_drain is called.", nullptr},
    {"closed", body_closed, nullptr, "bool: ended, or the client went away, or it is the answer to HEAD, which has no body.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyType_Slot body_slots[] = {
    {Py_tp_doc, const_cast<char *>("An answer under way; made by start_response(). A context manager that ends it.\n\n"
         "One that is dropped before its end is cut: the connection closes, so that the client does not wait for the rest.")},
    {Py_tp_methods, body_methods},
    {Py_tp_getset, body_getset},
    {Py_tp_traverse, reinterpret_cast<void *>(body_traverse)},
    {Py_tp_clear, reinterpret_cast<void *>(body_clear)},
    {Py_tp_dealloc, reinterpret_cast<void *>(body_dealloc)},
    {0, nullptr},
};
PyType_Spec body_spec = {"pymongoose.ResponseBody", sizeof(Body), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, body_slots};

PyTypeObject *add_type(pybind11::module_ &m, PyType_Spec *spec, const char *name) {
  auto *type = reinterpret_cast<PyTypeObject *>(PyType_FromModuleAndSpec(m.ptr(), spec, nullptr));
  if (!type || PyModule_AddObjectRef(m.ptr(), name, reinterpret_cast<PyObject *>(type)) < 0) throw pybind11::error_already_set();
  return type;
}

}  // namespace

PyObject *reply_new(Conn *conn, unsigned long number) {
  auto *r = PyObject_GC_New(Reply, reply_type);
  if (!r) return nullptr;
  r->conn = reinterpret_cast<Conn *>(Py_NewRef(reinterpret_cast<PyObject *>(conn)));
  r->number = number;
  r->done = false;
  PyObject_GC_Track(reinterpret_cast<PyObject *>(r));
  return reinterpret_cast<PyObject *>(r);
}

PyObject *conn_defer(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  if (!take_args("defer", nullptr, 0, 0, args, n, kw, nullptr)) return nullptr;
  if (!conn->c) return raise_closed();
  if (!conn->loop->on_thread()) return raise_status(MG_ESTATE, "defer() belongs into the handler of a request", conn->id);
  unsigned long number = mg_http_defer(conn->c);
  if (number == 0) return raise_status(conn->loop->mgr.status == MG_ENOMEM ? MG_ENOMEM : MG_ESTATE, "there is no request to put off here", conn->id);
  conn->loop->put_off++;
  return reply_new(conn, number);
}

namespace {

// With its head the answer to HEAD is over: the connection must not wait for the end of a stream that may have none. The application is
// told what it is told when a client leaves. False with an exception.
bool over_with_its_head(Body *b) {
  Loop *loop = b->conn->loop;
  b->mute = true;
  Ref done(conn_write_to(b->conn, b->number, nullptr, true));
  if (!done) return false;
  if (!b->on_close) return true;
  auto conn = std::make_shared<Ref>(Ref::borrow(reinterpret_cast<PyObject *>(b->conn))), on_close = std::make_shared<Ref>(Ref::borrow(b->on_close));
  return loop->post(
      [loop, conn, on_close] {
        Ref r(PyObject_CallNoArgs(on_close->get()));
        if (!r) loop->failed(reinterpret_cast<Conn *>(conn->get())->c ? reinterpret_cast<Conn *>(conn->get()) : nullptr, MG_EV_CLOSE);
      },
      0);
}

}  // namespace

PyObject *conn_stream(Conn *conn, unsigned long number, long status, PyObject *headers, PyObject *on_drain, PyObject *compress,
                      PyObject *on_close) {
  for (PyObject *fn : {on_drain, on_close}) {
    if (fn && fn != Py_None && !PyCallable_Check(fn)) {
      return PyErr_Format(PyExc_TypeError, "%s must be callable, not %.200s", fn == on_drain ? "on_drain" : "on_close", Py_TYPE(fn)->tp_name);
    }
  }
  if (number == 0) return raise_status(MG_ESTATE, "there is no request to answer here: it is answered already, or none was made", conn->id);
  Ref started(conn_start_to(conn, number, status, headers == Py_None ? nullptr : headers, compress));
  if (!started) return nullptr;
  auto *b = PyObject_GC_New(Body, body_type);
  if (!b) return nullptr;
  b->conn = reinterpret_cast<Conn *>(Py_NewRef(reinterpret_cast<PyObject *>(conn)));
  b->number = number;
  b->ended = mg_http_current(conn->c) != number && !mg_http_busy(conn->c);
  b->was_full = b->mute = false;
  b->on_drain = on_drain && on_drain != Py_None ? Py_NewRef(on_drain) : nullptr;
  b->on_close = on_close && on_close != Py_None ? Py_NewRef(on_close) : nullptr;
  PyObject_GC_Track(reinterpret_cast<PyObject *>(b));
  unsigned long before = mg_http_aimed(conn->c);
  bool bodiless = false;
  if (!b->ended && mg_http_aim(conn->c, number)) {
    bodiless = mg_http_is_bodiless(conn->c);
    mg_http_aim_back(conn->c, before);
  }
  bool ok = bodiless ? over_with_its_head(b) : b->ended || !(b->on_drain || b->on_close) || remember_stream(b);
  if (!ok) {
    Py_DECREF(reinterpret_cast<PyObject *>(b));
    return nullptr;
  }
  return reinterpret_cast<PyObject *>(b);
}

void conn_streams_drained(Conn *conn) {
  Ref all(conn->streams ? PyList_AsTuple(conn->streams) : nullptr);
  for (Py_ssize_t i = 0; all && i < PyTuple_GET_SIZE(all.get()); i++) {
    Body *b = body_of(PyTuple_GET_ITEM(all.get(), i));
    if (!conn->c || conn->c->is_dead) return;
    if (is_over(b)) {
      forget_stream(b);
    } else if (b->was_full && b->on_drain && waiting(b) <= conn->c->listener->limits.send_low) {
      b->was_full = false;
      Ref fn = Ref::borrow(b->on_drain), r(PyObject_CallNoArgs(fn.get()));
      if (!r) conn->loop->failed(conn, MG_EV_WRITE);
    }
  }
}

void conn_streams_closed(Conn *conn) {
  Ref all(std::exchange(conn->streams, nullptr));
  for (Py_ssize_t i = 0; all && i < PyList_GET_SIZE(all.get()); i++) {
    Body *b = body_of(PyList_GET_ITEM(all.get(), i));
    Ref fn = Ref::borrow(b->ended ? nullptr : b->on_close), r;
    b->ended = true;
    if (!fn) continue;
    r = Ref(PyObject_CallNoArgs(fn.get()));
    if (!r) conn->loop->failed(conn, MG_EV_CLOSE);
  }
}

PyObject *conn_reply_json_to(Conn *conn, unsigned long number, PyObject *obj, PyObject *status, PyObject *headers, PyObject *compress) {
  long code = 200;
  if (status && status != Py_None && (code = PyLong_AsLong(status)) == -1 && PyErr_Occurred()) return nullptr;
  Ref body(PyObject_CallOneArg(conn->loop->dumps, obj));
  if (!body) return nullptr;
  return conn_reply_to(conn, number, code, body.get(), headers == Py_None ? nullptr : headers, "application/json", compress);
}

void conn_fail_request(Conn *conn) {
  static const char type[] = "Content-Type: text/plain\r\n", text[] = "Internal Server Error";
  mg_connection *c = conn->c;
  int status = std::exchange(conn->loop->refusal, 0);
  if (!c || c->is_dead || c->is_client || !mg_http_busy(c)) return;
  const std::string &why = conn->loop->refusal_text;
  Str body = status ? mg_str_n(why.data(), why.size()) : mg_str_n(text, sizeof(text) - 1);
  if (mg_http_current(c) == 0 || !mg_http_reply_n(c, status ? status : 500, mg_str_n(type, sizeof(type) - 1), body)) {
    mg_http_cut(c);  // it had begun: the client must see that it is not whole
  }
}

void bind_reply(pybind11::module_ &m) {
  reply_type = add_type(m, &reply_spec, "Reply");
  body_type = add_type(m, &body_spec, "ResponseBody");
}
