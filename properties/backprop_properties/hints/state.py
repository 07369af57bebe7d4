"""Does a function remember earlier calls, or is it random? Experiments with successive calls, at new sizes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product

import ml_dtypes
import numpy as np

from ..cases.case import Array, Case
from ..laws.failure import CALLS
from .probe import Probe, Raised, Results, listed

Found = tuple[str, str]  # a cause, and a sentence


def state(p: Probe, forward: Probe | None) -> Found | None:
    """The first experiment that shows results to depend on more than the arguments; some call `forward` in between."""
    experiments = (
        _differs_from_call_to_call,
        _answers_for_other_arguments,
        _does_not_look_again,
        _takes_for_the_same,
        _overwrites,
    )
    for number, experiment in enumerate(experiments):
        sizes = _sizes(p, 7 * number)
        found = experiment(p, p.case(sizes, 1), p.case(sizes, 2))
        if found:
            return found
    return _follows_the_forward(p, forward) if forward and p.kind != "forward" else None


def _sizes(p: Probe, more: int) -> dict[str, int]:
    """New sizes: large ones, unless arrays of many axes would be made of them."""
    first, step = (70, 1) if len(p.letters) <= 2 else (17, 2) if len(p.letters) == 3 else (9, 4)
    return {letter: first + more // step + 2 * i for i, letter in enumerate(p.letters)}


def _differs_from_call_to_call(p: Probe, a: Case, _: Case) -> Found | None:
    """Repeated calls with the same arguments: do results grow with every call, go wrong at some, or vary as noise?"""
    calls = [p.ask(a) for _ in range(CALLS)]
    for i, truth in enumerate(p.truth(a)):
        rs = [call[i] for call in calls if call is not None]
        if len(rs) < CALLS or any(r is None or r.shape != truth.shape for r in rs):
            continue
        results, size = np.array(rs), p.size(a, truth)
        distinct = len({r.tobytes() for r in results})
        times = results.reshape(CALLS, -1) @ truth.ravel() / max(float(truth.ravel() @ truth.ravel()), 1e-300)
        multiples = not any(
            p.off(a, r, c * truth, (1 + abs(c)) * size).any() for r, c in zip(results, times, strict=True)
        )
        if multiples and np.all(np.diff(times) > 0.01):
            said = ", ".join(f"{c:.3g}" for c in times[:3])
            return "stale", (
                f"{p.are([i])} {said}, … times what is right, one call after the other with the same arguments: "
                "it is added to what earlier calls left"
            )
        sure = [not p.off(a, r, truth, size).any() for r in results]
        if any(sure) and not all(sure):
            return "intermittent", (
                f"{p.are([i])} right at {sum(sure)} of {CALLS} calls with the same arguments and wrong at the others: "
                "it depends on how often it was called"
            )
        if distinct > 2 and np.all(np.abs(results - truth) <= 0.01 * size):
            return "noise", (
                f"{CALLS} calls with the same arguments gave {distinct} different results for {p.names[i]}: "
                "chance, or the order in which threads add up, decides on its digits"
            )
    return None


def _answers_for_other_arguments(p: Probe, a: Case, b: Case) -> Found | None:
    """Is the result at `b`, after a call at `a`, the right one for some arguments of `a`?

    It must not be so by chance, nor a function's that remembers nothing: another call in between changes the bits at
    `b`, or the first call is answered for at other sizes, too.
    """
    p.ask(a)
    got = p.ask(b)
    if not _mixed(p, got, b, a, BEFORE):
        return None
    sizes = dict(p.sizes(a))
    c = p.case(sizes, 3)
    last = p.ask(c)
    before = _mixed(p, last, c, b, BEFORE)
    if before and not _same_bits(got, p.ask(b)):
        return before
    return _mixed(p, last, c, a, FIRST) and _answers_for_the_first(p, {n: size + 1 for n, size in sizes.items()})


BEFORE, FIRST = "the call before with the same shapes", "the first call with these shapes, at every later one"


def _answers_for_the_first(p: Probe, sizes: Mapping[str, int]) -> Found | None:
    a, *others = (p.case(sizes, k) for k in range(1, 4))
    p.ask(a)
    found = [_mixed(p, p.ask(case), case, a, FIRST) for case in others]
    return found[0] if all(found) else None


def _same_bits(a: Results | None, b: Results | None) -> bool:
    return a is not None and b is not None and all(_bits(r) == _bits(s) for r, s in zip(a, b, strict=True))


def _bits(a: Array | None) -> bytes:
    return b"" if a is None else a.tobytes()


def _follows_the_forward(p: Probe, forward: Probe) -> Found | None:
    sizes = {letter: size // 2 + 1 for letter, size in _sizes(p, 5).items()}
    a, b = p.case(sizes, 1), p.case(sizes, 2)
    forward.ask(a)
    forward.ask(b)
    got = p.ask(a)
    found = _mixed(p, got, a, b, "the last call of forward")
    forward.ask(a)
    return None if _same_bits(got, p.ask(a)) else found


def _mixed(p: Probe, got: Results | None, now: Case, other: Case, when: str) -> Found | None:
    """Whether the wrong results are right for some arguments of another call, which are far from right for this one."""
    if got is None:
        return None
    right = p.truth(now)
    sizes = p.term_sizes(now, right)
    wrong = p.apart(now, got, right, sizes)
    for some in _some_of(p.varied, p.row.parameters) if wrong else ():
        truth = p.truth(_taken(p, now, other, some))
        large = [max(size, float(np.abs(t).max(initial=0.0))) for size, t in zip(sizes, truth, strict=True)]
        if all(_same(p, now, got[i], truth[i], large[i]) for i in wrong):
            if not all(p.off(now, right[i], truth[i], 8 * large[i]).any() for i in wrong):
                continue
            return "stale", (
                f"{p.are(wrong)} the answer to another call: {listed(some)} "
                f"{'are' if len(some) > 1 else 'is'} taken from {when}, whatever is passed in now"
            )
    return None


def _same(p: Probe, case: Case, got: Array | None, want: Array, size: float) -> bool:
    return got is not None and got.shape == want.shape and not p.off(case, got, want, size).any()


def _some_of(names: Sequence[str], parameters: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Subsets of the names, the likeliest first: one, all parameters, all arguments, everything, then the rest."""
    tried = [*((name,) for name in names), parameters, tuple(n for n in names if n != "delta"), tuple(names)]
    rest = [some for k in range(2, 5) for some in combinations(names, k)]
    yield from dict.fromkeys(some for some in (*tried, *rest) if some)


def _taken(p: Probe, now: Case, other: Case, some: Sequence[str]) -> Case:
    *args, delta = (p.array(other if name in some else now, name) for name in (*p.row.arguments, "delta"))
    return replace(now, args=tuple(args), delta=delta)


def _does_not_look_again(p: Probe, a: Case, b: Case) -> Found | None:
    """A second call with the same arrays, overwritten in place: does it return the first call's result?"""
    arrays = [a.delta.copy(), *(x.copy() for x in a.args)]
    try:
        p.raw(arrays[0], arrays[1:])
        for array, x in zip(arrays, (b.delta, *b.args), strict=True):
            array[...] = x
        got = [None if r is None else np.array(r, np.float64) for r in p.raw(arrays[0], arrays[1:])]
    except Raised:
        return None
    truth, old = p.truth(b), p.truth(a)
    wrong = {} if _same_bits(got, p.ask(b)) else p.apart(b, got, truth)  # other arrays of the same numbers
    if wrong and all(_same(p, b, got[i], old[i], p.size(a, old[i])) for i in wrong):
        return "stale", (
            f"{p.are(wrong)} the answer for the numbers which stood in the same arrays at the call before: "
            "a result is kept for an array, and the array is not looked at again"
        )
    return None


def _takes_for_the_same(p: Probe, a: Case, _: Case) -> Found | None:
    """A second call with one entry, or the last digits, changed: does it return the first call's result?"""
    for n, (words, change) in product((None, *[LONG] * (0 < len(p.letters) <= 2)), CHANGES.items()):
        case = a if n is None else p.case({p.letters[0]: n}, 1)
        for name in p.real:
            old = p.array(case, name)
            other = p.at(case, **{name: change(old)})
            p.ask(case)
            got, before, now = p.ask(other), p.truth(case), p.truth(other)
            wrong = p.apart(other, got, now) if got is not None else {}
            if got and wrong and all(_same(p, other, got[i], before[i], p.size(case, before[i])) for i in wrong):
                if not p.right(p.changed(p.case(dict(p.sizes(case)), 5), name, change)):  # it remembers nothing
                    continue
                return "stale", (
                    f"{p.are(wrong)} the answer of the call before, though {name}, of size {old.size:,}, "
                    f"differs {words}: a result is kept under a key that is the same for both"
                )
    return None


LONG = 1027


def _one_entry(a: Array) -> Array:
    b = a.copy()
    b.flat[2 * b.size // 3] *= b.dtype.type(-0.75 if b.min() < 0 else 0.75)
    return b


CHANGES: Mapping[str, Callable[[Array], Array]] = {
    "in one entry": _one_entry,
    "in the order of its entries": lambda a: a.ravel()[::-1].reshape(a.shape).copy(),
    "in its last digits": lambda a: a * a.dtype.type(1 + float(ml_dtypes.finfo(a.dtype).eps) ** 0.75),
}


def _overwrites(p: Probe, a: Case, b: Case) -> Found | None:
    """Does the next call overwrite what a call returned?"""
    try:
        first = p.raw(a.delta.copy(), [x.copy() for x in a.args])
        kept = [None if r is None else np.array(r) for r in first]
        p.raw(b.delta.copy(), [x.copy() for x in b.args])
    except Raised:
        return None
    pairs = enumerate(zip(first, kept, strict=True))
    changed = [i for i, (r, old) in pairs if r is not None and not np.array_equal(r, np.asarray(old), equal_nan=True)]
    if changed:
        return "stale", f"{p.are(changed)} overwritten by the next call: every call returns the same memory"
    return None
