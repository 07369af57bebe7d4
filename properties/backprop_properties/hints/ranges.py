"""A function is right at ordinary cases: at which sizes, magnitudes and points is it wrong?"""

from collections.abc import Callable
from dataclasses import replace

import ml_dtypes
import numpy as np

from backprop_oracle.definition import Definition

from ..cases.case import Case
from .probe import Probe
from .state import Found

# ── Sizes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


FEW = 64  # entries that are looked at one by one


def wrong_at_one(p: Probe, failing: Case, breaks: Callable[[Case], bool]) -> Found | None:
    """Wrong at size 1 and right at every other, at numbers of ordinary size and at larger ones."""
    larger = [p.scaled(case, 16) for case in p.ordinary()]
    for letter in p.letters:
        if p.sizes(failing)[letter] != 1:
            continue
        ones = [p.case(p.unequal(k) | {letter: 1}, k) for k in range(4)]
        if all(p.sizes(case)[letter] == 1 and not p.right(case) for case in ones) and not any(map(breaks, larger)):
            return "only-n-1", f"wrong only for {letter} = 1: at every larger size it is right"
    return None


def constant_integers(p: Probe) -> Found | None:
    """Wrong where all integers of an argument are the least or the largest that they may be, and right elsewhere."""
    if not isinstance(p.row, Definition):
        return None
    for name, said in p.row.integers.items():
        varied = [case for case in p.ordinary() if np.ptp(p.array(case, name).astype(int))]
        if len(varied) < 3 or not all(map(p.right, varied)):
            continue
        for end in (0, -1):
            seen = [p.see(_with_constant(p, case, name, end)) for case in varied]
            if all(one and one.wrong for one in seen):
                low, high, _ = p.row.range_of(name, p.sizes(varied[0]))
                words = str(bool((low, high - 1)[end])) if said is bool else "the " + ("least", "largest")[end]
                return "integers", f"wrong only where {name} is {words} everywhere, right where it varies"
    return None


def _with_constant(p: Probe, case: Case, name: str, end: int) -> Case:
    assert isinstance(p.row, Definition)
    low, high, _ = p.row.range_of(name, p.sizes(case))
    return p.changed(case, name, lambda a: np.full_like(a, (low, high - 1)[end]))


SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 96, 100, 127, 128, 129, 192, 255, 256,
         257, 384, 500, 511, 512, 513, 768, 1000, 1023, 1024, 1025, 1536, 2047, 2048, 2049, 3072, 4097)  # fmt: skip


def one_size(p: Probe, failing: Case) -> Found | None:
    """Wrong at the size of the failing case, and right at those beside it, and at its multiples."""
    for letter in p.letters:
        here = p.sizes(failing)[letter]
        others = [here - 2, here - 1, here + 1, here + 2, here + 3, 2 * here, 2 * here + 1, 3 * here]
        if here < 4 or not all(p.domain.allows(p.unequal(0) | {letter: n}) for n in others):
            continue
        if here in [p.unequal(0)[other] for other in p.letters if other != letter] and _right_apart(p, letter, here):
            continue  # right, but where two sizes agree
        if any(_right_at(p, letter, here, k) for k in range(4)) or not all(_right_at(p, letter, n) for n in others):
            continue
        says = f"wrong for {letter} = {here} and right for {here - 1}, {here + 1}, {2 * here} and others"
        return "one-size", f"{says}: look for what is done at this size alone"
    return None


def _right_apart(p: Probe, letter: str, here: int) -> bool:
    """Whether it is right at a size that no other has."""
    sizes = {other: n + (n >= here) for other, n in p.unequal(0).items()} | {letter: here}
    return p.right(p.case(sizes, here))


def tile(p: Probe, failing: Case) -> Found | None:
    """Right at multiples of a tile `t` only, or up to a size only."""
    most = 129 if p.kind == "jacobian" else 1025 if len(p.letters) > 1 else SIZES[-1]
    for letter in p.letters:
        here = p.sizes(failing)[letter]
        sizes = [n for n in SIZES if n <= most and p.domain.allows(p.unequal(0) | {letter: n})]
        if all(_right_at(p, letter, n) for n in sizes[-3:]):  # each has a tail in most tiles
            continue
        if not any(_right_at(p, letter, n) for n in (*sizes[:1], *[n for n in sizes if n % 128 == 0][-1:])):
            continue
        wrong = [n for n in sizes if not _right_at(p, letter, n)]
        if len(wrong) < 2 or len(wrong) == len(sizes):
            continue
        for t in (n for n in sizes if 1 < n <= most // 2):
            for least, words in ((t, f"up to {t} and "), (0, "")):
                past = [n for n in sizes if n > least and n % t]
                if here <= least or here % t == 0:
                    continue
                if wrong == past and max(wrong) > t and all(_right_at(p, letter, m * t) for m in (2, 3)):
                    says = f"right {words}at multiples of {t}, wrong at every other {letter}"
                    return "tile-tail", f"{says}: what is past the last full tile of {t} is lost"
        if wrong == [n for n in sizes if n >= wrong[0]] and wrong[0] > 2:
            right, bad = max(n for n in sizes if n < wrong[0]), wrong[0]
            while bad - right > 1:
                middle = (bad + right) // 2
                right, bad = (middle, bad) if _right_at(p, letter, middle) else (right, middle)
            sure = here > right and all(_right_at(p, letter, right, k) for k in range(8))
            if sure and _only_past(p, letter, right, bad):
                says = f"right up to {letter} = {right} and wrong at every larger size"
                return "tile-tail", f"{says}: what is past the first tile of {right} is lost"
    return None


def _right_at(p: Probe, letter: str, n: int, k: int = 0) -> bool:
    """Whether results are right at size `n`, for mixed signs and for none negative, as a relu may hide a tail."""
    case, weights = p.case({letter: n}, n + k), {layer.W for layer in p.row.layers}
    positive = {
        name: np.abs(a) / case.dtype.type(a.shape[-1] ** 0.5 if name in weights else 1)
        for name, a in zip(p.row.arguments, case.args, strict=True)
        if name not in p.row.integers
    }
    return p.right(case) and p.right(p.at(case, **positive))


def _only_past(p: Probe, letter: str, right: int, bad: int) -> bool:
    """Whether only the entries past the size are wrong, or all are right if the arguments are 0 there."""
    case, axes = p.case({letter: bad + 2}, bad), p.row.cores
    past = {}
    for name, core, a in zip(p.row.arguments, axes, case.args, strict=False):
        if name not in p.row.integers:
            past[name] = a.copy()
            past[name][tuple(slice(right, None) if n == letter else slice(None) for n in core)] *= letter not in core
    if p.kind == "forward":
        return p.right(p.at(case, **past))
    if p.kind != "vjp":
        return False
    lost: dict[int, set[int]] = {}
    for k in range(4):
        seen = p.see(p.case({letter: bad + 2}, bad + k))
        for i, mask in (seen.wrong if seen else {}).items():
            if letter not in axes[i]:
                return False
            lost.setdefault(i, set()).update(np.argwhere(mask)[:, axes[i].index(letter)].tolist())
    return bool(lost) and all(places == set(range(right, bad + 2)) for places in lost.values())


def overflow(p: Probe, failing: Case) -> Found | None:
    """Right as long as a number is below some size, infinite or not a number above it."""
    for broken in (p.scaled(p.ordinary()[0], 1e4), p.at(failing, delta=np.ones_like(failing.delta)), failing):
        if p.broken(broken):
            found = _bisected(p, *_few_large(p, broken))
            if found:
                return found
    return None


def _few_large(p: Probe, far: Case) -> tuple[Case, Case]:
    """`far`, with numbers made ordinary as long as the results stay broken; and the case with all of them ordinary."""
    near = p.at(p.case(dict(p.sizes(far)), 1), delta=far.delta)
    for name, usual in zip(p.row.arguments, near.args, strict=True):
        candidate = p.at(far, **{name: usual})
        if p.broken(candidate):
            far = candidate
            continue
        for k in range(usual.size if usual.size <= FEW else 0):
            changed = p.array(far, name).copy()
            changed.flat[k] = usual.flat[k]
            candidate = p.at(far, **{name: changed})
            far = candidate if p.broken(candidate) else far
    return far, near


def _bisected(p: Probe, far: Case, near: Case) -> Found | None:
    """The hint with the size of the large numbers (all scaled alike) from which the results are broken."""
    large = [np.flatnonzero(a.ravel() != b.ravel()) for a, b in zip(far.args, near.args, strict=True)]
    pairs = [(name, a, k) for name, a, k in zip(p.row.arguments, far.args, large, strict=True) if k.size]
    largest = max((float(np.abs(a.flat[k].astype(np.float64)).max()) for _, a, k in pairs), default=0.0)
    if not 1 < largest < np.inf:
        return None

    def scaled(t: float) -> Case:
        """`far` with its large numbers scaled so that the largest is `t`."""
        changed = {}
        for name, a, k in pairs:
            b = a.astype(np.float64)
            b.flat[k] *= t / largest
            changed[name] = np.asarray(b, a.dtype)
        return p.at(far, **changed)

    low, high = 0.0, np.log(largest)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if p.broken(scaled(np.exp(middle))) else (middle, high)
    below = [np.exp(low - step) for step in (0.01, 0.1, 0.5) if low > step]
    beyond = p.broken(scaled(np.exp(high)))
    if low == 0 or not beyond or not all(p.right(scaled(t)) for t in below):
        return None
    name, a, k = max(pairs, key=lambda pair: float(np.abs(pair[1].flat[pair[2]].astype(np.float64)).max()))
    bound = f"{'-' if len(k) == 1 and a.flat[k[0]] < 0 else ''}{np.exp(low):.4g}"
    return "overflow", (
        f"right up to numbers of about {bound} in {name}; beyond, {p.are(beyond)} infinite or not a number: "
        f"something on the way leaves the range of {p.dtype.name}"
    )


def kink(p: Probe, breaks: Callable[[Case], bool]) -> Found | None:
    """Wrong where the argument of a function with a kink is exactly 0, but right just beside it."""
    if not any(h.kinked for h in p.row.functions):
        return None
    tiny = float(ml_dtypes.finfo(p.dtype).smallest_normal) * 4
    at, *near = ([_bent(p, case, bias) for case in p.ordinary()] for bias in (0.0, tiny, -tiny))
    if all(map(breaks, at)) and not any(breaks(case) for cases in near for case in cases):
        h = next(h.name for h in p.row.functions if h.kinked)
        return "kink", f"wrong where the argument of {h} is exactly 0, right at ±{tiny:.2g}: the slope at the kink"
    return None


def _bent(p: Probe, case: Case, bias: float) -> Case:
    """A case whose first entry that goes into the first function with a kink is `bias`."""
    rectified = next((layer for layer in p.row.layers if layer.h.kinked), None)
    first = {rectified.W: 0.0, rectified.b: bias} if rectified else {p.row.arguments[0]: bias}
    changed = {name: p.array(case, name).copy() for name in p.row.arguments if name in first}
    for name, a in changed.items():
        a[0] = first[name]
    return p.at(case, **changed)


def batch_mean(p: Probe) -> Found | None:
    """In batches of 2, 3 and 5 the wrong gradients are the right ones divided by the number of examples."""
    if p.kind != "vjp":
        return None
    is_data = p.row.is_data
    for count in (2, 3, 5):
        cases = [p.case({}, k) for k in range(count)]
        arrays = [np.stack([c.args[i] for c in cases]) if d else cases[0].args[i] for i, d in enumerate(is_data)]
        seen = p.see(replace(cases[0], args=tuple(arrays), delta=np.stack([c.delta for c in cases])))
        if not seen or not p.explained(lambda batch, count=count: [t / count for t in p.truth(batch)], [seen]):
            return None
        wrong = seen.wrong
    return "batch-mean", f"in a batch, {p.are(wrong)} divided by the number of examples: they are those of a sum"
