"""Truth with a proof: values, Jacobians and vjps of every operation as enclosures.

The slide's forward (`series.py`) is evaluated over truncated power series whose coefficients are balls. Where an
argument's entry is `a + t`, the coefficient of `t` in the result is the derivative: it comes from the definition, not
from a rule of ours, and FLINT bounds every rounding on the way. Precision rises until the ball is sharp
(`enclosures.py`).

Proven, given FLINT and the definitions as they stand: the real number lies in its ball; the ball's radius is at most
2^-24 units in the last place of the target format; `nearest` is correctly rounded.
Not proven: FLINT itself; that a definition says what the slide says (the tests ask mpmath); that a zero is *exactly*
zero when transcendental numbers cancel, as in the softmax vjp of a constant delta: its ball has a radius below 2^-24
of the smallest subnormal, so its nearest float is 0 whether it vanishes or not.

Conventions. Inputs are taken exactly. NaN and infinities raise ValueError, as do arguments outside a function's
domain, except that `-inf` logits of softmax and softmax_cross_entropy are masks: probability 0, gradient 0, and
0 · log 0 = 0. So y = 0 there adds nothing to the loss, and ∂L/∂y there is +inf; any other y makes the loss infinite,
and ∂L/∂x = Σy ŷ - y holds as the limit. At kinks relu′(0) = 0, leaky_relu′(0) = 1, elu′(0) = 1, as in JAX. A zero
entry of delta drops its output, 0 · inf too. Signs of zeros are not known to real numbers.

>>> loss = value("softmax_cross_entropy", np.array([0.0, 40.0]), np.array([0.0, 1.0]))
>>> loss.nearest()  # log(1 + exp(-40)), which float64 arithmetic as on the slide takes for 0
array(4.24835426e-18)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from flint import arb, arb_series, fmpq, fmpq_series

from .enclosures import START, Enclosures, PrecisionCapReached, position, working_precision, ziv
from .series import DEFINITIONS, FUNCTIONS, Series, Vector, definition

__all__ = ["DEFINITIONS", "FUNCTIONS", "Enclosures", "PrecisionCapReached", "definition", "jacobian", "taylor",
           "value", "vjp"]  # fmt: skip

MASKABLE = ("softmax", "softmax_cross_entropy")  # whose first argument may hold -inf


@dataclass(frozen=True)
class Case:
    """An operation at a point: its forward, the shapes and the numbers of its arguments in C order."""

    name: str
    forward: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    numbers: tuple[list[float], ...]
    dtype: np.dtype[Any]


def value(name: str, *args: Any, dtype: Any = None, at: Sequence[int] | None = None) -> Enclosures:
    """The operation's result, sharp for `dtype` (by default that of the arguments).

    `at` selects entries by their index into the flat result, for long vectors; the result has shape `(len(at),)`.

    >>> value("softmax", np.zeros(3)).balls[0].str(20)
    '[0.33333333333333333333 +/- 3.34e-21]'
    """
    return _enclose(_case(name, args, dtype), "value", None, at)


def jacobian(
    name: str, *args: Any, dtype: Any = None, at: Mapping[int, Sequence[int]] | None = None
) -> tuple[Enclosures, ...]:
    """One Jacobian for each argument, of shape output + argument, as `jax.jacrev` gives it.

    `at` selects entries: it maps an argument's position to indices into its flat Jacobian; those of arguments that it
    does not name come back empty. One pass costs what the forward costs, and gives one column.

    >>> jacobian("hadamard", np.array([1.0, 2.0]), np.array([3.0, 4.0]))[0].nearest()
    array([[3., 0.],
           [0., 4.]])
    """
    return _derivatives(_case(name, args, dtype), "jacobian", at)


def vjp(
    name: str, delta: Any, *args: Any, dtype: Any = None, at: Mapping[int, Sequence[int]] | None = None
) -> tuple[Enclosures, ...]:
    """One cotangent for each argument, of its shape: the gradient of `sum_k delta_k f_k`, contracted in the series.

    `at` selects entries: it maps an argument's position to indices into that argument, flat.

    >>> vjp("softmax", np.array([1e9, 1e9]), np.array([3.0, -700.0]))[0].nearest()
    array([0., 0.])
    """
    case = _case(name, args, dtype)
    cotangent = np.asarray(delta)
    if cotangent.shape != case.output:
        raise ValueError(f"{name}: delta has shape {cotangent.shape}, the output has {case.output}")
    weights = [(k, weight) for k, weight in enumerate(_numbers(f"{name}: delta", cotangent)) if weight]

    def contracted(*arguments: Any) -> Series:
        outputs = _flat(case.forward(*arguments))
        return sum(outputs[k] * _exact(type(outputs[k]), weight) for k, weight in weights)

    return _derivatives(replace(case, forward=contracted, output=()), "vjp", at)


def taylor(name: str, points: Iterable[float | arb], terms: int, *, dtype: Any = np.float64) -> list[list[arb]]:
    """Coefficients `h(a), h′(a), h″(a)/2, …` of a scalar function at each of the points `a`, sharp for `dtype`.

    >>> [[float(c) for c in row] for row in taylor("square", [3.0], 4)]
    [[9.0, 6.0, 1.0, 0.0]]
    """

    def coefficients(a: arb) -> list[arb]:
        series = FUNCTIONS[name](arb_series([a, 1]))
        return [series[k] for k in range(terms)]

    def label(a: float | arb, k: int) -> str:
        return f"Taylor coefficient {k} at {a}"

    target = np.dtype(dtype)
    return [ziv(name, partial(coefficients, arb(a)), target, partial(label, a), terms) for a in points]


def _derivatives(case: Case, what: str, at: Mapping[int, Sequence[int]] | None) -> tuple[Enclosures, ...]:
    arguments = range(len(case.shapes))
    if at is not None and not at.keys() <= set(arguments):
        raise IndexError(f"{case.name}: `at` names arguments {sorted(at)}, there are {len(arguments)}")
    return tuple(_enclose(case, what, a, None if at is None else at.get(a, ())) for a in arguments)


def _enclose(case: Case, what: str, argument: int | None, at: Sequence[int] | None) -> Enclosures:
    """The value (`argument` None) or the derivative with respect to an argument: one Ziv loop for each column."""
    inner = () if argument is None else case.shapes[argument]
    columns, shape = math.prod(inner), case.output + inner
    title = f"{what} of {case.name}" + ("" if argument is None else f" for argument {argument}")
    size = math.prod(shape)
    entries = range(size) if at is None else [int(i) for i in at]
    if any(not 0 <= entry < size for entry in entries):
        raise IndexError(f"{title}: `at` selects from {size} entries, got {list(entries)}")
    with working_precision(START):  # any precision will do: floats are exact
        constants = _constants(case, arb_series)
        if 0 in shape:  # nothing to enclose, but a softmax of nothing is an error
            _run(case, constants, None, 0)
    where: dict[int, list[int]] = {}
    for place, entry in enumerate(entries):
        where.setdefault(entry % columns, []).append(place)
    balls = [arb()] * len(entries)
    for column, places in where.items():
        rows = [entries[place] // columns for place in places]
        evaluate = partial(_column, case, constants, argument, column, rows)
        label = partial(_label, shape, columns, column, rows)
        for place, ball in zip(places, ziv(title, evaluate, case.dtype, label), strict=True):
            balls[place] = ball

    def refine(index: int, bits: int) -> arb:
        row, column = divmod(entries[index], columns)
        with working_precision(bits):
            try:  # exactly, where every series is rational
                return arb(_column(case, _constants(case, fmpq_series), argument, column, [row])[0])
            except (AttributeError, OverflowError, TypeError, ValueError, ZeroDivisionError):
                return _column(case, constants, argument, column, [row])[0]

    return Enclosures(title, shape if at is None else (len(entries),), tuple(balls), case.dtype, refine)


def _column(case: Case, constants: list[Vector], argument: int | None, column: int, rows: Sequence[int]) -> list[arb]:
    """Some entries of the value, or of the derivative with respect to one entry of one argument."""
    result, order = _run(case, constants, argument, column), 0 if argument is None else 1
    return [result[row][order] for row in rows]


def _label(shape: tuple[int, ...], columns: int, column: int, rows: Sequence[int], k: int) -> str:
    return f"entry {position(rows[k] * columns + column, shape)}"


def _run(case: Case, constants: list[Vector], argument: int | None, column: int) -> Vector:
    """The forward with `t` added to one entry of one argument."""
    arguments = list(constants)
    if argument is not None:
        moved = arguments[argument] = list(constants[argument])
        moved[column] = moved[column] + type(moved[column])([0, 1])
    nested = [_nested(flat, shape) for flat, shape in zip(arguments, case.shapes, strict=True)]
    return _flat(case.forward(*nested))


def _constants(case: Case, ring: Any) -> list[Vector]:
    return [[_exact(ring, number) for number in numbers] for numbers in case.numbers]


def _exact(ring: Any, number: float) -> Series:
    return ring([arb(number) if ring is arb_series else fmpq(*number.as_integer_ratio())])


def _nested(flat: Vector, shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    return flat if len(shape) == 1 else [flat[i * shape[1] : (i + 1) * shape[1]] for i in range(shape[0])]


def _flat(result: Any) -> Vector:
    outputs = result if isinstance(result, list) else [result]
    return [arb_series([u]) if isinstance(u, int) else u for u in outputs]  # an empty sum is the integer 0


# ---------------------------------------------------------------- arguments


def _case(name: str, args: Sequence[Any], dtype: Any) -> Case:
    """Checks and unpacks arguments."""
    text, forward = definition(name)
    inputs, output = text.split("->")
    wanted = [tuple(re.findall(r"\w+", core)) for core in re.findall(r"\(.*?\)", inputs)]
    arrays = [np.asarray(arg) for arg in args]
    if len(arrays) != len(wanted):
        raise ValueError(f"{name} takes {len(wanted)} arguments {text}, got {len(arrays)}")
    sizes: dict[str, int] = {}
    for i, (array, letters) in enumerate(zip(arrays, wanted, strict=True)):
        fits = len(array.shape) == len(letters)
        if not fits or any(sizes.setdefault(k, n) != n for k, n in zip(letters, array.shape, strict=True)):
            raise ValueError(f"{name} {text}: argument {i} has shape {array.shape}, expected ({','.join(letters)})"
                             f" with {sizes}")  # fmt: skip
    numbers = tuple(
        _numbers(f"{name}: argument {i}", array, masks=name in MASKABLE and i == 0) for i, array in enumerate(arrays)
    )
    target = np.result_type(*arrays) if dtype is None else np.dtype(dtype)
    shape = tuple(sizes[k] for k in re.findall(r"\w+", output))
    return Case(name, forward, tuple(array.shape for array in arrays), shape, numbers, target)


def _numbers(label: str, array: np.ndarray, masks: bool = False) -> list[float]:
    """The entries as Python floats, each exactly."""
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{label} has dtype {array.dtype}, expected float32 or float64")
    allowed = np.isfinite(array) | (masks & np.isneginf(array))
    if not allowed.all():
        raise ValueError(f"{label} holds {array[~allowed].flat[0]}, expected finite numbers")
    return list(array.ravel().tolist())
