/* test_compat.c - every function, struct field, constant and macro that a program in Mongoose's usual style may name: that it is there, and
 * in a form that such a program compiles with. What it does is the business of the other tests.
 */
#include "check.h"
#include "mongoose.h"

/* Function pointers: a signature that changes does not compile (with -Werror). */
typedef struct mg_mgr M;
typedef struct mg_connection C;
typedef struct mg_str S;
typedef struct mg_http_message H;
typedef mg_event_handler_t E;
typedef void (*out_t)(char, void *);

TEST(functions_have_the_signatures_of_the_api) {
  /* manager, connections */
  void (*f1)(M *) = mg_mgr_init, (*f2)(M *) = mg_mgr_free;
  void (*f3)(M *, int) = mg_mgr_poll;
  bool (*f4)(M *) = mg_wakeup_init;
  bool (*f5)(M *, unsigned long, const void *, size_t) = mg_wakeup;
  C *(*f6)(M *, const char *, E, void *) = mg_listen;
  C *(*f7)(M *, const char *, E, void *) = mg_connect;
  C *(*f8)(M *, const char *, E, void *, E, void *) = mg_connect_svc;
  C *(*f9)(M *, int, E, void *) = mg_wrapfd;
  bool (*f10)(C *, const void *, size_t) = mg_send;
  size_t (*f11)(C *, const char *, ...) = mg_printf;
  size_t (*f12)(C *, const char *, va_list *) = mg_vprintf;
  void (*f13)(C *) = mg_close_conn;
  void (*f14)(C *, const char *, ...) = mg_error;
  void (*f15)(C *, int, void *) = mg_call;
  C *(*f16)(M *) = mg_alloc_conn;
  bool (*f17)(C *, const char *) = mg_open_listener;
  void (*f18)(C *) = mg_connect_resolved;
  void (*f19)(C *, const char *) = mg_resolve;
  void (*f20)(C *) = mg_resolve_cancel;
  struct mg_timer *(*f21)(M *, uint64_t, unsigned, void (*)(void *), void *) = mg_timer_add;
  void (*f22)(struct mg_timer **, struct mg_timer *, uint64_t, unsigned, void (*)(void *), void *) = mg_timer_init;
  void (*f23)(struct mg_timer **, struct mg_timer *) = mg_timer_free;
  void (*f24)(struct mg_timer **, uint64_t) = mg_timer_poll;
  bool (*f25)(uint64_t *, uint64_t, uint64_t) = mg_timer_expired;
  /* addresses, buffers, strings */
  bool (*g1)(S, struct mg_addr *) = mg_aton;
  size_t (*g2)(out_t, void *, va_list *) = mg_print_ip;
  size_t (*g3)(out_t, void *, va_list *) = mg_print_ip_port;
  int (*g4)(struct mg_iobuf *, size_t, size_t) = mg_iobuf_init;
  int (*g5)(struct mg_iobuf *, size_t) = mg_iobuf_resize;
  void (*g6)(struct mg_iobuf *) = mg_iobuf_free;
  size_t (*g7)(struct mg_iobuf *, size_t, const void *, size_t) = mg_iobuf_add;
  size_t (*g8)(struct mg_iobuf *, size_t, size_t) = mg_iobuf_del;
  S (*g9)(const char *) = mg_str;
  S (*g10)(const char *, size_t) = mg_str_n;
  int (*g11)(const S, const S) = mg_strcmp;
  int (*g12)(const S, const S) = mg_strcasecmp;
  int (*g13)(const char *, const char *) = mg_casecmp;
  S (*g14)(const S) = mg_strdup;
  bool (*g15)(S, S, S *) = mg_match;
  bool (*g16)(S, S *, S *, char) = mg_span;
  bool (*g17)(S, int, void *, size_t) = mg_str_to_num;
  /* HTTP */
  C *(*h1)(M *, const char *, E, void *) = mg_http_listen;
  C *(*h2)(M *, const char *, E, void *) = mg_http_connect;
  int (*h3)(const char *, size_t, H *) = mg_http_parse;
  int (*h4)(const unsigned char *, size_t) = mg_http_get_request_len;
  void (*h5)(C *, int, const char *, const char *, ...) = mg_http_reply;
  void (*h6)(C *, const char *, ...) = mg_http_printf_chunk;
  void (*h7)(C *, const char *, size_t) = mg_http_write_chunk;
  S *(*h8)(H *, const char *) = mg_http_get_header;
  S (*h9)(S, S) = mg_http_get_header_var;
  S (*h10)(S, S) = mg_http_var;
  int (*h11)(const S *, const char *, char *, size_t) = mg_http_get_var;
  void (*h12)(H *, char *, size_t, char *, size_t) = mg_http_creds;
  void (*h13)(C *, const char *, const char *) = mg_http_bauth;
  size_t (*h14)(S, size_t, struct mg_http_part *) = mg_http_next_multipart;
  long (*h15)(C *, H *, struct mg_fs *, const char *, size_t) = mg_http_upload;
  int (*h16)(const H *) = mg_http_status;
  size_t (*h17)(const char *, size_t, char *, size_t) = mg_url_encode;
  int (*h18)(const char *, size_t, char *, size_t, int) = mg_url_decode;
  /* WebSocket */
  C *(*w1)(M *, const char *, E, void *, const char *, ...) = mg_ws_connect;
  void (*w2)(C *, H *, const char *, ...) = mg_ws_upgrade;
  size_t (*w3)(C *, const void *, size_t, int) = mg_ws_send;
  size_t (*w4)(C *, size_t, int) = mg_ws_wrap;
  size_t (*w5)(C *, int, const char *, ...) = mg_ws_printf;
  size_t (*w6)(C *, int, const char *, va_list *) = mg_ws_vprintf;
  /* TLS */
  void (*t1)(C *, const struct mg_tls_opts *) = mg_tls_init;
  void (*t2)(C *) = mg_tls_free;
  void (*t3)(C *) = mg_tls_handshake;
  long (*t4)(C *, const void *, size_t) = mg_tls_send;
  long (*t5)(C *, void *, size_t) = mg_tls_recv;
  size_t (*t6)(C *) = mg_tls_pending;
  void (*t7)(C *) = mg_tls_flush;
  void (*t8)(M *) = mg_tls_ctx_init;
  void (*t9)(M *) = mg_tls_ctx_free;
  /* JSON */
  int (*j1)(S, const char *, int *) = mg_json_get;
  S (*j2)(S, const char *) = mg_json_get_tok;
  bool (*j3)(S, const char *, double *) = mg_json_get_num;
  bool (*j4)(S, const char *, bool *) = mg_json_get_bool;
  long (*j5)(S, const char *, long) = mg_json_get_long;
  char *(*j6)(S, const char *) = mg_json_get_str;
  char *(*j7)(S, const char *, int *) = mg_json_get_hex;
  char *(*j8)(S, const char *, int *) = mg_json_get_b64;
  bool (*j9)(S, char *, size_t) = mg_json_unescape;
  size_t (*j10)(S, size_t, S *, S *) = mg_json_next;
  /* printf */
  size_t (*p1)(char *, size_t, const char *, ...) = mg_snprintf;
  size_t (*p2)(char *, size_t, const char *, va_list *) = mg_vsnprintf;
  char *(*p3)(const char *, ...) = mg_mprintf;
  char *(*p4)(const char *, va_list *) = mg_vmprintf;
  size_t (*p5)(out_t, void *, const char *, ...) = mg_xprintf;
  size_t (*p6)(out_t, void *, const char *, va_list *) = mg_vxprintf;
  size_t (*p7[])(out_t, void *, va_list *) = {mg_print_esc, mg_print_base64, mg_print_hex, mg_print_mac, mg_print_html_esc};
  void (*p8[])(char, void *) = {mg_pfn_iobuf, mg_pfn_iobuf_noresize, mg_pfn_stdout};
  /* URL */
  unsigned short (*u1)(const char *) = mg_url_port;
  S (*u2[])(const char *) = {mg_url_host, mg_url_user, mg_url_pass};
  const char *(*u3)(const char *) = mg_url_uri;
  int (*u4)(const char *) = mg_url_is_ssl;
  /* files */
  struct mg_fd *(*s1)(struct mg_fs *, const char *, int) = mg_fs_open;
  void (*s2)(struct mg_fd *) = mg_fs_close;
  bool (*s3)(struct mg_fs *, const char *, char *, size_t) = mg_fs_ls;
  S (*s4)(struct mg_fs *, const char *) = mg_file_read;
  bool (*s5)(struct mg_fs *, const char *, const void *, size_t) = mg_file_write;
  bool (*s6)(struct mg_fs *, const char *, const char *, ...) = mg_file_printf;
  S (*s7)(const char *) = mg_unpacked;
  struct mg_fs *fs[] = {&mg_fs_posix, &mg_fs_packed};
  /* utilities */
  bool (*x1)(void *, size_t) = mg_random;
  char *(*x2)(char *, size_t) = mg_random_str;
  uint32_t (*x3)(uint32_t, const char *, size_t) = mg_crc32;
  void (*x4)(volatile unsigned char *, size_t) = mg_bzero;
  bool (*x5)(const S) = mg_path_is_sane;
  int (*x6)(S, struct mg_addr *) = mg_check_ip_acl;
  void *(*x7)(size_t, size_t) = mg_calloc;
  void (*x8)(void *) = mg_free;
  size_t (*x9[])(const unsigned char *, size_t, char *, size_t) = {mg_base64_encode, mg_base64url_encode};
  size_t (*x10[])(const char *, size_t, char *, size_t) = {mg_base64_decode, mg_base64url_decode};
  size_t (*x11[])(unsigned char, char *, size_t) = {mg_base64_update, mg_base64url_update};
  size_t (*x12[])(char *, size_t) = {mg_base64_final, mg_base64url_final};
  void (*x13)(uint8_t[32], const uint8_t *, size_t) = mg_sha256;
  void (*x14)(uint8_t[32], const uint8_t *, size_t, const uint8_t *, size_t) = mg_hmac_sha256;
  void (*x15)(uint8_t[48], const uint8_t *, size_t) = mg_sha384;
  void (*x16)(struct mg_queue *, char *, size_t) = mg_queue_init;
  size_t (*x17)(struct mg_queue *, char **, size_t) = mg_queue_book;
  void (*x18[])(struct mg_queue *, size_t) = {mg_queue_add, mg_queue_del};
  size_t (*x19)(struct mg_queue *, char **) = mg_queue_next;
  uint64_t (*x20[])(void) = {mg_millis, mg_now};
  void (*x21)(const void *, size_t) = mg_hexdump;
  bool (*x22)(const void *, const void *, size_t) = mg_memeq;
  const void *all[] = {&f1, &f2, &f3, &f4, &f5, &f6, &f7, &f8, &f9, &f10, &f11, &f12, &f13, &f14, &f15, &f16, &f17, &f18, &f19, &f20, &f21, &f22, &f23,
                       &f24, &f25, &g1, &g2, &g3, &g4, &g5, &g6, &g7, &g8, &g9, &g10, &g11, &g12, &g13, &g14, &g15, &g16, &g17, &h1, &h2, &h3, &h4, &h5,
                       &h6, &h7, &h8, &h9, &h10, &h11, &h12, &h13, &h14, &h15, &h16, &h17, &h18, &w1, &w2, &w3, &w4, &w5, &w6, &t1, &t2, &t3, &t4, &t5,
                       &t6, &t7, &t8, &t9, &j1, &j2, &j3, &j4, &j5, &j6, &j7, &j8, &j9, &j10, &p1, &p2, &p3, &p4, &p5, &p6, &p7, &p8, &u1, &u2, &u3, &u4,
                       &s1, &s2, &s3, &s4, &s5, &s6, &s7, &fs, &x1, &x2, &x3, &x4, &x5, &x6, &x7, &x8, &x9, &x10, &x11, &x12, &x13, &x14, &x15, &x16,
                       &x17, &x18, &x19, &x20, &x21, &x22};
  for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) CHECK(*(void *const *) all[i] != NULL); /* and it is linked */
}

/* Fields that programs read and write: each named once, by its type's size. */
#define HAS(type, field) CHECK(sizeof(((type *) 0)->field) > 0)

TEST(structs_have_the_fields_of_the_api) {
  HAS(M, conns); HAS(M, dns4.url); HAS(M, dns6.url); HAS(M, dnstimeout); HAS(M, use_dns6); HAS(M, nextid); HAS(M, userdata); HAS(M, timers);
  HAS(M, mqtt_id); HAS(M, epoll_fd); HAS(M, tls_ctx); HAS(M, pipe);
  HAS(C, next); HAS(C, mgr); HAS(C, loc); HAS(C, rem); HAS(C, fd); HAS(C, id); HAS(C, recv); HAS(C, send); HAS(C, rtls); HAS(C, fn); HAS(C, fn_data);
  HAS(C, pfn); HAS(C, pfn_data); HAS(C, data[MG_DATA_SIZE - 1]); HAS(C, tls);
  C c;
  memset(&c, 0, sizeof(c));
  c.is_listening = c.is_client = c.is_accepted = c.is_resolving = c.is_connecting = c.is_tls = c.is_tls_hs = c.is_udp = c.is_websocket = c.is_mqtt5 = 1;
  c.is_hexdumping = c.is_draining = c.is_closing = c.is_full = c.is_resp = c.is_readable = c.is_writable = 1;
  CHECK(c.is_listening && c.is_writable);
  HAS(struct mg_addr, addr.ip[15]); HAS(struct mg_addr, addr.ip4); HAS(struct mg_addr, addr.ip6); HAS(struct mg_addr, port);
  HAS(struct mg_addr, scope_id); HAS(struct mg_addr, is_ip6);
  HAS(struct mg_iobuf, buf); HAS(struct mg_iobuf, size); HAS(struct mg_iobuf, len); HAS(struct mg_iobuf, align);
  HAS(H, method); HAS(H, uri); HAS(H, query); HAS(H, proto); HAS(H, headers[MG_MAX_HTTP_HEADERS - 1].name); HAS(H, headers[0].value); HAS(H, body);
  HAS(H, head); HAS(H, message);
  struct mg_http_serve_opts so = {.root_dir = "a", .ssi_pattern = "b", .extra_headers = "c", .mime_types = "d", .page404 = "e", .fs = &mg_fs_posix};
  struct mg_http_part part = {mg_str("name"), mg_str("filename"), mg_str("body")};
  struct mg_tls_opts to = {.ca = mg_str(""), .cert = mg_str(""), .key = mg_str(""), .name = mg_str(""), .skip_verification = 1};
  struct mg_ws_message wm = {mg_str("data"), 129};
  CHECK(so.fs != NULL && part.filename.len == 8 && part.name.len == 4 && part.body.len == 4 && to.skip_verification && wm.flags == 129 && wm.data.len == 4);
  HAS(struct mg_timer, period_ms); HAS(struct mg_timer, expire); HAS(struct mg_timer, flags); HAS(struct mg_timer, fn); HAS(struct mg_timer, arg);
  HAS(struct mg_timer, next);
  HAS(struct mg_fs, st); HAS(struct mg_fs, ls); HAS(struct mg_fs, op); HAS(struct mg_fs, cl); HAS(struct mg_fs, rd); HAS(struct mg_fs, wr);
  HAS(struct mg_fs, sk); HAS(struct mg_fs, mv); HAS(struct mg_fs, rm); HAS(struct mg_fs, mkd);
  CHECK(mg_mem_files != NULL && mg_packed_files != NULL && mg_boot_timestamp_ms == 0);
}

TEST(events_are_in_the_order_of_the_api) {
  static const int order[] = {MG_EV_ERROR, MG_EV_OPEN, MG_EV_POLL, MG_EV_RESOLVE, MG_EV_CONNECT, MG_EV_ACCEPT, MG_EV_TLS_HS, MG_EV_READ,
                              MG_EV_WRITE, MG_EV_CLOSE, MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, MG_EV_WS_OPEN, MG_EV_WS_MSG, MG_EV_WS_CTL,
                              MG_EV_MQTT_CMD, MG_EV_MQTT_MSG, MG_EV_MQTT_OPEN, MG_EV_SNTP_TIME, MG_EV_WAKEUP};
  for (int i = 0; i < (int) (sizeof(order) / sizeof(order[0])); i++) CHECK_INT(order[i], i);
  CHECK(MG_EV_USER > MG_EV_WAKEUP);
}

TEST(constants_and_macros_mean_what_they_mean_there) {
  uint8_t be[] = {1, 2, 3, 4, 5, 6, 7, 8}, ip6[16] = {MG_IPV6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)};
  uint32_t ip4 = MG_IPV4(127, 0, 0, 1);
  struct item {
    struct item *next;
    int n;
  } a = {NULL, 1}, b = {NULL, 2}, d = {NULL, 3}, *list = NULL;
  CHECK_INT(MG_LOAD_BE16(be), 0x102);
  CHECK_INT(MG_LOAD_BE24(be), 0x10203);
  CHECK_INT(MG_LOAD_BE32(be), 0x1020304);
  CHECK(MG_LOAD_BE64(be) == 0x102030405060708ULL);
  CHECK_MEM(&ip4, 4, "\177\0\0\1", 4);
  CHECK_MEM(ip6, 3, "\x20\1\xd", 3);
  CHECK_INT(mg_ntohs(mg_htons(258)), 258);
  CHECK(mg_ntohll(mg_htonll(1ULL << 40)) == 1ULL << 40);
  LIST_ADD_HEAD(struct item, &list, &a);
  LIST_ADD_TAIL(struct item, &list, &d);
  LIST_ADD_HEAD(struct item, &list, &b);
  LIST_DELETE(struct item, &list, &a);
  CHECK(list == &b && b.next == &d && d.next == NULL);
  CHECK_INT(WEBSOCKET_OP_CONTINUE, 0);
  CHECK_INT(WEBSOCKET_OP_TEXT, 1);
  CHECK_INT(WEBSOCKET_OP_BINARY, 2);
  CHECK_INT(WEBSOCKET_OP_CLOSE, 8);
  CHECK_INT(WEBSOCKET_OP_PING, 9);
  CHECK_INT(WEBSOCKET_OP_PONG, 10);
  CHECK_INT(MG_JSON_TOO_DEEP, -1);
  CHECK_INT(MG_JSON_INVALID, -2);
  CHECK_INT(MG_JSON_NOT_FOUND, -3);
  CHECK_INT(MG_LL_NONE, 0);
  CHECK_INT(MG_LL_VERBOSE, 4);
  CHECK(MG_TIMER_ONCE == 0 && MG_TIMER_REPEAT == 1 && MG_TIMER_RUN_NOW == 2 && MG_TIMER_CALLED == 4 && MG_TIMER_AUTODELETE == 8);
  CHECK(MG_FS_READ == 1 && MG_FS_WRITE == 2 && MG_FS_DIR == 4);
  CHECK(MG_IO_SIZE > 0 && MG_MAX_RECV_SIZE >= 3 << 20 && MG_DATA_SIZE >= 32 && MG_SOCK_LISTEN_BACKLOG_SIZE >= 128 && MG_PATH_MAX > 0);
  CHECK(strcmp(MG_HTTP_INDEX, "index.html") == 0);
  mg_log_set(MG_LL_NONE);
  MG_ERROR(("%d", 1));
  MG_INFO(("%d", 1));
  MG_DEBUG(("%d", 1));
  MG_VERBOSE(("%d", 1));
}

/* A program as they are written. */
static int program_done;
static void server_fn(C *c, int ev, void *ev_data) {
  if (ev == MG_EV_HTTP_MSG) {
    H *hm = (H *) ev_data;
    if (mg_match(hm->uri, mg_str("/api/hello"), NULL)) {
      mg_http_reply(c, 200, "Content-Type: application/json\r\n", "{%m:%d}\n", MG_ESC("status"), 1);
    } else if (mg_match(hm->uri, mg_str("/ws"), NULL)) {
      mg_ws_upgrade(c, hm, NULL);
    } else {
      struct mg_http_serve_opts opts = {.root_dir = ".", .fs = &mg_fs_posix};
      mg_http_serve_dir(c, hm, &opts);
    }
  } else if (ev == MG_EV_WS_MSG) {
    struct mg_ws_message *wm = (struct mg_ws_message *) ev_data;
    mg_ws_send(c, wm->data.buf, wm->data.len, WEBSOCKET_OP_TEXT);
  }
}
static void client_fn(C *c, int ev, void *ev_data) {
  if (ev == MG_EV_CONNECT) {
    struct mg_str host = mg_url_host((char *) c->fn_data);
    mg_printf(c, "GET %s HTTP/1.1\r\nHost: %.*s\r\n\r\n", mg_url_uri((char *) c->fn_data), (int) host.len, host.buf);
  } else if (ev == MG_EV_HTTP_MSG) {
    H *hm = (H *) ev_data;
    CHECK_INT(mg_http_status(hm), 200);
    CHECK_INT(mg_json_get_long(hm->body, "$.status", -1), 1);
    c->is_draining = 1;
    program_done |= 1;
  }
}
static void ws_fn(C *c, int ev, void *ev_data) {
  if (ev == MG_EV_WS_OPEN) {
    size_t len = c->send.len;
    mg_printf(c, "%s", "wrapped");
    mg_ws_wrap(c, c->send.len - len, WEBSOCKET_OP_TEXT);
  } else if (ev == MG_EV_WS_MSG) {
    CHECK_STR(((struct mg_ws_message *) ev_data)->data, "wrapped");
    c->is_draining = 1;
    program_done |= 2;
  }
}
TEST(a_program_in_the_usual_style_runs) {
  M mgr;
  char url[64], ws[64];
  C *lc;
  mg_mgr_init(&mgr);
  lc = mg_http_listen(&mgr, "http://127.0.0.1:0", server_fn, NULL);
  mg_snprintf(url, sizeof(url), "http://127.0.0.1:%d/api/hello", mg_ntohs(lc->loc.port));
  mg_snprintf(ws, sizeof(ws), "ws://127.0.0.1:%d/ws", mg_ntohs(lc->loc.port));
  mg_http_connect(&mgr, url, client_fn, url);
  mg_ws_connect(&mgr, ws, ws_fn, NULL, NULL);
  for (int i = 0; i < 3000 && program_done != 3; i++) mg_mgr_poll(&mgr, 1);
  CHECK_INT(program_done, 3);
  mg_mgr_free(&mgr);
}
CHECK_MAIN
