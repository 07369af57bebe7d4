"""How far rounding may carry a result: Wilkinson's running error analysis, done by machine on a definition's jaxpr.

JAX traces a definition, or what `jax.vjp`, `jax.jvp` or `jax.jacrev` make of it, into a program of a few dozen
equations (`program.py`); here NumPy runs it in float64, whatever the shapes, with nothing to compile. Every equation
gets, beside its value `v`, a bound `e` on the error that an evaluation of the same formula in an arithmetic of
precision `eps` may have made so far: what its operands bring, and what it adds.

    sums, differences     e_a + e_b                               +  eps |v|    two roundings: yours may have one more
    products, quotients   |a| e_b + e_a |b| + e_a e_b, …          +  eps |v|
    exp, tanh, log …      max |h(a ± e_a) − h(a)|                 +  4 eps |v|  what vector libraries promise (erf: 20)
    sums of n terms       Σ e_i                   +  (1 + n/2) eps Σ |v_i|      in any order, be it a loop
    each of these, of numbers that are not 0      +  n tiny                     smallest normal: flushed underflow

For a sum this is `eps × Σ|terms|`: the tolerance of every comparison with JAX, and the only one. A comparison of two
numbers closer than their errors leaves the branch open: the bound then covers both branches. Where a number of the
program is beyond the `largest` of the dtype that is judged, the formula overflows there: the bound is infinite, which
means that nothing is claimed. A result that is ill-conditioned for its formula gets a wide bound, one that is not gets
a narrow one, entry by entry; no norm, no array size and no hand-picked constant takes part.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .program import (
    COMPARISONS,
    MOVES,
    PICKS,
    SAME,
    SUMS,
    WHOLE,
    Array,
    Equation,
    Params,
    Program,
    contraction,
    picked,
    run,
)


class Precision(NamedTuple):
    """An arithmetic: its relative spacing, its smallest normal and its largest number.

    `either` leaves the branch open at an exact tie, too: at a kink any slope between the two sides' is right.
    """

    eps: float
    tiny: float
    largest: float
    either: bool = False


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

    What depends on no argument, as the √½ of a definition, comes with no error: it is rounded once, as a constant is.
    """

    def apply(equation: Equation, operands: Sequence[Answer]) -> Any:
        v, e = [operand.value for operand in operands], [operand.bound for operand in operands]
        results = _value(equation, v)
        bounds = _zeros(results) if equation.fixed else _bound(equation, v, e, results, precision)
        if equation.primitive.multiple_results:
            return [Answer(*pair) for pair in zip(results, bounds, strict=True)]
        return Answer(results, bounds)

    with np.errstate(all="ignore"):
        return run(program, [Answer(*pair) for pair in zip(args, errors, strict=True)], _exactly, apply)


def _exactly(a: Array) -> Answer:
    return Answer(a, np.zeros(np.shape(a)))


def _zeros(results: Any) -> Any:
    return [np.zeros(r.shape) for r in results] if isinstance(results, list) else np.zeros(np.shape(results))


# ── Values: JAX's primitives, in NumPy ──────────────────────────────────────────────────────────────────────────────

_erf, _erfc = np.frompyfunc(math.erf, 1, 1), np.frompyfunc(math.erfc, 1, 1)

_MONOTONE: Mapping[str, Callable[[Array], Array]] = {  # increasing or decreasing wherever they are defined
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "tanh": np.tanh,
    "logistic": lambda a: 1 / (1 + np.exp(-a)),
    "erf": lambda a: np.asarray(_erf(a), np.float64),
    "erfc": lambda a: np.asarray(_erfc(a), np.float64),
    "sqrt": np.sqrt,
    "rsqrt": lambda a: 1 / np.sqrt(a),
    "atan": np.arctan,
}
_ROUNDINGS = {"erf": 20}  # PyTorch's in float32 promises no more; 4 for the other functions
_PRODUCTS = {"mul": np.multiply, "div": np.divide}
_LARGEST = {"max": np.maximum, "min": np.minimum}
_ELEMENTWISE: Mapping[str, Callable[..., Array]] = {
    **_MONOTONE,
    **COMPARISONS,
    **SUMS,
    **_PRODUCTS,
    **_LARGEST,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "square": lambda a: a * a,
    "stop_gradient": lambda a: a,
    "copy": lambda a: a,
    "copy_p": lambda a: a,
}
_VALUES: Mapping[str, Callable[..., Any]] = {
    **MOVES,
    **WHOLE,
    "convert_element_type": lambda params, a: a.astype(params["new_dtype"]),
    "integer_pow": lambda params, a: a ** params["y"],
    "select_n": lambda params, which, no, yes: np.where(which, yes, no),
    "reduce_max": lambda params, a: a.max(tuple(params["axes"])),
    "reduce_min": lambda params, a: a.min(tuple(params["axes"])),
    "reduce_sum": lambda params, a: a.sum(tuple(params["axes"])),
    "dot_general": contraction,
}


def _value(equation: Equation, v: Sequence[Array]) -> Any:
    name = equation.name
    if name in _ELEMENTWISE:
        return _ELEMENTWISE[name](*v)
    if name in _VALUES:
        return _VALUES[name](equation.params, *v)
    if name in PICKS:
        return picked(equation, v, 0.0)
    raise TypeError(f"running error analysis: no rule for {name}; add it to rounding.py")


# ── Bounds ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _bound(equation: Equation, v: Sequence[Array], e: Sequence[Array], result: Any, precision: Precision) -> Any:
    name = equation.name
    if name in MOVES:
        return MOVES[name](equation.params, *e)
    if name in _RULES:
        return _RULES[name](equation, v, e, precision)
    if name in WHOLE or result.dtype.kind != "f":
        return _zeros(result)  # indices
    terms, times, n = _terms(equation, v, result)
    bound = precision.eps * times * terms  # eps · times first: terms may be the largest number
    if name == "div":  # of a · (1/b), where 1/b is subnormal and has its spacing
        tiny = np.abs(v[1]) * precision.tiny > 1
        if tiny.any():
            bound = bound + np.where(tiny, precision.eps * (np.abs(v[0]) * precision.tiny), 0.0)
    if terms.all():
        bound = bound + n * precision.tiny
    else:
        bound = bound + np.where(_nothing(name, equation.params, v, terms), 0.0, n * precision.tiny)
    if any(error.any() for error in e):
        bound = bound + _brought(equation, v, e, result)
    over = terms > precision.largest
    return np.where(over, np.inf, bound) if over.any() else bound


def _open(equation: Equation, v: Sequence[Array], e: Sequence[Array], precision: Precision) -> Array:
    """The "error" of a decision: 1 where its two sides are closer than their errors."""
    if equation.operands[0] == equation.operands[1]:  # a number is itself
        return _zeros(v[0])
    doubt, apart = e[0] + e[1], np.abs(v[0] - v[1])
    open_ = ((doubt > 0) & (apart <= doubt)) | (precision.either & (v[0] == v[1]))
    return np.where(np.isfinite(doubt), open_, np.inf)


def _selected(equation: Equation, v: Sequence[Array], e: Sequence[Array], precision: Precision) -> Array:
    both: Array = np.where(v[0], e[2], e[1])
    if e[0].any():
        both = both + np.where(e[0] > 0, np.abs(v[1] - v[2]) + e[1] + e[2], 0.0)
    # an infinity in the branch not taken is one in a formula that multiplies by 0 or 1 instead of choosing
    finite = np.isfinite(e[0]) & np.isfinite(e[1]) & np.isfinite(e[2])
    return both if finite.all() else np.where(finite, both, np.inf)


def _picked(equation: Equation, v: Sequence[Array], e: Sequence[Array], precision: Precision) -> Array:
    return picked(equation, [error if a.dtype.kind == "f" else a for a, error in zip(v, e, strict=True)], 0.0)


_RULES: Mapping[str, Callable[..., Array]] = {  # of what adds no rounding of its own
    **dict.fromkeys((*SAME, "abs"), lambda equation, v, e, precision: e[0]),
    **dict.fromkeys(("and", "or", "not"), lambda equation, v, e, precision: reduce(np.maximum, e)),
    **dict.fromkeys(COMPARISONS, _open),
    **dict.fromkeys(_LARGEST, lambda equation, v, e, precision: np.maximum(*e)),
    **dict.fromkeys(PICKS, _picked),
    **dict.fromkeys(("reduce_max", "reduce_min"), lambda equation, v, e, _: e[0].max(tuple(equation.params["axes"]))),
    "select_n": _selected,
    "sign": lambda equation, v, e, precision: np.where((e[0] > 0) & (np.abs(v[0]) <= e[0]), 2.0, 0.0),
}


def _terms(equation: Equation, v: Sequence[Array], result: Array) -> tuple[Array, float, int]:
    """`Σ|terms|` of a result, how many roundings of it an evaluation may add, and how many terms may underflow."""
    name, params = equation.name, equation.params
    if name == "reduce_sum":
        n = max(v[0].size // max(result.size, 1), 1)
        return np.abs(v[0]).sum(tuple(params["axes"])), 1 + n / 2, n
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        n = max(math.prod(v[0].shape[axis] for axis in contracted), 1)
        return contraction(params, np.abs(v[0]), np.abs(v[1])), 1 + n / 2, n
    return np.abs(result), _ROUNDINGS.get(name, 4.0) if name in _MONOTONE else 1.0, 1


def _brought(equation: Equation, v: Sequence[Array], e: Sequence[Array], result: Array) -> Array:
    """What the errors of the operands make of a result."""
    name, params = equation.name, equation.params
    if name == "dot_general":
        return contraction(params, e[0], np.abs(v[1]) + e[1]) + contraction(params, np.abs(v[0]), e[1])
    if name == "reduce_sum":
        return e[0].sum(tuple(params["axes"]))
    if name in SUMS:
        return e[0] + e[1]
    if name == "mul":
        brought = np.abs(v[0]) * e[1] + e[0] * (np.abs(v[1]) + e[1])
    elif name == "div":
        room = np.abs(v[1]) - e[1]
        brought = np.where(room > 0, (e[0] + np.abs(result) * e[1]) / room, np.inf)
    elif name in ("square", "integer_pow"):
        size, here = np.abs(v[0]), np.abs(result)
        ends = [np.abs(_value(equation, [end]) - here) for end in (np.maximum(size - e[0], 0.0), size + e[0])]
        brought = np.maximum(*ends)
    else:  # increasing or decreasing
        ends = [np.abs(_MONOTONE[name](end) - result) for end in (v[0] - e[0], v[0] + e[0])]
        brought = np.where(np.isfinite(e[0]), np.maximum(*ends), np.inf)
    return brought if np.isfinite(brought).all() else np.where(sum(e) == 0, 0.0, brought)  # be the slope infinite


def _nothing(name: str, params: Params, v: Sequence[Array], terms: Array) -> Array:
    """Where a result is 0 of zeros, of which nothing can underflow."""
    if name == "dot_general":
        return contraction(params, np.abs(np.sign(v[0])), np.abs(np.sign(v[1]))) == 0
    if name == "mul":
        return (v[0] == 0) | (v[1] == 0)
    if name in SUMS:
        return (v[0] == 0) & (v[1] == 0)
    return terms == 0 if name == "reduce_sum" else (terms == 0) & (v[0] == 0)
