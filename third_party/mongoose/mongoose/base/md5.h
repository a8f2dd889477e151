/* md5.h - RFC 1321, for protocols that ask for it; it protects nothing.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

typedef struct {
  uint32_t state[4];
  uint64_t len;             /* bytes so far */
  unsigned char block[64];  /* its first len % 64 bytes wait for the rest */
} mg_md5_ctx;

void mg_md5_init(mg_md5_ctx *ctx);
void mg_md5_update(mg_md5_ctx *ctx, const unsigned char *data, size_t len);
void mg_md5_final(mg_md5_ctx *ctx, unsigned char digest[16]);

MG_END_DECLS
