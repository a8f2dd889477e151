#include "check.h"
#include "mongoose/base/status.h"
#include "mongoose/codec/proxy_protocol.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* Every shorter cut wants more and takes nothing; bytes behind the header are not its business. */
static struct mg_proxy_header whole(const char *bytes, size_t len) {
  struct mg_proxy_header h;
  size_t n;
  for (n = 0; n < len; n++) {
    char *cut = mg_test_guarded(bytes, n);
    CHECK_INT(mg_proxy_parse(mg_str_n(cut, n), &h), 0);
    CHECK(mg_proxy_wants(mg_str_n(cut, n)) >= n);
    mg_test_unguard(cut, n);
  }
  memset(&h, 0xff, sizeof(h));
  CHECK_INT(mg_proxy_parse(mg_str_n(bytes, len), &h), (long long) len);
  return h;
}

/* Refused, by the byte at `len` - 1 and by none before it. */
static void refused_at(const char *bytes, size_t len) {
  struct mg_proxy_header h;
  size_t n;
  for (n = 0; n < len; n++) CHECK_INT(mg_proxy_parse(mg_str_n(bytes, n), &h), 0);
  CHECK_INT(mg_proxy_parse(mg_str_n(bytes, len), &h), MG_EPROTO);
}
#define REFUSED(literal) refused_at(literal, sizeof(literal) - 1)

TEST(version_1_tells_both_addresses) {
  static const char line[] = "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n";
  struct mg_proxy_header h = whole(line, sizeof(line) - 1);
  CHECK_INT(h.version, 1);
  CHECK_INT(h.family, MG_PROXY_IP4);
  CHECK_MEM((char *) h.src, 4, "\xcb\0\x71\x07", 4);
  CHECK_MEM((char *) h.dst, 4, "\xc0\0\x02\x01", 4);
  CHECK_INT(mg_ntohs(h.src_port), 56324);
  CHECK_INT(mg_ntohs(h.dst_port), 443);
}

TEST(version_1_knows_ipv6_in_its_longest_form) {
  static const char line[] =
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
  struct mg_proxy_header h = whole(line, sizeof(line) - 1);
  CHECK_INT(h.family, MG_PROXY_IP6);
  CHECK_INT(h.src[15], 0xff);
  CHECK_INT(mg_ntohs(h.dst_port), 65535);
}

TEST(version_1_unknown_keeps_the_real_addresses_whatever_follows) {
  CHECK_INT(whole("PROXY UNKNOWN\r\n", 15).family, MG_PROXY_NONE);
  CHECK_INT(whole("PROXY UNKNOWN a b c\r\n", 21).family, MG_PROXY_NONE);
}

TEST(version_1_longest_line_is_107_bytes) {
  char line[200];
  struct mg_proxy_header h;
  memset(line, 'x', sizeof(line));
  memcpy(line, "PROXY UNKNOWN ", 14);
  CHECK_INT(mg_proxy_parse(mg_str_n(line, 106), &h), 0);
  CHECK_INT(mg_proxy_parse(mg_str_n(line, 107), &h), MG_EPROTO);
  memcpy(line + 105, "\r\n", 2);
  CHECK_INT(mg_proxy_parse(mg_str_n(line, 107), &h), 107);
  memcpy(line + 105, "x\r\n", 3);
  CHECK_INT(mg_proxy_parse(mg_str_n(line, 108), &h), MG_EPROTO);
}

TEST(version_1_malformed_lines_are_refused) {
  REFUSED("G");
  REFUSED("p");
  REFUSED("PROXY\t");
  REFUSED("PROXY UNKNOWN\n");
  REFUSED("PROXY UNKNOWN\rx");
  REFUSED("PROXY UNKNOWNx\r\n");
  REFUSED("PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n");
  REFUSED("PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n");
  REFUSED("PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n");
  REFUSED("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n");
  REFUSED("PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n");
  REFUSED("PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n");
  REFUSED("PROXY TCP4 ::1 ::1 1 1\r\n");
  REFUSED("PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n");
  REFUSED("PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n");
  REFUSED("PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n");
  REFUSED("PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n");
  REFUSED("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n");
  REFUSED("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 1\r\n");
}

#define V4 "\x01\x02\x03\x04\x05\x06\x07\x08\x04\xd2\x01\xbb"

TEST(version_2_tells_both_addresses) {
  struct mg_proxy_header h = whole(SIGNATURE "\x21\x11\0\x0c" V4, 28);
  CHECK_INT(h.version, 2);
  CHECK_INT(h.family, MG_PROXY_IP4);
  CHECK_MEM((char *) h.src, 4, "\1\2\3\4", 4);
  CHECK_MEM((char *) h.dst, 4, "\5\6\7\x08", 4);
  CHECK_INT(mg_ntohs(h.src_port), 1234);
  CHECK_INT(mg_ntohs(h.dst_port), 443);
}

TEST(version_2_knows_ipv6_and_unix_sockets) {
  char bytes[16 + 216] = SIGNATURE "\x21\x21\0\x24";
  struct mg_proxy_header h;
  memset(bytes + 16, 7, 36);
  CHECK_INT(whole(bytes, 52).family, MG_PROXY_IP6);
  memset(bytes + 16, 0, 216);
  bytes[13] = 0x31;
  bytes[15] = (char) 216;
  memcpy(bytes + 16, "/run/a", 6);
  memset(bytes + 16 + 108, 'b', 108); /* without a NUL */
  h = whole(bytes, 232);
  CHECK_INT(h.family, MG_PROXY_UNIX);
  CHECK_MEM(h.src_path.buf, h.src_path.len, "/run/a", 6);
  CHECK_INT(h.dst_path.len, 108);
}

TEST(version_2_local_and_unspecified_keep_the_real_addresses_whatever_follows) {
  CHECK(whole(SIGNATURE "\x20\0\0\0", 16).is_local);
  CHECK_INT(whole(SIGNATURE "\x20\x11\0\x0c" V4, 28).family, MG_PROXY_NONE);
  CHECK_INT(whole(SIGNATURE "\x20\x11\0\x03" "abc", 19).family, MG_PROXY_NONE);
  CHECK_INT(whole(SIGNATURE "\x21\0\0\x05" "junk!", 21).family, MG_PROXY_NONE);
}

TEST(version_2_tlvs_are_read_or_skipped) {
  struct mg_proxy_header h = whole(SIGNATURE "\x21\x11\0\x1e" V4 "\x02\0\x03" "a.b" "\xee\0\x02" "??" "\x05\0\x04" "uni\0", 46);
  CHECK_MEM(h.authority.buf, h.authority.len, "a.b", 3);
  CHECK_MEM(h.unique_id.buf, h.unique_id.len, "uni\0", 4);
}

TEST(version_2_checksum_is_checked) {
  /* Of HAProxy's layout with the field zeroed: CRC-32C of these 35 bytes, computed apart from the code under test. */
  char bytes[] = SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04\0\0\0\0";
  struct mg_proxy_header h;
  uint32_t crc = 0xffffffffu;
  size_t i;
  int k;
  for (i = 0; i < 35; i++) {
    for (crc ^= (uint8_t) bytes[i], k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
  }
  MG_STORE_BE32(bytes + 31, ~crc);
  CHECK_INT(mg_proxy_parse(mg_str_n(bytes, 35), &h), 35);
  bytes[16] ^= 1;
  CHECK_INT(mg_proxy_parse(mg_str_n(bytes, 35), &h), MG_EPROTO);
}

TEST(version_2_malformed_headers_are_refused) {
  refused_at(SIGNATURE "\x11", 13);
  refused_at(SIGNATURE "\x22", 13);
  refused_at(SIGNATURE "\x21\x41", 14);
  refused_at(SIGNATURE "\x21\x13", 14);
  refused_at("\r\n\r\n\0\r\nQUIX", 11);
  refused_at(SIGNATURE "\x21\x11\0\x0b" "12345678901", 27);              /* too short for its addresses */
  refused_at(SIGNATURE "\x21\x11\0\x0d" V4 "\x02", 29);                   /* half a TLV */
  refused_at(SIGNATURE "\x21\x11\0\x0f" V4 "\x02\0\x01", 31);             /* a TLV beyond the end */
  refused_at(SIGNATURE "\x21\x11\0\x0f" V4 "\x03\0\0", 31);               /* an empty checksum */
}

CHECK_MAIN
