#include "mongoose/codec/ws_frame.h"

#include <string.h>

int mg_ws_frame_parse(struct mg_ws_frame *f, struct mg_str in, const struct mg_ws_frame_rules *rules) {
  const uint8_t *p = (const uint8_t *) in.buf;
  size_t at = 2, field;
  bool control;
  if (in.len < 1) return 0;
  f->fin = p[0] >> 7;
  f->rsv1 = p[0] >> 6 & 1;
  f->op = p[0] & 15;
  control = f->op >= 8;
  if ((p[0] & 0x30) != 0 || (f->op & 7) > 2) return -1002;
  if (f->rsv1 && (!rules->rsv1 || f->op < 1 || f->op > 2)) return -1002; /* RFC 7692 6: on the first frame of a message only */
  if (control && !f->fin) return -1002;
  if (in.len < 2) return 0;
  if ((p[1] >> 7 != 0) != rules->masked) return -1002;
  f->len = p[1] & 127;
  field = f->len == 126 ? 2 : f->len == 127 ? 8 : 0;
  if (field > 0) {
    if (control) return -1002;
    if (in.len < at + field) return 0;
    f->len = field == 2 ? MG_LOAD_BE16(p + at) : MG_LOAD_BE64(p + at);
    if (f->len <= (field == 2 ? 125u : 65535u)) return -1002; /* RFC 6455 5.2: the minimal number of bytes MUST be used */
    at += field;
  }
  if (f->len > rules->max_len && !control) return -1009;
  if (rules->masked) {
    if (in.len < at + 4) return 0;
    memcpy(f->mask, p + at, 4);
    at += 4;
  } else {
    memset(f->mask, 0, 4);
  }
  return (int) at;
}

size_t mg_ws_frame_head(uint8_t to[MG_WS_HEAD_MAX], unsigned first, uint64_t len, const uint8_t *mask) {
  uint8_t bit = mask != NULL ? 0x80 : 0;
  size_t n = 2;
  to[0] = (uint8_t) first;
  if (len < 126) {
    to[1] = bit | (uint8_t) len;
  } else if (len < 65536) {
    to[1] = bit | 126;
    MG_STORE_BE16(to + 2, len);
    n = 4;
  } else {
    to[1] = bit | 127;
    MG_STORE_BE64(to + 2, len);
    n = 10;
  }
  if (mask != NULL) {
    memcpy(to + n, mask, 4);
    n += 4;
  }
  return n;
}

void mg_ws_mask(void *to, const void *from, size_t len, const uint8_t mask[4], uint64_t ofs) {
  uint8_t *t = (uint8_t *) to;
  const uint8_t *s = (const uint8_t *) from;
  uint8_t key[8];
  uint64_t word, a, b, c, d;
  size_t i;
  for (i = 0; i < 8; i++) key[i] = mask[(ofs + i) & 3];
  memcpy(&word, key, 8); /* by bytes on both sides, so the machine's order does not matter */
  for (; len >= 32; len -= 32, s += 32, t += 32) {
    memcpy(&a, s, 8), memcpy(&b, s + 8, 8), memcpy(&c, s + 16, 8), memcpy(&d, s + 24, 8);
    a ^= word, b ^= word, c ^= word, d ^= word;
    memcpy(t, &a, 8), memcpy(t + 8, &b, 8), memcpy(t + 16, &c, 8), memcpy(t + 24, &d, 8);
  }
  for (; len >= 8; len -= 8, s += 8, t += 8) {
    memcpy(&a, s, 8);
    a ^= word;
    memcpy(t, &a, 8);
  }
  for (i = 0; i < len; i++) t[i] = s[i] ^ key[i];
}

bool mg_ws_close_code_ok(int code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}
