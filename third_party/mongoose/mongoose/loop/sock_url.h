/* sock_url.h - what sock.c needs of a URL: which kind of socket, on which host, at which port. Nothing of it is copied
 * but the label, so the URL must outlive the result. Internal; codec/url.h is the one for applications.
 */
#pragma once
#include "mongoose/loop/sock.h"

MG_BEGIN_DECLS

enum mg_sock_kind { MG_SOCK_TCP, MG_SOCK_UDP, MG_SOCK_UNIX, MG_SOCK_FD };

struct mg_sock_url {
  enum mg_sock_kind kind;
  struct mg_str host; /* without brackets; of Unix sockets the path or @name, of fd:// the number */
  bool bracketed;
  bool is_tls;      /* the scheme says so */
  const char *alpn; /* and names the protocol within; NULL: it does not */
  unsigned port;
  char label[80]; /* how messages call it: "127.0.0.1:80" */
};

/* MG_OK, or MG_EINVAL or MG_ESCHEME with the reason in err. The host is not checked. */
int mg_sock_url_parse(struct mg_sock_url *u, const char *url, char err[MG_SOCK_ERR]);

MG_END_DECLS
