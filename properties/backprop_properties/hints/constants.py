"""Does a function compute with another number where its definition has one, as another ε, slope or threshold?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from backprop_oracle.derived import program_of
from backprop_oracle.floats import values
from backprop_oracle.program import Program
from backprop_oracle.rows import definition, row_of

from ..cases.case import Array, Case
from .probe import Probe, Seen, wrong_in
from .state import Found

MOST = 8  # numbers of a definition
USUAL = (1.0, 2.0, 0.5)  # of which every code is full
POWERS = (1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 7, -7)  # of ten, by which people's ε differ


def another_constant(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """The number of the definition in whose place another one, and no third, gives the very numbers that are wrong: one
    of the code's own, or without any, as of compiled code, one that is a power of ten apart. What a definition makes of
    `c` as `1 - c` is changed with it.
    """
    first = [one for one in seen if one.wrong][:1]
    if not first or p.kind == "jacobian":
        return None

    def explains(constant: float, other: float) -> bool:
        alone = {constant: other}
        for changed in (alone, {**alone, 1 - constant: 1 - other}) if 1 - constant in numbers else (alone,):
            results = partial(_results, p, changed)
            if p.explained(results, first, clearly=False) and p.explained(results, seen, clearly=False):
                return True
        return False

    numbers = dict.fromkeys(_numbers(_program(p, "value", first[0].case)))
    for constant in numbers:
        if explains(constant, 0.0):
            return "constant", f"{p.are(wrong_in(seen))} computed without the definition's {constant:g}"
        found = [other for other in _others(p, constant) if explains(constant, other)]
        if len(found) == 1:
            says = f"computed with {found[0]:g} where the definition has {constant:g}"
            return "constant", f"{p.are(wrong_in(seen))} {says}"
    return None


def _numbers(program: Program) -> list[float]:
    found = [float(np.ravel(a)[0]) for a in program.constants.values() if _is_number(a)]
    return [v for v in found if np.isfinite(v) and v != 0][:MOST]


def _others(p: Probe, constant: float) -> set[float]:
    own = (*(p.constants or [abs(constant) * 10.0**power for power in POWERS]), *USUAL)
    return {float(np.copysign(v, constant)) for v in own if v != abs(constant)}


def _is_number(a: Any) -> bool:
    return np.size(a) == 1 and getattr(a, "dtype", np.dtype(object)).kind == "f"


def _results(p: Probe, changed: Mapping[float, float], case: Case) -> list[Array]:
    """What the definition gives with other numbers wherever it has these."""
    p.in_time()
    program = _program(p, "vjp" if p.kind == "vjp" else "value", case)
    numbers = {
        name: np.full_like(a, changed.get(float(np.ravel(a)[0]), a)) if _is_number(a) else a
        for name, a in program.constants.items()
    }
    with np.errstate(all="ignore"):
        found = values(replace(program, constants=numbers), p.point(case))
    results = [np.zeros(0) if d is None else d for d in found[1]] if p.kind == "vjp" else [found]
    if not all(np.isfinite(result).all() for result in results):
        raise ValueError("no numbers")  # by which nothing is explained
    return results


def _program(p: Probe, kind: str, case: Case) -> Program:
    return program_of(definition(p.row), row_of(p.row).traced, kind, (case.delta, *case.args))
