"""A slide's derivation at one point: steps, factors, products, the closed form, and the cotangent's way back.

The point is one where nothing saturates or vanishes: each factor has something to show in every row.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from backprop_reference import OPERATIONS, Operation
from backprop_reference.derivations import CORRECTIONS, DERIVATIONS, Derivation, Path, Step, derivation, product
from backprop_reference.jacobians import Jacobian

from ..cases.case import Array
from .numbers import numbers, shape_text
from .records import Edge, Graph, Node

LECTURE: Mapping[str, str] = {  # the row that stands for a family
    "elementwise": "exp",
    "activation": "activation[tanh]",
    "two_layer_network": "two_layer_network[tanh]",
    "backpropagation": "backpropagation[sigmoid,identity]",
}
TRIES = 500  # of points
SMALLEST, LARGEST = 1 / 16, 16  # of what is the largest in a row of a factor


class Term(NamedTuple):
    """A factor, a product or a sum: its symbol, its shape in letters, and the numbers."""

    symbol: str
    shape: str
    value: Array


class Way(NamedTuple):
    """One path from an argument to the result: its factors in order, and their product."""

    factors: list[Term]
    product: Term


class Derived(NamedTuple):
    """An operation at a point: its arguments, what comes between, the ways to each argument, and the backward pass."""

    row: Operation
    args: dict[str, Array]
    steps: Sequence[Step]
    ways: dict[str, list[Way]]
    jacobians: list[Term]
    delta: Array
    cotangents: dict[str, Array]
    corrections: Sequence[str]
    graph: Graph


def lecture() -> list[str]:
    """The lecture's operations in the slides' order, one of each family.

    >>> lecture()[:5], len(lecture())
    (['scale', 'add', 'hadamard', 'exp', 'sum_reduction'], 17)
    """
    return list(dict.fromkeys(LECTURE.get(row.base, name) for name, row in OPERATIONS.items()))


def row_named(name: str) -> Operation | None:
    """An operation of the lecture by its name, or by that of its family."""
    return OPERATIONS.get(LECTURE.get(name, name))


def derived(row: Operation) -> Derived:
    """The derivation of an operation of the lecture at a point where it shows.

    >>> [(step.name, step.formula) for step in derived(OPERATIONS["softmax"]).steps]
    [('f', 'exp(x)'), ('g', 'Σ f'), ('h', '1/g'), ('t', 'f h')]
    >>> [factor.shape for factor in derived(OPERATIONS["softmax"]).ways["x"][1].factors]
    ['n×1', '1×1', '1×n', 'n×n']
    """
    sizes = sizes_for(row)
    args = point(row)
    found = _derivation(row, args)
    letters = {size: letter for letter, size in sizes.items()}

    def term(symbol: str, a: Array, shape: Sequence[int]) -> Term:
        return Term(symbol, "×".join(letters.get(size, str(size)) for size in shape), np.reshape(a, shape))

    def of(symbol: str, J: Jacobian) -> Term:
        return term(symbol, J.todense(), J.slide_shape)

    def way(path: Path) -> Way:
        whole = product(path)
        return Way([of(factor.symbol, factor.jacobian) for factor in path], term("product", whole, whole.shape))

    result = found.steps[-1].name if found.steps and found.steps[-1].name == "L" else "u"
    every = zip(row.arguments, row.jacobian(*args), strict=True)
    jacobians = [of(f"∂{result}/∂{name}", J) for name, J in every]
    shape = row.shapes_at(sizes)[-1]
    delta = np.resize([1.0, -0.5, 0.25], shape) if shape else np.ones(())
    ways = {argument: list(map(way, paths)) for argument, paths in found.items()}
    named = dict(zip(row.arguments, args, strict=True))
    back = dict(zip(row.arguments, row.vjp(delta, *args), strict=True))
    graph = _graph(row, named, found.steps, ways, jacobians, delta)
    return Derived(row, named, found.steps, ways, jacobians, delta, back, CORRECTIONS.get(row.base, ()), graph)


def _derivation(row: Operation, args: Sequence[Array]) -> Derivation:
    return derivation(row.name, *args) if row.name in DERIVATIONS else Derivation({})


def documented(function: Callable[..., Any]) -> str:
    """What a function of the lecture says of itself, without its examples; of one that is bound its first part."""
    bound = (function.func, *function.args) if isinstance(function, partial) else (function,)
    plain = next((f for f in bound if inspect.isfunction(f) and f.__doc__), function)
    return inspect.cleandoc(plain.__doc__ or "").split("\n\n>>>")[0]


def _formula(row: Operation) -> str:
    """A basic operation's formula, as its function states it."""
    stated = re.search(r"`u = ([^`=]+)", documented(row.forward))
    return f"{row.name}(x)" if row.functions or not stated else stated[1].strip()


# ── A point ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def sizes_for(row: Operation) -> dict[str, int]:
    """Small sizes, another for each letter, so that a shape in numbers says which letters it has."""
    return {letter: k for k, letter in enumerate(row.letters, start=3 if len(row.letters) == 1 else 2)}


def point(row: Operation) -> list[Array]:
    """Quarters, of both signs where the domain allows it, at which every row of every factor has a number to see.

    >>> [a.tolist() for a in point(OPERATIONS["log"])]
    [[1.25, 1.0, 0.75]]
    """
    for args in _points(row):
        with np.errstate(all="ignore"):
            found = _derivation(row, args)
            factors = [f.jacobian for paths in found.values() for path in paths for f in path]
            if all(shows(J) for J in (*factors, *row.jacobian(*args))):
                return args
    raise LookupError(f"{row.name}: no point of {TRIES} at which every factor shows something")


def shows(J: Jacobian) -> bool:
    """Whether each row of a Jacobian has a number that is neither tiny nor huge."""
    dense = np.abs(J.todense().reshape(J.slide_shape))
    most = dense.reshape(len(dense), -1).max(1)
    return bool(np.all((most >= SMALLEST) & (most <= LARGEST)))


def _points(row: Operation) -> Iterator[list[Array]]:
    shapes, draw = row.shapes_at(sizes_for(row))[:-1], np.random.default_rng(0)
    for _ in range(TRIES):
        args = []
        for name, shape in zip(row.arguments, shapes, strict=True):
            a = (
                draw.integers(1, 6, shape)
                / 4
                * (1 if row.domain.get(name) == "positive" else draw.choice([-1, 1], shape))
            )
            if row.domain.get(name) == "target":  # probabilities: eighths, which add up to 1
                a = (1 + draw.multinomial(8 - shape[0], np.full(shape, 1 / shape[0]))) / 8
            args.append(np.asarray(a, np.float64))
        yield args


# ── The way back ────────────────────────────────────────────────────────────────────────────────────────────────────


def _graph(
    row: Operation,
    args: Mapping[str, Array],
    steps: Sequence[Step],
    ways: Mapping[str, Sequence[Way]],
    jacobians: Sequence[Term],
    delta: Array,
) -> Graph:
    """Arguments and steps, an edge for each factor; what comes back over an edge is δ of its end times the factor."""
    same = {step.name: step.formula for step in steps if step.formula in args}  # h0 = x
    every = {f.symbol: f for of in ways.values() for way in of for f in way.factors} or {t.symbol: t for t in jacobians}
    made = [step for step in steps if step.name not in same]
    made = made or [Step("u", _formula(row), row.forward(*args.values()))]
    values = {**args, **{step.name: step.value for step in made}}
    places = {name: k for k, name in enumerate(values)}
    back: dict[str, Array] = {made[-1].name: np.atleast_1d(delta)}
    edges: list[Edge] = []
    ends = [(symbol[1:].split("/∂"), factor) for symbol, factor in every.items()]
    for step in reversed(made):
        for (end, start), factor in ends:
            if end == step.name:
                source = same.get(start, start)
                comes = np.tensordot(back[end].ravel(), factor.value, 1).reshape(np.shape(values[source]) or (1,))
                back[source] = back.get(source, 0) + comes
                shown = comes.reshape(np.shape(values[source]))
                edges.append(Edge(places[source], places[end], numbers(values[source]), numbers(shown)))
    nodes = [
        Node(
            "argument" if name in args else "output" if name == made[-1].name else "step",
            name,
            name if name in args else next(step.formula for step in made if step.name == name),
            shape_text(np.shape(value)),
            numbers(value),
            numbers(np.reshape(back[name], np.shape(value))) if name in back else "",
        )
        for name, value in values.items()
    ]
    return Graph(tuple(nodes), tuple(edges))
