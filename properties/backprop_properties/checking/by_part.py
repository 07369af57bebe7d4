"""Of each failure the part of the verdict that it belongs to, and the verdict on each function, as it is said."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import ml_dtypes
import numpy as np

from ..cases.case import Case
from ..cases.domains import into_the_domain
from ..hints.probe import OutOfTime
from ..laws.claims import Violation
from ..laws.failure import function_of
from ..laws.points import FORMULAS, LAW
from ..laws.trial import Trial
from .guard import UNREADABLE
from .measured import MANNERS, OF_SHORT, REMEMBERS, UNWRITTEN, WRITES, Measured, shown
from .python_files import Implementation
from .verdict import NARROW, NOISE, NOT_JUDGED, PARTS, RIGHT, Verdict

OTHER_FORM = "other-form"  # a cause: right for rows, or in a format, and for no other arguments
MODERATE = (1e-3, 0.03, 1.0, 30.0, -1e-3, -0.03, -1.0, -30.0)  # sizes of numbers, from end to end
HINTED = ("tile-tail", "lower-precision", "dtype")  # causes whose hint names what is to be asked for
ACCEPTS: tuple[tuple[str, str, str], ...] = (  # a cause or a law, a pattern of its hint or message, an option
    ("tile-tail", r"^right at multiples of (\d+), wrong at every other (\w+)", r"domain={'\2': 'multiple of \1'}"),
    ("tile-tail", r"^right up to (\w+) = (\d+)", r"domain={'\1': 'at most \2'}"),
    ("lower-precision", r"computed in (float32|float16|bfloat16) or", r"dtypes='\1'"),
    ("dtype", r"computes in (float32|float16|bfloat16) where", r"dtypes='\1'"),
    ("leaves_its_inputs_alone", r"wrote to its argument (\w+)$", r"may_write=('\1',)"),
    ("leaves_its_inputs_alone", r"wrote to its argument (\w+), (\w+)$", r"may_write=('\1', '\2')"),
    ("nan_in_nan_out", r"hides a NaN", r"domain={'values': 'finite'}"),
    ("batch_equals_the_loop", r"^", r"batch=False"),
    ("takes_any_memory_layout", r"^", r"waive=('takes_any_memory_layout',)"),
)
FIRST = {  # of a cause, the law that tells it
    WRITES: "leaves_its_inputs_alone",
    "dtype": "keeps_the_dtype",
    "layout": "takes_any_memory_layout",
}


@dataclass
class Sorted:
    """The failures of a check of one dtype, with the part of each, and a verdict on each function."""

    failed: dict[str, tuple[Violation, Case]]
    told: dict[str, tuple[str, str]] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    accepts: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)


def sorted_out(
    trial: Trial,
    failed: Mapping[str, tuple[Violation, Case]],
    told: Mapping[str, tuple[str, str]],
    dtype: np.dtype[Any],
) -> Sorted:
    """To which part of the verdict each failure belongs, and the verdict on each function that was given.

    Where a function has no number at all, that takes the place of a failure that is one of digits.
    """
    found = Sorted(dict(failed), dict(told))
    for kind in LAW:
        if getattr(trial.implementation, kind) is None:
            continue
        own = {law: pair for law, pair in failed.items() if function_of(pair[0].what, pair[0].message) == kind}
        found.verdicts[kind] = _judged(trial, kind, own, found, dtype) if own else Verdict()
    found.parts = {**dict.fromkeys(found.failed, "formula"), **found.parts}
    return found


def _judged(
    trial: Trial, kind: str, own: Mapping[str, tuple[Violation, Case]], found: Sorted, dtype: np.dtype[Any]
) -> Verdict:
    """The verdict on a function with failures, whose parts are noted."""
    remembers = kind == "vjp" and any(found.told.get(law, ("",))[0] in REMEMBERS for law in own)
    m = Measured(_in_order(trial) if remembers else trial, kind, dtype)
    with suppress(OutOfTime):
        m.look_at_ordinary()
    if m.unfit and not remembers and (asked := m.other_form()):
        found.parts |= dict.fromkeys(own, "formula")
        words = f"{asked[0]}; ask with {asked[1]}"
        found.told |= dict.fromkeys(own, (OTHER_FORM, words))
        found.accepts |= dict.fromkeys(own, asked[1])
        return Verdict(NARROW, words, *[NOT_JUDGED] * 3)
    if m.never_ran:
        found.parts |= dict.fromkeys(own, "formula")
        states = {UNWRITTEN: "not written", UNREADABLE: "does not return"}
        state = next((state for pattern, state in states.items() if re.search(pattern, m.never_ran)), "raises")
        return Verdict(state, m.never_ran, *[NOT_JUDGED] * 3)
    values = sorted((law for law in own if law not in MANNERS), key=lambda law: law != LAW[kind])
    for laws in (values, [law for law in own if law in MANNERS]):
        found.parts |= {law: m.part_of(law, *own[law], found.told.get(law, ("", ""))[0]) for law in laws}
        if {"range", "digits"} & {found.parts[law] for law in laws} and not m.wrong:
            m.look_further()
    _of_a_shorter_format(m, own, found)
    by_part = {part: [law for law in own if found.parts[law] == part] for part in PARTS}
    if by_part["formula"]:  # and what cannot be compared with anything has neither good manners nor bad
        unusable = [law for law in by_part["manners"] if own[law][0].message.startswith("Unusable: ")]
        found.parts |= dict.fromkeys(unusable, "formula")
    if by_part["formula"]:  # which is what a range that is left, or digits that are lost, would be of
        found.parts |= dict.fromkeys([*by_part["range"], *by_part["digits"]], "formula")
        by_part = {part: [law for law in own if found.parts[law] == part] for part in PARTS}
        m.breaks.clear()
    if LAW[kind] not in trial.laws and not by_part["range"]:  # nothing is asked of it
        m.breaks.clear()
    for law in by_part["formula"]:
        if found.told.get(law, ("",))[0] == "rounding":
            del found.told[law]  # by which no formula is wrong in six digits
    for law in (law for law in by_part["formula"] if m.only_where and found.told.get(law, ("",))[0] == "overflow"):
        del found.told[law]  # no range is left: it is another number
    if m.breaks and not by_part["formula"] and LAW[kind] in trial.laws:
        worst, law = m.breaks[0], LAW[kind]
        found.failed[law], found.parts[law] = (worst.violation, worst.case), "range"
        by_part["range"] = list(dict.fromkeys([*by_part["range"], law]))
        cause, hint = found.told.get(law, ("", ""))
        if cause in ("", "epsilon", "rounding") or (cause == "overflow" and f" {shown(abs(worst.bound))} " not in hint):
            found.told[law] = m.hint(worst)
    for law in (law for part in PARTS[2:] for law in by_part[part] if law in found.told and found.parts[law] == part):
        cause, hint = found.told[law]
        if cause == "overflow" and hint.startswith("right up to"):
            del found.told[law]  # of another number than those that it has lost
    lost = bool(by_part["digits"] or (m.lost and LAW[kind] in own and not by_part["formula"]))
    m.unstable = tuple(part for part, wrong in (("range", by_part["range"]), ("digits", lost)) if wrong)
    for law in {**own, LAW[kind]: None}:
        if law in found.failed:
            found.accepts[law] = _accepting(m, law, *found.failed[law], found.parts[law], found.told.get(law, ("", "")))
    causes = {law: found.told.get(law, ("", ""))[0] for law in by_part["manners"]}
    rude = [law for law, cause in causes.items() if law == FIRST.get(cause, law)]
    polite = [_manner(law, own[law][0], causes[law]) for law in rude or causes]
    numbers = NOT_JUDGED if by_part["formula"] else RIGHT
    if by_part["range"] and not m.breaks:
        m.breaks.append(m.of_a_law(by_part["range"][0], own))
    return Verdict(
        "wrong" if by_part["formula"] else "unstable" if m.breaks or lost else "bad manners",
        (m.only_where or "wrong") if by_part["formula"] else RIGHT,
        m.range() or numbers,
        (m.digits() if lost else RIGHT) if numbers == RIGHT else numbers,
        ", ".join(dict.fromkeys(polite)) or RIGHT,
    )


def _in_order(trial: Trial) -> Trial:
    """With a vjp that follows its forward at the same arguments, as whoever remembers them means it."""
    given = trial.implementation
    forward, vjp = given.forward, given.vjp
    if forward is None or vjp is None:
        return trial

    def both(delta: Any, *args: Any) -> Any:
        forward(*args)
        return vjp(delta, *args)

    return replace(trial, implementation=Implementation(forward, given.jacobian, both))


def _of_a_shorter_format(m: "Measured", own: Mapping[str, tuple[Violation, Case]], found: Sorted) -> None:
    """Results of a shorter format than the arguments': that they have its digits and its range is no other fault."""
    dtype = "keeps_the_dtype"
    returned = re.search(r"returned (float32|float16|bfloat16)$", own[dtype][0].message) if dtype in own else None
    if not returned or "formula" in (found.parts[law] for law in own):
        return
    info = ml_dtypes.finfo(returned[1])
    far = float(info.max) ** 0.5  # beyond it, products of two leave the format
    if m.lost <= OF_SHORT * float(info.eps) and all(not 1 / far < abs(one.bound) < far for one in m.breaks):
        m.breaks.clear()
        m.lost = 0.0
        numbers = [law for law in own if found.parts[law] in ("range", "digits")]
        found.parts |= dict.fromkeys(numbers, "manners")
        found.told |= dict.fromkeys(numbers, found.told.get(dtype, ("dtype", "")))


def _manner(law: str, violation: Violation, cause: str) -> str:
    """What a function does that it should not, in a few words."""
    if cause == NOISE:
        return "differs from call to call"
    pattern, words = MANNERS.get("says_the_same_twice" if cause in REMEMBERS else law, (r".*", law.replace("_", " ")))
    match = re.match(pattern, violation.message)
    return (
        match.expand(words)
        if match
        else re.sub(r"^(a result of \w+ shares|two results of \w+ share)", "results share", violation.message)
    )


def _accepting(m: Measured, law: str, violation: Violation, case: Case, part: str, told: tuple[str, str]) -> str:
    """The option of `check` with which a failure would be none, if there is one for what its author may promise.

    Nothing that is given already.
    """
    cause, hint = told
    for wanted, pattern, option in ACCEPTS:
        match = re.search(pattern, hint if wanted in HINTED else violation.message)
        if match and wanted in (cause, law) and (part == "manners" or wanted in HINTED):
            return match.expand(option)
    if part in ("range", "digits") and law in FORMULAS:
        domain = replace(m.trial.domain, moderate=True, nan=False)
        moderate, ordinary = replace(m.trial, domain=domain), m.p.ordinary()
        cases = [case, *(one.case for one in m.breaks)]
        cases += [m.p.scaled(one, by) for by in MODERATE for one in ordinary[:2]]
        if not m.trial.domain.moderate and not any(moderate.first(into_the_domain(domain, one), law) for one in cases):
            return "domain={'values': 'moderate'}"
    return f"waive={m.unstable}" if part in m.unstable and part not in m.trial.waived else ""
