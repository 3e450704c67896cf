cdef unsigned long long crc64(const unsigned char *p, Py_ssize_t start, Py_ssize_t size, unsigned long long crc) noexcept nogil
