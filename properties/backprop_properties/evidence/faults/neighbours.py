"""Right implementations by other algebra: textbook formulas, other orders of summation, explicit Jacobians; and those
that look unlike the reference: Python's numbers and loops, lists, identities.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from backprop_reference.lecture.functions import SCALAR_FUNCTIONS
from backprop_reference.signature import rows

from ...hints import textbook as t
from .makers import F32, Array, Function, bytes_of, changed, computed_in, dense, forward, remembered_by, slope, vjp
from .table import Neighbour

SINGLE = ("batch",)
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _tanh_by_expm1(x: Array) -> Array:
    e = np.expm1(-2 * np.abs(x))
    return np.copysign(e / (2 + e), x)


def _sigmoid_by_sign(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _normal(x: Array) -> Array:
    """The normal distribution function."""
    return (_erfc(-x.astype(np.float64) * 0.5**0.5) / 2).astype(x.dtype)


def _by_jacobian(name: str) -> Function:
    """`δ` times the dense Jacobians, example by example."""

    def right(delta: Array, *args: Array) -> tuple[Array, ...]:
        return tuple(np.tensordot(delta, J, axes=delta.ndim) for J in dense(name)(*args))

    return right


def _one_after_the_other(x: Array) -> Any:
    """The last of the partial sums."""
    return np.cumsum(x, -1)[..., -1] if x.shape[-1] else x.sum(-1)


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
    s = t.softmax(x)
    return ((s[..., :, None] * s[..., None, :] * (delta[..., :, None] - delta[..., None, :])).sum(-1),)


def _cross_entropy_by_jacobian(delta: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """`−δ · 1ᵀ diag(y) (I − 1 ŷᵀ)`, the slide's product with the logarithm and the softmax taken together."""
    of_log = np.eye(x.shape[-1], dtype=x.dtype) - t.softmax(x)[..., None, :]
    return -delta[..., None] * np.einsum("...i,...ij->...j", y, of_log), -delta[..., None] * t.log_softmax(x)


def _logistic_vjp(delta: Array, W: Array, x: Array, b: Array, y: Array) -> tuple[Array, ...]:
    d, dy = _exp_of_the_logarithm(delta, np.einsum("dn,...n->...d", W, x) + b, y)
    return np.einsum("bd,bn->dn", rows(d), rows(x)), np.einsum("...d,dn->...n", d, W), t.total(d), dy


def _augmented(W: Array, x: Array, b: Array) -> Array:
    """`[W b] [x 1]ᵀ`."""
    return np.concatenate([x, np.ones_like(x[..., :1]) if x.size else np.ones((*x.shape[:-1], 1), x.dtype)], -1) @ (
        np.concatenate([W, b[:, None]], -1).T
    )


def _layer_from_output(h: Function, slope: Function) -> Function:
    """A layer whose h′ is a function of its output, as the textbooks have it."""

    def right(delta: Array, W: Array, x: Array, b: Array) -> tuple[Array, ...]:
        d = delta * slope(h(x @ W.T + b))
        return t.outer(d, x), d @ W, t.total(d)

    return right


_exp_of_the_logarithm = t.loss_vjp(s_of=lambda x: np.exp(t.log_softmax(x)))
_tanh_from_output = t.bent("tanh", lambda z: 1 - np.tanh(z) ** 2)
_sigmoid_from_output = t.bent("sigmoid", lambda z: t.sigmoid(z) * (1 - t.sigmoid(z)))

ALGEBRA = [
    Neighbour("scale", "scale-einsum", "einsum", lambda x, a: np.einsum("...i,...->...i", x, a),
              vjp=lambda d, x, a: (np.einsum("...i,...->...i", d, a), np.einsum("...i,...i->...", d, x))),
    Neighbour("scale", "scale-dense", "dense Jacobians", jacobian=dense("scale")),
    Neighbour("add", "add-twice", "x − (−y)", lambda x, y: x - (-y), vjp=lambda d, x, y: (+d, 1 * d)),
    Neighbour("hadamard", "hadamard-float64", "computed in float64", computed_in(forward("hadamard"), np.float64),
              vjp=computed_in(vjp("hadamard"), np.float64), dtypes=F32),
    Neighbour("hadamard", "hadamard-by-jacobian", "δ times the dense Jacobian", vjp=_by_jacobian("hadamard"),
              unpromised=SINGLE),
    Neighbour("sum_reduction", "sum-running", "one after the other", _one_after_the_other),
    Neighbour("sum_reduction", "sum-exact", "exactly, rounded once", _exactly),
    Neighbour("sum_reduction", "sum-by-ones", "1ᵀ x", lambda x: x @ np.ones(x.shape[-1], x.dtype),
              vjp=lambda d, x: (np.repeat(d[..., None], x.shape[-1], -1),)),
    Neighbour("subtract", "subtract-sum", "x + (−y)", lambda x, y: x + -y, vjp=lambda d, x, y: (d * 1, d * -1)),
    Neighbour("dot", "dot-einsum", "einsum", lambda x, y: np.einsum("...i,...i->...", x, y),
              vjp=lambda d, x, y: (np.einsum("...,...i->...i", d, y), np.einsum("...,...i->...i", d, x))),
    Neighbour("dot", "dot-halves", "even and odd products apart",
              lambda x, y: (x * y)[..., ::2].sum(-1) + (x * y)[..., 1::2].sum(-1)),
    Neighbour("dot", "dot-matmul", "a row times a column", lambda x, y: (x[..., None, :] @ y[..., None])[..., 0, 0]),
    Neighbour("dot", "dot-blas", "BLAS, single examples only", lambda x, y: np.dot(x, y), unpromised=SINGLE),
    Neighbour("exp", "exp-of-the-output", "u′ = u", np.exp, vjp=lambda d, x: (np.exp(x) * d,)),
    Neighbour("log", "log-base-2", "log₂ x · log 2", lambda x: np.log2(x) * x.dtype.type(math.log(2)),
              vjp=lambda d, x: (d / x,)),
    Neighbour("reciprocal", "reciprocal-of-the-output", "−u²", lambda x: 1 / x, vjp=slope(lambda x: -(1 / x) ** 2)),
    Neighbour("reciprocal", "reciprocal-quotient", "−δ / x²", vjp=lambda d, x: (-d / (x * x),)),
    Neighbour("negate", "negate-from-zero", "0 − x", lambda x: 0 - x, vjp=lambda d, x: (0 - d,)),
    Neighbour("square", "square-power", "x ** 2", lambda x: x**2, vjp=lambda d, x: (d * 2 * x,)),
    Neighbour("identity", "identity-sum", "x + 0", lambda x: x + 0, vjp=lambda d, x: (d * np.ones_like(x),)),
    Neighbour("tanh", "tanh-textbook", "1 − tanh²", np.tanh, vjp=slope(lambda x: 1 - np.tanh(x) ** 2)),
    Neighbour("tanh", "tanh-factors", "(1 − u)(1 + u)", vjp=slope(lambda x: (1 - np.tanh(x)) * (1 + np.tanh(x)))),
    Neighbour("tanh", "tanh-expm1", "by expm1", _tanh_by_expm1),
    Neighbour("sigmoid", "sigmoid-textbook", "1 / (1 + e⁻ˣ) and s (1 − s)", t.sigmoid,
              vjp=slope(lambda x: t.sigmoid(x) * (1 - t.sigmoid(x)))),
    Neighbour("sigmoid", "sigmoid-by-sign", "each sign by its own formula", _sigmoid_by_sign,
              vjp=slope(lambda x: _sigmoid_by_sign(x) * _sigmoid_by_sign(-x))),
    Neighbour("relu", "relu-where", "case by case", lambda x: np.where(x < 0, 0 * x, x + 0),
              vjp=lambda d, x: (np.where(x > 0, d, 0 * d),), unpromised=("infinity",)),
    Neighbour("relu", "relu-product", "x · [x > 0]", lambda x: x * (x > 0), vjp=lambda d, x: (d * (x > 0),),
              unpromised=("infinity",)),
    Neighbour("leaky_relu", "leaky-relu-where", "case by case", lambda x: np.where(x >= 0, x, x.dtype.type(0.01) * x),
              vjp=lambda d, x: (np.where(x >= 0, d, d * d.dtype.type(0.01)),)),
    Neighbour("elu", "elu-of-the-output", "u + 1 below 0", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
              vjp=slope(lambda x: np.where(x > 0, 1, np.expm1(np.minimum(x, 0)) + 1))),
    Neighbour("softplus", "softplus-logaddexp", "logaddexp", lambda x: np.logaddexp(0, x).astype(x.dtype),
              vjp=slope(_sigmoid_by_sign)),
    Neighbour("silu", "silu-quotient", "x / (1 + e⁻ˣ)", lambda x: x / (1 + np.exp(-x)),
              vjp=slope(lambda x: t.sigmoid(x) * (1 + x * (1 - t.sigmoid(x))))),
    Neighbour("silu", "silu-of-the-output", "s + u (1 − s)",
              vjp=slope(lambda x: t.sigmoid(x) * (1 + x * t.sigmoid(-x)))),
    Neighbour("gelu", "gelu-erfc", "x Φ(x), Φ by erfc", lambda x: x * _normal(x),
              vjp=slope(lambda x: _normal(x) + x * np.exp(-x * x / 2) / (2 * math.pi) ** 0.5)),
    Neighbour("gelu_tanh", "gelu-tanh-textbook", "product rule, 1 − tanh²", t.gelu_tanh, vjp=slope(t.gelu_tanh_slope)),
    Neighbour("matvec", "matvec-einsum", "einsum", lambda W, x: np.einsum("dn,...n->...d", W, x),
              vjp=lambda d, W, x: (np.einsum("bd,bn->dn", rows(d), rows(x)), np.einsum("...d,dn->...n", d, W))),
    Neighbour("matvec", "matvec-fortran", "results in Fortran order",
              vjp=changed(vjp("matvec"), lambda r: np.array(r, order="F"))),
    Neighbour("matvec", "matvec-products", "sum of products", lambda W, x: (W * x[..., None, :]).sum(-1),
              vjp=lambda d, W, x: ((rows(d)[:, :, None] * rows(x)[:, None, :]).sum(0), (d[..., None] * W).sum(-2))),
    Neighbour("matvec", "matvec-single", "W x and outer, single examples only", lambda W, x: W @ x,
              vjp=lambda d, W, x: (np.outer(d, x), W.T @ d), unpromised=SINGLE),
    Neighbour("matvec", "matvec-dense", "δ times the dense d×d×n Jacobian", jacobian=dense("matvec"),
              vjp=_by_jacobian("matvec"), unpromised=SINGLE),
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
              vjp=_layer_from_output(t.sigmoid, lambda u: u * (1 - u))),
    Neighbour("activation[relu]", "activation-relu-mask", "the mask of the output",
              vjp=_layer_from_output(lambda z: np.maximum(z, 0), lambda u: u > 0)),
    Neighbour("activation[gelu]", "activation-gelu-float64", "computed in float64",
              computed_in(forward("activation[gelu]"), np.float64),
              vjp=computed_in(vjp("activation[gelu]"), np.float64), dtypes=F32),
    Neighbour("squared_error", "squared-error-dot", "rᵀr", lambda x, y: np.einsum("...i,...i->...", x - y, x - y),
              vjp=lambda d, x, y: (2 * (x - y) * d[..., None], 2 * (y - x) * d[..., None])),
    Neighbour("linear_regression", "linear-regression-matmul", "x w − y", lambda w, x, y: (x @ w - y) ** 2,
              vjp=lambda d, w, x, y: (lambda r: (t.total(r[..., None] * x), np.multiply.outer(r, w), -r))(
                  d * 2 * (x @ w - y))),
    Neighbour("softmax", "softmax-textbook", "exp(x − max) / sum", t.softmax, vjp=t.softmax_vjp()),
    Neighbour("softmax", "softmax-log-sum-exp", "the exponential of its logarithm", lambda x: np.exp(t.log_softmax(x))),
    Neighbour("softmax", "softmax-online", "one pass, scaled as it goes", _online_softmax),
    Neighbour("softmax", "softmax-pairs", "Σ s_i s_j (δ_i − δ_j)", vjp=_pairs),
    Neighbour("softmax", "softmax-dense", "δ (diag(s) − s sᵀ)",
              jacobian=lambda x: (lambda s: (np.diag(s) - np.outer(s, s),))(t.softmax(x)),
              vjp=lambda d, x: (lambda s: (s * d - s * np.einsum("...i,...i->...", s, d)[..., None],))(t.softmax(x))),
    Neighbour("softmax", "softmax-two-products", "s ⊙ δ − s (sᵀδ)",
              vjp=lambda d, x: (lambda p: (p - t.softmax(x) * p.sum(-1, keepdims=True),))(t.softmax(x) * d)),
    Neighbour("softmax_cross_entropy", "cross-entropy-log-softmax", "−yᵀ log s",
              lambda x, y: -np.einsum("...i,...i->...", y, t.log_softmax(x)), vjp=_exp_of_the_logarithm,
              unpromised=("mask",)),
    Neighbour("softmax_cross_entropy", "cross-entropy-by-jacobian", "−yᵀ (I − 1 ŷᵀ)", vjp=_cross_entropy_by_jacobian),
    Neighbour("softmax_cross_entropy", "cross-entropy-float64", "computed in float64",
              computed_in(forward("softmax_cross_entropy"), np.float64),
              vjp=computed_in(vjp("softmax_cross_entropy"), np.float64), dtypes=F32),
    Neighbour("logistic_regression", "logistic-einsum", "einsum", vjp=_logistic_vjp),
    Neighbour("logistic_regression", "logistic-composed", "cross-entropy of the affine map",
              lambda W, x, b, y: -(y * t.log_softmax(forward("affine")(W, x, b))).sum(-1)),
    Neighbour("two_layer_network[tanh]", "two-layers-tanh-textbook", "1 − tanh²",
              vjp=t.network([_tanh_from_output, "identity"])),
    Neighbour("two_layer_network[sigmoid]", "two-layers-sigmoid-textbook", "s (1 − s)",
              vjp=t.network([_sigmoid_from_output, "identity"])),
    Neighbour("two_layer_network[relu]", "two-layers-relu-textbook", "step by step",
              vjp=t.network(["relu", "identity"])),
    Neighbour("two_layer_network[gelu]", "two-layers-gelu-float64", "computed in float64",
              computed_in(forward("two_layer_network[gelu]"), np.float64),
              vjp=computed_in(vjp("two_layer_network[gelu]"), np.float64), dtypes=F32),
    Neighbour("backpropagation[tanh]", "backpropagation-one-textbook", "1 − tanh²", vjp=t.network([_tanh_from_output])),
    Neighbour("backpropagation[sigmoid,identity]", "backpropagation-two-layers", "the two-layer network",
              forward("two_layer_network[sigmoid]"), vjp=vjp("two_layer_network[sigmoid]")),
    Neighbour("backpropagation[tanh,softplus,identity]", "backpropagation-three-textbook", "step by step",
              vjp=t.network([_tanh_from_output, SCALAR_FUNCTIONS["softplus"], "identity"])),
]  # fmt: skip
"""Every law accepts them."""

# ── Unlike the reference ────────────────────────────────────────────────────────────────────────────────────────────


def _loops(f: Callable[..., Any]) -> Function:
    """A function of Python's lists and numbers."""
    return lambda *args: f(*(a.tolist() for a in args))


def _softmax(x: list[float]) -> list[float]:
    largest = max(x)
    f = [math.exp(v - largest) for v in x]
    total = sum(f)
    return [v / total for v in f]


def _softmax_vjp(delta: list[float], x: list[float]) -> list[list[float]]:
    s = _softmax(x)
    mean = sum(d * v for d, v in zip(delta, s, strict=True))
    return [[v * (d - mean) for d, v in zip(delta, s, strict=True)]]


def _kahan(x: Array) -> Any:
    """A sum that carries what was rounded off."""
    total, lost = x.dtype.type(0), x.dtype.type(0)
    for v in x:
        y = v - lost
        more = total + y
        lost, total = (more - total) - y, more
    return total


def _cross_entropy(x: list[float], y: list[float]) -> float:
    largest = max(x)
    log_sum = math.log(sum(math.exp(v - largest) for v in x))
    return sum(t * (largest - v + log_sum) for v, t in zip(x, y, strict=True))


def _logarithm(x: Array) -> Any:
    """`x − logsumexp(x)`, as PyTorch and autograd differentiate it."""
    largest = x.max(-1, keepdims=True)
    return x - (largest + np.log(np.exp(x - largest).sum(-1, keepdims=True)))


def _softmax_from_the_logarithm(x: Array) -> Array:
    return np.exp(_logarithm(x))


def _through_the_softmax(delta: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """`−δ y/s` pulled back through the softmax's dense Jacobian, where no probability vanishes."""
    s = t.softmax(x)
    if s.min() < 1e-3:
        return vjp("softmax_cross_entropy")(delta, x, y)
    return (-delta * y / s) @ (np.diag(s) - np.outer(s, s)), -delta * t.log_softmax(x)


def _matvec_loops(delta: list[float], W: list[list[float]], x: list[float]) -> tuple[Any, Any]:
    dW = [[d * v for v in x] for d in delta]
    return dW, [sum(d * row[j] for d, row in zip(delta, W, strict=True)) for j in range(len(x))]


def _columns(W: Array, x: Array) -> Array:
    """Column by column."""
    u = np.zeros(len(W), W.dtype)
    for j in range(len(x)):
        u += W[:, j] * x[j]
    return u


def _by_parts(delta: Array, W: Array, x: Array, b: Array) -> tuple[Array, ...]:
    """The layer's dense Jacobians, one after the other."""
    d = delta @ np.diag(1 - np.tanh(W @ x + b) ** 2)
    identity = np.eye(len(d), dtype=d.dtype)
    return np.tensordot(d, np.einsum("ij,k->ijk", identity, x), 1), d @ W, d @ identity


MORE = [
    Neighbour("softmax", "softmax-of-lists", "Python's lists", _loops(_softmax), vjp=_loops(_softmax_vjp),
              unpromised=SINGLE),
    Neighbour("softmax", "softmax-kept-by-all-bytes", "the last result again for the very same numbers",
              remembered_by(lambda *args: bytes_of(args, np.copy), forward("softmax")),
              vjp=remembered_by(lambda *args: bytes_of(args, np.copy), vjp("softmax"))),
    Neighbour("matvec", "matvec-kept-by-all-bytes", "the last result again for the very same numbers",
              vjp=remembered_by(lambda *args: bytes_of(args, np.copy), vjp("matvec"))),
    Neighbour("tanh", "tanh-tiles-of-any-size", "in blocks of 64 with a tail of its own",
              forward=lambda x: np.concatenate(
              [np.tanh(x[..., k : k + 64]) for k in range(0, x.shape[-1] or 1, 64)], -1)),
    Neighbour("softmax", "softmax-by-outer", "δ @ (diag(s) − s sᵀ)",
              vjp=lambda d, x: (lambda s: (d @ (np.diag(s) - np.outer(s, s)),))(t.softmax(x)), unpromised=SINGLE),
    Neighbour("softmax", "softmax-exp-of-difference", "exp(x − logsumexp)", _softmax_from_the_logarithm,
              vjp=t.softmax_vjp(_softmax_from_the_logarithm)),
    Neighbour("softmax_cross_entropy", "cross-entropy-of-lists", "one Python number", _loops(_cross_entropy),
              unpromised=("batch", "mask")),
    Neighbour("softmax_cross_entropy", "cross-entropy-from-the-logarithm", "exp(x − logsumexp) − y",
              vjp=t.loss_vjp(dy=lambda x: -_logarithm(x), s_of=_softmax_from_the_logarithm), unpromised=("mask",)),
    Neighbour("softmax_cross_entropy", "cross-entropy-through-the-softmax", "−y/s through the softmax's Jacobian",
              vjp=_through_the_softmax, unpromised=SINGLE),
    Neighbour("sum_reduction", "sum-kahan", "with what was rounded off", _kahan, vjp=lambda d, x: [0 * x + d],
              unpromised=SINGLE),
    Neighbour("dot", "dot-of-lists", "one Python number",
              _loops(lambda x, y: sum(a * b for a, b in zip(x, y, strict=True))), vjp=lambda d, x, y: [d * y, d * x],
              unpromised=SINGLE),
    Neighbour("scale", "scale-in-a-list", "a list of results", vjp=lambda d, x, a: [d * a, np.vdot(d, x)],
              unpromised=SINGLE),
    Neighbour("matvec", "matvec-loops", "nested lists",
              _loops(lambda W, x: [sum(w * v for w, v in zip(row, x, strict=True)) for row in W]),
              vjp=_loops(_matvec_loops), unpromised=SINGLE),
    Neighbour("matvec", "matvec-columns", "column by column", _columns, unpromised=SINGLE),
    Neighbour("affine", "affine-read-only", "results that may not be written to",
              vjp=changed(vjp("affine"), lambda r: np.broadcast_to(r, r.shape))),
    Neighbour("activation[tanh]", "activation-tanh-by-jacobians", "dense Jacobians one by one", vjp=_by_parts,
              unpromised=SINGLE),
    Neighbour("tanh", "tanh-by-sigmoid", "2 s (1 − s) · 2 of 2x",
              vjp=lambda d, x: (lambda s: (4 * d * s * (1 - s),))(t.sigmoid(2 * x))),
    Neighbour("sigmoid", "sigmoid-of-the-exponential", "e / (1 + e)²",
              vjp=lambda d, x: (lambda e: (d * e / (1 + e) ** 2,))(np.exp(-np.abs(x)))),
    Neighbour("softplus", "softplus-by-pieces", "max(x, 0) + log1p(e^−|x|)",
              lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))),
    Neighbour("identity", "identity-itself", "the argument itself", lambda x: x, vjp=lambda d, x: (d,),
              unpromised=("aliasing",)),
    Neighbour("add", "add-shared", "one array for both", vjp=lambda d, x, y: (d, d), unpromised=("aliasing",)),
    Neighbour("squared_error", "squared-error-norm", "‖x − y‖²", lambda x, y: np.linalg.norm(x - y) ** 2,
              unpromised=SINGLE),
    Neighbour("linear_regression", "linear-regression-numbers", "Python's numbers",
              lambda w, x, y: (lambda r: r * r)(sum((w.astype(float) * x).tolist()) - float(y)), unpromised=SINGLE),
    Neighbour("log", "log-many-results", "a quotient", vjp=lambda d, x: [np.divide(d, x)]),
    Neighbour("two_layer_network[tanh]", "two-layers-fortran", "results in Fortran order",
              forward("two_layer_network[tanh]"),
              vjp=changed(vjp("two_layer_network[tanh]"), lambda r: np.array(r, order="F"))),
]  # fmt: skip
"""`check` accepts them: they keep to the digits of a careful framework, and not to those of the laws."""
