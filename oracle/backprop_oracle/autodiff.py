"""What JAX says: `jax.vjp`, `jax.grad`, `jax.jacrev` and `jax.jvp` of the definitions, in float64.

Arguments of any float dtype are taken exactly, so the answer for a float32 input is the truth at that very input, to
float64's digits. Beside each answer stands the bound on what rounding may have done to it and to an evaluation in the
dtype that is judged (see `rounding`).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial, reduce
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from .definition import Definition
from .derived import Cores, program_of
from .errors import some
from .rounding import Answer, Precision, bounded
from .rows import Asked, definition, multiplied_out, row_of, usual, widened

# Of a scalar function's value in half precision. Frameworks compute it in float32 and round once; chains that cancel
# nothing err by up to 3 (silu and gelu at all 65,536 numbers). Slopes are made of a rounded output everywhere.
ROUNDINGS = 4.0


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
    alone: bool = False,
    either: bool = False,
) -> Answers:
    """The same by NumPy, as far as `kinds` asks for it; with `batched`, of many points along the first axes.

    `careful` widens the bounds to what any careful framework keeps to: they hold for its usual formulas, too
    (`rows.usual`), if the definition's is not to stand `alone`, and a subnormal argument may be taken for 0. `either`
    takes either slope at a kink for right.

    >>> said = evaluated("square", np.ones((2, 1)), [np.array([[3.0], [4.0]])], batched=True)
    >>> said.vjp[0].value.tolist()
    [[6.0], [8.0]]
    """
    how: dict[str, bool] = {"batched": batched, "careful": careful, "alone": alone, "either": either}
    found, *others = _by_formula(operation, delta, args, tangents, kinds, np.dtype(dtype), **how)
    return reduce(partial(_with, _either), others, found)


def has_other_formulas(operation: Asked) -> bool:
    """Whether careful frameworks compute it by other formulas, too.

    >>> has_other_formulas("softmax"), has_other_formulas("add")
    (True, False)
    """
    return bool([*usual(operation), *multiplied_out(operation)])


def widest(
    operation: Asked, delta: Any, args: Sequence[Any], *, kinds: Sequence[str], dtype: Any, either: bool
) -> Answers:
    """The same with the widest of the bounds that `careful` merges: how far a careful framework may be from the truth,
    by whichever formula, where the truth is known and the values of no two formulas need be compared.

    >>> said = widest("softmax", np.ones(2), [np.array([0.0, 3.0])], kinds=["vjp"], dtype=np.float64, either=False)
    >>> merged = evaluated("softmax", np.ones(2), [np.array([0.0, 3.0])], careful=True)
    >>> bool((said.forward.bound <= merged.forward.bound).all())
    True
    """
    found, *others = _by_formula(operation, delta, args, (), kinds, np.dtype(dtype), careful=True, either=either)
    return reduce(partial(_with, _wider), others, found)


def _by_formula(
    operation: Asked,
    delta: Any,
    args: Sequence[Any],
    tangents: Sequence[Any],
    kinds: Sequence[str],
    dtype: np.dtype[Any],
    *,
    batched: bool = False,
    careful: bool,
    alone: bool = False,
    either: bool,
) -> Iterator[Any]:
    """The answers by the definition, and if `careful` by the other formulas, as far as these have any."""
    judged, own = ml_dtypes.finfo(dtype), np.finfo(np.float64)
    within = min(1.0, float(np.finfo(np.float32).eps / judged.eps)) if judged.bits == 16 else 1.0
    precision = Precision(
        eps=float(judged.eps) + float(own.eps),  # what is judged errs, and this errs
        tiny=float(judged.smallest_normal) + float(own.smallest_normal),
        largest=float(judged.max),
        either=either,
        within=within,
    )
    delta, tangents = np.asarray(delta, np.float64), [np.asarray(t, np.float64) for t in tangents]
    args = widened(operation, args)
    flushed = precision.tiny if careful else own.smallest_normal
    row = None if callable(operation) else row_of(operation)
    inside = precision._replace(eps=precision.eps * within) if row and row.promise == "function" else precision
    cores = row.traced if row else None
    ask = partial(_evaluated, cores, delta, args, tangents, precision, inside, flushed, batched)
    yield ask(definition(operation), kinds)
    if careful and not alone:
        yield from (ask(f, kinds) for f in usual(operation))
        products = [kind for kind in kinds if kind in ("vjp", "grad")]
        yield from ((None, *ask(f, products)[1:]) for f in multiplied_out(operation))


def _with(merged: Callable[[Answer, Answer], Answer], found: Sequence[Any], also: Sequence[Any]) -> Answers:
    """Answers, each merged with that of another formula which has one."""
    merge: Any = partial(jax.tree.map, merged, is_leaf=_is_answer)
    return Answers(*[merge(a, b) if b else a for a, b in zip(found, also, strict=True)])


def evaluated_at(operation: Asked, points: Sequence[tuple[Any, Sequence[Any]]], **how: Any) -> list[Answers]:
    """What `evaluated` says of several points of one shape, `(delta, args)` each, by one run of a lecture's program.

    >>> one, points = np.ones(1), [np.array([3.0]), np.array([4.0])]
    >>> [said.forward.value.tolist() for said in evaluated_at("square", [(one, [x]) for x in points])]
    [[9.0], [16.0]]
    """
    if callable(operation) or isinstance(row_of(operation), Definition):  # whose program need not bear another axis
        return [evaluated(operation, delta, args, **how) for delta, args in points]
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


def _wider(a: Answer, b: Answer) -> Answer:
    """The first formula's value, and the wider bound; both values are in it if more than rounding is between them."""
    wider = np.maximum(a.bound, b.bound)
    with np.errstate(invalid="ignore"):
        return Answer(a.value, np.where(np.abs(a.value - b.value) <= a.bound + b.bound, wider, _either(a, b).bound))


def _evaluated(
    cores: Cores | None,
    delta: Any,
    args: Sequence[Any],
    tangents: Sequence[Any],
    precision: Precision,
    inside: Precision,
    flushed: float,
    batched: bool,
    f: Callable[..., Any],
    kinds: Sequence[str],
) -> Answers:
    def run(kind: str, *point: Any) -> Any:
        program = program_of(f, cores, kind, (delta, *args), batched)
        errors = [_flushed(a, flushed) for a in point]
        value, derivatives = bounded(program, precision, point, errors)
        if inside.eps < precision.eps:  # all of it inside, and roundings of what goes in and of what comes out
            moved = [e + precision.eps * np.abs(a) for e, a in zip(errors, point, strict=True)]
            rounded = bounded(program, inside, point, moved)[0].bound + ROUNDINGS * precision.eps * np.abs(value.value)
            value = Answer(value.value, np.minimum(value.bound, rounded))
        lost = ~np.isfinite(value.bound)  # where the forward overflows, nothing is claimed of its derivatives
        if some(lost):
            lost = lost.any(tuple(range(1, lost.ndim))) if batched else lost.any()
            derivatives = jax.tree.map(partial(_unclaimed, lost), derivatives, is_leaf=_is_answer)
        return value, derivatives

    scalar = delta.ndim == (1 if batched else 0)
    if len(tangents) == len(args):  # integers have none
        tangents = [t for t, a in zip(tangents, args, strict=True) if a.dtype.kind == "f"]
    points: dict[str, tuple[str, Sequence[Any]]] = {
        "vjp": ("vjp", (delta, *args)),
        "grad": ("vjp", (np.ones_like(delta), *args)),
        "jvp": ("jvp", (*args, *tangents)),
        "jacobian": ("jacobian", args),
    }
    found = {kind: run(points[kind][0], *points[kind][1]) for kind in kinds if kind != "grad" or scalar}
    return Answers(next(iter(found.values()))[0], **{kind: derivatives for kind, (_, derivatives) in found.items()})


def _flushed(a: Any, tiny: float) -> Any:
    """What is lost where a subnormal number is taken for 0."""
    return np.where((a != 0) & (np.abs(a) < tiny), tiny, 0.0) if a.dtype.kind == "f" else np.zeros(a.shape)


def _unclaimed(lost: Any, answer: Answer) -> Answer:
    lost = np.reshape(lost, np.shape(lost) + (1,) * (answer.value.ndim - np.ndim(lost)))
    return Answer(answer.value, np.where(lost, np.inf, answer.bound))


# ── JAX itself ──────────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def _compiled(f: Callable[..., Any], arguments: int, jacobian: bool) -> Callable[..., Any]:
    """One compiled program for a definition; JAX keeps a version of it for each shape."""
    every = tuple(range(arguments))

    def ask(delta: Any, args: Any, tangents: Any) -> Any:
        value, pull_back = jax.vjp(f, *args)
        return (
            value,
            pull_back(delta),
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
