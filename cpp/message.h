// message.h - HttpMessage: a view of the bytes a request arrived in, valid for as long as it is kept.
#pragma once
#include "loop.h"

// Who asked, resolved at the latest when the message outlives its handler.
struct Origin {
  mg_addr addr;
  bool known;
  Str scheme, host;
};

struct Msg {
  PyObject_HEAD
  mg_connection *c;      // while the handler runs
  Origin origin;         // valid without c
  mg_http_message *hm;   // the core's while the handler runs, our own copy, up to the headers, afterwards
  Str body;
  mg_chunk *chunk;       // held when kept
  PyObject *method, *uri, *query, *proto, *body_bytes, *body_text, *form;  // decoded on first use
  bool own;
};

extern PyTypeObject *msg_type;

Msg *msg_begin(Loop *loop, mg_connection *c, mg_http_message *hm);          // new reference; null with an exception
void msg_copy(mg_http_message *to, const Msg *m);         // whole, also of a message that is kept
void msg_end(Loop *loop, Msg *m, mg_chunk *chunk);        // takes it back: reused, or left to whoever keeps it
