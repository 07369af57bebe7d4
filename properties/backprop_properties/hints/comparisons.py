"""Is what is wrong a multiple of what is right, right for another argument, clipped, or off by an epsilon?"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from ..cases.case import Array, Case
from .probe import Probe, Seen, listed, wrong_in
from .state import Found
from .textbook import softmax

NAMED = {2.0: "2", 0.5: "1/2", -2.0: "-2", -0.5: "-1/2", 1 / np.log(2): "1/log 2", float(np.log(2)): "log 2",
         1 / np.log(10): "1/log 10", 4.0: "4", 0.25: "1/4", 3.0: "3"}  # fmt: skip


def ratio(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """Each wrong result is a constant times the right one, the same constant at every entry and size."""
    wrong = sorted(wrong_in(seen))
    found = {i: _ratio([(one.got[i], one.truth[i]) for one in seen]) for i in wrong}
    if any(c is None or not np.isfinite(c) for c in found.values()):
        return None
    numbers = {i: float(c) for i, c in found.items() if c is not None}

    def multiplied(case: Case) -> list[Array]:
        return [numbers.get(i, 1.0) * t for i, t in enumerate(p.truth(case))]

    if not p.explained(multiplied, seen):
        return None
    shown = [_shown(numbers[i]) for i in wrong]
    if len(set(shown)) == 1:
        return "factor", f"{p.are(wrong)} {shown[0]} times what is right, everywhere: a constant factor"
    each = listed([f"{p.names[i]} is {c} times" for i, c in zip(wrong, shown, strict=True)])
    return "factor", f"{each} what is right, everywhere: constant factors"


def _ratio(pairs: Sequence[tuple[Array | None, Array]]) -> float | None:
    """The constant `c` in `wrong = c · right`, from the first pair that is not all 0."""
    for got, truth in pairs:
        if got is None or got.shape != truth.shape:
            return None
        square = float(np.vdot(truth, truth))
        if 0 < square < np.inf:
            return float(np.vdot(truth, got)) / square
    return None


def _shown(c: float) -> str:
    return next((name for value, name in NAMED.items() if abs(c - value) < 1e-6 * abs(value)), f"{c:.6g}")


def unsummed(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """Each wrong result has axes in front that its argument lacks, and is right when it is summed over them."""
    for one in seen:
        for i in one.wrong:
            got, truth = one.got[i], one.truth[i]
            if got is None or got.ndim <= truth.ndim or got.shape[got.ndim - truth.ndim :] != truth.shape:
                return None
            if p.off(one.case, got.sum(tuple(range(got.ndim - truth.ndim))), truth, one.sizes[i]).any():
                return None
    return "axis", f"{p.are(wrong_in(seen))} right but for a sum over the leading axes, which is missing"


def exchanged(p: Probe, seen: Sequence[Seen]) -> Found | None:
    """Each wrong result is the right one for another argument."""
    wrong, others = sorted(wrong_in(seen)), range(len(seen[0].truth))
    found: dict[int, int] = {}
    for i in wrong:
        for j in (j for j in others if j != i):
            taken = found | {i: j}
            few = [one._replace(wrong={i: mask for i, mask in one.wrong.items() if i in taken}) for one in seen]
            if p.explained(partial(_permuted, p, taken), few):
                found = taken
                break
    if len(found) < len(wrong):
        return None
    each = listed([f"{p.names[i]} is what is right for {p.names[found[i]]}" for i in wrong])
    return "exchanged", f"{each}: results are given for another argument, or in another order"


def _permuted(p: Probe, source: dict[int, int], case: Case) -> list[Array]:
    truth = p.truth(case)
    return [truth[source.get(i, i)] for i in range(len(truth))]


def clipped(p: Probe, failing: Case) -> Found | None:
    """Wrong entries are ±c, and the right ones beyond ±c."""
    cases = [failing, *p.ordinary()[:3]]
    factors = [p.largest**power for power in (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)]
    seen = [one for case in cases for by in factors if (one := p.see(_larger(p, case, by)))]
    bad = [one for one in seen if one.wrong]
    for i in sorted(wrong_in(bad)):
        results = [r for one in bad if i in one.wrong and (r := one.got[i]) is not None and r.size]
        tops = {float(f"{np.abs(r).max():.6g}") for r in results}
        (c, *others) = tops or {np.inf}
        if len(results) < 2 or others or not 0 < c < p.largest / 8:
            continue
        if all(_held(one, j, c) for one in seen for j in wrong_in(bad)):
            return "clipped", f"{p.are(wrong_in(bad))} cut off at ±{c:g}: right below it, and {c:g} beyond"
    return None


def _larger(p: Probe, case: Case, by: float) -> Case:
    return p.at(case, delta=case.delta * case.dtype.type(by)) if p.kind == "vjp" else p.scaled(case, by)


def _held(one: Seen, i: int, c: float) -> bool:
    """Whether a result is the right one, clipped to ±c."""
    got = one.got[i]
    if got is None or got.shape != one.truth[i].shape:
        return False
    wanted = np.clip(one.truth[i], -c, c)
    with np.errstate(invalid="ignore"):
        return bool(np.all(np.abs(got - wanted) <= 1e-6 * np.abs(wanted)))


EPSILONS = (*(10.0**-k for k in range(2, 17)), 1e-20, 1e-30, 1e-38, 1e-100, 1e-300)
GUARDS: tuple[tuple[str, Callable[[Array, float], Array]], ...] = (
    ("{:g} were added to", lambda a, eps: a + eps),
    ("no less than {:g} were taken for", np.maximum),
    ("{:g} to 1 − {:g} were taken for", lambda a, eps: np.clip(a, eps, 1 - eps)),
)
GUARDED: Mapping[str, tuple[str, Callable[..., Callable[..., Array]], Callable[..., Callable[..., Array]]]] = {
    "log": ("x", lambda g: lambda x: np.log(g(x)), lambda g: lambda delta, x: delta / g(x)),
    "reciprocal": ("x", lambda g: lambda x: 1 / g(x), lambda g: lambda delta, x: -delta / g(x) ** 2),
    "softmax": ("the results", lambda g: lambda x: g(softmax(x)), lambda g: lambda delta, x: np.nan * x),
    "softmax_cross_entropy": (
        "the probabilities",
        lambda g: lambda x, y: np.asarray(-(y * np.log(g(softmax(x)))).sum()),
        lambda g: lambda delta, x, y: -delta * np.log(g(softmax(x))),
    ),
}  # what is guarded; the value, and the gradient by the last argument, as functions of the guard


def epsilon(p: Probe, failing: Case) -> Found | None:
    """An epsilon in a logarithm or a quotient, tried where numbers and probabilities are so small that it shows."""
    if p.row.name not in GUARDED or p.kind == "jacobian":
        return None
    cases = [failing, *p.ordinary()[:3]]
    cases += [
        p.at(case, x=case.args[0] * case.dtype.type(by)) for case in cases[1:] for by in (1e-3, 1e-8, 1e-14, 30, 100)
    ]
    seen = [one for case in cases if (one := p.see(case))]
    bad = [one for one in seen if one.wrong]
    last = len(p.names) - 1
    if not bad or wrong_in(bad) != {last}:
        return None
    what, value, slope = GUARDED[p.row.name]
    for eps, (words, guard) in product(EPSILONS, GUARDS):

        def guarded(case: Case, guard: Any = guard, eps: float = eps) -> list[Array]:
            def g(a: Array) -> Array:
                return np.asarray(guard(a, eps))

            if p.kind == "forward":
                return p.by(lambda _, *args: (value(g)(*args),), case)
            return [*p.truth(case)[:-1], *p.by(lambda delta, *args: (slope(g)(delta, *args),), case)]

        if p.explained(guarded, bad) and all(not p.apart(one.case, one.got, guarded(one.case)) for one in seen):
            return "clipped", f"{p.are([last])} computed as if {words.format(eps, eps)} {what}"
    return None
