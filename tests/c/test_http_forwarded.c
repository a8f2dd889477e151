#include "check.h"
#include "mongoose/base/status.h"
#include "mongoose/codec/http_forwarded.h"

static struct mg_forwarded hops[MG_FORWARDED_HOPS];

static int parse(const char *text) {
  size_t len = strlen(text);
  char *bytes = mg_test_guarded(text, len);
  int n = mg_forwarded_parse(mg_str_n(bytes, len), hops);
  mg_test_unguard(bytes, len);
  return n < 0 ? n : mg_forwarded_parse(mg_str(text), hops); /* slices into what lives on */
}

TEST(pairs_of_each_hop_are_found_in_any_order_and_case) {
  CHECK_INT(parse("For=\"[2001:db8::1]:4711\"; Proto=https;host=a.example , for=_hidden;by=x;secret=\"a,b;c\",proto=http"), 3);
  CHECK_STR(hops[0].node, "[2001:db8::1]:4711");
  CHECK_STR(hops[0].proto, "https");
  CHECK_STR(hops[0].host, "a.example");
  CHECK_STR(hops[1].node, "_hidden");
  CHECK_INT(hops[1].proto.len, 0);
  CHECK_STR(hops[2].proto, "http");
  CHECK_INT(hops[2].node.len, 0);
}

TEST(empty_elements_are_left_out) {
  CHECK_INT(parse(""), 0);
  CHECK_INT(parse(" , ,"), 0);
  CHECK_INT(parse(",for=a,,for=b,"), 2);
  CHECK_INT(parse("for=a;"), 1);
}

TEST(malformed_fields_are_refused_as_a_whole) {
  static const char *const bad[] = {"for", "for=", "=a", "for=a b", "for=\"a", "for=\"a\\\"b\"", "for=a;for=b", "for=[::1]", "for=a\"b\"", "for =a",
                                    "for=\"evil, for=1.2.3.4"};
  size_t i;
  for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) CHECK_INT(parse(bad[i]), MG_EPROTO);
}

TEST(of_very_many_hops_the_nearest_are_kept) {
  char text[600] = "";
  int i;
  for (i = 0; i < 40; i++) snprintf(text + strlen(text), sizeof(text) - strlen(text), "for=%d,", i);
  CHECK_INT(parse(text), MG_FORWARDED_HOPS);
  CHECK_STR(hops[0].node, "8");
  CHECK_STR(hops[31].node, "39");
}

TEST(a_plain_list_is_read_from_its_end) {
  struct mg_str list = mg_str("a, b c ,, d ,"), item;
  CHECK(mg_list_last(&list, &item));
  CHECK_STR(item, "d");
  CHECK(mg_list_last(&list, &item));
  CHECK_STR(item, "b c");
  CHECK(mg_list_last(&list, &item));
  CHECK_STR(item, "a");
  CHECK(!mg_list_last(&list, &item));
}

CHECK_MAIN
