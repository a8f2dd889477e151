// ws_message.cpp - WsMessage.
//
// Like HttpMessage (message.cpp): a thin object over the bytes where they arrived, used again for the next message when nobody kept
// it. Who asks for a view of the bytes, or keeps the object, holds the memory they are in; where the core cannot lend that memory
// (a decompressed message), they are copied at that moment.
#include <cstring>
#include <utility>

#include "args.h"
#include "module.h"
#include "websocket.h"

PyTypeObject *ws_msg_type;

namespace {

WsMsg *self_of(PyObject *o) {
  return reinterpret_cast<WsMsg *>(o);
}

unsigned opcode(const WsMsg *m) {
  return m->flags & 15;
}

// From here on the bytes stay where they are for as long as m does. False: no memory.
bool pin(WsMsg *m) {
  if (!m->c) return true;
  m->chunk = mg_ws_hold(m->c);
  if (!m->chunk) {
    m->copy = static_cast<char *>(PyMem_Malloc(m->data.len ? m->data.len : 1));
    if (!m->copy) return false;
    if (m->data.len) memcpy(m->copy, m->data.buf, m->data.len);
    m->data.buf = m->copy;
  }
  m->c = nullptr;
  return true;
}

void forget(WsMsg *m) {
  Py_CLEAR(m->bytes);
  Py_CLEAR(m->text);
  if (m->chunk) mg_chunk_drop(std::exchange(m->chunk, nullptr));
  if (m->copy) PyMem_Free(std::exchange(m->copy, nullptr));
  m->c = nullptr;
}

PyObject *get_data(PyObject *o, void *) {
  WsMsg *m = self_of(o);
  if (!m->bytes) m->bytes = PyBytes_FromStringAndSize(m->data.buf, static_cast<Py_ssize_t>(m->data.len));
  return Py_XNewRef(m->bytes);
}

PyObject *get_text(PyObject *o, void *) {
  WsMsg *m = self_of(o);
  if (!m->text) m->text = PyUnicode_DecodeUTF8(m->data.buf ? m->data.buf : "", static_cast<Py_ssize_t>(m->data.len), "surrogateescape");
  return Py_XNewRef(m->text);
}

PyObject *get_view(PyObject *o, void *) {
  return PyMemoryView_FromObject(o);
}
PyObject *get_flags(PyObject *o, void *) {
  return PyLong_FromLong(self_of(o)->flags);
}
PyObject *get_opcode(PyObject *o, void *) {
  return PyLong_FromLong(opcode(self_of(o)));
}
PyObject *is_op(PyObject *o, void *op) {
  return PyBool_FromLong(opcode(self_of(o)) == reinterpret_cast<uintptr_t>(op));
}

PyObject *json_of(PyObject *o, PyObject *) {
  Ref json(PyImport_ImportModule("json")), data(get_data(o, nullptr));
  if (!json || !data) return nullptr;
  return PyObject_CallMethod(json.get(), "loads", "O", data.get());
}

int get_buffer(PyObject *o, Py_buffer *view, int flags) {
  WsMsg *m = self_of(o);
  if (!pin(m)) {
    PyErr_NoMemory();
    view->obj = nullptr;
    return -1;
  }
  return PyBuffer_FillInfo(view, o, m->data.buf ? m->data.buf : const_cast<char *>(""), static_cast<Py_ssize_t>(m->data.len), 1, flags);
}

Py_ssize_t length(PyObject *o) {
  return static_cast<Py_ssize_t>(self_of(o)->data.len);
}
int truth(PyObject *) {
  return 1;
}

PyObject *repr(PyObject *o) {
  static const char *const names[16] = {"continue", "text", "binary", nullptr, nullptr, nullptr, nullptr, nullptr, "close", "ping", "pong"};
  const char *name = names[opcode(self_of(o))];
  return PyUnicode_FromFormat("<WsMessage %s, %zu bytes>", name ? name : "reserved", self_of(o)->data.len);
}

void dealloc(PyObject *o) {
  PyTypeObject *type = Py_TYPE(o);
  forget(self_of(o));
  PyObject_Free(o);
  Py_DECREF(type);
}

void *op(uintptr_t number) {
  return reinterpret_cast<void *>(number);
}

PyGetSetDef getset[] = {
    {"data", get_data, nullptr, "bytes: a copy of the payload, made once.", nullptr},
    {"data_bytes", get_data, nullptr, "bytes: the same as data.", nullptr},
    {"text", get_text, nullptr,
     "str: the payload as UTF-8, made once. A text message is valid UTF-8 (RFC 6455 8.1); of others, what is none is decoded as surrogate "
     "escapes.",
     nullptr},
    {"view", get_view, nullptr,
     "memoryview: the payload where it arrived, no copy (a decompressed one: copied once). Valid for as long as it is kept, on any thread.",
     nullptr},
    {"flags", get_flags, nullptr, "int: first byte of the frame, 128 | opcode: 129 for a text, 130 for a binary message (RFC 6455 5.2).", nullptr},
    {"opcode", get_opcode, nullptr, "int: WEBSOCKET_OP_…", nullptr},
    {"is_text", is_op, nullptr, "bool", op(WEBSOCKET_OP_TEXT)},
    {"is_binary", is_op, nullptr, "bool", op(WEBSOCKET_OP_BINARY)},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMethodDef methods[] = {
    {"json", json_of, METH_NOARGS, "json($self)\n--\n\nThe payload parsed as JSON.\n\nRaises:\n    ValueError: it is none."},
    {nullptr, nullptr, 0, nullptr},
};

PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char *>(
         "A WebSocket message or control frame, whole, unmasked, decompressed and checked.\n\n"
         "A message, and any memoryview of it, may be kept for as long as you like and used on any thread. It supports the buffer protocol,\n"
         "and ws_send() and broadcast() take it as it is: text stays text.")},
    {Py_tp_getset, getset},
    {Py_tp_methods, methods},
    {Py_tp_repr, reinterpret_cast<void *>(repr)},
    {Py_tp_dealloc, reinterpret_cast<void *>(dealloc)},
    {Py_nb_bool, reinterpret_cast<void *>(truth)},
    {Py_mp_length, reinterpret_cast<void *>(length)},
    {Py_bf_getbuffer, reinterpret_cast<void *>(get_buffer)},
    {0, nullptr},
};
PyType_Spec spec = {"pymongoose.WsMessage", sizeof(WsMsg), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

WsMsg *begin(Loop *loop, mg_connection *c, const mg_ws_message *wm) {
  WsMsg *m = loop->ws_spare;
  if (MG_LIKELY(m != nullptr)) {
    loop->ws_spare = nullptr;
  } else {
    m = PyObject_New(WsMsg, ws_msg_type);
    if (!m) return nullptr;
    m->chunk = nullptr;
    m->copy = nullptr;
    m->bytes = m->text = nullptr;
  }
  m->c = c;
  m->data = wm->data;
  m->flags = wm->flags;
  return m;
}

void end(Loop *loop, WsMsg *m) {
  auto *o = reinterpret_cast<PyObject *>(m);
  if (MG_LIKELY(Py_REFCNT(o) == 1 && !loop->ws_spare)) {
    forget(m);
    loop->ws_spare = m;
    return;
  }
  if (Py_REFCNT(o) > 1 && !pin(m)) Py_FatalError("pymongoose: no memory for a message that is being kept");
  Py_DECREF(o);
}

}  // namespace

void ws_event(Loop *loop, mg_connection *c, int ev, void *data) {
  loop->lock();
  Conn *conn = conn_of(loop, c);
  WsMsg *m = conn ? begin(loop, c, static_cast<mg_ws_message *>(data)) : nullptr;
  if (!m) {
    loop->failed(conn, ev);
    c->is_closing = 1;
    return;
  }
  Ref hold = Ref::borrow(reinterpret_cast<PyObject *>(conn));
  bool ok = loop->call(conn, ev, reinterpret_cast<PyObject *>(m));
  end(loop, m);
  if (MG_UNLIKELY(!ok) && conn->c) mg_ws_close(conn->c, 1011, Str{});  // RFC 6455 7.4.1: something unexpected here
}

void bind_ws_message(pybind11::module_ &m) {
  ws_msg_type = reinterpret_cast<PyTypeObject *>(PyType_FromModuleAndSpec(m.ptr(), &spec, nullptr));
  if (!ws_msg_type || PyModule_AddObjectRef(m.ptr(), "WsMessage", reinterpret_cast<PyObject *>(ws_msg_type)) < 0) {
    throw pybind11::error_already_set();
  }
}
