/* log.h - messages for the developer, off until asked for: MG_INFO(("%lu accepted", c->id)).
 *
 * One message is one line: control bytes in it (other than a tab) are written as \xNN, so that what a peer
 * sends cannot forge lines. A line goes to the sink whole, even when several threads log. The level may be changed at any time.
 */
#pragma once
#include <stddef.h>
#include "mongoose/base/printf.h"

MG_BEGIN_DECLS

enum { MG_LL_NONE, MG_LL_ERROR, MG_LL_INFO, MG_LL_DEBUG, MG_LL_VERBOSE };

extern int mg_log_level; /* MG_LL_NONE at the start; read and written with relaxed atomics */

void mg_log_set(int level); /* values outside the list are taken to its nearer end */
int mg_log_get(void);
/* Where lines go, to stdout at first and after NULL. Called by one thread at a time; what the sink itself logs is
 * dropped. */
void mg_log_set_fn(mg_pfn_t fn, void *param);

/* What the macros expand to: the prefix is kept for this thread until mg_log writes the line. */
void mg_log_prefix(int level, const char *file, int line, const char *function);
void mg_log(const char *fmt, ...);
void mg_hexdump(const void *buf, size_t len); /* to the same sink; nothing at MG_LL_NONE */

#if MG_ENABLE_LOG
#define MG_LOG(level, args)                                   \
  do {                                                        \
    if ((level) <= mg_log_get()) {                            \
      mg_log_prefix((level), __FILE__, __LINE__, __func__);   \
      mg_log args;                                            \
    }                                                         \
  } while (0)
#else
#define MG_LOG(level, args)  \
  do {                       \
    if (0) mg_log args;      \
  } while (0)
#endif
#define MG_ERROR(args) MG_LOG(MG_LL_ERROR, args)
#define MG_INFO(args) MG_LOG(MG_LL_INFO, args)
#define MG_DEBUG(args) MG_LOG(MG_LL_DEBUG, args)
#define MG_VERBOSE(args) MG_LOG(MG_LL_VERBOSE, args)

MG_END_DECLS
