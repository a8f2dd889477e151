/* http_forwarded.h - what proxies write about the side that is behind them: Forwarded (RFC 7239), and lists like X-Forwarded-For. */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

/* One hop. Slices of the field value without quotes; a value with a backslash in it is malformed: no address or host has one. */
struct mg_forwarded {
  struct mg_str node;  /* for=, as written: "192.0.2.43:47011", "[2001:db8::1]", "unknown", "_hidden"; "" when absent */
  struct mg_str proto; /* "https" */
  struct mg_str host;  /* "example.com:8000" */
};

enum { MG_FORWARDED_HOPS = 32 };

/* The last MG_FORWARDED_HOPS hops of one field line, the nearest one last. Their number, or MG_EPROTO. */
int mg_forwarded_parse(struct mg_str value, struct mg_forwarded hops[MG_FORWARDED_HOPS]);

/* Cut the last element off a list without quotes, blanks removed, empty ones left out; false at its beginning. */
bool mg_list_last(struct mg_str *list, struct mg_str *element);

MG_END_DECLS
