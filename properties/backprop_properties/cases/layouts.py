"""One array in other memory layouts: orders, strides, offsets, and read-only."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .case import Array


def _strided(a: Array) -> Array:
    wide = np.zeros((*a.shape, 3), a.dtype)
    wide[..., 0] = a
    return wide[..., 0]


def _offset(a: Array) -> Array:
    """One element past the start of its buffer, so not aligned to a vector register."""
    buffer = np.zeros(a.size + 1, a.dtype)
    buffer[1:] = a.ravel()
    return buffer[1:].reshape(a.shape)


def _of_wider_rows(a: Array) -> Array:
    """Rows of an array that begins before them, and goes on: their distance is not their length."""
    wide = np.ones((*a.shape[:-1], a.shape[-1] + 3 if a.ndim else 1), a.dtype)
    part = wide[..., 1 : a.shape[-1] + 1] if a.ndim else wide[0, ...]
    part[...] = a
    return part


def _rows_reversed(a: Array) -> Array:
    """The first axis alone goes backwards in memory."""
    return a[::-1].copy()[::-1] if a.ndim else a.copy()


def _read_only(a: Array) -> Array:
    b = a.copy()
    b.flags.writeable = False
    return b


Together = Callable[[Sequence[Array]], list[Array]]  # of all arrays of a call

LAYOUTS: Mapping[str, Callable[[Array], Array]] = {
    "Fortran order": lambda a: np.array(a, order="F"),
    "strided": _strided,
    "reversed": lambda a: np.flip(np.flip(a).copy()),
    "whose rows are in reverse order": _rows_reversed,
    "offset": _offset,
    "rows of a wider array": _of_wider_rows,
    "read-only": _read_only,
}


def _unaligned(a: Array) -> Array:
    """One byte past where the processor likes its numbers."""
    buffer = np.zeros(a.nbytes + 1, np.uint8)
    b = buffer[1:].view(a.dtype).reshape(a.shape)
    b[...] = a
    return b


def _big_endian(a: Array) -> Array:
    return a.astype(a.dtype.newbyteorder(">")) if a.dtype.kind in "fiu" else a


REFUSABLE: Mapping[str, Callable[[Array], Array]] = {  # by code that says so, as PyTorch does
    "unaligned": _unaligned,
    "big-endian": _big_endian,
}


def _overlapping(arrays: Sequence[Array]) -> list[Array]:
    """Arrays of the same shapes in one stretch of memory, each a step further, with the numbers of the largest;
    integers stay what they are.
    """
    largest = max((a for a in arrays if a.dtype.kind not in "iub"), key=lambda a: a.size)
    buffer = np.resize(largest.ravel(), largest.size + len(arrays))
    return [a if a.dtype.kind in "iub" else buffer[k : k + a.size].reshape(a.shape) for k, a in enumerate(arrays)]


def _of_one_number(arrays: Sequence[Array]) -> list[Array]:
    """Arrays whose rows are their first number each, with a stride of 0, but for the cotangent: what is the same for
    all of a row may be what a vjp does not see.
    """
    delta, *args = arrays
    return [delta, *(np.broadcast_to(a[..., :1], a.shape) if a.ndim and a.size else a for a in args)]


OVERLAPPING = "that overlap in memory"
SHARED: Mapping[str, Together] = {  # with other numbers
    OVERLAPPING: _overlapping,
    "whose rows are one number each, but for delta": _of_one_number,
}
