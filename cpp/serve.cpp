// serve.cpp - Python's arguments into struct mg_http_serve_opts; what is wrong with them is said before anything is sent.
#define PY_SSIZE_T_CLEAN
#include "serve.h"

#include <cstring>
#include <string>

#include "args.h"
#include "errors.h"
#include "message.h"

extern "C" {
#include "mongoose/proto/http_static.h"
}

namespace {

// Everything a struct mg_http_serve_opts points to.
struct Options {
  std::string root, headers, types, page404, cache, ssi;
  mg_http_serve_opts opts{};

  mg_http_serve_opts *get() {
    opts.root_dir = root.c_str();
    opts.extra_headers = headers.c_str();
    opts.mime_types = types.c_str();
    opts.page404 = page404.c_str();
    opts.cache_control = cache.empty() ? nullptr : cache.c_str();
    opts.ssi_pattern = ssi.c_str();
    return &opts;
  }
};

bool given(PyObject *o) {
  return o && o != Py_None;
}

// str, bytes or os.PathLike, as the system's bytes. ValueError for a NUL in it.
bool path_of(std::string &out, PyObject *o) {
  PyObject *bytes = nullptr;
  if (!PyUnicode_FSConverter(o, &bytes)) return false;
  Ref hold(bytes);
  out.assign(PyBytes_AS_STRING(bytes), static_cast<size_t>(PyBytes_GET_SIZE(bytes)));
  return true;
}

bool text_of(std::string &out, PyObject *o, const char *name) {
  Bytes b;
  if (!b.init(o, name)) return false;
  if (memchr(b.data(), '\0', b.size())) {
    PyErr_Format(PyExc_ValueError, "%s must not contain a NUL", name);
    return false;
  }
  out.assign(b.data(), b.size());
  return true;
}

// Lines as cymongoose has them, or pairs as everywhere else. Lines go through the pairs' checks.
bool headers_of(std::string &out, PyObject *o) {
  std::string text;
  if (!PyUnicode_Check(o) && !PyBytes_Check(o)) return conn_text_headers(out, o, nullptr);
  if (!text_of(text, o, "extra_headers")) return false;
  Ref pairs(PyList_New(0));
  for (size_t at = 0; pairs && at < text.size();) {
    size_t eol = text.find('\n', at), end = eol == std::string::npos ? text.size() : eol;
    size_t stop = end > at && text[end - 1] == '\r' ? end - 1 : end, colon = text.find(':', at);
    if (stop > at && (colon == std::string::npos || colon >= stop)) {
      PyErr_Format(PyExc_ValueError, "extra_headers must be lines of the form 'Name: value\\r\\n', not %R", o);
      return false;
    }
    if (stop > at) {
      size_t from = colon + 1;
      while (from < stop && (text[from] == ' ' || text[from] == '\t')) from++;
      Ref pair(Py_BuildValue("(y#y#)", text.data() + at, static_cast<Py_ssize_t>(colon - at), text.data() + from,
                             static_cast<Py_ssize_t>(stop - from)));
      if (!pair || PyList_Append(pairs.get(), pair.get()) < 0) return false;
    }
    at = end + 1;
  }
  return pairs && conn_text_headers(out, pairs.get(), nullptr);
}

// "ext=type,ext=type", or a mapping of the two.
bool types_of(std::string &out, PyObject *o) {
  if (PyUnicode_Check(o) || PyBytes_Check(o)) return text_of(out, o, "mime_types");
  Ref items(PyMapping_Check(o) ? PyMapping_Items(o) : nullptr);
  if (!items) return PyErr_Occurred() ? false : (PyErr_SetString(PyExc_TypeError, "mime_types must be str or a mapping"), false);
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); i++) {
    std::string ext, type;
    PyObject *pair = PyList_GET_ITEM(items.get(), i);
    if (!text_of(ext, PyTuple_GET_ITEM(pair, 0), "extension") || !text_of(type, PyTuple_GET_ITEM(pair, 1), "type")) return false;
    out += (out.empty() ? "" : ",") + (ext.rfind('.', 0) == 0 ? ext.substr(1) : ext) + "=" + type;
  }
  return true;
}

bool checked_types(std::string &out, PyObject *o) {
  if (!types_of(out, o)) return false;
  for (unsigned char ch : out) {
    if (ch >= 0x20 && ch != 0x7f) continue;
    PyErr_Format(PyExc_ValueError, "mime_types contains an illegal character: %R", o);
    return false;
  }
  return true;
}

bool age_of(std::string &out, PyObject *o) {
  double age = PyFloat_AsDouble(o);
  if (age == -1.0 && PyErr_Occurred()) return false;
  if (!(age >= 0 && age <= 4e9)) {
    PyErr_Format(PyExc_ValueError, "max_age must be seconds >= 0, not %R", o);
    return false;
  }
  out = "max-age=" + std::to_string(static_cast<long long>(age));
  return true;
}

bool flag_of(bool &out, PyObject *o) {
  int v = PyObject_IsTrue(o);
  out = v > 0;
  return v >= 0;
}

// From extra_headers on; a name that a method does not have is null.
bool options_of(Options &o, PyObject *headers, PyObject *types, PyObject *page404, PyObject *listing, PyObject *max_age, PyObject *dotfiles,
                PyObject *ssi) {
  if (given(headers) && !headers_of(o.headers, headers)) return false;
  if (given(types) && !checked_types(o.types, types)) return false;
  if (given(page404) && !path_of(o.page404, page404)) return false;
  if (given(listing) && !flag_of(o.opts.listing, listing)) return false;
  if (given(max_age) && !age_of(o.cache, max_age)) return false;
  if (given(dotfiles) && !flag_of(o.opts.dotfiles, dotfiles)) return false;
  return !given(ssi) || text_of(o.ssi, ssi, "ssi_pattern");
}

mg_http_message *message_of(PyObject *o) {
  if (!Py_IS_TYPE(o, msg_type)) {
    PyErr_Format(PyExc_TypeError, "msg must be HttpMessage, not %.200s", Py_TYPE(o)->tp_name);
    return nullptr;
  }
  auto *hm = reinterpret_cast<Msg *>(o)->hm;
  if (!hm) PyErr_SetString(PyExc_ValueError, "this message is no longer valid");
  return hm;
}

PyObject *served(Conn *conn, bool ok) {
  if (ok) Py_RETURN_NONE;
  int status = conn->c->mgr->status;
  return raise_status(status, status == MG_ESTATE ? "there is no request to answer, or it is answered already" : nullptr, conn->id);
}

bool here(const Conn *conn) {
  return conn->loop->on_thread();
}

}  // namespace

PyObject *conn_serve_dir(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"msg", "root_dir", "extra_headers", "mime_types", "page404", "listing", "max_age", "dotfiles", "ssi_pattern"};
  PyObject *a[9];
  Options o;
  if (!take_args("serve_dir", names, 9, 2, args, n, kw, a)) return nullptr;
  if (n > 5) return PyErr_Format(PyExc_TypeError, "serve_dir() takes at most 5 positional arguments (%zd given)", n);
  if (!conn->c) return raise_closed();
  mg_http_message *hm = message_of(a[0]);
  if (!hm || !path_of(o.root, a[1]) || !options_of(o, a[2], a[3], a[4], a[5], a[6], a[7], a[8])) return nullptr;
  if (o.root.empty()) return PyErr_Format(PyExc_ValueError, "root_dir must not be empty");
  if (!here(conn)) return conn_post(conn, conn_serve_dir, args, n, kw);
  return served(conn, mg_http_serve_dir(conn->c, hm, o.get()));
}

PyObject *conn_serve_file(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"msg", "path", "extra_headers", "mime_types", "max_age"};
  PyObject *a[5];
  Options o;
  std::string path;
  if (!take_args("serve_file", names, 5, 2, args, n, kw, a)) return nullptr;
  if (n > 4) return PyErr_Format(PyExc_TypeError, "serve_file() takes at most 4 positional arguments (%zd given)", n);
  if (!conn->c) return raise_closed();
  mg_http_message *hm = message_of(a[0]);
  if (!hm || !path_of(path, a[1]) || !options_of(o, a[2], a[3], nullptr, nullptr, a[4], nullptr, nullptr)) return nullptr;
  if (!here(conn)) return conn_post(conn, conn_serve_file, args, n, kw);
  return served(conn, mg_http_serve_file(conn->c, hm, path.c_str(), o.get()));
}

PyObject *conn_serve(Conn *conn, PyObject *const *args, Py_ssize_t n, PyObject *kw) {
  static const char *const names[] = {"prefix", "root", "extra_headers", "mime_types", "page404", "listing", "max_age", "dotfiles", "ssi_pattern"};
  PyObject *a[9];
  Options o;
  std::string prefix;
  if (!take_args("serve", names, 9, 2, args, n, kw, a)) return nullptr;
  if (n > 2) return PyErr_Format(PyExc_TypeError, "serve() takes at most 2 positional arguments (%zd given)", n);
  if (!conn->c) return raise_closed();
  if (!text_of(prefix, a[0], "prefix") || !path_of(o.root, a[1]) || !options_of(o, a[2], a[3], a[4], a[5], a[6], a[7], a[8])) return nullptr;
  if (prefix.empty() || prefix[0] != '/') return PyErr_Format(PyExc_ValueError, "prefix must begin with '/', not %R", a[0]);
  if (o.root.empty()) return PyErr_Format(PyExc_ValueError, "root must not be empty");
  bool ok = conn->loop->call_sync([&] {
    if (conn->c && mg_route_serve(conn->c, mg_str_n(prefix.data(), prefix.size()), o.get())) return true;
    if (!conn->c) {
      raise_closed();
    } else {
      raise_status(conn->loop->mgr.status == MG_ENOMEM ? MG_ENOMEM : MG_ESTATE, "serve() belongs to an HTTP listener", conn->id);
    }
    return false;
  });
  return ok ? Py_NewRef(Py_None) : nullptr;
}

const char conn_serve_dir_doc[] =
    "serve_dir($self, msg, root_dir, extra_headers='', mime_types='', page404='', *, listing=False, max_age=None, dotfiles=False, "
    "ssi_pattern='')\n--\n\nAnswer GET or HEAD with the file that the path of msg names below root_dir; other methods get 405.\n\n"
    "Handles ETag and Last-Modified (RFC 9110 13), ranges (14), and name.br, name.zst or name.gz for clients that take the coding. A folder\n"
    "is its index.html. Nothing outside of root_dir is served, whatever the path says and wherever symbolic links lead.\n\n"
    "Args:\n    msg: the request.\n    root_dir: str or path; or by URI prefix, 'dir,/a=dir1,/b=dir2'.\n"
    "    extra_headers: 'Name: value\\\\r\\\\n' lines, a mapping or pairs; for answers with the file, and 304.\n"
    "    mime_types: 'ext=type,ext=type' or a mapping, before the built-in table.\n    page404: file to send with 404.\n"
    "    listing: answer a folder without an index with a list of it.\n    max_age: seconds, for Cache-Control.\n"
    "    dotfiles: serve hidden names, too.\n    ssi_pattern: files with server-side includes, as for match(): '#.shtml'.\n\n"
    "Raises:\n    ConnectionClosed: the connection is closed.\n    MongooseError: the request is answered already.\n"
    "    ValueError: a header contains an illegal character, or a path a NUL.";

const char conn_serve_file_doc[] =
    "serve_file($self, msg, path, extra_headers='', mime_types='', *, max_age=None)\n--\n\nAnswer GET or HEAD with this file, whatever the path of "
    "msg; otherwise like serve_dir(). 404 when it is not there or not a regular file; symbolic links are followed.";

const char conn_serve_doc[] =
    "serve($self, prefix, root, *, extra_headers='', mime_types='', page404='', listing=False, max_age=None, dotfiles=False, ssi_pattern='')\n--\n\n"
    "On an HTTP listener: answer requests for prefix and what is below it with the files in root, without entering Python.\n\n"
    "Otherwise like serve_dir(), but root is one folder. The longest prefix wins; paths set by respond() come first; set again to replace.\n\n"
    "Raises:\n    ValueError: prefix does not begin with '/'.\n    MongooseError: this is no HTTP listener.";
