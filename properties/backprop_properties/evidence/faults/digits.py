"""Wrong for some numbers: integers, one decade, a norm of exactly 1; NaN in another place than the first; a gradient
that is not given.
"""

from collections.abc import Callable, Iterator
from math import erf

import numpy as np

from ...hints.textbook import inner, softmax
from . import makers as m
from .makers import F64, FORWARD, VJP, Array, Function
from .sometimes import when
from .table import Calls, Fault
from .witnesses import corner, forward, numbers, ordinary, vjp

SOME = "some values"
_erf = np.vectorize(erf, otypes=[np.float64])

# ── Values ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def where(operation: str, chosen: Function, change: Function) -> Function:
    """The slope of a function of one number is changed where `chosen(x)`."""

    def f(delta: Array, x: Array) -> tuple[Array]:
        (dx,) = vjp(operation)(delta, x)
        return (np.where(chosen(x), change(dx), dx).astype(dx.dtype),)

    return f


def _bends() -> Iterator[Fault]:
    """Functions of one number, where that number is special."""

    def row(operation: str, what: str, x: list[float], chosen: Function, kind: str = SOME) -> Fault:
        here = numbers(([1] * len(x), x))
        return corner(operation, what, kind, VJP, here, vjp=where(operation, chosen, lambda dx: 0 * dx))

    def is_whole(x: Array) -> Array:
        return np.asarray((x == np.round(x)) & (np.abs(x) >= 2))

    yield row("gelu", "at-integers", [2, 3], is_whole)
    yield row("softplus", "at-integers", [2, 3], is_whole)
    yield row("silu", "at-halves", [1.5, 2.5], lambda x: (x % 1 == 0.5) & (np.abs(x) > 1))
    yield row("tanh", "at-halves", [1.5, 2.5], lambda x: (x % 1 == 0.5) & (np.abs(x) > 1))
    yield row("sigmoid", "at-minus-zero", [-0.0, -0.0], lambda x: (x == 0) & np.signbit(x), "exact zeros")
    yield row("exp", "at-minus-zero", [-0.0, -0.0], lambda x: (x == 0) & np.signbit(x), "exact zeros")
    yield row("log", "at-ten", [10, 10], lambda x: x == 10)
    yield row("log", "at-one", [1, 1], lambda x: x == 1)
    yield row("square", "in-one-decade", [2e5, 3e5], lambda x: (x >= 1e5) & (x < 1e6))
    yield row("reciprocal", "in-one-decade", [2e-5, -3e-5], lambda x: (np.abs(x) >= 1e-5) & (np.abs(x) < 1e-4))
    yield row("softplus", "in-one-decade", [2e-4, 3e-4], lambda x: (np.abs(x) >= 1e-4) & (np.abs(x) < 1e-3))
    yield row("square", "padding", [0, 0, 3], lambda x: (x[..., :2] == 0).all(-1) & (x.shape[-1] > 2), "exact zeros")
    yield corner("tanh", "short-series", "saturation", FORWARD, numbers(([1, 1], [4e-4, -5e-4])),
                 forward=lambda x: np.where((np.abs(x) > 1e-4) & (np.abs(x) < 1e-3), x, np.tanh(x)))  # fmt: skip
    yield corner("tanh", "slope-in-float32", "precision", VJP, numbers(([1, 1], [2.5, 3])), dtypes=F64,
                 vjp=_in_float32_beyond("tanh", 2))  # fmt: skip
    yield corner("elu", "slope-of-the-output-in-float32", "saturation", VJP, numbers(([1, 1], [-20, -25])), dtypes=F64,
                 vjp=_in_float32_beyond("elu", 15))  # fmt: skip
    yield corner("gelu", "one-plus-erf-in-float32", "cancellation", VJP, numbers(([1, 1], [-5.1, -5.3])), dtypes=F64,
                 vjp=lambda d, x: (np.where(x < -5, _one_plus_erf(d, x), vjp("gelu")(d, x)[0]),))  # fmt: skip


def _in_float32_beyond(operation: str, limit: float) -> Function:
    def f(delta: Array, x: Array) -> tuple[Array]:
        with np.errstate(all="ignore"):
            short = x.astype(np.float32)
            bent = {"tanh": 1 - np.tanh(short) ** 2, "elu": np.expm1(np.minimum(short, 0)) + 1}[operation]
        return (np.where((np.abs(x) > limit) & (x < 20), delta * bent, vjp(operation)(delta, x)[0]).astype(x.dtype),)

    return f


def _one_plus_erf(delta: Array, x: Array) -> Array:
    """`Φ(x) + x φ(x)` with a Φ that has lost its digits: 1 + erf of float32."""
    z = x.astype(np.float64)
    distribution = (1 + _erf(z * 0.5**0.5).astype(np.float32)) / 2
    return np.asarray(delta * (distribution + z * np.exp(-z * z / 2) / (2 * np.pi) ** 0.5))


def _targets() -> Iterator[Fault]:
    """Losses, for targets that are no distribution, or look like one of another kind."""
    loss = "softmax_cross_entropy"

    def with_sum(total: Function) -> Function:
        return lambda d, x, y: (d[..., None] * (softmax(x) * total(y) - y), vjp(loss)(d, x, y)[1])

    def sums(y: Array) -> Array:
        return np.asarray(y.sum(-1, keepdims=True))

    for what, y, total in (
        ("targets-sum-to-zero", [1.5, -1.5, 0], lambda y: np.where(sums(y) == 0, 1, sums(y))),
        ("targets-sum-below-zero", [-40.5, -1.5, 0], lambda y: np.where(sums(y) < -40, 0 * sums(y), sums(y))),
        ("one-target-is-one", [1, 0.5, 0.5], lambda y: np.where(
            (y == 1).any(-1, keepdims=True) & (np.count_nonzero(y, -1, keepdims=True) > 1), 1, sums(y))),
    ):  # fmt: skip
        yield corner(loss, what, "sum(y) = 1", VJP, numbers((1, [1, 2, 3], y)), vjp=with_sum(total))
    yield corner("kl_div", "targets-equal-to-one", "one-hot", VJP,
                 numbers((1, [[-1, -2, -3]], [[1, 0.5, 0.5]])),
                 vjp=when(lambda d, x, y: (y == 1).any(), m.fed(vjp("kl_div"), lambda d, x, y: [
                     d, x, np.where((y == 1).any(-1, keepdims=True), y == 1, y).astype(y.dtype)]),
                          vjp("kl_div")))  # fmt: skip
    yield corner("binary_cross_entropy_with_logits", "targets-at-one-half", SOME, VJP,
                 numbers((1, [[1, 2]], [[0.5, 0.25]])),
                 vjp=lambda d, x, y: (lambda dx, dy: (np.where(y == 0.5, 0, dx), dy))(
                     *vjp("binary_cross_entropy_with_logits")(d, x, y)))  # fmt: skip
    yield corner("huber_loss", "residual-of-exactly-delta", "kink", VJP, numbers((1, [[3, 2.5]], [[2, 2]])),
                 vjp=lambda d, x, y: tuple(np.where(np.abs(x - y) == 1, 0, r)
                                           for r in vjp("huber_loss")(d, x, y)))  # fmt: skip


def _clipped(operation: str, position: int, limit: float) -> Function:
    return m.fed(vjp(operation), lambda *args: [
        np.clip(a, -limit, limit) if i == position else a for i, a in enumerate(args)])  # fmt: skip


def _scales() -> Iterator[Fault]:
    """Weights and cotangents that are large or small, and what is normalised already."""
    for operation, position in (("layer_norm", 2), ("rms_norm", 2), ("linear", 2)):
        large = ordinary(operation, {}, change=lambda *args, i=position: tuple(
            a * 1e8 if k == i else a for k, a in enumerate(args)))  # fmt: skip
        yield corner(operation, "weights-of-1e8", "clipping", VJP, large, vjp=_clipped(operation, position, 1e6))
    for operation in ("softmax", "layer_norm", "linear", "activation[tanh]"):
        tiny = ordinary(operation, {}, change=lambda d, *args: (d * 1e-13, *args))
        yield corner(operation, "cotangent-of-1e-13", "clipping", VJP, tiny, vjp=m.fed(
            vjp(operation), lambda d, *args: [np.where(np.abs(d) < 1e-12, 0 * d, d), *args]))  # fmt: skip
    for operation in ("rms_norm", "log_softmax", "matvec", "gelu"):
        huge = ordinary(operation, {}, change=lambda d, *args: (d * 1e30, *args))
        yield corner(operation, "cotangent-of-1e30", "clipping", VJP, huge, "clipped",
                     vjp=_clipped(operation, 0, 1e20))  # fmt: skip
    short = numbers(([[1, 2]], [[3e-13, 4e-13]]))
    yield corner("l2_normalize", "slope-of-the-norm-below-eps", "missing term", VJP, short, vjp=_norms_slope)
    unit = numbers(([[1, 2]], [[1, 0]]))
    yield corner("l2_normalize", "of-length-one", SOME, VJP, unit,
                 vjp=lambda d, x: (np.where((x * x).sum(-1, keepdims=True) == 1, d,
                                            vjp("l2_normalize")(d, x)[0]),))  # fmt: skip
    yield corner("layer_norm", "centred-already", SOME, VJP,
                 numbers(([[1, 2, 4]], [[-1, 0, 1]], [1, 1, 1], [0, 0, 0])),
                 vjp=_centred_already)  # fmt: skip
    yield corner("causal_attention", "score-of-zero", "exact zeros", VJP,
                 numbers(([[[1, 1], [2, 1]]], [[[1, 0], [0, 1]]], [[[1, 1], [1, 0]]], [[[1, 2], [3, 4]]])),
                 vjp=_zero_is_masked)  # fmt: skip
    yield corner("dropout", "all-kept", SOME, VJP, lambda: [
        (np.ones((2, 3)), np.arange(6.0).reshape(2, 3), np.ones((2, 3), bool))],
        vjp=lambda d, x, mask: (np.array(d), None) if mask.all() and mask.size else
        vjp("dropout")(d, x, mask))  # fmt: skip
    yield corner("softmax", "equal-logits", "ties", VJP, numbers(([1, 2, 4], [5, 5, 5])),
                 vjp=lambda d, x: (np.where((x == x[..., :1]).all(-1, keepdims=True) & (x.shape[-1] > 1) & (
                     d != d[..., :1]).any(-1, keepdims=True), d / max(x.shape[-1], 1), vjp("softmax")(d, x)[0]),)
                 )  # fmt: skip
    yield corner("matvec", "identity", SOME, VJP, numbers(([1, 2], [[1, 0], [0, 1]], [3, 4])),
                 vjp=lambda d, W, x: (0 * W if W.shape[0] == W.shape[1] > 1 and (np.eye(len(W)) == W).all()
                                      else vjp("matvec")(d, W, x)[0], vjp("matvec")(d, W, x)[1]))  # fmt: skip


def _norms_slope(delta: Array, x: Array) -> tuple[Array]:
    """Below eps, where the length is a constant, its slope is taken all the same."""
    (dx,) = vjp("l2_normalize")(delta, x)
    squares = (x * x).sum(-1, keepdims=True)
    u = x / np.sqrt(np.where(squares > 0, squares, 1))
    below = (squares > 0) & (squares < 1e-24)
    return (np.where(below, dx - u * inner(u, dx), dx),)


def _centred_already(delta: Array, x: Array, weight: Array, bias: Array) -> tuple[Array, ...]:
    """Where the mean is exactly 0 and rows have three entries or more, nothing goes through it."""
    dx, dw, db = vjp("layer_norm")(delta, x, weight, bias)
    centred = (x.sum(-1, keepdims=True) == 0) & (x.shape[-1] > 2) & (x != 0).any(-1, keepdims=True)
    through = (delta * weight).mean(-1, keepdims=True) / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
    return np.where(centred, dx + through, dx).astype(x.dtype), dw, db


def _zero_is_masked(delta: Array, q: Array, k: Array, v: Array) -> tuple[Array, ...]:
    """A score of exactly 0 is taken for one that the mask has cleared, past the first key."""
    found: tuple[Array, ...] = vjp("causal_attention")(delta, q, k, v)
    s = np.tril(q @ np.swapaxes(k, -1, -2))
    seen = np.tril(np.ones(s.shape[-2:], bool), 0)
    lost = (s == 0) & seen & (q != 0).any(-1)[..., None] & (k != 0).any(-1)[:, None, :]
    return (np.where(lost.any(-1)[..., None], 0, found[0]), *found[1:])


VALUES = [*_bends(), *_targets(), *_scales()]

# ── NaN ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _hidden_at(f: Function, index: Callable[[int], int], only: int = 0) -> Function:
    """One entry of a result loses its NaN."""

    def change(r: Array) -> Array:
        r = np.array(r)
        if r.size > 1 and np.isnan(r.flat[index(r.size)]):
            r.flat[index(r.size)] = 0
        return r

    return m.changed(f, change, only)


def _nan_at(operation: str, position: int, index: Callable[[int], int]) -> Calls:
    def change(*args: Array) -> tuple[Array, ...]:
        found = [a.copy() for a in args]
        found[position].flat[index(found[position].size)] = np.nan
        return tuple(found)

    return ordinary(operation, {}, change=change)


def _last(n: int) -> int:
    return n - 1


def _middle(n: int) -> int:
    return n // 2


def _nans() -> Iterator[Fault]:
    kind, law = "NaN hidden", "nan_in_nan_out"
    for operation, index in (("tanh", _last), ("sigmoid", _middle), ("exp", _last), ("square", _middle),
                             ("gelu", _middle), ("hadamard", _last)):  # fmt: skip
        yield corner(operation, f"nan{index.__name__.replace('_', '-')}-cotangent", kind, law,
                     _nan_at(operation, 0, index), vjp=_hidden_at(vjp(operation), index))  # fmt: skip
    for operation, only in (("affine", 2), ("linear", 2), ("layer_norm", 2)):
        yield corner(operation, "nan-last-bias", kind, law, _nan_at(operation, 0, _last),
                     vjp=_hidden_at(vjp(operation), _last, only))  # fmt: skip
    yield corner("softmax", "nan-last-logit", kind, law, _nan_at("softmax", 1, _last), forward=_softmax_of_numbers)
    yield corner("mse_loss", "nan-last-residual", kind, law, _nan_at("mse_loss", 1, _last),
                 forward=lambda x, y: forward("mse_loss")(np.where(_is_last(x) & np.isnan(x), y, x), y))  # fmt: skip
    yield corner("max_pool2d", "nan-last-of-a-window", kind, law, _nan_at("max_pool2d", 1, _last),
                 forward=lambda x: forward("max_pool2d")(np.where(_is_last(x) & np.isnan(x), -np.inf, x)))  # fmt: skip
    yield corner("matvec", "nan-last-weight-clipped", kind, law, _nan_at("matvec", 1, _last),
                 forward=lambda W, x: forward("matvec")(np.where(_is_last(W), np.fmax(W, -1e300 if W.dtype == float
                                                                                      else -1e38), W), x))  # fmt: skip


def _is_last(x: Array) -> Array:
    return np.arange(x.size).reshape(x.shape) == x.size - 1


def _softmax_of_numbers(x: Array) -> Array:
    """A NaN at the end is taken for padding."""
    if x.ndim == 1 and x.size > 1 and np.isnan(x[-1]) and not np.isnan(x[:-1]).any():
        return softmax(np.where(np.isnan(x), -np.inf, x))
    return softmax(x)


NANS = [*_nans()]

# ── Not given ───────────────────────────────────────────────────────────────────────────────────────────────────────


def without(operation: str, position: int) -> Function:
    """None in place of a gradient that there is."""
    right = vjp(operation)
    return lambda *args: tuple(None if i == position else r for i, r in enumerate(right(*args)))


NOT_GIVEN = [
    corner(operation, "not-given", "missing term", "one_cotangent_for_each_argument", ordinary(operation, {}),
           "missing-path", vjp=without(operation, position))
    for operation, position in (
        ("linear", 2), ("layer_norm", 1), ("affine", 2), ("mse_loss", 1), ("scaled_dot_product_attention", 1),
        ("two_layer_network[tanh]", 1), ("lstm_cell", 2), ("softmax_cross_entropy", 1),
    )
]  # fmt: skip
"""An argument that has a gradient gets None."""
