"""What a trial found: how often each law was looked at and the worst it measured, and the failures."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np

from backprop_reference import OPERATIONS, Operation

from ..cases.case import Case
from ..cases.shrink import complexity
from ..laws.claims import Array, Measure, Violation
from ..laws.table import LAWS
from ..laws.truth import JUDGE_LAWS, TRUTH_LAWS

EVERY_LAW = {**LAWS, **TRUTH_LAWS, **JUDGE_LAWS}
BATCH = "a_batch_equals_jax"  # the law of a failure that no example of a batch shows on its own


@dataclass
class Tally:
    """What a law has measured of one quantity: how often, and the worst, in ULP and as a share of its bound."""

    cases: int = 0
    entries: int = 0
    ulp: float = 0.0
    share: float = 0.0
    sizes: dict[str, int] = field(default_factory=dict)
    dtype: str = ""

    def add(self, measure: Measure, sizes: dict[str, int], dtype: str, cases: int = 1) -> None:
        self.cases, self.entries = self.cases + cases, self.entries + measure.entries
        self.share = max(self.share, measure.share)
        if measure.ulp > self.ulp:
            self.ulp, self.sizes, self.dtype = measure.ulp, sizes, dtype

    def merged(self, other: "Tally") -> "Tally":
        """Both; the same whatever is merged first."""
        worst = max(self, other, key=lambda tally: (tally.ulp, tally.dtype, sorted(tally.sizes.items())))
        cases, entries = self.cases + other.cases, self.entries + other.entries
        return replace(worst, cases=cases, entries=entries, share=max(self.share, other.share))


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
        replay, law = ("replay_batch", "") if self.law == BATCH else ("replay", f"{self.law!r}, ")
        call = f"{replay}({self.operation!r}, {law}delta, {', '.join(names[:-1])})"
        return "\n".join(["import numpy as np", f"from backprop_properties import {replay}", *arrays, call])

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
    """What a trial found: `tallies` by law and quantity, and the failures, each law's first quantity that fails.

    `swept` is how many of the cases were tried by sweeps, the others by all laws.
    """

    operation: str
    cases: int
    tallies: dict[tuple[str, str], Tally]
    failures: list[Failure]
    seconds: float
    swept: int = 0

    def merged(self, other: "Outcome") -> "Outcome":
        """Both, with the smallest failure of each law; the same whatever is merged first."""
        tallies = dict(self.tallies)
        for key, tally in other.tallies.items():
            tallies[key] = tallies[key].merged(tally) if key in tallies else tally
        failed: dict[str, Failure] = {}
        for failure in sorted([*self.failures, *other.failures], key=_simplest_first):
            failed.setdefault(failure.law, failure)
        return Outcome(
            self.operation,
            self.cases + other.cases,
            dict(sorted(tallies.items(), key=lambda item: _place(item[0][0]))),
            sorted(failed.values(), key=lambda failure: _place(failure.law)),
            self.seconds + other.seconds,
            self.swept + other.swept,
        )


def merged(outcomes: Iterable[Outcome]) -> Outcome:
    """One outcome of several of the same operation."""
    return reduce(Outcome.merged, outcomes)


def _place(law: str) -> int:
    return [*EVERY_LAW, law].index(law)


def _simplest_first(failure: Failure) -> tuple[tuple[int, int], str]:
    return complexity(failure.case) if failure.case else (failure.seed, 0), failure.reproduction


def failure_at(operation: Operation, law: str, v: Violation, case: Case) -> Failure:
    """A violation at a case."""
    return Failure(operation.name, law, v.what, v.message, v.index, v.actual, v.expected, v.ulp, v.bound, case)


def _literal(a: Array) -> str:
    """An array as Python source, to the bit: `repr` of a float is exact, and so is a float32 written as a float."""
    if not a.size:
        return f"np.zeros({a.shape}, np.{a.dtype.name})"
    text = repr(a.astype(np.float64).tolist()).replace("inf", "np.inf").replace("nan", "np.nan")
    return f"np.array({text}, np.{a.dtype.name})"
