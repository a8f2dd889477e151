/* proxy_protocol.c - both versions of the PROXY header. Section numbers are those of HAProxy's proxy-protocol.txt. */
#include "mongoose/codec/proxy_protocol.h"

#include <arpa/inet.h>
#include <string.h>

#include "mongoose/base/status.h"

static const char s_v1[] = "PROXY ";
static const char s_v2[12] = {'\r', '\n', '\r', '\n', '\0', '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

enum { V2_LOCAL = 0, V2_PROXY = 1, UNIX_PATH = 108 };
enum { TLV_AUTHORITY = 0x02, TLV_CRC32C = 0x03, TLV_UNIQUE_ID = 0x05, UNIQUE_ID_MAX = 128 };

/* ---- version 1: one line of text (2.1) ---- */

/* The text up to `stop`, which is taken too. False when it is not there. */
static bool word(struct mg_str *line, char stop, struct mg_str *w) {
  char *end = (char *) memchr(line->buf, stop, line->len);
  if (end == NULL) return false;
  *w = mg_str_n(line->buf, (size_t) (end - line->buf));
  line->len -= w->len + 1;
  line->buf = end + 1;
  return w->len > 0;
}

static bool address(struct mg_str s, int family, uint8_t out[16]) {
  char text[INET6_ADDRSTRLEN];
  if (s.len >= sizeof(text) || memchr(s.buf, '\0', s.len) != NULL) return false;
  memcpy(text, s.buf, s.len);
  text[s.len] = '\0';
  return inet_pton(family, text, out) == 1;
}

/* 0-65535 without zeros in front. */
static bool port(struct mg_str s, uint16_t *out) {
  unsigned n = 0;
  size_t i;
  if (s.len == 0 || s.len > 5 || (s.len > 1 && s.buf[0] == '0')) return false;
  for (i = 0; i < s.len; i++) {
    if (s.buf[i] < '0' || s.buf[i] > '9') return false;
    n = n * 10 + (unsigned) (s.buf[i] - '0');
  }
  *out = mg_htons((uint16_t) n);
  return n <= 65535;
}

static bool starts(struct mg_str s, const char *text) {
  return s.len >= strlen(text) && memcmp(s.buf, text, strlen(text)) == 0;
}

/* What stands between "PROXY " and CRLF. */
static bool v1_line(struct mg_str line, struct mg_proxy_header *h) {
  struct mg_str proto, src, dst, sport;
  int family;
  if (starts(line, "UNKNOWN") && (line.len == 7 || line.buf[7] == ' ')) return true; /* the rest must be ignored */
  if (!word(&line, ' ', &proto) || proto.len != 4 || !starts(proto, "TCP")) return false;
  if (proto.buf[3] != '4' && proto.buf[3] != '6') return false;
  family = proto.buf[3] == '4' ? AF_INET : AF_INET6;
  h->family = family == AF_INET ? MG_PROXY_IP4 : MG_PROXY_IP6;
  return word(&line, ' ', &src) && word(&line, ' ', &dst) && word(&line, ' ', &sport) && address(src, family, h->src) &&
         address(dst, family, h->dst) && port(sport, &h->src_port) && port(line, &h->dst_port);
}

static ptrdiff_t parse_v1(struct mg_str in, struct mg_proxy_header *h) {
  size_t most = in.len < MG_PROXY_V1_MAX ? in.len : MG_PROXY_V1_MAX, i;
  for (i = sizeof(s_v1) - 1; i < most; i++) {
    if (in.buf[i] != '\r') {
      if (in.buf[i] == '\n') return MG_EPROTO;
      continue;
    }
    if (i + 1 == in.len && in.len < MG_PROXY_V1_MAX) return 0;
    if (i + 1 >= most || in.buf[i + 1] != '\n') return MG_EPROTO;
    if (!v1_line(mg_str_n(in.buf + sizeof(s_v1) - 1, i - (sizeof(s_v1) - 1)), h)) return MG_EPROTO;
    return (ptrdiff_t) i + 2;
  }
  return in.len < MG_PROXY_V1_MAX ? 0 : MG_EPROTO;
}

/* ---- version 2: binary (2.2) ---- */

static uint32_t crc32c(uint32_t crc, const char *p, size_t n) { /* RFC 4960 appendix B; a header is too short for a table */
  while (n-- > 0) {
    int bit;
    crc ^= (uint8_t) *p++;
    for (bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
  }
  return crc;
}

static bool checksum_fits(struct mg_str whole, const char *field) {
  static const char zeros[4];
  size_t before = (size_t) (field - whole.buf);
  uint32_t crc = crc32c(0xffffffffu, whole.buf, before);
  crc = crc32c(crc, zeros, 4);
  crc = ~crc32c(crc, field + 4, whole.len - before - 4);
  return crc == MG_LOAD_BE32(field);
}

static bool v2_tlvs(struct mg_str whole, size_t at, struct mg_proxy_header *h) {
  while (at < whole.len) {
    struct mg_str v;
    if (whole.len - at < 3) return false;
    v = mg_str_n(whole.buf + at + 3, MG_LOAD_BE16(whole.buf + at + 1));
    if (v.len > whole.len - at - 3) return false;
    switch (whole.buf[at]) {
      case TLV_AUTHORITY: h->authority = v; break;
      case TLV_CRC32C:
        if (v.len != 4 || !checksum_fits(whole, v.buf)) return false;
        break;
      case TLV_UNIQUE_ID:
        if (v.len > UNIQUE_ID_MAX) return false; /* 2.2.5 */
        h->unique_id = v;
        break;
      default: break;
    }
    at += 3 + v.len;
  }
  return true;
}

static struct mg_str unix_path(char *p) {
  const char *end = (const char *) memchr(p, '\0', UNIX_PATH);
  return mg_str_n(p, end != NULL ? (size_t) (end - p) : UNIX_PATH);
}

/* Addresses of the families that are known; where the TLVs begin, or 0 when the block is too short. */
static size_t v2_addresses(struct mg_str whole, unsigned family, struct mg_proxy_header *h) {
  char *p = whole.buf + MG_PROXY_V2_MIN;
  size_t room = whole.len - MG_PROXY_V2_MIN, n = family == MG_PROXY_IP4 ? 4 : 16;
  if (family == MG_PROXY_UNIX) {
    if (room < 2 * UNIX_PATH) return 0;
    h->src_path = unix_path(p);
    h->dst_path = unix_path(p + UNIX_PATH);
    return MG_PROXY_V2_MIN + 2 * UNIX_PATH;
  }
  if (room < 2 * n + 4) return 0;
  memcpy(h->src, p, n);
  memcpy(h->dst, p + n, n);
  memcpy(&h->src_port, p + 2 * n, 2);
  memcpy(&h->dst_port, p + 2 * n + 2, 2);
  return MG_PROXY_V2_MIN + 2 * n + 4;
}

static ptrdiff_t parse_v2(struct mg_str in, struct mg_proxy_header *h) {
  unsigned command, family, transport;
  size_t len, at;
  if (in.len > 12 && ((uint8_t) in.buf[12] >> 4 != 2 || ((uint8_t) in.buf[12] & 15) > V2_PROXY)) return MG_EPROTO;
  if (in.len > 13 && ((uint8_t) in.buf[13] >> 4 > 3 || ((uint8_t) in.buf[13] & 15) > 2)) return MG_EPROTO;
  if (in.len < MG_PROXY_V2_MIN) return 0;
  len = MG_PROXY_V2_MIN + (size_t) MG_LOAD_BE16(in.buf + 14);
  if (in.len < len) return 0;
  in.len = len;
  command = (uint8_t) in.buf[12] & 15;
  family = (uint8_t) in.buf[13] >> 4;
  transport = (uint8_t) in.buf[13] & 15;
  h->is_local = command == V2_LOCAL;
  if (h->is_local) return (ptrdiff_t) len; /* the block must be discarded, whatever is in it */
  if (family == MG_PROXY_NONE || transport == 0) return (ptrdiff_t) len; /* unspecified: without addresses that we know */
  at = v2_addresses(in, family, h);
  if (at == 0 || !v2_tlvs(in, at, h)) return MG_EPROTO;
  h->family = (uint8_t) family;
  return (ptrdiff_t) len;
}

ptrdiff_t mg_proxy_parse(struct mg_str in, struct mg_proxy_header *h) {
  size_t n = in.len < sizeof(s_v2) ? in.len : sizeof(s_v2);
  memset(h, 0, sizeof(*h));
  if (in.len == 0) return 0;
  if (memcmp(in.buf, s_v2, n) == 0) {
    h->version = 2;
    return n < sizeof(s_v2) ? 0 : parse_v2(in, h);
  }
  n = in.len < sizeof(s_v1) - 1 ? in.len : sizeof(s_v1) - 1;
  if (memcmp(in.buf, s_v1, n) != 0) return MG_EPROTO;
  h->version = 1;
  return n < sizeof(s_v1) - 1 ? 0 : parse_v1(in, h);
}

size_t mg_proxy_wants(struct mg_str in) {
  if (in.len == 0 || in.buf[0] == s_v1[0]) return MG_PROXY_V1_MAX;
  return in.len < MG_PROXY_V2_MIN ? MG_PROXY_V2_MIN : MG_PROXY_V2_MIN + (size_t) MG_LOAD_BE16(in.buf + 14);
}
