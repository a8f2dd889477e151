/* sha1.h - FIPS 180-4, here for the WebSocket handshake (RFC 6455 4.2.2); not for signatures.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

typedef struct {
  uint32_t state[5];
  uint64_t len;             /* bytes so far */
  unsigned char block[64];  /* its first len % 64 bytes wait for the rest */
} mg_sha1_ctx;

void mg_sha1_init(mg_sha1_ctx *ctx);
void mg_sha1_update(mg_sha1_ctx *ctx, const unsigned char *data, size_t len);
void mg_sha1_final(unsigned char digest[20], mg_sha1_ctx *ctx);

MG_END_DECLS
