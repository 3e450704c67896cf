from rdbmerge.format._cursor_cy cimport Cursor
from rdbmerge.format._element_cy cimport Element


cdef class Templates:
    cdef dict names
    cdef Py_ssize_t count(self, unsigned long long number) noexcept with gil
    cdef void name(self, unsigned long long number, Py_ssize_t place, Element element) noexcept with gil


cdef class ValueCursor(Cursor):
    cdef Templates templates
    cdef Py_ssize_t template_names(self, unsigned long long number) noexcept nogil
    cdef void template_name(self, unsigned long long number, Py_ssize_t place, Element element) noexcept nogil
    cdef Py_ssize_t skip_counted(self, Py_ssize_t pos, int shape) noexcept nogil
    cdef Py_ssize_t skip_score(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t skip_module(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t skip_stream(self, Py_ssize_t pos, int level) noexcept nogil
    cdef Py_ssize_t skip_stream_groups(self, Py_ssize_t pos, int level) noexcept nogil
    cdef Py_ssize_t skip_raw_ids(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t skip_stream_idmp(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t skip_array(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t skip_template_strings(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t skip_value(self, Py_ssize_t pos, int shape) noexcept nogil
