/* test_bytes.c - network byte order, at any alignment. */
#include "check.h"
#include "mongoose/base/str.h"

TEST(what_is_stored_is_loaded_again_at_any_alignment) {
  unsigned char b[16];
  for (size_t i = 0; i < 8; i++) {
    MG_STORE_BE16(b + i, 0xfedc);
    CHECK_INT(b[i], 0xfe);
    CHECK_INT(MG_LOAD_BE16(b + i), 0xfedc);
    MG_STORE_BE24(b + i, 0xfedcba);
    CHECK_INT(MG_LOAD_BE24(b + i), 0xfedcba);
    MG_STORE_BE32(b + i, 0xfedcba98);
    CHECK_INT(MG_LOAD_BE32(b + i), 0xfedcba98);
    MG_STORE_BE64(b + i, 0xfedcba9876543210ULL);
    CHECK_INT(b[i], 0xfe);
    CHECK(MG_LOAD_BE64(b + i) == 0xfedcba9876543210ULL);
  }
}
TEST(stores_touch_only_their_own_bytes) {
  unsigned char b[5] = {1, 1, 1, 1, 1};
  MG_STORE_BE24(b + 1, 0);
  CHECK_MEM(b, 5, "\1\0\0\0\1", 5);
}
TEST(host_and_network_order_are_each_others_inverse) {
  uint16_t s = mg_htons(0x0102);
  uint32_t l = mg_htonl(0x01020304);
  uint64_t q = mg_htonll(0x0102030405060708ULL);
  CHECK_MEM(&s, 2, "\1\2", 2);
  CHECK_MEM(&l, 4, "\1\2\3\4", 4);
  CHECK_MEM(&q, 8, "\1\2\3\4\5\6\7\10", 8);
  CHECK_INT(mg_ntohs(s), 0x0102);
  CHECK_INT(mg_ntohl(l), 0x01020304);
  CHECK(mg_ntohll(q) == 0x0102030405060708ULL);
}
TEST(address_macros_are_in_network_order) {
  uint32_t ip4 = MG_IPV4(192, 168, 1, 255);
  uint8_t ip6[16] = {MG_IPV6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)};
  CHECK_MEM(&ip4, 4, "\300\250\1\377", 4);
  CHECK_MEM(ip6, 16, "\x20\1\15\270\0\0\0\0\0\0\0\0\0\0\0\1", 16);
}
CHECK_MAIN
