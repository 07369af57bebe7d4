"""A process that runs somebody's file: it lists what is in there, or checks one operation of it.

Before each call of a function it writes down what it is about to do, so that the process that started it
(`isolation.Worker`) can tell which call it was that never came back.
"""

import faulthandler
import functools
import gc
import importlib
import inspect
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from .guard import said
from .isolation import DONE, OWN_IMPORTS, POLL, RUNNING, Call, Found, Task, Unchecked
from .python_files import SUFFIXES, found_in, import_of, module_of, python_name

LIBRARIES = ("autograd", "backprop_reference", "jax", "numpy", "scipy", "torch")


def main(folder: Path) -> None:
    """Runs the task, and ends the process without waiting for whatever somebody's code has left behind."""
    trace = (folder / "trace").open("w")
    faulthandler.enable(trace, all_threads=False)
    task = _task(folder)
    if hasattr(signal, "alarm"):
        signal.alarm(int(task.timeout + OWN_IMPORTS) + 30)  # should nobody be there any more to stop this process
    if task.operation is not None:
        _import_the_check()
    sys.dont_write_bytecode = True  # nothing is left beside somebody's file
    (folder / "ready").touch()
    partial = folder / "partial"
    partial.write_bytes(pickle.dumps(result_of(task, folder / "call")))
    partial.rename(folder / "result")
    os._exit(0)


def _task(folder: Path) -> Task:
    """The task, once the folder has one; a process without a task imports what a check needs, and waits."""
    file, parent = folder / "task", os.getppid()
    if not file.exists():
        _import_the_check()
    while not file.exists():
        if os.getppid() != parent:
            os._exit(0)
        time.sleep(POLL)
    task: Task = pickle.loads(file.read_bytes())
    return task


def _import_the_check() -> None:
    """Imports `check` before somebody's folder is on the path, where a file may have the name of a library."""
    gc.disable()  # nothing of what is imported is garbage, and to look for some takes a tenth of the time
    importlib.import_module(f"{__package__}.check")
    gc.freeze()
    gc.enable()


def result_of(task: Task, diary: Path) -> Any:
    """What is in a file, the report of one operation, or why there is neither."""
    try:
        return listed(task.path) if task.operation is None else checked(task, task.operation, diary)
    except _NotImported as error:
        return Unchecked(error.args[0])


class _NotImported(Exception):
    """The file could not be run; the message says why, and at which of its lines."""


def listed(path: Path) -> Found:
    """What is in a file."""
    module = _module(path)
    found = {
        operation: tuple(kind for kind in SUFFIXES if getattr(functions, kind) is not None)
        for operation, functions in found_in(vars(module)).items()
    }
    names = tuple(name for name, value in vars(module).items() if callable(value) and not name.startswith("_"))
    own = frozenset(name for name in names if _written(vars(module)[name]))
    return Found(found, own, names)


def _written(function: Any) -> bool:
    """Whether a function is the user's, in this file or one that it imports, and not a library's as NumPy's exp."""
    library = str(getattr(function, "__module__", None)).partition(".")[0] in LIBRARIES
    return hasattr(inspect.unwrap(function), "__code__") and not library


def checked(task: Task, operation: str, diary: Path) -> Any:
    """The report of one operation, or why there is none."""
    from .check import check

    functions = found_in(vars(_module(task.path)))[operation]
    limit_memory(task.memory)
    names = {kind: python_name(operation) + suffix for kind, suffix in SUFFIXES.items()}
    with diary.open("wb", buffering=0) as file:
        watched: dict[str, Any] = {
            kind: _watched(getattr(functions, kind), kind, name, file)
            for kind, name in names.items()
            if getattr(functions, kind) is not None
        }
        try:
            report = check(operation, **watched, **task.options)
        except (ValueError, TypeError) as error:
            return Unchecked(str(error))
    source = import_of(task.path, [names[kind] for kind in watched])
    return replace(report, failures=tuple(replace(failure, source=source) for failure in report.failures))


def _watched(function: Callable[..., Any], kind: str, name: str, diary: BinaryIO) -> Callable[..., Any]:
    """The function, wrapped so that the diary has each call before it is made, and that it has returned."""
    number = 0

    def write(text: bytes) -> None:
        diary.seek(0)
        diary.write(text)

    @functools.wraps(function, updated=())
    def call(*args: Any) -> Any:
        nonlocal number
        number += 1
        write(RUNNING + pickle.dumps(Call(kind, number, time.time(), args)))
        try:
            return function(*args)
        finally:
            write(DONE)

    call.__name__ = name  # in the file, whatever the function thinks it is called
    return call


def _module(path: Path) -> Any:
    sys.path.insert(0, str(path.parent))  # for good: a function may import, too
    try:
        return module_of(path)
    except Exception as error:
        message = f"{type(error).__name__}: {error.msg}" if isinstance(error, SyntaxError) else said(error)
        raise _NotImported(f"{path.name} can't be imported{_line(error, path)}: {message}") from None


def _line(error: BaseException, path: Path) -> str:
    """At which line of a file an error came up."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f", line {error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""


def limit_memory(megabytes: int | None) -> bool:
    """Limits what this process may allocate from now on; False where a system has no such limit.

    Memory that can be written to counts, and not address space, of which a driver may reserve any amount.
    """
    if megabytes is None or not sys.platform.startswith("linux"):
        return False
    import resource

    status = Path("/proc/self/status").read_text()
    now = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData"))
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = now + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if most < 0 else min(limit, most), most))
    return True
