"""Trying an implementation: every law on many cases, everything that fails, and the smallest case for each failure."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed
from hypothesis.errors import Flaky

from backprop_reference import OPERATIONS, Operation

from .claims import Array, Measure, Violation, judge
from .compositions import CHAIN_LAWS
from .inputs import DOMAINS, Case, Sizes, cases, cores, into_domain, shape_pool
from .laws import LAWS, Claims, Point, point
from .regimes import REGIMES, family, regime_case
from .truth import TRUTH_LAWS

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
EVERY_LAW = {**LAWS, **TRUTH_LAWS}
SECONDS_TO_SHRINK = 10.0

Laws = Mapping[str, Callable[[Point], Claims]]


@dataclass
class Tally:
    """What a law has measured of one quantity: how often, and the worst, in ULP and as a share of its bound."""

    cases: int = 0
    entries: int = 0
    ulp: float = 0.0
    share: float = 0.0
    sizes: dict[str, int] = field(default_factory=dict)
    dtype: str = ""

    def add(self, measure: Measure, sizes: dict[str, int], dtype: str) -> None:
        self.cases, self.entries = self.cases + 1, self.entries + measure.entries
        self.share = max(self.share, measure.share)
        if measure.ulp > self.ulp:
            self.ulp, self.sizes, self.dtype = measure.ulp, sizes, dtype


@dataclass(frozen=True)
class Failure:
    """A law that does not hold, at the smallest case found."""

    operation: str
    law: str
    what: str
    message: str
    index: tuple[int, ...] | None
    actual: float | None
    expected: float | None
    ulp: float | None
    bound: float | None
    case: Case | None  # a law of the chain rule draws its own, from a seed
    seed: int = 0

    @property
    def reproduction(self) -> str:
        """Python that shows the failure when pasted, to the exact bits."""
        if self.case is None:
            return f"from backprop_properties import replay_chain_law\nreplay_chain_law({self.law!r}, {self.seed})"
        names = [*OPERATIONS[self.operation].arguments, "delta"]
        arrays = [f"{name} = {_literal(a)}" for name, a in zip(names, [*self.case.args, self.case.delta], strict=True)]
        call = f"replay({self.operation!r}, {self.law!r}, delta, {', '.join(names[:-1])})"
        return "\n".join(["import numpy as np", "from backprop_properties import replay", *arrays, call])

    def to_dict(self) -> dict[str, Any]:
        """What a machine reads; numbers in decimal, and in hex where they are to be exact."""
        exact = {
            key: value.hex() if value is not None else None
            for key, value in (("actual_hex", self.actual), ("expected_hex", self.expected))
        }
        keys = ("operation", "law", "what", "message", "index", "actual", "expected", "ulp", "bound")
        return {key: getattr(self, key) for key in keys} | exact | {"reproduction": self.reproduction}


@dataclass(frozen=True)
class Outcome:
    """What a trial found: `tallies` by law and quantity, and the failures, each law's first quantity that fails."""

    operation: str
    cases: int
    tallies: dict[tuple[str, str], Tally]
    failures: list[Failure]
    seconds: float


def sizes_of(operation: Operation, case: Case) -> dict[str, int]:
    """The sizes of a case by letter.

    >>> sizes_of(OPERATIONS["matvec"], Case("matvec", (np.ones((2, 3)), np.ones(3)), np.ones(2), ()))
    {'d': 2, 'n': 3}
    """
    shapes = [a.shape for a in (*case.args, case.delta)]
    return dict(
        sorted(
            pair for core, shape in zip(cores(operation), shapes, strict=True) for pair in zip(core, shape, strict=True)
        )
    )


def violations(laws: Laws, p: Point) -> Iterator[tuple[str, str, Violation | Measure]]:
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
    implementation: Operation | None = None,
    *,
    examples: int = 30,
    seed: int = 0,
    dtypes: Sequence[np.dtype[Any]] = FLOATS,
    laws: Laws = EVERY_LAW,
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
    strategy = cases(operation, pool or shape_pool(operation, seed), tuple(dtypes), domain)
    tallies: dict[tuple[str, str], Tally] = {}
    failed: dict[str, Failure] = {}
    count = 0

    def look(case: Case) -> None:
        nonlocal count
        count += 1
        for law, what, found in violations(laws, point(operation, implementation, case)):
            if isinstance(found, Violation):
                failed.setdefault(law, _failure(operation, law, found, case))
                continue
            tally = tallies.setdefault((law, what), Tally())
            tally.add(found, sizes_of(operation, case), case.dtype.name)

    _run(strategy, look, examples - examples // 2, seed, (Phase.generate,))
    for case in _in_every_regime(operation, pool or shape_pool(operation, seed), dtypes, examples // 2, seed):
        look(case)
    if shrink:
        for law, failure in failed.items():
            failed[law] = _smallest(operation, implementation, laws[law], failure, strategy, examples, seed)
    return Outcome(operation.name, count, tallies, list(failed.values()), time.perf_counter() - started)


def _in_every_regime(
    operation: Operation, pool: list[Sizes], dtypes: Sequence[np.dtype[Any]], count: int, seed: int
) -> Iterator[Case]:
    """Cases from every regime in turn. Hypothesis likes small changes to what it has just tried; this does not."""
    random = np.random.default_rng([seed, *operation.name.encode()])
    regimes = [regime for regime in REGIMES[family(operation.name)] if regime != "masks"]
    for k in range(count):
        dtype = np.dtype(dtypes[k // len(regimes) % len(dtypes)])
        case = regime_case(operation, regimes[k % len(regimes)], dtype, random, pool[k % len(pool)])
        args = tuple(into_domain(DOMAINS.get(operation.name, {}).get("x", ""), a) for a in case.args)
        yield replace(case, args=args, tangents=tuple(random.integers(-2, 3, a.shape).astype(dtype) for a in args))


def _run(strategy: Any, function: Callable[[Case], None], examples: int, seed: int, phases: Sequence[Phase]) -> None:
    configured = settings(
        max_examples=examples,
        phases=phases,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    configured(with_seed(seed)(given(strategy)(lambda case: function(case))))()


def _smallest(
    operation: Operation,
    implementation: Operation,
    law: Callable[[Point], Claims],
    failure: Failure,
    strategy: Any,
    examples: int,
    seed: int,
) -> Failure:
    """The same failure at the smallest case that Hypothesis finds in the time there is."""
    best, until = failure, time.perf_counter() + SECONDS_TO_SHRINK

    def fails(case: Case) -> None:
        nonlocal best
        if time.perf_counter() > until:
            return
        for _, _, found in violations({failure.law: law}, point(operation, implementation, case)):
            if isinstance(found, Violation):
                best = min(best, _failure(operation, failure.law, found, case), key=_complexity)
                raise found

    with suppress(Violation, Flaky):  # found again, and shrunk as far as the time went
        _run(strategy, fails, examples, seed, (Phase.generate, Phase.shrink))
    return best


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


def _complexity(failure: Failure) -> tuple[int, int]:
    assert failure.case is not None
    arrays = [*failure.case.args, failure.case.delta]
    return sum(a.size for a in arrays), sum(len(repr(float(v))) for a in arrays for v in a.ravel()[:200])


def _failure(operation: Operation, law: str, v: Violation, case: Case) -> Failure:
    return Failure(operation.name, law, v.what, v.message, v.index, v.actual, v.expected, v.ulp, v.bound, case)


def replay(operation: str, law: str, delta: Any, *args: Any, implementation: Operation | None = None) -> None:
    """One law at one case: raises the `Violation`, or returns.

    >>> replay("dot", "vjp_equals_jax_vjp", 1.0, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    """
    row = OPERATIONS[operation]
    arrays = tuple(np.asarray(a) for a in args)
    case = Case(operation, arrays, np.asarray(delta, arrays[0].dtype), tuple(np.ones_like(a) for a in arrays))
    for _, _, found in violations({law: EVERY_LAW[law]}, point(row, implementation or row, case)):
        if isinstance(found, Violation):
            raise found


def replay_chain_law(name: str, seed: int) -> None:
    """A law of the chain rule on the composition that `seed` draws: raises the `Violation`, or returns."""
    for claim in CHAIN_LAWS[name](seed):
        judge(claim, np.float64)


def _literal(a: Array) -> str:
    """An array as Python source, to the bit: `repr` of a float is exact, and so is a float32 written as a float."""
    text = repr(a.astype(np.float64).tolist()).replace("inf", "np.inf").replace("nan", "np.nan")
    return f"np.array({text}, np.{a.dtype.name})"
