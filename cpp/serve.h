// serve.h - files: Connection.serve_dir, serve_file, and serve for listeners.
#pragma once
#include "connection.h"

PyObject *conn_serve_dir(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw);
PyObject *conn_serve_file(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw);
PyObject *conn_serve(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw);
extern const char conn_serve_dir_doc[], conn_serve_file_doc[], conn_serve_doc[];
