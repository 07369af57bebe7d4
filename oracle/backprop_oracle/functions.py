"""Elementary functions of balls and of power series, by primitive.

They are one line each, where FLINT has them. Some come in two equal forms, of which the sign of `x` picks the one with
the small `exp`, since `exp` of 10^308 overflows even a ball. Floor and its relatives have slope 0.
"""

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from flint import arb, arb_series, fmpq, fmpz

from .moves import SUMS
from .numbers import Number, Series, as_array, head, larger, largest, of_one, of_two, smaller, smallest
from .program import Array


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


def power(y: int, x: Number) -> Number:
    if y < 0:
        return 1 / power(-y, x)
    result = x if y else 0 * x + 1
    for bit in bin(y)[3:]:
        result = result * result * x if bit == "1" else result * result
    return result


MOST_SQUARED = 2**16  # beyond, a logarithm costs less


def _raised(x: Number, y: Number) -> Number:
    """`x` to the power of `y`, as floats know it: of a negative base to integers only; of 0 to what is above 0."""
    a, b = head(x), head(y)
    n = _integer(b)
    if n is not None and abs(n) <= MOST_SQUARED and not isinstance(y, Series):
        return power(n, x)
    if a > 0:
        return _exp(y * _log(x))
    if a < 0 and n is not None:  # by a moving exponent there is no slope, for JAX it is that of log |x|
        return (1 - 2 * (n % 2)) * _exp(y * _log(-x))
    if a == 0 and b > 0:  # the slope by the base is 0 above 1, infinite below
        return 0 * x if b > 1 else x if b == 1 else 0 * x * (arb.nan() if isinstance(x, Series) else 1)
    if a == 0 and b == 0:
        return 0 * x + 1
    return x * arb.nan()


def _integer(b: Any) -> int | None:
    """An exact integer, or nothing."""
    if isinstance(b, arb):
        return int(b.mid().fmpz()) if b.is_exact() and b.is_integer() else None
    if isinstance(b, fmpq):
        return int(b.p) if b.q == 1 else None
    return int(b)


def _absolute(x: Number) -> Number:
    a = head(x)
    if a > 0 or a < 0:
        return x if a > 0 else -x
    if a == 0:
        return x  # JAX's slope
    if isinstance(x, Series):
        return Series(arb_series([abs(a), x.s[1].union(-x.s[1])]))
    return abs(x)


def _clamped(low: Number, x: Number, high: Number) -> Number:
    """At a tie with an edge JAX takes the edge for the number, and its slope for 0."""
    a, bottom, top = head(x), head(low), head(high)
    if a > bottom and a < top:
        return x
    if a < bottom and bottom < top:
        return low
    if a > top:
        return high
    if (a == bottom and a <= top) or a == top:
        return _constant(x)
    return smallest(largest(x, low), high)


def _constant(x: Number) -> Number:
    """Without a derivative."""
    return Series(type(x.s)([x.s[0]])) if isinstance(x, Series) else x


def log_add_exp(x: Number, y: Number) -> Number:
    """Whichever is the larger, the result is the same; no exp overflows, where it is the first."""
    a, b = head(x), head(y)
    if a == arb.neg_inf() or b == arb.neg_inf():
        return y if a == arb.neg_inf() else x
    if b > a:
        x, y = y, x
    return x + _log(1 + _exp(y - x))


def _odd(f: Callable[[Number], Number]) -> Callable[[Number], Number]:
    """Without cancellation where `x` is far below 0."""
    return lambda x: -f(-x) if head(x) < 0 else f(x)


def _cube_root(x: Number) -> Number:
    if head(x) == 0:
        return x * arb.nan() if isinstance(x, Series) else x
    return _exp(_log(x) / 3)


def _angle(y: Number, x: Number) -> Number:
    """`atan2`, by the quotient that is not large; undecided is where only the quadrant is."""
    a, b = head(x), head(y)
    if not isinstance(x, Series) and not isinstance(y, Series):
        return arb.atan2(b, a)
    if a > 0:
        return _flint("atan", y / x)
    if b > 0 or b < 0:
        half = arb.pi() / 2
        return (half if b > 0 else -half) - _flint("atan", x / y)
    if a < 0 and b == 0:
        return _flint("atan", y / x) + arb.pi()
    return x * y * arb.nan()


def _inverse_of_erf(x: Number) -> Number:
    """With one over the slope of erf."""
    a = head(x)
    y = a.erfinv() if abs(a) < 1 else a * arb.pos_inf() if abs(a) == 1 else arb.nan()
    return Series(arb_series([y, x.s[1] / arb_series([y, 1]).erf()[1]])) if isinstance(x, Series) else y


def _log_gamma(x: Number) -> Number:
    """Of |Γ|; by reflection below 0."""
    if head(x) > 0:
        return _flint("lgamma", x)
    sine = _flint("sin", arb.pi() * x)
    return _log(arb.pi() / (sine if head(sine) > 0 else -sine)) - _log_gamma(1 - x)


def _polygamma(order: Number, x: Number) -> Number:
    """ψ and its derivatives, by Hurwitz' zeta function."""
    n, a = _integer(head(order)), head(x)
    if n is None or n < 0 or isinstance(order, Series) or not (a > 0 or n == 0):
        return x * arb.nan()

    def psi(k: int) -> arb:
        return (-1) ** (k + 1) * arb(k).fac() * arb(k + 1).zeta(a) if k else a.digamma()

    if not isinstance(x, Series):
        return psi(n)
    return Series(arb_series([psi(n), x.s[1] * (psi(n + 1) if a > 0 else arb.nan())]))


# ── Integers near a number ──────────────────────────────────────────────────────────────────────────────────────────


def _floor(x: Any) -> Any:
    return fmpq(x.floor()) if isinstance(x, fmpq) else x.floor()


def _nearest(params: Mapping[str, Any], x: Any) -> Any:
    """A half goes to the even integer, or away from 0."""
    if params["rounding_method"] == 0 and x < 0:
        return -_nearest(params, -x)
    up = x + fmpq(1, 2) if isinstance(x, fmpq) else x + arb(0.5)
    found = _floor(up)
    n = _integer(found) if params["rounding_method"] == 1 and found == up else None
    return found if n is None or n % 2 == 0 else found - 1


STEPS: Mapping[str, Callable[[Mapping[str, Any], Any], Any]] = {
    "floor": lambda params, x: _floor(x),
    "ceil": lambda params, x: -_floor(-x),
    "round": _nearest,
}


def stepped(name: str, params: Mapping[str, Any], a: Array) -> Array:
    """Of the numbers alone: the slope is 0, as JAX has it."""
    step = STEPS[name]
    return of_one(lambda x: _same_kind(step(params, head(x)), x))(a)


def _same_kind(found: Any, x: Number) -> Number:
    return Series(type(x.s)([found])) if isinstance(x, Series) else found


def _rest(x: Number, y: Number) -> Number:
    """`x − y trunc(x/y)`."""
    if not (head(y) > 0 or head(y) < 0):
        return x * arb.nan()
    q = head(x) / head(y)
    return x - y * (-_floor(-q) if q < 0 else _floor(q))


def whole_part(x: Number) -> int | None:
    """The integer that a conversion makes of it, if it is certain."""
    a = head(x)
    cut = -_floor(-a) if a < 0 else _floor(a)
    return int(cut) if isinstance(cut, fmpz) else _integer(cut)


def _sign(x: Number) -> Any:
    a = head(x)
    return _same_kind(fmpq((a > 0) - (a < 0)) if isinstance(a, fmpq) else a.sgn(), x)


ELEMENTWISE: Mapping[str, Callable[..., Array]] = {
    **{name: (lambda a, b, f=f: as_array(f(a, b))) for name, f in SUMS.items()},
    "mul": lambda a, b: as_array(a * b),
    "div": lambda a, b: as_array(a / b),
    "neg": of_one(operator.neg),
    "stop_gradient": of_one(_constant),
    "square": lambda a: as_array(a * a),
    "abs": of_one(_absolute),
    "sign": of_one(_sign),
    "max": larger,
    "min": smaller,
    "clamp": lambda low, a, high: as_array(np.frompyfunc(_clamped, 3, 1)(low, a, high)),
    "pow": of_two(_raised),
    "rem": of_two(_rest),
    "atan2": of_two(_angle),
    "polygamma": of_two(_polygamma),
    **{
        name: of_one(partial(_flint, name))
        for name in ("exp", "log", "sqrt", "rsqrt", "sin", "cos", "tan", "asin", "acos", "atan", "erf", "erfc")
    },
    "exp2": of_one(lambda x: _exp(x * arb.const_log2())),
    "expm1": of_one(lambda x: _exp(x) - 1),
    "log1p": of_one(lambda x: _log(1 + x)),
    "tanh": of_one(_tanh),
    "logistic": of_one(_logistic),
    "sinh": of_one(lambda x: (_exp(x) - _exp(-x)) / 2),
    "cosh": of_one(lambda x: (_exp(x) + _exp(-x)) / 2),
    "asinh": of_one(_odd(lambda x: _log(x + _flint("sqrt", x * x + 1)))),
    "acosh": of_one(lambda x: _log(x + _flint("sqrt", x * x - 1))),
    "atanh": of_one(lambda x: _log((1 + x) / (1 - x)) / 2),
    "cbrt": of_one(_odd(_cube_root)),
    "erf_inv": of_one(_inverse_of_erf),
    "lgamma": of_one(_log_gamma),
    "digamma": of_one(lambda x: _polygamma(0, x)),
}
