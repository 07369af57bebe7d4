"""A run of `backprop check`: it looks what functions are in some files, checks them, and collects the reports."""

import difflib
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backprop_reference import OPERATIONS

from .adapting import lines_for
from .isolation import Judge, results
from .processes import Program
from .python_files import DEFINITION, SUFFIXES, operations_named, python_name
from .report import Report
from .tasks import Found, Task, Unchecked

BACKWARD = r"^(d|grad|gradient|vjp|backward|backprop)_|_(d|grad|gradient|backward|backprop|bwd)$"  # for a vjp
RIGHT, WRONG, UNUSABLE, INTERRUPTED = 0, 1, 2, 130  # exit codes


@dataclass
class Run:
    """The reports by file and operation, and lines on what could not be, or was not, checked; the files' names, what
    is in them, and the operations that were asked for.
    """

    names: dict[Path, str] = field(default_factory=dict)
    found: dict[Path, Found] = field(default_factory=dict)
    wanted: list[str] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    reports: dict[tuple[Path, str | None], Report] = field(default_factory=dict)
    unchecked: dict[tuple[Path, str | None], str] = field(default_factory=dict)  # why; without an operation, of a file
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def unusable(self) -> list[str]:
        """What could not be checked and why, a line each."""
        return list(dict.fromkeys(self.unchecked.values()))

    @property
    def exit_code(self) -> int:
        if self.interrupted:
            return INTERRUPTED
        if not all(report.holds for report in self.reports.values()):
            return WRONG  # whatever else there is: it is wrong
        compared = self.reports and all(report.passed for report in self.reports.values())
        return RIGHT if compared and not self.unusable else UNUSABLE

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
    definitions: Path | None = None,
    commands: Sequence[Sequence[str]] = (),
    validate: bool = False,
    spare: Program | None = None,
    on_tasks: Callable[[int], None] = lambda count: None,
    on_report: Callable[[Task, Report], None] = lambda task, report: None,
    on_wait: Callable[[Sequence[Judge]], None] = lambda judges: None,
) -> Run:
    """Checks the operations that files and programs implement, or those that are named; after Ctrl-C: what there is.

    Raises ValueError, in one line, for names and domains that cannot be understood.
    """
    started, this, jobs = time.perf_counter(), Run(), jobs or os.cpu_count() or 1
    if not sys.platform.startswith("linux"):
        this.notes.append("this system has no limit for the memory of a process: none is set")
    try:
        judges = [Judge(spare)] if spare else []
        limits: dict[str, Any] = {"timeout": timeout, "memory": memory, "definitions": definitions}
        asked = [Task(path, None, **limits) for path in dict.fromkeys(files)]
        for words in dict.fromkeys(map(tuple, commands)):
            asked.append(Task(path_of(words), None, **limits, command=words, validate=validate))
        this.names = told_apart(files) | {task.path: task.name for task in asked if task.command}

        def of(task: Task, line: str) -> str:
            """A line that begins with the name of a file, told apart from others."""
            return this.names[task.path] + line.removeprefix(task.name) if line.startswith(task.name) else line

        looked_into = _looked_into(asked, jobs, judges)
        this.found = {look.path: found for look, found in looked_into if isinstance(found, Found)}
        every = this.found.values()
        own = {operation for found in every for operation in (*found.functions, *found.unused, *found.refused)}
        wanted = [operation for name in names for operation in ([name] if name in own else operations_named(name))]
        this.wanted = list(dict.fromkeys(wanted))
        letters: dict[str, tuple[str, ...]] = {}
        for look, found in looked_into:
            if isinstance(found, Unchecked):
                this.unchecked[look.key] = of(look, found.message)
                continue
            operations = [op for op in found.functions if (op in wanted if wanted else not _borrowed(found, op))]
            letters |= {operation: letters_of for operation, (_, letters_of) in found.facts.items()}
            this.tasks += [
                look._replace(
                    operation=operation,
                    options=options,
                    defined=found.defined.get(operation),
                    arguments=found.facts[operation][0],
                )
                for operation in operations
            ]
            refused = {op: of(look, why) for op, why in found.refused.items() if not wanted or op in wanted}
            this.unchecked |= {(look.path, operation): why for operation, why in refused.items()}
            if operations or refused:
                this.notes += [f"{this.names[look.path]}{note}" for note in _passed_over(found, wanted)]
            else:
                this.unchecked[look.key] = of(look, _nothing_in(look.name, found, wanted))
                this.notes += [f"{this.names[look.path]}: {note}" for note in _adapting(found)]
        this.tasks = _with_domains(this.tasks, letters, domain)
        on_tasks(len(this.tasks))
        for task, result in results(this.tasks, jobs, judges, on_wait):
            if isinstance(result, Unchecked):
                this.unchecked[task.key] = of(task, result.message)
            else:
                this.reports[task.key] = result
                on_report(task, result)
    except KeyboardInterrupt:
        this.interrupted = True
    finally:
        for judge in judges:
            judge.stop()
    this.seconds = time.perf_counter() - started
    return this


def path_of(command: Sequence[str]) -> Path:
    """What stands for a program where a path stands for a file."""
    return Path(shlex.join(command))


def told_apart(files: Sequence[Path]) -> dict[Path, str]:
    """Of each file its name, or if two have the same, its path from the folder that holds all of them.

    >>> [*told_apart([Path("/a/b/mine.py"), Path("/a/c/mine.py")]).values()]
    ['b/mine.py', 'c/mine.py']
    """
    names = {path: path.name for path in files}
    if len(set(names.values())) < len(names):
        root = os.path.commonpath([path.parent for path in names])
        names = {path: path.relative_to(root).as_posix() for path in names}
    return names


def _looked_into(tasks: Sequence[Task], jobs: int, judges: list[Judge]) -> list[tuple[Task, Any]]:
    """What is in each file, and of each program, in order."""
    for definitions in {task.definitions for task in tasks if task.definitions}:
        if not definitions.is_file():
            raise ValueError(_no_file(definitions).message)
    missing = [task for task in tasks if not task.command and not task.path.is_file()]
    found: dict[Path, Any] = {task.path: _no_file(task.path) for task in missing}
    there = [task for task in tasks if task.path not in found]
    found |= {task.path: result for task, result in results(there, jobs, judges)}
    return [(task, found[task.path]) for task in tasks]


def _no_file(path: Path) -> Unchecked:
    if path.is_dir():
        return Unchecked(f"{path} is a folder; name the files in it")
    if path.is_symlink():  # though it was followed to the end
        return Unchecked(f"{path} is a symbolic link to itself")
    beside = [file.name for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, 1)
    return Unchecked(f"there is no file {path}" + (f"; did you mean {near[0]}?" if near else ""))


def _borrowed(found: Found, operation: str) -> bool:
    """Whether a file only imports the forward of an operation, as NumPy's exp."""
    return found.functions[operation] == ("forward",) and python_name(operation) not in found.own


def _passed_over(found: Found, wanted: Sequence[str]) -> Iterable[str]:
    """A line on each function that is not checked although its name, or nearly its name, is an operation's, and one on
    the definitions without functions; each to be put after the name of the file.
    """
    for operation in found.functions if not wanted else ():
        if _borrowed(found, operation):
            name = python_name(operation)
            yield f": {name} is imported, and not checked; --operations {name} does it"
    unused = {operation: name for operation, name in found.unused.items() if not wanted or operation in wanted}
    if unused:
        yield f" has no function for {'; '.join(f'{name}: {_looked_for(op)}' for op, name in unused.items())}"
    yield from (f": {line}" for line in _adapting(found))
    for names, near in _near_misses(found, wanted):
        what = f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not checked: no operation is called that"
        if near or not wanted:
            yield f": {what}; {_instead(names[0], near, found.unused)}"


def _looked_for(operation: str) -> str:
    """`norm, norm_jacobian or norm_vjp`, as functions of an operation are called."""
    *names, last = (python_name(operation) + suffix for suffix in SUFFIXES.values())
    return f"{', '.join(names)} or {last}"


def _adapting(found: Found) -> Iterable[str]:
    """For each class or pair that an adapter makes functions of an operation of: the lines to paste."""
    for adapted, code in lines_for(found.adaptable, found.known, found.names, found.by_hand):
        yield f"to have {' and '.join(adapted.names)} checked, paste:\n{code}"


def _near_misses(found: Found, wanted: Sequence[str], cutoff: float = 0.85) -> Iterable[tuple[list[str], str]]:
    """Functions that are named as if they were an operation's: each with the nearest right name, or those of an
    operation that is none, with nothing.
    """
    operations = wanted or found.known
    every = {python_name(operation) + suffix for operation in found.known for suffix in SUFFIXES.values()}
    right = {python_name(operation): operation for operation in operations}
    there = {**found.functions, **dict.fromkeys(found.unused, ())}
    without = {python_name(op) for op, kinds in there.items() if op in operations and "vjp" not in kinds}
    unknown: dict[str, list[str]] = {}
    for name in found.names:
        ending = next((suffix for suffix in SUFFIXES.values() if suffix and name.endswith(suffix)), "")
        adapted = any(name in adapted.names for adapted in found.adaptable)
        if name in every or adapted or not (ending or name in found.own):
            continue
        stem = name.removesuffix(ending)
        backward = re.sub(BACKWARD, "", name)
        family = [op for op in operations if op in OPERATIONS and OPERATIONS[op].base == stem]
        if family:  # the project's own name, with a scalar function among the arguments
            near = [python_name(family[0]) + ending]
        elif backward != name and backward in without:
            near = [backward + SUFFIXES["vjp"]]
        elif ending:
            near = [other + ending for other in difflib.get_close_matches(stem, right, 1, 0.8)]
        else:
            others = {other + suffix for other in right for suffix in SUFFIXES.values()} - {*found.names}
            near = difflib.get_close_matches(name, others, 1, cutoff)
        if near:
            yield [name], near[0]
        elif ending:
            unknown.setdefault(stem, []).append(name)
    yield from ((names, "") for names in unknown.values())


def _instead(name: str, near: str, unused: Mapping[str, str]) -> str:
    """What to do about a function whose name is no operation's: another name, or a definition if it is a derivative,
    or for a definition that is there another name.
    """
    stem, _, kind = name.rpartition("_")
    if f"_{kind}" not in SUFFIXES.values() or near.startswith(f"{stem}_"):  # the right name, or that of its family
        return f"did you mean {near}?"
    called = next((variable for variable in unused.values() if stem.lower() in variable.lower()), "")
    if called:
        return f"if {called} is its definition, call that {stem}{DEFINITION}"
    define = f'put {stem}{DEFINITION} = Definition(f, "(b,n),…") beside it, where f is its forward in jax.numpy'
    return f"did you mean {near}? If not, {define}" if near else define


def _nothing_in(name: str, found: Found, wanted: Sequence[str]) -> str:
    """The line on a file with nothing to check: what was looked for, and which names come near."""
    names = [python_name(op) + suffix for op in wanted or found.unused or ["softmax"] for suffix in SUFFIXES.values()]
    looked_for = ", ".join(names[:6]) + (", …" if len(names) > 6 or not (wanted or found.unused) else "")
    for_what = f", for {' and '.join(found.unused.values())}" if found.unused and not wanted else ""
    misses = [miss for miss in _near_misses(found, wanted, 0.75) if miss[1] or not wanted]
    hints = [f"it has {' and '.join(own)}: {_instead(own[0], near, found.unused)}" for own, near in misses[:3]]
    return "; ".join([f"{name} has none of {looked_for}{for_what}", *hints])


def _with_domains(tasks: list[Task], letters: Mapping[str, tuple[str, ...]], domain: Mapping[str, Any]) -> list[Task]:
    """Each task with the part of the domain that its operation has; ValueError for a key that no operation has, and
    for what the lecture's operations do not take: what others take, their own process says.
    """
    if not domain:
        return tasks
    from ..cases.domains import PROMISES, domain_of, fitting

    fitted = [fitting((*task.arguments, *letters[str(task.operation)]), domain) for task in tasks]
    for key in domain:
        if tasks and not any(key in part for part in fitted):
            names = ", ".join([*tasks[0].arguments, "delta", *letters[str(tasks[0].operation)], "values", *PROMISES])
            raise ValueError(f"{tasks[0].operation}: domain has no {key!r}; it may have {names}")
    for task, part in zip(tasks, fitted, strict=True):
        if task.operation in OPERATIONS:
            domain_of(OPERATIONS[str(task.operation)], part)
    return [
        task._replace(options={**task.options, **({"domain": part} if part else {})})
        for task, part in zip(tasks, fitted, strict=True)
    ]
