"""What the machine can do, measured in the same run: matrix products and copies; and what a cell would take at that.

    limit of a cell = its flops / the rate of a matrix product + the time of a copy that moves as many bytes

The rate is that of the fastest contender at 2048×2048, for each dtype. A copy moves what it reads and what it writes;
it is measured at several sizes, since what fits a cache moves faster, by one thread and by one for each core.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from .cells import COPY, PRODUCT, Cell, flops, moved_bytes
from .turns import Measured


@dataclass(frozen=True)
class Limits:
    """Flops a second by dtype, and bytes a second by the number of bytes moved."""

    flop_rate: dict[str, float]
    byte_rate: dict[int, float]

    def seconds(self, cell: Cell) -> float:
        """The least time for a cell; between two sizes of copies the bandwidth is interpolated.

        >>> round(Limits({"float64": 1e9}, {10: 1e6, 1000: 1e6}).seconds(Cell("softmax_vjp", (10,), 100)), 9)
        0.024
        """
        moved, sizes = moved_bytes(cell), sorted(self.byte_rate)
        rates = [log(self.byte_rate[size]) for size in sizes]
        bandwidth = np.exp(np.interp(log(moved), [log(size) for size in sizes], rates))
        work = flops(cell)
        return float((work / self.flop_rate[cell.dtype] if work else 0) + moved / bandwidth)


def limits(measured: Sequence[Measured]) -> Limits | None:
    """From the cells of products and copies; None while there are too few."""
    flop_rate: dict[str, float] = {}
    byte_rate: dict[int, float] = {}
    for m in measured:
        if m.seconds:
            best = min(m.seconds.values())
            if m.cell.kind == PRODUCT:
                flop_rate[m.cell.dtype] = flops(m.cell) / best
            if m.cell.kind == COPY:
                moved = moved_bytes(m.cell)
                byte_rate[moved] = max(byte_rate.get(moved, 0), moved / best)
    return Limits(flop_rate, byte_rate) if len(flop_rate) == 2 and byte_rate else None
