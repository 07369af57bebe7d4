"""What a row of the table is."""

from collections.abc import Callable
from dataclasses import dataclass

from .jacobians import Jacobian
from .signature import Array


@dataclass(frozen=True)
class Operation:
    """One operation: `forward(*args)`, `jacobian(*args)` and `vjp(delta, *args)` take arrays only.

    `signature` is a NumPy gufunc signature in the slides' letters, one core shape for each of `arguments`. Your own
    loss for `backpropagation` is an `Operation` of signature `(d),(d)->()`.

    >>> from backprop_reference import OPERATIONS
    >>> affine = OPERATIONS["affine"]
    >>> affine.arguments, affine.signature
    (('W', 'x', 'b'), '(d,n),(n),(d)->(d)')
    """

    name: str
    slide: str
    arguments: tuple[str, ...]
    signature: str
    forward: Callable[..., Array]
    jacobian: Callable[..., tuple[Jacobian, ...]]
    vjp: Callable[..., tuple[Array, ...]]

    def __repr__(self) -> str:
        return f"Operation({self.name!r}, {' '.join(self.arguments)!r}, {self.signature!r})"
