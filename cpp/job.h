// job.h - a task that leaves the loop and comes back.
#pragma once
#include <pybind11/pybind11.h>

#include <atomic>
#include <memory>

#include "connection.h"

enum class JobState { queued, running, settling, done, failed, cancelled, expired };  // settling: its outcome is being written

struct PoolCore;

// What is to be done, and whom the result is for. Created by offload() (conn set) and by WorkerPool.submit().
struct Job {
  PyObject_HEAD
  std::atomic<JobState> state;
  std::atomic<bool> watched, told;   // a Future was built on it; it was told the outcome
  PyObject *fn, *args, *kwargs;      // until it ran
  PyObject *result;                  // value, or the exception when failed
  PyObject *then;
  PyObject *foreign;                 // Future of an executor that is not ours
  Conn *conn;                        // held; null: nobody to answer
  unsigned long number;              // exchange, 0: none
  mg_wake wake;                      // carries it home; holds a reference meanwhile
  mg_timer timer;
  bool timing, posted, linked;
  std::shared_ptr<PoolCore> pool;    // whose queue it was put in; null: another executor's
  Job *next, *prev;                  // in conn->jobs
  uint64_t queued_at;                // ns
};

inline PyObject *job_object(Job *j) {
  return reinterpret_cast<PyObject *>(j);
}

inline bool job_move(Job *job, JobState from, JobState to) {  // false: its state is another
  return job->state.compare_exchange_strong(from, to);
}

// Lock held for all of these.
Job *job_new(PyObject *fn, PyObject *args, PyObject *kwargs);
void job_forget_work(Job *job);
void job_settle(Job *job, PyObject *value);           // it ran; steals value, null: an exception is set
bool job_give_up(Job *job);                           // false: it has begun

PyObject *conn_offload(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw);
void jobs_abandon(Conn *conn);    // the client is gone; lock held
void bind_job(pybind11::module_ &m);
