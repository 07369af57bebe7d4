"""One array in other memory layouts: orders, strides, offsets, and read-only."""

from collections.abc import Callable, Mapping

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


def _read_only(a: Array) -> Array:
    b = a.copy()
    b.flags.writeable = False
    return b


LAYOUTS: Mapping[str, Callable[[Array], Array]] = {
    "Fortran order": lambda a: np.array(a, order="F"),
    "strided": _strided,
    "reversed": lambda a: np.flip(np.flip(a).copy()),
    "offset": _offset,
    "read-only": _read_only,
}
