"""Convolutions and pools: right forms, and wrong ones."""

from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ...checking.python_files import Implementation
from . import makers as m
from .general import general
from .makers import F32, F64, FORWARD, VJP, Array, Function, dashed
from .table import Fault, Neighbour

LETTERS = {"conv1d": ("i", "k"), "conv2d": ("ij", "pq")}  # of positions, and of taps: for einsum

# ── Right: convolutions, with a place for each usual mistake ────────────────────────────────────────────────────────


def windows(x: Array, weight: Array) -> Any:
    """What each output sees of each channel: `(b,c,…positions,…taps)`."""
    return sliding_window_view(x, weight.shape[2:], tuple(range(2, x.ndim)))


def correlated(name: str, x: Array, weight: Array) -> Any:
    at, taps = LETTERS[name]
    return np.einsum(f"bc{at}{taps},oc{taps}->bo{at}", windows(x, weight), weight)


def with_bias(u: Array, bias: Array) -> Any:
    return u + bias.reshape(-1, *(1 for _ in u.shape[2:]))


def convolved(name: str) -> Function:
    return lambda x, weight, bias: with_bias(correlated(name, x, weight), bias)


def flipped(weight: Array, axes: tuple[int, ...] | None = None) -> Array:
    return np.flip(weight, tuple(range(2, weight.ndim)) if axes is None else axes)


def padded(delta: Array, weight: Array, less: int = 0) -> Array:
    """With as many zeros at both ends as a full correlation needs."""
    return np.pad(delta, [(0, 0), (0, 0), *((k - 1 + less, k - 1 - less) for k in weight.shape[2:])])


def by_x(name: str, delta: Array, x: Array, weight: Array) -> Any:
    """The full correlation of δ with the flipped kernel, outputs and inputs exchanged."""
    return correlated(name, padded(delta, weight), flipped(weight).swapaxes(0, 1))


def by_weight(name: str, delta: Array, x: Array, weight: Array) -> Any:
    at, taps = LETTERS[name]
    return np.einsum(f"bo{at},bc{at}{taps}->oc{taps}", delta, windows(x, weight))


def by_bias(delta: Array) -> Any:
    return delta.sum((0, *range(2, delta.ndim)))


def conv_vjp(
    name: str, by_x: Function = by_x, by_weight: Function = by_weight, by_bias: Function = by_bias
) -> Function:
    return lambda d, x, weight, bias: (by_x(name, d, x, weight), by_weight(name, d, x, weight), by_bias(d))


# ── Right: pools ────────────────────────────────────────────────────────────────────────────────────────────────────


def squares(x: Array) -> Array:
    """`(b,c,h/2,w/2,4)`, row by row."""
    b, c, h, w = x.shape
    return x.reshape(b, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(b, c, h // 2, w // 2, 4)


def unfolded(s: Array) -> Array:
    """The inverse of `squares`."""
    b, c, h, w, _ = s.shape
    return s.reshape(b, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(b, c, 2 * h, 2 * w)


def largest(x: Array) -> Any:
    return squares(x).max(-1)


def max_vjp(chosen: Function) -> Function:
    """`chosen` says which share of the cotangent each entry of a square gets."""
    return lambda d, x: (unfolded((d[..., None] * chosen(squares(x))).astype(x.dtype)),)


def first(s: Array) -> Any:
    return np.arange(4) == s.argmax(-1)[..., None]


def averaged(x: Array) -> Any:
    return squares(x).mean(-1)


def spread(d: Array, x: Array) -> Any:
    return (np.repeat(np.repeat(d / 4, 2, -1), 2, -2),)


RIGHT: Mapping[str, Implementation] = {
    **{name: Implementation(convolved(name), vjp=conv_vjp(name)) for name in LETTERS},
    "max_pool2d": Implementation(largest, vjp=max_vjp(first)),
    "avg_pool2d": Implementation(averaged, vjp=spread),
}

# ── Right, by other algebra ─────────────────────────────────────────────────────────────────────────────────────────


def _places(x: Array, weight: Array) -> list[tuple[Any, Any]]:
    """Each tap of the weight, with the part of x that it meets."""
    sizes = [n - k + 1 for n, k in zip(x.shape[2:], weight.shape[2:], strict=True)]
    taps = product(*map(range, weight.shape[2:]))
    return [((..., *tap), (..., *(slice(t, t + n) for t, n in zip(tap, sizes, strict=True)))) for tap in taps]


def _tap_by_tap(x: Array, weight: Array, bias: Array) -> Any:
    """One sum that starts from the bias."""
    terms = [np.einsum("bc...,oc->bo...", x[part], weight[tap]) for tap, part in _places(x, weight)]
    return sum(terms, with_bias(0 * terms[0], bias))


def _scattered(name: str, delta: Array, x: Array, weight: Array) -> Any:
    """Each tap adds its share to the part of dx that it has met."""
    dx = np.zeros_like(x)
    for tap, part in _places(x, weight):
        dx[part] += np.einsum("bo...,oc->bc...", delta, weight[tap])
    return dx


def _as_a_matrix(x: Array, weight: Array, bias: Array) -> Any:
    """im2col: one product of matrices."""
    seen = windows(x, weight)
    positions = seen.shape[2 : x.ndim]
    columns = np.moveaxis(seen, 1, x.ndim - 1).reshape(len(x), int(np.prod(positions)), -1)
    u = columns @ weight.reshape(len(weight), -1).T
    return with_bias(u.swapaxes(1, 2).reshape(len(x), len(weight), *positions), bias)


def _weight_as_a_matrix(name: str, delta: Array, x: Array, weight: Array) -> Any:
    seen = windows(x, weight)
    columns = np.moveaxis(seen, 1, x.ndim - 1).reshape(-1, int(np.prod(weight.shape[1:])))
    return (np.moveaxis(delta, 1, -1).reshape(-1, len(weight)).T @ columns).reshape(weight.shape)


def _by_comparison(d: Array, x: Array) -> Any:
    """A loop over the four places: the first that is the largest takes all."""
    left, dx = np.ones(d.shape, bool), np.zeros_like(x)
    for i, j in product(range(2), range(2)):
        here = left & (x[..., i::2, j::2] == largest(x))
        dx[..., i::2, j::2] = np.where(here, d, 0)
        left = left & ~here
    return (dx,)


CONVOLUTIONS_RIGHT = [
    *(Neighbour(name, f"{dashed(name)}-textbook", "as a textbook writes it", right.forward, vjp=right.vjp)
      for name, right in RIGHT.items()),
    *(Neighbour(name, f"{dashed(name)}-tap-by-tap", "the bias, then tap after tap", _tap_by_tap,
                vjp=conv_vjp(name, _scattered)) for name in LETTERS),
    *(Neighbour(name, f"{dashed(name)}-im2col", "one product of matrices", _as_a_matrix,
                vjp=conv_vjp(name, _scattered, _weight_as_a_matrix)) for name in LETTERS),
    Neighbour("max_pool2d", "max-pool2d-by-comparison", "place by place", lambda x: np.maximum(
              np.maximum(x[..., ::2, ::2], x[..., ::2, 1::2]), np.maximum(x[..., 1::2, ::2], x[..., 1::2, 1::2])),
              vjp=_by_comparison),
    Neighbour("max_pool2d", "max-pool2d-split-ties", "equals share the cotangent", largest,
              vjp=max_vjp(lambda s: (lambda e: e / e.sum(-1, keepdims=True, dtype=s.dtype))(
                  s == s.max(-1, keepdims=True))), unpromised=("kink",)),
    Neighbour("avg_pool2d", "avg-pool2d-one-by-one", "a quarter of each", lambda x: (
              x[..., ::2, ::2] / 4 + x[..., ::2, 1::2] / 4 + x[..., 1::2, ::2] / 4 + x[..., 1::2, 1::2] / 4),
              vjp=lambda d, x: (np.kron(d, np.full((2, 2), x.dtype.type(0.25))),)),
]  # fmt: skip

# ── Wrong ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _conv_faults(name: str) -> list[Fault]:
    fault, vjp, forward = m.faults_of(name), partial(conv_vjp, name), convolved(name)
    last, right = (LETTERS[name][1][-1], conv_vjp(name))
    size = {"k": "n", "q": "w"}[last]

    def of_x(change: Function) -> Function:
        return vjp(by_x=change)

    def of_weight(change: Function) -> Function:
        return vjp(by_weight=change)

    return [
        fault("flipped", "formula", FORWARD, "reordered",
              forward=lambda x, weight, bias: forward(x, flipped(weight), bias)),
        fault("not-flipped-dx", "transpose", VJP, "reordered",
              vjp=of_x(lambda name, d, x, weight: correlated(name, padded(d, weight), weight.swapaxes(0, 1)))),
        fault("flipped-dweight", "transpose", VJP, "reordered",
              vjp=of_weight(lambda *point: flipped(by_weight(*point)))),
        fault("channels-turned", "transpose", FORWARD, "transposed", sizes={"c": 3, "o": 3},
              forward=lambda x, weight, bias: forward(
                  x, weight.swapaxes(0, 1) if weight.shape[0] == weight.shape[1] else weight, bias)),
        fault("channels-turned-dx", "transpose", VJP, "transposed", sizes={"c": 3, "o": 3},
              vjp=of_x(lambda name, d, x, weight: by_x(
                  name, d, x, weight.swapaxes(0, 1) if weight.shape[0] == weight.shape[1] else weight))),
        fault("channels-turned-dweight", "transpose", VJP, "transposed", sizes={"c": 3, "o": 3},
              vjp=of_weight(lambda name, d, x, weight: (lambda r: r.swapaxes(0, 1).copy()
                            if r.shape[0] == r.shape[1] else r)(by_weight(name, d, x, weight)))),
        fault("padded-by-one-too-many", "formula", VJP, "reordered",
              vjp=of_x(lambda name, d, x, weight: np.roll(by_x(name, d, x, weight), 1, -1))),
        fault("window-one-on", "formula", VJP, "reordered",
              vjp=of_weight(lambda name, d, x, weight: by_weight(name, d, np.roll(x, -1, -1), weight))),
        fault("last-position", "tail of a tile", FORWARD, forward=lambda x, weight, bias: (
              lambda u: np.where(np.arange(u.shape[-1]) < max(u.shape[-1] - 1, 1), u, 0).astype(u.dtype))(
                  forward(x, weight, bias))),
        fault("last-position-of-dx", "tail of a tile", VJP,
              vjp=of_x(lambda name, d, x, weight: by_x(name, d * (np.arange(d.shape[-1]) < max(
                  d.shape[-1] - 1, 1)).astype(d.dtype), x, weight))),
        fault("last-tap", "missing term", FORWARD, forward=lambda x, weight, bias: forward(x, np.where(
              np.arange(weight.shape[-1]) < max(weight.shape[-1] - 1, 1), weight, 0).astype(x.dtype), bias)),
        fault("first-channel", "missing term", FORWARD, forward=lambda x, weight, bias: forward(
              x[:, :1], weight[:, :1], bias)),
        fault("first-output-of-dx", "missing term", VJP, "missing-path",
              vjp=of_x(lambda name, d, x, weight: by_x(name, d[:, :1], x, weight[:1]))),
        fault("first-example-of-dweight", "batch", VJP,
              vjp=of_weight(lambda name, d, x, weight: by_weight(name, d[:1], x[:1], weight))),
        fault("dweight-mean", "batch", VJP, "factor-n",
              vjp=of_weight(lambda name, d, x, weight: by_weight(name, d, x, weight) / d.dtype.type(len(d)))),
        fault("no-bias", "missing term", FORWARD, forward=lambda x, weight, bias: forward(x, weight, 0 * bias)),
        fault("dbias-over-the-batch", "wrong shape", VJP, vjp=vjp(by_bias=lambda d: d.sum(0))),
        fault("dbias-over-channels", "formula", VJP, "axis",
              vjp=lambda d, x, weight, bias: (*right(d, x, weight, bias)[:2], np.full_like(bias, d.sum()))),
        fault("dbias-of-a-position", "missing term", VJP, "missing-path",
              vjp=vjp(by_bias=lambda d: d[..., -1:].sum((0, *range(2, d.ndim))))),
        fault("dbias-mean-of-positions", "factor", VJP,
              vjp=vjp(by_bias=lambda d: by_bias(d) / d.dtype.type(d[0, 0].size))),
        fault("cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
              vjp=lambda d, x, weight, bias: right(np.ones_like(d), x, weight, bias)),
        fault("dx-missing", "missing term", VJP, "missing-path", vjp=m.changed(right, np.zeros_like, only=0)),
        fault("dx-of-the-middle", "formula", VJP, vjp=of_x(lambda name, d, x, weight: np.pad(
              d[:, :1].repeat(x.shape[1], 1), [(0, 0), (0, 0), *((0, k - 1) for k in weight.shape[2:])]))),
        fault("positions-past-16", "tail of a tile", FORWARD, "tile-tail", sizes={size: 20, last: 2},
              forward=m.drop_tail(forward, 16)),
        fault("captured", "captured weights", VJP, "stale", vjp=m.captured(right, [2])),
        fault("adds-up", "stale state", "says_the_same_twice", "stale", vjp=m.accumulated(right, only=1)),
        fault("float32", "precision", VJP, "lower-precision", dtypes=F64, vjp=m.computed_in(right, np.float32)),
    ]  # fmt: skip


def _turned_taps(weight: Array) -> Array:
    return weight.swapaxes(-1, -2) if weight.shape[-1] == weight.shape[-2] else weight


_RIGHT_2D = conv_vjp("conv2d")
conv2d = m.faults_of("conv2d")
_ONLY_2D = [
    conv2d("taps-turned", "transpose", FORWARD, "transposed", sizes={"p": 2, "q": 2},
           forward=lambda x, weight, bias: convolved("conv2d")(x, _turned_taps(weight), bias)),
    conv2d("taps-turned-dweight", "transpose", VJP, "transposed", sizes={"p": 2, "q": 2},
           vjp=m.changed(_RIGHT_2D, lambda r: _turned_taps(r).copy(), only=1)),
    conv2d("one-axis-flipped", "transpose", VJP, "reordered",
           vjp=conv_vjp("conv2d", lambda name, d, x, weight: correlated(
           name, padded(d, weight), flipped(weight, (3,)).swapaxes(0, 1)))),
    conv2d("dbias-over-rows", "wrong shape", VJP, vjp=conv_vjp("conv2d", by_bias=lambda d: d.sum((0, 2)))),
    conv2d("only-the-first-row-of-taps", "missing term", FORWARD, forward=lambda x, weight, bias: convolved(
           "conv2d")(x, weight * (np.arange(weight.shape[2]) == 0).astype(x.dtype)[:, None], bias)),
]  # fmt: skip


def _two_by_one(x: Array) -> Any:
    return np.maximum(x[..., ::2, ::2], x[..., 1::2, ::2])


def _pool_faults(name: str) -> list[Fault]:
    """What goes wrong with either pool."""
    right, fault = RIGHT[name], m.faults_of(name)
    forward, vjp = right.forward, right.vjp
    assert forward
    assert vjp
    return [
        fault("window-one-on", "formula", FORWARD, forward=lambda x: forward(np.roll(x, -1, -1))),
        fault("halves-for-neighbours", "formula", FORWARD, forward=lambda x: forward(
              x.reshape(*x.shape[:3], 2, -1).swapaxes(-1, -2).reshape(x.shape))),
        fault("tiled", "formula", VJP, vjp=lambda d, x: (
              lambda r: r.reshape(*x.shape[:3], -1, 2).swapaxes(-1, -2).reshape(x.shape))(vjp(d, x)[0])),
        fault("rows-for-columns", "transpose", FORWARD, "transposed", sizes={"h": 2, "w": 2},
              forward=lambda x: (lambda u: u.swapaxes(2, 3).copy() if u.shape[2] == u.shape[3] else u)(forward(x))),
        fault("cotangent-turned", "transpose", VJP, "transposed", sizes={"h": 2, "w": 2},
              vjp=lambda d, x: vjp(d.swapaxes(2, 3) if d.shape[2] == d.shape[3] else d, x)),
        fault("cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
              vjp=lambda d, x: vjp(np.ones_like(d), x)),
        fault("everything-to-the-corner", "formula", VJP,
              vjp=max_vjp(lambda s: np.arange(4) == 0 * s[..., :1])),
        fault("last-column", "tail of a tile", FORWARD, forward=lambda x: (lambda u: np.where(
              np.arange(u.shape[-1]) < max(u.shape[-1] - 1, 1), u, 0).astype(u.dtype))(forward(x))),
        fault("last-row-of-dx", "tail of a tile", VJP, vjp=lambda d, x: vjp(
              d * (np.arange(d.shape[2]) < max(d.shape[2] - 1, 1)).astype(d.dtype)[:, None], x)),
        fault("channels-together", "formula", VJP, vjp=lambda d, x: vjp(
              np.broadcast_to(d.sum(1, keepdims=True), d.shape).astype(d.dtype), x)),
        fault("batch-mean", "batch", VJP, "factor-n", vjp=m.batch_mean(vjp, [0], 3)),
        fault("nan-hidden", "NaN hidden", "nan_in_nan_out", forward=m.nan_to_zero(forward)),
    ]  # fmt: skip


fault = m.faults_of("max_pool2d")
MAX_POOL = [
    fault("ties-to-all", "ties", VJP, "kink", asks="kink",
          vjp=max_vjp(lambda s: s == s.max(-1, keepdims=True))),
    fault("ties-to-the-last", "kink", VJP, "kink", asks="kink",
          vjp=max_vjp(lambda s: np.arange(4) == 3 - s[..., ::-1].argmax(-1)[..., None])),
    fault("ties-shared", "kink", VJP, "kink", asks="kink", vjp=CONVOLUTIONS_RIGHT[-2].vjp),
    fault("to-all", "formula", VJP, vjp=max_vjp(np.ones_like)),
    fault("backward-of-the-average", "formula", VJP, "another-function", vjp=spread),
    fault("to-the-least", "formula", VJP, vjp=max_vjp(lambda s: np.arange(4) == s.argmin(-1)[..., None])),
    fault("magnitudes", "some values", VJP,
          vjp=max_vjp(lambda s: np.arange(4) == np.abs(s).argmax(-1)[..., None])),
    fault("times-the-value", "formula", VJP, vjp=max_vjp(lambda s: first(s) * s)),
    fault("least", "formula", FORWARD, forward=lambda x: squares(x).min(-1)),
    fault("average", "formula", FORWARD, "another-function", forward=averaged),
    fault("from-zero", "some values", FORWARD, forward=lambda x: np.maximum(largest(x), 0)),
    fault("magnitudes-forward", "some values", FORWARD, forward=lambda x: np.abs(squares(x)).max(-1)),
    fault("two-by-one", "missing term", FORWARD, forward=_two_by_one),
    fault("passes-nan-over", "NaN hidden", "nan_in_nan_out",
          forward=lambda x: np.fmax.reduce(squares(x), -1)),
]  # fmt: skip

fault = m.faults_of("avg_pool2d")
AVG_POOL = [
    fault("half", "factor", FORWARD, "factor", forward=lambda x: squares(x).sum(-1) / 2),
    fault("sum", "factor", FORWARD, "factor", forward=lambda x: squares(x).sum(-1)),
    fault("undivided", "factor", VJP, "factor", vjp=m.scaled(spread, 4)),
    fault("divided-twice", "factor", VJP, "factor", vjp=m.scaled(spread, 0.25)),
    fault("halves-backward", "factor", VJP, "factor", vjp=m.scaled(spread, 2)),
    fault("backward-of-the-largest", "formula", VJP, "another-function", vjp=max_vjp(first)),
    fault("largest", "formula", FORWARD, "another-function", forward=largest),
    fault("two-by-one", "missing term", FORWARD,
          forward=lambda x: (x[..., ::2, ::2] + x[..., 1::2, ::2]) / 2),
    fault("without-zeros", "exact zeros", FORWARD, forward=lambda x: (lambda s: s.sum(-1) / np.maximum(
          (s != 0).sum(-1), 1).astype(x.dtype))(squares(x))),
    fault("weighted", "formula", VJP, "factor", vjp=max_vjp(lambda s: s / 4)),
    fault("float32", "precision", FORWARD, "lower-precision", dtypes=F64,
          forward=m.computed_in(averaged, np.float32)),
    fault("always-float64", "dtype", "keeps_the_dtype", "dtype", dtypes=F32,
          forward=m.float64_results(averaged)),
]  # fmt: skip

CONVOLUTIONS_WRONG: list[Fault] = [
    *(fault for name in LETTERS for fault in _conv_faults(name)),
    *_ONLY_2D,
    *(fault for name in ("max_pool2d", "avg_pool2d") for fault in _pool_faults(name)),
    *MAX_POOL,
    *AVG_POOL,
    *(fault for name, right in RIGHT.items() for fault in general(name, right)),
]
