// forms.h - forms, uploads and event streams: the C++ half. What is policy, not speed, is Python (_forms, _upload, _sse, _auth).
#pragma once
#include "connection.h"

// fn of the Python module with self in front of the arguments: methods of our types that are written in Python.
PyObject *call_python(const char *module, const char *fn, PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kw);

// Methods of Connection.
PyObject *conn_upload(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw);
PyObject *conn_start_sse(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw);
PyObject *conn_settle(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw);
PyObject *conn_refuse_body(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw);

// stream_body and its callbacks.
PyObject *conn_stream_body(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw);
void conn_body_aborted(Conn *conn);  // the connection ends: tell who waits for the rest of a body
