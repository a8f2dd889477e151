/* ws_site.c - what the WebSockets of a manager share: compressors for those who keep no window, random masks, a budget. */
#include <string.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/rand.h"
#include "mongoose/proto/ws_conn.h"

static const size_t BUDGET = (size_t) 64 << 20;

static void site_free(void *arg) {
  struct mg_ws_site *site = (struct mg_ws_site *) arg;
  size_t i;
  mg_ws_groups_free(site);
  for (i = 0; i < 16; i++) mg_ws_deflater_free(site->deflaters[i]);
  mg_ws_inflater_free(site->inflater);
  mg_chunk_drop(site->spare);
  mg_chunk_drop(site->log);
  mg_iobuf_free(&site->packed);
  mg_free(site);
}

struct mg_ws_site *mg_ws_site(struct mg_mgr *mgr) {
  struct mg_ws_site *site = (struct mg_ws_site *) mgr->ws_site;
  if (MG_LIKELY(site != NULL)) return site;
  site = (struct mg_ws_site *) mg_calloc(1, sizeof(*site));
  if (site == NULL) return NULL;
  site->budget = BUDGET;
  if (!mg_random(&site->seed, sizeof(site->seed))) site->seed = (uint32_t) mgr->clock;
  site->packed.align = 4096;
  mgr->ws_site = site;
  mgr->ws_site_free = site_free;
  return site;
}

bool mg_ws_new_mask(struct mg_ws_site *site, uint8_t mask[4]) {
  if (site->masks_left < 4) { /* a system call for 64 frames, not for each */
    if (!mg_random(site->masks, sizeof(site->masks))) return false;
    site->masks_left = sizeof(site->masks);
  }
  site->masks_left -= 4;
  memcpy(mask, site->masks + site->masks_left, 4);
  return true;
}

/* ---- compressors ---- */

struct mg_ws_deflater *mg_ws_deflater_of(struct mg_ws_site *site, struct mg_ws_conn *ws, const struct mg_ws_window *w) {
  unsigned bits = w->bits & 15;
  if (w->takeover) {
    if (ws->deflater == NULL) ws->deflater = mg_ws_deflater_new(bits, ws->level);
    return ws->deflater;
  }
  if (site->deflaters[bits] != NULL && site->levels[bits] != ws->level) {
    mg_ws_deflater_free(site->deflaters[bits]);
    site->deflaters[bits] = NULL;
  }
  if (site->deflaters[bits] == NULL) {
    site->deflaters[bits] = mg_ws_deflater_new(bits, ws->level);
    site->levels[bits] = ws->level;
  }
  return site->deflaters[bits];
}

struct mg_ws_inflater *mg_ws_inflater_of(struct mg_ws_site *site, struct mg_ws_conn *ws, const struct mg_ws_window *w) {
  if (w->takeover) {
    if (ws->inflater == NULL) ws->inflater = mg_ws_inflater_new(w->bits);
    return ws->inflater;
  }
  if (site->inflater == NULL) site->inflater = mg_ws_inflater_new(15);
  return site->inflater;
}

static size_t window_cost(const struct mg_ws_window *packs, const struct mg_ws_window *unpacks) {
  return (packs->takeover ? mg_ws_deflater_bytes(packs->bits) : 0) + (unpacks->takeover ? mg_ws_inflater_bytes(unpacks->bits) : 0);
}

void mg_ws_wish(struct mg_ws_site *site, const struct mg_ws_opts *opts, bool is_client, struct mg_ws_deflate *wish) {
  uint8_t bits = opts->window_bits >= 9 && opts->window_bits <= 15 ? opts->window_bits : 15;
  struct mg_ws_window ours = {bits, opts->takeover}, theirs = {15, opts->takeover};
  /* Clients wish before they know: those whose handshakes ran at once may have reserved more than there is. */
  if (site->reserved >= site->budget || window_cost(&ours, &theirs) > site->budget - site->reserved) ours.takeover = theirs.takeover = 0;
  wish->client = is_client ? ours : theirs;
  wish->server = is_client ? theirs : ours;
}

void mg_ws_agree(struct mg_ws_site *site, struct mg_ws_conn *ws, const struct mg_ws_opts *opts, const struct mg_ws_deflate *agreed,
                 bool is_client) {
  ws->compress = 1;
  ws->deflate = *agreed;
  ws->level = opts->level >= 1 && opts->level <= 9 ? opts->level : 1;
  ws->min_size = opts->min_size > 0 ? opts->min_size : 64;
  ws->reserved = is_client ? window_cost(&agreed->client, &agreed->server) : window_cost(&agreed->server, &agreed->client);
  site->reserved += ws->reserved;
}

bool mg_ws_deflate_budget(struct mg_mgr *mgr, size_t bytes) {
  struct mg_ws_site *site = mg_ws_site(mgr);
  if (site == NULL) return false;
  site->budget = bytes > site->reserved ? bytes : site->reserved; /* what is agreed on stays */
  return true;
}
