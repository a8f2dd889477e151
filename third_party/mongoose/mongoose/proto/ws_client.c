/* ws_client.c - the client's side of the opening handshake (RFC 6455 4.1): ask, and believe only the answer to what was asked. */
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/base64.h"
#include "mongoose/base/printf.h"
#include "mongoose/base/rand.h"
#include "mongoose/base/status.h"
#include "mongoose/codec/url.h"
#include "mongoose/loop/io.h"
#include "mongoose/proto/ws_conn.h"

struct handshake {
  struct mg_iobuf request;
  struct mg_iobuf protocols; /* as offered: "a, b" */
  char key[25];
  bool failed;               /* MG_EV_ERROR was told */
  struct mg_ws_opts opts;    /* without its pointers */
  struct mg_ws_limits limits;
  struct mg_ws_deflate wish;
  struct mg_http_parser p;
  struct mg_http_message hm;
};

static void handshake_free(struct handshake *h) {
  mg_iobuf_free(&h->request);
  mg_iobuf_free(&h->protocols);
  mg_free(h);
}

static void timed_out(struct mg_connection *c) {
  ((struct handshake *) c->pfn_data)->failed = true;
  mg_count(&c->mgr->stats.timeouts, 1);
  mg_error(c, "WebSocket handshake timed out");
}

static const struct mg_proto proto_handshake = {"websocket handshake", NULL, timed_out, NULL, NULL};

/* ---- asking ---- */

static bool add(struct mg_iobuf *io, const char *fmt, ...) {
  size_t before = io->len, n;
  va_list ap;
  va_start(ap, fmt);
  n = mg_vxprintf(mg_pfn_iobuf, io, fmt, &ap);
  va_end(ap);
  return io->len - before == n;
}

/* The target of the request. NULL buf: the URL has bytes that no request line can have. */
static struct mg_str target(const char *url) {
  const char *colon = strchr(url, ':');
  bool is_unix = colon != NULL && colon - url >= 4 && memcmp(colon - 4, "unix", 4) == 0; /* the path is the socket's */
  struct mg_str s = mg_str(is_unix ? "/" : mg_url_uri(url)), rest;
  size_t i;
  if (mg_span(s, &s, &rest, '#') && s.len == 0) s = mg_str("/");
  for (i = 0; i < s.len; i++) {
    if ((unsigned char) s.buf[i] <= ' ' || (unsigned char) s.buf[i] >= 127) return mg_str(NULL);
  }
  return s;
}

static bool add_credentials(struct mg_iobuf *io, const char *url) {
  struct mg_str user = mg_url_user(url), pass = mg_url_pass(url);
  char plain[512], coded[700];
  int n, m;
  if (user.len == 0) return true;
  n = mg_url_decode(user.buf, user.len, plain, sizeof(plain) / 2, 0);
  if (n < 0) return false;
  plain[n++] = ':';
  m = pass.len > 0 ? mg_url_decode(pass.buf, pass.len, plain + n, sizeof(plain) / 2 - 1, 0) : 0;
  if (m < 0) return false;
  mg_base64_encode((unsigned char *) plain, (size_t) (n + m), coded, sizeof(coded));
  return add(io, "Authorization: Basic %s\r\n", coded);
}

static bool write_request(struct handshake *h, const char *url, const struct mg_ws_opts *opts) {
  struct mg_str host = mg_url_host(url), uri = target(url);
  unsigned short port = mg_url_port(url), usual = mg_url_is_ssl(url) ? 443 : 80;
  struct mg_iobuf *io = &h->request;
  char text[MG_WS_DEFLATE_TEXT], number[8] = "";
  size_t i, n;
  bool ok;
  if (host.len == 0) host = mg_str("localhost");
  if (port != usual && port != 0) mg_snprintf(number, sizeof(number), ":%d", port);
  for (i = 0, ok = true; i < opts->nprotocols && ok; i++) {
    ok = add(&h->protocols, "%s%.*s", i > 0 ? ", " : "", (int) opts->protocols[i].len, opts->protocols[i].buf);
  }
  ok = ok && add(io, "GET %s%.*s HTTP/1.1\r\nHost: %.*s%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", uri.buf[0] == '/' ? "" : "/",
                 (int) uri.len, uri.buf, (int) host.len, host.buf, number);
  ok = ok && add(io, "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", h->key) && add_credentials(io, url);
  if (ok && h->protocols.len > 0) ok = add(io, "Sec-WebSocket-Protocol: %.*s\r\n", (int) h->protocols.len, (char *) h->protocols.buf);
  n = opts->compress ? mg_ws_deflate_offer(&h->wish, text) : 0;
  if (n > 0) ok = ok && add(io, "Sec-WebSocket-Extensions: %s\r\n", text);
  h->opts.compress = n > 0;
  return ok && (opts->headers.len == 0 || mg_iobuf_add(io, io->len, opts->headers.buf, opts->headers.len) > 0) &&
         mg_iobuf_add(io, io->len, "\r\n", 2) == 2;
}

/* ---- believing ---- */

/* NULL, or what is wrong with a 101 (RFC 6455 4.1, the list at its end). */
static const char *look_at(struct handshake *h, struct mg_ws_deflate *agreed, struct mg_str *protocol, bool *compress) {
  struct mg_http_message *hm = &h->hm;
  struct mg_str *v = mg_http_get_header(hm, "Upgrade"), rest, item;
  char accept[29];
  size_t i = 0;
  if (v == NULL || mg_strcasecmp(*v, mg_str("websocket")) != 0 || !mg_ws_lists(hm, "Connection", "upgrade")) return "no upgrade to WebSocket";
  mg_ws_accept(mg_str(h->key), accept);
  v = mg_http_get_header(hm, "Sec-WebSocket-Accept");
  if (v == NULL || mg_strcmp(mg_ws_trim(*v), mg_str(accept)) != 0) return "Sec-WebSocket-Accept does not answer our key";
  v = mg_ws_field(hm, "Sec-WebSocket-Extensions", &i);
  *compress = v != NULL;
  if (v != NULL && (!h->opts.compress || !mg_ws_deflate_agree(*v, &h->wish, agreed) || mg_ws_field(hm, "Sec-WebSocket-Extensions", &i))) {
    return "extensions that were not offered";
  }
  i = 0;
  v = mg_ws_field(hm, "Sec-WebSocket-Protocol", &i);
  *protocol = v != NULL ? *v : mg_str("");
  if (v == NULL) return NULL;
  rest = mg_str_n((char *) h->protocols.buf, h->protocols.len);
  while (mg_span(rest, &item, &rest, ',')) {
    if (mg_strcmp(mg_ws_trim(item), *v) == 0 && mg_ws_field(hm, "Sec-WebSocket-Protocol", &i) == NULL) return NULL;
  }
  return "a subprotocol that was not offered";
}

static void opened(struct mg_connection *c, struct handshake *h, size_t head_len) {
  struct mg_ws_deflate agreed;
  struct mg_str protocol;
  bool compress;
  const char *wrong = look_at(h, &agreed, &protocol, &compress);
  struct mg_ws_conn *ws = wrong == NULL ? mg_ws_conn_new(c, &h->opts, &h->limits) : NULL;
  if (ws != NULL && protocol.len > 0) {
    ws->protocol = mg_strdup(protocol);
    if (ws->protocol.buf == NULL) mg_ws_conn_free(c, ws), ws = NULL;
  }
  if (ws == NULL) {
    h->failed = true;
    mg_error(c, "WebSocket handshake failed: %s", wrong != NULL ? wrong : "out of memory");
    return;
  }
  if (compress) mg_ws_agree(mg_ws_site(c->mgr), ws, &h->opts, &agreed, true);
  mg_ws_install(c, ws);
  ws->telling = 1;
  if (c->fn != NULL) c->fn(c, MG_EV_WS_OPEN, &h->hm);
  ws->telling = 0;
  mg_iobuf_del(&c->recv, 0, head_len);
  handshake_free(h);
  if (!c->is_closing && !c->is_dead) mg_ws_read(c, ws);
}

static void read_answer(struct mg_connection *c, struct handshake *h) {
  const struct mg_limits *l = &c->listener->limits;
  struct mg_http_parse_limits pl = {l->max_uri, l->max_header, l->max_head, l->max_headers};
  int n;
  while (c->recv.len > 0 && !c->is_closing && !c->is_dead) {
    h->p.is_response = 1;
    n = mg_http_parse_head(&h->p, mg_str_n((char *) c->recv.buf, c->recv.len), &pl, &h->hm);
    if (n == 0) return;
    if (n > 0 && h->p.status == 101) {
      opened(c, h, (size_t) n);
      return;
    }
    if (n > 0 && h->p.status < 200) { /* not the answer yet */
      mg_iobuf_del(&c->recv, 0, (size_t) n);
      memset(&h->p, 0, sizeof(h->p));
      continue;
    }
    h->failed = true;
    if (n < 0) {
      mg_error(c, "WebSocket handshake failed: malformed response");
    } else {
      mg_error(c, "WebSocket handshake refused: %d %.*s", h->p.status, h->hm.query.len == 0 ? (int) h->hm.proto.len : 0, h->hm.proto.buf);
    }
    return;
  }
}

static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  struct handshake *h = (struct handshake *) c->pfn_data;
  if (ev == MG_EV_CONNECT) {
    uint32_t ms = c->listener->limits.connect_timeout;
    if (!mg_send(c, h->request.buf, h->request.len)) c->is_closing = 1;
    mg_read_due(c, ms > 0 ? c->mgr->now + ms : 0);
  } else if (ev == MG_EV_TLS_HS) { /* TLS had its own deadline; the answer has as long again */
    uint32_t ms = c->listener->limits.connect_timeout;
    mg_read_due(c, ms > 0 ? c->mgr->now + ms : 0);
  } else if (ev == MG_EV_READ) {
    read_answer(c, h);
  } else if (ev == MG_EV_ERROR) {
    h->failed = true;
  } else if (ev == MG_EV_CLOSE) {
    if (!h->failed && c->is_eof) mg_error(c, "WebSocket handshake failed: the server closed the connection");
    c->pfn_data = NULL;
    c->proto = NULL;
    c->pfn = NULL;
    handshake_free(h);
  }
  (void) ev_data;
}

struct mg_connection *mg_ws_connect_with(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data,
                                         const struct mg_ws_opts *opts) {
  static const struct mg_ws_opts none;
  struct mg_ws_site *site = mg_ws_site(mgr);
  struct handshake *h = site != NULL ? (struct handshake *) mg_calloc(1, sizeof(*h)) : NULL;
  struct mg_connection *c;
  unsigned char key[16];
  if (opts == NULL) opts = &none;
  if (h == NULL) {
    mg_fail(mgr, MG_ENOMEM, NULL);
    return NULL;
  }
  h->opts.compress = opts->compress;
  h->opts.level = opts->level;
  h->opts.min_size = opts->min_size;
  h->limits = opts->limits != NULL ? *opts->limits : mg_limits_default.ws;
  if (opts->compress) mg_ws_wish(site, opts, true, &h->wish);
  if (target(url).buf == NULL || !mg_random(key, sizeof(key))) {
    mg_fail(mgr, target(url).buf == NULL ? MG_EINVAL : MG_EIO, target(url).buf == NULL ? "bad character in the URL's path" : "no randomness");
    handshake_free(h);
    return NULL;
  }
  mg_base64_encode(key, sizeof(key), h->key, sizeof(h->key));
  if (!write_request(h, url, opts)) {
    mg_fail(mgr, MG_ENOMEM, NULL);
    handshake_free(h);
    return NULL;
  }
  c = mg_connect_svc(mgr, url, fn, fn_data, on_event, h);
  if (c == NULL) {
    handshake_free(h);
  } else {
    c->proto = &proto_handshake;
  }
  return c;
}

struct mg_connection *mg_ws_connect(struct mg_mgr *mgr, const char *url, mg_event_handler_t fn, void *fn_data, const char *fmt, ...) {
  struct mg_ws_opts opts;
  struct mg_connection *c;
  char *lines = NULL;
  va_list ap;
  memset(&opts, 0, sizeof(opts));
  if (fmt != NULL) {
    va_start(ap, fmt);
    lines = mg_vmprintf(fmt, &ap);
    va_end(ap);
    if (lines == NULL) {
      mg_fail(mgr, MG_ENOMEM, NULL);
      return NULL;
    }
    opts.headers = mg_str(lines);
  }
  c = mg_ws_connect_with(mgr, url, fn, fn_data, &opts);
  mg_free(lines);
  return c;
}
