"""What a check found: every law that fails, at its smallest case, and what was tried."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from ..cases.case import Case
from ..laws.claims import Judged, Measure, Violation
from ..laws.failure import Failure, function_of
from ..laws.skipped import Skipped
from ..pictures.records import Picture
from .verdict import KINDS, NARROW, NEVER_RAN, NOISE, NOT_JUDGED, PARTS, RIGHT, STATES, WRONG, Verdict

NUMBERS = ("forward_equals_jax", "vjp_equals_jax_vjp", "jacobian_equals_jacrev")  # laws that compare with the truth
ABOUT_NO_VALUE = ("leaves_its_inputs_alone", "keeps_the_dtype")  # laws that no formula explains
RETURNS = "every_call_returns"  # a law that only whoever started the process can judge
HANGS, ENDS = "hangs", "ends-the-process"  # why one does not
FIELDS = (  # of a failure, as a machine reads them: numbers in decimal, and in hex where they are to be exact
    *("operation", "law", "argument", "message", "dtype", "where", "index", "actual", "expected", "ulp"),
    *("actual_hex", "expected_hex", "times_allowed", "rtol_needed", "cause", "hint", "reproduction"),
    *("function", "part", "accepts"),
)
CALLED = {"times_allowed": "times", "rtol_needed": "rtol"}  # in Python


@dataclass(frozen=True)
class Checked:
    """A law, and what it was tried on: cases, and how many numbers were compared."""

    law: str
    dtype: str
    cases: int = 0
    entries: int = 0
    worst: float = 0.0  # error, as a share of what is allowed
    failed: bool = False
    compared: Mapping[str, int] = field(default_factory=dict)  # numbers, by function; 0: it skipped every case

    def after(self, what: str, found: Judged) -> "Checked":
        """This, with one more case counted."""
        share, entries, kind = 0.0, 0, ""
        match found:
            case Measure():
                share, entries, kind = found.share, found.entries, function_of(what)
            case Violation():
                entries, kind = 1, function_of(what, found.message)
            case Skipped():
                kind = found.kind
        told = {kind: self.compared.get(kind, 0) + entries} if entries or isinstance(found, Skipped) else {}
        worst, failed = max(self.worst, share), self.failed or isinstance(found, Violation)
        cases, entries = self.cases + 1, self.entries + entries
        return Checked(self.law, self.dtype, cases, entries, worst, failed, {**self.compared, **told})

    @property
    def skipped(self) -> tuple[str, ...]:
        """The functions that skipped every case."""
        return tuple(kind for kind, entries in self.compared.items() if not entries)


@dataclass(frozen=True)
class Report:
    """What `check` found; it is truthy if all laws hold, and prints as text."""

    operation: str
    level: str
    dtypes: tuple[str, ...]
    seed: int
    failures: tuple[Failure, ...] = ()
    checks: tuple[Checked, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)
    missing: tuple[str, ...] = ()  # gradients that the vjp never gave, and so nobody judged
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)  # on each function that was given
    held: tuple[str, ...] = PARTS  # parts of the verdict that count
    asked: tuple[str, ...] = ()  # laws beside `NUMBERS` that were asked for by an option
    pictures: tuple[Picture, ...] = ()  # of causes, if they were asked for

    @property
    def verdict(self) -> str:
        """In a few words: right, right but for what was not given, or what each function is."""
        told = [f"{kind} {said.word}" for kind, said in self.verdicts.items()]
        if self.failures:
            return "; ".join(told) or "WRONG"
        if not self.passed:
            return self._nothing()
        return f"right, but {' and '.join(self.missing)} not given" if self.missing else "right"

    @property
    def word(self) -> str:
        """In a word or two, the worst that is said of a function: right, UNSTABLE, WRONG and so on."""
        worst = min(self.verdicts.values(), key=lambda said: STATES.index(said.state), default=Verdict())
        if self.passed or not self.holds:
            return "WRONG" if worst.state == RIGHT and not self.passed else worst.word
        return "NOTHING COMPARED"

    @property
    def counted(self) -> tuple[Failure, ...]:
        """The failures that the level holds against it."""
        return tuple(f for f in self.failures if f.part in (*self.held, ""))

    @property
    def holds(self) -> bool:
        """Nothing fails that the level asks for, if anything was compared."""
        words = [getattr(said, part) for said in self.verdicts.values() for part in self.held]
        return not self.counted and all(said == RIGHT or said.startswith(NOT_JUDGED) for said in words)

    @property
    def skipped(self) -> tuple[Checked, ...]:
        """What was asked for, and of which the functions, or one of them, skipped every case."""
        asked = [c for c in self.checks if c.law in (*NUMBERS, *self.asked)]
        tried = {(c.law, c.dtype) for c in asked}
        said_nothing = [Checked(*one) for one in product(self.asked, self.dtypes) if one not in tried]
        return (*(c for c in asked if c.skipped or not (c.entries or c.failed)), *said_nothing)

    @property
    def passed(self) -> bool:
        """Nothing fails that the level asks for, and of all that was asked for some number was compared."""
        compared = any(checked.entries for checked in self.checks if checked.law in NUMBERS)
        return self.holds and compared and not self.skipped

    def __bool__(self) -> bool:
        return self.passed

    def raise_on_failure(self) -> None:
        """`CheckFailed`, an `AssertionError`, unless the check passed."""
        __tracebackhide__ = True  # pytest shows the report and not this frame
        if not self.passed:
            raise CheckFailed(self)

    def to_dict(self) -> dict[str, Any]:
        keys = ("operation", "level", "dtypes", "seed", "passed", "missing", "seconds", "notes")
        checks = [
            {key: getattr(c, key) for key in ("law", "dtype", "cases", "entries", "worst", "failed", "skipped")}
            for c in self.checks
        ]
        found = {key: getattr(self, key) for key in keys}
        failures = [{key: getattr(f, CALLED.get(key, key)) for key in FIELDS} for f in self.failures]
        found |= {"word": self.word, "held": self.held, "causes": self.causes}
        missing = Verdict("missing", *[NOT_JUDGED] * len(PARTS))
        found["verdicts"] = {kind: self.verdicts.get(kind, missing).to_dict() for kind in KINDS}
        return {"schema": "backprop-check-2", **found, "failures": failures, "checks": checks}

    def to_json(self) -> str:
        """The report as JSON; infinities and NaN are written as texts."""
        return json.dumps(finite(self.to_dict()), indent=1, ensure_ascii=False)

    def __str__(self) -> str:
        """All of it: a line on each function, every fault with Python that shows it, and what was tried."""
        return "\n".join([*self._head(), *self._faults(full=True), *self._tried()])

    def summary(self) -> str:
        """What a person needs first: a line on each function, and each fault in a few."""
        untried = self._tried() if self.holds and not self.passed else []
        return "\n".join([*self._head(), *self._faults(full=False), *untried])

    @property
    def line(self) -> str:
        """The operation, the law and the cause of what is wrong, in a line.

        >>> from backprop_properties import check
        >>> check("square", vjp=lambda delta, x: x * delta).line
        'square: vjp equals jax vjp: dx is 1/2 times what is right, everywhere: a constant factor'
        """
        if not self.failures:
            return self._head()[0]
        (first, *_), *more = self.groups()
        law = first.law.replace("_", " ") + (f" ({first.dtype})" if first.dtype != "float64" else "")
        others = f" (and {len(more)} more cause{'s' * (len(more) > 1)})" if more else ""
        return " ".join(f"{self.operation}: {law}: {self._why(first)}{others}".split())  # somebody's words may be lines

    @property
    def causes(self) -> list[dict[str, Any]]:
        """Each fault once: the function, the part, the law that shows it best, and how many others see it."""
        return [
            {"function": f.function, "part": f.part, "law": f.law, "cause": f.cause, "hint": f.hint}
            | {"dtype": f.dtype, "laws": list(dict.fromkeys(one.law for one in (f, *more)))}
            for f, *more in self.groups()
        ]

    def _nothing(self) -> str:
        """`nothing was compared`, or by which laws, in which dtypes, if it was by others."""
        if not any(c.entries for c in self.checks if c.law in NUMBERS):
            return "nothing was compared"
        laws = [
            f"{c.law.replace('_', ' ')} ({', '.join([*c.skipped * bool(c.entries), c.dtype])})" for c in self.skipped
        ]
        return f"nothing was compared of what was asked for: {', '.join(laws)}"

    def _head(self) -> list[str]:
        """What is the matter, in one line; then a line on each function of several, or of several parts."""
        if not self.failures:
            return [f"{self.operation}: {self.verdict}"]
        first, passed = self.groups()[0][0], ", which is not asked for" if self.holds else ""
        state = self.verdicts.get(first.function, Verdict("wrong"))
        head = f"{self.operation}: {first.function or 'it'} {state.word}{passed}: {self._why(first)}"
        told = {kind: said for kind, said in self.verdicts.items() if said.state not in NEVER_RAN or said != state}
        lines = [head, *(f"  {kind}: {said}" for kind, said in told.items())]
        return [*lines, f"  {self._nothing()}"] if self.skipped else lines

    def _why(self, first: Failure) -> str:
        """The cause of what a failure shows, as far as it is known."""
        state = self.verdicts.get(first.function, Verdict("wrong"))
        if state.state in NEVER_RAN:
            return re.sub(rf"^{first.function} ", "", state.formula)
        if state.state == "unstable":
            parts = "; ".join(f"{part}: {getattr(state, part)}" for part in PARTS[1:3] if getattr(state, part) != RIGHT)
            return f"{parts}; {first.hint}" if first.hint and first.part == "digits" else parts
        if state.state == WRONG and state.formula != WRONG and not first.hint:
            return f"{state.formula}: {first.message}"
        if first.part == "manners" and state.manners != RIGHT:
            return state.manners
        return first.hint or first.message

    def _faults(self, *, full: bool) -> list[str]:
        """A paragraph for each cause; of what never ran, its line says all."""
        lines: list[str] = []
        for k, (first, *more) in enumerate(self.groups()):
            said = self.verdicts.get(first.function, Verdict())
            never = said.state in NEVER_RAN or (said.state == NARROW and said.formula == first.hint)
            if never and not full:
                continue
            known = first.hint in self._head()[0]
            text = str(first) if full else first.summary(hint=not known)
            lines += [*[""] * (full or bool(k)), text]
            if more and not never:
                names = [law.replace("_", " ") for law in dict.fromkeys(f.law for f in more)]
                which = f": {', '.join(names)}" if full else ""
                lines += [f"  and {len(names)} more law{'s see' if len(names) > 1 else ' sees'} it{which}"]
        return lines

    def _tried(self) -> list[str]:
        """What was tried, and what was not."""
        tried = f"{sum(c.cases for c in self.checks):,} checks on {sum(c.entries for c in self.checks):,} numbers"
        lines = [f"  {tried} ({self.level}, {', '.join(self.dtypes)}, seed {self.seed})"]
        return [*[""] * bool(self.failures), *lines, *(f"  {note}" for note in self.notes)]

    def groups(self) -> list[list[Failure]]:
        """The failures by cause, each with those that follow from it.

        One formula explains all that is wrong with the values of a function in whatever circumstances, as with its
        range and its digits; of manners, each law is about another fault, unless they have a cause in common.
        """
        found: dict[tuple[str, ...], list[Failure]] = {}
        wrong = {(f.dtype, f.function) for f in self.failures if f.part == "formula"}
        for f in self.failures:
            of, own = (f.dtype, f.function), "values"
            if f.part == "formula" or (of in wrong and f.law not in ABOUT_NO_VALUE):
                own = ""
            elif f.part == "manners" or f.cause == NOISE:
                own = f.cause or f.law
            found.setdefault((*of, own), []).append(f)
        return list(found.values())


def no_return(
    operation: str,
    names: tuple[str, ...],
    options: Mapping[str, Any],
    message: str,
    call: Any,
    name: str,
    source: str = "",
    *,
    slow: bool = False,
) -> Report:
    """The report of a check that ended with a `call` of the function `name`, which crashed, exited or hung; `names` are
    the arguments, and `source` imports the function.
    """
    args = call.args[-len(names) :]
    floats = next((a.dtype for a in args if a.dtype.kind not in "iub"), np.dtype(np.float64))
    delta = call.args[0] if call.kind == "vjp" else np.zeros((), floats)
    failure = Failure(
        operation,
        RETURNS,
        "u" if call.kind == "forward" else "",
        message,
        case=Case(args, delta, ()),
        arguments=names,
        functions={call.kind: name},
        source=source,
        call=call.kind,
        cause=HANGS if slow else ENDS,
        part="formula",
    )
    tried = Checked(RETURNS, failure.dtype, call.number, call.number, failed=True)
    level, dtypes = options.get("level", "standard"), tuple(options.get("dtypes", ("float64",)))
    verdicts = {call.kind: Verdict("does not return", message, *[NOT_JUDGED] * 3)}
    return Report(operation, level, dtypes, options.get("seed", 0), (failure,), (tried,), verdicts=verdicts)


class CheckFailed(AssertionError):
    """An implementation broke a law; `report` is the whole report, `failures` what failed."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report, self.failures = report, report.failures


def finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: they are written as texts."""
    if isinstance(value, float) and not np.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value
