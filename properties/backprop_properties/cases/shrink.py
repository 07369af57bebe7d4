"""A smaller case that fails the same way: fewer entries first, then plainer numbers.

Greedy and in a fixed order, since the implementation is anybody's: it may remember, or answer at random, and then
there is nothing that a search with a replay could rely on.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from .case import Array, Case, directions, sizes_of
from .domains import Domain
from .shapes import TAILS

SECONDS = 0.5
PIECES = 32  # of an axis that are left out in turn, at the finest
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

    for steps in (_shorter, _plain_arrays, _fewer, _plain_arrays, _plain_entries):
        while found := simpler(steps):
            case = found
    return case


def complexity(case: Case) -> tuple[int, int]:
    """How large a case is: its entries first, then the digits that they are written with."""
    arrays = (*case.args, case.delta)
    numbers = [v for a in arrays for v in a.ravel()[: 4 * ENTRIES].tolist()]
    return sum(a.size for a in arrays), sum({0.0: 0, 1.0: 1}.get(v, len(repr(float(v))) + (v < 0)) for v in numbers)


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
    if domain.allows({**sizes_of(operation, case), letter: int(kept.sum())}):
        pairs = zip(operation.cores, (*case.args, case.delta), strict=True)
        arrays = [np.compress(kept, a, core.index(letter)) if letter in core else a for core, a in pairs]
        yield _with(domain, case, arrays)


# ── Plainer numbers ─────────────────────────────────────────────────────────────────────────────────────────────────


def _plain_arrays(domain: Domain, case: Case) -> Iterator[Case]:
    """Each array in turn of one number, or rounded."""
    for i, a in enumerate((*case.args, case.delta)):
        for b in (np.zeros_like(a), np.ones_like(a), np.rint(a)):
            yield _changed(domain, case, i, b)


def _plain_entries(domain: Domain, case: Case) -> Iterator[Case]:
    """One entry after the other, where there are not too many."""
    for i, a in enumerate((*case.args, case.delta)):
        for k, old in enumerate(a.ravel().tolist() if a.size <= ENTRIES else ()):
            for number in (0.0, 1.0, -1.0, 2.0, float(f"{old:.1g}")):
                b = a.copy()
                b.flat[k] = number
                if np.isfinite(b.flat[k]):  # the largest numbers have no shorter ones beside them
                    yield _changed(domain, case, i, b)


def _changed(domain: Domain, case: Case, i: int, a: Array) -> Case:
    arrays = (*case.args, case.delta)
    return _with(domain, case, [*arrays[:i], a, *arrays[i + 1 :]])


def _with(domain: Domain, case: Case, arrays: Sequence[Array]) -> Case:
    """The case with other arguments and another cotangent, of which those that are new are moved into the domain."""
    names, before = (*domain.operation.arguments, "delta"), (*case.args, case.delta)
    *args, delta = (a if a is old else domain.into(name, a) for name, old, a in zip(names, before, arrays, strict=True))
    return replace(case, args=tuple(args), delta=delta, tangents=directions(args))
