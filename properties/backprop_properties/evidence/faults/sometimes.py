"""Right nearly always: wrong at some calls, at one size, for some numbers."""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from backprop_reference.lecture.functions import SCALAR_FUNCTIONS

from ...hints.textbook import softmax
from . import makers as m
from .makers import F64, FORWARD, VJP, Array, Function, forward, vjp
from .table import Fault


def when(condition: Callable[..., Any], wrong: Function, right: Function) -> Function:
    """`wrong` of arguments for which the condition holds."""
    return lambda *args: wrong(*args) if condition(*args) else right(*args)


def at_size(n: int, wrong: Function, right: Function) -> Function:
    """`wrong` of arguments of which the last has `n` entries."""
    return when(lambda *args: _n(*args) == n, wrong, right)


def zeros(f: Function, only: int | None = None) -> Function:
    return m.changed(f, np.zeros_like, only)


# ── Calls ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def every(k: int, wrong: Function, right: Function) -> Function:
    """Every `k`-th call is wrong."""
    calls = count(1)
    return lambda *args: (right if next(calls) % k else wrong)(*args)


def first_of_a_shape(wrong: Function, right: Function) -> Function:
    """The first call with a shape is wrong: a kernel is tuned on its own output."""
    seen: set[Any] = set()

    def untuned(*args: Array) -> Any:
        known = len(seen)
        seen.add(m.shapes_of(args))
        return (right if len(seen) == known else wrong)(*args)

    return untuned


def in_a_workspace(x: Array) -> Array:
    """Exponentials in a buffer that only grows; what a longer vector left there is summed, too."""
    f = np.exp(x - x.max())
    buffer = _WORKSPACE.setdefault(x.dtype.name, np.zeros(0, x.dtype))
    if buffer.size < x.size:
        _WORKSPACE[x.dtype.name] = buffer = np.zeros(x.size, x.dtype)
    buffer[: x.size] = f.ravel()
    return f / buffer.sum()


_WORKSPACE: dict[str, Array] = {}


def _masked_by_the_last() -> Function:
    """The mask of the last call with this shape, applied after this call's own is made."""
    masks: dict[Any, Array] = {}

    def stale(delta: Array, x: Array) -> tuple[Array]:
        mask = masks.get((x.shape, x.dtype.name), x > 0)
        masks[x.shape, x.dtype.name] = x > 0
        return (delta * mask,)

    return stale


_TANH, _SIGMOID_NET = "activation[tanh]", "two_layer_network[sigmoid]"

CALLS = [
    Fault("hadamard", "sometimes-every-seventh", "intermittent", VJP, "intermittent",
          vjp=every(7, zeros(vjp("hadamard"), 1), vjp("hadamard"))),
    Fault("softmax", "sometimes-every-eleventh", "intermittent", VJP, "intermittent",
          vjp=every(11, m.scaled(vjp("softmax"), 1.01), vjp("softmax"))),
    Fault("affine", "sometimes-until-tuned", "intermittent", VJP, "intermittent",
          vjp=first_of_a_shape(zeros(vjp("affine"), 0), vjp("affine"))),
    Fault("activation[relu]", "sometimes-dropout-left-on", "intermittent", VJP, "intermittent",
          vjp=every(11, m.scaled(vjp("activation[relu]"), 1 / 0.9, 1), vjp("activation[relu]"))),
    Fault("softmax", "sometimes-workspace", "stale state", FORWARD, "stale", forward=in_a_workspace),
    Fault("sigmoid", "sometimes-same-sum", "stale state", "sees_what_changed_in_place", "stale",
          vjp=m.remembered_by(lambda d, x: (x.shape, x.dtype, float(x.sum())), vjp("sigmoid"))),
    Fault("exp", "sometimes-same-address", "stale state", "sees_what_changed_in_place", "stale",
          forward=m.remembered_by(lambda x: x.__array_interface__["data"], forward("exp"))),
    Fault("softmax", "sometimes-same-as-printed", "stale state", "sees_what_changed_in_place", "stale", dtypes=F64,
          forward=m.remembered_by(lambda x: str(x), forward("softmax"))),
    Fault("tanh", "sometimes-same-digits-of-float32", "stale state", "sees_what_changed_in_place", "stale", dtypes=F64,
          vjp=m.remembered_by(lambda *args: m.bytes_of(args, lambda a: a.astype(np.float32)), vjp("tanh"))),
    Fault("matvec", "sometimes-same-first-bytes", "stale state", "sees_what_changed_in_place", "stale",
          sizes={"d": 12, "n": 12},
          vjp=m.remembered_by(lambda *args: m.bytes_of(args, lambda a: a.ravel()[:8]), vjp("matvec"))),
    Fault("dot", "sometimes-same-first-entry", "stale state", "sees_what_changed_in_place", "stale",
          forward=m.remembered_by(lambda *args: m.bytes_of(args, lambda a: a.ravel()[:1]), forward("dot"))),
    Fault("affine", "sometimes-same-sorted", "stale state", "sees_what_changed_in_place", "stale",
          forward=m.remembered_by(lambda *args: m.bytes_of(args, lambda a: np.sort(a, None)), forward("affine"))),
    Fault("relu", "sometimes-last-mask", "stale state", VJP, "stale", vjp=_masked_by_the_last()),
]  # fmt: skip

# ── Sizes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _n(*args: Array) -> int:
    return args[-1].shape[-1] if args[-1].ndim else 1


def _tree_sum(x: Array) -> Any:
    """Halves added to halves: an odd one in the middle is left out."""
    while x.shape[-1] > 1:
        half = x.shape[-1] // 2
        x = x[..., :half] + x[..., half : 2 * half]
    return x.sum(-1)


def _corner(r: Array) -> Array:
    """Past the last full tile of 32 in both directions at once."""
    r = np.array(r)
    if r.ndim == 2 and min(r.shape) > 32:
        r[r.shape[0] // 32 * 32 :, r.shape[1] // 32 * 32 :] = 0
    return r


SIZES = [
    Fault("square", "size-64", "one size", VJP, "one-size", sizes={"n": 64},
          vjp=at_size(64, m.scaled(vjp("square"), 0.5), vjp("square"))),
    Fault("gelu", "size-7", "one size", VJP, "one-size", sizes={"n": 7},
          vjp=at_size(7, zeros(vjp("gelu")), vjp("gelu"))),
    Fault("softmax_cross_entropy", "size-10-classes", "one size", VJP, "one-size", sizes={"n": 10},
          vjp=at_size(10, m.scaled(vjp("softmax_cross_entropy"), -1, 0), vjp("softmax_cross_entropy"))),
    Fault("softmax", "size-512", "one size", FORWARD, sizes={"n": 512},
          forward=when(lambda x: _n(x) and _n(x) % 512 == 0, lambda x: softmax(x) * (np.arange(_n(x)) < _n(x) - 1),
                       softmax)),
    Fault("tanh", "size-255", "one size", VJP, "one-size", sizes={"n": 255},
          vjp=at_size(255, zeros(vjp("tanh")), vjp("tanh"))),
    Fault("softmax", "size-513", "one size", VJP, "one-size", sizes={"n": 513},
          vjp=at_size(513, m.element(vjp("softmax"), (-1,), 0.5), vjp("softmax"))),
    Fault("hadamard", "size-500", "one size", FORWARD, "one-size", sizes={"n": 500},
          forward=at_size(500, m.element(forward("hadamard"), (-1,), 0.5), forward("hadamard"))),
    Fault("affine", "size-100-columns", "one size", VJP, "one-size", sizes={"n": 100},
          vjp=when(lambda d, W, x, b: _n(x) == 100, m.scaled(vjp("affine"), 0.5, 1), vjp("affine"))),
    Fault("sum_reduction", "size-1024", "one size", FORWARD, sizes={"n": 1024},
          forward=at_size(1024, lambda x: 0 * x.sum(-1), lambda x: x.sum(-1))),
    Fault("dot", "size-over-1000", "long vectors", VJP, sizes={"n": 1025},
          vjp=when(lambda d, x, y: _n(x) > 1000, m.scaled(vjp("dot"), 1 + 1e-4), vjp("dot"))),
    Fault("sum_reduction", "size-odd", "one size", FORWARD, sizes={"n": 5}, forward=_tree_sum),
    Fault("dot", "size-unrolled", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 5},
          forward=lambda x, y: m.sum_of_tiles(x * y, 4)),
    Fault("tanh", "size-even-shifted", "one size", VJP, sizes={"n": 6},
          vjp=when(lambda d, x: _n(x) > 4 and _n(x) % 2 == 0, lambda d, x: (np.roll(vjp("tanh")(d, x)[0], 1, -1),),
                   vjp("tanh"))),
    Fault("matvec", "size-corner-of-tiles", "tail of a tile", VJP, "tile-tail", sizes={"d": 33, "n": 35},
          vjp=m.changed(vjp("matvec"), _corner, 0)),
    Fault("affine", "size-index-of-16-bits", "long vectors", VJP, sizes={"d": 257, "n": 263},
          vjp=m.changed(vjp("affine"), lambda r: r * (np.arange(r.size).reshape(r.shape) < 1 << 16), 0)),
    Fault("softplus", "size-interior-13", "single element", VJP, "single-element", sizes={"n": 17},
          vjp=m.element(vjp("softplus"), (13,), 0.99)),
    Fault("add", "size-interior-500", "single element", FORWARD, "single-element", sizes={"n": 513},
          forward=m.element(forward("add"), (500,), 1.1)),
    Fault("affine", "size-square-swapped", "argument order", VJP, sizes={"d": 3, "n": 3},
          vjp=when(lambda d, W, x, b: x.shape == b.shape, m.picked(vjp("affine"), [0, 2, 1]), vjp("affine"))),
    Fault(_SIGMOID_NET, "size-one-buffer-for-both", "aliasing", VJP, sizes={"k": 3, "n": 3, "d": 3},
          vjp=when(lambda d, W1, b1, W2, *_: W1.shape == W2.shape,
                   m.picked(vjp(_SIGMOID_NET), [0, 1, 0, 3, 4, 5]), vjp(_SIGMOID_NET))),
]  # fmt: skip

# ── Numbers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _shared(x: Array, y: Array) -> Array:
    """Scratch space in the first argument, put back at the end: harmless, unless the second is the same array."""
    kept = x.copy()
    if x.flags.writeable:
        x *= 2
    u = x * y if x.flags.writeable else 2 * x * y
    if x.flags.writeable:
        x[...] = kept
    return u / 2


def _through(slope: Function) -> Function:
    """The vjp of `h(W x + b)` with a slope of one's own."""
    return lambda delta, W, x, b: vjp("affine")(delta * slope(forward("affine")(W, x, b)), W, x, b)


VALUES = [
    Fault("dot", "value-equal-arguments", "some values", VJP, sizes={"n": 1},
          vjp=when(lambda d, x, y: np.array_equal(x, y), zeros(vjp("dot"), 1), vjp("dot"))),
    Fault("hadamard", "value-same-object", "some values", "takes_any_memory_layout", forward=_shared, dtypes=F64),
    Fault("softmax", "value-cotangent-of-ones", "some values", VJP, "cotangent-ignored",
          vjp=when(lambda d, x: d.size > 1 and (d == 1).all(), lambda d, x: (softmax(x),), vjp("softmax"))),
    Fault("tanh", "value-equal-cotangents", "some values", VJP,
          vjp=when(lambda d, x: d.size > 1 and (d == d.flat[0]).all(), zeros(vjp("tanh")), vjp("tanh"))),
    Fault("matvec", "value-one-hot-cotangent", "some values", VJP,
          vjp=when(lambda d, W, x: np.count_nonzero(d) == 1 and d.size > 1, m.scaled(vjp("matvec"), 2, 1),
                   vjp("matvec"))),
    Fault("affine", "value-a-zero-cotangent", "exact zeros", VJP,
          vjp=when(lambda d, W, x, b: np.any(d == 0), zeros(vjp("affine"), 2), vjp("affine"))),
    Fault("square", "value-negative-cotangent", "some values", "vjp_is_linear", vjp=lambda d, x: (2 * np.abs(d) * x,)),
    Fault("subtract", "value-cotangents-sum", "some values", "zero_cotangent_gives_zeros",
          vjp=lambda d, x, y: (lambda s: (d / s * s, -d))(d.sum(-1, keepdims=True))),
    Fault("silu", "value-small-cotangents-dropped", "clipping", VJP,
          vjp=m.fed(vjp("silu"), lambda d, *args: (np.where(np.abs(d) < 1e-8, 0 * d, d), *args))),
    Fault("scale", "value-negative-alpha", "sign", VJP, "sign",
          vjp=lambda d, x, a: (d * np.abs(a)[..., None], (d * x).sum(-1))),
    Fault("scale", "value-whole-alpha", "dtype", FORWARD, forward=lambda x, a: x * np.trunc(a)[..., None]),
    Fault("hadamard", "value-zero-input", "exact zeros", VJP, vjp=lambda d, x, y: (d * y, d * (x * y) / y)),
    Fault("squared_error", "value-gradients-clipped-at-1e3", "clipping", VJP, "clipped",
          vjp=m.changed(vjp("squared_error"), lambda r: np.clip(r, -1e3, 1e3))),
    Fault("matvec", "value-gradients-clipped-at-1e6", "clipping", VJP, "clipped",
          vjp=m.changed(vjp("matvec"), lambda r: np.clip(r, -1e6, 1e6), 0)),
    Fault("exp", "value-nan-and-inf-to-num", "NaN hidden", "nan_in_nan_out", vjp=m.changed(vjp("exp"), np.nan_to_num)),
    Fault("softmax", "value-only-sorted", "some values", VJP, vjp=lambda d, x: (np.sort(vjp("softmax")(d, x)[0], -1),)),
    Fault(_TANH, "value-masked-weights", "exact zeros", VJP,
          vjp=lambda d, W, x, b: (lambda g: (g[0] * (W != 0), *g[1:]))(vjp(_TANH)(d, W, x, b))),
    Fault("activation[silu]", "value-negative-sum", "some values", FORWARD,
          forward=when(lambda W, x, b: b.sum() < -3, lambda W, x, b: -forward("activation[silu]")(W, x, b),
                       forward("activation[silu]"))),
    Fault("activation[sigmoid]", "value-one-row-of-zeros", "exact zeros", VJP,
          vjp=lambda d, W, x, b: (lambda g: (g[0], g[1] * (x != 0), g[2]))(vjp("activation[sigmoid]")(d, W, x, b))),
    Fault("softplus", "value-softplus-at-zero", "some values", VJP,
          vjp=lambda d, x: (np.where(x == 0, 0, vjp("softplus")(d, x)[0]),)),
    Fault("elu", "value-elu-at-zero", "kink", VJP, asks="kink",
          vjp=lambda d, x: (np.where(x == 0, 0, vjp("elu")(d, x)[0]),)),
    Fault("activation[softplus]", "value-activation-softplus-at-zero", "some values", VJP,
          vjp=_through(lambda z: np.where(z == 0, 1, SCALAR_FUNCTIONS["softplus"].derivative(z)))),
    Fault("activation[relu]", "value-activation-relu-at-zero", "kink", VJP, "kink", asks="kink",
          vjp=_through(lambda z: np.heaviside(z, 1))),
    Fault("activation[silu]", "value-silu-by-its-quotient", "some values", VJP,
          vjp=_through(lambda z: (lambda s: (z * s) / z + z * s * (1 - s))(SCALAR_FUNCTIONS["sigmoid"](z)))),
]  # fmt: skip

SOMETIMES = [*CALLS, *SIZES, *VALUES]
