// tls.h - TLS options as they come from Python: an object of pymongoose.TlsOpts becomes an mg_tls_opts that points into it.
#pragma once
#include <vector>

#include "loop.h"

class TlsArgs {
 public:
  bool init(PyObject *opts);  // None: not given. False with TypeError; Lock needed
  const mg_tls_opts *get() const { return given_ ? &opts_ : nullptr; }

 private:
  bool bytes(PyObject *from, const char *name, Str *out);
  mg_tls_opts opts_{};
  bool given_ = false;
  std::vector<mg_tls_cert> more_;
  std::vector<Ref> hold_;
};

// Context for clients or servers on this loop; null with TlsError set. One reference.
mg_tls_ctx *tls_context(Loop &loop, const mg_tls_opts *opts, bool client);
// A client connection speaks TLS when it is connected. False: MG_EV_ERROR told why.
bool tls_client(mg_connection *c, mg_tls_ctx *ctx, const mg_tls_opts *opts, const char *url);
