// event_push.h - private to event_*.cpp: into the queue, or not.
#pragma once
#include "event_record.h"

namespace events {

enum Fate { taken, refused, failed };

// `told`: whoever asks counts it.
Fate refuse(EventQueue *q, Reason why, Reason *told = nullptr);
// Lock held. The record is the queue's, or gone, whatever comes out.
Fate put(EventQueue *q, Record *r, size_t bytes, Reason *told = nullptr);
PyObject *set_waker(PyObject *, PyObject *fn);

}  // namespace events
