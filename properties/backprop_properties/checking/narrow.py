"""Functions that are right for some targets only, as those that always are labels."""

import time
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from ..cases.case import Case
from ..hints.probe import SECONDS, OutOfTime, Probe
from ..laws.claims import Violation
from ..laws.points import LAW
from ..laws.trial import Trial
from .verdict import KINDS


class Narrow(NamedTuple):
    """A function is right for some targets only: for which, and what is wrong for others."""

    kind: str
    domain: str
    law: str
    violation: Violation
    case: Case
    told: tuple[str, str]


TARGETS = {"one-hot-only": "one-hot", "sum-y-is-one": "distribution"}  # a cause, and the domain where it is right


def narrower(trial: Trial, dtype: np.dtype[Any]) -> list[Narrow]:
    """The functions that are right for targets of some kind only; asked first."""
    found = []
    for kind in KINDS:
        if getattr(trial.implementation, kind) is None or LAW[kind] not in trial.laws:
            continue
        p = Probe(trial.domain, trial.implementation, kind, dtype, time.perf_counter() + SECONDS)
        with suppress(OutOfTime):
            for case in p.ordinary()[:2]:
                violation = trial.first(case, LAW[kind])
                told = _told(p, trial, LAW[kind], violation, case) if violation else None
                if violation and told:
                    found.append(Narrow(kind, TARGETS[told[0]], LAW[kind], violation, case, told))
                    break
    return found


def _told(p: Probe, trial: Trial, law: str, violation: Violation, case: Case) -> tuple[str, str] | None:
    """The cause and the hint, if what is wrong is right for other targets."""
    from ..hints.causes import hints  # which a check that finds all right does not need
    from ..hints.experiments import targets

    told = targets(p)
    more = hints(trial, {law: (violation, case)}, p.dtype).get(law, told) if told else None
    return more if told and more and more[0] == told[0] else told
