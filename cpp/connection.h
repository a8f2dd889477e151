// connection.h - the Python object of a connection. It lives as long as anybody holds it; `c` is null once it closed.
#pragma once
#include "loop.h"

struct Conn {
  PyObject_HEAD
  mg_connection *c;
  Loop *loop;  // held
  unsigned long id;
  PyObject *handler;   // own, or null: the site's
  PyObject *userdata;
  PyObject *on_drain;
  int ws_code;         // of a WebSocket that is closed, 0: none
  PyObject *ws_reason, *ws_protocol;
  PyObject *on_body, *on_body_end, *on_body_abort;  // stream_body
  PyObject *streams;   // list of ResponseBody that want to hear of the connection, or null
  PyObject *weakrefs;
  Job *jobs;           // offloaded work that answers here
  Conn *next, *prev;   // in loop->conns
};

extern PyTypeObject *conn_type;

Conn *conn_of(Loop *loop, mg_connection *c);       // borrowed; made on first use. Lock needed; null with an exception
void conn_closed(Conn *conn);                      // detach from the core; Lock needed
PyObject *conn_resolved(const void *told);         // addresses of MG_EV_RESOLVE for Python, None for null

// The reply() behind Connection.reply and Reply.reply: to exchange `number`, 0: the current one. compress: True, False, or None
// (as null) for what the listener says.
PyObject *conn_reply_to(Conn *conn, unsigned long number, long status, PyObject *body, PyObject *headers, const char *default_type,
                        PyObject *compress = nullptr);
PyObject *conn_start_to(Conn *conn, unsigned long number, long status, PyObject *headers, PyObject *compress = nullptr);
PyObject *conn_write_to(Conn *conn, unsigned long number, PyObject *data, bool end);
// Bytes that never change can be lent to the core instead of being copied: both are arguments of its …_ref functions.
void *lent_new(Loop *loop, PyObject *bytes);
void lent_back(void *lent);
// Methods of Connection in answers.cpp.
PyObject *conn_set_header(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw);
PyObject *conn_informational(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw);
PyObject *conn_http_basic_auth(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw);
bool conn_text_headers(std::string &out, PyObject *headers, const char *default_type);  // false with an exception

// A call of `fn` on another thread than the loop's: queued, in order. Returns None, or null with an exception.
typedef PyObject *(*ConnMethod)(Conn *, PyObject *const *, Py_ssize_t, PyObject *);
PyObject *conn_post(Conn *conn, ConnMethod fn, PyObject *const *args, Py_ssize_t n, PyObject *kwnames);

// Positional and keyword arguments into out[0..count), null where absent. False with TypeError.
bool take_args(const char *fname, const char *const *names, int count, int required, PyObject *const *args, Py_ssize_t n,
               PyObject *kwnames, PyObject **out);
