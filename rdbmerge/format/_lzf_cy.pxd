cdef bint unpack_lzf(const unsigned char *packed, Py_ssize_t i, Py_ssize_t in_size, unsigned char *out, Py_ssize_t out_size) noexcept nogil
