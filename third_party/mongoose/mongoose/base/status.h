/* status.h - what can go wrong, as one list. Functions that can fail return one of these (all < 0),
 * or set mgr->status when they return a pointer; mg_status_text() names it for people.
 */
#pragma once
#include "mongoose/config.h"

MG_BEGIN_DECLS

enum mg_status {
  MG_OK = 0,
  MG_ENOMEM = -1,      /* an allocation failed */
  MG_EINVAL = -2,      /* an argument is wrong: bad URL, bad port, illegal header character */
  MG_ESCHEME = -3,     /* a URL scheme nobody here speaks */
  MG_EADDRINUSE = -4,  /* the address is busy */
  MG_EIO = -5,         /* the operating system said no; errno has the reason */
  MG_ECLOSED = -6,     /* the connection is gone */
  MG_EFULL = -7,       /* a bounded queue or buffer is full */
  MG_ETOOBIG = -8,     /* beyond a configured limit */
  MG_EPROTO = -9,      /* the peer broke the protocol */
  MG_ETIMEDOUT = -10,
  MG_ERESOLVE = -11,   /* a host name did not resolve */
  MG_ETLS = -12,       /* TLS failed, or is not built in */
  MG_ESTATE = -13      /* the call does not fit the moment: answered twice, nothing to answer */
};

/* Static text for `status`, "unknown status" for numbers outside the list. */
const char *mg_status_text(int status);

MG_END_DECLS
