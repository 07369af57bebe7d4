"""The cases that are tried on an implementation, in order: many small ones of every regime, then every size, then long.

Sizes are chosen, since bugs live at certain ones: 1, all equal, all unequal, each from 6 to 24, for each letter in turn
the sizes of tiles, one more, and 1027, which has a tail in every tile up to 512, and for all letters together tails in
more than one direction. Numbers come from the regimes of `regimes.py`; some cotangents are all ones or 0 but for one
entry, and some arguments are equal.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from backprop_reference import Operation

from .domain import Domain
from .inputs import Array, Case, Sizes
from .regimes import regime_case, regimes_of

LONG_TAIL = 1027  # has a tail in every tile; where NumPy prints an array, it leaves out the middle of so many
TAILS = (9, 17, 33, 65, 129, 257, LONG_TAIL, 8, 16, 32, 64, 128, 256, 512, 1024, 31, 63, 127)
SINGLE = (100, 255, 1000, 511, 1023, 50, 513, 1025, 500)  # one less than a tile, and round ones
OF_VECTORS = (48, 96, 192, 384, 768, 200, 2000, 2047)  # where there is one letter, and so room for more
CORNERS = (35, 131, 257)  # of every letter: past a tile in two directions, and matrices past 16 bits
FROM, TO = 6, 24
TWISTS: Mapping[int, str] = {  # of every twelve small cases
    2: "unit",
    5: "ones",
    6: "same",
    8: "scaled",
    10: "edge",
    11: "zero",
}
LONG = (4_099, 65_539)  # of vectors: past 16 bits
LONG_SIDE = 4_099  # of matrices
ASIDE = 20_240  # a seed for cases beside those of a run
EXTREME = ("huge", "tiny", "saturated", "subnormal", "mixed")


class Planned(NamedTuple):
    """A case to be made: `part` says what it is for."""

    part: str  # "small", "tail" or "long"
    sizes: dict[str, int]
    regime: str
    twist: str = ""  # "ones" or "unit" of a cotangent; "same": arguments of a shape are equal; …


def plan(domain: Domain, count: int) -> list[Planned]:
    """`count` cases: about half of them small, then tails of each letter, and the long ones last.

    >>> from backprop_reference import OPERATIONS
    >>> from backprop_properties.cases.domain import domain_of
    >>> planned = plan(domain_of(OPERATIONS["softmax"], None), 200)
    >>> len(planned), planned[0].sizes, max(case.sizes["n"] for case in planned)
    (200, {'n': 2}, 65539)
    """
    letters = domain.operation.letters
    long = [Planned("long", sizes, "plain") for sizes in _long(letters)]
    regimes = ["plain", *["peak"] * bool(domain.operation.masks)]
    tails = [Planned("tail", sizes, regime) for sizes in _tails(letters) for regime in regimes]
    tails = [*(Planned("tail", sizes, "plain") for sizes in _each(letters)), *tails]
    tails, long = tails[: count // 2], long[: count // 8]
    small = _small(domain, letters, count - len(tails) - len(long))
    found = [case._replace(sizes=domain.nearest(case.sizes)) for case in (*small, *tails, *long)]
    return [case for case in found if case.part != "long" or max(case.sizes.values()) > max(TAILS)]


def _each(letters: Sequence[str]) -> Iterator[dict[str, int]]:
    """Every letter at every size from 6 to 24, all at once; then all past a tile."""
    for k in range(TO - FROM + 1):
        yield {letter: FROM + (k + 5 * i) % (TO - FROM + 1) for i, letter in enumerate(letters)}
    if len(letters) > 1:
        yield from ({letter: size + 2 * i for i, letter in enumerate(letters)} for size in CORNERS)


def _tails(letters: Sequence[str]) -> Iterator[dict[str, int]]:
    """Each letter at each size of interest, the others small; sizes before letters, so that each letter gets some."""
    for k, size in enumerate((*TAILS, *SINGLE, *(OF_VECTORS if len(letters) == 1 else ()))):
        for i in range(len(letters)):
            yield {other: 2 + (j + k) % 3 for j, other in enumerate(letters)} | {letters[i]: size}


def _long(letters: Sequence[str]) -> Iterator[dict[str, int]]:
    if len(letters) == 1:
        yield from ({letters[0]: size} for size in LONG)
        return
    for letter in letters:
        yield dict.fromkeys(letters, 2) | {letter: LONG_SIDE}


def _small(domain: Domain, letters: Sequence[str], count: int) -> Iterator[Planned]:
    """Every regime in turn; unequal sizes, all ones, all equal, and none where that is asked for."""
    left_out = ("masks", *EXTREME) if domain.moderate else ("masks",)
    usual = [regime for regime in regimes_of(domain.operation) if regime not in left_out]
    regimes = ["plain", *usual, "general"]
    for k in range(count):
        unequal = {letter: 2 + (k // 3 + 2 * i) % (3 + len(letters)) for i, letter in enumerate(letters)}
        sizes = {
            3: dict.fromkeys(letters, 1),
            7: dict.fromkeys(letters, 3 + k % 2),
            9: unequal | {letters[k % len(letters)]: 0 if "empty" in domain.promises else 1},
        }.get(k % 10, unequal)
        twist = TWISTS.get(k % 12, "")
        if twist == "same":
            sizes = dict.fromkeys(letters, 3 + k // 12 % 2)
        yield Planned("small", sizes, "plain" if twist == "scaled" else regimes[k % len(regimes)], twist)


def made(domain: Domain, planned: Planned, dtype: np.dtype[Any], seed: int, k: int, *, careful: bool = True) -> Case:
    """The `k`-th case of a run in numbers.

    Frameworks multiply by the cotangent first, and what follows may overflow: if they are to pass (`careful`), it is
    at most the square root of the largest number.
    """
    operation, sizes = domain.operation, planned.sizes
    random = np.random.default_rng([seed, k, zlib.crc32(operation.name.encode())])
    if planned.regime in ("plain", "general", "peak"):
        case = _plain(operation, sizes, dtype, random, general=planned.regime == "general" or k % 2 == 1)
        if planned.regime == "peak" and not domain.moderate:  # the last logit is so far ahead that exp of it overflows
            case.args[0][-1:] = 1.1 * np.log(float(ml_dtypes.finfo(dtype).max))
    else:
        case = regime_case(operation, planned.regime, dtype, random, sizes)
    case = twisted(operation, case, planned.twist, k)
    if careful:
        most = float(ml_dtypes.finfo(dtype).max) ** 0.5
        case = replace(case, delta=np.asarray(np.clip(case.delta.astype(np.float64), -most, most), dtype))
    return into_the_domain(domain, case)


def twisted(operation: Operation, case: Case, twist: str, k: int) -> Case:
    """A case with the cotangent, or with equal arguments, that a twist says.

    >>> from backprop_reference import OPERATIONS
    >>> case = Case((np.array([1.0]), np.array([2.0])), np.array(3.0), ())
    >>> twisted(OPERATIONS["dot"], case, "same", 0).args
    (array([2.]), array([2.]))
    """
    if twist == "ones":
        return replace(case, delta=np.ones_like(case.delta))
    if twist == "unit" and case.delta.size:
        unit = np.arange(case.delta.size) == k % case.delta.size
        return replace(case, delta=unit.reshape(case.delta.shape).astype(case.dtype))
    if twist == "zero":  # what goes into the first unit of each layer is exactly 0, where no rounding leaves a doubt
        args = tuple(a.copy() for a in case.args)
        for name in by_unit(operation):
            args[operation.arguments.index(name)][:1] = 0
        return replace(case, args=args)
    if twist == "same":
        last = {a.shape: a for a in case.args}
        return replace(case, args=tuple(last[a.shape].copy() for a in case.args))
    if twist == "edge" and operation.promise == "function":  # where exp is nearly too large, or too small
        end = np.log(float(ml_dtypes.finfo(case.dtype).max)) * np.linspace(0.7, 0.999, case.args[0].size or 1)
        x = np.asarray(np.copysign(end[: case.args[0].size], case.args[0].astype(np.float64)), case.dtype)
        return replace(case, args=(np.roll(x, k),))
    if twist == "scaled":  # one array is far larger, or smaller, than the others, and nothing overflows on the way
        before = (*case.args, case.delta)
        power = np.log10(float(ml_dtypes.finfo(case.dtype).max)) / 3 * (-1, 0.5, 1)[k // 12 % 3]
        i = k // 36 % len(before)
        factors = [10 ** (power * (j == i)) for j in range(len(before))]
        with np.errstate(all="ignore"):
            pairs = zip(before, factors, strict=True)
            arrays = [np.asarray(a.astype(np.float64) * factor).astype(a.dtype) for a, factor in pairs]
        return replace(case, args=tuple(arrays[:-1]), delta=arrays[-1])
    return case


def by_unit(operation: Operation) -> set[str]:
    """The weights and biases with a row, or an entry, for each unit of a layer."""
    axes = dict(zip(operation.arguments, operation.cores, strict=False))
    layers = [layer for layer in operation.layers if len(axes[layer.W]) == 2]
    return {name for layer in layers for name in (layer.W, layer.b) if name}


def ordinary_case(domain: Domain, dtype: np.dtype[Any], sizes: Sizes | None = None, k: int = 0) -> Case:
    """Ordinary numbers that a run does not draw, of these sizes, or of small unequal ones."""
    planned = Planned("small", domain.nearest({**unequal_sizes(domain.operation, k), **(sizes or {})}), "general")
    return made(domain, planned, dtype, ASIDE, k)


def unequal_sizes(operation: Operation, k: int) -> dict[str, int]:
    return {letter: 3 + (2 * i + k) % 5 for i, letter in enumerate(operation.letters)}


def into_the_domain(domain: Domain, case: Case) -> Case:
    args = tuple(domain.into(name, a) for name, a in zip(domain.operation.arguments, case.args, strict=True))
    return replace(case, args=args, delta=domain.into("delta", case.delta), tangents=directions(args))


def directions(args: Sequence[Array]) -> tuple[Array, ...]:
    """Tangents for arguments of these shapes: always the same, so that a case is its arguments and its cotangent."""
    return tuple(np.resize(np.array([1, -1, 2], a.dtype), a.shape) for a in args)


def _plain(
    operation: Operation, sizes: Sizes, dtype: np.dtype[Any], random: np.random.Generator, *, general: bool
) -> Case:
    """Numbers of ordinary size, no two alike: nothing overflows or saturates, so that every entry counts.

    A target is a distribution, or any numbers at all if `general`.
    """

    def array(name: str, core: Sequence[str]) -> Array:
        a = random.normal(size=[sizes[letter] for letter in core])
        if len(core) == 2 and a.size:
            a /= a.shape[-1] ** 0.5
        if operation.domain.get(name) == "target" and not general and a.size:
            a = np.abs(a) / np.abs(a).sum()
        return a.astype(dtype)

    *inputs, output = operation.cores
    args = tuple(array(name, core) for name, core in zip(operation.arguments, inputs, strict=True))
    return Case(args, array("delta", output), ())
