// event_push.cpp - into the queue: what happens where there is no room, and the native end, which needs no Python.
#define PY_SSIZE_T_CLEAN
#include "event_push.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

#include "loop.h"

namespace events {

namespace {

bool give(EventQueue *q, Record *r, size_t bytes) {  // any thread, no lock
  mg_ring_fate how = mg_ring_push_many(q->ring, r, r->events, bytes);
  if (how == MG_RING_FULL) {
    if (mg_ring_rouse(q->ring)) mg_wakeq_poke(q->bell);
    return false;
  }
  if (how == MG_RING_WAKE) mg_wakeq_poke(q->bell);
  return true;
}

}  // namespace

Fate refuse(EventQueue *q, Reason why, Reason *told) {
  if (told) {
    *told = why;
  } else {
    q->refused[why].fetch_add(1, std::memory_order_relaxed);
  }
  return refused;
}

namespace {

// Makes room by giving up the oldest. False: nothing could be taken out at this moment.
bool evict(EventQueue *q, bool locked) {
  auto *old = static_cast<Record *>(mg_ring_pop(q->ring));
  if (!old) return false;
  q->evicted.fetch_add(old->events, std::memory_order_relaxed);
  if (locked || is_native(old)) {
    bury(old);
  } else {
    old->next = q->graveyard.load(std::memory_order_relaxed);
    while (!q->graveyard.compare_exchange_weak(old->next, old, std::memory_order_release, std::memory_order_relaxed)) continue;
  }
  return true;
}

Fate push_over(EventQueue *q, Record *r, size_t bytes, bool locked, Reason *told = nullptr) {
  for (int tries = 0; tries < 1000;) {
    if (give(q, r, bytes)) return taken;
    if (!evict(q, locked)) tries++;
  }
  return refuse(q, queue_full, told);
}

// Not on a thread that has others to serve.
bool may_wait(EventQueue *q, bool *may) {
  *may = false;
  if (polls_here()) return true;
  Ref running(PyObject_CallNoArgs(q->running_loop));
  if (!running) return false;
  *may = running.get() == Py_None;
  return true;
}

Fate push_waiting(EventQueue *q, Record *r, size_t bytes, Reason *told) {
  bool may;
  if (!may_wait(q, &may)) return failed;
  if (!may) return refuse(q, would_block, told);
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  double until = static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9 + q->block_timeout, left = q->block_timeout;
  while (left > 0) {
    double slice = left < 0.05 ? left : 0.05;  // signals are looked after meanwhile
    Py_BEGIN_ALLOW_THREADS
    mg_ring_wait(q->ring, bytes, static_cast<unsigned>(std::ceil(slice * 1000)));
    Py_END_ALLOW_THREADS
    if (q->state.load(std::memory_order_relaxed) == closed) return refuse(q, is_closed, told);  // nobody would come for it
    if (give(q, r, bytes)) return taken;
    if (PyErr_CheckSignals() < 0) return failed;
    clock_gettime(CLOCK_MONOTONIC, &t);
    left = until - (static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9);
  }
  return refuse(q, queue_full, told);
}

Fate push_spilling(EventQueue *q, Record *r, Reason *told) {
  if (!q->spill) return refuse(q, queue_full, told);
  Ref event(event_of(q, r));
  Ref ok(event ? PyObject_CallOneArg(q->spill, event.get()) : nullptr);
  if (!ok) return failed;
  int yes = PyObject_IsTrue(ok.get());
  if (yes < 0) return failed;
  bury(r);
  return yes ? taken : refused;  // whoever spills counts
}

}  // namespace

Fate put(EventQueue *q, Record *r, size_t bytes, Reason *told) {
  int state = q->state.load(std::memory_order_relaxed);
  Fate fate;
  if (state == asleep) {
    Ref ok(PyObject_CallNoArgs(q->wake));
    if (!ok) {
      bury(r);
      return failed;
    }
    state = q->state.load(std::memory_order_relaxed);
  }
  if (state == closed) {
    fate = refuse(q, is_closed, told);
  } else if (give(q, r, bytes)) {
    return taken;
  } else if (bytes > q->max_bytes) {
    fate = refuse(q, too_big, told);
  } else {
    switch (q->policy[r->level]) {
      case drop_oldest: fate = push_over(q, r, bytes, true, told); break;
      case block: fate = push_waiting(q, r, bytes, told); break;
      case to_spool:
        fate = push_spilling(q, r, told);
        if (fate != failed && q->spill) return fate;
        break;
      default: fate = refuse(q, queue_full, told);
    }
  }
  if (fate != taken) {
    KeepError keep;
    bury(r);
  }
  return fate;
}

namespace {

PyObject *waker;                 // starts the workers of queues that are asleep
std::atomic<bool> wakes{false};  // it will be called

// A forked child that has had native records only: Python's main thread starts the workers.
int wake_all(void *) {
  wakes = false;
  if (!waker) return 0;
  Ref ok(PyObject_CallNoArgs(waker));
  if (!ok) PyErr_WriteUnraisable(waker);
  return 0;
}

}  // namespace

PyObject *set_waker(PyObject *, PyObject *fn) {
  Py_XSETREF(waker, Py_NewRef(fn));
  Py_RETURN_NONE;
}

namespace {

// Whether a record of such a level and size may be tried to be put in at all.
bool welcome(EventQueue *q, int *level, size_t bytes) {
  *level = *level < 0 ? 0 : *level >= event_levels ? event_levels - 1 : *level;
  if (*level < q->lowest) {
    q->below.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  int state = q->state.load(std::memory_order_relaxed);
  if (state == closed) return refuse(q, is_closed) == taken;
  if (bytes > q->max_bytes) return refuse(q, too_big) == taken;
  if (state == asleep && !wakes.exchange(true) && Py_AddPendingCall(wake_all, nullptr) < 0) wakes = false;
  return true;
}

// False: it is still the caller's.
bool put_json(EventQueue *q, Record *r, int level, size_t bytes) {
  if (give(q, r, bytes)) return true;
  switch (q->policy[level]) {
    case drop_oldest: return push_over(q, r, bytes, false) == taken;
    case block: return refuse(q, would_block) == taken;
    default: return refuse(q, queue_full) == taken;
  }
}

// A block is a small part of what has room in the queue, so that giving it up is giving up little more than needed.
constexpr size_t part = 256, block_events = 64, block_bytes = 16 << 10;

}  // namespace

}  // namespace events

using namespace events;

bool event_queue_push_json(EventQueue *q, int level, const char *json, size_t size) noexcept {
  size_t bytes = base_bytes + size;
  if (!welcome(q, &level, bytes)) return false;
  auto *r = static_cast<Record *>(std::malloc(head_size + (size ? size : 1)));
  if (!r) return refuse(q, queue_full) == taken;
  r->kind = kind_json;
  r->events = 1;
  r->level = static_cast<uint8_t>(level);
  r->n = static_cast<Py_ssize_t>(size);
  memcpy(r->values, json, size);
  if (put_json(q, r, level, bytes)) return true;
  std::free(r);
  return false;
}

EventWriter::EventWriter(EventQueue *queue)
    : queue_(queue),
      most_lines_(std::clamp<size_t>(queue->max_items / part, 1, block_events)),
      most_bytes_(std::min(queue->max_bytes / part, block_bytes)) {}

void EventWriter::write(int level, const char *json, size_t size) noexcept {
  if (!welcome(queue_, &level, base_bytes + size)) return;
  if (is_of_parent()) lines_ = 0;
  if (lines_ && (level != level_ || lines_ == most_lines_ || size_ + size >= most_bytes_)) push();
  if (!lines_ && !begin(size + 1)) {
    (void)event_queue_push_json(queue_, level, json, size);
    return;
  }
  char *end = text_of(block_) + size_;
  memcpy(end, json, size);
  end[size] = '\n';
  size_ += size + 1;
  lines_++;
  level_ = level;
}

// We were forked since the block began, and its lines are told where they were made.
bool EventWriter::is_of_parent() const noexcept {
  return life_ != queue_->life.load(std::memory_order_relaxed);
}

// Memory for a block that has room for this line and others. False: there is none.
bool EventWriter::begin(size_t size) noexcept {
  if (size > block_bytes) return false;
  if (!slab_ || slab_bytes - used_ < head_size + block_bytes) {
    if (slab_) slab_drop(slab_, slab_mine - made_);
    slab_ = slab_take(queue_);
    used_ = made_ = 0;
    if (!slab_) return false;
  }
  block_ = reinterpret_cast<Record *>(slab_->memory + used_);
  size_ = 0;
  life_ = queue_->life.load(std::memory_order_relaxed);
  return true;
}

void EventWriter::push() noexcept {
  uint32_t lines = std::exchange(lines_, 0);
  if (is_of_parent()) return;
  Record *r = block_;
  r->kind = kind_lines;
  r->level = static_cast<uint8_t>(level_);
  r->events = lines;
  r->n = static_cast<Py_ssize_t>(size_);
  r->slab = slab_;
  if (queue_->state.load(std::memory_order_relaxed) != closed && give(queue_, r, size_ + lines * (base_bytes - 1))) {
    used_ += (head_size + size_ + 15) / 16 * 16;
    made_++;
    return;
  }
  for (char *p = text_of(r), *end = p + size_; p < end;) {
    auto *feed = static_cast<char *>(memchr(p, '\n', static_cast<size_t>(end - p)));
    (void)event_queue_push_json(queue_, level_, p, static_cast<size_t>(feed - p));
    p = feed + 1;
  }
}

EventWriter::~EventWriter() {
  flush();
  if (slab_) slab_drop(slab_, slab_mine - made_);
  if (!python_ends.load(std::memory_order_relaxed)) Py_DECREF(queue());
}
