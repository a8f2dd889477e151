/* multipart.h - take a multipart/form-data body apart as it arrives (RFC 7578, RFC 2046 5.1).
 *
 * Feed any cut of the body, from one byte up. Each call tells one thing; time is linear in the bytes, memory is the struct.
 *
 *   preamble --> DELIMITER --CRLF--> HEAD --PART--> DATA* --END_OF_PART--> DELIMITER … --"--"--> END, epilogue
 *
 * Strict where two readers could differ: lines of a part's head end in CRLF, a delimiter is followed by blanks and CRLF or by
 * "--", each part has one Content-Disposition of form-data with one name. Nothing is written to disk here, and file names are
 * what the peer says: never use one as a path.
 */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

enum {
  MG_MULTIPART_BOUNDARY = 70, /* bytes (RFC 2046 5.1.1) */
  MG_MULTIPART_HEAD = 8192,   /* bytes of the head of one part, with its blank line: 400 beyond */
  MG_MULTIPART_PARTS = 1000   /* 413 beyond; mg_multipart.max_parts changes it */
};

enum mg_multipart_event {
  MG_MULTIPART_MORE,        /* all of the input is taken */
  MG_MULTIPART_PART,        /* a part begins: see m->part */
  MG_MULTIPART_DATA,        /* some of its content: see m->data */
  MG_MULTIPART_END_OF_PART, /* it is whole */
  MG_MULTIPART_END          /* no part follows; bytes behind are ignored */
};

/* A part. Slices are valid until the next part begins. */
struct mg_multipart_part {
  struct mg_str name;     /* quotes and backslashes undone; UTF-8 as a rule (RFC 7578 5.1), unchecked */
  struct mg_str filename; /* the same; from filename* where there is one (RFC 8187); NULL buf: a plain field, not a file */
  struct mg_str type;     /* value of Content-Type; NULL buf: none, which means text/plain */
  struct mg_str head;     /* all header lines, for mg_multipart_next_header */
};

struct mg_multipart {
  uint8_t state;     /* enum in multipart.c */
  uint8_t delim_len, matched; /* of delim, at the end of the input so far */
  uint32_t parts, max_parts;
  size_t head_len;
  struct mg_multipart_part part;
  struct mg_str data; /* points into the input, or into this struct for the start of what was no delimiter after all */
  int status;         /* after a refusal: the status to answer, 400 or 413 … */
  const char *why;    /* … and the reason, static text */
  char delim[4 + MG_MULTIPART_BOUNDARY]; /* CRLF -- boundary */
  char head[2 * MG_MULTIPART_HEAD];      /* the lines, then name and filename decoded */
};

/* Ready for a body with this Content-Type. 0, or minus the status to answer, with m->why: -415 when it is not
 * multipart/form-data, -400 for a boundary that is missing, empty, too long or has a byte that none may have. */
int mg_multipart_init(struct mg_multipart *m, struct mg_str content_type);

/* Bytes of `in` used, with *event; call again with the rest, even with none, until MG_MULTIPART_MORE. Or minus the status to
 * answer, for good, with m->why. Where the input is cut changes how data is split into pieces and nothing else. */
ptrdiff_t mg_multipart_feed(struct mg_multipart *m, struct mg_str in, enum mg_multipart_event *event);

/* The body is over: 0 when the closing delimiter was there, -400 when it was cut. */
int mg_multipart_finish(struct mg_multipart *m);

/* Cut the first line off the head of a part. False at the end. */
bool mg_multipart_next_header(struct mg_str *head, struct mg_str *name, struct mg_str *value);

/* ---- Mongoose's: a body that is whole ---- */

struct mg_http_part {
  struct mg_str name;     /* as it stands in the body: backslashes stay */
  struct mg_str filename; /* empty for plain fields */
  struct mg_str body;
};

/* The part that begins with the boundary line at offset `ofs` of body: fills *part with slices of body and returns the offset of
 * the next boundary line. 0 at the closing one, and for what is malformed or cut. The boundary is what stands at `ofs`. */
size_t mg_http_next_multipart(struct mg_str body, size_t ofs, struct mg_http_part *part);

MG_END_DECLS
