// manager.cpp - the Python face of a Loop. pymongoose.Manager derives from it and adds defaults, keywords and documentation.
#include <memory>

#include "args.h"
#include "connection.h"
#include "edge.h"
#include "errors.h"
#include "module.h"
#include "pool.h"
#include "timer.h"
#include "tls.h"
#include "websocket.h"

namespace py = pybind11;

namespace {

struct Manager {
  Loop *loop = new Loop;
  ~Manager() {
    KeepError keep;
    loop->self = nullptr;
    if (loop->polling.load()) return;  // a thread that died in poll() at the interpreter's end may be in there for ever
    loop->close();
    if (loop->reraise()) PyErr_WriteUnraisable(nullptr);
    loop->drop();
  }
};

[[noreturn]] void raise() {
  throw py::error_already_set();
}

PyObject *callable(const py::object &o, const char *name) {
  if (o.is_none()) return nullptr;
  if (!PyCallable_Check(o.ptr())) throw py::type_error(std::string(name) + " must be callable or None, not " + Py_TYPE(o.ptr())->tp_name);
  return o.inc_ref().ptr();
}

void init(Loop &l, py::object self, py::object handler, py::object report, py::object dumps, py::object answer) {
  Ref h(callable(handler, "handler")), r(callable(report, "report")), d(callable(dumps, "dumps")), a(callable(answer, "answer"));
  if (!l.closed) throw std::runtime_error("the manager is initialised already");
  if (!l.open()) raise();
  l.handler = h.release();
  l.report = r.release();
  l.dumps = d.release();
  l.answer = a.release();
  l.self = self.ptr();  // borrowed: it owns us
}

// ---- limits: the dataclass pymongoose.Limits, seconds become milliseconds ----

template <typename T>
void number(py::handle o, const char *name, T *out, double scale = 1) {
  auto what = [&] { return std::string(Py_TYPE(o.ptr())->tp_name) + "." + name; };
  double v;
  try {
    v = o.attr(name).cast<double>();
  } catch (const py::cast_error &) {
    throw py::type_error(what() + " must be a number");
  }
  v *= scale;
  if (!(v >= 0) || v > static_cast<double>(sizeof(T) == 4 ? 0xffffffffu : uint64_t(1) << 62)) {
    throw py::value_error(what() + " is out of range");
  }
  *out = static_cast<T>(v);
}

mg_limits limits_of(py::handle o) {
  mg_limits l = mg_limits_default;
  if (o.is_none()) return l;
  number(o, "max_uri", &l.max_uri);
  number(o, "max_header", &l.max_header);
  number(o, "max_head", &l.max_head);
  number(o, "max_headers", &l.max_headers);
  number(o, "max_body", &l.max_body);
  number(o, "max_pipeline", &l.max_pipeline);
  number(o, "max_requests", &l.max_requests);
  number(o, "header_timeout", &l.header_timeout, 1000);
  number(o, "body_timeout", &l.body_timeout, 1000);
  number(o, "body_grace", &l.body_grace, 1000);
  number(o, "min_rate", &l.min_rate);
  number(o, "idle_timeout", &l.idle_timeout, 1000);
  number(o, "send_timeout", &l.send_timeout, 1000);
  number(o, "connect_timeout", &l.connect_timeout, 1000);
  number(o, "tls_timeout", &l.tls_timeout, 1000);
  number(o, "half_close", &l.half_close);
  number(o, "max_recv", &l.max_recv);
  number(o, "send_high", &l.send_high);
  number(o, "send_low", &l.send_low);
  number(o, "send_max", &l.send_max);
  number(o, "max_connections", &l.max_connections);
  number(o, "max_per_address", &l.max_per_address);
  if (l.max_pipeline == 0) l.max_pipeline = 1;
  l.ws = ws_limits_of(o.attr("ws"));
  return l;
}

// ---- listen, connect ----

bool scheme_is(const std::string &url, std::initializer_list<const char *> names) {
  std::string scheme = url.substr(0, url.find("://"));
  for (const char *n : names) {
    if (scheme == n) return true;
  }
  return false;
}

// The option `tls` of a URL that may have it.
TlsArgs tls_of(const std::string &url, const py::object &tls) {
  TlsArgs args;
  if (!args.init(tls.ptr())) raise();
  if (args.get() && scheme_is(url, {"http", "ws", "mqtt", "udp"})) throw py::value_error("tls was given, and " + url + " is not for TLS");
  return args;
}

struct Context {  // one reference
  mg_tls_ctx *p;
  ~Context() { mg_tls_ctx_drop(p); }
};

void set_asks(Loop &l, mg_connection *c, uint64_t events) {
  c->ask = static_cast<uint8_t>((events >> MG_EV_POLL & 1 ? MG_ASK_POLL : 0) | (events >> MG_EV_WRITE & 1 ? MG_ASK_WRITE : 0));
  if (c->ask & MG_ASK_POLL) l.mgr.sweep_ms = 50;
}

py::object opened(Loop &l, mg_connection *c, Site *site) {
  if (!c) {
    l.site_drop(site);
    raise_status(l.mgr.status, l.mgr.errmsg);
    return {};
  }
  set_asks(l, c, site->events);
  return py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject *>(conn_of(&l, c)));
}

// On the loop thread if that is another one; the exception set there is raised here.
template <typename F>
py::object on_loop(Loop &l, F fn) {
  py::object out;
  if (!l.call_sync([&] {
        try {
          out = fn();
        } catch (py::error_already_set &e) {
          e.restore();
        }
        return static_cast<bool>(out);
      })) {
    raise();
  }
  return out;
}

bool may_open(const Loop &l) {  // a handler of MG_EV_CLOSE may ask while the manager closes
  if (!l.closing) return true;
  PyErr_SetString(PyExc_RuntimeError, "manager is closed");
  return false;
}

py::object listen(Loop &l, const std::string &url, py::object handler, py::object http, py::object limits, int backlog, bool reuseport,
                  bool ipv6_only, unsigned unix_mode, py::object edge, py::object tls) {
  bool is_http = http.is_none() ? scheme_is(url, {"http", "https", "ws", "wss", "http+unix", "ws+unix"}) : http.cast<bool>();
  TlsArgs tls_args = tls_of(url, tls);
  mg_limits lim = limits_of(limits);
  mg_listen_opts opts = {&lim, {backlog, reuseport, ipv6_only, unix_mode}, tls_args.get()};
  Ref h(callable(handler, "handler"));
  return on_loop(l, [&]() -> py::object {
    if (!may_open(l)) return {};
    Site *site = l.site_new(h.get(), default_events(is_http) | l.extra_events);
    mg_connection *c = is_http ? mg_http_listen_with(&l.mgr, url.c_str(), Loop::on_event, site, &opts)
                               : mg_listen_with(&l.mgr, url.c_str(), Loop::on_event, site, &opts);
    if (c && !edge_apply(l, c, edge)) {
      mg_close_conn(c);
      return {};
    }
    return opened(l, c, site);
  });
}

py::object connect(Loop &l, const std::string &url, py::object handler, py::object http, py::object limits, py::object tls) {
  bool is_http = http.is_none() ? scheme_is(url, {"http", "https", "http+unix"}) : http.cast<bool>();
  TlsArgs tls_args = tls_of(url, tls);
  mg_limits lim = limits_of(limits);
  Ref h(callable(handler, "handler"));
  return on_loop(l, [&]() -> py::object {
    if (!may_open(l)) return {};
    Context ctx{tls_args.get() ? tls_context(l, tls_args.get(), true) : nullptr};
    if (tls_args.get() && !ctx.p) return {};
    Site *site = l.site_new(h.get(), default_events(is_http) | l.extra_events);
    mg_connection *c = is_http ? mg_http_connect_with(&l.mgr, url.c_str(), Loop::on_event, site, &lim)
                               : mg_connect_with(&l.mgr, url.c_str(), Loop::on_event, site, nullptr, nullptr, &lim);
    if (c && ctx.p) (void)tls_client(c, ctx.p, tls_args.get(), url.c_str());
    return opened(l, c, site);
  });
}

py::object ws_connect_to(Loop &l, const std::string &url, py::object handler, py::object protocols, py::object headers, py::object compress,
                         py::object limits, py::object tls) {
  TlsArgs tls_args = tls_of(url, tls);
  Ref h(callable(handler, "handler"));
  return on_loop(l, [&]() -> py::object {
    if (!may_open(l)) return {};
    py::object out;
    Context ctx{tls_args.get() ? tls_context(l, tls_args.get(), true) : nullptr};
    if (tls_args.get() && !ctx.p) return {};
    ws_connect(protocols.ptr(), headers.ptr(), compress.ptr(), limits.ptr(), [&](const mg_ws_opts *opts) {
      Site *site = l.site_new(h.get(), default_events(true) | l.extra_events);
      mg_connection *c = mg_ws_connect_with(&l.mgr, url.c_str(), Loop::on_event, site, opts);
      if (c && ctx.p) (void)tls_client(c, ctx.p, tls_args.get(), url.c_str());
      out = opened(l, c, site);
      return static_cast<bool>(out);
    });
    return out;
  });
}

py::object wrap_fd(Loop &l, int fd, py::object handler) {
  Ref h(callable(handler, "handler"));
  return on_loop(l, [&]() -> py::object {
    if (!may_open(l)) return {};
    Site *site = l.site_new(h.get(), default_events(false) | l.extra_events);
    return opened(l, mg_wrapfd(&l.mgr, fd, Loop::on_event, site), site);
  });
}

py::object connections(Loop &l) {
  if (l.closed) return py::tuple();
  return on_loop(l, [&]() -> py::object {
    py::list out;
    for (mg_connection *c = l.mgr.conns; c; c = c->next) {
      if (c->is_dead || c->is_new) continue;
      Conn *conn = conn_of(&l, c);
      if (!conn) return {};
      out.append(py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject *>(conn)));
    }
    return py::tuple(out);
  });
}

// ---- turns ----

void poll(Loop &l, int ms) {
  Polling p(l);
  if (!p.ok()) raise();
  mg_mgr_tick(&l.mgr);
  int r = l.turn(ms);
  l.lock();
  if (r == 0 && mg_mgr_owes(&l.mgr)) r = l.turn(0);  // tell now what flush left to tell: CLOSE comes with the poll that closed
  l.lock();
  if (!l.serve_waiting() || r < 0) raise();
}

void run(Loop &l, int ms) {
  Polling p(l, true);
  if (!p.ok()) raise();
  if (!l.run(ms)) raise();
}

void stop(Loop &l) {
  l.stop.store(true);
  if (!l.closed) mg_wakeq_poke(l.wakeq);
}

// Stop accepting, close what is idle; the number of connections that still have something to finish. Loop thread.
size_t drain(Loop &l) {
  size_t busy = 0;
  for (mg_connection *c = l.mgr.conns; c; c = c->next) {
    if (c->is_dead || c->is_closing) continue;
    if (c->is_listening) {
      c->is_closing = 1;
      mg_touch(c);
      continue;
    }
    if (c->is_websocket && !c->is_draining) {  // RFC 6455 7.4.1: going away; the close handshake has its own time-out
      mg_ws_close(c, 1001, Str{});
      busy++;
      continue;
    }
    auto *conn = static_cast<Conn *>(c->owner);
    bool waits = (c->is_client && c->proto && (c->is_connecting || c->is_resolving || c->is_tls_hs)) || mg_unsent(c) > 0 || (conn && conn->jobs) || (c->proto && mg_http_busy(c)) || (c->proto && c->recv.len > 0);
    if (waits) {
      busy++;
    } else if (!c->is_draining) {
      c->is_draining = 1;
      mg_touch(c);
    }
  }
  return busy;
}

void close(Loop &l) {
  if (l.polling.load()) throw std::runtime_error("close() while poll() is active: use stop(), or close from the thread that polls");
  l.close();
  if (l.reraise()) raise();
}

bool wakeup(Loop &l, unsigned long id, py::object data) {
  Bytes b;
  if (!b.init(data.ptr(), "data")) raise();
  if (l.closed || l.closing) return false;  // closing: the queue is not the core's any more
  bool ok = mg_wakeup(&l.mgr, id, b.data(), b.size());
  if (!ok) l.posted_refused++;
  return ok;
}

void call(Loop &l, py::args args) {
  if (args.empty() || !PyCallable_Check(args[0].ptr())) throw py::type_error("call(fn, *args) wants a callable first");
  auto hold = std::make_shared<Ref>(Ref::borrow(args.ptr()));
  Loop *loop = &l;
  if (!l.post(
          [hold, loop] {
            PyObject *a = hold->get();
            Ref rest(PyTuple_GetSlice(a, 1, PyTuple_GET_SIZE(a)));
            Ref r(rest ? PyObject_CallObject(PyTuple_GET_ITEM(a, 0), rest.get()) : nullptr);
            if (!r) loop->failed(nullptr, MG_EV_WAKEUP);
          },
          128)) {
    raise();
  }
}

py::object timer_add(Loop &l, double ms, py::object callback, bool repeat, bool run_now) {
  if (!PyCallable_Check(callback.ptr())) throw py::type_error("callback must be callable");
  if (!(ms >= 0) || ms > 1e15) throw py::value_error("ms must be >= 0");
  return on_loop(l, [&]() -> py::object {
    if (!may_open(l)) return {};
    return py::reinterpret_steal<py::object>(
        reinterpret_cast<PyObject *>(timer_start(&l, static_cast<uint64_t>(ms), repeat, run_now, callback.ptr())));
  });
}

py::dict stats(Loop &l) {
  const mg_stats &s = l.closed ? l.last_stats : l.mgr.stats;
  py::dict d;
  d["connections"] = mg_counted(&s.connections);
  d["accepted"] = mg_counted(&s.accepted);
  d["requests"] = mg_counted(&s.requests);
  d["responses_4xx"] = mg_counted(&s.responses_4xx);
  d["responses_5xx"] = mg_counted(&s.responses_5xx);
  d["bytes_in"] = mg_counted(&s.bytes_in);
  d["bytes_out"] = mg_counted(&s.bytes_out);
  d["errors"] = mg_counted(&s.errors);
  d["timeouts"] = mg_counted(&s.timeouts);
  d["refused"] = mg_counted(&s.refused);
  d["proxy_errors"] = mg_counted(&s.proxy_errors);
  d["accept_pauses"] = mg_counted(&s.accept_pauses);
  d["handler_errors"] = l.handler_errors;
  d["slow_handlers"] = l.slow_handlers;
  d["wakeups"] = mg_counted(&s.wakeups);
  d["wakeups_refused"] = l.posted_refused.load();
  d["queue_messages"] = l.closed ? 0 : mg_wakeq_count(l.wakeq);
  d["queue_bytes"] = l.closed ? 0 : mg_wakeq_bytes(l.wakeq);
  d["ws_messages_in"] = mg_counted(&s.ws_in);
  d["ws_messages_out"] = mg_counted(&s.ws_out);
  d["ws_dropped"] = mg_counted(&s.ws_dropped);
  d["turns"] = mg_counted(&s.turns);
  d["busy_seconds"] = static_cast<double>(mg_counted(&l.busy_ns)) / 1e9;
  d["lock_wait_seconds"] = static_cast<double>(l.lock_wait_ns) / 1e9;
  d["lock_takes"] = l.lock_takes;
  return d;
}

void set_pool(Loop &l, py::object pool) {
  l.core = pool_core_of(pool.ptr());
  Py_XSETREF(l.pool, pool.is_none() ? nullptr : pool.inc_ref().ptr());
  if (l.core) mg_wakeup_init(&l.mgr);
}

void set_slow(Loop &l, double seconds, py::object on_slow) {
  if (l.closed) throw std::runtime_error("manager is closed");
  l.slow_ns = static_cast<uint64_t>(seconds * 1e9);
  Py_XSETREF(l.on_slow, callable(on_slow, "on_slow"));
}

py::tuple running(Loop &l) {  // for the watchdog: thread, seconds in the handler, which call it is
  uint64_t since = l.handler_since.load(), now = mg_nanos();
  return py::make_tuple(l.owner.load(), since ? static_cast<double>(now - since) / 1e9 : 0.0, l.handler_serial.load());
}

int traverse(PyObject *self, visitproc visit, void *arg) {
  Py_VISIT(Py_TYPE(self));
  if (!py::detail::is_holder_constructed(self)) return 0;
  return py::cast<Manager &>(py::handle(self)).loop->traverse(visit, arg);
}

int clear(PyObject *self) {
  if (!py::detail::is_holder_constructed(self)) return 0;
  Loop &l = *py::cast<Manager &>(py::handle(self)).loop;
  if (!l.polling.load()) l.close();
  return 0;
}

// Before anything of a garbage cycle is taken apart, so that handlers which hear of their MG_EV_CLOSE find all they refer to.
void finalize(PyObject *self) {
  KeepError keep;
  clear(self);
}

}  // namespace

mg_ws_limits ws_limits_of(py::handle o) {
  mg_ws_limits l = mg_limits_default.ws;
  number(o, "max_message", &l.max_message);
  number(o, "max_frame", &l.max_frame);
  number(o, "max_ratio", &l.max_ratio);
  number(o, "ping_interval", &l.ping, 1000);
  number(o, "ping_timeout", &l.pong, 1000);
  number(o, "close_timeout", &l.close_timeout, 1000);
  number(o, "max_backlog", &l.max_backlog);
  std::string slow = py::str(o.attr("slow"));
  if (slow != "close" && slow != "drop") throw py::value_error("WsLimits.slow must be 'close' or 'drop', not '" + slow + "'");
  l.slow = slow == "drop" ? MG_WS_SLOW_DROP : MG_WS_SLOW_CLOSE;
  if (l.max_frame == 0 || l.max_frame > l.max_message) l.max_frame = l.max_message;
  return l;
}

void bind_manager(py::module_ &m) {
  auto gc = py::custom_type_setup([](PyHeapTypeObject *heap) {
    heap->ht_type.tp_flags |= Py_TPFLAGS_HAVE_GC;
    heap->ht_type.tp_traverse = traverse;
    heap->ht_type.tp_clear = clear;
    heap->ht_type.tp_finalize = finalize;
  });
  py::class_<Manager>(m, "ManagerBase", gc)
      .def(py::init<>())
      .def("_init", [](py::object self, py::object h, py::object report, py::object dumps, py::object answer) {
        init(*self.cast<Manager &>().loop, self, h, report, dumps, answer);
      })
      .def("_poll", [](Manager &s, int ms) { poll(*s.loop, ms); })
      .def("_run", [](Manager &s, int ms) { run(*s.loop, ms); })
      .def("_drain", [](Manager &s) { return drain(*s.loop); })
      .def_property_readonly("_polling", [](Manager &s) { return s.loop->polling.load(); })
      .def("stop", [](Manager &s) { stop(*s.loop); }, "Let run() return soon. Any thread, signal handlers too.")
      .def("_close", [](Manager &s) { close(*s.loop); })
      .def("_listen", [](Manager &s, const std::string &url, py::object handler, py::object http, py::object limits, int backlog,
                         bool reuseport, bool ipv6_only, unsigned unix_mode, py::object edge, py::object tls) {
        return listen(*s.loop, url, handler, http, limits, backlog, reuseport, ipv6_only, unix_mode, edge, tls);
      })
      .def("_connect", [](Manager &s, const std::string &url, py::object handler, py::object http, py::object limits, py::object tls) {
        return connect(*s.loop, url, handler, http, limits, tls);
      })
      .def("_ws_connect", [](Manager &s, const std::string &url, py::object handler, py::object protocols, py::object headers,
                             py::object compress, py::object limits, py::object tls) {
        return ws_connect_to(*s.loop, url, handler, protocols, headers, compress, limits, tls);
      })
      .def("_broadcast", [](Manager &s, py::object group, py::object data, py::object op, py::object exclude) {
        PyObject *out = ws_broadcast(s.loop, group.ptr(), data.ptr(), op.is_none() ? nullptr : op.ptr(), exclude.ptr());
        if (!out) raise();
        return py::reinterpret_steal<py::object>(out);
      })
      .def("_members", [](Manager &s, py::object group) {
        PyObject *out = ws_members(s.loop, group.ptr());
        if (!out) raise();
        return py::reinterpret_steal<py::object>(out);
      })
      .def("_wrap_fd", [](Manager &s, int fd, py::object handler) { return wrap_fd(*s.loop, fd, handler); })
      .def("_enable_wakeup", [](Manager &s, size_t max_bytes) { mg_wakeup_init_n(&s.loop->mgr, max_bytes); })
      .def("_set_pool", [](Manager &s, py::object pool) { set_pool(*s.loop, pool); })
      .def("_set_slow", [](Manager &s, double seconds, py::object cb) { set_slow(*s.loop, seconds, cb); })
      .def("_deflate_budget", [](Manager &s, size_t bytes) { if (!mg_ws_deflate_budget(&s.loop->mgr, bytes)) throw std::bad_alloc(); })
      .def("_set_events", [](Manager &s, uint64_t events) { s.loop->extra_events = events; })
      .def("_running", [](Manager &s) { return running(*s.loop); })
      .def("_stats", [](Manager &s) { return stats(*s.loop); })
      .def("_timer_add", [](Manager &s, double ms, py::object cb, bool repeat, bool now) { return timer_add(*s.loop, ms, cb, repeat, now); })
      .def("wakeup", [](Manager &s, unsigned long id, py::object data) { return wakeup(*s.loop, id, data); }, py::arg("connection_id"),
           py::arg("data") = py::bytes(""),
           "Send data to a connection's handler as MG_EV_WAKEUP (bytes), in order, whatever its size. Any thread.\n\n"
           "Returns:\n    bool: False for an unknown or closed connection, when wakeups are not enabled, and when the queue is full; the\n"
           "    message is then not delivered. True: it will be, unless the connection closes first.")
      .def("call", [](Manager &s, py::args args) { call(*s.loop, args); },
           "call(fn, *args): run fn(*args) on the loop thread soon. Any thread.\n\nRaises:\n    QueueFull: too much is waiting.")
      .def("fileno", [](Manager &s) { return s.loop->closed ? -1 : mg_mgr_fd(&s.loop->mgr); },
           "int: readable when poll(0) would find something, to live inside another event loop; -1 if the system cannot.\n\n"
           "Call timeout() after each poll(0): only from then on do posts of other threads make it readable.")
      .def("timeout", [](Manager &s) -> py::object {
             bool idle = s.loop->closed || (s.loop->polling.load() && !s.loop->on_thread());  // its timers are the poller's
             int ms = idle ? -1 : mg_mgr_timeout(&s.loop->mgr);
             return ms < 0 ? py::object(py::none()) : py::float_(ms / 1000.0);
           }, "float | None: seconds until poll(0) is due although fileno() is not readable (timers, deadlines). None: nothing is, the manager is closed,\n"
           "or another thread is polling it.")
      .def_property_readonly("wakeup_id", [](Manager &s) { return s.loop->closed || s.loop->mgr.pipe < 0 ? 0 : s.loop->mgr.pipe; },
                             "int: descriptor of the wakeup queue, 0 when wakeups are off.")
      .def_property_readonly("closed", [](Manager &s) { return s.loop->closed.load(); }, "bool")
      .def_property_readonly("connections", [](Manager &s) { return connections(*s.loop); },
                             "tuple[Connection, ...]: all open connections and listeners, a snapshot. Any thread.")
      .def_property("handler",
                    [](Manager &s) -> py::object {
                      return s.loop->handler ? py::reinterpret_borrow<py::object>(s.loop->handler) : py::object(py::none());
                    },
                    [](Manager &s, py::object h) {
                      Ref value(callable(h, "handler"));
                      if (s.loop->closed) throw std::runtime_error("manager is closed");
                      Py_XSETREF(s.loop->handler, value.release());
                    });
}
