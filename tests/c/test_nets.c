#include "check.h"
#include "mongoose/base/status.h"
#include "mongoose/loop/nets.h"

static bool in(const char *list, const char *address) {
  struct mg_addr a;
  struct mg_nets *n;
  int err = 1;
  bool found;
  memset(&a, 0, sizeof(a));
  n = mg_nets_new(mg_str(list), &err);
  CHECK_INT(err, MG_OK);
  if (address != NULL) CHECK(mg_aton(mg_str(address), &a));
  found = mg_nets_has(n, address != NULL ? &a : NULL);
  mg_nets_free(n);
  return found;
}

TEST(an_address_is_in_its_networks_and_in_no_other) {
  CHECK(in("127.0.0.1", "127.0.0.1"));
  CHECK(!in("127.0.0.1", "127.0.0.2"));
  CHECK(in("10.0.0.0/8, 192.168.1.0/24", "192.168.1.255"));
  CHECK(!in("10.0.0.0/8, 192.168.1.0/24", "192.168.2.0"));
  CHECK(in("0.0.0.0/0", "8.8.8.8"));
  CHECK(!in("0.0.0.0/0", "::1"));
  CHECK(in("fe80::/10", "febf::1"));
  CHECK(!in("fe80::/10", "fec0::1"));
  CHECK(in(" ::1 ,\t[2001:db8::]/33", "2001:db8:7fff::"));
  CHECK(!in("2001:db8::/33", "2001:db8:8000::"));
}

TEST(ipv4_inside_ipv6_is_held_against_ipv4) {
  CHECK(in("10.0.0.0/8", "::ffff:10.1.2.3"));
  CHECK(!in("10.0.0.0/8", "::ffff:11.1.2.3"));
}

TEST(unix_peers_are_in_only_by_name) {
  CHECK(in("unix", NULL));
  CHECK(in("10.0.0.0/8,unix", NULL));
  CHECK(!in("0.0.0.0/0,::/0", NULL));
  CHECK(!mg_nets_has(NULL, NULL));
}

TEST(malformed_lists_are_refused) {
  static const char *const bad[] = {"", ",", "10.0.0.0/8,", ",::1", "10.0.0.0/33", "::1/129", "1.2.3", "1.2.3.4/", "1.2.3.4/x", "/8", "a b", "1.2.3.4/+8"};
  size_t i;
  int err;
  for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    CHECK(mg_nets_new(mg_str(bad[i]), &err) == NULL);
    CHECK_INT(err, MG_EINVAL);
  }
}

CHECK_MAIN
