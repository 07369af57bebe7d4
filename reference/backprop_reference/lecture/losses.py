"""Losses, and the softmax: squared_error, linear_regression, softmax, softmax_cross_entropy, logistic_regression.

In formulas `s` is the softmax and `ŷ = s(x)`; `numerics/softmax.py` computes what is of these two.
"""

from __future__ import annotations  # help(affine) shows ArrayLike, not what NumPy takes for one

from math import fsum

import numpy as np
from numpy.typing import ArrayLike

from ..jacobians import DiagonalMinusOuter, Row
from ..numerics.products import preactivation, product, sum_of_outer_products, sum_of_rows
from ..numerics.range import finite, made_again, quiet, sum_of
from ..numerics.softmax import cross_entropy, cross_entropy_vjp, parts, softmax_of, softmax_pulled_back
from ..operation import Operation
from ..signature import Array, Signature

# ── Squared error: u = Σ (x − y)² ───────────────────────────────────────────────────────────────────────────────────

SQUARED_ERROR = Signature("squared_error", "x y", "(d),(d)->()")


@quiet
def squared_error(x: ArrayLike, y: ArrayLike) -> Array:
    """The squared error, `u = Σ_i (x_i − y_i)²`.

    Shapes: `x (d)`, `y (d)`, `u ()`. Slide: linear regression, for any number of outputs.

    >>> float(squared_error([1.0, 2.0], [3.0, 5.0]))
    13.0
    """
    x, y = SQUARED_ERROR.batched(x, y)
    return sum_of(np.square(x - y))


@quiet
def squared_error_jacobian(x: ArrayLike, y: ArrayLike) -> tuple[Row, Row]:
    """`∂u/∂x = 2(x − y)ᵀ` and `∂u/∂y = −2(x − y)ᵀ`, both `1×d`.

    >>> J_x, _ = squared_error_jacobian([1.0, 2.0], [3.0, 5.0])
    >>> J_x.todense()
    array([-4., -6.])
    """
    x, y = SQUARED_ERROR.single(x, y)
    return Row(2 * (x - y)), Row(-2 * (x - y))


@quiet
def squared_error_vjp(delta: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """`dx = 2δ(x − y)ᵀ` and `dy = −dx`; shapes `delta ()`, `dx (d)`, `dy (d)`.

    >>> squared_error_vjp(1.0, [1.0, 2.0], [3.0, 5.0])
    (array([-4., -6.]), array([4., 6.]))
    """
    delta, x, y = SQUARED_ERROR.pulled_back(delta, x, y)
    dx = x - y
    dx *= delta[..., None]
    dx *= 2
    if not finite(dx):  # the difference of the halves is
        np.copyto(dx, (x / 2 - y / 2) * delta[..., None] * 4, where=~np.isfinite(dx))
    return dx, -dx


# ── Linear regression: L = (wᵀx − y)² ───────────────────────────────────────────────────────────────────────────────

LINEAR_REGRESSION = Signature("linear_regression", "w x y", "(n),(n),()->()", parameters="w")


@quiet
def linear_regression(w: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
    """The squared error of a linear prediction, `L = (ŷ − y)²` with `ŷ = wᵀx`; `ŷ − y` is one sum, with its range.

    Shapes: `w (n)`, `x (n)`, `y ()`, `L ()`. Slide: example 1, linear regression.

    >>> float(linear_regression([1.0, 2.0], [3.0, 4.0], 10.0))
    1.0
    """
    w, x, y = LINEAR_REGRESSION.batched(w, x, y)
    return np.square(_residual(w, x, y))


def _residual(w: Array, x: Array, y: Array) -> Array:
    """`ŷ − y = wᵀx − y`, one sum."""
    u: Array = np.add.reduce(w * x, -1) - y
    if finite(u):
        return u
    return made_again(u, lambda rows, c: np.add.reduce(w * c * (x[rows] * c), -1) - y[rows] * c * c)


@quiet
def linear_regression_jacobian(w: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Row, Row, Row]:
    """`∂L/∂w = 2(ŷ − y) xᵀ`, `∂L/∂x = 2(ŷ − y) wᵀ`, both `1×n`, and `∂L/∂y = −2(ŷ − y)`, `1×1`.

    >>> J_w, _, J_y = linear_regression_jacobian([1.0, 2.0], [3.0, 4.0], 10.0)
    >>> J_w.todense(), float(J_y.todense())
    (array([6., 8.]), -2.0)
    """
    w, x, y = LINEAR_REGRESSION.single(w, x, y)
    slope = 2 * _residual(w, x, y)
    return Row(slope * x), Row(slope * w), Row(-slope)


@quiet
def linear_regression_vjp(delta: ArrayLike, w: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array, Array]:
    """With `δ ← 2δ(ŷ − y)`: `dw = δ xᵀ`, `dx = δ wᵀ`, `dy = −δ`; shapes `delta ()`, `dw (n)`, `dx (n)`, `dy ()`.

    >>> dw, dx, dy = linear_regression_vjp(1.0, [1.0, 2.0], [3.0, 4.0], 10.0)
    >>> dw, dx, float(dy)
    (array([6., 8.]), array([2., 4.]), -2.0)
    """
    delta, w, x, y = LINEAR_REGRESSION.pulled_back(delta, w, x, y)
    slope = delta * (2 * _residual(w, x, y))
    return sum_of_rows(slope[..., None] * x), slope[..., None] * w, -slope


# ── Softmax: u = s(x), s_i = exp(x_i) / Σ_j exp(x_j) ────────────────────────────────────────────────────────────────

SOFTMAX = Signature("softmax", "x", "(n)->(n)", positive="n")


def softmax(x: ArrayLike) -> Array:
    """The softmax, `u_i = exp(x_i) / Σ_j exp(x_j)`.

    Shapes: `x (n)`, `u (n)`, `n ≥ 1`. A logit of −inf is a mask: probability 0; all masked or +inf: NaN.
    Slide: new operations, softmax.

    >>> softmax([0.0, 0.0, -np.inf])
    array([0.5, 0.5, 0. ])
    """
    (x,) = SOFTMAX.batched(x)
    return softmax_of(x)


def softmax_jacobian(x: ArrayLike) -> tuple[DiagonalMinusOuter]:
    """`∂u/∂x = diag(s) − s sᵀ`, `n×n`: `s_i (1 − s_i)` on the diagonal, `−s_i s_j` off it.

    >>> (J_x,) = softmax_jacobian([0.0, 0.0])
    >>> J_x.todense()
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    (x,) = SOFTMAX.single(x)
    f = np.empty_like(x)
    with np.errstate(under="ignore", invalid="ignore"):  # 0 and subnormals are right answers, and NaN of infinities
        _, k, _, _ = parts(x, f)
        others, g = (x.dtype.type(fsum(terms)) for terms in (np.delete(f, k), f))  # its error counts twice in s_i s_j
        s = f / g
        rest = 1 - s
        rest[k] = others / g
    return (DiagonalMinusOuter(s, rest),)


def softmax_vjp(delta: ArrayLike, x: ArrayLike) -> tuple[Array]:
    """`dx_i = s_i (δ_i − Σ_j s_j δ_j)`; shapes `delta (n)`, `dx (n)`.

    >>> softmax_vjp([1.0, 0.0], [0.0, 0.0])
    (array([ 0.25, -0.25]),)
    """
    delta, x = SOFTMAX.pulled_back(delta, x)
    return (softmax_pulled_back(delta, x),)


# ── Softmax with cross-entropy: u = L_SCE(x, y) = −sum(y ⊙ log s(x)) ────────────────────────────────────────────────

SOFTMAX_CROSS_ENTROPY = Signature("softmax_cross_entropy", "x y", "(n),(n)->()", positive="n")


def softmax_cross_entropy(x: ArrayLike, y: ArrayLike) -> Array:
    """The cross-entropy of the softmax, `u = L_SCE(x, y) = −Σ_i y_i log ŷ_i` with `ŷ = s(x)`, in nats.

    Shapes: `x (n)`, `y (n)`, `u ()`, `n ≥ 1`; `y` is any real vector. `0 · log 0 = 0`: a masked logit (−inf) costs
    nothing where `y` is 0. Slide: new operations, softmax with cross-entropy.

    >>> float(softmax_cross_entropy([0.0, 0.0], [1.0, 0.0]))  # log 2
    0.6931471805599453
    """
    x, y = SOFTMAX_CROSS_ENTROPY.batched(x, y)
    return cross_entropy(x, y)


def softmax_cross_entropy_jacobian(x: ArrayLike, y: ArrayLike) -> tuple[Row, Row]:
    """`∂u/∂x_i = Σ_j y_j ŷ_i − y_i`, which is `(ŷ − y)ᵀ` if `sum(y) = 1`; `∂u/∂y = −log ŷ`; both `1×n`.

    >>> J_x, J_y = softmax_cross_entropy_jacobian([0.0, 0.0], [1.0, 0.0])
    >>> J_x.todense(), J_x.slide_shape
    (array([-0.5,  0.5]), (1, 2))
    """
    x, y = SOFTMAX_CROSS_ENTROPY.single(x, y)
    J_x, J_y = cross_entropy_vjp(x.dtype.type(1), x, y)
    return Row(J_x), Row(J_y)


def softmax_cross_entropy_vjp(delta: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """`dx_i = δ (Σ_j y_j ŷ_i − y_i)` and `dy = −δ log ŷ`; shapes `delta ()`, `dx (n)`, `dy (n)`.

    >>> dx, dy = softmax_cross_entropy_vjp(1.0, [50.0, 0.0], [1.0, 0.0])
    >>> dx  # ŷ − y without the cancellation in 1 − ŷ_1
    array([-1.92874985e-22,  1.92874985e-22])
    """
    delta, x, y = SOFTMAX_CROSS_ENTROPY.pulled_back(delta, x, y)
    return cross_entropy_vjp(delta, x, y)


CROSS_ENTROPY = Operation(
    "softmax_cross_entropy",
    "13 softmax with cross-entropy",
    SOFTMAX_CROSS_ENTROPY.arguments,
    SOFTMAX_CROSS_ENTROPY.text,
    softmax_cross_entropy,
    softmax_cross_entropy_jacobian,
    softmax_cross_entropy_vjp,
    positive=SOFTMAX_CROSS_ENTROPY.positive,
    domain={"y": "target"},
    masks=("x",),
    promise="cross-entropy",
)

# ── Logistic regression: L = L_SCE(W x + b, y) ──────────────────────────────────────────────────────────────────────

LOGISTIC_REGRESSION = Signature(
    "logistic_regression", "W x b y", "(d,n),(n),(d),(d)->()", parameters="W b", positive="d"
)


@quiet
def logistic_regression(W: ArrayLike, x: ArrayLike, b: ArrayLike, y: ArrayLike) -> Array:
    """Softmax regression, `L = L_SCE(W x + b, y)`.

    Shapes: `W (d,n)`, `x (n)`, `b (d)`, `y (d)`, `L ()`, `d ≥ 1`. Slide: example 2, logistic regression.

    >>> float(logistic_regression([[1.0], [1.0]], [3.0], [0.0, 0.0], [1.0, 0.0]))
    0.6931471805599453
    """
    W, x, b, y = LOGISTIC_REGRESSION.batched(W, x, b, y)
    return cross_entropy(preactivation(W, x, b), y)


@quiet
def logistic_regression_jacobian(W: ArrayLike, x: ArrayLike, b: ArrayLike, y: ArrayLike) -> tuple[Row, Row, Row, Row]:
    """With `δ = ∂L_SCE/∂u` (`(ŷ − y)ᵀ` if `sum(y) = 1`): `∂L/∂W`, `1×d×n` with entry `δ_i x_k`; `∂L/∂x = δ W`, `1×n`;
    `∂L/∂b = δ`, `1×d`; `∂L/∂y = −log ŷ`, `1×d`.

    >>> J_W, J_x, J_b, J_y = logistic_regression_jacobian([[1.0], [1.0]], [3.0], [0.0, 0.0], [1.0, 0.0])
    >>> J_W.slide_shape, J_b.todense()
    ((1, 2, 1), array([-0.5,  0.5]))
    """
    W, x, b, y = LOGISTIC_REGRESSION.single(W, x, b, y)
    J_u, J_y = softmax_cross_entropy_jacobian(preactivation(W, x, b), y)
    delta = J_u.v
    return Row(np.outer(delta, x)), Row(product(delta, W)), J_u, J_y


@quiet
def logistic_regression_vjp(
    delta: ArrayLike, W: ArrayLike, x: ArrayLike, b: ArrayLike, y: ArrayLike
) -> tuple[Array, Array, Array, Array]:
    """With `δ ← δ ∂L_SCE/∂u`: `dW = δᵀ xᵀ`, `dx = δ W`, `db = δ`, and `dy = −δ log ŷ`; shapes as of the arguments.

    >>> dW, dx, db, dy = logistic_regression_vjp(1.0, [[1.0], [1.0]], [3.0], [0.0, 0.0], [1.0, 0.0])
    >>> dx, db
    (array([0.]), array([-0.5,  0.5]))
    """
    delta, W, x, b, y = LOGISTIC_REGRESSION.pulled_back(delta, W, x, b, y)
    delta, dy = cross_entropy_vjp(delta, preactivation(W, x, b), y)
    return sum_of_outer_products(delta, x), product(delta, W), sum_of_rows(delta), dy
