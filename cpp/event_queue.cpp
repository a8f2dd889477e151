// event_queue.cpp - events on their way from whoever emits them to the one worker of a pipeline.
//
// emit() is all that a caller pays for, so it does what cannot be put off: check the arguments, read the clock, take references to names and
// values (copies of what could change), and push. The dict, or the line, is made by the worker, in drain().
//
//   Record: level, time, message, the tuple of names as the call gave it, one value for each name
//           or the text of a JSON object (event_queue_push_json, EventWriter: no Python, no lock)
//           or any object, handed on as it is (push)
//
// Everything accepted is in the ring (base/ring.h) until it is drained or evicted. Between a claim and its end no Python runs, so a
// signal handler, a destructor or the garbage collector may emit while another emit is under way on the same thread.
#define PY_SSIZE_T_CLEAN
#include "event_queue.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <new>

#include "event_keep.h"
#include "event_lines.h"
#include "event_text.h"
#include "loop.h"
#include "module.h"
#include "ref.h"

extern "C" {
#include "mongoose/base/ring.h"
#include "mongoose/loop/wakeup.h"
}

namespace py = pybind11;

namespace {

enum Kind : uint8_t { kind_event, kind_object, kind_json };

enum Policy : uint8_t { drop_newest, drop_oldest, block, to_spool, policies };

// closed: nothing is taken. asleep: taken, and the first event calls `wake`, which starts the worker (a forked child).
enum State : int { closed, open_, asleep };

enum Reason { queue_full, would_block, too_big, is_closed, reasons };
const char *const reason_names[reasons] = {"queue_full", "would_block", "too_big", "closed"};

struct Record {
  Record *next;  // in the graveyard
  Kind kind;
  uint8_t level;
  Py_ssize_t n;         // values; of JSON the bytes
  double ts;
  PyObject *message;    // or the object
  union {
    PyObject *names;    // tuple of str; null without fields
    EventSlab *slab;    // of JSON: the record is in there; null: it has a block of its own
  };
  PyObject *bound;      // dict of fields that were bound where it was emitted; null without any
  PyObject *values[1];  // n, null where the name is not a field (`level`); of JSON the text begins here
};

constexpr size_t head_size = offsetof(Record, values);
constexpr size_t base_bytes = 64;  // what an event counts for, on top of its fields (field_bytes) and their text
constexpr size_t slab_bytes = 128 << 10, slab_spares = 16;
constexpr uint32_t slab_mine = 1 << 30;  // references of the writer: it counts those to its records itself until it is done

}  // namespace

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
  std::atomic<EventSlab *> spares[slab_spares];
  std::atomic<Record *> graveyard;  // Python objects that a thread without the lock took out
  std::atomic<uint64_t> refused[reasons], evicted, below;
};

namespace {

PyTypeObject *queue_type;
PyObject *s_level, *s_message, *s_ts;
PyObject *bound_fields;          // the context variable of pymongoose.sinks.bind()
PyObject *waker;                 // starts the workers of queues that are asleep
std::atomic<bool> wakes{false};  // it will be called

EventQueue *self_of(PyObject *o) {
  return reinterpret_cast<EventQueue *>(o);
}

const char *text_of(const Record *r) {
  return reinterpret_cast<const char *>(r->values);
}

// Native records come from malloc itself: PyMem_RawMalloc takes Python's lock under tracemalloc.
void slab_drop(EventSlab *slab, uint32_t refs) {  // any thread, no lock
  if (slab->refs.fetch_sub(refs, std::memory_order_acq_rel) != refs) return;
  for (auto &spare : slab->queue->spares) {
    EventSlab *none = nullptr;
    if (!spare.load(std::memory_order_relaxed) && spare.compare_exchange_strong(none, slab, std::memory_order_release, std::memory_order_relaxed)) return;
  }
  std::free(slab);
}

EventSlab *slab_take(EventQueue *q) {
  EventSlab *slab = nullptr;
  for (auto &spare : q->spares) {
    if (!slab && spare.load(std::memory_order_relaxed)) slab = spare.exchange(nullptr, std::memory_order_acquire);
  }
  if (!slab) slab = static_cast<EventSlab *>(std::malloc(offsetof(EventSlab, memory) + slab_bytes));
  if (!slab) return nullptr;
  new (&slab->refs) std::atomic<uint32_t>(slab_mine);
  slab->queue = q;
  return slab;
}

void bury(Record *r) {  // lock held, or a native record
  if (r->kind == kind_json) {
    r->slab ? slab_drop(r->slab, 1) : std::free(r);
    return;
  }
  Py_XDECREF(r->message);
  Py_XDECREF(r->names);
  Py_XDECREF(r->bound);
  if (r->kind == kind_event) {
    for (Py_ssize_t i = 0; i < r->n; i++) Py_XDECREF(r->values[i]);
  }
  PyMem_RawFree(r);
}

void empty_graveyard(EventQueue *q) {  // lock held
  if (!q->graveyard.load(std::memory_order_relaxed)) return;
  Record *r = q->graveyard.exchange(nullptr, std::memory_order_acquire);
  while (r) {
    Record *next = r->next;
    bury(r);
    r = next;
  }
}

// ---- time and level ----

bool now(EventQueue *q, double *ts) {
  if (!q->clock) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    *ts = static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
    return true;
  }
  Ref r(PyObject_CallNoArgs(q->clock));
  if (!r) return false;
  *ts = PyFloat_AsDouble(r.get());
  return *ts != -1.0 || !PyErr_Occurred();
}

// The index of a level given as name or number; -1 with an exception.
int level_of(EventQueue *q, PyObject *given) {
  PyObject *found = PyUnicode_CheckExact(given) || PyLong_CheckExact(given) ? PyDict_GetItemWithError(q->levels, given) : nullptr;
  Ref other;
  if (!found) {
    if (PyErr_Occurred()) return -1;
    other = Ref(PyObject_CallOneArg(q->other_level, given));
    if (!other) return -1;
    found = other.get();
  }
  long n = PyLong_AsLong(found);
  if (n < 0 || n >= event_levels) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "level is out of range");
    return -1;
  }
  return static_cast<int>(n);
}

// ---- out ----

PyObject *event_of(EventQueue *q, Record *r) {
  Ref event;
  if (r->kind == kind_json) return PyBytes_FromStringAndSize(text_of(r), r->n);
  if (r->kind == kind_object) return Py_NewRef(r->message);
  event = Ref(PyDict_New());
  Ref ts(PyFloat_FromDouble(r->ts));
  if (!event || !ts || PyDict_SetItem(event.get(), s_ts, ts.get()) < 0 ||
      PyDict_SetItem(event.get(), s_level, PyTuple_GET_ITEM(q->level_names, r->level)) < 0 ||
      PyDict_SetItem(event.get(), s_message, r->message) < 0) {
    return nullptr;
  }
  for (Py_ssize_t i = 0; i < r->n; i++) {
    if (r->values[i] && PyDict_SetItem(event.get(), PyTuple_GET_ITEM(r->names, i), r->values[i]) < 0) return nullptr;
  }
  if (r->bound && PyDict_Merge(event.get(), r->bound, 0) < 0) return nullptr;  // what the call named wins
  return event.release();
}

// The line of an event that is not plain: dumps(event, default), or slow(event) when that raises.
struct Encoder {
  PyObject *dumps, *fallback, *slow;

  Ref line(PyObject *event) const {
    PyObject *args[] = {event, fallback};
    Ref line(PyObject_Vectorcall(dumps, args, 2, nullptr));
    if (!line) {
      if (!PyErr_ExceptionMatches(PyExc_Exception)) return line;
      PyErr_Clear();
      line = Ref(PyObject_CallOneArg(slow, event));
    }
    if (line && !PyBytes_CheckExact(line.get())) {
      PyErr_Format(PyExc_TypeError, "a line must be bytes, not %.200s", Py_TYPE(line.get())->tp_name);
      line = Ref();
    }
    return line;
  }
};

bool add_line(LineBuilder &out, EventQueue *q, Record *r, const Encoder &encoder) {
  if (r->kind == kind_json) return out.add(text_of(r), static_cast<size_t>(r->n)) && out.end_line();
  if (r->kind == kind_event) {
    EventParts e{r->ts, PyTuple_GET_ITEM(q->level_names, r->level), r->message, r->names, r->values, r->n, r->bound};
    if (write_event(out, e)) return out.end_line();
    if (PyErr_Occurred()) return false;
    out.undo();
  }
  Ref event(event_of(q, r));
  Ref line(event ? encoder.line(event.get()) : Ref());
  return line && out.add(PyBytes_AS_STRING(line.get()), static_cast<size_t>(PyBytes_GET_SIZE(line.get()))) && out.end_line();
}

// ---- in ----

enum Fate { taken, refused, failed };

bool give(EventQueue *q, Record *r, size_t bytes) {  // any thread, no lock
  mg_ring_fate how = mg_ring_push(q->ring, r, bytes);
  if (how == MG_RING_FULL) {
    if (mg_ring_rouse(q->ring)) mg_wakeq_poke(q->bell);
    return false;
  }
  if (how == MG_RING_WAKE) mg_wakeq_poke(q->bell);
  return true;
}

// `told`: whoever asks counts it.
Fate refuse(EventQueue *q, Reason why, Reason *told = nullptr) {
  if (told) {
    *told = why;
  } else {
    q->refused[why].fetch_add(1, std::memory_order_relaxed);
  }
  return refused;
}

// Makes room by giving up the oldest. False: nothing could be taken out at this moment.
bool evict(EventQueue *q, bool locked) {
  auto *old = static_cast<Record *>(mg_ring_pop(q->ring));
  if (!old) return false;
  q->evicted.fetch_add(1, std::memory_order_relaxed);
  if (locked || old->kind == kind_json) {
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

// Lock held. The record is the queue's, or gone, whatever comes out.
Fate put(EventQueue *q, Record *r, size_t bytes, Reason *told = nullptr) {
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

PyObject *said(Fate fate) {
  if (fate == failed) return nullptr;
  return PyBool_FromLong(fate == taken);
}

bool is_name(PyObject *name, PyObject *known, Py_ssize_t length) {
  return name == known || (PyUnicode_GET_LENGTH(name) == length && PyUnicode_Compare(name, known) == 0);
}

// The dict of bind(), which is never changed, only replaced: a new reference, or null when it is empty.
PyObject *bound_here() {
  PyObject *value = nullptr;
  if (PyContextVar_Get(bound_fields, Py_None, &value) < 0) PyErr_Clear();  // of a foreign type it cannot be
  if (value && PyDict_CheckExact(value) && PyDict_GET_SIZE(value) > 0) return value;
  Py_XDECREF(value);
  return nullptr;
}

PyObject *emit(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names) {
  EventQueue *q = self_of(self);
  if (n != 1 || !PyUnicode_Check(args[0])) {
    if (n == 1) return PyErr_Format(PyExc_TypeError, "message must be str, not %.200s", Py_TYPE(args[0])->tp_name);
    return PyErr_Format(PyExc_TypeError, "emit() takes a message and keywords; %zd positional arguments were given", n);
  }
  Py_ssize_t fields = names ? PyTuple_GET_SIZE(names) : 0, at_level = -1;
  int level = level_info;
  for (Py_ssize_t i = 0; i < fields; i++) {
    PyObject *name = PyTuple_GET_ITEM(names, i);
    if (is_name(name, s_level, 5)) {
      at_level = i;
      level = level_of(q, args[1 + i]);
      if (level < 0) return nullptr;
    } else if (is_name(name, s_message, 7)) {
      PyErr_SetString(PyExc_TypeError, "message is given once, as the first argument");
      return nullptr;
    }
  }
  if (level < q->lowest) {
    q->below.fetch_add(1, std::memory_order_relaxed);
    Py_RETURN_FALSE;
  }
  if (q->state.load(std::memory_order_relaxed) == closed) return said(refuse(q, is_closed));
  double ts;
  if (!now(q, &ts)) return nullptr;
  empty_graveyard(q);
  auto *r = static_cast<Record *>(PyMem_RawMalloc(head_size + static_cast<size_t>(fields ? fields : 1) * sizeof(PyObject *)));
  if (!r) return PyErr_NoMemory();
  r->kind = kind_event;
  r->level = static_cast<uint8_t>(level);
  r->ts = ts;
  r->n = 0;
  r->message = Py_NewRef(args[0]);
  r->names = Py_XNewRef(names);
  r->bound = bound_here();
  Keeper keeper;
  keeper.bytes = base_bytes + text_bytes(args[0]) + field_bytes * static_cast<size_t>(fields + (r->bound ? PyDict_GET_SIZE(r->bound) : 0));
  for (; r->n < fields; r->n++) {
    PyObject *kept = nullptr;
    if (r->n != at_level && !(kept = keeper.keep(args[1 + r->n]))) {
      KeepError keep;
      bury(r);
      return nullptr;
    }
    r->values[r->n] = kept;
  }
  return said(put(q, r, keeper.bytes));
}

// push(object, level, bytes): any object, handed on by drain() as it is. A refusal is not counted here, its reason is returned instead.
PyObject *push(PyObject *self, PyObject *args) {
  EventQueue *q = self_of(self);
  PyObject *object, *level;
  Py_ssize_t bytes;
  if (!PyArg_ParseTuple(args, "OOn:push", &object, &level, &bytes)) return nullptr;
  int index = level_of(q, level);
  if (index < 0) return nullptr;
  if (bytes < 0) {
    PyErr_SetString(PyExc_ValueError, "bytes must not be negative");
    return nullptr;
  }
  auto *r = static_cast<Record *>(PyMem_RawCalloc(1, sizeof(Record)));
  if (!r) return PyErr_NoMemory();
  r->kind = kind_object;
  r->level = static_cast<uint8_t>(index);
  r->message = Py_NewRef(object);
  empty_graveyard(q);
  Reason why = reasons;
  Fate fate = put(q, r, base_bytes + static_cast<size_t>(bytes), &why);
  if (fate == failed) return nullptr;
  return PyUnicode_FromString(fate == taken ? "" : why == reasons ? "spool_full" : reason_names[why]);
}

PyObject *push_json(PyObject *self, PyObject *args) {
  EventQueue *q = self_of(self);
  Py_buffer text;
  PyObject *level;
  if (!PyArg_ParseTuple(args, "y*O:push_json", &text, &level)) return nullptr;
  int index = level_of(q, level);
  bool ok = index >= 0 && event_queue_push_json(q, index, static_cast<const char *>(text.buf), static_cast<size_t>(text.len));
  PyBuffer_Release(&text);
  if (index < 0) return nullptr;
  return PyBool_FromLong(ok);
}

// No memory, or a value that raises SystemExit: what could not be made of those that were taken out is lost, and no others.
void lose(EventQueue *q, size_t n) {
  PyErr_WriteUnraisable(reinterpret_cast<PyObject *>(q));
  q->evicted.fetch_add(n, std::memory_order_relaxed);
}

PyObject *drain(PyObject *self, PyObject *arg) {
  EventQueue *q = self_of(self);
  Py_ssize_t n = PyLong_AsSsize_t(arg);
  if (n == -1 && PyErr_Occurred()) return nullptr;
  empty_graveyard(q);
  Ref list(PyList_New(0));
  if (!list) return nullptr;
  while (n-- > 0) {
    auto *r = static_cast<Record *>(mg_ring_pop(q->ring));
    if (!r) break;
    Ref item(event_of(q, r));
    if (!item || PyList_Append(list.get(), item.get()) < 0) lose(q, 1);
    bury(r);
  }
  mg_ring_tell(q->ring);
  return list.release();
}

PyObject *drain_lines(PyObject *self, PyObject *args) {
  EventQueue *q = self_of(self);
  Py_ssize_t n, most;
  Encoder e;
  if (!PyArg_ParseTuple(args, "nnOOO:drain_lines", &n, &most, &e.dumps, &e.fallback, &e.slow)) return nullptr;
  empty_graveyard(q);
  size_t enough = most < 0 ? 0 : static_cast<size_t>(most), queued = mg_ring_bytes(q->ring);
  LineBuilder out;
  if (!out.begin(queued < enough ? queued : enough)) return nullptr;
  while (n-- > 0 && out.bytes() < enough) {
    auto *r = static_cast<Record *>(mg_ring_pop(q->ring));
    if (!r) break;
    if (r->kind != kind_json) n -= 3;
    if (!add_line(out, q, r, e)) {
      out.undo();
      lose(q, 1);
    }
    bury(r);
  }
  mg_ring_tell(q->ring);
  PyObject *lines = out.finish();
  if (!lines) q->evicted.fetch_add(out.lines(), std::memory_order_relaxed);
  return lines;
}

PyObject *encode_lines(PyObject *, PyObject *args) {
  PyObject *events;
  Encoder e;
  if (!PyArg_ParseTuple(args, "O!OOO:encode_lines", &PyList_Type, &events, &e.dumps, &e.fallback, &e.slow)) return nullptr;
  Ref list(PyList_New(0));
  if (!list) return nullptr;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(events); i++) {
    Ref event = Ref::borrow(PyList_GET_ITEM(events, i));
    Ref line = PyBytes_CheckExact(event.get()) ? Ref::borrow(event.get()) : e.line(event.get());
    // An encoder's result may be a small text in a large block (orjson: 4 KiB), which lines that wait for their sink must not keep.
    if (line && line.get() != event.get()) line = Ref(PyBytes_FromStringAndSize(PyBytes_AS_STRING(line.get()), PyBytes_GET_SIZE(line.get())));
    if (!line || PyList_Append(list.get(), line.get()) < 0) return nullptr;
  }
  return list.release();
}

PyObject *arm(PyObject *self, PyObject *) {
  mg_wakeq_clear(self_of(self)->bell);
  return PyBool_FromLong(mg_ring_arm(self_of(self)->ring));
}

PyObject *disarm(PyObject *self, PyObject *) {
  mg_ring_disarm(self_of(self)->ring);
  mg_wakeq_clear(self_of(self)->bell);
  Py_RETURN_NONE;
}

PyObject *doze(PyObject *self, PyObject *) {
  mg_ring_doze(self_of(self)->ring);
  Py_RETURN_NONE;
}

PyObject *ring_bell(PyObject *self, PyObject *) {
  mg_wakeq_poke(self_of(self)->bell);
  Py_RETURN_NONE;
}

PyObject *wait_room(PyObject *self, PyObject *arg) {
  double seconds = PyFloat_AsDouble(arg);
  if (seconds == -1.0 && PyErr_Occurred()) return nullptr;
  bool there;
  Py_BEGIN_ALLOW_THREADS
  there = mg_ring_wait(self_of(self)->ring, 0, static_cast<unsigned>(seconds * 1000));
  Py_END_ALLOW_THREADS
  return PyBool_FromLong(there);
}

PyObject *set_state(PyObject *self, PyObject *arg) {
  int state = -1;
  const char *text = PyUnicode_Check(arg) ? PyUnicode_AsUTF8(arg) : nullptr;
  if (text && !strcmp(text, "open")) state = open_;
  if (text && !strcmp(text, "closed")) state = closed;
  if (text && !strcmp(text, "asleep")) state = asleep;
  if (state < 0) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "state must be open, closed or asleep");
    return nullptr;
  }
  self_of(self)->state.store(state);
  if (state == closed) mg_ring_tell(self_of(self)->ring);
  Py_RETURN_NONE;
}

bool make_ring(EventQueue *q) {
  mg_ring *ring = mg_ring_new(q->max_items, q->max_bytes);
  mg_wakeq *bell = ring ? mg_wakeq_new(0) : nullptr;
  if (!bell) {
    mg_ring_free(ring);
    PyErr_SetString(PyExc_MemoryError, "no memory or file descriptors for an event queue");
    return false;
  }
  q->ring = ring;
  q->bell = bell;
  return true;
}

void drop_all(EventQueue *q) {
  while (auto *r = static_cast<Record *>(mg_ring_pop(q->ring))) bury(r);
  empty_graveyard(q);
}

// In a forked child: what is in the queue is the parent's, and so is the descriptor. Counters start anew.
PyObject *reset(PyObject *self, PyObject *) {
  EventQueue *q = self_of(self);
  mg_ring *ring = q->ring;
  mg_wakeq *bell = q->bell;
  if (!make_ring(q)) return nullptr;
  q->evicted = q->below = 0;
  for (auto &count : q->refused) count = 0;
  mg_ring_abandon(ring, [](void *r) { bury(static_cast<Record *>(r)); });
  empty_graveyard(q);
  mg_wakeq_free(bell);
  Py_RETURN_NONE;
}

PyObject *counters(PyObject *self, PyObject *) {
  EventQueue *q = self_of(self);
  Ref refusals(PyDict_New());
  if (!refusals) return nullptr;
  for (int i = 0; i < reasons; i++) {
    uint64_t n = q->refused[i].load(std::memory_order_relaxed);
    if (!n) continue;
    Ref count(PyLong_FromUnsignedLongLong(n));
    if (!count || PyDict_SetItemString(refusals.get(), reason_names[i], count.get()) < 0) return nullptr;
  }
  uint64_t evicted = q->evicted.load();  // before what was pushed: the difference is then never negative
  return Py_BuildValue("{s:K,s:K,s:K,s:n,s:n,s:O}", "accepted", static_cast<unsigned long long>(mg_ring_pushed(q->ring)), "evicted",
                       static_cast<unsigned long long>(evicted), "below_level", static_cast<unsigned long long>(q->below.load()),
                       "queued", static_cast<Py_ssize_t>(mg_ring_count(q->ring)), "queued_bytes",
                       static_cast<Py_ssize_t>(mg_ring_bytes(q->ring)), "refused", refusals.get());
}

PyObject *file_no(PyObject *self, PyObject *) {
  return PyLong_FromLong(mg_wakeq_fd(self_of(self)->bell));
}

Py_ssize_t length(PyObject *self) {
  return static_cast<Py_ssize_t>(mg_ring_count(self_of(self)->ring));
}

int truth(PyObject *) {
  return 1;
}

bool policies_of(EventQueue *q, PyObject *tuple) {
  if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != event_levels) {
    PyErr_SetString(PyExc_TypeError, "policy must be a tuple of six numbers");
    return false;
  }
  for (int i = 0; i < event_levels; i++) {
    long p = PyLong_AsLong(PyTuple_GET_ITEM(tuple, i));
    if (p < 0 || p >= policies) {
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "policy is out of range");
      return false;
    }
    q->policy[i] = static_cast<uint8_t>(p);
  }
  return true;
}

PyObject *some(PyObject *o) {
  return o && o != Py_None ? Py_NewRef(o) : nullptr;
}

PyObject *make(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  static const char *words[] = {"max_events", "max_bytes", "policy", "levels", "other_level", "level_names", "lowest",
                                "block_timeout", "clock", "wake", "spill", "running_loop", nullptr};
  Py_ssize_t max_events, max_bytes;
  PyObject *policy, *levels, *other_level, *level_names, *clock, *wake, *spill, *running_loop;
  int lowest;
  double block_timeout;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "nnOO!OO!idOOOO:EventQueue", const_cast<char **>(words), &max_events, &max_bytes, &policy,
                                   &PyDict_Type, &levels, &other_level, &PyTuple_Type, &level_names, &lowest, &block_timeout, &clock, &wake,
                                   &spill, &running_loop)) {
    return nullptr;
  }
  if (max_events < 1 || max_bytes < 1 || lowest < 0 || PyTuple_GET_SIZE(level_names) != event_levels) {
    PyErr_SetString(PyExc_ValueError, "max_events and max_bytes must be at least 1, and there are six levels");
    return nullptr;
  }
  Ref self(type->tp_alloc(type, 0));  // zeroed
  if (!self) return nullptr;
  EventQueue *q = self_of(self.get());
  new (&q->state) std::atomic<int>(closed);
  new (&q->graveyard) std::atomic<Record *>(nullptr);
  for (auto &spare : q->spares) new (&spare) std::atomic<EventSlab *>(nullptr);
  q->max_items = static_cast<size_t>(max_events);
  q->max_bytes = static_cast<size_t>(max_bytes);
  q->lowest = static_cast<uint8_t>(lowest);
  q->block_timeout = block_timeout;
  q->levels = Py_NewRef(levels);
  q->other_level = Py_NewRef(other_level);
  q->level_names = Py_NewRef(level_names);
  q->clock = some(clock);
  q->wake = some(wake);
  q->spill = some(spill);
  q->running_loop = Py_NewRef(running_loop);
  if (!policies_of(q, policy) || !make_ring(q)) return nullptr;
  return self.release();
}

// What is in the ring is not visited: other threads push meanwhile, without the lock.
int traverse(PyObject *self, visitproc visit, void *arg) {
  EventQueue *q = self_of(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(q->levels);
  Py_VISIT(q->other_level);
  Py_VISIT(q->level_names);
  Py_VISIT(q->clock);
  Py_VISIT(q->wake);
  Py_VISIT(q->spill);
  Py_VISIT(q->running_loop);
  return 0;
}

// Those that emit() needs stay: a handler may still be called with a queue that is being collected.
int clear(PyObject *self) {
  EventQueue *q = self_of(self);
  q->state.store(closed);
  Py_CLEAR(q->clock);
  Py_CLEAR(q->spill);
  return 0;
}

void dealloc(PyObject *self) {
  EventQueue *q = self_of(self);
  PyObject_GC_UnTrack(self);
  if (q->ring) drop_all(q);
  mg_ring_free(q->ring);
  mg_wakeq_free(q->bell);
  for (auto &spare : q->spares) std::free(spare.load());
  clear(self);
  Py_CLEAR(q->levels);
  Py_CLEAR(q->other_level);
  Py_CLEAR(q->level_names);
  Py_CLEAR(q->wake);
  Py_CLEAR(q->running_loop);
  PyTypeObject *type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject *set_waker(PyObject *, PyObject *fn) {
  Py_XSETREF(waker, Py_NewRef(fn));
  Py_RETURN_NONE;
}

PyMethodDef methods[] = {
    {"emit", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(emit)), METH_FASTCALL | METH_KEYWORDS,
     "emit($self, message, /, *, level='info', **fields)\n--\n\nAccept an event for delivery, or refuse it at once. Any thread."},
    {"push", push, METH_VARARGS, "push($self, item, level, size, /)\n--\n\nAn object that drain() hands on as it is."},
    {"push_json", push_json, METH_VARARGS,
     "push_json($self, text, level, /)\n--\n\nThe text of a JSON object; drain() hands it on as bytes. Never waits."},
    {"drain", drain, METH_O, "drain($self, n, /)\n--\n\nThe oldest events, n at most."},
    {"drain_lines", drain_lines, METH_VARARGS,
     "drain_lines($self, n, enough, dumps, default, slow, /)\n--\n\nThe lines of the oldest events, n at most (one that is not JSON yet counts for "
     "four), and no further ones when they have enough bytes. What is not plain is encoded by dumps(event, default), or slow(event) where that raises."},
    {"encode_lines", encode_lines, METH_VARARGS | METH_STATIC,
     "encode_lines(events, dumps, default, slow, /)\n--\n\nThe lines of a list of events, by the encoders of drain_lines(); bytes stay."},
    {"arm", arm, METH_NOARGS, "arm($self)\n--\n\nAnnounce that the consumer sleeps: the next event rings. False: do not sleep."},
    {"doze", doze, METH_NOARGS, "doze($self)\n--\n\nThe consumer looks again soon: the queue rings only when it is half full."},
    {"disarm", disarm, METH_NOARGS, "disarm($self)\n--\n\nThe consumer is awake."},
    {"ring", ring_bell, METH_NOARGS, "ring($self)\n--\n\nMake the descriptor readable."},
    {"wait_room", wait_room, METH_O, "wait_room($self, seconds, /)\n--\n\nSleep until there is room. False: time is up."},
    {"set_state", set_state, METH_O, "set_state($self, state, /)\n--\n\n'open', 'closed' or 'asleep'."},
    {"reset", reset, METH_NOARGS, "reset($self)\n--\n\nForget everything, in a forked child."},
    {"counters", counters, METH_NOARGS, "counters($self)\n--\n\nWhat was accepted, refused, evicted, and is queued."},
    {"set_waker", set_waker, METH_O | METH_STATIC,
     "set_waker(fn, /)\n--\n\nCalled by the main thread when a queue that is asleep gets a native record."},
    {"fileno", file_no, METH_NOARGS, "fileno($self)\n--\n\nReadable after an event while armed."},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char *>("The bounded queue between emit() and the worker of a pipeline.")},
    {Py_tp_new, reinterpret_cast<void *>(make)},
    {Py_tp_methods, methods},
    {Py_sq_length, reinterpret_cast<void *>(length)},
    {Py_nb_bool, reinterpret_cast<void *>(truth)},
    {Py_tp_traverse, reinterpret_cast<void *>(traverse)},
    {Py_tp_clear, reinterpret_cast<void *>(clear)},
    {Py_tp_dealloc, reinterpret_cast<void *>(dealloc)},
    {0, nullptr},
};
PyType_Spec spec = {"pymongoose._core.EventQueue", sizeof(EventQueue), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};

// A forked child that has had native records only: Python's main thread starts the workers.
int wake_all(void *) {
  wakes = false;
  if (!waker) return 0;
  Ref ok(PyObject_CallNoArgs(waker));
  if (!ok) PyErr_WriteUnraisable(waker);
  return 0;
}

}  // namespace

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
bool put_json(EventQueue *q, Record *r, EventSlab *slab, int level, const char *json, size_t size, size_t bytes) {
  r->kind = kind_json;
  r->level = static_cast<uint8_t>(level);
  r->n = static_cast<Py_ssize_t>(size);
  r->slab = slab;
  memcpy(r->values, json, size);
  if (give(q, r, bytes)) return true;
  switch (q->policy[level]) {
    case drop_oldest: return push_over(q, r, bytes, false) == taken;
    case block: return refuse(q, would_block) == taken;
    default: return refuse(q, queue_full) == taken;
  }
}

}  // namespace

bool event_queue_push_json(EventQueue *q, int level, const char *json, size_t size) noexcept {
  size_t bytes = base_bytes + size;
  if (!welcome(q, &level, bytes)) return false;
  auto *r = static_cast<Record *>(std::malloc(head_size + (size ? size : 1)));
  if (!r) return refuse(q, queue_full) == taken;
  if (put_json(q, r, nullptr, level, json, size, bytes)) return true;
  std::free(r);
  return false;
}

bool EventWriter::push_json(int level, const char *json, size_t size) noexcept {
  if (size > slab_bytes / 8) return event_queue_push_json(queue_, level, json, size);
  size_t bytes = base_bytes + size, needed = (head_size + size + 15) / 16 * 16;
  if (!welcome(queue_, &level, bytes)) return false;
  if (!slab_ || needed > slab_bytes - used_) {
    if (slab_) slab_drop(slab_, slab_mine - made_);
    slab_ = slab_take(queue_);
    used_ = made_ = 0;
    if (!slab_) return refuse(queue_, queue_full) == taken;
  }
  auto *r = reinterpret_cast<Record *>(slab_->memory + used_);
  if (!put_json(queue_, r, slab_, level, json, size, bytes)) return false;
  used_ += needed;
  made_++;
  return true;
}

EventWriter::~EventWriter() {
  if (slab_) slab_drop(slab_, slab_mine - made_);
  if (!python_ends.load(std::memory_order_relaxed)) Py_DECREF(queue());
}

EventQueue *event_queue_of(PyObject *object) {
  Ref q = PyObject_TypeCheck(object, queue_type) ? Ref::borrow(object) : Ref(PyObject_GetAttrString(object, "queue"));
  if (q && PyObject_TypeCheck(q.get(), queue_type)) return self_of(q.release());
  PyErr_Format(PyExc_TypeError, "a pymongoose.sinks.Pipeline is needed, not %.200s", Py_TYPE(object)->tp_name);
  return nullptr;
}

void bind_event_queue(py::module_ &m) {
  s_level = PyUnicode_InternFromString("level");
  s_message = PyUnicode_InternFromString("message");
  s_ts = PyUnicode_InternFromString("ts");
  queue_type = reinterpret_cast<PyTypeObject *>(PyType_FromModuleAndSpec(m.ptr(), &spec, nullptr));
  bound_fields = PyContextVar_New("pymongoose.sinks", nullptr);
  if (!s_level || !s_message || !s_ts || !queue_type || !bound_fields || PyModule_AddObjectRef(m.ptr(), "bound_fields", bound_fields) < 0 ||
      !add_lines_type(m.ptr()) || PyModule_AddObjectRef(m.ptr(), "EventQueue", reinterpret_cast<PyObject *>(queue_type)) < 0) {
    throw py::error_already_set();
  }
}
