// job.cpp - a task that leaves the loop and comes back: its outcome, and what that answers.
#include "job.h"

#include <cmath>
#include <memory>

#include "args.h"
#include "errors.h"
#include "module.h"
#include "pool.h"
#include "reply.h"

namespace py = pybind11;

namespace {

PyTypeObject *job_base;
PyObject *job_class;  // pymongoose.Job, a Future; set by the package

Job *job_of(PyObject *o) {
  return reinterpret_cast<Job *>(o);
}

void job_home(mg_wake *w, void *);
void job_lost(mg_wake *w);

}  // namespace

Job *job_new(PyObject *fn, PyObject *args, PyObject *kwargs) {
  auto *type = job_class ? reinterpret_cast<PyTypeObject *>(job_class) : job_base;
  auto *job = job_of(type->tp_alloc(type, 0));  // zeroed; __init__ is for the Future in it, which few ever look at
  if (!job) return nullptr;
  new (&job->state) std::atomic<JobState>(JobState::queued);
  new (&job->watched) std::atomic<bool>(false);
  new (&job->told) std::atomic<bool>(false);
  job->fn = Py_NewRef(fn);
  job->args = Py_NewRef(args);
  job->kwargs = Py_XNewRef(kwargs);
  new (&job->pool) std::shared_ptr<PoolCore>();
  job->wake = {nullptr, 0, job_home, job_lost};  // no bytes: a result that was accepted as a job is never refused
  return job;
}

namespace {

// The Future learns what became of the job. Lock held.
void tell(Job *job) {
  if (!job->watched.load() || job->told.exchange(true)) return;
  KeepError keep;
  Ref r(PyObject_CallMethod(job_object(job), "_settle", nullptr));
  if (!r) PyErr_WriteUnraisable(job_object(job));
}

}  // namespace

void job_forget_work(Job *job) {
  Py_CLEAR(job->fn);
  Py_CLEAR(job->args);
  Py_CLEAR(job->kwargs);
}

namespace {

void unlink(Job *job) {
  if (!job->linked) return;
  job->linked = false;
  (job->prev ? job->prev->next : job->conn->jobs) = job->next;
  if (job->next) job->next->prev = job->prev;
  job->next = job->prev = nullptr;
  Py_DECREF(job_object(job));
}

void stop_timer(Job *job) {
  if (!job->timing) return;
  job->timing = false;
  mg_timer_free(&job->conn->loop->mgr.timers, &job->timer);
}

// Home to the loop, from any thread. Lock held, which is what keeps the loop alive.
void post_home(Job *job) {
  if (!job->conn || job->conn->loop->closed || job->posted) return;
  job->posted = true;
  Py_INCREF(job_object(job));
  if (!mg_wakeq_post(job->conn->loop->wakeq, &job->wake)) Py_DECREF(job_object(job));  // it counts no bytes, so it is not refused
}

// An exception is set: it is the job's outcome.
void take_exception(Job *job) {
  PyObject *t, *v, *tb;
  PyErr_Fetch(&t, &v, &tb);
  PyErr_NormalizeException(&t, &v, &tb);
  if (tb) PyException_SetTraceback(v, tb);
  Py_XDECREF(t);
  Py_XDECREF(tb);
  Py_XSETREF(job->result, v);
}

}  // namespace

void job_settle(Job *job, PyObject *value) {  // steals value; null: an exception is set
  if (!job_move(job, JobState::running, JobState::settling)) {  // cancelled or out of time meanwhile
    if (!value) PyErr_Clear();
    Py_XDECREF(value);
    return;
  }
  if (value) {
    job->result = value;
  } else {
    take_exception(job);
  }
  job->state.store(value ? JobState::done : JobState::failed);
  tell(job);
  post_home(job);
}

namespace {

// ---- answers, on the loop thread ----

class Aim {
 public:
  Aim(Conn *conn, unsigned long number) : conn_(conn), ok_(!number || mg_http_aim(conn->c, number)), aimed_(number && ok_) {}
  ~Aim() {
    if (aimed_ && conn_->c) mg_http_unaim(conn_->c);
  }
  explicit operator bool() const { return ok_; }

 private:
  Conn *conn_;
  bool ok_, aimed_;
};

void answer_error(Job *job, int status, const char *text, const char *headers) {
  Conn *conn = job->conn;
  if (!conn->c || !job->number) return;
  Aim aim(conn, job->number);
  if (!aim) return;
  if (!mg_http_reply_n(conn->c, status, mg_str_n(headers, strlen(headers)), mg_str_n(text, strlen(text)))) conn_fail_request(conn);
}

void answer_value(Job *job) {
  Conn *conn = job->conn;
  Loop *loop = conn->loop;
  PyObject *v = job->result;
  Ref r;
  if (!job->number) {  // no request: what comes back is sent as it is
    if (v != Py_None) r = Ref(PyObject_CallMethod(reinterpret_cast<PyObject *>(conn), "send", "O", v));
  } else if (v == Py_None) {
    r = Ref(conn_reply_to(conn, job->number, 204, nullptr, nullptr, nullptr));
  } else if (PyBytes_Check(v) || PyUnicode_Check(v) || PyByteArray_Check(v) || PyMemoryView_Check(v)) {
    r = Ref(conn_reply_to(conn, job->number, 200, v, nullptr, nullptr));
  } else {
    Aim aim(conn, job->number);
    if (!aim) return;
    r = Ref(PyObject_CallFunctionObjArgs(loop->answer, reinterpret_cast<PyObject *>(conn), v, nullptr));
    if (!r) {
      loop->failed(conn, MG_EV_WAKEUP);
      conn_fail_request(conn);
    }
    return;
  }
  if (!r && PyErr_Occurred()) {
    loop->failed(conn, MG_EV_WAKEUP);
    if (!conn->c) return;
    Aim aim(conn, job->number);
    if (aim && job->number) conn_fail_request(conn);
  }
}

void answer_then(Job *job) {
  Conn *conn = job->conn;
  Loop *loop = conn->loop;
  Aim aim(conn, job->number);
  if (!aim) return;
  uint64_t before = loop->put_off;
  Ref r(PyObject_CallFunctionObjArgs(job->then, reinterpret_cast<PyObject *>(conn), job->result, nullptr));
  if (!r) loop->failed(conn, MG_EV_WAKEUP);
  if (!job->number || !conn->c || loop->put_off != before) return;
  if (!r) {
    conn_fail_request(conn);
  } else if (mg_http_unanswered(conn->c)) {
    PyErr_SetString(PyExc_RuntimeError, "the callback given as then= returned without an answer");
    loop->failed(conn, MG_EV_WAKEUP);
    conn_fail_request(conn);
  }
}

void arrived(Job *job) {
  Conn *conn = job->conn;
  if (!conn->c || !job->linked) return;  // the client is gone, or the job was answered as out of time
  Ref hold = Ref::borrow(job_object(job)), hold_conn = Ref::borrow(reinterpret_cast<PyObject *>(conn));
  stop_timer(job);
  unlink(job);
  JobState state = job->state.load();
  if (state == JobState::failed) {
    auto *kind = reinterpret_cast<PyObject *>(Py_TYPE(job->result));
    PyObject *full = error_class(MG_EFULL);  // looked up before an exception is set: a look-up may clear it
    if (full && PyErr_GivenExceptionMatches(kind, full)) {
      answer_error(job, 503, "busy", "Content-Type: text/plain\r\nRetry-After: 1\r\n");
    } else {
      PyErr_SetObject(kind, job->result);
      conn->loop->tell(conn, MG_EV_WAKEUP);  // a worker's sys.exit() is not to stop the server
      answer_error(job, 500, "Internal Server Error", "Content-Type: text/plain\r\n");
    }
  } else if (state == JobState::cancelled) {
    answer_error(job, 503, "cancelled", "Content-Type: text/plain\r\nRetry-After: 1\r\n");
  } else if (job->then) {
    answer_then(job);
  } else {
    answer_value(job);
  }
  if (conn->c) mg_touch(conn->c);
}

void job_home(mg_wake *w, void *ctx) {
  auto *job = reinterpret_cast<Job *>(reinterpret_cast<char *>(w) - offsetof(Job, wake));
  auto *loop = static_cast<Loop *>(static_cast<mg_mgr *>(ctx)->userdata);
  loop->lock();
  arrived(job);
  Py_DECREF(job_object(job));
}

void job_lost(mg_wake *w) {
  Py_DECREF(job_object(reinterpret_cast<Job *>(reinterpret_cast<char *>(w) - offsetof(Job, wake))));
}

void out_of_time(void *arg) {
  auto *job = static_cast<Job *>(arg);
  Conn *conn = job->conn;
  Loop *loop = conn->loop;
  loop->lock();
  Ref hold = Ref::borrow(job_object(job)), hold_conn = Ref::borrow(reinterpret_cast<PyObject *>(conn));
  stop_timer(job);
  bool queued = job_move(job, JobState::queued, JobState::settling);
  if (!queued && !job_move(job, JobState::running, JobState::settling)) return;
  if (queued && job->pool) job->pool->gone(false, true);  // before anything that lets other threads run
  raise_status(MG_ETIMEDOUT, "the job took longer than its timeout", conn->id);
  take_exception(job);
  job->state.store(JobState::expired);
  if (queued) job_forget_work(job);
  tell(job);
  if (job->foreign) {
    Ref r(PyObject_CallMethod(job->foreign, "cancel", nullptr));
    if (!r) PyErr_Clear();
  }
  unlink(job);
  if (job->number) {
    answer_error(job, 504, "Gateway Timeout", "Content-Type: text/plain\r\n");
  } else {
    PyErr_SetObject(reinterpret_cast<PyObject *>(Py_TYPE(job->result)), job->result);
    loop->failed(conn, MG_EV_WAKEUP);
  }
  if (conn->c) mg_touch(conn->c);
}

}  // namespace

bool job_give_up(Job *job) {
  if (!job_move(job, JobState::queued, JobState::cancelled)) return false;
  if (job->pool) job->pool->gone(true, true);
  job_forget_work(job);
  tell(job);
  post_home(job);
  return true;
}

namespace {

// ---- another executor ----

PyObject *foreign_done(PyObject *self, PyObject *future) {
  Job *job = job_of(self);
  Ref cancelled(PyObject_CallMethod(future, "cancelled", nullptr));
  if (cancelled && PyObject_IsTrue(cancelled.get()) == 1) {
    job_give_up(job);
    Py_RETURN_NONE;
  }
  PyErr_Clear();
  if (!job_move(job, JobState::queued, JobState::running)) Py_RETURN_NONE;
  job_forget_work(job);
  job_settle(job, PyObject_CallMethod(future, "result", nullptr));
  Py_RETURN_NONE;
}

PyMethodDef foreign_done_def = {"_foreign_done", foreign_done, METH_O, nullptr};

bool submit_foreign(Job *job, PyObject *executor) {
  Ref submit(PyObject_GetAttrString(executor, "submit"));
  Py_ssize_t n = PyTuple_GET_SIZE(job->args);
  Ref args(PyTuple_New(n + 1)), done(PyCFunction_New(&foreign_done_def, job_object(job)));
  if (!submit || !args || !done) return false;
  PyTuple_SET_ITEM(args.get(), 0, Py_NewRef(job->fn));
  for (Py_ssize_t i = 0; i < n; i++) PyTuple_SET_ITEM(args.get(), i + 1, Py_NewRef(PyTuple_GET_ITEM(job->args, i)));
  job->foreign = PyObject_CallObject(submit.get(), args.get());
  if (!job->foreign) return false;
  Ref r(PyObject_CallMethod(job->foreign, "add_done_callback", "O", done.get()));
  return static_cast<bool>(r);
}

// ---- the Job type ----

PyObject *job_cancel(PyObject *self, PyObject *) {
  Job *job = job_of(self);
  if (job->foreign) {
    Ref r(PyObject_CallMethod(job->foreign, "cancel", nullptr));
    if (!r) return nullptr;
    if (!PyObject_IsTrue(r.get())) Py_RETURN_FALSE;
  }
  return PyBool_FromLong(job_give_up(job) || job->state.load() == JobState::cancelled);
}

PyObject *job_state(PyObject *self, void *) {
  static const char *const names[] = {"queued", "running", "running", "done", "failed", "cancelled", "expired"};
  return PyUnicode_FromString(names[static_cast<int>(job_of(self)->state.load())]);
}

PyObject *job_outcome(PyObject *self, void *) {
  return Py_NewRef(job_of(self)->result ? job_of(self)->result : Py_None);
}

// From here on the Future half is told; true when it has to be told at once.
PyObject *job_watch(PyObject *self, PyObject *) {
  Job *job = job_of(self);
  job->watched.store(true);
  JobState s = job->state.load();
  if (s == JobState::queued) {
    if (job->pool) job->pool->ring();  // somebody may wait for it before this turn is over
  } else if (s != JobState::running && s != JobState::settling) {
    tell(job);
  }
  Py_RETURN_NONE;
}

int job_traverse(PyObject *self, visitproc visit, void *arg) {
  Job *job = job_of(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(job->fn);
  Py_VISIT(job->args);
  Py_VISIT(job->kwargs);
  Py_VISIT(job->result);
  Py_VISIT(job->then);
  Py_VISIT(job->foreign);
  Py_VISIT(reinterpret_cast<PyObject *>(job->conn));
  return 0;
}

int job_clear(PyObject *self) {
  Job *job = job_of(self);
  job_forget_work(job);
  Py_CLEAR(job->result);
  Py_CLEAR(job->then);
  Py_CLEAR(job->foreign);
  if (!job->linked) {
    auto *conn = reinterpret_cast<PyObject *>(job->conn);
    job->conn = nullptr;
    Py_XDECREF(conn);
  }
  return 0;
}

void job_dealloc(PyObject *self) {
  PyTypeObject *type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  job_clear(self);
  job_of(self)->pool.~shared_ptr();
  type->tp_free(self);
  Py_DECREF(type);
}

PyMethodDef job_methods[] = {
    {"cancel", job_cancel, METH_NOARGS,
     "cancel($self)\n--\n\nbool: the job had not begun and will not; its request is answered with 503. False when it runs or is over. Any thread."},
    {"_watch", job_watch, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef job_getset[] = {
    {"state", job_state, nullptr, "str: 'queued', 'running', 'done', 'failed', 'cancelled' or 'expired'.", nullptr},
    {"_outcome", job_outcome, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyType_Slot job_slots[] = {
    {Py_tp_methods, job_methods},
    {Py_tp_getset, job_getset},
    {Py_tp_traverse, reinterpret_cast<void *>(job_traverse)},
    {Py_tp_clear, reinterpret_cast<void *>(job_clear)},
    {Py_tp_dealloc, reinterpret_cast<void *>(job_dealloc)},
    {0, nullptr},
};
PyType_Spec job_spec = {"pymongoose._core.JobBase", sizeof(Job), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, job_slots};

}  // namespace

void jobs_abandon(Conn *conn) {
  while (conn->jobs) {
    Job *job = conn->jobs;
    Ref hold = Ref::borrow(job_object(job));
    stop_timer(job);
    unlink(job);
    bool was_queued = job_move(job, JobState::queued, JobState::cancelled);
    if (was_queued || job_move(job, JobState::running, JobState::cancelled)) {
      if (job->pool) job->pool->gone(true, was_queued);  // before anything that lets other threads run
      if (was_queued) job_forget_work(job);
      tell(job);
      if (job->foreign) {
        Ref r(PyObject_CallMethod(job->foreign, "cancel", nullptr));
        if (!r) PyErr_Clear();
      }
    }
  }
}

PyObject *conn_offload(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  PyObject *then = nullptr, *timeout = nullptr;
  for (Py_ssize_t i = 0; kw && i < PyTuple_GET_SIZE(kw); i++) {
    PyObject *name = PyTuple_GET_ITEM(kw, i);
    if (PyUnicode_CompareWithASCIIString(name, "then") == 0) {
      then = args[n + i];
    } else if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0) {
      timeout = args[n + i];
    } else {
      return PyErr_Format(PyExc_TypeError, "offload() got an unexpected keyword argument %R", name);
    }
  }
  if (n < 1 || !PyCallable_Check(args[0])) return PyErr_Format(PyExc_TypeError, "offload() wants a callable first");
  if (then && then != Py_None && !PyCallable_Check(then)) return PyErr_Format(PyExc_TypeError, "then must be callable, not %.200s", Py_TYPE(then)->tp_name);
  if (!conn->c) return raise_closed();
  Loop *loop = conn->loop;
  if (!loop->pool) {
    return PyErr_Format(PyExc_RuntimeError, "the manager has no pool: make it with Manager(handler, workers=N) or pool=");
  }
  if (!loop->on_thread()) return raise_status(MG_ESTATE, "offload() belongs to the loop thread; elsewhere use the pool itself", conn->id);
  double seconds = 0;
  if (timeout && timeout != Py_None) {
    seconds = PyFloat_AsDouble(timeout);
    if (PyErr_Occurred()) return nullptr;
    if (!(seconds > 0) || seconds > 1e9) return PyErr_Format(PyExc_ValueError, "timeout must be seconds > 0, not %R", timeout);
  }
  Ref tuple(PyTuple_New(n - 1));
  if (!tuple) return nullptr;
  for (Py_ssize_t i = 1; i < n; i++) PyTuple_SET_ITEM(tuple.get(), i - 1, Py_NewRef(args[i]));
  Job *job = job_new(args[0], tuple.get(), nullptr);
  if (!job) return nullptr;
  Ref hold(job_object(job));
  job->conn = reinterpret_cast<Conn *>(Py_NewRef(reinterpret_cast<PyObject *>(conn)));
  if (then && then != Py_None) job->then = Py_NewRef(then);
  if (conn->c->proto) {
    job->number = mg_http_defer(conn->c);
    if (!job->number && !mg_http_idle(conn->c)) {
      return raise_status(loop->mgr.status == MG_ENOMEM ? MG_ENOMEM : MG_ESTATE, "the request is answered already", conn->id);
    }
  }
  loop->put_off++;
  Py_INCREF(job_object(job));  // conn->jobs
  job->linked = true;
  job->next = conn->jobs;
  if (job->next) job->next->prev = job;
  conn->jobs = job;
  bool ok = loop->core ? loop->core->offer(job, !loop->polling.load()) : submit_foreign(job, loop->pool);
  if (!ok) {  // the outcome is known at once: 503, or an error as if the job had raised it
    if (PyErr_ExceptionMatches(PyExc_Exception)) {
      job->state.store(JobState::running);
      job_settle(job, nullptr);
    } else {
      job->state.store(JobState::cancelled);
      unlink(job);
      return nullptr;
    }
  } else if (seconds > 0 && conn->c) {
    job->timing = true;
    mg_timer_init(&loop->mgr.timers, &job->timer, static_cast<uint64_t>(std::ceil(seconds * 1000)), MG_TIMER_ONCE, out_of_time, job);
  }
  return hold.release();
}

void bind_job(py::module_ &m) {
  job_base = reinterpret_cast<PyTypeObject *>(PyType_FromModuleAndSpec(m.ptr(), &job_spec, nullptr));
  if (!job_base || PyModule_AddObjectRef(m.ptr(), "JobBase", reinterpret_cast<PyObject *>(job_base)) < 0) throw py::error_already_set();
  m.def("set_job_class", [](py::object cls) { job_class = cls.release().ptr(); });
}
