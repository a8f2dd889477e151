// loop.cpp - turns of the loop, the lock within them, and how events become Python calls. Who polls, and signals: polling.cpp.
#include "loop.h"

#include <condition_variable>
#include <memory>
#include <mutex>

#include "connection.h"
#include "errors.h"
#include "forms.h"
#include "message.h"
#include "pool.h"
#include "reply.h"
#include "timer.h"
#include "websocket.h"

namespace {

PyObject *small_int(int v) {  // event numbers are interned by Python itself
  return PyLong_FromLong(v);
}

constexpr uint64_t bit(int ev) {
  return uint64_t(1) << ev;
}

}  // namespace

// Everything, but MG_EV_POLL for nobody who did not ask, and MG_EV_READ and MG_EV_WRITE only where there is no protocol above
// the bytes: one Python call for a request, not four.
uint64_t default_events(bool http) {
  uint64_t all = ~uint64_t(0) & ~bit(MG_EV_POLL);
  return http ? all & ~(bit(MG_EV_READ) | bit(MG_EV_WRITE)) : all;
}

// ---- the lock ----

void Loop::unlock() {
#if PYMONGOOSE_NOGIL
  if (!unlocked) unlocked = PyEval_SaveThread();
#endif
}

// The wait is counted from the start of the dispatch, which saves a reading of the clock in every turn; what is too short for
// a wait behind another thread is the dispatch's own work before it came to Python.
void Loop::take_lock() {
  constexpr uint64_t shortest_wait = 50'000;
  relock(unlocked);
  unlocked = nullptr;
  uint64_t t = mg_nanos() - mgr.clock;
  last_lock_wait = t < shortest_wait ? 0 : t;
  lock_wait_ns += last_lock_wait;
  lock_takes++;
}

void Loop::empty_trash() {
  while (!trash.empty()) {
    PyObject *o = trash.back();
    trash.pop_back();
    Py_DECREF(o);  // may run anything, so the vector is not being iterated
  }
}

// ---- turns ----

bool Loop::open() {
  mg_mgr_init(&mgr);
  if (!mgr.wakeq) {
    PyErr_SetString(PyExc_OSError, "no memory or file descriptors for an event loop");
    return false;
  }
  wakeq = mgr.wakeq;
  mgr.sweep_ms = 0;  // flags are set through methods here, which mark the connection
  mgr.ask = 0;
  mgr.userdata = this;
  if (!put_bell_up()) return false;
  closed = false;
  return true;
}

bool Loop::after_turn() {
  if (!trash.empty()) {
    lock();
    empty_trash();
  }
  if (mgr.interrupted) {
    lock();
    heed_signals();
  }
  if (pending_type) {
    lock();
    return !reraise();
  }
  return true;
}

bool Loop::reraise() {
  if (!pending_type) return false;
  PyErr_Restore(std::exchange(pending_type, nullptr), std::exchange(pending_value, nullptr), std::exchange(pending_trace, nullptr));
  return true;
}

// Out with what was said. Records go before the answers: who has one finds it in the log.
void Loop::flush() {
  flush_logs();
  mg_mgr_flush(&mgr);
}

void Loop::flush_logs() {
  for (const auto &log : logs) log->flush();
}

// The lock is held only from the first event for Python to the end of the dispatch.
int Loop::turn(int ms) {
#if !PYMONGOOSE_NOGIL  // the lock stays held while we wait, so do not wait for long, and let others have it once a turn
  if (ms < 0 || ms > 100) ms = 100;
  Py_BEGIN_ALLOW_THREADS;
  Py_END_ALLOW_THREADS;
#endif
  unlock();
  mg_mgr_wait(&mgr, ms);
  uint64_t began = mgr.clock;
  if (mg_wakeq_count(mgr.wakeq) > 0) lock();  // what other threads posted is for Python: take it all in one hold
  mg_mgr_dispatch(&mgr);
  if (!dead_sites.empty()) lock();
  if (locked()) {
    bury_sites();
    pool_kick(this);  // jobs of this turn: one bell for all
    empty_trash();
    if (mgr.interrupted) heed_signals();  // every ring of the wakeup queue looks like one
    unlock();
  }
  flush();
  mg_count(&busy_ns, mgr.clock - began);
  return after_turn() ? 0 : -1;
}

bool Loop::run(int ms) {
  bool ok = true;
  mg_mgr_tick(&mgr);
  while (ok && !stop.load(std::memory_order_relaxed)) ok = turn(ms) == 0;
  lock();
  return serve_waiting() && ok;
}

bool Loop::serve_waiting() {
  bool ok = true;
  while (sync_calls > 0) {
    PyObject *t, *v, *tb;
    PyErr_Fetch(&t, &v, &tb);
    ok = turn(0) == 0 && ok;
    lock();
    if (t) {
      PyErr_Clear();
      PyErr_Restore(t, v, tb);
    }
  }
  return ok;
}

Loop::~Loop() {
  if (wakeq) mg_wakeq_free(wakeq);
}

void Loop::close() {
  if (closed || closing.exchange(true)) return;
  owner.store(PyThread_get_thread_ident(), std::memory_order_relaxed);
  if (mgr.wakeq) {
    while (timers) timer_stop(timers);
    mg_mgr_dispatch(&mgr);  // what was posted, and CLOSE events that are owed
    do {
      flush();
    } while (mgr.line);
    last_stats = mgr.stats;
    mgr.wakeq = nullptr;  // ours from here on: somebody may be posting at this moment
    mg_mgr_free(&mgr);
    last_stats.connections = 0;
    logs.clear();
  }
  take_bell_down();
  closed = true;
  closing = false;
  if (wakeq) mg_wakeq_discard(wakeq);  // whoever waits for a posted call learns that it will not be
  if (spare) Py_DECREF(reinterpret_cast<PyObject *>(std::exchange(spare, nullptr)));
  if (ws_spare) Py_DECREF(reinterpret_cast<PyObject *>(std::exchange(ws_spare, nullptr)));
  dead_sites.clear();
  for (Site *s = sites; s; s = s->next) {
    s->refs = 0;
    dead_sites.push_back(s);
  }
  bury_sites();
  warm.clear();
  core.reset();
  for (PyObject **slot : {&handler, &report, &on_slow, &dumps, &answer, &pool}) {
    if (*slot) drop_later(std::exchange(*slot, nullptr));
  }
  empty_trash();
}

// ---- sites ----

Site *Loop::site_new(PyObject *h, uint64_t events) {
  Site *s = new Site{this, Py_XNewRef(h), events, 1, sites, nullptr};
  if (sites) sites->prev = s;
  sites = s;
  return s;
}

// A connection accepted in this turn's wait refers to its listener's site, but is counted only when its OPEN event comes. So a
// site that nobody refers to goes at the end of the dispatch, if that is still so then.
void Loop::site_drop(Site *s) {
  if (--s->refs > 0 || s->dead) return;
  s->dead = true;
  dead_sites.push_back(s);
}

void Loop::bury_sites() {
  while (!dead_sites.empty()) {
    Site *s = dead_sites.back();
    dead_sites.pop_back();
    s->dead = false;
    if (s->refs > 0) continue;
    (s->prev ? s->prev->next : sites) = s->next;
    if (s->next) s->next->prev = s->prev;
    if (s->handler) drop_later(s->handler);
    delete s;
  }
}

int Loop::traverse(visitproc visit, void *arg) {
  Py_VISIT(handler);
  Py_VISIT(report);
  Py_VISIT(on_slow);
  Py_VISIT(dumps);
  Py_VISIT(answer);
  Py_VISIT(pool);
  for (const auto &log : logs) Py_VISIT(log->queue());
  for (Site *s = sites; s; s = s->next) Py_VISIT(s->handler);
  for (Conn *c = conns; c; c = c->next) {
    Py_VISIT(reinterpret_cast<PyObject *>(c));
    for (Job *j = c->jobs; j; j = j->next) Py_VISIT(reinterpret_cast<PyObject *>(j));
  }
  return timers_traverse(timers, visit, arg);
}

// ---- events ----

// A form that cannot be read is an answer, not a fault of the handler.
bool Loop::refuses() {
  refusal = 0;
  if (!PyErr_ExceptionMatches(form_error_class())) return false;
  PyObject *t, *v, *tb;
  PyErr_Fetch(&t, &v, &tb);
  PyErr_NormalizeException(&t, &v, &tb);
  Ref type(t), value(v), trace(tb), status(PyObject_GetAttrString(v, "status")), text(PyObject_Str(v));
  long code = status ? PyLong_AsLong(status.get()) : -1;
  const char *s = text ? PyUnicode_AsUTF8(text.get()) : nullptr;
  PyErr_Clear();
  refusal = code >= 400 && code <= 499 ? static_cast<int>(code) : 400;
  refusal_text = s ? s : "";
  return true;
}

void Loop::failed(Conn *conn, int ev) {
  if (refuses()) return;
  if (PyErr_ExceptionMatches(PyExc_Exception)) {
    tell(conn, ev);
    return;
  }
  handler_errors++;
  if (pending_type) {  // KeyboardInterrupt, SystemExit: not ours to handle; the first one leaves poll()
    PyErr_Clear();
  } else {
    PyErr_Fetch(&pending_type, &pending_value, &pending_trace);
  }
}

void Loop::tell(Conn *conn, int ev) {
  PyObject *t, *v, *tb;
  handler_errors++;
  PyErr_Fetch(&t, &v, &tb);
  PyErr_NormalizeException(&t, &v, &tb);
  if (tb) PyException_SetTraceback(v, tb);
  Ref type(t), value(v), trace(tb);
  if (report) {
    Ref number(PyLong_FromLong(ev));
    Ref r(PyObject_CallFunctionObjArgs(report, conn ? reinterpret_cast<PyObject *>(conn) : Py_None, number.get(), value.get(), nullptr));
    if (!r) {  // the reporter itself failed: the last resort
      if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        if (!pending_type) PyErr_Fetch(&pending_type, &pending_value, &pending_trace);
        PyErr_Clear();
      } else {
        PyErr_WriteUnraisable(report);
      }
    }
  }
}

bool Loop::call(Conn *conn, int ev, PyObject *data) {
  Site *site = static_cast<Site *>(conn->c->fn_data);
  PyObject *h = conn->handler ? conn->handler : site->handler ? site->handler : handler;
  if (!h || h == Py_None) return true;
  Ref hold = Ref::borrow(h), hold_conn = Ref::borrow(reinterpret_cast<PyObject *>(conn));
  Ref number(small_int(ev));
  PyObject *args[4] = {nullptr, reinterpret_cast<PyObject *>(conn), number.get(), data};
  uint64_t t0 = 0;
  if (MG_UNLIKELY(slow_ns > 0)) {
    t0 = mg_nanos();
    handler_serial.fetch_add(1, std::memory_order_relaxed);
    handler_since.store(t0, std::memory_order_relaxed);
  }
  Ref r(PyObject_Vectorcall(h, args + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
  bool ok = static_cast<bool>(r);
  if (MG_UNLIKELY(!ok)) failed(conn, ev);
  if (MG_UNLIKELY(t0 > 0)) {
    uint64_t dt = mg_nanos() - t0;
    handler_since.store(0, std::memory_order_relaxed);
    if (dt >= slow_ns && on_slow) {
      slow_handlers++;
      Ref s(PyObject_CallFunction(on_slow, "Oiddk", conn, ev, static_cast<double>(dt) / 1e9,
                                  static_cast<double>(last_lock_wait) / 1e9,
                                  static_cast<unsigned long>(handler_serial.load(std::memory_order_relaxed))));
      if (!s) failed(conn, ev);
    }
  }
  return ok;
}

namespace {

void http_event(Loop *loop, mg_connection *c, int ev, void *data) {
  auto *hm = static_cast<mg_http_message *>(data);
  loop->lock();
  Conn *conn = conn_of(loop, c);
  Msg *m = conn ? msg_begin(loop, c, hm) : nullptr;
  if (!m) {
    loop->failed(conn, ev);
    c->is_closing = 1;
    return;
  }
  Ref hold = Ref::borrow(reinterpret_cast<PyObject *>(conn));
  uint64_t before = loop->put_off;
  bool ok = loop->call(conn, ev, reinterpret_cast<PyObject *>(m));
  msg_end(loop, m, c->recv.chunk);
  if (!ok && loop->put_off == before) conn_fail_request(conn);  // put off: the Reply answers, with 500 when nobody has it
}

// The answer to a handshake: of the server, before it is sent, with the message that ws_upgrade() was given; or of the client.
void ws_open(Loop *loop, mg_connection *c, void *data) {
  loop->lock();
  Conn *conn = conn_of(loop, c);
  Msg *given = std::exchange(loop->upgrading, nullptr);
  Msg *m = !conn ? nullptr : given ? given : msg_begin(loop, c, static_cast<mg_http_message *>(data));
  if (!m) {
    loop->failed(conn, MG_EV_WS_OPEN);
    c->is_closing = 1;
    return;
  }
  Ref hold = Ref::borrow(reinterpret_cast<PyObject *>(conn)), hold_m = Ref::borrow(reinterpret_cast<PyObject *>(given));
  bool ok = loop->call(conn, MG_EV_WS_OPEN, reinterpret_cast<PyObject *>(m));
  if (!given) msg_end(loop, m, c->recv.chunk);
  if (!ok && conn->c) mg_ws_close(conn->c, 1011, Str{});
}

void body_less_hdrs(Loop *loop, mg_connection *c, void *data) {
  auto *hm = static_cast<mg_http_message *>(data);
  if (hm->body.len > 0 || c->is_client || !mg_http_body_here(c) || (loop->extra_events & bit(MG_EV_HTTP_HDRS))) {
    http_event(loop, c, MG_EV_HTTP_HDRS, data);
  }
}

void simple_event(Loop *loop, mg_connection *c, int ev, PyObject *data) {  // steals data
  Ref d(data);
  Conn *conn = d ? conn_of(loop, c) : nullptr;
  if (!conn) {
    loop->failed(nullptr, ev);
    return;
  }
  if (!loop->call(conn, ev, d.get()) && c->proto) conn_fail_request(conn);
}

void drained(Loop *loop, mg_connection *c) {
  auto *conn = static_cast<Conn *>(c->owner);
  if (!conn || (!conn->on_drain && !conn->streams)) return;
  loop->lock();
  Ref cb = Ref::borrow(conn->on_drain), hold = Ref::borrow(reinterpret_cast<PyObject *>(conn));
  if (cb) {  // another thread may have taken it away while we waited for the lock
    Ref r(PyObject_CallNoArgs(cb.get()));
    if (!r) loop->failed(conn, MG_EV_WRITE);
  }
  conn_streams_drained(conn);
}

}  // namespace

void Loop::on_event(mg_connection *c, int ev, void *data) {
  auto *site = static_cast<Site *>(c->fn_data);
  Loop *loop = site->loop;
  bool wanted = ev >= 64 || (site->events >> ev & 1);
  switch (ev) {
    case MG_EV_HTTP_MSG:
      http_event(loop, c, ev, data);
      return;
    case MG_EV_WS_MSG:
    case MG_EV_WS_CTL:
      ws_event(loop, c, ev, data);
      return;
    case MG_EV_WS_OPEN:
      ws_open(loop, c, data);
      return;
    case MG_EV_HTTP_HDRS:
      body_less_hdrs(loop, c, data);
      return;
    case MG_EV_OPEN:
      if (c->is_accepted) site->refs++;
      break;
    case MG_EV_WRITE:
      if (!c->is_choked && !c->is_dead) drained(loop, c);
      break;
    case MG_EV_CLOSE: {
      loop->lock();
      auto *conn = static_cast<Conn *>(c->owner);
      if (wanted && (conn || site->handler || loop->handler)) simple_event(loop, c, ev, Py_NewRef(Py_None));
      if (c->owner) {
        auto *own = static_cast<Conn *>(c->owner);
        conn_body_aborted(own);
        conn_streams_closed(own);
        conn_closed(own);
      }
      loop->site_drop(site);
      c->fn = nullptr;
      c->fn_data = nullptr;
      return;
    }
    default:
      break;
  }
  if (!wanted) return;
  auto *conn = static_cast<Conn *>(c->owner);
  if (!(conn && conn->handler) && !site->handler && !loop->handler) return;  // nobody listens: the lock is not needed
  loop->lock();
  PyObject *d;
  if (ev == MG_EV_ERROR) {
    auto *text = static_cast<const char *>(data);
    d = PyUnicode_DecodeUTF8(text, static_cast<Py_ssize_t>(strlen(text)), "replace");
  } else if (ev == MG_EV_WAKEUP) {
    auto *s = static_cast<Str *>(data);
    d = PyBytes_FromStringAndSize(s->buf, static_cast<Py_ssize_t>(s->len));
  } else if (ev == MG_EV_RESOLVE) {
    d = conn_resolved(data);
  } else {
    d = Py_NewRef(Py_None);
  }
  simple_event(loop, c, ev, d);
}

// ---- from other threads ----

namespace {

struct Posted {
  mg_wake wake;  // first
  Loop *loop;
  std::function<void()> fn;
};

void posted_run(mg_wake *w, void *) {
  reinterpret_cast<Posted *>(w)->loop->lock();
  std::unique_ptr<Posted> p(reinterpret_cast<Posted *>(w));
  p->fn();
  p->fn = nullptr;  // its references, while the lock is held
}

void posted_drop(mg_wake *w) {
  std::unique_ptr<Posted> p(reinterpret_cast<Posted *>(w));  // mg_mgr_free runs with the lock held
}

}  // namespace

bool Loop::post(std::function<void()> fn, size_t bytes) {
  if (closed || closing) {
    PyErr_SetString(PyExc_RuntimeError, "manager is closed");
    return false;
  }
  auto p = std::make_unique<Posted>();
  p->wake = {nullptr, sizeof(Posted) + bytes, posted_run, posted_drop};
  p->loop = this;
  p->fn = std::move(fn);
  if (!mg_wakeq_post(wakeq, &p->wake)) {
    posted_refused++;
    raise_status(MG_EFULL, "the manager's queue of posted work is full");
    return false;
  }
  p.release();
  return true;
}

bool Loop::call_sync(const std::function<bool()> &fn) {
  if (closed || (closing && !on_thread())) {
    PyErr_SetString(PyExc_RuntimeError, "manager is closed");
    return false;
  }
  if (on_thread() || !polling.load()) return fn();
  struct Shared {
    std::mutex mutex;
    std::condition_variable cond;
    bool done = false, ok = false;
    PyObject *t = nullptr, *v = nullptr, *tb = nullptr;
  };
  auto shared = std::make_shared<Shared>();
  struct Finish {  // also when the loop closes before it came to run this
    std::shared_ptr<Shared> s;
    Loop *loop;
    ~Finish() {
      loop->sync_calls--;
      std::lock_guard<std::mutex> g(s->mutex);
      s->done = true;
      s->cond.notify_all();
    }
  };
  sync_calls++;  // keeps the poller from leaving before it came to run this
  std::shared_ptr<Finish> finish(new Finish{shared, this});
  std::function<bool()> copy = fn;
  bool posted = post(
      [shared, finish, copy]() mutable {
        shared->ok = copy();
        if (!shared->ok) PyErr_Fetch(&shared->t, &shared->v, &shared->tb);
        finish.reset();
      },
      0);
  finish.reset();
  if (!posted) return false;
  PyThreadState *state = PyEval_SaveThread();
  {
    std::unique_lock<std::mutex> g(shared->mutex);
    shared->cond.wait(g, [&] { return shared->done; });
  }
  relock(state);
  if (!shared->ok) {
    if (shared->t) {
      PyErr_Restore(shared->t, shared->v, shared->tb);
    } else {
      PyErr_SetString(PyExc_RuntimeError, "manager is closed");
    }
  }
  return shared->ok;
}
