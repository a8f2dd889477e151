/* status.c - the texts of the list in status.h. */
#include "mongoose/base/status.h"

const char *mg_status_text(int status) {
  switch (status) { /* a switch over the enum: the compiler names the code that was forgotten */
    case MG_OK: return "ok";
    case MG_ENOMEM: return "out of memory";
    case MG_EINVAL: return "invalid argument";
    case MG_ESCHEME: return "unknown URL scheme";
    case MG_EADDRINUSE: return "address in use";
    case MG_EIO: return "input/output error";
    case MG_ECLOSED: return "connection closed";
    case MG_EFULL: return "queue full";
    case MG_ETOOBIG: return "limit exceeded";
    case MG_EPROTO: return "protocol error";
    case MG_ETIMEDOUT: return "timed out";
    case MG_ERESOLVE: return "host name did not resolve";
    case MG_ETLS: return "TLS failed";
    case MG_ESTATE: return "not possible in this state";
    default: return "unknown status";
  }
}
