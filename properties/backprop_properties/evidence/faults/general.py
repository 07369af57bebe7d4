"""Faults that any right implementation can be given, whatever its operation: the row says which make sense."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from backprop_oracle.catalogue import CATALOGUE
from backprop_oracle.definition import Definition

from ...checking.python_files import Implementation
from . import makers as m
from .makers import F32, F64, FORWARD, VJP, Array, Function
from .sometimes import every, zeros
from .table import Fault


class Facts(NamedTuple):
    """What a row says: its floats by position, their shapes in letters, and which letters take any size."""

    floats: tuple[int, ...]
    cores: tuple[tuple[str, ...], ...]
    free: frozenset[str]
    batch: str

    @property
    def first(self) -> int:
        """The first of the floats that have an axis."""
        return next(i for i in self.floats if self.cores[i])

    @property
    def parameters(self) -> list[int]:
        """The floats that examples share: those without the first axis of the first argument."""
        return [i for i in self.floats if self.batch not in self.cores[i]]

    def plain(self, i: int) -> bool:
        """Whether each axis of an argument has a letter of its own that takes any size."""
        return set(self.cores[i]) <= self.free and len(set(self.cores[i])) == len(self.cores[i])


def facts(row: Definition) -> Facts:
    """The facts about a definition's arguments, or ValueError if none has an axis.

    >>> facts(CATALOGUE["layer_norm"]).batch, facts(CATALOGUE["layer_norm"]).parameters
    ('b', [1, 2])
    """
    floats = tuple(i for i, name in enumerate(row.arguments) if name not in row.integers)
    if not any(row.inputs[i] for i in floats):
        raise ValueError(f"{row.name}: general faults need an argument that has an axis, and none has")
    batch = next(core[0] for core in row.inputs if core)
    return Facts(floats, row.inputs, frozenset(set(row.letters) - set(row.sizes)), batch)


def general(operation: str | Definition, right: Implementation, without: Sequence[str] = ()) -> tuple[Fault, ...]:
    """Planted faults made of a right forward and vjp, whose arguments may be integers (their cotangent is None).

    Names are "general-", the operation's, and what is wrong; `without` leaves out those that an operation cannot
    have: where a NaN goes in that plays no part, say.

    >>> row = CATALOGUE["layer_norm"]
    >>> general("layer_norm", Implementation(row.forward, vjp=row.vjp))[0].name
    'general-layer-norm-zeros'
    """
    if right.forward is None or right.vjp is None:
        raise ValueError(f"{operation}: general faults are made of a forward and a vjp")
    row = CATALOGUE[operation] if isinstance(operation, str) else operation
    known, prefix = facts(row), f"general-{m.dashed(row.name)}"
    found = [*_backward(known, right.vjp), *_sizes(known, right.vjp), *_forward(right.forward)]
    return tuple(
        Fault(row.name, f"{prefix}-{what}", kind, law, cause, **rest)
        for what, kind, law, cause, rest in found
        if what not in without
    )


Row = tuple[str, str, str, str, Mapping[str, Any]]  # what is wrong, kind, law, cause, and the other fields


def _backward(known: Facts, vjp: Function) -> Iterator[Row]:
    first, last = known.first, known.floats[-1]
    yield "zeros", "missing term", VJP, "missing-path", {"vjp": zeros(vjp, last)}
    yield "sign", "sign", VJP, "sign", {"vjp": m.scaled(vjp, -1, first)}
    yield "cotangent-ignored", "cotangent ignored", VJP, "cotangent-ignored", {"vjp": m.fed(vjp, _of_ones)}
    yield "five-percent", "factor", VJP, "factor", {"vjp": m.scaled(vjp, 1.05, last)}
    yield "times-the-size", "factor", VJP, "factor-n", {"vjp": m.by_size(vjp, -1, 1, first)}
    yield "1e-5", "precision", VJP, "none", {"vjp": m.scaled(vjp, 1 + 1e-5, first), "dtypes": F64}
    yield "element", "single element", VJP, "single-element", {"vjp": m.element(vjp, (-1,), 0.5, first)}
    yield "writes", "mutation", "leaves_its_inputs_alone", "writes-input", {"vjp": m.writing(vjp, first + 1)}
    yield "every-seventh", "intermittent", VJP, "intermittent", {"vjp": every(7, m.scaled(vjp, 1.01), vjp)}
    yield "captured", "stale state", VJP, "stale", {"vjp": m.captured(vjp, [0])}
    yield "nan-hidden", "NaN hidden", "nan_in_nan_out", "none", {"vjp": m.nan_to_zero(vjp)}
    for i in known.parameters[:1]:
        yield "not-summed", "wrong shape", VJP, "none", {"vjp": m.not_summed(vjp, i)}


def _of_ones(delta: Array, *args: Array) -> tuple[Array, ...]:
    return np.ones_like(delta), *args


def _sizes(known: Facts, vjp: Function) -> Iterator[Row]:
    """Wrong where a size is large enough, or where two agree."""
    letter = known.cores[known.first][-1]
    if letter in known.free:
        tail = m.drop_tail(vjp, 8, known.first)
        yield "tail-8", "tail of a tile", VJP, "tile-tail", {"vjp": tail, "sizes": {letter: 9}}
        tile = m.first_tile(vjp, 64, known.first)
        yield "past-64", "tail of a tile", VJP, "tile-tail", {"vjp": tile, "sizes": {letter: 65}}
    square = next((i for i in known.floats if len(known.cores[i]) == 2 and known.plain(i)), None)
    if square is not None:
        sizes = dict.fromkeys(known.cores[square], 3)
        yield "turned", "transpose", VJP, "transposed", {"vjp": m.turned_squares(vjp, square), "sizes": sizes}
    pair = next(_of_one_rank(known), None)
    if pair:
        sizes = dict.fromkeys((*known.cores[pair[0]], *known.cores[pair[1]]), 3)
        yield "exchanged", "argument order", VJP, "exchanged", {"vjp": m.exchanged(vjp, *pair), "sizes": sizes}


def _of_one_rank(known: Facts) -> Iterator[tuple[int, int]]:
    """Pairs of floats whose shapes agree, or can: the first of the same letters before any other."""
    pairs = [(i, j) for i, j in combinations(known.floats, 2) if known.plain(i) and known.plain(j)]
    yield from (pair for pair in pairs if known.cores[pair[0]] == known.cores[pair[1]])
    yield from (pair for pair in pairs if len(known.cores[pair[0]]) == len(known.cores[pair[1]]))


def _forward(forward: Function) -> Iterator[Row]:
    half, double = m.computed_in(forward, np.float16), m.float64_results(forward)
    yield "half", "precision", FORWARD, "lower-precision", {"forward": half}
    yield "float64", "dtype", "keeps_the_dtype", "dtype", {"forward": double, "dtypes": F32}
