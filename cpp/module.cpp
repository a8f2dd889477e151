// module.cpp - table of contents of pymongoose._core.
//
// Types and functions that run for every request are written against CPython's C API (a pybind11 call costs 100-250 ns, a vectorcall
// 25); everything else is plain pybind11.
#include "module.h"

#define PyInit__core made_by_pybind11  // which is called below
PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  m.doc() = "The engine under pymongoose: event loop, connections, messages, worker pool.";
  bind_errors(m);      // first: everything below may raise
  bind_constants(m);
  bind_json(m);
  bind_util(m);
  bind_forms(m);
  bind_message(m);     // what handlers receive
  bind_ws_message(m);
  bind_connection(m);  // hands out messages
  bind_reply(m);       // a connection's answers, later
  bind_timer(m);
  bind_pool(m);        // jobs answer through connections
  bind_manager(m);     // owns them all
  bind_event_queue(m);
  bind_core_log(m);    // into an event queue
}
#undef PyInit__core

// Types and names are static here, so there is one interpreter that they belong to. (In others pybind11 would even wait for itself, before 3.12.)
extern "C" PYBIND11_EXPORT PyObject *PyInit__core() {
  if (PyInterpreterState_Get() == PyInterpreterState_Main()) return made_by_pybind11();
  PyErr_SetString(PyExc_ImportError, "pymongoose runs in the main interpreter only, not in a sub-interpreter");
  return nullptr;
}
