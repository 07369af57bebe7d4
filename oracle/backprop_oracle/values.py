"""Decisions, sums and windows over numbers that nothing rounds: what no ball leaves open is decided, all else is not.

A NaN that is compared is neither true nor false, but None, and makes what depends on it NaN.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cmp_to_key, partial, reduce
from itertools import pairwise
from typing import Any

import jax
import numpy as np
from flint import arb

from .enclosures import Undecided
from .floats import running
from .functions import log_add_exp, power, whole_part
from .moves import COMPARISONS, contraction, convolution, no_rule, pooled
from .numbers import Number, as_array, first_largest, first_smallest, head, is_nan, largest, smallest
from .program import Array, Equation, Params

Ways = Mapping[Any, int]  # by what is compared, and in which turn of which loop, the sign of its difference
Lift = Callable[[Array], Array]  # balls or fractions: the numbers of an interpreter


class Open(Undecided):
    """A comparison that no ball decides, by what is compared."""


# ── Decisions ───────────────────────────────────────────────────────────────────────────────────────────────────────

_CERTAIN: Mapping[str, tuple[Callable[[Any, Any], bool], Callable[[Any, Any], bool]]] = {  # when it is true, when false
    "lt": (operator.lt, operator.ge),
    "le": (operator.le, operator.gt),
    "gt": (operator.gt, operator.le),
    "ge": (operator.ge, operator.lt),
    "eq": (operator.eq, lambda a, b: a < b or a > b),
    "ne": (lambda a, b: a < b or a > b, operator.eq),
}
_PLAIN = {"eq_to": "eq", "lt_to": "lt", "le_to": "le"}  # of numbers that are not signed zeros


def compared(ways: Ways, turn: tuple[Any, ...], equation: Equation, a: Array, b: Array) -> Array:
    """Truth values, or objects where a NaN is compared, which is None; what is open is one of the ways, or `Open`."""
    name = _PLAIN.get(equation.name, equation.name)
    is_true, is_false = _CERTAIN[name]

    def compare(x: Number, y: Number, place: int) -> bool | None:
        if x is y and not is_nan(head(x)):  # an entry and the maximum that it is: one number, however wide its ball
            return name in ("eq", "le", "ge")
        x, y = head(x), head(y)
        if is_true(x, y) or is_false(x, y):
            return bool(is_true(x, y))
        if is_nan(x) or is_nan(y):
            return None
        key = (turn, *equation.operands, int(place))
        if key not in ways:
            raise Open(key)
        return bool(COMPARISONS[name](ways[key], 0))

    entries = equation.params.get("places")  # of some entries alone, which these are
    if entries is None:
        entries = np.arange(np.broadcast(a, b).size).reshape(np.broadcast(a, b).shape)
    return _truths(np.frompyfunc(compare, 3, 1)(a, b, entries))


def _truths(found: Any) -> Array:
    truths = as_array(found)
    return truths if any(truth is None for truth in truths.ravel()) else truths.astype(bool)


UNCERTAIN_LOGIC: Mapping[str, np.ufunc] = {  # where a NaN takes part
    "and": np.frompyfunc(lambda a, b: False if a is False or b is False else b if a else a, 2, 1),
    "or": np.frompyfunc(lambda a, b: True if a is True or b is True else b if a is False else a, 2, 1),
    "not": np.frompyfunc(lambda a: None if a is None else not a, 1, 1),
}


def all_of(name: str, params: Params, a: Array) -> Array:
    for axis in sorted(params["axes"], reverse=True):
        a = as_array(UNCERTAIN_LOGIC[name].reduce(a, axis=axis))
    return a


def _finite(x: Number) -> bool | None:
    a = head(x)
    if not isinstance(a, arb) or a.is_finite():
        return True
    return False if a == arb.pos_inf() or a == arb.neg_inf() else None


def _selected(which: Array, *cases: Array) -> Array:
    if which.dtype == bool:
        return np.where(which, cases[1], cases[0])
    if which.dtype != object:
        return np.choose(which, np.broadcast_arrays(*cases))

    def select(truth: bool | None, no: Number, yes: Number) -> Number:
        return (yes - no) * arb.nan() if truth is None else yes if truth else no

    return as_array(np.frompyfunc(select, 3, 1)(which, *cases))


def converted(lift: Lift, params: Params, a: Array) -> Array:
    """Truth values and indices that become numbers, and numbers that become indices; numbers stay as they are."""
    to = np.dtype(params["new_dtype"])
    real = jax.numpy.issubdtype(to, np.floating)
    if to.kind == "c":
        raise no_rule("complex numbers")
    if a.dtype != object:
        return lift(a.astype(np.float64)) if real else a.astype(to)
    if real:
        truths = lift(np.array([0.0, 1.0]))
        numbers = {None: arb.nan(), False: truths[0], True: truths[1]}
        return as_array(np.frompyfunc(lambda x: numbers[x] if x is None or isinstance(x, bool) else x, 1, 1)(a))
    found = [x if x is None or isinstance(x, bool) else whole_part(x) for x in a.ravel()]
    if any(n is None for n in found):
        raise Undecided("an index that no ball decides")
    return np.array(found, to).reshape(a.shape)


def _order(a: Number, b: Number) -> int:
    """The sign of a difference."""
    x, y = head(a), head(b)
    if a is b or x == y:
        return 0
    if x < y or x > y:
        return 1 if x > y else -1
    raise Undecided("an order that no ball decides")


def _first(sign: int, line: Sequence[Number]) -> int:
    """The place of the largest number, for -1 the smallest; of equals, the first."""
    best = 0
    for i, x in enumerate(line):
        if sign * head(x) > sign * head(line[best]):
            best = i
    return min(i for i, x in enumerate(line) if i == best or _order(x, line[best]) == 0)


def _sorted(params: Params, *operands: Array) -> list[Array]:
    """By one key, which holds numbers or indices; equals stay in the order that they come in."""
    axis, key = params["dimension"], cmp_to_key(_order)
    lines = np.moveaxis(operands[0], axis, -1)
    order = np.empty(lines.shape, int)
    for place in np.ndindex(lines.shape[:-1]):
        line = lines[place].tolist()
        order[place] = sorted(range(len(line)), key=list(map(key, line)).__getitem__)
        pairs = pairwise(order[place]) if len(operands) > 1 and not params["is_stable"] else ()
        if any(_order(line[i], line[j]) == 0 for i, j in pairs):
            raise Undecided("an order of equals")
    return [np.take_along_axis(a, np.moveaxis(order, -1, axis), axis) for a in operands]


def _top(params: Params, a: Array) -> list[Array]:
    axis = params["axis"]
    indices = np.moveaxis(
        np.broadcast_to(np.arange(a.shape[axis], dtype=np.int32), np.moveaxis(a, axis, -1).shape), -1, axis
    )
    found = _sorted({"dimension": axis, "is_stable": True}, as_array(-a), a, indices)[1:]
    return [part.take(range(params["k"]), axis) for part in found]


# ── Sums, products, windows ─────────────────────────────────────────────────────────────────────────────────────────


def _sum(lift: Lift, params: Params, a: Array) -> Array:
    axes = tuple(params["axes"])
    if a.size:
        return as_array(np.add.reduce(a, axis=axes))
    return lift(np.zeros([n for i, n in enumerate(a.shape) if i not in axes]))


def _product(lift: Lift, a: Array, b: Array) -> Array:
    return a @ b if a.shape[-1] else lift(np.zeros((*a.shape[:-1], b.shape[-1])))


def _contracted(lift: Lift, params: Params, a: Array, b: Array) -> Array:
    return as_array(contraction(params, a, b, partial(_product, lift)))


def _convolved(lift: Lift, params: Params, a: Array, b: Array) -> Array:
    return as_array(convolution(params, a, b, partial(_product, lift), lift(np.zeros(()))))


def _in_lines(f: Callable[..., Any], axes: Sequence[int], a: Array) -> Array:
    """What a function makes of all entries along some axes."""
    lines = np.moveaxis(a, axes, range(-len(axes), 0))
    kept = lines.shape[: a.ndim - len(axes)]
    found = np.empty(kept, object)
    for place in np.ndindex(kept):
        found[place] = f(*lines[place].ravel())
    return found


def _reduced(f: Callable[..., Number], lift: Lift, params: Params, a: Array) -> Array:
    return _in_lines(f, tuple(params["axes"]), a)


def _placed(sign: int, lift: Lift, params: Params, a: Array) -> Array:
    found = _in_lines(lambda *line: _first(sign, line), tuple(params["axes"]), a)
    return found.astype(params["index_dtype"])


def _multiplied(*numbers: Number) -> Number:
    return reduce(operator.mul, numbers, arb(1)) if not numbers else reduce(operator.mul, numbers)


def _in_windows(f: Callable[..., Number], nothing: float, lift: Lift, params: Params, a: Array) -> Array:
    where = pooled(params, a.shape)
    flat, found = a.ravel(), np.empty(where.shape[:-1], object)
    for place in np.ndindex(found.shape):
        entries = flat[where[place][where[place] > 0] - 1]
        found[place] = f(*entries) if len(entries) else lift(np.array(nothing))[()]
    return found


def _chosen(params: Params, a: Array) -> Array:
    """Of each window the place of the first of its largest entries, or smallest, in the flat array; -1 of none."""
    where, flat = pooled(params, a.shape), a.ravel()
    sign, found = 1 if params["select_prim"].name == "ge" else -1, np.full(where.shape[:-1], -1)
    for place in np.ndindex(found.shape):
        entries = where[place][where[place] > 0] - 1
        if len(entries):
            found[place] = entries[_first(sign, flat[entries])]
    return found


def added_at(a: Array, where: Array, updates: Array) -> Array:
    flat = a.ravel().copy()
    for place, update in zip(where, updates, strict=True):
        flat[place] = flat[place] + update
    return flat.reshape(a.shape)


def _scattered_choice(lift: Lift, params: Params, source: Array, a: Array) -> Array:
    found = _chosen(params, a)
    return added_at(lift(np.zeros(a.shape)), found[found >= 0], source[found >= 0])


def _gathered_choice(lift: Lift, params: Params, tangents: Array, a: Array) -> Array:
    return np.concatenate([tangents.ravel(), lift(np.zeros(1))])[_chosen(params, a)]


def _each(f: Callable[..., Array]) -> Callable[..., Array]:
    return lambda lift, params, *v: f(params, *v)


VALUES: Mapping[str, Callable[..., Any]] = {
    "integer_pow": _each(lambda params, a: as_array(np.frompyfunc(partial(power, params["y"]), 1, 1)(a))),
    "select_n": _each(lambda params, *v: _selected(*v)),
    "is_finite": _each(lambda params, a: _truths(np.frompyfunc(_finite, 1, 1)(a))),
    "reduce_sum": _sum,
    "reduce_max": partial(_reduced, largest),
    "reduce_min": partial(_reduced, smallest),
    "reduce_prod": partial(_reduced, _multiplied),
    "argmax": partial(_placed, 1),
    "argmin": partial(_placed, -1),
    "sort": _each(_sorted),
    "top_k": _each(_top),
    "cumsum": _each(running(np.add)),
    "cumprod": _each(running(np.multiply)),
    "cummax": _each(running(np.frompyfunc(largest, 2, 1))),
    "cummin": _each(running(np.frompyfunc(smallest, 2, 1))),
    "cumlogsumexp": _each(running(np.frompyfunc(log_add_exp, 2, 1))),
    "dot_general": _contracted,
    "conv_general_dilated": _convolved,
    "reduce_window_sum": partial(_in_windows, lambda *v: sum(v[1:], v[0]), 0.0),
    "reduce_window_max": partial(_in_windows, first_largest, -np.inf),
    "reduce_window_min": partial(_in_windows, first_smallest, np.inf),
    "select_and_scatter_add": _scattered_choice,
    "select_and_gather_add": _gathered_choice,
}
