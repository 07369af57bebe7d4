"""Somebody's test run on many versions, in processes of its own: what each answers, or what became of it."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from ..checking import messages as m
from ..checking.guard import printable
from ..checking.pipes import Broken
from ..checking.processes import Program, python
from ..checking.tasks import OWN_IMPORTS
from .audit_messages import Answer, Load, Loaded, Question, Refused, Try

PROGRAM = "from backprop_properties.evidence.audit_process import main; main({})"  # with the number of this process
MOST = 1 << 24  # bytes of an answer
MOST_SAID = 200  # characters of a process's last words


class Lost(Exception):
    """There is no answer: the process ended, or took too long."""


@dataclass
class Processes:
    """Processes that have a test, started when they are needed; one that is lost is replaced by another."""

    load: Load
    timeout: float  # seconds of a run of the test
    programs: set[Program] = field(default_factory=set)
    free: "SimpleQueue[Program]" = field(default_factory=SimpleQueue)

    def start(self) -> Loaded:
        """A process that waits for questions, and what it has; ValueError for a test that cannot be had."""
        program = Program(python(PROGRAM.format(os.getpid())))
        self.programs.add(program)
        try:
            answer = self._asked(program, self.load, self.timeout + 2 * OWN_IMPORTS)
        except Lost as lost:
            raise ValueError(f"{self.load.test or 'the test'} {lost} while it was imported") from None
        if not isinstance(answer, Loaded):
            self._stop(program)
            raise ValueError(answer.message if isinstance(answer, Refused) else "another question was answered")
        self.free.put(program)
        return answer

    def ask(self, question: Question, times: int = 1, seconds: float | None = None) -> "list[Any] | Lost":
        """The answers of one process that is free to a question, as many times; or what became of the process."""
        while True:
            try:
                program = self.free.get_nowait()
                break
            except Empty:
                self.start()
        try:
            answers = [self._asked(program, question, seconds or self.timeout) for _ in range(times)]
        except Lost as lost:
            return lost
        self.free.put(program)
        return answers

    def each(self, questions: Sequence[Question], jobs: int, *how: Any) -> Iterator[tuple[Any, Any]]:
        """Every question with what `ask` says, as they come."""
        with ThreadPoolExecutor(jobs) as pool:
            try:
                waiting = {pool.submit(self.ask, question, *how): question for question in questions}
                for done in as_completed(waiting):
                    yield waiting[done], done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.stop()
                raise

    def stop(self) -> None:
        """Ends all processes."""
        for program in [*self.programs]:
            self._stop(program)

    def _stop(self, program: Program) -> int:
        self.programs.discard(program)
        return program.stop()

    def _asked(self, program: Program, question: Question, seconds: float) -> Answer:
        until = time.monotonic() + seconds
        kind = "of a test" if isinstance(question, Try) else "of one question"

        def look() -> None:
            if time.monotonic() > until:
                program.abort()
                self.programs.discard(program)
                raise Lost(f"hangs: stopped after {seconds:g} s {kind}")

        try:
            program.asks.send(m.encoded(question), until=look)
            body = program.answers.receive(MOST, look)
            if body is not None:
                return m.decoded(body, Answer)
        except (OSError, Broken, m.Undecodable):
            pass
        code = self._stop(program)
        how = f"was killed by signal {-code}" if code < 0 else f"ended its process with exit code {code}"
        last = next((line for line in reversed(program.words().splitlines()) if line.strip()), "")
        raise Lost(f"crashes: it {how}{f' ({printable(last)[:MOST_SAID]})' if last else ''}")
