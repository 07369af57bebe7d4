"""What crosses the border to somebody's code, both ways: MessagePack with the bytes of arrays, and nothing that is run.

An array is a view of a stretch of memory. Both sides know a stretch by a number, so that arrays that share memory here
share it there, and a function that writes to an argument, or to a result that it returned before, is seen to do so.
"""

import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from .pipes import Broken

Array = NDArray[Any]

REAL = re.compile(r"[<>|=][fiubc]\d+")  # dtypes of NumPy that travel, beside bfloat16


class Stretch(msgspec.Struct, array_like=True):
    """A stretch of memory, as it is now."""

    number: int
    data: bytes


class View(msgspec.Struct, array_like=True, tag="view"):
    """An array: where in which stretch it lies."""

    number: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    writeable: bool
    plain: bool = False  # a list of Python's numbers, which has no dtype of its own


class Number(msgspec.Struct, array_like=True, tag="number"):
    """A number of Python's own, which has no dtype."""

    value: int | float


class Several(msgspec.Struct, array_like=True, tag="several"):
    """A tuple, or a list; of a very long one only the count."""

    is_tuple: bool
    count: int
    items: "list[View | Number | Several | Other | None]"


class Other(msgspec.Struct, array_like=True, tag="other"):
    """What is no array and no number: its type's name, and what is to be said of it."""

    named: str
    said: str


Value = View | Number | Several | Other | None


# ── Asked ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Look(msgspec.Struct, array_like=True, tag="look"):
    """What functions are in a file, and in one of definitions? What they allocate is limited, in megabytes. Of the
    catalogue, if it is sent, the operations with their arguments and the letters of their sizes.
    """

    path: str
    definitions: str | None
    memory: int | None
    catalogue: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] | None = None


class Load(msgspec.Struct, array_like=True, tag="load"):
    """Find the functions of an operation there; what the file, and then they, allocate is limited, in megabytes."""

    path: str
    definitions: str | None
    operation: str
    memory: int | None


class Run(msgspec.Struct, array_like=True, tag="run"):
    """Run files of a folder, in so many seconds; find functions by kind under these names, or without any say what
    there is.
    """

    folder: str
    files: list[str]
    names: dict[str, str]
    memory: int | None
    seconds: float


class Hold(msgspec.Struct, array_like=True, tag="hold"):
    """These are the functions, by kind, pickled by whoever asks; with the folders that they are imported from."""

    functions: bytes
    path: list[str]


class Ask(msgspec.Struct, array_like=True, tag="ask"):
    """Call a function: `most` bytes may come back, and some stretches are needed no more; `keep` and `at` are those of
    an `Interruption`; the memory that the call takes may be to be measured.
    """

    kind: str
    args: list[View]
    memory: list[Stretch]
    forget: list[int]
    most: int
    keep: bool = False
    at: int | None = None
    measure: bool = False


class Rest(msgspec.Struct, array_like=True, tag="rest"):
    """Which lines has no call run?"""


Question = Look | Load | Run | Hold | Ask | Rest


# ── Answered ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Ready(msgspec.Struct, array_like=True, tag="ready"):
    """What this project needs is imported: from now on all time is somebody's own."""


class Loaded(msgspec.Struct, array_like=True, tag="loaded"):
    """The functions that were found, by kind; the numbers in their code, and whether their lines can be watched."""

    kinds: list[str]
    constants: list[float]
    watched: bool


class NoCatalogue(msgspec.Struct, array_like=True, tag="no catalogue"):
    """A name may be of an operation in the catalogue, which is to be sent, too: to import it here, JAX would be."""


class Refused(msgspec.Struct, array_like=True, tag="refused"):
    """The file could not be run, and why."""

    message: str


class Returned(msgspec.Struct, array_like=True, tag="returned"):
    """What a function returned; memory that is new, or has changed; arguments that have another form now, by position;
    whether there are lines that no call has run, and the line was reached at which another call was to be made; and
    what the call took: seconds, and the most memory in bytes if it was measured.
    """

    value: Value
    memory: list[Stretch]
    turned: dict[int, View]
    lines_left: bool
    reached: bool = False
    seconds: float = 0.0
    peak: int = 0


class Raised(msgspec.Struct, array_like=True, tag="raised"):
    """A function returned nothing; what it did instead."""

    message: str
    memory: list[Stretch]
    lines_left: bool
    seconds: float = 0.0
    peak: int = 0


class Unrun(msgspec.Struct, array_like=True, tag="unrun"):
    """What is to be said of lines that no call has run."""

    notes: list[str]


class Inside(msgspec.Struct, array_like=True, tag="inside"):
    """What a file has, as `Found` says it."""

    found: bytes


Answer = Ready | Loaded | NoCatalogue | Refused | Returned | Raised | Unrun | Inside


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return name_of_dtype(value.dtype), value.shape, value.tobytes()
    raise NotImplementedError(f"a {type(value).__name__} does not travel")


def _made(kind: Any, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    name, shape, data = value
    return np.frombuffer(data, dtype_of(name)).reshape(shape).copy()


def decoded(body: bytes, kind: Any) -> Any:
    """A value of this type, of which each part is checked; `Undecodable` if it is none."""
    try:
        return msgspec.msgpack.decode(body, type=kind, dec_hook=_made)
    except (Broken, RecursionError) as error:
        raise Undecodable(str(error)) from None


Undecodable = msgspec.DecodeError
encoded = msgspec.msgpack.Encoder(enc_hook=_plain).encode
question = msgspec.msgpack.Decoder(Question).decode
answer = msgspec.msgpack.Decoder(Answer).decode


# ── Arrays ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=64)
def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of a view, in any byte order; `Broken` for what is no real or complex number.

    >>> dtype_of(">f4"), dtype_of("bfloat16")
    (dtype('>f4'), dtype(bfloat16))
    """
    if name == "bfloat16":
        import ml_dtypes  # which the command itself needs no more than NumPy's

        return np.dtype(ml_dtypes.bfloat16)
    if not REAL.fullmatch(name) and name != "|b1":
        raise Broken(f"an array of {name[:40]!r}")
    try:
        return np.dtype(name)
    except TypeError as error:
        raise Broken(str(error)) from None


@cache
def name_of_dtype(dtype: np.dtype[Any]) -> str:
    """What `dtype_of` understands, or nothing for what does not travel."""
    return "bfloat16" if dtype.name == "bfloat16" else dtype.str if REAL.fullmatch(dtype.str) else ""


def extent(shape: tuple[int, ...], strides: tuple[int, ...], size: int) -> tuple[int, int]:
    """The first byte of an array, and that after its last, from where its first entry is.

    >>> extent((3, 2), (16, -8), 8)
    (-8, 40)
    """
    low = high = 0
    for n, step in zip(shape, strides, strict=True):
        if n == 0:
            return 0, 0
        if step < 0:
            low += (n - 1) * step
        else:
            high += (n - 1) * step
    return low, high + size


def array_of(view: View, memory: Array) -> Array:
    """The array of a view, in its stretch of bytes; ValueError, of NumPy, if it reaches beyond."""
    array: Array = np.ndarray(view.shape, dtype_of(view.dtype), memory, view.offset, view.strides)
    if not view.writeable:
        array.flags.writeable = False
    return array
