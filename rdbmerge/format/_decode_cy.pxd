from rdbmerge.format._element_cy cimport Element
from rdbmerge.format._items_cy cimport ItemReader


cdef class Decoder:
    cdef ItemReader reader
    cdef tuple names
    cdef tuple encodings
    cdef object failure
    cdef object others
    cdef object item_source
    cdef list field_names
    cdef bytes field_name(self, Element element)
    cdef object read_list(self)
    cdef object read_set(self)
    cdef object read_zset(self)
    cdef object read_hash(self)
    cdef object decode(self, int number, Py_ssize_t start, Py_ssize_t end)
    cdef object read_string(self, Py_ssize_t start, Py_ssize_t end)


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


cdef class Entries:
    cdef Decoder decoder
    cdef int db
    cdef const unsigned char[::1] types
    cdef const unsigned char[::1] flags
    cdef const long long[::1] expire_at_ms
    cdef const long long[::1] hints
    cdef const long long[::1] entry_start
    cdef const long long[::1] key_start
    cdef const long long[::1] value_start
    cdef const long long[::1] ends
    cdef Py_ssize_t rows
    cdef Py_ssize_t row
