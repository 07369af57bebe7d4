"""Time and memory of the cases so far, from which `affordable` says whether a longer vector is tried."""

import time
import tracemalloc
from collections.abc import Iterable, Mapping

import numpy as np

from ..laws.interruption import Meter

MOST_SECONDS, MOST_BYTES = 4.0, 1 << 30  # that one long case may take


class Measured:
    """Processor time between its begin and its end, and `memory` in bytes, if nobody else measures that."""

    def __init__(self, *, memory: bool = True) -> None:
        self.memory, self.seconds, self.peak = memory, 0.0, 0

    def __enter__(self) -> "Measured":
        self.alone = self.memory and not tracemalloc.is_tracing()
        if self.alone:
            tracemalloc.start()
        self.started = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self.started
        if self.alone:
            self.peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()


class Cost:
    """Around a case: keeps the least processor time and the most memory of the cases of its size, where they count.

    What calls take in another process is in `meter`.
    """

    def __init__(
        self, costs: dict[int, tuple[float, int]], size: int, *, measure: bool, meter: Meter | None = None
    ) -> None:
        self.costs, self.size, self.meter = costs, size, meter or Meter()
        self.here = Measured() if measure and not tracemalloc.is_tracing() else None

    def __enter__(self) -> None:
        if self.here:
            self.meter.start()
            self.here.__enter__()

    def __exit__(self, *_: object) -> None:
        if self.here:
            self.here.__exit__()
            self.meter.on = False
            seconds, peak = self.here.seconds + self.meter.seconds, self.here.peak + self.meter.peak
            before = self.costs.get(self.size, (seconds, peak))
            self.costs[self.size] = min(before[0], seconds), max(before[1], peak)


def near(size: int, sizes: Iterable[int]) -> bool:
    """Whether `sizes` has one within a tenth of `size`, so that another measurement is not worth its time."""
    return any(9 * n < 10 * size and 9 * size < 10 * n for n in sizes)


def affordable(costs: Mapping[int, tuple[float, int]], size: int) -> bool:
    """Whether a case of this size would fit into memory and end soon.

    Memory is taken to grow with the power of the size that two known sizes show, time with the same power, since two
    times are too noisy to show one. If there are no two sizes: memory with the square, time in proportion.
    """
    known = sorted(n for n in costs if n < size)
    if size in costs or not known:
        return True
    last = known[-1]
    (seconds, peak), growth = costs[last], size / last
    power, smaller = None, [n for n in known if 2 * n <= last]  # of two sizes that are close, noise decides
    if smaller:
        power = np.log(max(peak, 1) / max(costs[smaller[-1]][1], 1)) / np.log(last / smaller[-1])
    of_memory, of_time = max(power or 2.0, 1.0), max(power or 1.0, 1.0)
    return bool(peak * growth**of_memory <= MOST_BYTES and seconds * growth**of_time <= MOST_SECONDS)
