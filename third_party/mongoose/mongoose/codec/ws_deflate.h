/* ws_deflate.h - permessage-deflate (RFC 7692): its offers and answers, and messages packed and unpacked with zlib.
 *
 * Builds without zlib (MG_ENABLE_ZLIB) have the same functions, which agree on nothing.
 */
#pragma once
#include "mongoose/base/iobuf.h"
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

enum { MG_WS_DEFLATE_TEXT = 160 }; /* bytes that hold any offer or answer of ours */

/* What one side of a connection does when it compresses. */
struct mg_ws_window {
  uint8_t bits;     /* 8 … 15: at most 1 << bits bytes back */
  uint8_t takeover; /* the window goes on from message to message */
};

struct mg_ws_deflate {
  struct mg_ws_window server, client;
};

bool mg_ws_can_compress(void);
struct mg_str mg_ws_trim(struct mg_str s); /* without blanks around it */

/* Server. The first offer of a Sec-WebSocket-Extensions value that we can take; `wish`: what we would like. Writes the answer into
 * text, and what was agreed on; 0: none of them. A bare offer of no takeover by us is always kept. */
size_t mg_ws_deflate_answer(struct mg_str offers, const struct mg_ws_deflate *wish, struct mg_ws_deflate *agreed,
                            char text[MG_WS_DEFLATE_TEXT]);
/* Client. The value to send, and what its answer agrees on: false when that is not what was offered. */
size_t mg_ws_deflate_offer(const struct mg_ws_deflate *wish, char text[MG_WS_DEFLATE_TEXT]);
bool mg_ws_deflate_agree(struct mg_str answer, const struct mg_ws_deflate *wish, struct mg_ws_deflate *agreed);

/* ---- packing ---- */

struct mg_ws_deflater;
struct mg_ws_deflater *mg_ws_deflater_new(unsigned bits, unsigned level); /* NULL: out of memory */
void mg_ws_deflater_free(struct mg_ws_deflater *d);
size_t mg_ws_deflater_bytes(unsigned bits); /* about what one takes */
void mg_ws_deflater_forget(struct mg_ws_deflater *d); /* no takeover: before a message */
/* Append a piece of a message to out; `last` takes off the four bytes that RFC 7692 7.2.1 says are not sent. */
bool mg_ws_deflater_feed(struct mg_ws_deflater *d, struct mg_str in, bool last, struct mg_iobuf *out);

/* ---- unpacking ---- */

struct mg_ws_inflater;
struct mg_ws_inflater *mg_ws_inflater_new(unsigned bits);
void mg_ws_inflater_free(struct mg_ws_inflater *z);
size_t mg_ws_inflater_bytes(unsigned bits);
void mg_ws_inflater_forget(struct mg_ws_inflater *z);
/* Unpack from *in into the `room` bytes at `to`; *in is left with what was not used. Bytes made, or -1: this is no deflate data.
 * Less than room: *in is used up. Behind a message feed mg_ws_inflate_tail. */
ptrdiff_t mg_ws_inflater_feed(struct mg_ws_inflater *z, struct mg_str *in, void *to, size_t room);
extern const struct mg_str mg_ws_inflate_tail;

MG_END_DECLS
