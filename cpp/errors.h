// errors.h - one map from the core's status codes to Python's exception types (pymongoose._errors has the classes).
#pragma once
#include <Python.h>

extern "C" {
#include "mongoose/base/status.h"
}

// Set the exception that stands for `status`; `text` may be null for the status's own. Always returns null.
PyObject *raise_status(int status, const char *text, unsigned long conn_id = 0);
PyObject *raise_closed();  // ConnectionClosed: the connection is closed
// The class for a status: borrowed, null with an exception set when the package is broken.
PyObject *error_class(int status);
PyObject *form_error_class();  // borrowed; may be asked for while an exception is set
