// core_log.cpp - lines of the core's own log (base/log.h), as events of a pipeline.
#include <cstdlib>
#include <ctime>
#include <string>

#include "event_queue.h"
#include "loop.h"
#include "module.h"

extern "C" {
#include "mongoose/base/log.h"
#include "mongoose/codec/utf8.h"
}

namespace py = pybind11;

namespace {

// Where lines go. Changed with Python's lock held, and read by the log, one thread at a time, under a lock of its own: mg_log_set_fn returns when
// nobody is in there any more.
EventQueue *target;

void event_of(const std::string &line) {  // "123    2 mgr.c:45:mg_listen text"; of a hexdump the text alone
  static const int levels[] = {level_info, 4, level_info, 1, 0};  // by MG_LL_…
  const char *s = line.c_str();
  char *end = nullptr;
  (void)std::strtoull(s, &end, 10);
  int number = end != s && *end == ' ' ? static_cast<int>(std::strtol(end, &end, 10)) : -1;
  int level = level_info;
  std::string source, text = line;
  if (number >= MG_LL_ERROR && number <= MG_LL_VERBOSE && *end == ' ') {
    size_t from = static_cast<size_t>(end + 1 - s), to = line.find(' ', from);
    if (to != std::string::npos) {
      level = levels[number];
      source = line.substr(from, to - from);
      text = line.substr(to + 1);
    }
  }
  if (!mg_utf8_ok(mg_str_n(text.data(), text.size()))) {
    for (char &ch : text) {
      if (static_cast<unsigned char>(ch) >= 0x80) ch = '?';
    }
  }
  static const char *const names[] = {"trace", "debug", "info", "warning", "error"};
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  char *json = mg_mprintf("{\"ts\":%lld.%06ld,\"level\":\"%s\",\"message\":%m,\"logger\":\"pymongoose.core\",\"source\":%m}",
                          static_cast<long long>(t.tv_sec), t.tv_nsec / 1000, names[level], mg_print_esc, static_cast<int>(text.size()),
                          text.c_str(), mg_print_esc, static_cast<int>(source.size()), source.c_str());
  if (!json) return;
  (void)event_queue_push_json(target, level, json, std::strlen(json));
  mg_free(json);
}

void take(char ch, void *) {
  static std::string line;
  try {
    if (ch != '\n') {
      line += ch;
      return;
    }
    event_of(line);
  } catch (const std::bad_alloc &) {  // that line is lost
  }
  line.clear();
}

void log_to(const py::object &pipeline) {
  EventQueue *old = target, *queue = pipeline.is_none() ? nullptr : event_queue_of(pipeline.ptr());
  if (PyErr_Occurred()) throw py::error_already_set();
  if (old) mg_log_set_fn(nullptr, nullptr);
  target = queue;
  if (queue) mg_log_set_fn(take, nullptr);
  Py_XDECREF(reinterpret_cast<PyObject *>(old));
}

}  // namespace

void bind_core_log(py::module_ &m) {
  m.def("log_to", log_to, py::arg("pipeline"),
        "Send what the engine logs (see log_set) to a pymongoose.sinks.Pipeline instead of standard output; None: back again. The events have "
        "`source`, a place in the core, and `logger` \"pymongoose.core\".");
}
