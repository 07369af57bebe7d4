"""The recipes of a set's cases: chosen for what they catch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from backprop_oracle.rows import Row

from . import draws
from .draws import Maker


@dataclass(frozen=True)
class Recipe:
    """How a case is made: sizes by kind, `fill` for all arguments, `by_name` for some, `delta` for the cotangent."""

    comment: str
    flags: tuple[str, ...]
    fill: Maker = draws.ordinary
    delta: Maker = draws.ordinary
    by_name: Mapping[str, Maker] = field(default_factory=dict)
    sizes: str = "small"
    batch: tuple[int, ...] = ()
    times: int = 1


EVERYWHERE = (
    Recipe("numbers without structure", ("Ordinary",), times=6),
    Recipe("all sizes 1", ("SingleElement",), sizes="ones", times=2),
    Recipe("all sizes equal", ("Square", "Ordinary"), sizes="equal", times=3),
    Recipe("the cotangent picks one output", ("UnitCotangent",), draws.small, times=3),
    Recipe("the cotangent is 0", ("ZeroCotangent",), draws.small, draws.zeros),
    Recipe("equal entries and zeros", ("Ties",), draws.ties, draws.ties, times=2),
    Recipe("neighbouring floats", ("NearTies",), draws.near_ties, draws.ordinary),
    Recipe("subnormal numbers", ("Subnormal",), draws.tiny, draws.small, times=2),
)
_BATCHES = (
    Recipe("a batch of three", ("Batch",), batch=(3,)),
    Recipe("a batch with two axes", ("Batch",), draws.small, draws.small, batch=(2, 2)),
    Recipe("a batch of one", ("Batch", "SingleElement"), draws.small, draws.small, batch=(1,)),
    Recipe("a batch of nothing", ("Batch", "Empty"), draws.small, draws.small, batch=(0,)),
)
_TAILS = Recipe("one entry more than a tile", ("TileTail",), draws.small, draws.small, sizes="tail", times=3)
_INTEGERS = Recipe("small integers, by hand", ("HandChecked",), draws.integers, draws.integers, times=4)
_MIXED = Recipe("magnitudes far apart", ("Absorption",), draws.mixed, times=3)

_ELEMENTARY = (
    Recipe("large numbers", ("Large",), draws.large, draws.small, times=2),
    Recipe("a subnormal cotangent", ("Subnormal",), draws.small, draws.tiny),
    Recipe("magnitudes of every size", ("Ordinary",), draws.sized(-20, 20), draws.sized(-20, 20), times=4),
)
_BESIDE = Recipe("all entries within three units of one number", ("NearTies",), draws.beside, draws.small)
_SUMS = (Recipe("large numbers", ("Large",), draws.fairly_large, draws.small, times=2), _BESIDE)

_SOFTMAX = (
    *(Recipe(f"one logit ahead by {by}", ("Confident",), by_name={"x": draws.ahead(by)})
      for by in (8, 30, 40, 90, 200, 400, 700, 720, 740, 800)),
    Recipe("equal logits", ("Ties",), draws.equal, draws.small, times=2),
    Recipe("equal logits at 0: each probability is 1/n", ("HandChecked", "Ties"), draws.zeros, draws.integers, times=3),
    Recipe("masked logits", ("Mask",), draws.masked, draws.ordinary, times=3),
    Recipe("a constant cotangent", ("ConstantCotangent",), draws.ordinary, draws.equal, times=2),
    Recipe("neighbouring cotangents", ("NearTies",), draws.ordinary, draws.near_ties, times=2),
    Recipe("huge logits", ("Large",), draws.large, draws.small, times=2),
    Recipe("a subnormal cotangent", ("Subnormal",), draws.ordinary, draws.tiny),
    Recipe("a large cotangent", ("Large",), draws.ordinary, draws.large),
)  # fmt: skip
_TARGETS: tuple[tuple[str, str, Maker], ...] = (
    ("OneHot", "a one-hot target", draws.one_hot),
    ("Distribution", "a target that is a distribution", draws.distribution),
    ("GeneralTarget", "any target", draws.ordinary),
    ("ZeroTarget", "a target of zeros", draws.zeros),
)
_CROSS_ENTROPY = (
    *(Recipe(text, (flag,), by_name={"y": maker}, times=3) for flag, text, maker in _TARGETS),
    *(Recipe(f"one logit ahead by {by}, {text}", ("Confident", flag), by_name={"x": draws.ahead(by), "y": maker})
      for by in (20, 40, 200, 700, 740) for flag, text, maker in _TARGETS[:3]),
    Recipe("masked logits where a one-hot target is 0", ("Mask", "OneHot"),
           by_name={"x": draws.masked_last, "y": draws.unit(0)}, times=3),
    Recipe("masked logits where a distribution is 0", ("Mask", "Distribution"),
           by_name={"x": draws.masked_last, "y": draws.ending(draws.distribution, 0.0)}, times=3),
    Recipe("masked logits where any target is 0", ("Mask", "GeneralTarget"),
           by_name={"x": draws.masked_last, "y": draws.ending(draws.ordinary, 0.0)}, times=2),
    Recipe("equal logits, an integer target: ∂L/∂x = sum(y)/n − y", ("HandChecked", "SlipSumOfTargets"), draws.zeros,
           draws.integers, {"y": draws.integers}, times=3),
    Recipe("huge logits, one-hot", ("Large", "OneHot"), draws.large, draws.small, {"y": draws.one_hot}, times=2),
    Recipe("the minus of the third line", ("SlipLostSign",), draws.small, draws.small, {"y": draws.one_hot}, times=2),
)  # fmt: skip
_CLASSIFIED = (
    *(Recipe(text, (flag,), by_name={"y": maker}, times=2) for flag, text, maker in _TARGETS),
    *(Recipe(f"one logit ahead by about {by}, {text}", ("Confident", flag), draws.small,
             by_name={"b": draws.ahead(by), "y": maker})
      for by in (30, 90) for flag, text, maker in _TARGETS[:2]),
    Recipe("targets that sum to 3", ("SlipSumOfTargets",), draws.small, draws.small, {"y": draws.constant(1.5)},
           sizes="equal"),
    Recipe("weights 0: equal logits, ∂L/∂b = sum(y)/d − y in the last layer", ("HandChecked",), draws.zeros,
           draws.integers, {"x": draws.integers, "y": draws.integers}, times=2),
)  # fmt: skip
_ACTIVATED = (
    Recipe("W = 0, b = 0: h and h′ at 0", ("HandChecked",), draws.zeros, draws.integers, {"x": draws.integers}),
    Recipe("large sums: the function is flat, or a straight line", ("Saturation",), draws.sized(2, 4), draws.small,
           times=3),
    Recipe("W = 0: the function at b", ("Saturation",), draws.small, draws.small,
           {"W": draws.zeros, "b": draws.sized(3, 6)}, times=2),
)  # fmt: skip
_SLIPS: Mapping[str, tuple[Recipe, ...]] = {
    "add": (Recipe("the Jacobian is I", ("SlipOnesForIdentity",), draws.small, draws.integers, times=2),),
    "sum_reduction": (Recipe("the Jacobian is a row", ("SlipColumnForRow",), draws.small, draws.integers, times=2),),
    "softmax": (Recipe("the path through the sum", ("SlipSubtractedPath",), draws.small, draws.integers, times=2),),
    "logistic_regression": (
        Recipe("the last entry of ∂L/∂x", ("SlipFirstColumn", "SlipOnesForIdentity"), draws.small, draws.small,
               {"y": draws.one_hot}, times=2),
    ),
    "two_layer_network": (
        Recipe("∂L/∂b² is a row", ("SlipColumnForRow",), draws.small, draws.small, {"y": draws.one_hot}),
    ),
    "backpropagation": (
        Recipe("∂h/∂b, not ∂b/∂b", ("SlipBiasByItself",), draws.small, draws.small, {"y": draws.one_hot}, times=2),
    ),
}  # fmt: skip

_BY_PROMISE: Mapping[str, tuple[Recipe, ...]] = {
    "definition": (_TAILS, _MIXED),
    "elementary": (_TAILS, _MIXED, *_ELEMENTARY, _BESIDE),
    "function": (_TAILS, *_ELEMENTARY[1:]),
    "sum": (_TAILS, _MIXED, *_SUMS),
    "softmax": (_TAILS, *_SOFTMAX),
    "cross-entropy": (_TAILS, *_CROSS_ENTROPY),
    "composition": (_TAILS, _MIXED),
}


_DEFINED = (_TAILS, _MIXED, *_ELEMENTARY)


def recipes(operation: Row) -> Iterator[Recipe]:
    """The recipes of every operation, and those of the lecture's, or of anybody's."""
    yield from EVERYWHERE
    yield from _of_the_lecture(operation) if operation.slide else _DEFINED
    for letter in filter(operation.may_be_empty, operation.letters):
        yield Recipe(f"the size {letter} is 0", ("Empty",), draws.small, draws.small, sizes=letter)
    if operation.slide:  # what a NaN reaches in anybody's definition is for that to say
        yield Recipe("NaN in the cotangent", ("NotANumber",), delta=draws.one_nan)
        for name in operation.arguments:
            yield Recipe(f"NaN in {name}", ("NotANumber",), by_name={name: draws.one_nan})


def _of_the_lecture(operation: Row) -> Iterator[Recipe]:
    """The recipes of its promise, its layers and its loss, and of slips that people make in it."""
    classified = "target" in operation.domain.values()
    if not operation.masks and not classified and all(h.whole for h in operation.functions):
        yield _INTEGERS
    yield from _BY_PROMISE[operation.promise]
    yield from _CLASSIFIED if operation.layers and classified else ()
    yield from _ACTIVATED if operation.layers and operation.functions and not classified else ()
    yield from _SLIPS.get(operation.base, ())
    yield from _BATCHES
