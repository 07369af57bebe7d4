"""A point is what every law takes: an implementation of an operation at a case, with JAX's answers there."""

import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import ml_dtypes
import numpy as np

from backprop_oracle.autodiff import Answers, answers, evaluated_at
from backprop_oracle.rows import Row

from ..cases.case import Case
from ..cases.domains import PROMISES
from .claims import Array, Certified, Close, Holds
from .interruption import Interruption

T = TypeVar("T")
Claims = Iterator[Close | Certified | Holds]
TURNS = 3  # cases in which all has been tried that a law has to try
LARGEST_JACOBIAN = 5_000  # entries; above it the laws of dense Jacobians have nothing to say


FIRST_CALLS: Mapping[str, Callable[[Case], tuple[str, list[Array]] | None]] = {  # of the laws that come first
    "forward_equals_jax": lambda case: ("forward", _copies(*case.args)),
    "jacobian_equals_jacrev": lambda case: ("jacobian", _copies(*case.args)),
    "vjp_equals_jax_vjp": lambda case: ("vjp", _copies(case.delta, *case.args)),
    "vjp_of_one_equals_jax_grad": lambda case: (
        None if case.delta.ndim else ("vjp", [np.ones_like(case.delta), *_copies(*case.args)])
    ),
}

FORMULAS = tuple(FIRST_CALLS)
LAW: Mapping[str, str] = {  # that compares a function with the truth
    "forward": "forward_equals_jax",
    "jacobian": "jacobian_equals_jacrev",
    "vjp": "vjp_equals_jax_vjp",
}

NEEDED_BY: Mapping[str, str] = {  # what a law needs beside the value and the vjp
    "vjp_of_one_equals_jax_grad": "grad",
    "vjp_is_the_transpose_of_jvp": "jvp",
    "jacobian_equals_jacrev": "jacobian",
    "vjp_is_delta_times_jacobian": "jacobian",
    "factors_equal_jax_and_multiply_to_the_jacobian": "jacobian",
}


class Functions(Protocol):
    """What is judged: the functions of an operation, as an `Operation` has them; each may be missing (None)."""

    @property
    def forward(self) -> Callable[..., Any] | None: ...
    @property
    def jacobian(self) -> Callable[..., Any] | None: ...
    @property
    def vjp(self) -> Callable[..., Any] | None: ...


@dataclass(frozen=True)
class Point:
    """An implementation of an operation (`forward`, `jacobian` and `vjp`, each may be missing) at a case.

    `careful` asks for no more digits than a careful framework's formulas have, of which the definition's may stand
    `alone` (`autodiff.evaluated`), and `promises` are those of `PROMISES` that are held against the implementation.
    No NaN is passed in for the `numbers` (names of arguments, and `delta`). `counts` are numbers of calls and of rows
    that are tried beside the usual ones, `batched` says how many leading axes a function takes. `moderate` numbers
    are not to be left. Of several things that a law has to try, each case is the `turn` of some; without it, of all.
    By `interruption` calls can be made in the middle of others. Functions that are in another process may hear `ahead`
    of calls that come next, to make them while something else is done here; of those that have `begun`, by law, these
    are the arguments.
    """

    operation: Row
    forward: Callable[..., Any] | None
    jacobian: Callable[..., Any] | None
    vjp: Callable[..., Any] | None
    case: Case
    said: Answers
    careful: bool = False
    promises: Collection[str] = tuple(PROMISES)
    numbers: Collection[str] = ()
    counts: tuple[int, ...] = ()
    moderate: bool = False
    batched: Mapping[str, int] = field(default_factory=lambda: {"forward": 3, "vjp": 3})
    alone: bool = False
    turn: int | None = None
    interruption: Interruption | None = None
    ahead: Callable[..., None] | None = None
    begun: Mapping[str, Sequence[Array]] = field(default_factory=dict)

    @property
    def args(self) -> tuple[Array, ...]:
        """Copies of the arguments: a function that writes to them changes no other call's."""
        return tuple(_copies(*self.case.args))

    @property
    def delta(self) -> Array:
        return self.case.delta.copy()

    @property
    def eps(self) -> float:
        return float(ml_dtypes.finfo(self.case.dtype).eps)

    def first(self, law: str) -> Sequence[Array]:
        """The arguments of the call that a law which comes first makes at this case."""
        if law in self.begun:
            return self.begun[law]
        _, args = FIRST_CALLS[law](self.case) or ("", [])
        return args

    def begin(self, *calls: tuple[str, Sequence[Array]]) -> None:
        """Says which calls come next, in their order: a kind and its arguments each."""
        if self.ahead:
            self.ahead(*calls)

    def both(
        self, *arrays: Sequence[Array], kinds: Collection[str] = ("forward", "vjp")
    ) -> list[tuple[str, Sequence[Array]]]:
        """The call of the forward, and then that of the vjp, for each `[delta, *args]`."""
        given = [kind for kind, f in (("forward", self.forward), ("vjp", self.vjp)) if f and kind in kinds]
        return [(kind, call if kind == "vjp" else call[1:]) for call in arrays for kind in given]

    def ask(self, *points: tuple[Array, Sequence[Array]]) -> list[Answers]:
        """The value and the vjp at other points of the same shapes, `(delta, args)` each."""
        how = {"careful": self.careful, "alone": self.alone, "either": either_slope(self.operation, self.promises)}
        return evaluated_at(self.operation, points, dtype=self.case.dtype, **how)

    def named(self, prefix: str, values: Sequence[Any]) -> Iterator[tuple[str, Any, int]]:
        """`values`, one per argument, with their names and positions; left-out ones (None) are passed over."""
        for i, (name, value) in enumerate(zip(self.operation.arguments, values, strict=True)):
            if value is not None:
                yield prefix + name, value, i


def _copies(*arrays: Array) -> list[Array]:
    return [a.copy() for a in arrays]


def listening(p: Point) -> tuple[Point, list[Any]]:
    """The point with functions that are listened to, and what they return or raise, call by call."""
    calls: list[Any] = []

    def heard(f: Callable[..., Any] | None) -> Callable[..., Any] | None:
        def call(*args: Any) -> Any:
            assert f
            try:
                result = f(*args)
            except Exception as error:
                calls.append(error)
                raise
            calls.append(as_it_is_now(result))
            return result

        return f and call

    return replace(p, forward=heard(p.forward), jacobian=heard(p.jacobian), vjp=heard(p.vjp)), calls


def as_it_is_now(result: Any) -> Any:
    """A copy of a result, whatever its memory is used for later."""
    if isinstance(result, tuple):
        return tuple(map(as_it_is_now, result))
    return result.copy() if isinstance(result, np.ndarray) else result


def repeating(p: Point, calls: Sequence[Any]) -> Point:
    """The point with functions that return and raise the same, call by call, and are called again where that ends: a
    law stops at its first violation.
    """
    turn = iter(calls)

    def said_by(f: Callable[..., Any] | None) -> Callable[..., Any] | None:
        def call(*args: Any) -> Any:
            assert f
            for result in turn:
                if isinstance(result, Exception):
                    raise result
                return result
            return f(*args)

        return f and call

    forward, jacobian, vjp = map(said_by, (p.forward, p.jacobian, p.vjp))
    return replace(p, forward=forward, jacobian=jacobian, vjp=vjp, ahead=None)


def either_slope(operation: Row, promises: Collection[str]) -> bool:
    """Whether at a kink either slope will do."""
    return operation.kinked and "kinks" not in promises


def point(operation: Row, implementation: Functions, case: Case) -> Point:
    """`implementation` of `operation` at `case`, with all of JAX's answers."""
    entries = case.delta.size * max((a.size for a in case.args), default=0)
    said = answers(
        operation, case.delta, case.args, case.tangents, dtype=case.dtype, jacobian=entries <= LARGEST_JACOBIAN
    )
    return Point(operation, implementation.forward, implementation.jacobian, implementation.vjp, case, said)


def in_turn(p: Point, things: Sequence[T]) -> Sequence[T]:
    """Of things to try those that have their turn at a case: a third, or all of them."""
    return things if p.turn is None else things[p.turn % TURNS :: TURNS]


def turn_of(p: Point) -> int:
    """A number that is another for every case: of several things to try, it says which is tried."""
    return zlib.crc32(p.case.delta.tobytes()) ^ zlib.crc32(p.case.args[-1].tobytes())


def of_its_shape(p: Point, name: str, d: Any, i: int) -> Holds:
    """A cotangent has the shape of the `i`-th argument."""
    shape = p.args[i].shape
    return Holds(name, np.shape(d) == shape, f"{name} has shape {np.shape(d)}, expected {shape}")


def added_up(
    total: Callable[[Array], Array], values: Array, bounds: Array, examples: Any, dtype: Any
) -> tuple[Array, Array]:
    """`total(values)`, gradients of a parameter summed over `examples` examples, and a bound of the sum's error.

    The bound is infinite where a partial sum may overflow.
    """
    info = ml_dtypes.finfo(dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        terms = total(np.abs(values))
        bound = total(bounds) + examples * float(info.eps) * terms
        return total(values), np.where(terms > float(info.max), np.inf, bound)
