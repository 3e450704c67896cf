from rdbmerge.format._element_cy cimport Element


cdef class Pack:
    cdef const unsigned char *base
    cdef Py_ssize_t at
    cdef Py_ssize_t stop
    cdef Py_ssize_t start
    cdef Py_ssize_t previous
    cdef Py_ssize_t last_start
    cdef int packing
    cdef int width
    cdef unsigned long long told
    cdef unsigned long long seen
    cdef long long last_number
    cdef int error_code
    cdef unsigned long long error_detail
    cdef int fail(self, int code, unsigned long long detail) noexcept nogil
    cdef bint open(self, int packing, const unsigned char *base, Py_ssize_t at, Py_ssize_t size) noexcept nogil
    cdef void stand_at(self, Pack other) noexcept nogil
    cdef int step(self, Element element) noexcept nogil
    cdef int finish(self) noexcept nogil
    cdef int step_ziplist(self, Element element) noexcept nogil
    cdef int step_listpack(self, Element element) noexcept nogil
    cdef int step_intset(self, Element element) noexcept nogil
    cdef int step_zipmap(self, Element element) noexcept nogil
    cdef bint backlen_is_right(self, Py_ssize_t at, Py_ssize_t size, int count) noexcept nogil
