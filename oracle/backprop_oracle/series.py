"""The slides' forwards over truncated power series, for `certified.py`: no derivative is written here.

Vectors are lists of series, matrices lists of rows. The same text runs over balls (`arb_series`) and, where a result
is rational, over fractions (`fmpq_series`).

Three identities stand between the slides and the text, each exact over the reals, since `exp` of 10^308 overflows
even a ball: softmax(x) = softmax(x - c) for any constant c; log(softmax(x)) = x - c - log(sum(exp(x - c)));
1 + tanh(v) = 2 sigmoid(2v). Where a function has two equal forms, the sign of `u` picks the one with the small `exp`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from flint import arb, arb_series, fmpq

from .enclosures import Undecided

Series = Any  # arb_series, or fmpq_series where a result is rational
Vector = list[Series]
Matrix = list[Vector]

# ---------------------------------------------------------------- scalar functions h

SLOPE = fmpq(*(0.01).as_integer_ratio())  # of leaky_relu: the double nearest 0.01, exactly
CUBIC = fmpq(*(0.044715).as_integer_ratio())  # of gelu_tanh: likewise


def exp(u: Series) -> Series:
    return u.exp()


def log(u: Series) -> Series:
    if u[0] <= 0:
        raise ValueError(f"log needs arguments > 0, got {_text(u)}")
    return u.log()


def reciprocal(u: Series) -> Series:
    if u[0] == 0:
        raise ValueError("reciprocal needs arguments other than 0")
    return u.inv()


def negate(u: Series) -> Series:
    return -u


def square(u: Series) -> Series:
    return u * u


def identity(u: Series) -> Series:
    return u


def tanh(u: Series) -> Series:
    if u[0] < 0:
        return -tanh(-u)
    t = (-u - u).exp()
    return (1 - t) * (1 + t).inv()


def sigmoid(u: Series) -> Series:
    if u[0] < 0:
        t = u.exp()
        return t * (1 + t).inv()
    return (1 + (-u).exp()).inv()


def relu(u: Series) -> Series:
    return u if _above(u) else 0 * u


def leaky_relu(u: Series) -> Series:
    return u * SLOPE if _above(-u) else u


def elu(u: Series) -> Series:
    return u if _above(u) else u.exp() - 1


def softplus(u: Series) -> Series:
    return u + softplus(-u) if u[0] > 0 else (1 + u.exp()).log()


def silu(u: Series) -> Series:
    return u * sigmoid(u)


def gelu(u: Series) -> Series:
    return u * (-u * arb(0.5).sqrt()).erfc() / 2


def gelu_tanh(u: Series) -> Series:
    v = (u + u * u * u * CUBIC) * (2 / arb.pi()).sqrt()
    return u * sigmoid(2 * v)


def _above(u: Series) -> bool:
    """Whether `u > 0`; at exactly 0 it is not."""
    if u[0] > 0:
        return True
    if u[0] <= 0:
        return False
    raise Undecided(f"a kink lies in {_text(u)}")


def _text(u: Series) -> str:
    return u[0].str(10) if isinstance(u[0], arb) else str(u[0])


FUNCTIONS: dict[str, Callable[[Series], Series]] = {
    h.__name__: h
    for h in (exp, log, reciprocal, negate, square, identity, tanh, sigmoid, relu, leaky_relu, elu, softplus, silu,
              gelu, gelu_tanh)
}  # fmt: skip

# ---------------------------------------------------------------- operations, in slide order


def scale(x: Vector, alpha: Series) -> Vector:
    return [x_i * alpha for x_i in x]


def add(x: Vector, y: Vector) -> Vector:
    return [x_i + y_i for x_i, y_i in zip(x, y, strict=True)]


def hadamard(x: Vector, y: Vector) -> Vector:
    return [x_i * y_i for x_i, y_i in zip(x, y, strict=True)]


def elementwise(h: str, x: Vector) -> Vector:
    return [FUNCTIONS[h](x_i) for x_i in x]


def sum_reduction(x: Vector) -> Series:
    return sum(x)


def matvec(W: Matrix, x: Vector) -> Vector:
    return [dot(row, x) for row in W]


def subtract(x: Vector, y: Vector) -> Vector:
    return [x_i - y_i for x_i, y_i in zip(x, y, strict=True)]


def dot(x: Vector, y: Vector) -> Series:
    return sum(hadamard(x, y))


def squared_error(x: Vector, y: Vector) -> Series:
    return sum(square(u) for u in subtract(x, y))


def linear_regression(w: Vector, x: Vector, y: Series) -> Series:
    return square(dot(w, x) - y)


def affine(W: Matrix, x: Vector, b: Vector) -> Vector:
    return add(matvec(W, x), b)


def activation(h: str, W: Matrix, x: Vector, b: Vector) -> Vector:
    return elementwise(h, affine(W, x, b))


def softmax(x: Vector) -> Vector:
    f = [exp(z) for z in _shifted(x)]
    g = sum(f)
    return scale(f, reciprocal(g))


def softmax_cross_entropy(x: Vector, y: Vector) -> Series:
    z = _shifted(x)
    log_sum = log(sum(exp(z_j) for z_j in z))
    # -sum(y ⊙ (z - log_sum)), distributed: for a y that sums to exactly 0, no ball is left around log_sum
    return sum(y) * log_sum - sum(_times(y_j, z_j) for y_j, z_j in zip(y, z, strict=True))


def _shifted(x: Vector) -> Vector:
    """`x - c` with the constant `c` near `max(x)`."""
    if not x:
        raise ValueError("softmax of nothing")
    largest = max(x_j[0] for x_j in x)
    if largest == arb.neg_inf():
        raise ValueError("softmax needs a logit that is not masked")
    c = type(x[0])([largest])
    return [x_j - c for x_j in x]


def _times(y: Series, z: Series) -> Series:
    """`y z`, where 0 times the `-inf` of a mask is 0."""
    if z[0] != arb.neg_inf():
        return y * z
    first, second = (c * z[0] if c != 0 else arb(0) for c in (y[0], y[1]))
    return arb_series([first, second + y[0] * z[1]])


def logistic_regression(W: Matrix, x: Vector, b: Vector, y: Vector) -> Series:
    return softmax_cross_entropy(affine(W, x, b), y)


def two_layer_network(g: str, W1: Matrix, b1: Vector, W2: Matrix, b2: Vector, x: Vector, y: Vector) -> Series:
    return softmax_cross_entropy(affine(W2, activation(g, W1, x, b1), b2), y)


def backpropagation(gs: Sequence[str], *arguments: Any) -> Series:
    *parameters, h, y = arguments
    for g, W, b in zip(gs, parameters[0::2], parameters[1::2], strict=True):
        h = activation(g, W, h, b)
    return softmax_cross_entropy(h, y)


Definition = tuple[str, Callable[..., Any]]  # NumPy gufunc signature, forward

DEFINITIONS: dict[str, Definition] = {
    "scale": ("(n),()->(n)", scale),
    "add": ("(n),(n)->(n)", add),
    "hadamard": ("(n),(n)->(n)", hadamard),
    **{h: ("(n)->(n)", partial(elementwise, h)) for h in FUNCTIONS},
    "sum_reduction": ("(n)->()", sum_reduction),
    "matvec": ("(d,n),(n)->(d)", matvec),
    "subtract": ("(n),(n)->(n)", subtract),
    "dot": ("(n),(n)->()", dot),
    "squared_error": ("(d),(d)->()", squared_error),
    "linear_regression": ("(n),(n),()->()", linear_regression),
    "affine": ("(d,n),(n),(d)->(d)", affine),
    **{f"activation[{h}]": ("(d,n),(n),(d)->(d)", partial(activation, h)) for h in FUNCTIONS},
    "softmax": ("(n)->(n)", softmax),
    "softmax_cross_entropy": ("(n),(n)->()", softmax_cross_entropy),
    "logistic_regression": ("(d,n),(n),(d),(d)->()", logistic_regression),
    **{
        f"two_layer_network[{g}]": ("(k,n),(k),(d,k),(d),(n),(d)->()", partial(two_layer_network, g)) for g in FUNCTIONS
    },
}


def definition(name: str) -> Definition:
    """Signature and forward of an operation; `backpropagation[g1,…,gK]` has one for every list of activations.

    >>> definition("backpropagation[tanh,identity]")[0]
    '(m1,m0),(m1),(m2,m1),(m2),(m0),(m2)->()'
    """
    if name in DEFINITIONS:
        return DEFINITIONS[name]
    bound = re.fullmatch(r"backpropagation\[(\w+(?:,\w+)*)\]", name)
    gs = bound[1].split(",") if bound else []
    if not gs or not set(gs) <= FUNCTIONS.keys():
        raise ValueError(f"unknown operation {name!r}; the certified oracle knows {', '.join(DEFINITIONS)} and "
                         "backpropagation[g1,...,gK] of its scalar functions")  # fmt: skip
    layers = [f"(m{i},m{i - 1}),(m{i})" for i in range(1, len(gs) + 1)]
    return f"{','.join(layers)},(m0),(m{len(gs)})->()", partial(backpropagation, gs)
