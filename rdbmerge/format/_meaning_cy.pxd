from rdbmerge.format._items_cy cimport ItemReader
from rdbmerge.format._stream_meaning_cy cimport StreamMeaning


cdef class Meaning:
    cdef ItemReader items
    cdef StreamMeaning streams
    cdef long long ttl_offset_ms
    cdef long long dead_before_ms
    cdef long long latest_ms
    cdef bint as_it_stands
    cdef bint without_times
    cdef bint failed
    cdef unsigned long long value_hash(self, int number, Py_ssize_t start, Py_ssize_t end, unsigned long long seed) noexcept nogil
    cdef unsigned long long fail(self) noexcept nogil
    cdef unsigned long long list_hash(self, unsigned long long seed) noexcept nogil
    cdef unsigned long long set_hash(self, unsigned long long seed) noexcept nogil
    cdef unsigned long long zset_hash(self, unsigned long long seed) noexcept nogil
    cdef unsigned long long hash_hash(self, unsigned long long seed) noexcept nogil
    cdef unsigned long long time_hash(self, long long time) noexcept nogil
