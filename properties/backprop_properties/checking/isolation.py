"""The judges: processes that check somebody's files, several at a time, and what they say."""

import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from . import messages as m
from .pipes import Broken
from .processes import Program, judge, stop
from .tasks import OWN_IMPORTS, Busy, Task, Unchecked, Word

LARGEST = 1 << 28  # bytes of a report
WAIT = 0.05  # seconds from one look at the judges to the next
GRACE = 30  # seconds that a judge has after its time, to say so itself


class Judge:
    """A process that does one task after the other: a new one, or one that is there."""

    def __init__(self, program: Program | None = None) -> None:
        self.program = program or judge()
        self.task: Task | None = None
        self.started, self.busy = time.monotonic(), Busy("", 0)
        self.used = False

    def give(self, task: Task) -> None:
        """Hands it a task."""
        self.task, self.started, self.busy = task, time.monotonic(), Busy("", 0)
        defined = task.defined and not task.submission
        self.used = self.used or bool(defined or (task.command and task.definitions))
        with suppress(OSError):  # it has died: what it says, or does not, tells
            self.program.asks.send(m.encoded(task), until=lambda: None)

    @property
    def state(self) -> str:
        """How far it is: `tanh: 1,204 calls of vjp, 12 s of at most 240`."""
        assert self.task
        calls = f"{self.busy.number:,} calls of {self.busy.kind}" if self.busy.number else "starting"
        seconds = time.monotonic() - self.started
        handed = self.task.submission
        whose = f"{handed.name}, " if handed and handed.name else ""
        what = whose + (self.task.operation or self.task.path.name)
        return f"{what}: {calls}, {seconds:.0f} s of at most {self.task.timeout:g}"

    def result(self) -> Any:
        """What it says now: a `Report`, `Found` or `Unchecked`; None if that is only that it is busy."""
        assert self.task
        name, timeout = self.task.name, self.task.timeout
        until = time.monotonic() + GRACE

        def look() -> None:
            if time.monotonic() > until:
                raise Broken("half a message")

        try:
            body = self.program.answers.receive(LARGEST, look)
            if body is None:
                return Unchecked(f"{name}: {self._died()}", lost=True)
            said = m.decoded(body, Word)
            if isinstance(said, Busy):
                self.busy = said
                return self.result() if self.program.answers.rest else None  # what is read already wakes nobody
            if said.report is not None:
                from .report import Report

                return m.decoded(said.report, Report)
            return said.found or Unchecked(said.unchecked, said.slow)
        except (OSError, Broken, m.Undecodable) as error:
            return Unchecked(f"{name}: what was said of it in {timeout:g} s cannot be read ({error})", lost=True)

    def _died(self) -> str:
        code = self.program.stop()
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        what = f"{self.busy.kind} was called" if self.busy.number else "its file was run"
        return f"the process that judges it was {how} while {what}; neither right nor wrong"

    @property
    def overdue(self) -> bool:
        """Whether it is far beyond its time, as one is that hangs in a definition."""
        seconds = time.monotonic() - self.started
        return self.task is not None and seconds > 2 * self.task.timeout + 2 * OWN_IMPORTS + GRACE

    def stop(self) -> None:
        """Ends the process, which ends all below it."""
        stop(self.program)


def results(
    tasks: Sequence[Task],
    jobs: int,
    free: list[Judge],
    on_wait: Callable[[Sequence[Judge]], None] = lambda judges: None,
) -> Iterator[tuple[Task, Any]]:
    """Every task with its result (`Found`, a `Report` or `Unchecked`) as they end.

    Judges that are `free` are taken first, those that have looked into the same file before others, and become free
    again, but for those that have run a definition of somebody's: nobody knows what else that did.
    """
    waiting, running = deque(tasks), list[Judge]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.popleft()
                known = next((k for k, judge in enumerate(free) if judge.task and judge.task.path == task.path), -1)
                one = free.pop(known) if free else Judge()
                running.append(one)
                one.give(task)
            ready, _, _ = select.select([judge.program.answers.number for judge in running], [], [], WAIT)
            on_wait(running)
            for judge in [judge for judge in running if judge.program.answers.number in ready or judge.overdue]:
                task = judge.task or task
                result: Any = Unchecked(
                    f"{task.name}: {task.operation} is slow: stopped after {judge.state}", slow=True
                )
                late = judge.overdue
                if not late:
                    result = judge.result()
                if result is None:
                    continue
                running.remove(judge)
                if judge.used or late or judge.program.over:
                    judge.stop()
                else:
                    free.append(judge)
                yield task, result
    finally:
        for judge in running:
            judge.stop()
