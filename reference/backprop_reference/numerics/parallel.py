"""Large arrays in blocks, on all cores, in memory that is used again.

A block's intermediate results stay in the cache. The blocks depend on the shape alone and each writes its own part,
so a result has the same bits whatever the number of threads.
"""

import os
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import cache
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

BLOCK = 3 << 14  # entries: 384 kB in float64; in shorter blocks threads wait for each other between two calls
MANY = 1 << 21  # entries, times passes over them, from which a second thread pays: a millisecond or two
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

LARGE = 1 << 20  # bytes: what large results used waits for the next one
KEPT = 1 << 27  # bytes that wait, at most

# glibc gives a freed array of 128 kB or more back to the system, until it has seen a larger one freed. To get it back,
# page by page and each filled with zeros, takes longer than most formulas. After this one it keeps up to 8 MB.
np.empty(4 * LARGE, np.uint8)

Work = Callable[[slice], None]


def in_blocks(work: Work, length: int, width: int = 1, passes: int = 1, block: int = BLOCK) -> None:
    """`work(part)` for slices that cover `range(length)`, of equal sizes, about `block` entries in rows of `width`.

    `passes` is how often the work goes over a part: the more, the sooner a second thread pays.

    >>> import numpy as np
    >>> x, y = np.arange(100_000.0), np.empty(100_000)
    >>> def doubled(part):
    ...     np.add(x[part], x[part], out=y[part])
    >>> in_blocks(doubled, len(x))
    >>> float(y[-1])
    199998.0
    """
    count = -(-length * width // block) or 1
    if count > 1:
        count += count % 2  # as many for each of two threads
    count = max(min(count, length), 1)
    cuts = [length * i // count for i in range(count + 1)]
    blocks = [slice(i, j) for i, j in pairwise(cuts)]
    if CORES == 1 or length * width * passes < MANY or len(blocks) < 2:
        return _all(work, blocks)
    ends = [len(blocks) * i // CORES for i in range(CORES + 1)]
    shares = [blocks[i:j] for i, j in pairwise(ends) if i < j]
    running = []
    for share in shares[1:]:
        try:
            running.append(_helpers(os.getpid()).submit(copy_context().run, _all, work, share))
        except RuntimeError:  # the interpreter is about to end, and starts no more work
            shares[0] = [*shares[0], *share]
    try:
        _all(work, shares[0])
    finally:
        for future in running:
            future.exception()  # waits: nobody writes any more
    for future in running:
        future.result()
    return None


def fresh(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An empty array, C-contiguous; if it is large, where possible on memory of a result that nobody holds any more.

    >>> fresh((2, 3), np.dtype(np.float32)).shape
    (2, 3)
    """
    size = prod(shape) * dtype.itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    fitting = [memory for memory in list(_spare.values()) if size <= memory.size <= 2 * size]
    memory = _spare.pop(id(fitting[-1]), None) if fitting else None
    if memory is None:  # nothing fits, or another thread was quicker
        memory = np.empty(size, np.uint8)
    whole = np.frombuffer(memory.data, np.uint8, size)  # lives as long as an array on this memory does
    finalize(whole, _keep, memory).atexit = False
    return whole.view(dtype).reshape(shape)


def _keep(memory: NDArray[np.uint8]) -> None:
    _spare[id(memory)] = memory
    kept = 0
    for key, spare in reversed(list(_spare.items())):
        kept += spare.size
        if kept > KEPT:
            _spare.pop(key, None)  # the oldest


_spare: dict[int, NDArray[np.uint8]] = {}  # by id, since taking an entry out of it is one step


def _all(work: Work, blocks: Sequence[slice]) -> None:
    for block in blocks:
        work(block)


@cache
def _helpers(process: int) -> "ThreadPoolExecutor":
    """The threads beside the caller's own; threads do not survive a fork, so each process has its own."""
    from concurrent.futures import ThreadPoolExecutor  # only those who need it pay for the import

    return ThreadPoolExecutor(CORES - 1, f"backprop-{process}")
