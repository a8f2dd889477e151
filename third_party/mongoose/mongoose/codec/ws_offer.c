/* ws_offer.c - what two sides say about permessage-deflate before they use it (RFC 7692 5, 7.1).
 *
 *   permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15; client_max_window_bits
 */
#include <string.h>

#include "mongoose/base/printf.h"
#include "mongoose/codec/ws_deflate.h"

/* One element of a Sec-WebSocket-Extensions value. */
struct offer {
  bool server_no_takeover, client_no_takeover, client_bits_here;
  unsigned server_bits, client_bits; /* 0: not given */
};

struct mg_str mg_ws_trim(struct mg_str s) {
  while (s.len > 0 && (s.buf[0] == ' ' || s.buf[0] == '\t')) s.buf++, s.len--;
  while (s.len > 0 && (s.buf[s.len - 1] == ' ' || s.buf[s.len - 1] == '\t')) s.len--;
  return s;
}

static bool is(struct mg_str s, const char *word) {
  return mg_strcasecmp(s, mg_str(word)) == 0;
}

/* 8 … 15 without a leading zero, perhaps in quotes; 0: it is not. */
static unsigned window_bits(struct mg_str s) {
  if (s.len >= 2 && s.buf[0] == '"' && s.buf[s.len - 1] == '"') s.buf++, s.len -= 2;
  if (s.len == 1 && (s.buf[0] == '8' || s.buf[0] == '9')) return (unsigned) (s.buf[0] - '0');
  if (s.len == 2 && s.buf[0] == '1' && s.buf[1] >= '0' && s.buf[1] <= '5') return 10u + (unsigned) (s.buf[1] - '0');
  return 0;
}

/* RFC 7692 7.1: an unknown name, a name twice or a value that does not fit declines the offer. */
static bool parameter(struct mg_str p, bool is_answer, struct offer *o) {
  struct mg_str name = p, value = {NULL, 0};
  bool has_value = memchr(p.buf, '=', p.len) != NULL;
  if (has_value) mg_span(p, &name, &value, '=');
  name = mg_ws_trim(name);
  value = mg_ws_trim(value);
  if (is(name, "server_no_context_takeover")) {
    if (has_value || o->server_no_takeover) return false;
    o->server_no_takeover = true;
  } else if (is(name, "client_no_context_takeover")) {
    if (has_value || o->client_no_takeover) return false;
    o->client_no_takeover = true;
  } else if (is(name, "server_max_window_bits")) {
    if (o->server_bits != 0) return false;
    o->server_bits = window_bits(value);
    if (o->server_bits == 0) return false;
  } else if (is(name, "client_max_window_bits")) {
    if (o->client_bits_here) return false;
    o->client_bits_here = true;
    o->client_bits = window_bits(value);
    if (o->client_bits == 0 && (has_value || is_answer)) return false;
  } else {
    return false;
  }
  return true;
}

/* The next element of *rest; false: there is none. *ok: it is a permessage-deflate with parameters that make sense. */
static bool next_offer(struct mg_str *rest, bool is_answer, struct offer *o, bool *ok) {
  struct mg_str item, part;
  if (!mg_span(*rest, &item, rest, ',')) return false;
  memset(o, 0, sizeof(*o));
  *ok = mg_span(item, &part, &item, ';') && is(mg_ws_trim(part), "permessage-deflate");
  while (*ok && mg_span(item, &part, &item, ';')) *ok = parameter(mg_ws_trim(part), is_answer, o);
  return true;
}

static size_t bits_text(char *to, size_t room, const char *name, unsigned bits) {
  return mg_snprintf(to, room, "; %s=%u", name, bits);
}

static size_t put(char *text, size_t at, const char *s) {
  size_t n = strlen(s);
  memcpy(text + at, s, n + 1);
  return at + n;
}

size_t mg_ws_deflate_answer(struct mg_str offers, const struct mg_ws_deflate *wish, struct mg_ws_deflate *agreed,
                            char text[MG_WS_DEFLATE_TEXT]) {
  struct offer o;
  bool ok;
  size_t n;
  while (mg_ws_can_compress() && next_offer(&offers, false, &o, &ok)) {
    if (!ok) continue;
    agreed->server = wish->server;
    agreed->client = wish->client;
    if (o.server_no_takeover) agreed->server.takeover = 0;
    if (o.client_no_takeover) agreed->client.takeover = 0;
    if (o.server_bits != 0 && o.server_bits < agreed->server.bits) agreed->server.bits = (uint8_t) o.server_bits;
    n = put(text, 0, "permessage-deflate");
    if (!agreed->server.takeover) n = put(text, n, "; server_no_context_takeover");
    if (!agreed->client.takeover) n = put(text, n, "; client_no_context_takeover");
    if (o.server_bits != 0) n += bits_text(text + n, MG_WS_DEFLATE_TEXT - n, "server_max_window_bits", agreed->server.bits);
    if (!o.client_bits_here) { /* RFC 7692 7.1.2.2: then we may not ask for less than the most */
      agreed->client.bits = 15;
    } else {
      if (o.client_bits != 0 && o.client_bits < agreed->client.bits) agreed->client.bits = (uint8_t) o.client_bits;
      if (agreed->client.bits < 15) n += bits_text(text + n, MG_WS_DEFLATE_TEXT - n, "client_max_window_bits", agreed->client.bits);
    }
    return n;
  }
  return 0;
}

size_t mg_ws_deflate_offer(const struct mg_ws_deflate *wish, char text[MG_WS_DEFLATE_TEXT]) {
  size_t n;
  if (!mg_ws_can_compress()) return 0;
  n = put(text, 0, "permessage-deflate; client_max_window_bits");
  if (!wish->client.takeover) n = put(text, n, "; client_no_context_takeover");
  if (!wish->server.takeover) n = put(text, n, "; server_no_context_takeover");
  if (wish->server.bits < 15) n += bits_text(text + n, MG_WS_DEFLATE_TEXT - n, "server_max_window_bits", wish->server.bits);
  return n;
}

bool mg_ws_deflate_agree(struct mg_str answer, const struct mg_ws_deflate *wish, struct mg_ws_deflate *agreed) {
  struct offer o;
  bool ok;
  if (!next_offer(&answer, true, &o, &ok) || !ok || answer.len > 0) return false;
  if (!wish->server.takeover && !o.server_no_takeover) return false; /* RFC 7692 7.1.1.1: taking the offer means to say so */
  if (wish->server.bits < 15 && (o.server_bits == 0 || o.server_bits > wish->server.bits)) return false;
  agreed->server.bits = o.server_bits != 0 ? (uint8_t) o.server_bits : 15;
  agreed->server.takeover = !o.server_no_takeover;
  agreed->client = wish->client;
  if (o.client_no_takeover) agreed->client.takeover = 0;
  if (o.client_bits != 0 && o.client_bits < agreed->client.bits) agreed->client.bits = (uint8_t) o.client_bits;
  return true;
}
