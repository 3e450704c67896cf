cdef class Cursor:
    cdef object view
    cdef const unsigned char *p
    cdef Py_ssize_t end
    cdef public int error_code
    cdef public Py_ssize_t error_pos
    cdef public unsigned long long error_detail
    cdef public unsigned long long value
    cdef public unsigned long long long_lengths
    cdef Py_ssize_t fail(self, int code, Py_ssize_t pos, unsigned long long detail) noexcept nogil
    cdef Py_ssize_t need(self, Py_ssize_t pos, unsigned long long count) noexcept nogil
    cdef Py_ssize_t skip_len(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t skip_lens(self, Py_ssize_t pos, int count) noexcept nogil
    cdef Py_ssize_t skip_string(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t skip_strings(self, Py_ssize_t pos, unsigned long long count) noexcept nogil
