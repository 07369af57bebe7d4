"""Layer, RMS, batch and group norm, vectors of length one and their cosine: right forms, and wrong ones."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...checking.python_files import Implementation
from . import makers as m
from .general import general
from .makers import F32, F64, FORWARD, VJP, Array, Function, dashed
from .table import Fault, Neighbour

EPS = 1e-5
SHORTER = ("float16", "bfloat16")
NORMS = ("layer_norm", "batch_norm", "group_norm")


class Scaled(NamedTuple):
    """`x̂ = (x − mean) · inverse`, and the inverse."""

    x: Array
    inverse: Array


# ── Right: statistics over an axis, and the pieces that go wrong ────────────────────────────────────────────────────


def scaled(x: Array, axis: Any, eps: float = EPS) -> Scaled:
    centred = x - x.mean(axis, keepdims=True)
    inverse = 1 / np.sqrt((centred * centred).mean(axis, keepdims=True) + x.dtype.type(eps))
    return Scaled(centred * inverse, inverse)


def by_root_of_squares(x: Array, axis: Any, eps: float = 1e-6) -> Scaled:
    inverse = 1 / np.sqrt((x * x).mean(axis, keepdims=True) + x.dtype.type(eps))
    return Scaled(x * inverse, inverse)


def mean(a: Array, axis: Any) -> Any:
    return a.mean(axis, keepdims=True)


def through_both(g: Array, s: Scaled, axis: Any) -> Any:
    """The cotangent of x from that of x̂: its own, less what goes through the mean, less what goes through the root."""
    return s.inverse * (g - mean(g, axis) - s.x * mean(g * s.x, axis))


def through_the_root(g: Array, s: Scaled, axis: Any) -> Any:
    return s.inverse * (g - s.x * mean(g * s.x, axis))


def through_the_mean(g: Array, s: Scaled, axis: Any) -> Any:
    return s.inverse * (g - mean(g, axis))


def through_none(g: Array, s: Scaled, axis: Any) -> Any:
    return s.inverse * g


class Layout(NamedTuple):
    """Of a norm: the shape in which statistics are taken, their axis, and which axes share a weight."""

    split: Callable[[Array], Array] = lambda x: x
    axis: Any = -1
    shared: tuple[int, ...] = (0,)
    spread: Callable[[Array], Array] = lambda weight: weight


LAYOUTS: Mapping[str, Layout] = {
    "layer_norm": Layout(),
    "batch_norm": Layout(axis=0),
    "group_norm": Layout(lambda x: x.reshape(len(x), 2, -1), -1, (0, 2), lambda weight: weight[:, None]),
}


def norm_forward(layout: Layout, scaled: Function = scaled) -> Function:
    def forward(x: Array, weight: Array, bias: Array) -> Any:
        normal = scaled(layout.split(x), layout.axis).x.reshape(x.shape)
        return normal * layout.spread(weight) + layout.spread(bias)

    return forward


def norm_vjp(
    layout: Layout,
    scaled: Function = scaled,
    back: Function = through_both,
    weighted: Function = lambda delta, weight: delta * weight,
    slopes: Function = lambda delta, normal, x: (delta * normal, delta),
) -> Function:
    """`dx, dweight, dbias`, with a place for each usual mistake."""

    def vjp(delta: Array, x: Array, weight: Array, bias: Array) -> Any:
        s = scaled(layout.split(x), layout.axis)
        g = layout.split(weighted(delta, layout.spread(weight)))
        dweight, dbias = slopes(delta, s.x.reshape(x.shape), x)
        dx = back(g, s, layout.axis).reshape(x.shape)
        return dx, dweight.sum(layout.shared), dbias.sum(layout.shared)

    return vjp


def rms_forward(scaled: Function = by_root_of_squares) -> Function:
    return lambda x, weight: scaled(x, -1).x * weight


def rms_vjp(
    scaled: Function = by_root_of_squares,
    back: Function = through_the_root,
    weighted: Function = lambda delta, weight: delta * weight,
    slope: Function = lambda delta, normal, x: delta * normal,
) -> Function:
    def vjp(delta: Array, x: Array, weight: Array) -> Any:
        s = scaled(x, -1)
        return back(weighted(delta, weight), s, -1), slope(delta, s.x, x).sum(0)

    return vjp


def length(x: Array, eps: float) -> Any:
    """`max(‖x‖, eps)`."""
    return np.maximum(np.sqrt((x * x).sum(-1, keepdims=True)), x.dtype.type(eps))


def inner(a: Array, b: Array) -> Any:
    return (a * b).sum(-1, keepdims=True)


def unit_back(delta: Array, x: Array, eps: float) -> Any:
    """`(δ − x̂ (x̂ · δ)) / ‖x‖`; below eps the length is a constant."""
    n = length(x, eps)
    u = x / n
    return (delta - np.where(n > x.dtype.type(eps), u * inner(u, delta), 0)) / n


def unit_vjp(back: Function) -> Function:
    return lambda delta, x: (back(delta, x),)


def cosine(x: Array, y: Array, length: Function = length) -> Any:
    return (x / length(x, 1e-8) * (y / length(y, 1e-8))).sum(-1)


def cosine_vjp(back: Function = unit_back, unit: Function = lambda x: x / length(x, 1e-8)) -> Function:
    def vjp(delta: Array, x: Array, y: Array) -> Any:
        delta = delta[:, None]
        return back(delta * unit(y), x, 1e-8), back(delta * unit(x), y, 1e-8)

    return vjp


RIGHT: Mapping[str, Implementation] = {
    **{name: Implementation(norm_forward(LAYOUTS[name]), vjp=norm_vjp(LAYOUTS[name])) for name in NORMS},
    "rms_norm": Implementation(rms_forward(), vjp=rms_vjp()),
    "l2_normalize": Implementation(
        lambda x: x / length(x, 1e-12), vjp=unit_vjp(lambda delta, x: unit_back(delta, x, 1e-12))
    ),
    "cosine_similarity": Implementation(cosine, vjp=cosine_vjp()),
}

# ── Right, by other algebra ─────────────────────────────────────────────────────────────────────────────────────────


def _sums_of_products(g: Array, s: Scaled, axis: Any) -> Any:
    """`inverse / n · (n g − Σ g − x̂ Σ g x̂)`, as it stands in many papers."""
    n = g.dtype.type(g.shape[axis])
    return s.inverse / n * (n * g - g.sum(axis, keepdims=True) - s.x * (g * s.x).sum(axis, keepdims=True))


def _by_jacobians(delta: Array, x: Array) -> tuple[Array]:
    """`(I − x̂ x̂ᵀ) / ‖x‖`, row by row."""
    n = length(x, 1e-12)
    u, one = x / n, np.eye(x.shape[-1], dtype=x.dtype)
    J = (one - np.where(n > x.dtype.type(1e-12), 1, 0)[..., None].astype(x.dtype) * u[:, :, None] * u[:, None, :]) / n[
        ..., None
    ]
    return (np.einsum("bi,bij->bj", delta, J),)


def _by_numpys_variance(x: Array, axis: Any) -> Scaled:
    root = np.sqrt(x.var(axis, keepdims=True) + x.dtype.type(EPS))
    return Scaled((x - x.mean(axis, keepdims=True)) / root, 1 / root)


NORMS_RIGHT = [
    *(Neighbour(name, f"{dashed(name)}-textbook", "as a textbook writes it", right.forward, vjp=right.vjp)
      for name, right in RIGHT.items()),
    *(Neighbour(name, f"{dashed(name)}-by-float32", "computed in float32, rounded once",
                m.computed_in(right.forward, np.float32), vjp=m.computed_in(right.vjp, np.float32), dtypes=SHORTER)
      for name, right in RIGHT.items() if right.forward and right.vjp),
    *(Neighbour(name, f"{dashed(name)}-by-sums", "n g − Σ g − x̂ Σ g x̂",
                norm_forward(layout, _by_numpys_variance), vjp=norm_vjp(layout, _by_numpys_variance, _sums_of_products))
      for name, layout in LAYOUTS.items()),
    Neighbour("rms_norm", "rms-norm-power", "g/r − x Σ g x / (n r³)", lambda x, weight: weight * (
              x / np.sqrt(np.mean(x**2, -1, keepdims=True) + x.dtype.type(1e-6))),
              vjp=rms_vjp(back=lambda g, s, axis: g * s.inverse - s.x * (g * s.x).sum(-1, keepdims=True) * s.inverse
                          / g.dtype.type(g.shape[-1]))),
    Neighbour("l2_normalize", "l2-normalize-by-jacobian", "δ times the dense Jacobian",
              lambda x: x / length(x, 1e-12), vjp=_by_jacobians),
]  # fmt: skip

# ── Wrong ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _outside(x: Array, axis: Any) -> Scaled:
    """Epsilon is added to the root."""
    root = x.std(axis, keepdims=True) + x.dtype.type(EPS)
    return Scaled((x - mean(x, axis)) / root, 1 / root)


def _one_less(x: Array, axis: Any) -> Scaled:
    """The variance divides by n − 1."""
    inverse = 1 / np.sqrt(x.var(axis, ddof=1 if x.shape[axis] > 1 else 0, keepdims=True) + x.dtype.type(EPS))
    return Scaled((x - mean(x, axis)) * inverse, inverse)


def _mean_of_squares_less_square_of_mean(x: Array, axis: Any) -> Scaled:
    variance = np.maximum(mean(x * x, axis) - mean(x, axis) ** 2, 0)
    inverse = 1 / np.sqrt(variance + x.dtype.type(EPS))
    return Scaled((x - mean(x, axis)) * inverse, inverse)


def _without_a_mean(x: Array, axis: Any) -> Scaled:
    return by_root_of_squares(x, axis, EPS)


def _by_the_variance(x: Array, axis: Any) -> Scaled:
    """The root is forgotten."""
    s = scaled(x, axis)
    return Scaled(s.x * s.inverse, s.inverse * s.inverse)


def _no_epsilon(x: Array, axis: Any) -> Scaled:
    """Only where nothing varies, so that nothing is divided by 0."""
    spread = x.std(axis, keepdims=True)
    inverse = 1 / np.where(spread > 0, spread, x.dtype.type(EPS**0.5))
    return Scaled((x - mean(x, axis)) * inverse, inverse)


def _norm_faults(name: str) -> list[Fault]:
    """What goes wrong with each norm that has a mean and a variance."""
    layout = LAYOUTS[name]
    forward, vjp, fault = partial(norm_forward, layout), partial(norm_vjp, layout), m.faults_of(name)

    def back(change: Function) -> Function:
        return vjp(back=change)

    return [
        fault("mean-constant", "missing term", VJP, "missing-path", vjp=back(through_the_root)),
        fault("variance-constant", "missing term", VJP, "missing-path", vjp=back(through_the_mean)),
        fault("both-constant", "missing term", VJP, "missing-path", vjp=back(through_none)),
        fault("variance-sign", "sign", VJP, "sign",
              vjp=back(lambda g, s, axis: s.inverse * (g - mean(g, axis) + s.x * mean(g * s.x, axis)))),
        fault("sums-for-means", "factor", VJP, "factor-n", vjp=back(lambda g, s, axis: s.inverse * (
              g - g.sum(axis, keepdims=True) - s.x * (g * s.x).sum(axis, keepdims=True)))),
        fault("inverse-forgotten", "missing term", VJP, "missing-factor",
              vjp=back(lambda g, s, axis: through_both(g, s, axis) / s.inverse)),
        fault("inner-of-the-cotangent", "missing term", VJP,
              vjp=back(lambda g, s, axis: s.inverse * (g - mean(g, axis) - s.x * mean(g, axis)))),
        fault("epsilon-outside", "formula", FORWARD, "constant", forward=forward(_outside)),
        fault("epsilon-outside-backward", "formula", VJP, "constant", vjp=vjp(_outside)),
        fault("epsilon-forgotten", "missing term", FORWARD, "constant", forward=forward(_no_epsilon)),
        fault("epsilon-forgotten-backward", "missing term", VJP, "constant", vjp=vjp(_no_epsilon)),
        fault("n-less-one", "factor", FORWARD, "factor-n", forward=forward(_one_less)),
        fault("n-less-one-backward", "factor", VJP, "factor-n", vjp=vjp(_one_less)),
        fault("mean-of-squares", "cancellation", FORWARD, "rounding",
              forward=forward(_mean_of_squares_less_square_of_mean)),
        fault("no-mean", "missing term", FORWARD, "missing-path", forward=forward(_without_a_mean)),
        fault("no-root", "formula", FORWARD, forward=forward(_by_the_variance)),
        fault("other-epsilon", "formula", FORWARD, "constant",
              forward=forward(lambda x, axis: scaled(x, axis, 1e-6))),
        fault("weight-forgotten", "missing term", VJP, "missing-factor",
              vjp=vjp(weighted=lambda delta, weight: delta * np.ones_like(weight))),
        fault("weight-from-x", "formula", VJP, "input-for-output",
              vjp=vjp(slopes=lambda delta, normal, x: (delta * x, delta))),
        fault("bias-from-x", "formula", VJP, vjp=vjp(slopes=lambda delta, normal, x: (delta * normal, delta * x))),
        fault("weight-and-bias", "argument order", VJP, "exchanged",
              vjp=vjp(slopes=lambda delta, normal, x: (delta, delta * normal))),
        fault("batch-mean", "batch", VJP, "factor-n",
              vjp=vjp(slopes=lambda delta, normal, x: (delta * normal / x.dtype.type(len(x)), delta / x.dtype.type(
                  len(x))))),
        fault("first-example", "batch", VJP,
              vjp=lambda d, x, w, b: (lambda right, first: (right[0], *first[1:]))(
                  vjp()(d, x, w, b), vjp()(np.where(np.arange(len(d)) == 0, d.T, 0).T.astype(d.dtype), x, w, b))),
        fault("float32-statistics", "precision", FORWARD, "lower-precision", dtypes=F64,
              forward=forward(lambda x, axis: Scaled(*(
                  a.astype(x.dtype) for a in scaled(x.astype(np.float32), axis))))),
    ]  # fmt: skip


def _running() -> Function:
    """A batch norm that normalises by the averages that it keeps for inference."""
    kept: dict[Any, tuple[Array, Array]] = {}

    def forward(x: Array, weight: Array, bias: Array) -> Any:
        found = x.mean(0), x.var(0)
        a, b = kept.get((x.shape, x.dtype), found)
        kept[x.shape, x.dtype] = 0.9 * a + 0.1 * found[0], 0.9 * b + 0.1 * found[1]
        a, b = kept[x.shape, x.dtype]
        return ((x - a) / np.sqrt(b + x.dtype.type(EPS)) * weight + bias).astype(x.dtype)

    return forward


_BATCH, _GROUP = LAYOUTS["batch_norm"], LAYOUTS["group_norm"]
_PER_CHANNEL = _GROUP._replace(split=lambda x: x)
_ONE_GROUP = _GROUP._replace(split=lambda x: x.reshape(len(x), -1))
_POSITIONS = _GROUP._replace(split=lambda x: x.reshape(len(x), 2, -1, x.shape[-1]), axis=2)

layer, batch, group = map(m.faults_of, NORMS)
MORE = [
    layer("over-the-batch", "formula", FORWARD, "another-function", forward=norm_forward(_BATCH)),
    layer("over-everything", "formula", FORWARD, forward=norm_forward(LAYOUTS["layer_norm"]._replace(
          axis=None))),
    layer("parameters-per-example", "wrong shape", VJP,
          vjp=norm_vjp(LAYOUTS["layer_norm"]._replace(shared=()))),
    batch("over-the-features", "formula", FORWARD, "another-function",
          forward=norm_forward(LAYOUTS["layer_norm"])),
    batch("running", "stale state", "says_the_same_twice", "stale", forward=_running()),
    batch("parameters-per-example", "wrong shape", VJP, vjp=norm_vjp(_BATCH._replace(shared=()))),
    group("per-channel", "formula", FORWARD, "another-function", forward=norm_forward(_PER_CHANNEL)),
    group("one-group", "formula", FORWARD, "another-function", forward=norm_forward(_ONE_GROUP)),
    group("per-position", "formula", FORWARD, forward=norm_forward(_POSITIONS)),
    group("groups-interleaved", "formula", FORWARD, forward=lambda x, weight, bias: norm_forward(_GROUP)(
          x.reshape(len(x), -1, 2, x.shape[-1]).swapaxes(1, 2).reshape(x.shape), weight, bias)),
    group("parameters-per-position", "wrong shape", VJP, vjp=norm_vjp(_GROUP._replace(shared=(0,)))),
    group("parameters-of-the-first-position", "missing term", VJP,
          vjp=norm_vjp(_GROUP, slopes=lambda delta, normal, x: tuple(
              a * (np.arange(x.shape[-1]) == 0).astype(x.dtype) for a in (delta * normal, delta)))),
]  # fmt: skip

fault = m.faults_of("rms_norm")
RMS_NORM = [
    fault("root-constant", "missing term", VJP, "missing-path", vjp=rms_vjp(back=through_none)),
    fault("of-a-layer-norm", "formula", FORWARD, "another-function",
          forward=rms_forward(lambda x, axis: scaled(x, axis, 1e-6))),
    fault("backward-of-a-layer-norm", "formula", VJP, "another-function", vjp=rms_vjp(back=through_both)),
    fault("sum-for-mean", "factor", FORWARD, "factor-n",
          forward=rms_forward(lambda x, axis: by_root_of_squares(x * x.dtype.type(x.shape[-1] ** 0.5), axis))),
    fault("sum-for-mean-backward", "factor", VJP, "factor-n",
          vjp=rms_vjp(back=lambda g, s, axis: s.inverse * (g - s.x * (g * s.x).sum(-1, keepdims=True)))),
    fault("sign", "sign", VJP, "sign",
          vjp=rms_vjp(back=lambda g, s, axis: s.inverse * (g + s.x * mean(g * s.x, -1)))),
    fault("weight-forgotten", "missing term", VJP, "missing-factor",
          vjp=rms_vjp(weighted=lambda delta, weight: delta)),
    fault("weight-forgotten-inside", "missing term", VJP,
          vjp=lambda d, x, w: (lambda s: (s.inverse * (d * w - s.x * mean(d * s.x, -1)), (d * s.x).sum(0)))(
              by_root_of_squares(x, -1))),
    fault("weight-from-x", "formula", VJP, "missing-factor", vjp=rms_vjp(slope=lambda delta, u, x: delta * x)),
    fault("weight-from-output", "formula", VJP,
          vjp=lambda d, x, w: (rms_vjp()(d, x, w)[0], (d * rms_forward()(x, w)).sum(0))),
    fault("weight-per-example", "wrong shape", VJP,
          vjp=lambda d, x, w: (rms_vjp()(d, x, w)[0], d * by_root_of_squares(x, -1).x)),
    fault("batch-mean", "batch", VJP, "factor-n", vjp=m.batch_mean(rms_vjp(), [1], 1)),
    fault("epsilon-outside", "formula", FORWARD, "constant",
          forward=lambda x, w: x / (np.sqrt(mean(x * x, -1)) + x.dtype.type(1e-6)) * w),
    fault("epsilon-of-layer-norm", "formula", FORWARD, "constant",
          forward=rms_forward(lambda x, axis: by_root_of_squares(x, axis, EPS))),
    fault("epsilon-forgotten-backward", "missing term", VJP, "constant",
          vjp=rms_vjp(lambda x, axis: by_root_of_squares(x, axis, 1e-30))),
    fault("x-for-normal", "formula", VJP, "missing-factor",
          vjp=lambda d, x, w: (lambda s: (s.inverse * (d * w - x * mean(d * w * x, -1)), (d * s.x).sum(0)))(
              by_root_of_squares(x, -1))),
    fault("over-the-batch", "formula", FORWARD, forward=lambda x, w: by_root_of_squares(x, 0).x * w),
    fault("one-plus-weight", "formula", FORWARD, forward=lambda x, w: by_root_of_squares(x, -1).x * (1 + w)),
    fault("float32-statistics", "precision", FORWARD, "lower-precision", dtypes=F64,
          forward=lambda x, w: x * by_root_of_squares(x.astype(np.float32), -1).inverse.astype(x.dtype) * w),
]  # fmt: skip


def _projection(inner_of: Function, by: Function = lambda x: length(x, 1e-12)) -> Function:
    """`(δ − x̂ · inner) / ‖x‖`, with another inner product or another length."""

    def vjp(delta: Array, x: Array) -> tuple[Array]:
        u = x / length(x, 1e-12)
        return ((delta - u * inner_of(u, delta, x)) / by(x),)

    return vjp


fault = m.faults_of("l2_normalize")
L2_NORMALIZE = [
    fault("length-constant", "missing term", VJP, "missing-path",
          vjp=lambda d, x: (d / length(x, 1e-12),)),
    fault("sign", "sign", VJP, "sign", vjp=_projection(lambda u, d, x: -inner(u, d))),
    fault("x-for-unit", "formula", VJP, "input-for-output", vjp=_projection(lambda u, d, x: inner(x, d))),
    fault("squared-length", "formula", VJP,
          vjp=_projection(lambda u, d, x: inner(u, d), lambda x: length(x, 1e-12) ** 2)),
    fault("undivided", "missing term", VJP, "missing-factor",
          vjp=_projection(lambda u, d, x: inner(u, d), lambda x: x.dtype.type(1))),
    fault("sum-unweighted", "missing term", VJP,
          vjp=_projection(lambda u, d, x: d.sum(-1, keepdims=True))),
    fault("cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x: RIGHT["l2_normalize"].vjp(np.ones_like(d), x)),  # type: ignore[misc]
    fault("sum-of-magnitudes", "formula", FORWARD, "another-function",
          forward=lambda x: x / np.maximum(np.abs(x).sum(-1, keepdims=True), x.dtype.type(1e-12))),
    fault("squares-without-root", "formula", FORWARD,
          forward=lambda x: x / np.maximum(inner(x, x), x.dtype.type(1e-12))),
    fault("nan-at-zero", "exact zeros", FORWARD, forward=lambda x: x / np.sqrt(inner(x, x))),
    fault("nan-at-zero-backward", "exact zeros", VJP,
          vjp=lambda d, x: (lambda n: ((d - x * inner(x, d) / n**2) / n,))(np.sqrt(inner(x, x)))),
    fault("epsilon-added", "formula", FORWARD, dtypes=F64,
          forward=lambda x: x / (np.sqrt(inner(x, x)) + 1e-12)),
    fault("epsilon-inside", "formula", FORWARD,
          forward=lambda x: x / np.sqrt(inner(x, x) + x.dtype.type(1e-12))),
    fault("of-the-batch", "formula", FORWARD, forward=lambda x: x / np.maximum(
          np.sqrt((x * x).sum()), x.dtype.type(1e-12))),
    fault("over-columns", "formula", FORWARD, forward=lambda x: x / length(x.T, 1e-12).T),
    fault("mean-of-squares", "factor", FORWARD, "factor-n",
          forward=lambda x: x / np.maximum(np.sqrt(mean(x * x, -1)), x.dtype.type(1e-12))),
]  # fmt: skip

fault = m.faults_of("cosine_similarity")
COSINE = [
    fault("lengths-constant", "missing term", VJP, "missing-path",
          vjp=cosine_vjp(lambda g, x, eps: g / length(x, eps))),
    fault("slope-below-epsilon", "clipping", VJP,
          vjp=cosine_vjp(lambda g, x, eps: (g - x / length(x, eps) * inner(x / length(x, eps), g)) / length(x, eps))),
    fault("sign", "sign", VJP, "sign", vjp=cosine_vjp(
          lambda g, x, eps: (lambda u: (g + u * inner(u, g)) / length(x, eps))(x / length(x, eps)))),
    fault("other-not-normalised", "missing term", VJP, "missing-factor", vjp=cosine_vjp(unit=lambda y: y)),
    fault("exchanged", "argument order", VJP, "exchanged", vjp=m.picked(cosine_vjp(), [1, 0])),
    fault("only-x", "missing term", VJP, "missing-path", vjp=m.changed(cosine_vjp(), np.zeros_like, only=1)),
    fault("cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
          vjp=lambda d, x, y: cosine_vjp()(np.ones_like(d), x, y)),
    fault("undivided", "missing term", VJP, "missing-factor",
          vjp=cosine_vjp(lambda g, x, eps: unit_back(g, x, eps) * length(x, eps))),
    fault("dot", "formula", FORWARD, "another-function", forward=lambda x, y: (x * y).sum(-1)),
    fault("one-length", "missing term", FORWARD, "missing-factor",
          forward=lambda x, y: (x * y / length(x, 1e-8)).sum(-1)),
    fault("distance", "formula", FORWARD, forward=lambda x, y: 1 - cosine(x, y)),
    fault("nan-at-zero", "exact zeros", FORWARD, forward=lambda x, y: (x * y).sum(-1) / np.sqrt(
          (x * x).sum(-1) * (y * y).sum(-1))),
    fault("epsilon-added", "formula", FORWARD, dtypes=F64,
          forward=lambda x, y: (x * y).sum(-1) / (np.sqrt((x * x).sum(-1) * (y * y).sum(-1)) + 1e-8)),
    fault("root-forgotten", "formula", FORWARD, forward=lambda x, y: cosine(
          x, y, lambda a, eps: np.maximum(inner(a, a), a.dtype.type(eps)))),
    fault("of-the-batch", "formula", FORWARD, forward=lambda x, y: (x * y).sum(-1) / np.maximum(np.sqrt(
          (x * x).sum() * (y * y).sum()), x.dtype.type(1e-8))),
    fault("clipped", "clipping", VJP, vjp=m.changed(cosine_vjp(), lambda r: np.clip(r, -1, 1))),
    fault("float32", "precision", FORWARD, "lower-precision", dtypes=F64,
          forward=m.computed_in(cosine, np.float32)),
    fault("always-float64", "dtype", "keeps_the_dtype", "dtype", dtypes=F32, forward=m.float64_results(cosine)),
]  # fmt: skip

NORMS_WRONG = [
    *(fault for name in NORMS for fault in _norm_faults(name)),
    *MORE,
    *RMS_NORM,
    *L2_NORMALIZE,
    *COSINE,
    *(fault for name, right in RIGHT.items() for fault in general(name, right)),
]
