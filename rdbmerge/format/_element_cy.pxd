cdef class Element:
    cdef const unsigned char *base
    cdef Py_ssize_t at
    cdef Py_ssize_t size
    cdef bint is_number
    cdef long long number
    cdef double real
    cdef unsigned char text[24]
    cdef unsigned char *room
    cdef Py_ssize_t room_size
    cdef void set_bytes(self, const unsigned char *base, Py_ssize_t at, Py_ssize_t size) noexcept nogil
    cdef void set_number(self, long long number) noexcept nogil
    cdef int unpack(self, const unsigned char *packed, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t size) noexcept nogil
    cdef void spell(self) noexcept nogil
    cdef unsigned long long hash(self, unsigned long long seed) noexcept nogil
    cdef bint measure_real(self) noexcept nogil
    cpdef bytes as_bytes(self)
    cdef double slow_real(self, Py_ssize_t start, Py_ssize_t stop) noexcept with gil


cdef long long load_le(const unsigned char *base, Py_ssize_t at, int size) noexcept nogil
cdef double load_double(const unsigned char *base, Py_ssize_t at) noexcept nogil
cdef long long load_u32(const unsigned char *base, Py_ssize_t at) noexcept nogil
