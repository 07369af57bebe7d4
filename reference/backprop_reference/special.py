"""Error-free tricks and the one special function that NumPy lacks. Everything here computes in float64."""

import numpy as np
from numpy.typing import NDArray

from backprop_reference.arguments import Array

Doubles = NDArray[np.float64]


def double(x: Array) -> Doubles:
    """`x` in float64: a float32 result computed from it is wrong by its final rounding only."""
    return np.asarray(x, np.float64)


def exp_of_minus(v: Doubles) -> tuple[Doubles, Doubles]:
    """(E, f) with e⁻ᵛ = E / f, where E² never overflows and f is 1 unless v < -350.

    1 / (1 + e⁻ᵛ) is then f / (1 + E). What multiplies by f last is rounded once, even to a subnormal.
    """
    return np.exp(np.minimum(-v, 350)), np.exp(np.minimum(v + 350, 0))


def exp_of_minus_half_square(a: Doubles) -> tuple[Doubles, Doubles]:
    """(g, f) with exp(-a²/2) = g f for |a| ≤ 40, where g never underflows and f is 1 unless |a| > 26."""
    square, head = a * a, a.astype(np.float32).astype(np.float64)  # 24 bits: head² is exact
    remainder = (head * head - square) + (a - head) * (a + head)  # a² - fl(a²), which exp would magnify by up to a²
    u = square * -0.5
    return np.exp(np.maximum(u, -350)) * (1 - remainder / 2), np.exp(np.minimum(u + 350, 0))


# R(a) = ½ exp(a²/2) erfc(a/√2) falls slowly from 1/2 to 1/(a√2π). So (1 + a/2) R(a) is nearly constant, and smooth in
# y = (a - 4)/(a + 4): below are its powers of y, lowest first. They interpolate it at 23 Chebyshev nodes of y for a in
# [0, 40], solved with 60 digits in mpmath and rounded; the truncation error is below 6e-17, relative.
_GAUSSIAN_TAIL = (
    0.2832319239059068,
    -0.13355059943749042,
    0.06918944503184658,
    -0.0215535216421136,
    -0.0006665166610016447,
    0.004722000999408938,
    -0.0022474082554353614,
    0.00017659536817476502,
    0.00025385638836165946,
    -6.99925091850569e-05,
    -2.960222372750445e-05,
    1.2940520904032768e-05,
    4.660830203415989e-06,
    -2.130068290081032e-06,
    -9.734448098576902e-07,
    3.0415438354758186e-07,
    2.2492518162134026e-07,
    -2.4986168232769994e-08,
    -4.640666997085634e-08,
    -3.705782349062547e-09,
    6.129710647920331e-09,
    1.4109259147337106e-09,
    -1.1479893964732652e-10,
)


def gaussian_tail_ratio(a: Doubles) -> Doubles:
    """R(a) = exp(a²/2) Φ(-a) for 0 ≤ a ≤ 40, Φ the normal distribution: 1/2 at 0, falling to 1/(a√2π)."""
    y = (a - 4) / (a + 4)
    power_sum = np.full_like(y, _GAUSSIAN_TAIL[-1])
    for coefficient in _GAUSSIAN_TAIL[-2::-1]:
        power_sum *= y
        power_sum += coefficient
    return power_sum / (1 + a / 2)


# c₁x + c₃x³ = 2√(2/π) (x + 0.044715 x³). Each coefficient is a head of few bits plus a tail (mpmath, 50 digits).
C1, _C1_HEAD, _C1_TAIL = 1.5957691216057308, 1673285 / 2**20, 1.930778986805098e-07
_C3, _C3_HEAD, _C3_TAIL = 0.07135481627260025, 18705 / 2**18, 9.03919084620272e-07


def gelu_cubic(x: Doubles) -> tuple[Doubles, Doubles]:
    """v = 2√(2/π) (x + 0.044715 x³) for |x| ≤ 22, as fl(v) and the remainder v - fl(v)."""
    h = np.rint(x * 256) / 256  # 13 bits: the sum of the heads below is exact
    head = h * (_C1_HEAD + _C3_HEAD * (h * h))
    tail = h * (_C1_TAIL + _C3_TAIL * (h * h)) + (x - h) * (C1 + _C3 * (x * x + x * h + h * h))
    v = head + tail
    return v, tail - (v - head)
