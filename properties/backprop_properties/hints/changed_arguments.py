"""What comes out of a definition for other arguments, or is done to right results afterwards, told by experiment.

Masks that are ignored, labels and lengths that are off by one, axes that are exchanged, a kernel or a result that is
the wrong way round: the definition's own vjp (or value) at changed arguments, or changed itself, gives the very numbers
that are wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, combinations
from typing import NamedTuple

import numpy as np

from backprop_oracle.definition import Definition

from ..cases.case import Array, Case
from .probe import Probe, Seen, wrong_in
from .state import Found


class Changed(NamedTuple):
    """The cause, what to say of it, and the results at a case."""

    cause: str
    says: str
    results: Callable[[Case], Sequence[Array]]


def changed_arguments(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """The first change of an argument that explains what is wrong."""
    if not isinstance(p.row, Definition) or p.kind == "jacobian":
        return None
    return _first(p, seen, chain(_of_integers(p, p.row), _of_floats(p), _of_axes(p)))


def changed_results(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """The first change of right results that explains what is wrong."""
    if not isinstance(p.row, Definition) or p.kind == "jacobian" or not wrong_in(seen):
        return None
    return _first(p, seen, _of_results(p, sorted(wrong_in(seen))))


def _first(p: Probe, seen: Sequence[Seen], changes: Iterator[Changed]) -> Found | None:
    first = [one for one in seen if one.wrong][:1]
    for change in changes if first else ():
        results = change.results
        if p.explained(results, first, clearly=False) and p.explained(results, seen) and p.confirmed(results, seen):
            return change.cause, f"{p.are(wrong_in(seen))} {change.says}"
    return None


# ── Arguments ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _at(p: Probe, name: str, change: Callable[[Case, Array], Array], case: Case) -> list[Array]:
    """The right results for another argument, which may be out of its domain."""
    given = {n: p.array(case, n) for n in (*p.row.arguments, "delta")}
    changed = change(case, given[name])
    if changed.shape != given[name].shape:
        raise ValueError("another shape")
    *args, delta = {**given, name: changed}.values()
    f = (lambda _, *a: (p.row.forward(*a),)) if p.kind == "forward" else p.row.vjp
    return p.by(f, Case(tuple(args), delta, ()))


def _of_integers(p: Probe, row: Definition) -> Iterator[Changed]:
    for name, said in row.integers.items():
        if said is bool:
            yield Changed("mask", f"what comes out if {name} were True everywhere: it is not looked at",
                          partial(_at, p, name, lambda case, a: np.ones_like(a)))  # fmt: skip
            yield Changed("mask", f"computed with {name} inverted", partial(_at, p, name, lambda case, a: ~a))
            continue
        of_all = f"what comes out if {name} were {{}} everywhere: its numbers take no part"
        for words, place in (("0", 0), ("the least that it may be", 1), ("the largest that it may be", 2)):
            yield Changed("integers", of_all.format(words), partial(_at, p, name, partial(_constant, p, name, place)))
        for by, end in ((1, "first after the last"), (-1, "last before the first")):
            told = f"computed with {name} {'+' if by > 0 else '−'} 1 in place of {name}: off by one"
            yield Changed("integers", told, partial(_at, p, name, partial(_plus, by)))
            around = f"{told}, the {end}"
            yield Changed("integers", around, partial(_at, p, name, partial(_next, p, name, by, False)))
            yield Changed("integers", told, partial(_at, p, name, partial(_next, p, name, by, True)))


def _range(p: Probe, name: str, case: Case) -> tuple[int, int]:
    low, high, _ = p.row.range_of(name, p.sizes(case))  # type: ignore[union-attr]
    return low, high


def _constant(p: Probe, name: str, place: int, case: Case, a: Array) -> Array:
    low, high = _range(p, name, case)
    return np.full_like(a, (0, low, high - 1)[place])


def _plus(by: int, case: Case, a: Array) -> Array:
    return a + by


def _next(p: Probe, name: str, by: int, stays: bool, case: Case, a: Array) -> Array:
    """The next integers: round to the other end, or staying in the range; those beside the range as they are."""
    low, high = _range(p, name, case)
    moved = np.clip(a + by, low, high - 1) if stays else low + (a + by - low) % (high - low)
    return np.where((a >= low) & (a < high), moved, a)


def _of_floats(p: Probe) -> Iterator[Changed]:
    for name in p.real:
        rank = len(p.row.cores[-1 if name == "delta" else p.row.arguments.index(name)])
        if not rank and name != "delta":
            yield Changed("missing-factor", f"what comes out if {name} were 1: it takes no part",
                          partial(_at, p, name, lambda case, a: np.ones_like(a)))  # fmt: skip
        for axes in _some_axes(rank):
            told = f"what comes out with {name} the other way round{_along(axes, rank)}"
            yield Changed("reordered", told, partial(_at, p, name, partial(_flipped, axes)))
        for pair in combinations(range(rank), 2):
            told = f"what comes out with axes {pair[0]} and {pair[1]} of {name} exchanged"
            yield Changed("transposed", told, partial(_at, p, name, partial(_swapped, pair)))
        for axis in range(rank):
            told = f"what comes out with the halves of {name} exchanged{_along((axis,), rank)}"
            yield Changed("reordered", told, partial(_at, p, name, partial(_halves, axis)))
            told = f"what comes out with the first of {name} in place of all{_along((axis,), rank)}"
            yield Changed("axis", told, partial(_at, p, name, partial(_first_of, axis)))
            for by in (1, -1):
                told = f"what comes out with the entries of {name} moved by one place{_along((axis,), rank)}"
                yield Changed("reordered", told, partial(_at, p, name, partial(_moved, axis, by)))


def _some_axes(rank: int) -> list[tuple[int, ...]]:
    return [some for count in range(1, rank + 1) for some in combinations(range(rank), count)]


def _along(axes: Sequence[int], rank: int) -> str:
    if rank == 1:
        return ""
    return f" along ax{'es' if len(axes) > 1 else 'is'} {', '.join(map(str, axes))}"


def _flipped(axes: tuple[int, ...], case: Case, a: Array) -> Array:
    return np.flip(a, axes)


def _swapped(pair: tuple[int, int], case: Case, a: Array) -> Array:
    return np.swapaxes(a, *pair)


def _halves(axis: int, case: Case, a: Array) -> Array:
    return _exchanged(axis, a)


def _exchanged(axis: int, a: Array) -> Array:
    if a.shape[axis] % 2:
        raise ValueError("no halves")
    return np.roll(a, a.shape[axis] // 2, axis)


def _first_of(axis: int, case: Case, a: Array) -> Array:
    return np.broadcast_to(a.take([0], axis), a.shape).copy()


def _moved(axis: int, by: int, case: Case, a: Array) -> Array:
    return np.roll(a, by, axis)


def _of_axes(p: Probe) -> Iterator[Changed]:
    """The results for transposed matrices, transposed back."""
    if any(len(core) == 2 for core in p.row.cores[:-1]):
        told = "what comes out if everything that is done along an axis were done along the other one"
        yield Changed("axis", told, partial(_turned, p))


def _turned(p: Probe, case: Case) -> list[Array]:
    def turned(a: Array) -> Array:
        return a.T if a.ndim == 2 else a

    f = (lambda _, *a: (p.row.forward(*a),)) if p.kind == "forward" else p.row.vjp
    try:
        return [turned(r) for r in p.by(f, Case(tuple(map(turned, case.args)), turned(case.delta), ()))]
    except (TypeError, RuntimeError) as error:
        raise ValueError from error


# ── Results ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of_results(p: Probe, wrong: Sequence[int]) -> Iterator[Changed]:
    """Right results that are flipped, moved, or summed along some axes."""
    rank = max(len(p.row.cores[-1 if p.kind == "forward" else i]) for i in wrong)
    for axes in _some_axes(rank):
        along = _along(axes, rank)
        over = along or " over all entries"
        for cause, says, change in (
            ("reordered", f"what is right, the other way round{along}", partial(np.flip, axis=axes)),
            ("axis", f"the sum of what is right{over}, repeated", partial(_repeated, np.sum, axes)),
            ("axis", f"the mean of what is right{over}, repeated", partial(_repeated, np.mean, axes)),
        ):
            yield Changed(cause, says, partial(_each, p, change))
    for pair in combinations(range(rank), 2):
        says = f"what is right, with axes {pair[0]} and {pair[1]} exchanged"
        yield Changed("transposed", says, partial(_each, p, partial(_with_axes, pair)))
    for axis in range(rank):
        along = _along((axis,), rank)
        yield Changed("reordered", f"what is right, with its halves exchanged{along}",
                      partial(_each, p, partial(_exchanged, axis)))  # fmt: skip
        for by in (1, -1):
            says = f"what is right, moved by one place{along}"
            yield Changed("reordered", says, partial(_each, p, partial(np.roll, shift=by, axis=axis)))

    for name in p.real:
        for words, times in (("times", True), ("divided by", False)):
            yield Changed("factor", f"what is right {words} {name}", partial(_by_argument, p, name, times))


def _with_axes(pair: tuple[int, int], t: Array) -> Array:
    return np.swapaxes(t, *pair)


def _by_argument(p: Probe, name: str, times: bool, case: Case) -> list[Array]:
    a = p.array(case, name).astype(np.float64)
    with np.errstate(all="ignore"):
        pairs = ((t, a if a.shape in ((), t.shape) else np.float64(1)) for t in p.truth(case))
        return [np.asarray(t * by if times else t / by) for t, by in pairs]


def _each(p: Probe, change: Callable[[Array], Array], case: Case) -> list[Array]:
    try:
        return [change(t) if t.size else t for t in p.truth(case)]
    except (IndexError, ValueError):  # another result has fewer axes, or an odd number of entries
        return [_or_itself(change, t) for t in p.truth(case)]


def _or_itself(change: Callable[[Array], Array], t: Array) -> Array:
    try:
        return change(t)
    except (IndexError, ValueError):
        return t


def _repeated(f: Callable[..., Array], axes: tuple[int, ...], t: Array) -> Array:
    return np.broadcast_to(f(t, axis=axes, keepdims=True), t.shape)
