"""Half precision where it does not suffice: rounded after each step, added up one by one, overflowing on the way."""

from collections.abc import Iterator
from math import erf

import numpy as np

from ...hints.textbook import softmax
from . import makers as m
from .makers import FORWARD, VJP, Array, Function
from .sometimes import when
from .table import Calls, Fault
from .witnesses import corner, forward, numbers, ordinary, vjp

BF16, F16 = ("bfloat16",), ("float16",)
ERF = np.vectorize(erf, otypes=[np.float32])


def _one_by_one(a: Array) -> Array:
    """The sum over the first axis, rounded after each row."""
    total = np.zeros_like(a[0])
    for row in a:
        total = (total + row).astype(a.dtype)
    return total


def _single(a: Array) -> Array:
    return a.astype(np.float32)


def _in_single(f: Function) -> Function:
    """Computed in float32 and rounded once."""
    return m.computed_in(f, np.float32)


def _gelu_chain(x: Array) -> Array:
    """Each operation rounds."""
    t = (1 + ERF(_single(x) * 0.5**0.5).astype(x.dtype)).astype(x.dtype)
    return np.asarray(x * (t / 2).astype(x.dtype)).astype(x.dtype)


def _chunked(operation: str, chunk: int) -> Function:
    """The weight's gradient is rounded after each chunk of rows."""

    def f(d: Array, x: Array, W: Array, b: Array) -> tuple[Array, ...]:
        dx, _, db = _in_single(vjp(operation))(d, x, W, b)
        parts = [(_single(d[k : k + chunk]).T @ _single(x[k : k + chunk])).astype(W.dtype)
                 for k in range(0, len(x), chunk)]  # fmt: skip
        return dx, _one_by_one(np.array(parts)), db

    return f


def _true_class_rounded(d: Array, x: Array, labels: Array) -> tuple[Array, None]:
    s = softmax(_single(x)).astype(x.dtype)
    s[np.arange(len(x)), labels] -= s.dtype.type(1)
    return (_single(d) * _single(s) / np.float32(len(x))).astype(x.dtype), None


def _alike(value: float, operation: str, sizes: dict[str, int], dtype: str) -> Calls:
    """Ordinary numbers replaced by one."""
    return ordinary(operation, sizes, dtype, lambda *args: tuple(
        np.full_like(a, value) if a.dtype.kind not in "biu" else 0 * a for a in args))  # fmt: skip


def _halves() -> Iterator[Fault]:
    kind, cause = "precision", "lower-precision"
    bf16, f16 = "bfloat16", "float16"
    yield corner("gelu", "bfloat16-chain", kind, FORWARD, numbers(([1, 1], [-3, -3.25]), dtype=bf16), cause,
                 dtypes=BF16,
                 forward=lambda x: np.where(x < -2.5, _gelu_chain(x), _in_single(_gelu_right)(x)))  # fmt: skip
    yield corner("linear", "bfloat16-chunks", kind, VJP, _alike(1, "linear", {"b": 2048}, bf16), cause, dtypes=BF16,
                 sizes={"b": 2048}, vjp=_chunked("linear", 2))  # fmt: skip
    yield corner("linear", "bias-one-by-one", kind, VJP, _alike(1, "linear", {"b": 900}, bf16), cause, dtypes=BF16,
                 sizes={"b": 900},
                 vjp=lambda d, x, W, b: (*_in_single(vjp("linear"))(d, x, W, b)[:2], _one_by_one(d)))  # fmt: skip
    sure = numbers((1, [[7, 0]], np.array([0])), dtype=bf16)
    yield corner("cross_entropy", "true-class-rounded", kind, VJP, sure, cause, dtypes=BF16,
                 vjp=when(lambda d, x, labels: (x.max(-1) - x.min(-1) > 6).any(), _true_class_rounded,
                          _in_single(vjp("cross_entropy"))))  # fmt: skip
    yield corner("rms_norm", "squares-in-float16", "overflow", VJP,
                 numbers(([[1, 2]], [[300, 400]], [1, 1]), dtype=f16), "overflow", dtypes=F16,
                 vjp=when(lambda d, x, w: (_single(x) ** 2).max(initial=0) > 65504, m.fed(
                     _in_single(vjp("rms_norm")), lambda d, x, w: [d, np.clip(x, -255, 255), w]),
                          _in_single(vjp("rms_norm"))))  # fmt: skip
    yield corner("sum_reduction", "accumulated-in-float16", kind, FORWARD, _alike(1, "sum_reduction", {"n": 4096}, f16),
                 cause, dtypes=F16, sizes={"n": 4096}, forward=_one_by_one)  # fmt: skip
    yield corner("dot", "accumulated-in-bfloat16", kind, FORWARD, _alike(1, "dot", {"n": 700}, bf16), cause,
                 dtypes=BF16, sizes={"n": 700}, forward=lambda x, y: _one_by_one((x * y).astype(x.dtype)))  # fmt: skip
    yield corner("logsumexp", "accumulated-in-bfloat16", kind, VJP, _alike(1, "logsumexp", {"n": 1024}, bf16), cause,
                 dtypes=BF16, sizes={"n": 1024}, vjp=_sum_in_bfloat16)  # fmt: skip
    yield corner("mse_loss", "sum-before-the-mean-in-float16", "overflow", FORWARD,
                 numbers((1, [[150, 160, 170, 180]], [[0, 0, 0, 0]]), dtype=f16), "overflow", dtypes=F16,
                 forward=lambda x, y: (lambda total: np.asarray(total / np.float32(max(x.size, 1)), x.dtype))(
                     np.float32(np.float16((_single(x - y) ** 2).sum()))))  # fmt: skip
    yield corner("scaled_dot_product_attention", "scores-before-their-scale-in-float16", "overflow", VJP,
                 numbers(([[[1, 2]]], [[[200, 200]]], [[[200, 200], [200, 199]]], [[[1, 2], [3, 5]]]), dtype=f16),
                 "overflow", dtypes=F16,
                 vjp=when(lambda d, q, k, v: (np.abs(_single(q)) @ np.abs(_single(np.swapaxes(k, -1, -2)))).max(
                     initial=0) > 65504, lambda *args: tuple(np.full_like(a, np.nan) for a in args[1:]),
                     _in_single(vjp("scaled_dot_product_attention"))))  # fmt: skip
    yield corner("embedding", "rows-one-by-one", kind, VJP, _alike(1, "embedding", {"b": 800, "v": 3}, bf16), cause,
                 dtypes=BF16, sizes={"b": 800}, vjp=_embedding_in_bfloat16)  # fmt: skip
    yield corner("softmax", "subnormals-flushed", "clipping", VJP, numbers(([1, 0], [0, -12]), dtype=f16), dtypes=F16,
                 vjp=m.flushed(_in_single(vjp("softmax")), float(np.finfo(np.float16).tiny)))  # fmt: skip
    yield corner("batch_norm", "bias-one-by-one", kind, VJP, ordinary(
        "batch_norm", {"b": 600, "n": 2}, bf16, lambda d, *args: (np.ones_like(d), *args)), cause, dtypes=BF16,
        sizes={"b": 600}, vjp=lambda d, *args: (*_in_single(vjp("batch_norm"))(d, *args)[:2], _one_by_one(d))
    )  # fmt: skip


def _sum_in_bfloat16(d: Array, x: Array) -> tuple[Array]:
    f = np.exp(_single(x) - _single(x).max(-1, keepdims=True))
    total = _single(_one_by_one(f.astype(x.dtype).T))
    return ((_single(d / total.astype(d.dtype))[:, None] * f).astype(x.dtype),)


def _gelu_right(x: Array) -> Array:
    return np.asarray(forward("gelu")(x))


def _embedding_in_bfloat16(d: Array, indices: Array, weight: Array) -> tuple[None, Array]:
    total = np.zeros_like(weight)
    for index, row in zip(indices, d, strict=True):
        total[index] = (total[index] + row).astype(weight.dtype)
    return None, total


HALVES = [*_halves()]
