"""The comparison: the worst errors of the reference and of other libraries, against the certified truth, same inputs.

    rows = run(["softmax"], cases=10, seed=0)
    print_table(rows, Console()); markdown(rows); plot(rows, "accuracy.svg"); to_dict(rows)

An error is in ULP of the true number, or of the problem's condition where that is the larger unit (`truth.py`), so it
says what an implementation lost beyond what the problem itself loses. It is infinite for NaN, and for a finite number
in place of an infinite one or the other way round. Cotangents are of ordinary size: what is shown of a regime is the
operation's doing, and not that XLA takes a subnormal cotangent for 0. At 0 PyTorch takes the other slope of leaky_relu.
"""

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from backprop_reference import OPERATIONS, Operation

from ..cases.case import Case
from ..cases.regimes import regime_case, regimes_of
from ..checking.python_files import Implementation
from ..laws.claims import Array, certified_errors
from ..laws.truth import Question, questions
from .dots import Chart, Line, svg
from .libraries import peers

REFERENCE = "reference"
IMPLEMENTATIONS = (REFERENCE, "JAX", "PyTorch", "SciPy")
SHORT: Mapping[str, str] = {REFERENCE: "ours", "PyTorch": "Torch"}  # eight columns fit a terminal
DTYPES = (np.dtype(np.float64), np.dtype(np.float32))
SIZES = (3, 5, 4, 2)  # of the letters of a signature, in turn: JAX compiles for one shape an operation
CASES = 4


@dataclass(frozen=True)
class Row:
    """The worst error of one implementation, over all cases of a regime; `bound` is what the reference is allowed."""

    operation: str
    regime: str
    quantity: str  # "value", "jacobian" or "vjp"
    dtype: str
    implementation: str
    error: float
    bound: float
    cases: int


# ── Measuring ───────────────────────────────────────────────────────────────────────────────────────────────────────


def run(
    operations: Sequence[str] | None = None,
    cases: int = CASES,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> list[Row]:
    """The worst errors, for every operation, regime, quantity, dtype and installed library.

    >>> rows = run(["tanh"], cases=2)
    >>> sorted({row.implementation for row in rows} & {"reference", "JAX"}), sorted({row.quantity for row in rows})
    (['JAX', 'reference'], ['value', 'vjp'])
    """
    rows: dict[tuple[str, ...], Row] = {}
    for name in operations or OPERATIONS:
        if progress:
            progress(name)
        for row in _measured(OPERATIONS[name], cases, seed):
            key = (row.operation, row.regime, row.quantity, row.dtype, row.implementation)
            before = rows.get(key, replace(row, error=0.0, cases=0))
            rows[key] = replace(row, error=max(row.error, before.error), cases=before.cases + 1)
    return list(rows.values())


def _measured(operation: Operation, cases: int, seed: int) -> Iterator[Row]:
    name = operation.name
    implementations = {REFERENCE: Implementation(operation.forward, operation.jacobian, operation.vjp)}
    implementations |= dict(peers(operation))
    letters = list(dict.fromkeys(letter for core in operation.cores for letter in core))
    sizes = dict(zip(letters, SIZES * 2, strict=False))
    draw = np.random.default_rng([seed, zlib.crc32(name.encode())])
    kinds = ("value", "jacobian", "vjp") if operation.masks else ("value", "vjp")
    for regime in [regime for regime in regimes_of(operation) if regime != "single"]:
        for dtype in DTYPES:
            for _ in range(cases):
                case = regime_case(operation, regime, dtype, draw, sizes, cotangents=["ordinary"])
                for kind in kinds:
                    asked = questions(operation, case, kind)
                    bound = max((question.limit for question in asked), default=math.nan)
                    for library, implementation in implementations.items():
                        results = _results(implementation, kind, case) if asked else None
                        if results is not None:
                            error = max(_worst(q, r, dtype) for q, r in zip(asked, results, strict=True))
                            yield Row(name, regime, kind, dtype.name, library, error, bound, 1)


def _results(implementation: Implementation, kind: str, case: Case) -> list[Any] | None:
    with np.errstate(all="ignore"):
        match kind:
            case "value" if implementation.forward:
                return [implementation.forward(*case.args)]
            case "jacobian" if implementation.jacobian:
                found = implementation.jacobian(*case.args)
                return [J.todense() if hasattr(J, "todense") else J for J in found]
            case "vjp" if implementation.vjp:
                return list(implementation.vjp(case.delta, *case.args))
    return None


def _worst(question: Question, actual: Array, dtype: np.dtype[Any]) -> float:
    return float(max(certified_errors(question.claim(actual), dtype).max(initial=0.0), 0.0))


# ── As numbers, as a table, as Markdown ─────────────────────────────────────────────────────────────────────────────


def to_dict(rows: Sequence[Row]) -> dict[str, Any]:
    """For JSON, where infinity is written as a text."""
    entries = [asdict(row) | {"error": row.error if math.isfinite(row.error) else "inf"} for row in rows]
    return {"schema": "backprop-accuracy-1", "unit": "ULP of the truth or of the condition", "rows": entries}


def libraries(rows: Sequence[Row]) -> list[str]:
    """The implementations that have rows, the reference first."""
    present = {row.implementation for row in rows}
    return [name for name in IMPLEMENTATIONS if name in present]


def worst(rows: Sequence[Row], *keys: str) -> dict[tuple[str, ...], dict[str, float]]:
    """The worst error of each implementation for every combination of the rows' `keys`.

    >>> a = Row("exp", "tiny", "value", "float64", "JAX", 0.5, 4.0, 1)
    >>> worst([a, replace(a, error=2.0, dtype="float32")], "operation")
    {('exp',): {'JAX': 2.0}}
    """
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for row in rows:
        errors = found.setdefault(tuple(getattr(row, key) for key in keys), {})
        errors[row.implementation] = max(row.error, errors.get(row.implementation, 0.0))
    return found


def everyday(rows: Sequence[Row]) -> list[Row]:
    """The rows without the regime "tiny": XLA takes every subnormal number for 0, which would hide all else."""
    return [row for row in rows if row.regime != "tiny"]


def shown(error: float | None) -> str:
    """An error as text, short; `wrong` for an infinite one, and a dash where there is none.

    Beyond 10^17 no digit is left in any format, and how far beyond says nothing: a zero was missed.

    >>> shown(0.512), shown(12.6), shown(4.0e11), shown(1e300), shown(math.inf), shown(None)
    ('0.5', '13', '4e11', '>1e17', 'wrong', '–')
    """
    if error is None:
        return "–"
    if math.isinf(error):
        return "wrong"
    if error > 1e17:
        return ">1e17"
    return f"{error:.1f}" if error < 10 else f"{error:.0f}" if error < 1e4 else f"{error:.0e}".replace("+", "")


def print_table(rows: Sequence[Row], console: Console) -> None:
    """One line for each operation and regime, float64 and float32 side by side; red is an error above 1000 ULP."""
    names = libraries(rows)
    table = Table(box=None, pad_edge=False, header_style="bold", title="Worst error against the truth, in ULP")
    table.add_column("\noperation\n  regime", overflow="fold", max_width=24)
    for dtype in DTYPES:
        for i, name in enumerate(names):
            head = dtype.name if i == 0 else ""
            table.add_column(f"{head}\n{SHORT.get(name, name)}\n", justify="right", no_wrap=True, min_width=5)
    by_dtype = worst(rows, "operation", "regime", "dtype")
    before = ""
    for operation, regime in dict.fromkeys((row.operation, row.regime) for row in rows):
        if operation != before:
            table.add_row(escape(operation), style="bold")
        errors = [by_dtype.get((operation, regime, d.name), {}).get(name) for d in DTYPES for name in names]
        table.add_row(f"  {regime}", *map(_coloured, errors))
        before = operation
    console.print(table)
    console.print(_caption(rows), highlight=False)


def _coloured(error: float | None) -> Text:
    return Text(shown(error), style="" if error is None else "red" if error > 1000 else "yellow" if error > 17 else "")


def _caption(rows: Sequence[Row]) -> str:
    return f"{sum(row.cases for row in rows if row.implementation == REFERENCE):,} certified comparisons"


def markdown(rows: Sequence[Row], every_regime: bool = True) -> str:
    """The table for the README: a line for each operation and regime, or for each operation over `everyday` regimes.

    >>> row = Row("exp", "tiny", "value", "float64", "reference", 0.5, 4.0, 1)
    >>> print(markdown([row, replace(row, implementation="JAX", error=3.0)]))
    | operation | regime | reference float64 | JAX float64 |
    |---|---|--:|--:|
    | `exp` | tiny | 0.5 | 3.0 |
    """
    keys = ("operation", "regime") if every_regime else ("operation",)
    columns = [(d.name, name) for d in DTYPES if any(row.dtype == d.name for row in rows) for name in libraries(rows)]
    by_dtype = worst(rows if every_regime else everyday(rows), *keys, "dtype")
    lines = [
        " | ".join(["", *keys, *(f"{name} {dtype}" for dtype, name in columns), ""]).strip(),
        "|" + "---|" * len(keys) + "--:|" * len(columns),
    ]
    for key in dict.fromkeys(tuple(getattr(row, k) for k in keys) for row in rows):
        errors = [shown(by_dtype.get((*key, dtype), {}).get(name)) for dtype, name in columns]
        lines.append(" | ".join(["", f"`{key[0]}`", *key[1:], *errors, ""]).strip())
    return "\n".join(lines)


# ── The plot ────────────────────────────────────────────────────────────────────────────────────────────────────────

TICKS = {10.0**power: f"10^{power}" if power else "1" for power in range(0, 18, 2)}


def plot(rows: Sequence[Row], dtype: str = "float64") -> str:
    """An SVG: a line for each operation, a mark for each implementation's worst error over `everyday` regimes."""
    title = f"Worst error against the truth, {dtype}, in units in the last place; a cross is a NaN or a wrong infinity"
    by_operation = worst([row for row in everyday(rows) if row.dtype == dtype], "operation")
    lines = [
        Line(operation, errors, {name: shown(error) for name, error in errors.items()})
        for (operation,), errors in by_operation.items()
    ]
    return svg(Chart(title, libraries(rows), 0.1, 1e17, TICKS), lines)
