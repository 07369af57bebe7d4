"""A smaller case that fails the same way: fewer entries first, then plainer numbers.

Greedy and in a fixed order, since the implementation is anybody's: it may remember, or answer at random, and then
there is nothing that a search with a replay could rely on.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from backprop_oracle.derived import Unusable

from .case import Array, Case, directions, sizes_of
from .domains import Domain
from .shapes import TAILS

SECONDS = 0.5
PIECES = 32  # of an axis that are left out in turn, at the finest
NEARER = (0.1, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99)  # powers that bring numbers nearer to 1
ENTRIES = 40  # of an array whose numbers are made plainer one by one


@np.errstate(all="ignore")  # the numbers tried are extreme
def smallest(domain: Domain, case: Case, fails: Callable[[Case], bool], seconds: float = SECONDS) -> Case:
    """The smallest case found in the time there is for which `fails` still holds.

    >>> from backprop_reference import OPERATIONS
    >>> from backprop_properties.cases.domains import domain_of
    >>> case = Case((np.linspace(-2, 2, 40),), np.ones(40), ())
    >>> smallest(domain_of(OPERATIONS["square"], None), case, lambda case: case.args[0].size >= 9).args[0].tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    until, tried = time.perf_counter() + seconds, set[bytes]()

    def simpler(steps: Callable[[Domain, Case], Iterator[Case]]) -> Case | None:
        now = complexity(case)
        for candidate in steps(domain, case):
            if time.perf_counter() > until:
                return None
            bits = b"".join(str(a.shape).encode() + a.tobytes() for a in (*candidate.args, candidate.delta))
            if bits not in tried and complexity(candidate) < now:
                tried.add(bits)
                if fails(candidate):
                    return candidate
        return None

    for steps in (_shorter, _plain_arrays, _fewer, _plain_arrays, _nearer, _plain_entries):
        while found := simpler(steps):
            case = found
    return case


def complexity(case: Case) -> tuple[int, int, int]:
    """How large a case is: its entries first, then how far its numbers are from ordinary ones, then their digits."""
    arrays = (*case.args, case.delta)
    numbers = [v for a in arrays for v in a.ravel()[: 4 * ENTRIES].tolist()]
    digits = sum({0.0: 0, 1.0: 1}.get(v, len(repr(float(v))) + (v < 0)) for v in numbers)
    return sum(a.size for a in arrays), sum(map(_far, numbers)), digits


def _far(number: float) -> int:
    """In steps of a thirtieth of a decade, how far a number is from those between 0.01 and 100."""
    if not number or not np.isfinite(number):
        return 0
    return max(round(30 * abs(np.log10(abs(number)))) - 60, 0)


# ── Fewer entries ───────────────────────────────────────────────────────────────────────────────────────────────────


def _shorter(domain: Domain, case: Case) -> Iterator[Case]:
    """The first entries of each axis in turn, as few as will do."""
    for letter, size in sizes_of(domain.operation, case).items():
        for less in sorted({0, 1, 2, 3, 4, 5, 6, *TAILS, size // 2, 3 * size // 4, size - 1}):
            if 0 <= less < size:
                yield from _kept(domain, case, letter, np.arange(size) < less)


def _fewer(domain: Domain, case: Case) -> Iterator[Case]:
    """Any entries of each axis in turn left out: half of them, a quarter, down to as few as the domain lets go."""
    sizes = sizes_of(domain.operation, case)
    for letter, size in sizes.items():
        least = next((k for k in range(1, size + 1) if domain.allows({**sizes, letter: size - k})), size)
        length, place = size, np.arange(size)
        while length > max(size // PIECES, least):
            length = least * -(-length // (2 * least))
            for start in range(0, size, length):
                yield from _kept(domain, case, letter, (place < start) | (place >= start + length))


def _kept(domain: Domain, case: Case, letter: str, kept: Array) -> Iterator[Case]:
    """The case with some entries of an axis alone, if the domain has that size."""
    operation = domain.operation
    sizes = {**sizes_of(operation, case), letter: int(kept.sum())}
    if domain.allows(sizes):
        with suppress(Unusable):  # sizes that a definition does not take
            arrays, shapes = (*case.args, case.delta), operation.shapes_at(sizes)
            triples = zip(arrays, operation.cores, shapes, strict=True)
            yield _with(domain, case, [_cut(a, core, letter, kept, shape) for a, core, shape in triples])


def _cut(a: Array, core: Sequence[str], letter: str, kept: Array, shape: tuple[int, ...]) -> Array:
    """An array with some entries along the axes of a letter; an axis that follows from it, as 4h, from its start."""
    for axis, size in enumerate(core):
        a = np.compress(kept, a, axis) if size == letter else a
    return a if a.shape == shape else np.resize(a, shape)


# ── Plainer numbers ─────────────────────────────────────────────────────────────────────────────────────────────────


def _plain_arrays(domain: Domain, case: Case) -> Iterator[Case]:
    """Each array in turn of one number, or rounded."""
    for i, a in enumerate((*case.args, case.delta)):
        for b in (np.zeros_like(a), np.ones_like(a), *[np.rint(a)] * (a.dtype.kind not in "iub")):
            yield _changed(domain, case, i, b)


def _plain_entries(domain: Domain, case: Case) -> Iterator[Case]:
    """One entry after the other, where there are not too many."""
    for i, a in enumerate((*case.args, case.delta)):
        for k, old in enumerate(a.ravel().tolist() if a.size <= ENTRIES else ()):
            for number in (0.0, 1.0, -1.0, 2.0, *(float(f"{old:.{digits}g}") for digits in (1, 2, 3))):
                b = a.copy()
                b.flat[k] = number
                if np.isfinite(b.flat[k]):  # the largest numbers have no shorter ones beside them
                    yield _changed(domain, case, i, b)


def _nearer(domain: Domain, case: Case) -> Iterator[Case]:
    """Large and tiny numbers nearer to ordinary ones, by less and less: an array's alike, then one after the other."""
    arrays = (*case.args, case.delta)
    for power, (i, a) in product(NEARER, enumerate(arrays)):
        if a.dtype.kind not in "iub" and any(map(_far, a.ravel()[:ENTRIES].tolist())):
            yield _changed(domain, case, i, _powers(a, power))
    for power, (i, a) in product(NEARER, enumerate(arrays)):
        for k in range(a.size if a.dtype.kind not in "iub" and 1 < a.size <= ENTRIES else 0):
            if _far(float(a.flat[k])):
                b = a.copy()
                b.flat[k] = _powers(a.flat[k], power)
                yield _changed(domain, case, i, b)


def _powers(a: Any, power: float) -> Array:
    """The numbers with their logarithms multiplied, in three digits."""
    b = np.asarray(a).astype(np.float64)
    with np.errstate(all="ignore"):
        sizes = np.where((b == 0) | ~np.isfinite(b), np.abs(b), np.abs(b) ** power)
    sizes = np.reshape([float(f"{v:.3g}") for v in sizes.ravel().tolist()], b.shape)
    return np.copysign(sizes, b).astype(np.asarray(a).dtype)


def _changed(domain: Domain, case: Case, i: int, a: Array) -> Case:
    arrays = (*case.args, case.delta)
    return _with(domain, case, [*arrays[:i], a, *arrays[i + 1 :]])


def _with(domain: Domain, case: Case, arrays: Sequence[Array]) -> Case:
    """The case with other arguments and another cotangent, of which those that are new are moved into the domain."""
    names, before = (*domain.operation.arguments, "delta"), (*case.args, case.delta)
    sizes = sizes_of(domain.operation, replace(case, args=tuple(arrays[:-1]))) if domain.operation.integers else {}
    triples = zip(names, before, arrays, strict=True)
    whole = domain.operation.integers  # their range may have become another with a size that is not theirs
    *args, delta = (a if a is old and name not in whole else domain.into(name, a, sizes) for name, old, a in triples)
    return replace(case, args=tuple(args), delta=delta, tangents=directions(args))
