// event_emit.h - private to event_*.cpp: what a call of emit() says becomes a record.
#pragma once
#include "event_push.h"

namespace events {

extern PyObject *bound_fields;  // the context variable of pymongoose.sinks.bind()

// The index of a level given as name or number; -1 with an exception.
int level_of(EventQueue *q, PyObject *given);
PyObject *emit(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names);  // vectorcall

}  // namespace events
