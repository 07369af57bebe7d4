"""Scalar functions `h` with their derivatives `h′`, each right to the last digits on the whole line.

`tanh(x)` is h, `tanh.derivative(x)` is h′, both entrywise. Bring your own with `ScalarFunction(name, h, derivative)`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from backprop_reference.arguments import Array, as_floating
from backprop_reference.special import (
    C1,
    double,
    exp_of_minus,
    exp_of_minus_half_square,
    gaussian_tail_ratio,
    gelu_cubic,
)

Formula = Callable[[Array], Any]


@dataclass(frozen=True, init=False, repr=False)
class ScalarFunction:
    """A differentiable function h: R → R with its derivative h′, applied entrywise.

    `h` and `derivative` take an array and give one of the same shape. Results get the dtype of the argument; float32
    and float64 keep their dtype, integers become float64.

    >>> cube = ScalarFunction("cube", h=lambda x: x**3, derivative=lambda x: 3 * x**2)
    >>> cube([1, 2, 3])
    array([ 1.,  8., 27.])
    >>> cube.derivative(2)
    np.float64(12.0)
    >>> cube
    ScalarFunction('cube')

    TypeError for anything but numbers, ValueError where `h` or `derivative` changes the shape. Slide 4, "scalar
    function of a vector".
    """

    name: str
    _h: Formula
    _derivative: Formula

    def __init__(self, name: str, h: Formula, derivative: Formula) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "_h", h)
        object.__setattr__(self, "_derivative", derivative)

    def __repr__(self) -> str:
        return f"ScalarFunction({self.name!r})"

    def __call__(self, x: object) -> Array:
        """h(x), entrywise; a number gives a number."""
        return self.h(as_floating(x, self.name))[()]

    def derivative(self, x: object) -> Array:
        """h′(x), entrywise; a number gives a number."""
        return self.dh(as_floating(x, f"{self.name}.derivative"))[()]

    def h(self, x: Array) -> Array:
        """h(x) for a float32 or float64 array, unchecked."""
        return _entrywise(self._h, x, self.name)

    def dh(self, x: Array) -> Array:
        """h′(x) for a float32 or float64 array, unchecked."""
        return _entrywise(self._derivative, x, f"{self.name}.derivative")


def _entrywise(formula: Formula, x: Array, name: str) -> Array:
    with np.errstate(under="ignore"):  # 0 and subnormals are right answers
        result = np.asarray(formula(x))
        if result.shape != x.shape:
            raise ValueError(f"{name}: expected a result of the argument's shape {x.shape}, got {result.shape}")
        return result.astype(x.dtype, casting="same_kind", copy=np.may_share_memory(result, x))


# ---------------------------------------------------------------- exp, log, reciprocal, negate, square: slides 7, 9, 12


def _exp(x: Array) -> Any:
    """Eˣ."""
    return np.exp(double(x))


def _log(x: Array) -> Any:
    """Log x."""
    return np.log(double(x))


def _reciprocal_derivative(x: Array) -> Any:
    """-1/x², by two divisions: x² would overflow first."""
    return -1 / x / x


def _minus_one(x: Array) -> Any:
    return np.where(np.isnan(x), x, -1)


def _twice(x: Array) -> Any:
    return x + x


def _one(x: Array) -> Any:
    return np.where(np.isnan(x), x, 1)


exp = ScalarFunction("exp", _exp, _exp)
log = ScalarFunction("log", _log, np.reciprocal)
reciprocal = ScalarFunction("reciprocal", np.reciprocal, _reciprocal_derivative)
negate = ScalarFunction("negate", np.negative, _minus_one)
square = ScalarFunction("square", np.square, _twice)
identity = ScalarFunction("identity", np.positive, _one)


# ---------------------------------------------------------------- tanh and sigmoid


def _tanh(x: Array) -> Any:
    """Tanh x = (eˣ - e⁻ˣ) / (eˣ + e⁻ˣ)."""
    return np.tanh(double(x))


def _tanh_derivative(x: Array) -> Any:
    """1 - tanh²x = 4 / (2 + e²ˣ + e⁻²ˣ): nothing cancels."""
    E, f = exp_of_minus(-2 * np.minimum(np.abs(double(x)), 400))
    return 4 / (E + (2 + 1 / E)) * f


def _sigmoid(x: Array) -> Any:
    """1 / (1 + e⁻ˣ)."""
    E, f = exp_of_minus(double(x))
    return f / (1 + E)


def _sigmoid_derivative(x: Array) -> Any:
    """s(1 - s) = 1 / (2 + eˣ + e⁻ˣ): nothing cancels."""
    E, f = exp_of_minus(-np.abs(double(x)))
    return 1 / (E + (2 + 1 / E)) * f


tanh = ScalarFunction("tanh", _tanh, _tanh_derivative)
sigmoid = ScalarFunction("sigmoid", _sigmoid, _sigmoid_derivative)


# ---------------------------------------------------------------- relu and its smoother kin


def _relu(x: Array) -> Any:
    """max(x, 0)."""
    return np.maximum(x, 0)


def _relu_derivative(x: Array) -> Any:
    """1 for x > 0, else 0; 0 at the kink."""
    return np.sign(np.maximum(x, 0))


def _leaky_relu(x: Array) -> Any:
    """X for x ≥ 0, else x/100."""
    return np.maximum(x, x * 0.01)


def _leaky_relu_derivative(x: Array) -> Any:
    """1 for x ≥ 0, else 1/100; 1 at the kink."""
    return np.where(x >= 0, 1, np.where(x < 0, 0.01, x))


def _elu(x: Array) -> Any:
    """X for x > 0, else eˣ - 1."""
    x = double(x)
    return np.maximum(x, 0) + np.expm1(np.minimum(x, 0))


def _elu_derivative(x: Array) -> Any:
    """1 for x ≥ 0, else eˣ."""
    return np.exp(np.minimum(double(x), 0))


def _softplus(x: Array) -> Any:
    """log(1 + eˣ)."""
    x = double(x)
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


relu = ScalarFunction("relu", _relu, _relu_derivative)
leaky_relu = ScalarFunction("leaky_relu", _leaky_relu, _leaky_relu_derivative)
elu = ScalarFunction("elu", _elu, _elu_derivative)
softplus = ScalarFunction("softplus", _softplus, _sigmoid)


# ---------------------------------------------------------------- x times a gate: silu, gelu, gelu_tanh


def _silu(x: Array) -> Any:
    """X s(x), s the sigmoid."""
    x = np.maximum(double(x), -800)
    E, f = exp_of_minus(x)
    return x / (1 + E) * f


def _silu_derivative(x: Array) -> Any:
    """s(1 + x(1 - s)), s the sigmoid."""
    x = np.clip(double(x), -800, 800)
    E, f = exp_of_minus(x)
    return (1 + x * E / (1 + E)) / (1 + E) * f


def _gelu(x: Array) -> Any:
    """x Φ(x) = max(x, 0) - |x| Φ(-|x|), Φ the normal distribution."""
    x = double(x)
    a = np.minimum(np.abs(x), 40)
    g, f = exp_of_minus_half_square(a)
    return np.maximum(x, 0) - a * gaussian_tail_ratio(a) * g * f


def _gelu_derivative(x: Array) -> Any:
    """Φ(x) + x φ(x), φ(x) = exp(-x²/2) / √2π; for x > 0 as 1 minus its value at -x."""
    x = double(x)
    a = np.minimum(np.abs(x), 40)
    g, f = exp_of_minus_half_square(a)
    left = (gaussian_tail_ratio(a) - a * 0.3989422804014327) * g * f
    return np.where(x < 0, left, 1 - left)


def _gelu_tanh(x: Array) -> Any:
    """½x (1 + tanh(√(2/π)(x + 0.044715x³))) = x s(v), v = 2√(2/π)(x + 0.044715x³)."""
    x = np.maximum(double(x), -22)
    v, remainder = gelu_cubic(np.minimum(x, 22))
    E, f = exp_of_minus(v)
    return x / (1 + E * (1 - remainder)) * f


def _gelu_tanh_derivative(x: Array) -> Any:
    """s(v) (1 + x v′ (1 - s(v))), x v′ = 3v - 4√(2/π) x."""
    x = np.clip(double(x), -22, 22)
    v, remainder = gelu_cubic(x)
    E, f = exp_of_minus(v)
    E = E * (1 - remainder)
    return (1 + (3 * v - 2 * C1 * x) * E / (1 + E)) / (1 + E) * f


silu = ScalarFunction("silu", _silu, _silu_derivative)
gelu = ScalarFunction("gelu", _gelu, _gelu_derivative)
gelu_tanh = ScalarFunction("gelu_tanh", _gelu_tanh, _gelu_tanh_derivative)


# ---------------------------------------------------------------- all of them

SCALAR_FUNCTIONS = {
    function.name: function
    for function in (
        exp,
        log,
        reciprocal,
        negate,
        square,
        identity,
        tanh,
        sigmoid,
        relu,
        leaky_relu,
        elu,
        softplus,
        silu,
        gelu,
        gelu_tanh,
    )
}
