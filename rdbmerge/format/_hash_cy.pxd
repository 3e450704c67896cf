cdef unsigned long long xxh64(const unsigned char *p, Py_ssize_t start, Py_ssize_t size, unsigned long long seed) noexcept nogil
cdef unsigned long long mix(unsigned long long h) noexcept nogil
cdef unsigned long long bytes_hash(const unsigned char *p, Py_ssize_t start, Py_ssize_t size, unsigned long long seed) noexcept nogil
