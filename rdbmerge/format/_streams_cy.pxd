from rdbmerge.format._element_cy cimport Element
from rdbmerge.format._packs_cy cimport Pack
from rdbmerge.format._values_cy cimport ValueCursor
from rdbmerge.format._items_cy cimport ItemReader


cdef class StreamReader:
    cdef ItemReader items
    cdef ValueCursor cursor
    cdef Pack pack
    cdef Pack master
    cdef Pack master_fields
    cdef Element field
    cdef Element value
    cdef Element number
    cdef unsigned long long nodes
    cdef unsigned long long entries
    cdef unsigned long long master_ms
    cdef unsigned long long master_seq
    cdef long long master_count
    cdef long long fields
    cdef long long told
    cdef unsigned long long ms
    cdef unsigned long long seq
    cdef bint deleted
    cdef bint same
    cdef Py_ssize_t pos
    cdef int begin(self, Py_ssize_t start, Py_ssize_t end) noexcept nogil
    cdef int open_node(self) noexcept nogil
    cdef int step(self) noexcept nogil
    cdef int step_field(self) noexcept nogil
    cdef int whole(self, int what) noexcept nogil
    cdef int fail(self, int what) noexcept nogil
    cdef int element(self, Element element) noexcept nogil


cdef unsigned long long load_be64(const unsigned char *base, Py_ssize_t at) noexcept nogil
