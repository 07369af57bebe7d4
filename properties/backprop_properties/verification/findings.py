"""What trying an operation found: how often each law was looked at, the worst it measured, and the failures."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import reduce

from ..cases.shrink import complexity
from ..laws.claims import Measure
from ..laws.failure import Failure
from ..laws.trial import EVERY_LAW


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
        if (ulp := measure.ulp) > self.ulp:
            self.ulp, self.sizes, self.dtype = ulp, sizes, dtype

    def merged(self, other: "Tally") -> "Tally":
        """Both; the same whatever is merged first."""
        worst = max(self, other, key=lambda tally: (tally.ulp, tally.dtype, sorted(tally.sizes.items())))
        cases, entries = self.cases + other.cases, self.entries + other.entries
        return replace(worst, cases=cases, entries=entries, share=max(self.share, other.share))


@dataclass(frozen=True)
class Outcome:
    """What trying an operation found: `tallies` by law and quantity, and each law's first failure.

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


def _simplest_first(failure: Failure) -> tuple[tuple[int, ...], str]:
    return complexity(failure.case) if failure.case else (failure.seed, 0), failure.reproduction
