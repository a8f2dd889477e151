// reply.h - Reply: a request's answer, to be given later; ResponseBody: an answer given in pieces.
#pragma once
#include "connection.h"

PyObject *conn_defer(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw);
PyObject *reply_new(Conn *conn, unsigned long number);  // a Reply for an exchange that is put off already
// Begin an answer in pieces to exchange `number`; returns a ResponseBody.
PyObject *conn_stream(Conn *conn, unsigned long number, long status, PyObject *headers, PyObject *on_drain,
                      PyObject *compress, PyObject *on_close);
PyObject *conn_reply_json_to(Conn *conn, unsigned long number, PyObject *obj, PyObject *status, PyObject *headers,
                             PyObject *compress);
void conn_streams_drained(Conn *conn);  // output went out: tell the streams that were full and are no more
void conn_streams_closed(Conn *conn);   // the connection ends: tell those that have not ended
void conn_fail_request(Conn *conn);  // 500, or a cut when the answer has begun
