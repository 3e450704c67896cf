from rdbmerge.format._values_cy cimport ValueCursor


cdef class FieldSurvey:
    cdef ValueCursor cursor
    cdef const unsigned char *p
    cdef Py_ssize_t end
    cdef long long dead_before_ms
    cdef long long ttl_offset_ms
    cdef public long long first_ms
    cdef public long long last_ms
    cdef public Py_ssize_t dead
    cdef public Py_ssize_t alive
    cdef public bint fixed
    cdef bint writing
    cdef Py_ssize_t delta
    cdef unsigned char *out
    cdef void store(self, Py_ssize_t pos, long long at_ms) noexcept nogil
    cdef void store_length(self, Py_ssize_t pos, long long at_ms) noexcept nogil
    cdef long long load(self, Py_ssize_t pos, int size) noexcept nogil
    cdef void book(self, long long expire_at_ms, bint never) noexcept nogil
    cdef Py_ssize_t listpack_end(self, Py_ssize_t pos) noexcept nogil
    cdef Py_ssize_t element(self, Py_ssize_t pos) noexcept nogil
    cdef bint element_expiry(self, Py_ssize_t pos) noexcept nogil
    cdef bint walk_listpack(self, Py_ssize_t pos) noexcept nogil
    cdef bint walk_counted(self, Py_ssize_t pos, int shape) noexcept nogil
    cdef int judge(self, int shape, Py_ssize_t start, Py_ssize_t stop, bint short_times) noexcept nogil
    cdef void patch(self, int shape, Py_ssize_t start, Py_ssize_t stop, unsigned char *out, Py_ssize_t at) noexcept nogil
