"""Sums whose roundings all go the same way, by the reference, JAX and PyTorch.

    sums = measure(); print_sums(sums, Console()); markdown(sums)

The terms are equal, or made for it: a 1, and then many of half an ULP of 1 and a little more, each of which takes a
chain half an ULP too far. The true sum is an exact fraction. The reference adds in pairs or in short
blocks, but for products of matrices that are both more than 32 wide: BLAS alone adds there, in chains of some hundred
terms. Terms made for it find the chains in the short blocks too: those of 32 terms, of `δ W` and of products.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from backprop_reference import OPERATIONS

from ..laws.bounds import BOUNDS
from ..laws.claims import Array
from ..laws.ulp import ulp
from .accuracy import REFERENCE, SHORT

DTYPES = ("float64", "float32")
EQUAL, MADE = "equal", "made for it"
TERMS = (
    0.1,
    *np.random.default_rng(0).uniform(1, 2, size=15),
)  # 1/10 and the like are what a loop of adding is tried on


class Sum(NamedTuple):
    """A sum of `n` terms in an operation: the shapes of its factors, the reference's function, the usual formula."""

    operation: str
    n: int
    shapes: tuple[tuple[int, ...], ...]  # the first factor has the terms, the others are 1
    ours: Callable[..., Any]
    formula: Callable[..., Any]  # of any library's arrays


def _of(name: str) -> Any:
    return OPERATIONS[name].forward


def _cotangent(delta: Array, W: Array) -> Any:
    return OPERATIONS["matvec"].vjp(delta, W, W[0])[1]


def _gradient(delta: Array, x: Array) -> Any:
    return OPERATIONS["matvec"].vjp(delta, np.ones((delta.shape[-1], x.shape[-1]), x.dtype), x)[0]


SUMS: Mapping[str, Sum] = {
    "sum(x)": Sum("sum_reduction", 100_000, ((100_000,),), _of("sum_reduction"), lambda x: x.sum()),
    "xᵀy": Sum("dot", 100_000, ((100_000,), (100_000,)), _of("dot"), lambda x, y: x @ y),
    "W x of 100": Sum("matvec", 100, ((10, 100), (100,)), _of("matvec"), lambda W, x: W @ x),
    "δ W of 100": Sum("matvec", 100, ((100,), (100, 50)), _cotangent, lambda d, W: d @ W),
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
    terms: str
    n: int
    dtype: str
    bound: float
    errors: dict[str, float]


def measure(operations: Sequence[str] | None = None) -> list[Measured]:
    """The sums of these operations, or of all, by the reference, JAX, and PyTorch where installed."""
    return [
        Measured(
            name,
            terms,
            s.n,
            dtype,
            BOUNDS["sum", "u"].limit(s.n),
            {library: _worst(s, add, lines(s.n, dtype)) for library, add in _libraries(s)},
        )
        for terms, lines in ((EQUAL, _equal), (MADE, _made))
        for name, s in SUMS.items()
        if operations is None or s.operation in operations
        for dtype in DTYPES
    ]


def _libraries(s: Sum) -> list[tuple[str, Callable[..., Any]]]:
    import jax

    found: list[tuple[str, Callable[..., Any]]] = [(REFERENCE, s.ours), ("JAX", jax.jit(s.formula))]
    if find_spec("torch"):
        import torch

        found.append(("PyTorch", lambda *factors: s.formula(*map(torch.from_numpy, factors))))
    return found


def _equal(n: int, dtype: str) -> Iterator[Array]:
    return (np.full(n, term) for term in np.asarray(TERMS, dtype))


def _made(n: int, dtype: str) -> Iterator[Array]:
    """A 1 at the beginning, in the middle or at the end, and terms a hundredth above half its ULP."""
    for place in (0, n // 2, n - 1):
        terms = np.full(n, 1.01 * float(np.finfo(dtype).eps) / 2, dtype)
        terms[place] = 1
        yield terms


def _worst(s: Sum, add: Callable[..., Any], lines: Iterator[Array]) -> float:
    worst, (first, *others) = Fraction(0), s.shapes
    for terms in lines:
        along = terms.reshape([size if size == s.n else 1 for size in first])
        result = np.asarray(
            add(np.broadcast_to(along, first).copy(), *(np.ones(shape, terms.dtype) for shape in others))
        )
        counted = zip(*np.unique(terms, return_counts=True), strict=True)
        exact = sum(Fraction(float(term)) * int(count) for term, count in counted)
        unit = Fraction(float(ulp(float(exact), terms.dtype)))
        worst = max(worst, *(abs(Fraction(float(u)) - exact) / unit for u in np.unique(result)))
    return float(worst)


# ── As a table ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _columns(sums: Sequence[Measured]) -> list[tuple[str, str]]:
    return [(dtype, library) for dtype in DTYPES for library in sums[0].errors]


def _lines(sums: Sequence[Measured]) -> Iterator[list[str]]:
    errors = {(m.sum, m.terms, m.dtype, library): error for m in sums for library, error in m.errors.items()}
    for name, terms in dict.fromkeys((m.sum, m.terms) for m in sums):
        m = next(m for m in sums if m.sum == name)
        row = (errors[name, terms, *column] for column in _columns(sums))
        yield [name, terms, f"{m.n:,}", f"{m.bound:.0f}", *(f"{error:.1f}" for error in row)]


def print_sums(sums: Sequence[Measured], console: Console) -> None:
    """One table for each kind of terms; one line a sum, float64 and float32 side by side."""
    for kind in dict.fromkeys(m.terms for m in sums):
        table = Table(box=None, pad_edge=False, header_style="bold", title=f"Sums of n terms, {kind}: worst error, ULP")
        table.add_column("\nsum", overflow="fold")
        for head in ("n", "bound"):
            table.add_column(f"\n{head}", justify="right", no_wrap=True)
        for dtype, library in _columns(sums):
            table.add_column(f"{dtype * (library == REFERENCE)}\n{SHORT.get(library, library)}", justify="right")
        for name, terms, *line in _lines(sums):
            if terms == kind:
                table.add_row(name, *line)
        console.print(table)


def markdown(sums: Sequence[Measured]) -> str:
    """The table for the README.

    >>> print(markdown([Measured("xᵀy", EQUAL, 8, dtype, 7.0, {"reference": 0.5}) for dtype in DTYPES]))
    | sum | terms | n | bound | reference float64 | reference float32 |
    |---|---|--:|--:|--:|--:|
    | `xᵀy` | equal | 8 | 7 | 0.5 | 0.5 |
    """
    heads = [f"{library} {dtype}" for dtype, library in _columns(sums)]
    lines = [f"| sum | terms | n | bound | {' | '.join(heads)} |", "|---|---|--:|--:|" + "--:|" * len(heads)]
    lines += [f"| `{name}` | {' | '.join(line)} |" for name, *line in _lines(sums)]
    return "\n".join(lines)
