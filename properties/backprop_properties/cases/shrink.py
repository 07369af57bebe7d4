"""A smaller case that fails the same way: fewer entries first, then plainer numbers.

Greedy and in a fixed order, since the implementation is anybody's: it may remember, or answer at random, and then
there is nothing that a search with a replay could rely on.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from .domain import Domain
from .inputs import Array, Case, sizes_of
from .plan import TAILS, into_the_domain

SECONDS = 0.5
ENTRIES = 40  # of an array whose numbers are made plainer one by one


def smallest(domain: Domain, case: Case, fails: Callable[[Case], bool], seconds: float = SECONDS) -> Case:
    """The smallest case found in the time there is for which `fails` still holds.

    >>> from backprop_reference import OPERATIONS
    >>> from backprop_properties.cases.domain import domain_of
    >>> case = Case((np.linspace(-2, 2, 40),), np.ones(40), ())
    >>> smallest(domain_of(OPERATIONS["square"], None), case, lambda case: case.args[0].size >= 9).args[0].tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    until = time.perf_counter() + seconds
    for steps in (_smaller, _plainer):
        again = True
        while again:
            again = False
            for candidate in steps(domain, case):
                if time.perf_counter() > until:
                    return case
                if not _same(candidate, case) and fails(candidate):
                    case, again = candidate, True
                    break
    return case


def _same(a: Case, b: Case) -> bool:
    pairs = zip((*a.args, a.delta), (*b.args, b.delta), strict=True)
    return all(x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in pairs)


def _smaller(domain: Domain, case: Case) -> Iterator[Case]:
    """Each size in turn at each smaller one, the smallest first."""
    sizes = sizes_of(domain.operation, case)
    for letter, size in sizes.items():
        for less in sorted({1, 2, 3, 4, 5, 6, *TAILS, size // 2, size - 1}):
            if 0 <= less < size and domain.allows({**sizes, letter: less}):
                yield _cut(domain, case, letter, less)


def _cut(domain: Domain, case: Case, letter: str, size: int) -> Case:
    arrays = [
        a[tuple(slice(size) if axis == letter else slice(None) for axis in core)].copy()
        for core, a in zip(domain.operation.cores, (*case.args, case.delta), strict=True)
    ]
    return into_the_domain(domain, replace(case, args=tuple(arrays[:-1]), delta=arrays[-1]))


def _plainer(domain: Domain, case: Case) -> Iterator[Case]:
    """Whole arrays of one number or rounded, then one entry after the other."""
    arrays = [*case.args, case.delta]
    for i, a in enumerate(arrays):
        for b in _candidates(a):
            changed = [*arrays[:i], b, *arrays[i + 1 :]]
            candidate = into_the_domain(domain, replace(case, args=tuple(changed[:-1]), delta=changed[-1]))
            if _plainness(candidate) < _plainness(case):  # a domain may undo the change
                yield candidate


def _candidates(a: Array) -> Iterator[Array]:
    for number in (0.0, 1.0):
        yield np.full_like(a, number)
    with np.errstate(all="ignore"):
        yield np.rint(a)
    if a.size <= ENTRIES:
        for k, old in enumerate(a.ravel()):
            with np.errstate(all="ignore"):
                plain = float(f"{float(old):.1g}") if np.isfinite(old) else float(old)
            for number in (0.0, 1.0, -1.0, 2.0, plain):
                b = a.copy()
                b.flat[k] = number
                yield b


def _plainness(case: Case) -> int:
    return sum(_digits(v) for a in (*case.args, case.delta) for v in a.ravel()[: 4 * ENTRIES].tolist())


def _digits(v: float) -> int:
    return {0.0: 0, 1.0: 1}.get(v, len(repr(float(v))) + (v < 0))
