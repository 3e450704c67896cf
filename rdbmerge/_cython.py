"""What `*_cy.py` need of the module `cython` when Cython is not installed: names that do nothing."""

from __future__ import annotations

from typing import Any

compiled = False


def _same(thing: Any) -> Any:
    return thing


cclass = cfunc = ccall = final = inline = with_gil = no_gc = _same


class _Releasing:
    """`@cython.nogil` and `with cython.nogil:` alike."""

    def __call__(self, function: Any) -> Any:
        return function

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


nogil = _Releasing()


def exceptval(*_: Any, **__: Any) -> Any:
    """The decorator that tells C which return value means an exception; nothing to tell here."""
    return _same


def freelist(_size: int) -> Any:
    """How many dead objects to keep for the next; nothing to tell here."""
    return _same


def declare(_type: Any, value: Any) -> Any:
    """A C variable; here the value itself."""
    return value


def cast(_type: Any, value: Any) -> Any:
    """A C conversion; here the value itself: callers keep to values that fit."""
    return value


# The C types that are named outside annotations.
int = longlong = ulonglong = Py_ssize_t = uint = double = uchar = None


class _Const:
    """`cython.const[T]`, and arrays of such: names that are never looked at."""

    def __getitem__(self, _of: Any) -> Any:
        return self


const = _Const()
