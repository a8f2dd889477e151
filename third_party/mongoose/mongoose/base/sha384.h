/* sha384.h - SHA-384 of FIPS 180-4.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

typedef struct {
  uint64_t state[8];
  uint64_t len;             /* bytes so far */
  unsigned char block[128]; /* its first len % 128 bytes wait for the rest */
} mg_sha384_ctx;

void mg_sha384_init(mg_sha384_ctx *ctx);
void mg_sha384_update(mg_sha384_ctx *ctx, const uint8_t *data, size_t len);
void mg_sha384_final(uint8_t digest[48], mg_sha384_ctx *ctx);

void mg_sha384(uint8_t dst[48], const uint8_t *data, size_t len); /* in one go */

MG_END_DECLS
