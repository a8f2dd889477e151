/* fuzz_http_log.c - lines of the access log. The input is cut at its line ends into what a request says: target, Host, User-Agent, Referer,
 * X-Request-ID, traceparent, X-Forwarded-For, X-Forwarded-Host.
 *
 * Invariant: one request, one line, whether it is taken or refused; the line is strict JSON in UTF-8, read by a reader that shares nothing
 * with the writer (log_line.h); and says what the request said: as it is where that is UTF-8, as ISO 8859-1 where it is not.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "log_line.h"
#include "mongoose/loop/io.h"
#include "mongoose/proto/http.h"
#include "mongoose/proto/http_log.h"
#include "mongoose/proto/http_origin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST LINE_MUST

enum { FIELDS = 8 };
static const char *const fields[FIELDS] = {NULL, "Host", "User-Agent", "Referer", "X-Request-ID", "traceparent", "X-Forwarded-For", "X-Forwarded-Host"};

static struct mg_mgr mgr;
static struct mg_connection *listener, *conn;
static struct log_line line;
static int lines;

static void take(void *arg, int level, struct mg_str json) {
  int at;
  (void) arg;
  log_line_free(&line);
  log_line_read(&line, json.buf, json.len);
  MUST((at = log_line_find(&line, "level")) >= 0);
  MUST(strcmp(line.text[at], level == 0 ? "info" : level == 1 ? "warning" : "error") == 0);
  MUST(log_line_find(&line, "ts") == 0 && log_line_find(&line, "status") > 0 && log_line_find(&line, "duration_ms") > 0);
  MUST((log_line_find(&line, "method") >= 0) != (log_line_find(&line, "error") >= 0));
  lines++;
}

static void on_event(struct mg_connection *c, int ev, void *ev_data) {
  (void) ev_data;
  if (ev == MG_EV_HTTP_MSG) mg_http_reply(c, 200, NULL, "ok");
  if (ev == MG_EV_CLOSE && c == conn) conn = NULL;
}

static bool is_utf8(const unsigned char *s, size_t n) {
  char buf[8], *out;
  for (const char *p = (const char *) s, *end = p + n; p < end;) {
    unsigned char c = (unsigned char) *p;
    size_t need = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    const unsigned char *u = (const unsigned char *) p;
    if (need == 0 || (size_t) (end - p) < need) return false;
    for (size_t i = 1; i < need; i++) {
      if ((u[i] & 0xc0) != 0x80) return false;
    }
    if ((c == 0xe0 && u[1] < 0xa0) || (c == 0xed && u[1] > 0x9f) || (c == 0xf0 && u[1] < 0x90) || (c == 0xf4 && u[1] > 0x8f)) return false;
    out = buf;
    if (c < 0x20) p++;
    else line_char(&p, end, &out);
  }
  return true;
}

/* Blanks around a value are not part of it. */
static void must_say(const char *name, const char *value, size_t len, bool always) {
  int at = log_line_find(&line, name);
  bool as_is;
  size_t k = 0;
  while (len > 0 && (*value == ' ' || *value == '\t')) value++, len--;
  while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t')) len--;
  if (at < 0) {
    MUST(len == 0 || !always);
    return;
  }
  as_is = is_utf8((const unsigned char *) value, len);
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char) value[i];
    if (c < 0x80 || as_is) {
      MUST(k < line.len[at] && (unsigned char) line.text[at][k++] == c);
    } else {
      MUST(k + 1 < line.len[at] && (unsigned char) line.text[at][k] == (0xc0 | c >> 6) && (unsigned char) line.text[at][k + 1] == (0x80 | (c & 63)));
      k += 2;
    }
  }
  MUST(k == line.len[at]);
}

static void start(void) {
  mg_mgr_init(&mgr);
  listener = mg_http_listen(&mgr, "http://127.0.0.1:0", on_event, NULL);
  MUST(listener != NULL && mg_http_log(listener, take, NULL));
  MUST(mg_http_trust(listener, mg_str("127.0.0.0/8"), MG_TRUST_X_FOR | MG_TRUST_X_HOST));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static char request[1 << 17], answer[1 << 17];
  const char *value[FIELDS], *p = (const char *) data, *end = p + size;
  size_t len[FIELDS], n = 0, sent = 0;
  uint64_t before, asked;
  int sv[2], i;
  if (listener == NULL) start();
  n = (size_t) snprintf(request, sizeof(request), "GET /");
  for (i = 0; i < FIELDS; i++) {
    const char *nl = size > 0 && p < end ? (const char *) memchr(p, '\n', (size_t) (end - p)) : NULL;
    value[i] = p;
    len[i] = size > 0 && p < end ? (size_t) ((nl != NULL ? nl : end) - p) : 0;
    p += len[i] + (nl != NULL ? 1 : 0);
    if (i > 0) n += (size_t) snprintf(request + n, sizeof(request) - n, "%s: ", fields[i]);
    if (len[i] > 0) memcpy(request + n, value[i], len[i]);
    n += len[i];
    n += (size_t) snprintf(request + n, sizeof(request) - n, i == 0 ? " HTTP/1.1\r\n" : "\r\n");
  }
  n += (size_t) snprintf(request + n, sizeof(request) - n, "\r\n");
  MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
  conn = mg_wrapfd(&mgr, sv[0], on_event, NULL);
  MUST(conn != NULL);
  conn->pfn = listener->pfn;
  conn->proto = listener->proto;
  mg_listener_drop(conn->listener);
  conn->listener = mg_listener_hold(listener->listener);
  mg_aton(mg_str("127.0.0.1"), &conn->rem);
  conn->is_unix = 0;
  before = mgr.stats.requests;
  lines = 0;
  for (i = 0; i < 1000 && conn != NULL; i++) {
    if (sent < n) {
      ssize_t k = send(sv[1], request + sent, n - sent, MSG_NOSIGNAL);
      if (k > 0) sent += (size_t) k;
    } else if (i > 3) {
      shutdown(sv[1], SHUT_WR);
    }
    mg_mgr_poll(&mgr, 0);
    while (recv(sv[1], answer, sizeof(answer), 0) > 0) continue;
  }
  MUST(conn == NULL);
  close(sv[1]);
  asked = mgr.stats.requests - before;
  MUST(lines >= 0 && (uint64_t) lines == asked);
  if (lines == 1 && log_line_find(&line, "method") >= 0 && memchr(request, '\0', n) == NULL) {
    must_say("user_agent", value[2], len[2], true);
    must_say("referer", value[3], len[3], true);
    must_say("request_id", value[4], len[4], false);
  }
  return 0;
}
