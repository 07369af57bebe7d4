"""How it is measured: a process for each contender, one at work while the others sleep, round by round.

Frameworks in one process slow each other two to three times through their pools of threads. A slice is one call that
is not counted, which wakes the threads and fills the caches, and then as many as fit the time; a result is dropped
before the next call, and the next contender waits until the threads of this one rest. What is kept of a slice is its
median, and of a cell the median over the rounds, of which a slow cell has fewer.
"""

import ctypes
import gc
import multiprocessing as mp
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from .cells import COPY, NETWORK, Cell, inputs, result_shapes
from .contenders import REFERENCE, Contender, leaves

BUDGET = 3.0  # seconds for the turns of a cell: after that no new round begins
PATIENCE = 120.0  # seconds for one answer
M_MMAP_THRESHOLD = -3  # of malloc.h: larger blocks come from the system, and go back to it when they are freed
REST = 0.01  # seconds: a worker is at rest when its threads compute for less than a tenth of so long


class Failed(Exception):
    """A contender has no answer; the text says why."""


# ── In the worker ───────────────────────────────────────────────────────────────────────────────────────────────────


def serve(pipe: Connection, contender: Contender) -> None:
    """Answers requests until there are no more."""
    array: Any = None
    makers: Any = {}
    call: Any = None
    while True:
        try:
            match pipe.recv():
                case "load", _:
                    array, makers = contender.load()
                    pipe.send(sorted(makers))
                case "prepare", cell:
                    call = None  # and its arrays with it
                    call = makers[cell.kind](*map(array, inputs(cell)))
                    found = results(cell, call())
                    settle()
                    pipe.send(found)
                case "weigh", cell:
                    with suppress(OSError, AttributeError):
                        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 17)
                    with suppress(KeyError):
                        vars(sys.modules["backprop_reference.numerics.parallel"])["KEPT"] = (
                            0  # nor does the reference keep any
                        )
                    call = makers[cell.kind](*map(array, inputs(cell)))
                    pipe.send(peak_bytes(call))
                case "run", seconds:
                    pipe.send(timed(call, seconds))
        except EOFError:
            return
        except Exception as error:
            pipe.send(Failed(f"{type(error).__name__}: {error}"))


def results(cell: Cell, result: Any) -> list[Any]:
    """Of each array its shape, dtype and `digest`; the loss of a network is summed over the batch."""
    arrays = [] if cell.kind == COPY else list(leaves(result))
    if cell.kind == NETWORK:
        arrays[0] = arrays[0].sum()
    return [(a.shape, a.dtype.name, digest(a)) for a in arrays]


def digest(a: Any) -> Any:
    """The entries, but of a large array the sums of blocks, with weights, so that their order counts.

    >>> digest(np.arange(3.0)), digest(np.ones(4 << 16)).shape
    (array([0., 1., 2.]), (65536,))
    """
    flat = a.ravel()
    block = max(1, flat.size >> 16)
    weights = np.linspace(1, 2, block, dtype=a.dtype)
    whole = flat.size - flat.size % block
    return np.append(flat[:whole].reshape(-1, block) @ weights, flat[whole:])


def timed(call: Any, seconds: float) -> float:
    """The median duration of a call, over calls for so many seconds, and at least one."""
    call()
    gc.collect()
    gc.disable()
    durations = []
    until = time.perf_counter() + seconds
    while not durations or time.perf_counter() < until:
        started = time.perf_counter()
        call()
        durations.append(time.perf_counter() - started)
    gc.enable()
    settle()
    return median(durations)


def settle() -> None:
    """Waits until this process's threads rest: OpenBLAS's look for work a tenth of a second, on another's core."""
    until, before = time.perf_counter() + 1, 0.0
    while time.process_time() - before > REST / 10 and time.perf_counter() < until:
        before = time.process_time()
        time.sleep(REST)


def peak_bytes(call: Any) -> int | None:
    """Resident memory of one call at its peak, beyond what was there before; None where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    call()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is there
    before = _kilobytes(status, "VmRSS")
    call()
    return 1024 * max(0, _kilobytes(status, "VmHWM") - before)


def _kilobytes(status: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))


# ── In the parent ───────────────────────────────────────────────────────────────────────────────────────────────────


class Worker:
    """A contender in a process of its own."""

    def __init__(self, contender: Contender) -> None:
        self.name = contender.name
        context = mp.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, contender), daemon=True)
        deaf = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is the parent's alone
        self.process.start()
        signal.signal(signal.SIGINT, deaf)
        theirs.close()
        self.tell("load")
        try:
            self.kinds: list[str] = self.answer()
        except Failed:
            self.close()
            raise

    def tell(self, what: str, about: object = None) -> None:
        with suppress(BrokenPipeError):  # `answer` will say so
            self.pipe.send((what, about))

    def answer(self) -> Any:
        """Failed, if the worker says so, dies, or says nothing."""
        try:
            if not self.pipe.poll(PATIENCE):
                self.process.kill()
                self.process.join()
                raise Failed(f"no answer within {PATIENCE:.0f} s")
            answer = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            raise Failed(f"died with exit code {self.process.exitcode}") from None
        if isinstance(answer, Failed):
            raise answer
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


@dataclass
class Measured:
    """A cell with the median seconds of each round, the peak bytes and the problem, each by the contender's name."""

    cell: Cell
    rounds: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, int | None] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> dict[str, float]:
        return {name: median(rounds) for name, rounds in self.rounds.items() if name not in self.problems}


class Workers:
    """All contenders. One that dies is started again for the next cell, one that does not start is left out."""

    def __init__(self, contenders: Iterable[Contender]) -> None:
        self.contenders = list(contenders)
        self.running: dict[str, Worker] = {}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.running.values():
            worker.close()

    def measure(self, cell: Cell, rounds: int, seconds: float, budget: float = BUDGET) -> Measured:
        """Every contender's results are compared with the reference's before anything is timed."""
        found = Measured(cell)
        self._start(found)
        able = [worker for worker in self.running.values() if cell.kind in worker.kinds]
        for worker in able:
            worker.tell("prepare", cell)
        prepared = {worker.name: self._answer(found, worker) for worker in able}
        for name, digests in prepared.items():
            if digests is not None:
                problem = difference(cell, digests, prepared.get(REFERENCE.name) or digests)
                found.problems |= {name: problem} if problem else {}
        until = time.perf_counter() + budget
        for turn in range(rounds if able else 0):
            if turn and time.perf_counter() > until:
                break
            first = turn % len(able)
            for worker in able[first:] + able[:first]:
                if worker.name not in found.problems:
                    worker.tell("run", seconds)
                    duration = self._answer(found, worker)
                    found.rounds.setdefault(worker.name, []).extend([] if duration is None else [duration])
        return found

    def weigh(self, found: Measured) -> None:
        """Adds the peak memory of a call: in workers that time nothing, since `malloc` is told to keep nothing."""
        self._start(found)
        for worker in list(self.running.values()):
            if found.cell.kind in worker.kinds and worker.name not in found.problems:
                worker.tell("weigh", found.cell)
                found.memory[worker.name] = self._answer(found, worker)

    def _start(self, found: Measured) -> None:
        for contender in list(self.contenders):
            if contender.name not in self.running:
                try:
                    self.running[contender.name] = Worker(contender)
                except Failed as failed:
                    found.problems[contender.name] = f"does not start: {failed}"
                    self.contenders.remove(contender)

    def _answer(self, found: Measured, worker: Worker) -> Any:
        """None and a note of the problem, if there is no answer."""
        try:
            return worker.answer()
        except Failed as failed:
            found.problems[worker.name] = str(failed)
            if not worker.process.is_alive():
                self.running.pop(worker.name).close()
            return None


def difference(cell: Cell, found: Sequence[Any], expected: Sequence[Any]) -> str | None:
    """What is wrong with `results`: a shape, a dtype, or an entry of a digest off by more than √eps of the largest."""
    if cell.kind == COPY:
        return None
    shapes = [shape for shape, _, _ in found]
    if shapes != result_shapes(cell):
        return f"wrong shapes: {shapes}"
    tolerance = float(np.finfo(cell.dtype).eps) ** 0.5
    for i, ((_, dtype, a), (_, _, b)) in enumerate(zip(found, expected, strict=True)):
        if dtype != cell.dtype:
            return f"wrong dtype: {dtype}"
        off = np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), sys.float_info.min)
        if not off <= tolerance:
            return f"wrong results: number {i} is off by {off:.1e} of the reference's largest entry"
    return None
