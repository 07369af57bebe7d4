"""The certified results of a chosen case: correctly rounded, with the condition of each entry, for readers to judge by.

An entry's condition is the size of what the problem adds up there, `Σ|terms|` (`conditions.py`). It is never below
the power of two at or under the result, nor below the smallest normal number: `eps` of those is the spacing of floats.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from flint import arb

from backprop_oracle.balls import over_balls, slopes
from backprop_oracle.definitions import DEFINITIONS, FUNCTIONS
from backprop_oracle.derived import program_of
from backprop_oracle.enclosures import START, Enclosures, round_to, working_precision
from backprop_oracle.rows import Row, definition

from ..cases.case import Case
from ..laws.bounds import HALF, limit_of
from ..laws.truth import Question, questions
from ..laws.ulp import ulp
from .cases import Chosen, examples
from .floats import Array, rounded_up, two_digits
from .standard import bounds_of, with_standard
from .vectors import Expected

FAR = arb(2) ** 1100  # beyond every float
WORK = 300_000  # what a case may cost to certify
MOST_ENTRIES = 48  # of the dense Jacobians of a case


class Results(NamedTuple):
    """What is asked of a case; gradients and Jacobians by argument."""

    value: Expected | None
    gradients: Mapping[str, Expected]
    jacobians: Mapping[str, Expected]


def results_of(operation: Row, chosen: Chosen) -> Results:
    """The certified results of a case, with the tolerances of both levels."""
    small = not chosen.batch and chosen.delta.size * sum(a.size for a in chosen.args) <= MOST_ENTRIES
    found = {"value": [value_of(operation, chosen)], "vjp": gradients_of(operation, chosen)}
    found["jacobian"] = jacobians_of(operation, chosen) if small else []
    bounds = bounds_of(operation, chosen, ["vjp", "jacobian"] if found["jacobian"] else ["vjp"])
    value, gradients, jacobians = (
        [one and with_standard(one, bound) for one, bound in zip(found[kind], bounds[kind], strict=True)]
        if found[kind]
        else []
        for kind in ("value", "vjp", "jacobian")
    )
    return Results(value[0], _by_name(operation, gradients), _by_name(operation, jacobians))


def value_of(operation: Row, chosen: Chosen) -> Expected | None:
    """The value of each example; None where terms overflow, so that nothing can be asked."""
    if chosen.special:
        return _special(operation, chosen, "value")[0]
    asked = [next(iter(_asked(operation, case, "value")), None) for case in examples(operation, chosen)]
    return _stacked(asked, chosen.delta, limit_of(operation, "u", chosen.args))


def gradients_of(operation: Row, chosen: Chosen) -> list[Expected | None]:
    """For each argument: the cotangent times the Jacobian; for parameters summed over the batch."""
    if chosen.special:
        return _special(operation, chosen, "vjp")
    each = [_asked(operation, case, "vjp") for case in examples(operation, chosen)]
    results = []
    for i, (name, a) in enumerate(zip(operation.arguments, chosen.args, strict=True)):
        asked = [one[i] if one else None for one in each]
        gather = _summed if chosen.batch and name in operation.parameters else _stacked
        results.append(gather(asked, a, limit_of(operation, f"d{name}", chosen.args)))
    return results


def jacobians_of(operation: Row, chosen: Chosen) -> list[Expected | None]:
    """For each argument, of a small single example."""
    if chosen.special:
        return _special(operation, chosen, "jacobian")
    asked = _asked(operation, Case(chosen.args, chosen.delta, ()), "jacobian")
    return [_rounded(one, chosen.dtype) if one else None for one in asked]


def _by_name(operation: Row, results: Sequence[Expected | None]) -> Mapping[str, Expected]:
    pairs = zip(operation.arguments, results, strict=bool(results))
    return {name: result for name, result in pairs if result}


def _asked(operation: Row, case: Case, kind: str) -> list[Question | None]:
    """One for each quantity of this kind, None where its terms overflow, or where not all of it can be certified."""
    found: Sequence[Question | None] = questions(operation, case, kind, work=WORK)
    return [q if q and not q.chosen and not np.isnan(q.scale).any() else None for q in found]


# ── Batches ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _stacked(asked: Sequence[Question | None], like: Array, limit: float) -> Expected | None:
    """One example beside the other, as in `like`; `limit` is that of no example."""
    each = [_rounded(one, like.dtype) for one in asked if one]
    if len(each) < len(asked):
        return None
    expected = np.array([one.expected for one in each], like.dtype).reshape(like.shape)
    condition = np.array([one.condition for one in each]).reshape(like.shape)
    return Expected(expected, condition, max((one.tolerance for one in each), default=tolerance(limit)))


def _summed(asked: Sequence[Question | None], like: Array, limit: float) -> Expected | None:
    """The sum over the examples: certified, and of all their terms."""
    each = [one for one in asked if one]
    if len(each) < len(asked):
        return None

    def refine(index: int, bits: int) -> arb:
        terms = [one.truth.refine(index, bits) for one in each]
        with working_precision(bits):
            return sum(terms, arb(0))

    with working_precision(START):
        balls = tuple(sum((one.truth.balls[i] for one in each), arb(0)) for i in range(like.size))
    total = Enclosures("the sum over a batch", like.shape, balls, like.dtype, refine)
    scale = sum((one.scale for one in each), np.zeros(like.shape))
    return _result(total.nearest(like.dtype, accept_ties=True), scale, limit)


# ── NaN and infinities ──────────────────────────────────────────────────────────────────────────────────────────────
# A NaN stands for any number: what comes out of extended ball arithmetic as NaN depends on it, or is what the
# definition leaves open, ∞ − ∞ or 0 · ∞. What comes out sharp is the same for every number.


def _special(operation: Row, chosen: Chosen, kind: str) -> list[Expected | None]:
    """One for each quantity, where some input is NaN or infinite and no mask."""
    inputs = (chosen.delta, *chosen.args)
    if operation.promise == "function" and not any(np.isnan(a).any() for a in inputs):
        letter = {"value": "u", "jacobian": "Jx", "vjp": "dx"}[kind]
        limits = at_infinity(operation, kind, *inputs)
        return [_result(limits, np.zeros(limits.shape), limit_of(operation, letter, chosen.args))]
    settled = chosen.settled
    asked = _asked(operation, Case(settled.args, settled.delta, ()), kind)
    pairs = zip(asked, undefined(operation, kind, *inputs), strict=True)
    return [None if one is None or mask is None else _spoilt(_rounded(one, chosen.dtype), mask) for one, mask in pairs]


def undefined(operation: Row, kind: str, delta: Array, *args: Array) -> list[Array | None]:
    """Which entries of the "value" (one array), "jacobian" or "vjp" (one for each argument) are NaN.

    >>> from backprop_reference import OPERATIONS
    >>> nan, delta = np.array([np.nan, 2.0]), np.ones(2)
    >>> [mask.tolist() for mask in undefined(OPERATIONS["hadamard"], "vjp", delta, nan, delta)]
    [[False, False], [True, False]]

    tanh stands for every scalar function whose slope depends on its argument as its value does. The slope at NaN of
    those whose slope is constant may be that constant, or NaN as h′(NaN) is for all: where it matters there is None.
    """
    tanh, own = FUNCTIONS["tanh"], [FUNCTIONS[h.name] for h in operation.functions]
    forms = [f if _is_straight(f) else tanh for f in own], [tanh for _ in own]
    masks, most = (_masks(_form(operation.base, *hs), operation, kind, delta, args) for hs in forms)
    return [mask if np.array_equal(mask, other) else None for mask, other in zip(masks, most, strict=True)]


@cache
def _form(base: str, *functions: Callable[..., Any]) -> Callable[..., Any]:
    """One and the same object each time, so that its program is traced once."""
    return partial(DEFINITIONS[base], *functions)


@cache
def _is_straight(h: Callable[..., Any]) -> bool:
    """Whether a scalar function has a slope at NaN: the same everywhere."""
    nan = np.array([np.nan])
    with working_precision(START):
        return not slopes(program_of(h, (("n",), ("n",)), "value", (nan, nan)), [nan], 0, 0)[0].is_nan()


def _masks(f: Any, operation: Row, kind: str, delta: Array, args: Sequence[Array]) -> list[Array]:
    program = program_of(f, operation.cores, "value", (delta, *args))
    weights = delta.ravel().tolist()

    def derivative(i: int, k: int) -> Array:
        """Where it is NaN: of each output, or of their sum with the cotangent for weights."""
        found = slopes(program, args, i, k)
        if kind == "vjp":
            return np.array(sum((by * weights[j] for j, by in found.items()), arb(0)).is_nan())
        return np.array([j in found and found[j].is_nan() for j in range(delta.size)])

    with working_precision(START):
        if kind == "value":
            return [np.asarray(_is_nan(over_balls(program, args)), bool)]
        outer = () if kind == "vjp" else delta.shape
        columns = ([derivative(i, k) for k in range(a.size)] for i, a in enumerate(args))
        return [np.array(some, bool).T.reshape(outer + a.shape) for some, a in zip(columns, args, strict=True)]


_is_nan = np.frompyfunc(lambda x: x.is_nan(), 1, 1)


def at_infinity(operation: Row, kind: str, delta: Array, x: Array) -> Array:
    """A scalar function's "value", "jacobian" or "vjp" where entries of `x` may be infinite: the limits.

    >>> from backprop_reference import OPERATIONS
    >>> at_infinity(OPERATIONS["gelu"], "value", np.ones(2), np.array([np.inf, -np.inf])).tolist()
    [inf, 0.0]

    Extended ball arithmetic knows them, but for `∞ · 0` in `x f(x)`: there a number beyond every float is asked.
    """
    with working_precision(START):
        points = [_limit(operation, arb(a)) for a in x.tolist()]
        if kind == "vjp":
            balls = [arb(d) * slope for d, (_, slope) in zip(delta.tolist(), points, strict=True)]
        else:
            balls = [h if kind == "value" else slope for h, slope in points]
        found = np.array([_nearest(ball, x.dtype) for ball in balls], x.dtype)
    return np.diag(found) if kind == "jacobian" else found


def _limit(operation: Row, a: arb) -> tuple[arb, arb]:
    """`h` and `h′`."""
    for there in (a, FAR if a > 0 else -FAR):
        point = np.array([there], object)
        program = program_of(definition(operation), operation.cores, "value", (point, point))
        h, slope = over_balls(program, [point])[0], slopes(program, [point], 0, 0).get(0, arb(0))
        if not (h.is_nan() or slope.is_nan()):
            break
    return h, slope


def _nearest(ball: arb, dtype: np.dtype[Any]) -> float:
    low, high = round_to(ball.lower(), dtype), round_to(ball.upper(), dtype)
    if low != high:
        raise ArithmeticError(f"a limit is not settled between {low!r} and {high!r}")
    return low


def _spoilt(result: Expected, mask: Array) -> Expected:
    """NaN in some entries, what it is with a 1 in place of the NaN in the others."""
    expected = np.where(mask, result.expected.dtype.type(np.nan), result.expected)
    return Expected(expected, np.where(mask, 1.0, result.condition), result.tolerance)


# ── Rounding ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _rounded(one: Question, dtype: np.dtype[Any]) -> Expected:
    return _result(one.truth.nearest(dtype, accept_ties=True), one.scale, one.limit)


def _result(expected: Array, scale: Array, limit: float) -> Expected:
    """With the condition of each entry, rounded up to a few bits."""
    info = np.finfo(expected.dtype)
    own, least = ulp(expected, expected.dtype) / float(info.eps), two_digits(float(info.tiny))
    condition = [max(rounded_up(size), least) for size in np.maximum(scale, own).ravel().tolist()]
    return Expected(expected, np.array(condition).reshape(expected.shape), tolerance(limit))


def tolerance(limit: float) -> float:
    """Units from the *rounded* truth, for a limit of units from the truth: in quarters, 0 for a correct rounding.

    >>> tolerance(0.5 + 1e-6), tolerance(4.0), tolerance(8 + math.log2(3))
    (0.0, 4.5, 10.25)
    """
    return 0.0 if limit <= HALF else math.ceil(4 * (limit + 0.5) - 1e-6) / 4
