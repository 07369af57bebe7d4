"""The cases of a set, made by its recipes, with numbers drawn from a seed where any numbers will do."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backprop_oracle.rows import Row
from backprop_oracle.sizes import nearest

from ..cases.case import Case, sizes_of
from ..cases.domains import into_domain, taken
from . import draws
from .draws import Maker, Random
from .floats import Array
from .notes import NOTES
from .recipes import Recipe, recipes
from .spelled_out import spelled_out

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
BESIDE = ("positive", "non-zero")  # domains of which numbers are taken as they are drawn, but for those outside
ROWS: Mapping[str, Maker] = {"one-hot": draws.one_hot, "distribution": draws.distribution}  # row by row


@dataclass(frozen=True)
class Chosen:
    """A case before its truth is known. Data and cotangent have the axes of `batch` before their own."""

    comment: str
    flags: tuple[str, ...]
    sizes: Mapping[str, int]
    args: tuple[Array, ...]
    delta: Array
    batch: tuple[int, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.delta.dtype

    @property
    def special(self) -> bool:
        """Whether some input is NaN or infinite, and not just a mask."""
        return "NotANumber" in self.flags or "Infinite" in self.flags

    @property
    def settled(self) -> "Chosen":
        """The same with a 1 in place of each NaN and infinity that is special."""
        if not self.special:
            return self
        delta, *args = [np.where(np.isfinite(a), a, a.dtype.type(1)) for a in (self.delta, *self.args)]
        return replace(self, args=tuple(args), delta=delta)


def examples(operation: Row, chosen: Chosen) -> Iterator[Case]:
    """The examples of a batch, one after the other; a case without batch axes is its only example."""
    for index in np.ndindex(chosen.batch):
        pairs = zip(operation.arguments, chosen.args, strict=True)
        args = tuple(a if name in operation.parameters else np.asarray(a[index]) for name, a in pairs)
        yield Case(args, np.asarray(chosen.delta[index]), ())


def chosen_cases(operation: Row, seed: int) -> Iterator[Chosen]:
    """All cases of an operation: in float64, then in float32.

    >>> from backprop_reference import OPERATIONS
    >>> cases = list(chosen_cases(OPERATIONS["softmax"], 0))
    >>> 40 <= len(cases) <= 200, {case.dtype.name for case in cases} == {"float32", "float64"}
    (True, True)
    """
    for dtype in FLOATS:
        draw = random.Random(f"{operation.name} {dtype} {seed}")
        for recipe in recipes(operation):
            for k in range(recipe.times):
                if chosen := _made(operation, recipe, k, dtype, draw):
                    yield chosen
        for comment, flags, numbers, delta in spelled_out(operation, dtype) if operation.slide else ():
            args = tuple(np.array(a, dtype) for a in numbers)
            case = Case(args, np.array(delta, dtype), ())
            yield Chosen(comment, flags, sizes_of(operation, case), args, case.delta)


def _made(operation: Row, recipe: Recipe, k: int, dtype: np.dtype[Any], draw: Random) -> Chosen | None:
    """A recipe's `k`-th case; None where its sizes leave no integers."""
    sizes = _allowed(operation, _sizes(operation.letters, recipe.sizes, k))
    if not operation.has_integers(sizes):
        return None
    *inputs, output = operation.shapes_at(sizes)
    inputs = [recipe.batch * data + shape for data, shape in zip(operation.is_data, inputs, strict=True)]
    output = recipe.batch + output

    def array(maker: Maker, shape: tuple[int, ...]) -> Array:
        return np.array(maker(draw, math.prod(shape), dtype), dtype).reshape(shape)

    called = {layer.W: "W" for layer in operation.layers} | {layer.b: "b" for layer in operation.layers}
    args = []
    for name, shape in zip(operation.arguments, inputs, strict=True):
        if name in operation.integers:
            args.append(_integers(operation, name, shape, sizes, draw))
            continue
        kind = operation.domain.get(name, "")
        maker = recipe.by_name.get(name, recipe.by_name.get(called.get(name, ""), recipe.fill))
        numbers = array(draws.each_row(ROWS[kind], shape), shape) if kind in ROWS else array(maker, shape)
        args.append(taken(kind, into_domain(kind, numbers) if kind not in BESIDE else numbers))
    delta = array(draws.unit(k) if "UnitCotangent" in recipe.flags else recipe.delta, output)
    title = recipe.comment + (f", {k + 1} of {recipe.times}" if recipe.times > 1 else "")
    return Chosen(title, _flags(operation, recipe, sizes), sizes, tuple(args), delta, recipe.batch)


def _allowed(operation: Row, sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes, each the next that the rules of a definition allow; those of the lecture have no rules."""
    empty = {letter: 0 for letter in operation.letters if operation.may_be_empty(letter)}
    return nearest(sizes, operation.rules, empty)


def _integers(operation: Any, name: str, shape: tuple[int, ...], sizes: Mapping[str, int], draw: Random) -> Array:
    """Integers of a definition's argument, all that are allowed as likely."""
    low, high, others = operation.range_of(name, sizes)
    choices = [*range(low, high), *others]
    drawn = [draw.choice(choices) for _ in range(math.prod(shape))]
    return np.array(drawn, operation.dtype_of(name, np.float64)).reshape(shape)


def _flags(operation: Row, recipe: Recipe, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """The recipe's flags, and those that the shapes add."""
    flags = list(recipe.flags)
    if recipe.fill is draws.ordinary and not recipe.by_name:
        flags.append("FullPrecision")
    if len(sizes) > 1 and len(set(sizes.values())) == len(sizes):
        flags.append("Rectangular")
    unknown = set(flags) - NOTES.keys()
    if unknown:
        raise KeyError(f"{operation.name}: flags without a note: {unknown}")
    return tuple(dict.fromkeys(flags))


def _sizes(letters: Sequence[str], kind: str, k: int) -> dict[str, int]:
    """The `k`-th sizes of a kind: "small" and unequal; a letter stands for small ones with 0 for that letter."""
    if kind == "ones":
        return dict.fromkeys(letters, 1)
    if kind == "equal":
        return dict.fromkeys(letters, 2 + k % 2)
    if kind == "tail":  # of the `k`-th letter: one more than a full tile
        full = (256, 16, 32) if len(letters) == 1 else (64,) * 3 if len(letters) == 2 else (32,) * 3
        return dict.fromkeys(letters, 1 if len(letters) > 2 else 2) | {letters[k % len(letters)]: full[k % 3] + 1}
    unequal = [(2, 3, 1, 4), (3, 2, 4, 1), (1, 3, 2, 4), (4, 2, 3, 1)][k % 4]
    small = dict(zip(letters, unequal if len(letters) > 1 else (3, 4, 2, 5)[k % 4 :], strict=False))
    return small | ({} if kind == "small" else {kind: 0})
