"""What each flag of a case is for: the kinds of bug that such cases catch, and a sentence on how."""

from collections.abc import Mapping
from typing import NamedTuple


class Note(NamedTuple):
    """The kinds of bug that a flag's cases catch, and the sentence that says how."""

    catches: tuple[str, ...]
    description: str


KINDS = ("formula", "sign", "missing term", "factor", "transposed", "order", "precision", "overflow", "underflow",
         "cancellation", "saturation", "clipping", "kink", "ties", "zeros", "tile", "cotangent", "target", "mask",
         "shape", "batch", "nan", "infinity")  # fmt: skip

NOTES: Mapping[str, Note] = {  # every flag
    "HandChecked": Note(("formula", "sign", "missing term", "factor"),
         "Small integers whose results a person can verify on paper: a lost sign, a forgotten term or a factor such "
         "as 2 or 1/n shows at a glance."),
    "Ordinary": Note(("formula", "sign", "missing term", "factor"),
         "Numbers without structure: a wrong formula, a lost sign, a missing term or path of the chain rule, a wrong "
         "factor."),
    "FullPrecision": Note(("precision",),
         "Every bit of the significand is in use: a result computed or stored in a shorter format loses digits here."),
    "Rectangular": Note(("transposed", "order", "shape"),
         "All sizes differ: a transposed matrix, an outer product the other way round or gradients in another order "
         "do not fit."),
    "Square": Note(("transposed", "order"),
         "All sizes are equal and no matrix is symmetric: a transposed matrix, or gradients in another order, whose "
         "shapes hide the mistake."),
    "SingleElement": Note(("shape",),
         "Every size is 1: code that squeezes axes, or that takes a vector of one entry for a number."),
    "Empty": Note(("shape", "zeros"),
         "A size, or the batch, is 0: the sum of nothing is 0 and the gradient of nothing is empty; code that takes a "
         "maximum, divides by n or forgets what has no terms fails."),
    "Batch": Note(("batch", "order", "shape"),
         "Data and cotangent have leading batch axes, parameters have none: a gradient of parameters that is not "
         "summed over the batch or is averaged, an example that sees another, an axis that is counted from the front."),
    "NotANumber": Note(("nan", "missing term"),
         "One input is NaN, which stands for any number: each result that depends on it is NaN, the others are "
         "numbers. A maximum, a comparison or a clipping that swallows a NaN; a sum that spreads it to where it has "
         "no part."),
    "Infinite": Note(("infinity", "overflow"),
         "Infinite arguments: a function and its slope have their limits there; a softmax of two infinite logits, or "
         "of masks alone, is NaN. inf − inf and 0 · inf on the way give NaN where there is a limit."),
    "TileTail": Note(("tile",),
         "One entry more than a full tile, of up to 256: a loop over tiles that drops the rest, or stops at the "
         "first."),
    "UnitCotangent": Note(("cotangent", "missing term", "transposed"),
         "The cotangent picks one output: a cotangent that is ignored, summed up or paired with another output; "
         "column for row of a Jacobian."),
    "ZeroCotangent": Note(("cotangent", "missing term"),
         "The cotangent is 0, so all gradients are: a term that leaves the cotangent out."),
    "ConstantCotangent": Note(("cancellation", "missing term"),
         "All entries of the cotangent are equal, so the gradient of a softmax is 0: a sum over the outputs that is "
         "missing, or rounded before it cancels."),
    "Ties": Note(("ties", "zeros"),
         "Equal entries, zeros of both signs: code that expects one largest entry, or divides by a difference."),
    "NearTies": Note(("ties", "cancellation"),
         "Entries that are neighbouring floats: differences that only survive if nothing is rounded before them."),
    "Subnormal": Note(("underflow", "clipping"),
         "Numbers below the smallest normal one: flushing to zero, clipping, and products that underflow on the way."),
    "Large": Note(("overflow",),
         "Large numbers whose result is a number: an intermediate result that overflows."),
    "Absorption": Note(("cancellation",),
         "Magnitudes far apart: small terms that are absorbed, and sums that cancel."),
    "Kink": Note(("kink",),
         "At, and next to, the bend of a function: the derivative there is relu′(0) = 0, leaky_relu′(0) = elu′(0) = "
         "1."),
    "Saturation": Note(("saturation", "overflow", "underflow"),
         "Where a function is flat: 1 − tanh² or s(1 − s) loses all digits, exp overflows in an unused branch."),
    "ZeroOfSlope": Note(("cancellation", "precision"),
         "Next to a zero of the function or of its derivative: two terms that cancel."),
    "Confident": Note(("saturation", "clipping", "cancellation"),
         "One probability is nearly 1: 1 − ŷ and log ŷ lose all digits, an epsilon in a logarithm or a clipped "
         "probability shows."),
    "Mask": Note(("mask",),
         "A logit of −inf has probability 0, gradient 0 and no cost where the target is 0: inf − inf and 0 · inf give "
         "NaN."),
    "OneHot": Note(("target", "sign"),
         "The target is one class: the usual case, whose loss and gradient must not cancel."),
    "Distribution": Note(("target",),
         "The target is a distribution over all classes: code that only looks at the largest entry of the target."),
    "GeneralTarget": Note(("target", "missing term"),
         "The target does not sum to 1 and has both signs: ŷ − y in place of sum(y) ŷ − y."),
    "ZeroTarget": Note(("target", "zeros"),
         "The target is 0, and so are loss and gradients of all but the target: ŷ − y in place of sum(y) ŷ − y."),
    "Counterexample": Note(("precision", "cancellation", "overflow", "underflow"),
         "A wrong implementation that passed other checks was found by this case, or one of its kind."),
    "SlipOnesForIdentity": Note(("formula",),
         "A lecture prints a matrix of ones where the derivative is the identity: sums of cotangents."),
    "SlipColumnForRow": Note(("shape", "transposed"),
         "A lecture prints the column where the row belongs (1 × n): a gradient turned on its side."),
    "SlipSubtractedPath": Note(("formula",),
         "A lecture prints f − 1/g² for the product f · (−1/g²) on the softmax's path through the sum."),
    "SlipLostSign": Note(("sign",),
         "A lecture loses the minus of the cross-entropy between two lines."),
    "SlipSumOfTargets": Note(("target", "missing term"),
         "A lecture takes sum(y) for 1: ŷ − y where the gradient is sum(y) ŷ − y."),
    "SlipFirstColumn": Note(("formula", "transposed"),
         "A lecture prints the first column of W in the last entry of the gradient by x: an index that was copied."),
    "SlipBiasByItself": Note(("missing term", "formula"),
         "A lecture prints ∂b/∂b for ∂h/∂b, which leaves the factor h′ out of the gradient by the bias."),
}  # fmt: skip
