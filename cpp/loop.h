// loop.h - one event loop and all that Python sees of it.
//
// The lock rule. poll() gives Python's lock up before it waits; the first event that concerns Python in a turn takes it (Loop::lock),
// and it is kept until dispatch is over: once per turn with work for Python, never for idle connections. Functions of this file
// say when they need it. Everything else here belongs to the thread that polls.
#pragma once
#include <Python.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "mongoose.h"
}
#include "event_queue.h"
#include "ref.h"
#include "warm.h"

using Str = struct mg_str;  // the name alone is a function, too

struct Conn;
struct Msg;
struct WsMsg;
struct Timer;
struct Job;
struct Loop;
struct PoolCore;

// What a listener shares with its children: which handler, which events. Lock needed.
struct Site {
  Loop *loop;
  PyObject *handler;  // null: the manager's
  uint64_t events;    // bit per MG_EV_…
  unsigned refs;
  Site *next, *prev;  // in loop->sites, for the garbage collector
  bool dead = false;  // in loop->dead_sites
};

struct Loop {
  mg_mgr mgr{};
  PyObject *self = nullptr;           // the Manager that owns us; borrowed
  PyObject *handler = nullptr;        // default handler or null
  PyObject *report = nullptr;         // report(conn, ev, exc): where handler exceptions go
  PyObject *on_slow = nullptr;        // on_slow(conn, ev, seconds, lock_wait, serial)
  PyObject *dumps = nullptr;          // obj -> bytes, for reply_json
  PyObject *answer = nullptr;         // answer(reply, result): offloaded results that are not text
  PyObject *pool = nullptr;           // PoolCore, or any concurrent.futures.Executor
  std::shared_ptr<PoolCore> core;     // of pool, when it is ours
  uint64_t put_off = 0;               // exchanges put off so far
  uint64_t slow_ns = 0;
  uint64_t extra_events = 0;          // asked for on top of the defaults
  Site *sites = nullptr;
  std::vector<Site *> dead_sites;     // without references, until the dispatch is over
  Conn *conns = nullptr;              // every Conn that is open, for the garbage collector
  Timer *timers = nullptr;
  Msg *spare = nullptr;               // one message object, used again and again while nobody keeps it
  WsMsg *ws_spare = nullptr;          // likewise
  Msg *upgrading = nullptr;           // of the request whose ws_upgrade() runs
  std::vector<std::unique_ptr<EventWriter>> logs;  // of access logs: until the connections are gone
  std::vector<PyObject *> trash;      // references to give back when the lock is next held
  WarmBodies warm;                    // large bodies that are sent often
  std::string scratch;                // header lines being built
  std::atomic<unsigned long> owner{0};  // thread that polls or polled last
  std::atomic<bool> polling{false};
  std::atomic<bool> stop{false};      // run() is to return
  std::atomic<bool> closing{false}, closed{true};  // closed until open()
  std::atomic<long> refs{1};          // the Manager's, and one for each Conn: other threads may look at a loop that closed
  mg_wakeq *wakeq = nullptr;          // mgr's, kept until nobody can post any more
  size_t sync_calls = 0;              // of other threads, posted by call_sync and not run yet
  mg_stats last_stats{};              // of a closed loop
  PyThreadState *unlocked = nullptr;  // while the lock is not held by us in poll()
  PyObject *pending_type = nullptr, *pending_value = nullptr, *pending_trace = nullptr;  // leaves poll()
  int signal_pipe[2] = {-1, -1};
  bool foreign_bell = false;          // Python's signal handler writes to another loop's descriptor
  std::atomic<uint64_t> handler_since{0};  // ns, while a timed handler runs
  std::atomic<uint64_t> handler_serial{0};
  // statistics
  uint64_t busy_ns = 0, lock_wait_ns = 0, lock_takes = 0, handler_errors = 0, slow_handlers = 0;
  uint64_t last_lock_wait = 0;
  int refusal = 0;                    // status the last exception of a handler asks for; 0: 500
  std::string refusal_text;
  std::atomic<uint64_t> posted_refused{0};

  ~Loop();
  Loop *hold() {
    refs.fetch_add(1, std::memory_order_relaxed);
    return this;
  }
  void drop() {
    if (refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  // ---- the lock ----
  void lock() {
    if (unlocked) take_lock();
  }
  void unlock();
  bool locked() const { return unlocked == nullptr; }

  // ---- turns; lock held before and after ----
  bool open();                     // false with an exception
  int turn(int ms);                // -1 with an exception set
  void flush();                    // of records of access logs, and of output
  void flush_logs();
  bool run(int ms);                // until stop; false with an exception
  bool serve_waiting();            // before the poller leaves: answer call_sync of other threads; false with an exception
  void close();                    // all connections, with their CLOSE events
  bool on_thread() const {
    unsigned long o = owner.load(std::memory_order_relaxed);
    return o == 0 || o == PyThread_get_thread_ident();
  }

  // ---- events; these take the lock as needed ----
  static void on_event(mg_connection *c, int ev, void *data);
  bool call(Conn *conn, int ev, PyObject *data);  // false: the handler raised, and it is reported
  void failed(Conn *conn, int ev);                // an exception is set: to the reporter, or out of poll(); a FormError is the client's
  void tell(Conn *conn, int ev);                  // an exception is set: to the reporter, whatever it is
  bool reraise();                                 // what leaves poll() is now set; false when there is nothing
  void drop_later(PyObject *o) { trash.push_back(o); }
  void empty_trash();

  // ---- from any thread, lock held ----
  bool post(std::function<void()> fn, size_t bytes);  // false with QueueFull set; fn runs on the loop thread with the lock held
  bool call_sync(const std::function<bool()> &fn);    // run on the loop thread, wait; false with an exception set

  Site *site_new(PyObject *handler, uint64_t events);
  void site_drop(Site *s);
  void bury_sites();
  int traverse(visitproc visit, void *arg);

 private:
  void take_lock();
  bool refuses();
  bool after_turn();
  void heed_signals();
  bool put_bell_up();  // the pipe by which a signal ends a wait; false with OSError
  void take_bell_down();
};

// A loop whose turn is over may not be polled by two threads: guards poll() and run().
class Polling {
 public:
  explicit Polling(Loop &l, bool run = false);
  ~Polling();
  bool ok() const { return ok_; }

 private:
  void hang_bell(bool run);
  void leave();
  friend void flush_logs_here();
  Loop &loop_;
  bool ok_;
  int restore_ = -1;  // the wakeup descriptor of another loop
  Polling *outer_ = nullptr;
};

bool polls_here();       // this thread is inside poll() or run() of some loop
void flush_logs_here();  // of all loops that it polls: whoever looks at their queues, or closes them, finds what was said so far
uint64_t default_events(bool http);
