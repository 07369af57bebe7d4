"""The smallest case at which a law still fails: Hypothesis looks for it around one that is known to fail.

However rare the fault is, it is not lost again: most of what is drawn here is that very case. The rest is the case
with some of its rows and columns left out, and some of its numbers replaced by simpler ones.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import SkipTest
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.internal.cache import LRUCache
from hypothesis.internal.conjecture import providers

from backprop_reference import Operation

from .inputs import Array, Case, into_domain, sizes_of

SECONDS = 10.0
ROUNDS = 6
DRAWS = 300  # in a round, until the case itself is among them
RARELY = 127  # one draw in so many changes a thing
PIECES = 32  # of an array, that are changed on their own
NONE = SimpleNamespace(set_for_type=lambda choice_type: ())
ONE_AT_A_TIME = threading.Lock()


def run(strategy: Any, function: Callable[[Case], None], examples: int, seed: int, phases: Sequence[Phase]) -> None:
    """Hypothesis's own loop over what a strategy draws, the same for a seed in every process."""
    configured = settings(
        max_examples=examples,
        phases=phases,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    with _no_constants_of_loaded_modules():
        configured(with_seed(seed)(given(strategy)(lambda case: function(case))))()


@contextmanager
def _no_constants_of_loaded_modules() -> Iterator[None]:
    """Hypothesis also draws numbers that it reads in the source of whatever happens to be loaded: in other processes,
    where other modules are, the same seed would give other cases."""
    if not hasattr(providers, "_get_local_constants"):  # of versions that do not
        yield
        return
    with ONE_AT_A_TIME, patch.multiple(providers, _get_local_constants=lambda: NONE, CONSTANTS_CACHE=LRUCache(1024)):
        yield


def smallest(operation: Operation, case: Case, fails: Callable[[Case], bool], domain: Mapping[str, str]) -> Case:
    """The smallest case found, in the time there is, at which `fails` says so; it does at `case`."""
    best, until = case, time.perf_counter() + SECONDS

    def look(candidate: Case) -> None:
        nonlocal best
        if time.perf_counter() > until:
            raise SkipTest  # Hypothesis stops at once
        if fails(candidate):
            best = min(best, candidate, key=complexity)
            raise _FoundError

    for k in range(ROUNDS):
        before = best
        for fewer in (fewer_entries, simpler_entries):
            with suppress(_FoundError, Flaky, SkipTest):  # found again, and made smaller as far as the time went
                run(fewer(operation, best, domain), look, DRAWS, k, (Phase.generate, Phase.shrink))
        if complexity(best) == complexity(before):
            break
    return best


class _FoundError(Exception):
    """A case that fails."""


def complexity(case: Case) -> tuple[int, int]:
    """How large a case is: its entries first, then the digits that they are written with."""
    arrays = [*case.args, case.delta]
    return sum(a.size for a in arrays), sum(len(repr(float(v))) for a in arrays for v in a.ravel()[:200])


# ── What Hypothesis draws, and shrinks towards ──────────────────────────────────────────────────────────────────────


@st.composite
def fewer_entries(draw: st.DrawFn, operation: Operation, case: Case, domain: Mapping[str, str]) -> Case:
    """The case with some of its rows and columns left out."""
    axes, arrays = operation.cores, (*case.args, case.delta)
    kept = {}
    for letter, size in sizes_of(operation, case).items():
        stay = [i for i in range(size) if draw(_choice([False], True))]
        kept[letter] = stay or [0] * (size > 0 and not operation.may_be_empty(letter))

    def chosen(a: Array, core: tuple[str, ...], name: str = "") -> Array:
        b = np.array(a[np.ix_(*(kept[letter] for letter in core))] if core else a)
        return b if b.shape == a.shape else into_domain(domain.get(name, ""), b)

    *args, delta = map(chosen, arrays, axes, [*operation.arguments, ""])
    return replace(case, args=tuple(args), delta=delta, tangents=tuple(map(chosen, case.tangents, axes)))


@st.composite
def simpler_entries(draw: st.DrawFn, operation: Operation, case: Case, domain: Mapping[str, str]) -> Case:
    """The case with some of its numbers replaced."""

    def simple(a: Array, name: str) -> Array:
        kind, b = domain.get(name, ""), np.array(a)
        flat = b.reshape(-1)
        for piece in np.array_split(np.arange(a.size), min(a.size, PIECES) or 1):
            change = draw(_choice([np.zeros_like, np.ones_like, np.rint, _one_digit], None))
            if change is not None:
                with np.errstate(all="ignore"):
                    flat[piece] = change(flat[piece])
        return b if (b == a).all() else into_domain(kind, b)

    *args, delta = map(simple, (*case.args, case.delta), [*operation.arguments, ""])
    tangents = case.tangents if draw(_choice([False], True)) else tuple(map(np.ones_like, args))
    return replace(case, args=tuple(args), delta=delta, tangents=tangents)


def _choice(simpler: Sequence[Any], same: Any) -> st.SearchStrategy[Any]:
    """Nearly always `same`; Hypothesis shrinks to what stands before it."""
    return st.sampled_from([*simpler, *[same] * (RARELY - len(simpler))])


def _one_digit(a: Array) -> Array:
    """Rounded to one decimal digit."""
    return np.array([float(f"{v:.0e}") for v in a.tolist()], a.dtype)
