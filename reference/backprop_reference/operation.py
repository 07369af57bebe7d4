"""What a row of the table is: the three functions of an operation, and its facts."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from .jacobians import Jacobian
from .scalar_function import ScalarFunction
from .signature import Array


class Affine(NamedTuple):
    """A layer `h(W x + b)` of an operation: the names of `W` and `b` among its arguments.

    `b` is "" where the layer has none, and begins with a minus where it is subtracted.
    """

    W: str
    b: str
    h: ScalarFunction


@dataclass(frozen=True, eq=False)  # a row is itself, whatever another says
class Operation:
    """One operation: `forward(*args)`, `jacobian(*args)` and `vjp(delta, *args)` take arrays only.

    `signature` is a NumPy gufunc signature in the slides' letters, one core shape for each of `arguments`. Your own
    loss for `backpropagation` is an `Operation` of signature `(d),(d)->()`. The facts, and their defaults:

    - `base` is the name without brackets, by default the name; `functions` are the scalar functions that it binds;
    - `parameters` are the arguments without batch axes, whose gradients are summed over the batch: none;
    - `positive` are the letters that may not be 0: none;
    - `domain` says which numbers an argument takes ("positive", "non-zero", or "target" of a cross-entropy): any;
    - `masks` are the arguments in which `-inf` counts for nothing: none;
    - `layers` are those of an operation that is a chain of layers, from `x` on: none;
    - `promise` names the bound that its last digits are held to, and where they are looked for: "definition", what
      rounding may do to the definition.

    >>> from backprop_reference import OPERATIONS
    >>> affine = OPERATIONS["affine"]
    >>> affine.arguments, affine.signature, affine.parameters
    (('W', 'x', 'b'), '(d,n),(n),(d)->(d)', ('W', 'b'))
    """

    name: str
    slide: str
    arguments: tuple[str, ...]
    signature: str
    forward: Callable[..., Array]
    jacobian: Callable[..., tuple[Jacobian, ...]]
    vjp: Callable[..., tuple[Array, ...]]
    base: str = ""
    functions: tuple[ScalarFunction, ...] = ()
    parameters: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    domain: Mapping[str, str] = field(default_factory=dict)
    masks: tuple[str, ...] = ()
    layers: tuple[Affine, ...] = ()
    promise: str = "definition"

    integers: ClassVar[Mapping[str, object]] = {}  # of the lecture's operations every argument is a float
    rules: ClassVar[Mapping[str, Any]] = {}  # and no size is bounded by more than `positive`

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", self.base or self.name)

    def __repr__(self) -> str:
        return f"Operation({self.name!r}, {' '.join(self.arguments)!r}, {self.signature!r})"

    @cached_property
    def cores(self) -> tuple[tuple[str, ...], ...]:
        """The core shapes of the arguments, and last of the output, in the signature's letters."""
        return tuple(tuple(re.findall(r"\w+", core)) for core in re.findall(r"\(([^)]*)\)", self.signature))

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """The letters of the signature, in alphabetical order."""
        return tuple(sorted({letter for core in self.cores for letter in core}))

    @property
    def traced(self) -> tuple[tuple[str, ...], ...]:
        """The shapes in letters for which one trace of the definition serves all sizes."""
        return self.cores

    def shapes_at(self, sizes: Mapping[str, int]) -> list[tuple[int, ...]]:
        """The shapes of the arguments, and last of the output, in numbers."""
        return [tuple(sizes[letter] for letter in core) for core in self.cores]

    def has_integers(self, sizes: Mapping[str, int]) -> bool:
        """Whether there are integers for every argument of them: no argument is."""
        return True

    @cached_property
    def is_data(self) -> tuple[bool, ...]:
        """Of each argument, whether it may have batch axes."""
        return tuple(name not in self.parameters for name in self.arguments)

    @property
    def kinked(self) -> bool:
        """Whether a function in it has two pieces, at whose joint frameworks take either's slope, or half of both."""
        return any(h.kinked for h in self.functions)

    def may_be_empty(self, letter: str) -> bool:
        """Whether a size may be 0."""
        return letter not in self.positive
