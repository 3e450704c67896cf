from rdbmerge.format._items_cy cimport ItemReader
from rdbmerge.format._pieces_cy cimport PieceWriter


cdef class Recoder(PieceWriter):
    cdef ItemReader reader
    cdef bytes forms
    cdef const unsigned char *form_table
    cdef long long dead_before_ms
    cdef long long ttl_offset_ms
    cdef long long latest_ms
    cdef int form
    cdef public Py_ssize_t count
    cdef public Py_ssize_t size
    cdef public Py_ssize_t timed
    cdef long long first_ms
    cdef bint failed
    cdef bint finished
    cdef bint at_head
    cdef bytes score_text
    cdef int step(self) noexcept nogil
    cdef long long moved(self, long long time) noexcept nogil
    cdef Py_ssize_t survey(self, int number, Py_ssize_t start, Py_ssize_t end) noexcept nogil
    cdef Py_ssize_t item_size(self) noexcept nogil
    cdef int begin(self, int number, Py_ssize_t start, Py_ssize_t end) noexcept nogil
    cdef Py_ssize_t fill(self, unsigned char *out, Py_ssize_t used, Py_ssize_t room) noexcept nogil
    cdef void put_head(self) noexcept nogil
    cdef void put_item(self) noexcept nogil
    cdef void put_score_text(self) noexcept nogil
    cdef Py_ssize_t spell_score(self) noexcept with gil
    cdef const unsigned char *score_bytes(self) noexcept with gil
