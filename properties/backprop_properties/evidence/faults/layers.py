"""Layers, right and wrong: linear, embedding, dropout, gated units, the softmax's logarithm and what it subtracts."""

from functools import partial
from typing import Any

import numpy as np

from ...checking.python_files import Implementation
from ...hints.textbook import log_softmax, sigmoid, softmax
from . import makers as m
from .general import general
from .makers import F32, FORWARD, VJP, Array, Function
from .table import Fault, Neighbour

P = 0.1  # of dropout

# ── Right ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _linear(x: Array, weight: Array, bias: Array) -> Array:
    return x @ weight.T + bias


def _linear_vjp(delta: Array, x: Array, weight: Array, bias: Array) -> tuple[Array, ...]:
    return delta @ weight, delta.T @ x, delta.sum(0)


def _embedding_vjp(delta: Array, indices: Array, weight: Array) -> tuple[None, Array]:
    d = np.zeros_like(weight)
    np.add.at(d, indices, delta)
    return None, d


def _kept(x: Array, mask: Array) -> Array:
    return np.where(mask, x / x.dtype.type(1 - P), 0)


def _halves(x: Array) -> list[Array]:
    return np.split(x, 2, -1)


def _glu(x: Array) -> Array:
    a, b = _halves(x)
    return a * sigmoid(b)


def _glu_vjp(
    da: Function = lambda a, s: s, db: Function = lambda a, s: a * s * (1 - s), sigmoid: Function = sigmoid
) -> Function:
    """The vjp of a gated unit with slopes of its halves, by the first half and the sigmoid of the second."""

    def vjp(delta: Array, x: Array) -> tuple[Array]:
        a, b = _halves(x)
        s = sigmoid(b)
        return (np.concatenate([delta * da(a, s), delta * db(a, s)], -1),)

    return vjp


def _silu_slope(z: Array) -> Array:
    s = sigmoid(z)
    return s * (1 + z * (1 - s))


def _swiglu(x: Array, W: Array, V: Array) -> Array:
    z = x @ W
    return z * sigmoid(z) * (x @ V)


def _swiglu_vjp(
    slope: Function = _silu_slope,
    gate: Function = lambda z: z * sigmoid(z),
    dx: Function = lambda dz, du, W, V: dz @ W.T + du @ V.T,
    value: Function = lambda u: u,
) -> Function:
    """The vjp of `silu(x W) ⊙ x V`, with a place for each usual mistake."""

    def vjp(delta: Array, x: Array, W: Array, V: Array) -> tuple[Array, ...]:
        z, u = x @ W, x @ V
        dz, du = delta * value(u) * slope(z), delta * gate(z)
        return dx(dz, du, W, V), x.T @ dz, x.T @ du

    return vjp


def _log_softmax_vjp(s_of: Function = softmax, total: Function = lambda d: d.sum(-1, keepdims=True)) -> Function:
    """`δ − s Σδ`."""
    return lambda delta, x: (delta - s_of(x) * total(delta),)


def _logsumexp(x: Array) -> Array:
    largest = x.max(-1, keepdims=True)
    return (largest + np.log(np.exp(x - largest).sum(-1, keepdims=True)))[..., 0]


def _logsumexp_vjp(s_of: Function = softmax) -> Function:
    return lambda delta, x: (delta[..., None] * s_of(x),)


RIGHT = {
    "linear": Implementation(_linear, vjp=_linear_vjp),
    "embedding": Implementation(lambda indices, weight: weight[indices], vjp=_embedding_vjp),
    "dropout": Implementation(_kept, vjp=lambda d, x, mask: (_kept(d, mask), None)),
    "glu": Implementation(_glu, vjp=_glu_vjp()),
    "swiglu": Implementation(_swiglu, vjp=_swiglu_vjp()),
    "log_softmax": Implementation(log_softmax, vjp=_log_softmax_vjp()),
    "logsumexp": Implementation(_logsumexp, vjp=_logsumexp_vjp()),
}
_LINEAR, _EMBEDDING, _DROPOUT, _GLU, _SWIGLU, _LOG, _LSE = RIGHT

# ── Right in another way ────────────────────────────────────────────────────────────────────────────────────────────


def _embedding_loop(delta: Array, indices: Array, weight: Array) -> tuple[None, Array]:
    d = np.zeros_like(weight)
    for index, row in zip(indices, delta, strict=True):
        d[index] += row
    return None, d


def _one_hot_product(delta: Array, indices: Array, weight: Array) -> tuple[None, Array]:
    return None, (indices[:, None] == np.arange(len(weight))).T.astype(weight.dtype) @ delta


def _online(x: Array) -> Array:
    """One pass over the entries: the sum so far is scaled whenever a larger entry comes."""
    m, g = np.full(len(x), -np.inf, x.dtype), np.zeros(len(x), x.dtype)
    for column in x.T:
        larger = np.maximum(m, column)
        g = np.where(m == -np.inf, 0, g * np.exp(m - larger)) + np.exp(column - larger)
        m = larger
    return m + np.log(g)


def _silu_by_its_terms(z: Array) -> Array:
    s = sigmoid(z)
    return s + z * s * (1 - s)


LAYERS_RIGHT = [
    Neighbour(_LINEAR, "linear-products", "matrix products", _linear, vjp=_linear_vjp),
    Neighbour(_LINEAR, "linear-einsum", "einsum", lambda x, W, b: b + np.einsum("bn,dn->bd", x, W),
              vjp=lambda d, x, W, b: (np.einsum("bd,dn->bn", d, W), np.einsum("bd,bn->dn", d, x),
                                      np.einsum("bd->d", d))),
    Neighbour(_LINEAR, "linear-float64", "computed in float64", m.computed_in(_linear, np.float64), dtypes=F32,
              vjp=m.computed_in(_linear_vjp, np.float64)),
    Neighbour(_EMBEDDING, "embedding-add-at", "np.add.at", lambda indices, weight: weight[indices],
              vjp=_embedding_vjp),
    Neighbour(_EMBEDDING, "embedding-loop", "row by row", lambda indices, weight: np.take(weight, indices, 0),
              vjp=_embedding_loop),
    Neighbour(_EMBEDDING, "embedding-one-hot", "one-hot products", vjp=_one_hot_product),
    Neighbour(_DROPOUT, "dropout-where", "a quotient where the mask is", _kept, vjp=RIGHT[_DROPOUT].vjp),
    Neighbour(_DROPOUT, "dropout-product", "times the mask, times 1/(1 − p)",
              lambda x, mask: x * mask * x.dtype.type(1 / (1 - P)),
              vjp=lambda d, x, mask: (d * mask * d.dtype.type(1 / (1 - P)), None)),
    Neighbour(_GLU, "glu-halves", "a σ(b)", _glu, vjp=_glu_vjp()),
    Neighbour(_GLU, "glu-of-the-output", "u (1 − σ)", vjp=_glu_vjp(db=lambda a, s: (a * s) * (1 - s))),
    Neighbour(_GLU, "glu-quotient", "a / (1 + e⁻ᵇ)",
              lambda x: x[..., : x.shape[-1] // 2] / (1 + np.exp(-x[..., x.shape[-1] // 2 :]))),
    Neighbour(_SWIGLU, "swiglu-textbook", "s (1 + z (1 − s))", _swiglu, vjp=_swiglu_vjp()),
    Neighbour(_SWIGLU, "swiglu-by-terms", "s + z s (1 − s)", lambda x, W, V: (x @ V) * (x @ W) / (1 + np.exp(-(x @ W))),
              vjp=_swiglu_vjp(_silu_by_its_terms)),
    Neighbour(_LOG, "log-softmax-shifted", "x − max, less the logarithm", log_softmax, vjp=_log_softmax_vjp()),
    Neighbour(_LOG, "log-softmax-less-lse", "x − logsumexp, and the exponential of that",
              lambda x: x - _logsumexp(x)[..., None],
              vjp=_log_softmax_vjp(lambda x: np.exp(x - _logsumexp(x)[..., None]))),
    Neighbour(_LOG, "log-softmax-float32", "computed in float32", m.computed_in(log_softmax, np.float32),
              vjp=m.computed_in(_log_softmax_vjp(), np.float32), dtypes=("float16", "bfloat16")),
    Neighbour(_LSE, "logsumexp-shifted", "max + log Σ exp(x − max)", _logsumexp, vjp=_logsumexp_vjp()),
    Neighbour(_LSE, "logsumexp-online", "one pass, scaled as it goes", _online,
              vjp=_logsumexp_vjp(lambda x: np.exp(x - _online(x)[:, None]))),
    Neighbour(_LSE, "logsumexp-float32", "computed in float32", m.computed_in(_logsumexp, np.float32),
              vjp=m.computed_in(_logsumexp_vjp(), np.float32), dtypes=("float16", "bfloat16")),
]  # fmt: skip
"""Every law accepts them."""

# ── Linear ──────────────────────────────────────────────────────────────────────────────────────────────────────────

fault = partial(Fault, _LINEAR)
LINEAR = [
    fault("linear-weight-turned", "transpose", FORWARD, "transposed", sizes={"d": 3, "n": 3},
          forward=lambda x, W, b: x @ (W if len(W) == x.shape[-1] else W.T) + b),
    fault("linear-slope-turned", "transpose", VJP, "transposed", sizes={"d": 3, "n": 3},
          vjp=lambda d, x, W, b: (d @ (W.T if len(W) == x.shape[-1] else W), d.T @ x, d.sum(0))),
    fault("linear-outer-turned", "transpose", VJP, "transposed",
          vjp=lambda d, x, W, b: (d @ W, (x.T @ d).reshape(W.shape), d.sum(0))),
    fault("linear-bias-not-summed", "wrong shape", VJP, vjp=lambda d, x, W, b: (d @ W, d.T @ x, d.copy())),
    fault("linear-bias-over-features", "wrong shape", VJP, "axis",
          vjp=lambda d, x, W, b: (d @ W, d.T @ x, d.sum() + np.zeros_like(b))),
    fault("linear-bias-forgotten", "missing term", FORWARD, forward=lambda x, W, b: x @ W.T),
    fault("linear-bias-times-b", "formula", VJP, "factor", vjp=lambda d, x, W, b: (d @ W, d.T @ x, d.sum(0) * b)),
    fault("linear-mean-of-examples", "factor", VJP, "factor-n",
          vjp=lambda d, x, W, b: (d @ W, d.T @ x / len(x), d.sum(0) / len(x))),
    fault("linear-last-example", "missing term", VJP,
          vjp=lambda d, x, W, b: (d @ W, d[-1:].T @ x[-1:], d.sum(0))),
    fault("linear-first-bias", "missing term", VJP, "only-n-1", vjp=lambda d, x, W, b: (d @ W, d.T @ x, d[0].copy())),
    *general(_LINEAR, RIGHT[_LINEAR]),
]  # fmt: skip

# ── Embedding ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _table(change: Function) -> Function:
    """The vjp of an embedding with another way to add up; the table's gradient is changed in place."""

    def vjp(delta: Array, indices: Array, weight: Array) -> tuple[None, Array]:
        d = np.zeros_like(weight)
        change(d, indices, delta)
        return None, d

    return vjp


def _overwritten(d: Array, indices: Array, delta: Array) -> None:
    d[indices] = delta


def _buffered(d: Array, indices: Array, delta: Array) -> None:
    d[indices] += delta


def _first_of_each(d: Array, indices: Array, delta: Array) -> None:
    rows = np.unique(indices, return_index=True)[1]
    d[indices[rows]] = delta[rows]


def _averaged(d: Array, indices: Array, delta: Array) -> None:
    np.add.at(d, indices, delta)
    d /= np.maximum(np.bincount(indices, minlength=len(d)), 1)[:, None]


def _all_but_padding(d: Array, indices: Array, delta: Array) -> None:
    np.add.at(d, indices, delta)
    d[:1] = 0


def _off_by_one(d: Array, indices: Array, delta: Array) -> None:
    np.add.at(d, (indices + 1) % len(d), delta)


def _spread(d: Array, indices: Array, delta: Array) -> None:
    d[...] = delta.sum(0)


def _in_order(d: Array, indices: Array, delta: Array) -> None:
    np.add.at(d, np.sort(indices), delta)


fault = partial(Fault, _EMBEDDING, law=VJP)
EMBEDDING = [
    fault("embedding-overwritten", "ties", cause="duplicates", vjp=_table(_overwritten)),
    fault("embedding-buffered", "ties", cause="duplicates", vjp=_table(_buffered)),
    fault("embedding-first-of-each", "ties", vjp=_table(_first_of_each)),
    fault("embedding-averaged", "factor", vjp=_table(_averaged)),
    fault("embedding-row-0-is-padding", "some values", vjp=_table(_all_but_padding)),
    fault("embedding-off-by-one", "formula", cause="integers", vjp=_table(_off_by_one)),
    fault("embedding-spread", "formula", cause="axis", vjp=_table(_spread)),
    fault("embedding-indices-sorted", "some values", vjp=_table(_in_order)),
    Fault(_EMBEDDING, "embedding-value-off-by-one", "formula", FORWARD, "integers",
          forward=lambda indices, weight: weight[(indices + 1) % len(weight)]),
    Fault(_EMBEDDING, "embedding-rows-normalised", "formula", FORWARD,
          forward=lambda indices, weight: (lambda rows: rows / np.maximum(
              1, np.sqrt((rows * rows).sum(-1, keepdims=True))))(weight[indices])),
    *general(_EMBEDDING, RIGHT[_EMBEDDING]),
]  # fmt: skip

# ── Dropout ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _dropped(change: Function) -> Function:
    """The vjp of dropout with another factor."""
    return lambda delta, x, mask: (np.asarray(change(delta, mask), delta.dtype), None)


fault = partial(Fault, _DROPOUT)
DROPOUT = [
    fault("dropout-mask-ignored", "missing term", VJP, "mask", vjp=_dropped(lambda d, mask: d / (1 - P))),
    fault("dropout-mask-inverted", "formula", VJP, "mask", vjp=_dropped(lambda d, mask: _kept(d, ~mask))),
    fault("dropout-value-mask-inverted", "formula", FORWARD, "mask", forward=lambda x, mask: _kept(x, ~mask)),
    fault("dropout-scale-forgotten", "factor", VJP, "factor", vjp=_dropped(lambda d, mask: d * mask)),
    fault("dropout-scaled-twice", "factor", VJP, "factor", vjp=_dropped(lambda d, mask: _kept(_kept(d, mask), mask))),
    fault("dropout-scaled-down", "factor", VJP, "factor", vjp=_dropped(lambda d, mask: d * mask * (1 - P))),
    fault("dropout-scaled-by-p", "factor", FORWARD, "factor",
          forward=lambda x, mask: np.where(mask, x / x.dtype.type(P), 0)),
    fault("dropout-value-not-scaled", "factor", FORWARD, "factor", forward=lambda x, mask: np.where(mask, x, 0)),
    fault("dropout-left-out", "formula", FORWARD, forward=lambda x, mask: x.copy()),
    fault("dropout-straight-through", "missing term", VJP, vjp=_dropped(lambda d, mask: d.copy())),
    fault("dropout-scaled-by-the-share", "factor", FORWARD,
          forward=lambda x, mask: np.where(mask, x * x.dtype.type(mask.size) / max(mask.sum(), 1), 0).astype(x.dtype)),
    fault("dropout-mask-of-the-sign", "some values", VJP,
          vjp=lambda d, x, mask: (_kept(d, mask & (x > 0)), None)),
    *general(_DROPOUT, RIGHT[_DROPOUT]),
]  # fmt: skip

# ── Gated units ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _quotient(x: Array) -> Array:
    return np.exp(x) / (1 + np.exp(x))


def _other_half_first(x: Array) -> Array:
    a, b = _halves(x)
    return np.concatenate([b, a], -1)


fault = partial(Fault, _GLU)
GLU = [
    fault("glu-value-halves-exchanged", "argument order", FORWARD, "reordered",
          forward=lambda x: _glu(_other_half_first(x))),
    fault("glu-halves-exchanged", "argument order", VJP, "reordered", vjp=m.changed(_glu_vjp(), _other_half_first)),
    fault("glu-neighbours", "formula", FORWARD, "only-n-1", forward=lambda x: x[..., ::2] * sigmoid(x[..., 1::2])),
    fault("glu-gate-at-the-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=_glu_vjp(db=lambda a, s: a * sigmoid(s) * (1 - sigmoid(s)))),
    fault("glu-gate-without-its-slope", "missing term", VJP, "missing-factor", vjp=_glu_vjp(db=lambda a, s: a)),
    fault("glu-gate-half-its-slope", "missing term", VJP, vjp=_glu_vjp(db=lambda a, s: a * s)),
    fault("glu-gate-without-a", "missing term", VJP, vjp=_glu_vjp(db=lambda a, s: s * (1 - s))),
    fault("glu-gate-missing", "missing term", VJP, "missing-path", vjp=_glu_vjp(db=lambda a, s: 0 * a)),
    fault("glu-gate-not-applied", "missing term", VJP, vjp=_glu_vjp(da=lambda a, s: np.ones_like(s))),
    fault("glu-sigmoid-overflows", "overflow", FORWARD, "overflow",
          forward=lambda x: _halves(x)[0] * _quotient(_halves(x)[1])),
    fault("glu-slope-overflows", "overflow", VJP, "overflow", vjp=_glu_vjp(sigmoid=_quotient)),
    fault("glu-tanh", "formula", FORWARD, "another-function",
          forward=lambda x: _halves(x)[0] * np.tanh(_halves(x)[1])),
    *general(_GLU, RIGHT[_GLU]),
]  # fmt: skip

fault = partial(Fault, _SWIGLU)
SWIGLU = [
    fault("swiglu-one-term", "missing term", VJP, "missing-path", vjp=_swiglu_vjp(sigmoid)),
    fault("swiglu-other-term", "missing term", VJP, "missing-path",
          vjp=_swiglu_vjp(lambda z: z * sigmoid(z) * (1 - sigmoid(z)))),
    fault("swiglu-at-output", "h′ at the output", VJP, "h-prime-at-output",
          vjp=_swiglu_vjp(lambda z: _silu_slope(z * sigmoid(z)))),
    fault("swiglu-no-slope", "missing term", VJP, "missing-h-prime", vjp=_swiglu_vjp(np.ones_like)),
    fault("swiglu-of-the-sigmoid", "formula", FORWARD, "missing-factor",
          forward=lambda x, W, V: sigmoid(x @ W) * (x @ V)),
    fault("swiglu-gate-and-value-exchanged", "argument order", FORWARD, forward=lambda x, W, V: _swiglu(x, V, W)),
    fault("swiglu-x-through-the-gate-alone", "missing term", VJP, "missing-path",
          vjp=_swiglu_vjp(dx=lambda dz, du, W, V: dz @ W.T)),
    fault("swiglu-x-through-the-value-alone", "missing term", VJP, "missing-path",
          vjp=_swiglu_vjp(dx=lambda dz, du, W, V: du @ V.T)),
    fault("swiglu-x-through-one-matrix", "formula", VJP, vjp=_swiglu_vjp(dx=lambda dz, du, W, V: (dz + du) @ W.T)),
    fault("swiglu-value-forgotten", "missing term", VJP, "missing-factor", vjp=_swiglu_vjp(value=np.ones_like)),
    fault("swiglu-gate-without-its-input", "missing term", VJP, vjp=_swiglu_vjp(gate=sigmoid)),
    fault("swiglu-sigmoid-overflows", "overflow", FORWARD, "overflow",
          forward=lambda x, W, V: (x @ W) * _quotient(x @ W) * (x @ V)),
    *general(_SWIGLU, RIGHT[_SWIGLU]),
]  # fmt: skip

# ── The softmax's logarithm ─────────────────────────────────────────────────────────────────────────────────────────


def _log_of_sum(x: Array) -> Any:
    return np.log(np.exp(x).sum(-1))


fault = partial(Fault, _LOG)
LOG_SOFTMAX = [
    fault("log-softmax-max-not-subtracted", "overflow", FORWARD, "overflow",
          forward=lambda x: x - _log_of_sum(x)[..., None]),
    fault("log-softmax-log-of-softmax", "saturation", FORWARD, forward=lambda x: np.log(softmax(x))),
    fault("log-softmax-epsilon", "clipping", FORWARD, "clipped",
          forward=lambda x: np.log(softmax(x) + x.dtype.type(1e-9))),
    fault("log-softmax-over-the-batch", "formula", FORWARD, "axis",
          forward=lambda x: log_softmax(x.T).T.copy()),
    fault("log-softmax-first-path", "missing term", VJP, "missing-path", vjp=lambda d, x: (d.copy(),)),
    fault("log-softmax-diagonal", "missing term", VJP, "missing-path", vjp=lambda d, x: (d * (1 - softmax(x)),)),
    fault("log-softmax-sum-of-one", "cotangent ignored", VJP, vjp=_log_softmax_vjp(total=lambda d: 1)),
    fault("log-softmax-mean-for-sum", "factor", VJP,
          vjp=_log_softmax_vjp(total=lambda d: d.sum(-1, keepdims=True) / d.shape[-1])),
    fault("log-softmax-total-of-all-rows", "formula", VJP, "only-n-1", vjp=_log_softmax_vjp(total=lambda d: d.sum())),
    fault("log-softmax-of-a-softmax", "formula", VJP, "another-function",
          vjp=lambda d, x: (lambda s: (s * (d - (s * d).sum(-1, keepdims=True)),))(softmax(x))),
    fault("log-softmax-exp-forgotten", "formula", VJP, vjp=_log_softmax_vjp(log_softmax)),
    fault("log-softmax-slope-overflows", "overflow", VJP, "overflow",
          vjp=_log_softmax_vjp(lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True))),
    *general(_LOG, RIGHT[_LOG]),
]  # fmt: skip

fault = partial(Fault, _LSE)
LOGSUMEXP = [
    fault("logsumexp-max-not-subtracted", "overflow", FORWARD, "overflow", forward=_log_of_sum),
    fault("logsumexp-max-of-all", "overflow", FORWARD, "overflow",
          forward=lambda x: x.max() + np.log(np.exp(x - x.max()).sum(-1))),
    fault("logsumexp-max-forgotten", "missing term", FORWARD, "missing-path",
          forward=lambda x: np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1))),
    fault("logsumexp-log-mean", "formula", FORWARD, "only-n-1",
          forward=lambda x: _logsumexp(x) - np.log(np.asarray(x.shape[-1], x.dtype))),
    fault("logsumexp-the-largest", "formula", FORWARD, "missing-path", forward=lambda x: x.max(-1)),
    fault("logsumexp-epsilon", "clipping", FORWARD,
          forward=lambda x: x.max(-1) + np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1) + x.dtype.type(1e-5))),
    fault("logsumexp-slope-of-the-largest", "formula", VJP, "only-n-1",
          vjp=_logsumexp_vjp(lambda x: (x == x.max(-1, keepdims=True)).astype(x.dtype))),
    fault("logsumexp-slope-of-ones", "missing term", VJP, "axis", vjp=_logsumexp_vjp(np.ones_like)),
    fault("logsumexp-slope-not-normalised", "formula", VJP, "missing-factor",
          vjp=_logsumexp_vjp(lambda x: np.exp(x - x.max(-1, keepdims=True)))),
    fault("logsumexp-slope-overflows", "overflow", VJP, "overflow",
          vjp=_logsumexp_vjp(lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True))),
    fault("logsumexp-slope-over-the-batch", "formula", VJP, vjp=_logsumexp_vjp(lambda x: softmax(x.T).T)),
    *general(_LSE, RIGHT[_LSE]),
]  # fmt: skip

LAYERS = [*LINEAR, *EMBEDDING, *DROPOUT, *GLU, *SWIGLU, *LOG_SOFTMAX, *LOGSUMEXP]
