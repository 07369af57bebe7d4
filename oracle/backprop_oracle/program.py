"""A traced function as a list of equations: what JAX makes of a definition, or of its vjp, jvp or Jacobian.

The same program is run in floats with bounds (`rounding.py`), over balls, over fractions, and over value and slope
(`balls.py`). Sizes may be letters, so that one trace serves every shape. Calls are written out; loops and branches hold
programs of their own (`control.py`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export, lax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Primitive, Var
from jax.interpreters import ad

from .shapes import size_of

Array = Any  # of float64, integers, truth values, or objects that are numbers
Params = Mapping[str, Any]

CONTROL = ("scan", "while", "cond")  # hold programs, which run more than once, or not at all
CALLS = ("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint", "custom_jvp_call", "custom_vjp_call")


class Equation(NamedTuple):
    """One step of a program; `fixed` where it depends on no input, as the √½ of a definition.

    `source` says where in somebody's code it was traced, the innermost call first, as JAX keeps it.
    """

    name: str
    primitive: Primitive
    operands: Sequence[Any]
    results: Sequence[Any]
    params: Params
    fixed: bool
    source: Sequence[Any] = ()


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
    >>> run(program, [3.0], float, lambda equation, v: v[0] + v[1] if equation.name == "add" else v[0] * v[1])
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


def traced(function: Callable[..., Any], *shapes: Any, whole: Sequence[str] = ()) -> Program:
    """The program of a function at arguments of these shapes: calls written out, and nothing that no output needs.

    The calls and loops that are named in `whole` stay one step, with JAX's own parameters.
    """
    with _exact_rules():
        closed, structure = jax.make_jaxpr(function, return_shape=True)(*shapes)
    return _program(closed, jax.tree.structure(structure), whole)


def _program(closed: ClosedJaxpr, structure: Any, whole: Sequence[str] = ()) -> Program:
    jaxpr = closed.jaxpr
    constants = dict(zip(jaxpr.constvars, map(as_constant, closed.consts), strict=True))
    equations: list[Equation] = []
    outputs = _written_out(jaxpr, {}, constants, equations, whole=whole)
    needed, kept = set(outputs), []
    for equation in reversed(equations):
        if needed & set(equation.results):
            kept.append(equation)
            needed.update(equation.operands)
    moving, marked, made_by = set(jaxpr.invars), [], dict[Any, Equation]()
    for equation in reversed(kept):
        fixed = moving.isdisjoint(equation.operands)
        if equation.name == "eq":
            equation = _of_two(equation, made_by)
        if equation.name == "eq":
            equation = equation._replace(params={**equation.params, "extreme": _extreme(equation, made_by)})
        marked.append(equation._replace(fixed=fixed))
        moving.update(() if fixed else equation.results)
        made_by.update(dict.fromkeys(equation.results, equation))
    return Program(constants, jaxpr.invars, marked, outputs, structure)


def _of_two(equation: Equation, made_by: Mapping[Any, Equation]) -> Equation:
    """`x == max(x, y)`, as JAX's derivative of the maximum asks, is `x ≥ y`: open where x and y are close, and not
    wherever x has an error.
    """
    for x, extreme in permutations(equation.operands):
        maker = made_by.get(extreme)
        if maker is not None and maker.name in ("max", "min") and x in maker.operands:
            y = maker.operands[1] if maker.operands[0] == x else maker.operands[0]
            primitive = lax.ge_p if maker.name == "max" else lax.le_p
            return equation._replace(name=primitive.name, primitive=primitive, operands=[x, y])
    return equation


def _extreme(equation: Equation, made_by: Mapping[Any, Equation]) -> Sequence[int] | None:
    """The axes along which one operand of a comparison is the largest or smallest of the other, if it is: JAX asks so
    which entry it is, in derivatives."""
    for entries, extreme in permutations(equation.operands):
        maker = made_by.get(extreme)
        while maker is not None and maker.name in ("reshape", "broadcast_in_dim", "stop_gradient"):
            maker = made_by.get(maker.operands[0])
        if maker is not None and maker.name in ("reduce_max", "reduce_min") and maker.operands[0] == entries:
            return tuple(maker.params["axes"])
    return None


def as_constant(a: Any) -> Array:
    """An array of NumPy's; a key of `jax.random` has no other form than its own."""
    return a if isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.extended) else np.asarray(a)


def _written_out(
    jaxpr: Jaxpr,
    names: dict[Any, Any],
    constants: dict[Any, Array],
    equations: list[Equation],
    callers: tuple[Any, ...] = (),
    whole: Sequence[str] = (),
) -> list[Any]:
    """Appends the equations of a program and of those that it calls; `names` are the caller's for the variables."""

    def renamed(atoms: Sequence[Any]) -> list[Any]:
        return [names.get(atom, atom) if isinstance(atom, Var) else _literal(atom, constants) for atom in atoms]

    for equation in jaxpr.eqns:
        operands, name = renamed(equation.invars), equation.primitive.name
        source = (equation.source_info, *callers)
        if name in CALLS and name not in whole:
            inner = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
            inner, consts = (inner.jaxpr, inner.consts) if isinstance(inner, ClosedJaxpr) else (inner, ())
            constants.update(zip(inner.constvars, map(as_constant, consts), strict=True))
            own = dict(zip(inner.invars, operands, strict=True))
            results = _written_out(inner, own, constants, equations, source, whole)
        else:
            results = [object() for _ in equation.outvars]  # a program called twice has results of its own each time
            params = _with_programs(equation) if name in CONTROL and name not in whole else equation.params
            equations.append(Equation(name, equation.primitive, operands, results, params, False, source))
        names.update(zip(equation.outvars, results, strict=True))
    return renamed(jaxpr.outvars)


def _with_programs(equation: JaxprEqn) -> Params:
    """The parameters of a loop or branches, whose inner programs are Programs; and what its results look like."""

    def program(value: Any) -> Any:
        if type(value) is tuple:
            return tuple(map(program, value))
        if isinstance(value, ClosedJaxpr):
            return _program(value, jax.tree.structure([0] * len(value.jaxpr.outvars)))
        return value

    looks: Any = [var.aval for var in equation.outvars]
    shapes = tuple((look.shape, look.dtype) for look in looks)
    return {**{key: program(value) for key, value in equation.params.items()}, "results": shapes}


def _literal(atom: Literal, constants: dict[Any, Array]) -> Any:
    """A number in the text of a program as one of its constants: the same number is the same constant."""
    look: Any = atom.aval
    value = np.asarray(atom.val, look.dtype)
    key = "literal", value.dtype.str, value.tobytes()
    constants[key] = value
    return key


@contextmanager
def _exact_rules() -> Iterator[None]:
    """JAX's derivatives of erf, erfc, erf_inv and cbrt hold a rounded 2/√π, √π/2 or 1/3; here these are spelled out,
    for whoever has more digits.

    JAX remembers derivatives of jitted functions by what its context is: with a mark in it, none of those that were
    made elsewhere with other rules is taken, nor one of these elsewhere.
    """

    def bell(sign: float, g: Any, x: Any) -> Any:
        return sign * 2.0 / jnp.sqrt(4.0 * jnp.arctan(1.0)) * (g * lax.exp(-lax.square(x)))

    def of_root(g: Any, root: Any, x: Any) -> Any:
        return g / (3.0 * lax.square(root))

    def of_inverse(g: Any, y: Any, x: Any) -> Any:
        return jnp.sqrt(jnp.arctan(1.0)) * (g * lax.exp(lax.square(y)))

    before = {p: ad.primitive_jvps[p] for p in (lax.erf_p, lax.erfc_p, lax.erf_inv_p, lax.cbrt_p)}
    ad.defjvp(lax.erf_p, lambda g, x: bell(1.0, g, x))
    ad.defjvp(lax.erfc_p, lambda g, x: bell(-1.0, g, x))
    ad.defjvp2(lax.erf_inv_p, of_inverse)
    ad.defjvp2(lax.cbrt_p, lambda g, root, x, **_: of_root(g, root, x))
    try:
        with set_xla_metadata(derivatives="exact"):
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


def _with_sizes(value: Any, sizes: Mapping[str, int] | None) -> Any:
    """Parameters of an equation, whatever they are made of, with numbers for letters; itself, if there are none."""
    if isinstance(value, dict):
        changed = {key: _with_sizes(item, sizes) for key, item in value.items()}
        return changed if any(changed[key] is not item for key, item in value.items()) else value
    if type(value) is tuple or type(value) is list:
        items = [_with_sizes(item, sizes) for item in value]
        return type(value)(items) if any(a is not b for a, b in zip(items, value, strict=True)) else value
    if isinstance(value, Program):
        return value if not any(value._has_letters) else None if sizes is None else value.at(sizes)
    if export.is_symbolic_dim(value):
        return None if sizes is None else int(size_of(str(value), sizes))
    return value
