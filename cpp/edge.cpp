// edge.cpp - from Python's names to the core's.
#include "edge.h"

#include "errors.h"
#include "event_queue.h"

namespace py = pybind11;

namespace {

bool refused(mg_connection *c, const char *what, const std::string &value) {
  int status = c->mgr->status;
  raise_status(status, status == MG_ENOMEM ? nullptr : (std::string(what) + " is wrong here, or malformed: " + value).c_str(), c->id);
  return false;
}

bool set_compression(mg_connection *c, py::tuple t) {
  auto codings = t[0].cast<std::string>(), types = t[4].cast<std::string>();
  auto levels = t[1].cast<py::tuple>();
  mg_http_compression o{};
  o.codings = codings.c_str();
  o.level[MG_ZSTD] = levels[0].cast<int>();
  o.level[MG_BROTLI] = levels[1].cast<int>();
  o.level[MG_GZIP] = levels[2].cast<int>();
  o.min_size = t[2].cast<size_t>();
  o.whole_max = t[3].cast<size_t>();
  o.types = types.empty() ? nullptr : types.c_str();
  o.on_request = t[5].cast<bool>();
  return mg_http_compress(c, &o) || refused(c, "compress", codings);
}

void log_record(void *writer, int level, Str json) {
  static const int levels[] = {level_info, 3, 4};  // by MG_HTTP_LOG_…: info, warning, error
  static_cast<EventWriter *>(writer)->write(levels[level], json.buf, json.len);
}

// The queue is the loop's until it is closed: its last records are made when its connections are.
bool set_access_log(Loop &loop, mg_connection *c, py::handle pipeline) {
  EventQueue *queue = event_queue_of(pipeline.ptr());
  if (!queue) return false;
  loop.logs.push_back(std::make_unique<EventWriter>(queue));
  return mg_http_log(c, log_record, loop.logs.back().get()) || refused(c, "access_log", "this listener does not speak HTTP");
}

bool apply(Loop &loop, mg_connection *c, py::handle edge) {
  auto t = py::reinterpret_borrow<py::tuple>(edge);
  auto proxy = t[1].cast<std::string>(), trusted = t[2].cast<std::string>();
  auto fields = t[3].cast<unsigned>();
  if (!t[0].is_none() && !set_compression(c, t[0].cast<py::tuple>())) return false;
  if (!proxy.empty() && !mg_proxy_from(c, mg_str_n(proxy.data(), proxy.size()))) return refused(c, "proxy_protocol", proxy);
  if (!trusted.empty() && !mg_http_trust(c, mg_str_n(trusted.data(), trusted.size()), fields)) return refused(c, "trusted_proxies", trusted);
  return t[4].is_none() || set_access_log(loop, c, t[4]);
}

}  // namespace

// Whatever is wrong is an exception of Python's that is set: the listener, which there is already, must not stay then.
bool edge_apply(Loop &loop, mg_connection *c, py::handle edge) {
  try {
    return edge.is_none() || apply(loop, c, edge);
  } catch (py::error_already_set &e) {
    e.restore();
  } catch (const py::cast_error &) {
    PyErr_SetString(PyExc_ValueError, "a number among the options of the listener is not an integer, or out of range");
  } catch (const std::bad_alloc &) {
    PyErr_NoMemory();
  }
  return false;
}

py::tuple edge_codings() {
  py::list names;
  for (int k = MG_ZSTD; k < MG_CODINGS; k++) {
    const mg_compress_engine *e = mg_compress_engine_of(static_cast<mg_coding>(k));
    if (e) names.append(py::str(e->name));
  }
  return py::tuple(names);
}
