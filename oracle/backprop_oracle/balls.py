"""A program over numbers that nothing rounds: balls, fractions, and power series of both.

Arrays are NumPy's, of objects: FLINT's balls (`arb`), or a `Series`, whose second coefficient is a derivative that owes
nothing to a rule of ours or of JAX's. Moves, sums and products are NumPy's own functions, elementary functions one line
each. Two of them come in two equal forms, of which the sign of `x` picks the one with the small `exp`, since `exp` of
10^308 overflows even a ball.

A comparison that balls leave open is undecided (`Undecided`), unless both branches hold the same ball; `over_all_ways`
takes every way that it may turn out, and gives balls around all that comes out: saturated functions leave kinks open
that nothing depends on. A NaN that is compared makes the result NaN. The maximum of balls that overlap is a ball around
both. At an exact tie of `max` and `min` each side has half of the derivative, as in JAX.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial, reduce
from typing import Any

import jax
import numpy as np
from flint import arb, arb_series, fmpq, fmpq_series

from .enclosures import Undecided
from .program import (
    COMPARISONS,
    MOVES,
    PICKS,
    SAME,
    SUMS,
    WHOLE,
    Array,
    Equation,
    Params,
    Program,
    added,
    contraction,
    picked,
    run,
)

Number = Any  # an arb or a Series
MOST_OPEN = 3  # comparisons: each is assumed to turn out in three ways


class Series:
    """A power series of FLINT's, over balls or fractions: in a box, since NumPy takes it for a sequence."""

    __slots__ = ("s",)

    def __init__(self, s: Any) -> None:
        self.s = s

    def __repr__(self) -> str:
        return f"Series({self.s})"

    def _with(self, f: Callable[[Any, Any], Any], other: Number) -> "Series":
        return Series(f(self.s, other.s if isinstance(other, Series) else type(self.s)([other])))

    def __add__(self, other: Number) -> "Series":
        return self._with(operator.add, other)

    def __sub__(self, other: Number) -> "Series":
        return self._with(operator.sub, other)

    def __mul__(self, other: Number) -> "Series":
        return self._with(operator.mul, other)

    def __truediv__(self, other: Number) -> "Series":
        by = head(other)
        if isinstance(by, arb) and not (by > 0 or by < 0):  # FLINT divides by nothing that may be 0
            return Series(arb_series([arb.nan(), arb.nan()]))
        return self._with(operator.truediv, other)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Number) -> "Series":
        return -self + other

    def __rtruediv__(self, other: Number) -> "Series":
        return Series(type(self.s)([other])) / self

    def __neg__(self) -> "Series":
        return Series(-self.s)


class Open(Exception):
    """A comparison that is to be assumed, by what is compared."""


class Unknown(Enum):
    """What is said of a comparison that is neither true nor false."""

    OPEN = "more digits may tell"
    NAN = "a NaN compares with nothing"


def head(x: Number) -> Any:
    """The number itself, of a series its constant term."""
    return x.s[0] if isinstance(x, Series) else x


def over_balls(program: Program, args: Sequence[Array]) -> Any:
    """The outputs of a program as arrays of balls, at the working precision; arguments are floats or balls.

    >>> from .program import traced
    >>> over_balls(traced(lambda x: x / 4, np.ones(1)), [np.ones(1)])
    array([0.250000000000000], dtype=object)
    """
    return run(program, list(map(balls, args)), balls, partial(_apply, lift=balls))


def over_all_ways(program: Program, args: Sequence[Array], ways: Mapping[Any, int] | None = None) -> Any:
    """As `over_balls`, where open comparisons are assumed to turn out in all three ways, the same in every equation.

    >>> import jax
    >>> from .program import traced
    >>> small = np.array([arb(0, 1e-30)], object)
    >>> absolute = traced(lambda x: jax.numpy.where(x > 0, x, -x) + 1, np.ones(1))
    >>> over_all_ways(absolute, [small])[0].contains(1)
    True
    """
    ways = ways or {}
    try:
        return run(program, list(map(balls, args)), balls, partial(_apply, lift=balls, ways=ways))
    except Open as found:
        if len(ways) == MOST_OPEN:
            raise Undecided(f"more than {MOST_OPEN} kinks are open") from None
        each = [over_all_ways(program, args, {**ways, found.args[0]: way}) for way in (-1, 0, 1)]
    around = np.frompyfunc(lambda x, y, z: _around(_around(x, y), z), 3, 1)
    return jax.tree.map(lambda *arrays: _array(around(*arrays)), *each)


def over_fractions(program: Program, args: Sequence[Array]) -> Any:
    """The outputs as series of fractions; an ArithmeticError where one of them is no fraction.

    >>> from .program import traced
    >>> head(over_fractions(traced(lambda x: x / 3, np.array(1.0)), [np.array(1.0)])[()])
    1/3
    """
    try:
        return run(program, list(map(_fractions, args)), _fractions, partial(_apply, lift=_fractions))
    except (AttributeError, OverflowError, TypeError, ValueError, Undecided) as error:
        raise ArithmeticError(f"not a rational number: {error}") from None


def slopes(
    program: Program, args: Sequence[Array], i: int, k: int, over: Callable[..., Any] = over_balls
) -> dict[int, arb]:
    """The derivative of a program's output by the k-th entry of the i-th argument: of the entries that depend on it.

    >>> from .program import traced
    >>> slopes(traced(lambda x: x * x, np.ones(2)), [np.array([3.0, 5.0])], 0, 1)
    {1: 10.0000000000000}
    """
    given = [a.astype(object) for a in args]
    given[i].reshape(-1)[k] = Series(arb_series([given[i].reshape(-1)[k], 1]))
    return {j: u.s[1] for j, u in enumerate(over(program, given).ravel()) if isinstance(u, Series)}


# ── Numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _array(x: Any) -> Array:
    """An array of objects, where NumPy gave one object."""
    return x if isinstance(x, np.ndarray) else np.asarray(x, object)


def _lifted(number: Callable[[float], Number]) -> Callable[[Array], Array]:
    """Of an array of floats; what is a ball or a Series already stays as it is."""
    lift = np.frompyfunc(lambda x: number(x) if isinstance(x, float) else x, 1, 1)
    return lambda a: _array(lift(a.astype(object))) if a.dtype.kind in "fO" else a


balls = _lifted(arb)
_fractions = _lifted(lambda x: Series(fmpq_series([fmpq(*x.as_integer_ratio())])))


def _flint(name: str, x: Number) -> Number:
    """A function that FLINT has."""
    return Series(getattr(x.s, name)()) if isinstance(x, Series) else getattr(x, name)()


_exp, _log = partial(_flint, "exp"), partial(_flint, "log")


def _logistic(x: Number) -> Number:
    if head(x) < 0:
        t = _exp(x)
        return t / (1 + t)
    return 1 / (1 + _exp(-x))


def _tanh(x: Number) -> Number:
    if head(x) < 0:
        return -_tanh(-x)
    t = _exp(-2 * x)
    return (1 - t) / (1 + t)


def _power(y: int, x: Number) -> Number:
    if y < 0:
        return 1 / _power(-y, x)
    result = x if y else 0 * x + 1
    for _ in range(y - 1):
        result = result * x
    return result


def _absolute(x: Number) -> Number:
    a = head(x)
    if a > 0 or a < 0:
        return x if a > 0 else -x
    if a == 0:
        return 0 * x  # JAX's slope
    if isinstance(x, Series):
        return Series(arb_series([abs(a), x.s[1].union(-x.s[1])]))
    return abs(x)


def _extreme(above: Callable[[Any, Any], bool], of_balls: Callable[[Any, Any], Any], *numbers: Number) -> Number:
    """The largest of some numbers, or the smallest.

    At an exact tie the mean, which is the same but for its slope; where balls overlap, balls around all that it may be.
    """
    heads = [head(x) for x in numbers]
    if any(map(_is_nan, heads)):
        return sum(numbers[1:], numbers[0]) * arb.nan()
    for i, a in enumerate(heads):
        if all(i == j or above(a, b) for j, b in enumerate(heads)):
            tied = [x for j, x in enumerate(numbers) if i == j or a == heads[j]]
            return tied[0] if len(tied) < 2 else sum(tied[1:], tied[0]) / len(tied)
    found = reduce(of_balls, heads)
    if not any(isinstance(x, Series) for x in numbers):
        return found
    out = [any(above(b, a) and not above(a, b) for b in heads) for a in heads]
    slopes = [x.s[1] if isinstance(x, Series) else arb(0) for x, is_out in zip(numbers, out, strict=True) if not is_out]
    return Series(arb_series([found, reduce(arb.union, slopes)]))


def _around(x: Number, y: Number) -> Number:
    """A ball, or balls, around two numbers."""
    if x is y:
        return x
    if not (isinstance(x, Series) or isinstance(y, Series)):
        return arb(x).union(arb(y))
    slopes = (u.s[1] if isinstance(u, Series) else arb(0) for u in (x, y))
    return Series(arb_series([arb(head(x)).union(arb(head(y))), reduce(arb.union, slopes)]))


def _text(x: Number) -> str:
    a = head(x)
    return a.str(10) if isinstance(a, arb) else str(a)


def _of_one(f: Callable[[Number], Number]) -> Callable[[Array], Array]:
    each = np.frompyfunc(f, 1, 1)
    return lambda a: _array(each(a))


_largest = partial(_extreme, operator.ge, lambda a, b: a.max(b))
_smallest = partial(_extreme, operator.le, lambda a, b: a.min(b))
_larger, _smaller = np.frompyfunc(_largest, 2, 1), np.frompyfunc(_smallest, 2, 1)


def _constant(x: Number) -> Number:
    """Without a derivative."""
    return Series(type(x.s)([x.s[0]])) if isinstance(x, Series) else x


_ELEMENTWISE: Mapping[str, Callable[..., Array]] = {
    **{name: (lambda a, b, f=f: _array(f(a, b))) for name, f in SUMS.items()},
    "mul": lambda a, b: _array(a * b),
    "div": lambda a, b: _array(a / b),
    "neg": _of_one(operator.neg),
    "stop_gradient": _of_one(_constant),
    "square": lambda a: _array(a * a),
    "abs": _of_one(_absolute),
    "sign": _of_one(lambda x: head(x).sgn()),
    "max": lambda a, b: _array(_larger(a, b)),
    "min": lambda a, b: _array(_smaller(a, b)),
    **{
        name: _of_one(partial(_flint, name))
        for name in ("exp", "log", "sqrt", "rsqrt", "sin", "cos", "atan", "erf", "erfc")
    },
    "expm1": _of_one(lambda x: _exp(x) - 1),
    "log1p": _of_one(lambda x: _log(1 + x)),
    "tanh": _of_one(_tanh),
    "logistic": _of_one(_logistic),
}

# ── Decisions ───────────────────────────────────────────────────────────────────────────────────────────────────────

_CERTAIN: Mapping[str, tuple[Callable[[Any, Any], bool], Callable[[Any, Any], bool]]] = {  # when it is true, when false
    "lt": (operator.lt, operator.ge),
    "le": (operator.le, operator.gt),
    "gt": (operator.gt, operator.le),
    "ge": (operator.ge, operator.lt),
    "eq": (operator.eq, lambda a, b: a < b or a > b),
    "ne": (lambda a, b: a < b or a > b, operator.eq),
}


def _compared(equation: Equation, a: Array, b: Array, ways: Mapping[Any, int] | None) -> Array:
    """Truth values, or objects where some are unknown; what is open is one of the `ways`, or raises `Open`."""
    name = equation.name
    is_true, is_false = _CERTAIN[name]
    places = np.arange(np.broadcast(a, b).size).reshape(np.broadcast(a, b).shape)

    def compare(x: Number, y: Number, place: int) -> bool | Unknown:
        if x is y and not _is_nan(head(x)):  # an entry and the maximum that it is: one number, however wide its ball
            return name in ("eq", "le", "ge")
        x, y = head(x), head(y)
        if is_true(x, y):
            return True
        if is_false(x, y):
            return False
        if _is_nan(x) or _is_nan(y):
            return Unknown.NAN
        if ways is None:
            return Unknown.OPEN
        key = (*equation.operands, int(place))
        if key not in ways:
            raise Open(key)
        return bool(COMPARISONS[name](ways[key], 0))

    return _decided(_array(np.frompyfunc(compare, 3, 1)(a, b, places)))


def _decided(truths: Array) -> Array:
    """Truth values as such, if all are known."""
    return truths if any(isinstance(truth, Unknown) for truth in truths.ravel()) else truths.astype(bool)


def _is_nan(a: Any) -> bool:
    return isinstance(a, arb) and a.is_nan()


def _and(a: bool | Unknown, b: bool | Unknown) -> bool | Unknown:
    return False if a is False or b is False else b if a is True else a


def _not(a: bool | Unknown) -> bool | Unknown:
    return a if isinstance(a, Unknown) else not a


_LOGIC: Mapping[str, np.ufunc] = {  # where something is unknown
    "and": np.frompyfunc(_and, 2, 1),
    "or": np.frompyfunc(lambda a, b: _not(_and(_not(a), _not(b))), 2, 1),
    "not": np.frompyfunc(_not, 1, 1),
}


def _selected(which: Array, no: Array, yes: Array) -> Array:
    if which.dtype == bool:
        return np.where(which, yes, no)

    def select(truth: bool | Unknown, no: Number, yes: Number) -> Number:
        if not isinstance(truth, Unknown):
            return yes if truth else no
        if _the_same(yes, no):
            return yes
        if truth is Unknown.OPEN:
            raise Undecided(f"a kink decides between {_text(no)} and {_text(yes)}")
        return (yes - no) * arb.nan()

    return _array(np.frompyfunc(select, 3, 1)(which, no, yes))


def _the_same(x: Number, y: Number) -> bool:
    """Whether two numbers are one and the same ball."""
    if isinstance(x, Series) or isinstance(y, Series):
        return repr(x) == repr(y)
    return bool(x.mid() == y.mid() and x.rad() == y.rad())


def _converted(params: Params, a: Array, lift: Callable[[Array], Array]) -> Array:
    """Truth values and indices that become numbers; numbers stay as they are."""
    to_float = np.dtype(params["new_dtype"]).kind == "f"
    if a.dtype != object:
        return lift(a.astype(np.float64)) if to_float else a.astype(params["new_dtype"])
    for truth in a.ravel():
        if truth is Unknown.OPEN:
            raise Undecided("a comparison is open")
    number = np.frompyfunc(lambda x: arb.nan() if x is Unknown.NAN else arb(int(x)) if isinstance(x, bool) else x, 1, 1)
    return _array(number(a))


# ── Programs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _sum(params: Params, a: Array) -> Array:
    axes = tuple(params["axes"])
    if a.size:
        return _array(np.add.reduce(a, axis=axes))
    return balls(np.zeros([n for i, n in enumerate(a.shape) if i not in axes]))


def _product(a: Array, b: Array) -> Array:
    return a @ b if a.shape[-1] else balls(np.zeros((*a.shape[:-1], b.shape[-1])))


def _running_sum(params: Params, a: Array) -> Array:
    turned = np.flip(a, params["axis"]) if params["reverse"] else a
    found = np.add.accumulate(turned, params["axis"])
    return np.flip(found, params["axis"]) if params["reverse"] else found


def _reduced(extreme: Callable[..., Number], params: Params, a: Array) -> Array:
    axes = tuple(params["axes"])
    lines = np.moveaxis(a, axes, range(-len(axes), 0))
    kept = lines.shape[: a.ndim - len(axes)]
    found = np.empty(kept, object)
    for place in np.ndindex(kept):
        found[place] = extreme(*lines[place].ravel())
    return found


def _added_at(a: Array, places: Array, updates: Array) -> Array:
    flat = a.ravel().copy()
    for place, update in zip(places, updates, strict=True):
        flat[place] = flat[place] + update
    return flat


_VALUES: Mapping[str, Callable[..., Any]] = {
    "integer_pow": lambda params, a: _of_one(partial(_power, params["y"]))(a),
    "select_n": lambda params, which, no, yes: _selected(which, no, yes),
    "reduce_sum": _sum,
    "reduce_max": partial(_reduced, _largest),
    "reduce_min": partial(_reduced, _smallest),
    "cumsum": _running_sum,
    "dot_general": lambda params, a, b: _array(contraction(params, a, b, _product)),
}


def _apply(
    equation: Equation, v: Sequence[Array], lift: Callable[[Array], Array], ways: Mapping[Any, int] | None = None
) -> Any:
    name, params = equation.name, equation.params
    if name == "convert_element_type":
        return _converted(params, v[0], lift)
    if name in MOVES:
        return MOVES[name](params, *v)
    if name in _LOGIC and any(a.dtype == object for a in v):
        return _decided(_array(_LOGIC[name](*v)))
    if name in WHOLE:
        return WHOLE[name](params, *v)
    if all(a.dtype != object for a in v):  # indices and truth values: JAX's own word
        found = equation.primitive.bind(*v, **params)
        return [np.asarray(a) for a in found] if equation.primitive.multiple_results else np.asarray(found)
    if name in COMPARISONS:
        return _compared(equation, v[0], v[1], ways)
    if name in _ELEMENTWISE:
        return _ELEMENTWISE[name](*v)
    if name in _VALUES:
        return _VALUES[name](params, *v)
    if name in SAME:
        return v[0]
    if name in PICKS:
        return picked(equation, v, arb(0))
    if name == "scatter-add":
        return added(equation, v, _added_at)
    raise TypeError(f"ball arithmetic: no rule for {name}; add it to balls.py")
