"""Calls of functions that are in another process: counted, limited in time and memory; and what becomes of it."""

import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .guard import Ended, printable
from .processes import CROWD, Program

LINE = re.compile(r'^  File "(.*)", line (\d+)', re.MULTILINE)  # of the trace of Python's fault handler
TRACE = re.compile(r"^(Fatal Python error|Current thread|Thread 0x).*", re.MULTILINE | re.DOTALL)


SOON = 0.01  # seconds from one look at the processes to the next


class Call(NamedTuple):
    """A call of forward, vjp or jacobian (`kind`); `args` begins with delta if it is vjp; `id` is what the process was
    told.
    """

    kind: str
    number: int
    args: tuple[Any, ...]
    id: str = ""

    def __str__(self) -> str:
        return f"call {self.number:,} of {self.kind}{f' (id {self.id})' if self.id else ''}"


class Gone(Ended):
    """The process is no more, or does not answer: what became of it, in which call, at which line, and its last words.

    `signal_number` is that of the signal which ended it, 0 if none did; it is `slow` if it was ended for its time.
    """

    def __init__(
        self, how: str, call: Call | None, running: bool, line: str, words: str, signal_number: int, slow: bool
    ) -> None:
        super().__init__(how)
        self.slow = slow
        self.how, self.call, self.line, self.words, self.signal_number = how, call, line, words, signal_number
        self.when = f"{'in' if running else 'after'} {call}" if call else ""

    def __str__(self) -> str:
        return self.told()

    def told(self, when: str = "") -> str:
        """In a sentence; `when` is for what ends without a call."""
        return f"{self.how} {self.when or when}{self.line}{self.words}"


class Settled(Gone):
    """The process was ended since it took too long, too much memory, or answered twice: a second try tells no more."""


class Late(Ended):
    """The time for all calls is over; `found` is what had failed until then, if anything had."""

    found = ""


class Calls:
    """The calls of the functions in a process: one gets `step` seconds, all of them `seconds`.

    `memory` is in megabytes, beyond what the process has when it is measured. `on_call` hears of each call before it is
    made. `path` is the Python file that is run there, if it is one.
    """

    def __init__(
        self,
        program: Program,
        *,
        step: float,
        seconds: float = float("inf"),
        memory: int | None = None,
        on_call: Callable[[str, int], None] = lambda kind, number: None,
        path: Path | None = None,
    ) -> None:
        self.program, self.step, self.memory, self.on_call, self.path = program, step, memory, on_call, path
        self.until, self.limit = time.monotonic() + seconds, float("inf")
        self.last: Call | None = None
        self.running, self.looked = False, 0.0
        self.counts: dict[str, int] = {}

    def measure(self) -> None:
        """From now on the memory that the process asks for counts."""
        self.limit = self.program.resident() + (self.memory << 20) if self.memory else self.limit

    def begin(self, kind: str, args: tuple[Any, ...], name: str = "") -> Call:
        """Counts a call that is to be made, with the id `name`."""
        now = time.monotonic()
        if now > self.until:
            raise Late
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.last = Call(kind, self.counts[kind], args, name)
        self.on_call(kind, self.counts[kind])
        self.running = True
        if now > self.looked + SOON:
            self.looked = now
            self._not_a_crowd()
        return self.last

    def within(self, seconds: float) -> Callable[[], None]:
        """What a pipe asks every now and then while it waits: `Gone` if there is nothing to wait for any more."""
        until = time.monotonic() + seconds

        def look() -> None:
            if time.monotonic() > until:
                raise self.gone(f"stopped after {self.step:g} s", Settled, slow=True)
            if self.program.over:  # and a process that it has started holds the pipe
                raise self.gone("")
            self._not_a_crowd()
            if self.limit < float("inf") and self.program.resident() > self.limit:
                raise self.gone(f"stopped for more than the {self.memory:,} MB that it may ask for", Settled)

        return look

    def _not_a_crowd(self) -> None:
        """`Gone` for code that starts processes without end, of which none is left a second to start more."""
        if self.program.crowded:
            self.program.stop()
            raise self.gone(f"stopped for more than the {CROWD} processes that it may start", Settled)

    def gone(self, how: str, kind: type[Gone] = Gone, *, slow: bool = False) -> Gone:
        """What became of the process, which has ended, or is ended for the reason given."""
        program, number = self.program, 0
        if how:
            how += " (a signal has stopped the process)" if program.stopped() else ""
            program.abort()
        else:
            with suppress(Exception):
                program.process.wait(1)
            code = program.process.poll()
            number = -code if code is not None and code < 0 else 0
            program.stop()
            how = "stopped since it closed the pipe of its answers"
            if code is not None:
                how = f"the process was killed by {_name_of_signal(number)}" if number else ""
                how = how or f"the process ended itself with exit code {code}"
        return kind(how, self.last, self.running, self._line(), self._last_words(), number, slow)

    def _line(self) -> str:
        """`, at line 12 of mine.py`, if the trace of Python's fault handler says so."""
        lines = [(Path(name), line) for name, line in LINE.findall(self.program.words())]
        own = [f", at line {line} of {path.name}" for path, line in lines if self.path in (path, *path.parents)]
        return own[0] if own else ""

    def _last_words(self) -> str:
        """The last line on standard error, before the trace of Python's fault handler."""
        lines = TRACE.sub("", self.program.words()).split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f"; it said: {printable(last)[:200]}" if last else ""


def _name_of_signal(number: int) -> str:
    """`SIGSEGV (Segmentation fault)`; of a signal without a name its number."""
    with suppress(ValueError):
        return f"{signal.Signals(number).name} ({signal.strsignal(number)})"
    return f"signal {number}"
