"""What `backprop` can do, one file a command.

Each command imports what it needs when it is called, so that `--help`, `list` and a wrong option are answered at once.
"""

from typing import Annotated

import typer

from .accuracy import accuracy
from .audit import audit
from .catalogue import list_operations
from .check import check
from .console import say
from .grade import grade
from .matrix import matrix
from .selftest import selftest
from .show import show
from .vectors import vectors
from .verify import verify

# Without a value for `--help`, typer imports pydantic to make one of None, which is a third of the time of `list`.
UNASKED = {"help": False}
app = typer.Typer(
    help=(
        "The touchstone for hand-written back-propagation: prove it, look at it, count its digits.\n\n"
        "Exit code 0: all is right; 1: something is wrong; 2: the call was wrong, or something could not be done, and "
        "one line says what; 130: interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"default_map": UNASKED | {"list": UNASKED}},
)


def _tell_version(asked: bool) -> None:
    if asked:
        from backprop_reference import __version__

        say(f"backprop-reference {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version, and exit.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    pass


for command in (selftest, verify, check, matrix, grade, audit, accuracy):
    app.command()(command)
app.command("list")(list_operations)
app.command()(show)
app.add_typer(vectors, name="vectors")
