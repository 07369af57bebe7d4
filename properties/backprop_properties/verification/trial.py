"""Trying an implementation: every law on many cases, and the smallest case for each law that fails."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np

from backprop_oracle.autodiff import evaluated
from backprop_reference import OPERATIONS, Operation

from ..cases.blocks import Block
from ..cases.case import Case, Sizes, directions, sizes_of
from ..cases.domains import PROMISES, Domain, domain_of, into_the_domain
from ..cases.regimes import free_case, regime_case, regimes_of
from ..cases.shapes import shape_pool
from ..cases.shrink import smallest
from ..laws.chain_rule import CHAIN_LAWS
from ..laws.claims import Measure, Violation, judge
from ..laws.points import LARGEST_JACOBIAN, Implementation
from ..laws.table import Claims, Point, point
from .findings import BATCH, EVERY_LAW, Failure, Outcome, Tally, failure_at

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
SECONDS = 5.0  # that a failure may take to be made smaller


class At(Protocol):
    """Where laws are tried: a `Point`, or a `Sweep` over many cases."""

    @property
    def case(self) -> Case | Block: ...


Place = TypeVar("Place", bound=At)
Laws = Mapping[str, Callable[[Place], Claims]]


def violations(laws: Laws[Place], p: Place) -> Iterator[tuple[str, str, Violation | Measure]]:
    """Every claim of every law at a point: the law, the quantity, and its measure or its violation.

    A law stops at its first violation; whatever the implementation raises is one.
    """
    for name, law in laws.items():
        what = ""
        try:
            with np.errstate(all="ignore"):
                for claim in law(p):
                    what = claim.what
                    yield name, what, judge(claim, p.case.dtype)
        except Violation as violation:
            yield name, violation.what, violation
        except Exception as error:
            yield name, what, Violation(what, f"{type(error).__name__}: {error}")


def try_operation(
    operation: Operation,
    implementation: Implementation | None = None,
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
    implementation = implementation or operation
    narrow = everywhere(operation, domain)
    tallies: dict[tuple[str, str], Tally] = {}
    failed: dict[str, Failure] = {}
    for case in _drawn(narrow, pool or shape_pool(operation, seed), dtypes, examples, seed):
        for law, what, found in violations(laws, point(operation, implementation, case)):
            if isinstance(found, Violation):
                failed.setdefault(law, failure_at(operation, law, found, case))
                continue
            tally = tallies.setdefault((law, what), Tally())
            tally.add(found, sizes_of(operation, case), case.dtype.name)
    if shrink:
        failed = {law: shrunk(failure, implementation, laws, narrow) for law, failure in failed.items()}
    return Outcome(operation.name, examples, tallies, list(failed.values()), time.perf_counter() - started)


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


def shrunk(
    failure: Failure,
    implementation: Implementation | None = None,
    laws: Laws[Point] = EVERY_LAW,
    domain: Domain | None = None,
) -> Failure:
    """The same failure at the smallest case found."""
    if failure.case is None or failure.law == BATCH:
        return failure
    operation, law = OPERATIONS[failure.operation], {failure.law: laws[failure.law]}
    using = implementation or operation

    def found_at(p: Point) -> Violation | None:
        return next((found for _, _, found in violations(law, p) if isinstance(found, Violation)), None)

    def fails(case: Case) -> bool:
        return found_at(_sketch(operation, using, case)) is not None

    case = smallest(domain or everywhere(operation), failure.case, fails, SECONDS)
    found = found_at(point(operation, using, case))
    return failure_at(operation, failure.law, found, case) if found else failure


def _sketch(operation: Operation, implementation: Implementation, case: Case) -> Point:
    """A point where NumPy runs JAX's programs: there is nothing to compile for a shape that is tried but once."""
    small = case.delta.size * max((a.size for a in case.args), default=0) <= LARGEST_JACOBIAN
    kinds = ["vjp", "jvp", "grad", *["jacobian"] * small]
    said = evaluated(operation.name, case.delta, case.args, case.tangents, kinds=kinds, dtype=case.dtype)
    return Point(operation, implementation.forward, implementation.jacobian, implementation.vjp, case, said)


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
            numbers = (v.what, v.message, v.index, v.actual, v.expected, v.ulp, v.bound)
            failed.setdefault(name, Failure(name, name, *numbers, case=None, seed=k))
    return Outcome(name, examples, tallies, list(failed.values()), time.perf_counter() - started)


def replay(operation: str, law: str, delta: Any, *args: Any, implementation: Implementation | None = None) -> None:
    """One law at one case: raises the `Violation`, or returns.

    >>> replay("dot", "vjp_equals_jax_vjp", 1.0, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    """
    row = OPERATIONS[operation]
    arrays = tuple(np.asarray(a) for a in args)
    case = Case(arrays, np.asarray(delta, arrays[0].dtype), directions(arrays))
    for _, _, found in violations({law: EVERY_LAW[law]}, point(row, implementation or row, case)):
        if isinstance(found, Violation):
            raise found


def replay_chain_law(name: str, seed: int) -> None:
    """A law of the chain rule on the composition that `seed` draws: raises the `Violation`, or returns."""
    for claim in CHAIN_LAWS[name](seed):
        judge(claim, np.float64)
