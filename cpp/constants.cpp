// constants.cpp - numbers with names (events, log levels, WebSocket opcodes), and what this build is made of.
#include "edge.h"
#include "module.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "mongoose/base/log.h"
#include "mongoose/codec/json_skip.h"
#include "mongoose/loop/event.h"
#include "mongoose/loop/poller.h"
#include "mongoose/loop/tls.h"
#include "mongoose/proto/ws.h"

namespace py = pybind11;

namespace {

struct Named {
  const char *name;
  int value;
};

#define NAMED(constant) {#constant, constant}

constexpr Named mg_events[] = {
    NAMED(MG_EV_ERROR),    NAMED(MG_EV_OPEN),      NAMED(MG_EV_POLL),       NAMED(MG_EV_RESOLVE),
    NAMED(MG_EV_CONNECT),  NAMED(MG_EV_ACCEPT),    NAMED(MG_EV_TLS_HS),     NAMED(MG_EV_READ),
    NAMED(MG_EV_WRITE),    NAMED(MG_EV_CLOSE),     NAMED(MG_EV_HTTP_HDRS),  NAMED(MG_EV_HTTP_MSG),
    NAMED(MG_EV_WS_OPEN),  NAMED(MG_EV_WS_MSG),    NAMED(MG_EV_WS_CTL),     NAMED(MG_EV_MQTT_CMD),
    NAMED(MG_EV_MQTT_MSG), NAMED(MG_EV_MQTT_OPEN), NAMED(MG_EV_SNTP_TIME),  NAMED(MG_EV_WAKEUP),
    NAMED(MG_EV_MDNS_REQ), NAMED(MG_EV_MDNS_RESP), NAMED(MG_EV_MODBUS_REQ), NAMED(MG_EV_USER),
};
static_assert(std::size(mg_events) == MG_EV_USER + 1, "an event of loop/event.h has no name here");

constexpr Named levels[] = {
    NAMED(MG_LL_NONE), NAMED(MG_LL_ERROR), NAMED(MG_LL_INFO), NAMED(MG_LL_DEBUG), NAMED(MG_LL_VERBOSE),
};

// RFC 6455 5.2.
constexpr Named opcodes[] = {
    NAMED(WEBSOCKET_OP_CONTINUE), NAMED(WEBSOCKET_OP_TEXT), NAMED(WEBSOCKET_OP_BINARY),
    NAMED(WEBSOCKET_OP_CLOSE),    NAMED(WEBSOCKET_OP_PING), NAMED(WEBSOCKET_OP_PONG),
};

template <size_t N>
void add_all(py::module_ &m, const Named (&table)[N]) {
  for (const Named &row : table) m.attr(row.name) = row.value;
}

std::string event_name(int ev) {
  if (ev > MG_EV_USER) return "MG_EV_USER+" + std::to_string(ev - MG_EV_USER);
  auto row = std::find_if(std::begin(mg_events), std::end(mg_events), [ev](const Named &e) { return e.value == ev; });
  return row != std::end(mg_events) ? row->name : "MG_EV_UNKNOWN(" + std::to_string(ev) + ")";
}

constexpr char compiler[] =
#if defined(__clang__)
    "clang " __clang_version__;
#elif defined(__GNUC__)
    "gcc " __VERSION__;
#else
    "unknown";
#endif

#if defined(Py_GIL_DISABLED)
constexpr bool free_threaded = true;
#else
constexpr bool free_threaded = false;
#endif

py::dict build_info() {
  const struct mg_poller *poller = mg_poller_find(nullptr);
  py::dict info;
  info["version"] = PYMONGOOSE_VERSION;
  info["mongoose"] = MG_VERSION;
  info["tls"] = mg_tls_available();
  info["nogil"] = static_cast<bool>(PYMONGOOSE_NOGIL);
  info["io_size"] = static_cast<long long>(MG_IO_SIZE);
  info["max_headers"] = static_cast<long long>(MG_MAX_HTTP_HEADERS);
  info["poller"] = poller != nullptr ? py::object(py::str(poller->name)) : py::none();
  info["compression"] = mg_ws_can_compress();
  info["json_simd"] = mg_json_skipper()->name;
  info["codings"] = py::list(edge_codings());
  info["compiler"] = compiler;
  info["free_threaded"] = free_threaded;
  info["python"] = PY_VERSION;
  return info;
}

}  // namespace

void bind_constants(py::module_ &m) {
  add_all(m, mg_events);
  add_all(m, levels);
  add_all(m, opcodes);
  py::options signatures;
  signatures.disable_function_signatures();  // the first line of each docstring says it
  m.def("event_name", event_name, py::arg("ev"),
        "event_name(ev: int) -> str\n\n"
        "\"MG_EV_HTTP_MSG\" and so on; \"MG_EV_USER+n\" for events of the application, \"MG_EV_UNKNOWN(n)\" below 0.");
  m.def("build_info", build_info,
        "build_info() -> dict[str, object]\n\n"
        "What this build is made of: version, mongoose (level of the C API), tls, nogil (the loop lets go of Python's\n"
        "lock), io_size (bytes one receive asks for), max_headers, poller, json_simd, codings (content codings that answers\n"
        "can be compressed by), compiler, free_threaded, python (the version it was compiled for).");
}
