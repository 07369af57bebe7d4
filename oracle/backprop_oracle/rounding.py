"""How far rounding may carry a result: Wilkinson's running error analysis, done by machine on a definition's jaxpr.

JAX traces a definition, or what `jax.vjp`, `jax.jvp` or `jax.jacrev` make of it, into a program of a few dozen
equations; here NumPy runs that program in float64, whatever the shapes, with nothing to compile. Every equation gets,
beside its value `v`, a bound `e` on the error that an evaluation of the same formula in an arithmetic of precision
`eps` may have made so far: what its operands bring, and what it adds.

    sums, differences     e_a + e_b                               +  eps |v|    two roundings: yours may have one more
    products, quotients   |a| e_b + e_a |b| + e_a e_b, …          +  eps |v|
    exp, tanh, log …      max |h(a ± e_a) − h(a)|                 +  4 eps |v|  what vector libraries promise (erf: 20)
    sums of n terms       Σ e_i                   +  (1 + n/2) eps Σ |v_i|      in any order, be it a loop
    each of these, of numbers that are not 0      +  n tiny                     smallest normal: flushed underflow

For a sum this is `eps × Σ|terms|`: the tolerance of every comparison with JAX, and the only one. A comparison of two
numbers closer than their errors leaves the branch open: the bound then covers both branches. Where a number of the
program is beyond the `largest` of the dtype that is judged, the formula overflows there: the bound is infinite, which
means that nothing is claimed. A result that is ill-conditioned for its formula gets a wide bound, one that is not gets
a narrow one, entry by entry; no norm, no array size and no hand-picked constant takes part.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Jaxpr, Literal, Var

Array = Any  # of float64, integers or truth values


class Precision(NamedTuple):
    """An arithmetic: its relative spacing, its smallest normal and its largest number.

    `either` leaves the branch open at an exact tie, too: at a kink any slope between the two sides' is right.
    """

    eps: float
    tiny: float
    largest: float
    either: bool = False


class Equation(NamedTuple):
    """One step of a program."""

    name: str
    operands: Sequence[Any]
    results: Sequence[Any]
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Program:
    """A traced function: constants, inputs, equations in their order, and outputs in their structure."""

    constants: Mapping[Any, Array]
    inputs: Sequence[Any]
    equations: Sequence[Equation]
    outputs: Sequence[Any]
    structure: Any

    def __call__(self, precision: Precision, args: Sequence[Array], errors: Sequence[Array]) -> tuple[Any, Any]:
        """The outputs for these arguments, and the bounds of their errors; `errors` are what the arguments come with.

        >>> x = np.array([1.0, 2.0, -3.0, 4.0])
        >>> value, bound = traced(jax.numpy.sum, x)(Precision(2.0**-52, 0.0, 1e30), [x], [0 * x])
        >>> float(value), float(bound / 2.0**-52)  # (1 + 4/2) Σ|x|
        (4.0, 30.0)
        """
        known = {var: (value, _zeros(value)) for var, value in self.constants.items()}
        known.update(zip(self.inputs, zip(args, errors, strict=True), strict=True))

        def read(atom: Any) -> tuple[Array, Array]:
            return (np.asarray(atom.val), np.zeros(np.shape(atom.val))) if isinstance(atom, Literal) else known[atom]

        with np.errstate(all="ignore"):
            for equation in self.equations:
                v, e = zip(*map(read, equation.operands), strict=True) if equation.operands else ((), ())
                outputs = _VALUES[equation.name](equation.params, *v)
                bounds = _bound(equation.name, equation.params, v, e, outputs, precision)
                if len(equation.results) == 1 and equation.name != "split":
                    outputs, bounds = [outputs], [bounds]
                known.update(zip(equation.results, zip(outputs, bounds, strict=True), strict=True))
        pairs = [read(atom) for atom in self.outputs]
        values, bounds = ([pair[k] for pair in pairs] for k in (0, 1))
        return jax.tree.unflatten(self.structure, values), jax.tree.unflatten(self.structure, bounds)


def traced(function: Callable[..., Any], *args: Any) -> Program:
    """The program of a function at arguments of these shapes: calls written out, and nothing that no output needs."""
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    constants = dict(zip(closed.jaxpr.constvars, map(np.asarray, closed.consts), strict=True))
    equations: list[Equation] = []
    outputs = _written_out(closed.jaxpr, {}, constants, equations)
    needed, kept = set(_variables(outputs)), []
    for equation in reversed(equations):
        if needed & set(equation.results):
            kept.append(equation)
            needed.update(_variables(equation.operands))
            if equation.name not in _VALUES:
                raise TypeError(f"running error analysis: no rule for {equation.name}; add it to rounding.py")
    return Program(constants, closed.jaxpr.invars, kept[::-1], outputs, jax.tree.structure(shapes))


def _written_out(
    jaxpr: Jaxpr, names: dict[Any, Any], constants: dict[Any, Array], equations: list[Equation]
) -> list[Any]:
    """Appends the equations of a program and of those that it calls; `names` are the caller's for the variables."""

    def renamed(atoms: Sequence[Any]) -> list[Any]:
        return [names.get(atom, atom) if isinstance(atom, Var) else atom for atom in atoms]

    for equation in jaxpr.eqns:
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        operands = renamed(equation.invars)
        if inner is None:
            results = [object() for _ in equation.outvars]  # a program called twice has results of its own each time
            equations.append(Equation(equation.primitive.name, operands, results, equation.params))
        else:
            constants.update(zip(inner.jaxpr.constvars, map(np.asarray, inner.consts), strict=True))
            results = _written_out(
                inner.jaxpr, dict(zip(inner.jaxpr.invars, operands, strict=True)), constants, equations
            )
        names.update(zip(equation.outvars, results, strict=True))
    return renamed(jaxpr.outvars)


def _variables(atoms: Sequence[Any]) -> list[Any]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]


# ── Values: JAX's primitives, in NumPy ──────────────────────────────────────────────────────────────────────────────


def _broadcast(params: Mapping[str, Any], a: Array) -> Array:
    shape = [1] * len(params["shape"])
    for size, axis in zip(a.shape, params["broadcast_dimensions"], strict=True):
        shape[axis] = size
    return np.broadcast_to(a.reshape(shape), params["shape"])


def _iota(params: Mapping[str, Any]) -> Array:
    shape, axis = params["shape"], params["dimension"]
    numbers = np.arange(shape[axis], dtype=params["dtype"])
    return np.broadcast_to(numbers.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


def _split(params: Mapping[str, Any], a: Array) -> list[Array]:
    return np.split(a, np.cumsum(params["sizes"])[:-1], axis=params["axis"])


def _product(params: Mapping[str, Any], a: Array, b: Array) -> Array:
    """`dot_general`: batch axes first, then those left over from `a`, then those from `b`."""
    (along_a, along_b), (batch_a, batch_b) = params["dimension_numbers"]
    rest_a = [i for i in range(a.ndim) if i not in (*along_a, *batch_a)]
    rest_b = [i for i in range(b.ndim) if i not in (*along_b, *batch_b)]
    batch, left, right = ([x.shape[i] for i in axes] for x, axes in ((a, batch_a), (a, rest_a), (b, rest_b)))
    n = math.prod(a.shape[i] for i in along_a)
    a = a.transpose(*batch_a, *rest_a, *along_a).reshape(*batch, math.prod(left), n)
    b = b.transpose(*batch_b, *along_b, *rest_b).reshape(*batch, n, math.prod(right))
    return np.reshape(a @ b, (*batch, *left, *right))


_erf, _erfc = np.frompyfunc(math.erf, 1, 1), np.frompyfunc(math.erfc, 1, 1)

_FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "tanh": np.tanh,
    "logistic": lambda a: 1 / (1 + np.exp(-a)),
    "erf": lambda a: np.asarray(_erf(a), np.float64),
    "erfc": lambda a: np.asarray(_erfc(a), np.float64),
}
_ROUNDINGS = {"erf": 20}  # PyTorch's in float32 promises no more; 4 for the other functions
_COMPARISONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
_MOVES: Mapping[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": lambda params, a: a.reshape(params["new_sizes"]),
    "transpose": lambda params, a: a.transpose(params["permutation"]),
    "squeeze": lambda params, a: a.squeeze(tuple(params["dimensions"])),
    "split": _split,
    "concatenate": lambda params, *parts: np.concatenate(parts, params["dimension"]),
}
_EXACT: Mapping[str, Callable[..., Any]] = {
    "neg": lambda params, a: -a,
    "stop_gradient": lambda params, a: a,
    "copy": lambda params, a: a,
    "convert_element_type": lambda params, a: a.astype(params["new_dtype"]),
}
_SUMS = {"add": np.add, "sub": np.subtract, "add_any": np.add}
_PRODUCTS = {"mul": np.multiply, "div": np.divide}

_VALUES: Mapping[str, Callable[..., Any]] = {
    **_MOVES,
    **_EXACT,
    **{
        name: lambda params, *v, f=f: f(*v)  # type: ignore[misc]  # of one or two numbers
        for name, f in {**_FUNCTIONS, **_COMPARISONS, **_SUMS, **_PRODUCTS}.items()
    },
    "iota": _iota,
    "square": lambda params, a: a * a,
    "integer_pow": lambda params, a: a ** params["y"],
    "select_n": lambda params, which, no, yes: np.where(which, yes, no),
    "reduce_max": lambda params, a: a.max(tuple(params["axes"])),
    "reduce_sum": lambda params, a: a.sum(tuple(params["axes"])),
    "dot_general": _product,
}

# ── Bounds ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _bound(
    name: str,
    params: Mapping[str, Any],
    v: Sequence[Array],
    e: Sequence[Array],
    result: Any,
    precision: Precision,
) -> Any:
    if name in _MOVES:
        return _MOVES[name](params, *e)
    if not any(a.dtype.kind == "f" for a in v):
        return _zeros(result)  # indices, and decisions about them
    if name in _EXACT:
        return e[0]
    if name in _COMPARISONS:  # the "error" of a decision: 1 where its two sides are closer than their errors
        doubt, apart = e[0] + e[1], np.abs(v[0] - v[1])
        open_ = ((doubt > 0) & (apart <= doubt)) | (precision.either & (v[0] == v[1]))
        return np.where(np.isfinite(doubt), open_, np.inf)
    if name == "select_n":
        both = np.where(v[0], e[2], e[1]) + np.where(e[0] > 0, np.abs(v[1] - v[2]) + e[1] + e[2], 0.0)
        # an infinity in the branch not taken is one in a formula that multiplies by 0 or 1 instead of choosing
        return np.where(np.isfinite(e[0]) & np.isfinite(e[1]) & np.isfinite(e[2]), both, np.inf)
    if name == "reduce_max":
        return e[0].max(tuple(params["axes"]))
    terms, times, also, n = np.abs(result), 1.0, 0.0, 1  # eps · times first: terms may be the largest number
    if name in _SUMS:
        brought = e[0] + e[1]
    elif name == "mul":
        brought = np.abs(v[0]) * e[1] + e[0] * np.abs(v[1]) + e[0] * e[1]
    elif name == "div":
        room = np.abs(v[1]) - e[1]
        brought = np.where(room > 0, (e[0] + terms * e[1]) / room, np.inf)
        # of a · (1/b), where 1/b is subnormal and has its spacing
        also = np.where(np.abs(v[1]) * precision.tiny > 1, np.abs(v[0]) * precision.tiny, 0.0)
    elif name in ("square", "integer_pow"):
        size, f = np.abs(v[0]), _VALUES[name]
        ends = [np.abs(f(params, end) - terms) for end in (np.maximum(size - e[0], 0.0), size + e[0])]
        brought = np.maximum(*ends)
    elif name in _FUNCTIONS:  # increasing or decreasing
        ends = [np.abs(_FUNCTIONS[name](end) - result) for end in (v[0] - e[0], v[0] + e[0])]
        brought, times = np.where(np.isfinite(e[0]), np.maximum(*ends), np.inf), _ROUNDINGS.get(name, 4.0)
    elif name == "reduce_sum":
        axes = tuple(params["axes"])
        n, terms = max(v[0].size // max(result.size, 1), 1), np.abs(v[0]).sum(axes)
        brought, times = e[0].sum(axes), 1 + n / 2
    else:  # dot_general
        (contracted, _), _ = params["dimension_numbers"]
        n = max(math.prod(v[0].shape[axis] for axis in contracted), 1)
        a, b = np.abs(v[0]), np.abs(v[1])
        terms = _product(params, a, b)
        brought = _product(params, e[0], b + e[1]) + _product(params, a, e[1])
        times = 1 + n / 2
    if name != "dot_general" and all(error.shape == result.shape for error in e):
        brought = np.where(sum(e) == 0, 0.0, brought)  # no error brings none, be the slope infinite
    underflow: Any = n * precision.tiny
    if not terms.all():
        underflow = np.where(_nothing(name, params, v, terms), 0.0, underflow)
    added = precision.eps * times * terms + precision.eps * also + underflow
    return np.where(terms > precision.largest, np.inf, brought + added)


def _nothing(name: str, params: Mapping[str, Any], v: Sequence[Array], terms: Array) -> Array:
    """Where a result is 0 of zeros, of which nothing can underflow."""
    if name == "dot_general":
        return _product(params, np.abs(np.sign(v[0])), np.abs(np.sign(v[1]))) == 0
    if name == "mul":
        return (v[0] == 0) | (v[1] == 0)
    if name in _SUMS:
        return (v[0] == 0) & (v[1] == 0)
    return terms == 0 if name == "reduce_sum" else (terms == 0) & (v[0] == 0)


def _zeros(results: Any) -> Any:
    return [np.zeros(r.shape) for r in results] if isinstance(results, list) else np.zeros(np.shape(results))
