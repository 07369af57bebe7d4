"""Within its bound of the certified truth: the last digit as a law.

Errors are in ULP of the true result, or in ULP of the *problem's* condition `Σ|terms|` (`conditions.py`), whichever
unit is larger; no bound grows with anything but the number of terms of a sum. `TRUTH_LAWS` are laws like those of
`table.py`. They say nothing of a case that is too large to certify in passing, or in which an intermediate result of
the slide's own formula overflows.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
from flint import arb

from backprop_oracle import certified
from backprop_oracle.autodiff import Answers, evaluated
from backprop_oracle.enclosures import FORMATS, Enclosures, PrecisionCapReached, round_to
from backprop_oracle.rows import Row, definition
from backprop_reference import Operation

from ..cases.case import Case
from .bounds import ROUNDING, bound_of, depth, limit_of
from .claims import Array, Certified, Chosen, Holds
from .conditions import scale
from .points import either_slope
from .table import Point

Claims = Iterator[Certified]

WORK = 21_000  # entries × columns that a law certifies in passing
CHOSEN = 6  # entries of a case that is larger, where a row promises its definition
BALLS = 100_000  # that they may cost
AGREED = 40  # entries of arguments: each costs the second judge a pass


# ── What is asked ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Question:
    """The truth of one quantity at a case, the units it is judged in, and how many of them are allowed."""

    what: str
    truth: Enclosures
    scale: Array
    limit: float
    unit: str
    chosen: Chosen | None = None

    def claim(self, actual: Any) -> Certified:
        scale = np.nextafter(self.scale, np.inf)  # it was rounded to nearest, and at a jump the limit is just reached
        return Certified(self.what, actual, self.truth, scale, self.limit, self.unit, self.chosen)


def questions(
    operation: Row, case: Case, kind: str, *, work: int = WORK, said: Answers | None = None, either: bool = False
) -> tuple[Any, ...]:
    """What is asked of the "value" (one question), the "jacobian" or the "vjp" (one for each argument) at a case.

    Nothing at all of a case that is more `work` to certify, or whose intermediate results overflow; but of a row that
    promises its definition, the value and the vjp are asked for at a few entries then. None of an argument of integers,
    or whose few entries need too much. A row that promises its definition's digits, and no more, is asked for what
    `autodiff.evaluated` has `said` there, or says with `either`.
    """
    args = case.args
    columns = 1 if kind == "value" else sum(a.size for a in args)
    if not may_be_asked(operation, case, columns, work) or case.dtype not in FORMATS:
        return _of_a_few(operation, case, kind, said, either) if _is_only_large(operation, case, kind) else ()
    point = (case.delta, *args) if kind == "vjp" else args
    if operation.promise == "definition":
        sizes = _rounding(operation, case, kind, said, either)
    else:
        sizes = scale(operation.name, kind, *point)
    try:
        truths = _TRUTHS[kind](operation, *point)
    except PrecisionCapReached:  # a kink that no digit decides: refused, and nothing is asked
        return ()
    if kind == "value":
        return (_question(operation, case, "u", "u", truths, sizes),)
    letter, shown = ("J", "J_") if kind == "jacobian" else ("d", "d")
    triples = zip(operation.arguments, truths, sizes, strict=True)
    return tuple(
        None if truth is None else _question(operation, case, shown + a, letter + a, truth, size)
        for a, truth, size in triples
    )


def _is_only_large(operation: Row, case: Case, kind: str) -> bool:
    large = operation.promise == "definition" and kind != "jacobian" and case.dtype in FORMATS
    return large and may_be_asked(operation, case, 0)


def _of_a_few(operation: Row, case: Case, kind: str, said: Answers | None, either: bool) -> tuple[Any, ...]:
    """What is asked at a few entries: the first, the last, and some between; None where they need too much."""
    arrays = [case.delta] if kind == "value" else list(case.args)
    at = {i: _entries(a.size) for i, a in enumerate(arrays) if a.size and _has_slope(operation, i, kind)}
    each = certified.costs(operation, kind, case.delta, *case.args, at=at)
    cheap = sorted(at, key=each.__getitem__)
    at = {i: at[i] for i, total in zip(cheap, accumulate(map(each.__getitem__, cheap)), strict=True) if total <= BALLS}
    if not at:
        return ()
    try:
        point, some = (case.args, at[0]) if kind == "value" else ((case.delta, *case.args), at)
        truths = _TRUTHS[kind](operation, *point, at=some)
    except PrecisionCapReached:
        return ()
    names = ["u"] if kind == "value" else [f"d{name}" for name in operation.arguments]
    found, sizes = [truths] if kind == "value" else truths, _rounding(operation, case, kind, said, either)
    sizes = [sizes] if kind == "value" else sizes

    def question(i: int) -> Question:
        some = np.broadcast_to(sizes[i], arrays[i].shape).ravel()[at[i]]
        asked = _question(operation, case, names[i], names[i], found[i], some)
        return replace(asked, chosen=Chosen(arrays[i].shape, tuple(at[i])))

    return tuple(question(i) if i in at else None for i in range(len(arrays)))


def _has_slope(operation: Row, i: int, kind: str) -> bool:
    return kind == "value" or operation.arguments[i] not in operation.integers


def _entries(size: int) -> list[int]:
    """The first, the last, and others that are always the same.

    >>> _entries(2), len(_entries(10**6))
    ([0, 1], 6)
    """
    drawn = np.random.default_rng(size).choice(size, min(size, CHOSEN - 2), replace=False)
    return sorted({0, size - 1, *drawn.tolist()})


_TRUTHS: Mapping[str, Callable[..., Any]] = {
    "value": certified.value,
    "jacobian": certified.jacobian,
    "vjp": certified.vjp,
}


def _rounding(operation: Row, case: Case, kind: str, said: Answers | None, either: bool) -> Any:
    """What rounding may do to the definition, in `eps`: the scale of a row that promises nothing else."""
    kinds = ("jacobian",) if kind == "jacobian" else ("vjp",)
    if said is None:
        said = evaluated(operation, case.delta, case.args, kinds=kinds, dtype=case.dtype, either=either)
    eps = float(np.finfo(case.dtype).eps)
    if kind == "value":
        return said.forward.bound / eps
    return [None if d is None else d.bound / eps for d in (said.vjp if kind == "vjp" else said.jacobian)]


def _question(operation: Row, case: Case, what: str, quantity: str, truth: Enclosures, size: Array) -> Question:
    largest = float(np.finfo(case.dtype).max)
    if (operation.promise, quantity) == ("cross-entropy", "u") and (case.args[1] >= 0).all():
        size = np.zeros(())  # nothing cancels
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.asarray(size) + _underflow(operation, case, quantity, largest)
    size = np.where(size < largest, size, np.nan)  # the terms overflow: nothing can be asked
    bound = bound_of(operation, quantity, case.args)
    return Question(what, truth, size, limit_of(operation, quantity, case.args), bound.unit)


def _underflow(operation: Row, case: Case, quantity: str, largest: float) -> Any:
    """What multiplies a number that may be subnormal, times the smallest normal one: to its spacing it is known.

    It changes the unit only where `h′`, a probability or its complement is below the smallest normal number. Infinite
    where that number overflows. Sums and compositions carry it through their layers in `conditions.py`.
    """
    tiny = float(np.finfo(case.dtype).tiny)
    delta, args = case.delta.astype(np.float64), case.args
    match operation.promise, quantity:
        case "function", "dx":
            points = certified.slopes_at(definition(operation), list(map(arb, args[0].tolist())))
            overflows = np.array([math.isinf(round_to(slope.mid(), case.dtype)) for _, slope in points], bool)
            return np.where(overflows, np.inf, np.abs(delta) * tiny)
        case "softmax", "dx":
            return (delta.max() - delta.min()) * tiny
        case "cross-entropy", "u":
            return np.abs(args[1]).sum() * tiny
        case "cross-entropy", "Jx" | "dx":
            total = np.abs(args[1].astype(np.float64)).sum()
            by = np.abs(delta) if quantity == "dx" else 1.0
            return np.inf if total >= largest else by * max(1.0, total) * tiny
        case "cross-entropy", "dy":
            return np.where(np.isneginf(args[0]) & (delta == 0), np.inf, np.abs(delta) * tiny)
    return 0.0


def may_be_asked(operation: Row, case: Case, columns: int, work: int = WORK) -> bool:
    """Whether a case is small enough to certify, finite, and free of overflow in the slide's own intermediate results.

    For sums and compositions that is: no product of the numbers of a few layers can overflow.
    """
    arrays = (*case.args, case.delta)
    entries = sum(a.size for a in case.args)
    masked = [name in operation.masks for name in (*operation.arguments, "delta")]
    finite = [np.isfinite(a) | (np.isneginf(a) & may) for a, may in zip(arrays, masked, strict=True)]
    if entries * columns > work or not all(ok.all() for ok in finite):
        return False
    if operation.promise in ("composition", "sum"):
        most = float(np.finfo(case.dtype).max) ** (1 / (depth(operation) + 4))
        return all((np.abs(a) <= most).all() for a in arrays)
    return True


# ── The laws ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _asked(p: Point, kind: str) -> tuple[Any, ...]:
    either, said = either_slope(p.operation, p.promises), p.said
    if p.operation.promise == "definition" and kind == "jacobian" and said and not said.jacobian:
        how: dict[str, Any] = {"dtype": p.case.dtype, "careful": p.careful, "alone": p.alone, "either": either}
        said = evaluated(p.operation, p.case.delta, p.case.args, kinds=["jacobian"], **how)
    return questions(p.operation, p.case, kind, said=said, either=either)


def value_within_bound_of_truth(p: Point) -> Claims:
    """The forward is within its bound of the certified value."""
    if p.forward:
        for question in _asked(p, "value"):
            yield question.claim(p.forward(*p.args))


def jacobian_within_bound_of_truth(p: Point) -> Claims:
    """Every entry of each dense Jacobian is within its bound of the certified one, and `delta @ J` of the vjp."""
    asked = _asked(p, "jacobian") if p.jacobian else ()
    if p.jacobian and asked:
        jacobians = p.jacobian(*p.args)
        structured = any(hasattr(J, "todense") for J in jacobians)
        pulled = _asked(p, "vjp") if structured else ()
        for _, J, i in p.named("", jacobians):
            dense = J.todense() if hasattr(J, "todense") else J
            yield asked[i].claim(dense)
            if pulled and hasattr(J, "todense") and np.isfinite(dense).all():  # else its share may be a number
                yield _through_jacobian(pulled[i], asked[i], p.case, dense).claim(p.delta @ J)


def _through_jacobian(question: Question, entries: Question, case: Case, dense: Array) -> Question:
    """The vjp's question for `delta @ J`, whose entries may be subnormal: what they lost, times `delta`, is known.

    Of a row that promises no more than its definition, it is a product with the entries of `J` and their errors.
    """
    delta = np.abs(case.delta.astype(np.float64))
    if question.unit == ROUNDING:
        added = (1 + delta.size / 2) * np.abs(dense.astype(np.float64))
        question = replace(question, scale=np.tensordot(delta, entries.scale + added, axes=delta.ndim))
    lost = float(delta.sum()) * float(np.finfo(case.dtype).tiny)
    return replace(question, what=f"delta @ J for {question.what}", scale=question.scale + lost)


def vjp_within_bound_of_truth(p: Point) -> Claims:
    """Each cotangent is within its bound of the certified one."""
    asked = _asked(p, "vjp") if p.vjp else ()
    if p.vjp and asked:
        for _, d, i in p.named("", p.vjp(p.delta, *p.args)):
            if asked[i] is not None:
                yield asked[i].claim(d)


def rules_of_derivatives_agree_with_power_series(p: Point) -> Iterator[Holds]:
    """The certified vjp by JAX's rules and that by power series, which owes nothing to them, overlap."""
    args = p.case.args
    if sum(a.size for a in args) > AGREED or not may_be_asked(p.operation, p.case, 1):
        return
    if any(np.isneginf(a).any() for a in args):  # ∂L/∂y of a mask is what the definition says, and no limit
        return
    try:
        by_rules = certified.vjp(p.operation, p.case.delta, *p.case.args)
        by_series = certified.vjp_by_slopes(p.operation, p.case.delta, *p.case.args)
    except PrecisionCapReached:  # a kink that no digit decides
        return
    for name, one, other in zip(p.operation.arguments, by_rules, by_series, strict=True):
        for k, (a, b) in enumerate(zip(one.balls, other.balls, strict=True)):
            overlap = a.overlaps(b)
            told = "" if overlap else f"d{name}, entry {k}: {a.str(20)} by JAX's rules, {b.str(20)} by power series"
            yield Holds(f"d{name} certified", overlap, told)


TRUTH_LAWS: Mapping[str, Callable[[Point], Claims]] = {
    law.__name__: law
    for law in (
        value_within_bound_of_truth,
        jacobian_within_bound_of_truth,
        vjp_within_bound_of_truth,
    )
}
JUDGE_LAWS: Mapping[str, Callable[[Point], Any]] = {  # of what is true, whatever the implementation
    "rules_of_derivatives_agree_with_power_series": rules_of_derivatives_agree_with_power_series
}


def truth_point(operation: Row, case: Case, implementation: Operation | None = None) -> Point:
    """A point for these laws alone: JAX is not asked.

    >>> from backprop_reference import OPERATIONS
    >>> case = Case((np.array([3.0, 0.1]),), np.array([1.0, 1.0]), ())
    >>> [claim.what for claim in vjp_within_bound_of_truth(truth_point(OPERATIONS["square"], case))]
    ['dx']
    """
    using = implementation or operation
    return Point(operation, using.forward, using.jacobian, using.vjp, case, None)  # type: ignore[arg-type]
