"""The ends of the range: sums of numbers up to the largest, and floating-point errors that nobody should be told of.

These laws hold the reference to its own contract; a careful framework promises neither.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite, isinf
from typing import Any

import numpy as np
from flint import arb

from backprop_oracle import certified
from backprop_oracle.enclosures import FORMATS, Enclosures, working_precision
from backprop_reference import Operation, identity

from .bounds import limit_of
from .claims import Array, Holds
from .conditions import BITS, terms
from .points import Point
from .ulp import ulp

ENTRIES = 200  # of a case that is certified in passing
POWERS = (1.0, 1.0, 0.5, 0.0, -0.5)  # of the largest number, to which an array goes


def sums_up_to_the_largest_are_numbers(p: Point) -> Iterator[Holds]:
    """Of finite numbers up to the largest, of both signs: a sum is within its bound of the certified truth.

    An infinity is right where the truth, give or take that bound, is beyond the range. It is asked of operations whose
    results are sums or products of arguments, and of no function of them, which may overflow itself.
    """
    row = p.operation
    if not isinstance(row, Operation) or row.promise not in ("sum", "elementary") or p.case.dtype not in FORMATS:
        return
    if sum(a.size for a in p.case.args) > ENTRIES or any(layer.h is not identity for layer in row.layers):
        return
    delta, *args = _large_arrays([p.case.delta, *p.case.args])
    if p.forward:
        truth, (size,) = certified.value(row, *args), terms(row, "value", *args)
        yield _near("u", p.forward(*_copies(args)), truth, size, limit_of(row, "u", args))
    if p.vjp:
        asked = list(zip(certified.vjp(row, delta, *args), terms(row, "vjp", delta, *args), strict=True))
        for name, d, i in p.named("d", p.vjp(delta.copy(), *_copies(args))):
            yield _near(name, d, *asked[i], limit_of(row, name, args))


def _large_arrays(arrays: Sequence[Array]) -> list[Array]:
    """Arrays of the same shapes, always the same for these numbers."""
    draw = np.random.default_rng(zlib.crc32(b"".join(a.tobytes() for a in arrays)))
    largest = float(np.finfo(arrays[0].dtype).max)

    def array(a: Array) -> Array:
        signs = draw.choice([-1.0, 1.0], a.shape)
        return np.asarray(signs * draw.uniform(0.5, 1, a.shape) * largest ** draw.choice(POWERS), a.dtype)

    return list(map(array, arrays))


def _copies(arrays: Sequence[Array]) -> list[Array]:
    return [a.copy() for a in arrays]


def _near(what: str, actual: Any, truth: Enclosures, sizes: Any, limit: float) -> Holds:
    """Whether every entry is within `limit` ULP of the terms' size `Σ|terms|`, in balls: that may be out of range."""
    actual = np.asarray(actual)
    if actual.shape != truth.shape:
        return Holds(what, False, f"{what} has shape {actual.shape}, expected {truth.shape}")
    nearest, info = truth.nearest(accept_ties=True), np.finfo(truth.dtype)
    columns = truth.balls, np.asarray(sizes, object).ravel(), ulp(nearest, truth.dtype).ravel()
    each = zip(actual.ravel().tolist(), *columns, strict=True)
    with working_precision(BITS):
        for k, (number, ball, size, spacing) in enumerate(each):
            room = arb(limit) * max(arb(float(info.eps)) * size, arb(float(spacing)))
            if isfinite(number):
                right = abs(arb(number) - ball) <= room
            else:
                right = isinf(number) and (ball if number > 0 else -ball) + room >= float(info.max)
            if not right:
                where = f"entry {k} of {what}, of numbers up to the largest,"
                return Holds(what, False, f"{where} is {number!r}, certified {float(nearest.flat[k])!r}")
    return Holds(what, True, "")


def numbers_come_without_floating_point_errors(p: Point) -> Iterator[Holds]:
    """Where all results are finite, nothing is raised under `np.errstate(all="raise")`, and so nowhere warned of."""
    for what, results in _results(p):
        with np.errstate(all="ignore"):
            finite = all(np.isfinite(result).all() for result in results())
        try:
            with np.errstate(all="raise"):
                results()
        except FloatingPointError as error:
            yield Holds(what, not finite, f"{what} is finite, and under np.errstate(all='raise') raises: {error}")
        else:
            yield Holds(what, True, "")


def _results(p: Point) -> Iterator[tuple[str, Callable[[], list[Any]]]]:
    forward, jacobian, vjp = p.forward, p.jacobian, p.vjp
    if forward:
        yield "u", lambda: [forward(*p.args)]
    if vjp:
        yield "vjp", lambda: [d for d in vjp(p.delta, *p.args) if d is not None]
    if jacobian and p.said.jacobian:
        dense = [hasattr(J, "todense") for J in jacobian(*p.args)]
        if all(dense):
            yield "J", lambda: [J.todense() for J in jacobian(*p.args)]
            yield "delta @ J", lambda: [p.delta @ J for J in jacobian(*p.args)]


END_LAWS: Mapping[str, Callable[[Point], Iterator[Holds]]] = {
    law.__name__: law for law in (sums_up_to_the_largest_are_numbers, numbers_come_without_floating_point_errors)
}
