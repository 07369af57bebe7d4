"""What an operation is at NaN and at ±∞, by its definition in extended ball arithmetic and by nothing else.

A NaN stands for any number: it is the ball that holds them all, and what comes out as such a ball depends on it. That
is NaN; so is what the definition leaves open, `∞ − ∞` or `0 · ∞`. What comes out sharp is the same for every number.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from flint import arb, arb_series

from backprop_oracle.certified import definition
from backprop_oracle.enclosures import START, round_to, working_precision
from backprop_oracle.series import FUNCTIONS

from .floats import Array

FAR = arb(2) ** 1100  # beyond every float
STRAIGHT = ("identity", "negate")  # functions whose slope is the same everywhere
BENT = rf"\b({'|'.join(h for h in FUNCTIONS if h not in STRAIGHT)})\b"
ANY = rf"\b({'|'.join(FUNCTIONS)})\b"


def undefined(name: str, kind: str, delta: Array, *args: Array) -> list[Array | None]:
    """Which entries of the "value" (one array), "jacobian" or "vjp" (one for each argument) are NaN.

    >>> nan, delta = np.array([np.nan, 2.0]), np.ones(2)
    >>> [mask.tolist() for mask in undefined("hadamard", "vjp", delta, nan, delta)]
    [[False, False], [True, False]]

    `tanh` stands for every scalar function whose slope depends on its argument as its value does. The slope at NaN of
    those whose slope is constant may be that constant, or NaN as h′(NaN) is for all: where it matters there is None.
    """
    pairs = zip(*(_masks(re.sub(some, "tanh", name), kind, delta, args) for some in (BENT, ANY)), strict=True)
    return [mask if np.array_equal(mask, most) else None for mask, most in pairs]


def _masks(name: str, kind: str, delta: Array, args: Sequence[Array]) -> list[Array]:
    forward = definition(name)[1]
    with working_precision(START):
        if kind == "value":
            return [_is_nan(_outputs(forward, args), 0).reshape(delta.shape)]
        weights = [arb_series([_ball(d)]) for d in delta.ravel().tolist()] if kind == "vjp" else None
        outer = () if kind == "vjp" else delta.shape
        return [_derivative(forward, args, i, weights).reshape(outer + a.shape) for i, a in enumerate(args)]


def _derivative(forward: Callable[..., Any], args: Sequence[Array], i: int, weights: list[Any] | None) -> Array:
    columns = []
    for column in range(args[i].size):
        outputs = _outputs(forward, args, (i, column))
        if weights is not None:
            outputs = [sum((u * w for u, w in zip(outputs, weights, strict=True)), arb_series([0]))]
        columns.append(_is_nan(outputs, 1))
    return np.array(columns).T


def _outputs(forward: Callable[..., Any], args: Sequence[Array], moved: tuple[int, int] | None = None) -> list[Any]:
    """The forward, with `t` added to an entry of an argument. NaN where the definition has no value at all."""
    series = []
    for i, a in enumerate(args):
        entries = np.empty(a.size, object)
        entries[:] = [arb_series([_ball(x), int(moved == (i, k))]) for k, x in enumerate(a.ravel().tolist())]
        series.append(entries.reshape(a.shape).tolist())
    try:
        u = forward(*series)
    except ValueError:  # a softmax of masks alone
        return [arb_series([arb.nan(), arb.nan()])] * args[0].size
    return u if isinstance(u, list) else [u]


def _ball(x: float) -> arb:
    return arb.nan() if np.isnan(x) else arb(x)


def _is_nan(outputs: Sequence[Any], order: int) -> Array:
    return np.array([u[order].is_nan() for u in outputs], bool)


def at_infinity(name: str, kind: str, delta: Array, x: Array) -> Array:
    """A scalar function's "value", "jacobian" or "vjp" where entries of `x` may be infinite: the limits.

    >>> at_infinity("gelu", "value", np.ones(2), np.array([np.inf, -np.inf])).tolist()
    [inf, 0.0]

    Extended ball arithmetic knows them, but for `∞ · 0` in `x f(x)`: there a number beyond every float is asked.
    """
    with working_precision(START):
        points = [_limit(name, number) for number in x.tolist()]
        if kind == "value":
            return np.array([_nearest(h, x.dtype) for h, _ in points], x.dtype)
        if kind == "jacobian":
            return np.diag(np.array([_nearest(slope, x.dtype) for _, slope in points], x.dtype))
        pairs = zip(delta.tolist(), points, strict=True)
        return np.array([_nearest(arb(d) * slope, x.dtype) for d, (_, slope) in pairs], x.dtype)


def _limit(name: str, x: float) -> tuple[arb, arb]:
    """`h` and `h′`."""
    there = FUNCTIONS[name](arb_series([arb(x), 1]))
    if there[0].is_nan() or there[1].is_nan():
        there = FUNCTIONS[name](arb_series([FAR if x > 0 else -FAR, 1]))
    return there[0], there[1]


def _nearest(ball: arb, dtype: np.dtype[Any]) -> float:
    low, high = round_to(ball.lower(), dtype), round_to(ball.upper(), dtype)
    if low != high:
        raise ArithmeticError(f"a limit is not settled between {low!r} and {high!r}")
    return low
