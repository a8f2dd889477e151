/* printers.c - what %m and %M can print: text made safe for JSON and HTML, and bytes as text. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "mongoose/base/printf.h"

static size_t put_text(mg_pfn_t out, void *param, const char *s) {
  size_t n = 0;
  while (s[n] != '\0') out(s[n++], param);
  return n;
}

static size_t put_hex(mg_pfn_t out, void *param, uint8_t byte) {
  out("0123456789abcdef"[byte >> 4], param);
  out("0123456789abcdef"[byte & 15], param);
  return 2;
}

/* The (int len, const char *s) that most printers begin with. */
static size_t text_args(va_list *ap, const char **s, bool zero_is_strlen) {
  int len = va_arg(*ap, int);
  *s = va_arg(*ap, const char *);
  if (*s == NULL || len < 0) return 0;
  return len == 0 && zero_is_strlen ? strlen(*s) : (size_t) len;
}

size_t mg_print_esc(void (*out)(char, void *), void *param, va_list *ap) {
  const char *s;
  size_t len = text_args(ap, &s, true), n = 0;
  for (size_t i = 0; i < len; i++) {
    static const char special[] = "\b\f\n\r\t\"\\", names[] = "bfnrt\"\\";
    uint8_t c = (uint8_t) s[i];
    const char *at = c == 0 ? NULL : strchr(special, c);
    if (at != NULL) {
      out('\\', param);
      out(names[at - special], param);
      n += 2;
    } else if (c < ' ') { /* RFC 8259 7 */
      n += put_text(out, param, "\\u00") + put_hex(out, param, c);
    } else {
      out(s[i], param);
      n++;
    }
  }
  return n;
}

size_t mg_print_html_esc(void (*out)(char, void *), void *param, va_list *ap) {
  const char *s;
  size_t len = text_args(ap, &s, true), n = 0;
  for (size_t i = 0; i < len; i++) {
    switch (s[i]) {
      case '&': n += put_text(out, param, "&amp;"); break;
      case '<': n += put_text(out, param, "&lt;"); break;
      case '>': n += put_text(out, param, "&gt;"); break;
      case '"': n += put_text(out, param, "&quot;"); break;
      case '\'': n += put_text(out, param, "&#39;"); break;
      default: out(s[i], param), n++;
    }
  }
  return n;
}

size_t mg_print_base64(void (*out)(char, void *), void *param, va_list *ap) {
  static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *s;
  size_t len = text_args(ap, &s, false);
  for (size_t i = 0; i < len; i += 3) {
    uint32_t a = (uint8_t) s[i], b = i + 1 < len ? (uint8_t) s[i + 1] : 0, c = i + 2 < len ? (uint8_t) s[i + 2] : 0;
    uint32_t v = a << 16 | b << 8 | c;
    out(abc[v >> 18], param);
    out(abc[v >> 12 & 63], param);
    out(i + 1 < len ? abc[v >> 6 & 63] : '=', param);
    out(i + 2 < len ? abc[v & 63] : '=', param);
  }
  return (len + 2) / 3 * 4;
}

size_t mg_print_hex(void (*out)(char, void *), void *param, va_list *ap) {
  const char *s;
  size_t len = text_args(ap, &s, false);
  for (size_t i = 0; i < len; i++) put_hex(out, param, (uint8_t) s[i]);
  return len * 2;
}

size_t mg_print_mac(void (*out)(char, void *), void *param, va_list *ap) {
  const uint8_t *p = va_arg(*ap, const uint8_t *);
  for (size_t i = 0; i < 6; i++) {
    if (i > 0) out(':', param);
    put_hex(out, param, p[i]);
  }
  return 17;
}
