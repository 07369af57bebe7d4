"""A block: many cases of one shape and dtype, which both sides take at once; and how it is drawn."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from backprop_reference import Operation

from .case import Array, Case
from .domains import into_domain
from .regimes import regime_case, regimes_of

ROWS, ENTRIES = 1024, 2**16  # that a block has at most: what the program in between holds stays within some 100 MB
TOGETHER = (1, *(8,) * 4, *(32,) * 11)  # how many rows share their parameters
BLOCKS = 4  # of a shape, of one dtype and the other in turn


@dataclass(frozen=True)
class Block:
    """Many cases of one shape and dtype: a row of `delta` and of data for each, parameters for each run of rows.

    `starts` are the first rows of the runs. Where there are no parameters, there is one run.
    """

    operation: Operation
    args: tuple[Array, ...]
    delta: Array
    starts: Array

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.delta.dtype

    @property
    def is_data(self) -> tuple[bool, ...]:
        return self.operation.is_data

    @cached_property
    def run(self) -> Array:
        """The run that each row belongs to."""
        return np.repeat(np.arange(len(self.starts)), np.diff([*self.starts, len(self.delta)]))

    @property
    def by_row(self) -> list[Array]:
        """The arguments with a row for each case."""
        return [a if data else a[self.run] for a, data in zip(self.args, self.is_data, strict=True)]

    def runs(self) -> Iterator[tuple[Array, ...]]:
        """`delta` and the arguments of each run, as the operation takes them; copies."""
        for k, (start, end) in enumerate(zip(self.starts, [*self.starts[1:], len(self.delta)], strict=True)):
            args = (a[start:end] if data else a[k] for a, data in zip(self.args, self.is_data, strict=True))
            yield tuple(np.array(a) for a in (self.delta[start:end], *args))

    @property
    def jacobian_entries(self) -> int:
        """Of the largest Jacobian of one row."""
        return self.delta[:1].size * max(a[:1].size for a in self.args)

    def row(self, k: int) -> Case:
        """One case, as the laws take it."""
        args = tuple(np.array(a[k]) for a in self.by_row)
        return Case(args, np.array(self.delta[k]), tuple(np.ones_like(a) for a in args))

    def part(self, rows: Array) -> "Block":
        """The block of some of the rows."""
        runs, starts = np.unique(self.run[rows], return_index=True)
        args = tuple(a[rows] if data else a[runs] for a, data in zip(self.args, self.is_data, strict=True))
        return Block(self.operation, args, self.delta[rows], starts)


# ── Drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def rows_of(operation: Operation, sizes: Mapping[str, int], examples: int) -> int:
    """How many rows a block of these sizes has: a power of two, so that shapes that come again are the same.

    However few examples there are, they are of eight shapes; of nothing there are not many.
    """
    if 0 in sizes.values():
        return 16
    entries = sum(math.prod(sizes[letter] for letter in core) for core in operation.cores)
    most = min(ROWS, ENTRIES // entries, examples // (8 * BLOCKS))
    return 2 ** int(math.log2(max(most, 1)))


def draw_block(
    operation: Operation, sizes: Mapping[str, int], dtype: np.dtype[Any], rows: int, draw: np.random.Generator
) -> Block:
    """A block with as many rows of each regime of the row's promise."""
    regimes = [regime for regime in regimes_of(operation) if regime != "masks"]
    shares = [len(share) for share in np.array_split(np.arange(rows), len(regimes))]
    parts: list[Case] = []
    lengths: list[int] = []
    data = operation.is_data
    for regime, share in zip(regimes, shares, strict=True):
        length = share if all(data) else min(int(draw.choice(TOGETHER)), share)
        if share:
            batch = (-(-share // length), length)
            parts.append(regime_case(operation, regime, dtype, draw, sizes, batch=batch))
            lengths += [length] * (share // length) + [share % length] * bool(share % length)

    def joined(arrays: Sequence[Array], rowwise: bool) -> Array:
        if not rowwise:
            return np.concatenate(arrays)
        rows = (a.reshape(a.shape[0] * a.shape[1], *a.shape[2:]) for a in arrays)
        return np.concatenate([a[:share] for a, share in zip(rows, filter(None, shares), strict=True)])

    args = [joined([part.args[i] for part in parts], rowwise) for i, rowwise in enumerate(data)]
    args = [into_domain(operation.domain.get(name, ""), a) for name, a in zip(operation.arguments, args, strict=True)]
    starts = np.array([0]) if all(data) else np.cumsum([0, *lengths[:-1]])
    return Block(operation, tuple(args), joined([part.delta for part in parts], True), starts)
