/* ws_upgrade.c - the server's side of the opening handshake (RFC 6455 4.2), strict: what is not an offer is told why. */
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/base64.h"
#include "mongoose/base/printf.h"
#include "mongoose/base/sha1.h"
#include "mongoose/base/status.h"
#include "mongoose/loop/io.h"
#include "mongoose/proto/http_conn.h"
#include "mongoose/proto/ws_conn.h"

#define PLAIN "Content-Type: text/plain\r\n"

void mg_ws_accept(struct mg_str key, char to[29]) {
  static const unsigned char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[20];
  mg_sha1_ctx ctx;
  mg_sha1_init(&ctx);
  mg_sha1_update(&ctx, (const unsigned char *) key.buf, key.len);
  mg_sha1_update(&ctx, guid, sizeof(guid) - 1);
  mg_sha1_final(digest, &ctx);
  mg_base64_encode(digest, sizeof(digest), to, 29);
}

static bool same(struct mg_str a, const char *b) {
  return mg_strcasecmp(a, mg_str(b)) == 0;
}

struct mg_str *mg_ws_field(struct mg_http_message *hm, const char *name, size_t *i) {
  while (*i < MG_MAX_HTTP_HEADERS && hm->headers[*i].name.len > 0) {
    struct mg_http_header *h = &hm->headers[(*i)++];
    if (same(h->name, name)) return &h->value;
  }
  return NULL;
}

static int count_fields(struct mg_http_message *hm, const char *name) {
  size_t i = 0;
  int n = 0;
  while (mg_ws_field(hm, name, &i) != NULL) n++;
  return n;
}

bool mg_ws_lists(struct mg_http_message *hm, const char *name, const char *token) {
  struct mg_str *v, rest, item;
  size_t i = 0;
  while ((v = mg_ws_field(hm, name, &i)) != NULL) {
    rest = *v;
    while (mg_span(rest, &item, &rest, ',')) {
      if (same(mg_ws_trim(item), token)) return true;
    }
  }
  return false;
}

bool mg_ws_wanted(struct mg_http_message *hm) {
  return mg_ws_lists(hm, "Upgrade", "websocket") && mg_ws_lists(hm, "Connection", "upgrade");
}

/* ---- refusing ---- */

struct refusal {
  int status;
  const char *headers, *why;
};

/* RFC 6455 4.2.1, and what a request must not be for its rest to be frames. status 0: nothing is wrong. */
static struct refusal look_at(struct mg_http_message *hm, const struct mg_ws_opts *opts) {
  static const char version[] = PLAIN "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
  struct mg_str *v = mg_http_get_header(hm, "Sec-WebSocket-Version"), *key = mg_http_get_header(hm, "Sec-WebSocket-Key"), *f;
  char bytes[25];
  size_t i;
  if (!mg_ws_wanted(hm)) return (struct refusal){426, version, "this is a WebSocket endpoint\n"};
  if (!(hm->method.len == 3 && memcmp(hm->method.buf, "GET", 3) == 0)) {
    return (struct refusal){405, PLAIN "Allow: GET\r\n", "a WebSocket handshake is a GET request\n"};
  }
  if (!(hm->proto.len == 8 && memcmp(hm->proto.buf, "HTTP/1.1", 8) == 0)) {
    return (struct refusal){400, PLAIN, "a WebSocket handshake needs HTTP/1.1\n"};
  }
  if (v == NULL || v->len != 2 || memcmp(v->buf, "13", 2) != 0 || count_fields(hm, "Sec-WebSocket-Version") != 1) {
    return (struct refusal){426, version, "the WebSocket version spoken here is 13\n"};
  }
  if (key == NULL || count_fields(hm, "Sec-WebSocket-Key") != 1 || key->len != 24 ||
      mg_base64_decode(key->buf, key->len, bytes, sizeof(bytes)) != 16) {
    return (struct refusal){400, PLAIN, "Sec-WebSocket-Key is not 16 bytes in base64\n"};
  }
  f = mg_http_get_header(hm, "Content-Length");
  if (hm->body.len > 0 || (f != NULL && !(f->len == 1 && f->buf[0] == '0')) || mg_http_get_header(hm, "Transfer-Encoding") != NULL) {
    return (struct refusal){400, PLAIN, "a WebSocket handshake has no body\n"};
  }
  f = mg_http_get_header(hm, "Origin");
  for (i = 0; i < opts->norigins; i++) {
    if (f != NULL && mg_strcasecmp(*f, opts->origins[i]) == 0 && count_fields(hm, "Origin") == 1) break;
  }
  if (opts->norigins > 0 && i == opts->norigins) return (struct refusal){403, PLAIN, "this origin may not connect\n"};
  return (struct refusal){0, NULL, NULL};
}

/* ---- agreeing ---- */

/* The first of ours that the client offers, too. */
static struct mg_str choose_protocol(struct mg_http_message *hm, const struct mg_ws_opts *opts) {
  size_t i, at;
  struct mg_str *v, rest, item;
  for (i = 0; i < opts->nprotocols; i++) {
    at = 0;
    while ((v = mg_ws_field(hm, "Sec-WebSocket-Protocol", &at)) != NULL) {
      rest = *v;
      while (mg_span(rest, &item, &rest, ',')) {
        if (mg_strcmp(mg_ws_trim(item), opts->protocols[i]) == 0) return opts->protocols[i];
      }
    }
  }
  return mg_str("");
}

/* A subprotocol that the application names in lines of its own. */
static struct mg_str protocol_in(struct mg_str lines) {
  static const char name[] = "Sec-WebSocket-Protocol:";
  struct mg_str line;
  while (mg_span(lines, &line, &lines, '\n')) {
    size_t n = sizeof(name) - 1;
    if (line.len > 0 && line.buf[line.len - 1] == '\r') line.len--;
    if (line.len > n && same(mg_str_n(line.buf, n), name)) return mg_ws_trim(mg_str_n(line.buf + n, line.len - n));
  }
  return mg_str("");
}

static size_t agree_deflate(struct mg_connection *c, struct mg_ws_conn *ws, struct mg_http_message *hm, const struct mg_ws_opts *opts,
                            char text[MG_WS_DEFLATE_TEXT]) {
  struct mg_ws_site *site = mg_ws_site(c->mgr);
  struct mg_ws_deflate wish, agreed;
  struct mg_str *v;
  size_t i = 0, n = 0;
  if (!opts->compress) return 0;
  mg_ws_wish(site, opts, false, &wish);
  while (n == 0 && (v = mg_ws_field(hm, "Sec-WebSocket-Extensions", &i)) != NULL) n = mg_ws_deflate_answer(*v, &wish, &agreed, text);
  if (n > 0) mg_ws_agree(site, ws, opts, &agreed, false);
  return n;
}

static bool out_of_memory(struct mg_connection *c, struct mg_ws_conn *ws) {
  if (ws != NULL) mg_ws_conn_free(c, ws);
  mg_http_reply(c, 503, PLAIN, "out of memory\n");
  c->mgr->status = MG_ENOMEM;
  return false;
}

static bool accept_it(struct mg_connection *c, struct mg_http_message *hm, const struct mg_ws_opts *opts) {
  static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
  struct mg_ws_conn *ws = mg_ws_conn_new(c, opts, &c->listener->limits.ws);
  struct mg_str chosen = choose_protocol(hm, opts), own = protocol_in(opts->headers);
  char extensions[MG_WS_DEFLATE_TEXT], accept[29];
  size_t n;
  if (ws == NULL) return out_of_memory(c, ws);
  if (own.len > 0) {
    ws->protocol = mg_strdup(own);
    chosen.len = 0;
  } else if (chosen.len > 0) {
    ws->protocol = mg_strdup(chosen);
  }
  n = agree_deflate(c, ws, hm, opts, extensions);
  if ((ws->protocol.buf == NULL && (own.len > 0 || chosen.len > 0)) || !mg_send_reserve(c, 512 + opts->headers.len + chosen.len)) {
    return out_of_memory(c, ws);
  }
  mg_ws_accept(*mg_http_get_header(hm, "Sec-WebSocket-Key"), accept);
  mg_send(c, head, sizeof(head) - 1);
  mg_send(c, accept, 28);
  mg_send(c, "\r\n", 2);
  if (chosen.len > 0) {
    mg_send(c, "Sec-WebSocket-Protocol: ", 24);
    mg_send(c, chosen.buf, chosen.len);
    mg_send(c, "\r\n", 2);
  }
  if (n > 0) {
    mg_send(c, "Sec-WebSocket-Extensions: ", 26);
    mg_send(c, extensions, n);
    mg_send(c, "\r\n", 2);
  }
  mg_send(c, opts->headers.buf, opts->headers.len);
  mg_send(c, "\r\n", 2);
  ws->http = mg_http_leave(c);
  mg_ws_install(c, ws);
  if (c->fn != NULL) c->fn(c, MG_EV_WS_OPEN, hm);
  return true;
}

bool mg_ws_upgrade_with(struct mg_connection *c, struct mg_http_message *hm, const struct mg_ws_opts *opts) {
  static const struct mg_ws_opts none;
  struct mg_http_conn *hc = mg_http_of(c);
  struct mg_http_xchg *x = hc != NULL ? mg_xchg_target(hc) : NULL;
  struct refusal r;
  if (opts == NULL) opts = &none;
  if (x != NULL) {
    mg_xchg_aim(c, hc, x);
    mg_http_watch_raw(c, x);
  }
  if (c->is_dead || c->is_closing || c->is_draining || x == NULL || x->answer != MG_ANSWER_NONE) {
    c->mgr->status = c->is_dead ? MG_ECLOSED : MG_ESTATE;
    return false;
  }
  r = look_at(hm, opts);
  if (r.status == 0 && x != &hc->now && x != hc->queue) { /* the answers in front of it would come behind it */
    r = (struct refusal){400, PLAIN, "a WebSocket handshake cannot follow requests that have no answer yet\n"};
  }
  if (r.status == 0) return accept_it(c, hm, opts);
  mg_http_reply(c, r.status, r.headers, "%s", r.why);
  c->mgr->status = MG_EPROTO;
  return false;
}

void mg_ws_upgrade(struct mg_connection *c, struct mg_http_message *hm, const char *fmt, ...) {
  struct mg_ws_opts opts;
  char *lines = NULL;
  va_list ap;
  memset(&opts, 0, sizeof(opts));
  if (fmt != NULL) {
    va_start(ap, fmt);
    lines = mg_vmprintf(fmt, &ap);
    va_end(ap);
    if (lines == NULL) {
      c->mgr->status = MG_ENOMEM;
      mg_http_reply(c, 503, PLAIN, "out of memory\n");
      return;
    }
    opts.headers = mg_str(lines);
  }
  (void) mg_ws_upgrade_with(c, hm, &opts);
  mg_free(lines);
}
