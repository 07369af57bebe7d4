"""Cases, number by number, on which some implementation was wrong that had passed other checks."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .floats import Array

Numbers = Any  # nested lists
Row = tuple[str, tuple[Numbers, ...], Numbers]  # comment, arguments, cotangent
_W, _B, _X = [[1.0, -0.5, 0.25], [0.5, 2.0, -1.0]], [0.5, -0.25], [0.5, -1.0, 2.0]

COUNTEREXAMPLES: Mapping[str, tuple[Row, ...]] = {
    "sum_reduction": (("what is small is added first", ([1.0, 2.0**-53, 2.0**-53, -1.0],), 1.0),),
    "dot": (("all digits cancel", ([0.1, 0.2, -0.3], [1.0, 1.0, 1.0]), 1.0),),
    "affine": (("all digits cancel", ([[0.1, 0.2, -0.3]], [1.0, 1.0, 1.0], [0.0]), [1.0]),),
    "squared_error": (("(x − y)² is not x² − 2xy + y²", ([1e4, 1e4 + 0.25], [1e4 - 0.125, 1e4]), 1.0),),
    "linear_regression": (("the prediction is the target but for its rounding", ([0.1, 0.2], [1.0, 1.0], 0.3), 1.0),),
    "tanh": (("tanh x is x, and its slope is 1 − x²", ([3e-8, 1e-5, 0.75, 5.0],), [1.0, 1.0, 1.0, 1.0]),),
    "elu": (("eˣ − 1 loses the digits of x", ([-1e-10, -1e-5, -3e-8],), [1.0, -2.0, 0.5]),),
    "softplus": (("log(1 + eˣ) is eˣ", ([-40.0, -37.0, -20.0],), [1.0, -2.0, 0.5]),),
    "silu": (("the zero of the slope", ([-1.278464542761074],), [1.0]),),
    "sigmoid": (("s (1 − s) where s rounds to 1", ([17.0, 37.0, 40.0],), [1.0, -2.0, 0.5]),),
    "softmax": (
        ("a large constant cotangent", ([3.0, -70.0],), [1e9, 1e9]),
        ("one probability rounds to 1", ([40.0, 0.0],), [1.0, 0.0]),
        ("the cotangent's own rounding", ([1.0, 2.0, 3.0],), [1e6 + 0.5, 1e6, 1e6 + 0.25]),
    ),
    "softmax_cross_entropy": (
        ("log(1 + exp(−40)) is not 0", ([0.0, 40.0], [0.0, 1.0]), 1.0),
        ("ŷ − 1 is not 0", ([50.0, 0.0], [1.0, 0.0]), 1.0),
        ("a target of one half", ([50.0, 0.0], [0.5, 0.0]), 1.0),
        ("a mask where the target is 0", ([1.0, -math.inf, 0.0], [0.25, 0.0, 0.75]), 1.0),
        ("a mask where the target is not 0: the loss is infinite", ([0.0, -math.inf], [0.0, 1.0]), 1.0),
        ("targets of both signs", ([0.5, -1.0, 2.0], [1.0, 3.0, -2.0]), 1.0),
    ),
    "logistic_regression": (
        ("the smallest case that tells columns apart", (_W, _X, _B, [0.0, 1.0]), 1.0),
        ("one class far ahead", ([[1.0], [-1.0]], [25.0], [0.0, 0.0], [1.0, 0.0]), 1.0),
    ),
    "activation[tanh]": (("slopes of 1 − tanh² at 9", ([[3.0, 6.0]], [1.0, 1.0], [0.0]), [1.0]),),
    "activation[sigmoid]": (("slopes of s (1 − s) at 20", ([[10.0, 10.0]], [1.0, 1.0], [0.0]), [1.0]),),
    "backpropagation[tanh]": (("h′ in the gradient by the bias", (_W, _B, _X, [0.25, 0.75]), 1.0),),
}


def counterexamples(operation: str, dtype: np.dtype[Any]) -> Iterator[tuple[str, tuple[Array, ...], Array]]:
    """The comment, arguments and cotangent of each counterexample, in a dtype.

    >>> [comment for comment, _, _ in counterexamples("dot", np.dtype("float32"))]
    ['all digits cancel']
    """
    for comment, args, delta in COUNTEREXAMPLES.get(operation, ()):
        yield comment, tuple(np.array(a, dtype) for a in args), np.array(delta, dtype)
