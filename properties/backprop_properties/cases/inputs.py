"""What the laws are tried on: a case, its shapes from an operation's signature, and what an operation does not take.

Shapes come from a pool that a seed fixes: JAX compiles anew for every shape, so a run tries many values on few shapes,
and other seeds try others. The values are those of `values.py`.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from backprop_reference import Operation

Array = NDArray[Any]
Sizes = Mapping[str, int]

TILES = (8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Case:
    """One point: the arguments of an operation (a single example), a cotangent, and a direction for them."""

    args: tuple[Array, ...]
    delta: Array
    tangents: tuple[Array, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.delta.dtype


# ── Shapes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def sizes_of(operation: Operation, case: Case) -> dict[str, int]:
    """The sizes of a case by letter, in alphabetical order.

    >>> from backprop_reference import OPERATIONS
    >>> sizes_of(OPERATIONS["matvec"], Case((np.ones((2, 3)), np.ones(3)), np.ones(2), ()))
    {'d': 2, 'n': 3}
    """
    shapes = [a.shape for a in (*case.args, case.delta)]
    pairs = zip(operation.cores, shapes, strict=True)
    return dict(sorted(pair for core, shape in pairs for pair in zip(core, shape, strict=True)))


def shape_pool(operation: Operation, seed: int, count: int = 3, empty: bool = True) -> list[Sizes]:
    """`count` assignments of sizes to letters: unequal and small; one at the tail of a tile; then all ones, all equal
    and one empty, in an order that the seed decides; then more of any kind.

    >>> from backprop_reference import OPERATIONS
    >>> shape_pool(OPERATIONS["matvec"], seed=0, count=2)
    [{'d': 4, 'n': 3}, {'d': 4, 'n': 7}]
    """
    draw = random.Random(f"{operation.name} {seed}")
    letters = operation.letters

    def small() -> dict[str, int]:
        return dict(zip(letters, draw.sample(range(2, 3 + max(len(letters), 3)), len(letters)), strict=True))

    def tail() -> dict[str, int]:
        return small() | {draw.choice(letters): draw.choice(TILES) + draw.choice((-1, 0, 1))}

    def none() -> dict[str, int]:
        able = [letter for letter in letters if operation.may_be_empty(letter)]
        return small() | ({draw.choice(able): 0} if able and empty else {})

    def ones() -> dict[str, int]:
        return dict.fromkeys(letters, 1)

    def equal() -> dict[str, int]:
        return dict.fromkeys(letters, draw.randint(2, 5))

    kinds = [small, tail, *draw.sample([ones, none, equal], 3)]
    return [(kinds[i] if i < len(kinds) else draw.choice((small, tail, equal)))() for i in range(count)]


# ── Values ──────────────────────────────────────────────────────────────────────────────────────────────────────────


KINDS: Mapping[str, str] = {
    "positive": "above 0, and with a reciprocal in the dtype",
    "non-negative": "0 or above",
    "non-zero": "not 0, and with a reciprocal square in the dtype",
    "one-hot": "one entry 1, the others 0",
    "distribution": "no entry below 0, and a sum of 1",
    "integers": "whole numbers",
    "real": "any number",
}


def into_domain(kind: str, a: Array) -> Array:
    """`a`, moved into one of `KINDS`."""
    if kind == "positive":  # and with a reciprocal that the dtype has
        return np.maximum(np.abs(a), a.dtype.type(4 / float(ml_dtypes.finfo(a.dtype).max)))
    if kind == "non-negative":
        return np.abs(a)
    if kind == "integers":
        return np.rint(np.clip(a.astype(np.float64), -99, 99)).astype(a.dtype)
    if kind == "non-zero":  # and with a reciprocal square that the dtype has
        least = a.dtype.type(2 * float(ml_dtypes.finfo(a.dtype).max) ** -0.5)
        return np.where(np.abs(a) < least, np.copysign(least, a), a)
    if kind == "one-hot":
        return np.eye(1, a.size, int(np.argmax(a)) if a.size else 0, dtype=a.dtype)[0]
    if kind == "distribution":
        weights = np.exp(-np.abs(a.astype(np.float64)))
        return (weights / max(weights.sum(), 1e-300)).astype(a.dtype)
    return a


# ── Memory layouts ──────────────────────────────────────────────────────────────────────────────────────────────────


def _strided(a: Array) -> Array:
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype) if a.ndim else a
    if a.ndim:
        wide[..., ::2] = a
    return wide[..., ::2] if a.ndim else a


def _reversed(a: Array) -> Array:
    return np.flip(np.flip(a).copy())


def _offset(a: Array) -> Array:
    """One element past the start of its buffer, so not aligned to a vector register."""
    buffer = np.zeros(a.size + 1, a.dtype)
    buffer[1:] = a.ravel()
    return buffer[1:].reshape(a.shape)


def _read_only(a: Array) -> Array:
    b = a.copy()
    b.flags.writeable = False
    return b


LAYOUTS: Mapping[str, Any] = {
    "Fortran order": lambda a: np.array(a, order="F"),
    "strided": _strided,
    "reversed": _reversed,
    "offset": _offset,
    "read-only": _read_only,
}
