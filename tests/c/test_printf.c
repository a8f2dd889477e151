/* test_printf.c - formats, compared with the C library where both know them, and with the text where not. */
#include <limits.h>
#include <locale.h>
#include <math.h>

#include "check.h"
#include "mongoose/base/alloc.h"
#include "mongoose/base/printf.h"
#include "mongoose/base/str.h"

/* The same text and length as snprintf, into every size of buffer. */
#define SAME(...)                                                             \
  do {                                                                        \
    char expect[700], result[700], cut[8];                                    \
    size_t n = (size_t) snprintf(expect, sizeof(expect), __VA_ARGS__);        \
    CHECK_INT(mg_snprintf(result, sizeof(result), __VA_ARGS__), n);           \
    CHECK_MEM(result, strlen(result), expect, strlen(expect));                \
    CHECK_INT(mg_snprintf(cut, sizeof(cut), __VA_ARGS__), n);                 \
    CHECK_MEM(cut, strlen(cut), expect, n < 7 ? n : 7);                       \
    CHECK_INT(mg_snprintf(NULL, 0, __VA_ARGS__), n);                          \
  } while (0)
#define PRINTS(want, ...)                                                     \
  do {                                                                        \
    char result[200];                                                         \
    size_t n = mg_snprintf(result, sizeof(result), __VA_ARGS__);              \
    CHECK_MEM(result, n, want, sizeof(want) - 1);                             \
  } while (0)

TEST(integers_look_as_in_the_c_library) {
  static const int values[] = {0, 1, -1, 42, -42, INT_MAX, INT_MIN};
  for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
    int v = values[i];
    SAME("%d|%i|%u|%x|%X|%o", v, v, v, v, v, v);
    SAME("%5d|%-5d|%05d|%+d|% d|%.4d|%8.4d|%-8.4d|%.0d", v, v, v, v, v, v, v, v, v);
    SAME("%5x|%-5x|%05x|%#x|%.4X|%8.4x|%02x|%#010x", v, v, v, v, v, v, v, v);
    SAME("%hhd|%hd|%hhu", (signed char) v, (short) v, (unsigned char) v);
    SAME("%hu|%hhx|%02hhX", (unsigned short) v, (unsigned char) v, (unsigned char) v);
    SAME("%*d|%-*d|%.*d|%*.*d", 6, v, 6, v, 3, v, 7, 4, v);
    SAME("%*d|%.*d", -6, v, -1, v);
  }
}
TEST(a_precision_switches_zeros_from_the_flag_off) {
  PRINTS("    0042|0042|abc", "%08.4d|%04d|%03s", 42, 42, "abc");
}
TEST(wide_integers_are_wide) {
  SAME("%ld %ld %lu %lx", LONG_MIN, LONG_MAX, ULONG_MAX, ULONG_MAX);
  SAME("%lld %lld %llu %llX", LLONG_MIN, LLONG_MAX, ULLONG_MAX, ULLONG_MAX);
  SAME("%zu %zx %zd %jd %td", SIZE_MAX, SIZE_MAX, (ssize_t) -5, (intmax_t) -6, (ptrdiff_t) -7);
}
TEST(sizes_narrow_their_argument) {
  PRINTS("34 5678 -1", "%hhx %hx %hhd", 0x1234, 0x12345678, 255);
}
TEST(strings_and_characters) {
  SAME("%s|%5s|%-5s|%.2s|%5.1s|%c|%3c|%-3c|", "abc", "abc", "abc", "abc", "abc", 'x', 'y', 'z');
  SAME("100%% of %s", "it");
  PRINTS("", "%s", (char *) NULL);
  PRINTS("   ", "%3s", (char *) NULL);
}
TEST(a_counted_string_needs_no_nul_and_keeps_those_it_has) {
  char *g = mg_test_guarded("a\0b", 3);
  PRINTS("<a\0b>", "<%.*s>", 3, g);
  PRINTS("<>", "<%.*s>", 0, g + 3);
  PRINTS("<  a>", "<%*.*s>", 3, 1, g);
  mg_test_unguard(g, 3);
  g = mg_test_guarded("abc", 3);
  PRINTS("ab", "%.2s", g);
  mg_test_unguard(g, 3);
  PRINTS("ab", "%.5s", "ab"); /* digits in the format are a limit, not a length */
  PRINTS("ab", "%.*s", -1, "ab");
}
TEST(pointers_are_hexadecimal) {
  PRINTS("0x1234abcd 0x0", "%p %p", (void *) 0x1234abcd, (void *) 0);
}
TEST(doubles_with_a_precision_look_as_in_the_c_library) {
  static const double values[] = {0, -0.0, 1, -1.5, 3.14159265358979, 1e-7, 123456789, 1e100, -1e308, 5e-324, 0.1};
  for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
    double v = values[i];
    SAME("%f|%.0f|%.3f|%10.2f|%-10.2f|%010.2f|%+.1f", v, v, v, v, v, v, v);
    SAME("%e|%.3e|%.6g|%.17g|%.1G|%12.4g", v, v, v, v, v, v);
  }
  SAME("%f %5.1f %05.0f %e %.2g", (double) INFINITY, -(double) INFINITY, (double) INFINITY, (double) NAN, (double) NAN);
}
TEST(g_is_the_shortest_text_that_reads_back) {
  PRINTS("0.1 1.5 100 1e+100 -0.25 3 0", "%g %g %g %g %g %g %g", 0.1, 1.5, 100.0, 1e100, -0.25, 3.0, 0.0);
  PRINTS("0.30000000000000004 1.7976931348623157e+308", "%g %g", 0.1 + 0.2, 1.7976931348623157e308);
  uint64_t bits = 0x9e3779b97f4a7c15ULL;
  for (int i = 0; i < 20000; i++) {
    double v;
    char text[64];
    bits = bits * 6364136223846793005ULL + 1442695040888963407ULL;
    memcpy(&v, &bits, sizeof(v));
    if (isnan(v)) continue;
    mg_snprintf(text, sizeof(text), "%g", v);
    CHECK(strtod(text, NULL) == v);
  }
}
TEST(the_locale_does_not_show) { /* needs localedef, to have one with a comma on any machine */
  char dir[] = "/tmp/locale-XXXXXX", cmd[200];
  CHECK(mkdtemp(dir) != NULL);
  snprintf(cmd, sizeof(cmd), "localedef -i de_DE -f UTF-8 %s/comma >/dev/null 2>&1", dir);
  int made = system(cmd) == 0;
  setenv("LOCPATH", dir, 1);
  if (made) {
    CHECK(setlocale(LC_NUMERIC, "comma") != NULL);
    char c_library[10];
    snprintf(c_library, sizeof(c_library), "%.1f", 1.5);
    CHECK(strcmp(c_library, "1,5") == 0);
    PRINTS("1.5 0.25 1.50 2.5e+00", "%g %.2f %.2f %.1e", 1.5, 0.25, 1.5, 2.5);
    PRINTS("0.30000000000000004 1e+100", "%g %g", 0.1 + 0.2, 1e100);
  } else {
    fprintf(stderr, "no localedef: only the C locale was tried\n");
  }
  setlocale(LC_NUMERIC, "C");
  PRINTS("1.5", "%g", 1.5);
  snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
  CHECK_INT(system(cmd), 0);
}
TEST(a_format_that_ends_early_ends_the_text) {
  PRINTS("a", "a%");
  PRINTS("a", "a%-0 5.3ll");
  PRINTS("a?b", "a%?b");
}
TEST(m_puts_quotes_and_capital_m_does_not) {
  PRINTS("{\"a\":\"b\\\"c\"} b", "{%m:%m} %M", MG_ESC("a"), MG_ESC("b\"c"), MG_ESC("b"));
  PRINTS("1 \"x\" 2", "%d %m %d", 1, MG_ESC("x"), 2); /* the arguments behind stay in step */
}
TEST(json_text_is_escaped) {
  PRINTS("\\b\\f\\n\\r\\t\\\"\\\\/\\u001f\\u0001\x7f\xc3\xa4", "%M", MG_ESC("\b\f\n\r\t\"\\/\x1f\x01\x7f\xc3\xa4"));
  PRINTS("a\\u0000b", "%M", mg_print_esc, 3, "a\0b");
  PRINTS("", "%M", MG_ESC((char *) NULL));
  PRINTS("", "%M", mg_print_esc, -1, "abc");
  struct mg_str s = mg_str_n("abc", 2), empty = mg_str_n("abc", 0);
  PRINTS("[ab][]", "[%M][%M]", MG_ESC_STR(s), MG_ESC_STR(empty));
}
TEST(html_text_is_escaped) {
  PRINTS("&lt;a href=&quot;x&quot;&gt;&#39;&amp;&lt;", "%M", mg_print_html_esc, 0, "<a href=\"x\">'&<");
  PRINTS("&lt;a", "%M", mg_print_html_esc, 2, "<a>");
}
TEST(bytes_print_as_hex_base64_and_mac) {
  PRINTS("00ff10", "%M", mg_print_hex, 3, "\0\xff\x10");
  PRINTS("|", "%M|", mg_print_hex, 0, "abc");
  PRINTS("\"Zm9vYmFy\" Zm9vYg== Zm9vYmE= |", "%m %M %M %M|", mg_print_base64, 6, "foobar", mg_print_base64, 4, "foob",
         mg_print_base64, 5, "fooba", mg_print_base64, 0, "");
  PRINTS("01:02:0a:ff:00:10", "%M", mg_print_mac, "\1\2\12\xff\0\x10");
}
TEST(an_iobuf_grows_and_keeps_a_nul) {
  struct mg_iobuf io = {NULL, 0, 0, 0, NULL};
  for (int i = 0; i < 100; i++) {
    CHECK_INT(mg_xprintf(mg_pfn_iobuf, &io, "%03d%c%M", i, ' ', mg_print_hex, 1, "\x5a"), 6);
  }
  CHECK_INT(io.len, 600);
  CHECK_MEM(io.buf + 594, 7, "099 5a", 7);
  mg_iobuf_free(&io);
}
TEST(a_fixed_iobuf_takes_what_fits) {
  unsigned char b[5] = "....";
  struct mg_iobuf io = {b, 4, 0, 0, NULL};
  CHECK_INT(mg_xprintf(mg_pfn_iobuf_noresize, &io, "ab"), 2);
  CHECK_MEM(b, 4, "ab\0.", 4);
  CHECK_INT(mg_xprintf(mg_pfn_iobuf_noresize, &io, "cdef"), 4);
  CHECK_MEM(b, 5, "abcd", 5);
  CHECK_INT(io.len, 4);
}
TEST(a_text_from_memory_is_whole_or_null) {
  char big[300];
  memset(big, 'x', 299);
  big[299] = '\0';
  int n = 0;
  for (;;) {
    mg_alloc_fail_at(++n);
    char *s = mg_mprintf("%s-%d-%M-%s", big, 42, MG_ESC("\n"), big);
    mg_alloc_fail_at(0);
    if (s == NULL) continue;
    CHECK_INT(strlen(s), 299 + 7 + 299);
    CHECK_MEM(s + 299, 7, "-42-\\n-", 7);
    mg_free(s);
    break;
  }
  CHECK(n > 1);
  char *empty = mg_mprintf("%s", "");
  CHECK(empty != NULL && *empty == '\0');
  mg_free(empty);
}
CHECK_MAIN
