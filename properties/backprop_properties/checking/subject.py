"""A process that runs somebody's functions: it says what is in a file, and answers calls with the bytes of arrays.

It knows no expected number, and nothing that it says is run or believed, but as what a function returned.
"""

import ctypes
import faulthandler
import gc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..laws.interruption import Interruption
from . import messages as m
from .costs import Measured
from .guard import SEVERAL, Unusable, array_from, called, is_pythons, named
from .handed_in import handed_in
from .loading import NotImported, Sources, functions_of, limit_memory, looked_into, sources_of
from .pipes import Pipe
from .processes import end_with_parent
from .python_files import Facts
from .source_code import constants_of, lines_of, never_run, watched
from .tasks import Found
from .threads import interruptible

MOST_ITEMS = 1000  # of a list that is no array
HUGE = 1 << 62  # of Python's integers: larger ones do not travel
ROOM = 4096  # bytes that an array may be longer than what is returned of it, and be looked at as a whole


def main(parent: int) -> None:
    """Answers until nobody asks any more."""
    end_with_parent(parent)
    asked, answered, trace = Pipe(os.dup(0)), Pipe(os.dup(1)), os.dup(2)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):  # what somebody's code reads or prints is not for us
        os.dup2(nothing, standard)
    m.dtype_of("bfloat16")  # its module, before somebody's code takes memory or has a file of that name
    faulthandler.enable(trace, all_threads=False)
    sys.dont_write_bytecode = True  # nothing is left beside somebody's file
    gc.freeze()  # what is imported is no garbage, and to look through it takes longer than a call
    answered.send(m.encoded(m.Ready()))
    here: Functions | None = None
    sources: Sources = {}
    while (body := asked.receive(sys.maxsize)) is not None:
        match m.question(body):
            case m.Ask() as ask if here:
                answer: m.Answer = here.answer(ask)
            case m.Rest() if here:
                answer = m.Unrun(never_run(here.left))
            case m.Look() | m.Load() | m.Run() | m.Hold() as question:
                here, answer = _loaded(question, sources)
            case _:
                answer = m.Refused("no functions are loaded")
        answered.send(m.encoded(answer))
    os._exit(0)  # without waiting for whatever somebody's code has left behind


def _loaded(question: m.Look | m.Load | m.Run | m.Hold, sources: Sources) -> "tuple[Functions | None, m.Answer]":
    """Runs a file, or takes what it was when it was run, and finds functions in it."""
    try:
        if isinstance(question, m.Hold):
            import cloudpickle

            sys.path[:0] = question.path
            functions = cloudpickle.loads(question.functions)
        elif isinstance(question, m.Run):
            limit_memory(question.memory)
            found = handed_in(Path(question.folder), question.files, question.seconds)
            if not question.names:
                inside = Found({}, {}, frozenset(), tuple(found.functions), told=found.told, broken=found.broken)
                return None, m.Inside(m.encoded(inside))
            functions = {
                kind: found.functions[name] for kind, name in question.names.items() if name in found.functions
            }
        else:
            path = Path(question.path)
            limit_memory(question.memory)
            sources.update({} if path in sources else sources_of(path, question.definitions))
            if isinstance(question, m.Look):
                return None, _inside(question, sources)
            functions = functions_of(path, sources, question.operation)
            limit_memory(question.memory)
    except NotImported as error:
        return None, m.Refused(str(error))
    here = Functions(functions)
    return here, m.Loaded(list(here.functions), list(here.constants), any(here.left.values()))


class NotSent(Exception):
    """The catalogue did not come with a question."""


def _inside(question: m.Look, sources: Sources) -> m.Inside | m.NoCatalogue:
    """What is in a file."""

    def catalogue() -> Facts:
        if question.catalogue is None:
            raise NotSent
        return question.catalogue

    try:
        return m.Inside(m.encoded(looked_into(Path(question.path), sources, catalogue)))
    except NotSent:
        return m.NoCatalogue()


class Functions:
    """Somebody's functions by kind, the memory that they share with who calls them, and the lines that never ran."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.constants, self.left = constants_of(functions.values()), lines_of(functions.values())
        self.amid, own = Interruption(), {kind: watched(f, self.left) for kind, f in functions.items()}
        self.functions = interruptible(own, frozenset(self.left), self.amid)
        self.memory = Memory()

    def answer(self, ask: m.Ask) -> m.Answer:
        """Calls a function."""
        args = self.memory.taken(ask)
        self.amid.keep, self.amid.at = ask.keep, ask.at
        took = Measured(memory=ask.measure)
        try:
            with took, np.errstate(all="ignore"):  # whatever the file has set
                result = called(self.functions[ask.kind], ask.kind, args)
            value = self._value(result, ask.most)
        except Unusable as error:
            left = any(self.left.values())
            return m.Raised(str(error), self.memory.changed(), left, seconds=took.seconds, peak=took.peak)
        turned = {k: now for k, now in enumerate(map(_turned, ask.args, args)) if now}
        told = any(self.left.values()), self.amid.reached, took.seconds, took.peak
        return m.Returned(value, self.memory.changed(), turned, *told)

    def _value(self, result: Any, most: int, *, one: bool = False) -> m.Value:
        """A result as it travels: arrays by where they lie, and of what is none what there is to say of it; it may be
        `one` of several, and then a list of rows is an array.
        """
        if result is None:
            return None
        if type(result) is float or (type(result) is int and abs(result) < HUGE):
            return m.Number(result)
        several = isinstance(result, SEVERAL)
        kind = tuple if isinstance(result, tuple) else list
        count = kind.__len__(result) if several else 0  # as NumPy counts, whatever a class of somebody's says
        if several and count <= MOST_ITEMS:
            return m.Several(kind is tuple, count, [self._value(r, most, one=True) for r in kind.__iter__(result)])
        plain = several and is_pythons(result)
        try:
            if several and not one and (kind is tuple or array_from(result[0], "a list that begins with").ndim):
                return m.Several(kind is tuple, count, [])
            array = array_from(called(result.todense, "todense", ()) if _structured(result) else result, "")
            name = m.name_of_dtype(array.dtype)
            if not name:
                raise Unusable(f"an array of {array.dtype}, expected real numbers")
            if array.nbytes > most or not (array.flags.forc or _spread(array) <= 4 * most):
                raise Unusable(f"an array of shape {array.shape}, far more than there may be")
        except Unusable as error:
            return m.Other(named(result), str(error).strip())
        number, offset = self.memory.place_of(array)
        return m.View(number, offset, array.shape, array.strides, name, bool(array.flags.writeable), plain)


def _spread(array: Any) -> int:
    """The bytes from the first to the last that an array looks at."""
    low, high = m.extent(array.shape, array.strides, array.itemsize)
    return high - low


def _structured(result: Any) -> bool:
    """Whether a result is a structured Jacobian, as the reference's."""
    return not isinstance(result, np.ndarray) and hasattr(result, "todense") and hasattr(result, "shape")


def _turned(view: m.View, array: Any) -> m.View | None:
    """The form that an argument has now, if it is another: arrays can be reshaped, or locked, in place."""
    form = array.shape, array.strides, array.flags.writeable
    if form == (view.shape, view.strides, view.writeable):
        return None
    return m.View(view.number, view.offset, array.shape, array.strides, view.dtype, bool(array.flags.writeable))


def address_of(array: Any) -> int:
    """Where the first entry of an array is."""
    address: int = array.__array_interface__["data"][0]
    return address


@dataclass(slots=True)
class Held:
    """A stretch of memory: all that an array owns, or of what else keeps it alive the part from an address on; and its
    bytes when both sides last had the same. Of an argument it is `ours`, and compared with these without a copy.
    """

    owner: Any
    data: bytes | None = None
    part: tuple[int, int] | None = None  # where it begins, and how long it is
    ours: bytearray | None = None
    arrays: dict[Any, Any] = field(default_factory=dict)  # the same for the same view: somebody may know it again

    @property
    def place(self) -> tuple[int, int]:
        """Where it begins, and how long it is."""
        return self.part or (address_of(self.owner), self.owner.nbytes)

    def changed(self) -> bool:
        """Whether it is not what it was; from now on it was that."""
        if self.ours is not None and self.ours == (self.data or b""):
            return False
        now = ctypes.string_at(*self.part) if self.part else self.owner.tobytes("A")
        changed, self.data = now != self.data, now
        return changed


class Memory:
    """Stretches by number: positive ones came with arguments, negative ones are of results that are still in use.

    To ask NumPy for an address takes longer than all else here, so what an array owns is known by the array.
    """

    def __init__(self) -> None:
        self.held: dict[int, Held] = {}
        self.numbers: dict[int, int] = {}  # by the id of the array that owns all of a stretch
        self.last = 0

    def taken(self, ask: m.Ask) -> Sequence[Any]:
        """The arguments of a call, in memory that holds the bytes of now."""
        for number in ask.forget:
            if gone := self.held.pop(number, None):
                self.numbers.pop(id(gone.owner), None)
        for stretch in ask.memory:
            number, data = stretch.number, stretch.data
            held = self.held.get(number)
            if held is None:
                ours = bytearray(data)  # on 16 bytes, as NumPy's own
                memory = np.frombuffer(ours, np.uint8)
                self.held[number], self.numbers[id(memory)] = Held(memory, data, ours=ours), number
            elif held.data != data:
                address, size = held.place
                ctypes.memmove(address, data, min(len(data), size))
                held.data = data
        return [self._array(view) for view in ask.args]

    def _array(self, view: m.View) -> Any:
        held = self.held[view.number]
        key = view.offset, view.shape, view.strides, view.dtype, view.writeable
        array = held.arrays.get(key)
        if array is None or _turned(view, array):
            stretch: Any = held.owner
            if view.number < 0:  # a result that comes back
                address, size = held.place
                raw: Any = (ctypes.c_uint8 * size).from_address(address)
                stretch = np.frombuffer(raw, np.uint8)
            held.arrays[key] = array = m.array_of(view, stretch)
        return array

    def place_of(self, array: Any) -> tuple[int, int]:
        """The stretch in which an array lies, and where it begins there; a new one if it is in none."""
        whole = array
        while type(whole.base) is np.ndarray:
            whole = whole.base
        number = self.numbers.get(id(whole))
        alone = number is None and whole.base is None and whole.flags.owndata  # no other's memory
        if alone and whole.flags.forc and (whole is array or whole.nbytes <= array.nbytes + ROOM):
            number = self._added(Held(whole))  # what else is returned of it lies there, too
            self.numbers[id(whole)] = number
        if number is not None:
            return number, 0 if whole is array else address_of(array) - address_of(whole)
        return self._place_by_address(array)

    def _place_by_address(self, array: Any) -> tuple[int, int]:
        begin = address_of(array)
        low, high = (begin + end for end in m.extent(array.shape, array.strides, array.itemsize))
        for number, held in self.held.items():
            address, size = held.place
            if address <= low and high <= address + size:
                return number, begin - address
        whole = array
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        if whole.nbytes <= array.nbytes + ROOM and whole.flags.forc:
            low = address_of(whole)
            high = low + whole.nbytes
        return self._added(Held(array, part=(low, high - low))), begin - low

    def _added(self, held: Held) -> int:
        self.last -= 1
        self.held[self.last] = held
        return self.last

    def changed(self) -> list[m.Stretch]:
        """The stretches that are new, or are not what they were."""
        return [m.Stretch(number, held.data or b"") for number, held in self.held.items() if held.changed()]
