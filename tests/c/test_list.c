/* test_list.c - the list macros keep order and links. */
#include "check.h"
#include "mongoose/base/list.h"

struct item {
  int id;
  struct item *next;
};
static int ids(struct item *head) { /* 1 -> 2 -> 3 is 123 */
  int n = 0;
  for (; head != NULL; head = head->next) n = n * 10 + head->id;
  return n;
}

TEST(head_and_tail_go_where_they_say) {
  struct item a = {1, NULL}, b = {2, NULL}, c = {3, NULL}, *head = NULL;
  LIST_ADD_TAIL(struct item, &head, &b);
  LIST_ADD_HEAD(struct item, &head, &a);
  LIST_ADD_TAIL(struct item, &head, &c);
  CHECK_INT(ids(head), 123);
}
TEST(any_element_can_be_deleted) {
  struct item a = {1, NULL}, b = {2, NULL}, c = {3, NULL}, *head = NULL;
  LIST_ADD_HEAD(struct item, &head, &c);
  LIST_ADD_HEAD(struct item, &head, &b);
  LIST_DELETE(struct item, &head, &a); /* not in it */
  CHECK_INT(ids(head), 23);
  LIST_ADD_HEAD(struct item, &head, &a);
  LIST_DELETE(struct item, &head, &b);
  CHECK_INT(ids(head), 13);
  LIST_DELETE(struct item, &head, &c);
  LIST_DELETE(struct item, &head, &a);
  CHECK(head == NULL);
}
CHECK_MAIN
