"""Cases at the numbers that a function's own code singles out: as a size, and as a magnitude of an array.

A branch at a number is taken just below it, at it, just above it, or between it and the next. What is compared with it
may be every entry, or a size, a spread, a sum of all.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations, pairwise, permutations, repeat, zip_longest
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from .case import Array
from .shapes import LONGEST_SIDE

BESIDE = 1e-3  # how far beside a number
NEAREST, LATER = 4, 4  # numbers that begin, and turns after which as many others join
SIDES: Mapping[str, float] = {"all below": -1.0, "all above": 1.0}  # with every entry beyond it, on one side of 0
AROUND = (1 + BESIDE, 1 - BESIDE, 1.0, 1.3, 0.7, 3.0, 0.3)  # times a number: what entries are set to
MEASURES: Mapping[str, Callable[[Array], Any]] = {  # of all of an array
    "largest": lambda a: np.abs(a).max(),
    "spread": np.ptp,
    "norm": np.linalg.norm,
    "sum": np.sum,
    "total": lambda a: np.abs(a).sum(),
    "mean": np.mean,
    "least": lambda a: np.abs(a).min(),
}


class Corner(NamedTuple):
    """A number that every array is brought to, by its entries or by a measure of all of them."""

    measure: str
    number: float


class AtCorner(NamedTuple):
    """Sizes and, if any, what is done to the arrays."""

    sizes: dict[str, int]
    corner: Corner | None = None


def corners(letters: Sequence[str], constants: Sequence[float]) -> Iterator[AtCorner]:
    """Where the numbers of a code are to be tried, those first that most code would mean.

    The numbers take turns, the nearest first: what is far off, in a helper of a helper, joins later.

    >>> [tried.sizes["n"] for tried in corners(["n"], [100.0]) if tried.corner is None]
    [100, 101, 99, 200]
    """
    whole = [int(c) for c in constants if c == int(c) and 3 <= c <= LONGEST_SIDE]
    several: list[Iterable[AtCorner | None]] = [
        chain(repeat(None, LATER * (i // NEAREST)), _sizes(letters, c)) for i, c in enumerate(whole)
    ]
    several += [_together(letters, whole[:NEAREST])]
    several += [chain(repeat(None, LATER * (i // NEAREST)), _values(letters, c)) for i, c in enumerate(constants)]
    several += [_values(letters, c) for c in _between(constants)]
    yield from (one for one in chain.from_iterable(zip_longest(*several)) if one is not None)


def _sizes(letters: Sequence[str], c: int) -> Iterator[AtCorner]:
    """A number as a size: of each letter, of all, as their sum and their product, and beside it."""
    small = {letter: 2 + i % 3 for i, letter in enumerate(letters)}
    for size in (c, c + 1, c - 1, 2 * c):
        yield from (AtCorner({**small, letter: size}) for letter in letters)
    for one, other in combinations(letters, 2):
        yield AtCorner({**small, one: c, other: c})
    if len(letters) > 2:  # a kernel's sizes are at most an image's
        yield from (AtCorner({**dict.fromkeys(letters, c + more), letters[0]: 2}) for more in (0, 2))
        yield from (AtCorner({**dict.fromkeys(letters, c + 2), a: c, b: c}) for a, b in combinations(letters, 2))
    if len(letters) > 1:
        first, second = letters[:2]
        half = next(k for k in range(int(c**0.5), 0, -1) if c % k == 0)
        yield AtCorner({**small, first: c // 2, second: c - c // 2})
        yield AtCorner({**small, first: c // 3, second: c - c // 3})
        yield from (AtCorner({**small, first: a, second: c // a}) for a in (half, c // half))


def _together(letters: Sequence[str], constants: Sequence[int]) -> Iterator[AtCorner]:
    """Two numbers: as sizes of two letters, as a number of blocks and the size of each, or as multiples."""
    small = {letter: 2 + i % 3 for i, letter in enumerate(letters)}
    for a, b in permutations(constants, 2):
        yield from (AtCorner({**small, one: a, other: b}) for one, other in permutations(letters, 2))
        of_two = [size for size in (a * b, a * b - 1) if a < b and size <= LONGEST_SIDE] + [b // a] * (b % a == 0)
        yield from (AtCorner({**small, letter: size}) for size in of_two for letter in letters)
    for a, b in permutations(constants, 2):
        yield from (AtCorner({**small, one: a + 1, other: b + 1}) for one, other in permutations(letters, 2))


def _values(letters: Sequence[str], c: float) -> Iterator[AtCorner]:
    """A number as a magnitude: of entries, then of each measure, just above and just below."""
    small = {letter: 3 + i % 3 for i, letter in enumerate(letters)}
    every = {letter: 2 * len(AROUND) if len(letters) == 1 else 5 + i for i, letter in enumerate(letters)}
    yield from (AtCorner(sizes, Corner("entries", c)) for sizes in (every, small))
    yield from (AtCorner(small, Corner(side, c)) for side in SIDES)
    for measure in MEASURES:
        yield from (AtCorner(small, Corner(measure, c * factor)) for factor in (1 + BESIDE, 1 - BESIDE))


def _between(constants: Sequence[float]) -> Iterator[float]:
    """The middle between neighbours, where a branch may be narrow."""
    ordered = sorted(constants[: 2 * NEAREST])
    yield from ((a + b) / 2 for a, b in pairwise(ordered) if a > b / 2)


def brought_to(corner: Corner, a: Array, random: np.random.Generator) -> Array:
    """An array brought to a number, as far as its dtype has it.

    >>> brought_to(Corner("norm", 10.0), np.array([3.0, 4.0]), np.random.default_rng(0)).tolist()
    [6.0, 8.0]
    """
    if a.dtype.kind in "iub":
        return np.where(random.random(a.shape) < 0.5, min(int(corner.number), 2**30), a).astype(a.dtype)
    largest, wide = float(ml_dtypes.finfo(a.dtype).max), a.astype(np.float64)
    if corner.measure == "entries":
        turn = np.arange(a.size) + random.integers(len(AROUND))
        factors = np.array(AROUND)[turn % len(AROUND)] * np.where(turn // len(AROUND) % 2, -1.0, 1.0)
        wide = factors.reshape(a.shape) * corner.number
    elif corner.measure in SIDES:
        wide = SIDES[corner.measure] * abs(corner.number) * (1 + BESIDE + random.random(a.shape))
    elif a.size:
        with np.errstate(all="ignore"):
            scaled = wide * (corner.number / MEASURES[corner.measure](wide))
        wide = scaled if np.isfinite(scaled).all() else wide
    return np.asarray(np.clip(wide, -largest, largest)).astype(a.dtype)
