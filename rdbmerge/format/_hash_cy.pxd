cdef unsigned long long xxh64(const unsigned char *p, Py_ssize_t start, Py_ssize_t size, unsigned long long seed) noexcept nogil
