/* printf.h - formatted text into any sink, the same in every locale, and extensible.
 *
 *   %d %i %u %x %X %o %c %s %p %%   flags - 0 + space #, width, precision, * for either, and hh h l ll z j t
 *   %.*s       exactly that many bytes, zero bytes too; with a precision in digits, %.5s, the string may be shorter
 *   %f %e %g   of a double, with '.' in every locale. %g without a precision is the shortest text
 *              that reads back as the same number
 *   %M         a printer and its arguments: %M of (mg_print_hex, 3, "abc") is 616263
 *   %m         the same between double quotes: {%m:%m} of (MG_ESC("a"), MG_ESC("b")) is {"a":"b"}
 *
 * A NULL string prints nothing. A format character that is none of these is printed as it stands.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include "mongoose/base/iobuf.h"

MG_BEGIN_DECLS

typedef void (*mg_pfn_t)(char ch, void *param); /* a sink: takes one character */
/* A printer: takes its arguments from ap, returns the bytes printed. */
typedef size_t (*mg_pm_t)(void (*out)(char, void *), void *param, va_list *ap);

/* All return the bytes printed, whether or not the sink had room for them. */
size_t mg_vxprintf(void (*out)(char, void *), void *param, const char *fmt, va_list *ap);
size_t mg_xprintf(void (*out)(char, void *), void *param, const char *fmt, ...);

/* Into buf, cut to len - 1 bytes, and a NUL (when len > 0). */
size_t mg_vsnprintf(char *buf, size_t len, const char *fmt, va_list *ap);
size_t mg_snprintf(char *buf, size_t len, const char *fmt, ...);

/* Into memory to be given to mg_free; NULL when memory is out, never half a text. */
char *mg_vmprintf(const char *fmt, va_list *ap);
char *mg_mprintf(const char *fmt, ...);

/* Sinks. A struct mg_iobuf * that grows (what finds no memory is dropped: compare how much longer it got with what
 * was printed), one that does not grow, and stdout. The first two keep a NUL behind the last byte while it fits. */
void mg_pfn_iobuf(char ch, void *iobuf);
void mg_pfn_iobuf_noresize(char ch, void *iobuf);
void mg_pfn_stdout(char ch, void *unused);

/* Printers. (int len, const char *s): inside of a JSON string; len 0 asks for strlen(s), as it does in html_esc. */
size_t mg_print_esc(void (*out)(char, void *), void *param, va_list *ap);
size_t mg_print_html_esc(void (*out)(char, void *), void *param, va_list *ap); /* (int len, const char *s): & < > " ' */
size_t mg_print_base64(void (*out)(char, void *), void *param, va_list *ap);   /* (int len, const uint8_t *bytes) */
size_t mg_print_hex(void (*out)(char, void *), void *param, va_list *ap);      /* (int len, const uint8_t *bytes) */
size_t mg_print_mac(void (*out)(char, void *), void *param, va_list *ap);      /* (const uint8_t *six_bytes) */

#define MG_ESC(s) mg_print_esc, 0, (s)
#define MG_ESC_STR(s) mg_print_esc, (int) (s).len, (s).len == 0 ? "" : (s).buf /* ours: of a struct mg_str */

MG_END_DECLS
