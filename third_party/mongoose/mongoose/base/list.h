/* list.h - singly linked lists of structs with a `next` field. `head` is the address of the first pointer.
 * Adding to the tail and deleting walk the list: for short lists only. Deleting what is not in the list does nothing.
 */
#pragma once
#include <stddef.h>

#define LIST_ADD_HEAD(type_, head_, elem_) \
  do {                                     \
    (elem_)->next = *(head_);              \
    *(head_) = (elem_);                    \
  } while (0)

#define LIST_ADD_TAIL(type_, head_, elem_)                \
  do {                                                    \
    type_ **list_at_ = (head_);                           \
    while (*list_at_ != NULL) list_at_ = &(*list_at_)->next; \
    (elem_)->next = NULL;                                 \
    *list_at_ = (elem_);                                  \
  } while (0)

#define LIST_DELETE(type_, head_, elem_)                                                  \
  do {                                                                                    \
    type_ **list_at_ = (head_);                                                           \
    while (*list_at_ != NULL && *list_at_ != (elem_)) list_at_ = &(*list_at_)->next;      \
    if (*list_at_ != NULL) *list_at_ = (*list_at_)->next;                                 \
  } while (0)
