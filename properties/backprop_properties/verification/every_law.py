"""Every law on many cases of an operation, and the smallest case found for each law that fails."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from backprop_reference import OPERATIONS, Operation

from ..cases.case import Case, Sizes, sizes_of
from ..cases.domains import PROMISES, Domain, domain_of, into_the_domain
from ..cases.regimes import free_case, regime_case, regimes_of
from ..cases.shapes import shape_pool
from ..laws.chain_rule import CHAIN_LAWS
from ..laws.claims import Measure, Violation, judge
from ..laws.failure import Failure, failure_at, numbers_of
from ..laws.points import Functions
from ..laws.table import Claims, Point, point
from ..laws.trial import EVERY_LAW, Laws, Trial, violations
from .findings import Outcome, Tally

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
SECONDS = 5.0  # that a failure may take to be made smaller


def try_operation(
    operation: Operation,
    implementation: Functions | None = None,
    *,
    examples: int = 30,
    seed: int = 0,
    dtypes: Sequence[np.dtype[Any]] = FLOATS,
    laws: Laws[Point] = EVERY_LAW,
    pool: list[Sizes] | None = None,
    domain: Mapping[str, str] | None = None,
    shrink: bool = True,
) -> Outcome:
    """Try an implementation (the reference itself, if none is given) of an operation on `examples` cases.

    >>> outcome = try_operation(OPERATIONS["add"], examples=5)
    >>> outcome.failures, outcome.cases
    ([], 5)
    """
    started = time.perf_counter()
    trial = Trial(implementation or operation, everywhere(operation, domain), laws)
    tallies: dict[tuple[str, str], Tally] = {}
    failed: dict[str, Failure] = {}
    for case in _drawn(trial.domain, pool or shape_pool(operation, seed), dtypes, examples, seed):
        for law, what, found in violations(laws, point(operation, trial.implementation, case)):
            if isinstance(found, Violation):
                failed.setdefault(law, failure_at(operation, law, found, case))
            elif isinstance(found, Measure):
                tally = tallies.setdefault((law, what), Tally())
                tally.add(found, sizes_of(operation, case), case.dtype.name)
    failures = [trial.shrunk(failure, SECONDS) if shrink else failure for failure in failed.values()]
    return Outcome(operation.name, examples, tallies, failures, time.perf_counter() - started)


def shrunk(failure: Failure, implementation: Functions | None = None) -> Failure:
    """A failure of the reference, or of another implementation, at the smallest case found."""
    operation = OPERATIONS[failure.operation]
    return Trial(implementation or operation, everywhere(operation), EVERY_LAW).shrunk(failure, SECONDS)


def everywhere(operation: Operation, kinds: Mapping[str, str] | None = None) -> Domain:
    """All that an operation takes, of which `kinds` may leave out some numbers of some arguments."""
    return domain_of(operation, {**dict.fromkeys(PROMISES, True), **(kinds or {})})


def _drawn(
    domain: Domain, pool: Sequence[Sizes], dtypes: Sequence[np.dtype[Any]], examples: int, seed: int
) -> Iterator[Case]:
    """Cases from every regime in turn, and between them cases whose arrays have each a regime of its own."""
    operation = domain.operation
    random = np.random.default_rng([seed, *operation.name.encode()])
    regimes = [regime for regime in regimes_of(operation) if regime != "masks"]
    for k in range(examples):
        turn, free = k // 2, k % 2 == 0
        sizes, dtype = pool[turn % len(pool)], np.dtype(dtypes[turn // len(regimes) % len(dtypes)])
        if free:
            case = free_case(operation, np.dtype(random.choice([np.dtype(d).name for d in dtypes])), random, sizes)
        else:
            case = regime_case(operation, regimes[turn % len(regimes)], dtype, random, sizes)
        case = into_the_domain(domain, case)
        yield replace(case, tangents=tuple(random.integers(-2, 3, a.shape).astype(a.dtype) for a in case.args))


def try_chain_law(name: str, law: Callable[[int], Claims], *, examples: int, seed: int = 0) -> Outcome:
    """Try a law of the chain rule on compositions drawn from `examples` seeds."""
    started = time.perf_counter()
    tallies: dict[tuple[str, str], Tally] = {}
    failed: dict[str, Failure] = {}
    for k in range(seed * examples, (seed + 1) * examples):
        try:
            with np.errstate(all="ignore"):
                for claim in law(k):
                    tallies.setdefault((name, claim.what), Tally()).add(judge(claim, np.float64), {}, "float64")
        except Violation as v:
            failed.setdefault(name, Failure(name, name, v.what, v.message, *numbers_of(v), seed=k))
    return Outcome(name, examples, tallies, list(failed.values()), time.perf_counter() - started)


def replay_chain_law(name: str, seed: int) -> None:
    """A law of the chain rule on the composition that `seed` draws: raises the `Violation`, or returns."""
    for claim in CHAIN_LAWS[name](seed):
        judge(claim, np.float64)
