// pool.h - the queue that feeds jobs to Python threads.
#pragma once
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

#include "job.h"

enum class Overflow { reject, block, drop_oldest };

// One for each worker thread, on its stack: a bed of its own, so that the last to lie down is the first to get up (warm caches).
struct Bed {
  std::mutex m;
  std::condition_variable cv;
  bool up = false;
};

struct PoolStats {
  uint64_t submitted = 0, completed = 0, failed = 0, rejected = 0, cancelled = 0, dropped = 0, run_ns = 0, wait_ns = 0, wakes = 0;
};

// The queue. Its lock is held for a few instructions and never while Python's is being waited for.
struct PoolCore : std::enable_shared_from_this<PoolCore> {
  std::mutex m;
  std::condition_variable room;  // for Overflow::block
  std::deque<Job *> queue;       // holds references; cancelled ones stay until their turn or the next sweep
  std::vector<Bed *> idle;
  size_t dead = 0;               // of those in the queue: cancelled or out of time
  size_t max_queue = 1024, waking = 0, threads = 0, running = 0;
  uint64_t max_wait_ns = 0;
  Overflow overflow = Overflow::reject;
  bool shut = false;
  PyObject *starter = nullptr;   // starts the threads, once, with the first job
  PoolStats stats;

  ~PoolCore();
  bool offer(Job *job, bool bell);  // lock held; false with QueueFull or RuntimeError set
  void kick();                      // wake a worker if there is work and none is on its way
  void work();                      // body of a worker thread; lock held on entry and exit
  void shutdown(bool cancel);
  void ring();                      // kick(), for a job that somebody waits for
  void gone(bool cancelled, bool queued);  // a job was given up, in the queue or while it ran
  size_t waiting() const { return live(); }  // m held

 private:
  size_t live() const { return queue.size() > dead ? queue.size() - dead : 0; }  // m held
  void sweep(std::unique_lock<std::mutex> &g);         // takes the dead out
  bool make_room(std::unique_lock<std::mutex> &g);
  bool start(std::unique_lock<std::mutex> &g);
};

void pool_kick(Loop *loop);       // jobs given in this turn: one bell for all; lock held
std::shared_ptr<PoolCore> pool_core_of(PyObject *pool);  // null when `pool` is another executor
