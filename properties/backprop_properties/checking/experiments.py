"""Where is a function right, and where wrong? Experiments whose outcome tells a cause that no formula tells."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import ml_dtypes
import numpy as np

from ..inputs import Array, Case
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
    return "cotangent-ignored", (
        f"{p.listed(list(wrong))} comes out the same for delta and for -2 delta: the cotangent takes no part"
    )


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
            names = p.listed(list({i for case in cases for i in p.wrong(case) or ()}))
            is_mean = "a mean is taken for a sum" if power < 0 else "a sum is taken for a mean"
            return "factor-n", f"{names} is {word} what is right at every size: {is_mean}, or a factor is forgotten"
    return None


def targets(p: Probe, _: Sequence[Case]) -> Found | None:
    """Right for targets that sum to 1, or for one-hot ones?"""
    if "y" not in p.row.arguments or p.row.arguments[-1] != "y" or "y" in p.domain.kinds:
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
        return "one-hot-only", "right where y is one-hot, wrong for any other target, even if it sums to 1"
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
                f"{p.listed(list(told))} is computed in {name}, or from numbers rounded to it: {why}",
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


def only_one(p: Probe, _: Sequence[Case]) -> Found | None:
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
            return "only-n-1", f"right only for {letter} = 1: at every larger size something of the others is missing"
    return None


# ── Wrong here and there ────────────────────────────────────────────────────────────────────────────────────────────


def wrong_at_one(p: Probe) -> Found | None:
    """Wrong at size 1 and right at every other."""
    for letter in p.letters:
        ones = [p.case(p.unequal(k) | {letter: 1}, k) for k in range(4)]
        if all(p.sizes(case)[letter] == 1 and not p.right(case) for case in ones):
            return "only-n-1", f"wrong only for {letter} = 1: at every larger size it is right"
    return None


SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 96, 100, 127, 128, 129, 192, 255, 256,
         257, 384, 500, 511, 512, 513, 768, 1000, 1023, 1024, 1025, 1536, 2047, 2048, 2049, 3072, 4097)  # fmt: skip


def tile(p: Probe) -> Found | None:
    """Right at the multiples of a size, and past it nowhere else; or right up to a size."""
    most = 129 if p.kind == "jacobian" else SIZES[-1]
    for letter in p.letters:
        sizes = [n for n in SIZES if n <= most and p.domain.allows(p.unequal(0) | {letter: n})]
        wrong = [n for n in sizes if not _right_at(p, letter, n)]
        if len(wrong) < 2 or len(wrong) == len(sizes):
            continue
        for t in (n for n in sizes if 1 < n <= most // 2):
            beyond = [n for n in sizes if n > t]
            if wrong == [n for n in beyond if n % t] and any(n % t == 0 for n in beyond):
                says = f"right at multiples of {t} and up to {t}, wrong at every other {letter}"
                return "tile-tail", f"{says}: what is past the last full tile of {t} is lost"
            if wrong == [n for n in sizes if n % t]:
                return "tile-tail", f"right only at multiples of {t}, of all {letter}: the tail of a tile is lost"
        if wrong == [n for n in sizes if n >= wrong[0]] and wrong[0] > 2:
            right = max(n for n in sizes if n < wrong[0])
            bad = wrong[0]
            while bad - right > 1:
                middle = (bad + right) // 2
                right, bad = (middle, bad) if _right_at(p, letter, middle) else (right, middle)
            return (
                "tile-tail",
                f"right up to {letter} = {right} and wrong at every larger size: only the first tile counts",
            )
    return None


def _right_at(p: Probe, letter: str, n: int) -> bool:
    """At numbers of both signs, and where nothing is negative, so that no rectifier hides a tail."""
    case = p.case({letter: n}, n)
    positive = {name: np.abs(a) for name, a in zip(p.row.arguments, case.args, strict=True)}
    return p.right(case) and p.right(p.at(case, **positive))


def overflow(p: Probe, failing: Case) -> Found | None:
    """Right as long as numbers are below some size, infinite or not a number above it."""
    ordinary = p.ordinary()[0]
    tens = {name: a * a.dtype.type(1e4) for name, a in zip(p.row.arguments, ordinary.args, strict=True)}
    plain = p.at(failing, delta=np.ones_like(failing.delta))
    for far in (plain, failing, p.at(ordinary, **tens)):
        found = _bisected(p, far)
        if found:
            return found
    return None


def _bisected(p: Probe, far: Case) -> Found | None:
    if p.broken(far) is None or not p.broken(far):
        return None
    finite = [np.abs(a[np.isfinite(a)]).max(initial=0) for a in far.args]
    largest = float(max(finite))
    if not largest > 1:
        return None

    def shrunk(t: float) -> Case:
        args = tuple(np.asarray(a.astype(np.float64) * t, a.dtype) for a in far.args)
        return p.at(far, **dict(zip(p.row.arguments, args, strict=True)))

    low, high = np.log(1 / largest), 0.0
    if p.wrong(shrunk(np.exp(low))) != {}:
        return None
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if p.broken(shrunk(np.exp(middle))) else (middle, high)
    below = [low - step for step in (1e-4, 0.01, 0.1, 0.5) if largest * np.exp(low - step) > 0.1]
    if not all(p.right(shrunk(np.exp(t))) for t in below) or not p.broken(shrunk(np.exp(high))):
        return None
    name = p.row.arguments[int(np.argmax(finite))]
    bad = p.listed(list(p.broken(shrunk(np.exp(high))) or ()))
    return "overflow", (
        f"right while the numbers in {name} are below {largest * np.exp(high):.5g}, past it {bad} is infinite or not a "
        f"number: something on the way to it leaves the range of {p.dtype.name}"
    )


def kink(p: Probe, breaks: Callable[[Case], bool]) -> Found | None:
    """Wrong at the bend of a rectifier, right as close to it as can be."""
    if "relu" not in p.row.name:
        return None
    tiny = float(ml_dtypes.finfo(p.dtype).smallest_normal) * 4
    at, near = [], []
    for case in p.ordinary():
        for bias, cases in ((0.0, at), (tiny, near), (-tiny, near)):
            cases.append(p.at(case, **_bent(p, case, bias)))
    if all(breaks(case) for case in at) and not any(breaks(case) for case in near):
        return (
            "kink",
            f"wrong where the argument of {_rectifier(p)} is exactly 0, right at ±{tiny:.2g}: the slope at the kink",
        )
    return None


def _rectifier(p: Probe) -> str:
    return "leaky_relu" if "leaky_relu" in p.row.name else "relu"


def _bent(p: Probe, case: Case, bias: float) -> dict[str, Array]:
    """The first entry of what goes into the first rectifier set to a number."""
    changed = {}
    for name, a in zip(p.row.arguments, case.args, strict=True):
        if name in ("W", "W1", "b", "b1") or (name == "x" and len(p.row.arguments) == 1):
            a = a.copy()
            a[0] = 0 if name[0] == "W" else bias
            changed[name] = a
    return changed


def batch_mean(p: Probe) -> Found | None:
    """Gradients divided by the number of examples, at every such number."""
    if p.kind != "vjp":
        return None
    told: set[int] = set()
    for count in (2, 3, 5):
        cases = [p.case({}, k) for k in range(count)]
        data = [name[0] not in "Wbw" for name in p.row.arguments]
        first = cases[0].args
        args = tuple(np.stack([c.args[i] for c in cases]) if own else first[i] for i, own in enumerate(data))
        batch = replace(cases[0], args=args, delta=np.stack([c.delta for c in cases]))
        if not p.explained(lambda batch, count=count: [t / count for t in p.truth(batch)], [batch]):
            return None
        told |= set(p.wrong(batch) or ())
    return "batch-mean", (
        f"of a batch of examples, {p.listed(list(told))} is divided by their number: gradients of parameters add up, "
        "and those of an example are its own"
    )
