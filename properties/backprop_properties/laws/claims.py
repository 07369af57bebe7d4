"""What a law says of a case, and how it is judged: the one comparison of the project.

A law yields claims. `Close` compares arrays entry by entry with a bound from the error analysis; `Certified` asks how
many units in the last place an array is from the certified truth; `Holds` is a plain fact. A comparison never returns
quietly: `judge` measures what is within its bound and raises `Violation` for the rest.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from backprop_oracle.enclosures import Enclosures

from .skipped import Skipped
from .ulp import scaled_ulp_error

Array = NDArray[Any]


WELL_CONDITIONED = 128  # ULP of error that a formula may make; where it may make more, errors in ULP say nothing of it


class Close(NamedTuple):
    """`actual` is within `bound` of `expected`, entry by entry; an entry whose bound is not finite is not judged.

    `at` are the points of the calls, each a cotangent and the arguments, where they are not that of the case.
    """

    what: str
    actual: Any
    expected: Any
    bound: Any
    at: Sequence[Sequence[Array]] = ()


class Chosen(NamedTuple):
    """Some entries of an array of this shape, by their indices into the flat array."""

    shape: tuple[int, ...]
    entries: tuple[int, ...]


class Certified(NamedTuple):
    """`actual` is within `limit` units of the truth, entry by entry; `unit` names them.

    A unit is the ULP of the true entry, or `eps · scale` where that is larger. A scale of NaN: nothing is judged. With
    `chosen` the truth and the scale are those of some entries of `actual`, and nothing is said of the others.
    """

    what: str
    actual: Any
    truth: Enclosures
    scale: Any
    limit: float
    unit: str = "ULP"
    chosen: Chosen | None = None


class Holds(NamedTuple):
    """`truth` is true; otherwise `message` says what was expected and what came.

    `at` are the points of the calls, as for `Close`.
    """

    what: str
    truth: bool
    message: str
    at: Sequence[Sequence[Array]] = ()


class Measure(NamedTuple):
    """A claim that held: its worst entry, as a share of its bound, and how many entries were judged."""

    share: float
    entries: int
    claim: "Close | Certified | Holds"
    dtype: Any

    @property
    def ulp(self) -> float:
        """The worst entry in ULP of the dtype, of those that are well-conditioned, or in the unit of the certificate.

        Below the normal numbers a ULP is counted as the smallest of them, since XLA flushes subnormals to 0.
        """
        claim = self.claim
        if isinstance(claim, Certified):
            return self.share * claim.limit
        if isinstance(claim, Holds) or not self.entries:
            return 0.0
        actual, expected, bound = (np.asarray(a) for a in claim[1:4])
        with np.errstate(invalid="ignore", over="ignore"):
            error, judged = _errors(actual, expected, bound, self.dtype)
            unit = spacing(expected, self.dtype)
            clear = judged & (bound <= WELL_CONDITIONED * unit)
            return float((error / np.maximum(unit, _format(self.dtype).normal))[clear].max(initial=0.0))


class Violation(AssertionError):
    """A claim that does not hold: where, by how much, and the numbers; `times` is how far beyond its bound it is."""

    def __init__(
        self,
        what: str,
        message: str,
        index: tuple[int, ...] | None = None,
        actual: float | None = None,
        expected: float | None = None,
        ulp: float | None = None,
        bound: float | None = None,
        times: float | None = None,
        claim: "Close | Certified | None" = None,
        at: Sequence[Sequence[Array]] = (),
    ) -> None:
        super().__init__(message)
        self.what, self.message, self.index = what, message, index
        self.actual, self.expected, self.ulp, self.bound = actual, expected, ulp, bound
        self.times, self.claim, self.at = times, claim, at


Judged = Measure | Violation | Skipped


def judge(claim: Close | Certified | Holds, dtype: Any) -> Measure:
    """The measure of a claim that holds; `Violation` otherwise.

    >>> held = judge(Close("u", np.array([1.0, 2.0]), np.array([1.0, 2.0]), np.array([0.0, 0.0])), np.float64)
    >>> held.share, held.entries, held.ulp
    (0.0, 2, 0.0)
    >>> judge(Close("u", np.array([1.0, 2.5]), np.array([1.0, 2.0]), np.array([0.0, 0.25])), np.float64)
    Traceback (most recent call last):
    backprop_properties.laws.claims.Violation: u[1] = 2.5, expected 2.0: off by 0.5, allowed 0.25
    """
    if isinstance(claim, Holds):
        if not claim.truth:
            raise Violation(claim.what, claim.message, at=claim.at)
        return Measure(0.0, 1, claim, dtype)
    if isinstance(claim, Certified):
        return _judge_certified(claim, dtype)
    actual, expected, bound = (np.asarray(a) for a in claim[1:4])
    if actual.shape != expected.shape:
        raise Violation(claim.what, f"{claim.what} has shape {actual.shape}, expected {expected.shape}")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        error = np.abs(actual.astype(np.float64, copy=False) - expected.astype(np.float64, copy=False))
        if (error <= bound).all():  # nearly always: nothing is NaN, and no infinity is judged
            share = float(np.fmax.reduce(error / bound, axis=None, initial=0.0))  # 0 / 0 and ∞ / ∞ count for nothing
            return Measure(share, int(np.count_nonzero(bound < np.inf)), claim, dtype)
        error, judged = _errors(actual, expected, bound, dtype)
        count = np.count_nonzero(judged)
        if not count:
            return Measure(0.0, 0, claim, dtype)
        shares = np.where(judged, np.where(error == 0, 0, error / bound), -1.0)
        worst = np.unravel_index(shares.argmax(), shares.shape)
        if shares[worst] <= 1:
            return Measure(float(shares[worst]), int(count), claim, dtype)
        in_ulp = error[worst] / np.maximum(spacing(expected[worst], dtype), _format(dtype).normal)
    index = tuple(int(i) for i in worst)
    raise Violation(
        claim.what,
        f"{claim.what}{list(index) if index else ''} = {_number(actual[worst])}, "
        + (
            "expected exactly 0"
            if expected[worst] == 0 == bound[worst]
            else f"expected {_number(expected[worst])}: off by {error[worst]:.3g}, allowed {float(bound[worst]):.3g}"
        ),
        index,
        float(actual[worst]),
        float(expected[worst]),
        float(in_ulp),
        float(bound[worst]),
        float(shares[worst]),
        claim,
        claim.at,
    )


def certified_errors(claim: Certified, dtype: Any) -> Array:
    """The error of each entry in the claim's unit, -1 for entries that are not judged."""
    sizes = np.broadcast_to(np.asarray(claim.scale, np.float64), claim.truth.shape)
    judged = ~np.isnan(sizes)
    with np.errstate(over="ignore"):
        actual = _of_chosen(np.asarray(claim.actual), claim.chosen).astype(dtype)
    return np.where(judged, scaled_ulp_error(actual, claim.truth, np.where(judged, sizes, 0)), -1.0)


def _of_chosen(actual: Array, chosen: Chosen | None) -> Array:
    return actual if chosen is None else actual.ravel()[list(chosen.entries)]


def _judge_certified(claim: Certified, dtype: Any) -> Measure:
    what, actual, truth, _, limit, unit, chosen = claim
    actual, shape = np.asarray(actual), truth.shape if chosen is None else chosen.shape
    if actual.shape != shape:
        raise Violation(what, f"{what} has shape {actual.shape}, expected {shape}")
    errors = certified_errors(claim, dtype)
    if not (errors >= 0).any():
        return Measure(0.0, 0, claim, dtype)
    worst = np.unravel_index(np.argmax(errors), errors.shape)
    if errors[worst] > limit:
        place = worst if chosen is None else np.unravel_index(chosen.entries[worst[0]], chosen.shape)
        index, expected = tuple(int(i) for i in place), truth.nearest(dtype, accept_ties=True)[worst]
        raise Violation(
            what,
            f"{what}{list(index) if index else ''} = {_number(actual[index])}, "
            f"certified {_number(expected)}: off by {errors[worst]:.4g} {unit}, allowed {limit:.4g}",
            index,
            float(actual[index]),
            float(expected),
            float(errors[worst]),
            float(limit),
            float(errors[worst] / limit),
            claim,
        )
    return Measure(float(errors[worst] / limit), int((errors >= 0).sum()), claim, dtype)


def _errors(actual: Array, expected: Array, bound: Array, dtype: Any) -> tuple[Array, Array]:
    """`|actual − expected|`, infinite for a NaN or a wrong infinity, and which entries can be judged.

    An expected number beyond the dtype's range may come as infinity; one so close to the range's end that its bound
    reaches over it may, too.
    """
    actual, expected = actual.astype(np.float64, copy=False), expected.astype(np.float64, copy=False)
    right = actual == expected
    infinite = np.isinf(actual)
    if np.count_nonzero(infinite):
        overflows = np.abs(expected) + bound >= _format(dtype).largest
        right |= overflows & infinite & (np.sign(actual) == np.sign(expected))
    error = np.where(right, 0.0, np.abs(actual - expected))
    error[np.isnan(error)] = np.inf
    return error, np.isfinite(bound) & ~np.isnan(expected)


def spacing(a: Any, dtype: Any) -> Array:
    """The distance from `|a|` to the next number of the dtype, at least that of the subnormals: one ULP.

    >>> spacing([1.0, 0.0], np.float64)
    array([2.22044605e-016, 4.94065646e-324])
    """
    known = _format(dtype)
    magnitude = np.minimum(np.maximum(np.abs(np.asarray(a, np.float64)), known.normal), known.largest)
    return np.ldexp(known.eps, np.frexp(magnitude)[1] - 1)


class _Format(NamedTuple):
    """The spacing at 1, the smallest normal number and the largest number of a dtype."""

    eps: float
    normal: float
    largest: float


@cache
def _format(dtype: Any) -> _Format:
    info = ml_dtypes.finfo(dtype)
    return _Format(float(info.eps), float(info.smallest_normal), float(info.max))


def _number(a: Any) -> str:
    return repr(float(a))
