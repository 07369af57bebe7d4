"""A function is right at ordinary cases: at which sizes, magnitudes and points is it wrong?"""

from collections.abc import Callable
from dataclasses import replace

import ml_dtypes
import numpy as np

from ..inputs import Array, Case
from .memory import Found
from .probe import Probe

# ── Sizes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


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
    bad = p.are(p.broken(shrunk(np.exp(high))))
    return "overflow", (
        f"right while the numbers in {name} are below {largest * np.exp(high):.5g}, past it {bad} infinite or not a "
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
        f"of a batch of examples, {p.are(told)} divided by their number: gradients of parameters add up, "
        "and those of an example are its own"
    )
