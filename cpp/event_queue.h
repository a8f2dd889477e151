// event_queue.h - the native end of a pymongoose.sinks.Pipeline: where records go in, from any thread, without Python's lock.
#pragma once
#include <Python.h>

#include <cstddef>

struct EventQueue;

// Levels by number: trace, debug, info, warning, error, critical.
enum { event_levels = 6, level_info = 2 };

// A JSON object (UTF-8, no line end) on its way to the sinks; the bytes are copied. Any thread, Python's lock held or not, never waits, takes no
// lock. False: not taken, and counted with its reason. `level` is clamped to those there are. The caller holds a reference to the queue.
bool event_queue_push_json(EventQueue *queue, int level, const char *json, size_t size) noexcept;

struct EventSlab;

// One thread's way to push many of them: their memory comes in large pieces, and a piece is used again when the queue is done with it. That
// costs less than a block each, which one thread allocates and another one frees.
class EventWriter {
 public:
  explicit EventWriter(EventQueue *queue) : queue_(queue) {}  // takes over a reference
  ~EventWriter();                                             // lock needed
  EventWriter(const EventWriter &) = delete;
  EventWriter &operator=(const EventWriter &) = delete;
  bool push_json(int level, const char *json, size_t size) noexcept;  // as event_queue_push_json, on one thread at a time
  PyObject *queue() const { return reinterpret_cast<PyObject *>(queue_); }

 private:
  EventQueue *queue_;
  EventSlab *slab_ = nullptr;
  size_t used_ = 0;    // bytes of it
  uint32_t made_ = 0;  // records in it
};

// The queue behind an object (an EventQueue, or a Pipeline by its `queue`): a new reference, to be given back by Py_DECREF; null with
// TypeError set. Lock needed.
EventQueue *event_queue_of(PyObject *object);
