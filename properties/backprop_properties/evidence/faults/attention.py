"""Attention, causal attention and rotary embeddings: right forms, and wrong ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...checking.python_files import Implementation
from . import makers as m
from .general import general
from .makers import F32, F64, FORWARD, VJP, Array, Function, dashed
from .table import Fault, Neighbour

SHORTER = ("float16", "bfloat16")

# ── Right, with a place for each usual mistake ──────────────────────────────────────────────────────────────────────


def turned(a: Array) -> Array:
    return a.swapaxes(-1, -2)


def scores(q: Array, k: Array) -> Array:
    return q @ turned(k) / q.dtype.type(q.shape[-1] ** 0.5)


def over_keys(s: Array) -> Any:
    f = np.exp(s - s.max(-1, keepdims=True))
    return f / f.sum(-1, keepdims=True)


def seen(s: Array) -> Array:
    """The i-th query sees the first i keys."""
    return np.tril(np.ones(s.shape[-2:], bool))


def of_the_seen(s: Array) -> Any:
    return over_keys(np.where(seen(s), s, -np.inf))


def attended(weights: Function, scores: Function = scores) -> Function:
    return lambda q, k, v: weights(scores(q, k)) @ v


def through_the_softmax(p: Array, dp: Array) -> Any:
    return p * (dp - (p * dp).sum(-1, keepdims=True))


def attention_vjp(
    weights: Function,
    scores: Function = scores,
    back: Function = through_the_softmax,
    factors: Function = lambda d: (d**-0.5, d**-0.5),
    key: Function = turned,
) -> Function:
    """`dq, dk, dv`; `factors` are those of dq and dk."""

    def vjp(delta: Array, q: Array, k: Array, v: Array) -> Any:
        p = weights(scores(q, k))
        ds = back(p, delta @ turned(v))
        of_q, of_k = map(q.dtype.type, factors(q.shape[-1]))
        return ds @ k * of_q, key(ds) @ q * of_k, turned(p) @ delta

    return vjp


def angles(x: Array, base: float = 10000.0) -> Array:
    """In float64, whatever x is."""
    half = x.shape[1] // 2
    found: Array = np.arange(len(x))[:, None] * base ** (-np.arange(half) / half)
    return found


def turned_by(angles: Array, x: Array) -> Any:
    """Entries i and d/2 + i as a complex number, times `exp(i · angle)`."""
    c, s = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    a, b = np.split(x, 2, -1)
    return np.concatenate([a * c - b * s, b * c + a * s], -1)


def rotary(x: Array) -> Any:
    return turned_by(angles(x), x)


def rotary_vjp(delta: Array, x: Array) -> Any:
    return (turned_by(-angles(x), delta),)


NAMES = {"scaled_dot_product_attention": over_keys, "causal_attention": of_the_seen}
RIGHT: Mapping[str, Implementation] = {
    **{name: Implementation(attended(weights), vjp=attention_vjp(weights)) for name, weights in NAMES.items()},
    "rotary_embedding": Implementation(rotary, vjp=rotary_vjp),
}

# ── Right, by other algebra ─────────────────────────────────────────────────────────────────────────────────────────


def _from_the_output(weights: Function) -> Function:
    """The inner product of the softmax as that of the cotangent and the output, which FlashAttention saves."""

    def vjp(delta: Array, q: Array, k: Array, v: Array) -> Any:
        p = weights(scores(q, k))
        inner = (delta * (p @ v)).sum(-1, keepdims=True)
        ds = p * (delta @ turned(v) - inner) / q.dtype.type(q.shape[-1] ** 0.5)
        return ds @ k, turned(ds) @ q, turned(p) @ delta

    return vjp


def _scaled_first(q: Array, k: Array) -> Array:
    """As PyTorch: √d apart, to q and to k."""
    root = q.dtype.type(q.shape[-1] ** -0.25)
    return (q * root) @ turned(k * root)


def _key_by_key(q: Array, k: Array, v: Array) -> Any:
    """One pass over the keys: what has been added up is scaled whenever a larger score comes."""
    s = scores(q, k)
    largest, total = s[..., :1] * 0 - np.inf, s[..., :1] * 0
    out = np.zeros((*s.shape[:-1], v.shape[-1]), v.dtype)
    for j in range(s.shape[-1]):
        new = np.maximum(largest, s[..., j : j + 1])
        f = np.exp(s[..., j : j + 1] - new)
        kept = np.exp(largest - new)
        largest, total, out = new, total * kept + f, out * kept + f * v[:, None, j]
    return out / total


def _rounded_angles(x: Array) -> Array:
    half, dtype = x.shape[1] // 2, x.dtype
    exponents = np.arange(half).astype(dtype) / dtype.type(half)
    found: Array = np.arange(len(x)).astype(dtype)[:, None] / dtype.type(10000.0) ** exponents
    return found


def _rotated_half(x: Array, sign: int = 1) -> Any:
    """`x cos + rotate_half(x) sin`, as GPT-NeoX has it."""
    twice = np.tile(angles(x), 2)
    half = np.concatenate([-x[:, x.shape[1] // 2 :], x[:, : x.shape[1] // 2]], -1)
    return x * np.cos(twice).astype(x.dtype) + half * (sign * np.sin(twice)).astype(x.dtype)


ATTENTION_RIGHT = [
    *(Neighbour(name, f"{dashed(name)}-textbook", "as a textbook writes it", right.forward, vjp=right.vjp)
      for name, right in RIGHT.items()),
    *(Neighbour(name, f"{dashed(name)}-by-float32", "computed in float32, rounded once",
                m.computed_in(right.forward, np.float32), vjp=m.computed_in(right.vjp, np.float32), dtypes=SHORTER)
      for name, right in RIGHT.items() if right.forward and right.vjp),
    *(Neighbour(name, f"{dashed(name)}-from-the-output", "the softmax's inner product is δ · u",
                attended(weights, _scaled_first), vjp=_from_the_output(weights)) for name, weights in NAMES.items()),
    Neighbour("scaled_dot_product_attention", "scaled-dot-product-attention-online", "one pass over the keys",
              _key_by_key),
    Neighbour("rotary_embedding", "rotary-embedding-rotated-half", "x cos + rotate_half(x) sin", _rotated_half,
              vjp=lambda d, x: (_rotated_half(d, -1),)),
    Neighbour("rotary_embedding", "rotary-embedding-rounded-angles", "angles in the arithmetic of x",
              lambda x: turned_by(_rounded_angles(x), x), vjp=lambda d, x: (turned_by(-_rounded_angles(x), d),)),
]  # fmt: skip

# ── Wrong ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _over_queries(s: Array) -> Any:
    return turned(over_keys(turned(s)))


def _naive(mask: Function) -> Function:
    """The largest score is not subtracted."""

    def weights(s: Array) -> Any:
        f = np.exp(s) * mask(s)
        return f / f.sum(-1, keepdims=True)

    return weights


def _first_keys(weights: Function, tile: int) -> Function:
    """Keys past the first tile do not count in the sum."""
    return lambda s: (lambda p: p / m.sum_of_tiles(p, tile, keepdims=True))(weights(s))


def _attention_faults(name: str) -> list[Fault]:
    """What goes wrong with and without a mask."""
    weights = NAMES[name]
    fault, right = m.faults_of(name), attention_vjp(weights)
    square = {"m": 3, "n": 3} if name == "scaled_dot_product_attention" else {}
    mask = seen if weights is of_the_seen else np.ones_like

    def vjp(**how: Any) -> Function:
        return attention_vjp(weights, **how)

    return [
        fault("unscaled", "factor", FORWARD, "factor", forward=attended(weights, lambda q, k: q @ turned(k))),
        fault("divided-by-d", "factor", FORWARD,
              forward=attended(weights, lambda q, k: q @ turned(k) / q.dtype.type(q.shape[-1]))),
        fault("root-of-the-keys", "formula", FORWARD, "another-size",
              forward=attended(weights, lambda q, k: q @ turned(k) / q.dtype.type(k.shape[1] ** 0.5))),
        fault("unscaled-backward", "factor", VJP, "factor", vjp=vjp(factors=lambda d: (1, 1))),
        fault("unscaled-dk", "factor", VJP, "factor", vjp=vjp(factors=lambda d: (d**-0.5, 1))),
        fault("scaled-twice", "factor", VJP, "another-size", vjp=vjp(factors=lambda d: (1 / d, 1 / d))),
        fault("inner-product-forgotten", "missing term", VJP, "missing-path", vjp=vjp(back=lambda p, dp: p * dp)),
        fault("inner-product-unweighted", "missing term", VJP,
              vjp=vjp(back=lambda p, dp: p * (dp - dp.sum(-1, keepdims=True)))),
        fault("inner-product-mean", "factor", VJP, "factor-n",
              vjp=vjp(back=lambda p, dp: p * (dp - dp.mean(-1, keepdims=True)))),
        fault("diagonal", "missing term", VJP, "missing-path", vjp=vjp(back=lambda p, dp: p * (1 - p) * dp)),
        fault("softmax-forgotten", "missing term", VJP, "missing-path", vjp=vjp(back=lambda p, dp: dp)),
        fault("plus", "sign", VJP, "sign", vjp=vjp(back=lambda p, dp: p * (dp + (p * dp).sum(-1, keepdims=True)))),
        fault("inner-product-over-queries", "formula", VJP,
              vjp=vjp(back=lambda p, dp: p * (dp - (p * dp).sum(-2, keepdims=True)))),
        fault("dk-not-turned", "transpose", VJP, "transposed", sizes=square,
              vjp=lambda d, q, k, v: vjp(key=lambda ds: ds if ds.shape[1] == ds.shape[2] else turned(ds))(d, q, k, v)),
        fault("dv-of-scores", "formula", VJP,
              vjp=lambda d, q, k, v: (*right(d, q, k, v)[:2], turned(scores(q, k)) @ d)),
        fault("dv-not-turned", "transpose", VJP, "transposed", sizes=square,
              vjp=lambda d, q, k, v: (*right(d, q, k, v)[:2], (lambda p: (
                  p if p.shape[1] == p.shape[2] else turned(p)) @ d)(weights(scores(q, k))))),
        fault("q-constant", "missing term", VJP, "missing-path", vjp=m.changed(right, np.zeros_like, only=0)),
        fault("batch-added-up", "batch", VJP, "axis",
              vjp=m.changed(right, lambda r: np.broadcast_to(r.sum(0), r.shape).astype(r.dtype), only=1)),
        fault("cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
              vjp=lambda d, q, k, v: right(np.ones_like(d), q, k, v)),
        fault("naive", "overflow", FORWARD, "overflow", forward=attended(_naive(mask))),
        fault("naive-backward", "overflow", VJP, "overflow", vjp=attention_vjp(_naive(mask))),
        fault("float16-weights", "precision", FORWARD, "lower-precision", dtypes=F32,
              forward=attended(lambda s: weights(s).astype(np.float16).astype(s.dtype))),
        fault("float32", "precision", VJP, "lower-precision", dtypes=F64, vjp=m.computed_in(right, np.float32)),
        fault("keys-past-16", "tail of a tile", FORWARD, "tile-tail", sizes={"n": 17},
              forward=attended(_first_keys(weights, 16))),
        fault("captured-keys", "captured weights", VJP, "stale", vjp=m.captured(right, [2])),
    ]  # fmt: skip


def _masked(mask: Function, hidden: float = -np.inf) -> Function:
    return lambda s: over_keys(np.where(mask(s), s, s.dtype.type(hidden)))


def _lower_or_all(k: int) -> Function:
    """A mask that is off by some places; a query that sees nothing sees all."""
    return lambda s: np.tril(np.ones(s.shape[-2:], bool), k) | (np.arange(s.shape[-2]) < -k)[:, None]


def _masked_afterwards(s: Array) -> Any:
    return over_keys(s) * seen(s)


causal = m.faults_of("causal_attention")
_MASK = [
    causal("no-mask", "mask", FORWARD, "mask", forward=attended(over_keys)),
    causal("no-mask-backward", "mask", VJP, "mask", vjp=attention_vjp(over_keys)),
    causal("mask-of-scores-only", "mask", VJP, "mask", vjp=lambda d, q, k, v: (
           *attention_vjp(over_keys)(d, q, k, v)[:2], attention_vjp(of_the_seen)(d, q, k, v)[2])),
    causal("mask-turned", "mask", FORWARD, "transposed", forward=attended(_masked(
           lambda s: seen(s).T))),
    causal("mask-one-more", "mask", FORWARD, forward=attended(_masked(_lower_or_all(1)))),
    causal("mask-one-less", "mask", FORWARD, forward=attended(_masked(_lower_or_all(-1)))),
    causal("mask-of-zeros", "mask", FORWARD, forward=attended(_masked(seen, 0.0))),
    causal("mask-of-minus-10", "mask", FORWARD, "clipped", forward=attended(
           lambda s: over_keys(s - 10 * ~seen(s)))),
    causal("mask-of-minus-100", "mask", FORWARD, "clipped", forward=attended(_masked(seen, -100.0))),
    causal("mask-afterwards", "mask", FORWARD, forward=attended(_masked_afterwards)),
    causal("mask-afterwards-backward", "mask", VJP, vjp=attention_vjp(_masked_afterwards)),
    causal("largest-of-all", "overflow", FORWARD, "overflow", forward=attended(
           lambda s: (lambda f: f / f.sum(-1, keepdims=True))(np.exp(s - s.max(-1, keepdims=True)) * seen(s)))),
]  # fmt: skip

plain = m.faults_of("scaled_dot_product_attention")
_PLAIN = [
    plain("over-queries", "formula", FORWARD, "transposed",
          forward=attended(_over_queries)),
    plain("over-queries-backward", "formula", VJP, vjp=attention_vjp(_over_queries)),
    plain("causal", "mask", FORWARD, "another-function", forward=attended(of_the_seen)),
    plain("sigmoid", "formula", FORWARD, "another-function",
          forward=attended(lambda s: 1 / (1 + np.exp(-s)))),
    plain("dq-and-dk", "argument order", VJP, "exchanged", sizes={"m": 3, "n": 3},
          vjp=lambda d, q, k, v: (lambda dq, dk, dv: (dk, dq, dv) if dq.shape == dk.shape else (dq, dk, dv))(
              *attention_vjp(over_keys)(d, q, k, v))),
]  # fmt: skip


def _pairs(x: Array, sign: int = 1) -> Any:
    """Neighbours are turned, as GPT-J has it."""
    c, s = np.cos(angles(x)).astype(x.dtype), (sign * np.sin(angles(x))).astype(x.dtype)
    return np.stack([x[:, ::2] * c - x[:, 1::2] * s, x[:, 1::2] * c + x[:, ::2] * s], -1).reshape(x.shape)


def _both_minus(x: Array) -> Any:
    a, b = np.split(x, 2, -1)
    c, s = np.cos(angles(x)).astype(x.dtype), np.sin(angles(x)).astype(x.dtype)
    return np.concatenate([a * c - b * s, b * c - a * s], -1)


def _of_columns(x: Array) -> Any:
    """Positions run along the features."""
    half = x.shape[1] // 2
    found: Array = np.arange(half) * 10000.0 ** (-np.arange(len(x)) / len(x))[:, None]
    return found


rotated = m.faults_of("rotary_embedding")
ROTARY = [
    rotated("forward-again", "sign", VJP, "sign", vjp=lambda d, x: (rotary(d),)),
    rotated("other-way", "sign", FORWARD, forward=lambda x: turned_by(-angles(x), x)),
    rotated("neighbours", "formula", FORWARD, "another-function", forward=_pairs),
    rotated("neighbours-backward", "formula", VJP, "another-function",
            vjp=lambda d, x: (_pairs(d, -1),)),
    rotated("sine-forgotten", "missing term", VJP, "missing-path",
            vjp=lambda d, x: (d * np.tile(np.cos(angles(x)), 2).astype(d.dtype),)),
    rotated("second-half-only", "missing term", VJP,
            vjp=lambda d, x: (np.where(np.arange(x.shape[1]) < x.shape[1] // 2, d, rotary_vjp(d, x)[0]),)),
    rotated("both-minus", "sign", FORWARD, forward=_both_minus),
    rotated("sine-for-cosine", "formula", FORWARD,
            forward=lambda x: turned_by(np.pi / 2 - angles(x), x)),
    rotated("from-one", "formula", FORWARD, forward=lambda x: turned_by(
            angles(np.pad(x, ((1, 0), (0, 0))))[1:], x)),
    rotated("from-one-backward", "formula", VJP, vjp=lambda d, x: (turned_by(
            -angles(np.pad(x, ((1, 0), (0, 0))))[1:], d),)),
    rotated("base-1000", "formula", FORWARD, "constant", forward=lambda x: turned_by(angles(x, 1000.0), x)),
    rotated("exponent-of-d", "factor", FORWARD, "constant", forward=lambda x: turned_by(
            angles(x, 10000.0**0.5), x)),
    rotated("exponent-of-d-backward", "factor", VJP, "constant", vjp=lambda d, x: (turned_by(
            -angles(x, 10000.0**0.5), d),)),
    rotated("one-frequency", "formula", FORWARD, "constant", forward=lambda x: turned_by(angles(x, 1.0), x)),
    rotated("positions-along-features", "transpose", FORWARD, "transposed",
            forward=lambda x: turned_by(_of_columns(x), x)),
    rotated("positions-backwards", "formula", VJP, vjp=lambda d, x: (turned_by(
            -angles(x)[::-1], d),)),
    rotated("cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored",
            vjp=lambda d, x: rotary_vjp(np.ones_like(d), x)),
    rotated("of-x", "formula", VJP, "cotangent-ignored", vjp=lambda d, x: rotary_vjp(x, x)),
    rotated("cache-of-8", "long vectors", FORWARD, sizes={"n": 9},
            forward=lambda x: turned_by(np.where(np.arange(len(x))[:, None] < 8, angles(x), 0), x)),
    rotated("float32-angles", "precision", FORWARD, "lower-precision", dtypes=F64,
            forward=lambda x: turned_by(angles(x).astype(np.float32), x)),
    rotated("float16-tables", "precision", VJP, "lower-precision", dtypes=F32,
            vjp=lambda d, x: (turned_by(-angles(x).astype(np.float16), d),)),
]  # fmt: skip

ATTENTION_WRONG = [
    *(fault for name in NAMES for fault in _attention_faults(name)),
    *_MASK,
    *_PLAIN,
    *ROTARY,
    *(fault for name, right in RIGHT.items() for fault in general(name, right)),
]
