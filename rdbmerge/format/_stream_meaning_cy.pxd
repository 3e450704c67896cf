from rdbmerge.format._element_cy cimport Element
from rdbmerge.format._items_cy cimport ItemReader
from rdbmerge.format._streams_cy cimport StreamReader
from rdbmerge.format._values_cy cimport ValueCursor


cdef class StreamMeaning:
    cdef ItemReader items
    cdef StreamReader streams
    cdef ValueCursor cursor
    cdef Element name
    cdef int stream_level
    cdef bint torn
    cdef list owners
    cdef unsigned long long stream_hash(self, int level, Py_ssize_t start, Py_ssize_t end, unsigned long long seed) noexcept nogil
    cdef unsigned long long entries_hash(self, unsigned long long seed) noexcept nogil
    cdef unsigned long long group_hash(self, int level, unsigned long long seed) noexcept nogil
    cdef unsigned long long consumer_hash(self, int level, unsigned long long seed) noexcept nogil
    cdef unsigned long long ids_hash(self, unsigned long long seed) noexcept nogil
    cdef unsigned long long orphans_hash(self, int level, unsigned long long seed) noexcept nogil
    cdef unsigned long long producers_hash(self, unsigned long long seed) noexcept nogil
    cdef unsigned long long length(self) noexcept nogil
    cdef unsigned long long chain(self, unsigned long long h, int lengths) noexcept nogil
    cdef unsigned long long text(self, unsigned long long seed) noexcept nogil
    cdef unsigned long long time(self) noexcept nogil
    cdef void owners_forget(self) noexcept with gil
    cdef void remember_owner(self) noexcept with gil
    cdef void name_owner(self) noexcept with gil
