"""How many digits are asked for: the one table of bounds, by what a row promises, each with its reason."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from backprop_oracle.rows import Row
from backprop_reference import ScalarFunction

from .claims import Array

HALF = 0.5 + 1e-6  # a correctly rounded result, and what the measure of its error may round up


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


def bound_of(row: Row, quantity: str, args: Sequence[Array]) -> Bound:
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


def limit_of(row: Row, quantity: str, args: Sequence[Array]) -> float:
    """That bound's limit for arguments of these shapes."""
    longest = max((size for a in args for size in a.shape), default=1)
    return bound_of(row, quantity, args).limit(longest, depth(row))


def depth(row: Row) -> int:
    """How many layers an operation has; what is no chain of layers is one.

    >>> from backprop_reference import OPERATIONS
    >>> depth(OPERATIONS["two_layer_network[tanh]"]), depth(OPERATIONS["dot"])
    (2, 1)
    """
    return max(len(row.layers), 1)


def _one_hot(y: Array) -> bool:
    return bool(np.count_nonzero(y) == 1 and y.max() == 1)
