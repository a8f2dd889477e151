// event_text.h - the JSON text of an event, written straight from what emit() was given.
#pragma once
#include <Python.h>

class LineBuilder;

namespace events {

extern PyObject *s_ts, *s_level, *s_message;  // the names; made by bind_event_queue()

}

struct EventParts {
  double ts;
  PyObject *level;    // its name, of plain ASCII letters
  PyObject *message;
  PyObject *names;    // tuple of n str, or null
  PyObject **values;  // n; null: no field
  Py_ssize_t n;
  PyObject *bound;    // dict of further fields, those named so far excepted; or null
};

// The text that an encoder makes of the dict of those: {"ts":…,"level":…,"message":…, fields in their order}. False: with an exception out of memory,
// without one there is something in it that is not plain (str, int of 64 bits, float, bool, None); a part of the text may be written then.
bool write_event(LineBuilder &out, const EventParts &e);
