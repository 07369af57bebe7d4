"""The options of `check` that `matrix` has, too: what is checked, and how; and the run that they ask for."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from ..verification.names import split_names
from .files import real

if TYPE_CHECKING:
    from ..checking.processes import Program
    from ..checking.run import Run

LARGEST = 2**62  # of the integers that are taken

Validate = Annotated[
    bool, Option("--validate", help="Hold each line of the programs to protocol.json, while you write one.")
]
Definitions = Annotated[
    Path | None, Option(help="A Python file with definitions, if they are not in the files.", metavar="FILE.py")
]
Level = Annotated[
    str,
    Option(
        help="standard: as careful frameworks; strict: as the reference; formula: six digits of ordinary numbers.",
        metavar="LEVEL",
    ),
]
Dtypes = Annotated[
    list[str] | None, Option(help="Of float64 (if not given), float32, float16 and bfloat16.", metavar="DTYPES")
]
Rules = Annotated[
    list[str] | None,
    Option(
        help='What is not promised (y=one-hot, n="multiple of 8"), or is (masks); several by commas, or again.',
        metavar="RULE",
    ),
]
Batch = Annotated[
    bool | None,
    Option("--batch/--no-batch", help="They take leading batch axes, too; tried if not said.", show_default=False),
]
BatchOnly = Annotated[
    bool, Option("--batch-only", help="They take rows only: one batch axis, the first, of data and cotangents.")
]
MayWrite = Annotated[
    list[str] | None, Option(help="Arguments that may be overwritten, separated by commas.", metavar="NAMES")
]
Waive = Annotated[
    list[str] | None,
    Option(help="Laws, or parts of the verdict (range, digits, …), not held against them.", metavar="NAMES"),
]
Examples = Annotated[int, Option("--examples", "--max-examples", min=1, help="Cases for each operation.")]
Seed = Annotated[int, Option(min=0, help="Other seeds try other numbers.")]
Timeout = Annotated[
    float, Option(min=0.1, help="Seconds for each operation; one call, or the import, gets a quarter of it.")
]
Memory = Annotated[int, Option(min=64, help="Megabytes that an operation, or the import, may ask for (on Linux).")]
Jobs = Annotated[int | None, Option(min=1, help="Processes at a time; one a core, if not given.")]


def checked(
    files: Sequence[Path],
    commands: Sequence[str],
    operations: Sequence[str],
    *,
    validate: bool,
    definitions: Path | None,
    level: str,
    dtype: Sequence[str] | None,
    domain: Sequence[str] | None,
    batch: bool | None,
    batch_only: bool,
    may_write: Sequence[str] | None,
    waive: Sequence[str] | None,
    max_examples: int,
    seed: int,
    timeout: float,
    memory: int,
    jobs: int | None,
    pictures: bool = False,
    spare: "Program | None" = None,
) -> "Run":
    """The run that these options ask for, watched on standard error; ValueError, in one line, for what none can."""
    from ..checking.run import run
    from .check_output import watched

    if validate and not commands:
        raise ValueError("--validate is about the lines of a program: expected --command './mine' beside it")
    for option, number in {"--examples": max_examples, "--seed": seed, "--memory": memory, "--jobs": jobs or 1}.items():
        if number > LARGEST:
            raise ValueError(f"{option}: expected at most {LARGEST}, got {number}")
    options: dict[str, Any] = {"level": level, "dtypes": tuple(_names(dtype) or ["float64"])}
    options |= {"batch": "only" if batch_only else batch}
    options |= {"max_examples": max_examples, "seed": seed, "may_write": _names(may_write), "waive": _names(waive)}
    options |= {"pictures": pictures}
    with watched() as (on_tasks, on_report, on_wait):
        return run(
            files,
            _names(operations),
            options,
            _promises([part for text in domain or () for part in text.split(",")]),
            timeout=timeout,
            memory=memory,
            jobs=jobs,
            definitions=real(definitions) if definitions else None,
            commands=list(map(words_of, commands)),
            validate=validate,
            spare=spare,
            on_tasks=on_tasks,
            on_report=on_report,
            on_wait=on_wait,
        )


def _names(texts: Sequence[str] | None) -> list[str]:
    return [name for text in texts or () for name in split_names(text)]


def _promises(texts: Sequence[str]) -> dict[str, Any]:
    """The domain that is said, or ValueError for one that says two things.

    >>> _promises(["n=8", "n=even"])
    Traceback (most recent call last):
    ValueError: --domain: n is given twice, as '8' and 'even'; say one
    """
    found: dict[str, Any] = {}
    for key, value in map(_promise, texts):
        if found.get(key, value) != value:
            raise ValueError(f"--domain: {key} is given twice, as {found[key]!r} and {value!r}; say one")
        found[key] = value
    return found


def words_of(command: str) -> list[str]:
    """The words of a command, as a shell takes them; ValueError for none.

    >>> words_of("node 'my file.mjs' --fast")
    ['node', 'my file.mjs', '--fast']
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"--command: {command!r} has {str(error).lower()}") from None
    if not words:
        raise ValueError("--command: expected a command as './mine', got none")
    return words


def _promise(text: str) -> tuple[str, Any]:
    """`y=one-hot` as a key and its value; a word alone is asked for.

    >>> _promise("y=one-hot"), _promise("masks"), _promise("kinks=false")
    (('y', 'one-hot'), ('masks', True), ('kinks', False))
    """
    key, _, value = (part.strip() for part in text.partition("="))
    return key, {"": True, "true": True, "false": False}.get(value.lower(), value)
