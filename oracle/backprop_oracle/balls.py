"""A program over numbers that nothing rounds: balls, fractions, and power series of balls, with a derivative that owes
nothing to a rule of ours or of JAX's. Moves, sums and products are NumPy's own functions.

A comparison that balls leave open is undecided (`Undecided`); `over_all_ways` takes every way that it may turn out, and
gives balls around all that comes out: saturated functions leave kinks open that nothing depends on. A NaN that is
compared makes the result NaN.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from flint import arb, arb_series

from .control import looped, scanned
from .enclosures import Undecided
from .functions import ELEMENTWISE, STEPS, stepped
from .indexing import PICKS
from .moves import COMPARISONS, LOGIC, MOVES, SAME, WHOLE, is_key, no_rule, picked, places, whole
from .needed import Needs, run_where
from .numbers import Series, around, as_array, balls, fractions
from .program import CONTROL, Array, Equation, Program, run
from .values import UNCERTAIN_LOGIC, VALUES, Lift, Open, Ways, added_at, all_of, compared, converted

MOST_OPEN = 3  # comparisons: each is assumed to turn out in three ways


def over_balls(program: Program, args: Sequence[Array], needs: Needs | None = None) -> Any:
    """The outputs of a program as arrays of balls, at the working precision; arguments are floats or balls.

    With `needs` (`needed.py`) only what some entries need, and None for all else; so below.

    >>> from .program import traced
    >>> over_balls(traced(lambda x: x / 4, np.ones(1)), [np.ones(1)])[0].str(5)
    '0.25000'
    """
    return _outer(balls, {}, program, args, needs)


def over_all_ways(program: Program, args: Sequence[Array], needs: Needs | None = None, ways: Ways | None = None) -> Any:
    """As `over_balls`, where open comparisons are assumed to turn out in all three ways, the same in every equation.

    >>> import jax
    >>> from .program import traced
    >>> small = np.array([arb(0, 1e-30)], object)
    >>> absolute = traced(lambda x: jax.numpy.where(x > 0, x, -x) + 1, np.ones(1))
    >>> over_all_ways(absolute, [small])[0].contains(1)
    True
    """
    try:
        return _outer(balls, ways or {}, program, args, needs)
    except Open as found:
        if len(ways or {}) == MOST_OPEN:
            raise Undecided(f"more than {MOST_OPEN} kinks are open") from None
        each = [over_all_ways(program, args, needs, {**(ways or {}), found.args[0]: way}) for way in (-1, 0, 1)]
    around_all = np.frompyfunc(lambda x, y, z: None if x is None else around(around(x, y), z), 3, 1)
    return jax.tree.map(lambda *arrays: as_array(around_all(*arrays)), *each)


def over_fractions(program: Program, args: Sequence[Array], needs: Needs | None = None) -> Any:
    """The outputs as series of fractions; an ArithmeticError where one of them is no fraction.

    >>> from .numbers import head
    >>> from .program import traced
    >>> head(over_fractions(traced(lambda x: x / 3, np.array(1.0)), [np.array(1.0)])[()])
    1/3
    """
    try:
        return _outer(fractions, {}, program, args, needs)
    except (AttributeError, OverflowError, TypeError, ValueError, Undecided) as error:
        raise ArithmeticError(f"not a rational number: {error}") from None


def slopes(
    program: Program, args: Sequence[Array], i: int, k: int, over: Callable[..., Any] = over_balls
) -> dict[int, arb]:
    """The derivative of a program's output by the k-th entry of the i-th argument: of the entries that depend on it.

    >>> from .program import traced
    >>> found = slopes(traced(lambda x: x * x, np.ones(2)), [np.array([3.0, 5.0])], 0, 1)
    >>> {k: float(slope) for k, slope in found.items()}
    {1: 10.0}
    """
    given = [a.astype(object) if a.dtype.kind == "f" else a for a in args]
    given[i].reshape(-1)[k] = Series(arb_series([given[i].reshape(-1)[k], 1]))
    return {j: u.s[1] for j, u in enumerate(over(program, given).ravel()) if isinstance(u, Series)}


# ── Programs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _outer(lift: Lift, ways: Ways, program: Program, args: Sequence[Array], needs: Needs | None) -> Any:
    if needs is None:
        return _run(lift, ways, (), program, list(map(lift, args)))
    return run_where(needs, program, args, lift, partial(_apply, lift, ways, ()))


def _run(lift: Lift, ways: Ways, turn: tuple[Any, ...], program: Program, args: Sequence[Array]) -> Any:
    return run(program, args, lift, partial(_apply, lift, ways, turn))


_PLAIN_TRUTHS: Mapping[str, Callable[..., Array]] = {**COMPARISONS, **LOGIC}


def _controlled(lift: Lift, ways: Ways, turn: tuple[Any, ...], equation: Equation, v: Sequence[Array]) -> Any:
    """A loop or branches; what is compared in one turn is another than in the next."""

    def inner(program: Program, operands: Sequence[Array], i: int) -> Any:
        return _run(lift, ways, (*turn, *equation.results[:1], i), program, operands)

    def decided(condition: Array) -> bool:
        if condition.dtype == object:
            raise Undecided("whether a loop ends")
        return bool(condition)

    if equation.name == "scan":
        return scanned(equation, v, inner, lambda x, i: x[i, ...], np.stack, lift)
    if equation.name == "while":
        return looped(equation, v, inner, decided)
    return inner(equation.params["branches"][int(v[0])], v[1:], 0)


def _apply(lift: Lift, ways: Ways, turn: tuple[Any, ...], equation: Equation, v: Sequence[Array]) -> Any:
    name, params = equation.name, equation.params
    if name in ELEMENTWISE and (v[0].dtype == object or v[-1].dtype == object):
        return ELEMENTWISE[name](*v)
    if name in CONTROL:
        return _controlled(lift, ways, turn, equation, v)
    if name == "convert_element_type":
        return converted(lift, params, v[0])
    if name in MOVES and not is_key(v[0]):
        return MOVES[name](params, *v)
    if name in WHOLE:
        return lift(WHOLE[name](params, *v))
    if all(a.dtype != object for a in v):  # indices, truth values and keys of jax.random
        if name in COMPARISONS or (name in LOGIC and v[0].dtype == bool):
            return _PLAIN_TRUTHS[name](*v)
        found = whole(equation, v)
        return [_taken(lift, a) for a in found] if equation.primitive.multiple_results else _taken(lift, found)
    if name in UNCERTAIN_LOGIC:
        return as_array(UNCERTAIN_LOGIC[name](*v))
    if name in ("reduce_and", "reduce_or"):
        return all_of(name.removeprefix("reduce_"), params, v[0])
    if name in COMPARISONS:
        return compared(ways, turn, equation, *v)
    if name in STEPS:
        return stepped(name, params, v[0])
    if name == "sort" and params["num_keys"] > 1:
        raise no_rule(name)
    if name in VALUES:
        return VALUES[name](lift, params, *v)
    if name in SAME:
        return v[0]
    if name in PICKS:
        return picked(equation, v, lift)
    if name == "scatter-add":
        landed, where = places(equation, [np.zeros(v[0].shape), v[1], np.zeros(v[2].shape)])
        return added_at(v[0], where, v[2].ravel()[landed])
    raise no_rule(name)


def _taken(lift: Lift, a: Array) -> Array:
    return a if is_key(a) else lift(a)
