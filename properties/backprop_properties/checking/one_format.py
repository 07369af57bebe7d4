"""One format: every case by the laws that are asked for."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from ..cases.case import Case
from ..cases.plan import Planned, made
from ..laws.claims import Violation
from ..laws.failure import Failure
from ..laws.points import TURNS
from ..laws.trial import Trial
from .calls import Late
from .costs import Cost, affordable, near
from .options import DTYPES
from .report import Checked
from .verdict import KINDS, Verdict

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
    real = [f"d{name}" for name in trial.row.arguments if name not in trial.row.integers]
    missing = [name for name in real if judged and name not in judged and "vjp_equals_jax_vjp" not in failed]
    if not failed:
        given = [kind for kind in KINDS if getattr(trial.implementation, kind) is not None]
        return [], missing, {kind: Verdict() for kind in given if shrink}
    from .failures import failures_of  # and with it all hints, which a check that finds all right does not need

    with _told_if_late(failed):
        found, verdicts = failures_of(trial, failed, DTYPES[dtype], notes, shrink=shrink)
    for law in {failure.law for failure in found} - failed.keys():  # where it breaks was looked for further
        checks[law, dtype] = replace(checks.get((law, dtype), Checked(law, dtype, 1)), failed=True)
    return found, missing, verdicts


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
