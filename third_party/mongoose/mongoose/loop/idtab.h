/* idtab.h - connection ids: O(1) from id to connection, and "is it alive?" from any thread.
 *
 * An id is generation * 2^20 + slot; a slot's generation grows with each use, so an old id never names a new
 * connection. Ids are > 0. Segments of the table are never moved or freed before mg_idtab_free, which is what makes the
 * look from other threads safe.
 */
#pragma once
#include <stdbool.h>
#include "mongoose/config.h"

MG_BEGIN_DECLS

struct mg_idtab;

struct mg_idtab *mg_idtab_new(void);
void mg_idtab_free(struct mg_idtab *t);
unsigned long mg_idtab_add(struct mg_idtab *t, void *who);        /* loop thread; 0 when memory is out */
void mg_idtab_del(struct mg_idtab *t, unsigned long id);          /* loop thread */
void *mg_idtab_find(const struct mg_idtab *t, unsigned long id);  /* loop thread; NULL for a dead or unknown id */
bool mg_idtab_alive(const struct mg_idtab *t, unsigned long id);  /* any thread */

MG_END_DECLS
