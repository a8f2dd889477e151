/* sha256.h - SHA-256 of FIPS 180-4, and HMAC over it (RFC 2104).
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

typedef struct {
  uint32_t state[8];
  uint64_t len;             /* bytes so far */
  unsigned char block[64];  /* its first len % 64 bytes wait for the rest */
} mg_sha256_ctx;

void mg_sha256_init(mg_sha256_ctx *ctx);
void mg_sha256_update(mg_sha256_ctx *ctx, const unsigned char *data, size_t len);
void mg_sha256_final(unsigned char digest[32], mg_sha256_ctx *ctx);

/* In one go. A tag that came from outside is compared with mg_memeq, never with memcmp. */
void mg_sha256(uint8_t dst[32], const uint8_t *data, size_t len);
void mg_hmac_sha256(uint8_t dst[32], const uint8_t *key, size_t key_len, const uint8_t *data, size_t data_len);

MG_END_DECLS
