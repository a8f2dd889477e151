// ws_ops.cpp - what can be done with WebSocket: the handshake from either side, messages, closing, groups.
#include <pybind11/pybind11.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "args.h"
#include "errors.h"
#include "message.h"
#include "mongoose/codec/utf8.h"
#include "mongoose/codec/ws_frame.h"
#include "websocket.h"

namespace {

constexpr size_t by_reference = 16384;  // from here on a bytes object is sent from where it is

bool here(const Conn *conn) {
  return conn->loop->on_thread();
}

PyObject *no_websocket(const Conn *conn) {
  return raise_status(MG_ESTATE, "this connection is no WebSocket", conn->id);
}

// After the core refused to send: what it was.
PyObject *refused(const Conn *conn) {
  if (!conn->c || conn->c->is_dead) return raise_closed();
  int status = conn->loop->mgr.status;
  if (status == MG_EFULL) {
    return raise_status(MG_EFULL, "the peer does not read fast enough: too much output is waiting (see is_full and on_drain)", conn->id);
  }
  if (status == MG_ESTATE || status == MG_ECLOSED) return raise_status(MG_ECLOSED, "the WebSocket is being closed", conn->id);
  return raise_status(status, nullptr, conn->id);
}

// ---- what is to be sent ----

// A message as it was given: its bytes and its kind.
class Outgoing {
 public:
  // False with an exception: wrong types, an opcode that is none, text that is not UTF-8, too long a control frame.
  bool init(PyObject *data, PyObject *op) {
    if (op && op != Py_None) {
      long v = PyLong_AsLong(op);
      if (v == -1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) {
          PyErr_Format(PyExc_TypeError, "op must be int, not %.200s", Py_TYPE(op)->tp_name);
          return false;
        }
        PyErr_Clear();
      }
      if (v != WEBSOCKET_OP_CONTINUE && v != WEBSOCKET_OP_TEXT && v != WEBSOCKET_OP_BINARY && v != WEBSOCKET_OP_PING && v != WEBSOCKET_OP_PONG) {
        PyErr_Format(PyExc_ValueError, "op must be WEBSOCKET_OP_TEXT, _BINARY, _PING, _PONG or _CONTINUE, not %R%s", op,
                     v == WEBSOCKET_OP_CLOSE ? "; see ws_close()" : "");
        return false;
      }
      op_ = static_cast<int>(v);
    }
    bool known = false;  // to be UTF-8
    if (Py_TYPE(data) == ws_msg_type) {
      auto *m = reinterpret_cast<WsMsg *>(data);
      int kind = static_cast<int>(m->flags & 15);
      bytes_ = {m->data.buf ? m->data.buf : const_cast<char *>(""), m->data.len};
      if (!op && (kind == WEBSOCKET_OP_TEXT || kind == WEBSOCKET_OP_BINARY)) op_ = kind;
      known = kind == WEBSOCKET_OP_TEXT;
    } else {
      if (!b_.init(data, "data")) return unicode_error(data);
      bytes_ = {const_cast<char *>(b_.data()), b_.size()};
      known = PyUnicode_Check(data) && !b_.escaped();
    }
    if (op_ == WEBSOCKET_OP_TEXT && !known && !mg_utf8_ok(bytes_)) {
      PyErr_SetString(PyExc_ValueError, "data is not UTF-8, as text must be (RFC 6455 5.6): send it with op=WEBSOCKET_OP_BINARY");
      return false;
    }
    if (op_ >= WEBSOCKET_OP_CLOSE && bytes_.len > 125) {
      PyErr_Format(PyExc_ValueError, "a ping or pong has 125 bytes at most (RFC 6455 5.5), not %zu", bytes_.len);
      return false;
    }
    return true;
  }
  Str bytes() const { return bytes_; }
  int op() const { return op_; }

 private:
  static bool unicode_error(PyObject *data) {
    if (PyUnicode_Check(data) && PyErr_ExceptionMatches(PyExc_UnicodeError)) {
      PyErr_SetString(PyExc_ValueError, "data has surrogates that are no text, so it is not UTF-8 (RFC 6455 5.6)");
    }
    return false;
  }
  Bytes b_;
  Str bytes_{};
  int op_ = WEBSOCKET_OP_TEXT;
};

// A piece of a message: op says whether it is the first, fin whether it is the last.
bool piece(mg_connection *c, Str bytes, int op, bool fin) {
  if (op != WEBSOCKET_OP_CONTINUE && !mg_ws_stream_begin(c, op)) return false;
  if (bytes.len > 0 && !mg_ws_stream_write(c, bytes.buf, bytes.len)) {
    int why = c->mgr->status;  // nothing was accepted, so nothing is begun
    if (op != WEBSOCKET_OP_CONTINUE) (void) mg_ws_stream_undo(c);
    c->mgr->status = why;
    return false;
  }
  return !fin || mg_ws_stream_end(c);
}

// ---- arguments of the handshake ----

// The options of mg_ws_opts and all the memory they point to.
class Handshake {
 public:
  bool protocols(PyObject *o) {
    return list(o, "protocols", protocols_) && ([&] {
             for (const Str &p : protocols_) {
               if (!is_token(p)) {
                 PyErr_Format(PyExc_ValueError, "protocols must be tokens (RFC 6455 4.1), not '%.100s'", std::string(p.buf, p.len).c_str());
                 return false;
               }
             }
             opts_.protocols = protocols_.data();
             opts_.nprotocols = protocols_.size();
             return true;
           })();
  }
  bool origins(PyObject *o) {
    if (!list(o, "origins", origins_)) return false;
    if (o && o != Py_None && origins_.empty()) {
      PyErr_SetString(PyExc_ValueError, "origins is empty, so nobody could connect; None allows any");
      return false;
    }
    opts_.origins = origins_.data();
    opts_.norigins = origins_.size();
    return true;
  }
  bool headers(PyObject *o) {
    if (!conn_text_headers(headers_, o, nullptr)) return false;
    opts_.headers = {headers_.data(), headers_.size()};
    return true;
  }
  // bool, or an object like pymongoose.Deflate.
  bool compress(PyObject *o) {
    if (!o || o == Py_None || o == Py_False) return true;
    opts_.compress = true;
    if (o == Py_True) return true;
    try {
      pybind11::handle h(o);
      int bits = h.attr("window_bits").cast<int>(), level = h.attr("level").cast<int>();
      opts_.takeover = h.attr("context_takeover").cast<bool>();
      opts_.min_size = h.attr("min_size").cast<size_t>();
      if (bits < 9 || bits > 15) {
        PyErr_Format(PyExc_ValueError, "Deflate.window_bits must be 9-15, not %d", bits);
        return false;
      }
      if (level < 1 || level > 9) {
        PyErr_Format(PyExc_ValueError, "Deflate.level must be 1-9, not %d", level);
        return false;
      }
      opts_.window_bits = static_cast<uint8_t>(bits);
      opts_.level = static_cast<uint8_t>(level);
    } catch (pybind11::error_already_set &e) {
      e.restore();
      if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Format(PyExc_TypeError, "compress must be a bool or a Deflate, not %.200s", Py_TYPE(o)->tp_name);
      }
      return false;
    } catch (pybind11::cast_error &) {
      PyErr_SetString(PyExc_TypeError, "Deflate.context_takeover is a bool, its other fields are int");
      return false;
    }
    return true;
  }
  bool limits(PyObject *o) {
    if (!o || o == Py_None) return true;
    try {
      limits_ = ws_limits_of(o);
    } catch (pybind11::error_already_set &e) {
      e.restore();
      return false;
    } catch (pybind11::builtin_exception &e) {
      e.set_error();
      return false;
    }
    opts_.limits = &limits_;
    return true;
  }
  const mg_ws_opts *opts() const { return &opts_; }

 private:
  static bool is_token(Str s) {
    static const char special[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < s.len; i++) {
      auto ch = static_cast<unsigned char>(s.buf[i]);
      bool letter = (ch >= '0' && ch <= '9') || ((ch | 32) >= 'a' && (ch | 32) <= 'z');
      if (!letter && (ch == 0 || !strchr(special, ch))) return false;
    }
    return s.len > 0;
  }
  bool list(PyObject *o, const char *name, std::vector<Str> &out) {
    if (!o || o == Py_None) return true;
    if (PyUnicode_Check(o) || PyBytes_Check(o)) {
      PyErr_Format(PyExc_TypeError, "%s must be a sequence of str, not %.200s", name, Py_TYPE(o)->tp_name);
      return false;
    }
    Ref items(PySequence_List(o));
    if (!items) {
      if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Format(PyExc_TypeError, "%s must be a sequence of str, not %.200s", name, Py_TYPE(o)->tp_name);
      }
      return false;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); i++) {
      PyObject *item = PyList_GET_ITEM(items.get(), i);
      if (!PyUnicode_Check(item)) {
        PyErr_Format(PyExc_TypeError, "%s must be a sequence of str; one is %.200s", name, Py_TYPE(item)->tp_name);
        return false;
      }
      Py_ssize_t n;
      const char *p = PyUnicode_AsUTF8AndSize(item, &n);
      if (!p) return false;
      out.push_back({const_cast<char *>(p), static_cast<size_t>(n)});
    }
    held_.push_back(std::move(items));
    return true;
  }
  mg_ws_opts opts_{};
  mg_ws_limits limits_{};
  std::vector<Str> protocols_, origins_;
  std::vector<Ref> held_;
  std::string headers_;
};

}  // namespace

// ---- opening ----

PyObject *ws_upgrade_to(Conn *conn, unsigned long number, const char *fname, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"msg", "extra_headers", "protocols", "compress", "origins", "limits"};
  PyObject *a[6];
  if (n > 2) return PyErr_Format(PyExc_TypeError, "%s() takes at most 2 positional arguments (%zd given)", fname, n);
  if (!take_args(fname, names, 6, 1, args, n, kw, a)) return nullptr;
  if (Py_TYPE(a[0]) != msg_type) {
    return PyErr_Format(PyExc_TypeError, "msg must be the HttpMessage of the request, not %.200s", Py_TYPE(a[0])->tp_name);
  }
  if (!conn->c) return raise_closed();
  Handshake h;
  if (!h.headers(a[1]) || !h.protocols(a[2]) || !h.compress(a[3]) || !h.origins(a[4]) || !h.limits(a[5])) return nullptr;
  auto *m = reinterpret_cast<Msg *>(a[0]);
  Loop *loop = conn->loop;
  PyObject *out = nullptr;
  loop->call_sync([&] {
    mg_connection *c = conn->c;
    if (!c) return raise_closed() != nullptr;
    if (c->is_websocket) return raise_status(MG_ESTATE, "this connection is a WebSocket already", conn->id) != nullptr;
    if (number == 0 && m->own) {
      PyErr_SetString(PyExc_ValueError, "msg has expired: it is not the request that is being handled now");
      return false;
    }
    std::unique_ptr<mg_http_message> whole;
    mg_http_message *hm = m->hm;
    if (m->own) {  // a kept message has only as many headers as there are
      whole = std::make_unique<mg_http_message>();
      msg_copy(whole.get(), m);
      hm = whole.get();
    }
    if (number && !mg_http_aim(c, number)) return raise_status(MG_ESTATE, "this request is answered already", conn->id) != nullptr;
    Msg *before = std::exchange(loop->upgrading, m);
    bool ok = mg_ws_upgrade_with(c, hm, h.opts());
    loop->upgrading = before;
    if (!ok && conn->c && loop->mgr.status != MG_EPROTO) {
      if (loop->mgr.status == MG_ESTATE) {
        raise_status(MG_ESTATE, "there is no request to upgrade here: it is answered already, or none was made", conn->id);
      } else {
        raise_status(loop->mgr.status, nullptr, conn->id);
      }
    } else {
      out = PyBool_FromLong(ok);
    }
    if (number && conn->c && !conn->c->is_websocket) mg_http_unaim(conn->c);
    return out != nullptr;
  });
  return out;
}

PyObject *conn_ws_upgrade(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  if (!conn->c) return raise_closed();
  if (!here(conn)) {
    return raise_status(MG_ESTATE, "ws_upgrade() on another thread: use defer() on the loop thread and Reply.ws_upgrade()", conn->id);
  }
  return ws_upgrade_to(conn, 0, "ws_upgrade", args, n, kw);
}

bool ws_connect(PyObject *protocols, PyObject *headers, PyObject *compress, PyObject *limits,
                const std::function<bool(const mg_ws_opts *)> &connect) {
  Handshake h;
  return h.protocols(protocols) && h.headers(headers) && h.compress(compress) && h.limits(limits) && connect(h.opts());
}

// ---- sending ----

PyObject *conn_ws_send(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"data", "op", "fin"};
  PyObject *a[3] = {n > 0 ? args[0] : nullptr, n > 1 ? args[1] : nullptr, n > 2 ? args[2] : nullptr};
  if (MG_UNLIKELY((kw || n < 1 || n > 3) && !take_args("ws_send", names, 3, 1, args, n, kw, a))) return nullptr;
  if (MG_UNLIKELY(!conn->c)) return raise_closed();
  Outgoing m;
  if (MG_UNLIKELY(!m.init(a[0], a[1]))) return nullptr;
  mg_connection *c = conn->c;
  if (MG_UNLIKELY(!c->is_websocket)) return no_websocket(conn);
  if (MG_UNLIKELY(!here(conn))) return conn_post(conn, conn_ws_send, args, n, kw);
  bool ok;
  int fin = a[2] ? PyObject_IsTrue(a[2]) : 1;
  if (fin < 0) return nullptr;
  if (MG_UNLIKELY(!fin || m.op() == WEBSOCKET_OP_CONTINUE)) {
    if (!fin && m.op() >= WEBSOCKET_OP_CLOSE) return PyErr_Format(PyExc_ValueError, "a ping or pong cannot come in pieces (RFC 6455 5.5)");
    ok = piece(c, m.bytes(), m.op(), fin);
    if (!ok && conn->loop->mgr.status == MG_ESTATE && !c->is_dead && mg_ws_sent_code(c) == 0) {
      const char *why = m.op() == WEBSOCKET_OP_CONTINUE ? "no message was begun with fin=False" : "another message in pieces is under way";
      return raise_status(MG_ESTATE, why, conn->id);
    }
  } else if (m.bytes().len >= by_reference && PyBytes_CheckExact(a[0])) {
    ok = mg_ws_send_ref(c, m.bytes().buf, m.bytes().len, m.op(), lent_back, lent_new(conn->loop, a[0])) > 0;
  } else {
    ok = mg_ws_send(c, m.bytes().buf, m.bytes().len, m.op()) > 0;
  }
  if (MG_UNLIKELY(!ok)) return refused(conn);
  Py_RETURN_NONE;
}

// ---- closing ----

PyObject *conn_ws_close(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"code", "reason"};
  PyObject *a[2];
  if (!take_args("ws_close", names, 2, 0, args, n, kw, a)) return nullptr;
  long code = 1000;
  if (a[0] && (code = PyLong_AsLong(a[0])) == -1 && PyErr_Occurred()) {
    if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
      PyErr_Clear();
    } else {
      return PyErr_Format(PyExc_TypeError, "code must be int, not %.200s", Py_TYPE(a[0])->tp_name);
    }
  }
  if (code < 0 || code > 4999 || !mg_ws_close_code_ok(static_cast<int>(code))) {
    return PyErr_Format(PyExc_ValueError, "code must be 1000-1003, 1007-1014 or 3000-4999 (RFC 6455 7.4), not %R", a[0]);
  }
  Bytes reason;
  if (a[1] && !reason.init(a[1], "reason")) return nullptr;
  if (reason.size() > 123) return PyErr_Format(PyExc_ValueError, "reason has 123 bytes at most (RFC 6455 5.5), not %zu", reason.size());
  Str text = {const_cast<char *>(reason.data()), reason.size()};
  if (!mg_utf8_ok(text)) {
    PyErr_SetString(PyExc_ValueError, "reason is not UTF-8 (RFC 6455 5.5.1)");
    return nullptr;
  }
  mg_connection *c = conn->c;
  if (!c || c->is_dead) Py_RETURN_NONE;
  if (!c->is_websocket) return no_websocket(conn);
  if (!here(conn)) return conn_post(conn, conn_ws_close, args, n, kw);
  if (!mg_ws_close(c, static_cast<int>(code), text) && conn->loop->mgr.status == MG_ENOMEM) return PyErr_NoMemory();
  Py_RETURN_NONE;
}

// ---- groups ----

namespace {

bool group_name(PyObject *o, Bytes &b) {
  if (!b.init(o, "group")) return false;
  if (b.size() > 0) return true;
  PyErr_SetString(PyExc_ValueError, "group must not be empty");
  return false;
}

Str str_of(const Bytes &b) {
  return {const_cast<char *>(b.data()), b.size()};
}

}  // namespace

PyObject *conn_join(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"group"};
  PyObject *a[1];
  Bytes group;
  if (!take_args("join", names, 1, 1, args, n, kw, a) || !group_name(a[0], group)) return nullptr;
  if (!conn->c) return raise_closed();
  if (!conn->c->is_websocket) return no_websocket(conn);
  if (!here(conn)) return conn_post(conn, conn_join, args, n, kw);
  if (!mg_ws_join(conn->c, str_of(group))) return refused(conn);
  Py_RETURN_NONE;
}

PyObject *conn_leave(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"group"};
  PyObject *a[1];
  Bytes group;
  if (!take_args("leave", names, 1, 1, args, n, kw, a) || !group_name(a[0], group)) return nullptr;
  if (!conn->c) Py_RETURN_NONE;
  if (!here(conn)) return conn_post(conn, conn_leave, args, n, kw);
  mg_ws_leave(conn->c, str_of(group));
  Py_RETURN_NONE;
}

PyObject *ws_broadcast(Loop *loop, PyObject *group, PyObject *data, PyObject *op, PyObject *exclude) {
  Bytes name;
  Outgoing m;
  if (!group_name(group, name) || !m.init(data, op)) return nullptr;
  if (m.op() != WEBSOCKET_OP_TEXT && m.op() != WEBSOCKET_OP_BINARY) {
    return PyErr_Format(PyExc_ValueError, "op must be WEBSOCKET_OP_TEXT or WEBSOCKET_OP_BINARY, not %R", op);
  }
  if (exclude != Py_None && Py_TYPE(exclude) != conn_type) {
    return PyErr_Format(PyExc_TypeError, "exclude must be a Connection or None, not %.200s", Py_TYPE(exclude)->tp_name);
  }
  size_t reached = 0;
  bool ok = loop->call_sync([&] {
    auto *but = exclude == Py_None ? nullptr : reinterpret_cast<Conn *>(exclude);
    reached = but && but->c && but->loop == loop ? mg_ws_broadcast_from(but->c, str_of(name), m.op(), m.bytes())
                                                 : mg_ws_broadcast(&loop->mgr, str_of(name), m.op(), m.bytes());
    return true;
  });
  return ok ? PyLong_FromSize_t(reached) : nullptr;
}

PyObject *ws_members(Loop *loop, PyObject *group) {
  Bytes name;
  if (!group_name(group, name)) return nullptr;
  size_t members = 0;
  bool ok = loop->call_sync([&] {
    members = mg_ws_members(&loop->mgr, str_of(name));
    return true;
  });
  return ok ? PyLong_FromSize_t(members) : nullptr;
}
