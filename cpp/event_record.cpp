// event_record.cpp - records as events and lines, and their end.
#include "event_record.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "event_lines.h"
#include "event_text.h"

namespace events {

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
  if (is_native(r)) {
    r->kind == kind_lines ? slab_drop(r->slab, 1) : std::free(r);
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

Ref Encoder::line(PyObject *event) const {
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

bool add_events(PyObject *list, EventQueue *q, Record *r) {
  if (r->kind != kind_lines) {
    Ref event(event_of(q, r));
    return event && PyList_Append(list, event.get()) == 0;
  }
  Py_ssize_t before = PyList_GET_SIZE(list);
  for (const char *p = text_of(r), *end = p + r->n; p < end;) {
    auto *feed = static_cast<const char *>(memchr(p, '\n', static_cast<size_t>(end - p)));
    Ref line(PyBytes_FromStringAndSize(p, feed - p));
    if (!line || PyList_Append(list, line.get()) < 0) {
      KeepError keep;
      (void)PyList_SetSlice(list, before, PyList_GET_SIZE(list), nullptr);
      return false;
    }
    p = feed + 1;
  }
  return true;
}

bool add_lines(LineBuilder &out, EventQueue *q, Record *r, const Encoder &encoder) {
  if (r->kind == kind_lines) return out.add_text(text_of(r), static_cast<size_t>(r->n), r->events);
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

}  // namespace events
