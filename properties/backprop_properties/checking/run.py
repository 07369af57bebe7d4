"""A run of `backprop check`: it looks what functions are in some files, checks them, and collects the reports."""

import difflib
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backprop_reference import OPERATIONS

from .isolation import Found, Process, Task, Unchecked, Worker, results
from .python_files import SUFFIXES, operations_named, python_name
from .report import Report

RIGHT, WRONG, UNUSABLE, INTERRUPTED = 0, 1, 2, 130  # exit codes


@dataclass
class Run:
    """The reports by file and operation, and lines on what could not be, or was not, checked."""

    tasks: list[Task] = field(default_factory=list)
    reports: dict[tuple[Path, str | None], Report] = field(default_factory=dict)
    unusable: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return INTERRUPTED
        if self.unusable or not self.reports:
            return UNUSABLE
        return RIGHT if all(report.passed for report in self.reports.values()) else WRONG

    def ordered(self) -> list[tuple[Task, Report | None]]:
        """Each task with its report, or None."""
        return [(task, self.reports.get(task.key)) for task in self.tasks]


def run(
    files: Sequence[Path],
    names: Sequence[str],
    options: Mapping[str, Any],
    domain: Mapping[str, Any],
    *,
    timeout: float,
    memory: int,
    jobs: int | None = None,
    spare: Process | None = None,
    on_tasks: Callable[[int], None] = lambda count: None,
    on_report: Callable[[Task, Report], None] = lambda task, report: None,
    on_wait: Callable[[Sequence[Worker]], None] = lambda workers: None,
) -> Run:
    """Checks the operations that the files implement, or those that are named; after Ctrl-C: with the reports so far.

    Raises ValueError, in one line, for names and domains that cannot be understood.
    """
    started, this, jobs = time.perf_counter(), Run(), jobs or os.cpu_count() or 1
    if not sys.platform.startswith("linux"):
        this.notes.append("this system has no limit for the memory of a process: none is set")
    wanted = [operation for name in names for operation in operations_named(name)]
    try:
        for path, found in _looked_into(files, timeout, memory, jobs):
            if isinstance(found, Unchecked):
                this.unusable.append(found.message)
                continue
            operations = [op for op in found.functions if (op in wanted if wanted else not _borrowed(found, op))]
            this.tasks += [Task(path, operation, timeout, memory, options) for operation in operations]
            if operations:
                this.notes += [f"{path.name}: {note}" for note in _passed_over(found, wanted)]
            else:
                this.unusable.append(_nothing_in(path, found, wanted))
        this.tasks = _with_domains(this.tasks, domain)
        on_tasks(len(this.tasks))
        for task, result in results(this.tasks, jobs, on_wait, spare):
            if isinstance(result, Unchecked):
                this.unusable.append(result.message)
            else:
                this.reports[task.key] = result
                on_report(task, result)
    except KeyboardInterrupt:
        this.interrupted = True
    this.unusable = list(dict.fromkeys(this.unusable))
    this.seconds = time.perf_counter() - started
    return this


def _looked_into(files: Sequence[Path], timeout: float, memory: int, jobs: int) -> Iterable[tuple[Path, Any]]:
    """What is in each file, in order."""
    found: dict[Path, Any] = {path: _no_file(path) for path in files if not path.is_file()}
    tasks = [Task(path, None, timeout, memory) for path in files if path not in found]
    found |= {task.path: result for task, result in results(tasks, jobs)}
    return [(path, found[path]) for path in dict.fromkeys(files)]


def _no_file(path: Path) -> Unchecked:
    if path.is_dir():
        return Unchecked(f"{path} is a folder; name the files in it")
    beside = [file.name for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, 1)
    return Unchecked(f"there is no file {path}" + (f"; did you mean {near[0]}?" if near else ""))


def _borrowed(found: Found, operation: str) -> bool:
    """Whether a file only imports the forward of an operation, as NumPy's exp."""
    return found.functions[operation] == ("forward",) and python_name(operation) not in found.own


def _passed_over(found: Found, wanted: Sequence[str]) -> Iterable[str]:
    """A line on each function that is not checked although its name, or nearly its name, is an operation's."""
    for operation in found.functions if not wanted else ():
        if _borrowed(found, operation):
            name = python_name(operation)
            yield f"{name} is imported, and not checked; --operations {name} does it"
    for name, near in _near_misses(found, wanted or list(OPERATIONS)):
        if near or not wanted:
            yield f"{name} is not checked: no operation is called that" + (f"; did you mean {near}?" if near else "")


def _near_misses(found: Found, operations: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Functions that are named as if they were an operation's, each with the nearest right name."""
    every = {python_name(operation) + suffix for operation in OPERATIONS for suffix in SUFFIXES.values()}
    right = {python_name(operation) + suffix for operation in operations for suffix in SUFFIXES.values()}
    for name in found.names:
        ending = next((suffix for suffix in SUFFIXES.values() if suffix and name.endswith(suffix)), "")
        if name in every or not (ending or name in found.own):
            continue
        family = [op for op in operations if OPERATIONS[op].base == name.removesuffix(ending)]
        if family:  # the project's own name, with a scalar function among the arguments
            near = [python_name(family[0]) + ending]
        elif ending:
            near = difflib.get_close_matches(name, [other for other in right if other.endswith(ending)], 1)
        else:
            near = difflib.get_close_matches(name, right - {*found.names}, 1, 0.85)
        if ending or near:
            yield name, near[0] if near else ""


def _nothing_in(path: Path, found: Found, wanted: Sequence[str]) -> str:
    """The line on a file with nothing to check: what was looked for, and which names come near."""
    names = [python_name(operation) + suffix for operation in wanted or ["softmax"] for suffix in SUFFIXES.values()]
    looked_for = ", ".join(names[:6]) + (", …" if len(names) > 6 or not wanted else "")
    candidates = names if wanted else [python_name(op) + suffix for op in OPERATIONS for suffix in SUFFIXES.values()]
    near = {name: difflib.get_close_matches(name, candidates, 1, 0.75) for name in found.names if name not in names}
    hints = [f"it has {name}: did you mean {match[0]}?" for name, match in near.items() if match]
    return f"{path.name} has none of {looked_for}" + "".join(f"; {hint}" for hint in hints[:3])


def _with_domains(tasks: list[Task], domain: Mapping[str, Any]) -> list[Task]:
    """Each task with the part of the domain that its operation has; ValueError for a key that no operation has."""
    if not domain:
        return tasks
    from ..cases.domains import domain_of, fitting

    fitted = [fitting(OPERATIONS[str(task.operation)], domain) for task in tasks]
    for key in domain:
        if tasks and not any(key in part for part in fitted):
            domain_of(OPERATIONS[str(tasks[0].operation)], {key: domain[key]})
    for task, part in zip(tasks, fitted, strict=True):
        domain_of(OPERATIONS[str(task.operation)], part)
    return [
        task._replace(options={**task.options, **({"domain": part} if part else {})})
        for task, part in zip(tasks, fitted, strict=True)
    ]
