"""Somebody's functions in a process of their own, as functions here: arrays go there as bytes, and come back so."""

import ctypes
import operator
import os
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..laws.interruption import Interruption, Meter
from . import messages as m
from .calls import Calls, Gone
from .guard import Unusable, printable
from .pipes import PAGE, Broken, pages_of
from .processes import Program, python
from .python_files import Facts, the_catalogue
from .source_code import Code
from .tasks import OWN_IMPORTS

PROGRAM = "from backprop_properties.checking.subject import main; main({})"  # with the number of this process
ENOUGH = 1 << 26  # bytes that may come back for small arguments; for large ones, eight times as many as went
MOST_COUNTED = 10**7  # results of one call
WORDS = 1 << 20  # bytes of a message beside its arrays
RESULT = m.Returned, m.Raised


class Subject:
    """Somebody's functions, which are in `path` (a file, or a folder), and the process that runs them: a new one, or
    one that is there.

    A call gets `step` seconds, all of them `seconds`; `memory` is in megabytes, beyond what the process has when the
    functions are there. `on_call` hears of each call before it is made.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        step: float,
        seconds: float = float("inf"),
        memory: int | None = None,
        on_call: Callable[[str, int], None] = lambda kind, number: None,
        program: Program | None = None,
    ) -> None:
        self.program = program or started()
        limits: dict[str, Any] = {"step": step, "seconds": seconds, "memory": memory}
        self.calls = Calls(self.program, **limits, on_call=on_call, path=path)
        self.shared, self.amid, self.meter = _Memory(), Interruption(), Meter()
        self.lines_left = False
        self.waiting = deque[tuple[str, Sequence[Any]]]()  # calls that were sent ahead
        self.alive = list[Any]()  # what their answers may lie in
        self.came = set[str]()  # the kinds of which a call came as it had been sent
        self.may_send_ahead = True

    def load(self, question: m.Load | m.Run | m.Hold) -> m.Loaded | m.Refused:
        """Has the functions found."""
        loaded: m.Loaded | m.Refused = self._asked(question, WORDS, m.Loaded | m.Refused)
        if isinstance(loaded, m.Loaded):
            self.lines_left = loaded.watched
            self.calls.measure()
        return loaded

    def look(self, question: m.Look | m.Run, catalogue: Callable[[], Facts] = the_catalogue) -> bytes | m.Refused:
        """What is in a file or a submission: a `Found` in MessagePack, or why it cannot be run.

        The catalogue is sent if a name in a file may be of an operation there.
        """
        expected = m.Inside | m.Refused
        first = expected | m.NoCatalogue if isinstance(question, m.Look) else expected
        inside = self._asked(question, 64 * WORDS, first)
        if isinstance(inside, m.NoCatalogue):
            question = msgspec.structs.replace(question, catalogue=dict(catalogue()))
            inside = self._asked(question, 64 * WORDS, expected)
        return inside.found if isinstance(inside, m.Inside) else inside

    def code(self, loaded: m.Loaded, names: Mapping[str, str]) -> Code:
        """The functions that were found, under these names by kind, and what is known of their code."""
        functions = {kind: self.function(kind, names[kind]) for kind in loaded.kinds}
        constants = tuple(loaded.constants)
        of_calls: dict[str, Any] = {"interruption": self.amid, "ahead": self.ahead, "meter": self.meter}
        return Code(functions, constants, lambda: self.lines_left, self.unrun, **of_calls)

    def unrun(self) -> list[str]:
        """What is to be said of lines that no call has run."""
        return [printable(note)[:500] for note in self._asked(m.Rest(), WORDS, m.Unrun).notes[:4]]

    def function(self, kind: str, name: str) -> Callable[..., Any]:
        """A function of the process as one here; of what goes wrong there it raises `Unusable` or `Gone`."""

        def call(*args: Any) -> Any:
            return self._called(kind, args)

        call.__name__ = name
        return call

    def stop(self) -> None:
        """Ends the process."""
        self.program.stop()

    def ahead(self, *calls: tuple[str, Sequence[Any]]) -> None:
        """Has calls that come next, `(kind, args)` each, in this order, begin at once: they are made while something
        else is done here. As many as the pipe has room for, so that neither process waits for the other to read.
        """
        self._pass_over()
        pages = self.program.asks.pages() if self.may_send_ahead else 0
        sent, bodies = list[tuple[str, Sequence[Any]]](), list[bytes]()
        for kind, args in calls:
            arrays = all([isinstance(a, np.ndarray) for a in args])  # what a function gets of a number is another
            if not arrays or sum([a.nbytes for a in args]) > pages * PAGE:
                break
            ask, _ = self._ask(kind, args)
            bodies.append(m.encoded(ask))
            pages -= pages_of(bodies[-1])
            if pages < 0:
                self.shared.gone += ask.forget
                if ask.measure:
                    self.meter.forget(kind)
                del bodies[-1]
                break
            sent.append((kind, args))
        if not sent:
            return
        try:
            self._send(*bodies)
            self.waiting.extend(sent)
            self.alive = [sent, self.shared.held()]
        except OSError:  # nobody is there any more: whoever makes the call is told
            self.may_send_ahead = False

    def _is_next(self, kind: str, args: Sequence[Any]) -> bool:
        """Whether a call is the first of those that were sent ahead."""
        if not self.waiting:
            return False
        sent, these = self.waiting[0]
        if sent == kind and len(these) == len(args) and all(map(operator.is_, these, args)):
            self.came.add(kind)
            return True
        self.may_send_ahead = sent in self.came  # if none ever did: another calls it, and changes its arguments
        self._pass_over()
        return False

    def _pass_over(self) -> None:
        """Takes the answers to calls that were sent ahead and do not come, or have to be made again; what they wrote to
        their arguments nobody sees.
        """
        while self.waiting:
            kind, args = self.waiting.popleft()
            self.meter.forget(kind)
            self.calls.begin(kind, tuple(args))
            said = self._answer(4 * ENOUGH + WORDS, RESULT)
            self.calls.running = False
            with suppress(Broken, ValueError):  # what is wrong with it nobody has asked
                self.shared.received([stretch for stretch in said.memory if stretch.number < 0])
        self.alive.clear()

    def _ask(self, kind: str, args: Sequence[Any]) -> tuple[m.Ask, int]:
        """The question of a call, and how many bytes may come back."""
        views, stretches = self.shared.sent(args)
        most = max(ENOUGH, 8 * sum([len(stretch.data) for stretch in stretches]))
        return m.Ask(kind, views, stretches, self.shared.forgotten(), most, measure=self.meter.begin(kind)), most

    def _called(self, kind: str, args: tuple[Any, ...]) -> Any:
        if self._is_next(kind, args):
            self.calls.begin(kind, args)
            self.waiting.popleft()
            said = self._answer(4 * ENOUGH + WORDS, RESULT)
        else:
            self.calls.begin(kind, args)
            ask, most = self._ask(kind, args)
            ask.keep, ask.at, self.amid.keep, self.amid.at = self.amid.keep, self.amid.at, False, None
            said = self._asked(ask, 4 * most + WORDS, RESULT)
        self.calls.running, self.lines_left = False, said.lines_left
        self.meter.seconds, self.meter.peak = self.meter.seconds + said.seconds, max(self.meter.peak, said.peak)
        try:
            known = self.shared.knows(said.memory)
            fresh = self.shared.received(said.memory)  # lives as long as the arrays below, which lie in it
            result = self._value(said.value, fresh) if isinstance(said, m.Returned) else None
            turned = said.turned if isinstance(said, m.Returned) else {}
            self.amid.reached = isinstance(said, m.Returned) and said.reached
            for k, view in turned.items():
                _turn(args[k], view)
        except (Broken, LookupError, ValueError, TypeError) as error:
            raise Unusable(f"{kind} answered with what is no result: {printable(str(error))[:200]}") from None
        if known or turned:  # a call that was sent before this one has written did not see that: it is made again
            self.may_send_ahead = False
            self._pass_over()
        elif self.waiting:
            self.alive.append(fresh)
        else:
            self.alive.clear()
        if isinstance(said, m.Raised):
            raise Unusable(printable(said.message)[:600])
        return result

    def _value(self, value: m.Value, fresh: Any) -> Any:
        match value:
            case m.View():
                array = m.array_of(value, self.shared.stretch(value.number))
                return array.tolist() if value.plain else array
            case m.Number(number):
                return number
            case m.Several(is_tuple, count, items):
                few = (
                    [self._value(item, fresh) for item in items]
                    if count == len(items)
                    else [None] * min(count, MOST_COUNTED)
                )
                return tuple(few) if is_tuple else few
        return value

    def _asked(self, question: m.Question, most: int, expected: Any) -> Any:
        """The answer to a question; `Gone` if there is none in time."""
        self._pass_over()
        try:
            self._send(m.encoded(question))
        except OSError:
            raise self.calls.gone("") from None
        return self._answer(most, expected)

    def _send(self, *questions: bytes) -> None:
        calls = self.calls
        if not self.program.ready:
            received = self._received(WORDS, calls.within(calls.step + OWN_IMPORTS))
            self.program.ready = bool(received)
        if calls.memory and calls.limit == float("inf"):
            calls.measure()
        self.program.asks.send(*questions, until=calls.within(calls.step))

    def _answer(self, most: int, expected: Any) -> Any:
        """The answer to the first question that has none yet."""
        body = self._received(most, self.calls.within(self.calls.step))
        try:
            if body is None:
                raise self.calls.gone("")
            answer = m.answer(body)
        except m.Undecodable as error:
            raise self._no_answer(error) from None
        if not isinstance(answer, expected):
            raise self.calls.gone("stopped since it answered another question")
        return answer

    def _received(self, most: int, look: Callable[[], None]) -> bytes | None:
        """The next message, or None if there are no more."""
        try:
            return self.program.answers.receive(most, look)
        except OSError:
            return None
        except Broken as error:
            raise self._no_answer(error) from None

    def _no_answer(self, error: Exception) -> Gone:
        return self.calls.gone(f"stopped since no answer came, but {printable(str(error))[:200]}")


def started() -> Program:
    """A process that waits for functions to run."""
    return Program(python(PROGRAM.format(os.getpid())))


def _turn(array: Any, view: m.View) -> None:
    """Gives an argument the form that it has on the other side."""
    array.flags.writeable = array.flags.writeable and view.writeable
    if array.shape != view.shape:
        array.shape = view.shape


def _address(a: Any) -> int:
    address: int = a.__array_interface__["data"][0]
    return address


def _place(owner: Any) -> tuple[int, int]:
    """Where the memory of an array begins, and how long it is."""
    low, high = m.extent(owner.shape, owner.strides, owner.itemsize)
    return _address(owner) + low, high - low


class _Memory:
    """Stretches of memory by number, as long as arrays here lie in them."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}  # by the id of the array that owns the memory
        self.owners: dict[int, weakref.ref[Any]] = {}
        self.gone: list[int] = []
        self.last = 0

    def sent(self, args: Sequence[Any]) -> tuple[list[m.View], list[m.Stretch]]:
        """The arguments of a call as views, and the bytes of all memory in which they lie."""
        views, stretches = [], dict[int, m.Stretch]()
        for a in args:
            owner = a
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            number = self.numbers.get(id(owner)) or self._added(owner)
            if number not in stretches:
                data = owner.tobytes("A") if owner.flags.forc else ctypes.string_at(*_place(owner))
                stretches[number] = m.Stretch(number, data)
            offset = 0 if a is owner and a.flags.forc else _address(a) - _place(owner)[0]  # which NumPy is slow to say
            views.append(m.View(number, offset, a.shape, a.strides, m.name_of_dtype(a.dtype), a.flags.writeable))
        return views, list(stretches.values())

    def _added(self, owner: Any, number: int = 0) -> int:
        if not number:
            self.last += 1
        number, key = number or self.last, id(owner)

        def gone(_: Any) -> None:
            self.numbers.pop(key, None)
            self.owners.pop(number, None)
            self.gone.append(number)

        self.numbers[key], self.owners[number] = number, weakref.ref(owner, gone)
        return number

    def forgotten(self) -> list[int]:
        """The stretches in which no array lies any more."""
        gone, self.gone = self.gone, []
        return gone

    def held(self) -> list[Any]:
        """The arrays that own the memory."""
        return [owner for reference in self.owners.values() if (owner := reference()) is not None]

    def knows(self, stretches: Sequence[m.Stretch]) -> bool:
        """Whether any of the stretches is one that is here already."""
        return any([stretch.number in self.owners for stretch in stretches])

    def received(self, stretches: Sequence[m.Stretch]) -> list[Any]:
        """Takes over what has changed; the memory that is new."""
        fresh = []
        for stretch in stretches:
            number, data = stretch.number, stretch.data
            owner = self._owner(number)
            if owner is None:
                if number >= 0 or number in self.gone:
                    continue  # nobody here looks at it any more
                owner = np.frombuffer(bytearray(data), np.uint8)
                fresh.append(owner)
                self._added(owner, number)
                continue
            begin, size = _place(owner)
            if len(data) != size:
                raise Broken("memory that is longer or shorter than it was")
            ctypes.memmove(begin, data, size)
        return fresh

    def stretch(self, number: int) -> Any:
        """The bytes of a stretch."""
        owner = self._owner(number)
        if owner is None:
            raise Broken(f"an array in memory {number}, which nobody knows")
        if number < 0:  # bytes as they came
            return owner
        if not owner.flags.forc:
            raise Broken("an array in memory that is not contiguous")
        return owner.ravel(order="K").view(np.uint8)

    def _owner(self, number: int) -> Any:
        reference = self.owners.get(number)
        return reference() if reference else None
