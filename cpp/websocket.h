// websocket.h - what Python sees of WebSocket: WsMessage, its events, and what a Connection can do with it.
#pragma once
#include <pybind11/pybind11.h>

#include "connection.h"

struct WsMsg {
  PyObject_HEAD
  Str data;
  mg_connection *c;  // while its handler runs
  mg_chunk *chunk;   // what data is in, held once somebody may keep it
  char *copy;        // or memory of our own
  PyObject *bytes, *text;  // made on first use
  unsigned flags;
};

extern PyTypeObject *ws_msg_type;

void ws_event(Loop *loop, mg_connection *c, int ev, void *data);  // MG_EV_WS_MSG and MG_EV_WS_CTL

// Connection.ws_upgrade and Reply.ws_upgrade: number as for conn_reply_to. True, False when it was refused, or null.
PyObject *ws_upgrade_to(Conn *conn, unsigned long number, const char *fname, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);
// Checks the options and calls connect with them. False with an exception.
bool ws_connect(PyObject *protocols, PyObject *headers, PyObject *compress, PyObject *limits,
                const std::function<bool(const mg_ws_opts *)> &connect);
PyObject *ws_broadcast(Loop *loop, PyObject *group, PyObject *data, PyObject *op, PyObject *exclude);
PyObject *ws_members(Loop *loop, PyObject *group);

// Methods of a Connection.
PyObject *conn_ws_upgrade(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);
PyObject *conn_ws_send(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);
PyObject *conn_ws_close(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);
PyObject *conn_join(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);
PyObject *conn_leave(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);

// From an object like pymongoose.WsLimits; throws as pybind11 does.
mg_ws_limits ws_limits_of(pybind11::handle o);
