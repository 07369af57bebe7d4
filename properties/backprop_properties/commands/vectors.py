"""What `backprop vectors` can do: check, write, diff, export."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from .console import complain, fail, say

if TYPE_CHECKING:
    from ..frozen.vectors import Vector

vectors = typer.Typer(
    help="Frozen vectors: cases with certified results, one JSON file an operation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

MOST_SHOWN = 20

Folder = Annotated[Path | None, Argument(help="The set; that of this version, if not given.", metavar="[DIR]")]


@vectors.command()
def check(
    folder: Folder = None,
    implementation: Annotated[
        Path | None,
        Option(help="Judge the functions in this file, not the reference. Runs the file.", metavar="FILE.py"),
    ] = None,
    without: Annotated[
        list[str] | None,
        Option(help="Leave out cases with this flag, such as Batch; may be given again.", metavar="FLAG"),
    ] = None,
    timeout: Annotated[
        float, Option(min=0, help="Seconds that a case of FILE.py may take; 0 is no limit.", metavar="SECONDS")
    ] = 10,
) -> None:
    """Is the set whole, and does the reference (or your implementation) agree with every case?

    In FILE.py are `softmax(x)`, `softmax_vjp(delta, x)`, `softmax_jacobian(x)`, `activation_tanh_vjp(delta, W, x, b)`
    and so on, in any number; those that are not there are not judged. Exit code 0: everything agrees; 1: the set is not
    whole, a case fails, or nothing was compared.

    \b
    backprop vectors check
    backprop vectors check --implementation mine.py
    backprop vectors check --implementation mine.py --without Batch --without Empty
    """
    from ..frozen.files import VECTORS
    from ..frozen.integrity import examine

    cases, problems = examine(folder or VECTORS)
    left_out = set(without or ())
    unknown = left_out - {flag for vectors in cases.values() for case in vectors for flag in case.flags}
    if cases and unknown:
        problems.append(f"no case has the flag {', '.join(sorted(unknown))}")
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(1)
    kept = {name: [case for case in vectors if not left_out & set(case.flags)] for name, vectors in cases.items()}
    raise typer.Exit(_judge(kept, implementation, timeout))


def _judge(cases: "Mapping[str, list[Vector]]", implementation: Path | None, timeout: float) -> int:
    """Prints what fails; the exit code."""
    from backprop_reference import OPERATIONS

    from ..checking.guard import limited, said
    from ..checking.python_files import implementations, python_name
    from ..frozen.judge import judged

    try:
        with limited(6 * timeout if implementation else 0):
            using = implementations(implementation) if implementation else OPERATIONS
    except Exception as error:
        complain(f"{implementation} can't be run: {said(error)}")
        return 1
    results = [judged(cases[operation], row, timeout if implementation else 0) for operation, row in using.items()]
    compared = sum(count for count, _ in results)
    failures = [failure for _, failed in results for failure in failed]
    for failure in failures[:MOST_SHOWN]:
        say(str(failure))
    if len(failures) > MOST_SHOWN:
        say(f"… and {len(failures) - MOST_SHOWN} more cases")
    if not compared and not failures:
        names = ", ".join(map(python_name, list(OPERATIONS)[:3]))
        complain(f"nothing was compared: {implementation} has no function of an operation's name ({names}, …)")
        return 1
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
) -> None:
    """Write a new set, with results from the certified oracle, into an empty folder and nowhere else.

    The same version and seed give the same bytes.
    """
    from ..frozen.files import VECTORS, VectorError, read_manifest
    from ..frozen.writer import write_set

    try:
        number = version if version is not None else read_manifest(VECTORS)["version"] + 1
        total = write_set(folder, version=number, seed=seed, on_file=lambda *row: say(" ".join(map(str, row))))
    except (OSError, VectorError) as error:
        raise fail(error, 1) from None
    say(f"{total:,} cases, version {number}, seed {seed}, in {folder}")


@vectors.command()
def add() -> None:
    """Add the files of operations that the packaged set lacks, as of one that is new in the table.

    They have the set's own version and seed; what is there stays as it is.
    """
    from backprop_reference import OPERATIONS

    from ..frozen.files import VECTORS, VectorError
    from ..frozen.writer import add_to_set

    try:
        total = add_to_set(VECTORS, OPERATIONS)
    except (OSError, VectorError) as error:
        raise fail(error, 1) from None
    say(f"{total:,} cases added to {VECTORS}")


@vectors.command()
def diff(
    old: Annotated[Path, Argument(metavar="OLD")],
    new: Annotated[Path, Argument(metavar="NEW")],
) -> None:
    """What changed from one set to another, entry by entry, in ULP.

    Exit code 0: nothing; 1: something did, or a set can't be read.
    """
    from ..frozen.diff import differences
    from ..frozen.files import VectorError

    count = 0
    try:
        for line in differences(old, new):
            say(line)
            count += 1
    except VectorError as error:
        raise fail(error, 1) from None
    raise typer.Exit(1 if count else 0)


@vectors.command()
def export(
    folder: Annotated[Path, Argument(help="An empty folder, or a new one.", metavar="DIR")],
    form: Annotated[str, Option("--format", help="npz (NumPy), or csv with one line an entry.")] = "npz",
    source: Annotated[Path | None, Option("--from", help="Another set than this version's.")] = None,
) -> None:
    """Write the cases in another format, one file an operation."""
    from ..frozen.export import export as write_files
    from ..frozen.files import VECTORS, VectorError

    try:
        total = write_files(folder, form, source or VECTORS)
    except (OSError, VectorError) as error:
        raise fail(error, 1) from None
    say(f"{total:,} cases as {form} in {folder}")
