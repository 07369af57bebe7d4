"""Cases whose every number is chosen: points of scalar functions, and what some implementation was wrong on before."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from backprop_oracle.rows import Row
from backprop_reference import ScalarFunction

Numbers = Any  # nested lists
Flags = tuple[str, ...]
Spelled = tuple[str, tuple[Numbers, ...], Numbers]  # comment, arguments, cotangent
Flagged = tuple[str, Flags, tuple[Numbers, ...], Numbers]

_W, _B, _X = [[1.0, -0.5, 0.25], [0.5, 2.0, -1.0]], [0.5, -0.25], [0.5, -1.0, 2.0]
_W2, _B2, _HOT = [[1.0, -1.0], [0.5, 2.0], [0.25, 1.0]], [0.5, 0.0, -0.5], [0.0, 0.0, 1.0]
_KINK = ("a sum that rounding alone keeps from the bend", ([[0.1, 0.2, -0.3]], [1.0, 1.0, 1.0], [0.0]), [1.0])
_BEND = (
    "a sum of zeros, where the slope of relu is 0",
    ([[0.0, 0.0], [0.5, 1.0]], [2.0, 1.0], [0.0, -1.0]),
    [3.0, 1.0],
)
_FLAT = ("the slope of a flat end is small, not 0", ([37.0, -37.0, 300.0, -300.0, 8.5],), [1.0, -2.0, 0.5, 3.0, 1.0])

COUNTEREXAMPLES: Mapping[str, tuple[Spelled, ...]] = {
    "scale": (("the gradient of the factor is a sum that cancels", ([0.1, 0.2, -0.3], 3.0), [1.0, 1.0, 1.0]),),
    "add": (("a matrix of ones for the identity", ([0.5, -1.0, 2.0], [1.0, 3.0, -2.0]), [1.0, -2.0, 4.0]),),
    "hadamard": (("a product that is subnormal", ([1e-20, 3e-160], [-3e-20, 2e-160]), [1e-20, 1.0]),),
    "exp": (("the smallest results are subnormal", ([-87.5, -103.0, -708.5, -744.0],), [1.0, -2.0, 0.5, 1.0]),),
    "log": (("a subnormal argument, and one next to 1", ([1e-40, 1.0000001192092896, 3.0],), [1e-40, 1.0, -2.0]),),
    "reciprocal": (("a subnormal result, and x² beyond the range", ([3e38, -1e25, 1e-15],), [1.0, 1e30, -2.0]),),
    "leaky_relu": (("a slope of 0.01 is rounded once", ([-1.0, -3.0, -0.7], ), [1.0, -3.0, 0.7]),),
    "sum_reduction": (
        ("what is small is added first", ([1.0, 2.0**-53, 2.0**-53, -1.0],), 1.0),
        ("a row for a column", ([0.5, -1.0, 2.0],), 1.0),
    ),
    "dot": (("all digits cancel", ([0.1, 0.2, -0.3], [1.0, 1.0, 1.0]), 1.0),),
    "affine": (("all digits cancel", ([[0.1, 0.2, -0.3]], [1.0, 1.0, 1.0], [0.0]), [1.0]),),
    "matvec": (
        ("all digits cancel in the product", ([[0.1, 0.2], [0.2, -0.1]], [1.0, -0.5]), [0.5, 1.0]),
        ("gradients beyond a million", ([[3e5, -2e5], [1e5, 4e5]], [2e4, -3e4]), [70.0, -90.0]),
    ),
    "squared_error": (("(x − y)² is not x² − 2xy + y²", ([1e4, 1e4 + 0.25], [1e4 - 0.125, 1e4]), 1.0),),
    "linear_regression": (("the prediction is the target but for its rounding", ([0.1, 0.2], [1.0, 1.0], 0.3), 1.0),),
    "tanh": (("tanh x is x, and its slope is 1 − x²", ([3e-8, 1e-5, 0.75, 5.0],), [1.0, 1.0, 1.0, 1.0]), _FLAT),
    "elu": (("eˣ − 1 loses the digits of x", ([-1e-10, -1e-5, -3e-8],), [1.0, -2.0, 0.5]),),
    "softplus": (
        ("log(1 + eˣ) is eˣ", ([-40.0, -37.0, -20.0],), [1.0, -2.0, 0.5]),
        ("log(1 + eˣ) is not yet x", ([10.25, 12.5, 15.0],), [1.0, -2.0, 0.5]),
    ),
    "silu": (("the zero of the slope", ([-1.278464542761074],), [1.0]), _FLAT),
    "gelu": (("the rounding of x², which exp magnifies", ([-30.0, -12.3, -7.7, 200.0],), [1.0, -2.0, 0.5, 1.0]),),
    "gelu_tanh": (("the rounding of the cubic, magnified", ([-9.1, -7.3, -4.7, 30.0],), [1.0, -2.0, 0.5, 1.0]),),
    "sigmoid": (("s (1 − s) where s rounds to 1", ([17.0, 37.0, 40.0],), [1.0, -2.0, 0.5]), _FLAT),
    "softmax": (
        ("a large constant cotangent", ([3.0, -70.0],), [1e9, 1e9]),
        ("a constant cotangent that is no integer", ([1.5, -20.0, 30.0],), [0.1, 0.1, 0.1]),
        ("one probability rounds to 1", ([40.0, 0.0],), [1.0, 0.0]),
        ("the cotangent's own rounding", ([1.0, 2.0, 3.0],), [1e6 + 0.5, 1e6, 1e6 + 0.25]),
        ("the rounding of x − max x, which exp magnifies", ([0.1, -33.3, -27.7, 7.3],), [1.0, -2.0, 0.5, 3.0]),
        ("large logits next to each other", ([599.0, 600.5, 602.0, 597.0, 603.0],), [1.0, -2.0, 3.0, 0.0, 0.5]),
        ("small logits next to each other", ([-40.5, -39.0, -41.0, -43.0],), [1.0, -2.0, 3.0, 0.5]),
        ("both ends of the range", ([3e38, 0.0, -3e38],), [1.0, 0.0, -1.0]),
        ("the largest logit twice, and what is far below", ([1e38, -1e38, 1e38],), [1.0, -2.0, 0.5]),
        ("a thousand ahead", ([1000.0, 0.0, -1000.0],), [1.0, 0.0, 0.0]),
        ("a subnormal probability", ([0.0, 100.0, 744.0],), [1.0, -2.0, 0.5]),
        ("equal logits, a gradient of exactly half a unit", ([3.5, 3.5, 3.5],), [4.5, -9 * 2.0**-53, 0.0]),
        ("a mask between equal logits", ([1.0, -math.inf, 1.0],), [1.0, 5.0, 0.0]),
        ("the path through the sum", ([0.5, -1.0, 2.0],), [1.0, -2.0, 4.0]),
        ("every logit is below -10000, which is no minus infinity", ([-2e4, -20001.0, -20003.0],), [1.0, -2.0, 0.5]),
    ),
    "softmax_cross_entropy": (
        ("log(1 + exp(−40)) is not 0", ([0.0, 40.0], [0.0, 1.0]), 1.0),
        ("ŷ − 1 is not 0", ([50.0, 0.0], [1.0, 0.0]), 1.0),
        ("a target of one half", ([50.0, 0.0], [0.5, 0.0]), 1.0),
        ("a target of one half, far ahead", ([500.0, 0.0], [0.5, 0.0]), 1.0),
        ("a mask where the target is 0", ([1.0, -math.inf, 0.0], [0.25, 0.0, 0.75]), 1.0),
        ("a mask where the target is not 0: the loss is infinite", ([0.0, -math.inf], [0.0, 1.0]), 1.0),
        ("targets of both signs", ([0.5, -1.0, 2.0], [1.0, 3.0, -2.0]), 1.0),
        ("targets that sum to 0", ([1.0, -(2.0**-53)], [-1.0, 1.0]), 1.0),
        ("a distribution", ([0.5, -1.0, 2.0], [0.25, 0.5, 0.25]), 1.0),
        ("two thousand ahead: the loss is 0", ([2000.0, 0.0], [1.0, 0.0]), 1.0),
        ("the prediction is confident, and wrong", ([1e38, -1e38, 1e38], [0.0, 1.0, 0.0]), 1.0),
        ("a subnormal probability times a large target", ([0.0, -100.0], [-2e5, 1e5]), 1.0),
        ("every logit is below -10000, which is no minus infinity",
         ([-20000.0, -20001.0, -20003.0], [0.25, 0.25, 0.5]), 1.0),
    ),
    "logistic_regression": (
        ("the smallest case that tells columns apart", (_W, _X, _B, [0.0, 1.0]), 1.0),
        ("one class far ahead", ([[1.0], [-1.0]], [25.0], [0.0, 0.0], [1.0, 0.0]), 1.0),
        ("a subnormal probability times a large target", ([[1.0], [0.0]], [0.5], [0.0, -100.0], [-2e5, 1e5]), 1.0),
        ("every logit is below -10000, which is no minus infinity",
         ([[1.0], [-1.0]], [0.5], [-20000.0, -20001.0], [0.25, 0.75]), 1.0),
    ),
    "activation[tanh]": (("slopes of 1 − tanh² at 9", ([[3.0, 6.0]], [1.0, 1.0], [0.0]), [1.0]),),
    "activation[sigmoid]": (
        ("slopes of s (1 − s) at 20", ([[10.0, 10.0]], [1.0, 1.0], [0.0]), [1.0]),
        ("a gradient where the argument is 0", ([[1.0, -2.0, 0.5], [0.5, 1.0, 3.0]], [0.0, 1.0, -1.0], [0.5, 0.0]),
         [1.0, 2.0]),
    ),
    "activation[relu]": (_KINK, _BEND),
    "activation[leaky_relu]": (_KINK,),
    "activation[elu]": (_KINK,),
    "two_layer_network[tanh]": (("a column for the row", (_W, _B, _W2, _B2, _X, _HOT), 1.0),),
    "two_layer_network[gelu]": (
        ("a subnormal probability times a large target",
         ([[-1.0]], [0.5], [[0.0], [1.0], [0.0]], [-1.0, 6.0, 106.0], [0.25], [0.0, -2e5, 2e5]), 1.0),
    ),
    "backpropagation[tanh]": (("h′ in the gradient by the bias", (_W, _B, _X, [0.25, 0.75]), 1.0),),
    "backpropagation[sigmoid,identity]": (("h′ at the argument", (_W, _B, _W2, _B2, _X, _HOT), 1.0),),
}  # fmt: skip
UNDECIDED: tuple[Spelled, ...] = (  # by a softmax
    ("two infinite logits", ([math.inf, math.inf],), [1.0, -2.0]),
    ("masks alone", ([-math.inf, -math.inf],), [1.0, -2.0]),
)

# ── Scalar functions ────────────────────────────────────────────────────────────────────────────────────────────────

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


def _points(h: ScalarFunction, dtype: np.dtype[Any]) -> Iterator[tuple[str, Flags, list[float]]]:
    """Where a scalar function goes wrong: zeros, bends, flat ends, and where its slope vanishes."""
    name, info = h.name, np.finfo(dtype)
    yield "the function on paper", ("HandChecked",), list(ON_PAPER.get(name, (0.0, 0.0)))
    smallest = float(info.smallest_subnormal)
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
        beside = [2.0**-30, -(2.0**-60)]
        yield "next to 0, where h(x) is nearly a multiple of x", ("Subnormal", "Counterexample"), beside
    yield "the limits at infinity", ("Infinite",), [math.inf] if h.domain == "positive" else [math.inf, -math.inf]


# ── Every operation ─────────────────────────────────────────────────────────────────────────────────────────────────


def spelled_out(operation: Row, dtype: np.dtype[Any]) -> Iterator[Flagged]:
    """The comment, flags, arguments and cotangent of each.

    >>> from backprop_reference import OPERATIONS
    >>> [comment for comment, _, _, _ in spelled_out(OPERATIONS["dot"], np.dtype("float32"))]
    ['all digits cancel']
    """
    if operation.functions and not operation.layers:
        for comment, flags, x in _points(operation.functions[0], dtype):
            yield comment, flags, (x,), [DELTA[i % len(DELTA)] for i in range(len(x))]
    for comment, args, delta in UNDECIDED if operation.promise == "softmax" else ():
        yield comment, ("Infinite",), args, delta
    for comment, args, delta in COUNTEREXAMPLES.get(operation.name, ()):
        masks = ("Mask" for a in args if -math.inf in np.ravel(a))
        yield comment, ("Counterexample", *masks), args, delta
