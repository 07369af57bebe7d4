"""What is to be done with somebody's file, and what may come of it."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .adapting import Adapted

OWN_IMPORTS = 60  # seconds for what this project imports, which is not somebody's time
FOLDER = "backprop-{}-"  # of a submission's files, with the number of the process that gives the task
A_STEP = 0.25  # of its time an operation may spend in one call, or importing the file


class Gradients(NamedTuple):
    """The arguments that have a gradient, those whose gradients are asked for, and those that are judged."""

    real: tuple[str, ...]
    asked: tuple[str, ...]
    judged: tuple[str, ...]


class Submission(NamedTuple):
    """What somebody has handed in: files by their path, those that are run, in order, and the names of an operation's
    functions by kind; with the text of the file of definitions, which nobody can change any more. `gradients` says
    which are asked for, where these are not all; its `name` is for whoever waits.
    """

    files: Mapping[str, bytes]
    run: tuple[str, ...]
    names: Mapping[str, str] = {}
    definitions: bytes = b""
    gradients: Gradients | None = None
    name: str = ""


class Task(NamedTuple):
    """An operation in a file, or of a program, that is to be checked, with the file and the variable of its definition,
    if it has one; without an operation it is only looked what there is.

    Of a submission, `path` is its name only: each task gets its files in a new folder.
    """

    path: Path
    operation: str | None
    timeout: float  # seconds
    memory: int | None = None  # megabytes
    options: Mapping[str, Any] = {}
    definitions: Path | None = None  # a file of definitions, beside those in the file itself
    defined: tuple[Path, str] | None = None
    arguments: tuple[str, ...] = ()  # of the operation
    submission: Submission | None = None
    command: tuple[str, ...] = ()  # of a program that has the functions; `path` is this command, and no file
    validate: bool = False  # each of its lines

    @property
    def name(self) -> str:
        """What a person knows the file by, or the command."""
        return shlex.join(self.command) if self.command else self.path.name

    @property
    def key(self) -> tuple[Path, str | None]:
        return self.path, self.operation


class Found(NamedTuple):
    """What a file has: the functions of each operation by kind, the operation's arguments and the letters of its
    sizes, what the file defines itself, every name, and what an adapter makes functions of an operation of; the
    operations that were looked for; of those with a definition and no function, the variable that holds it; of those
    whose definition is none, why; and where the definitions of the others are: the file and the variable; and of what
    it defines itself, what no adapter has made.

    Of a submission only its names, what is to be said of parts that failed, and of functions that these define why they
    are not there. Of a program what it calls itself.
    """

    functions: Mapping[str, tuple[str, ...]]
    facts: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    own: frozenset[str]
    names: tuple[str, ...]
    adaptable: tuple[Adapted, ...] = ()
    known: tuple[str, ...] = ()
    unused: Mapping[str, str] = {}
    refused: Mapping[str, str] = {}
    defined: Mapping[str, tuple[Path, str]] = {}
    by_hand: frozenset[str] = frozenset()
    told: tuple[str, ...] = ()
    broken: Mapping[str, str] = {}
    called: str = ""


class Unchecked(NamedTuple):
    """Why nothing could be checked, in a line; whether that is for want of time, or since the judge was lost."""

    message: str
    slow: bool = False
    lost: bool = False


class Busy(msgspec.Struct, array_like=True, tag="busy"):
    """What is done at the moment: the number of a call, and of which function."""

    kind: str
    number: int


class Done(msgspec.Struct, array_like=True, tag="done"):
    """What came of a task: one of these. A report travels as a whole, for whoever has its class."""

    report: bytes | None = None
    found: Found | None = None
    unchecked: str = ""
    slow: bool = False


Word = Busy | Done  # of a judge
