#include "errors.h"

#include "module.h"
#include "ref.h"

namespace {

struct Row {
  int status;
  const char *name;
};

constexpr Row rows[] = {
    {MG_ENOMEM, "MemoryError"},      {MG_EINVAL, "ValueError"},       {MG_ESCHEME, "ValueError"},
    {MG_EADDRINUSE, "AddressInUse"}, {MG_EIO, "MongooseError"},       {MG_ECLOSED, "ConnectionClosed"},
    {MG_EFULL, "QueueFull"},         {MG_ETOOBIG, "TooBig"},          {MG_EPROTO, "ProtocolError"},
    {MG_ETIMEDOUT, "TimedOut"},      {MG_ERESOLVE, "ResolveError"},   {MG_ETLS, "TlsError"},
    {MG_ESTATE, "MongooseError"},
};

PyObject *classes;  // the module pymongoose._errors; set once at import
PyObject *form_error;  // of it: looked up then, since a look-up may clear an exception that is set

}  // namespace

PyObject *form_error_class() {
  return form_error;
}

PyObject *error_class(int status) {
  const char *name = "MongooseError";
  for (const Row &row : rows) {
    if (row.status == status) name = row.name;
  }
  if (status == MG_ENOMEM) return PyExc_MemoryError;
  if (status == MG_EINVAL || status == MG_ESCHEME) return PyExc_ValueError;
  if (!classes) return PyExc_RuntimeError;
  PyObject *cls = PyObject_GetAttrString(classes, name);
  Py_XDECREF(cls);  // the module keeps it
  return cls;
}

PyObject *raise_status(int status, const char *text, unsigned long conn_id) {
  PyObject *cls = error_class(status);
  if (!cls) return nullptr;
  Ref message(PyUnicode_DecodeUTF8(text ? text : mg_status_text(status), static_cast<Py_ssize_t>(strlen(text ? text : mg_status_text(status))), "replace"));
  if (!message) return nullptr;
  Ref error(PyObject_CallOneArg(cls, message.get()));
  if (!error) return nullptr;
  if (cls != PyExc_MemoryError && cls != PyExc_ValueError) {
    Ref code(PyLong_FromLong(status));
    Ref id(PyLong_FromUnsignedLong(conn_id));
    if (!code || !id || PyObject_SetAttrString(error.get(), "code", code.get()) < 0 ||
        PyObject_SetAttrString(error.get(), "conn_id", id.get()) < 0) {
      return nullptr;
    }
  }
  PyErr_SetObject(cls, error.get());
  return nullptr;
}

PyObject *raise_closed() {
  return raise_status(MG_ECLOSED, "connection is closed");
}

void bind_errors(pybind11::module_ &m) {
  classes = PyImport_ImportModule("pymongoose._errors");
  form_error = classes ? PyObject_GetAttrString(classes, "FormError") : nullptr;
  if (!form_error) throw pybind11::error_already_set();
  (void)m;
}
