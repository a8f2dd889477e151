// pool.cpp - the pool that runs jobs.
//
// What costs in handing work to threads is waking and switching, not queueing. So a turn's jobs ring one bell; a worker that takes
// a job while more wait calls up one more worker, which then stands by for Python's lock: if the first one blocks, the next goes on at
// once, and if it does not, it works the queue off alone. Results go home through the loop's own lock-free queue, whose
// descriptor is written only when the loop sleeps.
#include "pool.h"

#include <memory>

#include "errors.h"
#include "module.h"

namespace py = pybind11;

namespace {

void run(PoolCore *pool, Job *job) {
  uint64_t now = mg_nanos(), waited = now - job->queued_at;
  {
    std::lock_guard<std::mutex> g(pool->m);
    pool->stats.wait_ns += waited;
  }
  if (pool->max_wait_ns && waited > pool->max_wait_ns) {
    raise_status(MG_EFULL, "the job waited longer than max_wait for a worker");
    job_forget_work(job);
    {
      std::lock_guard<std::mutex> g(pool->m);
      pool->stats.dropped++;
    }
    job_settle(job, nullptr);
    return;
  }
  Ref fn(std::exchange(job->fn, nullptr)), args(std::exchange(job->args, nullptr)), kw(std::exchange(job->kwargs, nullptr));
  PyObject *value = PyObject_Call(fn.get(), args.get(), kw.get());
  uint64_t ran = mg_nanos() - now;
  {
    std::lock_guard<std::mutex> g(pool->m);
    pool->stats.run_ns += ran;
    (value ? pool->stats.completed : pool->stats.failed)++;
  }
  job_settle(job, value);
}

}  // namespace

// ---- the queue ----

PoolCore::~PoolCore() {
  for (Job *j : queue) Py_DECREF(job_object(j));
  Py_XDECREF(starter);
}

bool PoolCore::start(std::unique_lock<std::mutex> &g) {
  Ref fn(std::exchange(starter, nullptr));
  g.unlock();
  Ref r(PyObject_CallNoArgs(fn.get()));
  g.lock();
  if (!r) starter = fn.release();  // no threads, this time
  return static_cast<bool>(r);
}

void PoolCore::sweep(std::unique_lock<std::mutex> &g) {
  std::vector<Job *> swept;
  size_t keep = 0;
  for (Job *j : queue) {
    if (j->state.load() == JobState::queued) {
      queue[keep++] = j;
    } else {
      swept.push_back(j);
    }
  }
  queue.resize(keep);
  dead = 0;
  g.unlock();
  for (Job *j : swept) Py_DECREF(job_object(j));  // may run anything
  g.lock();
}

// The queue is full. False with an exception when it stays so.
bool PoolCore::make_room(std::unique_lock<std::mutex> &g) {
  if (overflow == Overflow::reject) {
    stats.rejected++;
    g.unlock();
    raise_status(MG_EFULL, "the pool's queue is full");
    return false;
  }
  if (overflow == Overflow::block) {
    kick();
    g.unlock();
    PyThreadState *state = PyEval_SaveThread();
    g.lock();
    room.wait_for(g, std::chrono::milliseconds(50), [this] { return shut || live() < max_queue; });
    g.unlock();
    relock(state);
    if (PyErr_CheckSignals() < 0) return false;
    g.lock();
    return true;
  }
  Job *oldest = queue.front();
  queue.pop_front();
  g.unlock();
  if (job_move(oldest, JobState::queued, JobState::running)) {
    {
      std::lock_guard<std::mutex> again(m);
      stats.dropped++;
    }
    job_forget_work(oldest);
    raise_status(MG_EFULL, "dropped for a newer job: the pool's queue is full");
    job_settle(oldest, nullptr);
  } else {
    std::lock_guard<std::mutex> again(m);
    if (dead > 0) dead--;
  }
  Py_DECREF(job_object(oldest));
  g.lock();
  return true;
}

bool PoolCore::offer(Job *job, bool bell) {
  std::unique_lock<std::mutex> g(m);
  if (starter && !shut && !start(g)) return false;
  while (!shut && live() >= max_queue) {
    if (!make_room(g)) return false;
  }
  if (shut) {
    g.unlock();
    PyErr_SetString(PyExc_RuntimeError, "cannot submit work after shutdown");
    return false;
  }
  if (dead > max_queue) sweep(g);
  job->pool = shared_from_this();
  job->queued_at = mg_nanos();
  queue.push_back(reinterpret_cast<Job *>(Py_NewRef(job_object(job))));
  stats.submitted++;
  if (bell) kick();
  return true;
}

void PoolCore::ring() {
  std::lock_guard<std::mutex> g(m);
  kick();
}

void PoolCore::gone(bool cancelled, bool queued) {
  std::lock_guard<std::mutex> g(m);
  if (cancelled) stats.cancelled++;
  if (!queued) return;
  dead++;
  if (overflow == Overflow::block) room.notify_one();
}

void PoolCore::kick() {  // m held
  if (queue.empty() || idle.empty() || waking > 0) return;
  Bed *bed = idle.back();
  idle.pop_back();
  waking++;
  stats.wakes++;
  std::lock_guard<std::mutex> g(bed->m);
  bed->up = true;
  bed->cv.notify_one();
}

void PoolCore::work() {
  Bed bed;
  std::unique_lock<std::mutex> g(m);
  threads++;
  for (;;) {
    Job *job = nullptr;
    if (!queue.empty()) {
      job = queue.front();
      queue.pop_front();
    } else if (shut) {
      break;
    } else {
      idle.push_back(&bed);
      g.unlock();
      PyThreadState *state = PyEval_SaveThread();
      {
        std::unique_lock<std::mutex> b(bed.m);
        bed.cv.wait(b, [&] { return bed.up; });
        bed.up = false;
      }
      relock(state);
      g.lock();
      if (waking > 0) waking--;
      continue;
    }
    bool mine = job_move(job, JobState::queued, JobState::running);
    if (mine) {
      running++;
      if (overflow == Overflow::block) room.notify_one();
    } else if (dead > 0) {
      dead--;
    }
    kick();  // more work: one more worker stands by, should this job block
    g.unlock();
    if (mine) run(this, job);
    Py_DECREF(job_object(job));
    g.lock();
    if (mine) running--;
  }
  threads--;
}

void PoolCore::shutdown(bool cancel_queued) {
  std::vector<Job *> gone;
  {
    std::lock_guard<std::mutex> g(m);
    shut = true;
    if (cancel_queued) {
      gone.assign(queue.begin(), queue.end());
      queue.clear();
      dead = 0;
    }
    room.notify_all();
    for (Bed *bed : idle) {
      std::lock_guard<std::mutex> b(bed->m);
      bed->up = true;
      bed->cv.notify_one();
    }
    idle.clear();
  }
  for (Job *j : gone) {
    if (job_give_up(j)) {
      std::lock_guard<std::mutex> g(m);
      dead--;  // it had left the queue before
    }
    Py_DECREF(job_object(j));
  }
}

void pool_kick(Loop *loop) {
  if (!loop->core) return;
  std::lock_guard<std::mutex> g(loop->core->m);
  loop->core->kick();
}

// ---- pymongoose._core.PoolCore ----

std::shared_ptr<PoolCore> pool_core_of(PyObject *pool) {
  KeepError keep;
  Ref core(pool ? PyObject_GetAttrString(pool, "_core") : nullptr);
  PyErr_Clear();
  if (!core || !py::isinstance<PoolCore>(py::handle(core.get()))) return nullptr;
  return py::handle(core.get()).cast<std::shared_ptr<PoolCore>>();
}

void bind_pool(py::module_ &m) {
  bind_job(m);
  m.def("_python_ends", [] { python_ends.store(true); });
  py::class_<PoolCore, std::shared_ptr<PoolCore>>(m, "PoolCore")
      .def(py::init([](size_t max_queue, const std::string &overflow, double max_wait, py::object starter) {
        auto p = std::make_shared<PoolCore>();
        p->max_queue = max_queue;
        p->max_wait_ns = static_cast<uint64_t>(max_wait * 1e9);
        p->overflow = overflow == "block" ? Overflow::block : overflow == "drop_oldest" ? Overflow::drop_oldest : Overflow::reject;
        p->starter = starter.release().ptr();
        return p;
      }))
      .def("work", &PoolCore::work)
      .def("shutdown", &PoolCore::shutdown)
      .def("submit",
           [](PoolCore &p, py::object fn, py::tuple args, py::dict kwargs) {
             Job *job = job_new(fn.ptr(), args.ptr(), kwargs.empty() ? nullptr : kwargs.ptr());
             if (!job) throw py::error_already_set();
             py::object o = py::reinterpret_steal<py::object>(job_object(job));
             if (!p.offer(job, true)) throw py::error_already_set();
             return o;
           })
      .def("stats", [](PoolCore &p) {
        std::lock_guard<std::mutex> g(p.m);
        py::dict d;
        d["threads"] = p.threads;
        d["idle"] = p.idle.size();
        d["queued"] = p.waiting();
        d["running"] = p.running;
        d["submitted"] = p.stats.submitted;
        d["completed"] = p.stats.completed;
        d["failed"] = p.stats.failed;
        d["rejected"] = p.stats.rejected;
        d["dropped"] = p.stats.dropped;
        d["cancelled"] = p.stats.cancelled;
        d["wakes"] = p.stats.wakes;
        d["run_seconds"] = static_cast<double>(p.stats.run_ns) / 1e9;
        d["wait_seconds"] = static_cast<double>(p.stats.wait_ns) / 1e9;
        return d;
      });
}
