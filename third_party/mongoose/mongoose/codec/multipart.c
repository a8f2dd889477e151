/* multipart.c - the machine of multipart.h: find delimiters, collect the heads between them, hand on the rest.
 *
 * A delimiter is CRLF "--" boundary, and CR stands only at its start. So what began like one and was none contains no other start of
 * one, and no byte is looked at more than twice however the boundary was chosen.
 */
#include "mongoose/codec/multipart.h"

#include <string.h>

#include "mongoose/codec/http_chars.h"
#include "mongoose/codec/multipart_head.h"

enum state {
  PREAMBLE, /* ignored, up to the first delimiter */
  DELIMITED, /* behind a boundary */
  CLOSING,   /* behind the first of two dashes */
  PADDING,   /* blanks that gateways of old added */
  DELIM_LF,
  HEAD,      /* start of a line */
  HEAD_LINE,
  HEAD_LF,
  HEAD_END,  /* behind CR of the blank line */
  CONTENT,
  CLOSED,    /* to be told */
  EPILOGUE,
  REFUSED
};

static ptrdiff_t refuse(struct mg_multipart *m, int status, const char *why) {
  m->state = REFUSED;
  m->status = status;
  m->why = why;
  return -status;
}

int mg_multipart_init(struct mg_multipart *m, struct mg_str content_type) {
  int n;
  memset(m, 0, sizeof(*m) - sizeof(m->head));
  m->max_parts = MG_MULTIPART_PARTS;
  n = mg_multipart_boundary(content_type, m->delim + 4, &m->why);
  if (n < 0) return (int) refuse(m, -n, m->why);
  memcpy(m->delim, "\r\n--", 4);
  m->delim_len = (uint8_t) (4 + n);
  m->matched = 2; /* the first delimiter has its CRLF in the head of the message */
  return 0;
}

/* Go through content (or what is ignored in front of it) up to a delimiter. Sets m->data to what is none. True: a whole delimiter was
 * taken, and m->data is empty. */
static bool find_delimiter(struct mg_multipart *m, struct mg_str in, size_t *used) {
  size_t at = 0, n;
  m->data = (struct mg_str){in.buf, 0};
  *used = 0;
  if (m->matched > 0) {
    n = m->delim_len - (size_t) m->matched;
    if (n > in.len) n = in.len;
    if (memcmp(in.buf, m->delim + m->matched, n) != 0) { /* it was content; the input is looked at afresh */
      m->data = (struct mg_str){m->delim, m->matched};
      m->matched = 0;
      return false;
    }
    m->matched = (uint8_t) (m->matched + n);
    *used = n;
    return m->matched == m->delim_len;
  }
  while (at < in.len) {
    const char *cr = (const char *) memchr(in.buf + at, '\r', in.len - at);
    if (cr == NULL) {
      at = in.len;
      break;
    }
    at = (size_t) (cr - in.buf);
    n = in.len - at < m->delim_len ? in.len - at : m->delim_len;
    if (memcmp(cr, m->delim, n) == 0) break;
    at++;
  }
  if (at > 0) { /* what is in front of it first */
    m->data.len = *used = at;
    return false;
  }
  n = in.len < m->delim_len ? in.len : m->delim_len;
  m->matched = (uint8_t) n;
  *used = n;
  return n == m->delim_len;
}

/* One byte between a delimiter and the first header line. */
static int take_delimiter(struct mg_multipart *m, char c) {
  bool blank = c == ' ' || c == '\t';
  switch (m->state) {
    case DELIMITED:
      if (c == '-') {
        m->state = CLOSING;
        return 0;
      }
      /* fall through */
    case PADDING:
      m->state = c == '\r' ? DELIM_LF : PADDING;
      return blank || c == '\r' ? 0 : -1;
    case CLOSING:
      m->state = CLOSED;
      return c == '-' ? 0 : -1;
    default:
      m->state = HEAD;
      m->head_len = 0;
      return c == '\n' ? 0 : -1;
  }
}

/* One byte of a part's head. 1: the head is whole; -1: no byte for there. */
static int take_head(struct mg_multipart *m, char c) {
  m->head[m->head_len++] = c;
  switch (m->state) {
    case HEAD:
      m->state = c == '\r' ? HEAD_END : HEAD_LINE;
      return c == '\r' || mg_http_is(c, MG_HTTP_TOKEN) ? 0 : -1; /* a folded line begins with a blank */
    case HEAD_LINE:
      if (c == '\r') m->state = HEAD_LF;
      return c == '\r' || mg_http_is(c, MG_HTTP_VALUE) ? 0 : -1;
    case HEAD_LF:
      m->state = HEAD;
      return c == '\n' ? 0 : -1;
    default:
      return c == '\n' ? 1 : -1;
  }
}

ptrdiff_t mg_multipart_feed(struct mg_multipart *m, struct mg_str in, enum mg_multipart_event *event) {
  size_t i = 0, used;
  *event = MG_MULTIPART_MORE;
  while (i < in.len || m->state == CLOSED) {
    struct mg_str rest = {in.buf + i, in.len - i};
    int what;
    switch (m->state) {
      case PREAMBLE:
        if (find_delimiter(m, rest, &used)) m->state = DELIMITED;
        i += used;
        break;
      case CONTENT:
        if (find_delimiter(m, rest, &used)) {
          m->state = DELIMITED;
          *event = MG_MULTIPART_END_OF_PART;
          return (ptrdiff_t) (i + used);
        }
        i += used;
        if (m->data.len == 0) break;
        *event = MG_MULTIPART_DATA;
        return (ptrdiff_t) i;
      case CLOSED:
        m->state = EPILOGUE;
        *event = MG_MULTIPART_END;
        return (ptrdiff_t) i;
      case EPILOGUE: return (ptrdiff_t) in.len;
      case REFUSED: return -m->status;
      case HEAD:
      case HEAD_LINE:
      case HEAD_LF:
      case HEAD_END:
        if (m->head_len == MG_MULTIPART_HEAD) return refuse(m, 400, "the head of a part is too long");
        what = take_head(m, in.buf[i++]);
        if (what < 0) return refuse(m, 400, "illegal byte in the head of a part");
        if (what == 0) break;
        if (mg_multipart_read_head(m) < 0) return refuse(m, 400, m->why);
        if (++m->parts > m->max_parts) return refuse(m, 413, "too many parts");
        m->state = CONTENT;
        m->matched = 0;
        *event = MG_MULTIPART_PART;
        return (ptrdiff_t) i;
      default:
        if (take_delimiter(m, in.buf[i++]) < 0) return refuse(m, 400, "illegal byte behind a boundary");
        break;
    }
  }
  return m->state == REFUSED ? -m->status : (ptrdiff_t) i;
}

int mg_multipart_finish(struct mg_multipart *m) {
  if (m->state == REFUSED) return -m->status;
  if (m->state == EPILOGUE || m->state == CLOSED) return 0;
  return (int) refuse(m, 400, "the form ends before its closing boundary");
}

/* ---- Mongoose's ---- */

/* The part's content, if it is whole; m stands behind its head. 0, or the offset of the delimiter's dashes. */
static size_t content_of(struct mg_multipart *m, struct mg_str body, size_t at, struct mg_str *content) {
  enum mg_multipart_event event;
  size_t from = at;
  for (;;) {
    ptrdiff_t n = mg_multipart_feed(m, mg_str_n(body.buf + at, body.len - at), &event);
    if (n < 0 || event == MG_MULTIPART_MORE) return 0;
    at += (size_t) n;
    if (event != MG_MULTIPART_END_OF_PART) continue;
    *content = mg_str_n(body.buf + from, at - from - m->delim_len);
    return at - m->delim_len + 2;
  }
}

size_t mg_http_next_multipart(struct mg_str body, size_t ofs, struct mg_http_part *part) {
  struct mg_multipart m;
  struct mg_http_part found;
  enum mg_multipart_event event;
  const char *line, *eol;
  size_t at, len;
  ptrdiff_t n;
  if (body.buf == NULL || ofs >= body.len) return 0;
  line = body.buf + ofs;
  eol = (const char *) memchr(line, '\r', body.len - ofs);
  len = eol != NULL ? (size_t) (eol - line) : 0;
  while (len > 2 && (line[len - 1] == ' ' || line[len - 1] == '\t')) len--; /* padding */
  if (len < 3 || len > 2 + MG_MULTIPART_BOUNDARY || memcmp(line, "--", 2) != 0) return 0;
  memset(&m, 0, sizeof(m) - sizeof(m.head));
  m.max_parts = 1;
  memcpy(m.delim, "\r\n", 2);
  memcpy(m.delim + 2, line, len);
  m.delim_len = (uint8_t) (2 + len);
  m.matched = 2;
  n = mg_multipart_feed(&m, mg_str_n(line, body.len - ofs), &event);
  if (n <= 0 || event != MG_MULTIPART_PART) return 0;
  at = ofs + (size_t) n;
  /* Its slices are of a copy of the head, or decoded: the same parameters in the body itself. */
  memset(&found, 0, sizeof(found));
  {
    struct mg_str head = {body.buf + at - m.head_len, m.head_len}, name, value;
    while (mg_multipart_next_header(&head, &name, &value)) {
      if (!mg_http_word(name.buf, name.len, "content-disposition", 19)) continue;
      found.name = mg_multipart_raw_param(value, "name");
      found.filename = mg_multipart_raw_param(value, "filename");
    }
  }
  at = content_of(&m, body, at, &found.body);
  if (at == 0) return 0;
  if (part != NULL) *part = found;
  return at;
}
