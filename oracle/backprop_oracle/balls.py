"""A program over numbers that nothing rounds: balls, fractions, and power series of balls, with a derivative that owes
nothing to a rule of ours or of JAX's. Moves, sums and products are NumPy's own functions.

A comparison that balls leave open is undecided (`Undecided`); `over_all_ways` takes every way that it may turn out, and
gives balls around all that comes out: saturated functions leave kinks open that nothing depends on. A NaN that is
compared makes the result NaN.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from flint import arb, arb_series

from .enclosures import Undecided
from .numbers import (
    ELEMENTWISE,
    Number,
    Series,
    around,
    as_array,
    balls,
    fractions,
    head,
    is_nan,
    largest,
    power,
    smallest,
)
from .program import (
    COMPARISONS,
    MOVES,
    PICKS,
    SAME,
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

MOST_OPEN = 3  # comparisons: each is assumed to turn out in three ways
Ways = Mapping[Any, int]  # by what is compared, the sign of its difference


class Open(Undecided):
    """A comparison that no ball decides, by what is compared."""


def over_balls(program: Program, args: Sequence[Array]) -> Any:
    """The outputs of a program as arrays of balls, at the working precision; arguments are floats or balls.

    >>> from .program import traced
    >>> over_balls(traced(lambda x: x / 4, np.ones(1)), [np.ones(1)])[0].str(5)
    '0.25000'
    """
    return run(program, list(map(balls, args)), balls, partial(_apply, balls, {}))


def over_all_ways(program: Program, args: Sequence[Array], ways: Ways | None = None) -> Any:
    """As `over_balls`, where open comparisons are assumed to turn out in all three ways, the same in every equation.

    >>> import jax
    >>> from .program import traced
    >>> small = np.array([arb(0, 1e-30)], object)
    >>> absolute = traced(lambda x: jax.numpy.where(x > 0, x, -x) + 1, np.ones(1))
    >>> over_all_ways(absolute, [small])[0].contains(1)
    True
    """
    try:
        return run(program, list(map(balls, args)), balls, partial(_apply, balls, ways or {}))
    except Open as found:
        if len(ways or {}) == MOST_OPEN:
            raise Undecided(f"more than {MOST_OPEN} kinks are open") from None
        each = [over_all_ways(program, args, {**(ways or {}), found.args[0]: way}) for way in (-1, 0, 1)]
    around_all = np.frompyfunc(lambda x, y, z: around(around(x, y), z), 3, 1)
    return jax.tree.map(lambda *arrays: as_array(around_all(*arrays)), *each)


def over_fractions(program: Program, args: Sequence[Array]) -> Any:
    """The outputs as series of fractions; an ArithmeticError where one of them is no fraction.

    >>> from .program import traced
    >>> head(over_fractions(traced(lambda x: x / 3, np.array(1.0)), [np.array(1.0)])[()])
    1/3
    """
    try:
        return run(program, list(map(fractions, args)), fractions, partial(_apply, fractions, {}))
    except (AttributeError, OverflowError, TypeError, ValueError, Undecided) as error:
        raise ArithmeticError(f"not a rational number: {error}") from None


def slopes(
    program: Program, args: Sequence[Array], i: int, k: int, over: Callable[..., Any] = over_balls
) -> dict[int, arb]:
    """The derivative of a program's output by the k-th entry of the i-th argument: of the entries that depend on it.

    >>> from .program import traced
    >>> found = slopes(traced(lambda x: x * x, np.ones(2)), [np.array([3.0, 5.0])], 0, 1)
    >>> {k: float(slope) for k, slope in found.items()}
    {1: 10.0}
    """
    given = [a.astype(object) for a in args]
    given[i].reshape(-1)[k] = Series(arb_series([given[i].reshape(-1)[k], 1]))
    return {j: u.s[1] for j, u in enumerate(over(program, given).ravel()) if isinstance(u, Series)}


# ── Decisions ───────────────────────────────────────────────────────────────────────────────────────────────────────

_CERTAIN: Mapping[str, tuple[Callable[[Any, Any], bool], Callable[[Any, Any], bool]]] = {  # when it is true, when false
    "lt": (operator.lt, operator.ge),
    "le": (operator.le, operator.gt),
    "gt": (operator.gt, operator.le),
    "ge": (operator.ge, operator.lt),
    "eq": (operator.eq, lambda a, b: a < b or a > b),
    "ne": (lambda a, b: a < b or a > b, operator.eq),
}


def _compared(ways: Ways, equation: Equation, a: Array, b: Array) -> Array:
    """Truth values, or objects where a NaN is compared, which is None; what is open is one of the ways, or `Open`."""
    name = equation.name
    is_true, is_false = _CERTAIN[name]

    def compare(x: Number, y: Number, place: int) -> bool | None:
        if x is y and not is_nan(head(x)):  # an entry and the maximum that it is: one number, however wide its ball
            return name in ("eq", "le", "ge")
        x, y = head(x), head(y)
        if is_true(x, y) or is_false(x, y):
            return bool(is_true(x, y))
        if is_nan(x) or is_nan(y):
            return None
        key = (*equation.operands, int(place))
        if key not in ways:
            raise Open(key)
        return bool(COMPARISONS[name](ways[key], 0))

    places = np.arange(np.broadcast(a, b).size).reshape(np.broadcast(a, b).shape)
    truths = as_array(np.frompyfunc(compare, 3, 1)(a, b, places))
    return truths if any(truth is None for truth in truths.ravel()) else truths.astype(bool)


_LOGIC: Mapping[str, np.ufunc] = {  # where a NaN takes part
    "and": np.frompyfunc(lambda a, b: False if a is False or b is False else b if a else a, 2, 1),
    "or": np.frompyfunc(lambda a, b: True if a is True or b is True else b if a is False else a, 2, 1),
    "not": np.frompyfunc(lambda a: None if a is None else not a, 1, 1),
}


def _selected(which: Array, no: Array, yes: Array) -> Array:
    if which.dtype == bool:
        return np.where(which, yes, no)

    def select(truth: bool | None, no: Number, yes: Number) -> Number:
        return (yes - no) * arb.nan() if truth is None else yes if truth else no

    return as_array(np.frompyfunc(select, 3, 1)(which, no, yes))


def _converted(lift: Callable[[Array], Array], params: Params, a: Array) -> Array:
    """Truth values and indices that become numbers; numbers stay as they are."""
    if a.dtype != object:
        to = np.dtype(params["new_dtype"])
        return lift(a.astype(np.float64)) if to.kind == "f" else a.astype(to)
    numbers = {None: arb.nan(), True: arb(1), False: arb(0)}
    return as_array(np.frompyfunc(lambda x: numbers[x] if x is None or isinstance(x, bool) else x, 1, 1)(a))


# ── Programs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _sum(params: Params, a: Array) -> Array:
    axes = tuple(params["axes"])
    if a.size:
        return as_array(np.add.reduce(a, axis=axes))
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
    "integer_pow": lambda params, a: as_array(np.frompyfunc(partial(power, params["y"]), 1, 1)(a)),
    "select_n": lambda params, which, no, yes: _selected(which, no, yes),
    "reduce_sum": _sum,
    "reduce_max": partial(_reduced, largest),
    "reduce_min": partial(_reduced, smallest),
    "cumsum": _running_sum,
    "dot_general": lambda params, a, b: as_array(contraction(params, a, b, _product)),
}


def _apply(lift: Callable[[Array], Array], ways: Ways, equation: Equation, v: Sequence[Array]) -> Any:
    name, params = equation.name, equation.params
    if name == "convert_element_type":
        return _converted(lift, params, v[0])
    if name in MOVES:
        return MOVES[name](params, *v)
    if name in _LOGIC and any(a.dtype == object for a in v):
        return as_array(_LOGIC[name](*v))
    if name in WHOLE:
        return WHOLE[name](params, *v)
    if all(a.dtype != object for a in v):  # indices and truth values: JAX's own word
        found = equation.primitive.bind(*v, **params)
        return [np.asarray(a) for a in found] if equation.primitive.multiple_results else np.asarray(found)
    if name in COMPARISONS:
        return _compared(ways, equation, *v)
    if name in ELEMENTWISE:
        return ELEMENTWISE[name](*v)
    if name in _VALUES:
        return _VALUES[name](params, *v)
    if name in SAME:
        return v[0]
    if name in PICKS:
        return picked(equation, v, arb(0))
    if name == "scatter-add":
        return added(equation, v, _added_at)
    raise TypeError(f"ball arithmetic: no rule for {name}; add it to balls.py")
