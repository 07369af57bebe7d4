"""The condition of every quantity, in one place: the `Σ|terms|` in units of which its error is judged.

A scale is 0 where a result must be right to a few units in its own last place. Elsewhere it is the size of the terms
that the *problem* adds up, whatever the intermediate results of a formula are. For sums and compositions that is
Wilkinson's running bound: each number carries its value `v` and the size `s` of the terms that made it, and

    product   |a| s_b + s_a |b| - |a b|                 what each factor brings, and one rounding of the product
    sum       Σ s_i                                     in whatever order it is added
    h(a)      |h(a)| + |h(a ± r) - h(a)| / (REACH eps)  with r = REACH eps s_a; a difference and not a slope, so that
                                                        a bend, or a kink within reach, is in it. Likewise h′

each plus the smallest normal number, since eps of that is what an underflow may lose. All of it runs in ball
arithmetic, which neither overflows nor underflows. A scale beyond float64 comes back as float64's largest number:
there the terms overflow, and no bound can be asked of an implementation.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from flint import arb

from backprop_oracle.certified import PrecisionCapReached, definition, taylor
from backprop_oracle.enclosures import round_to, working_precision

BITS = 128  # a scale needs a few digits; `z` in `h(z)` needs those that floats have
REACH = 16  # errors of up to 16 eps · s are followed through the functions
LARGEST = float(np.finfo(np.float64).max)
FACTORED = ("silu", "gelu", "gelu_tanh")  # x f(x): near the zero of f + x f′ that sum cancels

Balls = Any  # an object array of arb
Layers = list[tuple[str, Balls, Balls]]  # h, W, b


class Rounded(NamedTuple):
    """Numbers as float arithmetic can know them: their values, and the sizes of the terms that made them."""

    v: Balls
    s: Balls


class Format(NamedTuple):
    """What a float format loses: `eps` of each result, and `eps · tiny` of one that underflows."""

    eps: arb
    tiny: arb


def scale(name: str, quantity: str, *args: Any, at: Mapping[int, Sequence[int]] | None = None) -> Any:
    """The scale of an operation's "value", of its "jacobian", or of its "vjp" (then `delta` is the first argument).

    A float64 array of the value's shape; for Jacobian and vjp a tuple with one for each argument. 0 asks for plain
    ULP. `at` selects entries of the softmax's vjp as in `certified.vjp`: all `n` of them cost `n²`.

    >>> scale("dot", "value", np.array([1.0, 2.0]), np.array([3.0, -4.0]))
    array(11.)
    >>> scale("softmax", "vjp", np.array([5.0, 5.0]), np.array([0.0, 1.0]))
    (array([0., 0.]),)
    """
    definition(name)  # which raises ValueError for an unknown name
    base, *bound = re.findall(r"\w+", name)
    arrays = [np.asarray(arg) for arg in args]
    info = np.finfo(np.result_type(*arrays))
    exact = [_exact(array) for array in arrays]
    with working_precision(BITS):
        f = Format(arb(float(info.eps)), arb(float(info.tiny)))
        if quantity == "value":
            return _floats(_value(f, base, bound, exact))
        if quantity == "vjp":
            return tuple(_floats(s) for s in _vjp(f, base, bound, exact[0], exact[1:], at or {}))
        if quantity == "jacobian":
            return _jacobian(f, base, bound, exact)
    raise ValueError(f"quantity {quantity!r} is none of 'value', 'jacobian' and 'vjp'")


# ── What the problem adds up, operation by operation ────────────────────────────────────────────────────────────────


def _value(f: Format, base: str, bound: list[str], args: list[Balls]) -> Balls:
    match base:
        case "sum_reduction":
            return np.abs(args[0]).sum()
        case "dot":
            return (np.abs(args[0] * args[1]) + f.tiny).sum()
        case "squared_error":  # x - y is rounded once, and squares do not cancel
            return (np.square(args[0] - args[1]) + f.tiny).sum()
        case "softmax_cross_entropy":
            x, y = args
            return arb(0) if _one_hot(y) else _cross_entropy(f, Rounded(x, 0 * y), y)[0]
    if base in LAYERED:
        layers, x, y = _unpacked(base, bound, args)
        h, _ = _forward(f, layers, x)
        h_s = h.s if y is None else _cross_entropy(f, h, y)[0] + _lost(f, y)
        return h_s[0] if base == "linear_regression" else h_s
    return _zeros(args[0])  # scale, add, subtract, hadamard, h(x), softmax: a few roundings of the result itself


def _vjp(
    f: Format, base: str, bound: list[str], delta: Balls, args: list[Balls], at: Mapping[int, Sequence[int]]
) -> tuple[Balls, ...]:
    match base:
        case "scale":
            return 0 * args[0], (np.abs(delta * args[0]) + f.tiny).sum()
        case "softmax":  # s_i Σ_j s_j |δ_i - δ_j|, which is 0 for a constant delta
            s = _softmax(args[0])[0]
            return (_balls([s[i] * (s @ np.abs(delta[i] - delta)) for i in at.get(0, range(len(s)))]),)
        case "softmax_cross_entropy":
            x, y = args
            _, slope, _ = _cross_entropy(f, Rounded(x, 0 * y), y)
            return _zeros(x) if _one_hot(y) else _product(f, Rounded(delta, np.abs(delta)), slope).s, 0 * y
    if base in FACTORED:
        points = taylor(base, args[0], 2)
        sizes = [_factored(h, slope, x) for (h, slope), x in zip(points, args[0], strict=True)]
        return (np.abs(delta) * _balls(sizes),)
    if base in LAYERED:
        layers, x, y = _unpacked(base, bound, args)
        h, steps = _forward(f, layers, x)
        start, dy = Rounded(np.atleast_1d(delta), np.abs(np.atleast_1d(delta))), None
        if y is not None:
            _, slope, dy_s = _cross_entropy(f, h, y)
            start = _product(f, start, Rounded(slope.v, slope.s + _lost(f, y)))
            dy = np.abs(delta) * (dy_s + f.tiny)
        return _arranged(base, *_backward(f, steps, start), dy)
    return tuple(0 * arg for arg in args)  # products of two numbers, signs and copies


def _jacobian(f: Format, base: str, bound: list[str], args: list[Balls]) -> tuple[np.ndarray, ...]:
    """Row by row: the vjp's scales for the unit cotangents."""
    if base == "softmax":  # s_i (1 - s_i) and -s_i s_j are products
        return (np.zeros(args[0].shape * 2),)
    if base in SCALAR:
        return tuple(_floats(s) for s in _vjp(f, base, bound, np.array(arb(1)), args, {}))
    m = len(args[0])
    rows = [_vjp(f, base, bound, _exact(unit), args, {}) for unit in np.eye(m)]
    return tuple(_floats(_balls([row[a] for row in rows])).reshape((m, *arg.shape)) for a, arg in enumerate(args))


SCALAR = ("sum_reduction", "dot", "squared_error", "linear_regression", "softmax_cross_entropy",
          "logistic_regression", "two_layer_network", "backpropagation")  # fmt: skip
LAYERED = ("matvec", "affine", "activation", "linear_regression", "logistic_regression", "two_layer_network",
           "backpropagation")  # fmt: skip


def _unpacked(base: str, bound: list[str], args: list[Balls]) -> tuple[Layers, Balls, Balls | None]:
    """The operation as a network: its layers `h(W x + b)`, its input, and the cross-entropy's `y` if it ends so."""
    match base, args:
        case "matvec", (W, x):
            return [("identity", W, _exact(np.zeros(len(W))))], x, None
        case "affine" | "activation", (W, x, b):
            return [(bound[0] if bound else "identity", W, b)], x, None
        case "linear_regression", (w, x, y):
            return [("square", w[None, :], _balls([-y[()]]))], x, None
        case "logistic_regression", (W, x, b, y):
            return [("identity", W, b)], x, y
    *parameters, x, y = args
    hs = [*bound, "identity"] if base == "two_layer_network" else bound
    return list(zip(hs, parameters[0::2], parameters[1::2], strict=True)), x, y


def _arranged(base: str, layers: list[tuple[Balls, Balls]], dx: Balls, dy: Balls | None) -> tuple[Balls, ...]:
    """The layers' `dW`, `db` and the rest, in the order of the operation's arguments."""
    dW, db = layers[0]
    match base:
        case "matvec":
            return dW, dx
        case "affine" | "activation":
            return dW, dx, db
        case "linear_regression":
            return dW[0], dx, db[0]
        case "logistic_regression":
            return dW, dx, db, dy
    return *(d for layer in layers for d in layer), dx, dy


# ── Running bounds ──────────────────────────────────────────────────────────────────────────────────────────────────


def _forward(f: Format, layers: Layers, x: Balls) -> tuple[Rounded, list[tuple[Balls, Rounded, Rounded]]]:
    """The output, and for each layer `W`, its input and `h′(z)`."""
    h, steps = Rounded(x, np.abs(x)), []
    for name, W, b in layers:
        z = Rounded(W @ h.v + b, np.abs(W) @ h.s + np.abs(b) + W.shape[1] * f.tiny)
        output, slope = _applied(f, name, z)
        steps.append((W, h, slope))
        h = output
    return h, steps


def _backward(
    f: Format, steps: list[tuple[Balls, Rounded, Rounded]], delta: Rounded
) -> tuple[list[tuple[Balls, Balls]], Balls]:
    """The sizes of `(dW, db)` for each layer, and of `dx`."""
    layers: list[tuple[Balls, Balls]] = []
    for W, h, slope in reversed(steps):
        delta = _product(f, delta, slope)
        layers.insert(0, (_product(f, Rounded(delta.v[:, None], delta.s[:, None]), h).s, delta.s))
        delta = Rounded(W.T @ delta.v, np.abs(W).T @ delta.s + len(W) * f.tiny)
    return layers, delta.s


def _product(f: Format, a: Rounded, b: Rounded) -> Rounded:
    v = a.v * b.v
    return Rounded(v, np.abs(a.v) * b.s + a.s * np.abs(b.v) - np.abs(v) + f.tiny)


def _applied(f: Format, name: str, z: Rounded) -> tuple[Rounded, Rounded]:
    """`h(z)` and `h′(z)`, with all that happens to them within reach of `z`."""
    if name == "identity":
        return z, Rounded(0 * z.v + 1, 0 * z.v + 1)
    entries = [_around(name, arb(a).mid(), s, REACH * f.eps) for a, s in zip(z.v, z.s, strict=True)]
    v, s, slope, slope_s = _balls(entries).reshape(-1, 4).T
    return Rounded(v, s + f.tiny), Rounded(slope, slope_s + f.tiny)


def _around(name: str, a: arb, s: arb, reach: arb) -> list[arb]:
    """`h(a)`, its size, `h′(a)`, its size."""
    r = reach * s
    try:
        here, *beside = taylor(name, [a, (a - r).mid(), (a + r).mid()], 2)
    except (ValueError, PrecisionCapReached):  # the edge of the domain is within reach: no digit is safe
        here, beside = taylor(name, [a], 2)[0], [[arb(LARGEST)] * 2]
    jumps = [max(abs(b[k] - here[k]) for b in beside) / reach for k in range(2)]
    size = _factored(here[0], here[1], a) if name in FACTORED else abs(here[1])
    return [here[0], abs(here[0]) + jumps[0], here[1], size + jumps[1]]


def _factored(h: arb, slope: arb, x: arb) -> arb:
    """`|f| + |x f′|` of `h = x f(x)`, from `h` and `h′ = f + x f′`."""
    return abs(slope) if x == 0 else abs(h / x) + abs(slope - h / x)


# ── Softmax and cross-entropy ───────────────────────────────────────────────────────────────────────────────────────


def _softmax(x: Balls) -> tuple[Balls, Balls, Balls]:
    """`ŷ`, `1 - ŷ` without cancellation, and `-log ŷ` (0 where a mask makes it infinite)."""
    c = max(x)
    f = _balls([(x_j - c).exp() for x_j in x])
    others = _without(f)
    log_sum = min(others).log1p()  # of f / max(f), where the largest has the smallest others
    log = _balls([log_sum + (c - x_j) if x_j > arb.neg_inf() else arb(0) for x_j in x])
    return f / f.sum(), others / f.sum(), log


def _cross_entropy(f: Format, z: Rounded, y: Balls) -> tuple[Balls, Rounded, Balls]:
    """The size of the loss, `∂L/∂z` with its size, and the size of `∂L/∂y`.

    The size of `∂L/∂z_i` is `ŷ_i Σ_{j≠i} |y_j| + |y_i| (1 - ŷ_i)`, and what the terms of `z` bring through the Hessian
    `Σy ŷ_i (1_{ik} - ŷ_k)`: within `r` of `z` no product of two `ŷ` grows by more than `exp(4r)`, nor beyond 1.
    """
    s, rest, log = _softmax(_balls([arb(v).mid() for v in z.v]))  # a ball of radius 1e200 has no exp
    reach, widest = REACH * f.eps, max(z.s)
    r = reach * widest
    log_s = (4 * r).exp() * (rest * z.s + _without(s * z.s)) if r < 100 else z.s + widest
    drift = abs(y.sum()) * (s * log_s if r < 100 else 0 * s + z.s.sum())
    slope = s * _without(y) - y * rest
    slope_s = s * _without(np.abs(y)) + np.abs(y) * rest + drift
    loss_s = (np.abs(y) * log).sum() + ((np.abs(slope) + reach * drift) * z.s).sum()
    return loss_s + f.tiny, Rounded(slope, slope_s + f.tiny), log + log_s


def _lost(f: Format, y: Balls) -> arb:
    """What `y` makes of a probability, or of a logarithm, that is subnormal."""
    return f.tiny * np.abs(y).sum()


def _without(x: Balls) -> Balls:
    """`Σ_{j≠i} x_j` for every `i`, from the sums before and after it: subtracting `x_i` could cancel."""
    zero = _balls([arb(0)])
    before = np.concatenate([zero, np.add.accumulate(x)[:-1]])
    after = np.concatenate([np.add.accumulate(x[::-1])[:-1][::-1], zero])
    return before + after


def _one_hot(y: Balls) -> bool:
    return sorted(y) == [0] * (len(y) - 1) + [1]


# ── Balls and floats ────────────────────────────────────────────────────────────────────────────────────────────────


def _zeros(like: Balls) -> Balls:
    """Zeros of a shape: `0 · x` is NaN at a mask."""
    return _exact(np.zeros(like.shape))


def _balls(entries: Sequence[Any]) -> Balls:
    return np.array(entries, dtype=object)


def _exact(x: np.ndarray) -> Balls:
    return _balls([arb(number) for number in x.ravel().tolist()]).reshape(x.shape)


def _floats(sizes: Balls) -> np.ndarray:
    """Upper bounds, rounded to float64."""
    array = np.asarray(sizes, dtype=object)
    flat = [round_to(arb(size).upper(), np.dtype(np.float64)) for size in array.ravel()]
    return np.minimum(np.array(flat, dtype=np.float64), LARGEST).reshape(array.shape)
