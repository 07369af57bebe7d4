"""What JAX says: `jax.vjp`, `jax.grad`, `jax.jacrev` and `jax.jvp` of the definitions, in float64.

Importing this module sets JAX up for judging: 64-bit numbers, strict dtype promotion, no silent rank promotion.
Arguments of any float dtype are taken exactly, so the answer for a float32 input is the truth at that very input, to
float64's digits. Beside each answer stands the bound on what rounding may have done to it and to an evaluation in the
dtype that is judged (see `rounding`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from .definitions import definition, has_usual
from .rounding import Precision, Program, traced

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


class Answer(NamedTuple):
    """An expected array, and how far from it an honest evaluation may be, entry by entry."""

    value: NDArray[np.float64]
    bound: NDArray[np.float64]


class Answers(NamedTuple):
    """What JAX says at one point; all but the value are there where asked for, `grad` for scalar outputs."""

    forward: Answer
    vjp: tuple[Answer, ...] = ()
    jvp: Answer | None = None
    grad: tuple[Answer, ...] = ()
    jacobian: tuple[Answer, ...] = ()


def answers(
    name: str,
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
    delta, *point = [np.asarray(a, np.float64) for a in (delta, *args, *tangents)]
    point = tuple(point[: len(args)]), tuple(point[len(args) :])
    kinds = ("vjp", "jvp", "grad", "jacobian") if jacobian else ("vjp", "jvp", "grad")
    bounds = evaluated(name, delta, *point, kinds=kinds, dtype=dtype)
    said = Answers(*_compiled(name, len(args), jacobian)(delta, *point))
    return jax.tree.map(
        lambda value, bound: Answer(np.asarray(value), bound), said, jax.tree.map(_bound, bounds, is_leaf=_is_answer)
    )


def _is_answer(node: Any) -> bool:
    return isinstance(node, Answer)


def _bound(answer: Answer) -> Any:
    return answer.bound


def evaluated(
    name: str,
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
    (`definitions.USUAL`), and a subnormal argument may be taken for 0. `either` takes either slope at a kink for right.

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
    ask = partial(_evaluated, name, delta, args, tangents, kinds, precision, flushed, batched)
    if not (careful and has_usual(name)):
        return ask(usual=False)
    found = jax.tree.map(_either, ask(usual=False), ask(usual=True), is_leaf=_is_answer)
    return _multiplied_out(name, delta, args, found, precision.eps) if name in _TERMS else found


def evaluated_at(name: str, points: Sequence[tuple[Any, Sequence[Any]]], **how: Any) -> list[Answers]:
    """What `evaluated` says of several points of one shape, `(delta, args)` each, by one run of the program.

    >>> [said.forward.value.tolist() for said in evaluated_at("square", [(1.0, [3.0]), (1.0, [4.0])])]
    [9.0, 16.0]
    """
    delta, *args = (np.stack(arrays) for arrays in zip(*((delta, *args) for delta, args in points), strict=True))
    said = evaluated(name, delta, args, batched=True, **how)
    return [jax.tree.map(partial(_kth, k), said, is_leaf=_is_answer) for k in range(len(points))]


def _kth(k: int, answer: Answer) -> Answer:
    return Answer(answer.value[k], answer.bound[k])


def _either(a: Answer, b: Answer) -> Answer:
    """The first formula's value, and a bound in which the second's is, too, with what rounding does to it."""
    with np.errstate(invalid="ignore"):
        apart = np.where(a.value == b.value, 0.0, np.abs(a.value - b.value)) + b.bound
    return Answer(a.value, np.where(np.isnan(apart), np.inf, np.maximum(a.bound, apart)))


def _multiplied_out(name: str, delta: Any, args: Sequence[Any], said: Answers, eps: float) -> Answers:
    """The same, for a vjp by `x` that may be `δ @ J` with the slides' dense Jacobian: a sum of `n` terms."""

    def wider(delta: Any, answers: tuple[Answer, ...]) -> tuple[Answer, ...]:
        with np.errstate(over="ignore", invalid="ignore"):
            rounding = (1 + args[0].shape[-1] / 2) * eps * _TERMS[name](delta, *args)
        return (Answer(answers[0].value, answers[0].bound + rounding), *answers[1:]) if answers else ()

    return said._replace(vjp=wider(delta, said.vjp), grad=wider(np.ones_like(delta), said.grad))


def _probabilities(x: Any) -> Any:
    f = np.exp(x - x.max(-1, keepdims=True))
    return f / f.sum(-1, keepdims=True)


def _terms_of_softmax(delta: Any, x: Any) -> Any:
    s = _probabilities(x)
    return s * (np.abs(delta) + (s * np.abs(delta)).sum(-1, keepdims=True))


def _terms_of_cross_entropy(delta: Any, x: Any, y: Any) -> Any:
    return np.abs(delta)[..., None] * (np.abs(y) + np.abs(y).sum(-1, keepdims=True) * _probabilities(x))


_TERMS: Mapping[str, Callable[..., Any]] = {  # Σ_j |δ_j J_ji|, to a factor below 2
    "softmax": _terms_of_softmax,
    "softmax_cross_entropy": _terms_of_cross_entropy,
}


def _evaluated(
    name: str,
    delta: Any,
    args: Sequence[Any],
    tangents: Sequence[Any],
    kinds: Sequence[str],
    precision: Precision,
    flushed: float,
    batched: bool,
    *,
    usual: bool,
) -> Answers:
    shapes = tuple(a.shape for a in args)

    def run(kind: str, *point: Any) -> Any:
        program = _traced(name, usual, kind, delta.shape, shapes, batched)
        errors = [np.where((a != 0) & (np.abs(a) < flushed), flushed, 0.0) for a in point]
        value, derivatives = jax.tree.map(Answer, *program(precision, point, errors))
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


@lru_cache(maxsize=4096)
def _traced(
    name: str, usual: bool, kind: str, delta: tuple[int, ...], args: tuple[tuple[int, ...], ...], batched: bool
) -> Program:
    """What JAX derives for these shapes: the value, and the vjp, the jvp or the Jacobian."""
    f, every = definition(name, usual=usual), tuple(range(len(args)))
    kinds: dict[str, Callable[..., Any]] = {
        "vjp": lambda delta, *args: _with_pull_back(f, delta, args),
        "jvp": lambda *both: jax.jvp(f, both[: len(args)], both[len(args) :]),
        "jacobian": lambda *args: (f(*args), jax.jacrev(f, every)(*args)),
    }
    shapes = {"vjp": (delta, *args), "jvp": args * 2, "jacobian": args}[kind]
    ask = jax.vmap(kinds[kind]) if batched else kinds[kind]
    return traced(ask, *(jax.ShapeDtypeStruct(shape, np.float64) for shape in shapes))


def _with_pull_back(f: Callable[..., Any], delta: Any, args: Sequence[Any]) -> Any:
    value, pull_back = jax.vjp(f, *args)
    return value, pull_back(delta)


@cache
def _compiled(name: str, arguments: int, jacobian: bool) -> Callable[..., Any]:
    """One compiled program for an operation; JAX keeps a version of it for each shape."""
    f, every = definition(name), tuple(range(arguments))

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
