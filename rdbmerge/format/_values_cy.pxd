from rdbmerge.format._cursor_cy cimport Cursor


cdef class ValueCursor(Cursor):
    cdef Py_ssize_t skip_counted(self, Py_ssize_t pos, int shape) noexcept nogil
    cdef Py_ssize_t skip_score(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t skip_module(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t skip_stream(self, Py_ssize_t pos, int level) noexcept nogil
    cdef Py_ssize_t skip_stream_groups(self, Py_ssize_t pos, int level) noexcept nogil
    cdef Py_ssize_t skip_raw_ids(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t skip_stream_idmp(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t skip_array(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t skip_value(self, Py_ssize_t pos, int shape) noexcept nogil
