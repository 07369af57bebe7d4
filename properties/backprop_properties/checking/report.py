"""What a check found: every law that fails, at its smallest case, and what was tried."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from backprop_reference import OPERATIONS

from ..cases.case import Array, Case
from ..laws.claims import Measure, Violation
from .python_files import SUFFIXES, import_of, python_name

FEW, FEW_OTHERS = 60, 20  # entries that are written out, and those of a long array that differ from the others
NUMBERS = ("forward_equals_jax", "vjp_equals_jax_vjp", "jacobian_equals_jacrev")  # laws that compare with the truth
RETURNS = "every_call_returns"  # a law that only whoever started the process can judge
WIDTH = 76  # of code


@dataclass(frozen=True)
class Failure:
    """A law that an implementation breaks, at the smallest case found.

    `argument` is the one whose gradient or Jacobian is wrong, or "u" for the value; `times` is how many times the
    allowed error the actual one is, and `rtol` the relative tolerance that the worst entry would need. `hint` is a
    sentence where the pattern of the error tells its cause, and `cause` its short name; otherwise both are empty.
    `options` are the level and the domain of the check, where they are not the usual ones; `source` brings the
    functions, if they are from a file; `call` is the function that never returned, if that is what happened.
    """

    operation: str
    law: str
    argument: str
    message: str
    dtype: str
    case: Case
    functions: Mapping[str, str]  # forward, vjp, jacobian: the names to write in the reproduction
    index: tuple[int, ...] | None = None
    actual: float | None = None
    expected: float | None = None
    ulp: float | None = None
    times: float | None = None
    where: str = ""
    cause: str = ""
    hint: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    call: str = ""

    @property
    def rtol(self) -> float | None:
        """The relative tolerance with which the worst entry would pass."""
        if self.actual is None or self.expected is None:
            return None
        error = abs(self.actual - self.expected)
        return error / abs(self.expected) if self.expected and np.isfinite(error) else np.inf

    @property
    def reproduction(self) -> str:
        """Python that shows the failure when pasted after the functions, to the exact bits."""
        names = OPERATIONS[self.operation].arguments
        arrays = dict(zip(names, self.case.args, strict=True)) | {"delta": self.case.delta}
        if self.call:
            given = ["delta", *names] if self.call == "vjp" else names
            arrays = {name: arrays[name] for name in given}
            last = f"{self.functions[self.call]}({', '.join(given)})"
        else:
            using = [f"{kind}={name}" for kind, name in self.functions.items()]
            using += [f"{key}={value!r}" for key, value in self.options.items()]
            last = f"replay({self.operation!r}, {self.law!r}, {', '.join(['delta', *names, *using])})"
        comment = [] if self.call else ["# raises what is wrong, and returns None as soon as it is right"]
        lines = [*(line for name, a in arrays.items() for line in assignments(name, a)), *comment, last]
        imports = {
            "import base64": any("base64" in line for line in lines),
            "import ml_dtypes": self.dtype == "bfloat16",
            "import numpy as np": True,
            "from backprop_properties import replay": not self.call,
            self.source: bool(self.source),
        }
        return "\n".join([*(line for line, wanted in imports.items() if wanted), "", *map(_wrapped, lines)])

    def _by_how_much(self) -> str:
        actual, expected, times = (
            float(v) if v is not None else np.nan for v in (self.actual, self.expected, self.times)
        )
        if not np.isfinite(actual - expected):
            return "no tolerance would pass it"
        if expected == 0:
            allowed = (
                f"off by {abs(actual):.3g}, {times:.3g} times what is allowed" if np.isfinite(times) else "exactly 0"
            )
            return f"{allowed} is expected: no relative tolerance would pass it".replace("allowed is", "allowed; 0 is")
        return (
            f"off by {self.ulp:.3g} ULP, {times:.3g} times what is allowed; it would pass with a relative "
            f"tolerance of {self.rtol:.2g}"
        )

    def to_dict(self) -> dict[str, Any]:
        """What a machine reads: numbers in decimal, and in hex where they are to be exact."""
        keys = ("operation", "law", "argument", "message", "dtype", "where", "index", "actual", "expected", "ulp")
        exact = {
            f"{key}_hex": None if value is None else float(value).hex()
            for key, value in (("actual", self.actual), ("expected", self.expected))
        }
        more = {"times_allowed": self.times, "rtol_needed": self.rtol, "cause": self.cause, "hint": self.hint}
        return {key: getattr(self, key) for key in keys} | exact | more | {"reproduction": self.reproduction}

    def __str__(self) -> str:
        lines = [f"{self.operation}: {self.law.replace('_', ' ')} fails ({self.dtype})", f"  {self.message}"]
        if self.actual is not None and self.expected is not None:
            lines.append(f"  actual   {float(self.actual)!r} = {float(self.actual).hex()}")
            lines.append(f"  expected {float(self.expected)!r} = {float(self.expected).hex()}")
            lines.append(f"  {self._by_how_much()}")
        if self.where:
            lines.append(f"  {self.where}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join([*lines, "", *("    " + line for line in self.reproduction.splitlines())])


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
        failures = [failure.to_dict() for failure in self.failures]
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
    dtype = args[0].dtype.name
    name = python_name(operation) + SUFFIXES[call.kind]
    failure = Failure(
        operation,
        RETURNS,
        "u" if call.kind == "forward" else "",
        message,
        dtype,
        Case(args, delta, ()),
        {call.kind: name},
        source=import_of(path, [name]),
        call=call.kind,
    )
    tried = Checked(RETURNS, dtype, call.number, call.number, failed=True)
    level, dtypes = options.get("level", "standard"), tuple(options.get("dtypes", ("float64",)))
    return Report(operation, level, dtypes, options.get("seed", 0), (failure,), (tried,))


class CheckFailed(AssertionError):
    """An implementation broke a law; `report` is the whole report, `failures` what failed."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report, self.failures = report, report.failures


def assignments(name: str, a: Array) -> list[str]:
    """Lines of Python that make an array to the bit: of all entries, of the few that differ from the rest, or of bytes.

    >>> assignments("x", np.array([0.1, np.inf], np.float32))
    ['x = np.array([0.10000000149011612, np.inf], np.float32)']
    >>> assignments("x", np.where(np.arange(99) == 70, 2.0, 1.0))
    ['x = np.full((99,), 1.0, np.float64)', 'x[70] = 2.0']
    """
    dtype = "ml_dtypes.bfloat16" if a.dtype.name == "bfloat16" else f"np.{a.dtype.name}"
    if not a.size:
        return [f"{name} = np.zeros({a.shape}, {dtype})"]
    if a.size <= FEW:
        return [f"{name} = np.array({_python(a.astype(np.float64).tolist())}, {dtype})"]
    bits = np.ascontiguousarray(a).view(f"u{a.dtype.itemsize}")  # 0.0 and -0.0 are not the same
    values, counts = np.unique(bits, return_counts=True)
    usual = values[np.argmax(counts)]
    others = np.argwhere(bits != usual).tolist()
    if len(others) > FEW_OTHERS:
        data = base64.b64encode(a.tobytes()).decode()
        return [f'{name} = np.frombuffer(base64.b64decode("{data}"), {dtype}).reshape({a.shape}).copy()']
    full = _python(float(usual.view(a.dtype)))
    changed = [f"{name}{index} = {_python(float(a[tuple(index)]))}" for index in others]
    return [f"{name} = np.full({a.shape}, {full}, {dtype})", *changed]


def _python(numbers: Any) -> str:
    return repr(numbers).replace("inf", "np.inf").replace("nan", "np.nan")


def _wrapped(line: str) -> str:
    """A line of code broken after commas, which are all in parentheses; bytes stay whole.

    >>> print(_wrapped("x = np.array([" + ", ".join(["0.25"] * 14) + "])"))
    x = np.array([0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25,
        0.25, 0.25, 0.25, 0.25])
    """
    lines = [""]
    for part in [line] if "base64" in line else re.split(r"(?<=,) ", line):
        if lines[-1] and len(lines[-1]) + len(part) >= WIDTH:
            lines.append("   ")
        lines[-1] += f" {part}" if lines[-1] else part
    return "\n".join(lines)


def finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: they are written as texts."""
    if isinstance(value, float) and not np.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value
