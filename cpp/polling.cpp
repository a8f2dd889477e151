// polling.cpp - one thread polls a loop at a time, and signals of Python reach it there.
#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "loop.h"

namespace {

void empty_pipe(int fd) {
  char buf[64];
  while (read(fd, buf, sizeof(buf)) > 0) {
  }
}

bool main_thread() {
  static unsigned long id = 0;  // of the interpreter's main thread; the same for all
  if (id == 0) {
    KeepError keep;
    Ref threading(PyImport_ImportModule("threading"));
    Ref main(threading ? PyObject_CallMethod(threading.get(), "main_thread", nullptr) : nullptr);
    Ref ident(main ? PyObject_GetAttrString(main.get(), "ident") : nullptr);
    if (ident) id = PyLong_AsUnsignedLong(ident.get());
    PyErr_Clear();
  }
  return id == PyThread_get_thread_ident();
}

// Python's own signal handler writes to this descriptor, which ends a wait at once, also when the signal comes just before it.
// (PySignal_SetWakeupFd is not exported by CPython.) Returns the one before; -2 when it cannot be set: not the main thread.
int set_wakeup_fd(int fd) {
  KeepError keep;
  Ref signal(PyImport_ImportModule("signal"));
  Ref fn(signal ? PyObject_GetAttrString(signal.get(), "set_wakeup_fd") : nullptr);
  Ref args(Py_BuildValue("(i)", fd)), kw(Py_BuildValue("{s:O}", "warn_on_full_buffer", Py_False));
  Ref old(fn && args && kw ? PyObject_Call(fn.get(), args.get(), kw.get()) : nullptr);
  int result = old ? static_cast<int>(PyLong_AsLong(old.get())) : -2;
  bool interrupt = !old && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
  PyErr_Clear();
  if (interrupt) PyErr_SetInterrupt();  // it came while we were in there: let it come again where it is looked for
  return result;
}

Loop *bell_of = nullptr;  // whose descriptor it is that we set last; main thread only

}  // namespace

// Of this thread; a handler may poll another manager.
static thread_local Polling *innermost = nullptr;

bool polls_here() {
  return innermost;
}

void flush_logs_here() {
  for (Polling *p = innermost; p; p = p->outer_) p->loop_.flush_logs();
}

Polling::Polling(Loop &l, bool run) : loop_(l), ok_(false) {
  if (l.closed || l.closing) {
    PyErr_SetString(PyExc_RuntimeError, "manager is closed");
  } else if (l.polling.exchange(true)) {
    PyErr_SetString(PyExc_RuntimeError, "poll() is not reentrant: the manager is being polled already");
  } else {
    ok_ = true;
    outer_ = std::exchange(innermost, this);
    l.owner.store(PyThread_get_thread_ident(), std::memory_order_relaxed);
    if (main_thread() && (run || (bell_of != &l && !l.foreign_bell))) hang_bell(run);
    if (PyErr_CheckSignals() < 0) ok_ = false;  // one that came before the bell was there
    if (!ok_) leave();
  }
}

Polling::~Polling() {
  if (ok_) leave();
}

// Setting the descriptor costs system calls, so a poll() leaves it where it is, for the next one. Where another loop has its own
// there (asyncio), a signal only interrupts the wait of a poll() itself; a run() has it for as long as it runs.
void Polling::hang_bell(bool run) {
  Loop *before = bell_of;
  int old = set_wakeup_fd(loop_.signal_pipe[1]);
  if (old == -2) return;
  bool ours = old == -1 || (before && old == before->signal_pipe[1]);
  if (ours || run) {
    bell_of = &loop_;
    if (!ours) restore_ = old;
  } else {
    set_wakeup_fd(old);
    loop_.foreign_bell = true;
  }
}

void Polling::leave() {
  if (restore_ >= 0) {
    set_wakeup_fd(restore_);
    bell_of = nullptr;
  }
  loop_.polling.store(false);
  innermost = outer_;
}

// Signal handlers of Python run here; what they raise leaves poll().
void Loop::heed_signals() {
  mgr.interrupted = false;
  empty_pipe(signal_pipe[0]);
  if (PyErr_CheckSignals() == 0) return;
  if (pending_type) {
    PyErr_Clear();
  } else {
    PyErr_Fetch(&pending_type, &pending_value, &pending_trace);
  }
}

bool Loop::put_bell_up() {
  if (pipe(signal_pipe) != 0) {
    PyErr_SetFromErrno(PyExc_OSError);
    return false;
  }
  for (int fd : signal_pipe) {
    fcntl(fd, F_SETFL, O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  mgr.poller->watch(mgr.poll_state, signal_pipe[0], 0, MG_POLL_READ | MG_POLL_EDGE, &mgr);
  return true;
}

void Loop::take_bell_down() {
  bool keep_bell = false;
  if (bell_of == this) {
    bell_of = nullptr;
    int old = set_wakeup_fd(-1);
    if (old >= 0 && old != signal_pipe[1]) set_wakeup_fd(old);
    keep_bell = old == -2;  // Python may still write there: better a descriptor left open than somebody else's written to
  }
  if (signal_pipe[0] >= 0) ::close(signal_pipe[0]);
  if (signal_pipe[1] >= 0 && !keep_bell) ::close(signal_pipe[1]);
  signal_pipe[0] = signal_pipe[1] = -1;
}
