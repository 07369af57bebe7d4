"""Large arrays in blocks, on all cores: what a formula needs in between stays in the cache, and results alone are new.

A fresh array of a few hundred kilobytes costs more in page faults than the arithmetic that fills it. The blocks depend
on the shape alone and each writes its own part, so a result has the same bits whatever the number of threads.
"""

import os
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import cache
from itertools import accumulate, pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

BLOCK = 3 << 12  # entries: 96 kB in float64, a few of which fit a core's own cache
MANY = 1 << 21  # entries, times passes over them, from which a second thread pays: a millisecond or two
PAGE = 1 << 21  # bytes of a large page
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

Work = Callable[[Sequence[slice]], None]


def in_blocks(work: Work, length: int, width: int = 1, passes: int = 1) -> None:
    """`work(blocks)` for slices that cover `range(length)`, each of about `BLOCK` entries in rows of `width`.

    Each thread gets a share of them, and may use its buffers again from block to block. `passes` is how often the work
    goes over a block: the more, the sooner a second thread pays.

    >>> import numpy as np
    >>> x, y = np.arange(20_000.0), np.empty(20_000)
    >>> def doubled(blocks):
    ...     for block in blocks:
    ...         np.add(x[block], x[block], out=y[block])
    >>> in_blocks(doubled, len(x))
    >>> float(y[-1])
    39998.0
    """
    rows = max(BLOCK // max(width, 1), 1)
    blocks = [slice(start, min(start + rows, length)) for start in range(0, length, rows)]
    if CORES == 1 or length * width * passes < MANY or len(blocks) < 2:
        return work(blocks)
    cuts = [len(blocks) * i // CORES for i in range(CORES + 1)]
    shares = [blocks[i:j] for i, j in pairwise(cuts) if i < j]
    running = [_helpers(os.getpid()).submit(copy_context().run, work, share) for share in shares[1:]]
    try:
        work(shares[0])
    finally:
        for share in running:
            share.result()
    return None


def fresh(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An empty array that starts where a large page of memory does, if it fills one: then that costs one page fault.

    >>> fresh((2, 3), np.dtype(np.float32)).shape
    (2, 3)
    """
    size = prod(shape) * dtype.itemsize
    if size < PAGE:
        return np.empty(shape, dtype)
    raw = np.empty(size + PAGE, np.uint8)
    start = -raw.ctypes.data % PAGE
    return raw[start : start + size].view(dtype).reshape(shape)


def scratch(shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any]) -> list[NDArray[Any]]:
    """Empty arrays in one piece of memory: many would go back to the system each time, and come back page by page.

    >>> [a.shape for a in scratch([(2, 3), (4,)], np.dtype(np.float64))]
    [(2, 3), (4,)]
    """
    sizes = [prod(shape) for shape in shapes]
    ends, whole = [*accumulate(sizes)], np.empty(sum(sizes), dtype)
    return [whole[end - size : end].reshape(s) for size, end, s in zip(sizes, ends, shapes, strict=True)]


@cache
def _helpers(process: int) -> "ThreadPoolExecutor":
    """The threads beside the caller's own; threads do not survive a fork, so each process has its own."""
    from concurrent.futures import ThreadPoolExecutor  # only those who need it pay for the import

    return ThreadPoolExecutor(CORES - 1, f"backprop-{process}")
