"""How far rounding may carry a result: Wilkinson's running error analysis, done by machine on a definition's jaxpr.

Every equation of the traced program gets, beside its value `v`, a bound `e` on the error that an evaluation of the
same formula in an arithmetic of precision `eps` may have made so far: what its operands bring, and what it adds.

    sums, differences     e_a + e_b                               +  eps |v|    two roundings: yours may have one more
    products, quotients   |a| e_b + e_a |b| + e_a e_b, …          +  eps |v|
    exp, tanh, log …      max |h(a ± e_a) − h(a)|                 +  4 eps |v|  what vector libraries promise
    sums of n terms       Σ e_i                   +  (1 + n/2) eps Σ |v_i|      in any order, be it a loop
    each of these                                 +  n tiny                     smallest normal: flushed underflow

For a sum this is `eps × Σ|terms|`: the tolerance of every comparison with JAX, and the only one. A comparison of two
numbers closer than their errors leaves the branch open: the bound then covers both branches. Where a number of the
program is beyond the `largest` of the dtype that is judged, the formula overflows there: the bound is infinite, which
means that nothing is claimed. A result that is ill-conditioned for its formula gets a wide bound, one that is not gets
a narrow one, entry by entry; no norm, no array size and no hand-picked constant takes part.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

_EXACT = {"neg", "stop_gradient", "copy", "convert_element_type"}
_MOVES = {"broadcast_in_dim", "reshape", "transpose", "squeeze", "split", "slice", "concatenate"}
_SUMS = {"add", "sub", "add_any"}
_INCREASING_OR_DECREASING = {"exp", "log", "log1p", "expm1", "tanh", "logistic", "erf", "erfc"}
_COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}


class Precision(NamedTuple):
    """An arithmetic: its relative spacing, its smallest normal and its largest number."""

    eps: Any
    tiny: Any
    largest: Any


def with_bounds(function: Callable[..., Any]) -> Callable[..., Any]:
    """`f(*args)` becomes `g(precision, args, errors)`, which returns the outputs of `f` and the bounds on their errors;
    `errors` are those that the arguments come with, usually zeros.

    >>> x = jnp.array([1.0, 2.0, -3.0, 4.0])
    >>> value, bound = with_bounds(jnp.sum)(Precision(2.0**-52, 0.0, 1e30), (x,), (0 * x,))
    >>> float(value), float(bound / 2.0**-52)  # (1 + 4/2) Σ|x|
    (4.0, 30.0)
    """

    def bounded(precision: Precision, args: tuple[Any, ...], errors: tuple[Any, ...]) -> Any:
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        outputs = _run(program, jax.tree.leaves(args), jax.tree.leaves(errors), precision)
        structure = jax.tree.structure(shapes)
        return tuple(jax.tree.unflatten(structure, leaves) for leaves in outputs)

    return bounded


def _run(
    program: ClosedJaxpr, values: Sequence[Any], errors: Sequence[Any], precision: Precision
) -> tuple[list[Any], list[Any]]:
    jaxpr: Jaxpr = program.jaxpr
    known: dict[Any, tuple[Any, Any]] = {}
    known.update(zip(jaxpr.constvars, ((c, jnp.zeros(jnp.shape(c))) for c in program.consts), strict=True))
    known.update(zip(jaxpr.invars, zip(values, errors, strict=True), strict=True))

    def read(atom: Any) -> tuple[Any, Any]:
        return (atom.val, jnp.zeros(jnp.shape(atom.val))) if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        v, e = zip(*map(read, equation.invars), strict=True) if equation.invars else ((), ())
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        if inner is not None:
            outputs, bounds = _run(inner, v, e, precision)
        else:
            result = equation.primitive.bind(*v, **equation.params)
            bound = _bound(equation.primitive, equation.params, v, e, result, precision)
            many = equation.primitive.multiple_results
            outputs, bounds = (result, bound) if many else ([result], [bound])
        known.update(zip(equation.outvars, zip(outputs, bounds, strict=True), strict=True))
    results = [read(atom) for atom in jaxpr.outvars]
    return [value for value, _ in results], [bound for _, bound in results]


def _bound(
    primitive: Any, params: dict[str, Any], v: Sequence[Any], e: Sequence[Any], result: Any, precision: Precision
) -> Any:
    name = primitive.name
    if name in _MOVES:
        return primitive.bind(*e, **params)
    if not any(map(_is_float, v)):
        return jax.tree.map(lambda r: jnp.zeros(r.shape), result)  # indices and decisions about them
    if name in _EXACT:
        return e[0]
    if name in _COMPARISONS:  # the "error" of a decision: 1 where its two sides are closer than their errors
        doubt = e[0] + e[1]
        open_ = jnp.where((doubt > 0) & (jnp.abs(v[0] - v[1]) <= doubt), 1.0, 0.0)
        return jnp.where(jnp.isfinite(doubt), open_, jnp.inf)
    if name == "select_n":
        both = lax.select_n(v[0], *e[1:]) + jnp.where(e[0] > 0, jnp.abs(v[1] - v[2]) + e[1] + e[2], 0.0)
        # an infinity in the branch not taken is one in a formula that multiplies by 0 or 1 instead of choosing
        return jnp.where(jnp.isfinite(e[0]) & jnp.isfinite(e[1]) & jnp.isfinite(e[2]), both, jnp.inf)
    if name == "reduce_max":
        return jnp.max(e[0], axis=params["axes"])
    terms, n = jnp.abs(result), 1
    if name in _SUMS:
        brought, rounding = e[0] + e[1], terms
    elif name == "mul":
        brought, rounding = jnp.abs(v[0]) * e[1] + e[0] * jnp.abs(v[1]) + e[0] * e[1], terms
    elif name == "div":
        room = jnp.abs(v[1]) - e[1]
        brought, rounding = jnp.where(room > 0, (e[0] + terms * e[1]) / room, jnp.inf), terms
    elif name in ("square", "integer_pow"):
        size = jnp.abs(v[0])
        ends = [jnp.abs(primitive.bind(end, **params) - terms) for end in (jnp.maximum(size - e[0], 0.0), size + e[0])]
        brought, rounding = jnp.maximum(*ends), terms
    elif name in _INCREASING_OR_DECREASING:
        ends = [jnp.abs(primitive.bind(end, **params) - result) for end in (v[0] - e[0], v[0] + e[0])]
        brought, rounding = jnp.where(jnp.isfinite(e[0]), jnp.maximum(*ends), jnp.inf), 4 * terms
    elif name == "reduce_sum":
        n, axes = max(v[0].size // max(result.size, 1), 1), params["axes"]
        terms = jnp.sum(jnp.abs(v[0]), axis=axes)
        brought, rounding = jnp.sum(e[0], axis=axes), (1 + n / 2) * terms
    elif name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        n = max(prod(v[0].shape[axis] for axis in contracted), 1)
        a, b = jnp.abs(v[0]), jnp.abs(v[1])
        terms = primitive.bind(a, b, **params)
        brought = primitive.bind(e[0], b + e[1], **params) + primitive.bind(a, e[1], **params)
        rounding = (1 + n / 2) * terms
    else:
        raise TypeError(f"running error analysis: no rule for {name}; add it to rounding.py")
    if all(error.shape == result.shape for error in e):
        brought = jnp.where(sum(e) == 0, 0.0, brought)  # no error brings none, be the slope infinite
    bound = brought + precision.eps * rounding + n * precision.tiny
    return jnp.where(terms > precision.largest, jnp.inf, bound)


def _is_float(a: Any) -> bool:
    return bool(jnp.issubdtype(a.dtype, jnp.floating))
