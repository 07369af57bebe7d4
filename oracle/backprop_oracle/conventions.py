"""The lecture's operations as other people lay them out: a batch first, `x W`, a mean, labels; each a `Definition`."""

import inspect
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from backprop_reference import Operation

from .definition import Definition
from .definitions import DEFINITIONS, FUNCTIONS, USUAL, Function, log_softmax, usual_log_softmax
from .rows import Row, definition, multiplied_out, row_of, usual
from .shapes import Core

BATCHES: Mapping[str, int | None] = {"none": None, "first": 0, "last": -1}
REDUCTIONS: Mapping[str, Function] = {"none": lambda u: u, "mean": jnp.mean, "sum": jnp.sum}
WEIGHTS: Mapping[str, Function] = {"out,in": lambda W: W, "in,out": jnp.transpose}  # back to what the slides have
BIASES: Mapping[str, Function] = {
    "out": lambda b: b,
    "1,out": lambda b: lax.squeeze(b, (0,)),
    "out,1": lambda b: lax.squeeze(b, (1,)),
}


class Argument(NamedTuple):
    """An argument of a definition: its shape, whether it has a batch axis, and how it becomes what the slides have."""

    name: str
    core: Core
    is_data: bool
    back: Function = lambda a: a


def conventional(operation: str | Row, **convention: Any) -> Definition:
    """The definition of one of the lecture's operations in another convention. The words, the lecture's own first:

    - `batch`: "none", "first" or "last", the axis along which data, and not parameters, are many examples;
    - `W`: "out,in" or "in,out", for all weights of the operation, and `b`: "out", "1,out" or "out,1", for all biases;
    - `reduction` of a loss over the batch: "none", "mean" or "sum";
    - `labels`: "one-hot", or "index" for integers `labels` in place of `y`;
    - `order` of the arguments, as "x W b".

    A `Definition` may be given one, too: all its arguments are data.

    >>> conventional("affine", batch="first", W="in,out", order="x W b")
    Definition('affine', 'x W b', '(b,n),(n,d),(d)->(b,d)')
    >>> conventional("softmax_cross_entropy", batch="first", reduction="mean", labels="index")
    Definition('softmax_cross_entropy', 'x labels', '(b,n),(b)->()')
    """
    row = row_of(operation)
    said = _understood(row, convention)
    axis, mean = BATCHES[said["batch"]], REDUCTIONS[said["reduction"]]
    forms, integers, domain = [definition(row), *usual(row), *multiplied_out(row)], dict(row.integers), dict(row.domain)
    arguments = _arguments(row, said)
    if said["labels"] == "index":
        target = arguments[-1]
        forms = _of_labels(row)
        arguments[-1] = Argument("labels", (), is_data=True)
        integers["labels"] = target.core[0]
        domain.pop(target.name, None)
    order = _order(row, [argument.name for argument in arguments], said["order"])
    functions = [_in_order(_batched(form, arguments, axis, mean), arguments, order) for form in forms]
    before, after = ("b",) * (axis == 0), ("b",) * (axis == -1)
    cores = [(*before, *a.core, *after) if a.is_data else a.core for a in (arguments[i] for i in order)]
    return Definition(
        functions[0],
        ",".join(f"({','.join(core)})" for core in cores),
        name=row.name if isinstance(row, Definition) else "_".join(re.findall(r"\w+", row.name)),
        integers=integers,
        domain=domain,
        sizes=dict(row.sizes) if isinstance(row, Definition) else {},
        also=functions[1:],
    )


# ── What a convention says ──────────────────────────────────────────────────────────────────────────────────────────


def _understood(row: Row, convention: Mapping[str, Any]) -> dict[str, Any]:
    """A word for each part of the convention, or ValueError with those that make sense for the operation."""
    weights, biases = _layers(row)
    words: dict[str, Sequence[str]] = {"batch": list(BATCHES)}
    words |= {"W": list(WEIGHTS)} if weights else {}
    words |= {"b": list(BIASES)} if biases else {}
    words |= {"reduction": list(REDUCTIONS)} if row.cores[-1] == () else {}
    words |= {"labels": ["one-hot", "index"]} if _has_a_target(row) else {}
    words |= {"order": ["a permutation of its arguments"]} if len(row.arguments) > 1 else {}
    every = "; ".join(
        f"{key}: {', '.join(map(repr, some)) if key != 'order' else some[0]}" for key, some in words.items()
    )
    for key, word in convention.items():
        if key not in words:
            raise ValueError(f"{row.name}: convention has no {key!r}; it may have {every}")
        if key != "order" and word not in words[key]:
            raise ValueError(f"{row.name}: {key}: expected {' or '.join(map(repr, words[key]))}, got {word!r}")
    said = {"batch": "none", "W": "out,in", "b": "out", "reduction": "none", "labels": "one-hot", "order": None}
    said |= convention
    if said["reduction"] != "none" and said["batch"] == "none":
        raise ValueError(f"{row.name}: a {said['reduction']} is over a batch; say batch='first' or 'last', too")
    if said["batch"] != "none" and "b" in row.letters:
        raise ValueError(f"{row.name} {row.signature}: a batch would be the letter b, which its shapes have already")
    return said


def _layers(row: Row) -> tuple[list[str], list[str]]:
    """The names of the weights that are matrices, and of the biases."""
    cores = dict(zip(row.arguments, row.cores, strict=False))
    weights = [layer.W for layer in row.layers if len(cores[layer.W]) == 2]
    return weights, [layer.b for layer in row.layers if layer.b in row.arguments]


def _has_a_target(row: Row) -> bool:
    """Whether an operation of the lecture ends with the cross-entropy of a target."""
    return isinstance(row, Operation) and "target" in row.domain.values()


def _arguments(row: Row, said: Mapping[str, Any]) -> list[Argument]:
    """The arguments as the convention has them, but for the batch."""
    weights, biases = _layers(row)
    data = row.is_data if isinstance(row, Operation) else [True for _ in row.arguments]
    found = [Argument(*facts) for facts in zip(row.arguments, row.cores, data, strict=False)]
    for i, (name, core, *_) in enumerate(found):
        if name in weights:
            shape = core if said["W"] == "out,in" else core[::-1]
            found[i] = found[i]._replace(core=shape, back=WEIGHTS[said["W"]])
        if name in biases:
            shape = tuple(core[0] if size == "out" else size for size in said["b"].split(","))
            found[i] = found[i]._replace(core=shape, back=BIASES[said["b"]])
    return found


def _order(row: Row, names: Sequence[str], asked: Any) -> list[int]:
    order = names if asked is None else asked.split() if isinstance(asked, str) else list(asked)
    if sorted(order) != sorted(names):
        raise ValueError(f"{row.name}: order: expected {' '.join(names)!r} in another order, got {asked!r}")
    return [names.index(name) for name in order]


# ── The functions ───────────────────────────────────────────────────────────────────────────────────────────────────


def _of_labels(row: Row) -> list[Function]:
    """The operation, and what frameworks write for it, with one label for the target: the entry that it names."""
    functions = [FUNCTIONS[h.name] for h in row.functions]

    def labelled(form: Function, log_s: Function, *args: Array) -> Array:
        *others, label = args

        def at_the_label(x: Array) -> Array:
            return jnp.take_along_axis(log_s(x), label[None], -1, mode="promise_in_bounds")

        return form(*functions, *others, jnp.ones(1), log_s=at_the_label)

    return [
        partial(labelled, DEFINITIONS[row.base], log_softmax),
        partial(labelled, USUAL[row.base], usual_log_softmax),
    ]


def _batched(form: Function, arguments: Sequence[Argument], axis: int | None, mean: Function) -> Function:
    """A function of arguments as the convention has them."""

    def single(*args: Array) -> Array:
        return form(*(argument.back(a) for argument, a in zip(arguments, args, strict=True)))

    if axis is None:
        return single
    axes = [axis if argument.is_data else None for argument in arguments]
    many = jax.vmap(single, axes, axis)
    return lambda *args: mean(many(*args))


def _in_order(form: Function, arguments: Sequence[Argument], order: Sequence[int]) -> Function:
    """A function of the arguments in another order, whose names its signature tells."""

    def f(*args: Array) -> Array:
        by_place = dict(zip(order, args, strict=True))
        return form(*(by_place[i] for i in range(len(order))))

    named = [inspect.Parameter(arguments[i].name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for i in order]
    f.__dict__["__signature__"] = inspect.Signature(named)
    return f


# ── Functions with a parameter of their own ─────────────────────────────────────────────────────────────────────────


def leaky_relu(slope: float = 0.01) -> Definition:
    """`x`, or `slope x` where x is negative."""

    def leaky_relu(x: Array) -> Array:
        return jnp.where(x >= 0, x, slope * x)

    return Definition(leaky_relu, "(n)")


def elu(alpha: float = 1.0) -> Definition:
    """`x`, or `alpha (eˣ − 1)` where x is negative."""

    def elu(x: Array) -> Array:
        return jnp.where(x > 0, x, alpha * jnp.expm1(jnp.where(x > 0, 0.0, x)))

    return Definition(elu, "(n)")


def squared_error(factor: float = 0.5) -> Definition:
    """`factor Σ (x − y)²`."""

    def squared_error(x: Array, y: Array) -> Array:
        return factor * jnp.sum((x - y) ** 2)

    return Definition(squared_error, "(d),(d)")
