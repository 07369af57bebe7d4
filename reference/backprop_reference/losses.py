"""Losses, and the softmax: squared_error, linear_regression, softmax, softmax_cross_entropy, logistic_regression.

In formulas `s` is the softmax and `ŷ = s(x)`. Where one probability is close to 1, the textbook's formulas lose
all their digits in `1 − ŷ_k`, in `log ŷ_k` and in the rounding of `x − max x`; `_exponentials` is what avoids it.
"""

import numpy as np
from numpy.typing import ArrayLike

from .arguments import Array, Signature, rows
from .errorfree import centred, difference, sum_without
from .jacobians import DiagonalMinusOuter, Row
from .operation import Operation

# ── Squared error: u = Σ (x − y)² ───────────────────────────────────────────────────────────────────────────────────

SQUARED_ERROR = Signature("squared_error", "x y", "(d),(d)->()")


def squared_error(x: ArrayLike, y: ArrayLike) -> Array:
    """The squared error, `u = Σ_i (x_i − y_i)²`.

    Shapes: `x (d)`, `y (d)`, `u ()`. Slide: linear regression, for any number of outputs.

    >>> float(squared_error([1.0, 2.0], [3.0, 5.0]))
    13.0
    """
    x, y = SQUARED_ERROR.batched(x, y)
    return np.square(x - y).sum(-1)


def squared_error_jacobian(x: ArrayLike, y: ArrayLike) -> tuple[Row, Row]:
    """`∂u/∂x = 2(x − y)ᵀ` and `∂u/∂y = −2(x − y)ᵀ`, both `1×d`.

    >>> J_x, _ = squared_error_jacobian([1.0, 2.0], [3.0, 5.0])
    >>> J_x.todense()
    array([-4., -6.])
    """
    x, y = SQUARED_ERROR.single(x, y)
    return Row(2 * (x - y)), Row(-2 * (x - y))


def squared_error_vjp(delta: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """`dx = 2δ(x − y)ᵀ` and `dy = −dx`; shapes `delta ()`, `dx (d)`, `dy (d)`.

    >>> squared_error_vjp(1.0, [1.0, 2.0], [3.0, 5.0])
    (array([-4., -6.]), array([4., 6.]))
    """
    delta, x, y = SQUARED_ERROR.pulled_back(delta, x, y)
    dx = 2 * delta[..., None] * (x - y)
    return dx, -dx


# ── Linear regression: L = (wᵀx − y)² ───────────────────────────────────────────────────────────────────────────────

LINEAR_REGRESSION = Signature("linear_regression", "w x y", "(n),(n),()->()")


def linear_regression(w: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
    """The squared error of a linear prediction, `L = (ŷ − y)²` with `ŷ = wᵀx`.

    Shapes: `w (n)`, `x (n)`, `y ()`, `L ()`. Slide: example 1, linear regression.

    >>> float(linear_regression([1.0, 2.0], [3.0, 4.0], 10.0))
    1.0
    """
    w, x, y = LINEAR_REGRESSION.batched(w, x, y)
    return np.square((w * x).sum(-1) - y)


def linear_regression_jacobian(w: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Row, Row, Row]:
    """`∂L/∂w = 2(ŷ − y) xᵀ`, `∂L/∂x = 2(ŷ − y) wᵀ`, both `1×n`, and `∂L/∂y = −2(ŷ − y)`, `1×1`.

    >>> J_w, _, J_y = linear_regression_jacobian([1.0, 2.0], [3.0, 4.0], 10.0)
    >>> J_w.todense(), float(J_y.todense())
    (array([6., 8.]), -2.0)
    """
    w, x, y = LINEAR_REGRESSION.single(w, x, y)
    slope = 2 * ((w * x).sum() - y)
    return Row(slope * x), Row(slope * w), Row(-slope)


def linear_regression_vjp(delta: ArrayLike, w: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array, Array]:
    """With `δ ← 2δ(ŷ − y)`: `dw = δ xᵀ`, `dx = δ wᵀ`, `dy = −δ`; shapes `delta ()`, `dw (n)`, `dx (n)`, `dy ()`.

    >>> dw, dx, dy = linear_regression_vjp(1.0, [1.0, 2.0], [3.0, 4.0], 10.0)
    >>> dw, dx, float(dy)
    (array([6., 8.]), array([2., 4.]), -2.0)
    """
    delta, w, x, y = LINEAR_REGRESSION.pulled_back(delta, w, x, y)
    slope = 2 * delta * ((w * x).sum(-1) - y)
    return rows(slope[..., None] * x).sum(0), slope[..., None] * w, -slope


# ── Softmax: u = s(x), s_i = exp(x_i) / Σ_j exp(x_j) ────────────────────────────────────────────────────────────────

SOFTMAX = Signature("softmax", "x", "(n)->(n)", positive="n")


def _exponentials(x: Array) -> tuple[Array, Array, Array, Array]:
    """`f = exp(x − x_k)` for the largest entry `x_k`; `others = Σ_{i≠k} f_i`; `log s(x)`; and the index `k`.

    `f_k` is 1, so `sum(f)` is `1 + others`: `1 − s_k` is `others / (1 + others)`, `−log s_k` is `log1p(others)`.
    """
    k = x.argmax(-1)[..., None]
    exponent, lost = difference(x, np.take_along_axis(x, k, -1))
    f = np.exp(exponent)
    f += f * lost  # exp magnifies the rounding of x − x_k by the size of the exponent
    others = sum_without(f, k)
    return f, others, exponent - np.log1p(others), k


def softmax(x: ArrayLike) -> Array:
    """The softmax, `u_i = exp(x_i) / Σ_j exp(x_j)`.

    Shapes: `x (n)`, `u (n)`, `n ≥ 1`. A logit of −inf is a mask: probability 0; all masked or +inf: NaN.
    Slide: new operations, softmax.

    >>> softmax([0.0, 0.0, -np.inf])
    array([0.5, 0.5, 0. ])
    """
    (x,) = SOFTMAX.batched(x)
    f, others, _, _ = _exponentials(x)
    return f / (1 + others)


def softmax_jacobian(x: ArrayLike) -> tuple[DiagonalMinusOuter]:
    """`∂u/∂x = diag(s) − s sᵀ`, `n×n`: `s_i (1 − s_i)` on the diagonal, `−s_i s_j` off it.

    >>> (J_x,) = softmax_jacobian([0.0, 0.0])
    >>> J_x.todense()
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    (x,) = SOFTMAX.single(x)
    f, others, _, k = _exponentials(x)
    s = f / (1 + others)
    rest = 1 - s
    rest[k] = others / (1 + others)
    return (DiagonalMinusOuter(s, rest),)


def softmax_vjp(delta: ArrayLike, x: ArrayLike) -> tuple[Array]:
    """`dx_i = s_i (δ_i − Σ_j s_j δ_j)`; shapes `delta (n)`, `dx (n)`.

    >>> softmax_vjp([1.0, 0.0], [0.0, 0.0])
    (array([ 0.25, -0.25]),)
    """
    delta, x = SOFTMAX.pulled_back(delta, x)
    f, others, _, _ = _exponentials(x)
    s = f / (1 + others)
    delta = centred(delta, s)
    return (s * (delta - (s * delta).sum(-1, keepdims=True)),)


# ── Softmax with cross-entropy: u = L_SCE(x, y) = −sum(y ⊙ log s(x)) ────────────────────────────────────────────────

SOFTMAX_CROSS_ENTROPY = Signature("softmax_cross_entropy", "x y", "(n),(n)->()", positive="n")


def _minus_log_softmax(y: Array, log_s: Array) -> Array:
    """`−log ŷ`, with 0 where `y = ŷ = 0`, since `0 · log 0 = 0`."""
    return np.where((y == 0) & (log_s == -np.inf), 0, -log_s)


def _cross_entropy_slope(y: Array, f: Array, others: Array, k: Array) -> Array:
    """`Σ_j y_j ŷ_i − y_i`, and for the largest probability `ŷ_k Σ_{j≠k} y_j − y_k (1 − ŷ_k)`, where that cancels."""
    y_k, y_others = np.take_along_axis(y, k, -1), sum_without(y, k)
    s = f / (1 + others)
    slope = (y_k + y_others) * s - y
    np.put_along_axis(slope, k, (y_others - y_k * others) / (1 + others), -1)
    return slope


def softmax_cross_entropy(x: ArrayLike, y: ArrayLike) -> Array:
    """The cross-entropy of the softmax, `u = L_SCE(x, y) = −Σ_i y_i log ŷ_i` with `ŷ = s(x)`, in nats.

    Shapes: `x (n)`, `y (n)`, `u ()`, `n ≥ 1`; `y` is any real vector. `0 · log 0 = 0`: a masked logit (−inf) costs
    nothing where `y` is 0. Slide: new operations, softmax with cross-entropy.

    >>> float(softmax_cross_entropy([0.0, 0.0], [1.0, 0.0]))  # log 2
    0.6931471805599453
    """
    x, y = SOFTMAX_CROSS_ENTROPY.batched(x, y)
    _, _, log_s, _ = _exponentials(x)
    return (y * _minus_log_softmax(y, log_s)).sum(-1)


def softmax_cross_entropy_jacobian(x: ArrayLike, y: ArrayLike) -> tuple[Row, Row]:
    """`∂u/∂x_i = Σ_j y_j ŷ_i − y_i`, which is `(ŷ − y)ᵀ` if `sum(y) = 1`; `∂u/∂y = −log ŷ`; both `1×n`.

    >>> J_x, J_y = softmax_cross_entropy_jacobian([0.0, 0.0], [1.0, 0.0])
    >>> J_x.todense(), J_x.slide_shape
    (array([-0.5,  0.5]), (1, 2))
    """
    x, y = SOFTMAX_CROSS_ENTROPY.single(x, y)
    f, others, log_s, k = _exponentials(x)
    return Row(_cross_entropy_slope(y, f, others, k)), Row(-log_s)


def softmax_cross_entropy_vjp(delta: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """`dx_i = δ (Σ_j y_j ŷ_i − y_i)` and `dy = −δ log ŷ`; shapes `delta ()`, `dx (n)`, `dy (n)`.

    >>> dx, dy = softmax_cross_entropy_vjp(1.0, [50.0, 0.0], [1.0, 0.0])
    >>> dx  # ŷ − y without the cancellation in 1 − ŷ_1
    array([-1.92874985e-22,  1.92874985e-22])
    """
    delta, x, y = SOFTMAX_CROSS_ENTROPY.pulled_back(delta, x, y)
    f, others, log_s, k = _exponentials(x)
    return delta[..., None] * _cross_entropy_slope(y, f, others, k), delta[..., None] * -log_s


CROSS_ENTROPY = Operation(
    "softmax_cross_entropy",
    "13 softmax with cross-entropy",
    SOFTMAX_CROSS_ENTROPY.arguments,
    SOFTMAX_CROSS_ENTROPY.text,
    softmax_cross_entropy,
    softmax_cross_entropy_jacobian,
    softmax_cross_entropy_vjp,
)

# ── Logistic regression: L = L_SCE(W x + b, y) ──────────────────────────────────────────────────────────────────────

LOGISTIC_REGRESSION = Signature("logistic_regression", "W x b y", "(d,n),(n),(d),(d)->()", positive="d")


def logistic_regression(W: ArrayLike, x: ArrayLike, b: ArrayLike, y: ArrayLike) -> Array:
    """Softmax regression, `L = L_SCE(W x + b, y)`.

    Shapes: `W (d,n)`, `x (n)`, `b (d)`, `y (d)`, `L ()`, `d ≥ 1`. Slide: example 2, logistic regression.

    >>> float(logistic_regression([[1.0], [1.0]], [3.0], [0.0, 0.0], [1.0, 0.0]))
    0.6931471805599453
    """
    W, x, b, y = LOGISTIC_REGRESSION.batched(W, x, b, y)
    return softmax_cross_entropy(x @ W.T + b, y)


def logistic_regression_jacobian(W: ArrayLike, x: ArrayLike, b: ArrayLike, y: ArrayLike) -> tuple[Row, Row, Row, Row]:
    """With `δ = ∂L_SCE/∂u` (`(ŷ − y)ᵀ` if `sum(y) = 1`): `∂L/∂W`, `1×d×n` with entry `δ_i x_k`; `∂L/∂x = δ W`, `1×n`;
    `∂L/∂b = δ`, `1×d`; `∂L/∂y = −log ŷ`, `1×d`.

    >>> J_W, J_x, J_b, J_y = logistic_regression_jacobian([[1.0], [1.0]], [3.0], [0.0, 0.0], [1.0, 0.0])
    >>> J_W.slide_shape, J_b.todense()
    ((1, 2, 1), array([-0.5,  0.5]))
    """
    W, x, b, y = LOGISTIC_REGRESSION.single(W, x, b, y)
    J_u, J_y = softmax_cross_entropy_jacobian(W @ x + b, y)
    delta = J_u.v
    return Row(np.outer(delta, x)), Row(delta @ W), J_u, J_y


def logistic_regression_vjp(
    delta: ArrayLike, W: ArrayLike, x: ArrayLike, b: ArrayLike, y: ArrayLike
) -> tuple[Array, Array, Array, Array]:
    """With `δ ← δ ∂L_SCE/∂u`: `dW = δᵀ xᵀ`, `dx = δ W`, `db = δ`, and `dy = −δ log ŷ`; shapes as of the arguments.

    >>> dW, dx, db, dy = logistic_regression_vjp(1.0, [[1.0], [1.0]], [3.0], [0.0, 0.0], [1.0, 0.0])
    >>> dx, db
    (array([0.]), array([-0.5,  0.5]))
    """
    delta, W, x, b, y = LOGISTIC_REGRESSION.pulled_back(delta, W, x, b, y)
    delta, dy = softmax_cross_entropy_vjp(delta, x @ W.T + b, y)
    return rows(delta).T @ rows(x), delta @ W, rows(delta).sum(0), dy
