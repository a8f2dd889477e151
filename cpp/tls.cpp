// tls.cpp - TLS of a connection: beginning it, changing a listener's certificates, and what was agreed on.
#include "tls.h"

#include <cstring>
#include <string>

#include "args.h"
#include "connection.h"
#include "errors.h"

// ---- options ----

bool TlsArgs::bytes(PyObject *from, const char *name, Str *out) {
  Ref v(PyObject_GetAttrString(from, name));
  if (!v) return false;
  if (PyUnicode_Check(v.get())) v = Ref(PyUnicode_AsUTF8String(v.get()));
  if (!v) return false;
  if (!PyBytes_Check(v.get())) {
    PyErr_Format(PyExc_TypeError, "TlsOpts.%s must be bytes, not %.200s", name, Py_TYPE(v.get())->tp_name);
    return false;
  }
  *out = mg_str_n(PyBytes_AS_STRING(v.get()), static_cast<size_t>(PyBytes_GET_SIZE(v.get())));
  hold_.push_back(std::move(v));
  return true;
}

namespace {

bool truth(PyObject *from, const char *name, bool *out) {
  Ref v(PyObject_GetAttrString(from, name));
  int b = v ? PyObject_IsTrue(v.get()) : -1;
  *out = b > 0;
  return b >= 0;
}

bool is_text(PyObject *from, const char *name, const char *text, bool *out) {
  Ref v(PyObject_GetAttrString(from, name));
  *out = v && PyUnicode_Check(v.get()) && PyUnicode_CompareWithASCIIString(v.get(), text) == 0;
  return static_cast<bool>(v);
}

}  // namespace

bool TlsArgs::init(PyObject *o) {
  if (!o || o == Py_None) return true;
  Ref mod(PyImport_ImportModule("pymongoose._tls"));
  Ref cls(mod ? PyObject_GetAttrString(mod.get(), "TlsOpts") : nullptr);
  int is = cls ? PyObject_IsInstance(o, cls.get()) : -1;
  if (is == 0) PyErr_Format(PyExc_TypeError, "tls must be a TlsOpts, not %.200s", Py_TYPE(o)->tp_name);
  if (is <= 0) return false;
  bool skip = false, resumption = true, none = false, optional = false, required = false;
  if (!bytes(o, "ca", &opts_.ca) || !bytes(o, "cert", &opts_.cert) || !bytes(o, "key", &opts_.key) || !bytes(o, "name", &opts_.name) ||
      !bytes(o, "alpn", &opts_.alpn) || !bytes(o, "ciphers", &opts_.ciphers) || !bytes(o, "ocsp", &opts_.ocsp) ||
      !truth(o, "skip_verification", &skip) || !truth(o, "resumption", &resumption) || !truth(o, "ktls", &opts_.ktls) ||
      !is_text(o, "min_version", "1.3", &opts_.tls13_only) || !is_text(o, "client_auth", "none", &none) ||
      !is_text(o, "client_auth", "optional", &optional) || !is_text(o, "client_auth", "required", &required)) {
    return false;
  }
  if (opts_.name.len > 0 && memchr(opts_.name.buf, 0, opts_.name.len)) {
    PyErr_SetString(PyExc_ValueError, "name: there is a NUL in it");
    return false;
  }
  opts_.skip_verification = skip;
  opts_.no_resumption = !resumption;
  opts_.client_auth = none ? MG_TLS_AUTH_NONE : optional ? MG_TLS_AUTH_OPTIONAL : required ? MG_TLS_AUTH_REQUIRED : MG_TLS_AUTH_DEFAULT;
  Ref certs(PyObject_GetAttrString(o, "certs"));
  Ref all(certs ? PySequence_Tuple(certs.get()) : nullptr);
  if (!all) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(all.get()); i++) {
    mg_tls_cert c{};
    PyObject *from = PyTuple_GET_ITEM(all.get(), i);
    if (!bytes(from, "names", &c.name) || !bytes(from, "cert", &c.cert) || !bytes(from, "key", &c.key)) return false;
    more_.push_back(c);
  }
  opts_.more = more_.data();
  opts_.nmore = more_.size();
  return given_ = true;
}

mg_tls_ctx *tls_context(Loop &loop, const mg_tls_opts *opts, bool client) {
  char err[MG_TLS_ERR];
  int status = MG_OK;
  mg_tls_ctx *ctx = mg_tls_ctx_get(&loop.mgr, opts, client, &status, err);
  if (!ctx) raise_status(status, err);
  return ctx;
}

bool tls_client(mg_connection *c, mg_tls_ctx *ctx, const mg_tls_opts *opts, const char *url) {
  Str host = opts->name.len > 0 ? opts->name : mg_url_host(url);
  if (host.len > 1 && host.buf[0] == '[' && host.buf[host.len - 1] == ']') host = mg_str_n(host.buf + 1, host.len - 2);
  return mg_tls_attach(c, ctx, std::string(host.buf, host.len).c_str());
}

// ---- methods of a connection ----

PyObject *conn_tls_init(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"opts", "name"};
  PyObject *a[2];
  if (!take_args("tls_init", names, 2, 1, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  if (!conn->loop->on_thread()) return conn_post(conn, conn_tls_init, args, n, kw);
  TlsArgs tls;
  if (!tls.init(a[0])) return nullptr;
  if (!tls.get()) return PyErr_Format(PyExc_TypeError, "opts must be a TlsOpts, not None");
  mg_connection *c = conn->c;
  mg_tls_ctx *ctx = tls_context(*conn->loop, tls.get(), c->is_client);
  if (!ctx) return nullptr;
  std::string name(tls.get()->name.buf, tls.get()->name.len);
  if (name.empty() && a[1] && a[1] != Py_None) {
    Bytes host;
    if (!host.init(a[1], "name")) return mg_tls_ctx_drop(ctx), nullptr;
    name.assign(host.data(), host.size());
    if (name.find('\0') != std::string::npos) {
      PyErr_SetString(PyExc_ValueError, "name: there is a NUL in it");
      return mg_tls_ctx_drop(ctx), nullptr;
    }
  }
  (void)mg_tls_attach(c, ctx, name.empty() ? nullptr : name.c_str());  // failures are MG_EV_ERROR
  mg_tls_ctx_drop(ctx);
  Py_RETURN_NONE;
}

PyObject *conn_tls_free(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  if (!take_args("tls_free", nullptr, 0, 0, args, n, kw, nullptr)) return nullptr;
  if (!conn->c) Py_RETURN_NONE;
  if (!conn->loop->on_thread()) return conn_post(conn, conn_tls_free, args, n, kw);
  if (!conn->c->is_listening) mg_tls_free(conn->c);
  Py_RETURN_NONE;
}

PyObject *conn_tls_reload(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"opts"};
  PyObject *a[1];
  if (!take_args("tls_reload", names, 1, 1, args, n, kw, a)) return nullptr;
  if (!conn->c) return raise_closed();
  TlsArgs tls;
  if (!tls.init(a[0])) return nullptr;
  if (!tls.get()) return PyErr_Format(PyExc_TypeError, "opts must be a TlsOpts, not None");
  bool ok = conn->loop->call_sync([&] {
    if (!conn->c) return raise_closed(), false;
    char err[MG_TLS_ERR];
    int status = MG_OK;
    mg_tls_ctx *ctx = mg_tls_ctx_new(tls.get(), false, &status, err);  // anew, whatever the files' times say
    if (!ctx) return raise_status(status, err, conn->id), false;
    bool done = mg_tls_listen(conn->c, ctx);
    mg_tls_ctx_drop(ctx);
    if (!done) raise_status(conn->loop->mgr.status, conn->loop->mgr.errmsg, conn->id);
    return done;
  });
  return ok ? Py_NewRef(Py_None) : nullptr;
}

// ---- what was agreed on ----

namespace {

PyObject *text(Str s) {
  return PyUnicode_DecodeUTF8(s.buf ? s.buf : "", static_cast<Py_ssize_t>(s.len), "replace");
}

PyObject *text_or_none(Str s) {
  return s.len > 0 ? text(s) : Py_NewRef(Py_None);
}

PyObject *call_class(const char *name, PyObject *args) {  // steals args
  Ref a(args), mod(a ? PyImport_ImportModule("pymongoose._tls") : nullptr);
  Ref cls(mod ? PyObject_GetAttrString(mod.get(), name) : nullptr);
  return cls ? PyObject_CallObject(cls.get(), a.get()) : nullptr;
}

PyObject *peer_of(const mg_connection *c) {
  struct Free {
    mg_tls_peer *p;
    ~Free() { mg_tls_peer_free(p); }
  } peer{mg_tls_peer_new(c)};
  if (!peer.p) Py_RETURN_NONE;
  Ref names(PyTuple_New(static_cast<Py_ssize_t>(peer.p->nnames)));
  for (size_t i = 0; names && i < peer.p->nnames; i++) {
    PyObject *s = text(peer.p->names[i]);
    if (!s) return nullptr;
    PyTuple_SET_ITEM(names.get(), static_cast<Py_ssize_t>(i), s);
  }
  char hex[65];
  for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", peer.p->sha256[i]);
  Ref subject(text(peer.p->subject)), issuer(text(peer.p->issuer)), serial(text(peer.p->serial));
  Ref der(PyBytes_FromStringAndSize(peer.p->der.buf, static_cast<Py_ssize_t>(peer.p->der.len)));
  if (!names || !subject || !issuer || !serial || !der) return nullptr;
  return call_class("TlsPeer", Py_BuildValue("(OOOOLLsOO)", subject.get(), issuer.get(), serial.get(), names.get(),
                                             static_cast<long long>(peer.p->not_before), static_cast<long long>(peer.p->not_after), hex,
                                             peer.p->verified ? Py_True : Py_False, der.get()));
}

PyObject *info_of(const mg_connection *c) {
  mg_tls_info info;
  if (!mg_tls_info_of(c, &info)) Py_RETURN_NONE;
  Ref alpn(text_or_none(info.alpn)), name(text_or_none(info.server_name)), peer(peer_of(c));
  if (!alpn || !name || !peer) return nullptr;
  return call_class("TlsInfo", Py_BuildValue("(ssOOOOOO)", info.version, info.cipher, alpn.get(), name.get(),
                                             info.resumed ? Py_True : Py_False, info.truncated ? Py_True : Py_False,
                                             info.in_kernel ? Py_True : Py_False, peer.get()));
}

}  // namespace

PyObject *conn_tls(PyObject *o, void *) {
  auto *conn = reinterpret_cast<Conn *>(o);
  PyObject *out = nullptr;
  if (!conn->c || !conn->c->is_tls || conn->c->is_listening) Py_RETURN_NONE;
  bool ok = conn->loop->call_sync([&] {  // the loop may be reading into the session without Python's lock
    out = conn->c ? info_of(conn->c) : Py_NewRef(Py_None);
    return out != nullptr;
  });
  return ok ? out : nullptr;
}
