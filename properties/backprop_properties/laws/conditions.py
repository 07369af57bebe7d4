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

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from flint import arb

from backprop_oracle.balls import over_balls
from backprop_oracle.certified import slopes_at
from backprop_oracle.definitions import FUNCTIONS
from backprop_oracle.derived import program_of
from backprop_oracle.enclosures import PrecisionCapReached, round_to, working_precision
from backprop_oracle.moves import contraction
from backprop_oracle.program import Equation, Program
from backprop_oracle.rows import definition, row_of
from backprop_reference import Operation, ScalarFunction, identity

BITS = 128  # a scale needs a few digits; `z` in `h(z)` needs those that floats have
REACH = 16  # errors of up to 16 eps · s are followed through the functions
LARGEST = float(np.finfo(np.float64).max)

Balls = Any  # an object array of arb
Layers = list[tuple[ScalarFunction, Balls, Balls]]  # h, W, b


class Rounded(NamedTuple):
    """Numbers as float arithmetic can know them: their values, and the sizes of the terms that made them."""

    v: Balls
    s: Balls


class Format(NamedTuple):
    """What a float format loses: `eps` of each result, and `eps · tiny` of one that underflows."""

    eps: arb
    tiny: arb


def scale(operation: str | Operation, quantity: str, *args: Any, at: Mapping[int, Sequence[int]] | None = None) -> Any:
    """The scale of an operation's "value", of its "jacobian", or of its "vjp" (then `delta` is the first argument).

    A float64 array of the value's shape; for Jacobian and vjp a tuple with one for each argument. 0 asks for plain
    ULP. `at` selects entries of the softmax's vjp as in `certified.vjp`: all `n` of them cost `n²`.

    >>> scale("dot", "value", np.array([1.0, 2.0]), np.array([3.0, -4.0]))
    array(11.)
    >>> scale("softmax", "vjp", np.array([5.0, 5.0]), np.array([0.0, 1.0]))
    (array([0., 0.]),)
    """
    if quantity == "jacobian":
        row = _lecture(operation)
        arrays = [np.asarray(arg) for arg in args]
        with working_precision(BITS):
            return _jacobian(_format(arrays), row, [_exact(array) for array in arrays])
    sizes = terms(operation, quantity, *args, at=at)
    with working_precision(BITS):
        found = tuple(map(_floats, sizes))
    return found[0] if quantity == "value" else found


def terms(
    operation: str | Operation, quantity: str, *args: Any, at: Mapping[int, Sequence[int]] | None = None
) -> tuple[Balls, ...]:
    """The scales of the "value" (one) or the "vjp" in balls, which have no range to leave.

    >>> (size,) = terms("sum_reduction", "value", np.array([1e308, 1e308]))
    >>> round(float(size / 1e308), 9)
    2.0
    """
    row = _lecture(operation)
    arrays = [np.asarray(arg) for arg in args]
    exact = [_exact(array) for array in arrays]
    with working_precision(BITS):
        if quantity == "value":
            return (_value(_format(arrays), row, exact),)
        if quantity == "vjp":
            return tuple(_vjp(_format(arrays), row, exact[0], exact[1:], at or {}))
    raise ValueError(f"quantity {quantity!r} is none of 'value', 'jacobian' and 'vjp'")


def _lecture(operation: str | Operation) -> Operation:
    row = row_of(operation)
    assert isinstance(row, Operation), "a scale is of the lecture's promises"
    return row


def _format(arrays: Sequence[np.ndarray]) -> Format:
    info = np.finfo(np.result_type(*arrays))
    return Format(arb(float(info.eps)), arb(float(info.tiny)))


# ── What the problem adds up ────────────────────────────────────────────────────────────────────────────────────────


def _value(f: Format, row: Operation, args: list[Balls]) -> Balls:
    if row.layers:
        layers, x, y = _unpacked(row, args)
        h, _ = _forward(f, layers, x)
        h_s = h.s if y is None else _cross_entropy(f, h, y)[0] + _lost(f, y)
        return h_s if len(row.cores[-1]) or y is not None else h_s[0]
    if row.promise == "cross-entropy":
        x, y = args
        return arb(0) if _one_hot(y) else _cross_entropy(f, Rounded(x, 0 * y), y)[0]
    return _last_sums(f, row, "value", args)[0]


def _vjp(
    f: Format, row: Operation, delta: Balls, args: list[Balls], at: Mapping[int, Sequence[int]]
) -> tuple[Balls, ...]:
    if row.layers:
        layers, x, y = _unpacked(row, args)
        h, steps = _forward(f, layers, x)
        start, dy = Rounded(np.atleast_1d(delta), np.abs(np.atleast_1d(delta))), None
        if y is not None:
            _, slope, dy_s = _cross_entropy(f, h, y)
            start = _product(f, start, Rounded(slope.v, slope.s + _lost(f, y)))
            dy = np.abs(delta) * (dy_s + f.tiny)
        return _by_argument(row, args, *_backward(f, steps, start), dy)
    match row.promise:
        case "softmax":  # s_i Σ_j s_j |δ_i - δ_j|, which is 0 for a constant delta
            s = _softmax(args[0])[0]
            return (_balls([s[i] * (s @ np.abs(delta[i] - delta)) for i in at.get(0, range(len(s)))]),)
        case "cross-entropy":
            x, y = args
            _, slope, _ = _cross_entropy(f, Rounded(x, 0 * y), y)
            return _zeros(x) if _one_hot(y) else _product(f, Rounded(delta, np.abs(delta)), slope).s, 0 * y
        case "function" if row.functions[0].factored:
            points = slopes_at(definition(row), args[0].tolist())
            sizes = [_factored(h, slope, x) for (h, slope), x in zip(points, args[0], strict=True)]
            return (np.abs(delta) * _balls(sizes),)
    return tuple(_last_sums(f, row, "vjp", args, delta)[1:])


def _jacobian(f: Format, row: Operation, args: list[Balls]) -> tuple[np.ndarray, ...]:
    """Row by row: the vjp's scales for the unit cotangents."""
    if row.promise == "softmax":  # s_i (1 - s_i) and -s_i s_j are products
        return (np.zeros(args[0].shape * 2),)
    if not row.cores[-1]:
        return tuple(_floats(s) for s in _vjp(f, row, np.array(arb(1)), args, {}))
    m = len(args[0])
    rows = [_vjp(f, row, _exact(unit), args, {}) for unit in np.eye(m)]
    return tuple(_floats(_balls([one[a] for one in rows])).reshape((m, *arg.shape)) for a, arg in enumerate(args))


def _last_sums(f: Format, row: Operation, kind: str, args: list[Balls], *delta: Balls) -> list[Balls]:
    """`Σ|terms|` of each output of the definition's program, where that is a sum of numbers or of products; else 0."""
    sizes = {
        letter: n for core, a in zip(row.cores, args, strict=False) for letter, n in zip(core, a.shape, strict=True)
    }
    output = np.empty([sizes[letter] for letter in row.cores[-1]])
    program = program_of(definition(row), row.cores, kind, (output, *args))
    made_by = {result: equation for equation in program.equations for result in equation.results}
    found = []
    for atom in program.outputs:
        last = made_by.get(atom)
        added = _added_axes(last) if last else ()
        if last is None or not added:
            found.append(_zeros(over_balls(_giving(program, [atom]), [*delta, *args])[0]))
            continue
        terms = [np.abs(a) for a in over_balls(_giving(program, last.operands), [*delta, *args])]
        if last.name == "dot_general":
            n = int(np.prod([terms[0].shape[axis] for axis in added]))
            found.append(contraction(last.params, *terms) + n * f.tiny)
        else:  # what is not an argument itself may have underflown
            each = terms[0] + f.tiny if last.operands[0] in made_by else terms[0]
            found.append(np.add.reduce(each, axis=added))
    return found


def _added_axes(equation: Equation) -> tuple[int, ...]:
    """Along which axes of its first operand a sum runs."""
    if equation.name == "reduce_sum":
        return tuple(equation.params["axes"])
    return tuple(equation.params["dimension_numbers"][0][0]) if equation.name == "dot_general" else ()


def _giving(program: Program, outputs: Sequence[Any]) -> Program:
    """The program with other outputs, in a list."""
    return replace(program, outputs=outputs, structure=jax.tree.structure([0] * len(outputs)))


def _unpacked(row: Operation, args: list[Balls]) -> tuple[Layers, Balls, Balls | None]:
    """The operation as a network: its layers, their input, and the cross-entropy's `y` if it ends so."""
    named = dict(zip(row.arguments, args, strict=True))
    layers: Layers = []
    for layer in row.layers:
        W, b = _matrix(named.pop(layer.W)), named.pop(layer.b.lstrip("-"), None)
        bias = _exact(np.zeros(len(W))) if b is None else np.atleast_1d(-b if layer.b.startswith("-") else b)
        layers.append((layer.h, W, bias))
    target = next((name for name, kind in row.domain.items() if kind == "target"), "")
    y = named.pop(target, None)
    (x,) = named.values()
    return layers, x, y


def _matrix(W: Balls) -> Balls:
    """A vector of weights as the one row of a matrix."""
    return W if W.ndim == 2 else W[None, :]


def _by_argument(
    row: Operation, args: list[Balls], layers: list[tuple[Balls, Balls]], dx: Balls, dy: Balls | None
) -> tuple[Balls, ...]:
    """The layers' `dW` and `db` and the rest, in the order and the shapes of the arguments."""
    named: dict[str, Balls] = {}
    for layer, (dW, db) in zip(row.layers, layers, strict=True):
        named |= {layer.W: dW, layer.b.lstrip("-"): db}
    for name in row.arguments:
        named.setdefault(name, dy if row.domain.get(name) == "target" else dx)
    return tuple(np.reshape(named[name], a.shape) for name, a in zip(row.arguments, args, strict=True))


# ── Running bounds ──────────────────────────────────────────────────────────────────────────────────────────────────


def _forward(f: Format, layers: Layers, x: Balls) -> tuple[Rounded, list[tuple[Balls, Rounded, Rounded]]]:
    """The output, and for each layer `W`, its input and `h′(z)`."""
    h, steps = Rounded(x, np.abs(x)), []
    for g, W, b in layers:
        sizes = np.abs(W) @ h.s + np.abs(b)
        z = Rounded(W @ h.v + b, sizes + W.shape[1] * f.tiny)
        output, slope = _applied(f, g, z, exact=g.kinked & (sizes == 0))
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


def _applied(f: Format, h: ScalarFunction, z: Rounded, exact: Any) -> tuple[Rounded, Rounded]:
    """`h(z)` and `h′(z)`, with all that happens to them within reach of `z`: a bend, but of a sum that is `exact`, one
    of zeros alone, it is known on which side of a bend it is.
    """
    if h is identity:
        return z, Rounded(0 * z.v + 1, 0 * z.v + 1)
    middles, n, reach = [arb(a).mid() for a in z.v], len(z.v), REACH * f.eps
    within = np.where(exact, 0, reach * z.s)
    beside = [end.mid() for a, r in zip(middles, within, strict=True) for end in (a - r, a + r)]
    try:
        points = slopes_at(FUNCTIONS[h.name], [*middles, *beside])
        around = [points[n + 2 * k : n + 2 * k + 2] for k in range(n)]
    except PrecisionCapReached:  # the edge of the domain is within reach: no digit is safe
        points = slopes_at(FUNCTIONS[h.name], middles)
        around = [[(arb(LARGEST), arb(LARGEST))]] * n
    triples = zip(middles, points[:n], around, strict=True)
    entries = [_around(h, a, here, ends, reach) for a, here, ends in triples]
    v, s, slope, slope_s = _balls(entries).reshape(-1, 4).T
    return Rounded(v, s + f.tiny), Rounded(slope, slope_s + f.tiny)


def _around(
    h: ScalarFunction, a: arb, here: tuple[arb, arb], beside: Sequence[tuple[arb, arb]], reach: arb
) -> list[arb]:
    """`h(a)`, its size, `h′(a)`, its size."""
    jumps = [max(abs(b[k] - here[k]) for b in beside) / reach for k in range(2)]
    size = _factored(here[0], here[1], a) if h.factored else abs(here[1])
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
