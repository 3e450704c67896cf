from rdbmerge.format._items_cy cimport ItemReader


cdef class Decoder:
    cdef ItemReader reader
    cdef tuple names
    cdef tuple encodings
    cdef object failure
    cdef object others
    cdef object item_source
    cdef object read_list(self)
    cdef object read_set(self)
    cdef object read_zset(self)
    cdef object read_hash(self)
    cdef object decode(self, int number, Py_ssize_t start, Py_ssize_t end)
    cdef object key_at(self, Py_ssize_t start, Py_ssize_t end)


cdef class Items:
    cdef ItemReader reader
    cdef object failure
    cdef bint ended


cdef class Entry:
    cdef Decoder decoder
    cdef int number
    cdef int flags
    cdef int db_number
    cdef long long expiry
    cdef long long hint
    cdef Py_ssize_t entry_start
    cdef Py_ssize_t key_start
    cdef Py_ssize_t value_start
    cdef Py_ssize_t value_end
