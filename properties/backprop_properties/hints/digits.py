"""Is a definition's formula right, and only its digits or its range are not? Experiments at numbers that grow.

Nothing but the definition's own rounding stands behind a definition, so that another formula which is algebraically
the same may be rejected for its digits. Whether they are lost to rounding shows in two formats: an error of rounding
grows as eps does, one of a formula stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from backprop_oracle.definition import Definition

from ..cases.case import Array, Case
from ..cases.domains import into_the_domain
from .probe import Probe
from .state import Found

LADDER = (1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700)
FEW = 2.0**6  # times eps: what any formula may lose
SOME = 2.0**16  # times eps: what numbers may lose that the shorter format does not reach
LUCK = 2.0**-8  # how much less than expected an error of rounding may be
NO_DIGITS = 2.0**-6


def rounding(p: Probe, failing: Case, breaks: Callable[[Case], bool]) -> Found | None:
    """Right at ordinary numbers, and wherever numbers are wrong, as wrong as rounding makes them in another format."""
    if not isinstance(p.row, Definition) or p.kind == "jacobian" or not all(map(p.right, p.ordinary())):
        return None
    largest = max((_largest(p.array(failing, name)) for name in p.real if name != "delta"), default=0.0)
    if not 1 < largest < np.inf or not breaks(failing):
        return None
    if not np.any(failing.delta):  # of which every gradient is right
        failing = replace(failing, delta=np.ones_like(failing.delta))
    usual = replace(failing, delta=np.where(failing.delta == 0, 0, np.copysign(1, failing.delta)).astype(p.dtype))
    grown = [(size, _sized(p, case, size)) for size in (*LADDER, largest) if size <= largest for case in (usual,)]
    told = [_of_digits(p, case) for case in (failing, *(case for _, case in grown), *_scaled(p, largest))]
    sure = [pair for pair in told if pair]
    if len(sure) < len(told) or max(long for long, _ in sure[1:]) > 8 * max(short for _, short in sure[1:]):
        return None
    start = next((size for size, case in grown if breaks(case)), largest)
    of = [name for name in p.real if name != "delta"]
    where = f"{of[0]} = {start:.3g}" if len(of) == 1 else f"numbers of {start:.3g}"
    since = f"from about {where} on" if start > LADDER[0] else "at some numbers"
    are = p.are(range(len(p.names))) if len(p.names) == 1 else "the formula is"
    return "rounding", (
        f"{are} right at ordinary numbers and differs by rounding alone, {since}, where the definition keeps its "
        "digits; a formula that is algebraically the same, and to be accepted for its digits, is given with also="
    )


def _largest(a: Array) -> float:
    return float(np.abs(a.astype(np.float64)).max(initial=0.0))


def _sized(p: Probe, case: Case, size: float) -> Case:
    """A case whose largest number, of each argument, is `size`."""
    found = {}
    for name in (name for name in p.real if name != "delta"):
        a = p.array(case, name).astype(np.float64)
        found[name] = (a * (size / (_largest(a) or 1.0))).astype(p.dtype)
    return p.at(case, **found)


def _scaled(p: Probe, largest: float) -> list[Case]:
    return [_sized(p, case, size) for case in p.ordinary()[:3] for size in LADDER if size <= max(largest, 30)]


def _of_digits(p: Probe, case: Case) -> tuple[float, float] | None:
    """The largest errors at a case, in eps of float64 and of a shorter format, if each is one that rounding makes."""
    short = np.dtype(np.float32) if p.dtype == np.float64 else p.dtype
    near = [_in(p, case, short, 1 + k / 64) for k in range(4)]
    at = replace(near[0], args=tuple(map(_long, near[0].args)), delta=near[0].delta.astype(np.float64))
    at = case if p.dtype == np.float64 else at
    truth, bounds = p.truth(at), p.bounds(at)
    got = p.ask(at)
    if got is None or any(r is not None and _no_zero(r, t) for r, t in zip(got, truth, strict=True)):
        return None
    errors = _errors(got, truth, bounds)
    lost = [_errors(p.ask(one), p.truth(one)) for one in near]
    largest = [0.0, 0.0]
    for i, t in enumerate(truth):
        shorter = [one[i] for one in lost if one is not None]
        if errors is None or len(shorter) < len(near):
            return None
        if not _as_rounding_does(errors[i], np.max(shorter, 0), t, short):
            return None
        eps = float(np.finfo(np.float64).eps), float(ml_dtypes.finfo(short).eps)
        for k, error in enumerate((errors[i], np.max(shorter, 0))):
            with np.errstate(all="ignore"):
                absolute = np.where(np.isfinite(t) & np.isfinite(error), error * np.abs(t), 0.0)
            largest[k] = max(largest[k], float(np.max(absolute, initial=0.0)) / eps[k])
    return largest[0], largest[1]


def _long(a: Array) -> Array:
    return a if a.dtype.kind in "iub" else a.astype(np.float64)


def _in(p: Probe, case: Case, dtype: np.dtype[Any], by: float) -> Case:
    """A case in a format, with its numbers a little larger."""
    args = tuple(a if a.dtype.kind in "iub" else (a.astype(np.float64) * by).astype(dtype) for a in case.args)
    return replace(case, args=args, delta=case.delta.astype(dtype))


def _errors(
    got: Sequence[Array | None] | None, truth: Sequence[Array], bounds: Sequence[Array] | None = None
) -> list[Array] | None:
    """Of each entry the relative error, but for what rounding may do to the right one: 0 where that is not a number,
    infinite where only the other is not.
    """
    if got is None:
        return None
    found = []
    for i, (r, t) in enumerate(zip(got, truth, strict=True)):
        bound = np.zeros(()) if bounds is None else bounds[i]
        if not t.size:
            found.append(np.zeros(0))
            continue
        if r is None or r.shape != t.shape:
            return None
        with np.errstate(all="ignore"):
            error = np.where(r == t, 0.0, np.maximum(np.abs(r - t) - bound, 0.0 * np.abs(r - t)) / np.abs(t))
        found.append(np.where(np.isfinite(t), np.where(np.isnan(error), np.inf, error), 0.0))
    return found


def _no_zero(got: Array, truth: Array) -> bool:
    """Whether an entry is as large as the largest where 0 is right: terms that cancel leave less."""
    if got.shape != truth.shape:
        return True
    return bool(np.any(np.abs(got[truth == 0]) > NO_DIGITS * _largest(truth)))


def _as_rounding_does(long: Array, short: Array, truth: Array, dtype: np.dtype[Any]) -> bool:
    """Whether errors in float64 are small, or come with the errors in a shorter format that rounding would make."""
    eps, tiny = (float(getattr(ml_dtypes.finfo(dtype), name)) for name in ("eps", "smallest_normal"))
    lost = long / float(np.finfo(np.float64).eps)
    reached = np.abs(truth) > 4 * tiny
    as_much = (short >= np.minimum(NO_DIGITS, lost * eps * LUCK)) & ((long <= 2) | (lost * LUCK <= short / eps))
    beyond = (lost <= SOME) | ((long >= 0.5) & (long <= 2)) | (np.abs(truth) < float(np.finfo(np.float64).tiny))
    return bool(np.all((lost <= FEW) | np.where(reached, as_much & np.isfinite(long), beyond)))


# ── Extreme numbers ─────────────────────────────────────────────────────────────────────────────────────────────────


def extremes(p: Probe, failing: Case, breaks: Callable[[Case], bool]) -> Found | None:
    """Right at all numbers but those whose products leave the range of the format, tried at either side."""
    if not isinstance(p.row, Definition) or p.kind == "jacobian":
        return None
    for near in (max(p.largest**0.1, 30.0), 30.0):
        far = max(p.largest**0.3, 2 * near)
        inner = [_within(p, failing, near), into_the_domain(replace(p.domain, moderate=True), failing)]
        inner += [_within(p, p.scaled(case, by), near) for case in p.ordinary()[:3] for by in (0, 1e-3, 1, 30, near)]
        inner += [_of_zeros(p, case) for case in p.ordinary()[:3]]
        if _reaches(failing, far) and breaks(failing) and not any(map(breaks, inner)):
            says = f"right for numbers from {1 / near:.2g} to {near:.2g}, wrong for some beyond {far:.2g} or below "
            says += f"{1 / far:.2g}: something on the way leaves the range of {p.dtype.name}; "
            return "overflow", says + 'domain={"values": "moderate"} leaves them out'
    return None


def _of_zeros(p: Probe, case: Case) -> Case:
    """A case whose arguments begin with zeros: those of the first row, or the first number."""
    changed = {name: p.array(case, name).copy() for name in p.real if name != "delta"}
    for a in (a for a in changed.values() if a.ndim):
        a[:1] = 0
    return p.at(case, **changed)


def _reaches(case: Case, far: float) -> bool:
    sizes = np.concatenate([np.abs(_long(a)).ravel() for a in (*case.args, case.delta) if a.dtype.kind not in "iub"])
    numbers = sizes[(sizes > 0) & np.isfinite(sizes)]
    return bool(np.any((numbers >= far) | (numbers <= 1 / far)))


def _within(p: Probe, case: Case, far: float) -> Case:
    """A case with its numbers moved to where products of a few stay in the range."""

    def moved(a: Array) -> Array:
        b = a.astype(np.float64)
        return np.where(b == 0, b, np.copysign(np.clip(np.abs(b), 1 / far, far), b)).astype(a.dtype)

    return p.at(case, **{name: moved(p.array(case, name)) for name in p.real if name in (*p.row.arguments, "delta")})
