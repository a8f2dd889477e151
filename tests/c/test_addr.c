/* test_addr.c - addresses from text, to text, and against access lists. */
#include "mongoose/loop/addr.h"

#include <arpa/inet.h>

#include "check.h"

static struct mg_str str(const char *s) {
  struct mg_str r;
  r.buf = (char *) s;
  r.len = strlen(s);
  return r;
}

/* The text as it prints again, or "-". Parsed from memory that ends with the text. */
static const char *reparsed(const char *text) {
  static char buf[MG_ADDR_TEXT];
  struct mg_addr a;
  size_t len = strlen(text);
  struct mg_str s;
  bool ok;
  memset(&a, 0xee, sizeof(a));
  s.buf = mg_test_guarded(text, len);
  s.len = len;
  ok = mg_aton(s, &a);
  mg_test_unguard(s.buf, len);
  if (!ok) return "-";
  CHECK_INT(a.port, 0xeeee); /* left alone */
  CHECK(mg_addr_print(&a, false, buf, sizeof(buf)) == strlen(buf));
  return buf;
}

#define CHECK_PARSED(text, want) CHECK_MEM(reparsed(text), strlen(reparsed(text)), want, strlen(want))

TEST(addresses_parse_in_every_form) {
  CHECK_PARSED("127.0.0.1", "127.0.0.1");
  CHECK_PARSED("255.255.255.255", "255.255.255.255");
  CHECK_PARSED("", "0.0.0.0");
  CHECK_PARSED("localhost", "127.0.0.1");
  CHECK_PARSED("::1", "0:0:0:0:0:0:0:1");
  CHECK_PARSED("[::1]", "0:0:0:0:0:0:0:1");
  CHECK_PARSED("::", "0:0:0:0:0:0:0:0");
  CHECK_PARSED("2001:db8::ff00:42:8329", "2001:db8:0:0:0:ff00:42:8329");
  CHECK_PARSED("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8");
  CHECK_PARSED("::ffff:1.2.3.4", "0:0:0:0:0:ffff:102:304");
  CHECK_PARSED("fe80::1%2", "fe80:0:0:0:0:0:0:1");
}

TEST(what_is_no_address_is_refused) {
  static const char *const bad[] = {"256.0.0.1", "1.2.3",   "1.2.3.4.5", "1.2.3.4 ", " 1.2.3.4",  "1.2.3.-4",     "a.b.c.d",   "[]",
                                    "[1.2.3.4]", "[::1",    "::1]",      "[::1]:80", ":::",       "1::2::3",      "12345::",   "fe80::1%",
                                    "fe80::1%256", "fe80::1%0", "fe80::1%1x", "1.2.3.4%1", "[localhost]", "LOCALHOSTS", "example.com",
                                    "::1%nosuchinterface0", "1:2:3:4:5:6:7:8:9", "0000:0000:0000:0000:0000:0000:255.255.255.2555555"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) CHECK_PARSED(bad[i], "-");
}

TEST(a_zero_byte_does_not_end_an_address) {
  struct mg_addr a;
  struct mg_str s;
  s.buf = (char *) "1.2.3.4\0junk";
  s.len = 12;
  CHECK(!mg_aton(s, &a));
}

TEST(a_failed_parse_changes_nothing) {
  struct mg_addr a, before;
  memset(&a, 0x5a, sizeof(a));
  before = a;
  CHECK(!mg_aton(str("fe80::1%999"), &a));
  CHECK(!mg_aton(str("nonsense"), &a));
  CHECK_MEM((char *) &a, sizeof(a), (char *) &before, sizeof(before));
}

TEST(bytes_are_in_network_order_and_scope_is_kept) {
  struct mg_addr a;
  CHECK(mg_aton(str("1.2.3.4"), &a) && !a.is_ip6);
  CHECK_MEM((char *) a.addr.ip, 4, "\1\2\3\4", 4);
  CHECK(a.addr.ip4 == htonl(0x01020304));
  CHECK(mg_aton(str("fe80::1%7"), &a) && a.is_ip6);
  CHECK_INT(a.scope_id, 7);
  CHECK_MEM((char *) a.addr.ip, 2, "\xfe\x80", 2);
  CHECK(mg_aton(str("fe80::1%lo"), &a));
  CHECK(a.scope_id > 0);
}

TEST(a_port_is_printed_behind_brackets) {
  struct mg_addr a;
  char buf[MG_ADDR_TEXT];
  a.port = htons(8080);
  CHECK(mg_aton(str("::1"), &a));
  mg_addr_print(&a, true, buf, sizeof(buf));
  CHECK_MEM(buf, strlen(buf), "[0:0:0:0:0:0:0:1]:8080", 22);
  CHECK(mg_aton(str("10.0.0.1"), &a));
  mg_addr_print(&a, true, buf, sizeof(buf));
  CHECK_MEM(buf, strlen(buf), "10.0.0.1:8080", 13);
}

TEST(the_longest_text_fits_and_a_short_buffer_is_not_overrun) {
  struct mg_addr a;
  char buf[MG_ADDR_TEXT], small[5] = "xxxx";
  memset(&a, 0xff, sizeof(a));
  a.is_ip6 = true;
  CHECK_INT(mg_addr_print(&a, true, buf, sizeof(buf)), 47);
  CHECK_INT(mg_addr_print(&a, true, small, 4), 47);
  CHECK_MEM(small, 5, "[ff\0\0", 5);
  CHECK_INT(mg_addr_print(&a, true, NULL, 0), 47);
}

struct sink {
  char buf[64];
  size_t len;
};
static void put(char c, void *arg) {
  struct sink *s = (struct sink *) arg;
  s->buf[s->len++] = c;
}
static size_t call(size_t (*fn)(void (*)(char, void *), void *, va_list *), struct sink *s, ...) {
  va_list ap;
  size_t n;
  s->len = 0;
  va_start(ap, s);
  n = fn(put, s, &ap);
  va_end(ap);
  CHECK_INT(n, s->len);
  return n;
}

TEST(printers_for_the_M_format_print_addresses) {
  struct sink s;
  struct mg_addr a;
  a.port = htons(53);
  mg_aton(str("9.8.7.6"), &a);
  call(mg_print_ip, &s, &a);
  CHECK_MEM(s.buf, s.len, "9.8.7.6", 7);
  call(mg_print_ip_port, &s, &a);
  CHECK_MEM(s.buf, s.len, "9.8.7.6:53", 10);
  mg_aton(str("::2"), &a);
  call(mg_print_ip, &s, &a);
  CHECK_MEM(s.buf, s.len, "[0:0:0:0:0:0:0:2]", 17);
  call(mg_print_ip_port, &s, &a);
  CHECK_MEM(s.buf, s.len, "[0:0:0:0:0:0:0:2]:53", 20);
}

static int acl(const char *list, const char *ip) {
  struct mg_addr a;
  struct mg_str s;
  int rc;
  CHECK(mg_aton(str(ip), &a));
  s.len = strlen(list);
  s.buf = mg_test_guarded(list, s.len);
  rc = mg_check_ip_acl(s, &a);
  mg_test_unguard(s.buf, s.len);
  return rc;
}

TEST(the_last_entry_that_fits_decides) {
  CHECK_INT(acl("", "1.2.3.4"), 1);
  CHECK_INT(acl("+1.2.3.4", "1.2.3.4"), 1);
  CHECK_INT(acl("+1.2.3.4", "1.2.3.5"), 0);
  CHECK_INT(acl("-1.2.3.4", "1.2.3.5"), 0); /* any list denies those it does not name */
  CHECK_INT(acl("-0.0.0.0/0,+10.0.0.0/8", "10.200.0.1"), 1);
  CHECK_INT(acl("-0.0.0.0/0,+10.0.0.0/8", "11.0.0.1"), 0);
  CHECK_INT(acl("+0.0.0.0/0,-10.0.0.0/8,+10.1.0.0/16", "10.1.2.3"), 1);
  CHECK_INT(acl("+0.0.0.0/0,-10.0.0.0/8,+10.1.0.0/16", "10.2.2.3"), 0);
  CHECK_INT(acl("+192.168.1.77/24", "192.168.1.1"), 1); /* host bits of an entry do not count */
}

TEST(masks_cut_inside_a_byte) {
  CHECK_INT(acl("+10.0.0.128/25", "10.0.0.255"), 1);
  CHECK_INT(acl("+10.0.0.128/25", "10.0.0.127"), 0);
  CHECK_INT(acl("+10.0.0.4/31", "10.0.0.5"), 1);
  CHECK_INT(acl("+10.0.0.4/31", "10.0.0.6"), 0);
  CHECK_INT(acl("+2001:db8:8000::/33", "2001:db8:ffff::1"), 1);
  CHECK_INT(acl("+2001:db8:8000::/33", "2001:db8:7fff::1"), 0);
}

TEST(families_are_kept_apart_but_mapped_peers_are_ipv4) {
  CHECK_INT(acl("+0.0.0.0/0", "2001:db8::1"), 0);
  CHECK_INT(acl("+::/0", "1.2.3.4"), 0);
  CHECK_INT(acl("+::/0", "2001:db8::1"), 1);
  CHECK_INT(acl("+10.0.0.0/8", "::ffff:10.1.1.1"), 1);
  CHECK_INT(acl("+::/0,-10.0.0.0/8", "::ffff:10.1.1.1"), 0);
}

TEST(a_malformed_list_is_told_wherever_the_fault_is) {
  static const char *const bad[] = {"1.2.3.4", "+", "-", ",", "+1.2.3.4,", ",+1.2.3.4", "+1.2.3.4,,+1.2.3.5", "+1.2.3.4/33", "+1.2.3.4/",
                                    "+1.2.3.4/-1", "+1.2.3.4/8x", "+1.2.3", "+0.0.0.0/0,x", "+0.0.0.0/0,*1.2.3.4", "+::/129", "+/8",
                                    "+1.2.3.4/4294967296", " +1.2.3.4", "+1.2.3.4 "};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) CHECK_INT(acl(bad[i], "1.2.3.4"), -1);
}

CHECK_MAIN
