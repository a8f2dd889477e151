/* A server in C on the library below pymongoose: http_server [port]; 0 takes a free one.
 * One thread; SIGTERM or Ctrl-C ends it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "mongoose.h"

static volatile sig_atomic_t stopped;

static void stop(int number) {
  (void) number;
  stopped = 1;
}

static void handler(struct mg_connection *c, int ev, void *ev_data) {
  struct mg_http_message *hm = (struct mg_http_message *) ev_data;
  if (ev != MG_EV_HTTP_MSG) return;
  if (mg_match(hm->uri, mg_str("/"), NULL)) {
    mg_http_reply(c, 200, "Content-Type: text/plain\r\n", "Hello from C!\n");
  } else {
    mg_http_reply(c, 404, "", "not here\n");
  }
}

int main(int argc, char **argv) {
  struct mg_mgr mgr;
  struct mg_connection *site;
  char url[64];
  mg_snprintf(url, sizeof(url), "http://127.0.0.1:%d", argc > 1 ? atoi(argv[1]) : 8000);
  signal(SIGTERM, stop);
  signal(SIGINT, stop);
  mg_mgr_init(&mgr);
  site = mg_http_listen(&mgr, url, handler, NULL);
  if (site == NULL) {
    fprintf(stderr, "%s: %s\n", url, mgr.errmsg);
    return 1;
  }
  printf("http://127.0.0.1:%d\n", (int) mg_ntohs(site->loc.port));
  fflush(stdout);
  while (!stopped) mg_mgr_poll(&mgr, 1000);
  mg_mgr_free(&mgr);
  return 0;
}
