"""What a check found: every law that fails, at its smallest case, and what was tried."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from backprop_reference import OPERATIONS

from ..cases.case import Case
from ..laws.claims import Measure, Violation
from ..laws.failure import Failure
from .python_files import SUFFIXES, import_of, python_name

NUMBERS = ("forward_equals_jax", "vjp_equals_jax_vjp", "jacobian_equals_jacrev")  # laws that compare with the truth
RETURNS = "every_call_returns"  # a law that only whoever started the process can judge
FIELDS = (  # of a failure, as a machine reads them: numbers in decimal, and in hex where they are to be exact
    *("operation", "law", "argument", "message", "dtype", "where", "index", "actual", "expected", "ulp"),
    *("actual_hex", "expected_hex", "times_allowed", "rtol_needed", "cause", "hint", "reproduction"),
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

    def after(self, found: Measure | Violation) -> "Checked":
        """This, with one more case counted."""
        if isinstance(found, Violation):
            return replace(self, cases=self.cases + 1, entries=self.entries + 1, failed=True)
        worst, entries = max(self.worst, found.share), self.entries + found.entries
        return replace(self, cases=self.cases + 1, entries=entries, worst=worst)


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

    @property
    def passed(self) -> bool:
        """No law fails, and some number was compared with the right one."""
        return not self.failures and any(checked.entries for checked in self.checks if checked.law in NUMBERS)

    def __bool__(self) -> bool:
        return self.passed

    def raise_on_failure(self) -> None:
        """`CheckFailed`, an `AssertionError`, unless the check passed."""
        __tracebackhide__ = True  # pytest shows the report and not this frame
        if not self.passed:
            raise CheckFailed(self)

    def to_dict(self) -> dict[str, Any]:
        keys = ("operation", "level", "dtypes", "seed", "passed", "seconds", "notes")
        checks = [
            {key: getattr(c, key) for key in ("law", "dtype", "cases", "entries", "worst", "failed")}
            for c in self.checks
        ]
        found = {key: getattr(self, key) for key in keys}
        failures = [{key: getattr(f, CALLED.get(key, key)) for key in FIELDS} for f in self.failures]
        return {"schema": "backprop-check-1", **found, "failures": failures, "checks": checks}

    def to_json(self) -> str:
        """The report as JSON; infinities and NaN are written as texts."""
        return json.dumps(finite(self.to_dict()), indent=1, ensure_ascii=False)

    def __str__(self) -> str:
        """The first failure whole, the others in a line each, then what was tried."""
        tried = f"{sum(c.cases for c in self.checks):,} checks on {sum(c.entries for c in self.checks):,} numbers"
        head = f"{self.operation} ({self.level}, {', '.join(self.dtypes)}, seed {self.seed}): "
        notes = [f"  {note}" for note in self.notes]
        if not self.failures:
            verdict = f"right: {tried}" if self.passed else "nothing was compared"
            return "\n".join([head + verdict, *notes])
        laws = len({failure.law for failure in self.failures})
        (first, *more), *others = self._grouped()
        lines = [f"{head}WRONG, {laws} {'law fails' if laws == 1 else 'laws fail'}; {tried}", "", str(first)]
        if more:
            names = [f.law.replace("_", " ") for f in (first, *more)]
            lines += ["", f"the same breaks {len(names)} laws: {', '.join(names)}"]
        if others:
            lines += ["", "also:"]
        for f, *more in others:
            and_more = f" (and {len(more)} more with this message)" if more else ""
            lines.append(f"  {f.law.replace('_', ' ')}{and_more}: {f.message}")
        return "\n".join([*lines, "", *notes])

    def _grouped(self) -> list[list[Failure]]:
        """Failures grouped by message, in order; messages that name no wrong entry may differ in their numbers."""
        groups: dict[str, list[Failure]] = {}
        for f in self.failures:
            key = f.message if f.actual is not None else re.sub(r"\d+", "#", f.message)
            groups.setdefault(f"{f.dtype} {key}", []).append(f)
        return list(groups.values())


def no_return(operation: str, options: Mapping[str, Any], message: str, call: Any, path: Path) -> Report:
    """The report of a check that ended with a `call` which crashed, exited or hung."""
    names = OPERATIONS[operation].arguments
    args = call.args[-len(names) :]
    delta = call.args[0] if call.kind == "vjp" else np.zeros((), args[0].dtype)
    name = python_name(operation) + SUFFIXES[call.kind]
    failure = Failure(
        operation,
        RETURNS,
        "u" if call.kind == "forward" else "",
        message,
        case=Case(args, delta, ()),
        functions={call.kind: name},
        source=import_of(path, [name]),
        call=call.kind,
    )
    tried = Checked(RETURNS, failure.dtype, call.number, call.number, failed=True)
    level, dtypes = options.get("level", "standard"), tuple(options.get("dtypes", ("float64",)))
    return Report(operation, level, dtypes, options.get("seed", 0), (failure,), (tried,))


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
