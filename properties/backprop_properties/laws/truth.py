"""Within its bound of the certified truth: the last digit as a law, and the one table of how many digits are asked for.

Errors are in ULP of the true result, or in ULP of the *problem's* condition `Σ|terms|` (`conditions.py`), whichever
unit is larger; no bound grows with anything but the number of terms of a sum. `TRUTH_LAWS` are laws like those of
`table.py`. They say nothing of a case that is too large to certify in passing, or in which an intermediate result of
the slide's own formula overflows.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flint import arb

from backprop_oracle import certified
from backprop_oracle.autodiff import evaluated
from backprop_oracle.definitions import definition
from backprop_oracle.enclosures import Enclosures, PrecisionCapReached, round_to
from backprop_reference import Operation, ScalarFunction

from ..cases.case import Case
from .claims import Array, Certified, Holds
from .conditions import scale
from .table import Point

Claims = Iterator[Certified]

HALF = 0.5 + 1e-6  # a correctly rounded result, and what the measure of its error may round up
WORK = 21_000  # entries × columns that a law certifies in passing
AGREED = 40  # entries of arguments: each costs the second judge a pass


@dataclass(frozen=True)
class Bound:
    """How far a quantity may be from the truth: `fixed + logs · log₂ n` units per layer, `n` the longest sum."""

    fixed: float
    logs: float
    unit: str
    reason: str

    def limit(self, n: int, layers: int = 1) -> float:
        return layers * (self.fixed + self.logs * math.log2(max(n, 1)))

    def __str__(self) -> str:
        text = f"{self.fixed:.3g}" + " + log₂ n" * bool(self.logs)
        return f"{text} {self.unit}"


ULP, CONDITION, ROUNDING = "ULP", "ULP of the condition", "times what rounding may do to the definition"

_ROUNDED = Bound(HALF, 0, ULP, "one operation of IEEE 754, correctly rounded")
_SUM = Bound(
    4,
    1,
    CONDITION,
    "added in pairs, or in pairs of short chains: a rounding for each doubling, and a few for each term",
)
_LAYERS = Bound(8, 1, CONDITION, "per layer: a sum, the function of its result, and the product with what comes back")
_KINK = Bound(16, 1, CONDITION, "a kink within reach of the rounding of its argument: either slope may come out")

_DEFINED = Bound(1, 0, ROUNDING, "what a row promises that promises nothing else: the running error analysis")

# A row's promise, the quantity: `u` the value, `J` and `d` with an argument, or without one for all those not named.
BOUNDS: Mapping[tuple[str, str], Bound] = {
    ("elementary", "u"): _ROUNDED,
    ("elementary", "J"): _ROUNDED,
    ("elementary", "d"): _ROUNDED,
    ("elementary", "dalpha"): _SUM,
    ("function", "u"): Bound(4, 0, ULP, "exp, log and expm1 of the platform, and one to three roundings"),
    ("function", "J"): Bound(4, 0, ULP, "written so that nothing cancels; by its terms next to a zero of h′"),
    ("function", "d"): Bound(5, 0, ULP, "h′ and one product, whose ULP may be half that of h′"),
    ("sum", "u"): _SUM,
    ("sum", "J"): _SUM,
    ("sum", "d"): _SUM,
    ("softmax", "u"): Bound(4, 0, ULP, "exp, one sum as good as exact, one division"),
    ("softmax", "J"): Bound(6, 0, ULP, "s_i (1 − s_i) and s_i s_j, the complement summed and not subtracted"),
    ("softmax", "d"): Bound(6, 0, CONDITION, "of s_i Σ_j s_j |δ_i − δ_j|: a constant δ gives exact zeros"),
    ("cross-entropy", "u"): Bound(4, 0, ULP, "log1p of what the other logits add; by its terms where y has both signs"),
    ("cross-entropy", "Jx"): Bound(6, 0, CONDITION, "of ŷ_i Σ_{j≠i} |y_j| + |y_i| (1 − ŷ_i), for any y"),
    ("cross-entropy", "Jx one-hot"): Bound(4, 0, ULP, "a probability, or the sum of the others, and no difference"),
    ("cross-entropy", "Jy"): Bound(4, 0, ULP, "−log ŷ"),
    ("cross-entropy", "dx"): Bound(6, 0, CONDITION, "as the Jacobian, times δ"),
    ("cross-entropy", "dx one-hot"): Bound(4, 0, ULP, "as the Jacobian, times δ"),
    ("cross-entropy", "dy"): Bound(4, 0, ULP, "−δ log ŷ"),
    ("composition", "u"): _LAYERS,
    ("composition", "J"): _LAYERS,
    ("composition", "d"): _LAYERS,
    ("kinked", "u"): _LAYERS,
    ("kinked", "J"): _KINK,
    ("kinked", "d"): _KINK,
    ("definition", "u"): _DEFINED,
    ("definition", "J"): _DEFINED,
    ("definition", "d"): _DEFINED,
}


def bounds_markdown() -> str:
    """The table of bounds, for the README.

    >>> print(bounds_markdown().splitlines()[2])
    | elementary | u | 0.5 ULP | one operation of IEEE 754, correctly rounded |
    """
    rows = [f"| {kind} | {quantity} | {bound} | {bound.reason} |" for (kind, quantity), bound in BOUNDS.items()]
    return "\n".join(["| promise | quantity | at most | why |", "|---|---|---|---|", *rows])


def bound_of(row: Operation, quantity: str, args: Sequence[Array]) -> Bound:
    """What a row promises of a quantity such as `u`, `Jx` or `dalpha`.

    >>> from backprop_reference import OPERATIONS
    >>> str(bound_of(OPERATIONS["scale"], "dalpha", ())), str(bound_of(OPERATIONS["tanh"], "Jx", ()))
    ('4 + log₂ n ULP of the condition', '4 ULP')
    """
    promise = "kinked" if len(row.layers) == 1 and _jumps(row.layers[0].h) else row.promise
    if promise == "cross-entropy" and quantity in ("Jx", "dx") and _one_hot(args[1]):
        return BOUNDS[promise, f"{quantity} one-hot"]
    return BOUNDS.get((promise, quantity)) or BOUNDS[promise, quantity[0]]


def _jumps(h: ScalarFunction) -> bool:
    """Whether the slopes of its two pieces differ where they meet, at 0."""
    return h.kinked and bool(h.derivative(-1e-30) != h.derivative(1e-30))


def limit_of(row: Operation, quantity: str, args: Sequence[Array]) -> float:
    """That bound's limit for arguments of these shapes."""
    longest = max((size for a in args for size in a.shape), default=1)
    return bound_of(row, quantity, args).limit(longest, depth(row))


def depth(row: Operation) -> int:
    """How many layers an operation has; what is no chain of layers is one.

    >>> from backprop_reference import OPERATIONS
    >>> depth(OPERATIONS["two_layer_network[tanh]"]), depth(OPERATIONS["dot"])
    (2, 1)
    """
    return max(len(row.layers), 1)


# ── What is asked ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Question:
    """The truth of one quantity at a case, the units it is judged in, and how many of them are allowed."""

    what: str
    truth: Enclosures
    scale: Array
    limit: float
    unit: str

    def claim(self, actual: Any) -> Certified:
        scale = np.nextafter(self.scale, np.inf)  # it was rounded to nearest, and at a jump the limit is just reached
        return Certified(self.what, actual, self.truth, scale, self.limit, self.unit)


def questions(operation: Operation, case: Case, kind: str, *, work: int = WORK) -> tuple[Question, ...]:
    """What is asked of the "value" (one question), the "jacobian" or the "vjp" (one for each argument) at a case.

    None at all of a case that is more `work` to certify, or whose intermediate results overflow.
    """
    args = case.args
    columns = 1 if kind == "value" else sum(a.size for a in args)
    if not may_be_asked(operation, case, columns, work):
        return ()
    point = (case.delta, *args) if kind == "vjp" else args
    sizes = _rounding(operation, case, kind) if operation.promise == "definition" else scale(operation, kind, *point)
    try:
        truths = _TRUTHS[kind](operation, *point)
    except PrecisionCapReached:  # a kink that no digit decides: refused, and nothing is asked
        return ()
    if kind == "value":
        return (_question(operation, case, "u", "u", truths, sizes),)
    letter, shown = ("J", "J_") if kind == "jacobian" else ("d", "d")
    triples = zip(operation.arguments, truths, sizes, strict=True)
    return tuple(_question(operation, case, shown + a, letter + a, truth, size) for a, truth, size in triples)


_TRUTHS: Mapping[str, Callable[..., Any]] = {
    "value": certified.value,
    "jacobian": certified.jacobian,
    "vjp": certified.vjp,
}


def _rounding(operation: Operation, case: Case, kind: str) -> Any:
    """What rounding may do to the definition, in `eps`: the scale of a row that promises nothing else."""
    kinds = ("jacobian",) if kind == "jacobian" else ("vjp",)
    said = evaluated(operation, case.delta, case.args, kinds=kinds, dtype=case.dtype)
    eps = float(np.finfo(case.dtype).eps)
    bounds = {"value": said.forward.bound / eps, "vjp": [d.bound / eps for d in said.vjp]}
    return bounds.get(kind, [J.bound / eps for J in said.jacobian])


def _question(operation: Operation, case: Case, what: str, quantity: str, truth: Enclosures, size: Array) -> Question:
    largest = float(np.finfo(case.dtype).max)
    if (operation.promise, quantity) == ("cross-entropy", "u") and (case.args[1] >= 0).all():
        size = np.zeros(())  # nothing cancels
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.asarray(size) + _underflow(operation, case, quantity, largest)
    size = np.where(size < largest, size, np.nan)  # the terms overflow: nothing can be asked
    bound = bound_of(operation, quantity, case.args)
    return Question(what, truth, size, limit_of(operation, quantity, case.args), bound.unit)


def _underflow(operation: Operation, case: Case, quantity: str, largest: float) -> Any:
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


def may_be_asked(operation: Operation, case: Case, columns: int, work: int = WORK) -> bool:
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


def _one_hot(y: Array) -> bool:
    return bool(np.count_nonzero(y) == 1 and y.max() == 1)


# ── The laws ────────────────────────────────────────────────────────────────────────────────────────────────────────


def value_within_bound_of_truth(p: Point) -> Claims:
    """The forward is within its bound of the certified value."""
    if p.forward:
        for question in questions(p.operation, p.case, "value"):
            yield question.claim(p.forward(*p.args))


def jacobian_within_bound_of_truth(p: Point) -> Claims:
    """Every entry of each dense Jacobian is within its bound of the certified one, and `delta @ J` of the vjp."""
    asked = questions(p.operation, p.case, "jacobian") if p.jacobian else ()
    if p.jacobian and asked:
        jacobians = p.jacobian(*p.args)
        structured = any(hasattr(J, "todense") for J in jacobians)
        pulled = questions(p.operation, p.case, "vjp") if structured else ()
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
    asked = questions(p.operation, p.case, "vjp") if p.vjp else ()
    if p.vjp and asked:
        for _, d, i in p.named("", p.vjp(p.delta, *p.args)):
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


def truth_point(operation: Operation, case: Case, implementation: Operation | None = None) -> Point:
    """A point for these laws alone: JAX is not asked.

    >>> from backprop_reference import OPERATIONS
    >>> case = Case((np.array([3.0, 0.1]),), np.array([1.0, 1.0]), ())
    >>> [claim.what for claim in vjp_within_bound_of_truth(truth_point(OPERATIONS["square"], case))]
    ['dx']
    """
    using = implementation or operation
    return Point(operation, using.forward, using.jacobian, using.vjp, case, None)  # type: ignore[arg-type]
