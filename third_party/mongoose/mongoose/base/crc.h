/* crc.h - CRC-32 as in Ethernet, gzip and zip (polynomial 0x04c11db7, reflected). Begin with crc 0; what comes out goes
 * in again for the next piece. CRC-16 as in Modbus (polynomial 0x8005, reflected): begin with 0xffff there, with 0 for CRC-16/ARC.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

uint32_t mg_crc32(uint32_t crc, const char *buf, size_t len);
uint16_t mg_crc16(uint16_t crc, const char *buf, size_t len);

MG_END_DECLS
