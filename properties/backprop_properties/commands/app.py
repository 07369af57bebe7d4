"""What `backprop` can do, one file a command.

Each command imports what it needs when it is called, so that `--help`, `list` and a wrong option are answered at once.
"""

import typer

from .accuracy import accuracy
from .catalogue import list_operations
from .check import check
from .selftest import selftest
from .show import show
from .vectors import vectors
from .verify import verify

# Without a value for `--help`, typer imports pydantic to make one of None, which is a third of the time of `list`.
UNASKED = {"help": False}
app = typer.Typer(
    help="The touchstone for hand-written back-propagation: prove it, look at it, count its digits.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"default_map": UNASKED | {"list": UNASKED}},
)
for command in (selftest, verify, check, accuracy):
    app.command()(command)
app.command("list")(list_operations)
app.command()(show)
app.add_typer(vectors, name="vectors")
