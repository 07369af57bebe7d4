"""What a check that passes tells beside its verdict, and holds against nobody: the slope that is taken at a kink, where
the usual formula loses its digits, and whether another thread may call.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from backprop_oracle.enclosures import FORMATS

from ..cases.case import Case
from ..cases.domains import into_the_domain
from ..cases.plan import ordinary_case
from ..laws.claims import Certified, certified_errors
from ..laws.threads import bears_another_thread
from ..laws.trial import Trial
from ..laws.truth import TRUTH_LAWS
from .asked import PROMISED

SIDES, NEXT = 8, 1e-3  # places beside a kink, drawn, and how far from it
SIZES = np.geomspace(0.5, 700, 60)  # of numbers on both sides of 0, among which digits may get lost


def also_told(trial: Trial, names: Mapping[str, str], dtype: np.dtype[Any]) -> Iterator[str]:
    """A line on each, if there is something to tell."""
    row, promises = trial.row, trial.domain.promises
    if "vjp" in names and row.kinked and "kinks" not in promises:
        held = replace(trial, domain=replace(trial.domain, promises=promises | {"kinks"}))
        found = held.first(case := _at_zeros(trial, dtype), "vjp_equals_jax_vjp")
        if found is not None and found.actual is not None and found.expected is not None:
            low, high = _beside(trial, case)
            slack = float(ml_dtypes.finfo(dtype).eps) ** 0.5
            between = low - slack <= found.actual <= high + slack
            side = "a convention" if between else f"not the slope of any side, {low:.3g} to {high:.3g}"
            yield (
                f"at its kink {names['vjp']} takes {found.what} = {found.actual:g} where JAX takes {found.expected:g}: "
                f"{side}; domain={{'kinks': True}} holds it to JAX's"
            )
    if trial.interruption and "threads" not in promises:
        laws = {**trial.laws, PROMISED["threads"]: bears_another_thread}
        held = replace(trial, laws=laws, domain=replace(trial.domain, promises=promises | {"threads"}))
        if held.first(ordinary_case(trial.domain, dtype), PROMISED["threads"]):
            of = " and ".join(names[kind] for kind in ("forward", "vjp") if kind in names)
            yield (
                f"not for threads: {of} gave something else when another thread called in the middle of a call; "
                "domain={'threads': True} holds them to the same"
            )
    if row.promise == "function" and trial.careful and dtype in FORMATS and not trial.domain.moderate:
        for kind, (what, x) in _lost_digits(trial, dtype).items():
            yield (
                f"{names[kind]}: more than half of the digits of {what} are lost from x = {x:.3g} on, as by the usual "
                "formula; level='strict' asks for all of them"
            )


def _at_zeros(trial: Trial, dtype: np.dtype[Any]) -> Case:
    """All floats 0, where most kinks and ties are, and a cotangent of ones."""
    case = ordinary_case(trial.domain, dtype)
    zeros = tuple(a if a.dtype.kind in "biu" else np.zeros_like(a) for a in case.args)
    return into_the_domain(trial.domain, replace(case, args=zeros, delta=np.ones_like(case.delta)))


def _beside(trial: Trial, case: Case) -> tuple[float, float]:
    """Between which numbers the right slopes are next to a kink, on all its sides."""
    random = np.random.default_rng(0)

    def moved(a: Any) -> Any:
        return a if a.dtype.kind in "biu" else (NEXT * random.choice([-1, 1], a.shape)).astype(a.dtype)

    said = trial.point(case).ask(*((case.delta, list(map(moved, case.args))) for _ in range(SIDES)))
    slopes = [answer.value for one in said for answer in one.vjp if answer is not None and answer.value.size]
    found = [float(end) for slope in slopes for end in (slope.min(), slope.max())]
    return min(found), max(found)


def _lost_digits(trial: Trial, dtype: np.dtype[Any]) -> dict[str, tuple[str, float]]:
    """By function, which result of a scalar function loses half its digits, and the number next to 0 from which on."""
    found = {}
    half = float(ml_dtypes.finfo(dtype).eps) ** -0.5  # units in the last place
    numbers = np.concatenate([-SIZES, SIZES])
    (count,) = trial.domain.nearest(dict.fromkeys(trial.row.letters, numbers.size)).values()
    x = numbers[np.linspace(0, numbers.size - 1, count).astype(int)].astype(dtype)
    case = into_the_domain(trial.domain, Case((x,), np.ones_like(x), ()))
    point = replace(trial, careful=False).point(case)
    for kind, law in (("forward", "value_within_bound_of_truth"), ("vjp", "vjp_within_bound_of_truth")):
        if getattr(point, kind) is None:
            continue
        with suppress(Exception):  # what it raises here is no failure: nothing was asked
            for claim in TRUTH_LAWS[law](point):
                if isinstance(claim, Certified):
                    lost = case.args[0][certified_errors(claim, dtype) > half]
                    if lost.size:
                        found[kind] = claim.what, float(lost[np.abs(lost).argmin()])
    return found
