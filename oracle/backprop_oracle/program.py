"""A traced function as a list of equations: what JAX makes of a definition, or of its vjp, jvp or Jacobian.

The same program is run in floats with bounds (`rounding.py`), over balls, over fractions, and over value and slope
(`balls.py`). Sizes may be letters, so that one trace serves every shape. What only moves or picks entries is the same
for all interpreters and stands here: NumPy's own functions for the plain ones, and for gather, scatter and their
relatives JAX's word on the numbers 1, 2, 3 …, which tell the entries apart.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export, lax
from jax.extend.core import Jaxpr, Literal, Primitive, Var
from jax.interpreters import ad

Array = Any  # of float64, integers, truth values, or objects that are numbers
Params = Mapping[str, Any]

CONTROL = ("scan", "while", "cond")  # hold programs, too, but not ones to be written out once


class Equation(NamedTuple):
    """One step of a program; `fixed` where it depends on no input, as the √½ of a definition."""

    name: str
    primitive: Primitive
    operands: Sequence[Any]
    results: Sequence[Any]
    params: Params
    fixed: bool


@dataclass(frozen=True)
class Program:
    """A traced function: constants, inputs, equations in their order, and outputs in their structure."""

    constants: Mapping[Any, Array]
    inputs: Sequence[Any]
    equations: Sequence[Equation]
    outputs: Sequence[Any]
    structure: Any

    def at(self, sizes: Mapping[str, int]) -> "Program":
        """The program with numbers for the letters of its sizes.

        >>> n = letters("n")["n"]
        >>> program = traced(lambda x: jnp.sum(x) / x.size, jax.ShapeDtypeStruct((n,), np.float64))
        >>> [equation.params for equation in program.at({"n": 3}).equations if equation.name == "dim_as_value"]
        [{'dim': 3}]
        """
        flags = zip(self.equations, self._has_letters, strict=True)
        numbered = [e._replace(params=_with_sizes(e.params, sizes)) if has else e for e, has in flags]
        return replace(self, equations=numbered)

    @cached_property
    def _has_letters(self) -> list[bool]:
        """Of each equation, whether a size in it is a letter: most have none."""
        return [_with_sizes(e.params, None) is not e.params for e in self.equations]


def run(program: Program, args: Sequence[Any], constant: Callable[[Array], Any], apply: Callable[..., Any]) -> Any:
    """The outputs of a program: `constant` takes its numbers in, `apply` gives the result of an equation, or results.

    >>> program = traced(lambda x: 2 * x + 1, jax.ShapeDtypeStruct((), np.float64))
    >>> run(program, [3.0], float, lambda equation, v: sum(v) if equation.name == "add" else math.prod(v))
    7.0
    """
    known = {var: constant(value) for var, value in program.constants.items()}
    known.update(zip(program.inputs, args, strict=True))
    for equation in program.equations:
        results = apply(equation, [known[var] for var in equation.operands])
        if equation.primitive.multiple_results:
            known.update(zip(equation.results, results, strict=True))
        else:
            known[equation.results[0]] = results
    return jax.tree.unflatten(program.structure, [known[var] for var in program.outputs])


# ── Tracing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def traced(function: Callable[..., Any], *shapes: Any) -> Program:
    """The program of a function at arguments of these shapes: calls written out, and nothing that no output needs."""
    with _exact_rules():
        closed, structure = jax.make_jaxpr(function, return_shape=True)(*shapes)
    constants = dict(zip(closed.jaxpr.constvars, map(np.asarray, closed.consts), strict=True))
    equations: list[Equation] = []
    outputs = _written_out(closed.jaxpr, {}, constants, equations)
    needed, kept = set(outputs), []
    for equation in reversed(equations):
        if needed & set(equation.results):
            kept.append(equation)
            needed.update(equation.operands)
    moving, marked = set(closed.jaxpr.invars), []
    for equation in reversed(kept):
        fixed = moving.isdisjoint(equation.operands)
        marked.append(equation._replace(fixed=fixed))
        moving.update(() if fixed else equation.results)
    return Program(constants, closed.jaxpr.invars, marked, outputs, jax.tree.structure(structure))


def _written_out(
    jaxpr: Jaxpr, names: dict[Any, Any], constants: dict[Any, Array], equations: list[Equation]
) -> list[Any]:
    """Appends the equations of a program and of those that it calls; `names` are the caller's for the variables."""

    def renamed(atoms: Sequence[Any]) -> list[Any]:
        return [names.get(atom, atom) if isinstance(atom, Var) else _literal(atom, constants) for atom in atoms]

    for equation in jaxpr.eqns:
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        operands = renamed(equation.invars)
        if inner is None or equation.primitive.name in CONTROL:
            results = [object() for _ in equation.outvars]  # a program called twice has results of its own each time
            primitive = equation.primitive
            equations.append(Equation(primitive.name, primitive, operands, results, equation.params, fixed=False))
        else:
            constants.update(zip(inner.jaxpr.constvars, map(np.asarray, inner.consts), strict=True))
            results = _written_out(
                inner.jaxpr, dict(zip(inner.jaxpr.invars, operands, strict=True)), constants, equations
            )
        names.update(zip(equation.outvars, results, strict=True))
    return renamed(jaxpr.outvars)


def _literal(atom: Literal, constants: dict[Any, Array]) -> Any:
    """A number in the text of a program as one of its constants: the same number is the same constant."""
    value = np.asarray(atom.val)
    key = "literal", value.dtype.str, value.tobytes()
    constants[key] = value
    return key


@contextmanager
def _exact_rules() -> Iterator[None]:
    """JAX's derivatives of erf and erfc hold a rounded 2/√π; here it is spelled out, for whoever has more digits."""
    before = {p: ad.primitive_jvps[p] for p in (lax.erf_p, lax.erfc_p)}

    def bell(sign: float, g: Any, x: Any) -> Any:
        return sign * 2.0 / jnp.sqrt(4.0 * jnp.arctan(1.0)) * (g * lax.exp(-lax.square(x)))

    ad.defjvp(lax.erf_p, lambda g, x: bell(1.0, g, x))
    ad.defjvp(lax.erfc_p, lambda g, x: bell(-1.0, g, x))
    try:
        yield
    finally:
        ad.primitive_jvps.update(before)


# ── Sizes that are letters ──────────────────────────────────────────────────────────────────────────────────────────


def letters(names: str) -> Mapping[str, Any]:
    """Sizes for tracing that stand for any number, by name.

    >>> shape = tuple(letters("b n").values())
    >>> traced(jnp.sum, jax.ShapeDtypeStruct(shape, np.float64)).equations[0].name
    'reduce_sum'
    """
    split = names.split()
    return dict(zip(split, export.symbolic_shape(", ".join(split)), strict=True)) if split else {}


_ARITHMETIC = {"floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "max": max, "min": min}


def _with_sizes(value: Any, sizes: Mapping[str, int] | None) -> Any:
    """Parameters of an equation, whatever they are made of, with numbers for letters; itself, if there are none."""
    if isinstance(value, dict):
        changed = {key: _with_sizes(item, sizes) for key, item in value.items()}
        return changed if any(changed[key] is not item for key, item in value.items()) else value
    if type(value) is tuple or type(value) is list:
        items = [_with_sizes(item, sizes) for item in value]
        return type(value)(items) if any(a is not b for a, b in zip(items, value, strict=True)) else value
    if export.is_symbolic_dim(value):
        return None if sizes is None else int(eval(_compiled(str(value)), _ARITHMETIC, dict(sizes)))
    return value


@cache
def _compiled(size: str) -> Any:
    """`2*n + 1`, as JAX spells a size."""
    return compile(size, "<size>", "eval")


# ── Values: what is the same for every kind of number ───────────────────────────────────────────────────────────────


def _broadcast(params: Params, a: Array) -> Array:
    shape = [1] * len(params["shape"])
    for size, axis in zip(a.shape, params["broadcast_dimensions"], strict=True):
        shape[axis] = size
    return np.broadcast_to(a.reshape(shape), params["shape"])


def _slice(params: Params, a: Array) -> Array:
    strides = params["strides"] or [1] * a.ndim
    return a[tuple(map(slice, params["start_indices"], params["limit_indices"], strides))]


MOVES: Mapping[str, Callable[..., Any]] = {  # entries that change their places
    "broadcast_in_dim": _broadcast,
    "reshape": lambda params, a: a.reshape(params["new_sizes"]),
    "transpose": lambda params, a: a.transpose(params["permutation"]),
    "squeeze": lambda params, a: a.squeeze(tuple(params["dimensions"])),
    "expand_dims": lambda params, a: np.expand_dims(a, params["dimensions"]),
    "rev": lambda params, a: np.flip(a, params["dimensions"]),
    "slice": _slice,
    "split": lambda params, a: np.split(a, np.cumsum(params["sizes"])[:-1], axis=params["axis"]),
    "concatenate": lambda params, *parts: np.concatenate(parts, params["dimension"]),
}
PICKS = ("gather", "dynamic_slice", "dynamic_update_slice", "pad")  # which entries go where, JAX says
SAME = ("neg", "stop_gradient", "copy", "copy_p", "convert_element_type")  # no digit changes


def picked(equation: Equation, operands: Sequence[Array], nothing: Any) -> Array:
    """The result of one of `PICKS`: entries of its operands, or `nothing`, where JAX moves the numbers 1, 2, 3 …

    >>> x = jax.ShapeDtypeStruct((3,), np.float64)
    >>> (reversed_, *_) = traced(lambda x: jnp.pad(x, 1), x).equations[-1:]
    >>> picked(reversed_, [np.array([5.0, 6.0, 7.0]), np.array(0.5)], 0.0)
    array([0.5, 5. , 6. , 7. , 0.5])
    """
    sources = [a for a in operands if a.dtype.kind not in "iub"]
    ends = np.cumsum([1, *(a.size for a in sources)])
    numbers = (np.arange(i, j, dtype=np.float64) for i, j in pairwise(ends))
    asked = [next(numbers).reshape(a.shape) if a.dtype.kind not in "iub" else a for a in operands]
    where = np.asarray(equation.primitive.bind(*asked, **_filled_with_zeros(equation.params)))
    every = np.empty(int(ends[-1]), sources[0].dtype)
    every[0] = nothing
    every[1:] = np.concatenate([a.ravel() for a in sources])
    return every[where.astype(int)]


def _filled_with_zeros(params: Params) -> Params:
    return {**params, "fill_value": 0} if "fill_value" in params else params


def added(equation: Equation, operands: Sequence[Array], sum_of: Callable[[Array, Array, Array], Array]) -> Array:
    """The result of a scatter-add: `sum_of(array, places, updates)` adds each update at a place of the flat array."""
    array, indices, updates = operands
    scatter: Any = equation.primitive.bind
    one_by_one: Any = jax.vmap(lambda update: scatter(np.zeros(array.shape), indices, update, **equation.params))
    hits = np.asarray(one_by_one(np.eye(updates.size).reshape(-1, *updates.shape))).reshape(updates.size, array.size)
    updates, places = np.nonzero(hits)
    return sum_of(array, places, operands[2].ravel()[updates]).reshape(array.shape)


def contraction(params: Params, a: Array, b: Array, multiplied: Callable[[Array, Array], Array] = np.matmul) -> Array:
    """`dot_general` by a product of matrices: batch axes first, then those left over from `a`, then those from `b`."""
    order_a, order_b, batch, kept, summed = _axes(params["dimension_numbers"], a.ndim, b.ndim)
    a, b = a.transpose(order_a), b.transpose(order_b)
    left, right = a.shape[batch : batch + kept], b.shape[batch + summed :]
    n = math.prod(a.shape[batch + kept :])
    matrices = a.reshape(*a.shape[:batch], math.prod(left), n), b.reshape(*a.shape[:batch], n, math.prod(right))
    return np.reshape(multiplied(*matrices), (*a.shape[:batch], *left, *right))


@cache
def _axes(numbers: Any, a: int, b: int) -> tuple[list[int], list[int], int, int, int]:
    """The axes of both factors, as batch, kept, summed and as batch, summed, kept; and how many are of each kind."""
    (along_a, along_b), (batch_a, batch_b) = numbers
    rest_a = [i for i in range(a) if i not in (*along_a, *batch_a)]
    rest_b = [i for i in range(b) if i not in (*along_b, *batch_b)]
    return [*batch_a, *rest_a, *along_a], [*batch_b, *along_b, *rest_b], len(batch_a), len(rest_a), len(along_a)


def _iota(params: Params) -> Array:
    shape, axis = params["shape"], params["dimension"]
    numbers = np.arange(shape[axis], dtype=params["dtype"])
    return np.broadcast_to(numbers.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


WHOLE: Mapping[str, Callable[..., Any]] = {  # of indices and of truth values
    "iota": _iota,
    "dim_as_value": lambda params: np.asarray(params["dim"]),
    "and": lambda params, a, b: a & b,
    "or": lambda params, a, b: a | b,
    "not": lambda params, a: ~a,
}
COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
SUMS = {"add": np.add, "sub": np.subtract, "add_any": np.add}
