"""A function is wrong at all ordinary cases: experiments whose outcome tells a cause that no formula tells."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import ml_dtypes
import numpy as np

from ..inputs import Array, Case
from .candidates import LOSSES
from .memory import Found
from .probe import Probe

# ── Always wrong ────────────────────────────────────────────────────────────────────────────────────────────────────


def cotangent_takes_no_part(p: Probe, cases: Sequence[Case]) -> Found | None:
    """The same results for every cotangent."""
    if p.kind != "vjp" or p.ones:
        return None
    wrong: set[int] = set()
    for case in cases:
        got, double = p.ask(case), p.ask(p.at(case, delta=case.delta * case.dtype.type(-2)))
        if got is None or double is None:
            return None
        off = p.apart(case, got, p.truth(case))
        if not all(np.array_equal(np.asarray(got[i]), np.asarray(double[i])) and np.any(got[i]) for i in off):
            return None
        wrong |= set(off)
    return "cotangent-ignored", (f"{p.are(wrong)} the same for delta and for -2 delta: the cotangent takes no part")


def factor(p: Probe, cases: Sequence[Case]) -> Found | None:
    """A size too much, or too little, as a factor."""
    words = [(f"{letter} times", (letter,), 1) for letter in p.letters]
    words += [(f"1/{letter} of", (letter,), -1) for letter in p.letters]
    pairs = [(a, b) for i, a in enumerate(p.letters) for b in p.letters[i + 1 :]]
    words += [(f"1/({a}·{b}) of", (a, b), -1) for a, b in pairs] + [(f"{a}·{b} times", (a, b), 1) for a, b in pairs]
    right = p.truth
    for word, letters, power in words:

        def scaled(case: Case, letters: Sequence[str] = letters, power: int = power) -> list[Array]:
            n = float(np.prod([p.sizes(case)[letter] for letter in letters])) ** power
            return [n * t for t in right(case)]

        if p.explained(scaled, cases):
            wrong = {i for case in cases for i in p.wrong(case) or ()}
            is_mean = "a mean is taken for a sum" if power < 0 else "a sum is taken for a mean"
            return "factor-n", f"{p.are(wrong)} {word} what is right at every size: {is_mean}, or a factor is forgotten"
    return None


def targets(p: Probe) -> Found | None:
    """Right for targets that sum to 1, or for one-hot ones?"""
    if p.row.name.partition("[")[0] not in LOSSES or p.domain.kinds["y"] != "target":
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


def shorter_format(p: Probe, cases: Sequence[Case]) -> Found | None:
    """Digits that no result depends on, or that no result has, in a format shorter than the dtype."""
    for name, dtype in (("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16), ("float32", np.float32)):
        eps = float(ml_dtypes.finfo(dtype).eps)
        if eps < 8 * p.eps:
            continue

        def rounded(a: Array, dtype: object = dtype) -> Array:
            return np.asarray(a.astype(dtype).astype(a.dtype))

        nearly = blind = coarse = True
        told: set[int] = set()
        for case in cases:
            got = p.ask(case)
            short = p.ask(replace(case, args=tuple(map(rounded, case.args)), delta=rounded(case.delta)))
            if got is None or short is None:
                return None
            truth = p.truth(case)
            for i in p.apart(case, got, truth):
                r, s = np.asarray(got[i]), np.asarray(short[i])
                if r.shape != truth[i].shape:
                    return None
                told.add(i)
                nearly &= bool(np.all(np.abs(r - truth[i]) <= 64 * eps * p.size(case, truth[i])))
                blind &= np.array_equal(r, s)
                coarse &= np.array_equal(r, r.astype(dtype).astype(np.float64))
        if told and nearly and (blind or coarse):
            why = (
                f"rounding the arguments to {name} changes no bit of it" if blind else f"it has no digit beyond {name}"
            )
            return (
                "lower-precision",
                f"{p.are(told)} computed in {name}, or from numbers rounded to it: {why}",
            )
    return None


def one_argument_rounded(p: Probe, cases: Sequence[Case]) -> Found | None:
    """One argument of which the digits beyond a shorter format count for nothing."""
    for name, dtype in (("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16), ("float32", np.float32)):
        if float(ml_dtypes.finfo(dtype).eps) < 8 * p.eps:
            continue
        for argument in (*p.row.arguments, *["delta"] * (p.kind == "vjp" and not p.ones)):

            def short(case: Case, argument: str = argument, dtype: object = dtype) -> Case:
                a = case.delta if argument == "delta" else case.args[p.row.arguments.index(argument)]
                return p.at(case, **{argument: np.asarray(a.astype(dtype).astype(a.dtype))})

            if p.explained(lambda case, short=short: p.truth(short(case)), cases, clearly=False):
                return (
                    "lower-precision",
                    f"{argument} is rounded to {name}: the results are right for the rounded numbers",
                )
    return None


def single_entry(p: Probe, cases: Sequence[Case]) -> Found | None:
    """The same entry of the same result at every size, and nothing else."""
    if p.kind == "forward" and not cases[0].delta.ndim:
        return _entry_left_out(p, cases)
    masks = [(case, p.wrong(case)) for case in cases]
    if any(wrong is None or len(wrong) > 1 or any(m.sum() != 1 for m in wrong.values()) for _, wrong in masks):
        return None
    found = [(i, m.shape, [int(k) for k in np.argwhere(m)[0]]) for _, w in masks if w for i, m in w.items()]
    if len(found) < 3 or len({i for i, _, _ in found}) > 1 or not found[0][1]:
        return None
    if len({shape for _, shape, _ in found}) < 3:
        return None
    index = []
    for axis in range(len(found[0][1])):
        starts = {at[axis] for _, _, at in found}
        ends = {at[axis] - shape[axis] for _, shape, at in found}
        if len(starts) > 1 and len(ends) > 1:
            return None
        index.append(starts.pop() if len(starts) == 1 else ends.pop())
    i = found[0][0]
    for case, wrong in masks:  # where there is such an entry, it is wrong
        shape = p.truth(case)[i].shape
        if not wrong and all(-n <= k < n for k, n in zip(index, shape, strict=True)):
            return None
    where = f"[{', '.join(map(str, index))}]"
    return "single-element", f"of all entries {p.names[i]}{where} alone is wrong, at every size that has it"


def _entry_left_out(p: Probe, cases: Sequence[Case]) -> Found | None:
    """A number that comes out right as soon as one entry of an argument is 0."""
    for j, name in enumerate(p.row.arguments):
        for k, word in ((0, "first"), (-1, "last")):
            if not any(case.args[j].ndim == 1 for case in cases) or any(p.right(case) for case in cases):
                continue
            if all(p.right(_without(p, case, j, k)) for case in cases):
                return "single-element", f"right where the {word} entry of {name} is 0, wrong where not: it is left out"
    return None


def _without(p: Probe, case: Case, j: int, k: int) -> Case:
    a = case.args[j].copy()
    a[k] = 0
    return p.at(case, **{p.row.arguments[j]: a})


def only_one(p: Probe) -> Found | None:
    """Right at size 1 and wrong at every other."""
    for letter in p.letters:
        ones = [p.case(p.unequal(k) | {letter: 1}, k) for k in range(24)]
        if any(p.sizes(case)[letter] != 1 for case in ones) or not all(map(p.right, ones)):
            continue
        more = [p.case(p.unequal(k) | {letter: n}, k) for k, n in enumerate((2, 3, 4, 5, 2, 3, 4, 5))]
        wrong = [p.wrong(case) for case in more]
        told = {i for w in wrong if w for i in w}
        trivial = all(
            not np.any(np.abs(t) > 8 * p.eps) for case in ones for i, t in enumerate(p.truth(case)) if i in told
        )
        if all(w is None or w for w in wrong) and not trivial and (told or p.kind == "forward"):
            return (
                "only-n-1",
                f"right for {letter} = 1 and wrong at every larger size: look at what is done along it",
            )
    return None
