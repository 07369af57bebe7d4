"""What a NaN, a shift and a mask do to results, whatever the numbers are."""

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from backprop_oracle.definition import Definition
from backprop_oracle.rounding import Answer

from .claims import Array, Close, Holds
from .points import Claims, Point, in_turn, of_its_shape, turn_of


def nan_in_nan_out(p: Point) -> Claims:
    """A NaN in an argument or in the cotangent is a NaN in every result that depends on it.

    Careful frameworks differ on the slope at NaN of a function with two branches, since NaN belongs to neither. And
    where a formula of theirs multiplies a NaN by a zero that is only padding, another does not: of a definition, what
    stays the same when another number stands in the NaN's place does not depend on it.
    """
    names = ("delta", *p.operation.arguments)
    arrays = [p.delta, *p.args]
    free = [i for i, a in enumerate(arrays) if a.size and names[i] not in p.numbers]
    if not free:
        return
    turn = turn_of(p)
    other = free[turn // 2 % len(free)]  # one array has it in its middle or at its end, too
    spoiled, moved = [], []
    for i, at in [*((i, 0) for i in in_turn(p, free)), (other, (arrays[other].size // 2, -1)[turn % 2])]:
        points, others = [p.delta, *p.args], [p.delta, *p.args]
        points[i].flat[at], others[i].flat[at] = np.nan, _beyond_all(arrays[i], 1 if turn // 4 % 2 else -1)
        spoiled.append((i, at, points))
        moved.append((others[0], others[1:]))
    said_of = p.ask(*((a[0], a[1:]) for _, _, a in spoiled))
    others_of = p.ask(*moved) if isinstance(p.operation, Definition) else [None] * len(spoiled)
    for (i, place, called), said, elsewhere in zip(spoiled, said_of, others_of, strict=True):
        delta, *args = called
        where = f"the {({0: 'first', -1: 'last'}).get(place, 'middle')} entry of {names[i]}"
        if p.forward:
            after = elsewhere and elsewhere.forward
            yield _nan("u", where, p.forward(*args), said.forward, p.said.forward, after, careful=False, at=called)
        if p.vjp and not (i and p.careful and p.operation.kinked):
            for name, d, k in p.named("d", p.vjp(delta, *args)):
                after = elsewhere and elsewhere.vjp[k]
                yield of_its_shape(p, name, d, k)
                yield _nan(name, where, d, said.vjp[k], p.said.vjp[k], after, careful=p.careful, at=called)


def _beyond_all(a: Array, sign: int) -> float:
    """A number above all of an array, or below: it is what a maximum depends on."""
    sizes = np.abs(a.astype(np.float64))
    return sign * min(1 + float(sizes[np.isfinite(sizes)].max(initial=0.0)), float(ml_dtypes.finfo(a.dtype).max) ** 0.5)


def _nan(
    name: str,
    spoiled: str,
    actual: Any,
    expected: Answer,
    before: Answer,
    moved: Answer | None,
    *,
    careful: bool,
    at: Sequence[Array],
) -> Holds:
    """The result is NaN where JAX's is, if JAX's was a number before the NaN was planted, and another one when it was
    moved.

    A careful implementation is held to that where the result was clearly not 0: it may choose a slope of 0, and not
    multiply by it.
    """
    judged = np.isfinite(before.bound) & ((np.abs(before.value) > before.bound) | (not careful))
    if moved is not None:
        with np.errstate(invalid="ignore"):
            judged &= ~(np.abs(moved.value - before.value) <= before.bound + moved.bound)
    got = np.asarray(actual, np.float64)
    lost = np.isnan(expected.value) & judged & ~np.isnan(got)
    if not lost.any():
        return Holds(name, True, "")  # texts are slow to make
    index = tuple(int(i) for i in np.argwhere(lost)[0])
    entry = f"{name}{list(index) if index else ''} = {float(np.broadcast_to(got, lost.shape)[index])!r}"
    return Holds(name, False, f"{name} hides a NaN: {spoiled} is NaN, {entry}, expected nan", [at])


def softmax_ignores_a_shift(p: Point) -> Claims:
    """`s(x + c) = s(x)`, where `x + c` is exact; and the vjp of a softmax sums to zero."""
    if p.operation.promise == "softmax" and p.eps < 1e-6:
        reach, by = (15, [-15, 1, 8]) if p.moderate else (500, [-1000, 1, 512])
        x = (np.round(np.clip(p.args[0], -reach, reach) * 512) / 512).astype(p.case.dtype)
        if p.operation.arguments[0] in p.numbers:  # where a shift would leave them
            x, by = p.args[0], []
        shifts = {c: x + p.case.dtype.type(c) for c in by}
        said, *others = p.ask(*((p.delta, [a]) for a in (x, *shifts.values())))
        for (c, shifted), other in zip(shifts.items(), others, strict=True):
            if p.forward:
                yield Close(f"u of x + {c}", p.forward(shifted), said.forward.value, other.forward.bound)
        if p.vjp:
            (dx,) = p.vjp(p.delta, x)
            with np.errstate(invalid="ignore", over="ignore"):
                yield Close("sum(dx)", np.asarray(dx, np.float64).sum(), 0.0, said.vjp[0].bound.sum())


def masks_count_for_nothing(p: Point) -> Claims:
    """A logit of −inf has probability 0 and gradient 0, and the others are what they are without it."""
    if not p.operation.masks or p.case.args[0].size < 2:
        return
    x, *rest = p.args
    x, last = np.clip(x, -500, 500), x.size - 1
    x[last] = x[:last].max() - 3000  # far enough for exp to give 0, in every dtype
    for y in rest:
        y[last] = 0
    (said,) = p.ask((p.delta, [x, *rest]))
    x[last] = -np.inf
    if p.forward:
        yield Close("u with a mask", p.forward(x, *rest), *said.forward)
    if p.vjp:
        yield Close("dx with a mask", p.vjp(p.delta, x, *rest)[0], *said.vjp[0])


def infinities_give_what_the_definition_gives(p: Point) -> Claims:
    """An infinity among the numbers of an argument gives what the definition gives there, a number or an infinity.

    Nothing is claimed where that is NaN, as of `∞ − ∞`; where it is not sure, as of `0 · ∞` if rounding has made the 0;
    and of a vjp where the value is not sure.
    """
    arrays, turn, kinds = [p.delta, *p.args], turn_of(p), p.operation.domain
    end = float(ml_dtypes.finfo(p.case.dtype).max) ** 0.5  # near which partial sums overflow, and meet the infinity
    if "infinities" not in p.promises or any(np.any(np.abs(a) > end) for a in arrays):
        return
    named = [*enumerate(p.operation.arguments, 1)]
    free = [i for i, name in named if arrays[i].size and name not in p.numbers and kinds.get(name) != "target"]
    large = float(ml_dtypes.finfo(p.case.dtype).max) ** 0.25  # whose square is in range, and its product with others
    called, beside, chosen = list[list[Array]](), list[list[Array]](), in_turn(p, free)
    for k, i in enumerate(chosen):
        sign, at = (1, -1)[(turn + k) % 2], turn // 2 % arrays[i].size
        for points, number in ((called, np.inf), (beside, large)):
            points.append([p.delta, *p.args])
            points[-1][i].flat[at] = sign * number
    if not chosen:
        return
    said_of, near_to = (p.ask(*((a[0], a[1:]) for a in points)) for points in (called, beside))
    for i, (delta, *args), said, near in zip(chosen, called, said_of, near_to, strict=True):
        where = f"where {p.operation.arguments[i - 1]} has an infinity"
        u, sure = _at_infinity(said.forward, near.forward, p.said.forward, large)
        if p.forward:
            yield Close(f"u {where}", p.forward(*args), u, sure, [[delta, *args]])
        if p.vjp and np.isfinite(sure).all() and not np.isnan(u).any():
            for name, d, k in p.named("d", p.vjp(delta, *args)):
                expected = _at_infinity(said.vjp[k], near.vjp[k], p.said.vjp[k], large)
                yield Close(f"{name} {where}", d, *expected, [[delta, *args]])


def _at_infinity(said: Answer, near: Answer, before: Answer, large: float) -> Answer:
    """What the definition gives there, and a bound: 0 for an infinity that comes nearer with a `large` number."""
    with np.errstate(invalid="ignore"):
        grown = np.maximum(2 * near.bound, large**0.5 * np.maximum(np.abs(before.value), 1))
        grows = np.sign(said.value) * near.value > grown
    return Answer(said.value, np.where(np.isinf(said.value) & grows, 0.0, said.bound))
