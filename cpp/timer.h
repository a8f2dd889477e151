// timer.h - Timer: a Python callable at a given time.
#pragma once
#include "loop.h"

struct Timer {
  PyObject_HEAD
  mg_timer t;
  Loop *loop;          // null when not running
  PyObject *callback;
  Timer *next, *prev;  // in loop->timers, which holds a reference
};

Timer *timer_start(Loop *loop, uint64_t ms, bool repeat, bool run_now, PyObject *callback);  // new reference; loop thread
void timer_stop(Timer *t);                                                                     // loop thread
int timers_traverse(Timer *first, visitproc visit, void *arg);
