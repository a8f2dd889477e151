// connection_ops.cpp - what a Connection can do. Each method is a C function (vectorcall); on another thread than the loop's it is
// queued with its arguments and runs there (conn_post).
#include <cstddef>
#include <cstring>
#include <string>

#include "args.h"
#include "connection.h"
#include "errors.h"
#include "forms.h"
#include "pool.h"
#include "reply.h"
#include "serve.h"
#include "websocket.h"

PyObject *conn_tls_init(Conn *, PyObject *const *, Py_ssize_t, PyObject *);    // tls.cpp
PyObject *conn_tls_free(Conn *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *conn_tls_reload(Conn *, PyObject *const *, Py_ssize_t, PyObject *);

namespace {

bool here(const Conn *conn) {
  return conn->loop->on_thread();
}

long status_of(PyObject *o, const char *name) {
  long v = PyLong_AsLong(o);
  if (v == -1 && PyErr_Occurred()) {
    if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
      PyErr_Format(PyExc_ValueError, "%s must be 200-999, not %S", name, o);
    } else {
      PyErr_Format(PyExc_TypeError, "%s must be int, not %.200s", name, Py_TYPE(o)->tp_name);
    }
  }
  return v;
}

// ---- bytes ----

PyObject *send(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"data"};
  PyObject *a[1];
  if (!take_args("send", names, 1, 1, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  if (!here(conn)) return conn_post(conn, send, args, n, kw);
  Bytes b;
  if (!b.init(a[0], "data")) return nullptr;
  mg_connection *c = conn->c;
  if (c->is_listening && !c->is_udp) return raise_status(MG_ESTATE, "a listener cannot send", conn->id);
  if (c->is_websocket) return raise_status(MG_ESTATE, "raw bytes would break a WebSocket: use ws_send()", conn->id);
  if (mg_unsent(c) > 0 && mg_unsent(c) + b.size() > c->listener->limits.send_max) {
    return raise_status(MG_EFULL, "the peer does not read fast enough: too much output is waiting (see is_full and on_drain)", conn->id);
  }
  bool ok = b.size() >= 16384 && PyBytes_CheckExact(a[0]) && !c->is_udp ? mg_send_ref(c, b.data(), b.size(), lent_back, lent_new(conn->loop, a[0]))
                                                                       : mg_send(c, b.data(), b.size());
  if (!ok && c->is_udp) return raise_status(MG_EIO, strerror(c->last_errno), conn->id);
  if (!ok && c->is_dead) return raise_closed();  // its CLOSE event is on its way
  if (!ok) return raise_status(MG_ENOMEM, nullptr, conn->id);
  Py_RETURN_NONE;
}

PyObject *peek(const unsigned char *buf, size_t len, PyObject *const *args, Py_ssize_t n, const char *name) {
  Py_ssize_t want = -1;
  if (n > 1) return PyErr_Format(PyExc_TypeError, "%s(n=-1) takes at most 1 argument (%zd given)", name, n);
  if (n == 1 && (want = PyNumber_AsSsize_t(args[0], PyExc_OverflowError)) == -1 && PyErr_Occurred()) return nullptr;
  if (want < 0 || static_cast<size_t>(want) > len) want = static_cast<Py_ssize_t>(len);
  return PyBytes_FromStringAndSize(reinterpret_cast<const char *>(buf), want);
}

PyObject *recv_data(Conn *conn, PyObject *const *args, Py_ssize_t n) {
  if (conn->c && !here(conn)) return raise_status(MG_ESTATE, "received bytes can be read on the loop thread only", conn->id);
  return peek(conn->c ? conn->c->recv.buf : nullptr, conn->c ? conn->c->recv.len : 0, args, n, "recv_data");
}

PyObject *send_data(Conn *conn, PyObject *const *args, Py_ssize_t n) {
  if (conn->c && !here(conn)) return raise_status(MG_ESTATE, "queued bytes can be read on the loop thread only", conn->id);
  return peek(conn->c ? conn->c->send.buf : nullptr, conn->c ? conn->c->send.len : 0, args, n, "send_data");
}

PyObject *take(Conn *conn, PyObject *const *args, Py_ssize_t n) {
  Ref out(recv_data(conn, args, n));
  if (out && conn->c) {
    mg_iobuf_del(&conn->c->recv, 0, static_cast<size_t>(PyBytes_GET_SIZE(out.get())));
    mg_touch(conn->c);
  }
  return out.release();
}

PyObject *consume(Conn *conn, PyObject *const *args, Py_ssize_t n) {
  if (n != 1) return PyErr_Format(PyExc_TypeError, "consume(n) takes 1 argument (%zd given)", n);
  Py_ssize_t want = PyNumber_AsSsize_t(args[0], PyExc_OverflowError);
  if (want == -1 && PyErr_Occurred()) return nullptr;
  if (want < 0) return PyErr_Format(PyExc_ValueError, "n must be >= 0, not %zd", want);
  if (!conn->c) return PyLong_FromLong(0);
  if (!here(conn)) return raise_status(MG_ESTATE, "received bytes can be consumed on the loop thread only", conn->id);
  size_t gone = mg_iobuf_del(&conn->c->recv, 0, static_cast<size_t>(want));
  mg_touch(conn->c);
  return PyLong_FromSize_t(gone);
}

// ---- HTTP ----

PyObject *reply(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"status", "body", "headers", "compress"};
  PyObject *a[4] = {n > 0 ? args[0] : nullptr, n > 1 ? args[1] : nullptr, n > 2 ? args[2] : nullptr, n > 3 ? args[3] : nullptr};
  if (MG_UNLIKELY((kw || n < 1 || n > 4) && !take_args("reply", names, 4, 1, args, n, kw, a))) return nullptr;
  if (MG_UNLIKELY(!conn->c)) return raise_closed();
  if (MG_UNLIKELY(!here(conn))) return conn_post(conn, reply, args, n, kw);
  long status = status_of(a[0], "status");
  if (MG_UNLIKELY(status == -1 && PyErr_Occurred())) return nullptr;
  return conn_reply_to(conn, 0, status, a[1], a[2] == Py_None ? nullptr : a[2], nullptr, a[3]);
}

PyObject *reply_json(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"obj", "status_code", "headers", "compress"};
  PyObject *a[4];
  if (!take_args("reply_json", names, 4, 1, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  if (!here(conn)) return conn_post(conn, reply_json, args, n, kw);
  return conn_reply_json_to(conn, 0, a[0], a[1], a[2], a[3]);
}

PyObject *start_response(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"status", "headers", "on_drain", "compress", "on_close"};
  PyObject *a[5];
  if (!take_args("start_response", names, 5, 1, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  if (!here(conn)) {
    return raise_status(MG_ESTATE, "start_response() on another thread: use defer() on the loop thread and Reply.start_response()", conn->id);
  }
  long status = status_of(a[0], "status");
  if (status == -1 && PyErr_Occurred()) return nullptr;
  return conn_stream(conn, mg_http_current(conn->c), status, a[1], a[2], a[3], a[4]);
}

PyObject *http_chunk(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"data"};
  PyObject *a[1];
  if (!take_args("http_chunk", names, 1, 1, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  if (!here(conn)) return conn_post(conn, http_chunk, args, n, kw);
  Bytes b;
  if (!b.init(a[0], "data")) return nullptr;
  return conn_write_to(conn, 0, a[0], b.size() == 0);
}

PyObject *http_sse(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"event_type", "data"};
  PyObject *a[2];
  if (!take_args("http_sse", names, 2, 2, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  if (!here(conn)) return conn_post(conn, http_sse, args, n, kw);
  Bytes ev, data;
  if (!ev.init(a[0], "event_type") || !data.init(a[1], "data")) return nullptr;
  if (memchr(ev.data(), '\n', ev.size()) || memchr(ev.data(), '\r', ev.size())) {
    return PyErr_Format(PyExc_ValueError, "event_type must be one line, not %R", a[0]);
  }
  std::string out = "event: " + std::string(ev.data(), ev.size()) + "\n";  // WHATWG HTML 9.2.6: each line of data gets its field
  const char *p = data.data(), *end = p + data.size();
  do {
    const char *eol = p;
    while (eol < end && *eol != '\n' && *eol != '\r') eol++;
    out.append("data: ").append(p, eol).append("\n");
    p = eol + (eol < end && *eol == '\r' && eol + 1 < end && eol[1] == '\n' ? 2 : 1);
  } while (p <= end);
  out += "\n";
  Ref bytes(PyBytes_FromStringAndSize(out.data(), static_cast<Py_ssize_t>(out.size())));
  return bytes ? conn_write_to(conn, 0, bytes.get(), false) : nullptr;
}

// ---- the asking side; loop thread, for _client.py ----

PyObject *http_expect(Conn *conn, PyObject *const *args, Py_ssize_t n) {
  if (n != 3) return PyErr_Format(PyExc_TypeError, "_http_expect(what, read_timeout_ms, max_body) takes 3 arguments, not %zd", n);
  unsigned long what = PyLong_AsUnsignedLong(args[0]), ms = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLong(args[1]);
  unsigned long long max_body = PyErr_Occurred() ? 0 : PyLong_AsUnsignedLongLong(args[2]);
  if (PyErr_Occurred()) return nullptr;
  if (!conn->c) return raise_closed();
  if (!here(conn) || !mg_http_expect(conn->c, static_cast<unsigned>(what), static_cast<uint32_t>(ms))) {
    return raise_status(MG_ESTATE, "_http_expect() belongs to an HTTP client between two responses", conn->id);
  }
  conn->c->listener->limits.max_body = max_body;
  Py_RETURN_NONE;
}

PyObject *http_reusable(Conn *conn, PyObject *) {
  return PyBool_FromLong(conn->c && here(conn) && mg_http_reusable(conn->c));
}

// ---- flow of input ----

PyObject *pause(Conn *conn, bool on) {
  if (!conn->c) return raise_closed();
  if (conn->c->is_full != static_cast<unsigned>(on)) {
    conn->c->is_full = on;
    mg_touch(conn->c);
  }
  Py_RETURN_NONE;
}

PyObject *pause_reading(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  if (!take_args("pause_reading", nullptr, 0, 0, args, n, kw, nullptr)) return nullptr;
  if (conn->c && !here(conn)) return conn_post(conn, pause_reading, args, n, kw);
  return pause(conn, true);
}

PyObject *resume_reading(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  if (!take_args("resume_reading", nullptr, 0, 0, args, n, kw, nullptr)) return nullptr;
  if (conn->c && !here(conn)) return conn_post(conn, resume_reading, args, n, kw);
  return pause(conn, false);
}

// ---- ends ----

PyObject *hang_up(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  if (!take_args("close", nullptr, 0, 0, args, n, kw, nullptr)) return nullptr;
  if (!conn->c) Py_RETURN_NONE;
  if (!here(conn)) return conn_post(conn, hang_up, args, n, kw);
  conn->c->is_closing = 1;
  mg_touch(conn->c);
  Py_RETURN_NONE;
}

PyObject *drain(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  if (!take_args("drain", nullptr, 0, 0, args, n, kw, nullptr)) return nullptr;
  if (!conn->c) Py_RETURN_NONE;
  if (!here(conn)) return conn_post(conn, drain, args, n, kw);
  conn->c->is_draining = 1;
  mg_touch(conn->c);
  Py_RETURN_NONE;
}

PyObject *fail(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"message"};
  PyObject *a[1];
  if (!take_args("error", names, 1, 1, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  if (!here(conn)) return conn_post(conn, fail, args, n, kw);
  Bytes b;
  if (!b.init(a[0], "message")) return nullptr;
  mg_error(conn->c, "%.*s", static_cast<int>(b.size()), b.data());
  Py_RETURN_NONE;
}

// ---- names ----

PyObject *resolve(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"url", "timeout"};
  PyObject *a[2];
  if (!take_args("resolve", names, 2, 1, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  if (!here(conn)) return conn_post(conn, resolve, args, n, kw);
  Bytes url;
  uint32_t ms = conn->c->listener->limits.connect_timeout;
  if (!url.init(a[0], "url")) return nullptr;
  if (a[1] && a[1] != Py_None) {
    double seconds = PyFloat_AsDouble(a[1]);
    if (seconds == -1 && PyErr_Occurred()) return nullptr;
    if (!(seconds > 0)) return PyErr_Format(PyExc_ValueError, "timeout must be > 0 seconds or None, not %R", a[1]);
    ms = seconds > 1e6 ? 1000000000 : static_cast<uint32_t>(seconds * 1000) + 1;
  }
  std::string text(url.data(), url.size());
  if (text.find('\0') != std::string::npos) return PyErr_Format(PyExc_ValueError, "url contains a NUL");
  if (conn->c->is_dead || conn->c->is_closing) return raise_closed();
  if (!mg_ask(conn->c, text.c_str(), ms)) {
    const mg_mgr &mgr = conn->loop->mgr;
    if (mgr.status == MG_ENOMEM) return raise_status(MG_ENOMEM, mgr.errmsg, conn->id);
    return PyErr_Format(PyExc_ValueError, "%s", mgr.errmsg);
  }
  Py_RETURN_NONE;
}

PyObject *resolve_cancel(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  if (!take_args("resolve_cancel", nullptr, 0, 0, args, n, kw, nullptr)) return nullptr;
  if (!conn->c) Py_RETURN_NONE;
  if (!here(conn)) return conn_post(conn, resolve_cancel, args, n, kw);
  mg_ask_cancel(conn->c);
  Py_RETURN_NONE;
}

PyObject *set_handler(Conn *conn, PyObject *arg) {
  return PyObject_SetAttrString(reinterpret_cast<PyObject *>(conn), "handler", arg) < 0 ? nullptr : Py_NewRef(Py_None);
}

// ---- listeners ----

PyObject *respond(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"path", "status", "body", "headers"};
  PyObject *a[4];
  if (!take_args("respond", names, 4, 1, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  Bytes path, body;
  long status = a[1] ? status_of(a[1], "status") : 200;
  if (PyErr_Occurred() || !path.init(a[0], "path") || (a[2] && a[2] != Py_None && !body.init(a[2], "body"))) return nullptr;
  if (path.size() == 0 || path.data()[0] != '/') return PyErr_Format(PyExc_ValueError, "path must begin with '/', not %R", a[0]);
  if (status < 200 || status > 599) return PyErr_Format(PyExc_ValueError, "status must be 200-599, not %ld", status);
  std::string headers;
  if (!conn_text_headers(headers, a[3], "text/plain")) return nullptr;
  Str p = mg_str_n(path.data(), path.size()), b = mg_str_n(body.data() ? body.data() : "", body.size());
  bool ok = conn->loop->call_sync([&] {
    if (conn->c && mg_route_static(conn->c, p, static_cast<int>(status), mg_str_n(headers.data(), headers.size()), b)) return true;
    if (!conn->c) {
      raise_closed();
    } else {
      raise_status(conn->loop->mgr.status == MG_ENOMEM ? MG_ENOMEM : MG_ESTATE, "respond() belongs to an HTTP listener", conn->id);
    }
    return false;
  });
  return ok ? Py_NewRef(Py_None) : nullptr;
}

template <typename F>
PyCFunction fn(F f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(f));
}

constexpr int KW = METH_FASTCALL | METH_KEYWORDS;

}  // namespace

PyMethodDef conn_methods[] = {
    {"send", fn(send), KW,
     "send($self, data)\n--\n\nQueue raw bytes (str as UTF-8). UDP: one datagram, at once, to the peer of the last one received.\n\n"
     "On an HTTP connection these bytes are the answer to the current request; the connection goes on when it is complete.\n"
     "Large bytes objects are sent from where they are, without a copy.\n\n"
     "Raises:\n    ConnectionClosed: the connection is closed.\n    QueueFull: the peer does not read and Limits.send_max is waiting."},
    {"reply", fn(reply), KW,
     "reply($self, status, body=b'', headers=None, compress=None)\n--\n\nAnswer the current request.\n\n"
     "Args:\n    status: 200-999.\n    body: str (UTF-8), bytes-like or None; left out for HEAD, 204 and 304 (RFC 9110 6.4.1).\n"
     "    headers: a mapping or a sequence of (name, value) pairs; Content-Type is text/plain unless given. Date, Content-Length and\n"
     "        Connection are added where missing.\n"
     "    compress: False: not this one; True: whatever its type and size; None: as listen(compress=...) says.\n\n"
     "Raises:\n    ConnectionClosed: the connection is closed.\n    MongooseError: the request is answered already.\n"
     "    ValueError: a header contains an illegal character."},
    {"reply_json", fn(reply_json), KW,
     "reply_json($self, obj, status_code=200, headers=None, compress=None)\n--\n\nAnswer with obj as JSON (orjson when it is installed); otherwise like reply()."},
    {"start_response", fn(start_response), KW,
     "start_response($self, status, headers=None, on_drain=None, compress=None, on_close=None)\n--\n\nBegin an answer whose body follows in pieces; returns a ResponseBody with "
     "write(), end(), full. Chunked for HTTP/1.1 (RFC 9112 7.1), until the close for 1.0, counted when headers have a Content-Length.\n\n"
     "Args:\n    on_drain: called on the loop thread when the body was full and is no more.\n"
     "    on_close: called once when the client goes away before the end.\n\n"
     "Use it as a context manager: leaving the block ends the body, an exception cuts the connection. Loop thread."},
    {"set_header", fn(conn_set_header), KW,
     "set_header($self, name, value)\n--\n\nA header for the answer to the current request, whoever gives it: also errors and refusals by the engine.\n\n"
     "Set again it replaces; a header of that name given to reply() counts instead (Vary is added in any case).\n\n"
     "Raises:\n    ValueError: an illegal character.\n    MongooseError: the request is answered already."},
    {"informational", fn(conn_informational), KW,
     "informational($self, status, headers=None)\n--\n\nSend an interim response in front of the answer, as 103 Early Hints (RFC 8297):\n"
     "conn.informational(103, {'Link': '</style.css>; rel=preload; as=style'}). HTTP/1.0 clients get none.\n\n"
     "Raises:\n    ValueError: status is not 100 or 102-199.\n    MongooseError: the request is answered already."},
    {"http_basic_auth", fn(conn_http_basic_auth), KW,
     "http_basic_auth($self, user, password)\n--\n\nFor a client that writes its request by hand: send one Authorization line of Basic (RFC 7617), between "
     "the request line and the blank line. See basic_auth_header for a header to give."},
    {"http_chunk", fn(http_chunk), KW, "http_chunk($self, data)\n--\n\nSend one chunk of a chunked answer; empty data ends it."},
    {"http_sse", fn(http_sse), KW,
     "http_sse($self, event_type, data)\n--\n\nSend one server-sent event as a chunk; each line of data gets a data: field (WHATWG HTML 9.2.6)."},
    {"_http_expect", fn(http_expect), METH_FASTCALL, "_http_expect($self, what, read_timeout_ms, max_body, /)\n--\n\nmg_http_expect."},
    {"_http_reusable", fn(http_reusable), METH_NOARGS, "_http_reusable($self, /)\n--\n\nmg_http_reusable."},
    {"stream_body", fn(conn_stream_body), KW,
     "stream_body($self, on_data, on_end=None, max_body=0, on_abort=None)\n--\n\nIn the handler of MG_EV_HTTP_HDRS, of a request or a response: have the body in pieces instead of "
     "MG_EV_HTTP_MSG.\n\n"
     "Args:\n    on_data: called with bytes, decoded from chunks.\n    on_end: called without arguments after the last piece.\n"
     "    max_body: bytes, 0 for no bound; beyond, a request is answered 413 and a response is an error.\n    on_abort: called without arguments, once, when the body does not come to its end: the peer\n"
     "        went away, it was refused (400, 408, 413), or on_data raised.\n\npause_reading() and resume_reading() control the flow."},
    {"upload", fn(conn_upload), KW,
     "upload($self, message, to, on_end, *, max_parts=1000, max_file=1073741824, max_total=4294967296, max_field=1048576, original_names=False)\n--\n\n"
     "In the handler of MG_EV_HTTP_HDRS: take a multipart/form-data body as it arrives, in constant memory (RFC 7578).\n\n"
     "Args:\n    message: the request, for its Content-Type; 415 or 400 when that is no multipart form.\n"
     "    to: a folder, where files get new names; or to(part), called for each file: it returns an object with write(bytes) and perhaps close(),\n"
     "        a function of bytes, or None to skip the file.\n"
     "    on_end: on_end(form), when all is there. Its result is the answer, as with offload(), unless it answered itself.\n"
     "    max_parts: parts (413).\n    max_file: bytes of one file (413).\n    max_total: bytes of the body (413).\n"
     "    max_field: bytes of all plain fields together (413).\n"
     "    original_names: name files after what the client called them, made safe and unique, instead of by chance.\n\n"
     "Files are removed when the request fails. With a worker pool, parsing and writing happen on one of its threads at a time (`to` is called there,\n"
     "too) while reading pauses; on_end always runs on the loop thread. Loop thread.\n\n"
     "Raises:\n    OSError: the folder is none, or cannot be written to."},
    {"start_sse", fn(conn_start_sse), KW,
     "start_sse($self, headers=None, *, heartbeat=15.0, retry=None, on_drain=None, on_close=None)\n--\n\n"
     "Answer with a stream of server-sent events (WHATWG HTML 9.2); returns an EventStream.\n\n"
     "Args:\n    headers: more of them; Content-Type and Cache-Control are set.\n    heartbeat: seconds between comments that keep proxies from closing; 0: none.\n"
     "    retry: seconds after which a browser connects again.\n    on_drain: called when the stream is no longer full.\n"
     "    on_close: called once when the client goes away.\n\nLoop thread. The last id a browser saw is message.header('Last-Event-ID')."},
    {"_settle", fn(conn_settle), KW, "_settle($self, fn, /, *args)\n--\n\nCall fn(*args) on the loop thread; its result answers the current request."},
    {"_refuse_body", fn(conn_refuse_body), KW,
     "_refuse_body($self, status, text)\n--\n\nAnswer, and read no more of the body that is being streamed. Any thread."},
    {"pause_reading", fn(pause_reading), KW, "pause_reading($self)\n--\n\nRead nothing more from the peer until resume_reading()."},
    {"resume_reading", fn(resume_reading), KW, "resume_reading($self)\n--\n\nGo on after pause_reading()."},
    {"recv_data", fn(recv_data), METH_FASTCALL,
     "recv_data($self, n=-1, /)\n--\n\nbytes: the first n received bytes (all when negative), which stay in the buffer. Loop thread."},
    {"send_data", fn(send_data), METH_FASTCALL, "send_data($self, n=-1, /)\n--\n\nbytes: the first n queued bytes, which stay queued. Loop thread."},
    {"read", fn(take), METH_FASTCALL, "read($self, n=-1, /)\n--\n\nbytes: like recv_data(), and takes them out of the buffer. Loop thread."},
    {"consume", fn(consume), METH_FASTCALL,
     "consume($self, n, /)\n--\n\nint: takes up to n bytes out of the receive buffer, returns how many. Loop thread."},
    {"defer", fn(conn_defer), KW,
     "defer($self)\n--\n\nReply: take the current request off the handler's hands, to be answered later and from any thread. Answers of pipelined "
     "requests still leave in order. Loop thread."},
    {"offload", fn(conn_offload), KW,
     "offload($self, fn, /, *args, then=None, timeout=None)\n--\n\nRun fn(*args) on the manager's pool; its result becomes the reply.\n\n"
     "Without then: str or bytes-like gives 200, dict or list 200 as JSON, None 204, Response as it says; an exception goes to the\n"
     "error_handler and gives 500; no result within timeout seconds 504; a full queue 503 with Retry-After. With then, then(conn, result)\n"
     "runs on the loop thread and answers itself.\n\nReturns:\n    Job: cancel(), done(), result(timeout). A client that goes away cancels its jobs. "
     "Loop thread.\n\nRaises:\n    RuntimeError: the manager has no pool."},
    {"respond", fn(respond), KW,
     "respond($self, path, status=200, body=b'', headers=None)\n--\n\nOn an HTTP listener: answer GET and HEAD of exactly this path from memory, without "
     "entering Python; other methods get 405. Everything is copied; set again to replace."},
    {"serve_dir", fn(conn_serve_dir), KW, conn_serve_dir_doc},
    {"serve_file", fn(conn_serve_file), KW, conn_serve_file_doc},
    {"serve", fn(conn_serve), KW, conn_serve_doc},
    {"ws_upgrade", fn(conn_ws_upgrade), KW,
     "ws_upgrade($self, msg, extra_headers=None, *, protocols=(), compress=False, origins=None, limits=None)\n--\n\n"
     "In the handler of a request: take the WebSocket handshake (RFC 6455 4.2). MG_EV_WS_OPEN is told before this returns. To refuse one, "
     "reply() instead.\n\n"
     "Args:\n    msg: the HttpMessage of the request.\n    extra_headers: for the answer, as in reply().\n"
     "    protocols: subprotocols, the best first; the first that the client offers is taken (ws_protocol), none if there is none.\n"
     "    compress: True or a Deflate: agree on permessage-deflate where the client offers it (RFC 7692).\n"
     "    origins: values of Origin that may connect, as \"https://example.org\"; others, and requests without one, get 403. None: any.\n"
     "    limits: WsLimits of this connection; default: those of the listener.\n\n"
     "Returns:\n    bool: False for a request that is no valid handshake or has a wrong origin: it is answered, with 400, 403, 405 or 426.\n\n"
     "Raises:\n    ValueError: msg is not the current request; a header or protocol is malformed.\n    MongooseError: the request is answered "
     "already.\n\nLoop thread; for other threads see Reply.ws_upgrade()."},
    {"ws_send", fn(conn_ws_send), KW,
     "ws_send($self, data, op=1, fin=True)\n--\n\nSend a WebSocket message (RFC 6455 5.6), a ping or a pong.\n\n"
     "Args:\n    data: str (UTF-8), bytes-like, or a WsMessage, which goes as the kind it is unless op says otherwise.\n"
     "    op: WEBSOCKET_OP_TEXT (the default), _BINARY, _PING, _PONG; _CONTINUE for the next piece of a message.\n"
     "    fin: False for a first piece or one between; the last one has op=WEBSOCKET_OP_CONTINUE. Other messages wait for it.\n\n"
     "Large bytes objects are sent from where they are, without a copy.\n\n"
     "Raises:\n    ConnectionClosed: the connection is closed or being closed.\n    QueueFull: the peer does not read and Limits.send_max "
     "bytes are waiting.\n    ValueError: a text is not UTF-8, a ping or pong is longer than 125 bytes, op is none.\n    MongooseError: it is no "
     "WebSocket."},
    {"ws_close", fn(conn_ws_close), KW,
     "ws_close($self, code=1000, reason='')\n--\n\nClose a WebSocket politely (RFC 6455 7): what is queued goes out, a close frame behind it, and "
     "the connection ends when the peer answers or WsLimits.close_timeout is over. No-op once closed or closing.\n\n"
     "Args:\n    code: 1000-1003, 1007-1014, 3000-4999.\n    reason: at most 123 bytes.\n\nRaises:\n    ValueError: code or reason cannot be "
     "sent."},
    {"join", fn(conn_join), KW,
     "join($self, group)\n--\n\nBecome a member of a group (see Manager.broadcast), which is made by its first member. Closing leaves all groups."},
    {"leave", fn(conn_leave), KW, "leave($self, group)\n--\n\nBe no member of a group any more. No-op when it is none."},
    {"tls_init", fn(conn_tls_init), KW,
     "tls_init($self, opts, name=None)\n--\n\nSpeak TLS from here on: in the handler of MG_EV_ACCEPT or MG_EV_CONNECT, or later for protocols that begin in plain "
     "text (STARTTLS); output that waits then goes out first. MG_EV_TLS_HS tells when the handshake is over, MG_EV_ERROR when it failed.\n\n"
     "Args:\n    name: clients: the server's name to verify when neither opts nor the URL say one.\n\n"
     "Raises:\n    TlsError: something is wrong with the certificate, the key or another option.\n    ConnectionClosed: the connection is closed."},
    {"tls_free", fn(conn_tls_free), KW,
     "tls_free($self)\n--\n\nEnd TLS. A connection that had begun to speak it closes: nothing goes on in plain text. No-op without TLS."},
    {"tls_reload", fn(conn_tls_reload), KW,
     "tls_reload($self, opts)\n--\n\nOn a listener: use these options for connections accepted from now on; those that are open keep theirs. With the "
     "same options, certificates that changed on disk are read again.\n\nRaises:\n    TlsError: the options are not usable; the old ones stay."},
    {"close", fn(hang_up), KW,
     "close($self)\n--\n\nClose at the end of this turn; output that the socket does not take at once is dropped (see drain). No-op once closed."},
    {"drain", fn(drain), KW, "drain($self)\n--\n\nClose when all queued output is sent. No-op once closed."},
    {"error", fn(fail), KW, "error($self, message)\n--\n\nRaise an MG_EV_ERROR event with that text, then close."},
    {"resolve", fn(resolve), KW,
     "resolve($self, url, timeout=None)\n--\n\nLook a host name up without holding up the loop: MG_EV_RESOLVE with ((ip, port, is_ipv6), …) in the "
     "order in which to try them, or MG_EV_ERROR with \"resolve NAME: reason\", after which the connection goes on. Either is told by the loop, "
     "never from within this call, and once.\n\n"
     "Any connection or listener may ask; where it is connected to does not change. A new question takes the place of one that is not "
     "answered.\n\n"
     "The system's resolver is asked (hosts file, DNS as resolv.conf says, whatever nsswitch.conf names), on a few helper threads; "
     "addresses and localhost need no asking.\n\n"
     "Args:\n    url: a URL as for connect(), or a bare host name or address; port is 0 without one.\n"
     "    timeout: seconds; default: Limits.connect_timeout.\n\n"
     "Raises:\n    ValueError: there is no host in it.\n    ConnectionClosed: the connection is closed."},
    {"resolve_cancel", fn(resolve_cancel), KW, "resolve_cancel($self)\n--\n\nTell no answer to resolve(). No-op when none is due."},
    {"set_handler", fn(set_handler), METH_O, "set_handler($self, handler, /)\n--\n\nThe same as setting the handler attribute."},
    {nullptr, nullptr, 0, nullptr},
};
