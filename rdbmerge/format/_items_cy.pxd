from rdbmerge.format._element_cy cimport Element
from rdbmerge.format._packs_cy cimport Pack
from rdbmerge.format._values_cy cimport ValueCursor


cdef class ItemReader:
    cdef object view
    cdef const unsigned char[::1] window
    cdef ValueCursor cursor
    cdef bytes tables
    cdef const unsigned char *table
    cdef Pack pack
    cdef Element a
    cdef Element b
    cdef Element blob
    cdef int shape
    cdef int packing
    cdef int logical
    cdef bint expiring
    cdef bint in_pack
    cdef unsigned long long left
    cdef unsigned long long template
    cdef unsigned long long name
    cdef Py_ssize_t begun
    cdef Py_ssize_t pos
    cdef Py_ssize_t end
    cdef Py_ssize_t blob_at
    cdef Py_ssize_t unpacked_at
    cdef Py_ssize_t unpacked_size
    cdef long long base_ms
    cdef long long time
    cdef double score
    cdef int logical_of(self, int number) noexcept nogil
    cdef int shape_of(self, int number) noexcept nogil
    cdef int begin(self, int number, Py_ssize_t start, Py_ssize_t end) noexcept nogil
    cdef int step(self) noexcept nogil
    cdef Py_ssize_t string(self, Element element, Py_ssize_t pos) noexcept nogil
    cdef int open_blob(self, Py_ssize_t pos) noexcept nogil
    cdef int begin_template(self) noexcept nogil
    cdef int packed(self) noexcept nogil
    cdef int packed_next(self, Element element) noexcept nogil
    cdef int stored(self) noexcept nogil
    cdef int stored_score(self) noexcept nogil
    cdef int stored_fields(self) noexcept nogil
