"""What must hold of any operation, one function a law. A law takes a point (an implementation, a case, JAX's answers)
and yields claims; it knows nothing of how cases are drawn, or of what is done about a claim that fails.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from backprop_oracle.autodiff import answers
from backprop_reference import OPERATIONS
from backprop_reference.derivations import DERIVATIONS, product
from backprop_reference.signature import Shape

from .batches import batch_equals_the_loop
from .claims import Array, Close, Holds
from .invariants import (
    infinities_give_what_the_definition_gives,
    masks_count_for_nothing,
    nan_in_nan_out,
    softmax_ignores_a_shift,
)
from .manners import (
    keeps_the_dtype,
    leaves_its_inputs_alone,
    one_cotangent_for_each_argument,
    owes_nothing_to_the_last_forward,
    says_the_same_twice,
    sees_what_changed_in_place,
    takes_any_memory_layout,
)
from .points import Claims, Point, of_its_shape, point
from .threads import bears_another_thread

__all__ = ["LAWS", "Claims", "Point", "point"]

# ── Equal to JAX ────────────────────────────────────────────────────────────────────────────────────────────────────


def forward_equals_jax(p: Point) -> Claims:
    """The forward is the slide's definition."""
    if p.forward:
        yield Close("u", p.forward(*p.first("forward_equals_jax")), *p.said.forward)


def jacobian_equals_jacrev(p: Point) -> Claims:
    """Each dense Jacobian is `jax.jacrev`'s."""
    if p.jacobian and p.said.jacobian:
        for name, J, i in p.named("J_", p.jacobian(*p.first("jacobian_equals_jacrev"))):
            dense, (shape, slide_shape) = _dense(J), _shapes(p, i)
            if dense.shape == slide_shape != shape:
                why = f"the slide's shape {dense.shape}, expected that of jax.jacrev: output + argument, {shape}"
                yield Holds(name, False, f"{name} has {why}")
            yield Close(name, dense, *p.said.jacobian[i])


def vjp_equals_jax_vjp(p: Point) -> Claims:
    """Each cotangent is `jax.vjp`'s."""
    if p.vjp:
        for name, d, i in p.named("d", p.vjp(*p.first("vjp_equals_jax_vjp"))):
            yield Close(name, d, *p.said.vjp[i])


def vjp_of_one_equals_jax_grad(p: Point) -> Claims:
    """For a scalar output, the vjp of 1 is `jax.grad`."""
    if p.vjp and p.case.delta.ndim == 0:
        for name, d, i in p.named("d", p.vjp(*p.first("vjp_of_one_equals_jax_grad"))):
            yield Close(name, d, *p.said.grad[i])


# ── What a vjp is ───────────────────────────────────────────────────────────────────────────────────────────────────


def vjp_is_delta_times_jacobian(p: Point) -> Claims:
    """`vjp(δ) = δ @ J`, through the structure and densely."""
    if p.vjp and p.jacobian and p.said.jacobian:
        cotangents, jacobians = p.vjp(p.delta, *p.args), p.jacobian(*p.args)
        for name, d, i in p.named("d", cotangents):
            J = jacobians[i]
            if J is None:
                continue
            by, shape = f"J_{p.operation.arguments[i]}", _shapes(p, i)[0]
            yield Holds(by, J.shape == shape, f"{by} has shape {J.shape}, expected {shape}")
            delta, dense, inexact = (
                np.abs(a.astype(np.float64)) for a in (p.delta, _dense(J), p.said.jacobian[i].bound)
            )
            with np.errstate(invalid="ignore", over="ignore"):
                terms = _contract(delta, inexact) + (4 + np.log2(1 + delta.size)) * p.eps * _contract(delta, dense)
                bound = p.said.vjp[i].bound + terms + delta.size * _tiny(p.case.dtype)
                right = np.shape(d) == p.args[i].shape and np.all(np.abs(d - p.said.vjp[i].value) <= bound)
                through = p.delta @ J if hasattr(J, "todense") else _contract(p.delta, np.asarray(J))
                for product, product_of in ((through, "delta @ J"), (_contract(p.delta, _dense(J)), "delta @ dense J")):
                    if right:  # then it is the Jacobian's fault
                        yield Close(f"{by}, as {product_of}", product, d, bound)
                    else:
                        yield Close(f"{name} against {product_of}", d, product, bound)


def vjp_is_linear(p: Point) -> Claims:
    """`vjp(−2δ) = −2 vjp(δ)`, and `vjp(δ) = vjp(even entries) + vjp(odd entries)`."""
    if p.vjp and not (p.moderate and np.abs(p.delta).max(initial=0) > 15):  # where −2δ would not be moderate
        odd = np.zeros_like(p.delta)
        odd[...] = np.where(np.arange(odd.size).reshape(odd.shape) % 2, p.delta, 0)
        even, double_delta = np.asarray(p.delta - odd), np.asarray(p.delta * p.case.dtype.type(-2))
        calls = [[delta, *p.args] for delta in (p.delta, double_delta, even, odd)]
        p.begin(*p.both(*calls, kinds=["vjp"]))
        both, double, *parts = (p.vjp(*call) for call in calls)
        said = [answers.vjp for answers in p.ask(*((delta, p.args) for delta in (even, odd, -2 * p.delta)))]
        for name, d, i in p.named("d", both):
            d, a, b = (np.asarray(v).astype(np.float64) for v in (d, parts[0][i], parts[1][i]))
            yield of_its_shape(p, name, d, i)
            with np.errstate(invalid="ignore", over="ignore"):
                bound = p.said.vjp[i].bound + said[0][i].bound + said[1][i].bound
                yield Close(f"{name} of a sum", a + b, d, bound)
                own = np.where(np.isfinite(2 * p.delta).all(), said[2][i].bound + 2 * p.said.vjp[i].bound, np.inf)
                yield Close(f"{name} of -2 delta", double[i], -2 * d, own)


def zero_cotangent_gives_zeros(p: Point) -> Claims:
    """A zero cotangent gives exact zeros, wherever the derivative is a number."""
    if p.vjp:
        zero = np.zeros_like(p.delta)
        call = [zero, *p.args]
        p.begin(*p.both(call, kinds=["vjp"]))
        said = p.ask((zero, p.args))[0].vjp
        for name, d, i in p.named("d", p.vjp(*call)):
            exact = np.where((said[i].value == 0) & np.isfinite(said[i].bound), 0.0, np.nan)
            yield Close(f"{name} of a zero cotangent", d, np.zeros(p.args[i].shape), exact)


def vjp_is_the_transpose_of_jvp(p: Point) -> Claims:
    """`⟨δ, jvp(t)⟩ = ⟨vjp(δ), t⟩`, with `jax.jvp`."""
    if p.vjp and (jvp := p.said.jvp):
        cotangents = p.vjp(p.delta, *p.args)
        for name, d, i in p.named("d", cotangents):
            yield of_its_shape(p, name, d, i)
        every = zip(p.operation.arguments, cotangents, p.case.tangents, p.said.vjp, strict=True)
        moving = [(d, t, answer) for name, d, t, answer in every if name not in p.operation.integers]
        if any(d is None for d, _, _ in moving):
            return
        delta = p.delta.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            left = delta * jvp.value
            right = [np.asarray(d, np.float64) * t.astype(np.float64) for d, t, _ in moving]
            off = np.sum(np.abs(delta) * jvp.bound)
            off += sum(np.sum(answer.bound * np.abs(t.astype(np.float64))) for _, t, answer in moving)
            size = np.sum(np.abs(left)) + sum(np.sum(np.abs(term)) for term in right)
            rounding = np.finfo(np.float64).eps * sum(term.size + 2 for term in (left, *right)) * size
            yield Close("⟨vjp(δ), t⟩", sum(term.sum() for term in right), left.sum(), off + rounding)


# ── The slides ──────────────────────────────────────────────────────────────────────────────────────────────────────


def jacobians_have_the_slides_shapes(p: Point) -> Claims:
    """The shape convention: scalars are 1×1, gradients 1×n, vectors by vectors m×n, by matrices d×d×n."""
    if p.jacobian:
        for name, J, i in p.named("J_", p.jacobian(*p.args)):
            expected = _shapes(p, i)
            got = (J.shape, getattr(J, "slide_shape", expected[1]))
            yield Holds(name, got == expected, f"{name} has shape, slide_shape = {got}, expected {expected}")


def factors_equal_jax_and_multiply_to_the_jacobian(p: Point) -> Claims:
    """The slide's derivation: every factor is right on its own, and the product of the factors is the closed form."""
    small = all(np.all(np.abs(a) <= 30) and all(2 <= size <= 8 for size in a.shape) for a in p.case.args)
    derived = DERIVATIONS.get(p.operation.name)
    if not (p.jacobian and p.said.jacobian and small and derived):
        return
    jacobians = p.jacobian(*p.args)
    with np.errstate(all="ignore"):
        for argument, paths in derived(*p.args).items():
            total: Any = 0.0  # an array after the first path
            bound: Any = 0.0
            for path in paths:
                sizes, errors = [], []
                for factor in path:
                    J, row = factor.jacobian, OPERATIONS[factor.operation]
                    said = answers(row, np.zeros(J.output_shape), factor.inputs, dtype=p.case.dtype)
                    answer = said.jacobian[row.arguments.index(factor.argument)]
                    yield Close(f"{factor.symbol} of {argument}", J.todense(), *answer)
                    sizes.append(np.abs(answer.value).reshape(J.slide_shape))
                    errors.append(answer.bound.reshape(J.slide_shape))
                total = total + product(path)
                steps = len(path) * (3 + np.log2(max(a.size for a in sizes) + 1))
                bound = bound + steps * p.eps * _chain(sizes)
                for i, error in enumerate(errors):
                    bound = bound + _chain([*sizes[:i], error, *sizes[i + 1 :]])
            i = p.operation.arguments.index(argument)
            if jacobians[i] is not None:
                own = 2 * p.said.jacobian[i].bound.reshape(total.shape)
                closed = _dense(jacobians[i]).reshape(total.shape)
                yield Close(f"product of the factors of J_{argument}", total, closed, bound + own)


# ── The table ───────────────────────────────────────────────────────────────────────────────────────────────────────

LAWS: Mapping[str, Callable[[Point], Claims]] = {
    law.__name__: law
    for law in (
        forward_equals_jax,
        jacobian_equals_jacrev,
        vjp_equals_jax_vjp,
        vjp_of_one_equals_jax_grad,
        vjp_is_delta_times_jacobian,
        vjp_is_linear,
        zero_cotangent_gives_zeros,
        vjp_is_the_transpose_of_jvp,
        jacobians_have_the_slides_shapes,
        factors_equal_jax_and_multiply_to_the_jacobian,
        one_cotangent_for_each_argument,
        keeps_the_dtype,
        leaves_its_inputs_alone,
        says_the_same_twice,
        sees_what_changed_in_place,
        owes_nothing_to_the_last_forward,
        takes_any_memory_layout,
        batch_equals_the_loop,
        nan_in_nan_out,
        softmax_ignores_a_shift,
        masks_count_for_nothing,
        infinities_give_what_the_definition_gives,
        bears_another_thread,
    )
}


def _shapes(p: Point, i: int) -> tuple[Shape, Shape]:
    """The `shape` (output + argument, as of `jax.jacrev`) and `slide_shape` that the `i`-th Jacobian must have."""
    out, by = p.case.delta.shape, p.case.args[i].shape
    return out + by, (out or (1,)) + (by or (1,))


def _dense(J: Any) -> Array:
    return np.asarray(J.todense() if hasattr(J, "todense") else J)


def _contract(delta: Array, J: Array) -> Array:
    """`δ · J` over the axes of the output."""
    return np.tensordot(delta, J, axes=delta.ndim)


def _chain(factors: Sequence[Array]) -> Array:
    result = factors[0]
    for factor in factors[1:]:
        result = np.tensordot(result, factor, axes=1)
    return result


def _tiny(dtype: Any) -> float:
    return float(ml_dtypes.finfo(dtype).smallest_normal)
