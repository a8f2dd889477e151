/* http_chunked.h - take "Transfer-Encoding: chunked" apart (RFC 9112 7.1).
 *
 * Feed any cut of the stream, from one byte up. `body` is set to the payload found, pointing into `in`.
 *
 *   SIZE --';'--> EXT --CR--> SIZE_LF --n>0--> DATA --> DATA_CR --> DATA_LF --> SIZE
 *    `-------------CR---------^   `-----n=0--> TRAILER --> DONE
 *
 * Trailer fields are checked like header fields and then left out: merging them is not safe (RFC 9110 6.5.1).
 */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

struct mg_http_chunked {
  uint8_t state;    /* enum in http_chunked.c; 0 at the start */
  uint8_t digits;   /* of the chunk size read so far, at most 16 */
  uint8_t done;     /* the last byte of the message was taken */
  uint8_t flags;    /* for the trailer checker */
  uint32_t framing; /* bytes spent on extensions and trailers: at most 16 KiB, so that a flood is refused */
  uint64_t left;    /* payload of this chunk still to come */
};

/* Bytes of `in` used (> 0; call again with the rest until `done`), 0 when `in` is empty or `done` was set before,
 * or MG_EPROTO / MG_ETOOBIG (size beyond INT64_MAX or 16 digits, framing beyond 16 KiB), for good; a server answers
 * both 400. Each call yields at most one piece of payload; *body may be empty.
 * A fault behind payload is told by the next call. */
ptrdiff_t mg_http_chunked_feed(struct mg_http_chunked *c, struct mg_str in, struct mg_str *body);

MG_END_DECLS
