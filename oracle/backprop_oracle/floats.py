"""JAX's primitives in float64, by NumPy: whatever the shapes, with nothing to compile.

The few functions that NumPy does not have are FLINT's, rounded.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flint import arb

from .control import looped, scanned
from .enclosures import working_precision
from .indexing import PICKS
from .moves import (
    BILINEAR,
    COMPARISONS,
    LOGIC,
    MOVES,
    SUMS,
    WHOLE,
    convolution,
    is_key,
    no_rule,
    picked,
    places,
    pooled,
    whole,
)
from .program import Array, Equation, Params, Program, run


def _each(f: Callable[..., float], arguments: int = 1) -> Callable[..., Array]:
    every = np.frompyfunc(f, arguments, 1)
    return lambda *a: np.asarray(every(*a), np.float64)


def _flint(f: Callable[[Any], Any]) -> Callable[[Array], Array]:
    def rounded(x: float) -> float:
        with working_precision(80):
            return float(f(arb(x)))

    return _each(rounded)


def _lgamma(x: float) -> float:
    return math.inf if x <= 0 and x == math.floor(x) else math.lgamma(x)


def _polygamma(order: float, x: float) -> float:
    n = int(order)
    if n != order or n < 1 or not x > 0:
        return math.nan
    with working_precision(80):
        return float((-1) ** (n + 1) * arb(n).fac() * arb(n + 1).zeta(arb(x)))


MONOTONE: Mapping[str, Callable[[Array], Array]] = {  # increasing or decreasing wherever they are defined
    "exp": np.exp,
    "exp2": np.exp2,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "tanh": np.tanh,
    "logistic": lambda a: 1 / (1 + np.exp(-a)),
    "erf": _each(math.erf),
    "erfc": _each(math.erfc),
    "erf_inv": _flint(lambda x: x.erfinv() if abs(x) < 1 else x / 0 if abs(x) == 1 else arb.nan()),
    "sqrt": np.sqrt,
    "rsqrt": lambda a: 1 / np.sqrt(a),
    "cbrt": np.cbrt,
    "atan": np.arctan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "sinh": np.sinh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}
OTHERS: Mapping[str, Callable[..., Array]] = {
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "cosh": np.cosh,
    "atan2": np.arctan2,
    "pow": lambda a, b: np.power(a, np.asarray(b, np.float64)),
    "lgamma": _each(_lgamma),
    "digamma": _flint(lambda x: x.digamma()),
    "polygamma": _each(_polygamma, 2),
}
STEPS: Mapping[str, Callable[[Params, Array], Array]] = {  # increasing, from one integer to the next
    "floor": lambda params, a: np.floor(a),
    "ceil": lambda params, a: np.ceil(a),
    "round": lambda params, a: np.rint(a) if params["rounding_method"] == 1 else np.copysign(_half_away(np.abs(a)), a),
}


def _half_away(a: Array) -> Array:
    down = np.floor(a)
    return down + (a - down >= 0.5)


PRODUCTS = {"mul": np.multiply, "div": np.divide}
LARGEST = {"max": np.maximum, "min": np.minimum}
_ELEMENTWISE: Mapping[str, Callable[..., Array]] = {
    **MONOTONE,
    **OTHERS,
    **COMPARISONS,
    **SUMS,
    **PRODUCTS,
    **LARGEST,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "square": lambda a: a * a,
    "stop_gradient": lambda a: a,
    "copy": lambda a: a,
    "copy_p": lambda a: a,
    "rem": np.fmod,
    "clamp": lambda low, a, high: np.minimum(np.maximum(low, a), high),
    "is_finite": np.isfinite,
}


def running(f: np.ufunc) -> Callable[[Params, Array], Array]:
    """Sums, products or maxima of more and more entries, from one end or the other."""

    def run(params: Params, a: Array) -> Array:
        axis = params["axis"]
        return np.flip(f.accumulate(np.flip(a, axis), axis), axis) if params["reverse"] else f.accumulate(a, axis)

    return run


def in_windows(params: Params, a: Array, outside: float) -> Array:
    """The entries in each window, along the last axis; `outside` the array is another number."""
    return np.concatenate([[outside], a.ravel()])[pooled(params, a.shape)]


def converted(params: Params, a: Array) -> Array:
    """Numbers stay as exact as they are, whatever float they are to become."""
    to = np.dtype(params["new_dtype"])
    if jax.numpy.issubdtype(to, np.floating):
        return a if a.dtype.kind == "f" else a.astype(np.float64)
    if to.kind == "c":
        raise no_rule("complex numbers")
    return a.astype(to)


def chosen(params: Params, select: str, a: Array) -> tuple[Array, Array, Array]:
    """Of each window the first of the largest entries, or the smallest: which of the array's, from 0, if any; all
    entries of the window, from 1; and how much each falls short, which is infinite outside."""
    where = pooled(params, a.shape)
    order = a.ravel() if select == "ge" else -a.ravel()
    entries = np.where(where > 0, np.concatenate([[-np.inf], order])[where], -np.inf)
    most = entries.max(-1, keepdims=True, initial=-np.inf)
    first = np.argmax((where > 0) & (entries == most), -1)[..., None]
    found = np.take_along_axis(where, first, -1)[..., 0] - 1
    return found, where, np.where(where > 0, most - entries, np.inf)


def sorting(params: Params, v: Sequence[Array]) -> Array:
    """The order of one key, along the axis of `sort`; equals stay in the order that they come in."""
    return np.argsort(v[0], axis=params["dimension"], kind="stable")


def _top(params: Params, a: Array) -> list[Array]:
    axis = params["axis"]
    order = np.argsort(-a, axis=axis, kind="stable").take(range(params["k"]), axis)
    return [np.take_along_axis(a, order, axis), order.astype(np.int32)]


def _scattered_choice(params: Params, source: Array, a: Array) -> Array:
    found, _, _ = chosen(params, params["select_prim"].name, a)
    result = np.zeros(a.size)
    np.add.at(result, found[found >= 0], source[found >= 0])
    return result.reshape(a.shape)


def _gathered_choice(params: Params, tangents: Array, a: Array) -> Array:
    found, _, _ = chosen(params, params["select_prim"].name, a)
    return np.concatenate([tangents.ravel(), [0.0]])[found]


def _convolved(params: Params, a: Array, b: Array) -> Array:
    """Zeros around `a` are no numbers of anybody's: a NaN or an infinity of `b` meets the entries of `a` alone."""
    wild = ~np.isfinite(b)
    found = convolution(params, a, b)
    if not wild.any():
        return found
    met = convolution(params, np.ones_like(a), wild.astype(a.dtype)) > 0
    return np.where(met, found, convolution(params, a, np.where(wild, 0.0, b)))


_VALUES: Mapping[str, Callable[..., Any]] = {
    **MOVES,
    **WHOLE,
    **STEPS,
    **BILINEAR,
    "conv_general_dilated": _convolved,
    "convert_element_type": converted,
    "reduce_precision": lambda params, a: a,
    "integer_pow": lambda params, a: a ** params["y"],
    "select_n": lambda params, which, *cases: (
        np.where(which, cases[1], cases[0]) if which.dtype == bool else np.choose(which, cases)
    ),
    "reduce_max": lambda params, a: a.max(tuple(params["axes"])),
    "reduce_min": lambda params, a: a.min(tuple(params["axes"])),
    "reduce_sum": lambda params, a: a.sum(tuple(params["axes"])),
    "reduce_prod": lambda params, a: a.prod(tuple(params["axes"])),
    "cumsum": running(np.add),
    "cumprod": running(np.multiply),
    "cummax": running(np.maximum),
    "cummin": running(np.minimum),
    "cumlogsumexp": running(np.logaddexp),
    "argmax": lambda params, a: np.argmax(a, params["axes"][0]).astype(params["index_dtype"]),
    "argmin": lambda params, a: np.argmin(a, params["axes"][0]).astype(params["index_dtype"]),
    "sort": lambda params, *v: [np.take_along_axis(a, sorting(params, v), params["dimension"]) for a in v],
    "top_k": _top,
    "reduce_window_sum": lambda params, a: in_windows(params, a, 0.0).sum(-1),
    "reduce_window_max": lambda params, a: in_windows(params, a, -np.inf).max(-1),
    "reduce_window_min": lambda params, a: in_windows(params, a, np.inf).min(-1),
    "select_and_scatter_add": _scattered_choice,
    "select_and_gather_add": _gathered_choice,
}


_PLAIN = {  # by NumPy of indices and truth values, too
    *(*WHOLE, *COMPARISONS, *SUMS, "convert_element_type", "mul", "neg", "max", "min", "sign", "abs", "clamp"),
    *("select_n", "reduce_sum", "reduce_max", "reduce_min", "cumsum", "argmax", "argmin"),
}


def evaluated(equation: Equation, v: Sequence[Array]) -> Any:
    """The result of an equation, or the results.

    >>> from .program import traced
    >>> evaluated(traced(np.sum, np.ones(3)).equations[0], [np.array([1.0, 2.0, 3.0])])
    np.float64(6.0)
    """
    name = equation.name
    if name in _ELEMENTWISE and v[0].dtype.kind == "f":
        return _ELEMENTWISE[name](*v)
    if v and is_key(v[0]):
        return whole(equation, v)
    if name in MOVES:
        return MOVES[name](equation.params, *v)
    if name not in _PLAIN and not any(a.dtype.kind == "f" for a in v):
        return LOGIC[name](*v) if name in LOGIC and v[0].dtype == bool else whole(equation, v)
    if name in _ELEMENTWISE:
        return _ELEMENTWISE[name](*v)
    if name == "sort" and equation.params["num_keys"] > 1:
        raise no_rule(name)
    if name in _VALUES:
        return _VALUES[name](equation.params, *v)
    if name in PICKS:
        return picked(equation, v)
    if name == "scatter-add":
        landed, where = places(equation, v)
        result = np.array(v[0]).ravel()
        np.add.at(result, where, v[2].ravel()[landed])
        return result.reshape(v[0].shape)
    raise no_rule(name)


# ── Programs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def values(
    program: Program, args: Sequence[Array], changed: Mapping[Any, Callable[[Array, Sequence[Array]], Array]] = {}
) -> Any:
    """The outputs of a program; `changed` says what becomes of a result, given its operands.

    >>> from .program import traced
    >>> program = traced(lambda x: 2.0 * x + 1.0, np.ones(()))
    >>> double = program.equations[0].results[0]
    >>> float(values(program, [np.array(3.0)])), float(values(program, [np.array(3.0)], {double: lambda r, v: -r}))
    (7.0, -5.0)
    """

    def apply(equation: Equation, v: Sequence[Array]) -> Any:
        controlled = _CONTROLLED.get(equation.name)
        found = controlled(equation, v, inner) if controlled else evaluated(equation, v)
        change = changed.get(equation.results[0]) if changed else None
        return change(found, v) if change else found

    def inner(program: Program, v: Sequence[Array], turn: int) -> Any:
        return run(program, v, _as_it_is, apply)

    return run(program, args, _as_it_is, apply)


def _as_it_is(a: Array) -> Array:
    return a


_CONTROLLED: Mapping[str, Callable[..., Any]] = {
    "scan": lambda equation, v, inner: scanned(equation, v, inner, lambda x, i: x[i, ...], np.stack, _as_it_is),
    "while": lambda equation, v, inner: looped(equation, v, inner, bool),
    "cond": lambda equation, v, inner: inner(equation.params["branches"][int(v[0])], v[1:], 0),
}
