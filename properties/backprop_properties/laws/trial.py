"""A trial: an implementation of an operation, where it is tried, and the laws that it is held to.

`verify` tries the reference, everywhere and by every law; `check` tries anybody's functions, where these promise to be
right and by the laws that were asked for.
"""

import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from backprop_oracle.autodiff import evaluated, has_other_formulas
from backprop_oracle.rows import Row

from ..cases.blocks import Block
from ..cases.case import Case
from ..cases.domains import Domain
from ..cases.shrink import SECONDS, smallest
from .claims import Judged, Violation, judge
from .ends import END_LAWS
from .failure import BATCH, Failure, failure_at, function_of
from .interruption import Interruption, Meter
from .manners import OF_CALLS
from .points import FIRST_CALLS, NEEDED_BY, Claims, Functions, Point, either_slope, listening, repeating
from .skipped import Skipped
from .table import LAWS
from .truth import JUDGE_LAWS, TRUTH_LAWS


class At(Protocol):
    """Where laws are tried: a `Point`, or a `Sweep` over many cases."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def case(self) -> Case | Block: ...


Place = TypeVar("Place", bound=At)
Laws = Mapping[str, Callable[[Place], Claims]]

AS_LARGE = 16.0  # times smaller, and an error is still of the same size
LARGEST_ASKED = 2**15  # entries of a Jacobian: a vector of 181

EVERY_LAW: Laws[Point] = {**LAWS, **TRUTH_LAWS, **JUDGE_LAWS, **END_LAWS}


def _small(case: Case) -> bool:
    """Whether a dense Jacobian is asked for."""
    return case.delta.size * max((a.size for a in case.args), default=0) <= LARGEST_ASKED


def violations(laws: Laws[Place], p: Place) -> Iterator[tuple[str, str, Judged]]:
    """Every claim of every law at a point: the law, the quantity, and its measure or its violation.

    A law stops at its first violation; whatever the implementation raises is one. A function that skips the case is
    told, with no quantity, and the law is asked of the others.
    """
    for name, law in laws.items():
        yield from ((name, what, found) for what, found in _claims(law, p))


def _claims(law: Callable[[Place], Claims], p: Place) -> Iterator[tuple[str, Judged]]:
    what = ""
    try:
        with np.errstate(all="ignore"):
            for claim in law(p):
                what = claim.what
                yield what, judge(claim, p.case.dtype)
    except Violation as violation:
        yield violation.what, violation
    except Skipped as skipped:
        yield "", skipped
        yield from _claims(law, replace(p, **{skipped.kind: None}))
    except Exception as error:
        yield what, Violation(what, f"{type(error).__name__}: {error}")


def alike(a: Failure | Violation, b: Violation) -> bool:
    """Whether it is of one function, kind and size: no number, NaN, an infinity, a lost sign, as many lost digits.

    >>> nan, off, rounded = (Violation("u", "", (), actual, 1.0) for actual in (np.nan, 3.0, 1.000001))
    >>> alike(nan, off), alike(off, rounded), alike(rounded, off)
    (False, False, True)
    """
    if function_of(a.what, a.message) != function_of(b.what, b.message):
        return False
    if a.actual is None or a.expected is None or b.actual is None or b.expected is None:
        return (a.actual is None) == (b.actual is None) and _raised(a.message) == _raised(b.message)
    if not np.isfinite(a.actual):
        return bool(np.isnan(a.actual) == np.isnan(b.actual) and np.isinf(a.actual) == np.isinf(b.actual))
    if not np.isfinite(a.expected) or not np.isfinite(b.actual):
        return bool(np.isfinite(a.expected) == np.isfinite(b.expected) and np.isfinite(b.actual))
    if a.actual * a.expected < 0 <= b.actual * b.expected and a.actual != 0:
        return False
    return _relative(b) >= _relative(a) / AS_LARGE


def _raised(message: str) -> str:
    """The exception that a message tells of, if it does."""
    found = re.search(r"\braised (\w+)", message)
    return found[1] if found else ""


def _relative(v: Failure | Violation) -> float:
    """An error, as a part of what is right: 1 at most."""
    assert v.actual is not None
    assert v.expected is not None
    error = abs(v.actual - v.expected)
    return min(error / abs(v.expected), 1.0) if v.expected else 1.0


@dataclass(frozen=True)
class Trial:
    """An implementation, tried within a domain and held to some laws.

    `careful` asks for no more digits than a careful framework's formulas have; otherwise the reference's are asked for.
    `waived` laws are not held against it. `counts` are numbers of calls and of rows that are tried beside the usual
    ones, `batched` says how many leading axes a function takes, `constants` are the numbers in the code; `turn` and
    `interruption` and `ahead` are as in `Point`; `meter` says what calls take in another process.
    """

    implementation: Functions
    domain: Domain
    laws: Laws[Point]
    careful: bool = False
    waived: Collection[str] = ()
    counts: tuple[int, ...] = ()
    batched: Mapping[str, int] = field(default_factory=lambda: {"forward": 3, "vjp": 3})
    constants: tuple[float, ...] = ()
    turn: int | None = None
    interruption: Interruption | None = None
    ahead: Callable[..., None] | None = None
    meter: Meter | None = None

    @property
    def row(self) -> Row:
        """The operation that is implemented."""
        return self.domain.operation

    def point(self, case: Case, laws: Sequence[str] = tuple(NEEDED_BY), *, alone: bool = False) -> Point:
        """The implementation at a case, with what JAX says there, as far as these laws need it; `alone`, held to the
        definition's own formula.

        NumPy runs JAX's programs, so that no shape costs a compilation.
        """
        jacobian = bool(self.implementation.jacobian and _small(case))
        able = {"grad": True, "jvp": bool(case.tangents), "jacobian": jacobian}
        needed = {NEEDED_BY.get(law) for law in laws}
        said = evaluated(
            self.row,
            case.delta,
            case.args,
            case.tangents,
            kinds=["vjp", *(kind for kind, can in able.items() if can and kind in needed)],
            dtype=case.dtype,
            careful=self.careful,
            alone=alone,
            either=either_slope(self.row, self.domain.promises),
        )
        return Point(
            self.row,
            self.implementation.forward,
            self.implementation.jacobian,
            self.implementation.vjp,
            case,
            said,
            self.careful,
            self.domain.promises,
            self.domain.stated,
            self.counts,
            self.domain.moderate,
            self.batched,
            alone,
            self.turn,
            self.interruption,
            self.ahead,
        )

    def violations(
        self, case: Case, laws: Sequence[str], widened: set[str] | None = None
    ) -> Iterator[tuple[str, str, Judged]]:
        """Every claim of some laws at a case.

        Results are held to the bound of the definition's formula first, and only those beyond it to the bounds of the
        other formulas that careful frameworks have, each of which takes as long. Those that are `widened` already are
        held to all of them at once; others are added when they are.
        """
        widened = set() if widened is None else widened
        points: dict[bool, Point] = {}

        def point(alone: bool) -> Point:
            points[alone] = points.get(alone) or replace(self.point(case, laws, alone=alone), begun=begun)
            return points[alone]

        begun = self._begun(case, laws)
        several = self.careful and has_other_formulas(self.row)
        for name in laws:
            law = {name: self.laws[name]}
            if name in OF_CALLS or name in widened or not several:
                yield from violations(law, point(several and name not in widened))
                continue
            heard, calls = listening(point(True))
            found = list(violations(law, heard))
            if any(isinstance(one, Violation) for _, _, one in found):
                widened.add(name)
                found = list(violations(law, repeating(point(False), calls)))
            yield from found

    def _begun(self, case: Case, laws: Sequence[str]) -> Mapping[str, Sequence[Any]]:
        """Has the calls of the first laws begin, while the truth is computed; their arguments by law."""
        if not self.ahead:
            return {}
        calls = {law: FIRST_CALLS[law](case) for law in itertools.takewhile(FIRST_CALLS.__contains__, laws)}
        given = {law: call for law, call in calls.items() if call and self._is_called(call[0], case)}
        self.ahead(*given.values())
        return {law: args for law, (_, args) in given.items()}

    def _is_called(self, kind: str, case: Case) -> bool:
        """Whether there is such a function, and a law that comes first calls it at a case."""
        return getattr(self.implementation, kind) is not None and (kind != "jacobian" or _small(case))

    def first(self, case: Case, law: str) -> Violation | None:
        """What breaks a law at a case, if anything."""
        return next((found for _, _, found in self.violations(case, [law]) if isinstance(found, Violation)), None)

    def shrunk(self, failure: Failure, seconds: float = SECONDS) -> Failure:
        """The same failure at the smallest case found that breaks the law in the same way.

        What is wrong keeps its kind and its size (`alike`), and a cotangent stays one. What only a batch shows, and the
        cases of the chain rule, are left as they are.
        """
        if failure.case is None or failure.law == BATCH:
            return failure
        moved = bool(np.any(failure.case.delta))

        def fails(case: Case) -> bool:
            if moved and not np.any(case.delta):
                return False
            found = self.first(case, failure.law)
            return found is not None and alike(failure, found)

        case = smallest(self.domain, failure.case, fails, seconds)
        found = self.first(case, failure.law)
        return failure_at(self.row, failure.law, found, case) if found else failure
