// How fast are a WebSocket's bytes unmasked and its texts checked? GB/s of mg_ws_mask and mg_utf8_feed beside memcpy, which is what memory
// does. Best of many short rounds, all of them taking turns.
// usage: ws_bytes
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "mongoose/codec/utf8.h"
#include "mongoose/codec/ws_frame.h"
enum { MOST = 4 << 20, ROUNDS = 40 };
static char *from, *to;
static size_t len;
static const uint8_t mask[4] = {0x12, 0xfe, 0x45, 0x99};
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
// Texts are made of one word again and again, cut at a character.
static void text(const char *word) {
  size_t n = strlen(word), at = 0;
  for (; at + n <= len; at += n) memcpy(from + at, word, n);
  memset(from + at, ' ', len - at);
}
static void copy(void) { memcpy(to, from, len); __asm__ volatile("" ::: "memory"); }
static void mask_over(void) { mg_ws_mask(to, from, len, mask, 0); }
static void mask_in_place(void) { mg_ws_mask(from, from, len, mask, 1); }
static void check(void) { if (!mg_utf8_ok(mg_str_n(from, len))) abort(); }
static void mask_then_check(void) { mg_ws_mask(to, from, len, mask, 0); mg_ws_mask(to, to, len, mask, 0); if (!mg_utf8_ok(mg_str_n(to, len))) abort(); }
static const struct { const char *name, *word; void (*run)(void); } what[] = {
    {"memcpy", "x", copy},
    {"unmask to elsewhere", "x", mask_over},
    {"unmask in place", "x", mask_in_place},
    {"UTF-8: ASCII", "plain words ", check},
    {"UTF-8: German", "Fünf Bäcker hören zu. ", check},
    {"UTF-8: Russian", "Съешь ещё этих булок. ", check},
    {"UTF-8: Chinese", "天地玄黄宇宙洪荒", check},
    {"UTF-8: emoji", "😀🎉🚀", check},
    {"unmask twice and check: German", "Fünf Bäcker hören zu. ", mask_then_check},
};
enum { WHAT = sizeof(what) / sizeof(*what) };
int main(void) {
  static const size_t sizes[] = {125, 4096, 65536, MOST};
  from = malloc(MOST), to = malloc(MOST);
  memset(from, 'x', MOST), memset(to, 'x', MOST);
  printf("| GB/s |");
  for (size_t s = 0; s < 4; s++) printf(" %zu B |", sizes[s]);
  printf("\n|---|---|---|---|---|\n");
  double best[WHAT][4] = {{0}};
  for (int r = 0; r < ROUNDS; r++)
    for (size_t s = 0; s < 4; s++)
      for (int w = 0; w < WHAT; w++) {
        len = sizes[s];
        text(what[w].word);
        size_t times = (MOST + len - 1) / len;
        double t = now();
        for (size_t i = 0; i < times; i++) what[w].run();
        double speed = (double) times * (double) len / (now() - t) / 1e9;
        if (speed > best[w][s]) best[w][s] = speed;
      }
  for (int w = 0; w < WHAT; w++) {
    printf("| %s |", what[w].name);
    for (size_t s = 0; s < 4; s++) printf(" %.1f |", best[w][s]);
    printf("\n");
  }
}
