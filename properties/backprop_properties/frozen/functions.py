"""Points at which scalar functions go wrong, each chosen: zeros, bends, flat ends, and where slopes vanish."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from backprop_reference import Operation, ScalarFunction

from .draws import Numbers

Point = tuple[str, tuple[str, ...], Numbers, Numbers]  # comment, flags, x, delta

DELTA = (1.0, -2.0, 0.75, 3.0, -1.5)
EXPONENTIAL = ("exp", "tanh", "sigmoid", "elu", "softplus", "silu", "gelu", "gelu_tanh")
FLAT: Mapping[str, tuple[tuple[float, ...], ...]] = {  # where exp loses digits, overflows, underflows
    "float64": ((5.0, 10.0, 20.0), (30.0, 36.75, 40.0), (110.0, 300.0, 500.0), (700.0, 709.5, 720.0), (740.0, 745.0),
                (800.0, 1e4, 1e300)),
    "float32": ((5.0, 8.5, 10.0), (15.0, 17.0, 20.0), (50.0, 70.0, 80.0), (86.0, 88.5, 92.0), (100.0, 103.5),
                (110.0, 1e4, 1e30)),
}  # fmt: skip
ON_PAPER = {  # elsewhere only h(0) and h′(0) are numbers that a person knows
    "log": (1.0, 1.0),
    "reciprocal": (1.0, 2.0, -4.0, 0.5),
    **dict.fromkeys(("negate", "square", "identity", "relu"), (0.0, 1.0, -1.0, 2.0, -3.0)),
}
ZEROS = {  # of a function or of its derivative
    "log": 1.0,
    "silu": -1.2784645427610738,
    "gelu": -0.7517915241936714,
    "gelu_tanh": -0.7524614220710162,
}
TAILS = {  # where a Gaussian's left tail becomes subnormal, and then 0
    "gelu": {"float64": (-8.0, -26.0, -37.5, -38.5), "float32": (-4.0, -9.0, -13.0, -14.0)},
    "gelu_tanh": {"float64": (-5.0, -12.0, -21.0, -21.5), "float32": (-4.0, -6.0, -9.5, -10.0)},
}
ENDS = {"log": 0.99, "reciprocal": 0.49, "square": 0.49}  # as shares of the largest exponent
NEARLY_LINEAR = ("tanh", "silu", "gelu", "gelu_tanh", "elu")  # next to 0


def function_cases(operation: Operation, dtype: np.dtype[Any]) -> Iterator[Point]:
    """The chosen points of a scalar function; none for other operations.

    >>> from backprop_reference import OPERATIONS
    >>> [flags for _, flags, _, _ in function_cases(OPERATIONS["relu"], np.dtype("float32"))][1]
    ('Kink',)
    """
    if operation.layers or not operation.functions:
        return
    (h,) = operation.functions
    for comment, flags, x in _points(h, dtype):
        yield comment, flags, x, [DELTA[i % len(DELTA)] for i in range(len(x))]


def _points(h: ScalarFunction, dtype: np.dtype[Any]) -> Iterator[tuple[str, tuple[str, ...], Numbers]]:
    name = h.name
    yield "the function on paper", ("HandChecked",), list(ON_PAPER.get(name, (0.0, 0.0)))
    smallest, info = float(np.finfo(dtype).smallest_subnormal), np.finfo(dtype)
    if h.kinked:
        yield "at the bend and next to it", ("Kink",), [0.0, -0.0, smallest, -smallest, 1.0]
    if not h.domain:  # takes 0
        yield "zeros of both signs, and the smallest numbers", ("Ties", "Subnormal"), [0.0, -0.0, smallest, -smallest]
    if name in EXPONENTIAL:
        for sizes in FLAT[dtype.name]:
            yield f"far to the right: {sizes[0]:g} and more", ("Saturation",), list(sizes)
            yield f"far to the left: {-sizes[0]:g} and less", ("Saturation",), [-x for x in sizes]
    if name in ZEROS:
        zero = dtype.type(ZEROS[name])
        beside = [zero, np.nextafter(zero, dtype.type(9)), np.nextafter(zero, dtype.type(-9))]
        yield "a zero and its neighbours", ("ZeroOfSlope",), [float(x) for x in beside]
        yield "near a zero", ("ZeroOfSlope",), [float(zero) + 2.0**-k for k in (6, 10, 14, 18)]
        yield "on the other side of it", ("ZeroOfSlope",), [float(zero) - 2.0**-k for k in (5, 9, 13, 17)]
    if name in TAILS:
        yield "a tail that underflows", ("Saturation", "Counterexample"), list(TAILS[name][dtype.name])
    if name in ENDS:
        ends = [math.ldexp(1.25, int(e * math.frexp(float(info.max))[1])) for e in (ENDS[name], -ENDS[name])]
        yield "the ends of the range", ("Large", "Subnormal"), ends
    if name in NEARLY_LINEAR:
        yield (
            "next to 0, where h(x) is nearly a multiple of x",
            ("Subnormal", "Counterexample"),
            [2.0**-30, -(2.0**-60)],
        )
    yield "the limits at infinity", ("Infinite",), [math.inf] if h.domain == "positive" else [math.inf, -math.inf]
