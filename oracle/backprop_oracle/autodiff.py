"""What JAX says: `jax.vjp`, `jax.grad`, `jax.jacrev` and `jax.jvp` of the definitions, in float64.

Importing this module sets JAX up for judging: 64-bit numbers, strict dtype promotion, no silent rank promotion.
Arguments of any float dtype are taken exactly, so the answer for a float32 input is the truth at that very input, to
float64's digits. Beside each answer stands the bound on what rounding may have done to it and to an evaluation in the
dtype that is judged (see `rounding`).
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from backprop_reference import Operation

from .definitions import definition, multiplied_out, row_of, usual
from .program import Program, letters, traced
from .rounding import Answer, Precision, bounded

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


Cores = tuple[tuple[str, ...], ...]
Asked = str | Operation | Callable[..., Any]  # a row of the reference's table, its name, or a function of jax.numpy


class Answers(NamedTuple):
    """What JAX says at one point; all but the value are there where asked for, `grad` for scalar outputs."""

    forward: Answer
    vjp: tuple[Answer, ...] = ()
    jvp: Answer | None = None
    grad: tuple[Answer, ...] = ()
    jacobian: tuple[Answer, ...] = ()


def answers(
    operation: Asked,
    delta: Any,
    args: Sequence[Any],
    tangents: Sequence[Any] | None = None,
    *,
    dtype: Any = np.float64,
    jacobian: bool = True,
) -> Answers:
    """The definition's value, `jax.vjp` of `delta`, `jax.jvp` of `tangents` (the arguments, if not given),
    `jax.grad` by every argument, and `jax.jacrev`, dense, of shape output + input.

    >>> said = answers("dot", 2.0, [np.array([1.0, 2.0]), np.array([3.0, 4.0])])
    >>> float(said.forward.value), [a.value.tolist() for a in said.vjp]
    (11.0, [[6.0, 8.0], [2.0, 4.0]])
    """
    tangents = args if tangents is None else tangents
    delta, *arrays = [np.asarray(a, np.float64) for a in (delta, *args, *tangents)]
    point, directions = tuple(arrays[: len(args)]), tuple(arrays[len(args) :])
    kinds = ("vjp", "jvp", "grad", "jacobian") if jacobian else ("vjp", "jvp", "grad")
    bounds = evaluated(operation, delta, point, directions, kinds=kinds, dtype=dtype)
    bounds = jax.tree.map(itemgetter(1), bounds, is_leaf=_is_answer)
    said = Answers(*_compiled(definition(operation), len(args), jacobian)(delta, point, directions))
    return jax.tree.map(lambda value, bound: Answer(np.asarray(value), bound), said, bounds)


def _is_answer(node: Any) -> bool:
    return isinstance(node, Answer)


def evaluated(
    operation: Asked,
    delta: Any,
    args: Sequence[Any],
    tangents: Sequence[Any] = (),
    *,
    kinds: Sequence[str] = ("vjp",),
    dtype: Any = np.float64,
    batched: bool = False,
    careful: bool = False,
    either: bool = False,
) -> Answers:
    """The same by NumPy, as far as `kinds` asks for it; with `batched`, of many points along the first axes.

    `careful` widens the bounds to what any careful framework keeps to: they hold for its usual formulas, too
    (`definitions.usual`), and a subnormal argument may be taken for 0. `either` takes either slope at a kink for right.

    >>> said = evaluated("square", np.ones((2, 1)), [np.array([[3.0], [4.0]])], batched=True)
    >>> said.vjp[0].value.tolist()
    [[6.0], [8.0]]
    """
    judged, own = ml_dtypes.finfo(dtype), np.finfo(np.float64)
    precision = Precision(
        eps=float(judged.eps) + float(own.eps),  # what is judged errs, and this errs
        tiny=float(judged.smallest_normal) + float(own.smallest_normal),
        largest=float(judged.max),
        either=either,
    )
    delta, args, tangents = jax.tree.map(lambda a: np.asarray(a, np.float64), (delta, list(args), list(tangents)))
    flushed = precision.tiny if careful else own.smallest_normal
    cores = None if callable(operation) else row_of(operation).cores
    ask = partial(_evaluated, cores, delta, args, tangents, precision, flushed, batched)
    found = ask(definition(operation), kinds)
    products = [kind for kind in kinds if kind in ("vjp", "grad")]
    others = [(f, kinds) for f in usual(operation)] + [(f, products) for f in multiplied_out(operation)]
    for f, some in others if careful else ():
        also = ask(f, some)
        found = found._replace(
            forward=_either(found.forward, also.forward) if some is kinds else found.forward,
            **{
                kind: jax.tree.map(_either, getattr(found, kind), getattr(also, kind), is_leaf=_is_answer)
                for kind in some
            },
        )
    return found


def evaluated_at(operation: Asked, points: Sequence[tuple[Any, Sequence[Any]]], **how: Any) -> list[Answers]:
    """What `evaluated` says of several points of one shape, `(delta, args)` each, by one run of the program.

    >>> one, points = np.ones(1), [np.array([3.0]), np.array([4.0])]
    >>> [said.forward.value.tolist() for said in evaluated_at("square", [(one, [x]) for x in points])]
    [[9.0], [16.0]]
    """
    delta, *args = (np.stack(arrays) for arrays in zip(*((delta, *args) for delta, args in points), strict=True))
    said = evaluated(operation, delta, args, batched=True, **how)
    return [jax.tree.map(partial(_kth, k), said, is_leaf=_is_answer) for k in range(len(points))]


def _kth(k: int, answer: Answer) -> Answer:
    return Answer(answer.value[k], answer.bound[k])


def _either(a: Answer, b: Answer) -> Answer:
    """The first formula's value, and a bound in which the second's is, too, with what rounding does to it."""
    with np.errstate(invalid="ignore"):
        apart = np.where(a.value == b.value, 0.0, np.abs(a.value - b.value)) + b.bound
    return Answer(a.value, np.where(np.isnan(apart), np.inf, np.maximum(a.bound, apart)))


def _evaluated(
    cores: Cores | None,
    delta: Any,
    args: Sequence[Any],
    tangents: Sequence[Any],
    precision: Precision,
    flushed: float,
    batched: bool,
    f: Callable[..., Any],
    kinds: Sequence[str],
) -> Answers:
    def run(kind: str, *point: Any) -> Any:
        program = program_of(f, cores, kind, (delta, *args), batched)
        errors = [np.where((a != 0) & (np.abs(a) < flushed), flushed, 0.0) for a in point]
        value, derivatives = bounded(program, precision, point, errors)
        lost = ~np.isfinite(value.bound)  # where the forward overflows, nothing is claimed of its derivatives
        if lost.any():
            lost = lost.any(tuple(range(1, lost.ndim))) if batched else lost.any()
            derivatives = jax.tree.map(partial(_unclaimed, lost), derivatives, is_leaf=_is_answer)
        return value, derivatives

    scalar = delta.ndim == (1 if batched else 0)
    points: dict[str, tuple[str, Sequence[Any]]] = {
        "vjp": ("vjp", (delta, *args)),
        "grad": ("vjp", (np.ones_like(delta), *args)),
        "jvp": ("jvp", (*args, *tangents)),
        "jacobian": ("jacobian", args),
    }
    found = {kind: run(points[kind][0], *points[kind][1]) for kind in kinds if kind != "grad" or scalar}
    return Answers(next(iter(found.values()))[0], **{kind: derivatives for kind, (_, derivatives) in found.items()})


def _unclaimed(lost: Any, answer: Answer) -> Answer:
    lost = np.reshape(lost, np.shape(lost) + (1,) * (answer.value.ndim - np.ndim(lost)))
    return Answer(answer.value, np.where(lost, np.inf, answer.bound))


# ── Programs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def program_of(
    f: Callable[..., Any], cores: Cores | None, kind: str, point: Sequence[Any], batched: bool = False
) -> Program:
    """The "value", or with it what JAX derives: the "vjp", the "jvp" or the "jacobian", at a cotangent and arguments.

    With the core shapes of the arguments and the output in letters, one trace serves all sizes.
    """
    shapes = [np.shape(a) for a in point]
    if cores is None:
        return _traced(f, kind, tuple(shapes), batched)
    named = tuple(("batch",) * batched + core for core in (cores[-1], *cores[:-1]))
    pairs = zip(named, shapes, strict=True)
    sizes = {name: size for core, shape in pairs for name, size in zip(core, shape, strict=True)}
    return _with_numbers(f, kind, named, batched, tuple(sizes.items()))


@lru_cache(maxsize=4096)
def _with_numbers(
    f: Callable[..., Any], kind: str, named: Cores, batched: bool, sizes: tuple[tuple[str, int], ...]
) -> Program:
    return _traced(f, kind, named, batched).at(dict(sizes))


@lru_cache(maxsize=1024)
def _traced(f: Callable[..., Any], kind: str, shapes: tuple[tuple[Any, ...], ...], batched: bool) -> Program:
    """The program for a cotangent and arguments of these shapes, in numbers or in letters."""
    names = {name for shape in shapes for name in shape if isinstance(name, str)}
    sizes = letters(" ".join(sorted(names)))
    cotangent, *arguments = (tuple(sizes.get(n, n) for n in shape) for shape in shapes)
    count, every = len(arguments), tuple(range(len(arguments)))
    kinds: dict[str, Callable[..., Any]] = {
        "value": f,
        "vjp": lambda delta, *args: _with_pull_back(f, delta, args),
        "jvp": lambda *both: jax.jvp(f, both[:count], both[count:]),
        "jacobian": lambda *args: (f(*args), jax.jacrev(f, every)(*args)),
    }
    points = {"vjp": (cotangent, *arguments), "jvp": (*arguments, *arguments)}.get(kind, tuple(arguments))
    ask = jax.vmap(kinds[kind]) if batched else kinds[kind]
    return traced(ask, *(jax.ShapeDtypeStruct(shape, np.float64) for shape in points))


def _with_pull_back(f: Callable[..., Any], delta: Any, args: Sequence[Any]) -> Any:
    value, pull_back = jax.vjp(f, *args)
    return value, pull_back(delta)


@cache
def _compiled(f: Callable[..., Any], arguments: int, jacobian: bool) -> Callable[..., Any]:
    """One compiled program for a definition; JAX keeps a version of it for each shape."""
    every = tuple(range(arguments))

    def ask(delta: Any, args: Any, tangents: Any) -> Any:
        value, vjp = _with_pull_back(f, delta, args)
        return (
            value,
            vjp,
            jax.jvp(f, args, tangents)[1],
            jax.grad(f, every)(*args) if jnp.ndim(value) == 0 else (),
            jax.jacrev(f, every)(*args) if jacobian else (),
        )

    return jax.jit(ask, compiler_options=quick_compilation())


@cache
def quick_compilation() -> dict[str, Any]:
    """Options that ask XLA not to spend time on making a program fast: each is used a few hundred times, at most.

    They cut the time to compile to a third. A version of XLA that does not know them does without.
    """
    options = {
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
        "xla_cpu_use_fusion_emitters": False,
    }
    try:
        jax.jit(jnp.negative, compiler_options=options)(1.0)
    except jax.errors.JaxRuntimeError:
        return {}
    return options
