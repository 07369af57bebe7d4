"""Truth with a proof: values, vjps and Jacobians of any function of `jax.numpy` as enclosures.

The definition's program, or that of its `jax.vjp` or `jax.jacrev`, runs over balls (`balls.py`): one pass gives the
value and the whole vjp, FLINT bounds every rounding on the way, and precision rises until the balls are sharp
(`enclosures.py`). That JAX's rules of derivatives are right is not taken for granted: `vjp_by_slopes` runs the
definition alone, over power series whose second coefficient is the derivative, and a law holds the two together.

Proven, given FLINT, JAX's rules and the definitions as they stand: the real number lies in its ball; the ball's radius
is at most 2^-24 units in the last place of the target format; `nearest` is correctly rounded.
Not proven: FLINT itself; that a definition says what the slide says (the tests ask mpmath); that a zero is *exactly*
zero when transcendental numbers cancel, as in the softmax vjp of a constant delta: its ball has a radius below 2^-24
of the smallest subnormal, so its nearest float is 0 whether it vanishes or not.

Conventions. Inputs are taken exactly. NaN and infinities raise ValueError, as do arguments outside an operation's
domain, except that `-inf` is a mask where a row says so: probability 0, gradient 0, and 0 · log 0 = 0. So y = 0 there
adds nothing to the loss, and ∂L/∂y there is +inf; any other y makes the loss infinite, and ∂L/∂x = Σy ŷ - y holds as
the limit. At kinks the derivative is the one that JAX takes. A delta of zeros gives zeros, 0 · inf too. Signs of zeros
are not known to real numbers. A tie that balls leave open is settled by fractions, where the program is rational.

>>> loss = value("softmax_cross_entropy", np.array([0.0, 40.0]), np.array([0.0, 1.0]))
>>> loss.nearest()  # log(1 + exp(-40)), which float64 arithmetic as on the slide takes for 0
array(4.24835426e-18)
>>> value(lambda x: x / 3, np.array([1.0])).nearest()
array([0.33333333])
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
from flint import arb, arb_series

from .balls import over_all_ways, over_balls, over_fractions, slopes
from .definition import Definition
from .derived import Cores, program_of
from .enclosures import Enclosures, PrecisionCapReached, Undecided, position, working_precision, ziv
from .needed import Needs, Wanted, looked, needed
from .numbers import Series, head
from .program import Array, Program
from .rows import Asked, definition, row_of, widened
from .shapes import shape_of, sizes_of

__all__ = ["Enclosures", "PrecisionCapReached", "costs", "jacobian", "slopes_at", "value", "vjp", "vjp_by_slopes"]

Over = Callable[..., Any]  # balls or fractions: an interpreter of programs
Entries = Sequence[int] | None  # flat indices, or all


class Point(NamedTuple):
    """A definition, with its core shapes in letters where they are known, at arguments that have been checked."""

    name: str
    f: Callable[..., Any]
    cores: Cores | None
    args: tuple[Array, ...]
    output: tuple[int, ...]
    dtype: np.dtype[Any]

    def program(self, kind: str) -> Program:
        return program_of(self.f, self.cores, kind, (np.empty(self.output), *self.args))

    @property
    def moving(self) -> list[bool]:
        """Which arguments have a derivative; integers have none."""
        return [a.dtype.kind == "f" for a in self.args]


def value(operation: Asked, *args: Any, dtype: Any = None, at: Entries = None) -> Enclosures:
    """The operation's result, sharp for `dtype` (by default that of the arguments).

    `operation` is a row of the reference's table, its name, or a function of `jax.numpy`. `at` selects entries by
    their index into the flat result, for long vectors; the result has shape `(len(at),)`. No more is computed than
    they need (`needed.py`).

    >>> value("softmax", np.zeros(3)).balls[0].str(20)
    '[0.33333333333333333333 +/- 3.34e-21]'
    """
    p = _point(operation, args, dtype)
    program = p.program("value")
    needs = _needs(program, p.args, None if at is None else [at])
    found: Enclosures = _enclosed(p, "value", [p.output], lambda over: [over(program, p.args, needs())], [at])[0]
    return found


def vjp(
    operation: Asked, delta: Any, *args: Any, dtype: Any = None, at: Mapping[int, Sequence[int]] | None = None
) -> tuple[Enclosures, ...]:
    """One cotangent for each argument, of its shape: the gradient of `sum_k delta_k f_k`.

    `at` selects entries: it maps an argument's position to indices into that argument, flat; those of arguments that
    it does not name come back empty. An argument of integers has no cotangent: None.

    >>> vjp("softmax", np.array([1e9, 1e9]), np.array([3.0, -700.0]))[0].nearest()
    array([0., 0.])
    """
    p = _point(operation, args, dtype)
    cotangent, program = _cotangent(p, delta), p.program("vjp")
    if not cotangent.any():  # whatever the derivatives are
        return _enclosed(
            p, "vjp", [a.shape for a in p.args], lambda over: list(map(np.zeros_like, p.args)), _chosen(p, at)
        )
    shapes, chosen, point = [a.shape for a in p.args], _chosen(p, at), (cotangent, *p.args)
    needs = _needs(program, point, None if at is None else _of_cotangents(p, chosen))
    return _enclosed(p, "vjp", shapes, lambda over: over(program, point, needs())[1], chosen)


def costs(operation: Asked, kind: str, delta: Any, *args: Any, at: Mapping[int, Sequence[int]]) -> dict[int, float]:
    """How many balls each of `at` would cost: 0 in a "value", or the arguments' positions in a "vjp".

    A few entries of a row's result need the row; those of a parameter that all rows share need all rows.

    >>> x, g = np.ones((100, 8)), np.ones(8)
    >>> costs(lambda x, g: x * g, "vjp", x, x, g, at={0: [0], 1: [0]})
    {0: 4.0, 1: 303.0}
    """
    p = _point(operation, args, None)
    program = p.program(kind)
    look = looked(program, p.args if kind == "value" else (np.asarray(delta, np.float64), *p.args))

    def outputs(i: int) -> Wanted:
        return [at[i]] if kind == "value" else _of_cotangents(p, _chosen(p, {i: at[i]}))

    return {i: needed(program, look, outputs(i)).cost for i in at}


def jacobian(
    operation: Asked, *args: Any, dtype: Any = None, at: Mapping[int, Sequence[int]] | None = None
) -> tuple[Enclosures, ...]:
    """One Jacobian for each argument, of shape output + argument, as `jax.jacrev` gives it.

    `at` selects entries: it maps an argument's position to indices into its flat Jacobian; those of arguments that it
    does not name come back empty. Selected entries cost a vjp for each row that they are in.

    >>> jacobian("hadamard", np.array([1.0, 2.0]), np.array([3.0, 4.0]))[0].nearest()
    array([[3., 0.],
           [0., 4.]])
    """
    p = _point(operation, args, dtype)
    shapes = [p.output + a.shape for a in p.args]
    if at is None:
        program = p.program("jacobian")
        return _enclosed(p, "jacobian", shapes, lambda over: over(program, p.args)[1], [None] * len(args))
    chosen, program, outputs = _chosen(p, at), p.program("vjp"), math.prod(p.output)

    def rows(over: Over) -> list[Array]:
        wanted = {k // a.size for some, a in zip(chosen, p.args, strict=True) for k in some or () if a.size}
        found = [np.empty(shape, object) for shape in shapes]
        for row in wanted & set(range(outputs)):
            unit = (np.arange(outputs) == row).astype(np.float64).reshape(p.output)
            for J, d in zip(found, over(program, (unit, *p.args))[1], strict=True):
                if d is not None:
                    J.reshape(outputs, d.size)[row] = d.ravel()
        return found

    return _enclosed(p, "jacobian", shapes, rows, chosen)


def vjp_by_slopes(operation: Asked, delta: Any, *args: Any, dtype: Any = None) -> tuple[Enclosures, ...]:
    """The vjp once more, by power series: no rule of derivatives is JAX's or ours. One pass for each entry.

    >>> vjp_by_slopes("square", np.ones(2), np.array([3.0, 5.0]))[0].nearest()
    array([ 6., 10.])
    """
    p = _point(operation, args, dtype)
    cotangent, program = _cotangent(p, delta).ravel().tolist(), p.program("value")

    def slope(over: Over, i: int, k: int) -> arb:
        found = slopes(program, p.args, i, k, over)
        return sum((cotangent[j] * by for j, by in found.items() if cotangent[j]), arb(0))

    def every(over: Over) -> list[Array]:
        sizes = [a.size if moves else 0 for a, moves in zip(p.args, p.moving, strict=True)]
        return [np.array([slope(over, i, k) for k in range(size)], object) for i, size in enumerate(sizes)]

    return _enclosed(p, "vjp by slopes", [a.shape for a in p.args], every, [None] * len(args), fractional=False)


def slopes_at(function: Asked, points: Sequence[arb]) -> list[tuple[arb, arb]]:
    """`h(a)` and `h′(a)` of a scalar function at exact balls, sharp for float64, by power series.

    >>> [[float(h), float(slope)] for h, slope in slopes_at("square", [arb(3)])]
    [[9.0, 6.0]]
    """
    some = np.ones(len(points))
    program = program_of(definition(function), (("n",), ("n",)), "value", (some, some))
    moved = np.array([Series(arb_series([a, 1])) for a in points], object)

    def evaluate() -> list[arb]:
        series = [u.s if isinstance(u, Series) else arb_series([u]) for u in over_balls(program, [moved])]
        return [u[k] for u in series for k in (0, 1)]

    flat = ziv(str(function), evaluate, np.dtype(np.float64), lambda k: f"h{'′' * (k % 2)} at {points[k // 2].str(10)}")
    return list(zip(flat[::2], flat[1::2], strict=True))


# ── Enclosures of what a program gives ──────────────────────────────────────────────────────────────────────────────


def _enclosed(
    p: Point,
    what: str,
    shapes: Sequence[tuple[int, ...]],
    results: Callable[[Over], Sequence[Array]],
    chosen: Sequence[Entries],
    *,
    fractional: bool = True,
) -> tuple[Any, ...]:
    """Arrays of these shapes, or the chosen entries of each; precision rises until every entry is sharp.

    None where an argument of integers has no derivative.
    """
    title, real = f"{what} of {p.name}", p.moving if what != "value" else [True]
    chosen = [entries if is_real else () for entries, is_real in zip(chosen, real, strict=True)]
    wanted = [_within(title, entries, shape) for entries, shape in zip(chosen, shapes, strict=True)]
    ends = np.cumsum([0, *map(len, wanted)])

    def flat(over: Over) -> list[Any]:
        arrays = results(over) if ends[-1] else [np.zeros(shape) for shape in shapes]
        pairs = [(a, entries) for a, entries in zip(arrays, wanted, strict=True) if entries]
        return [head(x) for a, entries in pairs for x in np.asarray(a, object).ravel()[entries].tolist()]

    exact: list[list[Any] | None] = (
        [] if fractional else [None]
    )  # the same as fractions; None where they are none; tried once, where it matters

    def fractions() -> list[Any] | None:
        if not exact:
            try:
                exact.append(flat(over_fractions))
            except ArithmeticError:
                exact.append(None)
        return exact[0]

    def evaluate() -> list[arb]:
        try:
            return list(map(arb, flat(over_balls)))
        except Undecided:  # exact, where the program is rational; else balls around all that it may be
            known = fractions()
            return list(map(arb, flat(over_all_ways) if known is None else known))

    last: dict[int, list[arb]] = {}  # by precision

    def refined(start: int, index: int, bits: int) -> arb:
        with working_precision(bits):
            if (known := fractions()) is not None:
                return arb(known[start + index])
            if bits not in last:
                last[bits] = evaluate()
            return last[bits][start + index]

    def label(k: int) -> str:
        i = int(np.searchsorted(ends, k, "right")) - 1
        return f"argument {i}: entry {position(wanted[i][k - ends[i]], shapes[i])}"

    balls = ziv(title, evaluate, p.dtype, label)
    return tuple(
        Enclosures(
            f"{title} for argument {i}" if what != "value" else title,
            tuple(shape) if entries is None else (len(entries),),
            tuple(balls[start:end]),
            p.dtype,
            partial(refined, int(start)),
        )
        if real[i]
        else None
        for i, (shape, entries, start, end) in enumerate(zip(shapes, chosen, ends[:-1], ends[1:], strict=True))
    )


def _needs(program: Program, point: Sequence[Array], wanted: Wanted | None) -> Callable[[], Needs | None]:
    """What some entries need of a program, found when it is first asked; None, which is all, where all are wanted."""
    return cache(lambda: None if wanted is None else needed(program, looked(program, point), wanted))


def _of_cotangents(p: Point, chosen: Sequence[Entries]) -> Wanted:
    """What is wanted of each output of a vjp's program: nothing of the value, and integers have no cotangent."""
    return [(), *(entries for entries, moves in zip(chosen, p.moving, strict=True) if moves)]


def _within(title: str, entries: Entries, shape: tuple[int, ...]) -> list[int]:
    size = math.prod(shape)
    found = list(range(size)) if entries is None else [int(k) for k in entries]
    if any(not 0 <= k < size for k in found):
        raise IndexError(f"{title}: `at` selects from {size} entries, got {found}")
    return found


def _chosen(p: Point, at: Mapping[int, Sequence[int]] | None) -> list[Entries]:
    arguments = range(len(p.args))
    if at is not None and not at.keys() <= set(arguments):
        raise IndexError(f"{p.name}: `at` names arguments {sorted(at)}, there are {len(arguments)}")
    return [None if at is None else at.get(i, ()) for i in arguments]


# ── Arguments ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _point(operation: Asked, args: Sequence[Any], dtype: Any) -> Point:
    """Checks arguments."""
    name = getattr(operation, "__name__", "a function") if callable(operation) else row_of(operation).name
    if not args:
        raise ValueError(f"{name}: expected its arguments as arrays, got none")
    arrays = [np.asarray(arg) for arg in args]
    for i, array in enumerate(arrays):
        if array.dtype.kind not in "fiubV":  # V is bfloat16
            raise TypeError(f"{name}: argument {i}: expected an array of real numbers, got {args[i]!r:.60}")
    f, wide = definition(operation), tuple(widened(operation, arrays))
    floats = [a for a, w in zip(arrays, wide, strict=False) if w.dtype.kind == "f"]
    target = np.result_type(*floats) if dtype is None else np.dtype(dtype)
    if callable(operation):
        for i, array in enumerate(arrays):
            if wide[i].dtype.kind == "f":
                _check_numbers(f"{name}: argument {i}", array)
        given = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in wide]
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            try:
                output = jax.eval_shape(f, *given)
            except Exception as error:
                why = str(error).partition("\n")[0]
                raise ValueError(f"{name}: the function raises {type(error).__name__}: {why}") from None
        if not hasattr(output, "shape"):
            raise ValueError(f"{name}: the function returns a {type(output).__name__}, expected one array of floats")
        return Point(name, f, None, wide, output.shape, target)
    row = row_of(operation)
    if len(arrays) != len(row.arguments):
        raise ValueError(f"{row.name} takes {len(row.arguments)} arguments {row.signature}, got {len(arrays)}")
    sizes = sizes_of(row.cores[:-1], [a.shape for a in arrays])
    for i, (name, array, core) in enumerate(zip(row.arguments, arrays, row.cores, strict=False)):
        if len(array.shape) != len(core) or array.shape != shape_of(core, sizes):
            raise ValueError(f"{row.name} {row.signature}: argument {i} has shape {array.shape}, "
                             f"expected ({','.join(core)}) with {sizes}")  # fmt: skip
        where = f"{row.name}: argument {i}"
        if name in row.integers and isinstance(row, Definition):
            row.check_integers(name, array, sizes)
            continue
        _check_numbers(where, array, masks=name in row.masks)
        if row.domain.get(name) == "positive" and (array <= 0).any():
            raise ValueError(f"{row.name} needs arguments > 0, got {array[array <= 0].flat[0]}")
        if row.domain.get(name) == "non-zero" and (array == 0).any():
            raise ValueError(f"{row.name} needs arguments other than 0")
        if name in row.masks and array.size and np.isneginf(array).all():
            raise ValueError(f"{where}: expected a logit that is not masked")
    if any(n == 0 and not row.may_be_empty(letter) for letter, n in sizes.items()):
        raise ValueError(f"{row.name} of nothing: expected sizes ≥ 1, got {sizes}")
    return Point(row.name, f, row.traced, wide, row.shapes_at(sizes)[-1], target)


def _cotangent(p: Point, delta: Any) -> Array:
    array = np.asarray(delta)
    if array.shape != p.output:
        raise ValueError(f"{p.name}: delta has shape {array.shape}, the output has {p.output}")
    _check_numbers(f"{p.name}: delta", array)
    return array.astype(np.float64)


def _check_numbers(label: str, array: Array, *, masks: bool = False) -> None:
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{label} has dtype {array.dtype}, expected float32 or float64")
    allowed = np.isfinite(array) | (masks & np.isneginf(array))
    if not allowed.all():
        raise ValueError(f"{label} holds {array[~allowed].flat[0]}, expected finite numbers")
