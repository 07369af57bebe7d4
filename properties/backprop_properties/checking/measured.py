"""What sort of fault is it? A formula that is wrong, a range that is left, digits that are lost, or bad manners.

Measured on the functions after a check: is a result right in six digits at ordinary numbers, and on the way from these
to where it is wrong, do errors grow, or does it break all at once? A law says only what it is about: values, or the
circumstances of a call.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from ..cases.case import Case
from ..hints.experiments import shorter_than
from ..hints.probe import SECONDS, OutOfTime, Probe
from ..laws.claims import Close, Violation
from ..laws.points import LAW
from ..laws.trial import EVERY_LAW, Trial
from .batches import takers
from .guard import UNREADABLE
from .verdict import NOISE

SIX_DIGITS = 1e-5  # relative: one unit in the sixth digit of the least number that has it, 1.00000
OF_SHORT = 16  # eps: a format with fewer digits loses that many units of its last in a few honest steps
ORDINARY = (0.25, 4.0)  # sizes of ordinary numbers: products of a few of them are near 1, as are their exponentials
LADDER = (20.0, 50.0, 200.0, 1e3, 2e4, 1e6, 1e20, 1e100, 1e300)  # past exp's and tanh's ends, squares', cubes', …
STEPS = 30  # of a bisection: more digits of a bound than are shown
BEFORE = 0.98  # of a bound: where errors grow, they are large there, too
FEW = 8  # entries that are made ordinary one by one
SAID = 3  # ways of breaking that a line has room for
UNWRITTEN = r"NotImplementedError|\breturned None\b"  # as what a course hands out does, or `pass`
# Messages of a function that gives no number.
NOTHING = rf"{UNWRITTEN}|{UNREADABLE}|\b(raised|called exit|takes \d+ arguments?)\b"
SLIGHT = ("", "digits", "small")
UNLESS_SQUARE = "raises unless all sizes are equal"
SOMEWHERE = "at some numbers"
SILENT = ("small", "saturated")
COARSE = 0.01  # where errors grow, those before the sixth digit is lost are near it, whatever luck they have
ALREADY_LOST = 2.0**12  # eps: so large an error before a bound shows that it grows; a few roundings are not
A_QUARTER = 0.25  # of a number, which shows it in formats that have few digits to lose

MANNERS: Mapping[str, tuple[str, str]] = {  # laws about the circumstances of a call: a pattern of messages, the words
    "leaves_its_inputs_alone": (r".* wrote to its argument (.*)", r"writes to \1"),
    "keeps_the_dtype": (r".* returned (\w+)$", r"returns \1"),
    "says_the_same_twice": (r".*", "remembers earlier calls"),
    "sees_what_changed_in_place": (r".*", "remembers earlier calls"),
    "owes_nothing_to_the_last_forward": (r".*", "owes its results to the last forward"),
    "takes_any_memory_layout": (r".*", "takes some memory layouts only"),
    "batch_equals_the_loop": (r".*", "wrong in batches"),
    "nan_in_nan_out": (r".*", "hides a NaN"),
    "infinities_give_what_the_definition_gives": (r".*", "wrong at an infinity"),
    "bears_another_thread": (r".*", "not for threads"),
}
ALONE = (  # about no value: a formula explains none
    "leaves_its_inputs_alone",
    "keeps_the_dtype",
    "says_the_same_twice",
    "bears_another_thread",
)
WRITES = "writes-input"
REMEMBERS = ("stale", "intermittent")  # causes: experiments with the calls have shown it
KINK = "kink"  # likewise: it is the formula, in whatever circumstances
DIGITS = ("rounding", "lower-precision")  # causes: experiments in two formats have shown it


class Break(NamedTuple):
    """From where on a result is no number, or no longer the right one: the words, and a case just beyond."""

    how: str
    where: str
    case: Case
    violation: Violation
    towards: tuple[str, float, bool] = ("", 0.0, False)  # an argument, the sign of its numbers, whether to 0
    bound: float = np.nan


class Measured:
    """One function, looked at where its numbers are ordinary, where they are not, and on the way between."""

    def __init__(self, trial: Trial, kind: str, dtype: np.dtype[Any]) -> None:
        self.law = LAW[kind]
        self.trial = replace(trial, laws={**trial.laws, self.law: EVERY_LAW[self.law]})
        self.p = Probe(trial.domain, trial.implementation, kind, dtype, time.perf_counter() + SECONDS)
        self.names = sorted(
            self.p.real, key=lambda name: name != "delta"
        )  # the cotangent first: often it is none of it
        self.eps, self.largest = float(ml_dtypes.finfo(dtype).eps), float(ml_dtypes.finfo(dtype).max)
        self.six = max(SIX_DIGITS, OF_SHORT * self.eps)
        self.scales: dict[tuple[Any, ...], float] = {}  # of results at ordinary numbers of some sizes
        self.wrong, self.unfit, self.never_ran, self.only_where = False, False, "", ""
        self.breaks: list[Break] = []
        self.seen: dict[str, str] = {}  # the ways in which values are wrong, and the part that each belongs to
        self.unstable: tuple[str, ...] = ()  # of range and digits what is not right
        self.looked = False  # further than the cases of the check
        self.lost = 0.0  # the largest relative error that is one of digits

    # ── Ordinary numbers ────────────────────────────────────────────────────────────────────────────────────────────

    def look_at_ordinary(self) -> None:
        """Whether it is wrong in the first six digits at ordinary numbers; whether it ever returns any."""
        cases = [self.ordinary(case) for case in self.p.ordinary()]
        seen = [self.violation(case) for case in cases]
        raised = _raised(seen)
        if len(raised) == len(seen):
            square = [self.violation(self.ordinary(case)) for case in self.p.square()[:2]]
            if len(self.p.letters) > 1 and len(_raised(square)) < len(square):
                self.only_where = UNLESS_SQUARE
            else:
                self.never_ran = raised[0].removeprefix("Unusable: ")
        hows = [self.how(v, case) for v, case in zip(seen, cases, strict=False)]
        self.wrong = any(how not in SLIGHT for how in hows)
        self.unfit = all(how == "unusable" or how.startswith("raises") for how in hows)
        for v, case, how in zip(seen, cases, hows, strict=False):
            if v and how == "digits":
                self._lose(v, case)

    def other_form(self) -> tuple[str, str] | None:
        """Where it is right, and the option, if it is for rows of examples, or for another format, and no others."""
        if self.p.kind in takers(self.trial, self.p.dtype):
            return "takes rows only", "batch='only'"
        raises = self.never_ran and UNREADABLE not in self.never_ran
        for name, dtype in reversed(shorter_than(self.eps)) if raises else ():
            other = Measured(self.trial, self.p.kind, dtype)
            with suppress(OutOfTime):
                if not any(other.violation(other.ordinary(case)) for case in other.p.ordinary()):
                    return f"takes {name} only", f"dtypes={name!r}"
        return None

    def ordinary(self, case: Case) -> Case:
        """A case with all its numbers of ordinary size, but 0."""

        def near(a: Any) -> Any:
            b = a.astype(np.float64)
            return np.where(b == 0, b, np.copysign(np.clip(np.abs(b), *ORDINARY), b)).astype(a.dtype)

        return self.p.at(case, **{name: near(self.p.array(case, name)) for name in {*self.p.real, "delta"}})

    def violation(self, case: Case) -> Violation | None:
        self.p.in_time()
        return self.trial.first(case, self.law)

    def how(self, v: Violation | None, case: Case) -> str:
        """How a result is wrong: as NaN, infinity, an exception, in its digits, and so on; nothing if it is not."""
        if v is None:
            return ""
        if v.actual is None or v.expected is None:
            raised = re.search(r"\b(raised \w+)", v.message)
            return raised[1].replace("raised", "raises") if raised else "unusable"
        if not np.isfinite(v.actual):
            return "NaN" if np.isnan(v.actual) else "infinity"
        if not np.isfinite(v.expected):
            return "a number where none is right"
        arrays = v.claim[1:4] if isinstance(v.claim, Close) else (v.actual, v.expected, 0.0)
        actual, expected, bound = (np.asarray(a, np.float64) for a in arrays)
        with np.errstate(all="ignore"):
            error = np.where(np.isfinite(bound), np.abs(actual - expected), 0.0)
        off = error > self.six * np.abs(expected)
        if not np.any(off):
            return "digits"
        scale = self.scale_at(case)
        if not np.any(off & (error > self.six * scale)):  # beside results at ordinary numbers
            underflow = v.actual == 0 != v.expected or max(abs(v.actual), abs(v.expected)) < self.eps**2 * scale
            return "small" if underflow else "digits"  # a rounding leaves more than that
        return "saturated" if abs(v.actual) in (0.0, 1.0, self.largest) else "number"

    def scale_at(self, case: Case) -> float:
        """How large results are at ordinary numbers of the sizes of a case, and with its cotangent."""
        sizes = tuple(self.p.sizes(case).items())
        if sizes not in self.scales:
            try:
                truths = self.p.truth(self.near(case))
            except OutOfTime:  # as large as at other sizes
                truths = [np.asarray(max(self.scales.values(), default=1.0))]
            self.scales[sizes] = max((float(np.abs(t).max(initial=0.0)) for t in truths), default=0.0)
        size = 1.0 if self.p.kind == "forward" else float(np.abs(case.delta.astype(np.float64)).max(initial=0.0))
        return self.scales[sizes] * max(size, 1.0)

    def near(self, case: Case) -> Case:
        """Ordinary numbers of the sizes of a case."""
        return self.ordinary(self.p.at(self.p.case(dict(self.p.sizes(case)), 1)))

    # ── Parts ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def part_of(self, law: str, violation: Violation, case: Case, cause: str) -> str:
        """The part of the verdict that a failure belongs to."""
        raised = self.how(violation, case).startswith("raises")
        if cause in REMEMBERS or (law in ALONE and not raised) or (cause == WRITES and not self.wrong):
            return "manners"
        if cause == NOISE and not self.wrong:
            if violation.actual is None or law == "says_the_same_twice":
                return "manners"
            self._lose(violation, case)
            return "digits"
        if cause in DIGITS and not self.wrong:
            self._lose(violation, case)
            return "digits"
        if law == "masks_count_for_nothing":
            return "formula" if self.wrong else "range"
        try:
            if law in MANNERS:
                return "formula" if cause == KINK else self._of_circumstances(violation, case)
            return self._of_values(law, violation, case)
        except OutOfTime:
            return self._at_a_glance(violation, case)

    def _at_a_glance(self, violation: Violation, case: Case) -> str:
        how = self.how(violation, case)
        if self.wrong or how in ("number", "unusable"):
            return "formula"
        return "digits" if how == "digits" else "range"

    def _of_circumstances(self, violation: Violation, case: Case) -> str:
        """Of a law about the circumstances of a call: what is as wrong without them is the same fault."""
        if self.wrong:
            return "formula"
        how, plain = self.how(violation, case), self.violation(case)
        for delta, *args in () if plain else violation.at:  # the law calls it at other numbers
            other = replace(case, args=tuple(args), delta=delta)
            plain = self.violation(other)
            if plain is not None and self.seen:  # by values: it is what these show
                return next(iter(self.seen.values()))
            if plain is not None:
                case = other
                break
        if "formula" in self.seen.values() and self.how(self.violation(near := self.near(case)), near) not in SLIGHT:
            return "formula"  # at these sizes
        if "hides a NaN" in violation.message:
            return "manners" if plain is None else self._of_values(self.law, plain, case)
        if plain is not None and (plain.actual is None) == (violation.actual is None):
            return self._of_values(self.law, plain, case)
        return "manners" if how == "digits" else self.seen.get(how, "manners")  # as wrong as without them

    def _of_values(self, law: str, violation: Violation, case: Case) -> str:
        if self.wrong:
            return "formula"
        how = self.how(violation, case)
        part = self.seen[how] = self._of_this(law, violation, case, how)
        return part

    def _of_this(self, law: str, violation: Violation, case: Case, how: str) -> str:
        if how == "digits":
            self._lose(violation, case)
            return "digits"
        if how == "unusable":
            return "formula"
        if law != self.law and self.how(self.violation(case), case) != how:  # of several calls, or of another number
            return self._at_a_glance(violation, case)
        if how in (one.how for one in self.breaks):
            return "range"
        found, gradual = self.way(case, how)
        lost = found is not None and how == "small" and found.where == SOMEWHERE  # among numbers that are right
        if found is None or lost or (gradual and how in ("small", "saturated", "number")):
            if found is None:
                return "formula"
            self._lose(violation, case)
            return "digits"
        if how == "number" or (how in SILENT and found.bound == 0):  # a 0 is no range that is left
            usual = ORDINARY[0] <= abs(found.bound) <= ORDINARY[1]
            self.only_where = "" if usual or found.where == SOMEWHERE else f"wrong {found.where}"
            return "formula"
        self.breaks.append(found)
        return "range"

    def _lose(self, v: Violation, case: Case) -> None:
        error = relative_error(v)
        if v.actual is not None and v.expected == 0:
            error = abs(v.actual) / (self.scale_at(case) or 1.0)
        self.lost = max(self.lost, min(error, 1.0))

    def digits(self) -> str:
        """How many digits are right where most are lost."""
        right, all_of_them = (round(-np.log10(e) - 0.5) if e else 0 for e in (self.lost, self.eps / 4))
        return f"{max(right, 0)} of {all_of_them} right at worst"

    # ── The way from ordinary numbers to those where it is wrong ────────────────────────────────────────────────────

    def look_further(self) -> None:
        """Where each argument grows, does the function break in a way that no case has shown?"""
        if self.looked:
            return
        self.looked = True
        try:
            usual = self.ordinary(self.p.ordinary()[0])
            for name in (name for name in self.names if name != "delta"):
                for sign, size in ((sign, size) for sign in (1, -1) for size in LADDER if size < self.largest):
                    a = np.abs(self.p.array(usual, name).astype(np.float64))
                    grown = a * (sign * size / max(float(np.abs(a).max(initial=0.0)), 1.0))
                    case = self.p.at(usual, **{name: grown.astype(usual.dtype)})
                    how = self.how(self.violation(case), case)
                    known = [(one.how, *one.towards) for one in self.breaks]
                    if how in ("", "digits", "number", "unusable") or (how, name, sign, False) in known:
                        continue
                    found, gradual = self.way(case, how)
                    if found and (found.how, *found.towards) not in known:
                        self.breaks += [] if gradual and how in SILENT else [found]
        except OutOfTime:
            pass
        self.seen |= {one.how: "range" for one in self.breaks}
        self.breaks.sort(key=lambda one: (*(one.how != how for how in ("NaN", "infinity")), one.towards[1] < 0))

    def range(self) -> str:
        """Where it breaks, in words: `NaN below -709.8, 0 where another number is right below -354.9`."""
        places: dict[str, list[str]] = {}
        for one in self.breaks:
            words = f"{one.violation.actual:.3g} where another number is right" if one.how in SILENT else one.how
            places.setdefault(words, []).append(one.where)
        told = [f"{how} {' and '.join(dict.fromkeys(where[:2]))}".strip() for how, where in places.items()]
        return ", ".join(told[:SAID])

    def way(self, case: Case, how: str) -> tuple[Break | None, bool]:
        """From where on, between ordinary numbers and a case, it is wrong in this way, and whether errors grow before.

        None if it is wrong at ordinary numbers of these sizes, too.
        """

        def bad(at: Case) -> bool:
            return self.how(self.violation(at), at) == how

        near = self.near(case)
        if self.how(self.violation(near), near) not in SLIGHT:
            return None, False
        far = self._plainer(case, near, bad)
        start = self.p.at(
            far, **{name: _signed(self.p.array(near, name), self.p.array(far, name)) for name in self.names}
        )

        def between(t: float) -> Case:
            return self.p.at(far, **{n: _between(self.p.array(start, n), self.p.array(far, n), t) for n in self.names})

        entry = self._entry(start, far)
        violation = self.violation(far)
        if violation is None:
            return None, False
        if entry is None or bad(start):
            return Break(how, SOMEWHERE, far, violation, bound=0.0), False
        low, high = 0.0, 1.0
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (low, middle) if bad(between(middle)) else (middle, high)
        at = between(high) if bad(between(high)) else far
        name, k = entry
        first, bound = (float(self.p.array(c, name).flat[k]) for c in (start, at))
        earlier = self._before(at, name, first, bound)
        before = self.violation(earlier) if bound else None
        if (
            how == "number" and before is not None and relative_error(before) > COARSE
        ):  # the bound is another argument's
            return Break(how, SOMEWHERE, far, violation, bound=0.0), False
        grows = before is not None and relative_error(before) > min(ALREADY_LOST * self.eps, A_QUARTER)
        towards = name, float(np.sign(bound)), abs(bound) < abs(first)
        return Break(how, self._since(name, first, bound), at, self.violation(at) or violation, towards, bound), grows

    def _before(self, at: Case, name: str, first: float, bound: float) -> Case:
        """A case a little closer to ordinary numbers than one at a bound."""
        by = BEFORE if abs(bound) > abs(first) else 1 / BEFORE
        return self.p.changed(at, name, lambda a: (a.astype(np.float64) * by).astype(a.dtype))

    def _plainer(self, far: Case, near: Case, bad: Callable[[Case], bool]) -> Case:
        """`far`, with every number made ordinary that need not be what it is, and with the others alike."""
        for name in self.names:
            a, usual = self.p.array(far, name), self.p.array(near, name)
            usual = np.ones_like(a) if name == "delta" else usual
            alike = sorted(set(a.ravel()[:FEW].tolist()), key=lambda v: abs(np.log(abs(v))) if v else np.inf)
            candidates = [usual, *(np.full_like(a, v) for v in alike)]
            found = next((at for b in candidates if bad(at := self.p.at(far, **{name: b}))), None)
            if found is not None:
                far = found
                continue
            for k in range(usual.size if usual.size <= FEW else 0):
                changed = self.p.array(far, name).copy()
                changed.flat[k] = usual.flat[k]
                candidate = self.p.at(far, **{name: changed})
                far = candidate if bad(candidate) else far
        return far

    def _entry(self, near: Case, far: Case) -> tuple[str, int] | None:
        """The argument and the entry that change most on the way."""
        best, entry = 0.0, None
        for name in self.names:
            a, b = (self.p.array(case, name).astype(np.float64) for case in (near, far))
            if a.shape == b.shape and a.size:
                with np.errstate(all="ignore"):
                    change = np.abs(np.log(np.abs(b)) - np.log(np.abs(a)))
                change = np.where(np.isnan(change) | (b == a), 0.0, change).ravel()
                k = int(np.argmax(change))
                best, entry = (float(change[k]), (name, k)) if change[k] > best else (best, entry)
        return entry

    def _since(self, name: str, first: float, bound: float) -> str:
        """`from 354.9`, `below -709.8`, `at inf`, `from x = 1e-309 towards 0`."""
        of = f"{name} = " if name == "delta" or len([n for n in self.names if n != "delta"]) > 1 else ""
        if bound == 0:
            return f"at {name} = 0"
        if abs(bound) < abs(first):
            return f"from {of}{shown(bound)} towards 0"
        word = "at" if np.isinf(bound) else "from" if bound > 0 else "below"
        return f"{word} {of}{shown(bound)}"

    def of_a_law(self, law: str, own: Mapping[str, tuple[Violation, Case]]) -> Break:
        """What is said of a range that no way leads to."""
        violation, case = own[law]
        how = "NaN where a logit is -inf" if law == "masks_count_for_nothing" else self.how(violation, case)
        return Break(how, "" if law == "masks_count_for_nothing" else SOMEWHERE, case, violation)

    def hint(self, one: Break) -> tuple[str, str]:
        """A cause and a sentence, where no number comes from some size on; of anything else the verdict says enough."""
        if one.how in SILENT or not abs(one.bound) > ORDINARY[1]:
            return "", ""
        where = one.where.replace("from ", "from about ").replace("below ", "below about ")
        what = re.split(r"\W", one.violation.what, maxsplit=1)[0] or self.p.kind
        verb = one.how if one.how.startswith("raises") else f"is {one.how}"
        if np.isinf(one.bound):
            return "infinity", f"{what} {verb} {where}: 0 · ∞, or ∞ - ∞, is on the way"
        return "overflow", f"{what} {verb} {where}: something on the way leaves the range of {self.p.dtype.name}"


def _raised(seen: Sequence[Violation | None]) -> list[str]:
    """What is told of results that never came."""
    return [v.message for v in seen if v and re.search(NOTHING, v.message)]


def relative_error(v: Violation) -> float:
    """The error as a part of what is right; 0 where there is none to be compared with."""
    if v.actual is None or not v.expected:
        return 0.0
    return abs(v.actual - v.expected) / abs(v.expected)


def shown(number: Any) -> str:
    """A bound, as people write it: four digits.

    >>> shown(354.8914), shown(-10000.7), shown(1.5e300)
    ('354.9', '-10000', '1.5e+300')
    """
    return f"{float(f'{float(number):.4g}'):g}"


def _signed(near: Any, far: Any) -> Any:
    """Numbers of the one size, with the signs of the other, and alike where the others are."""
    if near.shape != far.shape:
        return far
    a, b = near.astype(np.float64), far.astype(np.float64)
    a = np.full_like(a, a.flat[0]) if a.size and np.all(b == b.flat[0]) else a
    return np.copysign(a, b).astype(near.dtype)


def _between(near: Any, far: Any, t: float) -> Any:
    """Numbers on the way from one size to another, in equal ratios; a 0 comes at the end."""
    a, b = near.astype(np.float64), far.astype(np.float64)
    with np.errstate(all="ignore"):
        sizes = np.exp((1 - t) * np.log(np.abs(a)) + t * np.log(np.abs(b)))
        found = np.where(b == 0, a if t < 1 else b, np.where(a == b, b, np.copysign(sizes, b)))
    return (b if t >= 1 else found).astype(near.dtype)
