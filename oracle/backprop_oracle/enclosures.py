"""Balls that are known to hold a real number, and the floats nearest to it.

A ball `[m ± r]` (python-flint's `arb`) is an interval of which FLINT proves, operation by operation, that it holds the
exact result. This module raises the precision until a ball is narrow enough (Ziv's strategy) and rounds it correctly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flint import arb, ctx

START = 128  # bits of the first attempt; each further one doubles them
CAP = 16384  # bits of the last: products of three doubles are exact long before
MARGIN = 24  # a sharp ball has a radius of at most 2^-MARGIN units in the last place

FORMATS = {  # bits p of the significand, exponent e of the smallest subnormal 2^e, and f of overflow at 2^f
    np.dtype(np.float32): (24, -149, 128),
    np.dtype(np.float64): (53, -1074, 1024),
}

Refine = Callable[[int, int], arb]


class PrecisionCapReached(ArithmeticError):
    """The enclosure was still too wide when the precision reached its cap."""


class Undecided(ArithmeticError):
    """A ball holds both sides of a kink: only a higher precision can tell on which side the number lies."""


@dataclass(frozen=True)
class Enclosures:
    """An array of real numbers, each known to lie in a ball.

    `shape` is the array's shape, `balls` its entries in C order, `dtype` the format that they are sharp for: a radius
    is at most `2^-24` units in the last place of that format (subnormal spacing included).
    """

    name: str
    shape: tuple[int, ...]
    balls: tuple[arb, ...]
    dtype: np.dtype[Any]
    refine: Refine = field(repr=False, compare=False)

    def nearest(self, dtype: Any = None, *, accept_ties: bool = False) -> np.ndarray:
        """The correctly rounded array: to nearest, ties to even, in `dtype` (by default the enclosures' own).

        Both ends of every ball round to the float returned; where they do not, precision is raised until they do. A
        number exactly half-way between two floats is settled when it evaluates exactly, as polynomials and equal
        logits do. One that is not, or that misses the half by less than 2^-16000 (a product times `gelu′(200)`), is
        a `PrecisionCapReached`; with `accept_ties` it becomes the even neighbour, which is then proven to be within
        `½ + 2^-1000` units in the last place, not to be the nearest. Zeros come back as `+0.0`: reals have no other.

        >>> from backprop_oracle.certified import value
        >>> value("softmax", np.array([0.0, 0.0])).nearest()
        array([0.5, 0.5])
        """
        chosen = np.dtype(dtype or self.dtype)
        with working_precision(START):  # float(x) is the double nearest to the middle of x, here an end
            low, high = (np.array([float(end(ball)) for ball in self.balls]) for end in (arb.lower, arb.upper))
        with np.errstate(over="ignore", invalid="ignore"):
            flat = low.astype(chosen) + chosen.type(0)  # no -0.0
            settled = flat == high.astype(chosen)
            if chosen == np.float32:  # rounded twice: not where the first rounding may have made a tie
                away = np.nextafter(flat, np.where(low > flat, np.inf, -np.inf), dtype=chosen)
                settled &= np.isfinite(flat) & ((low == flat) | (2 * low != flat.astype(np.float64) + away))
        for i in np.flatnonzero(~settled):
            flat[i] = self._nearest(int(i), chosen, accept_ties)
        return flat.reshape(self.shape)

    def _nearest(self, index: int, dtype: np.dtype[Any], accept_ties: bool) -> float:
        ball, bits = self.balls[index], START
        while True:
            with working_precision(bits):
                low, high = round_to(ball.lower(), dtype), round_to(ball.upper(), dtype)
            if low == high:
                return low
            if bits >= CAP:
                break
            bits *= 2
            try:
                ball = self.refine(index, bits)
            except Undecided:
                ball = arb.nan()
        if accept_ties and ball.rel_accuracy_bits() > FORMATS[dtype][0] + 1000:
            return low if _even(low, dtype) else high
        raise PrecisionCapReached(
            f"{self.name}: entry {position(index, self.shape)} is not settled between {low!r} and {high!r} in "
            f"{dtype} at {bits} bits, where it lies in {ball.str(25)}. It is probably a tie; "
            "nearest(accept_ties=True) takes the even neighbour."
        )


@contextmanager
def working_precision(bits: int, terms: int = 2) -> Iterator[None]:
    """Sets python-flint's global precision and series length for a `with` block."""
    before = ctx.prec, ctx.cap
    ctx.prec, ctx.cap = bits, terms
    try:
        yield
    finally:
        ctx.prec, ctx.cap = before


def ziv(
    name: str,
    evaluate: Callable[[], list[arb]],
    dtype: np.dtype[Any],
    label: Callable[[int], str],
) -> list[arb]:
    """Evaluates at 128, 256, … bits until every ball is sharp for `dtype`.

    Sharp is: a radius of at most `2^-24` units in the last place, or of smallest subnormals. So a ball around an exact
    zero comes to rest too, once both its ends are far below half the smallest subnormal.
    """
    digits, lowest, _ = FORMATS[dtype]
    target, floor = digits + MARGIN, arb(2) ** (lowest - MARGIN)
    bits, wide, reason = START, 0, ""
    with working_precision(START):
        while bits <= CAP:
            ctx.prec = bits
            try:
                balls = evaluate()
            except Undecided as undecided:
                reason = str(undecided)
            else:
                sharp = [_sharp(ball, target, floor) for ball in balls]
                if all(sharp):
                    return balls
                wide = sharp.index(False)
                reason = f"it lies in {balls[wide].str(10)}"
            bits *= 2
    raise PrecisionCapReached(
        f"{name}: {label(wide)} is not known to {target} bits at the cap of {CAP} bits: {reason}. An argument sits "
        f"on or within 2^-{CAP // 2} of a kink, a pole or an edge of the domain, or an intermediate result is beyond "
        f"2^(2^{CAP // 2})."
    )


def _sharp(ball: arb, bits: int, floor: arb) -> bool:
    """Whether the radius is at most `2^-bits |ball|`, or below `floor`. Infinite truths (of masks) are exact balls."""
    return ball.rel_accuracy_bits() >= bits or bool(ball.rad() < floor)


def round_to(end: arb, dtype: np.dtype[Any]) -> float:
    """The float of `dtype` nearest to an exact ball, ties to even, overflow to infinity.

    >>> round_to(arb(1) + arb(2) ** -24, np.dtype("float32"))
    1.0
    """
    if not end.is_finite():
        return float("inf") if end > 0 else float("-inf") if end < 0 else float("nan")
    digits, lowest, overflow = FORMATS[dtype]
    mantissa, exponent = map(int, end.man_exp())
    if mantissa == 0:
        return 0.0
    top = abs(mantissa).bit_length() + exponent  # 2^(top-1) <= |end| < 2^top
    if top > 1100:
        return float("inf") if mantissa > 0 else float("-inf")
    if top < -1200:
        return 0.0
    quantum = max(top - digits, lowest)
    steps = mantissa << (exponent - quantum) if exponent >= quantum else _half_even(mantissa, quantum - exponent)
    if steps == 0:
        return 0.0
    if abs(steps).bit_length() + quantum > overflow:
        return float("inf") if steps > 0 else float("-inf")
    return math.ldexp(steps, quantum)


def _half_even(mantissa: int, shift: int) -> int:
    """`mantissa / 2^shift` to the nearest integer, ties to even."""
    quotient, rest = mantissa >> shift, mantissa & ((1 << shift) - 1)
    half = 1 << (shift - 1)
    return quotient + (rest > half or (rest == half and quotient & 1))


def _even(number: float, dtype: np.dtype[Any]) -> bool:
    """Whether the last bit of the float is 0; infinity counts as even, as IEEE 754 rounds."""
    bits = np.array(number, dtype=dtype).view(f"u{dtype.itemsize}")
    return int(bits) & 1 == 0


def position(index: int, shape: tuple[int, ...]) -> str:
    """The flat index as text, in the indices of the shape."""
    return str(tuple(int(i) for i in np.unravel_index(index, shape))) if shape else "()"
