/* http_chunked.c - the machine of http_chunked.h. Framing is read byte by byte, payload is skipped over as a whole.
 *
 * Strict where readers differ: sizes are hexadecimal digits and nothing else, lines end in CRLF, extensions follow the
 * grammar. A fault behind payload found in the same call is reported by the next call, so that the payload delivered
 * before a fault does not depend on how the stream was cut.
 */
#include "mongoose/codec/http_chunked.h"
#include "mongoose/base/status.h"
#include "mongoose/codec/http_chars.h"

enum state {
  SIZE,
  EXT,            /* blanks before ';' (RFC 9112 7.1.1 calls them bad and has us take them) */
  EXT_NAME_START, /* behind ';' */
  EXT_NAME,
  EXT_NAME_END, /* blanks behind a name */
  EXT_VALUE_START,
  EXT_VALUE,
  EXT_QUOTED,
  EXT_ESCAPE, /* behind a backslash in quotes */
  EXT_QUOTED_END,
  SIZE_LF,
  DATA,
  DATA_CR,
  DATA_LF,
  TRAILER, /* first byte of a trailer line, or of the last CRLF */
  TRAILER_NAME,
  TRAILER_VALUE,
  TRAILER_LF,
  END_LF,
  REFUSED,
  NOT_HERE /* what `next` says about a byte that is illegal */
};

#define MAX_DIGITS 16
#define MAX_FRAMING 16384
#define FLAG_TOO_BIG 1 /* why REFUSED */

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

static bool is_token(char c) {
  return mg_http_is(c, MG_HTTP_TOKEN);
}

/* chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ), then CR */
static enum state next_in_extension(enum state state, char c) {
  switch (state) {
    case EXT: return is_blank(c) ? EXT : c == ';' ? EXT_NAME_START : NOT_HERE;
    case EXT_NAME_START: return is_token(c) ? EXT_NAME : is_blank(c) ? EXT_NAME_START : NOT_HERE;
    case EXT_NAME:
      if (is_token(c)) return EXT_NAME;
      if (c == '\r') return SIZE_LF;
      /* fall through */
    case EXT_NAME_END:
      if (c == '=') return EXT_VALUE_START;
      return is_blank(c) ? EXT_NAME_END : c == ';' ? EXT_NAME_START : NOT_HERE;
    case EXT_VALUE_START:
      return is_token(c) ? EXT_VALUE : c == '"' ? EXT_QUOTED : is_blank(c) ? EXT_VALUE_START : NOT_HERE;
    case EXT_QUOTED:
      return c == '"' ? EXT_QUOTED_END : c == '\\' ? EXT_ESCAPE : mg_http_is(c, MG_HTTP_QUOTED) ? EXT_QUOTED : NOT_HERE;
    case EXT_ESCAPE: return mg_http_is(c, MG_HTTP_VALUE) ? EXT_QUOTED : NOT_HERE;
    case EXT_VALUE:
      if (is_token(c)) return EXT_VALUE;
      /* fall through */
    case EXT_QUOTED_END:
      if (c == '\r') return SIZE_LF;
      return is_blank(c) ? EXT : c == ';' ? EXT_NAME_START : NOT_HERE;
    default: return NOT_HERE;
  }
}

/* Everything but the digits of a size and payload. */
static enum state next(const struct mg_http_chunked *c, enum state state, char ch) {
  switch (state) {
    case SIZE: /* behind the digits */
      if (c->digits == 0) return NOT_HERE;
      return ch == '\r' ? SIZE_LF : is_blank(ch) ? EXT : ch == ';' ? EXT_NAME_START : NOT_HERE;
    case SIZE_LF:
      if (ch != '\n') return NOT_HERE;
      return c->left > 0 ? DATA : TRAILER;
    case DATA_CR: return ch == '\r' ? DATA_LF : NOT_HERE;
    case DATA_LF: return ch == '\n' ? SIZE : NOT_HERE;
    case TRAILER: return ch == '\r' ? END_LF : is_token(ch) ? TRAILER_NAME : NOT_HERE;
    case TRAILER_NAME: return ch == ':' ? TRAILER_VALUE : is_token(ch) ? TRAILER_NAME : NOT_HERE;
    case TRAILER_VALUE: return ch == '\r' ? TRAILER_LF : mg_http_is(ch, MG_HTTP_VALUE) ? TRAILER_VALUE : NOT_HERE;
    case TRAILER_LF:
    case END_LF: return ch == '\n' ? TRAILER : NOT_HERE;
    default: return next_in_extension(state, ch);
  }
}

static ptrdiff_t refuse(struct mg_http_chunked *c, ptrdiff_t why) {
  c->state = REFUSED;
  c->flags = why == MG_ETOOBIG ? FLAG_TOO_BIG : 0;
  return why;
}

/* One more digit; 0, or why not. */
static int add_digit(struct mg_http_chunked *c, int digit) {
  if (c->digits == MAX_DIGITS || c->left > (uint64_t) INT64_MAX >> 4) return MG_ETOOBIG;
  c->left = c->left << 4 | (uint64_t) digit;
  c->digits++;
  return MG_OK;
}

/* One byte of framing: 0, or why it is refused. */
static int take(struct mg_http_chunked *c, char ch) {
  enum state state = (enum state) c->state, to;
  int digit;
  if (state == SIZE && (digit = hex_digit(ch)) >= 0) return add_digit(c, digit);
  to = next(c, state, ch);
  if (to == NOT_HERE) return MG_EPROTO;
  if ((to > SIZE && to < SIZE_LF) || (to > TRAILER && to < END_LF)) {
    if (c->framing == MAX_FRAMING) return MG_ETOOBIG;
    c->framing++;
  }
  if (state == DATA_LF) c->digits = 0;
  if (state == END_LF) c->done = 1;
  c->state = (uint8_t) to;
  return MG_OK;
}

ptrdiff_t mg_http_chunked_feed(struct mg_http_chunked *c, struct mg_str in, struct mg_str *body) {
  size_t i = 0;
  body->buf = in.buf;
  body->len = 0;
  if (c->state == REFUSED) return c->flags & FLAG_TOO_BIG ? MG_ETOOBIG : MG_EPROTO;
  while (i < in.len && !c->done) {
    if (c->state == DATA) {
      if (body->len > 0) break;
      body->buf = in.buf + i;
      body->len = c->left < in.len - i ? (size_t) c->left : in.len - i;
      c->left -= body->len;
      i += body->len;
      if (c->left == 0) c->state = DATA_CR;
    } else {
      int status = take(c, in.buf[i]);
      if (status != MG_OK && body->len > 0) break; /* take changed nothing: the same fault is found next time */
      if (status != MG_OK) return refuse(c, status);
      i++;
    }
  }
  return (ptrdiff_t) i;
}
