"""How much slower the reference is than the plain formula: at most 2.5 times, at n = 10⁴ and at a batch of 4096×10, in
float64 and float32.

    python tests/benchmarks/plain.py            every operation, each in a process of its own
    python tests/benchmarks/plain.py softmax    one, in this process

The plain formula is the slide's in NumPy, fused no further, with no check of its arguments: `exp(x − max x) / sum`,
`s (δ − s·δ)`, `1 − tanh²`. A number is the ratio of the medians of interleaved runs, so that a busy machine slows both.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from backprop_properties.hints.textbook import log_softmax, sigmoid, softmax
from backprop_reference import OPERATIONS

LIMIT, SECONDS, DTYPES = 2.5, 0.25, (np.float64, np.float32)  # a pair of functions is timed for so long
Pair = tuple[str, Callable[[], object], Callable[[], object]]


def median_ratio(ours: Callable[[], object], plain: Callable[[], object]) -> tuple[float, float, float]:
    """Our median in µs, the plain one's, and their ratio."""
    times: tuple[list[float], list[float]] = ([], [])
    until = time.perf_counter() + SECONDS
    for f in (ours, plain):
        f()
    while time.perf_counter() < until:
        for f, found in zip((ours, plain), times, strict=True):
            started = time.perf_counter()
            f()
            found.append(time.perf_counter() - started)
    a, b = (float(np.median(found)) * 1e6 for found in times)
    return a, b, a / b


# ── Plain formulas ──────────────────────────────────────────────────────────────────────────────────────────────────


def softmax_vjp(delta, x):
    s = softmax(x)
    return s * (delta - (s * delta).sum(-1, keepdims=True))


def cross_entropy(x, y):
    return -(y * log_softmax(x)).sum(-1)


def cross_entropy_vjp(delta, x, y):
    log = log_softmax(x)
    return delta[..., None] * (y.sum(-1, keepdims=True) * np.exp(log) - y), -delta[..., None] * log


C = float(np.sqrt(2 / np.pi))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(C * (x + 0.044715 * x**3)))


def gelu_tanh_slope(x):
    t = np.tanh(C * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * C * (1 + 3 * 0.044715 * x**2)


def matvec_vjp(delta, W, x):
    return delta.reshape(-1, delta.shape[-1]).T @ x.reshape(-1, x.shape[-1]), delta @ W


def layer(h):
    return lambda W, x, b: h(x @ W.T + b)


def layer_vjp(slope):
    def vjp(delta, W, x, b):
        delta = delta * slope(x @ W.T + b)
        return *matvec_vjp(delta, W, x), delta.reshape(-1, len(b)).sum(0)

    return vjp


def logistic_vjp(delta, W, x, b, y):
    delta, dy = cross_entropy_vjp(delta, x @ W.T + b, y)
    return *matvec_vjp(delta, W, x), delta.reshape(-1, len(b)).sum(0), dy


def linear_vjp(delta, w, x, y):
    slope = 2 * delta * ((w * x).sum(-1) - y)
    return (slope[..., None] * x).reshape(-1, x.shape[-1]).sum(0), slope[..., None] * w, -slope


def two_layers(W1, b1, W2, b2, x, y):
    return cross_entropy(np.tanh(x @ W1.T + b1) @ W2.T + b2, y)


def two_layers_vjp(delta, W1, b1, W2, b2, x, y):
    h = np.tanh(x @ W1.T + b1)
    delta, dy = cross_entropy_vjp(delta, h @ W2.T + b2, y)
    second = matvec_vjp(delta, W2, h)
    before = second[1] * (1 - h**2)
    return *matvec_vjp(before, W1, x), before.reshape(-1, len(b1)).sum(0), *second, dy


def one(x):
    return np.ones_like(x)


def scalar(h, slope):
    return h, lambda d, x: d * slope(x)


PLAIN = {  # forward and vjp
    "scale": (lambda x, a: x * a[..., None], lambda d, x, a: (d * a[..., None], (d * x).sum(-1))),
    "add": (lambda x, y: x + y, lambda d, x, y: (d.copy(), d.copy())),
    "subtract": (lambda x, y: x - y, lambda d, x, y: (d.copy(), -d)),
    "hadamard": (lambda x, y: x * y, lambda d, x, y: (d * y, d * x)),
    "exp": scalar(np.exp, np.exp),
    "log": scalar(np.log, lambda x: 1 / x),
    "reciprocal": scalar(lambda x: 1 / x, lambda x: -1 / x**2),
    "negate": scalar(lambda x: -x, lambda x: -one(x)),
    "square": scalar(lambda x: x**2, lambda x: 2 * x),
    "identity": scalar(lambda x: x.copy(), one),
    "tanh": scalar(np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "sigmoid": scalar(sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "relu": scalar(lambda x: np.maximum(x, 0), lambda x: x > 0),
    "leaky_relu": scalar(lambda x: np.where(x < 0, 0.01 * x, x), lambda x: np.where(x < 0, x.dtype.type(0.01), 1)),
    "elu": scalar(lambda x: np.where(x < 0, np.expm1(x), x), lambda x: np.where(x < 0, np.exp(x), 1)),
    "softplus": scalar(lambda x: np.logaddexp(x, 0), sigmoid),
    "silu": scalar(lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    "gelu_tanh": scalar(gelu_tanh, gelu_tanh_slope),
    "sum_reduction": (lambda x: x.sum(-1), lambda d, x: d[..., None] * np.ones_like(x)),
    "dot": (lambda x, y: (x * y).sum(-1), lambda d, x, y: (d[..., None] * y, d[..., None] * x)),
    "squared_error": (lambda x, y: ((x - y) ** 2).sum(-1), lambda d, x, y: (2 * d[..., None] * (x - y),) * 2),
    "linear_regression": (lambda w, x, y: ((w * x).sum(-1) - y) ** 2, linear_vjp),
    "matvec": (lambda W, x: x @ W.T, matvec_vjp),
    "affine": (layer(lambda z: z), layer_vjp(one)),
    "activation[tanh]": (layer(np.tanh), layer_vjp(lambda z: 1 - np.tanh(z) ** 2)),
    "softmax": (softmax, softmax_vjp),
    "softmax_cross_entropy": (cross_entropy, cross_entropy_vjp),
    "two_layer_network[tanh]": (two_layers, two_layers_vjp),
    "logistic_regression": (lambda W, x, b, y: cross_entropy(x @ W.T + b, y), logistic_vjp),
}


def pairs(name: str) -> Iterator[Pair]:
    """What is timed of one operation: its forward and its vjp, on one long vector and on a batch."""
    draw, row = np.random.default_rng(0), OPERATIONS[name]
    forward, vjp = PLAIN[name]
    for (label, batch, n), dtype in product([("n = 10⁴", (), 10_000), ("4096×10", (4096,), 10)], DTYPES):
        sizes = {"n": n, "k": 10, "d": 10 if "(d," in row.signature else n}
        args = []
        for argument, core in zip(row.arguments, row.cores, strict=False):
            shape = tuple(sizes[letter] for letter in core)
            args.append(draw.normal(size=shape if argument in row.parameters else batch + shape) * 3)
        if "target" in row.domain.values():
            args[-1] = np.eye(args[-1].shape[-1])[draw.integers(args[-1].shape[-1], size=batch)]
        args = [np.asarray(np.abs(a) if "positive" in row.domain.values() else a, dtype) for a in args]
        delta = np.asarray(draw.normal(size=np.shape(row.forward(*args))), dtype)
        label = f"{label:8s} {np.dtype(dtype).name}"
        yield f"{label} forward", lambda a=args: row.forward(*a), lambda a=args: forward(*a)
        if vjp:
            yield f"{label} vjp", lambda d=delta, a=args: row.vjp(d, *a), lambda d=delta, a=args: vjp(d, *a)


def main(names: list[str]) -> int:
    """Prints a line for each pair; 1 if one is above the limit."""
    if len(names) == 1:
        slow = 0
        for label, ours, plain in pairs(names[0]):
            a, b, ratio = median_ratio(ours, plain)
            slow |= ratio > LIMIT
            print(
                f"{names[0]:22s} {label:25s} {a:9.1f} µs {b:9.1f} µs   ×{ratio:.2f}{'  SLOW' * (ratio > LIMIT)}",
                flush=True,
            )
        return slow
    codes = [subprocess.run([sys.executable, __file__, name], check=False).returncode for name in names or PLAIN]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
