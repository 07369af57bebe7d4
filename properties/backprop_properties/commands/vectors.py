"""What `backprop vectors` can do: path, check, write, add, diff, export."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from .console import complain, fail, say

if TYPE_CHECKING:
    from backprop_oracle.rows import Row

    from ..frozen.vectors import Vector

vectors = typer.Typer(
    help="Frozen vectors: cases with certified results, one JSON file an operation, which any language reads.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

MOST_SHOWN = 20

Folder = Annotated[Path | None, Argument(help="The set; that of this version, if not given.", metavar="[DIR]")]
Definitions = Annotated[
    Path | None,
    Option(
        help="The set is of what this file defines, as for `backprop check`, not of the lecture.", metavar="FILE.py"
    ),
]


@vectors.command()
def path(
    operation: Annotated[
        str | None, Argument(help="Its file; if not given, the folder.", metavar="[OPERATION]")
    ] = None,
) -> None:
    """Where the packaged set lies: its folder, or the file of an operation.

    Each file is JSON with plain arrays of numbers; properties/README.md says what stands where. Exit code 0: there it
    is; 2: there is no such operation.

    \b
    backprop vectors path
    backprop vectors path softmax
    """
    from ..frozen.files import VECTORS, VectorError, read_manifest

    try:
        operations = read_manifest(VECTORS)["operations"]
    except VectorError as error:
        raise fail(error) from None
    if operation and operation not in operations:
        raise fail(f"there is no operation {operation!r}; the names are {', '.join(operations)}")
    say(str(VECTORS / operations[operation] if operation else VECTORS))


@vectors.command()
def check(
    folder: Folder = None,
    implementation: Annotated[
        Path | None,
        Option(
            help="Judge the functions in this file, not the reference; they run in a process of their own.",
            metavar="FILE.py",
        ),
    ] = None,
    definitions: Definitions = None,
    level: Annotated[
        str | None,
        Option(
            help="standard: as careful frameworks (for FILE.py, if not given); strict: as the reference.",
            metavar="LEVEL",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        Option(help="Leave out cases with this flag, such as Batch; may be given again.", metavar="FLAG"),
    ] = None,
    timeout: Annotated[
        float, Option(min=0, help="Seconds that a call of FILE.py may take; 0 is no limit.", metavar="SECONDS")
    ] = 10,
) -> None:
    """Is the set whole, and does the reference (or your implementation) agree with every case?

    In FILE.py are `softmax(x)`, `softmax_vjp(delta, x)`, `softmax_jacobian(x)`, `activation_tanh_vjp(delta, W, x, b)`
    and so on, in any number; those that are not there are not judged. A set that is not the packaged one is written
    again to compare, in a minute or two; one of your own definitions needs these. Exit code 0: everything agrees; 1:
    the set is not whole, or a case fails; 2: the call was wrong, or nothing was compared.

    \b
    backprop vectors check
    backprop vectors check --implementation mine.py
    backprop vectors check --implementation mine.py --level strict
    backprop vectors check --implementation mine.py --without Batch
    backprop vectors check my/ --definitions forwards.py --implementation mine.py
    """
    from ..frozen.files import VECTORS
    from ..frozen.integrity import examine
    from ..frozen.vectors import LEVELS

    there = folder or VECTORS
    if not there.is_dir():
        raise fail(f"there is no folder {there}")
    if implementation and not implementation.is_file():
        raise fail(f"there is no file {implementation}")
    if level not in (None, *LEVELS):
        raise fail(f"--level: expected {' or '.join(LEVELS)}, got {level!r}")
    if definitions and not (folder and implementation):
        raise fail(
            "--definitions: expected DIR, a set of what they define, and --implementation FILE.py to judge by it"
        )
    rows = _rows(definitions)
    cases, problems = examine(there, rows)
    left_out = set(without or ())
    unknown = left_out - {flag for vectors in cases.values() for case in vectors for flag in case.flags}
    if cases and unknown:
        raise fail(f"no case has the flag {', '.join(sorted(unknown))}")
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(1)
    kept = {name: [case for case in vectors if not left_out & set(case.flags)] for name, vectors in cases.items()}
    raise typer.Exit(_judge(kept, rows, implementation, definitions, level or "", timeout))


def _rows(definitions: Path | None) -> "Mapping[str, Row]":
    """The rows that a set is of."""
    from backprop_reference import OPERATIONS

    from ..frozen.own import rows_of

    try:
        return rows_of(definitions) if definitions else OPERATIONS
    except ValueError as error:
        raise fail(error) from None


def _judge(
    cases: "Mapping[str, list[Vector]]",
    rows: "Mapping[str, Row]",
    implementation: Path | None,
    definitions: Path | None,
    level: str,
    timeout: float,
) -> int:
    """Prints what fails; the exit code."""
    from backprop_reference import OPERATIONS

    from ..checking.python_files import python_name
    from ..frozen.judge import judged, judged_file

    try:
        found = (
            judged_file(
                implementation.resolve(), cases, rows, timeout, definitions=definitions, level=level or "standard"
            )
            if implementation
            else {name: judged(cases[name], row, row, level or "strict") for name, row in OPERATIONS.items()}
        )
    except ValueError as error:
        complain(str(error))
        return 2
    results, using = found.values(), found.keys()
    compared = sum(count for count, _ in results)
    failures = [failure for _, failed in results for failure in failed]
    for failure in failures[:MOST_SHOWN]:
        say(str(failure))
    if len(failures) > MOST_SHOWN:
        say(f"… and {len(failures) - MOST_SHOWN} more cases")
    if not compared and not failures:
        names = ", ".join(map(python_name, list(rows)[:3]))
        lacks = f"{implementation} has no function of an operation's name ({names}, …)"
        complain(f"nothing was compared: {'no case is left that asks for a number' if found else lacks}")
        return 2
    of = f"{sum(len(cases[operation]) for operation in using):,} cases of {len(using)} operations"
    say(f"{compared:,} results compared in {of}: " + (f"{len(failures):,} cases fail" if failures else "✓"))
    return 1 if failures else 0


@vectors.command()
def write(
    folder: Annotated[Path, Argument(help="An empty folder, or a new one.", metavar="DIR")],
    version: Annotated[
        int | None, Option(min=1, help="Of the new set; the next after that of this version, if not given.")
    ] = None,
    seed: Annotated[int, Option(min=0, help="Other seeds draw other numbers.")] = 0,
    definitions: Definitions = None,
) -> None:
    """Write a new set, with results from the certified oracle, into an empty folder and nowhere else.

    Of the lecture's operations, in a minute or two, or of yours: FILE.py states each forward in jax.numpy, as
    `layer_norm_definition = Definition(f, "(b,n),(n),(n)")`. What the numbers are is drawn from the seed; cases that
    cannot be certified are left out. The same version and seed give the same bytes. Exit code 0: written; 2: the call
    was wrong, or it can't be written.

    \b
    backprop vectors write folder
    backprop vectors write folder --definitions forwards.py
    """
    from ..frozen.files import VECTORS, VectorError, read_manifest
    from ..frozen.writer import write_set

    rows = _rows(definitions)
    try:
        number = version if version is not None else 1 if definitions else read_manifest(VECTORS)["version"] + 1
        total = write_set(
            folder, version=number, seed=seed, rows=rows, on_file=lambda *row: say(" ".join(map(str, row)))
        )
    except OSError as error:
        raise fail(f"{folder} cannot be written: {error.strerror}") from None
    except VectorError as error:
        raise fail(error) from None
    say(f"{total:,} cases, version {number}, seed {seed}, in {folder}")


@vectors.command()
def add() -> None:
    """Add the files of operations that the packaged set lacks, as of one that is new in the table.

    They have the set's own version and seed; what is there stays as it is. Exit code 0: added; 2: it can't be written.
    """
    from ..frozen.files import VECTORS, VectorError
    from ..frozen.writer import add_to_packaged

    try:
        total = add_to_packaged()
    except OSError as error:
        raise fail(f"{VECTORS} cannot be written: {error.strerror}") from None
    except VectorError as error:
        raise fail(error) from None
    say(f"{total:,} cases added to {VECTORS}")


@vectors.command()
def diff(
    old: Annotated[Path, Argument(metavar="OLD")],
    new: Annotated[Path, Argument(metavar="NEW")],
) -> None:
    """What changed from one set to another, entry by entry, in ULP.

    Exit code 0: nothing; 1: something did; 2: a set can't be read.
    """
    from ..frozen.diff import differences
    from ..frozen.files import VectorError

    count = 0
    try:
        for line in differences(old, new):
            say(line)
            count += 1
    except VectorError as error:
        raise fail(error) from None
    raise typer.Exit(1 if count else 0)


@vectors.command()
def export(
    folder: Annotated[Path, Argument(help="An empty folder, or a new one.", metavar="DIR")],
    form: Annotated[str, Option("--format", help="json as it is, npz (NumPy), or csv with one line an entry.")] = "npz",
    source: Annotated[Path | None, Option("--from", help="Another set than this version's.")] = None,
) -> None:
    """Write the cases elsewhere, or in another format, one file an operation: all of them, or none.

    As json they are the set's own files, with their schema and manifest, to be kept beside a program that reads them.
    Exit code 0: written; 2: the call was wrong, or it can't be written.
    """
    from ..frozen.export import export as write_files
    from ..frozen.files import VECTORS, VectorError

    try:
        total = write_files(folder, form, source or VECTORS)
    except OSError as error:
        raise fail(f"{folder} cannot be written: {error.strerror}") from None
    except VectorError as error:
        raise fail(error) from None
    say(f"{total:,} cases as {form} in {folder}")
