"""How far rounding may carry a result: Wilkinson's running error analysis, done by machine on a definition's jaxpr.

JAX traces a definition, or what `jax.vjp`, `jax.jvp` or `jax.jacrev` make of it, into a program of a few dozen
equations (`program.py`); here NumPy runs it in float64, whatever the shapes, with nothing to compile. Every equation
gets, beside its value `v`, a bound `e` on the error that an evaluation of the same formula in an arithmetic of
precision `eps` may have made so far: what its operands bring, and what it adds.

    sums, differences     e_a + e_b                               +  eps |v|    two roundings: yours may have one more
    products, quotients   |a| e_b + e_a |b| + e_a e_b, …          +  eps |v|
    exp, tanh, log …      max |h(a ± e_a) − h(a)|                 +  4 eps |v|  what vector libraries promise
    sin, cos              min(e_a, 2)                             +  4 eps |v|
    sums of n terms       Σ e_i                   +  (1 + n/2) eps Σ |v_i|      in any order, be it a loop; of half
                                                                                precisions n/2 eps of float32
    products of n         Π(|v_i| + e_i) − Π|v_i| +  (1 + n/2) eps Π(|v_i| + e_i)
    largest, sorted       what may come there at most             +  0
    floor, round          f(a + e_a) − f(a − e_a)                 +  0
    each of these, of numbers that are not 0      +  n tiny                     smallest normal: flushed underflow

Convolutions, windows and scatter-adds are sums of n terms. Sine and cosine have their 4 eps of the result wherever the
argument is, as libraries reduce it with all its digits. What is made of `exp` of a product or sum that is rounded has
that rounding, too, which `exp` turns into so many units as the exponent is large: `exp2(x) = exp(x log 2)`, `sinh` and
`cosh` by `exp(x − log 2)` have `|x|` more, `erfc` by `exp(−x²)` has `x²` more. `erf` and the gamma functions have 20,
the latter of the terms of Lanczos' formula, since their zeros are differences. A loop carries bounds as it carries
values. In half precision a scalar function's value has all of this in the eps of float32, a rounding of its argument
and a few of its own (`autodiff.py`).

For a sum this is `eps × Σ|terms|`: the tolerance of every comparison with JAX, and the only one. A comparison of two
numbers closer than their errors leaves the branch open: the bound then covers both branches. An index that is open
leaves the bound infinite. Where a number of the program is beyond the `largest` of the dtype that is judged, the
formula overflows there: the bound is infinite, which means that nothing is claimed. A result that is ill-conditioned
for its formula gets a wide bound, one that is not gets a narrow one, entry by entry; no norm, no array size and no
hand-picked constant takes part.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .control import looped, scanned
from .decisions import ORDERS, RULES
from .errors import ACCUMULATED, Errors, Precision, added, brought, every, exact, nothing, or_inf, some
from .floats import evaluated
from .moves import BILINEAR, MOVES, SUMS, WHOLE
from .program import CONTROL, Array, Equation, Program, run

__all__ = ["Answer", "Precision", "bounded"]


class Answer(NamedTuple):
    """An expected array, and how far from it an honest evaluation may be, entry by entry."""

    value: NDArray[np.float64]
    bound: NDArray[np.float64]


def bounded(program: Program, precision: Precision, args: Sequence[Array], errors: Sequence[Array]) -> Any:
    """The outputs for these arguments, each an `Answer`; `errors` are what the arguments come with.

    >>> from .program import traced
    >>> x = np.array([1.0, 2.0, -3.0, 4.0])
    >>> value, bound = bounded(traced(np.sum, x), Precision(2.0**-52, 0.0, 1e30), [x], [0 * x])
    >>> float(value), float(bound / 2.0**-52)  # (1 + 4/2) Σ|x|
    (4.0, 30.0)

    A number that depends on no argument, as the √½ of a definition, comes with no error: it is rounded once, as a
    constant is. A table of them is computed as everything else, if it is not one of whole numbers.
    """

    def apply(equation: Equation, operands: Sequence[Answer]) -> Any:
        if equation.name in CONTROL:
            return _CONTROLLED[equation.name](equation, operands, inner)
        v, e = [operand.value for operand in operands], [operand.bound for operand in operands]
        results = evaluated(equation, v)
        if equation.primitive.multiple_results:
            bounds = _bounds(equation, v, e, results, precision)
            return [Answer(*pair) for pair in zip(results, bounds, strict=True)]
        constant = equation.fixed and (not np.shape(results) or _whole_numbers(equation, results))
        return Answer(results, exact(results) if constant else _bound(equation, v, e, results, precision))

    def inner(program: Program, operands: Sequence[Answer], turn: int) -> Any:
        return run(program, operands, _exactly, apply)

    with np.errstate(all="ignore"):
        return run(program, [Answer(*pair) for pair in zip(args, errors, strict=True)], _exactly, apply)


def _whole_numbers(equation: Equation, a: Array) -> bool:
    return equation.name in SUMS and every(a == np.rint(a))


def _exactly(a: Array) -> Answer:
    return Answer(a, exact(a))


# ── Loops and branches ──────────────────────────────────────────────────────────────────────────────────────────────

Inner = Callable[[Program, Sequence[Answer], int], Sequence[Answer]]


def _scanned(equation: Equation, operands: Sequence[Answer], inner: Inner) -> list[Answer]:
    def entry(x: Answer, i: int) -> Answer:
        return Answer(x.value[i, ...], x.bound[i, ...])

    def stacked(parts: Sequence[Answer]) -> Answer:
        return Answer(np.stack([part.value for part in parts]), np.stack([part.bound for part in parts]))

    return scanned(equation, operands, inner, entry, stacked, _exactly)


def _looped(equation: Equation, operands: Sequence[Answer], inner: Inner) -> list[Answer]:
    """Where it is open whether a loop ends, nothing is claimed."""
    open_ = []

    def decided(condition: Answer) -> bool:
        open_.append(bool(condition.bound > 0))
        return bool(condition.value)

    results = looped(equation, operands, inner, decided)
    return [Answer(a.value, np.full(a.bound.shape, np.inf)) for a in results] if any(open_) else results


def _branched(equation: Equation, operands: Sequence[Answer], inner: Inner) -> Sequence[Answer]:
    """The branch taken; where it is open which, the bound covers them all."""
    (index, error), *inputs = operands
    branches = equation.params["branches"]
    results = inner(branches[int(index)], inputs, 0)
    if error > 0:
        for other in branches:
            pairs = zip(results, inner(other, inputs, 0), strict=True)
            results = [
                Answer(a.value, or_inf(np.maximum(a.bound, np.abs(b.value - a.value) + b.bound))) for a, b in pairs
            ]
    return results


_CONTROLLED: Mapping[str, Callable[..., Any]] = {"scan": _scanned, "while": _looped, "cond": _branched}

# ── Bounds ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _bound(equation: Equation, v: Sequence[Array], e: Errors, result: Any, precision: Precision) -> Any:
    name = equation.name
    if name in MOVES:
        return MOVES[name](equation.params, *e)
    if name in RULES:
        return RULES[name](equation, v, e, result, precision)
    if name in WHOLE or not _kind(result) == _kind(v[0]) == "f":  # indices, or of them
        return np.full(np.shape(result), np.inf) if any(map(some, e)) else exact(result)
    terms, times, n = added(equation, v, e, result)
    if name in ACCUMULATED:
        times = 1 + (times - 1) * precision.within
    bound = precision.eps * times * terms  # eps · times first: terms may be the largest number
    if name == "div":  # of a · (1/b), where 1/b is subnormal and has its spacing
        tiny = np.abs(v[1]) * precision.tiny > 1
        if some(tiny):
            bound = bound + np.where(tiny, precision.eps * (np.abs(v[0]) * precision.tiny), 0.0)
    if every(terms):
        bound = bound + n * precision.tiny
    else:
        bound = bound + np.where(nothing(equation, v, terms), 0.0, n * precision.tiny)
    if any(map(some, e)):
        bound = bound + brought(equation, v, e, result) * (1 + precision.eps * times)  # which is rounded, too
    within = terms <= precision.largest
    if every(within):
        return bound
    if name in BILINEAR or np.shape(v[0]) != np.shape(result):
        return np.where(within, bound, np.inf)
    masks = [np.isinf(a) & (error == 0) for a, error in zip(v, e, strict=True)]  # infinite as they are given
    return np.where(within, bound, np.where(np.isinf(result) & reduce(np.logical_or, masks), 0.0, np.inf))


def _kind(a: Array) -> str:
    return getattr(a.dtype, "kind", "")  # a key of jax.random has none


def _bounds(equation: Equation, v: Sequence[Array], e: Errors, results: Sequence[Array], precision: Precision) -> Any:
    """Of several results."""
    name, params = equation.name, equation.params
    if name in MOVES:
        return MOVES[name](params, *e)
    if name in ORDERS:
        return ORDERS[name](params, v, e, results, precision)
    return [_bound(equation, v, e, result, precision) for result in results]
