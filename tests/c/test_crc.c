/* test_crc.c - known values, and any cut of the input. */
#include "check.h"
#include "mongoose/base/crc.h"

TEST(known_values) {
  CHECK_INT(mg_crc32(0, "", 0), 0);
  CHECK_INT(mg_crc32(0, "123456789", 9), 0xcbf43926); /* the check value of the CRC catalogues */
  CHECK_INT(mg_crc32(0, "The quick brown fox jumps over the lazy dog", 43), 0x414fa339);
  CHECK_INT(mg_crc32(0, "\0\0\0\0", 4), 0x2144df1c);
  CHECK_INT(mg_crc32(0, "\377\377\377\377", 4), 0xffffffff);
}
TEST(crc16_of_the_catalogues) {
  CHECK_INT(mg_crc16(0xffff, "123456789", 9), 0x4b37); /* CRC-16/MODBUS */
  CHECK_INT(mg_crc16(0, "123456789", 9), 0xbb3d);      /* CRC-16/ARC */
  for (size_t cut = 0; cut <= 9; cut++) CHECK_INT(mg_crc16(mg_crc16(0xffff, "123456789", cut), "123456789" + cut, 9 - cut), 0x4b37);
}
TEST(any_cut_gives_the_same) {
  const char *s = "The quick brown fox jumps over the lazy dog";
  for (size_t cut = 0; cut <= 43; cut++) CHECK_INT(mg_crc32(mg_crc32(0, s, cut), s + cut, 43 - cut), 0x414fa339);
}
CHECK_MAIN
