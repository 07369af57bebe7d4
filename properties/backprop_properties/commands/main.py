"""The entry point of `backprop`, which says which extra is missing: all else in this folder needs it."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING

from .. import without_the_extra
from .signals import INTERRUPTED, ignore, line, listen

if TYPE_CHECKING:
    from ..checking.processes import Program


LEAST_COLUMNS = 20  # of what may be called a terminal
JUDGES = ("check", "matrix", "grade")  # commands for which a judge gets ready at once
FOREIGN = (*JUDGES, "audit", "vectors")  # commands that run somebody's code


def main() -> None:
    """Runs the command; one that a signal ends says so in a line, and its exit code is 128 + the signal's number."""
    heard = listen()
    _prepare_output()
    try:
        try:
            _run()
        finally:
            sys.stdout.flush()
    except OSError as error:  # of files that a command is given it tells itself
        nowhere = "the current folder" if isinstance(error, FileNotFoundError) else "standard output"
        what = error.filename or nowhere
        if not isinstance(error, BrokenPipeError):  # whoever read it has had enough
            with suppress(OSError):
                print(f"backprop: {what}: {error.strerror}", file=sys.stderr, flush=True)
        for stream in (sys.stdout, sys.stderr):  # what is left in them goes nowhere, without a word at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:
        ignore()
        if isinstance(end, SystemExit) and end.code != INTERRUPTED and not heard:  # nor is one on its way
            raise
        number = heard[0] if heard else signal.SIGINT
        print(f"backprop: {line(number)}", file=sys.stderr)
        sys.exit(128 + number)


def _prepare_output() -> None:
    """Characters that an encoding lacks are escaped, and a width that no terminal has counts for none."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal() or int(columns) < LEAST_COLUMNS:
        os.environ.pop("COLUMNS", None)


def _run() -> None:
    foreign = bool({*sys.argv[1:2]} & {*FOREIGN}) and "--help" not in sys.argv
    try:
        with _foreign_code(judges=sys.argv[1] in JUDGES) if foreign else nullcontext() as spare:
            from .app import app

            app(obj=spare)
    except ModuleNotFoundError as missing:
        print(f"backprop: {without_the_extra(missing)}", file=sys.stderr)
        sys.exit(2)


@contextmanager
def _foreign_code(*, judges: bool) -> "Iterator[Program | None]":
    """Ends whatever somebody's code has started, and left; and gives a process that judges, if there is something to
    judge, whose imports begin before all others: they take longest.
    """
    from ..checking.processes import adopt_orphans, end_children, judge, stop

    # Threads of OpenBLAS that have nothing to do keep a core busy, of which three processes that import have need: this
    # one, the judge, and that of somebody's functions.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # the power of two of clock cycles until they sleep
    spare = judge() if judges else None
    adopt_orphans()
    try:
        import_module("psutil")  # which `end_children` needs: here, while the judge imports what it needs
        yield spare
    finally:
        if spare:
            stop(spare)
        end_children()
        gc.freeze()  # a process that ends looks for garbage first, and nothing here is any


if __name__ == "__main__":
    main()
