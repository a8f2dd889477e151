/* crc.h - CRC-32 as in Ethernet, gzip and zip (polynomial 0x04c11db7, reflected). Begin with crc 0; what comes out goes
 * in again for the next piece.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

uint32_t mg_crc32(uint32_t crc, const char *buf, size_t len);

MG_END_DECLS
