"""What JAX says: `jax.vjp`, `jax.grad`, `jax.jacrev` and `jax.jvp` of the definitions, in float64.

Importing this module sets JAX up for judging: 64-bit numbers, strict dtype promotion, no silent rank promotion.
Arguments of any float dtype are taken exactly, so the answer for a float32 input is the truth at that very input, to
float64's digits. Beside each answer stands the bound on what rounding may have done to it and to an evaluation in the
dtype that is judged (see `rounding`).
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from .definitions import definition
from .rounding import Precision, with_bounds

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


LARGE = 2.0**20  # a cotangent that may overflow on its way back, though 1 does not


class Answer(NamedTuple):
    """An expected array, and how far from it an honest evaluation may be, entry by entry."""

    value: NDArray[np.float64]
    bound: NDArray[np.float64]


class Answers(NamedTuple):
    """All that JAX says at one point; `grad` is there for scalar outputs, `jacobian` where it was asked for."""

    forward: Answer
    vjp: tuple[Answer, ...]
    jvp: Answer
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
    judged, own = ml_dtypes.finfo(dtype), np.finfo(np.float64)
    precision = Precision(
        eps=float(judged.eps) + float(own.eps),  # what is judged errs, and JAX errs
        tiny=float(judged.smallest_normal) + float(own.smallest_normal),
        largest=float(judged.max),
    )
    point = jax.tree.map(
        lambda a: np.asarray(a, np.float64), (delta, tuple(args), tuple(args if tangents is None else tangents))
    )
    said, bounds = _program(name, len(args), jacobian)(precision, point, jax.tree.map(_flushed, point))
    said, bounds = jax.tree.map(np.asarray, (said, bounds))
    with np.errstate(invalid="ignore", over="ignore"):
        return _completed(said, bounds, *point, precision)


def _completed(said: Any, bounds: Any, delta: Any, args: Any, tangents: Any, precision: Precision) -> Answers:
    """Bounds for the products: a scalar's vjp is `δ` times its gradient, a jvp is the Jacobian times the tangents."""
    value, vjp, jvp, grad, jacobian = said
    value_bound, *derivatives = bounds
    if not np.isfinite(value_bound).all():  # where the forward overflows, nothing is claimed of its derivatives
        derivatives = jax.tree.map(lambda b: np.full_like(b, np.inf), derivatives)
    vjp_bounds, grad_bounds, jacobian_bounds = derivatives
    if delta.ndim == 0:
        nothing = tuple(np.full_like(bound, np.inf) for bound in grad_bounds)
        if abs(delta) > LARGE:  # these are the bounds of the vjp, and say nothing of the gradient
            vjp_bounds, grad_bounds = grad_bounds, nothing
        elif 0 < abs(delta) < 1 / LARGE:  # what XLA flushes to 0 on the way back is not in the gradient's bounds
            vjp_bounds = nothing
        else:
            vjp_bounds = tuple(_times(precision, delta, Answer(*pair)) for pair in zip(grad, grad_bounds, strict=True))
        jacobian_bounds = grad_bounds if jacobian else ()
    columns = list(zip(grad or jacobian, grad_bounds or jacobian_bounds, tangents, strict=False))
    jvp_bound = np.full(jvp.shape, 0.0 if columns else np.inf)
    for J, bound, t in columns:
        terms = _times(precision, t, Answer(J, bound)) + precision.eps * (1 + np.log2(t.size + 1)) * np.abs(J * t)
        jvp_bound += terms.sum(tuple(range(jvp.ndim, J.ndim)))
    return Answers(
        Answer(value, value_bound),
        tuple(map(Answer, vjp, vjp_bounds)),
        Answer(jvp, jvp_bound),
        tuple(map(Answer, grad, grad_bounds)),
        tuple(map(Answer, jacobian, jacobian_bounds)),
    )


def _times(precision: Precision, factor: Any, answer: Answer) -> NDArray[np.float64]:
    """The bound of `factor · answer`, for a factor without error."""
    product = np.abs(factor * answer.value)
    bound = np.abs(factor) * answer.bound + precision.eps * product + precision.tiny
    return np.where(
        product > precision.largest,
        np.inf,
        np.where(factor == 0, np.where(np.isfinite(answer.bound), 0.0, np.inf), bound),
    )


def _flushed(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """The error of an argument: XLA takes a subnormal for 0."""
    normal = np.finfo(np.float64).smallest_normal
    return np.where((a != 0) & (np.abs(a) < normal), normal, 0.0)


@cache
def _program(name: str, arguments: int, jacobian: bool) -> Callable[..., Any]:
    """One compiled program for an operation; JAX keeps a version of it for each shape.

    The error analysis doubles a program, so it goes over each derivative once: of a scalar, the gradient.
    """
    f, every = definition(name), tuple(range(arguments))

    def ask(precision: Precision, point: Any, errors: Any) -> Any:
        delta, args, tangents = point
        value, pull_back = jax.vjp(f, *args)
        scalar = jnp.ndim(value) == 0
        said = (
            value,
            pull_back(delta),
            jax.jvp(f, args, tangents)[1],
            jax.grad(f, every)(*args) if scalar else (),
            jax.jacrev(f, every)(*args) if jacobian else (),
        )

        def derivatives(delta: Any, *args: Any) -> Any:
            value, pull_back = jax.vjp(f, *args)
            if scalar:
                return value, (), pull_back(delta), ()
            return value, pull_back(delta), (), jax.jacrev(f, every)(*args) if jacobian else ()

        if scalar:  # a large δ may overflow on its way back; for a smaller one the gradient will do
            delta = jnp.where(jnp.abs(delta) > LARGE, delta, 1.0)
        _, bounds = with_bounds(derivatives)(precision, (delta, *args), (errors[0], *errors[1]))
        return said, bounds

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
