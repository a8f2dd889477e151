/* ws_frame.h - the head of a WebSocket frame, and its mask (RFC 6455 5.2, 5.3).
 *
 *   FIN RSV1-3 opcode | MASK length | 0, 2 or 8 bytes of length | 0 or 4 bytes of mask | payload
 *
 * The parser keeps nothing: a head has 14 bytes at most, and is looked at again when more of it is there. What is wrong is said at the
 * first byte that shows it. How frames may follow each other is left to the connection.
 */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

enum { MG_WS_FIN = 0x80, MG_WS_RSV1 = 0x40, MG_WS_HEAD_MAX = 14, MG_WS_CONTROL_MAX = 125 };

struct mg_ws_frame {
  uint64_t len;    /* bytes of payload */
  uint8_t mask[4]; /* zero when there is none */
  uint8_t op;      /* opcode */
  uint8_t fin, rsv1;
};

struct mg_ws_frame_rules {
  uint64_t max_len; /* bytes of payload */
  bool masked;      /* frames must be, else must not be (RFC 6455 5.1) */
  bool rsv1;        /* permessage-deflate was agreed on */
};

/* Bytes of the head (> 0), 0 when more are needed, or minus the close code: -1002 (reserved bits or opcodes, a mask that is missing
 * or too many, a control frame that is long or in fragments, a length not in its shortest form), -1009 (beyond max_len). */
int mg_ws_frame_parse(struct mg_ws_frame *f, struct mg_str in, const struct mg_ws_frame_rules *rules);

/* Writes a head and returns its bytes. `first`: opcode, MG_WS_FIN, MG_WS_RSV1. mask: 4 bytes, or NULL. */
size_t mg_ws_frame_head(uint8_t to[MG_WS_HEAD_MAX], unsigned first, uint64_t len, const uint8_t *mask);

/* from ^ mask to `to`, which may be the same memory. `ofs`: place in the payload of the first byte. */
void mg_ws_mask(void *to, const void *from, size_t len, const uint8_t mask[4], uint64_t ofs);

/* May this code stand in a close frame (RFC 6455 7.4)? */
bool mg_ws_close_code_ok(int code);

MG_END_DECLS
