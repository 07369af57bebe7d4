"""The command `backprop check`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from ..verification.names import split_names
from .console import complain, console, errors, fail
from .files import as_json, check_writable, write_json


def check(
    context: typer.Context,  # its object is a process that is ready for a check, or None
    files: Annotated[list[Path], Argument(help="Python files with your functions.", metavar="FILE.py…")],
    operations: Annotated[
        list[str] | None,
        Option(
            "--operations",
            "--operation",
            help="Only these, separated by commas; `activation` means every activation[…].",
            metavar="NAMES",
        ),
    ] = None,
    level: Annotated[
        str, Option(help="standard: as careful frameworks; strict: as the reference.", metavar="LEVEL")
    ] = "standard",
    dtype: Annotated[
        list[str] | None,
        Option(help="Of float64 (if not given), float32, float16 and bfloat16.", metavar="DTYPES"),
    ] = None,
    domain: Annotated[
        list[str] | None,
        Option(
            help='What is not promised (y=one-hot, n="multiple of 8"), or is (masks); may be given again.',
            metavar="RULE",
        ),
    ] = None,
    batch: Annotated[bool, Option("--batch", help="They take leading batch axes, too.")] = False,
    max_examples: Annotated[int, Option("--examples", "--max-examples", min=1, help="Cases for each operation.")] = 200,
    seed: Annotated[int, Option(min=0, help="Other seeds try other numbers.")] = 0,
    timeout: Annotated[
        float, Option(min=0.1, help="Seconds for each operation; one call, or the import, gets a quarter of it.")
    ] = 240,
    memory: Annotated[int, Option(min=64, help="Megabytes that an operation may ask for (on Linux).")] = 4096,
    jobs: Annotated[int | None, Option(min=1, help="Processes at a time; one a core, if not given.")] = None,
    json_file: Annotated[
        str | None, Option("--json", help="Write the reports here; - is standard output.", metavar="FILE")
    ] = None,
    junit_file: Annotated[
        Path | None, Option("--junit", help="Write them here as JUnit XML, one test a law.", metavar="FILE")
    ] = None,
) -> None:
    """Is your backward pass right? Checks the functions in a file of yours.

    They are found by name: softmax(x), softmax_vjp(delta, x), softmax_jacobian(x), activation_tanh_vjp(delta, W, x, b)
    and so on, in any number (`backprop list` shows all). Each operation is checked in a process of its own: one that
    crashes, exits, hangs or eats memory has failed, and the rest goes on.

    Exit code 0: all are right; 1: something is wrong; 2: nothing could be checked, and one line says why.

    \b
    backprop check mine.py
    backprop check mine.py --operations softmax,add --dtype float32,float16
    backprop check kernels.py --domain y=one-hot --domain n="multiple of 8"
    """
    from ..checking.run import run
    from .check_output import print_run, to_dict, watched, write_junit

    json_path = Path(json_file) if json_file not in (None, "-") else None
    try:
        check_writable([json_path, junit_file])
    except OSError as error:
        raise fail(error) from None
    for option, report in (("--json", json_path), ("--junit", junit_file)):
        if report is not None and (report.suffix == ".py" or report.resolve() in [file.resolve() for file in files]):
            raise fail(f"{option} writes a report: expected another file than {report}, which would be lost")
    if json_path is not None and json_path == junit_file:
        raise fail(f"--json and --junit: expected two files, got {json_path} for both")
    names, dtypes = ([part for text in texts or () for part in split_names(text)] for texts in (operations, dtype))
    options = {"level": level, "dtypes": tuple(dtypes or ["float64"]), "batch": batch}
    options |= {"max_examples": max_examples, "seed": seed}
    try:
        with watched() as (on_tasks, on_report, on_wait):
            done = run(
                [file.resolve() for file in files],
                names,
                options,
                dict(map(_promise, domain or ())),
                timeout=timeout,
                memory=memory,
                jobs=jobs,
                spare=context.obj,
                on_tasks=on_tasks,
                on_report=on_report,
                on_wait=on_wait,
            )
    except ValueError as error:
        raise fail(error) from None
    for message in done.unusable:
        complain(message)
    for note in done.notes:
        errors.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    print_run(done, errors if json_file == "-" else console)
    if json_file == "-":
        print(as_json(to_dict(done)))
    written = [_written(json_path, write_json, to_dict(done)), _written(junit_file, write_junit, done)]
    raise typer.Exit(done.exit_code if all(written) else 2)


def _written(path: Path | None, write: Callable[[Path | None, Any], None], found: Any) -> bool:
    """Whether a report could be written; a full disk must not take the others with it."""
    try:
        write(path, found)
    except OSError as error:
        complain(f"{path} could not be written: {error.strerror}")
        return False
    return True


def _promise(text: str) -> tuple[str, Any]:
    """`y=one-hot` as a key and its value; a word alone is asked for.

    >>> _promise("y=one-hot"), _promise("masks"), _promise("kinks=false")
    (('y', 'one-hot'), ('masks', True), ('kinks', False))
    """
    key, _, value = (part.strip() for part in text.partition("="))
    return key, {"": True, "true": True, "false": False}.get(value.lower(), value)
