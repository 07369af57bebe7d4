"""The cases of a set, made by its recipes, with numbers drawn from a seed where any numbers will do."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backprop_reference import Operation

from ..cases.domains import taken
from . import draws
from .counterexamples import counterexamples
from .draws import Maker, Random
from .floats import Array
from .functions import function_cases
from .notes import NOTES
from .recipes import Recipe, recipes

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


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


def chosen_cases(operation: Operation, seed: int) -> Iterator[Chosen]:
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
                yield _made(operation, recipe, k, dtype, draw)
        yield from _spelled_out(operation, dtype)


def _made(operation: Operation, recipe: Recipe, k: int, dtype: np.dtype[Any], draw: Random) -> Chosen:
    sizes = _sizes(operation, recipe.sizes, k)
    *inputs, output = [tuple(sizes[letter] for letter in core) for core in operation.cores]
    inputs = [recipe.batch * data + shape for data, shape in zip(operation.is_data, inputs, strict=True)]
    output = recipe.batch + output

    def array(maker: Maker, shape: tuple[int, ...]) -> Array:
        return np.array(maker(draw, int(np.prod(shape)), dtype), dtype).reshape(shape)

    called = {layer.W: "W" for layer in operation.layers} | {layer.b: "b" for layer in operation.layers}
    args = []
    for name, shape in zip(operation.arguments, inputs, strict=True):
        maker = recipe.by_name.get(name, recipe.by_name.get(called.get(name, ""), recipe.fill))
        args.append(taken(operation.domain.get(name, ""), array(maker, shape)))
    maker = draws.unit(k) if "UnitCotangent" in recipe.flags else recipe.delta
    delta = array(maker, output)
    title = recipe.comment + (f", {k + 1} of {recipe.times}" if recipe.times > 1 else "")
    return Chosen(title, _flags(operation, recipe, sizes), sizes, tuple(args), delta, recipe.batch)


def _flags(operation: Operation, recipe: Recipe, sizes: Mapping[str, int]) -> tuple[str, ...]:
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


def _small(letters: Sequence[str], k: int) -> dict[str, int]:
    """Small sizes, all different, and others for another `k`."""
    offered = [(2, 3, 1, 4), (3, 2, 4, 1), (1, 3, 2, 4), (4, 2, 3, 1)][k % 4]
    if len(letters) == 1:
        return {letters[0]: (3, 4, 2, 5)[k % 4]}
    return dict(zip(letters, offered, strict=False))


def _tail(letters: Sequence[str], k: int) -> dict[str, int]:
    """Small sizes, but for the `k`-th letter's: one more than a full tile."""
    full = (256, 16, 32) if len(letters) == 1 else (64,) * 3 if len(letters) == 2 else (32,) * 3
    return dict.fromkeys(letters, 1 if len(letters) > 2 else 2) | {letters[k % len(letters)]: full[k % 3] + 1}


def _sizes(operation: Operation, kind: str, k: int) -> dict[str, int]:
    """The sizes of a kind, by its name: a letter stands for small sizes and 0 for that letter."""
    letters = operation.letters
    return SIZES[kind](letters, k) if kind in SIZES else _small(letters, k) | {kind: 0}


SIZES: Mapping[str, Callable[[Sequence[str], int], dict[str, int]]] = {
    "small": _small,
    "ones": lambda letters, k: dict.fromkeys(letters, 1),
    "equal": lambda letters, k: dict.fromkeys(letters, 2 + k % 2),
    "tail": _tail,
}

UNDECIDED = (("two infinite logits", [math.inf, math.inf]), ("masks alone", [-math.inf, -math.inf]))


def _spelled_out(operation: Operation, dtype: np.dtype[Any]) -> Iterator[Chosen]:
    """Cases whose every number is chosen."""
    for title, chosen, x, d in function_cases(operation, dtype):
        yield Chosen(title, chosen, {"n": len(x)}, (np.array(x, dtype),), np.array(d, dtype))
    for title, logits in UNDECIDED if operation.promise == "softmax" else ():
        yield Chosen(title, ("Infinite",), {"n": 2}, (np.array(logits, dtype),), np.array([1.0, -2.0], dtype))
    *inputs, _ = operation.cores
    for comment, args, delta in counterexamples(operation.name, dtype):
        pairs = zip((a for core in inputs for a in core), (n for a in args for n in a.shape), strict=True)
        flags = ("Counterexample", *("Mask" for a in args if np.isneginf(a).any()))
        yield Chosen(comment, flags, dict(sorted(pairs)), args, delta)
