"""A process that judges somebody's functions, which are in another: laws, truth and random numbers are here.

Of somebody's code it runs none but the definition that stands beside their functions, if one does.
"""

import gc
import os
import select
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from . import messages as m
from .calls import Gone, Late
from .command import Command, NotStarted
from .guard import said
from .handed_in import as_asked
from .loading import NotImported, definition_of, looked_for
from .pipes import Pipe
from .processes import Program, adopt_orphans, end_children
from .python_files import SUFFIXES, Facts, import_of, python_name, the_catalogue
from .remote import Subject, started
from .source_code import Code
from .tasks import A_STEP, FOLDER, Busy, Done, Found, Submission, Task, Unchecked

if TYPE_CHECKING:
    from .report import Report

IN_TIME = 0.8  # of a step, after which a submission's parts are stopped by themselves
OFTEN = 0.2  # seconds from one word about what is done to the next
FROM_OUTSIDE = (1, 9, 15)  # HUP, KILL, TERM: others may have sent them, and a second try tells
Told = Callable[[str, int], None]


def main() -> None:
    """Does one task after the other, until there are no more, or whoever gives them is gone."""
    asked, answered = Pipe(os.dup(0)), Pipe(os.dup(1))
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nothing, standard)
    adopt_orphans()
    Thread(target=_end_with_the_pipe, args=(asked.number,), daemon=True).start()
    Thread(target=import_the_check, daemon=True).start()
    kept: Kept | None = None
    while (body := asked.receive(sys.maxsize)) is not None:
        task: Task = m.decoded(body, Task)
        try:
            result, kept = _done(task, kept, _teller(answered))
        except Exception as error:
            result, kept = Unchecked(f"{task.name}: the judge stopped with {said(error)}"), None
        if not kept:
            end_children()
        answered.send(m.encoded(_packed(result)))
    end_children()
    os._exit(0)


class Kept(NamedTuple):
    """A process for somebody's functions that has run the files of a task."""

    files: tuple[Path, Path | None]
    program: Program


def _done(task: Task, kept: Kept | None, told: Told) -> tuple[Any, Kept | None]:
    """What comes of a task; and the process for the next, if it can be had."""
    files = task.path, task.definitions
    program = kept.program if kept and kept.files == files and not task.command else None
    if kept and not program:
        kept.program.stop()
        end_children()
    if task.operation is not None:
        return judge(task, task.operation, told, program), None
    if task.command:
        return look_at_command(task), None
    program = program or started()
    result = look_into(task, program)
    if task.submission or not isinstance(result, Found):
        program.stop()
        return result, None
    return result, Kept(files, program)


def _packed(result: Any) -> Done:
    if isinstance(result, Unchecked):
        return Done(unchecked=result.message, slow=result.slow)
    return Done(found=result) if isinstance(result, Found) else Done(report=m.encoded(result))


def _end_with_the_pipe(pipe: int) -> None:
    """Ends this process, and all below it, when nobody can give it a task any more."""
    hung_up = select.poll()
    hung_up.register(pipe, 0)
    while not any(event & (select.POLLHUP | select.POLLERR) for _, event in hung_up.poll()):
        time.sleep(OFTEN)
    end_children()
    os._exit(0)


def import_the_check() -> None:
    """Imports `check` before somebody's folder is on the path, where a file may have the name of a library."""
    gc.disable()  # nothing of what is imported is garbage, and to look for some takes a tenth of the time
    import_module(f"{__package__}.check")
    gc.freeze()
    gc.enable()
    sys.dont_write_bytecode = True  # from now on: what is compiled of this project is kept, and nothing beside a file


def _teller(pipe: Pipe) -> Told:
    """What tells of a call, but not of every one."""
    last = 0.0

    def tell(kind: str, number: int) -> None:
        nonlocal last
        if (now := time.monotonic()) > last + OFTEN:
            last = now
            pipe.send(m.encoded(Busy(kind, number)))

    return tell


def look_into(task: Task, program: Program) -> Found | Unchecked:
    """What is in a file, or in a submission."""
    with unpacked(task) as path:
        subject = Subject(path, step=task.timeout * A_STEP, memory=task.memory, program=program)
        look = m.Look(str(task.path), str(task.definitions) if task.definitions else None, task.memory)
        try:
            found = subject.look(_run(task, task.submission, path) if task.submission else look, _catalogue)
            return Unchecked(found.message) if isinstance(found, m.Refused) else m.decoded(found, Found)
        except Gone as gone:
            return Unchecked(f"{task.path.name}: {gone.told('while it was imported')}", gone.slow)
        except m.Undecodable:
            return Unchecked(f"{task.path.name}: what it says of itself cannot be read")


def _catalogue() -> Facts:
    import_the_check()  # or waits for the thread that does: with it comes JAX
    return the_catalogue()


@contextmanager
def unpacked(task: Task) -> Iterator[Path]:
    """Where the files of a task are: those of a submission in a folder that is new, whatever became of the last."""
    if task.submission is None:
        yield task.path
        return
    folder = Path(tempfile.mkdtemp(prefix=FOLDER.format(os.getppid()))).resolve()
    try:
        for name, data in task.submission.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(task: Task, submission: Submission, folder: Path) -> m.Run:
    seconds = task.timeout * A_STEP * IN_TIME
    return m.Run(str(folder), list(submission.run), dict(submission.names), task.memory, seconds)


def look_at_command(task: Task) -> Found | Unchecked:
    """What a program has; a file of definitions runs here."""
    import_the_check()
    try:
        command = _command(task)
        command.stop()
        found = looked_for(task.path, command.about.functions, task.definitions)
        return found._replace(called=command.called_itself)
    except (NotStarted, NotImported) as error:
        return Unchecked(str(error))


def _command(task: Task, **limits: Any) -> Command:
    step = task.timeout * A_STEP
    return Command(task.command, validate=task.validate, step=step, memory=task.memory, **limits)


def judge(task: Task, operation: str, told: Told, program: Program | None = None) -> "Report | Unchecked":
    """The report of one operation, or why there is none; who is ended from outside is given a second try."""
    first = _judged(task, operation, told, program)
    if not isinstance(first, Gone):
        return first
    if first.signal_number not in FROM_OUTSIDE:
        return _no_return(task, operation, first)
    again = _judged(task, operation, told)
    if isinstance(again, Gone):
        return _no_return(task, operation, again)
    if isinstance(again, Unchecked):
        return again
    return replace(again, notes=(*again.notes, f"tried twice: the first time {first.told()}"))


def _judged(task: Task, operation: str, told: Told, program: Program | None = None) -> "Report | Unchecked | Gone":
    program = program or (None if task.command else started())  # which imports what it needs meanwhile
    import_the_check()
    limits: dict[str, Any] = {"seconds": task.timeout, "on_call": told}
    subject: Subject | Command | None = None
    with unpacked(task) as path:
        try:
            if task.command:
                subject = _command(task, **limits)
            else:
                limits |= {"step": task.timeout * A_STEP, "memory": task.memory}
                subject = Subject(path, **limits, program=program)
            row = row_of(task, operation)
            if isinstance(subject, Command):
                code = subject.code(subject.of(operation))
            else:
                code = _loaded(task, operation, subject, path)
            return with_source(task, operation, examined_as_asked(task, row, code.functions, code))
        except (NotImported, NotStarted) as error:
            return Unchecked(str(error))
        except Late as late:
            assert subject
            kind, number = max(subject.calls.counts.items(), key=lambda pair: pair[1], default=("forward", 0))
            far = f"not done after {task.timeout:g} s and {number:,} calls of {kind}"
            advice = "--timeout gives it more, --examples tries fewer cases"
            wrong = f", and wrong until then: {late.found}" if late.found else ""
            return Unchecked(f"{task.name}: {operation} is slow: {far}{wrong}; {advice}", slow=True)
        except Gone as gone:
            return gone if gone.call else Unchecked(f"{task.name}: {gone.told('before the first call')}", gone.slow)
        finally:
            if subject:
                subject.stop()


def _loaded(task: Task, operation: str, subject: Subject, path: Path) -> Code:
    """The functions of an operation in a file; `NotImported` if it cannot be run."""
    loaded = subject.load(_to_load(task, operation, path))
    if isinstance(loaded, m.Refused):
        raise NotImported(loaded.message)
    return subject.code(loaded, names_of(task, operation))


def row_of(task: Task, operation: str) -> Any:
    """The definition of an operation, if it has one, or its name."""
    if task.defined is None:
        return operation
    if task.submission is None:
        return definition_of(task.defined[0], operation)
    return _held_to(task.submission.definitions, task.defined[0], operation)


@cache
def _held_to(source: bytes, path: Path, operation: str) -> Any:
    """The definition in what a file was, the same for all submissions: to trace it anew for each would take longest."""
    with tempfile.TemporaryDirectory(prefix=FOLDER.format(os.getppid())) as folder:
        sys.path.append(str(path.parent))  # for what it imports
        copy = Path(folder, path.name)
        copy.write_bytes(source)
        return definition_of(copy, operation)


def _to_load(task: Task, operation: str, path: Path) -> m.Load | m.Run:
    if task.submission:
        return _run(task, task.submission, path)
    return m.Load(str(task.path), str(task.definitions) if task.definitions else None, operation, task.memory)


def names_of(task: Task, operation: str) -> Mapping[str, str]:
    """What the functions of an operation are called, by kind: those of a submission as the course has it."""
    if task.submission:
        return task.submission.names
    return {kind: python_name(operation) + suffix for kind, suffix in SUFFIXES.items()}


def _no_return(task: Task, operation: str, gone: Gone) -> "Report":
    from .report import no_return

    assert gone.call
    name = names_of(task, operation)[gone.call.kind]
    source = _import(task, operation, {gone.call.kind: name})
    asked = operation, task.arguments, task.options
    return no_return(*asked, gone.told(), gone.call, name, source, slow=gone.slow)


def examined_as_asked(task: Task, row: Any, functions: Any, code: Code | None) -> "Report | Unchecked":
    """What `check` says of functions, with the options of a task."""
    from .check import USUAL, examined

    functions = _as_asked(task, functions)
    code = code._replace(functions=_as_asked(task, code.functions)) if code else None
    try:
        return examined(row, {kind: functions.get(kind) for kind in SUFFIXES}, **{**USUAL, **task.options}, code=code)
    except (ValueError, TypeError) as error:
        return Unchecked(f"{task.name}: {error}" if task.defined else str(error))


def _as_asked(task: Task, functions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The functions of a submission, which need not give gradients that are not asked for."""
    if not (task.submission and (gradients := task.submission.gradients)):
        return functions
    alone = {kind: as_asked(kind, f, task.arguments, gradients) for kind, f in functions.items() if kind != "forward"}
    return {**functions, **alone}


def with_source(task: Task, operation: str, report: "Report | Unchecked") -> "Report | Unchecked":
    """The report, whose failures know how the functions are imported."""
    if isinstance(report, Unchecked):
        return report
    path, definition = task.defined or (task.path, "")
    used = {kind: name for failure in report.failures for kind, name in failure.functions.items()}
    imports = _import(task, operation, used), import_of(path, [definition] * bool(definition))
    source = "\n".join(filter(None, imports))
    failures = tuple(replace(f, source=source, definition=definition, operation=operation) for f in report.failures)
    return replace(report, operation=operation, failures=failures)


def _import(task: Task, operation: str, names: dict[str, str]) -> str:
    """The line that imports functions, by kind, from a file, or has a program started that has them."""
    if not task.command or not names:
        return import_of(task.path, names.values())
    several = ".values()" if len(names) > 1 else f"[{next(iter(names))!r}]"
    start = f"{', '.join(names.values())} = from_command({list(task.command)}, {operation!r}){several}"
    return f"from backprop_properties import from_command\n{start}"
