"""A program in any language as functions here: it is started, and asked a line of JSON for each call."""

import shlex
import subprocess
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..laws.skipped import Skipped
from . import protocol as p
from .calls import Call, Calls, Gone, Settled
from .guard import UNREADABLE, Unusable, printable
from .pipes import Broken
from .processes import Program
from .python_files import SUFFIXES, Function, python_name
from .source_code import Code

ENOUGH = 1 << 26  # bytes of an answer to small arguments; to large ones, eight times as many as were sent
SECONDS, MEGABYTES = 60.0, 4096  # for a call, and for what all of them may ask for, if nobody says otherwise
MOST_NAMED = 8  # functions of a program
ENDING = 0.2  # seconds in which a program ends by itself when it is told to
UNTRIED = (  # laws about what a text that travels, or a program in another language, does not have
    "leaves_its_inputs_alone",
    "takes_any_memory_layout",
    "bears_another_thread",
)
NOTE = (
    "over a pipe, writes to arguments, shared memory and memory layouts are not tried, and the numbers in the code of "
    "{} are not known"
)


class NotStarted(ValueError):
    """A program could not be started, or did not say what it has; the message says why."""


def from_command(command: Sequence[str], operation: Any, *, validate: bool = False) -> dict[str, Function]:
    """The functions of an operation, or of a `Definition`, that a program has, by kind: forward, jacobian and vjp.

    The program is started now, reads a JSON object a line on standard input and answers on standard output, as
    `properties/PIPES.md` says; it ends with these functions. With `validate` each line is held to the published form.

    Raises ValueError, in one line, for a program that cannot be started, or that has no function of the operation.

    >>> from_command(["./no/such/program"], "softmax")
    Traceback (most recent call last):
    backprop_properties.checking.command.NotStarted: ./no/such/program cannot be started: No such file or directory
    """
    if isinstance(command, str) or not command:
        raise TypeError(f"from_command: expected the words of a command as ['./mine'], got {command!r}")
    name = operation if isinstance(operation, str) else operation.name
    return Command(command, validate=validate).of(name)


class Command:
    """A program that is running, and what it said of itself; limits are those of `Calls`."""

    def __init__(
        self,
        words: Sequence[str],
        *,
        validate: bool = False,
        step: float = SECONDS,
        seconds: float = float("inf"),
        memory: int | None = MEGABYTES,
        on_call: Callable[[str, int], None] = lambda kind, number: None,
    ) -> None:
        self.words, self.name, self.validate = tuple(words), shlex.join(words), validate
        self.calls = Calls(self._started(), step=step, seconds=seconds, memory=memory, on_call=on_call)
        self.skipped: dict[str, tuple[int, str]] = {}  # calls by dtype: how many, and why the first
        self.sent = 0
        self.before: Call | None = None
        self.about = self._introduced()

    def of(self, operation: str) -> dict[str, Function]:
        """The functions of an operation by kind; `NotStarted` if there are none."""
        stem, there = python_name(operation), self.about.functions
        found: dict[str, Function] = {
            kind: Remote(self, kind, stem + suffix) for kind, suffix in SUFFIXES.items() if stem + suffix in there
        }
        if not found:
            has = ", ".join(there[:MOST_NAMED]) + ", …" * (len(there) > MOST_NAMED)
            raise NotStarted(f"{self.name}: no function of {operation}: it has {has or 'no functions'}")
        return found

    def code(self, functions: Mapping[str, Any]) -> Code:
        """What there is to know of functions, of which this program has some."""
        return Code(functions, (), lambda: False, self.notes, UNTRIED)

    @property
    def called_itself(self) -> str:
        """Its name, as it gave it."""
        return printable(self.about.name)[:60]

    def notes(self) -> list[str]:
        """What could not be tried."""
        about = f"{self.called_itself} ({printable(self.about.language)[:30]})"
        skipped = [
            f"not tried: {count:,} calls with {dtype}, which it skipped: {reason}"
            for dtype, (count, reason) in self.skipped.items()
        ]
        return [NOTE.format(about), *skipped]

    def stop(self) -> None:
        """Ends the program, which is told first."""
        self.finalizer()

    def called(self, kind: str, function: str, args: tuple[Any, ...]) -> Any:
        """The result of a function: of a forward an array, otherwise a tuple."""
        cut_short, self.before = self.calls.running, self.calls.last
        self.calls.begin(kind, args, str(self.sent + 1))
        if cut_short:  # the last call, and with it the program
            self._restart()
        try:
            answer = self._answer(function, args)
        except Gone as gone:
            gone.words += f"; it was called with shapes {_shapes(gone.call.args if gone.call else args)}"
            gone.words += "" if isinstance(gone, Settled) else self._again(function, args)
            raise gone from None
        self.calls.running = False
        if answer.skipped is not None:
            dtype = next(a.dtype.name for a in args if a.dtype.kind not in "iub")
            count, reason = self.skipped.get(dtype, (0, printable(answer.skipped)[:200]))
            self.skipped[dtype] = count + 1, reason
            raise Skipped(kind, reason)
        if answer.error is not None:
            raise Unusable(f"{kind} raised an error: {printable(answer.error)[:300]}")
        try:
            results = tuple(None if one is None else p.received(one) for one in answer.results or ())
        except Broken as error:
            raise Unusable(f"{kind} {UNREADABLE}: {printable(str(error))[:300]}") from None
        if kind != "forward":
            return results
        if len(results) != 1:
            raise Unusable(f"{kind} returned {len(results)} results, expected 1")
        return results[0]

    def _answer(self, function: str, args: tuple[Any, ...]) -> p.Answer:
        self.sent += 1
        ask = p.Ask(str(self.sent), function, [p.sent(a, self.about.numbers) for a in args])
        answer: p.Answer = self._told(ask, p.Answer)
        if answer.id == str(self.sent - 1):
            self.calls.last = self.before
            raise self.calls.gone(f"stopped since it answered twice, with the id {answer.id!r},", Settled)
        if answer.id != ask.id:
            raise self.calls.gone(f"stopped since it answered with the id {answer.id[:40]!r}, expected {ask.id!r},")
        return answer

    def _again(self, function: str, args: tuple[Any, ...]) -> str:
        """Starts the program anew; what it makes of the call that was its last."""
        try:
            self._restart()
            self._answer(function, args)
        except (Gone, NotStarted):
            return "; started again for this call alone, it fails, too"
        return "; started again, it answers this call: what came before it matters"

    def _told(self, message: p.Message, kind: type[p.Ready] | type[p.Answer]) -> Any:
        """The answer to a message; `Gone` if there is none."""
        calls, pipe = self.calls, self.calls.program
        look = calls.within(calls.step)
        body = p.encoded(message)
        try:
            pipe.asks.write(body + b"\n", look)
            line = pipe.answers.line(max(ENOUGH, 8 * len(body)), look)
            if line is None:
                raise calls.gone("")
            if self.validate:
                p.validate(line, kind.__name__.lower())
            return p.decoded(line, kind)
        except OSError:
            raise calls.gone("") from None
        except Broken as error:
            raise calls.gone(f"stopped since it {printable(str(error))[:400]}") from None

    def _introduced(self) -> p.Ready:
        """What the program says of itself."""
        try:
            ready: p.Ready = self._told(p.Start(), p.Ready)
        except Gone as gone:
            why = "; is its answer flushed?" if gone.slow else ""
            raise NotStarted(f"{self.name}: {gone.told('when it was asked what it has')}{why}") from None
        self.calls.measure()
        return ready

    def _started(self) -> Program:
        try:
            program = Program(self.words)
        except OSError as error:
            raise NotStarted(f"{self.name} cannot be started: {error.strerror}") from None
        self.finalizer = weakref.finalize(self, _ended, program)
        return program

    def _restart(self) -> None:
        self.finalizer()
        self.calls.program = self._started()
        self.about = self._introduced()


class Remote:
    """A function of a program."""

    def __init__(self, command: Command, kind: str, name: str) -> None:
        self.command, self.kind, self.__name__ = command, kind, name

    def __call__(self, *args: Any) -> Any:
        return self.command.called(self.kind, self.__name__, args)


def _ended(program: Program) -> None:
    """Tells a program that there is no more, and ends it."""
    with suppress(OSError, subprocess.TimeoutExpired):  # it is ended anyway
        program.asks.write(p.encoded(p.Stop()) + b"\n", _not_waiting)
        program.process.wait(ENDING)
    program.stop()


def _not_waiting() -> None:
    raise BlockingIOError("nobody reads")


def _shapes(args: Sequence[Any]) -> str:
    """`(3×2), (2), ()`: of what a call was given."""
    return ", ".join(f"({'×'.join(map(str, a.shape))})" for a in args)
