// event_lines.h - many lines of JSON in one piece of memory, on their way to a sink that writes them at once.
#pragma once
#include <Python.h>

#include <cstddef>

#include "ref.h"

// Puts lines behind each other. Python's lock is held.
class LineBuilder {
 public:
  // Memory for so many bytes, for a start. False with MemoryError.
  bool begin(size_t bytes);
  // n more bytes, to be filled from there on; null with MemoryError.
  char *room(size_t n) { return size_ - used_ >= n ? text_ + used_ : grow(n); }
  void wrote(const char *end) { used_ = static_cast<size_t>(end - text_); }  // as far as that
  bool add(const char *text, size_t n);
  bool end_line();
  bool add_lines(const char *text, const Py_ssize_t *ends, size_t n, Py_ssize_t begin);  // n whole ones; ends count from text - begin
  bool add_text(const char *text, size_t size, size_t n);  // n whole ones, with their line feeds: all or none
  void undo() { used_ = line_; }  // the line that has not ended
  size_t bytes() const { return used_; }
  size_t lines() const { return lines_; }
  PyObject *finish();  // as a Lines; null with MemoryError, which elsewhere costs no line that has ended

 private:
  char *grow(size_t n);
  bool more_lines(size_t n);

  Ref data_, ends_;  // bytes: the text, and where each line ends (behind its line feed) as Py_ssize_t
  char *text_ = nullptr;
  Py_ssize_t *end_ = nullptr;
  size_t size_ = 0, used_ = 0, line_ = 0, lines_ = 0, max_lines_ = 0;
};

// Adds the type pymongoose._core.Lines. False with an exception.
bool add_lines_type(PyObject *module);
