/* ws_helpers.h - a WebSocket server under test, and a peer made of a plain socket that speaks in frames of its own. */
#pragma once
#include "http_helpers.h"
#include "mongoose/codec/ws_frame.h"
#include "mongoose/proto/ws.h"

#define HANDSHAKE                                                                                                    \
  "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n" \
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static struct mg_connection *listener, *server; /* server: the newest WebSocket's side of ours */
static struct mg_ws_opts opts;
static struct mg_limits limits;
static int opens, msgs, ctls, closes, errors, last_op, closed_with, sent_with;
static bool echoes, upgraded;
static char *heard; /* messages, each with a '|' behind it */
static size_t heard_len, heard_size;
static char closed_why[128];
static void (*on_msg)(struct mg_connection *c, struct mg_ws_message *m);  /* instead of the echo */
static void (*on_http)(struct mg_connection *c, struct mg_http_message *hm); /* instead of the upgrade */

static UNUSED void hear(struct mg_str s) {
  if (heard_len + s.len + 2 > heard_size) {
    heard_size = 2 * (heard_len + s.len + 2);
    heard = (char *) realloc(heard, heard_size);
  }
  if (s.len > 0) memcpy(heard + heard_len, s.buf, s.len);
  heard_len += s.len + 1;
  memcpy(heard + heard_len - 1, "|", 2);
}

static UNUSED void ws_server(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_ws_message *m = (struct mg_ws_message *) ev_data;
  if (ev == MG_EV_HTTP_MSG && on_http != NULL) {
    on_http(c, (struct mg_http_message *) ev_data);
  } else if (ev == MG_EV_HTTP_MSG) {
    upgraded = mg_ws_upgrade_with(c, (struct mg_http_message *) ev_data, &opts);
  } else if (ev == MG_EV_WS_OPEN) {
    opens++;
    server = c;
    CHECK(c->is_websocket);
  } else if (ev == MG_EV_WS_MSG) {
    msgs++;
    last_op = m->flags & 15;
    if (on_msg != NULL) {
      on_msg(c, m);
    } else if (echoes) {
      CHECK(mg_ws_send(c, m->data.buf, m->data.len, m->flags & 15) > 0);
    } else {
      hear(m->data);
    }
  } else if (ev == MG_EV_WS_CTL) {
    ctls++;
    last_op = m->flags & 15;
    hear(m->data);
  } else if (ev == MG_EV_ERROR) {
    errors++;
  } else if (ev == MG_EV_CLOSE && c->is_websocket) {
    struct mg_str why = mg_ws_close_reason(c);
    closes++;
    closed_with = mg_ws_close_code(c);
    sent_with = mg_ws_sent_code(c);
    snprintf(closed_why, sizeof(closed_why), "%.*s", (int) why.len, why.buf);
    if (c == server) server = NULL;
  }
}

static UNUSED void ws_up(void) {
  static struct mg_listen_opts lo;
  loop_up();
  memset(&opts, 0, sizeof(opts));
  opens = msgs = ctls = closes = errors = last_op = closed_with = sent_with = 0;
  echoes = upgraded = false;
  on_msg = NULL;
  on_http = NULL;
  server = NULL;
  heard = (char *) calloc(1, 1);
  heard_len = 0;
  heard_size = 1;
  limits = mg_limits_default;
  lo.limits = &limits;
  listener = mg_http_listen_with(&mgr, "http://127.0.0.1:0", ws_server, NULL, &lo);
  CHECK(listener != NULL);
}

/* With limits changed since ws_up. */
static UNUSED void ws_relimit(void) {
  listener->listener->limits = limits;
}

static UNUSED void ws_down(void) {
  loop_down();
  free(heard);
}

static UNUSED void forget(struct peer *p, size_t n) {
  memmove(p->buf, p->buf + n, p->len - n + 1);
  p->len -= n;
}

/* The head of an answer, taken off what the peer has. Its status. */
static UNUSED int take_head(struct peer *p, char head[2048]) {
  char *end;
  if (!UNTIL(has(p, "\r\n\r\n") || gone(p))) return 0;
  end = strstr(p->buf, "\r\n\r\n");
  if (end == NULL) return 0;
  snprintf(head, 2048, "%.*s", (int) (end + 4 - p->buf), p->buf);
  forget(p, (size_t) (end + 4 - p->buf));
  return atoi(head + 9);
}

static UNUSED struct peer ws_dial_with(const char *lines) {
  struct peer p = dial(listener);
  char head[2048];
  say(&p, HANDSHAKE);
  say(&p, lines);
  say(&p, "\r\n");
  CHECK_INT(take_head(&p, head), 101);
  return p;
}

static UNUSED struct peer ws_dial(void) {
  return ws_dial_with("");
}

/* A masked frame into `to`, which has room for 14 bytes more than len. */
static UNUSED size_t frame_of(char *to, unsigned first, const void *data, size_t len) {
  static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
  size_t n = mg_ws_frame_head((uint8_t *) to, first, len, mask);
  mg_ws_mask(to + n, data, len, mask, 0);
  return n + len;
}

static UNUSED void say_frame(struct peer *p, unsigned first, const void *data, size_t len) {
  char *f = (char *) malloc(len + MG_WS_HEAD_MAX);
  size_t at = 0, n = frame_of(f, first, data, len);
  CHECK(UNTIL(say_more(p, f, n, &at)));
  free(f);
}
#define SAY(p, first, text) say_frame(p, first, text, strlen(text))

/* A whole frame at the front of what the peer has; its payload is behind f's head. */
static UNUSED bool frame_here(struct peer *p, struct mg_ws_frame *f, int *head) {
  static const struct mg_ws_frame_rules rules = {1u << 30, false, true};
  pump(p);
  if (p->buf == NULL) return false;
  *head = mg_ws_frame_parse(f, mg_str_n(p->buf, p->len), &rules);
  CHECK(*head >= 0);
  return *head > 0 && p->len - (size_t) *head >= f->len;
}

#define CHECK_FRAME(p, first, want, n)                         \
  do {                                                         \
    struct mg_ws_frame f_;                                     \
    int head_ = 0;                                             \
    CHECK(UNTIL(frame_here(p, &f_, &head_)));                  \
    if (head_ > 0) {                                           \
      CHECK_INT((uint8_t) (p)->buf[0], first);                 \
      CHECK_MEM((p)->buf + head_, (size_t) f_.len, want, n);   \
      forget(p, (size_t) head_ + (size_t) f_.len);             \
    }                                                          \
  } while (0)

/* A close frame with this code, and then the end of the connection. */
#define CHECK_CLOSED(p, code)                                            \
  do {                                                                   \
    struct mg_ws_frame f_;                                               \
    int head_ = 0;                                                       \
    CHECK(UNTIL(frame_here(p, &f_, &head_)));                            \
    if (head_ > 0) {                                                     \
      CHECK_INT(f_.op, WEBSOCKET_OP_CLOSE);                              \
      CHECK_INT(f_.len >= 2 ? MG_LOAD_BE16((p)->buf + head_) : 1005, code); \
      forget(p, (size_t) head_ + (size_t) f_.len);                       \
    }                                                                    \
    CHECK(UNTIL(gone(p)));                                               \
    CHECK_INT((p)->len, 0);                                              \
    CHECK_INT((p)->err, 0);                                              \
  } while (0)
