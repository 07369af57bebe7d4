"""Right implementations that look unlike the reference: Python's numbers and loops, lists, Jacobians, identities.

They keep to the digits of a careful framework, and not to those of the laws by which the reference is judged.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...hints.textbook import log_softmax, sigmoid, softmax
from .makers import Array, Function, bytes_of, changed, forward, remembered_by, vjp
from .table import Neighbour

SINGLE = ("batch",)


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
        t = total + y
        lost, total = (t - total) - y, t
    return total


def _cross_entropy(x: list[float], y: list[float]) -> float:
    largest = max(x)
    log_sum = math.log(sum(math.exp(v - largest) for v in x))
    return sum(t * (largest - v + log_sum) for v, t in zip(x, y, strict=True))


def _logsumexp(x: Array) -> Any:
    largest = x.max(-1, keepdims=True)
    return largest + np.log(np.exp(x - largest).sum(-1, keepdims=True))


def _from_the_logarithm(delta: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """The softmax as exp(x − logsumexp), as PyTorch and autograd differentiate it."""
    log = x - _logsumexp(x)
    return delta[..., None] * (y.sum(-1, keepdims=True) * np.exp(log) - y), -delta[..., None] * log


def _through_the_softmax(delta: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """`−δ y/s` pulled back through the softmax's dense Jacobian, where no probability vanishes."""
    s = softmax(x)
    if s.min() < 1e-3:
        return vjp("softmax_cross_entropy")(delta, x, y)
    return (-delta * y / s) @ (np.diag(s) - np.outer(s, s)), -delta * log_softmax(x)


def _read_only(r: Array) -> Array:
    r = np.array(r)
    r.flags.writeable = False
    return r


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
    J_h = np.diag(1 - np.tanh(W @ x + b) ** 2)
    d = delta @ J_h
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
              vjp=lambda d, x: (lambda s: (d @ (np.diag(s) - np.outer(s, s)),))(softmax(x)), unpromised=SINGLE),
    Neighbour("softmax", "softmax-exp-of-difference", "exp(x − logsumexp)", lambda x: np.exp(x - _logsumexp(x)),
              vjp=lambda d, x: (lambda s: (s * (d - (s * d).sum(-1, keepdims=True)),))(np.exp(x - _logsumexp(x)))),
    Neighbour("softmax_cross_entropy", "cross-entropy-of-lists", "one Python number", _loops(_cross_entropy),
              unpromised=("batch", "mask")),
    Neighbour("softmax_cross_entropy", "cross-entropy-from-the-logarithm", "exp(x − logsumexp) − y",
              vjp=_from_the_logarithm, unpromised=("mask",)),
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
              vjp=changed(vjp("affine"), _read_only)),
    Neighbour("activation[tanh]", "activation-tanh-by-jacobians", "dense Jacobians one by one", vjp=_by_parts,
              unpromised=SINGLE),
    Neighbour("tanh", "tanh-by-sigmoid", "2 s (1 − s) · 2 of 2x",
              vjp=lambda d, x: (lambda s: (4 * d * s * (1 - s),))(sigmoid(2 * x))),
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
