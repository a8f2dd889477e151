/* http_fields.h - the few header fields the engine itself must understand. Inside codec/ only. */
#pragma once
#include "mongoose/codec/http_parse.h"

MG_BEGIN_DECLS

/* Could `name` be one of the fields below? Nearly always answers no after two look-ups. */
static inline bool mg_http_field_matters(struct mg_str name) {
  /* Host 4, Expect 6, Upgrade 7, Connection 10, Content-Length 14, Transfer-Encoding 17: initial by length */
  static const char initial[18] = {0, 0, 0, 0, 'h', 0, 'e', 'u', 0, 0, 'c', 0, 0, 0, 'c', 0, 0, 't'};
  return name.len < sizeof(initial) && initial[name.len] == (name.buf[0] | 0x20);
}

/* Learn from a finished field line. 0, or the HTTP status that refuses it, with p->why set. */
int mg_http_field_learn(struct mg_http_parser *p, struct mg_str name, struct mg_str value);

/* host [ ":" port ] as in a Host field or a target; an empty host is fine, a user name or an odd byte is not. */
bool mg_http_is_authority(struct mg_str s);

MG_END_DECLS
