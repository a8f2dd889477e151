#include "timer.h"

#include <cstddef>
#include <memory>

#include "module.h"

namespace {

PyTypeObject *timer_type;

void unlink(Timer *t) {
  (t->prev ? t->prev->next : t->loop->timers) = t->next;
  if (t->next) t->next->prev = t->prev;
  t->next = t->prev = nullptr;
}

void fire(void *arg) {
  auto *t = static_cast<Timer *>(arg);
  Loop *loop = t->loop;
  loop->lock();
  Ref hold = Ref::borrow(reinterpret_cast<PyObject *>(t)), cb = Ref::borrow(t->callback);
  if (!(t->t.flags & MG_TIMER_REPEAT)) timer_stop(t);
  Ref r(PyObject_CallNoArgs(cb.get()));
  if (!r) loop->failed(nullptr, MG_EV_POLL);
}

PyObject *cancel(PyObject *self, PyObject *) {
  auto *t = reinterpret_cast<Timer *>(self);
  Loop *loop = t->loop;
  if (!loop) Py_RETURN_NONE;
  if (loop->on_thread()) {
    timer_stop(t);
  } else {
    auto hold = std::make_shared<Ref>(Ref::borrow(self));
    if (!loop->post([hold] { timer_stop(reinterpret_cast<Timer *>(hold->get())); }, sizeof(Timer))) return nullptr;
  }
  Py_RETURN_NONE;
}

PyObject *active(PyObject *self, void *) {
  return PyBool_FromLong(reinterpret_cast<Timer *>(self)->loop != nullptr);
}

PyObject *repr(PyObject *self) {
  auto *t = reinterpret_cast<Timer *>(self);
  return PyUnicode_FromFormat("<Timer %s%llu ms>", t->loop ? "" : "stopped ", static_cast<unsigned long long>(t->t.period_ms));
}

int traverse(PyObject *self, visitproc visit, void *arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(reinterpret_cast<Timer *>(self)->callback);
  return 0;
}

int clear(PyObject *self) {
  Py_CLEAR(reinterpret_cast<Timer *>(self)->callback);
  return 0;
}

void dealloc(PyObject *self) {
  PyObject_GC_UnTrack(self);
  clear(self);
  PyTypeObject *type = Py_TYPE(self);
  PyObject_GC_Del(self);
  Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"cancel", cancel, METH_NOARGS,
     "cancel($self)\n--\n\nStop the timer. Any thread; called from another thread than the loop's it may fire once more. Idempotent."},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef getset[] = {
    {"active", active, nullptr, "bool: the timer will fire (again).", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_doc, const_cast<char *>("A callable that the loop calls once or periodically; made by Manager.timer_add().")},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {Py_tp_repr, reinterpret_cast<void *>(repr)},
    {Py_tp_traverse, reinterpret_cast<void *>(traverse)},
    {Py_tp_clear, reinterpret_cast<void *>(clear)},
    {Py_tp_dealloc, reinterpret_cast<void *>(dealloc)},
    {0, nullptr},
};
PyType_Spec spec = {"pymongoose.Timer", sizeof(Timer), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

}  // namespace

Timer *timer_start(Loop *loop, uint64_t ms, bool repeat, bool run_now, PyObject *callback) {
  auto *t = PyObject_GC_New(Timer, timer_type);
  if (!t) return nullptr;
  t->t = mg_timer{};
  t->loop = loop;
  t->callback = Py_NewRef(callback);
  t->prev = nullptr;
  t->next = loop->timers;
  if (t->next) t->next->prev = t;
  loop->timers = t;
  Py_INCREF(t);  // the loop's
  mg_timer_init(&loop->mgr.timers, &t->t, ms,
                (repeat ? MG_TIMER_REPEAT : MG_TIMER_ONCE) | (run_now ? MG_TIMER_RUN_NOW : 0), fire, t);
  PyObject_GC_Track(reinterpret_cast<PyObject *>(t));
  return t;
}

void timer_stop(Timer *t) {
  if (!t->loop) return;
  mg_timer_free(&t->loop->mgr.timers, &t->t);
  unlink(t);
  t->loop = nullptr;
  Py_DECREF(t);
}

int timers_traverse(Timer *first, visitproc visit, void *arg) {
  for (Timer *t = first; t; t = t->next) Py_VISIT(reinterpret_cast<PyObject *>(t));
  return 0;
}

void bind_timer(pybind11::module_ &m) {
  timer_type = reinterpret_cast<PyTypeObject *>(PyType_FromModuleAndSpec(m.ptr(), &spec, nullptr));
  if (!timer_type || PyModule_AddObjectRef(m.ptr(), "Timer", reinterpret_cast<PyObject *>(timer_type)) < 0) {
    throw pybind11::error_already_set();
  }
}
