"""One array in other memory layouts: orders, strides, offsets, and read-only."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .case import Array


def _strided(a: Array) -> Array:
    wide = np.zeros((*a.shape, 2), a.dtype)
    wide[..., 0] = a
    return wide[..., 0]


def _offset(a: Array) -> Array:
    """One element past the start of its buffer, so not aligned to a vector register."""
    buffer = np.zeros(a.size + 1, a.dtype)
    buffer[1:] = a.ravel()
    return buffer[1:].reshape(a.shape)


def _of_wider_rows(a: Array) -> Array:
    """Rows of an array that goes on: their distance is not their length."""
    wide = np.ones((*a.shape[:-1], a.shape[-1] + 3 if a.ndim else 1), a.dtype)
    part = wide[..., : a.shape[-1]] if a.ndim else wide[0, ...]
    part[...] = a
    return part


def _read_only(a: Array) -> Array:
    b = a.copy()
    b.flags.writeable = False
    return b


LAYOUTS: Mapping[str, Callable[[Array], Array]] = {
    "Fortran order": lambda a: np.array(a, order="F"),
    "strided": _strided,
    "reversed": lambda a: np.flip(np.flip(a).copy()),
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
    """Arrays whose rows are their first number each, with a stride of 0."""
    return [np.broadcast_to(a[..., :1], a.shape) if a.ndim and a.size else a for a in arrays]


OVERLAPPING = "that overlap in memory"
SHARED: Mapping[str, Callable[[Sequence[Array]], list[Array]]] = {  # all arrays of a call, with other numbers
    OVERLAPPING: _overlapping,
    "whose rows are one number each": _of_one_number,
}
