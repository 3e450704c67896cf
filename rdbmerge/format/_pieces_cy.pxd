from rdbmerge.format._element_cy cimport Element


cdef class PieceWriter:
    cdef unsigned char *out
    cdef Py_ssize_t used
    cdef Py_ssize_t room
    cdef Py_ssize_t before
    cdef Py_ssize_t done
    cdef Py_ssize_t skip
    cdef bint full
    cdef unsigned char head[32]
    cdef void open(self, unsigned char *out, Py_ssize_t used, Py_ssize_t room) noexcept nogil
    cdef void resume(self) noexcept nogil
    cdef bint whole(self) noexcept nogil
    cdef void put(self, const unsigned char *base, Py_ssize_t at, Py_ssize_t size) noexcept nogil
    cdef void put_length(self, unsigned long long number) noexcept nogil
    cdef void put_le64(self, unsigned long long number) noexcept nogil
    cdef void put_string(self, Element element) noexcept nogil
    cdef void put_double(self, double number) noexcept nogil


cdef Py_ssize_t length_size(unsigned long long number) noexcept nogil
cdef Py_ssize_t string_size(Element element) noexcept nogil
