"""A trial: an implementation of an operation, where it is tried, and the laws that it is held to.

`verify` tries the reference, everywhere and by every law; `check` tries anybody's functions, where these promise to be
right and by the laws that were asked for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from backprop_oracle.autodiff import evaluated
from backprop_reference import Operation

from ..cases.blocks import Block
from ..cases.case import Case
from ..cases.domains import Domain
from ..cases.shrink import SECONDS, smallest
from .claims import Measure, Violation, judge
from .failure import BATCH, Failure, failure_at
from .points import LARGEST_JACOBIAN, NEEDED_BY, Claims, Functions, Point, either_slope
from .table import LAWS
from .truth import JUDGE_LAWS, TRUTH_LAWS


class At(Protocol):
    """Where laws are tried: a `Point`, or a `Sweep` over many cases."""

    @property
    def case(self) -> Case | Block: ...


Place = TypeVar("Place", bound=At)
Laws = Mapping[str, Callable[[Place], Claims]]

EVERY_LAW: Laws[Point] = {**LAWS, **TRUTH_LAWS, **JUDGE_LAWS}


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


@dataclass(frozen=True)
class Trial:
    """An implementation, tried within a domain and held to some laws.

    `careful` asks for no more digits than a careful framework's formulas have; otherwise the reference's are asked for.
    """

    implementation: Functions
    domain: Domain
    laws: Laws[Point]
    careful: bool = False

    @property
    def row(self) -> Operation:
        """The operation that is implemented."""
        return self.domain.operation

    def point(self, case: Case, laws: Sequence[str] = tuple(NEEDED_BY)) -> Point:
        """The implementation at a case, with what JAX says there, as far as these laws need it.

        NumPy runs JAX's programs, so that no shape costs a compilation.
        """
        small = case.delta.size * max((a.size for a in case.args), default=0) <= LARGEST_JACOBIAN
        able = {"grad": True, "jvp": bool(case.tangents), "jacobian": bool(self.implementation.jacobian and small)}
        needed = {NEEDED_BY.get(law) for law in laws}
        said = evaluated(
            self.row,
            case.delta,
            case.args,
            case.tangents,
            kinds=["vjp", *(kind for kind, can in able.items() if can and kind in needed)],
            dtype=case.dtype,
            careful=self.careful,
            either=either_slope(self.row, self.domain.promises),
        )
        functions = self.implementation.forward, self.implementation.jacobian, self.implementation.vjp
        return Point(self.row, *functions, case, said, self.careful, self.domain.promises, self.domain.stated)

    def violations(self, case: Case, laws: Sequence[str]) -> Iterator[tuple[str, str, Violation | Measure]]:
        """Every claim of some laws at a case."""
        return violations({name: self.laws[name] for name in laws}, self.point(case, laws)) if laws else iter(())

    def first(self, case: Case, law: str) -> Violation | None:
        """What breaks a law at a case, if anything."""
        return next((found for _, _, found in self.violations(case, [law]) if isinstance(found, Violation)), None)

    def shrunk(self, failure: Failure, seconds: float = SECONDS) -> Failure:
        """The same failure at the smallest case found that breaks the law in the same way.

        Wrong numbers stay wrong numbers, and what has none (a crash, a shape) keeps having none. What only a batch
        shows, and the cases of the chain rule, are left as they are.
        """
        if failure.case is None or failure.law == BATCH:
            return failure

        def fails(case: Case) -> bool:
            found = self.first(case, failure.law)
            return found is not None and (found.actual is None) == (failure.actual is None)

        case = smallest(self.domain, failure.case, fails, seconds)
        found = self.first(case, failure.law)
        return failure_at(self.row.name, failure.law, found, case) if found else failure
