"""What an equation adds to the errors of its operands, and what it makes of them: the rows of the table in
`rounding.py`, one function or number for each primitive."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np

from .floats import MONOTONE, OTHERS, PRODUCTS, evaluated, in_windows, running
from .moves import BILINEAR, SUMS, no_rule, pooled, products
from .program import Array, Equation, Params

Errors = Sequence[Array]


class Precision(NamedTuple):
    """An arithmetic: its relative spacing, its smallest normal and its largest number.

    `either` leaves the branch open at an exact tie, too: at a kink any slope between the two sides' is right. `within`
    is the spacing inside a sum or a product of matrices, as a share of `eps`: of half precisions everybody adds up in
    float32 and rounds once.
    """

    eps: float
    tiny: float
    largest: float
    either: bool = False
    within: float = 1.0


ACCUMULATED = ("reduce_sum", *BILINEAR)  # but no running sums and no scattered ones, which frameworks round each time


def exact(a: Array) -> Array:
    """No error."""
    return np.zeros(np.shape(a))


def or_inf(bound: Array) -> Array:
    """A NaN is one of which nothing is claimed."""
    return np.where(np.isnan(bound), np.inf, bound)


def some(a: Array) -> bool:
    """Whether an entry is not 0: to count them takes a third of the time of `any`, and most arrays here are small."""
    return bool(np.count_nonzero(a))


def every(a: Array) -> bool:
    """Whether no entry is 0."""
    return bool(np.count_nonzero(a) == a.size)


# ── What an equation adds ───────────────────────────────────────────────────────────────────────────────────────────

Added = tuple[Array, Any, Any]


def added(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Added:
    """`Σ|terms|` of a result, how many roundings of it an evaluation may add, and how many terms may underflow."""
    name = equation.name
    if name in _ROUNDINGS:
        return np.abs(result), _ROUNDINGS[name], 1
    if name not in _ADDED:
        raise no_rule(name)
    return _ADDED[name](equation, v, e, result)


def _products(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Added:
    n = products(equation, v)
    return BILINEAR[equation.name](equation.params, np.abs(v[0]), np.abs(v[1])), 1 + n / 2, n


def _over_axes(params: Params, a: Array) -> Array:
    return a.sum(tuple(params["axes"]))


def _count(params: Params, a: Array, result: Array) -> int:
    return max(a.size // max(result.size, 1), 1)


_SUMMED: Mapping[str, tuple[Callable[[Params, Array], Array], Callable[[Params, Array, Array], int]]] = {
    "reduce_sum": (_over_axes, _count),
    "cumsum": (running(np.add), lambda params, a, result: a.shape[params["axis"]]),
    "reduce_window_sum": (
        lambda params, a: in_windows(params, a, 0.0).sum(-1),
        lambda params, a, result: pooled(params, a.shape).shape[-1],
    ),
}
_MULTIPLIED: Mapping[str, tuple[Callable[[Params, Array], Array], Callable[[Params, Array, Array], int]]] = {
    "reduce_prod": (lambda params, a: a.prod(tuple(params["axes"])), _count),
    "cumprod": (running(np.multiply), lambda params, a, result: a.shape[params["axis"]]),
}


def _sums(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Added:
    summed, count = _SUMMED[equation.name]
    n = count(equation.params, v[0], result)
    return summed(equation.params, np.abs(v[0])), 1 + n / 2, n


def _factors(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Added:
    """n − 1 roundings; what underflows on the way is multiplied by the factors above 1 that follow."""
    multiplied, count = _MULTIPLIED[equation.name]
    n, size = count(equation.params, v[0], result), np.abs(v[0]) + e[0]
    return multiplied(equation.params, size), 1 + n / 2, n * multiplied(equation.params, np.maximum(size, 1.0))


def _integer_power(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Added:
    """By multiplications, and a division."""
    y = equation.params["y"]
    return np.abs(result), max(1.0, (abs(y) + (y < 0)) / 2), 1


def _log_sums(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Added:
    """A step errs by 4 units of a logarithm of at most 2, and by those of its result."""
    seen = running(np.maximum)(equation.params, np.where(np.isfinite(v[0]), np.abs(v[0]), 0.0))
    n = v[0].shape[equation.params["axis"]]
    return seen + math.log(max(n, 1)) + 8, n, n


def _gammas(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Added:
    """Of Lanczos' formula: `(x + ½) log (x + 7½)`, and the derivative's logarithm."""
    far = np.abs(v[0]) + 8
    return np.abs(result) + np.log(far) * (far if equation.name == "lgamma" else 2.0), 20.0, 1


def _inverse_of_erf(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Added:
    """By way of `(1 − x)(1 + x)`, which is off as by a rounding of `x`: by a unit of the slope."""
    slope = math.sqrt(math.pi) / 2 * np.exp(result * result)
    return 20.0 * np.abs(result) + slope, 1.0, 1


_ADDED: Mapping[str, Callable[..., Added]] = {
    **dict.fromkeys(BILINEAR, _products),
    **dict.fromkeys(_SUMMED, _sums),
    **dict.fromkeys(_MULTIPLIED, _factors),
    **dict.fromkeys(("lgamma", "digamma"), _gammas),
    "integer_pow": _integer_power,
    "cumlogsumexp": _log_sums,
    "erf_inv": _inverse_of_erf,
    **dict.fromkeys(("exp2", "sinh", "cosh"), lambda equation, v, e, result: (np.abs(result), 4.0 + np.abs(v[0]), 1)),
    "erfc": lambda equation, v, e, result: (np.abs(result), 4.0 + v[0] * v[0], 1),
}
_ROUNDINGS: Mapping[str, float] = {  # of the result; PyTorch's erf in float32 promises no more
    **dict.fromkeys((*SUMS, *PRODUCTS, "square"), 1.0),
    **dict.fromkeys({*MONOTONE, *OTHERS} - {*_ADDED}, 4.0),
    **dict.fromkeys(("erf", "polygamma"), 20.0),
}


# ── What operands bring ─────────────────────────────────────────────────────────────────────────────────────────────


def _of_slope(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Array:
    return np.minimum(e[0], 2.0)


def _of_tangent(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Array:
    """`tan(a + e) − tan a = tan e (1 + t²) / (1 − t tan e)`, as long as no pole is near."""
    size, t = np.abs(result), np.tan(e[0])
    near = (e[0] < 1.5) & (size * t < 1)
    return np.where(near, t * (1 + size * size) / (1 - size * t), np.inf)


def _of_even(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Array:
    """Increasing on one side of 0, and of the same size on the other."""
    size, here = np.abs(v[0]), np.abs(result)
    ends = [np.abs(evaluated(equation, [end]) - here) for end in (np.maximum(size - e[0], 0.0), size + e[0])]
    return np.maximum(*ends)


def _of_monotone(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Array:
    ends = [np.abs(MONOTONE[equation.name](end) - result) for end in (v[0] - e[0], v[0] + e[0])]
    return np.where(np.isfinite(e[0]), np.maximum(*ends), np.inf)


def _of_power(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Array:
    """On one side of base 0 a power is monotone in both; across it, it is if the exponent is a certain integer."""
    base, exponent = np.abs(v[0]), np.asarray(v[1], np.float64)
    whole = (exponent == np.rint(exponent)) & (e[1] == 0)
    corners = [np.power(base + i * e[0], exponent + j * e[1]) for i in (-1, 1) for j in (-1, 1)]
    beside = reduce(np.maximum, [np.abs(corner - np.abs(result)) for corner in corners])
    across = np.power(base + e[0], exponent) + np.abs(result)
    away = (base > e[0]) & (whole | (v[0] > 0))
    return np.where(away, beside, np.where(whole & (exponent >= 0), across, np.inf))


def _of_angle(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Array:
    """The angle to a point is off by no more than a disc around it is seen under; all around, across the cut."""
    away, off = np.hypot(*v), np.hypot(*e)
    seen = np.arcsin(np.minimum(off / away, 1.0))
    cut = (v[1] <= e[1]) & (np.abs(v[0]) <= e[0])
    return np.where(cut | (off >= away), 2 * np.pi, seen)


def _of_gamma(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Array:
    """By the largest slope, where it is monotone: digamma rises, its slope falls, and so on."""
    name, (a, error) = equation.name, (v[-1], e[-1])
    ends = [np.maximum(a - error, 0.0), a + error]
    if name == "lgamma":
        slope = np.maximum(*(np.abs(OTHERS["digamma"](end)) for end in ends))
    else:
        order = v[0] + 1.0 if name == "polygamma" else 1.0
        slope = np.abs(OTHERS["polygamma"](order, ends[0]))
    exact = e[0] == 0 if name == "polygamma" else True
    return np.where((a > error) & exact, slope * error, np.inf)


def _of_quotient(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Array:
    room = np.abs(v[1]) - e[1]
    return np.where(room > 0, (e[0] + np.abs(result) * e[1]) / room, np.inf)


def _of_products(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Array:
    by = partial(BILINEAR[equation.name], equation.params)
    return by(e[0], np.abs(v[1]) + e[1]) + by(np.abs(v[0]), e[1])


def _of_factors(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Array:
    by = partial(_MULTIPLIED[equation.name][0], equation.params)
    return or_inf(by(np.abs(v[0]) + e[0]) - by(np.abs(v[0])))


_MAY_BE_STEEP: Mapping[str, Callable[..., Array]] = {
    **dict.fromkeys(MONOTONE, _of_monotone),
    **dict.fromkeys(("square", "integer_pow", "cosh"), _of_even),
    **dict.fromkeys(("sin", "cos"), _of_slope),
    **dict.fromkeys(("lgamma", "digamma", "polygamma"), _of_gamma),
    "mul": lambda equation, v, e, result: np.abs(v[0]) * e[1] + e[0] * (np.abs(v[1]) + e[1]),
    "div": _of_quotient,
    "tan": _of_tangent,
    "pow": _of_power,
    "atan2": _of_angle,
}
_BROUGHT: Mapping[str, Callable[..., Array]] = {
    **_MAY_BE_STEEP,
    **dict.fromkeys(SUMS, lambda equation, v, e, result: e[0] + e[1]),
    **dict.fromkeys(BILINEAR, _of_products),
    **dict.fromkeys(_SUMMED, lambda equation, v, e, result: _SUMMED[equation.name][0](equation.params, e[0])),
    **dict.fromkeys(_MULTIPLIED, _of_factors),
    "cumlogsumexp": lambda equation, v, e, result: running(np.maximum)(equation.params, e[0]),
}


def brought(equation: Equation, v: Sequence[Array], e: Errors, result: Array) -> Array:
    """What the errors of the operands make of a result."""
    found = _BROUGHT[equation.name](equation, v, e, result)
    if every(np.isfinite(found)):
        return found
    found = or_inf(found)
    return np.where(sum(e) == 0, 0.0, found) if equation.name in _MAY_BE_STEEP else found  # be the slope infinite


def nothing(equation: Equation, v: Sequence[Array], terms: Array) -> Array:
    """Where a result is 0 of zeros, of which nothing can underflow."""
    name = equation.name
    if name in BILINEAR:
        return BILINEAR[name](equation.params, np.abs(np.sign(v[0])), np.abs(np.sign(v[1]))) == 0
    if name == "mul":
        return (v[0] == 0) | (v[1] == 0)
    if name in SUMS:
        return (v[0] == 0) & (v[1] == 0)
    return terms == 0 if name in _SUMMED or name in _MULTIPLIED else (terms == 0) & (v[0] == 0)
