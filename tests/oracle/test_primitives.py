"""Every function that a course writes in `jax.numpy`, as the library spells it and as a person does: the program's
floats lie within their bounds of JAX's and of the truth, and two independent proofs of a derivative agree."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb, fmpq
from jax import lax, nn
from jax.scipy import special

from backprop_oracle import autodiff, errors, floats, functions, moves, numbers
from backprop_oracle.balls import over_all_ways, over_balls, over_fractions
from backprop_oracle.certified import PrecisionCapReached, value, vjp, vjp_by_slopes
from backprop_oracle.enclosures import working_precision
from backprop_oracle.numbers import head
from backprop_oracle.program import letters, traced
from backprop_oracle.rounding import Precision, bounded
from samples import sampled

F32, F64 = np.finfo(np.float32), np.finfo(np.float64)
PRECISIONS = {  # what is judged errs, and the judge does
    np.float64: Precision(2 * float(F64.eps), 2 * float(F64.tiny), float(F64.max)),
    np.float32: Precision(float(F32.eps) + float(F64.eps), float(F32.tiny) + float(F64.tiny), float(F32.max)),
}


@pytest.fixture(autouse=True)
def _as_people_write() -> Iterator[None]:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


# ── Functions, and what they are functions of ───────────────────────────────────────────────────────────────────────

LABELS, MASK = np.array([1, 0, 3]), np.array([True, False, True])
BITS = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
KEY = 7


def layer_norm(x, g, b):
    m, s = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - m) / jnp.sqrt(s + 1e-5) * g + b


def batch_norm(x, g, b):
    d = x - jnp.sum(x, 0) / len(x)
    return d * (jnp.sum(d * d, 0) / len(x) + 1e-5) ** -0.5 * g + b


def group_norm(x, g, b):
    y = x.reshape(3, 2, 2)
    d = y - y.mean(-1, keepdims=True)
    return (d * lax.rsqrt((d * d).mean(-1, keepdims=True) + 1e-5)).reshape(3, 4) * g + b


def attention(q, k, v):
    return nn.softmax(q @ k.T / jnp.sqrt(q.shape[-1]), -1) @ v


def causal(q, k, v, nothing=-jnp.inf):
    s = jnp.einsum("id,jd->ij", q, k) / 2.0
    s = jnp.where(jnp.tril(jnp.ones(s.shape, bool)), s, nothing)
    e = jnp.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ v


def rope(x):
    t = jnp.arange(3, dtype=x.dtype)[:, None] * jnp.array([1.0, 0.01], x.dtype)
    a, b = x[:, 0::2], x[:, 1::2]
    return jnp.stack([a * jnp.cos(t) - b * jnp.sin(t), a * jnp.sin(t) + b * jnp.cos(t)], -1).reshape(x.shape)


def rope_of_angles(x, t):
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * jnp.cos(t) - b * jnp.sin(t), a * jnp.sin(t) + b * jnp.cos(t)], -1)


def nll(x):
    return -jnp.take_along_axis(nn.log_softmax(x, -1), LABELS[:, None], -1).mean()


def smoothed(x, by=0.1):
    log_s = nn.log_softmax(x, -1)
    return (-(1 - by) * log_s[jnp.arange(3), LABELS] - by * log_s.mean(-1)).sum()


def ignoring(x, ignored=-100):
    y = jnp.array([1, ignored, 3])
    taken = jnp.take_along_axis(nn.log_softmax(x), jnp.where(y == ignored, 0, y)[:, None], 1)[:, 0]
    return -jnp.where(y == ignored, 0.0, taken).sum() / (y != ignored).sum()


def bce(z, t):
    return jnp.mean(jnp.maximum(z, 0) - z * t + jnp.log1p(jnp.exp(-jnp.abs(z))))


def huber(x, y):
    d = jnp.abs(x - y)
    return jnp.where(d < 1, 0.5 * d * d, d - 0.5).sum()


def hinge(s):
    m = jnp.maximum(0, s - s[jnp.arange(3), LABELS][:, None] + 1)
    return m.at[jnp.arange(3), LABELS].set(0).sum() / 3


def lstm(x, h, c, W, U, b):
    i, f, o, g = jnp.split(x @ W + h @ U + b, 4, -1)
    c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
    return nn.sigmoid(o) * jnp.tanh(c)


def gru(x, h, W, U):
    z = nn.sigmoid(x @ W + h @ U)
    return (1 - z) * h + z * jnp.tanh(x @ W + (z * h) @ U)


def rnn(xs, h, W, reverse=False):
    def step(h, x):
        h = jnp.tanh(W @ h + x)
        return h, h

    return lax.scan(step, h, xs, reverse=reverse)[1]


def conv(x, k, strides=(1, 1), padding="SAME", **how):
    return lax.conv_general_dilated(x, k, strides, padding, **how)


def conv_by_hand(x, k):
    parts = [lax.dynamic_slice(x, (i,), (3,)) for i in range(len(x) - 2)]
    return jnp.stack([jnp.dot(part, k) for part in parts])


def pooled(init, f, x, size=(1, 2), strides=(1, 2), padding="VALID"):
    return lax.reduce_window(x, np.array(init, x.dtype), f, size, strides, padding)


def power_of_two(x):
    return lax.while_loop(lambda c: jnp.sum(c) < 50, lambda c: c * 2, jnp.abs(x))


@jax.custom_vjp
def clipped(x):
    return x * x


clipped.defvjp(lambda x: (x * x, x), lambda x, g: (2 * g * x,))


@jax.custom_jvp
def log1pexp(x):
    return jnp.log1p(jnp.exp(x))


log1pexp.defjvps(lambda t, ans, x: t * nn.sigmoid(x))

# By what they are functions of: v vectors, M matrices, others by their shape; p positive, u within ±1, s within ±¼, q
# above 1.
ONE: dict[str, dict[str, Callable[..., Any]]] = {
    "v": {
        "jax.nn.softmax": nn.softmax,
        "softmax": lambda x: jnp.exp(x - x.max()) / jnp.sum(jnp.exp(x - x.max())),
        "jax.nn.log_softmax": nn.log_softmax,
        "log_softmax": lambda x: x - x.max() - jnp.log(jnp.sum(jnp.exp(x - x.max()))),
        "logsumexp": special.logsumexp,
        "jax.nn.relu": nn.relu,
        "relu": lambda x: jnp.maximum(x, 0),
        "jax.nn.relu6": nn.relu6,
        "relu6": lambda x: jnp.minimum(jnp.maximum(3 * x, 0), 6),
        "jax.nn.sigmoid": nn.sigmoid,
        "sigmoid": lambda x: 1 / (1 + jnp.exp(-x)),
        "jax.nn.log_sigmoid": nn.log_sigmoid,
        "jax.nn.softplus": nn.softplus,
        "softplus": lambda x: jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x))),
        "jax.nn.silu": nn.silu,
        "jax.nn.gelu": nn.gelu,
        "jax.nn.gelu exact": partial(nn.gelu, approximate=False),
        "gelu": lambda x: 0.5 * x * (1 + special.erf(x / jnp.sqrt(2.0))),
        "gelu tanh": lambda x: 0.5 * x * (1 + jnp.tanh(np.sqrt(2 / np.pi).item() * (x + 0.044715 * x**3))),
        "jax.nn.elu": nn.elu,
        "elu": lambda x: jnp.where(x > 0, x, jnp.exp(jnp.minimum(x, 0)) - 1),
        "jax.nn.selu": nn.selu,
        "jax.nn.celu": nn.celu,
        "jax.nn.leaky_relu": nn.leaky_relu,
        "leaky_relu": lambda x: jnp.where(x > 0, x, 0.01 * x),
        "jax.nn.hard_tanh": nn.hard_tanh,
        "jax.nn.hard_sigmoid": nn.hard_sigmoid,
        "jax.nn.hard_swish": nn.hard_swish,
        "jax.nn.mish": nn.mish,
        "mish": lambda x: x * jnp.tanh(jnp.log1p(jnp.exp(x))),
        "jax.nn.squareplus": nn.squareplus,
        "jax.nn.soft_sign": nn.soft_sign,
        "jax.nn.glu": lambda x: nn.glu(x[:4]),
        "tanh": lambda x: (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + jnp.exp(-x)),
        "jax.nn.sparse_plus": nn.sparse_plus,
        "jnp.abs": jnp.abs,
        "exp": jnp.exp,
        "sqrt": lambda x: jnp.sqrt(x * x + 1),
        "cbrt": jnp.cbrt,
        "x^3": lambda x: x**3,
        "x^7": lambda x: x**7,
        "x^-3": lambda x: x**-3,
        "pow of a sum": lambda x: (x * x + 1) ** 1.7,
        "pow of integers": lambda x: jnp.power(x, jnp.array([0, 1, 2, 3, -2])),
        "exp2": jnp.exp2,
        "sin": jnp.sin,
        "cos of large": lambda x: jnp.cos(1e4 * x),
        "tan": jnp.tan,
        "arctan": jnp.arctan,
        "sinh": jnp.sinh,
        "cosh": jnp.cosh,
        "log cosh": lambda x: jnp.log(jnp.cosh(x)),
        "asinh": jnp.arcsinh,
        "erf": lax.erf,
        "erfc": lax.erfc,
        "erfc of large": lambda x: lax.erfc(4 * x),
        "sinh, cosh of large": lambda x: jnp.sinh(9 * x) + jnp.cosh(9 * x),
        "ndtr": special.ndtr,
        "sinc": jnp.sinc,
        "lgamma": lax.lgamma,
        "max": jnp.max,
        "min": jnp.min,
        "clip": lambda x: jnp.clip(x, -1, 1),
        "clamp": lambda x: lax.clamp(jnp.array(-0.5, x.dtype), x, jnp.array(0.5, x.dtype)),
        "prod": jnp.prod,
        "cumsum": jnp.cumsum,
        "cumsum reverse": lambda x: lax.cumsum(x, reverse=True),
        "cumprod": jnp.cumprod,
        "cummax": lax.cummax,
        "cummin": lax.cummin,
        "cumlogsumexp": lax.cumlogsumexp,
        "norm": jnp.linalg.norm,
        "norm 1": lambda x: jnp.linalg.norm(x, 1),
        "norm inf": lambda x: jnp.linalg.norm(x, jnp.inf),
        "normalized": lambda x: x / jnp.linalg.norm(x),
        "std": jnp.std,
        "var": lambda x: jnp.var(x, ddof=1),
        "sort": jnp.sort,
        "sort by": lambda x: lax.sort((x, x * x), num_keys=1)[1],
        "argsort": lambda x: x[jnp.argsort(-x)],
        "top_k": lambda x: lax.top_k(x, 3)[0],
        "median": jnp.median,
        "argmax": lambda x: x * (jnp.arange(5) == jnp.argmax(x)) + x[jnp.argmin(x)],
        "floor": lambda x: x * jnp.floor(3 * x),
        "ceil": lambda x: x * jnp.ceil(3 * x),
        "round": lambda x: x * jnp.round(3 * x),
        "round away": lambda x: x * lax.round(3 * x),
        "trunc": lambda x: x * jnp.trunc(3 * x),
        "mod": lambda x: x % 0.75,
        "sign": lambda x: x * jnp.sign(x),
        "astype int": lambda x: x * (3 * x).astype(int),
        "slice": lambda x: x[1:4:2],
        "reverse": lambda x: x[::-1],
        "pad": lambda x: jnp.pad(x, (1, 2)),
        "pad negative": lambda x: lax.pad(x, jnp.array(0.5, x.dtype), [(-1, 2, 1)]),
        "roll": lambda x: jnp.roll(x, 2),
        "tile": lambda x: jnp.tile(x, 2),
        "outer": lambda x: jnp.outer(x, x),
        "diff": jnp.diff,
        "diag": jnp.diag,
        "gather": lambda x: x[jnp.array([3, 0, 3])],
        "gather outside": lambda x: jnp.take(x, jnp.array([0, 9]), mode="clip"),
        "dynamic_slice": lambda x: lax.dynamic_slice(x, (2,), (2,)),
        "dynamic_update_slice": lambda x: lax.dynamic_update_slice(x, x[:2] * x[1:3], (3,)),
        "set": lambda x: (2 * x).at[jnp.array([0, 2])].set(x[1:3] ** 2),
        "scatter add": lambda x: x.at[jnp.array([0, 2, 0])].add(x[:3] ** 2),
        "segment_sum": lambda x: jax.ops.segment_sum(x, jnp.array([0, 1, 0, 1, 2]), 3),
        "is_finite": lambda x: jnp.where(jnp.isfinite(x), x * x, 0),
        "nan_to_num": jnp.nan_to_num,
        "dropout": lambda x: jnp.where(BITS > 0, x / 0.9, 0.0),
        "dropout by a key": lambda x: x * jax.random.bernoulli(jax.random.key(KEY), 0.5, (5,)) / 0.5,
        "noise by a split key": lambda x: x * (jax.random.bits(jax.random.split(jax.random.key(KEY))[1], (5,)) % 3),
        "bce of labels": lambda z: bce(z, BITS.astype(z.dtype)),
        "remat": jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))),
        "custom_vjp": clipped,
        "custom_jvp": log1pexp,
        "switch": lambda x: lax.switch(1, [jnp.sin, jnp.cos], x),
        "cond": lambda x: lax.cond(x[0] > 0, jnp.sin, lambda x: x * x, x),
        "fori_loop": lambda x: lax.fori_loop(0, 3, lambda i, c: c * jnp.sin(c) + i, x),
        "associative_scan": partial(lax.associative_scan, jnp.multiply),
        "select_n": lambda x: lax.select_n(jnp.array([0, 1, 2, 0, 1], jnp.int32), x, 2 * x, x * x),
        "interp": lambda x: jnp.interp(x, jnp.arange(4, dtype=x.dtype), jnp.arange(4, dtype=x.dtype) ** 2),
        "logic": lambda x: jnp.where((x > 0) ^ (x > 1) | ~(x < 2), x * x, x),
        "any and all": lambda x: jnp.where(jnp.any(x > 0) & jnp.all(x < 9), x * x, x),
    },
    "p": {
        "log": jnp.log,
        "log2": jnp.log2,
        "log10": jnp.log10,
        "x^2.5": lambda x: x**2.5,
        "x^-0.5": lambda x: x**-0.5,
        "rsqrt": lax.rsqrt,
        "geometric mean": lambda x: jnp.exp(jnp.log(x).mean()),
        "entropy": lambda x: -(x * jnp.log(x)).sum(),
        "entr": special.entr,
        "digamma": lax.digamma,
    },
    "u": {
        "asin": jnp.arcsin,
        "acos": jnp.arccos,
        "erf_inv": lax.erf_inv,
        "expm1": jnp.expm1,
    },
    "s": {  # XLA's log1p for CPUs is off by up to 120 units of float64 between −0.42 and −0.35
        "log1p": jnp.log1p,
        "atanh": jnp.arctanh,
    },
    "q": {"acosh": jnp.arccosh},
    "M": {
        "transpose, reshape": lambda a: a.T.reshape(-1)[:5],
        "einsum trace": lambda a: jnp.einsum("ii->", a[:, :3]),
        "tril": jnp.tril,
        "flip": jnp.fliplr,
        "pad both": lambda a: jnp.pad(a, 1),
        "embedding": lambda e: e[jnp.array([1, 0, 2, 1])],
        "one_hot": lambda a: a @ nn.one_hot(LABELS, 4, dtype=a.dtype).T,
        "unstack": lambda a: sum(jnp.unstack(a)),
        "standardize": nn.standardize,
        "rope": rope,
        "nll": nll,
        "smoothed": smoothed,
        "ignoring": ignoring,
        "hinge": hinge,
        "lax.map": lambda a: lax.map(lambda r: jnp.sin(r) * r, a),
        "scan of sums": lambda a: lax.scan(
            lambda h, r: (jnp.tanh(h + r), h * r), jnp.zeros(4, a.dtype), a, reverse=True
        ),
        "max pool": partial(pooled, -jnp.inf, lax.max),
        "max pool, overlapping": partial(pooled, -jnp.inf, lax.max, size=(2, 3), strides=(1, 1), padding="SAME"),
        "min pool": partial(pooled, jnp.inf, lax.min),
        "average pool": lambda a: pooled(0.0, lax.add, a) / 2,
        "average pool, overlapping": partial(pooled, 0.0, lax.add, size=(2, 3), strides=(1, 1), padding="SAME"),
        "max pool by reshape": lambda a: a.reshape(3, 2, 2).max(-1),
        "gram": lambda a: a @ a.T,
        "masked mean": lambda a: jnp.where(MASK[:, None], a, 0).sum(0) / MASK.sum(),
        "vmap": jax.vmap(lambda r: r / jnp.linalg.norm(r)),
        "sort rows": lambda a: jnp.sort(a, 0),
    },
}
MORE: dict[str, tuple[str, Callable[..., Any]]] = {
    "maximum": ("v v", jnp.maximum),
    "minimum": ("v v", jnp.minimum),
    "logaddexp": ("v v", jnp.logaddexp),
    "hypot": ("v v", jnp.hypot),
    "arctan2": ("v v", jnp.arctan2),
    "pow": ("p v", jnp.power),
    "rem": ("v p", lax.rem),
    "clip by arguments": ("v u p", lambda x, a, b: jnp.clip(x, a, a + b)),
    "swiglu": ("v v", lambda a, b: nn.silu(a) * b),
    "cosine similarity": ("v v", lambda a, b: a @ b / jnp.linalg.norm(a) / jnp.linalg.norm(b)),
    "kl": ("p p", lambda p, q: (p * (jnp.log(p) - jnp.log(q))).sum()),
    "kl of logits": ("v v", lambda a, b: jnp.sum(nn.softmax(a) * (nn.log_softmax(a) - nn.log_softmax(b)))),
    "xlogy": ("p p", special.xlogy),
    "mse": ("v v", lambda a, b: jnp.mean((a - b) ** 2)),
    "mae": ("v v", lambda a, b: jnp.mean(jnp.abs(a - b))),
    "huber": ("v v", huber),
    "bce": ("v u", bce),
    "cross": ("v v", lambda a, b: jnp.cross(a[:3], b[:3])),
    "jvp of max pool": (
        "M M",
        lambda a, t: jax.jvp(partial(pooled, -jnp.inf, lax.max), (a,), (t,))[1],
    ),
    "einsum": ("M M", lambda a, b: jnp.einsum("ij,kj->ik", a, b)),
    "concatenate": ("M M", lambda a, b: jnp.concatenate([a, b])),
    "where rows": ("M M", lambda a, b: jnp.where(MASK[:, None], a, b)),
    "layer norm": ("M v4 v4", layer_norm),
    "RMS norm": ("M v4", lambda x, g: x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * g),
    "batch norm": ("M v4 v4", batch_norm),
    "group norm": ("M v4 v4", group_norm),
    "attention": ("M M M", attention),
    "causal attention": ("M M M", causal),
    "causal attention, finite": ("M M M", partial(causal, nothing=-1e9)),
    "rope of angles": ("M v2", rope_of_angles),
    "lstm": ("2x2 2x3 2x3 2x12 3x12 v12", lstm),
    "gru": ("2x2 2x3 2x3 3x3", gru),
    "rnn": ("4x2 v2 2x2", rnn),
    "rnn reverse": ("4x2 v2 2x2", partial(rnn, reverse=True)),
    "conv1d": ("v v3", jnp.convolve),
    "conv1d by hand": ("v v3", conv_by_hand),
    "conv2d": ("1x2x4x4 3x2x3x3", conv),
    "conv2d strided": ("2x1x5x4 2x1x2x3", partial(conv, strides=(2, 1), padding=[(1, 0), (0, 2)])),
    "conv2d dilated": ("1x1x5x5 2x1x2x2", partial(conv, padding="VALID", rhs_dilation=(2, 1))),
    "conv2d of groups": ("1x4x3x3 4x2x2x2", partial(conv, strides=(1, 2), feature_group_count=2)),
    "conv2d of groups, as kernels": ("4x1x3x3 4x1x2x2", partial(conv, batch_group_count=2)),
    "conv2d NHWC": ("1x3x3x2 2x2x2x3", partial(conv, dimension_numbers=("NHWC", "HWIO", "NHWC"))),
    "conv_transpose": ("1x3x2 2x2x3", lambda x, k: lax.conv_transpose(x, k, (2,), "SAME")),
}
ROWS = {name: (kind, f) for kind, some in ONE.items() for name, f in some.items()} | MORE


def _arguments(kinds: str, draw: Any) -> list[Any]:
    """Numbers of float32, in float64."""

    def one(kind: str) -> Any:
        shape = {"v": (5,), "p": (5,), "u": (5,), "s": (5,), "q": (5,), "M": (3, 4)}.get(kind)
        x = draw.normal(size=shape or [int(n) for n in kind.lstrip("v").split("x")])
        x = {"p": np.abs(x) + 0.1, "u": np.tanh(x), "s": np.tanh(x) / 4, "q": 1.01 + np.abs(x)}.get(kind, x)
        return x.astype(np.float32).astype(np.float64)

    return [one(kind) for kind in kinds.split()]


# ── The judge ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _flat(f: Callable[..., Any]) -> Callable[..., Any]:
    """All results of a function in one vector."""
    return lambda *args: jnp.concatenate([jnp.ravel(part) for part in jax.tree.leaves(f(*args))])


@cache
def _functions(name: str) -> tuple[Callable[..., Any], Callable[..., Any], Any]:
    """The function, its value and vjp by JAX compiled, and their program."""
    kinds, f = ROWS[name]
    f, args = _flat(f), _arguments(kinds, np.random.default_rng(0))

    def both(delta: Any, *args: Any) -> Any:
        found, pull_back = jax.vjp(f, *args)
        return found, *pull_back(delta.astype(found.dtype))

    delta = np.ones(jax.eval_shape(f, *args).shape)
    compiled = jax.jit(both, compiler_options=autodiff.quick_compilation())
    return f, compiled, traced(both, delta, *args)


def within(name: str, points: range) -> None:
    """An AssertionError where JAX's floats or the truth lie outside the bounds, or the proofs disagree."""
    f, compiled, program = _functions(name)
    for seed in points:
        draw = np.random.default_rng([seed, len(name)])
        args = _arguments(ROWS[name][0], draw)
        (delta,) = _arguments("v" + str(program.inputs[0].aval.shape[0]), draw)
        point = (delta, *args)
        proofs = [value(f, *args), *vjp(f, delta, *args)]
        truth = [proof.nearest(accept_ties=True) for proof in proofs]
        for dtype, precision in PRECISIONS.items():
            said = compiled(*(a.astype(dtype) for a in point))
            answers = bounded(program, precision, point, [np.zeros(a.shape) for a in point])
            for i, (jax_says, answer, exact) in enumerate(zip(said, answers, truth, strict=True)):
                where = f"{name}, {np.dtype(dtype)}, result {i} at seed {seed}"
                assert np.isfinite(answer.bound).all(), f"nothing is claimed: {where}"
                assert (np.abs(np.asarray(jax_says) - answer.value) <= answer.bound).all(), f"JAX is outside: {where}"
                assert (np.abs(exact - answer.value) <= answer.bound).all(), f"the truth is outside: {where}"
        for by_rule, by_slopes in zip(proofs[1:], vjp_by_slopes(f, delta, *args), strict=True):
            for k, (ball, other) in enumerate(zip(by_rule.balls, by_slopes.balls, strict=True)):
                assert ball.overlaps(other), f"{name}: two derivatives at seed {seed}, entry {k}: {ball} and {other}"


@pytest.mark.parametrize("name", sampled(ROWS, list(ROWS)[::3]))
def test_bounds_and_proofs(name: str) -> None:
    within(name, range(2))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ROWS)
def test_bounds_and_proofs_everywhere(name: str) -> None:
    within(name, range(2, 62))


# ── It can fail ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("table", "rule", "wrong", "row", "message"),
    [
        (floats._ELEMENTWISE, "sin", lambda a: np.sin(a) * (1 + 1e-14), "sin", "outside"),
        (floats._ELEMENTWISE, "cos", lambda a: np.cos(a + 1e-9), "sin", "outside"),
        (floats._VALUES, "conv_general_dilated", lambda p, a, b: moves.convolution(p, 2 * a, b), "conv2d", "outside"),
        (moves.MOVES, "reshape", lambda p, a: a.reshape(p["new_sizes"]), "conv2d of groups", "outside|derivatives"),
        (errors._BROUGHT, "mul", lambda *_: 0.0, "associative_scan", "outside"),
        (errors._BROUGHT, "cos", lambda *_: 0.0, "cos of large", "outside"),
        (errors._ADDED, "exp2", lambda equation, v, e, result: (0 * result, 1.0, 1), "exp2", "outside"),
        (errors._ROUNDINGS, "exp", 0.0, "exp", "outside"),
        (functions.ELEMENTWISE, "tan", functions.ELEMENTWISE["sin"], "tan", "outside"),
        (functions.ELEMENTWISE, "neg", lambda a: numbers.of_one(functions._constant)(-a), "sigmoid", "derivatives"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_noticed(monkeypatch, table, rule, wrong, row, message) -> None:
    monkeypatch.setitem(table, rule, wrong)
    with pytest.raises(AssertionError, match=message):
        within(row, range(10))


# ── What is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("primitive", "f"),
    [
        ("fft", lambda x: jnp.abs(jnp.fft.rfft(x))),
        ("complex numbers", lambda x: jnp.abs(x + 1j)),
        ("cholesky", lambda x: lax.linalg.cholesky(jnp.diag(x), symmetrize_input=False)),
        ("sort", lambda x: lax.sort((x, x), num_keys=2)[1]),
        ("bessel_i0e", lax.bessel_i0e),
    ],
)
def test_refused_in_one_line(primitive: str, f: Callable[..., Any]) -> None:
    x = np.array([1.0, 2.0, 3.0])
    line = rf"^no rule for `{primitive}`: write it with other functions of jax\.numpy, or add a rule to .*$"
    with pytest.raises(TypeError, match=line):
        value(f, x)
    with pytest.raises(TypeError, match=line):
        bounded(traced(f, x), PRECISIONS[np.float64], [x], [0 * x])


def test_an_order_that_no_ball_decides_is_refused() -> None:
    x = np.array([1.0, 0.0, 1.0])
    assert value(jnp.sort, x).nearest().tolist() == [0.0, 1.0, 1.0]
    with pytest.raises(PrecisionCapReached, match="order"):
        value(lambda x: jnp.sort(jnp.exp(x)), x)
    with pytest.raises(PrecisionCapReached, match="nan"):
        value(lambda x: x**0.5, -x)


# ── Decisions ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _bound(f: Callable[..., Any], x: Any, error: Any, either: bool = False) -> Any:
    precision = PRECISIONS[np.float64]._replace(either=either)
    return bounded(traced(f, x), precision, [x], [np.broadcast_to(error, x.shape).astype(float)])


def test_an_open_index_leaves_nothing_claimed() -> None:
    x = np.array([1.0, 1.0 + 1e-9, 0.0])
    picked = lambda x: jnp.array([5.0, 6.0, 7.0])[jnp.argmax(x)]  # noqa: E731
    assert _bound(picked, x, 1e-12).bound == 0
    assert _bound(picked, x, 1e-8).bound == np.inf
    assert _bound(picked, x, [0, 0, 0.1]).bound == 0
    moved = _bound(lambda x: lax.sort((x, jnp.array([1.0, 2.0, 3.0])), num_keys=1), x, 1e-8)
    assert moved[0].bound.max() < 1.1e-8
    assert moved[1].bound.tolist() == [0.0, np.inf, np.inf]
    assert _bound(lambda x: x[(2 * x).astype(int)[0]], x, 0.01).bound == np.inf


def test_branches_that_are_open_are_both_covered() -> None:
    f = lambda x: lax.cond(x[0] > 0, lambda: 5.0, lambda: 7.0)  # noqa: E731
    assert _bound(f, np.array([1e-9]), 1e-12).bound == 0
    assert _bound(f, np.array([1e-9]), 1e-8).bound == 2
    loop = lambda x: lax.while_loop(lambda c: c < 4, lambda c: c + 1, x[0])  # noqa: E731
    assert _bound(loop, np.array([0.5]), 1e-8).bound < 1e-7
    assert _bound(loop, np.array([1.0]), 1e-8).bound == np.inf


def test_steps_and_finiteness() -> None:
    x = np.array([0.5, 1.5, 2.0])
    assert _bound(jnp.floor, x, 1e-9).bound.tolist() == [0, 0, 1]
    assert _bound(jnp.round, x, 1e-9).bound.tolist() == [1, 1, 0]
    assert _bound(jnp.isfinite, x, 1e-9).bound.tolist() == [0, 0, 0]
    assert _bound(jnp.isfinite, np.array([1e308, np.inf]), [1e308, 0]).bound.tolist() == [np.inf, 0]
    assert _bound(lambda x: lax.rem(x, 1.0), x, 1e-9).bound[2] >= 1
    assert np.isinf(_bound(lambda x: jnp.tan(x), np.array([np.pi / 2]), 1e-9).bound)
    assert np.isinf(_bound(jnp.arcsin, np.array([1.0]), 1e-9).bound)
    assert np.isinf(_bound(lambda x: x**0.5, np.array([1e-9]), 1e-8).bound)


def test_any_of_the_tied_may_have_the_gradient_of_a_pool() -> None:
    x = np.array([1.0, 1.0, 3.0, 2.0])
    pool = lambda x: jax.vjp(partial(pooled, -jnp.inf, lax.max, size=(2,), strides=(2,)), x)[1](jnp.ones(2))[0]  # noqa: E731
    assert _bound(pool, x, 0).value.tolist() == [1, 0, 1, 0]
    assert _bound(pool, x, 0).bound.tolist() == [0, 0, 0, 0]
    assert _bound(pool, x, 0, either=True).bound.tolist() == [1, 1, 0, 0]
    assert _bound(pool, x, [0, 0, 2.0, 0]).bound.tolist() == [0, 0, 1, 1]
    assert value(pool, x).nearest().tolist() == [1, 0, 1, 0]
    (again,) = vjp_by_slopes(partial(pooled, -jnp.inf, lax.max, size=(2,), strides=(2,)), np.ones(2), x)
    assert again.nearest().tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    "f", [jnp.abs, nn.relu, nn.relu6, jnp.sign, jnp.max, nn.hard_tanh, lambda x: jnp.clip(x, 0, 6)]
)
def test_slopes_at_kinks_are_those_of_jax(f: Callable[..., Any]) -> None:
    x = np.array([0.0, 0.0, 1.0, -1.0, 6.0])
    delta = np.arange(1.0, 6.0).reshape(-1)[: max(1, np.size(f(x)))].reshape(np.shape(f(x)))
    expected = np.asarray(jax.vjp(f, x)[1](delta)[0])
    np.testing.assert_array_equal(vjp(f, delta, x)[0].nearest(), expected)
    if f not in (nn.relu, nn.relu6):  # whose rules are not those of what they are made of
        np.testing.assert_array_equal(vjp_by_slopes(f, delta, x)[0].nearest(), expected)


# ── Programs within programs ────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_open_in_one_turn_may_turn_out_otherwise_in_the_next() -> None:
    def signs(x):
        return lax.scan(lambda h, v: (h * jnp.where(v > 0, 1.0, -1.0), None), 1.0, x)[0]

    open_ = np.array([arb(0, 1e-30), arb(0, 1e-30)], object)
    assert over_all_ways(traced(signs, np.ones(2)), [open_])[()].contains(-1)


def test_a_loop_of_any_length() -> None:
    n = letters("n")["n"]
    f = lambda x: lax.scan(lambda h, v: (h + v * x.shape[0], h), 0.0, x)  # noqa: E731
    program = traced(f, jax.ShapeDtypeStruct((n,), np.float64))
    for size in (0, 1, 3):
        x = np.arange(1.0, size + 1)
        total, sums = over_balls(program.at({"n": size}), [x])
        assert total[()] == size * x.sum()
        assert [float(s) for s in sums] == [size * x[:i].sum() for i in range(size)]


def test_rational_programs_are_exact() -> None:
    def f(x, k):
        parts = jnp.pad(jnp.convolve(x / 3, k), 1)[jnp.array([1, 2, 3])]
        return jnp.cumprod(parts), jnp.prod(parts), jnp.max(parts) + jnp.floor(parts[0]), jnp.sort(parts)

    x, k = np.array([1.0, 2.0, 4.0]), np.array([1.0, -1.0])
    with working_precision(128):
        products, whole, most, ordered = over_fractions(traced(f, x, k), [x, k])
    assert [head(u) for u in products] == [fmpq(1, 3), fmpq(1, 9), fmpq(2, 27)]
    assert head(whole[()]) == fmpq(2, 27)
    assert head(most[()]) == fmpq(2, 3)
    assert [head(u) for u in ordered] == [fmpq(1, 3), fmpq(1, 3), fmpq(2, 3)]


def test_the_forward_of_a_loop_without_a_length() -> None:
    x = np.array([1.0, 2.0])
    assert value(power_of_two, x).nearest().tolist() == np.asarray(power_of_two(x)).tolist()


def test_derivatives_that_jax_remembers_are_not_taken() -> None:
    """JAX keeps the derivative of a jitted function, with its own rounded 1/3."""
    x = np.array([2.0])
    jax.grad(lambda x: jnp.cbrt(x)[0])(x)
    (by_rule,), (by_slopes,) = vjp(jnp.cbrt, np.ones(1), x), vjp_by_slopes(jnp.cbrt, np.ones(1), x)
    assert by_rule.balls[0].overlaps(by_slopes.balls[0])


def test_a_small_product_adds_its_terms_in_their_order_on_every_machine() -> None:
    rows = np.array([[2.0**53, 1.0, 1.0], [1.0, 1.0, 2.0**53]])
    assert moves.matmul(rows, np.ones((3, 2))).tolist() == [[2.0**53] * 2, [2.0**53 + 2] * 2]
    assert moves.matmul(rows[None].astype(int), np.ones((1, 3, 1), int)).tolist() == [[[2**53 + 2]] * 2]
    assert moves.matmul(np.ones((2, 0), bool), np.ones((0, 1), bool)).tolist() == [[False]] * 2
