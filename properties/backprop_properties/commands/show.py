"""The command `backprop show`."""

import inspect
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from ..verification.names import unknown
from .console import console, fail

if TYPE_CHECKING:
    import numpy as np

    from backprop_reference import Jacobian, Operation


def show(
    operation: Annotated[str, Argument(help="A name of `backprop list`, as softmax or activation[tanh].")],
) -> None:
    """An operation's formula and shapes, and the slide's derivation with the value of every factor on a small input."""
    from backprop_reference import OPERATIONS
    from backprop_reference.derivations import DERIVATIONS, derivation, product

    row = next((row for name, row in OPERATIONS.items() if operation in (name, row.base)), None)
    if row is None:
        raise fail(unknown(operation, OPERATIONS))
    for function in (row.forward, row.jacobian, row.vjp):
        bound = (function.func, *function.args) if isinstance(function, partial) else (function,)
        plain = next((f for f in bound if inspect.isfunction(f) and f.__doc__), function)
        text = inspect.cleandoc(plain.__doc__ or "").split("\n\n>>>")[0]
        console.print(f"[bold]{plain.__name__}[/]")
        console.print(f"{text}\n", markup=False)
    args = small_input(row)
    for name, a in zip(row.arguments, args, strict=True):
        console.print(f"{name} = {a}", markup=False)
    console.print()
    if DERIVATIONS.get(row.name):
        for argument, paths in derivation(row.name, *args).items():
            console.print(f"[bold]by {argument}[/]: the sum of {len(paths)} path(s)")
            for path in paths:
                for factor in path:
                    _print_jacobian(factor.symbol, factor.jacobian)
                _print_array("product", product(path))
    else:
        console.print("a basic operation: the slide states its Jacobians")
    for argument, J in zip(row.arguments, row.jacobian(*args), strict=True):
        _print_jacobian(f"∂/∂{argument}", J)


def small_input(row: "Operation") -> list["np.ndarray[Any, Any]"]:
    """Halves and quarters, so that every factor can be checked by hand.

    >>> from backprop_reference import OPERATIONS
    >>> [a.shape for a in small_input(OPERATIONS["affine"])]
    [(2, 3), (3,), (2,)]
    """
    import numpy as np

    size = {letter: 2 + (letter in ("n", "m0")) for letter in row.letters}
    shapes = [tuple(size[letter] for letter in core) for core in row.cores[:-1]]
    return [
        (np.arange(1, 1 + int(np.prod(shape))) / (4 if k % 2 else 2)).reshape(shape) for k, shape in enumerate(shapes)
    ]


def _print_jacobian(symbol: str, J: "Jacobian") -> None:
    _print_array(symbol, J.todense().reshape(J.slide_shape))


def _print_array(symbol: str, a: "np.ndarray[Any, Any]") -> None:
    import numpy as np

    shape = "×".join(map(str, a.shape))
    text = np.array2string(a, precision=4, suppress_small=True).replace("\n", "\n" + " " * 24)
    console.print(f"  {symbol:<10} {shape:<9}  {text}", markup=False)
