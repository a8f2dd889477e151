// event_queue.cpp - events on their way from whoever emits them to the one worker of a pipeline.
//
// emit() is all that a caller pays for, so it does what cannot be put off: check the arguments, read the clock, take references to names and
// values (copies of what could change), and push. The dict, or the line, is made by the worker, in drain().
//
//   Record: level, time, message, the tuple of names as the call gave it, one value for each name
//           or the text of a JSON object (event_queue_push_json: no Python, no lock)
//           or of many, a line each (EventWriter)
//           or any object, handed on as it is (push)
//
// Everything accepted is in the ring (base/ring.h) until it is drained or evicted. Between a claim and its end no Python runs, so a
// signal handler, a destructor or the garbage collector may emit while another emit is under way on the same thread.
//
//   event_queue  the Python type          event_push    into the queue, or what becomes of what does not fit; the native end
//   event_emit   the arguments of emit()  event_record  what is in the queue, and how it comes out
#define PY_SSIZE_T_CLEAN
#include "event_queue.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "event_emit.h"
#include "event_lines.h"
#include "event_text.h"
#include "loop.h"
#include "module.h"

namespace py = pybind11;
using namespace events;

namespace {

PyTypeObject *queue_type;

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
  r->events = 1;
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
    n -= static_cast<Py_ssize_t>(r->events) - 1;
    if (!add_events(list.get(), q, r)) lose(q, r->events);
    bury(r);
  }
  mg_ring_tell(q->ring);
  return list.release();
}

constexpr size_t last_ones = 64 << 10;  // room behind what is enough, so that the block that exceeds it moves none of the others
constexpr Py_ssize_t made_here = 32;  // lines that are there already take as long as one that has to be made

PyObject *drain_lines(PyObject *self, PyObject *args) {
  EventQueue *q = self_of(self);
  Py_ssize_t n, most;
  Encoder e;
  if (!PyArg_ParseTuple(args, "nnOOO:drain_lines", &n, &most, &e.dumps, &e.fallback, &e.slow)) return nullptr;
  empty_graveyard(q);
  size_t enough = most < 0 ? 0 : static_cast<size_t>(most), queued = mg_ring_bytes(q->ring);
  LineBuilder out;
  if (!out.begin(queued < enough ? queued : enough + last_ones)) return nullptr;
  while (n-- > 0 && out.bytes() < enough) {
    auto *r = static_cast<Record *>(mg_ring_pop(q->ring));
    if (!r) break;
    n -= is_native(r) ? static_cast<Py_ssize_t>(r->events) - 1 : made_here - 1;
    if (!add_lines(out, q, r, e)) {
      out.undo();
      lose(q, r->events);
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

PyObject *gather(PyObject *, PyObject *) {
  flush_logs_here();
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
  q->life.fetch_add(1);
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
  if (max_events < 1 || static_cast<size_t>(max_events) > MG_RING_MAX_ITEMS || max_bytes < 1 || lowest < 0 ||
      PyTuple_GET_SIZE(level_names) != event_levels) {
    PyErr_SetString(PyExc_ValueError, "max_events must be between 1 and 268435455, max_bytes at least 1, and there are six levels");
    return nullptr;
  }
  Ref self(type->tp_alloc(type, 0));  // zeroed
  if (!self) return nullptr;
  EventQueue *q = self_of(self.get());
  new (&q->state) std::atomic<int>(closed);
  new (&q->life) std::atomic<unsigned>(0);
  new (&q->graveyard) std::atomic<Record *>(nullptr);
  for (auto &spare : q->spares) new (&spare) std::atomic<EventSlab *>(nullptr);
  q->max_items = static_cast<size_t>(max_events);
  q->max_bytes = std::min<size_t>(static_cast<size_t>(max_bytes), MG_RING_MAX_BYTES);
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

PyMethodDef methods[] = {
    {"emit", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(emit)), METH_FASTCALL | METH_KEYWORDS,
     "emit($self, message, /, *, level='info', **fields)\n--\n\nAccept an event for delivery, or refuse it at once. Any thread."},
    {"push", push, METH_VARARGS, "push($self, item, level, size, /)\n--\n\nAn object that drain() hands on as it is."},
    {"push_json", push_json, METH_VARARGS,
     "push_json($self, text, level, /)\n--\n\nThe text of a JSON object; drain() hands it on as bytes. Never waits."},
    {"drain", drain, METH_O,
     "drain($self, n, /)\n--\n\nThe oldest events, n at most, and those that came in one block with the last of them (up to 63)."},
    {"drain_lines", drain_lines, METH_VARARGS,
     "drain_lines($self, n, enough, dumps, default, slow, /)\n--\n\nThe lines of the oldest events, n at most (one that is not JSON yet counts for "
     "32; what came in one block with the last of them is there, too), and no further ones when they have enough bytes. What is not plain is encoded by dumps(event, default), or slow(event) where that raises."},
    {"encode_lines", encode_lines, METH_VARARGS | METH_STATIC,
     "encode_lines(events, dumps, default, slow, /)\n--\n\nThe lines of a list of events, by the encoders of drain_lines(); bytes stay."},
    {"arm", arm, METH_NOARGS, "arm($self)\n--\n\nAnnounce that the consumer sleeps: the next event rings. False: do not sleep."},
    {"doze", doze, METH_NOARGS, "doze($self)\n--\n\nThe consumer looks again soon: the queue rings only when it is half full."},
    {"disarm", disarm, METH_NOARGS, "disarm($self)\n--\n\nThe consumer is awake."},
    {"ring", ring_bell, METH_NOARGS, "ring($self)\n--\n\nMake the descriptor readable."},
    {"wait_room", wait_room, METH_O, "wait_room($self, seconds, /)\n--\n\nSleep until there is room. False: time is up."},
    {"set_state", set_state, METH_O, "set_state($self, state, /)\n--\n\n'open', 'closed' or 'asleep'."},
    {"gather", gather, METH_NOARGS,
     "gather($self)\n--\n\nTake in what the servers that this thread polls have said so far in their turn, when it is called by one of their handlers."},
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

}  // namespace

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
