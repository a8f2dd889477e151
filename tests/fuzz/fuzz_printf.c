/* fuzz_printf.c - the printers behind %m and %M, on any bytes. The formats are ours: a stranger's are never used.
 *
 * Invariant: a printer says how much it printed, into any sink; text for JSON holds no control byte and no bare quote;
 * text for HTML no angle bracket or quote; hex and base64 have their lengths.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "mongoose/base/alloc.h"
#include "mongoose/base/printf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mg_iobuf print(mg_pm_t printer, const uint8_t *data, size_t size) {
  struct mg_iobuf io = {NULL, 0, 0, 0, NULL};
  char few[8];
  size_t n = mg_xprintf(mg_pfn_iobuf, &io, "%m", printer, (int) size, data);
  if (n != io.len || n < 2 || io.buf[0] != '"' || io.buf[n - 1] != '"') abort();
  if (mg_snprintf(few, sizeof(few), "%m", printer, (int) size, data) != n) abort();
  if (strlen(few) > 7 || memcmp(few, io.buf, strlen(few)) != 0) abort();
  return io;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct mg_iobuf io;
  if (size == 0) return 0; /* would ask for strlen */
  io = print(mg_print_esc, data, size);
  for (size_t i = 1; i + 1 < io.len; i++) {
    if (io.buf[i] < ' ' || io.buf[i] == '"') abort();
    if (io.buf[i] == '\\' && strchr("bfnrtu\"\\", io.buf[++i]) == NULL) abort();
  }
  mg_iobuf_free(&io);
  io = print(mg_print_html_esc, data, size);
  for (size_t i = 1; i + 1 < io.len; i++) {
    if (strchr("<>\"'", io.buf[i]) != NULL && io.buf[i] != '\0') abort();
  }
  mg_iobuf_free(&io);
  io = print(mg_print_hex, data, size);
  if (io.len != 2 * size + 2) abort();
  mg_iobuf_free(&io);
  io = print(mg_print_base64, data, size);
  if (io.len != (size + 2) / 3 * 4 + 2) abort();
  mg_iobuf_free(&io);
  return 0;
}
