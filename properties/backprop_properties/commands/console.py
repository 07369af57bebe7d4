"""The two consoles of the command: what was found goes to standard output, progress and errors to standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table

BAR = 10  # columns

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def complain(message: str) -> None:
    """One line on standard error."""
    errors.print(f"backprop: {message}", style="red", markup=False, soft_wrap=True)


def note(message: str) -> None:
    """One line on standard error, of what is no error."""
    errors.print(f"note: {message}", style="yellow", markup=False, soft_wrap=True)


def fail(message: object, code: int = 2) -> typer.Exit:
    """One line on standard error, and an exit code: to be raised."""
    complain(str(message))
    return typer.Exit(code)


def say(text: str, style: str | None = None) -> None:
    """A text as it is: never wrapped, and without markup."""
    console.print(text, style=style, markup=False, soft_wrap=True)


def print_table(table: "Table", on: Console = console) -> None:
    """A table as wide as the console, or as what in it must not be broken."""
    everything = on.options.update(max_width=10_000)
    least = on.measure(table, options=everything).minimum
    table.width = least if least > on.width else None
    on.print(table, crop=False)


@contextmanager
def live_line(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    """A line on standard error, if that is a terminal, that shows how far the work is.

    What is yielded changes the line: `advance` by so many of `total`, `said` of the numbers, `description` of the work.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    said, description = TextColumn("{task.fields[said]}"), TextColumn("{task.description}", markup=False)
    columns = (TextColumn(what), BarColumn(BAR), said, TimeElapsedColumn(), description)
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("", total=total, said="")

        def update(*, description: str = "", said: str = "", **changed: Any) -> None:
            room = errors.width - len(f"{what} {'':{BAR}} {said} 0:00:00 ")
            shown = description if len(description) <= room else description[: max(room - 1, 0)] + "…"
            progress.update(task, description=shown, said=said, **changed)

        yield update


@contextmanager
def counted(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """A live line that counts what is done, and names it."""
    done = 0
    with live_line(what, total) as update:

        def on_done(name: str) -> None:
            nonlocal done
            done += 1
            update(advance=1, said=f"{done}/{total}", description=name)

        yield on_done
