"""Right implementations by other algebra: textbook formulas, other orders of summation, explicit Jacobians."""

import math
from typing import Any

import numpy as np

from backprop_reference.lecture.functions import SCALAR_FUNCTIONS
from backprop_reference.signature import rows

from ...hints.textbook import bent, log_softmax, network, outer, sigmoid, softmax, total
from .makers import (
    F32,
    Array,
    Function,
    changed,
    computed_in,
    dense,
    forward,
    vjp,
)
from .more_neighbours import MORE
from .table import Neighbour

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _slope(dh: Function) -> Function:
    return lambda delta, x: (delta * dh(x),)


def _tanh_by_expm1(x: Array) -> Array:
    e = np.expm1(-2 * np.abs(x))
    return np.copysign(e / (2 + e), x)


def _sigmoid_by_sign(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _normal(x: Array) -> Array:
    """The normal distribution function."""
    return (_erfc(-x.astype(np.float64) * 0.5**0.5) / 2).astype(x.dtype)


def _density(x: Array) -> Array:
    return np.exp(-x * x / 2) / (2 * math.pi) ** 0.5


def _inner(x: Array) -> Array:
    return (2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)


def _gelu_tanh_slope(x: Array) -> Array:
    t = np.tanh(_inner(x))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (2 / math.pi) ** 0.5 * (1 + 3 * 0.044715 * x * x)


def _by_jacobian(name: str) -> Function:
    """`δ` times the dense Jacobians, example by example."""

    def right(delta: Array, *args: Array) -> tuple[Array, ...]:
        return tuple(np.tensordot(delta, J, axes=delta.ndim) for J in dense(name)(*args))

    return right


def _one_after_the_other(x: Array) -> Any:
    """A running sum: the last of the partial sums."""
    return np.cumsum(x, -1)[..., -1] if x.shape[-1] else x.sum(-1)


def _even_and_odd(x: Array) -> Any:
    return x[..., ::2].sum(-1) + x[..., 1::2].sum(-1)


def _exactly(x: Array) -> Any:
    return np.array([math.fsum(row) for row in rows(x)], x.dtype).reshape(x.shape[:-1])


def _online_softmax(x: Array) -> Array:
    """One pass over the entries: the sum so far is scaled whenever a larger entry comes."""
    m, g = np.full(x.shape[:-1], -np.inf, x.dtype), np.zeros(x.shape[:-1], x.dtype)
    for i in range(x.shape[-1]):
        larger = np.maximum(m, x[..., i])
        g = np.where(m == -np.inf, 0, g * np.exp(m - larger)) + np.exp(x[..., i] - larger)
        m = larger
    return np.exp(x - m[..., None]) / g[..., None]


def _pairs(delta: Array, x: Array) -> tuple[Array]:
    """`dx_i = s_i Σ_j s_j (δ_i − δ_j)`."""
    s = softmax(x)
    return ((s[..., :, None] * s[..., None, :] * (delta[..., :, None] - delta[..., None, :])).sum(-1),)


def _cross_entropy_vjp(delta: Array, x: Array, y: Array) -> tuple[Array, Array]:
    log = log_softmax(x)
    return delta[..., None] * (y.sum(-1, keepdims=True) * np.exp(log) - y), delta[..., None] * -log


def _cross_entropy_by_jacobian(delta: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """`−δ · 1ᵀ diag(y) (I − 1 ŷᵀ)`, the slide's product with the logarithm and the softmax taken together."""
    of_log = np.eye(x.shape[-1], dtype=x.dtype) - softmax(x)[..., None, :]
    return -delta[..., None] * np.einsum("...i,...ij->...j", y, of_log), -delta[..., None] * log_softmax(x)


def _logistic_vjp(delta: Array, W: Array, x: Array, b: Array, y: Array) -> tuple[Array, ...]:
    d, dy = _cross_entropy_vjp(delta, np.einsum("dn,...n->...d", W, x) + b, y)
    return np.einsum("bd,bn->dn", rows(d), rows(x)), np.einsum("...d,dn->...n", d, W), total(d), dy


def _augmented(W: Array, x: Array, b: Array) -> Array:
    """`[W b] [x 1]ᵀ`."""
    return np.concatenate([x, np.ones_like(x[..., :1]) if x.size else np.ones((*x.shape[:-1], 1), x.dtype)], -1) @ (
        np.concatenate([W, b[:, None]], -1).T
    )


def _layer_from_output(h: Function, slope: Function) -> Function:
    """A layer whose h′ is a function of its output, as the textbooks have it."""

    def right(delta: Array, W: Array, x: Array, b: Array) -> tuple[Array, ...]:
        d = delta * slope(h(x @ W.T + b))
        return outer(d, x), d @ W, total(d)

    return right


_tanh_from_output = bent("tanh", lambda z: 1 - np.tanh(z) ** 2)
_sigmoid_from_output = bent("sigmoid", lambda z: sigmoid(z) * (1 - sigmoid(z)))

_VECTORS = [
    Neighbour("scale", "scale-einsum", "einsum", lambda x, a: np.einsum("...i,...->...i", x, a),
              vjp=lambda d, x, a: (np.einsum("...i,...->...i", d, a), np.einsum("...i,...i->...", d, x))),
    Neighbour("scale", "scale-dense", "dense Jacobians", jacobian=dense("scale")),
    Neighbour("add", "add-twice", "x − (−y)", lambda x, y: x - (-y), vjp=lambda d, x, y: (+d, 1 * d)),
    Neighbour("hadamard", "hadamard-float64", "computed in float64", computed_in(forward("hadamard"), np.float64),
              vjp=computed_in(vjp("hadamard"), np.float64), dtypes=F32),
    Neighbour("hadamard", "hadamard-by-jacobian", "δ times the dense Jacobian", vjp=_by_jacobian("hadamard"),
              unpromised=("batch",)),
    Neighbour("sum_reduction", "sum-running", "one after the other", _one_after_the_other),
    Neighbour("sum_reduction", "sum-exact", "exactly, rounded once", _exactly),
    Neighbour("sum_reduction", "sum-by-ones", "1ᵀ x", lambda x: x @ np.ones(x.shape[-1], x.dtype),
              vjp=lambda d, x: (np.repeat(d[..., None], x.shape[-1], -1),)),
    Neighbour("subtract", "subtract-sum", "x + (−y)", lambda x, y: x + -y, vjp=lambda d, x, y: (d * 1, d * -1)),
    Neighbour("dot", "dot-einsum", "einsum", lambda x, y: np.einsum("...i,...i->...", x, y),
              vjp=lambda d, x, y: (np.einsum("...,...i->...i", d, y), np.einsum("...,...i->...i", d, x))),
    Neighbour("dot", "dot-halves", "even and odd products apart", lambda x, y: _even_and_odd(x * y)),
    Neighbour("dot", "dot-matmul", "a row times a column", lambda x, y: (x[..., None, :] @ y[..., None])[..., 0, 0]),
    Neighbour("dot", "dot-blas", "BLAS, single examples only", lambda x, y: np.dot(x, y), unpromised=("batch",)),
]  # fmt: skip

_FUNCTIONS = [
    Neighbour("exp", "exp-of-the-output", "u′ = u", np.exp, vjp=lambda d, x: (np.exp(x) * d,)),
    Neighbour("log", "log-base-2", "log₂ x · log 2", lambda x: np.log2(x) * x.dtype.type(math.log(2)),
              vjp=lambda d, x: (d / x,)),
    Neighbour("reciprocal", "reciprocal-of-the-output", "−u²", lambda x: 1 / x, vjp=_slope(lambda x: -(1 / x) ** 2)),
    Neighbour("reciprocal", "reciprocal-quotient", "−δ / x²", vjp=lambda d, x: (-d / (x * x),)),
    Neighbour("negate", "negate-from-zero", "0 − x", lambda x: 0 - x, vjp=lambda d, x: (0 - d,)),
    Neighbour("square", "square-power", "x ** 2", lambda x: x**2, vjp=lambda d, x: (d * 2 * x,)),
    Neighbour("identity", "identity-sum", "x + 0", lambda x: x + 0, vjp=lambda d, x: (d * np.ones_like(x),)),
    Neighbour("tanh", "tanh-textbook", "1 − tanh²", np.tanh, vjp=_slope(lambda x: 1 - np.tanh(x) ** 2)),
    Neighbour("tanh", "tanh-factors", "(1 − u)(1 + u)", vjp=_slope(lambda x: (1 - np.tanh(x)) * (1 + np.tanh(x)))),
    Neighbour("tanh", "tanh-expm1", "by expm1", _tanh_by_expm1),
    Neighbour("sigmoid", "sigmoid-textbook", "1 / (1 + e⁻ˣ) and s (1 − s)", sigmoid,
              vjp=_slope(lambda x: sigmoid(x) * (1 - sigmoid(x)))),
    Neighbour("sigmoid", "sigmoid-by-sign", "each sign by its own formula", _sigmoid_by_sign,
              vjp=_slope(lambda x: _sigmoid_by_sign(x) * _sigmoid_by_sign(-x))),
    Neighbour("relu", "relu-where", "case by case", lambda x: np.where(x < 0, 0 * x, x + 0),
              vjp=lambda d, x: (np.where(x > 0, d, 0 * d),)),
    Neighbour("relu", "relu-product", "x · [x > 0]", lambda x: x * (x > 0), vjp=lambda d, x: (d * (x > 0),)),
    Neighbour("leaky_relu", "leaky-relu-where", "case by case", lambda x: np.where(x >= 0, x, x.dtype.type(0.01) * x),
              vjp=lambda d, x: (np.where(x >= 0, d, d * d.dtype.type(0.01)),)),
    Neighbour("elu", "elu-of-the-output", "u + 1 below 0", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
              vjp=_slope(lambda x: np.where(x > 0, 1, np.expm1(np.minimum(x, 0)) + 1))),
    Neighbour("softplus", "softplus-logaddexp", "logaddexp", lambda x: np.logaddexp(0, x).astype(x.dtype),
              vjp=_slope(_sigmoid_by_sign)),
    Neighbour("silu", "silu-quotient", "x / (1 + e⁻ˣ)", lambda x: x / (1 + np.exp(-x)),
              vjp=_slope(lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x))))),
    Neighbour("silu", "silu-of-the-output", "s + u (1 − s)", vjp=_slope(lambda x: sigmoid(x) * (1 + x * sigmoid(-x)))),
    Neighbour("gelu", "gelu-erfc", "x Φ(x), Φ by erfc", lambda x: x * _normal(x),
              vjp=_slope(lambda x: _normal(x) + x * _density(x))),
    Neighbour("gelu_tanh", "gelu-tanh-textbook", "product rule, 1 − tanh²",
              lambda x: 0.5 * x * (1 + np.tanh(_inner(x))), vjp=_slope(_gelu_tanh_slope)),
]  # fmt: skip

_MATRICES = [
    Neighbour("matvec", "matvec-einsum", "einsum", lambda W, x: np.einsum("dn,...n->...d", W, x),
              vjp=lambda d, W, x: (np.einsum("bd,bn->dn", rows(d), rows(x)), np.einsum("...d,dn->...n", d, W))),
    Neighbour("matvec", "matvec-fortran", "results in Fortran order",
              vjp=changed(vjp("matvec"), lambda r: np.array(r, order="F"))),
    Neighbour("matvec", "matvec-products", "sum of products", lambda W, x: (W * x[..., None, :]).sum(-1),
              vjp=lambda d, W, x: ((rows(d)[:, :, None] * rows(x)[:, None, :]).sum(0), (d[..., None] * W).sum(-2))),
    Neighbour("matvec", "matvec-single", "W x and outer, single examples only", lambda W, x: W @ x,
              vjp=lambda d, W, x: (np.outer(d, x), W.T @ d), unpromised=("batch",)),
    Neighbour("matvec", "matvec-dense", "δ times the dense d×d×n Jacobian", jacobian=dense("matvec"),
              vjp=_by_jacobian("matvec"), unpromised=("batch",)),
    Neighbour("affine", "affine-augmented", "[W b] times [x 1]", _augmented),
    Neighbour("affine", "affine-bias-first", "b + W x", lambda W, x, b: b + np.einsum("dn,...n->...d", W, x),
              vjp=lambda d, W, x, b: ((rows(x).T @ rows(d)).T, d @ W, np.einsum("bd->d", rows(d)))),
    Neighbour("affine", "affine-float64", "computed in float64", computed_in(forward("affine"), np.float64),
              vjp=computed_in(vjp("affine"), np.float64), dtypes=F32),
    Neighbour("activation[identity]", "activation-identity-affine", "the affine map", forward("affine"),
              dense("affine"), vjp("affine")),
    Neighbour("activation[tanh]", "activation-tanh-output", "1 − u²", lambda W, x, b: np.tanh(x @ W.T + b),
              vjp=_layer_from_output(np.tanh, lambda u: 1 - u * u)),
    Neighbour("activation[sigmoid]", "activation-sigmoid-output", "u (1 − u)",
              vjp=_layer_from_output(sigmoid, lambda u: u * (1 - u))),
    Neighbour("activation[relu]", "activation-relu-mask", "the mask of the output",
              vjp=_layer_from_output(lambda z: np.maximum(z, 0), lambda u: u > 0)),
    Neighbour("activation[gelu]", "activation-gelu-float64", "computed in float64",
              computed_in(forward("activation[gelu]"), np.float64),
              vjp=computed_in(vjp("activation[gelu]"), np.float64), dtypes=F32),
]  # fmt: skip

_LOSSES = [
    Neighbour("squared_error", "squared-error-dot", "rᵀr", lambda x, y: np.einsum("...i,...i->...", x - y, x - y),
              vjp=lambda d, x, y: (2 * (x - y) * d[..., None], 2 * (y - x) * d[..., None])),
    Neighbour("linear_regression", "linear-regression-matmul", "x w − y", lambda w, x, y: (x @ w - y) ** 2,
              vjp=lambda d, w, x, y: (lambda r: (total(r[..., None] * x), np.multiply.outer(r, w), -r))(
                  d * 2 * (x @ w - y))),
    Neighbour("softmax", "softmax-textbook", "exp(x − max) / sum", softmax,
              vjp=lambda d, x: (lambda s: (s * (d - (s * d).sum(-1, keepdims=True)),))(softmax(x))),
    Neighbour("softmax", "softmax-log-sum-exp", "the exponential of its logarithm", lambda x: np.exp(log_softmax(x))),
    Neighbour("softmax", "softmax-online", "one pass, scaled as it goes", _online_softmax),
    Neighbour("softmax", "softmax-pairs", "Σ s_i s_j (δ_i − δ_j)", vjp=_pairs),
    Neighbour("softmax", "softmax-dense", "δ (diag(s) − s sᵀ)",
              jacobian=lambda x: (lambda s: (np.diag(s) - np.outer(s, s),))(softmax(x)),
              vjp=lambda d, x: (lambda s: (s * d - s * np.einsum("...i,...i->...", s, d)[..., None],))(softmax(x))),
    Neighbour("softmax", "softmax-two-products", "s ⊙ δ − s (sᵀδ)",
              vjp=lambda d, x: (lambda p: (p - softmax(x) * p.sum(-1, keepdims=True),))(softmax(x) * d)),
    Neighbour("softmax_cross_entropy", "cross-entropy-log-softmax", "−yᵀ log s",
              lambda x, y: -np.einsum("...i,...i->...", y, log_softmax(x)), vjp=_cross_entropy_vjp,
              unpromised=("mask",)),
    Neighbour("softmax_cross_entropy", "cross-entropy-by-jacobian", "−yᵀ (I − 1 ŷᵀ)", vjp=_cross_entropy_by_jacobian),
    Neighbour("softmax_cross_entropy", "cross-entropy-float64", "computed in float64",
              computed_in(forward("softmax_cross_entropy"), np.float64),
              vjp=computed_in(vjp("softmax_cross_entropy"), np.float64), dtypes=F32),
    Neighbour("logistic_regression", "logistic-einsum", "einsum", vjp=_logistic_vjp),
    Neighbour("logistic_regression", "logistic-composed", "cross-entropy of the affine map",
              lambda W, x, b, y: -(y * log_softmax(forward("affine")(W, x, b))).sum(-1)),
]  # fmt: skip

_NETWORKS = [
    Neighbour("two_layer_network[tanh]", "two-layers-tanh-textbook", "1 − tanh²",
              vjp=network([_tanh_from_output, "identity"])),
    Neighbour("two_layer_network[sigmoid]", "two-layers-sigmoid-textbook", "s (1 − s)",
              vjp=network([_sigmoid_from_output, "identity"])),
    Neighbour("two_layer_network[relu]", "two-layers-relu-textbook", "step by step", vjp=network(["relu", "identity"])),
    Neighbour("two_layer_network[gelu]", "two-layers-gelu-float64", "computed in float64",
              computed_in(forward("two_layer_network[gelu]"), np.float64),
              vjp=computed_in(vjp("two_layer_network[gelu]"), np.float64), dtypes=F32),
    Neighbour("backpropagation[tanh]", "backpropagation-one-textbook", "1 − tanh²", vjp=network([_tanh_from_output])),
    Neighbour("backpropagation[sigmoid,identity]", "backpropagation-two-layers", "the two-layer network",
              forward("two_layer_network[sigmoid]"), vjp=vjp("two_layer_network[sigmoid]")),
    Neighbour("backpropagation[tanh,softplus,identity]", "backpropagation-three-textbook", "step by step",
              vjp=network([_tanh_from_output, SCALAR_FUNCTIONS["softplus"], "identity"])),
]  # fmt: skip

NEIGHBOURS: tuple[Neighbour, ...] = (*_VECTORS, *_FUNCTIONS, *_MATRICES, *_LOSSES, *_NETWORKS, *MORE)
