// event_record.h - private to event_*.cpp: what is in the queue, and what becomes of it.
#pragma once
#include <Python.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "event_queue.h"
#include "ref.h"

extern "C" {
#include "mongoose/base/ring.h"
#include "mongoose/loop/wakeup.h"
}

class LineBuilder;

namespace events {

enum Kind : uint8_t { kind_event, kind_object, kind_json, kind_lines };

enum Policy : uint8_t { drop_newest, drop_oldest, block, to_spool, policies };

// closed: nothing is taken. asleep: taken, and the first event calls `wake`, which starts the worker (a forked child).
enum State : int { closed, open_, asleep };

enum Reason { queue_full, would_block, too_big, is_closed, reasons };
inline const char *const reason_names[reasons] = {"queue_full", "would_block", "too_big", "closed"};

struct Record {
  Record *next;  // in the graveyard
  Kind kind;
  uint8_t level;
  uint32_t events;      // of lines their number, otherwise 1
  Py_ssize_t n;         // values; of JSON and lines the bytes
  double ts;
  PyObject *message;    // or the object
  union {
    PyObject *names;    // tuple of str; null without fields
    EventSlab *slab;    // of lines: the record is in there
  };
  PyObject *bound;      // dict of fields that were bound where it was emitted; null without any
  PyObject *values[1];  // n, null where the name is not a field (`level`); of JSON and lines the text begins here
};

constexpr size_t head_size = offsetof(Record, values);
constexpr size_t base_bytes = 64;  // what an event counts for, on top of its fields (field_bytes) and their text
constexpr size_t slab_bytes = 128 << 10, slab_spares = 16;
constexpr uint32_t slab_mine = 1 << 30;  // references of the writer: it counts those to its records itself until it is done

}  // namespace events

struct EventSlab {
  std::atomic<uint32_t> refs;
  EventQueue *queue;
  alignas(16) char memory[1];  // slab_bytes
};

struct EventQueue {
  PyObject_HEAD
  mg_ring *ring;
  mg_wakeq *bell;          // its descriptor alone is used
  PyObject *levels;        // {name or number: index}
  PyObject *other_level;   // level -> index, of what is not in there; raises
  PyObject *level_names;   // tuple
  PyObject *clock;         // null: the system's
  PyObject *wake;          // called without arguments when asleep
  PyObject *spill;         // spill(event) -> bool: what did not fit under the policy "spool"
  PyObject *running_loop;  // asyncio's _get_running_loop
  double block_timeout;
  size_t max_items, max_bytes;
  uint8_t policy[event_levels];
  uint8_t lowest;          // level
  std::atomic<int> state;
  std::atomic<unsigned> life;  // another one in each forked child
  std::atomic<EventSlab *> spares[events::slab_spares];
  std::atomic<events::Record *> graveyard;  // Python objects that a thread without the lock took out
  std::atomic<uint64_t> refused[events::reasons], evicted, below;
};

namespace events {

inline EventQueue *self_of(PyObject *o) {
  return reinterpret_cast<EventQueue *>(o);
}

inline const char *text_of(const Record *r) {
  return reinterpret_cast<const char *>(r->values);
}

inline char *text_of(Record *r) {
  return reinterpret_cast<char *>(r->values);
}

inline bool is_native(const Record *r) {
  return r->kind >= kind_json;
}

// The line of an event that is not plain: dumps(event, default), or slow(event) when that raises.
struct Encoder {
  PyObject *dumps, *fallback, *slow;

  Ref line(PyObject *event) const;
};

void slab_drop(EventSlab *slab, uint32_t refs);  // any thread, no lock
EventSlab *slab_take(EventQueue *q);
void bury(Record *r);  // lock held, or a native record
void empty_graveyard(EventQueue *q);  // lock held
PyObject *event_of(EventQueue *q, Record *r);  // not of lines
bool add_lines(LineBuilder &out, EventQueue *q, Record *r, const Encoder &encoder);  // all it has
bool add_events(PyObject *list, EventQueue *q, Record *r);

}  // namespace events
