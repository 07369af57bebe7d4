"""Processes of their own for somebody's code: it may crash, exit, hang or eat memory, and the rest goes on."""

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from .guard import printable

POLL = 0.02  # seconds
PROGRAM = "import sys, pathlib; from backprop_properties.checking.worker import main; main(pathlib.Path(sys.argv[1]))"
RUNNING, DONE = b"1", b"0"  # the first byte of a worker's diary


class Task(NamedTuple):
    """A file, and the operation that is checked in it, with the other arguments of `check`; None: look what it has."""

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


class Unusable(NamedTuple):
    """Why nothing could be checked, in a line."""

    message: str


def results(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Any]]:
    """Every task with its result (`Found`, a `Report` or `Unusable`) as they end; no process is left behind."""
    waiting, running = deque(tasks), list[Worker]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(Worker(waiting.popleft()))
            time.sleep(POLL)
            for worker in [worker for worker in running if worker.ended()]:
                running.remove(worker)
                yield worker.task, worker.result()
    finally:
        for worker in running:
            worker.stop()


class Worker:
    """A process with a task."""

    def __init__(self, task: Task) -> None:
        self.task, self.started, self.late = task, time.time(), False
        self.directory = TemporaryDirectory(prefix="backprop-check-", ignore_cleanup_errors=True)
        self.folder = Path(self.directory.name)
        (self.folder / "task").write_bytes(pickle.dumps(task))
        with (self.folder / "errors").open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # what somebody's code prints belongs to nobody's table or JSON
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the process that started this one
            )

    def ended(self) -> bool:
        """Whether the process is over; one that has had its time is ended, and says before where it is."""
        if self.process.poll() is None and time.time() - self.started > self.task.timeout:
            self.late = True
            if sys.platform != "win32":
                self.process.send_signal(signal.SIGABRT)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(1)
            self.stop()
        return self.process.poll() is not None

    def stop(self) -> None:
        """Ends the process and all that it has started."""
        if sys.platform == "win32":
            self.process.kill()
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def result(self) -> Any:
        """What the process has found, or a report of the call that ended it."""
        self.stop()
        with self.directory:
            file = self.folder / "result"
            return pickle.loads(file.read_bytes()) if file.exists() else self._died()

    def _died(self) -> Any:
        at, call, running = self._line(), *self._last_call()
        if call is None:
            when = "while it was imported" if self.task.operation is None else "before the first call"
            return Unusable(f"{self.task.path.name}: {self._how(at)} {when}{self._last_words()}")
        from .report import no_return

        seconds = f", {time.time() - call.started:.1f} s of them" if self.late else ""
        where = f"{'in' if running else 'after'} call {call.number:,} of {call.kind}"
        message = f"{self._how('')}{seconds} {where}{at}{self._last_words()}"
        return no_return(self.task.operation, self.task.options, message, call, f"from {self.task.path.stem}")

    def _how(self, at: str) -> str:
        code = self.process.returncode
        if self.late:
            return f"stopped after {self.task.timeout:g} s{at}"
        if code >= 0:
            return f"the process ended itself with exit code {code}{at}"
        return f"the process was killed by {signal.Signals(-code).name} ({signal.strsignal(-code)}){at}"

    def _last_call(self) -> tuple[Call | None, bool]:
        with suppress(OSError, EOFError, pickle.UnpicklingError):
            text = (self.folder / "call").read_bytes()
            return pickle.loads(text[1:]), text[:1] == RUNNING
        return None, False

    def _line(self) -> str:
        """At which line of the file it ended, as the interpreter's fault handler has put it down."""
        trace = self.folder / "trace"
        lines = re.findall(r'File "(.*)", line (\d+)', trace.read_text() if trace.exists() else "")
        own = [line for name, line in lines if name == str(self.task.path)]
        return f", at line {own[0]} of {self.task.path.name}" if own else ""

    def _last_words(self) -> str:
        """The last line on standard error."""
        lines = (self.folder / "errors").read_text(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f"; it said: {printable(last)[:200]}" if last else ""
