// module.h - the parts of the extension module, one function per topic.
#pragma once
#include <pybind11/pybind11.h>

void bind_errors(pybind11::module_ &m);
void bind_message(pybind11::module_ &m);
void bind_ws_message(pybind11::module_ &m);
void bind_connection(pybind11::module_ &m);
void bind_reply(pybind11::module_ &m);
void bind_timer(pybind11::module_ &m);
void bind_pool(pybind11::module_ &m);
void bind_manager(pybind11::module_ &m);
void bind_json(pybind11::module_ &m);
void bind_core_log(pybind11::module_ &m);
void bind_util(pybind11::module_ &m);
void bind_forms(pybind11::module_ &m);
void bind_event_queue(pybind11::module_ &m);
void bind_constants(pybind11::module_ &m);
