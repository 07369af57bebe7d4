"""A few entries of a large result: only what they need is computed, by the rules that compute all.

From the wanted entries back through the equations, a mask says of each array which entries are needed: of elementwise
functions the same, of moves and picks where they come from, of reductions and products the rows and columns. Of
convolutions, running sums, sorts, windows, loops, and picks at indices that depend on real numbers: all entries.
Indices and truth values that depend on no real number are known beforehand, and computed whole.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import floats
from .functions import ELEMENTWISE
from .indexing import PICKS
from .moves import BILINEAR, COMPARISONS, LOGIC, MOVES, SAME, WHOLE, is_key, places, products
from .program import CONTROL, Array, Equation, Program
from .program import run as run_program
from .values import added_at

Lift = Callable[[Array], Array]
Apply = Callable[[Equation, Sequence[Array]], Any]
Wanted = Sequence[Sequence[int] | None]  # of each output of a program the flat indices, or all

ENTRYWISE = {*ELEMENTWISE, *COMPARISONS, *LOGIC, *SAME, *floats.STEPS} | {
    *("select_n", "integer_pow", "is_finite", "convert_element_type"),
}
REDUCTIONS = {f"reduce_{name}" for name in ("sum", "max", "min", "prod", "and", "or")} | {"argmax", "argmin"}
PARTLY = {*ENTRYWISE, *REDUCTIONS, *MOVES, *PICKS, "dot_general", "scatter-add"}  # all else is computed whole


@dataclass(frozen=True)
class Look:
    """What a program's arrays look like: of each an array of no memory, and those that depend on no real number."""

    arrays: Mapping[Any, Array]
    known: Mapping[Any, Array]


@dataclass(frozen=True)
class Needs:
    """Of each array of a program which entries are needed, and how many balls that is, products counted each."""

    look: Look
    masks: Mapping[Any, Array]
    cost: float


def looked(program: Program, args: Sequence[Array]) -> Look:
    """The arrays of a program, by one run in floats."""
    given = {**program.constants, **dict(zip(program.inputs, args, strict=True))}
    arrays = {var: _hollow(a) for var, a in given.items()}
    known = {var: a for var, a in given.items() if not _is_real(a)}

    def note(equation: Equation) -> Callable[[Any, Sequence[Array]], Any]:
        def keep(found: Any, v: Sequence[Array]) -> Any:
            results = found if equation.primitive.multiple_results else [np.asarray(found)]
            arrays.update(zip(equation.results, map(_hollow, results), strict=True))
            if known.keys() >= set(equation.operands) and not any(map(_is_real, results)):
                known.update(zip(equation.results, results, strict=True))
            return found

        return keep

    with np.errstate(all="ignore"):
        floats.values(program, args, {equation.results[0]: note(equation) for equation in program.equations})
    return Look(arrays, known)


def _hollow(a: Array) -> Array:
    return a if is_key(a) else np.broadcast_to(np.zeros((), a.dtype), a.shape)


def needed(program: Program, look: Look, wanted: Wanted) -> Needs:
    """Which entries of all arrays of a program some entries of its outputs need.

    >>> import jax.numpy as jnp
    >>> from .program import traced
    >>> rows = traced(lambda x: x / jnp.sum(x, 1, keepdims=True), np.ones((1000, 1000)))
    >>> needs = needed(rows, looked(rows, [np.ones((1000, 1000))]), [[0]])
    >>> int(needs.masks[rows.inputs[0]].sum()), needs.cost
    (1000, 1003.0)
    """
    masks: dict[Any, Array] = {}

    def add(var: Any, mask: Any) -> None:
        if var in masks:
            masks[var] = masks[var] | mask
        else:
            masks[var] = np.broadcast_to(mask, look.arrays[var].shape)

    for var, entries in zip(program.outputs, wanted, strict=True):
        mask = np.zeros(math.prod(look.arrays[var].shape), bool)
        mask[slice(None) if entries is None else list(entries)] = True
        add(var, mask.reshape(look.arrays[var].shape))
    cost = 0.0
    for equation in reversed(program.equations):
        results = [look.arrays[var] for var in equation.results]
        own = [masks.get(var, np.zeros(a.shape, bool)) for var, a in zip(equation.results, results, strict=True)]
        if any(mask.any() for mask in own):
            whole = equation.name not in PARTLY
            counts = [m.size if whole else int(m.sum()) for m, a in zip(own, results, strict=True) if _is_real(a)]
            cost += sum(counts) * _terms(equation, look) if any(counts) else 0
            for var, mask in zip(equation.operands, _back(equation, look, own), strict=True):
                add(var, mask)
    inputs = [masks[var] for var in dict.fromkeys(program.inputs) if var in masks and _is_real(look.arrays[var])]
    return Needs(look, masks, cost + sum(int(mask.sum()) for mask in inputs))


def _terms(equation: Equation, look: Look) -> float:
    """How many numbers an entry of a result is made of; of a loop, nobody knows."""
    if equation.name in BILINEAR:
        return products(equation, [look.arrays[var] for var in equation.operands])
    return math.inf if equation.name in CONTROL else math.prod(equation.params.get("window_dimensions", ()))


def _is_real(a: Array) -> bool:
    return not is_key(a) and a.dtype.kind == "f"


def _back(equation: Equation, look: Look, masks: Sequence[Array]) -> Sequence[Any]:
    """Of each operand the entries that some entries of the results need."""
    name, params, (mask, *_) = equation.name, equation.params, masks
    v = [look.arrays[var] for var in equation.operands]
    if any(map(is_key, v)):
        return [True] * len(v)
    if name in ENTRYWISE:
        return [_folded(mask, a.shape) for a in v]
    if name in REDUCTIONS:
        return [np.expand_dims(mask, tuple(params["axes"]))]
    if name == "dot_general" and not mask.all():
        found = [np.zeros(a.shape, bool) for a in v]
        for whole, (order, which) in zip(found, _lines(equation, v, mask), strict=True):
            whole.transpose(order)[which] = True
        return found
    if name in MOVES:
        return _sources(lambda *numbers: MOVES[name](params, *numbers), v, masks)
    real, indices = [_is_real(a) for a in v], [var for var in equation.operands if not _is_real(look.arrays[var])]
    if not look.known.keys() >= set(indices):
        return [True] * len(v)
    if name in PICKS and real[0]:
        numbers = [a for a, is_real in zip(v, real, strict=True) if is_real]
        picks = _sources(lambda *n: PICKS[name](params, n, *map(look.known.get, indices)), numbers, masks)
        each = iter(picks)
        return [next(each) if is_real else True for is_real in real]
    if name == "scatter-add" and all(real[::2]):
        landed, where = places(equation, [v[0], look.known[indices[0]], v[2]])
        updates = np.zeros(v[2].size, bool)
        updates[landed] = mask.ravel()[where]
        return [mask, True, updates.reshape(v[2].shape)]
    return [True] * len(v)


def _folded(mask: Array, shape: Sequence[int]) -> Any:
    """The mask of an operand of this shape, whose axes of size 1 may have been stretched; a scalar has no axes."""
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 != mask.shape[i])
    return mask.any(stretched, keepdims=True) if shape else mask.any()


def _sources(move: Callable[..., Any], v: Sequence[Array], masks: Sequence[Array]) -> Sequence[Array]:
    """Of each operand the entries that a move brings where the masks are, told apart by the numbers 1, 2, 3 …"""
    ends = np.cumsum([1, *(a.size for a in v)])
    numbers = [np.arange(end, end + a.size).reshape(a.shape) for end, a in zip(ends[:-1], v, strict=True)]
    moved = move(*numbers)
    found = np.zeros(ends[-1], bool)
    for result, mask in zip(moved if isinstance(moved, list) else [moved], masks, strict=True):
        found[result[mask]] = True
    return [found[n] for n in numbers]


def _lines(equation: Equation, v: Sequence[Array], mask: Array) -> list[tuple[list[int], tuple[Array, ...]]]:
    """Of each factor of a product its axes, those that are summed last; and which lines make the entries, in turn."""
    summed, batch = equation.params["dimension_numbers"]
    kept = [[i for i in range(a.ndim) if i not in (*s, *b)] for a, s, b in zip(v, summed, batch, strict=True)]
    at, shared, end = np.nonzero(mask), len(batch[0]), len(batch[0]) + len(kept[0])
    orders = [[*b, *k, *s] for b, k, s in zip(batch, kept, summed, strict=True)]
    return list(zip(orders, (at[:end], (*at[:shared], *at[end:])), strict=True))


# ── Where it is needed ──────────────────────────────────────────────────────────────────────────────────────────────


def run_where(needs: Needs, program: Program, args: Sequence[Array], lift: Lift, apply: Apply) -> Any:
    """The outputs of a program, as `program.run` gives them, with None for the numbers that are not needed."""
    masks = needs.masks

    def taken(var: Any, a: Array) -> Array:
        return _spread(masks.get(var, np.zeros(a.shape, bool)), lambda m: lift(a[m])) if _is_real(a) else a

    def step(equation: Equation, v: Sequence[Array]) -> Any:
        if equation.name in WHOLE:
            return taken(equation.results[0], WHOLE[equation.name](equation.params))
        own = [masks.get(var) for var in equation.results]
        if any(mask is not None and mask.any() for mask in own):
            return _partly(equation, v, own[0], apply)
        looks = [needs.look.arrays[var] for var in equation.results]
        results = [a if is_key(a) else _blank(a.shape, object if _is_real(a) else a.dtype) for a in looks]
        return results if equation.primitive.multiple_results else results[0]

    constants = {var: taken(var, a) for var, a in program.constants.items()}
    given = [taken(var, a) for var, a in zip(program.inputs, args, strict=True)]
    return run_program(replace(program, constants=constants), given, lambda a: a, step)


def _partly(equation: Equation, v: Sequence[Array], mask: Array | None, apply: Apply) -> Any:
    """The result of an equation, or the results, where the mask is set."""
    name, params = equation.name, equation.params
    moves = name not in PARTLY or name in MOVES or name in PICKS
    plain = not any(a.dtype == object for a in v if not is_key(a)) and name != "convert_element_type"
    if moves or plain or mask is None or mask.all():
        return apply(equation, v)
    if name in ENTRYWISE:
        numbered = equation._replace(params={**params, "places": np.flatnonzero(mask)})
        return _spread(mask, lambda m: apply(numbered, [np.broadcast_to(a, m.shape)[m] if a.ndim else a for a in v]))
    if name in REDUCTIONS:
        last = range(-len(params["axes"]), 0)
        along = equation._replace(params={**params, "axes": tuple(range(1, len(last) + 1))})
        return _spread(mask, lambda m: apply(along, [np.moveaxis(v[0], tuple(params["axes"]), last)[m]]))
    if name == "dot_general":
        rows = (int(mask.sum()), products(equation, v))
        paired = equation._replace(params={**params, "dimension_numbers": (((1,), (1,)), ((0,), (0,)))})
        summed = [[a.shape[axis] for axis in s] for a, s in zip(v, params["dimension_numbers"][0], strict=True)]
        lines = [
            np.broadcast_to(a.transpose(order)[which], (rows[0], *sizes)).reshape(rows)
            for a, (order, which), sizes in zip(v, _lines(equation, v, mask), summed, strict=True)
        ]
        return _spread(mask, lambda m: apply(paired, lines))
    landed, where = places(equation, v)
    wanted = mask.ravel()[where]
    return added_at(v[0], where[wanted], v[2].ravel()[landed[wanted]])


def _spread(mask: Array, compute: Callable[[Array], Array]) -> Array:
    """An array whose entries are computed where the mask is set."""
    found = compute(mask)
    result = _blank(mask.shape, found.dtype)
    result[mask] = found
    return result


def _blank(shape: Sequence[int], dtype: Any) -> Array:
    """Of None, so that whatever is not computed cannot be taken for a number; of indices and truth values, zeros."""
    return np.empty(shape, object) if np.dtype(dtype).kind == "O" else np.zeros(shape, dtype)
