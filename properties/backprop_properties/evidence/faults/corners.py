"""Faults that single out something which ordinary inputs do not have, in groups."""

from collections.abc import Mapping, Sequence

from .batches import BATCHES, SQUARES
from .digits import NANS, NOT_GIVEN, VALUES
from .halves import HALVES
from .kept import KEPT
from .memory import MEMORY
from .own_constants import OWN_CONSTANTS
from .table import Fault

GROUPS: Mapping[str, Sequence[Fault]] = {
    "own constants": OWN_CONSTANTS,
    "square matrices": SQUARES,
    "batches": BATCHES,
    "memory": MEMORY,
    "state": KEPT,
    "values": VALUES,
    "NaN": NANS,
    "half precision": HALVES,
    "not given": NOT_GIVEN,
}
"""By what is singled out."""
OPEN = (
    "corner-cross-entropy-true-class-rounded",
    "corner-rms-norm-squares-in-float16",
    "corner-mse-loss-sum-before-the-mean-in-float16",
    "corner-scaled-dot-product-attention-scores-before-their-scale-in-float16",
    "corner-embedding-rows-one-by-one",
    "corner-softmax-subnormals-flushed",
    "corner-hadamard-kept-by-sixteen-places",
    "corner-huber-loss-residual-of-exactly-delta",
)
"""Wrong, and not always rejected: chains of half precision that careful frameworks have, too, a bound that covers a
branch, and a memory that only takes numbers below 1e-16 for the same.
"""
CORNERS: tuple[Fault, ...] = tuple(
    f for name, group in GROUPS.items() for f in group if f.name not in OPEN and name != "not given"
)
