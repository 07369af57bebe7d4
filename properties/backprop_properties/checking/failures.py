"""What is made of the laws that failed in one format: failures with their part of the verdict, their cause and their
smallest case, and the verdict on each function.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..cases.case import Case
from ..cases.plan import ordinary_case
from ..hints.causes import hints
from ..hints.gradients import right_beside
from ..laws.claims import Violation
from ..laws.failure import Failure, failure_at
from ..laws.trial import EVERY_LAW, Trial
from .by_part import Sorted, sorted_out
from .guard import said
from .verdict import PARTS, Verdict

BESIDE = 3  # ordinary cases at which gradients are looked at beside each other


def failures_of(
    trial: Trial,
    failed: Mapping[str, tuple[Violation, Case]],
    dtype: np.dtype[Any],
    notes: list[str],
    *,
    shrink: bool,
) -> tuple[list[Failure], Mapping[str, Verdict]]:
    """The failures, in the order of the laws, and the verdict on each function; notes of a search that stopped."""
    kinds = Sorted(dict(failed))
    try:
        kinds.told |= hints(trial, failed, dtype)
        kinds = sorted_out(trial, failed, kinds.told, dtype) if shrink else kinds
    except Exception as error:  # what failed matters more than why
        notes.append(f"no hints: the search for a cause stopped with {said(error)}")
    failures = [failure_at(trial.row, law, *kinds.failed[law]) for law in EVERY_LAW if law in kinds.failed]
    explained = [_explained(trial, f, dtype, kinds.told.get(f.law, ("", "")), shrink) for f in failures]
    sorted_in = [
        replace(f, part=kinds.parts.get(f.law, PARTS[0]), accepts=kinds.accepts.get(f.law, "")) for f in explained
    ]
    return sorted_in, kinds.verdicts


def _explained(trial: Trial, failure: Failure, dtype: np.dtype[Any], hint: tuple[str, str], shrink: bool) -> Failure:
    """A failure at its smallest case, with its cause, and which gradients are right beside it."""
    small = trial.shrunk(failure) if shrink else failure
    cases = [*(ordinary_case(trial.domain, dtype, k=k) for k in range(BESIDE)), small.case]
    where = right_beside(trial.row, [trial.point(case) for case in cases if case], small.law) if shrink else ""
    message = small.message.removeprefix("Unusable: ")
    farther = small.rtol is not None and failure.rtol is not None and small.rtol < min(failure.rtol, 1.0) / 2
    worst = failure.message if farther and np.isfinite(failure.actual or 0.0) else ""
    return replace(small, message=message, worst=worst, where=where, cause=hint[0], hint=hint[1])
