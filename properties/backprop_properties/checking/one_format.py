"""One format: every case by the laws that are asked for, and what is made of those that fail."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from ..cases.case import Case
from ..cases.plan import Planned, made, ordinary_case
from ..hints.causes import hints
from ..hints.gradients import right_beside
from ..laws.claims import Violation
from ..laws.failure import Failure, failure_at
from ..laws.points import TURNS
from ..laws.trial import EVERY_LAW, Trial
from .by_part import Sorted, sorted_out
from .calls import Late
from .costs import Cost, affordable, near
from .guard import said
from .options import DTYPES
from .report import Checked
from .verdict import PARTS, Verdict

ALWAYS = (  # on every case; the other laws on some of the small ones
    "forward_equals_jax",
    "jacobian_equals_jacrev",
    "vjp_equals_jax_vjp",
    "vjp_of_one_equals_jax_grad",
)
ON_LARGER = (  # and these on some tails
    "leaves_its_inputs_alone",
    "says_the_same_twice",
    "owes_nothing_to_the_last_forward",
    "takes_any_memory_layout",
)
MOST_CALLS = 1000  # of the first case, if a number in the code says so
BESIDE = 3  # ordinary cases at which gradients are looked at beside each other
EVERY = 6  # small cases for one on which all laws are tried


def tried_in(
    trial: Trial,
    cases: Iterable[Planned],
    dtype: str,
    seed: int,
    checks: dict[tuple[str, str], Checked],
    notes: list[str],
    count: int,
    *,
    first: Sequence[tuple[str, Case]],
    careful: bool,
    shrink: bool,
) -> tuple[list[Failure], list[str], Mapping[str, Verdict]]:
    """One dtype: the `first` cases by a law each, then every case in turn; a law that has failed is not tried again.

    And the gradients that are not given, and the verdict on each function.
    """
    failed: dict[str, tuple[Violation, Case]] = {}
    costs: dict[int, tuple[float, int]] = {}
    judged, widened, too_long = set[str](), set[str](), list[int]()
    turns = (k + k // TURNS for k in itertools.count())  # in another order each time: sizes have a period, too
    counts = (max(3 * count // 10, 1), *counts_in(trial.constants))

    def tried(trial: Trial, case: Case, laws: Sequence[str]) -> None:
        for law, what, found in trial.violations(case, laws, widened):
            judged.update({what} if law == "vjp_equals_jax_vjp" and what else ())
            if isinstance(found, Violation):
                failed[law] = found, case
            checks[law, dtype] = checks.get((law, dtype), Checked(law, dtype)).after(what, found)

    with_counts = replace(trial, counts=counts)
    with _told_if_late(failed):
        for law, case in first:
            tried(with_counts, case, [law] * (law not in failed and case.dtype == DTYPES[dtype]))
        for k, planned in enumerate(cases):
            size = max(planned.sizes.values(), default=1)
            if planned.part == "long" and not affordable(costs, size):
                too_long.append(size)
                continue
            case = made(trial.domain, planned, DTYPES[dtype], seed, k, careful=careful)
            wanted = [law for law in trial.laws if law not in failed and _wanted(law, planned, k)]
            measure = size > 200 and (size in costs or not near(size, costs))
            with Cost(costs, size, measure=measure, meter=trial.meter):
                turn = next(turns) if {*wanted} & {*ON_LARGER} else None
                tried(with_counts if k == 0 else replace(trial, turn=turn), case, wanted)
    if too_long:
        notes.append(f"sizes from {min(too_long):,} are not tried: time or memory would grow too far")
    if set(failed) > {"vjp_is_linear"} and _only_rounded(failed.get("vjp_is_linear"), DTYPES[dtype]):
        del failed["vjp_is_linear"]
        checks["vjp_is_linear", dtype] = replace(checks["vjp_is_linear", dtype], failed=False)
    kinds = Sorted(dict(failed))
    try:
        with _told_if_late(failed):
            kinds.told |= hints(trial, failed, DTYPES[dtype])
            kinds = sorted_out(trial, failed, kinds.told, DTYPES[dtype]) if shrink else kinds
    except Exception as error:  # what failed matters more than why
        notes.append(f"no hints: the search for a cause stopped with {said(error)}")
    for law in kinds.failed.keys() - failed.keys():  # where it breaks was looked for further than the cases go
        checks[law, dtype] = replace(checks.get((law, dtype), Checked(law, dtype, 1)), failed=True)
    failures = [failure_at(trial.row, law, *kinds.failed[law]) for law in EVERY_LAW if law in kinds.failed]
    real = [f"d{name}" for name in trial.row.arguments if name not in trial.row.integers]
    missing = [name for name in real if judged and name not in judged and "vjp_equals_jax_vjp" not in failed]
    with _told_if_late(failed):
        explained = [_explained(trial, f, DTYPES[dtype], kinds.told.get(f.law, ("", "")), shrink) for f in failures]
    sorted_in = [
        replace(f, part=kinds.parts.get(f.law, PARTS[0]), accepts=kinds.accepts.get(f.law, "")) for f in explained
    ]
    return sorted_in, missing, kinds.verdicts


@contextmanager
def _told_if_late(failed: Mapping[str, tuple[Violation, Case]]) -> Iterator[None]:
    """If the time is over, what had failed is not lost with it."""
    try:
        yield
    except Late as late:
        late.found = next((violation.message for violation, _ in failed.values()), "")
        raise


def counts_in(constants: Sequence[float]) -> tuple[int, ...]:
    """Those numbers of a code that may be of calls, or of rows."""
    return tuple(int(c) for c in constants if c == int(c) and 3 <= c <= MOST_CALLS)


def _only_rounded(failure: tuple[Violation, Case] | None, dtype: np.dtype[Any]) -> bool:
    """Whether results that a law compares with each other differ by a rounding: its bound is one for right numbers."""
    if failure is None or failure[0].actual is None or failure[0].expected is None:
        return False
    actual, expected = failure[0].actual, failure[0].expected
    return abs(actual - expected) <= 4 * float(ml_dtypes.finfo(dtype).eps) * max(abs(actual), abs(expected))


def _wanted(law: str, planned: Planned, k: int) -> bool:
    if law in ALWAYS:
        return True
    some, size = k % EVERY == 0 or k < 4, max(planned.sizes.values(), default=1)
    if planned.part != "tail" or planned.corner:
        return some and planned.part == "small" and not planned.corner
    if law == "sees_what_changed_in_place":
        return planned.twist == "positive" or (some and size <= 65)
    return law in ON_LARGER and (some or planned.twist == "positive")  # which are as long as the longest tail


def _explained(trial: Trial, failure: Failure, dtype: np.dtype[Any], hint: tuple[str, str], shrink: bool) -> Failure:
    """A failure at its smallest case, with its cause, and which gradients are right beside it."""
    small = trial.shrunk(failure) if shrink else failure
    cases = [*(ordinary_case(trial.domain, dtype, k=k) for k in range(BESIDE)), small.case]
    where = right_beside(trial.row, [trial.point(case) for case in cases if case], small.law) if shrink else ""
    message = small.message.removeprefix("Unusable: ")
    farther = small.rtol is not None and failure.rtol is not None and small.rtol < min(failure.rtol, 1.0) / 2
    worst = failure.message if farther and np.isfinite(failure.actual or 0.0) else ""
    return replace(small, message=message, worst=worst, where=where, cause=hint[0], hint=hint[1])
