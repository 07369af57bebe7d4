"""Large arrays in blocks, on all cores: what a formula needs in between stays in the cache, and results alone are new.

The blocks depend on the shape alone and each writes its own part, so a result has the same bits whatever the number of
threads.
"""

import os
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

BLOCK = 3 << 14  # entries: 384 kB in float64; in shorter blocks threads wait for each other between two calls
MANY = 1 << 21  # entries, times passes over them, from which a second thread pays: a millisecond or two
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

# glibc gives a freed array of 128 kB or more back to the system, until it has seen a larger one freed. To get it back,
# page by page and each filled with zeros, takes longer than most formulas. From this one on it keeps up to 64 MB.
np.empty((1 << 25) - (1 << 13), np.uint8)

Work = Callable[[slice], None]


def in_blocks(work: Work, length: int, width: int = 1, passes: int = 1) -> None:
    """`work(block)` for slices that cover `range(length)`, each of about `BLOCK` entries in rows of `width`.

    `passes` is how often the work goes over a block: the more, the sooner a second thread pays.

    >>> import numpy as np
    >>> x, y = np.arange(100_000.0), np.empty(100_000)
    >>> def doubled(block):
    ...     np.add(x[block], x[block], out=y[block])
    >>> in_blocks(doubled, len(x))
    >>> float(y[-1])
    199998.0
    """
    rows = max(BLOCK // max(width, 1), 1)
    blocks = [slice(start, min(start + rows, length)) for start in range(0, length, rows)]
    if CORES == 1 or length * width * passes < MANY or len(blocks) < 2:
        return _all(work, blocks)
    cuts = [len(blocks) * i // CORES for i in range(CORES + 1)]
    shares = [blocks[i:j] for i, j in pairwise(cuts) if i < j]
    running = [_helpers(os.getpid()).submit(copy_context().run, _all, work, share) for share in shares[1:]]
    try:
        _all(work, shares[0])
    finally:
        for share in running:
            share.result()
    return None


def _all(work: Work, blocks: Sequence[slice]) -> None:
    for block in blocks:
        work(block)


@cache
def _helpers(process: int) -> "ThreadPoolExecutor":
    """The threads beside the caller's own; threads do not survive a fork, so each process has its own."""
    from concurrent.futures import ThreadPoolExecutor  # only those who need it pay for the import

    return ThreadPoolExecutor(CORES - 1, f"backprop-{process}")
