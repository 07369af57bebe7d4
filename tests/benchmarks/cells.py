"""What is measured: a cell is one computation at one size and dtype; its inputs, its flops and its bytes.

The model of a cell's cost is that of an ideal program: matrix products take the flops of the textbook, every input that
the formula needs is read once and every result written once. What is in between may stay in a cache and costs nothing,
and so does a scalar function.
"""

import os
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float32 or float64
Shape = tuple[int, ...]

NETWORK, CROSS_ENTROPY, SOFTMAX = "backpropagation", "softmax_cross_entropy_vjp", "softmax_vjp"
ACTIVATION, PULLED_BACK, DENSE = "activation_vjp", "delta @ ∂(Wx)/∂W", "∂(Wx)/∂W dense"
PRODUCT, COPY = "matrix product", "copy"  # the machine's limits


@dataclass(frozen=True)
class Cell:
    """One computation. `sizes` are the widths of a network, `n` of a softmax, `d, n` of a matrix.

    >>> Cell(NETWORK, (784, 512, 10), 128).title
    'backpropagation 784-512-10 batch 128 float64'
    """

    kind: str
    sizes: tuple[int, ...]
    batch: int | None = None  # None is a single example, with no batch axis
    dtype: str = "float64"
    growth: str = ""  # the series that it belongs to, if it shows how time and memory grow

    @property
    def size(self) -> str:
        if self.kind in (CROSS_ENTROPY, SOFTMAX):
            return f"{self.batch}×{self.sizes[0]}"
        widths = "-".join(map(str, self.sizes))
        if self.kind == NETWORK and len(set(self.sizes)) == 1:
            widths = f"{self.sizes[0]} wide, {len(self.sizes) - 1} deep"
        elif self.kind != NETWORK:
            widths = "×".join(map(str, self.sizes))
        return widths if self.batch is None else f"{widths} batch {self.batch}"

    @property
    def title(self) -> str:
        return f"{f'growth with {self.growth}: ' * bool(self.growth)}{self.kind} {self.size} {self.dtype}"


def layers(cell: Cell) -> list[tuple[int, int]]:
    """`(d, n)` of each layer of a network."""
    return list(zip(cell.sizes[1:], cell.sizes[:-1], strict=True))


def argument_shapes(cell: Cell) -> list[Shape]:
    """Of the arguments, in the order in which every contender takes them."""
    rows = () if cell.batch is None else (cell.batch,)
    first, last = cell.sizes[0], cell.sizes[-1]
    match cell.kind:
        case "backpropagation":  # W1 b1 … WK bK x y
            parameters = [shape for d, n in layers(cell) for shape in ((d, n), (d,))]
            return [*parameters, (*rows, first), (*rows, last)]
        case "softmax_cross_entropy_vjp":  # delta x y
            return [rows, (*rows, first), (*rows, first)]
        case "softmax_vjp":  # delta x
            return [(*rows, first), (*rows, first)]
        case "activation_vjp":  # delta W x b
            return [(*rows, first), cell.sizes, (*rows, last), (first,)]
        case "delta @ ∂(Wx)/∂W" | "∂(Wx)/∂W dense":  # delta W x
            return [(first,), cell.sizes, (last,)]
        case "matrix product":
            return [(first, first), (first, first)]
    return [(cell.batch or 1, first // (cell.batch or 1))]  # of a copy: a row for each thread


def result_shapes(cell: Cell) -> list[Shape]:
    """Of the results; the loss of a network is one number, the sum over the batch."""
    shapes = argument_shapes(cell)
    match cell.kind:
        case "copy":
            return shapes
        case "backpropagation":  # L dW1 db1 … dWK dbK dx
            return [(), *shapes[:-1]]
        case "delta @ ∂(Wx)/∂W":
            return [cell.sizes]
        case "∂(Wx)/∂W dense":
            return [(cell.sizes[0], *cell.sizes)]
    return shapes[1:]


def inputs(cell: Cell) -> list[Array]:
    """The same in every process: normal numbers, parameters times 1/√n, and `y` a vector of probabilities."""
    draw, dtype = np.random.default_rng(0), np.dtype(cell.dtype)
    shapes = argument_shapes(cell)
    arrays = [np.asarray(draw.standard_normal(shape, dtype=dtype)) for shape in shapes]
    for a in arrays[:-2] if cell.kind == NETWORK else arrays[1:2] if len(cell.sizes) == 2 else []:
        a *= dtype.type(a.shape[-1] ** -0.5)
    if cell.kind in (NETWORK, CROSS_ENTROPY):
        np.exp(arrays[-1], out=arrays[-1])
        arrays[-1] /= arrays[-1].sum(-1, keepdims=True)
    return arrays


def flops(cell: Cell) -> int:
    """Of the matrix products alone: `W h`, `δᵀ hᵀ` and `δ W`, `2dn` each for a layer and an example.

    >>> flops(Cell(NETWORK, (784, 512, 10), 128)) == 6 * 128 * (784 * 512 + 512 * 10)
    True
    """
    match cell.kind:
        case "backpropagation" | "activation_vjp":
            matrices = layers(cell) if cell.kind == NETWORK else [cell.sizes]
            return 6 * (cell.batch or 1) * sum(d * n for d, n in matrices)
        case "matrix product":
            return 2 * cell.sizes[0] ** 3
    return 0


def moved_bytes(cell: Cell) -> int:
    """Inputs read once and results written once; `∂(Wx)/∂W` does not depend on `W`.

    >>> moved_bytes(Cell(SOFTMAX, (10,), 4096)) == 3 * 8 * 4096 * 10
    True
    """
    shapes = argument_shapes(cell)
    if cell.kind == PULLED_BACK:
        del shapes[1]
    if cell.kind == DENSE:
        del shapes[:2]
    entries = sum(map(prod, shapes)) + sum(map(prod, result_shapes(cell)))
    return entries * np.dtype(cell.dtype).itemsize


def in_both_dtypes(*cells: Cell) -> list[Cell]:
    return [replace(cell, dtype=dtype) for cell in cells for dtype in ("float64", "float32")]


CELLS = in_both_dtypes(
    Cell(NETWORK, (4, 8, 3)),
    Cell(NETWORK, (64, 128, 10)),
    Cell(NETWORK, (784, 512, 10)),
    Cell(NETWORK, (1024,) * 5),
    Cell(NETWORK, (32,) * 51),
    Cell(NETWORK, (784, 512, 10), 128),
    Cell(NETWORK, (1024,) * 5, 256),
    Cell(NETWORK, (784, 512, 10), 4096),
    *(
        Cell(kind, (n,), batch)
        for kind in (CROSS_ENTROPY, SOFTMAX)
        for batch, n in ((4096, 10), (4096, 1000), (64, 50000))
    ),
    Cell(ACTIVATION, (128, 64)),
    Cell(ACTIVATION, (1024, 1024)),
    Cell(ACTIVATION, (512, 784), 128),
    Cell(ACTIVATION, (1024, 1024), 256),
    *(Cell(PULLED_BACK, (d, d)) for d in (256, 512, 1024, 2048, 4096)),
)

GROWTH = [
    *(Cell(NETWORK, (784, 512, 10), batch, growth="batch") for batch in (1, 16, 256, 4096)),
    *(Cell(NETWORK, (width,) * 5, 32, growth="width") for width in (64, 256, 1024)),
    *(Cell(NETWORK, (128,) * (depth + 1), 32, growth="depth") for depth in (2, 8, 32)),
    *(Cell(kind, (d, d), growth="d") for kind in (PULLED_BACK, DENSE) for d in (64, 128, 256)),
]

LIMITS = [
    *in_both_dtypes(Cell(PRODUCT, (2048,))),
    *(Cell(COPY, (2**k,), threads) for k in (12, 16, 20, 24) for threads in {1, os.cpu_count() or 1}),
]
