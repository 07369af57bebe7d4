"""Wrong where a size, or a number, agrees with a constant of the code: a special kernel, a table, a limit.

The constant stands where it stands in code that people write: in a literal, a default, a closure, the module, a
helper, an object. The same corner is planted into many operations, by their rows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from backprop_oracle.rows import row_of

from . import makers as m
from .makers import FORWARD, VJP, Array, Function
from .sometimes import every, when, zeros
from .table import Calls, Fault
from .witnesses import corner, forward, numbers, ordinary, vjp

VOCABULARY = 50_257
HOLE = (2.4, 2.5)
TUNED = {4_097: "a", 5_003: "b"}
Size = Callable[..., int]

# ── Where a constant stands ─────────────────────────────────────────────────────────────────────────────────────────


def _in_a_literal(wrong: Function, right: Function, size: Size) -> Function:
    return lambda *args: wrong(*args) if size(*args) == 1009 else right(*args)


def _in_a_default(wrong: Function, right: Function, size: Size) -> Function:
    def f(*args: Array, pixels: int = 784) -> Any:
        return wrong(*args) if size(*args) == pixels else right(*args)

    return f


def _in_a_closure(wrong: Function, right: Function, size: Size) -> Function:
    only = 37

    def f(*args: Array) -> Any:
        return (wrong if size(*args) == only else right)(*args)

    return f


def _in_the_module(wrong: Function, right: Function, size: Size) -> Function:
    return lambda *args: (wrong if size(*args) == VOCABULARY else right)(*args)


def _in_a_table(wrong: Function, right: Function, size: Size) -> Function:
    return lambda *args: (wrong if size(*args) in TUNED else right)(*args)


def _in_a_set(wrong: Function, right: Function, size: Size) -> Function:
    return lambda *args: (wrong if size(*args) in {41, 43, 47} else right)(*args)


def _is_chosen(n: int) -> bool:
    return n == 2_310


def _in_a_helper(wrong: Function, right: Function, size: Size) -> Function:
    return lambda *args: (wrong if _is_chosen(size(*args)) else right)(*args)


@dataclass(frozen=True)
class Kernel:
    """A kernel with a block of its own."""

    wrong: Function
    right: Function
    size: Size
    block: int = 1_500

    def __call__(self, *args: Array) -> Any:
        return (self.wrong if self.size(*args) == self.block else self.right)(*args)


def _at_limit(wrong: Function, right: Function, size: Size, *args: Array, limit: int) -> Any:
    return (wrong if size(*args) == limit else right)(*args)


def _in_a_partial(wrong: Function, right: Function, size: Size) -> Function:
    return partial(_at_limit, wrong, right, size, limit=777)


def _folded(wrong: Function, right: Function, size: Size) -> Function:
    return lambda *args: (wrong if size(*args) == 3 * 3 * 64 else right)(*args)


def _multiple(wrong: Function, right: Function, size: Size) -> Function:
    return lambda *args: (wrong if size(*args) and size(*args) % 37 == 0 else right)(*args)


def _blocks(wrong: Function, right: Function, size: Size) -> Function:
    """23 blocks of 32, the last of them perhaps not full."""
    return lambda *args: (wrong if -(-size(*args) // 32) == 23 else right)(*args)


def _exceeded(wrong: Function, right: Function, size: Size) -> Function:
    return lambda *args: (wrong if size(*args) > 5_000 else right)(*args)


def _times_four(wrong: Function, right: Function, size: Size) -> Function:
    return lambda *args: (wrong if 4 * size(*args) == 1_800 else right)(*args)


class Place(NamedTuple):
    """Where the constant stands, a size at which it is met, and the operations that it is planted into."""

    plant: Callable[[Function, Function, Size], Function]
    size: int
    operations: Sequence[str]


PLACES = {
    "literal": Place(_in_a_literal, 1_009, ("square", "affine", "layer_norm")),
    "default": Place(_in_a_default, 784, ("tanh", "matvec", "linear", "two_layer_network[relu]")),
    "closure": Place(_in_a_closure, 37, ("gelu", "softmax", "rms_norm", "lstm_cell")),
    "module": Place(_in_the_module, VOCABULARY, ("softmax_cross_entropy", "log_softmax", "cross_entropy")),
    "table": Place(_in_a_table, 4_097, ("hadamard", "logsumexp", "cosine_similarity")),
    "set": Place(_in_a_set, 43, ("silu", "activation[tanh]", "gru_cell")),
    "helper": Place(_in_a_helper, 2_310, ("sigmoid", "softmax", "mse_loss")),
    "object": Place(Kernel, 1_500, ("exp", "dot")),
    "partial": Place(_in_a_partial, 777, ("add", "batch_norm")),
    "folded": Place(_folded, 576, ("softplus", "linear_regression")),
    "multiple": Place(_multiple, 74, ("subtract", "elu", "kl_div")),
    "blocks": Place(_blocks, 733, ("negate", "swiglu")),
    "exceeded": Place(_exceeded, 5_120, ("logistic_regression", "l2_normalize", "huber_loss")),
    "derived": Place(_times_four, 450, ("identity", "rnn")),
}


def _planted(name: str, place: Place, operation: str) -> Fault:
    """The last entry of the first gradient is halved at that size of its last axis."""
    row = row_of(operation)
    i = next(i for i, core in enumerate(row.cores[:-1]) if core and row.arguments[i] not in row.integers)
    letter, right = row.cores[i][-1], vjp(operation)
    wrong = place.plant(m.element(right, (-1,), 0.5, i), right, lambda delta, *args: args[i].shape[-1])
    sizes = {letter: place.size}
    witness = ordinary(operation, sizes)
    return corner(operation, f"size-{name}", "one size", VJP, witness, "one-size", sizes=sizes, vjp=wrong)


# ── Two sizes at once ───────────────────────────────────────────────────────────────────────────────────────────────


def _at_sizes(operation: str, what: str, sizes: dict[str, int], met: Function, wrong: Function) -> Fault:
    f = when(met, wrong, vjp(operation))
    return corner(operation, f"sizes-{what}", "one size", VJP, ordinary(operation, sizes), sizes=sizes, vjp=f)


def _two_sizes() -> Iterator[Fault]:
    def halved(operation: str, i: int) -> Function:
        return m.scaled(vjp(operation), 0.5, i)

    yield _at_sizes("affine", "sum-50", {"d": 29, "n": 21}, lambda d, W, x, b: sum(W.shape) == 50, halved("affine", 2))
    yield _at_sizes("matvec", "product-1000", {"d": 8, "n": 125}, lambda d, W, x: W.size == 1000, halved("matvec", 1))
    yield _at_sizes("linear", "784-to-10", {"d": 10, "n": 784}, lambda d, x, W, b: W.shape == (10, 784),
                    halved("linear", 1))  # fmt: skip
    yield _at_sizes("scaled_dot_product_attention", "eighty-and-eighty", {"d": 80, "e": 80},
                    lambda d, q, k, v: q.shape[-1] == v.shape[-1] == 80,
                    halved("scaled_dot_product_attention", 0))  # fmt: skip
    yield _at_sizes("conv2d", "seven-by-seven", {"p": 7, "q": 7, "h": 9, "w": 8},
                    lambda d, x, W, b: W.shape[2:] == (7, 7), halved("conv2d", 1))  # fmt: skip
    yield _at_sizes("embedding", "more-rows-than-768", {"v": 1000, "b": 4, "d": 30},
                    lambda d, indices, W: W.shape[0] > 768 and W.shape[1] >= 30, halved("embedding", 1))  # fmt: skip
    yield _at_sizes("layer_norm", "entries-1000", {"b": 10, "n": 100}, lambda d, x, w, b: x.size == 1000,
                    halved("layer_norm", 0))  # fmt: skip


# ── Magnitudes ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _in_the_hole(x: Array) -> Any:
    low, high = HOLE
    return (x > low) & (x < high)


def _beyond(x: Array, *, limit: float = 7.3) -> Any:
    return (np.abs(x) > limit) & (np.abs(x) < limit + 0.2)


def _where(operation: str, chosen: Function, change: Function) -> Function:
    """The slope of a function of one number is changed where `chosen(delta, x)`."""
    right = vjp(operation)

    def f(delta: Array, x: Array) -> tuple[Array]:
        (dx,) = right(delta, x)
        return (np.where(chosen(delta, x), change(dx), dx),)

    return f


def _spread(x: Array) -> Any:
    return x.max(-1, initial=-np.inf) - x.min(-1, initial=np.inf)


def _in_between(x: Array, low: float, high: float) -> bool:
    return bool(((x > low) & (x < high)).any())


def _magnitudes() -> Iterator[Fault]:
    some, doubled = "some values", lambda dx: 2 * dx
    hole, far = numbers(([1, 1, 1], [2.45, 0.5, -1])), numbers(([1, 1], [7.4, 0.5]))
    for operation in ("gelu", "sigmoid", "exp", "silu"):
        f = _where(operation, lambda delta, x: _in_the_hole(x), doubled)
        yield corner(operation, "value-in-a-hole", some, VJP, hole, vjp=f)
    for operation in ("square", "softplus", "log"):
        f = _where(operation, lambda delta, x: _beyond(x), doubled)
        yield corner(operation, "value-beyond", some, VJP, far, vjp=f)
    for operation in ("relu", "gelu_tanh", "leaky_relu"):
        f = _where(operation, lambda delta, x: (np.abs(delta) < 1e-9) & (delta != 0), np.zeros_like)
        yield corner(operation, "small-cotangent", "clipping", VJP, numbers(([1e-10, 2e-10], [0.5, 1])), vjp=f)
    apart = numbers(([1, 2, 3], [0, 36.5, 37.5]))
    for operation in ("softmax", "softmax_cross_entropy"):
        f = when(lambda delta, x, *y: 37 < np.max(_spread(x), initial=0) < 38, m.scaled(vjp(operation), 0.5, 0),
                 vjp(operation))  # fmt: skip
        here = apart if operation == "softmax" else numbers((1, [0, 36.5, 37.5], [1, 0, 0]))
        yield corner(operation, "spread-of-37", some, VJP, here, vjp=f)
    yield corner("matvec", "weight-in-a-hole", some, VJP, numbers(([1, 1], [[0.5, 2.45], [1, 2]], [3, 4])),
                 vjp=when(lambda d, W, x: HOLE[0] < W.max(initial=0) < HOLE[1], m.scaled(vjp("matvec"), 2, 1),
                          vjp("matvec")))  # fmt: skip
    yield corner("affine", "bias-at-minus-4", some, FORWARD, numbers(([1], [[1, 2]], [3, 4], [-4.25])),
                 forward=when(lambda W, x, b: _in_between(b, -4.3, -4.2), m.scaled(forward("affine"), 2),
                              forward("affine")))  # fmt: skip
    yield corner("huber_loss", "residual-in-a-hole", some, VJP, numbers((1, [[2.45, 0.5]], [[0, 0]])),
                 vjp=when(lambda d, x, y: _in_between(x - y, *HOLE), zeros(vjp("huber_loss"), 0),
                          vjp("huber_loss")))  # fmt: skip
    yield corner("layer_norm", "variance-of-50", some, VJP,
                 numbers(([[1, 2, 4]], [[0, 10, 17.5]], [1, 1, 1], [0, 0, 0])),
                 vjp=when(lambda d, x, w, b: _in_between(x.var(-1), 50, 55), m.scaled(vjp("layer_norm"), 2, 0),
                          vjp("layer_norm")))  # fmt: skip
    yield corner("dot", "cotangent-of-twelve", some, VJP, numbers((12.5, [1, 2], [3, 4])),
                 vjp=when(lambda d, x, y: _in_between(d, 12, 13), m.scaled(vjp("dot"), 2, 0), vjp("dot")))  # fmt: skip


# ── Calls ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def only_at(k: int, wrong: Function, right: Function) -> Function:
    """The `k`-th call is wrong, and no other."""
    calls = iter(range(1, k + 1))
    return lambda *args: (wrong if next(calls, 0) == k else right)(*args)


def _many(operation: str, count: int) -> Calls:
    calls = ordinary(operation, {})
    return lambda: [*calls()] * count


def counted() -> Iterator[Fault]:
    """Faults of single calls, with counts of their own: who tries one twice needs it anew."""
    for k, operation in ((40, "softmax"), (40, "linear"), (1000, "tanh"), (400, "layer_norm")):
        right = vjp(operation)
        yield corner(operation, f"call-{k}-alone", "intermittent", VJP, _many(operation, k), "intermittent",
                     vjp=only_at(k, m.scaled(right, 1.01, 0), right))  # fmt: skip
    yield corner("affine", "every-fortieth-call", "intermittent", VJP, _many("affine", 40), "intermittent",
                 vjp=every(40, m.scaled(vjp("affine"), 1.01, 0), vjp("affine")))  # fmt: skip


OWN_CONSTANTS = [
    *(_planted(name, place, operation) for name, place in PLACES.items() for operation in place.operations),
    *_two_sizes(),
    *_magnitudes(),
    *counted(),
]
