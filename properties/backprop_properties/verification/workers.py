"""Who does the work: this process, processes of its own, or any `concurrent.futures.Executor`.

Tasks come back in whatever order they are done. A worker that dies takes nothing with it: another takes its place, and
its task is done again, after all others. What an executor gives up is left undone, and what was done stays.
"""

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar, cast

from .serving import attempt, keep_compiled_programs, serve

Task = TypeVar("Task")
Result = TypeVar("Result")

DEATHS = 3  # of workers at one task, or of each of them with nothing done in between: then it is left undone
UNDER_WAY = 256  # tasks that an executor holds at a time, whatever the number of its workers
PATIENCE = 600.0  # seconds in which some task should come back: a cluster without workers is silent
NAMED = 8  # tasks that a note names
ENDING = ("SIGTERM", "SIGHUP", "SIGINT")


def done(
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    jobs: int,
    executor: Executor | None,
    notes: list[str],
    name: Callable[[Task], str] = str,
    patience: float = PATIENCE,
) -> Generator[tuple[Task, Result], None, None]:
    """Each task with its result; what happened to workers, and which tasks are left undone, is told in `notes`.

    An executor that returns nothing for `patience` seconds is given up.

    >>> list(done(abs, [-1, 2], 1, None, []))
    [(-1, 1), (2, 2)]
    """
    waiting = list(tasks)
    if executor is not None:
        waiting = yield from _by_executor(work, waiting, executor, notes, name, patience)
    elif jobs == 1:
        yield from ((task, work(task)) for task in waiting)
        return
    if waiting:
        yield from _by_processes(work, waiting, jobs, notes, name)


def _result(outcome: tuple[Result, None] | tuple[None, Exception]) -> Result:
    """What a task has come to; what it raised is a fault of ours, and raised here."""
    result, error = outcome
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def _listed(names: Sequence[str]) -> str:
    """Names for a note: the first of them, each once.

    >>> _listed(["dot", "add", "dot"])
    'dot, add'
    """
    each = list(dict.fromkeys(names))
    return ", ".join(each[:NAMED]) + (f" and {len(each) - NAMED} more" if len(each) > NAMED else "")


# ── Processes of our own ────────────────────────────────────────────────────────────────────────────────────────────


class _Worker(NamedTuple):
    process: SpawnProcess
    pipe: Connection

    def how_it_died(self) -> str:
        """`SIGKILL`, or `exit code 1`."""
        self.process.join(1)
        self.process.kill()
        self.process.join()
        code = self.process.exitcode or 0
        known = {int(number): number.name for number in signal.Signals}
        return known.get(-code, f"signal {-code}") if code < 0 else f"exit code {code}"


def _by_processes(
    work: Callable[[Task], Result], tasks: Iterable[Task], jobs: int, notes: list[str], name: Callable[[Task], str]
) -> Generator[tuple[Task, Result], None, None]:
    """Each task with its result, from so many processes, each of which has one task at a time."""
    waiting = deque((task, 0) for task in tasks)  # with the number of workers that died at it
    count = min(jobs, len(waiting))
    idle: list[_Worker] = []
    busy: dict[Connection, tuple[_Worker, Task, int]] = {}
    died, at, undone = Counter[str](), list[str](), list[str]()
    in_a_row = 0
    try:
        while (waiting or busy) and in_a_row < DEATHS * count:
            while waiting and len(busy) < count:
                worker = idle.pop() if idle else _started(work)
                task, deaths = waiting.popleft()
                busy[worker.pipe] = worker, task, deaths
                _give(worker, task)
            for pipe in cast(list[Connection], wait([*busy])):
                worker, task, deaths = busy[pipe]
                try:
                    outcome = pipe.recv()
                except (EOFError, OSError):
                    del busy[pipe]
                    pipe.close()
                    died[worker.how_it_died()] += 1
                    at.append(name(task))
                    in_a_row += 1
                    if deaths + 1 < DEATHS:
                        waiting.append((task, deaths + 1))  # last: if it is the task's fault, the others are done
                    else:
                        undone.append(name(task))
                else:
                    del busy[pipe]
                    idle.append(worker)
                    in_a_row = 0
                    yield task, _result(outcome)
    finally:
        workers = [*idle, *(worker for worker, _, _ in busy.values())]
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.process.join()
        if died:
            how = ", ".join(f"{times} by {reason}" for reason, times in died.items())
            notes.append(f"worker processes died and were replaced: {how}; they were trying {_listed(at)}")
        if undone:
            notes.append(f"left undone, since {DEATHS} workers died at each: {_listed(undone)}")
        left = [name(task) for _, task, _ in busy.values()] + [name(task) for task, _ in waiting]
        if left and in_a_row >= DEATHS * count:
            notes.append(f"left undone, since {in_a_row} workers died in a row: {_listed(left)}")


def _started(work: Callable[[Any], Any]) -> _Worker:
    """A process that waits for tasks; it hears no Ctrl-C from its first moment on."""
    context = multiprocessing.get_context("spawn")
    if os.name == "posix":
        resource_tracker.ensure_running()  # it would let SIGINT through again, in the middle of what follows
    with signals_held_back():
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, os.getpid()), daemon=True)
        process.start()
    theirs.close()
    worker = _Worker(process, ours)
    _give(worker, (keep_compiled_programs, work))
    return worker


def _give(worker: _Worker, something: Any) -> None:
    """Sends it; of a worker that is dead one hears when its result is read."""
    with suppress(OSError):
        worker.pipe.send(something)


# ── An executor of somebody's ───────────────────────────────────────────────────────────────────────────────────────


def _by_executor(
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    executor: Executor,
    notes: list[str],
    name: Callable[[Task], str],
    patience: float,
) -> Generator[tuple[Task, Result], None, list[Task]]:
    """Each task with its result; returned are the tasks of an executor that broke, for processes of our own.

    The task's own exceptions come back as values, so that what a future raises is the executor's: a task that it gives
    up is left undone, and so is the rest once it cancels a task, takes no more, or is silent for too long.
    """
    waiting = deque(tasks)
    under_way: dict[Future[Any], Task] = {}
    over: SimpleQueue[Future[Any]] = SimpleQueue()
    given_up, reasons = list[str](), dict[str, str]()
    closed, broke = "", False
    try:
        while (waiting or under_way) and not closed and not broke:
            try:
                while waiting and len(under_way) < UNDER_WAY:
                    with signals_held_back():
                        future = executor.submit(partial(attempt, work), waiting[0])
                        under_way[future] = waiting.popleft()
                        future.add_done_callback(over.put)
            except Exception as error:
                closed, broke = _said(error), isinstance(error, BrokenExecutor)
                break
            try:
                future = over.get(timeout=min(patience, threading.TIMEOUT_MAX))
                with signals_held_back():
                    outcome = future.result()
            except Empty:
                closed = f"nothing came back within {patience:g} s"
            except CancelledError:
                closed = "it cancelled what was under way"
            except BrokenExecutor:
                broke = True
            except Exception as error:
                given_up.append(name(under_way.pop(future)))
                reasons.setdefault(type(error).__name__, _said(error))
            else:
                yield under_way.pop(future), _result(outcome)
        for future in [future for future in under_way if _succeeded(future)]:
            yield under_way.pop(future), _result(future.result())
    finally:  # under way still: interrupted, or closed, and nobody waits for it
        with signals_held_back():
            for future in under_way:
                future.cancel()
        left = [*under_way.values(), *waiting]
        if given_up:
            notes.append(f"given up by the executor: {_listed(given_up)}; {'; '.join(reasons.values())}")
        if broke:
            notes.append(f"the executor's workers died; processes of this machine do what is left: {len(left)} tasks")
        elif closed:
            notes.append(f"the executor came to an end: {closed}; left undone: {_listed([*map(name, left)])}")
    return left if broke else []


def _succeeded(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _said(error: BaseException) -> str:
    """The name of an exception, and its first line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


# ── Signals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Ctrl-C and the signals that end the command are heard at the end; processes that start meanwhile hear no Ctrl-C.

    Raised inside a future or an executor it would leave a lock taken, and the exit waiting for it.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one is ever interrupted
        yield
        return
    heard: list[int] = []
    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    before = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    for number in before:
        signal.signal(number, lambda number, frame: heard.append(number))
    masks = hasattr(signal, "pthread_sigmask")  # not on Windows: there workers print a traceback each
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masks else set()
    try:
        yield
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in heard:
            signal.raise_signal(number)
