"""Parts of scalar functions: exponents kept in range, the normal distribution, gelu's polynomial with its remainder.

Functions of `Doubles` compute in float64.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backprop_reference.signature import Array

Doubles = NDArray[np.float64]
NEAR = 1.0  # the factor where none is needed; compare with `is`


def double(x: Array) -> Doubles:
    """`x` in float64: a float32 result computed from it is wrong by its final rounding only."""
    return np.asarray(x, np.float64)


def exponential(x: Array, out: Array | None = None) -> Array:
    """eˣ, computed in float64: NumPy's own of float32 is off by up to 2.5 ULP."""
    if x.dtype == np.float64:
        return np.exp(x, out)
    e = double(x)
    np.exp(e, out=e)
    if out is None:
        return e.astype(x.dtype)
    out[...] = e
    return out


def flat(a: Array) -> Array:
    """The entries in the order of memory, a view: `a` has no gaps.

    >>> flat(np.array([[1, 2], [3, 4]]).T)
    array([1, 2, 3, 4])
    """
    return a if a.ndim == 1 else a.ravel("K")


def maximum(a: Array) -> Any:
    """The largest entry, NaN if one is, 0 if there are none: `max` takes two to five times as long."""
    if not a.ndim:
        return a
    entries = flat(a)
    return entries[entries.argmax()] if a.size else 0.0


def minimum(a: Array) -> Any:
    """The smallest entry, as `maximum`."""
    entries = flat(a)
    return entries[entries.argmin()] if a.size else 0.0


def _edge(x: Array) -> float:
    """An exponent at which neither eˣ nor e⁻ˣ is lost to a range error."""
    return 709.0 if x.dtype == np.float64 else 87.0


def split_exponent(v: Array) -> tuple[Array, Array | float]:
    """(w, f) with eᵛ = eʷ f, where neither eʷ nor e⁻ʷ is lost to a range error and f is NEAR unless v is far below 0.

    Multiply by f last: then a subnormal result is rounded once.
    """
    edge = _edge(v)
    if minimum(v) >= -edge:
        return v, NEAR
    return np.maximum(v, -edge), exponential(np.minimum(v + edge, 0))


def bell(v: Array, c: float) -> Array:
    """c / cosh² v = 4c / (e^2|v| + 2 + e^-2|v|): tanh′ with v = x and c = 1, sigmoid′ with v = ½x and c = ¼."""
    a, edge = np.abs(v), 0.5 * _edge(v)
    f: Array | float = NEAR
    if not maximum(a) <= edge:  # NaN too: it stands beside others
        a, f = np.minimum(a, edge), exponential(2 * np.clip(edge - a, -800, 0))
    a += a
    # NumPy's cosh and expm1 are vectorised for few processors, and elsewhere take much longer. Its exp of float32 is
    # off by up to 2.5 ULP, and so this is by up to 3.83, over all of float32.
    e = np.exp(a, out=a)
    total = np.divide(1, e)
    total += 2
    total += e  # the largest term last
    return np.divide(4 * c * f, total, out=total)


def exp_of_minus_half_square(a: Doubles) -> tuple[Doubles, Doubles | float, Doubles]:
    """(g, f, r) with exp(-a²/2) = (1 - r) g f for |a| ≤ 40, r tiny and f as in `split_exponent`."""
    square, head = a * a, a.astype(np.float32).astype(np.float64)  # 24 bits: head² is exact
    remainder = (head * head - square) + (a - head) * (a + head)  # a² - fl(a²), which exp would magnify by up to a²
    w, f = split_exponent(square * -0.5)
    return np.exp(w), f, remainder * 0.5


# R(a) = ½ exp(a²/2) erfc(a/√2) falls slowly from 1/2 to 1/(a√2π). So (1 + ¾a) R(a) is nearly constant, and smooth in
# y = (a - 5)/(a + 5): below are its powers of y, lowest first. They interpolate it at the 23 Chebyshev nodes of y for a
# in [0, 40], solved with 60 digits in mpmath, then rounded to float64: all told they are right to 2e-17, relative.
_GAUSSIAN_TAIL = (
    0.3653666986312799,
    -0.1045286001915096,
    0.05228997929097336,
    -0.012719205027128635,
    -0.007836944153685133,
    0.012549247311437205,
    -0.009129968914076145,
    0.0042967894028493525,
    -0.001202166578800565,
    3.941297990500483e-05,
    0.00012164379116344945,
    -3.996570143992406e-05,
    -5.7612845512569735e-06,
    6.478369098433502e-06,
    -2.2039892010084455e-07,
    -9.216055451331481e-07,
    1.1269541182548853e-07,
    1.3930702405986373e-07,
    -1.91449733414649e-08,
    -2.2524383231698008e-08,
    7.210662363703466e-10,
    2.840251547344501e-09,
    5.05670846636395e-10,
)


def gaussian_tail_ratio(a: Doubles, r: Doubles) -> Doubles:
    """(1 - r) R(a), R(a) = exp(a²/2) Φ(-a) for 0 ≤ a ≤ 40 and Φ the normal distribution; r is tiny."""
    y = (a - 5) / (a + 5)
    power_sum = np.full_like(y, _GAUSSIAN_TAIL[-1])
    for coefficient in _GAUSSIAN_TAIL[-2:0:-1]:
        power_sum *= y
        power_sum += coefficient
    first, others = _GAUSSIAN_TAIL[0], power_sum * y
    return (first + (others - (first + others) * r)) / (1 + 0.75 * a)  # r joins the small part: no rounding of its own


# c₁ = 2√(2/π) and c₃ = 0.044715 c₁, each also as a head of few bits plus a tail (mpmath, 50 digits). 0.044715 is the
# double of that name, as in every framework: near -20 the decimal number would give another result, by 180 ULP.
_C1, _C1_HEAD, _C1_TAIL = 1.5957691216057308, 1673285 / 2**20, 1.930778986805098e-07
_C3, _C3_HEAD, _C3_TAIL = 0.07135481627260025, 18705 / 2**18, 9.03919084620272e-07


def gelu_cubic(x: Doubles) -> tuple[Doubles, Doubles]:
    """v = c₁x + c₃x³ = 2√(2/π) (x + 0.044715 x³) for |x| ≤ 22, as fl(v) and the remainder v - fl(v)."""
    h = np.rint(x * 256) * 2**-8  # x to 13 bits: the sum of the heads below is exact
    hh = h * h
    head = h * (_C1_HEAD + _C3_HEAD * hh)
    tail = h * (_C1_TAIL + _C3_TAIL * hh) + (x - h) * (_C1 + _C3 * (x * (x + h) + hh))
    v = head + tail
    return v, tail - (v - head)


def gelu_cubic_slope(x: Doubles) -> Doubles:
    """v′ = c₁ + 3c₃x², v as above; the sum of the heads is exact here too."""
    h = np.rint(x * 256) * 2**-8
    hh = h * h
    return (_C1_HEAD + 3 * _C3_HEAD * hh) + (_C1_TAIL + 3 * _C3_TAIL * hh + (x - h) * (x + h) * (3 * _C3))
