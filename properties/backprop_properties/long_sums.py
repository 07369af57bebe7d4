"""Sums of many equal terms: they are hard, since one rounding after the other goes the same way.

    sums = measure(); print_sums(sums, Console()); markdown(sums)

What is true needs no oracle: `n` times the term, as a fraction. The reference adds in pairs or in short blocks, but for
products of matrices that are both more than 32 wide: BLAS alone adds there, in chains of some hundred terms.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from backprop_reference import OPERATIONS

from .accuracy import ulp
from .accuracy_report import REFERENCE, SHORT
from .claims import Array
from .truth import BOUNDS

DTYPES = ("float64", "float32")
TERMS = (
    0.1,
    *np.random.default_rng(0).uniform(1, 2, size=15),
)  # 1/10 and the like are what a loop of adding is tried on


class Sum(NamedTuple):
    """One way to add `n` terms: the operation whose it is, the shapes of its factors, and what anyone writes for it."""

    operation: str
    n: int
    shapes: tuple[tuple[int, ...], ...]  # the first factor has the terms, the others are 1
    ours: Callable[..., Any]
    formula: Callable[..., Any]  # of any library's arrays


def _of(name: str) -> Any:
    return OPERATIONS[name].forward


def _gradient(delta: Array, x: Array) -> Any:
    return OPERATIONS["matvec"].vjp(delta, np.ones((delta.shape[-1], x.shape[-1]), x.dtype), x)[0]


SUMS: Mapping[str, Sum] = {
    "sum(x)": Sum("sum_reduction", 100_000, ((100_000,),), _of("sum_reduction"), lambda x: x.sum()),
    "xᵀy": Sum("dot", 100_000, ((100_000,), (100_000,)), _of("dot"), lambda x, y: x @ y),
    "W x": Sum("matvec", 100_000, ((3, 100_000), (100_000,)), _of("matvec"), lambda W, x: W @ x),
    "W x of 16": Sum("matvec", 5000, ((64, 5000), (16, 5000)), _of("matvec"), lambda W, x: x @ W.T),
    "δᵀ xᵀ of 5000, 16×64": Sum("matvec", 5000, ((5000, 16), (5000, 64)), _gradient, lambda d, x: d.T @ x),
    "W x of 64": Sum("matvec", 5000, ((64, 5000), (64, 5000)), _of("matvec"), lambda W, x: x @ W.T),
    "δᵀ xᵀ of 5000, 64×64": Sum("matvec", 5000, ((5000, 64), (5000, 64)), _gradient, lambda d, x: d.T @ x),
}


@dataclass(frozen=True)
class Measured:
    """The worst errors of one sum in one dtype, in ULP, by implementation; `bound` is that of every sum."""

    sum: str
    n: int
    dtype: str
    bound: float
    errors: dict[str, float]


def measure(operations: Sequence[str] | None = None) -> list[Measured]:
    """The sums of these operations, or of all, by the reference, JAX, and PyTorch where installed."""
    return [
        Measured(
            name,
            s.n,
            dtype,
            BOUNDS["sum", "u"].limit(s.n),
            {library: _worst(s, add, dtype) for library, add in _libraries(s)},
        )
        for name, s in SUMS.items()
        if operations is None or s.operation in operations
        for dtype in DTYPES
    ]


def _libraries(s: Sum) -> list[tuple[str, Callable[..., Any]]]:
    import jax

    from backprop_oracle import autodiff  # noqa: F401 - sets JAX up for float64

    found = [(REFERENCE, s.ours), ("JAX", jax.jit(s.formula))]
    if find_spec("torch"):
        import torch

        found.append(("PyTorch", lambda *factors: s.formula(*map(torch.from_numpy, factors))))
    return found


def _worst(s: Sum, add: Callable[..., Any], dtype: str) -> float:
    worst = Fraction(0)
    for term in np.asarray(TERMS, dtype):
        first, *others = s.shapes
        result = np.asarray(add(np.full(first, term), *(np.ones(shape, dtype) for shape in others)))
        exact = s.n * Fraction(float(term))
        unit = Fraction(float(ulp(float(exact), dtype)))
        worst = max(worst, *(abs(Fraction(float(u)) - exact) / unit for u in np.unique(result)))
    return float(worst)


# ── As a table ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _columns(sums: Sequence[Measured]) -> list[tuple[str, str]]:
    return [(dtype, library) for dtype in DTYPES for library in sums[0].errors]


def _lines(sums: Sequence[Measured]) -> list[list[str]]:
    errors = {(m.sum, m.dtype, library): error for m in sums for library, error in m.errors.items()}
    return [
        [name, f"{m.n:,}", f"{m.bound:.0f}", *(f"{errors[name, *column]:.1f}" for column in _columns(sums))]
        for name, m in {m.sum: m for m in sums}.items()
    ]


def print_sums(sums: Sequence[Measured], console: Console) -> None:
    """One line a sum, float64 and float32 side by side."""
    table = Table(box=None, pad_edge=False, header_style="bold", title="Sums of n equal terms: worst error, in ULP")
    table.add_column("\nsum", overflow="fold")
    for head in ("n", "bound"):
        table.add_column(f"\n{head}", justify="right", no_wrap=True)
    for dtype, library in _columns(sums):
        table.add_column(f"{dtype * (library == REFERENCE)}\n{SHORT.get(library, library)}", justify="right")
    for line in _lines(sums):
        table.add_row(*line)
    console.print(table)


def markdown(sums: Sequence[Measured]) -> str:
    """The table for the README.

    >>> print(markdown([Measured("xᵀy", 8, dtype, 7.0, {"reference": 0.5}) for dtype in DTYPES]))
    | sum of equal terms | n | bound | reference float64 | reference float32 |
    |---|--:|--:|--:|--:|
    | `xᵀy` | 8 | 7 | 0.5 | 0.5 |
    """
    heads = [f"{library} {dtype}" for dtype, library in _columns(sums)]
    lines = [f"| sum of equal terms | n | bound | {' | '.join(heads)} |", "|---|--:|--:|" + "--:|" * len(heads)]
    lines += [f"| `{name}` | {' | '.join(line)} |" for name, *line in _lines(sums)]
    return "\n".join(lines)
