from rdbmerge.format._element_cy cimport Element
from rdbmerge.format._items_cy cimport ItemReader


cdef class Recoder:
    cdef ItemReader reader
    cdef bytes forms
    cdef const unsigned char *form_table
    cdef long long dead_before_ms
    cdef long long ttl_offset_ms
    cdef long long latest_ms
    cdef int form
    cdef bint takes_times
    cdef public Py_ssize_t count
    cdef public Py_ssize_t size
    cdef public Py_ssize_t timed
    cdef long long first_ms
    cdef bint failed
    cdef bint finished
    cdef bint at_head
    cdef bint full
    cdef Py_ssize_t item_done
    cdef Py_ssize_t skip
    cdef unsigned char *out
    cdef Py_ssize_t used
    cdef Py_ssize_t room
    cdef unsigned char head[32]
    cdef bytes score_text
    cdef int step(self) noexcept nogil
    cdef long long moved(self, long long time) noexcept nogil
    cdef Py_ssize_t survey(self, int number, Py_ssize_t start, Py_ssize_t end) noexcept nogil
    cdef Py_ssize_t item_size(self) noexcept nogil
    cdef int begin(self, int number, Py_ssize_t start, Py_ssize_t end) noexcept nogil
    cdef Py_ssize_t fill(self, unsigned char *out, Py_ssize_t used, Py_ssize_t room) noexcept nogil
    cdef void put(self, const unsigned char *base, Py_ssize_t at, Py_ssize_t size) noexcept nogil
    cdef void put_head(self) noexcept nogil
    cdef void put_item(self) noexcept nogil
    cdef void put_length(self, unsigned long long number) noexcept nogil
    cdef void put_string(self, Element element) noexcept nogil
    cdef void put_le64(self, unsigned long long number) noexcept nogil
    cdef void put_double(self) noexcept nogil
    cdef void put_score_text(self) noexcept nogil
    cdef Py_ssize_t spell_score(self) noexcept with gil
    cdef const unsigned char *score_bytes(self) noexcept with gil


cdef Py_ssize_t length_size(unsigned long long number) noexcept nogil
cdef Py_ssize_t string_size(Element element) noexcept nogil
