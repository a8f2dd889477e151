// edge.h - the options of a listener that concern what stands in front of it: compression of answers, proxies; and the access log (pymongoose._edge).
#pragma once
#include <pybind11/pybind11.h>

#include "loop.h"

// `edge` is a pymongoose._edge.Edge or None. False with an exception. Loop thread.
bool edge_apply(Loop &loop, mg_connection *listener, pybind11::handle edge);

pybind11::tuple edge_codings();  // names of those that are built in
