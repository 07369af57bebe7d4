"""Somebody's functions in a process of their own, as functions here: arrays go there as bytes, and come back so."""

import ctypes
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..laws.interruption import Interruption
from . import messages as m
from .calls import Calls
from .guard import Unusable, printable
from .pipes import Broken
from .processes import Program, python
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
        self.shared, self.amid = _Memory(), Interruption()
        self.lines_left = False

    def load(self, question: m.Load | m.Run | m.Hold) -> m.Loaded | m.Refused:
        """Has the functions found."""
        loaded: m.Loaded | m.Refused = self._asked(question, WORDS, m.Loaded | m.Refused)
        if isinstance(loaded, m.Loaded):
            self.lines_left = loaded.watched
            self.calls.measure()
        return loaded

    def look(self, question: m.Look | m.Run) -> bytes | m.Refused:
        """What is in a file or a submission: a `Found` in MessagePack, or why it cannot be run."""
        inside = self._asked(question, 64 * WORDS, m.Inside | m.Refused)
        return inside.found if isinstance(inside, m.Inside) else inside

    def code(self, loaded: m.Loaded, names: Mapping[str, str]) -> Code:
        """The functions that were found, under these names by kind, and what is known of their code."""
        functions = {kind: self.function(kind, names[kind]) for kind in loaded.kinds}
        constants = tuple(loaded.constants)
        return Code(functions, constants, lambda: self.lines_left, self.unrun, interruption=self.amid)

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

    def _called(self, kind: str, args: tuple[Any, ...]) -> Any:
        self.calls.begin(kind, args)
        views, stretches = self.shared.sent(args)
        most = max(ENOUGH, 8 * sum([len(stretch.data) for stretch in stretches]))
        ask = m.Ask(kind, views, stretches, self.shared.forgotten(), most, self.amid.keep, self.amid.at)
        self.amid.keep, self.amid.at = False, None
        said = self._asked(ask, 4 * most + WORDS, RESULT)
        self.calls.running, self.lines_left = False, said.lines_left
        try:
            fresh = self.shared.received(said.memory)  # lives as long as the arrays below, which lie in it
            result = self._value(said.value, fresh) if isinstance(said, m.Returned) else None
            self.amid.reached = isinstance(said, m.Returned) and said.reached
            for k, view in said.turned.items() if isinstance(said, m.Returned) else ():
                _turn(args[k], view)
        except (Broken, LookupError, ValueError, TypeError) as error:
            raise Unusable(f"{kind} answered with what is no result: {printable(str(error))[:200]}") from None
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
        calls = self.calls
        try:
            if not self.program.ready:
                self.program.ready = bool(self.program.answers.receive(WORDS, calls.within(calls.step + OWN_IMPORTS)))
            if calls.memory and calls.limit == float("inf"):
                calls.measure()
            look = calls.within(calls.step)
            self.program.asks.send(m.encoded(question), look)
            body = self.program.answers.receive(most, look)
            if body is None:
                raise calls.gone("")
            answer = m.answer(body)
        except OSError:
            raise calls.gone("") from None
        except (Broken, m.Undecodable) as error:
            raise calls.gone(f"stopped since no answer came, but {printable(str(error))[:200]}") from None
        if not isinstance(answer, expected):
            raise calls.gone("stopped since it answered another question")
        return answer


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
