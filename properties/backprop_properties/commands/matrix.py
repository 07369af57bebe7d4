"""The command `backprop matrix`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ..checking.defaults import DEFAULTS
from ..verification.names import completed
from . import check_options as o
from .console import complain, console, errors, fail
from .files import as_json, check_reports, real, why_not_written, write_json, write_text

NAMED = re.compile(r"([^\s=/'\"]+)=(.+)", re.DOTALL)


def matrix(
    context: typer.Context,  # its object is a process that is ready for a check, or None
    operations: Annotated[
        list[str] | None,
        Argument(
            help="Only these; `activation` means every activation[…].",
            metavar="OPERATION",
            show_default=False,
            autocompletion=completed,
        ),
    ] = None,
    commands: Annotated[
        list[str] | None,
        Option("--command", help="A program in any language; may be given again.", metavar="[NAME=]COMMAND"),
    ] = None,
    files: Annotated[
        list[str] | None, Option("--python", help="A Python file; may be given again.", metavar="[NAME=]FILE.py")
    ] = None,
    validate: o.Validate = False,
    definitions: o.Definitions = None,
    level: o.Level = "standard",
    dtype: o.Dtypes = None,
    domain: o.Rules = None,
    batch: o.Batch = None,
    batch_only: o.BatchOnly = False,
    may_write: o.MayWrite = None,
    waive: o.Waive = None,
    max_examples: o.Examples = DEFAULTS.examples,
    seed: o.Seed = DEFAULTS.seed,
    timeout: o.Timeout = 240,
    memory: o.Memory = 4096,
    jobs: o.Jobs = None,
    json_file: Annotated[
        str | None, Option("--json", help="Write the cells here; - is standard output.", metavar="FILE")
    ] = None,
    html_file: Annotated[Path | None, Option("--html", help="Write the table here as a page.", metavar="FILE")] = None,
) -> None:
    """Who has which operation right? Checks several implementations, and sets them beside each other.

    Each program and each Python file is an implementation, and is judged as by `backprop check`, whose options these
    are. It is called NAME, or what a program calls itself, or as its file. A cell of the table is what is said of an
    operation: right, WRONG, UNSTABLE, - where there is none, and so on, with a legend; below stands the first line of
    each that is not right. A table that is too wide has marks for words, and numbers for names.

    Exit code 0: all are right, where they are there; 1: something is wrong, whatever else could not be checked; 2:
    nothing is wrong, but something could not be checked, or was asked for and skipped, the call was wrong, or a report
    could not be written, and one line says so; 130: interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.

    \b
    backprop matrix --command C=./mine --command "node mine.mjs" --python mine.py
    backprop matrix softmax affine --python old=v1.py --python new=v2.py
    """
    from ..checking.matrix import matrix_of
    from ..checking.run import path_of
    from ..pages.matrix import matrix_page
    from .check_output import as_options, print_notes
    from .matrix_output import print_matrix, to_dict

    json_path = Path(json_file) if json_file not in (None, "-") else None
    programs, sources = list(map(_named, commands or ())), list(map(_named, files or ()))
    paths = [real(Path(file)) for _, file in sources]
    try:
        if not programs and not sources:
            raise ValueError("nothing to check: expected --command './mine' or --python mine.py")
        called = [(path_of(o.words_of(command)), name) for name, command in programs]
        called += [(path, name or path.stem) for path, (name, _) in zip(paths, sources, strict=True)]
        _refuse_twice("the implementation", [str(path) for path, _ in called])
        _refuse_twice("the name", [name for name, _ in (*programs, *sources) if name])
        check_reports({"--json": json_path, "--html": html_file}, paths)
    except (OSError, ValueError) as error:
        raise fail(error) from None
    try:
        done = o.checked(
            paths,
            [command for _, command in programs],
            operations or (),
            validate=validate,
            definitions=definitions,
            level=level,
            dtype=dtype,
            domain=domain,
            batch=batch,
            batch_only=batch_only,
            may_write=may_write,
            waive=waive,
            max_examples=max_examples,
            seed=seed,
            timeout=timeout,
            memory=memory,
            jobs=jobs,
            spare=context.obj,
        )
    except ValueError as error:
        raise fail(error) from None
    found = matrix_of(done, dict(called))
    problems = [why_not_written(json_path, write_json, to_dict(found, done))]
    problems.append(why_not_written(html_file, write_text, matrix_page(found, done.notes, as_options)))
    if found.operations:
        print_notes(done.notes)
        print_matrix(found, done, errors if json_file == "-" else console)
    else:
        print_notes(done.notes, done.unusable)
    if json_file == "-":
        print(as_json(to_dict(found, done)))
    for problem in filter(None, problems):
        complain(problem)
    raise typer.Exit(2 if any(problems) else done.exit_code)


def _named(text: str) -> tuple[str, str]:
    """A name, or nothing, and a command or file.

    >>> _named("C=./mine --fast=1"), _named("node mine.mjs --fast=1"), _named("./a=b.py")
    (('C', './mine --fast=1'), ('', 'node mine.mjs --fast=1'), ('', './a=b.py'))
    """
    name, rest = match.groups() if (match := NAMED.fullmatch(text)) else ("", text)
    return name, rest


def _refuse_twice(what: str, given: Sequence[str]) -> None:
    """ValueError for what is given twice."""
    for one in given:
        if given.count(one) > 1:
            raise ValueError(f"{what} {one} is given twice")
