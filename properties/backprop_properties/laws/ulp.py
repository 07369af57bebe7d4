"""How far a result is from the truth: errors in units in the last place (ULP), and in ULP of the condition.

The truth is an `Enclosures` of the certified oracle. Errors are computed in ball arithmetic and rounded up, the ball's
radius included, so what is returned is an upper bound of the real error, above it by less than 10^-7 ULP.
"""

import math
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import ArrayLike, DTypeLike

from backprop_oracle.enclosures import FORMATS, Enclosures, round_to, working_precision

BITS = 128  # of the error itself, whose leading digits are all that matters


def ulp(x: ArrayLike, dtype: DTypeLike) -> np.ndarray:
    """The unit in the last place of real numbers `x` in a format: `2^(max(⌊log₂|x|⌋, e_min) - p + 1)`.

    This is Goldberg's: the spacing of the floats in the binade that holds `x`. So a power of two has the wider spacing
    of the binade that it opens, subnormals and 0 have the spacing of the subnormals, and whatever is beyond the
    largest float has that one's. A correctly rounded result is within half of it.

    >>> ulp([1.0, 0.99, 0.0, np.inf], np.float32) == [2**-23, 2**-24, 2**-149, 2**104]
    array([ True,  True,  True,  True])
    """
    digits, lowest, overflow = FORMATS[np.dtype(dtype)]
    size = np.abs(np.asarray(x, dtype=np.float64))
    _, top = np.frexp(np.where(np.isfinite(size), size, np.finfo(np.float64).max))
    unit = np.ldexp(1.0, np.clip(np.where(size == 0, lowest, top - digits), lowest, overflow - digits))
    return np.where(np.isnan(size), np.nan, unit)


def ulp_error(actual: np.ndarray, truth: Enclosures) -> np.ndarray:
    """`|actual - truth| / ulp(truth)`, entry by entry, in the format of `actual`.

    Where the truth rounds to infinity, that infinity is right and has error 0. Any other infinity is wrong, and so is
    NaN unless the truth is NaN: error inf.

    >>> from backprop_oracle.certified import value
    >>> third = value("reciprocal", np.array([3.0]))
    >>> ulp_error(np.array([1 / 3]), third).round(3), ulp_error(np.array([0.25]), third) > 1e15
    (array([0.333]), array([ True]))
    """
    return scaled_ulp_error(actual, truth, 0.0)


def scaled_ulp_error(actual: np.ndarray, truth: Enclosures, scale: ArrayLike) -> np.ndarray:
    """`|actual - truth| / max(eps · scale, ulp(truth))`, entry by entry, with `eps` the format's `2^(1 - p)`.

    `scale` is the condition `Σ|terms|` (`conditions.scale`), 0 for plain ULP. No unit is smaller than a subnormal
    spacing, so a result that underflows is measured by what its format can hold. Infinities as in `ulp_error`.

    >>> from backprop_oracle.certified import value
    >>> x = np.array([1.0, 2.0**-53, 2.0**-53, -1.0])
    >>> total = value("sum_reduction", x)
    >>> float(ulp_error(np.array(0.0), total)), float(scaled_ulp_error(np.array(0.0), total, 2.0))
    (4503599627370496.0, 0.5)
    """
    actual = np.asarray(actual)
    if actual.dtype not in FORMATS or actual.dtype.itemsize > truth.dtype.itemsize:
        raise TypeError(f"{truth.name} is sharp for {truth.dtype}, it can't judge {actual.dtype}")
    if actual.shape != truth.shape:
        raise ValueError(f"{truth.name} has shape {truth.shape}, the array to be judged {actual.shape}")
    scales = np.broadcast_to(np.asarray(scale, dtype=np.float64), truth.shape)
    if not (scales >= 0).all():
        raise ValueError(f"{truth.name}: a scale is a sum of absolute values, got {scales.min()}")
    triples = zip(actual.ravel().tolist(), truth.balls, scales.ravel().tolist(), strict=True)
    with working_precision(BITS):
        errors = [_error(a, ball, size, actual.dtype) for a, ball, size in triples]
    return np.array(errors, dtype=np.float64).reshape(truth.shape)


def _error(actual: float, ball: arb, scale: float, dtype: np.dtype[Any]) -> float:
    if not math.isfinite(actual) or ball.is_nan() or not ball.is_finite():
        ends = round_to(ball.lower(), dtype), round_to(ball.upper(), dtype)
        right = actual in ends or (math.isnan(actual) and ball.is_nan())
        return 0.0 if right else math.inf
    error = abs(arb(actual) - ball).upper()
    return 0.0 if error == 0 else _rounded_up((error / _unit(ball, scale, dtype)).upper())


def _unit(ball: arb, scale: float, dtype: np.dtype[Any]) -> arb:
    """`max(eps · scale, ulp(truth))`, of the smallest number in the ball, since that has the smallest ulp."""
    digits, lowest, overflow = FORMATS[dtype]
    mantissa, exponent = map(int, ball.abs_lower().man_exp())
    top = mantissa.bit_length() + exponent
    spacing = arb(2) ** min(max(top - digits, lowest) if mantissa else lowest, overflow - digits)
    condition = arb(min(scale, float(np.finfo(np.float64).max))) * arb(2) ** (1 - digits)
    return condition if condition > spacing else spacing


def _rounded_up(exact: arb) -> float:
    """The smallest float64 that is not below an exact ball."""
    nearest = round_to(exact, np.dtype(np.float64))
    return math.nextafter(nearest, math.inf) if nearest < exact else nearest
