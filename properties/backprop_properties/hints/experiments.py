"""Experiments on a function that is wrong at all ordinary cases, for causes that no wrong formula stands for."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations, product
from typing import Any

import ml_dtypes
import numpy as np

from backprop_oracle.definition import Definition

from ..cases.case import Array, Case
from .probe import Probe, Seen, wrong_in
from .state import Found


def cotangent_last(p: Probe) -> Found | None:
    """Right if it is called with the cotangent after the arguments."""
    if "delta" not in p.varied or all((one := p.see(case)) and one.wrong and _unmoved(p, one) for case in p.ordinary()):
        return None
    implementation: Any = p.implementation
    turned = replace(implementation, vjp=lambda delta, *args: implementation.vjp(*args, delta))
    q, cases = Probe(p.domain, turned, p.kind, p.dtype, p.until), p.ordinary()
    if any(map(p.right, cases)) or not all(map(q.right, cases)):
        return None
    names = ", ".join(p.row.arguments)
    return "exchanged", f"right when called as vjp({names}, delta): here the cotangent comes first, vjp(delta, {names})"


def cotangent_takes_no_part(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """The wrong results are the same for every cotangent."""
    if "delta" not in p.varied or not all(_unmoved(p, one) for one in seen):
        return None
    return "cotangent-ignored", f"{p.are(wrong_in(seen))} the same for delta and -2 delta: the cotangent takes no part"


def _unmoved(p: Probe, one: Seen) -> bool:
    """Whether what is wrong is the same for another cotangent."""
    double = p.ask(p.at(one.case, delta=one.case.delta * one.case.dtype.type(-2)))
    return double is not None and all(_same(one.got[i], double[i]) and np.any(one.got[i]) for i in one.wrong)


def _same(a: Array | None, b: Array | None) -> bool:
    return a is not None and b is not None and np.array_equal(a, b)


def factor(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """The wrong results are the right ones times or divided by a size, or the product of two, or half or twice that."""
    products = [(letter,) for letter in p.letters] + list(combinations(p.letters, 2))
    for letters, (power, c) in product(products, ((-1, 1), (1, 1), (1, 0.5), (-1, 2))):

        def scaled(case: Case, letters: Sequence[str] = letters, power: int = power, c: float = c) -> list[Array]:
            n = float(np.prod([p.sizes(case)[letter] for letter in letters]))
            return [c * n**power * t for t in p.truth(case)]

        if p.explained(scaled, seen):
            n = "·".join(letters) if len(letters) == 1 or power > 0 else f"({'·'.join(letters)})"
            by, why = (f"{c}/{n}", "a mean is taken for a sum") if power < 0 else (n, "a sum is taken for a mean")
            if c == 0.5:
                by, why = f"{n}/2", f"the factor 2/{n if len(letters) == 1 else f'({n})'} is missing"
            return "factor-n", f"{p.are(wrong_in(seen))} {by} times what is right, at every size: {why}"
    return None


def targets(p: Probe) -> Found | None:
    """Right for targets that sum to 1, or for one-hot ones?"""
    if p.domain.kinds.get("y") != "target":
        return None
    cases = [case for case in p.ordinary() if case.args[-1].size > 1]

    def all_right(change: Callable[[Array, int], Array]) -> list[bool]:
        return [p.right(p.at(case, y=change(case.args[-1], k))) for k, case in enumerate(cases)]

    def one_hot(y: Array, k: int) -> Array:
        return np.asarray(np.arange(y.size) == (3 * k + 1) % y.size, y.dtype)

    def to_one(y: Array) -> Array:
        return np.asarray(y - (y.sum() - 1) / y.dtype.type(y.size), y.dtype)

    def exactly(y: Array) -> Array:
        """Multiples of 1/64 that sum to 1, so that rounding has no part in it."""
        z = np.rint(y.astype(np.float64) * 16) / 64
        z[0] += 1 - z.sum()
        return np.asarray(z, y.dtype)

    positive = [lambda y, k: np.abs(y) + y.dtype.type(0.5), lambda y, k: 2 * exactly(np.abs(y))]
    if not cases or any(map(any, map(all_right, positive))):
        return None
    if all(all_right(lambda y, k: exactly(to_one(y)))) and all(all_right(one_hot)):
        return "sum-y-is-one", "right where y sums to 1, wrong where it does not: sum(y) = 1 is taken for granted"
    dense = all_right(lambda y, k: np.asarray((np.abs(y) + 0.1) / (np.abs(y) + 0.1).sum(), y.dtype))
    if all(all_right(one_hot)) and not any(dense):
        return "one-hot-only", "right where y is one-hot, wrong for other targets, even if they sum to 1"
    return None


FORMATS = (("float16", np.dtype(np.float16)), ("bfloat16", np.dtype(ml_dtypes.bfloat16)),
           ("float32", np.dtype(np.float32)))  # fmt: skip


def shorter_than(eps: float) -> list[tuple[str, Any]]:
    return [(name, dtype) for name, dtype in FORMATS if float(ml_dtypes.finfo(dtype).eps) > 8 * eps]


def rounded(a: Array, dtype: Any) -> Array:
    return np.asarray(a.astype(dtype).astype(a.dtype))


def shorter_format(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """The wrong results have the digits of a shorter format only, or depend on those of the arguments only."""
    for name, dtype in shorter_than(p.eps):
        eps, blind, coarse = float(ml_dtypes.finfo(dtype).eps), True, True
        for one in seen:
            args = tuple(a if a.dtype.kind in "iub" else rounded(a, dtype) for a in one.case.args)
            short = p.ask(replace(one.case, args=args, delta=rounded(one.case.delta, dtype)))
            for i in one.wrong:
                near, got = _near(p, one, i, eps), np.asarray(one.got[i])
                blind &= near and short is not None and _same(got, short[i])
                coarse &= near and np.array_equal(got, rounded(got, dtype))
        if blind or coarse:
            why = "it has no digit beyond" if coarse else "it stays the same, to the bit, for arguments rounded to"
            return "lower-precision", f"{p.are(wrong_in(seen))} computed in {name} or from {name} numbers: {why} {name}"
    return None


def one_argument_rounded(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """The wrong results depend on the digits that one argument has in a shorter format, not on the others."""
    for (name, dtype), argument in product(shorter_than(p.eps), p.real):
        short = partial(p.changed, name=argument, change=partial(rounded, dtype=dtype))
        halved = partial(p.changed, name=argument, change=lambda a: a / a.dtype.type(2))
        eps = float(ml_dtypes.finfo(dtype).eps)
        blind = all(_blind(p, one, short(one.case), halved(one.case), eps) for one in seen)
        if blind or p.explained(lambda case, short=short: p.truth(short(case)), seen, clearly=False):
            return "lower-precision", f"{p.are(wrong_in(seen))} computed as if {argument} had the digits of {name} only"
    return None


def _blind(p: Probe, one: Seen, short: Case, other: Case, eps: float) -> bool:
    """Whether the wrong results are nearly right and, though they should change, have the same bits at `short`.

    They must differ at `other`, so that they do depend on the argument.
    """
    again, changed = p.ask(short), p.ask(other)
    if again is None or changed is None:
        return False
    must = p.apart(one.case, list(one.truth), p.truth(short))
    blind = all(i in must and _same(one.got[i], again[i]) and _near(p, one, i, eps) for i in one.wrong)
    return blind and not any(_same(one.got[i], changed[i]) for i in one.wrong)


def _near(p: Probe, one: Seen, i: int, eps: float) -> bool:
    got, truth = one.got[i], one.truth[i]
    if got is None or got.shape != truth.shape:
        return False
    return bool(np.all(np.abs(got - truth) <= 16 * eps * one.sizes[i]))


def single_entry(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """One entry of one result is wrong at every size that has it, and nothing else is."""
    if p.kind == "forward" and not seen[0].case.delta.ndim:
        return _entry_left_out(p, [one.case for one in seen]) if all(one.wrong for one in seen) else None
    masks = [mask for one in seen for mask in one.wrong.values()]
    if len(wrong_in(seen)) != 1 or any(m.sum() != 1 or not m.ndim for m in masks) or len({m.shape for m in masks}) < 3:
        return None
    (i,) = wrong_in(seen)
    places = [tuple(int(k) for k in np.argwhere(mask)[0]) for mask in masks]
    index = []
    for axis in range(masks[0].ndim):
        starts = {at[axis] for at in places}
        ends = {at[axis] - mask.shape[axis] for at, mask in zip(places, masks, strict=True)}
        if len(starts) > 1 and len(ends) > 1:
            return None
        index.append(min(starts) if len(starts) == 1 else min(ends))
    shapes = [one.truth[i].shape for one in seen if not one.wrong]
    if any(all(-n <= k < n for k, n in zip(index, shape, strict=True)) for shape in shapes):
        return None
    if not all(_alone(p, i, index, by) for by in (2, 3, 5)):
        return None
    return "single-element", f"{p.names[i]}{index} alone is wrong, of all entries and at every size that has it"


def single_slice(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """Of one result the entries at one index of an axis are wrong at every size, and no others are."""
    masks = [mask for one in seen for mask in one.wrong.values()]
    if len(wrong_in(seen)) != 1 or not all(one.wrong for one in seen) or masks[0].ndim < 2:
        return None
    (i,) = wrong_in(seen)
    for axis, k in product(range(masks[0].ndim), (0, -1, 1, -2)):
        wanted = [np.arange(m.shape[axis]) == k % m.shape[axis] for m in masks]
        lines = [np.moveaxis(m, axis, -1) for m in masks]
        if all(m.shape[axis] > 2 for m in masks) and all(
            not line[..., ~w].any() and line[..., w].any() for line, w in zip(lines, wanted, strict=True)
        ):
            index = ", ".join(str(k) if other == axis else ":" for other in range(masks[0].ndim))
            return "single-element", f"{p.names[i]}[{index}] alone is wrong, at every size"
    return None


def _alone(p: Probe, i: int, index: Sequence[int], by: int) -> bool:
    """Whether an entry is the only wrong one in arrays about `by` times as large, too."""
    letters = p.row.cores[-1 if p.kind == "forward" else i]
    one = p.see(p.case({letter: by * (abs(k) + 2) for letter, k in zip(letters, index, strict=True)}, by))
    return one is not None and all(mask.sum() == 1 and mask[tuple(index)] for mask in one.wrong.values())


def _entry_left_out(p: Probe, cases: Sequence[Case]) -> Found | None:
    """A scalar result is right if the first or last entry of an argument is 0: that entry is left out."""
    for name, (k, word) in product(p.row.arguments, ((0, "first"), (-1, "last"))):
        without = partial(p.changed, name=name, change=partial(_without, k))
        if p.array(cases[0], name).ndim == 1 and all(p.right(without(case)) for case in cases):
            return "single-element", f"right where the {word} entry of {name} is 0, wrong where not: it is left out"
    return None


def _without(k: int, a: Array) -> Array:
    a = a.copy()
    a[k] = 0
    return a


def only_one(p: Probe) -> Found | None:
    """Right if a size is 1, and wrong at every other size; of a definition that need not mean anything."""
    if isinstance(p.row, Definition):
        return None
    for letter in p.letters:
        ones = (p.case(p.unequal(k) | {letter: 1}, k) for k in range(24))
        if not all(p.sizes(case)[letter] == 1 and p.right(case) for case in ones):
            continue
        more = [p.see(p.case(p.unequal(k) | {letter: n}, k)) for k, n in enumerate((2, 3, 4, 5) * 2)]
        told = wrong_in([one for one in more if one])
        if all(one is None or one.wrong for one in more) and not p.trivial(letter, told):
            return "only-n-1", f"right for {letter} = 1 and wrong at every larger size: look at what is done along it"
    return None
