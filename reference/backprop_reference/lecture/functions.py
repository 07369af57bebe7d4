"""Scalar functions `h` with their derivatives `h′`, each within 4 ULP of the exact value for every finite argument.

`tanh(x)` is h and `tanh.derivative(x)` is h′, both entrywise; `ScalarFunction(name, h, derivative)` makes one of your
own, and `SCALAR_FUNCTIONS` lists those below by name. Next to the zeros of silu′, gelu′ and gelu_tanh′ the ULP is that
of the formula's terms taken positive. At ±inf stands the limit, NaN gives NaN, and at a kink h′ is what JAX takes.

>>> tanh([-1, 0, 1])
array([-0.76159416,  0.        ,  0.76159416])
>>> f"{sigmoid.derivative(40):.6e}"
'4.248354e-18'
>>> relu.derivative([-1, 0, 1]), leaky_relu.derivative([-1, 0, 1])
(array([0., 0., 1.]), array([0.01, 1.  , 1.  ]))
>>> print(*SCALAR_FUNCTIONS)
exp log reciprocal negate square identity tanh sigmoid relu leaky_relu elu softplus silu gelu gelu_tanh
"""

from typing import Any

import numpy as np

from backprop_reference.numerics.special import (
    NEAR,
    bell,
    double,
    exp_of_minus_half_square,
    exponential,
    gaussian_tail_ratio,
    gelu_cubic,
    gelu_cubic_slope,
    maximum,
    split_exponent,
)
from backprop_reference.scalar_function import ScalarFunction, built_in
from backprop_reference.signature import Array

# ---- exp, log, reciprocal, negate, square, identity: slides 7-12 ----------------------------------------------------


def _log(x: Array) -> Any:
    """log x = log 2 log₂ x: -inf at 0, NaN below."""
    if x.dtype == np.float64:
        return np.log(x)
    u = np.log2(x)  # off by 2.1 ULP at most, where NumPy's log of float32 is by 3.7
    u *= 0.6931471805599453
    return u


def _reciprocal_derivative(x: Array) -> Any:
    """-1/x²: two divisions, where x² would overflow."""
    return -1 / x / x


def _twice(x: Array) -> Any:
    """2x."""
    return x + x


def _same(x: Array) -> Any:
    """x."""
    return x


def _constant(value: float, x: Array) -> Array:
    """`value`, and NaN for NaN."""
    slope = np.empty_like(x)
    slope.fill(value)
    return _or_nan(slope, x)


def _or_nan(slope: Array, x: Array) -> Array:
    """`slope`, and NaN for NaN."""
    if np.isnan(maximum(x)):
        np.copyto(slope, x, where=np.isnan(x))
    return slope


def _one(x: Array) -> Any:
    """1, and NaN for NaN."""
    return _constant(1, x)


def _minus_one(x: Array) -> Any:
    """-1, and NaN for NaN."""
    return _constant(-1, x)


exp = built_in("exp", np.exp, np.exp)
log = built_in("log", _log, np.reciprocal, domain="positive")
reciprocal = built_in("reciprocal", np.reciprocal, _reciprocal_derivative, domain="non-zero")
negate = built_in("negate", np.negative, _minus_one, whole=True)
square = built_in("square", np.square, _twice, whole=True)
identity = built_in("identity", _same, _one, whole=True)


# ---- tanh, sigmoid --------------------------------------------------------------------------------------------------


def _tanh_derivative(x: Array) -> Any:
    """1 - tanh² x = 1 / cosh² x: nothing cancels."""
    return bell(x, 1)


def _sigmoid(x: Array) -> Any:
    """s(x) = 1 / (1 + e⁻ˣ)."""
    w, f = split_exponent(x)
    e = exponential(-w)
    e += 1
    return np.divide(f, e, out=e)


def _sigmoid_derivative(x: Array) -> Any:
    """s(1 - s) = ¼ / cosh² ½x: nothing cancels."""
    return bell(0.5 * x, 0.25)


tanh = built_in("tanh", np.tanh, _tanh_derivative)
sigmoid = built_in("sigmoid", _sigmoid, _sigmoid_derivative)


# ---- relu and its smooth relatives ----------------------------------------------------------------------------------


def _relu(x: Array) -> Any:
    """max(x, 0)."""
    return np.maximum(x, 0)


def _relu_derivative(x: Array) -> Any:
    """1 for x > 0, else 0, and NaN for NaN."""
    return _or_nan(np.array(x > 0, x.dtype), x)


def _leaky_relu(x: Array) -> Any:
    """x for x ≥ 0, else x/100."""
    return np.maximum(x, 0.01 * x)


def _leaky_relu_derivative(x: Array) -> Any:
    """1 for x ≥ 0, else 1/100."""
    return np.where(x < 0, 0.01, _one(x))


def _elu(x: Array) -> Any:
    """x for x > 0, else eˣ - 1: of the two terms one is 0."""
    x = double(x)
    return np.maximum(x, 0) + np.expm1(np.minimum(x, 0))


def _elu_derivative(x: Array) -> Any:
    """1 for x ≥ 0, else eˣ."""
    return np.exp(np.minimum(double(x), 0))


def _softplus(x: Array) -> Any:
    """log(1 + eˣ) = max(x, 0) + log(1 + e^-|x|)."""
    x = double(x)
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _softplus_derivative(x: Array) -> Any:
    """The sigmoid, rounded once."""
    return _sigmoid(double(x))


relu = ScalarFunction("relu", _relu, _relu_derivative, kinked=True, whole=True)
leaky_relu = built_in("leaky_relu", _leaky_relu, _leaky_relu_derivative, kinked=True)
elu = built_in("elu", _elu, _elu_derivative, kinked=True)
softplus = built_in("softplus", _softplus, _softplus_derivative)


# ---- silu, gelu, gelu_tanh: x times a distribution function ---------------------------------------------------------


def _silu(x: Array) -> Any:
    """x s(x), s the sigmoid."""
    w, f = split_exponent(x)
    e = exponential(-w)
    e += 1
    if f is NEAR:
        return np.divide(x, e, out=e)
    return np.maximum(x, -800) / e * f


def _silu_derivative(x: Array) -> Any:
    """s (1 + x (1 - s)) = (1 + x + eˣ) / (2 + eˣ + e⁻ˣ): the zero is that of 1 + x + eˣ, where 1 + x is exact."""
    x = np.clip(double(x), -800, 709)
    w, f = split_exponent(x)
    e = np.exp(-w)
    grown = 1 / e
    return (1 + x + grown) / (e + (2 + grown)) * f


def _gelu(x: Array) -> Any:
    """x Φ(x) = max(x, 0) - |x| Φ(-|x|), Φ the normal distribution."""
    x = double(x)
    a = np.minimum(np.abs(x), 40)
    g, f, r = exp_of_minus_half_square(a)
    return np.maximum(x, 0) - a * gaussian_tail_ratio(a, r) * g * f


def _gelu_derivative(x: Array) -> Any:
    """Φ(x) + x φ(x), φ(x) = e^(-x²/2) / √(2π); for x > 0 it is 1 minus that of -x."""
    x = double(x)
    a = np.minimum(np.abs(x), 40)
    g, f, r = exp_of_minus_half_square(a)
    b = a * 0.3989422804014327
    left = (gaussian_tail_ratio(a, r) + b * r - b) * g * f
    return np.where(x < 0, left, 1 - left)


def _gelu_tanh(x: Array) -> Any:
    """½x (1 + tanh(√(2/π) (x + 0.044715x³))) = x s(v), v = 2√(2/π) (x + 0.044715x³); 0.044715 is the double."""
    x = np.maximum(double(x), -22)
    v, rest = gelu_cubic(np.minimum(x, 22))
    w, f = split_exponent(v)
    e = np.exp(-w)
    return x / (e + (1 - e * rest)) * f  # e⁻ᵛ = e - e · rest: the rounding of v, times |v|, is undone


def _gelu_tanh_derivative(x: Array) -> Any:
    """s(v) (1 + x v′ (1 - s(v))) = (1 + x v′ + eᵛ) / (2 + eᵛ + e⁻ᵛ)."""
    x = np.clip(double(x), -22, 15)
    v, rest = gelu_cubic(x)
    w, f = split_exponent(v)
    e = np.exp(-w)
    grown = 1 / e
    return (1 + x * gelu_cubic_slope(x) + grown) / (e + (2 + grown - e * rest)) * f  # as in _gelu_tanh


silu = built_in("silu", _silu, _silu_derivative, factored=True)
gelu = built_in("gelu", _gelu, _gelu_derivative, factored=True)
gelu_tanh = built_in("gelu_tanh", _gelu_tanh, _gelu_tanh_derivative, factored=True)


# ---- all of them, by name -------------------------------------------------------------------------------------------

_ALL = [exp, log, reciprocal, negate, square, identity, tanh, sigmoid]
_ALL += [relu, leaky_relu, elu, softplus, silu, gelu, gelu_tanh]

SCALAR_FUNCTIONS = {function.name: function for function in _ALL}
