"""Processes of their own for somebody's code: it may crash, exit, hang or eat memory, and the rest goes on."""

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

POLL, LOOK = 0.005, 0.25  # seconds from one look at a process to the next, and at what it does
A_STEP = 0.25  # of its time a process may spend in one call, or importing the file
OWN_IMPORTS = 60  # seconds for what this project imports, which is not somebody's time
PROGRAM = "import sys, pathlib; from backprop_properties.checking.worker import main; main(pathlib.Path(sys.argv[1]))"
RUNNING, DONE = b"1", b"0"  # the first byte of a worker's diary


class Task(NamedTuple):
    """A file, and the operation that is to be checked in it; with None its functions are only listed."""

    path: Path
    operation: str | None
    timeout: float
    memory: int | None = None  # megabytes
    options: Mapping[str, Any] = {}

    @property
    def key(self) -> tuple[Path, str | None]:
        return self.path, self.operation


class Call(NamedTuple):
    """A call of forward, vjp or jacobian (`kind`); `args` begins with delta if it is vjp."""

    kind: str
    number: int
    started: float  # time.time()
    args: tuple[Any, ...]


class Found(NamedTuple):
    """What a file has: the functions of each operation by kind, what the file defines itself, and every name."""

    functions: Mapping[str, tuple[str, ...]]
    own: frozenset[str]
    names: tuple[str, ...]


class Unchecked(NamedTuple):
    """Why nothing could be checked, in a line."""

    message: str


def results(
    tasks: Sequence[Task],
    jobs: int,
    on_wait: Callable[[Sequence["Worker"]], None] = lambda workers: None,
    spare: "Process | None" = None,
) -> Iterator[tuple[Task, Any]]:
    """Every task with its result (`Found`, a `Report` or `Unchecked`) as they end; no process is left behind.

    The first task goes to a spare process, if there is one.
    """
    waiting, running = deque(tasks), list[Worker]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(Worker(waiting.popleft(), spare))
                spare = None
            time.sleep(POLL)
            on_wait(running)
            for worker in [worker for worker in running if worker.ended()]:
                running.remove(worker)
                yield worker.task, worker.result()
    finally:
        for worker in running:
            worker.process.stop()


class Process:
    """A process for a task; one without a task yet imports what a check needs, and waits."""

    def __init__(self, task: Task | None = None) -> None:
        self.directory = TemporaryDirectory(prefix="backprop-check-", ignore_cleanup_errors=True)
        self.folder = Path(self.directory.name)
        if task is not None:
            self.give(task)
        with (self.folder / "errors").open("wb") as errors:
            self.started = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # what somebody's code prints belongs to nobody's table or JSON
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the process that started this one
            )

    def give(self, task: Task) -> None:
        """Hands the process its task."""
        (self.folder / "order").write_bytes(pickle.dumps(task))
        (self.folder / "order").rename(self.folder / "task")

    def stop(self) -> None:
        """Ends the process and all that it has started."""
        if sys.platform == "win32":
            self.started.kill()
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.started.pid, signal.SIGKILL)
        self.started.wait()


@contextmanager
def spare_process() -> Iterator[Process]:
    """A process that is ready for a check as soon as there is one; it is ended if none comes."""
    process = Process()
    try:
        yield process
    finally:
        if process.folder.exists():  # else it has had a task, and is over
            process.stop()
            process.directory.cleanup()


class Worker:
    """A process with a task: what it does now, whether it has hung, and what came of it."""

    def __init__(self, task: Task, spare: Process | None = None) -> None:
        self.task, self.started, self.look = task, time.time(), 0.0
        self.ready = self.hung = self.late = False
        self.last: tuple[Call | None, bool] = None, False
        if spare is not None:
            spare.give(task)
        self.process = spare or Process(task)
        self.folder = self.process.folder

    def _over(self) -> bool:
        return self.process.started.poll() is not None

    def ended(self) -> bool:
        """Whether the process is over; one that hangs or exceeds its time is aborted, with its line in the trace."""
        now = time.time()
        if not self._over() and now >= self.look:
            self.look = now + LOOK
            if not self.ready and (self.folder / "ready").exists():
                self.ready, self.started = True, now
            self.hung = self.ready and now - self._step() > self.task.timeout * A_STEP
            self.late = now - self.started > self.task.timeout + (0 if self.ready else OWN_IMPORTS)
            if self.hung or self.late:
                self._abort()
        return self._over()

    def _step(self) -> float:
        """When the current call, or the import of the file, began."""
        call, running = self._last_call()
        return self.started if call is None else call.started if running else time.time()

    @property
    def state(self) -> str:
        """How far it is: `tanh: 1,204 calls of vjp, 12 s of at most 240`."""
        call, _ = self._last_call()
        calls = f"{call.number:,} calls of {call.kind}" if call else "starting"
        return f"{self.task.operation}: {calls}, {time.time() - self.started:.0f} s of at most {self.task.timeout:g}"

    def _abort(self) -> None:
        if sys.platform != "win32":
            self.process.started.send_signal(signal.SIGABRT)
            with suppress(subprocess.TimeoutExpired):
                self.process.started.wait(1)
        self.process.stop()

    def result(self) -> Any:
        """What the process has found, or a report of the call that ended it."""
        self.process.stop()
        with self.process.directory:
            file = self.folder / "result"
            return pickle.loads(file.read_bytes()) if file.exists() else self._died()

    def _died(self) -> Any:
        at, call, running = self._line(), *self._last_call()
        name = self.task.path.name
        if call is None or self.task.operation is None:
            when = "while it was imported" if self.task.operation is None else "before the first call"
            return Unchecked(f"{name}: {self._how()} {when}{at}{self._last_words()}")
        if self.late and not self.hung:
            far = f"not done after {self.task.timeout:g} s and {call.number:,} calls of {call.kind}"
            advice = "--timeout gives it more, --examples tries fewer cases"
            return Unchecked(f"{name}: {self.task.operation} is slow: {far}; {advice}")
        from .report import no_return

        where = f"{'in' if running else 'after'} call {call.number:,} of {call.kind}"
        message = f"{self._how()} {where}{at}{self._last_words()}"
        return no_return(str(self.task.operation), self.task.options, message, call, self.task.path)

    def _how(self) -> str:
        if self.hung or self.late:
            return f"stopped after {self.task.timeout * A_STEP if self.hung else self.task.timeout:g} s"
        code = self.process.started.returncode
        if code >= 0:
            return f"the process ended itself with exit code {code}"
        return f"the process was killed by {signal.Signals(-code).name} ({signal.strsignal(-code)})"

    def _last_call(self) -> tuple[Call | None, bool]:
        """The last call in the diary, and whether it still runs; a call that is half written does not count yet."""
        with suppress(Exception):
            text = (self.folder / "call").read_bytes()
            self.last = pickle.loads(text[1:]), text[:1] == RUNNING
        return self.last

    def _line(self) -> str:
        """`, at line 3 of mine.py`, from the trace of Python's fault handler, or nothing."""
        trace = self.folder / "trace"
        lines = re.findall(r'File "(.*)", line (\d+)', trace.read_text() if trace.exists() else "")
        own = [line for name, line in lines if name == str(self.task.path)]
        return f", at line {own[0]} of {self.task.path.name}" if own else ""

    def _last_words(self) -> str:
        """The last line on standard error."""
        from .guard import printable

        lines = (self.folder / "errors").read_text(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f"; it said: {printable(last)[:200]}" if last else ""
