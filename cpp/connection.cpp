// connection.cpp - the life of a Connection object and what can be read from it. What it does is in connection_ops.cpp.
#include "connection.h"

#include <structmember.h>

#include <cstddef>
#include <cstring>
#include <memory>

#include "args.h"
#include "errors.h"
#include "module.h"
#include "pool.h"

PyTypeObject *conn_type;
extern PyMethodDef conn_methods[];  // connection_ops.cpp

PyObject *conn_tls(PyObject *o, void *);  // tls.cpp

namespace {

Conn *self_of(PyObject *o) {
  return reinterpret_cast<Conn *>(o);
}

// ---- flags and sizes: a snapshot when read from another thread ----

enum Flag : intptr_t {
  LISTENING, CLOSING, CLIENT, TLS, UDP, WEBSOCKET, READABLE, WRITABLE, FULL, DRAINING,
};

PyObject *get_flag(PyObject *o, void *which) {
  const mg_connection *c = self_of(o)->c;
  auto flag = static_cast<Flag>(reinterpret_cast<intptr_t>(which));
  bool v = false;
  if (!c) return PyBool_FromLong(flag == CLOSING);
  switch (flag) {
    case LISTENING: v = c->is_listening; break;
    case CLOSING: v = c->is_closing; break;
    case CLIENT: v = c->is_client; break;
    case TLS: v = c->is_tls; break;
    case UDP: v = c->is_udp; break;
    case WEBSOCKET: v = c->is_websocket; break;
    case READABLE: v = c->recv.len > 0; break;
    case WRITABLE: v = c->is_writable; break;
    case FULL: v = c->is_full || c->is_choked; break;
    case DRAINING: v = c->is_draining; break;
  }
  return PyBool_FromLong(v);
}

enum Size : intptr_t { RECV_LEN, SEND_LEN, RECV_SIZE, SEND_SIZE };

PyObject *get_size(PyObject *o, void *which) {
  const mg_connection *c = self_of(o)->c;
  size_t v = 0;
  if (c) {
    switch (static_cast<Size>(reinterpret_cast<intptr_t>(which))) {
      case RECV_LEN: v = c->recv.len; break;
      // What is held back belongs to the loop's own bookkeeping, which another thread must not follow.
      case SEND_LEN: v = self_of(o)->loop->on_thread() ? mg_unsent(c) : c->send.len + c->seg_bytes; break;
      case RECV_SIZE: v = c->recv.size; break;
      case SEND_SIZE: v = c->send.size; break;
    }
  }
  return PyLong_FromSize_t(v);
}

PyObject *addr_tuple(const mg_addr &a) {
  char ip[64];
  size_t n = mg_addr_print(&a, false, ip, sizeof(ip));
  PyObject *text = PyUnicode_FromStringAndSize(ip, static_cast<Py_ssize_t>(n));
  return Py_BuildValue("(NiO)", text, static_cast<int>(mg_ntohs(a.port)), a.is_ip6 ? Py_True : Py_False);
}

PyObject *get_addr(PyObject *o, void *which) {
  const mg_connection *c = self_of(o)->c;
  if (!c) Py_RETURN_NONE;
  const mg_addr *a = which ? &c->rem : &c->loc;
  const mg_proxied *p = which ? mg_proxy_info(c) : nullptr;  // the client may be of another family than the proxy
  bool is_unix = p && p->has_addresses ? p->client_is_unix : c->is_unix;
  if (is_unix || (which && c->is_listening && (!c->is_udp || a->port == 0))) Py_RETURN_NONE;  // UDP: of the last datagram
  return addr_tuple(*a);
}

PyObject *get_peer(PyObject *o, void *) {
  const mg_connection *c = self_of(o)->c;
  const mg_proxied *p = c ? mg_proxy_info(c) : nullptr;
  if (!p) return get_addr(o, reinterpret_cast<void *>(1));
  return p->peer_is_unix ? Py_NewRef(Py_None) : addr_tuple(p->peer);
}

PyObject *get_proxy_info(PyObject *o, void *) {
  const mg_connection *c = self_of(o)->c;
  const mg_proxied *p = c ? mg_proxy_info(c) : nullptr;
  if (!p) Py_RETURN_NONE;
  Ref target(p->has_addresses && !p->client_is_unix ? addr_tuple(p->target) : Py_NewRef(Py_None));
  Ref host(PyUnicode_DecodeUTF8(p->authority.buf, static_cast<Py_ssize_t>(p->authority.len), "surrogateescape"));
  Ref id(PyBytes_FromStringAndSize(p->unique_id.buf, static_cast<Py_ssize_t>(p->unique_id.len)));
  if (!target || !host || !id) return nullptr;
  return Py_BuildValue("{s:i,s:O,s:O,s:O,s:O}", "version", p->version, "local", p->has_addresses ? Py_False : Py_True, "target", target.get(),
                       "authority", host.get(), "unique_id", id.get());
}

PyObject *get_id(PyObject *o, void *) {
  return PyLong_FromUnsignedLong(self_of(o)->c ? self_of(o)->id : 0);
}

PyObject *get_status(PyObject *o, void *) {
  return PyLong_FromLong(self_of(o)->c ? self_of(o)->c->status : 0);
}

// ---- WebSocket: what was agreed on, and how it ended; also when the connection is gone ----

PyObject *text_of(Str s) {
  return PyUnicode_DecodeUTF8(s.buf ? s.buf : "", static_cast<Py_ssize_t>(s.len), "replace");
}

PyObject *get_ws_protocol(PyObject *o, void *) {
  const Conn *conn = self_of(o);
  if (!conn->c || !conn->c->is_websocket) return Py_NewRef(conn->ws_protocol ? conn->ws_protocol : Py_None);
  Str s = mg_ws_protocol(conn->c);
  return s.len ? text_of(s) : Py_NewRef(Py_None);
}

PyObject *get_ws_compressed(PyObject *o, void *) {
  const mg_connection *c = self_of(o)->c;
  return PyBool_FromLong(c && c->is_websocket && mg_ws_compressed(c));
}

PyObject *get_ws_close_code(PyObject *o, void *) {
  const Conn *conn = self_of(o);
  int code = conn->c && conn->c->is_websocket ? mg_ws_close_code(conn->c) : conn->ws_code;
  if (code == 0 || (code == 1006 && conn->c && !conn->c->is_dead)) Py_RETURN_NONE;
  return PyLong_FromLong(code);
}

PyObject *get_ws_close_reason(PyObject *o, void *) {
  const Conn *conn = self_of(o);
  if (conn->c && conn->c->is_websocket) return text_of(mg_ws_close_reason(conn->c));
  return conn->ws_reason ? Py_NewRef(conn->ws_reason) : PyUnicode_FromString("");
}

// What a Conn that somebody still holds can be asked later.
void keep_ws(Conn *conn) {
  auto *o = reinterpret_cast<PyObject *>(conn);
  KeepError keep;
  int code = mg_ws_close_code(conn->c);
  PyObject *reason = get_ws_close_reason(o, nullptr), *protocol = get_ws_protocol(o, nullptr);
  conn->ws_code = code;
  conn->ws_reason = reason;
  conn->ws_protocol = protocol;
  PyErr_Clear();
}

PyObject *get_manager(PyObject *o, void *) {
  Loop *loop = self_of(o)->loop;
  return Py_NewRef(self_of(o)->c && loop->self ? loop->self : Py_None);
}

PyObject *get_unanswered(PyObject *o, void *) {
  Conn *conn = self_of(o);
  return PyBool_FromLong(conn->c && conn->loop->on_thread() && mg_http_unanswered(conn->c));
}

// ---- handler, userdata ----

PyObject *get_handler(PyObject *o, void *) {
  Conn *conn = self_of(o);
  if (!conn->c) return Py_NewRef(conn->handler ? conn->handler : Py_None);
  auto *site = static_cast<Site *>(conn->c->fn_data);
  PyObject *h = conn->handler ? conn->handler : site->handler ? site->handler : conn->loop->handler;
  return Py_NewRef(h ? h : Py_None);
}

int set_handler(PyObject *o, PyObject *value, void *) {
  Conn *conn = self_of(o);
  if (value == Py_None) value = nullptr;
  if (value && !PyCallable_Check(value)) {
    PyErr_Format(PyExc_TypeError, "handler must be callable or None, not %.200s", Py_TYPE(value)->tp_name);
    return -1;
  }
  if (!conn->c) {
    raise_closed();
    return -1;
  }
  Py_XSETREF(conn->handler, Py_XNewRef(value));
  if (conn->c->is_listening) {  // those accepted from now on
    Ref keep = Ref::borrow(value);
    Conn *c = conn;
    if (!conn->loop->call_sync([c, value] {
          if (c->c) {
            auto *old = static_cast<Site *>(c->c->fn_data);
            c->c->fn_data = c->loop->site_new(value, old->events);
            c->loop->site_drop(old);
          }
          return true;
        })) {
      return -1;
    }
  }
  return 0;
}

PyObject *get_slot(PyObject *o, void *offset) {
  PyObject *v = *reinterpret_cast<PyObject **>(reinterpret_cast<char *>(o) + reinterpret_cast<intptr_t>(offset));
  return Py_NewRef(v ? v : Py_None);
}

int set_slot(PyObject *o, PyObject *value, void *offset) {
  auto **slot = reinterpret_cast<PyObject **>(reinterpret_cast<char *>(o) + reinterpret_cast<intptr_t>(offset));
  Py_XSETREF(*slot, value == Py_None ? nullptr : Py_XNewRef(value));
  return 0;
}

void *slot_at(size_t offset) {
  return reinterpret_cast<void *>(offset);
}
void *flag(Flag f) {
  return reinterpret_cast<void *>(f);
}
void *size(Size s) {
  return reinterpret_cast<void *>(s);
}

PyGetSetDef getset[] = {
    {"id", get_id, nullptr, "int: number of the connection, > 0 while it is open, 0 once it closed.", nullptr},
    {"manager", get_manager, nullptr, "Manager | None: the owner while the connection is open.", nullptr},
    {"handler", get_handler, set_handler,
     "Callable | None: handler(conn, ev, data). Setting it on a listener is for connections accepted from then on; None goes back to the "
     "manager's.",
     nullptr},
    {"userdata", get_slot, set_slot, "Any: yours.", slot_at(offsetof(Conn, userdata))},
    {"on_drain", get_slot, set_slot,
     "Callable[[], object] | None: called on the loop thread when is_full turns false because output went out.",
     slot_at(offsetof(Conn, on_drain))},
    {"local_addr", get_addr, nullptr, "tuple[str, int, bool] | None: ip, port, is it IPv6. None for Unix sockets.", nullptr},
    {"remote_addr", get_addr, nullptr, "tuple[str, int, bool] | None: the client's ip, port, is it IPv6: as the PROXY header says, if one was due, else the peer's.", reinterpret_cast<void *>(1)},
    {"peer_addr", get_peer, nullptr,
     "tuple[str, int, bool] | None: who is at the other end of the socket: the proxy, when remote_addr comes from a PROXY header.", nullptr},
    {"proxy_info", get_proxy_info, nullptr,
     "dict | None: what a PROXY header said besides: version (int), local (bool: the proxy spoke for itself), target (the address that the "
     "client connected to, or None), authority (str, the host name it asked for, or ''), unique_id (bytes). None without a header.",
     nullptr},
    {"_unanswered", get_unanswered, nullptr, "bool: a request waits for an answer here. Loop thread.", nullptr},
    {"is_listening", get_flag, nullptr, "bool", flag(LISTENING)},
    {"is_closing", get_flag, nullptr, "bool: closes at the end of this turn, or is closed.", flag(CLOSING)},
    {"is_client", get_flag, nullptr, "bool: made by connect().", flag(CLIENT)},
    {"is_tls", get_flag, nullptr, "bool", flag(TLS)},
    {"tls", conn_tls, nullptr, "TlsInfo | None: version, cipher, protocol and peer, once the handshake is over.", nullptr},
    {"is_udp", get_flag, nullptr, "bool", flag(UDP)},
    {"is_websocket", get_flag, nullptr, "bool", flag(WEBSOCKET)},
    {"ws_protocol", get_ws_protocol, nullptr, "str | None: the subprotocol agreed on (RFC 6455 1.9).", nullptr},
    {"ws_compressed", get_ws_compressed, nullptr, "bool: permessage-deflate was agreed on.", nullptr},
    {"ws_close_code", get_ws_close_code, nullptr,
     "int | None: the peer's close code; 1005 when it gave none, 1006 when the connection ended without a close frame (RFC 6455 7.4.1). None "
     "while it is open. Known in MG_EV_CLOSE and for as long as the object is kept.",
     nullptr},
    {"ws_close_reason", get_ws_close_reason, nullptr, "str: what the peer said with its close code, often ''.", nullptr},
    {"is_readable", get_flag, nullptr, "bool: unread bytes are in the receive buffer.", flag(READABLE)},
    {"is_writable", get_flag, nullptr, "bool: all output was taken by the system so far.", flag(WRITABLE)},
    {"is_full", get_flag, nullptr, "bool: more output is waiting than Limits.send_high; on_drain tells when that is over.", flag(FULL)},
    {"is_draining", get_flag, nullptr, "bool: closes when the output is out.", flag(DRAINING)},
    {"_status", get_status, nullptr, "int: the core's status of the last MG_EV_ERROR.", nullptr},
    {"recv_len", get_size, nullptr, "int: bytes received and not consumed.", size(RECV_LEN)},
    {"send_len", get_size, nullptr, "int: bytes of output waiting.", size(SEND_LEN)},
    {"recv_size", get_size, nullptr, "int: bytes of memory behind the receive buffer, 0 while idle.", size(RECV_SIZE)},
    {"send_size", get_size, nullptr, "int: bytes of memory behind the send buffer, 0 while idle.", size(SEND_SIZE)},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Conn, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyObject *repr(PyObject *o) {
  const Conn *conn = self_of(o);
  if (!conn->c) return PyUnicode_FromString("<Connection closed>");
  const mg_connection *c = conn->c;
  char addr[80] = "unix";
  if (!c->is_unix) mg_addr_print(c->is_listening ? &c->loc : &c->rem, true, addr, sizeof(addr));
  return PyUnicode_FromFormat("<Connection %lu %s%s %s>", conn->id, c->is_udp ? "udp " : "",
                              c->is_listening ? "listening on" : c->is_client ? "to" : "from", addr);
}

int traverse(PyObject *o, visitproc visit, void *arg) {
  Conn *conn = self_of(o);
  Py_VISIT(Py_TYPE(o));
  Py_VISIT(conn->handler);
  Py_VISIT(conn->userdata);
  Py_VISIT(conn->on_drain);
  Py_VISIT(conn->on_body);
  Py_VISIT(conn->on_body_end);
  Py_VISIT(conn->on_body_abort);
  Py_VISIT(conn->streams);
  return 0;
}

int clear(PyObject *o) {
  Conn *conn = self_of(o);
  Py_CLEAR(conn->handler);
  Py_CLEAR(conn->userdata);
  Py_CLEAR(conn->on_drain);
  Py_CLEAR(conn->on_body);
  Py_CLEAR(conn->on_body_end);
  Py_CLEAR(conn->ws_reason);
  Py_CLEAR(conn->ws_protocol);
  Py_CLEAR(conn->on_body_abort);
  Py_CLEAR(conn->streams);
  return 0;
}

void dealloc(PyObject *o) {
  PyTypeObject *type = Py_TYPE(o);
  PyObject_GC_UnTrack(o);
  if (self_of(o)->weakrefs) PyObject_ClearWeakRefs(o);
  clear(o);
  self_of(o)->loop->drop();
  PyObject_GC_Del(o);
  Py_DECREF(type);
}

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char *>(
         "A connection or listener; made by Manager.listen() and connect(), and for every accepted peer.\n\n"
         "Every method may be called from any thread: on the loop's own thread it acts at once, on another it is queued and applied in\n"
         "order, and returns None. Using a closed connection raises ConnectionClosed; close() and drain() are then no-ops.")},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {Py_tp_methods, conn_methods},
    {Py_tp_repr, reinterpret_cast<void *>(repr)},
    {Py_tp_traverse, reinterpret_cast<void *>(traverse)},
    {Py_tp_clear, reinterpret_cast<void *>(clear)},
    {Py_tp_dealloc, reinterpret_cast<void *>(dealloc)},
    {0, nullptr},
};
PyType_Spec spec = {"pymongoose.Connection", sizeof(Conn), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

}  // namespace

PyObject *conn_resolved(const void *told) {
  auto *r = static_cast<const mg_resolved *>(told);
  Ref all(r ? PyTuple_New(r->n) : Py_NewRef(Py_None));
  for (unsigned i = 0; all && r && i < r->n; i++) {
    PyObject *one = addr_tuple(r->addr[i]);
    if (!one) return nullptr;
    PyTuple_SET_ITEM(all.get(), i, one);
  }
  return all.release();
}

Conn *conn_of(Loop *loop, mg_connection *c) {
  if (MG_LIKELY(c->owner != nullptr)) return static_cast<Conn *>(c->owner);
  auto *conn = PyObject_GC_New(Conn, conn_type);
  if (!conn) return nullptr;
  conn->c = c;
  conn->loop = loop->hold();
  conn->id = c->id;
  conn->ws_code = 0;
  conn->ws_reason = conn->ws_protocol = nullptr;
  conn->handler = conn->userdata = conn->on_drain = conn->on_body = conn->on_body_end = conn->on_body_abort = conn->streams = conn->weakrefs = nullptr;
  conn->jobs = nullptr;
  conn->prev = nullptr;
  conn->next = loop->conns;
  if (conn->next) conn->next->prev = conn;
  loop->conns = conn;
  c->owner = conn;  // with the reference we just made
  PyObject_GC_Track(reinterpret_cast<PyObject *>(conn));
  return conn;
}

void conn_closed(Conn *conn) {
  Loop *loop = conn->loop;
  jobs_abandon(conn);
  (conn->prev ? conn->prev->next : loop->conns) = conn->next;
  if (conn->next) conn->next->prev = conn->prev;
  conn->next = conn->prev = nullptr;
  if (conn->c->is_websocket && Py_REFCNT(reinterpret_cast<PyObject *>(conn)) > 1) keep_ws(conn);
  conn->c->owner = nullptr;
  conn->c = nullptr;
  Py_CLEAR(conn->on_drain);
  Py_CLEAR(conn->on_body);
  Py_CLEAR(conn->on_body_end);
  Py_CLEAR(conn->on_body_abort);
  Py_CLEAR(conn->streams);
  loop->drop_later(reinterpret_cast<PyObject *>(conn));
}

// ---- calls from other threads ----

PyObject *conn_post(Conn *conn, ConnMethod fn, PyObject *const *args, Py_ssize_t n, PyObject *kwnames) {
  struct Call {
    Ref self, kwnames;
    std::vector<Ref> args;
  };
  Loop *loop = conn->loop;
  auto call = std::make_shared<Call>();
  Py_ssize_t total = n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
  size_t bytes = sizeof(Call);
  call->self = Ref::borrow(reinterpret_cast<PyObject *>(conn));
  call->kwnames = Ref::borrow(kwnames);
  for (Py_ssize_t i = 0; i < total; i++) {
    PyObject *a = args[i];
    bool changes = PyByteArray_Check(a) || (PyMemoryView_Check(a) && !PyMemoryView_GET_BUFFER(a)->readonly);
    call->args.push_back(changes ? Ref(PyBytes_FromObject(a)) : Ref::borrow(a));  // as it is now, not as it will be
    if (!call->args.back()) return nullptr;
    if (PyBytes_Check(call->args.back().get())) bytes += static_cast<size_t>(PyBytes_GET_SIZE(call->args.back().get()));
  }
  bool ok = loop->post(
      [call, fn, n] {
        auto *self = reinterpret_cast<Conn *>(call->self.get());
        if (!self->c) return;  // it closed meanwhile: its CLOSE event said so
        std::vector<PyObject *> raw;
        for (const Ref &r : call->args) raw.push_back(r.get());
        Loop *l = self->loop;
        PyObject *closed = error_class(MG_ECLOSED);  // before an exception is set: a look-up may clear it
        Ref result(fn(self, raw.data(), n, call->kwnames.get()));
        if (result) return;
        if (!self->c || PyErr_ExceptionMatches(closed)) {
          PyErr_Clear();  // likewise
        } else {
          l->failed(self, MG_EV_WAKEUP);
        }
      },
      bytes);
  if (!ok) return nullptr;
  Py_RETURN_NONE;
}

bool take_args(const char *fname, const char *const *names, int count, int required, PyObject *const *args, Py_ssize_t n,
               PyObject *kwnames, PyObject **out) {
  if (n > count) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %d arguments (%zd given)", fname, count, n);
    return false;
  }
  for (int i = 0; i < count; i++) out[i] = i < n ? args[i] : nullptr;
  for (Py_ssize_t k = 0; kwnames && k < PyTuple_GET_SIZE(kwnames); k++) {
    PyObject *name = PyTuple_GET_ITEM(kwnames, k);
    int i = 0;
    while (i < count && PyUnicode_CompareWithASCIIString(name, names[i]) != 0) i++;
    if (i == count || out[i]) {
      PyErr_Format(PyExc_TypeError, i == count ? "%s() got an unexpected keyword argument %R" : "%s() got multiple values for argument %R",
                   fname, name);
      return false;
    }
    out[i] = args[n + k];
  }
  for (int i = 0; i < required; i++) {
    if (!out[i]) {
      PyErr_Format(PyExc_TypeError, "%s() is missing the argument '%s'", fname, names[i]);
      return false;
    }
  }
  return true;
}

void bind_connection(pybind11::module_ &m) {
  conn_type = reinterpret_cast<PyTypeObject *>(PyType_FromModuleAndSpec(m.ptr(), &spec, nullptr));
  if (!conn_type || PyModule_AddObjectRef(m.ptr(), "Connection", reinterpret_cast<PyObject *>(conn_type)) < 0) {
    throw pybind11::error_already_set();
  }
}
