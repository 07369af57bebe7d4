"""A failure: a law that an implementation breaks, and Python that shows it."""

import base64
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cases.case import Array, Case
from .claims import Close, Violation

if TYPE_CHECKING:
    from backprop_oracle.rows import Row

Number = float | None
Index = tuple[int, ...] | None
BATCH = "a_batch_equals_jax"  # the law of a failure that no example of a batch shows on its own
FEW, FEW_OTHERS = 60, 20  # entries that are written out, and those of a long array that differ from the others
WIDTH = 76  # of code
SHOWN = 12  # entries of an array that is shown whole
CALLS = 12  # of a function that is wrong at some calls only, to see that it is


@dataclass(frozen=True)
class Failure:
    """A law that an implementation breaks, at the smallest case found.

    `what` is the quantity that is wrong: the value `u`, a cotangent `dx`, a Jacobian `J_x`, or a sentence that begins
    with it. `times` is how many times the allowed error the actual one is. A law of the chain rule has no case: it
    draws its own, from `seed`.

    `arguments` are the names of the operation's; `definition` is the name of a variable that holds a `Definition`, if
    it is no operation that is known by its name.

    Of somebody's functions: `functions` are their names by kind (forward, vjp, jacobian), and `source` brings them, if
    they are from a file; `options` are the level and the domain of the check, where they are not the usual ones; `call`
    is the function that never returned, if that is what happened. `where` says which gradients are right;
    `hint` is a sentence where the pattern of the error tells its cause, and `cause` its short name. `part` is the part
    of the verdict that the failure belongs to, and `accepts` the option of `check` with which it would be none. `whole`
    are the wrong result and the right one, where they are small, as lists; `worst` is the message of the case where it
    was found, if errors are far larger there; `at` are the cotangent and the arguments of the call, where a law makes
    it with others than those of the case.
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
    arguments: tuple[str, ...] = ()
    definition: str = ""
    functions: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    call: str = ""
    where: str = ""
    cause: str = ""
    hint: str = ""
    part: str = ""
    accepts: str = ""
    worst: str = ""
    whole: tuple[Any, Any] | None = None
    at: Sequence[Sequence[Array]] = ()

    @property
    def argument(self) -> str:
        """The argument whose gradient or Jacobian is wrong, "u" for the value, or nothing if it is none alone."""
        quantity = re.sub(r"^(J_|d)|\W.*", "", self.what)
        if re.match(r"(J_|d)\w", self.what) and quantity in self.arguments:
            return quantity
        written = re.search(r" argument (\w+)$", self.message)
        return "u" if quantity == "u" else written[1] if written else ""

    @property
    def function(self) -> str:
        """The function that fails: "forward", "vjp" or "jacobian"."""
        return self.call or function_of(self.what, self.message)

    @property
    def inputs(self) -> dict[str, Array]:
        """The arguments of the call that shows it by name, and of a vjp the cotangent; nothing of a law without any."""
        if self.case is None:
            return {}
        delta, *args = self.at[0] if len(self.at) == 1 else (self.case.delta, *self.case.args)
        return dict(zip(self.arguments, args, strict=True)) | ({"delta": delta} if self.function == "vjp" else {})

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
        names = self.arguments
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
            operation = self.definition or repr(self.operation)
            last = f"{replay}({', '.join([operation, *law, 'delta', *names, *using])})"
        yours = bool(self.functions)
        comment = [*self._to_define(), "# raises what is wrong, and returns None as soon as it is right"]
        comment = comment[: -1 if self.call else None] if yours else []
        often = [f"for _ in range({CALLS}):  # right at some calls, wrong at others", f"    {last}"]
        shown = often if self.cause == "intermittent" else [last]
        lines = [*(line for name, a in arrays.items() for line in assignments(name, a)), *comment, *shown]
        imports = {
            "import base64": any("base64" in line for line in lines),
            "import ml_dtypes": self.dtype == "bfloat16",
            "import numpy as np": True,
            f"from backprop_properties import {replay}": not self.call,
            self.source: bool(self.source),
        }
        return "\n".join([*(line for line, wanted in imports.items() if wanted), *[""] * yours, *map(_wrapped, lines)])

    def _to_define(self) -> list[str]:
        """A comment on the names in the reproduction that are to be defined before it is run."""
        imported = re.findall(r"\w+", self.source)
        called = [name for kind, name in self.functions.items() if self.call in ("", kind)]
        names = [name for name in dict.fromkeys(called) if name not in imported]
        own = self.definition not in ("", *imported) and not self.call
        yours = [f"{self.definition}, your Definition"] * own
        yours += [f"{' and '.join(names)}, your function{'s' * (len(names) > 1)}"] * bool(names)
        told = f"first define {', and '.join(yours)}" * bool(yours)
        return textwrap.wrap(told, WIDTH, initial_indent="# ", subsequent_indent="# ")

    def __str__(self) -> str:
        lines = [f"{self.operation}: {self.law.replace('_', ' ')} fails ({self.dtype})", f"  {self.message}"]
        if self.actual is not None and self.expected is not None:
            lines.append(f"  actual   {float(self.actual)!r} = {self.actual_hex}")
            lines.append(f"  expected {float(self.expected)!r} = {self.expected_hex}")
            lines.append(f"  {self._by_how_much()}")
        lines += self._beside()
        if self.where:
            lines.append(f"  {self.where}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        lines += self._accepted()
        return "\n".join([*lines, "", *("    " + line for line in self.reproduction.splitlines())])

    def summary(self, *, hint: bool = True) -> str:
        """The failure in a few lines: what is wrong, at which numbers, and why."""
        lines = [f"  {self.message}{f' ({self.dtype})' if self.dtype != 'float64' else ''}"]
        if self.inputs and not self.call:
            lines += [f"  at {', '.join(f'{name} = {shown_whole(a)}' for name, a in self.inputs.items())}"]
        lines += self._beside()
        lines += [f"  {self.where}"] if self.where else []
        lines += [f"  hint: {self.hint}"] if self.hint and hint else []
        return "\n".join([*lines, *self._accepted()])

    def _beside(self) -> list[str]:
        """The wrong result and the right one, whole."""
        if self.whole is None:
            return []
        name = re.split(r"[^\w⟨]", self.what, maxsplit=1)[0]
        width = max(len(name), len("expected"))
        return [f"  {who:{width}} {_digits(a)}" for who, a in zip((name, "expected"), self.whole, strict=True)]

    def _accepted(self) -> list[str]:
        worst = [f"  at worst {self.worst}"] if self.worst else []
        return [*worst, *([f"  if that is what you promise: {self.accepts}"] if self.accepts else [])]

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


def failure_at(row: "Row", law: str, v: Violation, case: Case) -> Failure:
    """A violation of a law at a case."""
    names, whole = row.arguments, _whole(v)
    return Failure(row.name, law, v.what, v.message, *numbers_of(v), case, arguments=names, whole=whole, at=v.at)


NAMED = re.compile(r"(?:Unusable: )?(forward|vjp|jacobian) (?:returned|answered|raised|called|left|takes)\b")
WORD = re.compile(r"^\w*")


def function_of(what: str, message: str = "") -> str:
    """Which function a violation is about: its quantity is `u`, `dx`, `J_x`, or the function's name.

    >>> function_of("dx, arguments read-only"), function_of("J_W"), function_of("", "Unusable: forward raised OSError")
    ('vjp', 'jacobian', 'forward')
    """
    if message and (named := NAMED.match(message)):
        return named[1]
    word = next(iter(WORD.findall(what)), "")
    if word in ("forward", "vjp", "jacobian"):
        return word
    return "forward" if word == "u" else "jacobian" if word.startswith("J_") else "vjp"


def _whole(v: Violation) -> tuple[Any, Any] | None:
    """The wrong array and the right one, as lists, if a reader takes them in at a glance."""
    if not isinstance(v.claim, Close):
        return None
    actual, expected = (np.asarray(a, np.float64) for a in v.claim[1:3])
    return (actual.tolist(), expected.tolist()) if 1 < actual.size <= SHOWN and actual.ndim else None


def numbers_of(v: Violation) -> tuple[Index, Number, Number, Number, Number, Number]:
    """Where a violation is, and by how much, in the order of a failure's fields."""
    return v.index, v.actual, v.expected, v.ulp, v.bound, v.times


# ── Python of arrays ────────────────────────────────────────────────────────────────────────────────────────────────


def assignments(name: str, a: Array) -> list[str]:
    """Lines of Python that make an array to the bit: of all entries, of the few that differ from the rest, or of bytes.

    >>> assignments("x", np.array([0.1, np.inf], np.float32))
    ['x = np.array([0.10000000149011612, np.inf], np.float32)']
    >>> assignments("x", np.where(np.arange(99) == 70, 2.0, 1.0))
    ['x = np.full((99,), 1.0, np.float64)', 'x[70] = 2.0']
    """
    dtype = {"bfloat16": "ml_dtypes.bfloat16", "bool": "bool"}.get(a.dtype.name, f"np.{a.dtype.name}")
    numbers = a if a.dtype.kind in "iub" else a.astype(np.float64)
    if not a.size:
        return [f"{name} = np.zeros({a.shape}, {dtype})"]
    if a.size <= FEW:
        return [f"{name} = np.array({_python(numbers.tolist())}, {dtype})"]
    bits = np.ascontiguousarray(a).view(f"u{a.dtype.itemsize}")  # 0.0 and -0.0 are not the same
    values, counts = np.unique(bits, return_counts=True)
    usual = values[np.argmax(counts)]
    others = np.argwhere(bits != usual).tolist()
    if len(others) > FEW_OTHERS:
        data = base64.b64encode(a.tobytes()).decode()
        return [f'{name} = np.frombuffer(base64.b64decode("{data}"), {dtype}).reshape({a.shape}).copy()']
    full = _python(numbers[bits == usual].flat[0].item())
    changed = [f"{name}{index} = {_python(numbers[tuple(index)].item())}" for index in others]
    return [f"{name} = np.full({a.shape}, {full}, {dtype})", *changed]


def shown_whole(a: Array) -> str:
    """An array as a person reads it: whole if it is small, otherwise its shape and what it begins with.

    >>> shown_whole(np.array([1.0, 0.1])), shown_whole(np.zeros((3, 5)))
    ('[1.0, 0.1]', '3×5 numbers 0.0, 0.0, 0.0, …')
    """
    numbers = a if a.dtype.kind in "iub" else a.astype(np.float64)
    if a.size <= SHOWN:
        return _digits(numbers.tolist())
    first = ", ".join(_digits(v) for v in numbers.ravel()[:3].tolist())
    return f"{'×'.join(map(str, a.shape))} numbers {first}, …"


def _digits(numbers: Any) -> str:
    """Numbers, or lists of them, to six digits or as they are if that is shorter."""
    if isinstance(numbers, list):
        return f"[{', '.join(map(_digits, numbers))}]"
    exact = repr(numbers)
    return exact if len(exact) <= 8 or not isinstance(numbers, float) else f"{numbers:.6g}"


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
