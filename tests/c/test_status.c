/* test_status.c - every status has a text of its own. */
#include "check.h"
#include "mongoose/base/status.h"

TEST(every_status_has_its_own_text) {
  for (int a = MG_OK; a >= MG_ESTATE; a--) {
    CHECK(strcmp(mg_status_text(a), "unknown status") != 0);
    for (int b = MG_OK; b > a; b--) CHECK(strcmp(mg_status_text(a), mg_status_text(b)) != 0);
  }
}
TEST(numbers_outside_the_list_are_unknown) {
  CHECK(strcmp(mg_status_text(1), "unknown status") == 0);
  CHECK(strcmp(mg_status_text(MG_ESTATE - 1), "unknown status") == 0);
}
CHECK_MAIN
