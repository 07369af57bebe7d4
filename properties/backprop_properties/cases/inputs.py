"""What the laws are tried on: shapes from an operation's signature, values from regimes in which real bugs live.

Shapes come from a pool that a seed fixes: JAX compiles anew for every shape, so a run tries many values on few shapes,
and other seeds try others. Values are drawn entry by entry, so that Hypothesis can shrink a failure to a few ones and
zeros. What an operation does not take (logarithms of negative numbers) is a fact of its row.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
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


def _magnitudes(dtype: np.dtype[Any], low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers of either sign whose size is spread evenly over powers of two."""
    exponents = st.floats(np.log2(low), min(np.log2(high), 1023.9))  # 2.0 ** 1024 does not exist
    return st.builds(lambda sign, e: sign * 2.0**e, st.sampled_from([1.0, -1.0]), exponents)


@cache
def regimes(dtype: np.dtype[Any]) -> dict[str, st.SearchStrategy[float]]:
    """Where values are drawn from; `dtype` sets what is huge, tiny and saturating."""
    info = ml_dtypes.finfo(dtype)
    largest, normal, smallest = float(info.max), float(info.smallest_normal), float(info.smallest_subnormal)
    saturated = 1.1 * float(np.log(1 / smallest))
    return {
        "ordinary": st.floats(-8, 8),
        "simple": st.sampled_from([0.0, 1.0, -1.0, 2.0, 0.5, -0.5, -2.0, 3.0, -0.0]),  # ties and exact zeros
        "saturating": st.floats(-saturated, saturated),
        "huge": _magnitudes(dtype, largest**0.5, largest),
        "tiny": _magnitudes(dtype, smallest, normal * 1e3) | st.sampled_from([0.0, -0.0, smallest, -smallest]),
        "anything": _magnitudes(dtype, smallest, largest) | st.just(0.0),
    }


USUAL = ("ordinary", "ordinary", "ordinary", "simple", "simple", "saturating", "tiny", "huge", "anything")

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


def arrays(shape: tuple[int, ...], dtype: np.dtype[Any], regime: str) -> st.SearchStrategy[Array]:
    """Arrays of a dtype, entries from a regime, rounded to the dtype; a long one repeats many of its entries."""
    largest = float(ml_dtypes.finfo(dtype).max)
    wide = hnp.arrays(np.float64, shape, elements=regimes(dtype)[regime], fill=regimes(dtype)[regime])
    return wide.map(lambda a: np.asarray(np.clip(a, -largest, largest), dtype))


@st.composite
def cases(
    draw: st.DrawFn,
    operation: Operation,
    pool: list[Sizes],
    dtypes: tuple[np.dtype[Any], ...],
    domain: Mapping[str, str] | None = None,
    usual: tuple[str, ...] = USUAL,
) -> Case:
    """A case of an operation. `domain` narrows arguments further than its row does."""
    sizes, dtype = draw(st.sampled_from(pool)), draw(st.sampled_from(dtypes))
    regime = draw(st.sampled_from(usual))
    kinds = {**operation.domain, **(domain or {})}

    def array(core: tuple[str, ...], name: str) -> Array:
        shape = tuple(sizes[letter] for letter in core)
        mixed = draw(st.sampled_from([regime, regime, "ordinary", "simple"]))
        kind = kinds.get(name, "")
        if kind == "target":
            kind = draw(st.sampled_from(["one-hot", "distribution", "real"]))
        return into_domain(kind, draw(arrays(shape, dtype, mixed)))

    *inputs, output = operation.cores
    args = tuple(array(core, name) for core, name in zip(inputs, operation.arguments, strict=True))
    delta = array(output, "delta")
    tangents = tuple(draw(arrays(a.shape, dtype, "simple")) for a in args)
    return Case(args, delta, tangents)


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
