"""Losses of two arrays, right and wrong: squares, absolute values, Huber's, binary cross-entropy, divergence."""

from collections.abc import Callable
from functools import partial

import numpy as np

from ...checking.python_files import Implementation
from ...hints.textbook import sigmoid
from . import makers as m
from .general import general
from .makers import FORWARD, VJP, Array, Function
from .table import Fault, Neighbour

Terms = Callable[[Array, Array], Array]

# ── Right ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _mean(terms: Terms) -> Function:
    return lambda x, y: terms(x, y).sum() / x.size


def _mean_vjp(dx: Terms, dy: Terms | None = None) -> Function:
    """The vjp of a mean of terms with these slopes; without the second, that of a function of `x − y`."""

    def vjp(delta: Array, x: Array, y: Array) -> tuple[Array, Array]:
        share = delta / x.size
        one = dx(x, y) * share
        return one, -one if dy is None else dy(x, y) * share

    return vjp


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _binary(x: Array, y: Array) -> Array:
    return _softplus(x) - x * y


def _huber(x: Array, y: Array) -> Array:
    size = np.abs(x - y)
    near = np.minimum(size, 1)
    return near * (size - near / 2)


def _divergence(log_p: Array, t: Array) -> Array:
    return (t * (np.log(t) - log_p)).sum() / len(t)


def _divergence_vjp(dt: Terms = lambda log_p, t: np.log(t) + 1 - log_p) -> Function:
    return lambda delta, log_p, t: (-t * (delta / len(t)), dt(log_p, t) * (delta / len(t)))


RIGHT = {
    "binary_cross_entropy_with_logits": Implementation(
        _mean(_binary), vjp=_mean_vjp(lambda x, y: sigmoid(x) - y, lambda x, y: -x)
    ),
    "mse_loss": Implementation(_mean(lambda x, y: (x - y) ** 2), vjp=_mean_vjp(lambda x, y: 2 * (x - y))),
    "l1_loss": Implementation(_mean(lambda x, y: np.abs(x - y)), vjp=_mean_vjp(lambda x, y: np.sign(x - y))),
    "huber_loss": Implementation(_mean(_huber), vjp=_mean_vjp(lambda x, y: np.clip(x - y, -1, 1))),
    "kl_div": Implementation(_divergence, vjp=_divergence_vjp()),
}
OF_A_DIFFERENCE = ("exchanged",)  # which is the same as both signs lost
_BINARY, _MSE, _L1, _HUBER, _KL = RIGHT

# ── Right in another way ────────────────────────────────────────────────────────────────────────────────────────────


def _sigmoid_by_sign(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _by_cases(x: Array, y: Array) -> Array:
    r = x - y
    return np.where(np.abs(r) <= 1, r * r / 2, np.abs(r) - x.dtype.type(0.5))


REGRESSIONS_RIGHT = [
    Neighbour(_BINARY, "bce-by-pieces", "max(x, 0) − x y + log1p(e^−|x|)",
              _mean(lambda x, y: np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))), vjp=RIGHT[_BINARY].vjp),
    Neighbour(_BINARY, "bce-logaddexp", "logaddexp", _mean(lambda x, y: np.logaddexp(0, x).astype(x.dtype) - x * y),
              vjp=_mean_vjp(lambda x, y: _sigmoid_by_sign(x) - y, lambda x, y: -x)),
    Neighbour(_MSE, "mse-of-residuals", "(x − y)² and 2 (x − y)", RIGHT[_MSE].forward, vjp=RIGHT[_MSE].vjp),
    Neighbour(_MSE, "mse-dot", "rᵀr", lambda x, y: np.vdot(x - y, x - y) / x.size,
              vjp=lambda d, x, y: (d * (x - y) * 2 / x.size, d * (y - x) * 2 / x.size)),
    Neighbour(_L1, "l1-sign", "|x − y| and its sign", RIGHT[_L1].forward, vjp=RIGHT[_L1].vjp),
    Neighbour(_L1, "l1-where", "case by case", _mean(lambda x, y: np.where(x > y, x - y, y - x)),
              vjp=_mean_vjp(lambda x, y: np.where(x > y, 1, -1).astype(x.dtype))),
    Neighbour(_HUBER, "huber-clipped", "a clipped residual", RIGHT[_HUBER].forward, vjp=RIGHT[_HUBER].vjp),
    Neighbour(_HUBER, "huber-by-cases", "case by case", _mean(_by_cases),
              vjp=_mean_vjp(lambda x, y: np.where(np.abs(x - y) < 1, x - y, np.sign(x - y)))),
    Neighbour(_KL, "kl-of-differences", "t (log t − log p)", RIGHT[_KL].forward, vjp=RIGHT[_KL].vjp),
    Neighbour(_KL, "kl-of-entropies", "Σ t log t − Σ t log p",
              lambda log_p, t: ((t * np.log(t)).sum() - (t * log_p).sum()) / len(t),
              vjp=_divergence_vjp(lambda log_p, t: 1 + (np.log(t) - log_p))),
]  # fmt: skip
"""Every law accepts them."""

# ── Wrong ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _by_size(name: str, prefix: str) -> list[Fault]:
    """What goes wrong with a mean, and with the second argument."""
    forward, vjp = RIGHT[name].forward, RIGHT[name].vjp
    assert forward is not None
    assert vjp is not None
    by_columns = m.by_size(m.by_size(vjp, 0, 1), -1, 1)
    return [
        Fault(name, f"{prefix}-sum-for-mean", "factor", FORWARD, "factor-n",
              forward=lambda x, y: forward(x, y) * x.size),
        Fault(name, f"{prefix}-size-forgotten", "factor", VJP, "factor-n", vjp=by_columns),
        Fault(name, f"{prefix}-mean-of-rows", "factor", VJP, "factor-n", vjp=m.by_size(vjp, -1, 1)),
        Fault(name, f"{prefix}-batch-twice", "factor", VJP, "factor-n", vjp=m.by_size(vjp, 0, -1)),
        Fault(name, f"{prefix}-target-missing", "missing term", VJP, "missing-path",
              vjp=m.changed(vjp, np.zeros_like, 1)),
        Fault(name, f"{prefix}-target-sign", "sign", VJP, "sign", vjp=m.scaled(vjp, -1, 1)),
    ]  # fmt: skip


def _log_of_clipped(x: Array, y: Array) -> Array:
    s = np.clip(sigmoid(x), x.dtype.type(1e-7), x.dtype.type(1 - 1e-7))
    return -(y * np.log(s) + (1 - y) * np.log(1 - s))


def _quotient(x: Array) -> Array:
    return np.exp(x) / (1 + np.exp(x))


fault = partial(Fault, _BINARY)
BINARY = [
    *_by_size(_BINARY, "bce"),
    fault("bce-naive-log", "overflow", FORWARD, "overflow", forward=_mean(lambda x, y: np.log(1 + np.exp(x)) - x * y)),
    fault("bce-log1p-alone", "overflow", FORWARD, "overflow",
          forward=_mean(lambda x, y: np.log1p(np.exp(x)) - x * y)),
    fault("bce-log-clipped", "clipping", FORWARD, "clipped", forward=_mean(_log_of_clipped)),
    fault("bce-sigmoid-overflows", "overflow", VJP, "overflow",
          vjp=_mean_vjp(lambda x, y: _quotient(x) - y, lambda x, y: -x)),
    fault("bce-sigmoid-twice", "formula", VJP,
          vjp=_mean_vjp(lambda x, y: (sigmoid(x) - y) * sigmoid(x) * (1 - sigmoid(x)), lambda x, y: -x)),
    fault("bce-no-sigmoid", "formula", VJP, "input-for-output", vjp=_mean_vjp(lambda x, y: x - y, lambda x, y: -x)),
    fault("bce-hard-targets", "some values", VJP,
          vjp=_mean_vjp(lambda x, y: sigmoid(x) - (y > 0.5), lambda x, y: -x)),
    fault("bce-negatives-forgotten", "missing term", FORWARD, forward=_mean(lambda x, y: y * _softplus(-x))),
    *general(_BINARY, RIGHT[_BINARY]),
]  # fmt: skip

fault = partial(Fault, _MSE)
MSE = [
    *_by_size(_MSE, "mse"),
    fault("mse-half", "factor", VJP, "factor", vjp=_mean_vjp(lambda x, y: x - y)),
    fault("mse-half-in-the-value", "factor", FORWARD, "factor", forward=_mean(lambda x, y: (x - y) ** 2 / 2)),
    fault("mse-rooted", "formula", FORWARD, "another-function",
          forward=lambda x, y: np.sqrt(((x - y) ** 2).sum() / x.size)),
    fault("mse-expanded", "cancellation", FORWARD, forward=_mean(lambda x, y: x * x - 2 * x * y + y * y)),
    fault("mse-of-the-mean", "formula", FORWARD, forward=lambda x, y: ((x - y).sum() / x.size) ** 2),
    fault("mse-mean-residual", "formula", VJP, vjp=_mean_vjp(lambda x, y: 2 * (x - y).sum() / x.size + 0 * x)),
    fault("mse-unsigned", "sign", VJP, vjp=_mean_vjp(lambda x, y: 2 * np.abs(x - y))),
    fault("mse-clipped", "clipping", VJP, "clipped", vjp=_mean_vjp(lambda x, y: 2 * np.clip(x - y, -1e3, 1e3))),
    *general(_MSE, RIGHT[_MSE], without=OF_A_DIFFERENCE),
]  # fmt: skip

fault = partial(Fault, _L1)
L1 = [
    *_by_size(_L1, "l1"),
    fault("l1-one-at-the-kink", "kink", VJP, "kink", asks="kink",
          vjp=_mean_vjp(lambda x, y: np.where(x >= y, 1, -1).astype(x.dtype))),
    fault("l1-no-sign", "formula", VJP, "another-function", vjp=_mean_vjp(lambda x, y: x - y)),
    fault("l1-smoothed", "kink", VJP, vjp=_mean_vjp(lambda x, y: (x - y) / np.sqrt((x - y) ** 2 + x.dtype.type(1e-6)))),
    fault("l1-value-smoothed", "kink", FORWARD, forward=_mean(lambda x, y: np.sqrt((x - y) ** 2 + x.dtype.type(1e-6)))),
    fault("l1-sign-of-the-sum", "formula", VJP, vjp=_mean_vjp(lambda x, y: np.sign((x - y).sum()) + 0 * x)),
    fault("l1-sign-of-x", "formula", VJP, vjp=_mean_vjp(lambda x, y: np.sign(x), lambda x, y: -np.sign(y))),
    fault("l1-unsigned", "sign", VJP, "sign", vjp=_mean_vjp(lambda x, y: np.ones_like(x))),
    fault("l1-squared", "formula", FORWARD, "another-function", forward=_mean(lambda x, y: (x - y) ** 2)),
    fault("l1-quotient", "exact zeros", VJP, vjp=_mean_vjp(lambda x, y: (x - y) / np.abs(x - y))),
    *general(_L1, RIGHT[_L1], without=OF_A_DIFFERENCE),
]  # fmt: skip


def _exchanged(x: Array, y: Array) -> Array:
    r = x - y
    return np.where(np.abs(r) <= 1, np.sign(r), r)


fault = partial(Fault, _HUBER)
HUBER = [
    *_by_size(_HUBER, "huber"),
    fault("huber-branches-exchanged", "formula", VJP, vjp=_mean_vjp(_exchanged)),
    fault("huber-value-branches-exchanged", "formula", FORWARD,
          forward=_mean(lambda x, y: np.where(np.abs(x - y) > 1, (x - y) ** 2 / 2, np.abs(x - y) - x.dtype.type(0.5)))),
    fault("huber-not-joined", "formula", FORWARD,
          forward=_mean(lambda x, y: np.where(np.abs(x - y) <= 1, (x - y) ** 2 / 2, np.abs(x - y)))),
    fault("huber-sign-lost", "sign", VJP, "sign", vjp=_mean_vjp(lambda x, y: np.where(np.abs(x - y) <= 1, x - y, 1))),
    fault("huber-not-clipped", "formula", VJP, "another-function", vjp=_mean_vjp(lambda x, y: x - y)),
    fault("huber-twice-the-square", "factor", VJP, vjp=_mean_vjp(lambda x, y: np.clip(2 * (x - y), -1, 1))),
    fault("huber-one-sided", "some values", VJP, vjp=_mean_vjp(lambda x, y: np.minimum(x - y, 1))),
    fault("huber-pseudo", "formula", FORWARD, "another-function",
          forward=_mean(lambda x, y: np.sqrt(1 + (x - y) ** 2) - 1)),
    fault("huber-half-way", "formula", VJP, vjp=_mean_vjp(lambda x, y: np.clip(x - y, -0.5, 0.5))),
    *general(_HUBER, RIGHT[_HUBER], without=OF_A_DIFFERENCE),
]  # fmt: skip

fault = partial(Fault, _KL)
DIVERGENCE = [
    *_by_size(_KL, "kl"),
    fault("kl-mean-of-entries", "factor", FORWARD, "factor-n",
          forward=lambda log_p, t: _divergence(log_p, t) / t.shape[-1]),
    fault("kl-turned", "formula", FORWARD,
          forward=lambda log_p, t: (np.exp(log_p) * (log_p - np.log(t))).sum() / len(t)),
    fault("kl-of-probabilities", "formula", FORWARD,
          forward=lambda p, t: (t * (np.log(t) - np.log(np.abs(p)))).sum() / len(t)),
    fault("kl-log-epsilon", "clipping", FORWARD, "clipped",
          forward=lambda log_p, t: (t * (np.log(t + t.dtype.type(1e-7)) - log_p)).sum() / len(t)),
    fault("kl-entropy-forgotten", "missing term", FORWARD, forward=lambda log_p, t: -(t * log_p).sum() / len(t)),
    fault("kl-no-one", "missing term", VJP, "missing-path", vjp=_divergence_vjp(lambda log_p, t: np.log(t) - log_p)),
    fault("kl-targets-as-data", "missing term", VJP, vjp=_divergence_vjp(lambda log_p, t: -log_p)),
    fault("kl-less-the-targets", "formula", VJP,
          vjp=lambda d, log_p, t: ((np.exp(log_p) - t) * (d / len(t)), _divergence_vjp()(d, log_p, t)[1])),
    fault("kl-of-ones", "one-hot", VJP, "one-hot-only",
          vjp=lambda d, log_p, t: ((t == t.max(-1, keepdims=True)) * (-d / len(t)), _divergence_vjp()(d, log_p, t)[1])),
    *general(_KL, RIGHT[_KL]),
]  # fmt: skip

REGRESSIONS = [*BINARY, *MSE, *L1, *HUBER, *DIVERGENCE]
