"""A failure: a law that an implementation breaks, and Python that shows it."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backprop_reference import OPERATIONS

from ..cases.case import Array, Case
from .claims import Violation

BATCH = "a_batch_equals_jax"  # the law of a failure that no example of a batch shows on its own
FEW, FEW_OTHERS = 60, 20  # entries that are written out, and those of a long array that differ from the others
WIDTH = 76  # of code


@dataclass(frozen=True)
class Failure:
    """A law that an implementation breaks, at the smallest case found.

    `what` is the quantity that is wrong: the value `u`, a cotangent `dx`, a Jacobian `J_x`, or a sentence that begins
    with it. `times` is how many times the allowed error the actual one is. A law of the chain rule has no case: it
    draws its own, from `seed`.

    Of somebody's functions: `functions` are their names by kind (forward, vjp, jacobian), and `source` brings them, if
    they are from a file; `options` are the level and the domain of the check, where they are not the usual ones; `call`
    is the function that never returned, if that is what happened. `where` says which layer of a network is wrong;
    `hint` is a sentence where the pattern of the error tells its cause, and `cause` its short name.
    """

    operation: str
    law: str
    what: str
    message: str
    index: tuple[int, ...] | None = None
    actual: float | None = None
    expected: float | None = None
    ulp: float | None = None
    bound: float | None = None
    times: float | None = None
    case: Case | None = None
    seed: int = 0
    functions: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    call: str = ""
    where: str = ""
    cause: str = ""
    hint: str = ""

    @property
    def argument(self) -> str:
        """The argument whose gradient or Jacobian is wrong, or "u" for the value."""
        quantity = self.what.split(" ")[0].removeprefix("J_")
        of_a_gradient = quantity[:1] == "d" and quantity[1:] in OPERATIONS[self.operation].arguments
        return quantity[1:] if of_a_gradient else quantity

    @property
    def dtype(self) -> str:
        return self.case.dtype.name if self.case else "float64"

    @property
    def actual_hex(self) -> str | None:
        return None if self.actual is None else float(self.actual).hex()

    @property
    def expected_hex(self) -> str | None:
        return None if self.expected is None else float(self.expected).hex()

    @property
    def rtol(self) -> float | None:
        """The relative tolerance with which the worst entry would pass."""
        if self.actual is None or self.expected is None:
            return None
        error = abs(self.actual - self.expected)
        return error / abs(self.expected) if self.expected and np.isfinite(error) else np.inf

    @property
    def reproduction(self) -> str:
        """Python that shows the failure when pasted (after somebody's functions), to the exact bits."""
        if self.case is None:
            return f"from backprop_properties import replay_chain_law\nreplay_chain_law({self.law!r}, {self.seed})"
        names = OPERATIONS[self.operation].arguments
        arrays = dict(zip(names, self.case.args, strict=True)) | {"delta": self.case.delta}
        replay = "replay_batch" if self.law == BATCH else "replay"
        if self.call:
            given = ["delta", *names] if self.call == "vjp" else names
            arrays = {name: arrays[name] for name in given}
            last = f"{self.functions[self.call]}({', '.join(given)})"
        else:
            law = [] if self.law == BATCH else [repr(self.law)]
            using = [f"{kind}={name}" for kind, name in self.functions.items()]
            using += [f"{key}={value!r}" for key, value in self.options.items()]
            last = f"{replay}({', '.join([repr(self.operation), *law, 'delta', *names, *using])})"
        yours = bool(self.functions)
        comment = ["# raises what is wrong, and returns None as soon as it is right"] * (yours and not self.call)
        lines = [*(line for name, a in arrays.items() for line in assignments(name, a)), *comment, last]
        imports = {
            "import base64": any("base64" in line for line in lines),
            "import ml_dtypes": self.dtype == "bfloat16",
            "import numpy as np": True,
            f"from backprop_properties import {replay}": not self.call,
            self.source: bool(self.source),
        }
        return "\n".join([*(line for line, wanted in imports.items() if wanted), *[""] * yours, *map(_wrapped, lines)])

    def __str__(self) -> str:
        lines = [f"{self.operation}: {self.law.replace('_', ' ')} fails ({self.dtype})", f"  {self.message}"]
        if self.actual is not None and self.expected is not None:
            lines.append(f"  actual   {float(self.actual)!r} = {self.actual_hex}")
            lines.append(f"  expected {float(self.expected)!r} = {self.expected_hex}")
            lines.append(f"  {self._by_how_much()}")
        if self.where:
            lines.append(f"  {self.where}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join([*lines, "", *("    " + line for line in self.reproduction.splitlines())])

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


def failure_at(operation: str, law: str, v: Violation, case: Case | None, **more: Any) -> Failure:
    """A violation of a law at a case."""
    numbers = (v.index, v.actual, v.expected, v.ulp, v.bound, v.times)
    return Failure(operation, law, v.what, v.message, *numbers, case, **more)


# ── Python of arrays ────────────────────────────────────────────────────────────────────────────────────────────────


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
