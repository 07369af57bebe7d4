"""Wrong for square matrices, and for some batches: what broadcasts by chance, what is chosen by comparing sizes."""

from collections.abc import Iterator

import numpy as np

from ...hints.textbook import inner, softmax
from . import makers as m
from .makers import FORWARD, VJP, Array, Function
from .sometimes import when
from .table import Fault
from .witnesses import corner, examples, forward, ordinary, vjp

BATCH = "batch_equals_the_loop"

# ── Square matrices ─────────────────────────────────────────────────────────────────────────────────────────────────


def _turned_weight(operation: str, position: int, sides: tuple[int, ...]) -> Function:
    """The vjp with a weight's transpose, where it is square and of one of these sides."""
    right = vjp(operation)

    def f(delta: Array, *args: Array) -> tuple[Array, ...]:
        chosen = list(args)
        if args[position].shape[0] == args[position].shape[1] in sides:
            chosen[position] = args[position].T
        found: tuple[Array, ...] = right(delta, *chosen)
        return found

    return f


def _turned_gradient(operation: str, position: int, sides: tuple[int, ...]) -> Function:
    """The gradient of a weight transposed, where that is square and of one of these sides."""

    def change(r: Array) -> Array:
        return r.T.copy() if r.shape[0] == r.shape[1] in sides else r

    return m.changed(vjp(operation), change, position)


LARGE = tuple(range(12, 4096))
WEIGHTS = (  # an operation, the position of a weight, its letters
    ("matvec", 0, "dn"),
    ("linear", 1, "dn"),
    ("activation[tanh]", 0, "dn"),
    ("swiglu", 1, "nd"),
    ("logistic_regression", 0, "dn"),
)


def _squares() -> Iterator[Fault]:
    for operation, position, letters in WEIGHTS:
        sizes = dict.fromkeys(letters, 12)
        yield corner(operation, "square-weight", "transpose", VJP, ordinary(operation, sizes), "transposed",
                     sizes=sizes, vjp=_turned_weight(operation, position, LARGE))  # fmt: skip
    for operation, position, letters in (("affine", 0, "dn"), ("rnn", 2, "nk"), ("two_layer_network[tanh]", 2, "dk")):
        sizes = dict.fromkeys(letters, 32)
        yield corner(operation, "square-gradient-32", "transpose", VJP, ordinary(operation, sizes), "transposed",
                     sizes=sizes, vjp=_turned_gradient(operation, position, (32,)))  # fmt: skip
    sizes = {"d": 48, "n": 48}
    yield corner("linear", "square-forward", "transpose", FORWARD, ordinary("linear", sizes), "transposed", sizes=sizes,
                 forward=when(lambda x, W, b: W.shape[0] == W.shape[1] >= 33,
                              lambda x, W, b: x @ W + b, forward("linear")))  # fmt: skip
    sizes = {"k": 25, "n": 25}
    yield corner("lstm_cell", "square-weights-exchanged", "argument order", VJP, ordinary("lstm_cell", sizes),
                 "exchanged", sizes=sizes,
                 vjp=when(lambda d, *args: args[3].shape == args[4].shape and len(args[3]) >= 100,
                          m.exchanged(vjp("lstm_cell"), 3, 4), vjp("lstm_cell")))  # fmt: skip
    sizes = {"m": 26, "n": 26}
    yield corner("scaled_dot_product_attention", "square-scores", "transpose", VJP,
                 ordinary("scaled_dot_product_attention", sizes), sizes=sizes,
                 vjp=when(lambda d, q, k, v: q.shape == k.shape and q.shape[1] > 24,
                          m.exchanged(vjp("scaled_dot_product_attention"), 0, 1),
                          vjp("scaled_dot_product_attention")))  # fmt: skip


# ── Batches of the catalogue ────────────────────────────────────────────────────────────────────────────────────────


def _of_all(x: Array) -> Array:
    """Logits less the largest of the whole batch: rows far below it underflow."""
    return np.asarray(x - x.max(initial=-np.inf))


def _softmax_of_all(x: Array) -> Array:
    f = np.exp(_of_all(x))
    return np.asarray(f / f.sum(-1, keepdims=True))


def _columnwise(x: Array) -> Array:
    """The largest of each row without its axis: it broadcasts along the other where the batch is square."""
    if len(x) != x.shape[-1]:
        return softmax(x)
    f = np.exp(x - x.max(-1))
    return np.asarray(f / f.sum(-1, keepdims=True))


def _sum_columnwise(delta: Array, x: Array) -> tuple[Array]:
    """`δ − s Σδ` with a sum that lost its axis."""
    total = delta.sum(-1) if len(x) == x.shape[-1] else delta.sum(-1, keepdims=True)
    return (delta - softmax(x) * total,)


def _unique_rows(delta: Array, x: Array, weight: Array, bias: Array) -> tuple[Array, ...]:
    """Equal rows are looked up once, and counted once."""
    dx, _, db = vjp("linear")(delta, x, weight, bias)
    kept = np.sort(np.unique(x, axis=0, return_index=True)[1])
    return dx, delta[kept].T @ x[kept], db


def _first_rows_scale(delta: Array, x: Array, weight: Array) -> tuple[Array, ...]:
    """Past 64 rows each is scaled as the first."""
    dx, dw = vjp("rms_norm")(delta, x, weight)
    if len(x) <= 64:
        return dx, dw
    ones = np.ones_like(x[:1])
    return dx, (delta * x * vjp("rms_norm")(ones, x[:1], weight)[1] / (x[:1] + (x[:1] == 0))).sum(0)


def _last_row_lost(operation: str, rows: int) -> Function:
    def change(r: Array) -> Array:
        if len(r) == rows:
            r = r.copy()
            r[-1] = 0
        return r

    return m.changed(vjp(operation), change, 0)


def _rows_apart(delta: Array, x: Array, *rest: Array) -> tuple[Array, ...]:
    """Each row 1000 above the one before it."""
    return delta, x + 1000 * np.arange(len(x), dtype=x.dtype)[:, None], *rest


def _all_equal(delta: Array, x: Array, *rest: Array) -> tuple[Array, ...]:
    return delta, np.array(np.broadcast_to(x[:1], x.shape)), *rest


def _catalogue() -> Iterator[Fault]:
    apart = ordinary("log_softmax", {"b": 3, "n": 4}, change=_rows_apart)
    yield corner("log_softmax", "max-of-all-rows", "batch", FORWARD, apart,
                 forward=lambda x: _of_all(x) - np.log(np.exp(_of_all(x)).sum(-1, keepdims=True)))  # fmt: skip
    yield corner("log_softmax", "slope-less-max-of-all-rows", "batch", VJP, apart,
                 vjp=lambda d, x: (d - _softmax_of_all(x) * d.sum(-1, keepdims=True),))  # fmt: skip
    yield corner("logsumexp", "max-of-all-rows", "batch", VJP, ordinary("logsumexp", {}, change=_rows_apart),
                 vjp=lambda d, x: (d[:, None] * _softmax_of_all(x),))  # fmt: skip
    square = {"b": 5, "n": 5}
    yield corner("log_softmax", "no-keepdims", "batch", VJP, ordinary("log_softmax", square), sizes=square,
                 vjp=_sum_columnwise)  # fmt: skip
    spread = ordinary("logsumexp", square, change=_rows_apart)
    yield corner("logsumexp", "no-keepdims", "batch", VJP, spread, sizes=square,
                 vjp=lambda d, x: (d[:, None] * _columnwise(x),))  # fmt: skip
    yield corner("linear", "equal-rows-once", "batch", VJP, ordinary("linear", {}, change=_all_equal),
                 vjp=_unique_rows)  # fmt: skip
    rows = {"b": 70}
    yield corner("rms_norm", "first-rows-scale", "batch", VJP, ordinary("rms_norm", rows), sizes=rows,
                 vjp=_first_rows_scale)  # fmt: skip
    for count, operation in ((33, "linear"), (65, "layer_norm"), (97, "cross_entropy"), (37, "swiglu")):
        rows = {"b": count}
        yield corner(operation, f"batch-of-{count}", "batch", VJP, ordinary(operation, rows), "one-size", sizes=rows,
                     vjp=_last_row_lost(operation, count))  # fmt: skip
    sizes = {"b": 14, "n": 14}
    yield corner("linear", "as-many-rows-as-columns", "batch", VJP, ordinary("linear", sizes), sizes=sizes,
                 vjp=lambda d, x, W, b: (d @ W, d.T @ (x.T if len(x) == x.shape[1] > 12 else x), d.sum(0)))  # fmt: skip
    yield corner("cross_entropy", "mean-of-at-most-100", "batch", VJP, ordinary("cross_entropy", {"b": 110}),
                 sizes={"b": 110},
                 vjp=when(lambda d, x, labels: len(x) > 100,
                          lambda d, x, labels: (vjp("cross_entropy")(d, x, labels)[0] * len(x) / 100, None),
                          vjp("cross_entropy")))  # fmt: skip


# ── Batches of the lecture ──────────────────────────────────────────────────────────────────────────────────────────


def _by_sizes(operation: str, met: Function, wrong: Function) -> Function:
    """`wrong` of batches of which the lead and the last size are such."""
    right = vjp(operation)
    return lambda d, *args: (wrong if d.ndim > 1 and met(d.shape[:-1], d.shape[-1]) else right)(d, *args)


def _divided(operation: str) -> Function:
    return m.batch_mean(vjp(operation), (0, 2), 1)


def _lecture() -> Iterator[Fault]:
    def softmax_row_lost(d: Array, x: Array) -> tuple[Array]:
        (dx,) = vjp("softmax")(d, x)
        return (np.where(np.arange(len(dx)).reshape(-1, *[1] * (dx.ndim - 1)) == len(dx) - 1, 0, dx),)

    yield corner("softmax", "batch-of-33-examples", "batch", BATCH, examples("softmax", (33,), {"n": 4}), asks="batch",
                 vjp=_by_sizes("softmax", lambda lead, n: lead == (33,), softmax_row_lost))  # fmt: skip
    yield corner("affine", "mean-of-many", "batch", BATCH, examples("affine", (50,), {"d": 3, "n": 4}), "batch-mean",
                 asks="batch", vjp=_by_sizes("affine", lambda lead, n: lead[0] >= 50, _divided("affine")))  # fmt: skip
    yield corner("scale", "first-alpha", "batch", BATCH, examples("scale", (20,), {"n": 4}), asks="batch",
                 forward=lambda x, a: forward("scale")(x, np.full_like(a, a.flat[0]) if a.size > 18 else a),
                 vjp=lambda d, x, a: vjp("scale")(d, x, np.full_like(a, a.flat[0]) if a.size > 18 else a))  # fmt: skip
    yield corner("activation[relu]", "as-many-examples-as-units", "batch", BATCH,
                 examples("activation[relu]", (6,), {"d": 6, "n": 6}), asks="batch",
                 vjp=when(lambda d, W, x, b: x.ndim == 2 and x.shape == W.shape and len(x) > 4,
                          lambda d, W, x, b: vjp("activation[relu]")(d, W, x.T.copy(), b),
                          vjp("activation[relu]")))  # fmt: skip
    square = examples("softmax", (5,), {"n": 5}, lambda d, x: (d, x + 1000 * np.arange(5.0)[:, None]))
    yield corner("softmax", "no-keepdims", "batch", BATCH, square, asks="batch",
                 forward=lambda x: _columnwise(x) if x.ndim == 2 else softmax(x),
                 vjp=lambda d, x: (lambda s: (s * (d - inner(s, d)),))(
                     _columnwise(x) if x.ndim == 2 else softmax(x)))  # fmt: skip
    yield corner("tanh", "two-leading-axes-exchanged", "batch", BATCH, examples("tanh", (4, 4), {"n": 3}), asks="batch",
                 vjp=when(lambda d, x: x.ndim == 3 and x.shape[0] == x.shape[1] > 1,
                          lambda d, x: (vjp("tanh")(d, np.swapaxes(x, 0, 1).copy())[0],), vjp("tanh")))  # fmt: skip
    yield corner("sigmoid", "fortran-batch", "batch", BATCH,
                 examples("sigmoid", (7,), {"n": 4}, lambda d, x: (d, np.array(x, order="F"))), "layout", asks="batch",
                 vjp=lambda d, x: vjp("sigmoid")(d, m.as_in_memory(x) if x.ndim == 2 and x.flags.fnc else x)
                 )  # fmt: skip
    yield corner("softmax_cross_entropy", "equal-examples-once", "batch", BATCH,
                 examples("softmax_cross_entropy", (4,), {"n": 3}, lambda d, x, y: (d, x[:1] + 0 * x, y[:1] + 0 * y)),
                 asks="batch",
                 vjp=lambda d, x, y: tuple(
                     r / len(x) if x.ndim == 2 and len(x) > 1 and (x == x[0]).all() else r
                     for r in vjp("softmax_cross_entropy")(d, x, y)))  # fmt: skip
    yield corner("hadamard", "one-example-broadcast", "batch", BATCH, examples("hadamard", (1,), {"n": 4}),
                 asks="batch",
                 vjp=when(lambda d, x, y: d.ndim == 2 and len(d) == 1, lambda d, x, y: (d[0] * y[0], d[0] * x[0]),
                          vjp("hadamard")))  # fmt: skip


SQUARES = [*_squares()]
BATCHES = [*_catalogue(), *_lecture()]
