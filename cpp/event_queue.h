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

namespace events {
struct Record;
}

// One thread's way to put many of them in. They are gathered, and go into the queue as one block, when flush() is called or the block is full:
// neither the queue nor its consumer has anything to do for each of them. Where there is no room for a whole block its records go one by one, so
// that the queue's policy decides about each. Memory comes in large pieces, and a piece is used again when the queue is done with it.
class EventWriter {
 public:
  explicit EventWriter(EventQueue *queue);  // takes over a reference
  ~EventWriter();                           // flushes; lock needed
  EventWriter(const EventWriter &) = delete;
  EventWriter &operator=(const EventWriter &) = delete;
  void write(int level, const char *json, size_t size) noexcept;  // on one thread at a time; what is refused the queue counts
  void flush() noexcept {
    if (lines_) push();
  }
  PyObject *queue() const { return reinterpret_cast<PyObject *>(queue_); }

 private:
  bool begin(size_t size) noexcept;
  bool is_of_parent() const noexcept;
  void push() noexcept;

  EventQueue *queue_;
  EventSlab *slab_ = nullptr;
  size_t used_ = 0;     // bytes of it that are the queue's
  uint32_t made_ = 0;   // records in these
  events::Record *block_ = nullptr;  // behind these, while lines_
  uint32_t lines_ = 0;
  size_t size_ = 0;     // of their text, with a line feed each
  int level_ = 0;
  unsigned life_ = 0;   // of the queue, when the block began
  const size_t most_lines_, most_bytes_;  // of a block, unless a line alone has more
};

// The queue behind an object (an EventQueue, or a Pipeline by its `queue`): a new reference, to be given back by Py_DECREF; null with
// TypeError set. Lock needed.
EventQueue *event_queue_of(PyObject *object);
