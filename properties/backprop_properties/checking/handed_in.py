"""What somebody hands in: files and notebooks, run one after the other, a notebook cell by cell.

What fails is told, and the rest goes on. Of several definitions of one name the last counts.
"""

import ast
import json
import linecache
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from .guard import SEVERAL, counted, printable, said
from .own_definitions import line_of
from .tasks import Gradients

NOTEBOOK = ".ipynb"
MAGIC = re.compile(r"(\s*)(?:[%!?]|[\w.]+\?|[\w, ]+=\s*[%!])|.*\?\s*$")  # a line that IPython alone understands
RUNS_THE_CELL = ("%%time", "%%capture")  # magics of a cell whose other lines are run as they are
DEFINED = re.compile(r"^[ \t]*def +(\w+)", re.MULTILINE)
MOST_TOLD = 20  # parts that failed
SHARE = 0.5  # of the time that is left, for one part


class Part(NamedTuple):
    """A file, or a cell of a notebook: its name, and its code."""

    name: str
    code: str | bytes


class HandedIn(NamedTuple):
    """The functions by name, what is to be said of parts that failed, and why functions of these are not there."""

    functions: Mapping[str, Any]
    told: tuple[str, ...]
    broken: Mapping[str, str]


class _OutOfTime(BaseException):
    """A part takes too long; no `Exception`, which its code may catch."""


class _NoShell:
    """What `get_ipython` gives where there is no IPython: each of its methods does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **options: None


def handed_in(folder: Path, files: Sequence[str], seconds: float) -> HandedIn:
    """Runs the files of a folder, which is the current one from now on, in so many seconds."""
    os.chdir(folder)
    os.environ.setdefault("MPLBACKEND", "Agg")  # a plot opens no window
    sys.path.insert(0, str(folder))
    functions: dict[str, Any] = {}
    told, broken, until = list[str](), dict[str, str](), time.monotonic() + seconds
    for file in files:
        module = ModuleType(f"handed_in_{Path(file).stem}")
        vars(module).update(__file__=str(folder / file), display=print, get_ipython=_NoShell)
        sys.modules[module.__name__] = module  # dataclasses look themselves up there
        try:
            parts = list(_parts(folder / file))
        except ValueError as error:
            told.append(str(error))
            continue
        for part in parts:
            before = dict(vars(module))
            if why := _why_it_failed(part, module, folder, until):
                told.append(f"{part.name} {why}")
                text = part.code if isinstance(part.code, str) else part.code.decode(errors="replace")
                broken |= dict.fromkeys(DEFINED.findall(text), told[-1])
            now = dict(vars(module))
            functions |= {name: f for name, f in now.items() if callable(f) and before.get(name) is not f}
    more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
    return HandedIn(functions, (*told[:MOST_TOLD], *more), broken)


def as_asked(
    kind: str, function: Callable[..., Any], arguments: Sequence[str], gradients: Gradients
) -> Callable[..., Any]:
    """A vjp or jacobian that may give what is asked for alone: a tuple of it, or of one argument the array itself.

    It gives one result for each of the arguments, and None for those that are not judged.

    >>> as_asked("vjp", lambda delta, x, y: delta * y, ["x", "y"], Gradients(("x", "y"), ("x",), ("x",)))(2, 3, 5)
    (10, None)
    """
    prefix = {"vjp": "d", "jacobian": "J_"}[kind]

    @wraps(function)
    def call(*args: Any) -> Any:
        result = function(*args)
        count = len(result) if isinstance(result, SEVERAL) else 0
        names = next((some for some in (arguments, gradients.real) if len(some) == count), gradients.asked)
        found = result if count == len(names) else counted(result, [prefix + name for name in names], kind)
        given = dict(zip(names, found, strict=True))
        return tuple(given.get(name) if name in gradients.judged else None for name in arguments)

    return call


def _parts(path: Path) -> Iterator[Part]:
    """A Python file as it is; the code cells of a notebook, in which they stand for themselves."""
    if path.suffix != NOTEBOOK:
        yield Part(path.name, path.read_bytes())
        return
    for number, source in enumerate(code_cells(path.read_bytes(), path.name), 1):
        part = Part(f"cell {number} of {path.name}", without_magics(source))
        lines = str(part.code).splitlines(keepends=True)
        linecache.cache[str(path.parent / part.name)] = len(part.code), None, lines, str(path.parent / part.name)
        yield part


def code_cells(data: bytes, name: str) -> list[str]:
    """The sources of a notebook's code cells, in format 4, or 3 and before; ValueError, in one line, for no notebook.

    >>> code_cells(b'{"cells": [{"cell_type": "code", "source": ["x = 1\\\\n", "y = 2"]}]}', "a.ipynb")
    ['x = 1\\ny = 2']
    """
    try:
        found = json.loads(data)
        sheets = [found] if "cells" in found else found["worksheets"]
        cells = [cell for sheet in sheets for cell in sheet["cells"] if cell["cell_type"] == "code"]
        sources = [cell["source"] if "source" in cell else cell["input"] for cell in cells]
        return ["".join(source) for source in sources]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{name} is no notebook that can be read: {said(error)}") from None


def without_magics(source: str) -> str:
    """The code of a cell without what only IPython understands; a line that Python understands stays, whatever it
    begins with, and of a cell that is another program's nothing stays.

    >>> without_magics("%matplotlib inline\\nx = (7\\n% 4)\\nif x:\\n    !ls")
    'pass\\nx = (7\\n% 4)\\nif x:\\n    pass'
    >>> without_magics("%%bash\\nls"), without_magics("%%time\\nx = 1")
    ('', '\\nx = 1')
    """
    lines = source.split("\n")
    first = next((k for k, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        if lines[first].split()[0] not in RUNS_THE_CELL:
            return ""
        lines[first] = ""
    for _ in lines:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse("\n".join(lines))
        except SyntaxError as error:
            k = (error.lineno or 0) - 1
            magic = MAGIC.match(lines[k]) if 0 <= k < len(lines) else None
            if not magic:
                break
            lines[k] = f"{magic[1] or ''}pass"
        except (ValueError, RecursionError, MemoryError):
            break
        else:
            break
    return "\n".join(lines)


def _why_it_failed(part: Part, module: ModuleType, folder: Path, until: float) -> str:
    """Runs a part; whether it could not be read or stopped, at which of its lines, and how, or nothing."""
    seconds = max((until - time.monotonic()) * SHARE, 0.1)
    path = folder / part.name
    try:
        with _limited(seconds):
            exec(compile(part.code, str(path), "exec", dont_inherit=True), vars(module))
    except _OutOfTime:
        return "stopped: it takes too long"
    except SystemExit as error:
        return f"stopped{line_of(error, path)}: it called exit({printable(repr(error.code))[:40]})"
    except SyntaxError as error:
        how = "cannot be read" if error.filename == str(path) else "stopped"  # what it imports may be no Python, too
        return f"{how}{line_of(error, path)}: {type(error).__name__}: {printable(str(error.msg))[:200]}"
    except BaseException as error:  # whatever it is, the next part is run
        return f"stopped{line_of(error, path)}: {said(error)}"
    return ""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raises `_OutOfTime` in what takes longer, where a system has such a clock."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def over(number: int, frame: Any) -> None:
        raise _OutOfTime

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        with suppress(ValueError, TypeError):
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
