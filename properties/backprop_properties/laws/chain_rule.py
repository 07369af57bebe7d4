"""The chain rule, as the slides write it, over random compositions, fan-outs and networks of the table's operations.

A law takes a seed, draws one composition with it, and yields claims: the slide's rule with the reference's Jacobians
on one side, `jax.jacrev` of the composed definitions on the other. What may differ is what rounding may have done to
the factors (`rounding`, through the whole composition), carried through their product entry by entry. Each law takes
the rule itself as an argument, so that a wrong rule can be handed in and must be rejected.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from math import log2
from typing import Any

import jax
import numpy as np

from backprop_oracle.autodiff import quick_compilation
from backprop_oracle.definitions import FUNCTIONS, affine
from backprop_oracle.program import traced
from backprop_oracle.rounding import Answer, Precision, bounded
from backprop_oracle.rows import definition
from backprop_reference import OPERATIONS, Gradients, Jacobian, Layer, backpropagation
from backprop_reference.lecture.functions import SCALAR_FUNCTIONS
from backprop_reference.table import ACTIVATIONS

from .chains import Chain, composed, draw_chain, draw_fan_out, forwards, passed, pick, written
from .claims import Array, Close, Holds

Claims = Iterator[Close | Holds]

FLOAT64 = np.finfo(np.float64)
TWICE = Precision(2 * float(FLOAT64.eps), 2 * float(FLOAT64.smallest_normal), float(FLOAT64.max))  # JAX errs, too


# ── The tolerance ───────────────────────────────────────────────────────────────────────────────────────────────────


def ask(whole: Callable[..., Any], parts: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
    """`whole(*args)` by JAX, and the leaves of `parts(*args)` as `Answer`s: values with error bounds."""
    args = jax.tree.map(np.asarray, args)
    said = jax.tree.map(np.asarray, jax.jit(whole, compiler_options=quick_compilation())(*args))
    leaves = jax.tree.leaves(args)
    return said, bounded(traced(parts, *args), TWICE, leaves, [np.zeros(a.shape) for a in leaves])


def factors_of(chain: Chain) -> Callable[[Any], list[Any]]:
    """A function of `x`: JAX's Jacobian of each step, at the step's own input, which it computes from `x`."""

    def factors(x: Any) -> list[Any]:
        u = passed([step.defined for step in chain], x)
        return [jax.jacrev(step.defined)(v) for step, v in zip(chain, u[:-1], strict=True)]

    return factors


def multiply(factors: Sequence[Array]) -> Array:
    """The product of Jacobians in the slides' shapes, from left to right: `m×k · k×n`, and `m×d · d×d×n`."""
    return reduce(lambda a, b: np.tensordot(a, b, axes=1), factors)


def product_bound(factors: Sequence[Answer]) -> Array:
    """How far two evaluations of a product of Jacobians, the judged one and JAX's, may be from each other.

    Factors `A` with errors `E` contribute `Π(|A| + E) − Π|A|` (written as a sum); each sum of `k` terms on the way adds
    `(2 + log₂ k) eps` of its absolute values. Reverse mode, which never forms the factors, errs no more.
    """
    sizes = [np.abs(a.value) for a in factors]
    widest = [size + a.bound for size, a in zip(sizes, factors, strict=True)]
    brought = sum(multiply([*widest[:i], a.bound, *sizes[i + 1 :]]) for i, a in enumerate(factors))
    roundings = sum(2 + log2(max(size.shape[0], 1)) for size in sizes[1:])
    return np.asarray(brought + TWICE.eps * roundings * multiply(widest))


def sum_bound(paths: Sequence[Sequence[Answer]]) -> Array:
    """The `product_bound` of each path, and the rounding of the sum over the paths."""
    sizes = sum(multiply([np.abs(a.value) + a.bound for a in path]) for path in paths)
    return np.asarray(sum(map(product_bound, paths)) + TWICE.eps * len(paths) * sizes)


def on_slide(answer: Answer, output: Array, argument: Array) -> Answer:
    """A Jacobian in the slides' shape: 1×1, 1×n, m×1, m×n, d×d×n or 1×d×n."""
    shape = (output.shape or (1,)) + (argument.shape or (1,))
    return Answer(answer.value.reshape(shape), answer.bound.reshape(shape))


def on_slides(answers: Sequence[Answer], u: Sequence[Array]) -> list[Answer]:
    """The factors of a chain that passes through `u`, in the slides' shapes and order: the outermost first."""
    return [on_slide(answer, u[i + 1], u[i]) for i, answer in enumerate(answers)][::-1]


def jacobians(chain: Chain, u: Sequence[Array]) -> list[Jacobian]:
    """The reference's Jacobians of the steps, the outermost first as in `on_slides`."""
    return [step.jacobians(v)[0] for step, v in zip(chain, u, strict=False)][::-1]


def dense(J: Jacobian) -> Array:
    return J.todense().reshape(J.slide_shape)


# ── The laws ────────────────────────────────────────────────────────────────────────────────────────────────────────


def scalar_chain_rule(seed: int, rule: Callable[[Array, Array], Any] = np.vdot) -> Claims:
    """`df(u₁ … uₙ)/dx = Σᵢ ∂f/∂uᵢ · ∂uᵢ/∂x`, for a number `x`."""
    rng = np.random.default_rng([1, seed])
    x = np.asarray(rng.normal())
    chain = draw_chain(rng, x, [*[1] * int(rng.integers(1, 4)), 0])
    u = forwards(chain, x)
    by_u, *by_x = map(dense, jacobians(chain, u))
    whole, parts = ask(jax.grad(composed(chain)), factors_of(chain), x)
    bound = product_bound(on_slides(parts, u)).reshape(())
    yield Close(f"d({written(chain)})/dx", rule(by_u, multiply(by_x)), whole, bound)


def vector_chain_rule(seed: int, rule: Callable[[Sequence[Array]], Array] = multiply) -> Claims:
    """`∂f(g(x))/∂x = ∂f/∂g · ∂g/∂x`, for compositions of 2 to 4 operations of vectors; the innermost also by a matrix.

    As a product of dense factors, as `delta @ J @ … @ J`, and as one vjp after the other.
    """
    rng = np.random.default_rng([2, seed])
    x = rng.normal(size=rng.integers(1, 5, size=2 if rng.random() < 0.2 else 1))
    chain = draw_chain(rng, x, [1] * int(rng.integers(2, 5)), width=x.shape[0] if rng.random() < 0.5 else 0)
    *u, end = forwards(chain, x)
    delta, factors = rng.normal(size=end.shape), jacobians(chain, u)

    def whole(x: Any, delta: Any) -> Any:
        return jax.jacrev(composed(chain))(x), jax.vjp(composed(chain), x)[1](delta)[0]

    (jacobian, pulled), parts = ask(whole, lambda x, _: factors_of(chain)(x), x, delta)
    answers = on_slides(parts, [*u, end])
    yield Close(f"∂({written(chain)})/∂x", rule(list(map(dense, factors))), jacobian, product_bound(answers))
    bound = product_bound([Answer(delta[None], np.zeros((1, *delta.shape))), *answers])[0]
    yield Close(f"delta @ J of {written(chain)}", reduce(lambda d, J: d @ J, factors, delta), pulled, bound)
    for step, v in zip(reversed(chain), reversed(u), strict=True):
        delta = step.vjp(delta, v)
    yield Close(f"vjp of {written(chain)}", delta, pulled, bound)


def several_paths(seed: int, rule: Callable[[Sequence[Array]], Any] = sum) -> Claims:
    """`∂f(u⁽¹⁾ … u⁽ˢ⁾)/∂x = Σᵢ ∂f/∂u⁽ⁱ⁾ · ∂u⁽ⁱ⁾/∂x`: each vector that `f` takes is a composition of `x`."""
    rng = np.random.default_rng([3, seed])
    x = rng.normal(size=rng.integers(2, 5))
    f, branches = draw_fan_out(rng, x)
    u = [forwards(branch, x) for branch in branches]
    ends = [through[-1] for through in u]
    paths = [
        multiply([dense(J), *map(dense, jacobians(branch, through))])
        for J, branch, through in zip(f.jacobians(*ends), branches, u, strict=True)
    ]

    def defined(x: Any) -> Any:
        return f.defined(*(composed(branch)(x) for branch in branches))

    def parts(x: Any) -> Any:
        outer = jax.jacrev(f.defined, tuple(range(len(branches))))(*(composed(branch)(x) for branch in branches))
        return outer, [factors_of(branch)(x) for branch in branches]

    whole, (outer, inner) = ask(jax.jacrev(defined), parts, x)
    output = f.forward(*ends)
    answers = [
        [on_slide(by_end, output, through[-1]), *on_slides(by_x, through)]
        for by_end, by_x, through in zip(outer, inner, u, strict=True)
    ]
    what = f"∂({f} of {', '.join(map(written, branches))})/∂x"
    yield Close(what, rule(paths), whole.reshape(answers[0][0].value.shape[:1] + x.shape), sum_bound(answers))


def column_gradient(seed: int, rule: Callable[[Array, Array], Array] = lambda J, gradient: J.T @ gradient) -> Claims:
    """`∇ₓz = (∂y/∂x)ᵀ ∇ᵧz`, with gradients as columns, so that `x + ∇ₓz` makes sense."""
    rng = np.random.default_rng([4, seed])
    x = rng.normal(size=rng.integers(2, 5))
    chain = draw_chain(rng, x, [*[1] * int(rng.integers(1, 4)), 0], width=x.size if rng.random() < 0.5 else 0)
    u = forwards(chain, x)
    z_by_y, *y_by_x = map(dense, jacobians(chain, u))
    gradient = rule(multiply(y_by_x), z_by_y.T)
    whole, parts = ask(jax.grad(composed(chain)), factors_of(chain), x)
    yield Close(f"∇({written(chain)})", gradient, whole[:, None], product_bound(on_slides(parts, u)).T)
    yield Holds("x + ∇z", (x[:, None] + gradient).shape == (x.size, 1), f"∇z has shape {gradient.shape}, x {x.shape}")


def backpropagation_is_the_gradient(seed: int, rule: Callable[..., Gradients] = backpropagation) -> Claims:
    """Algorithm 1 is `jax.grad` of the network: any depth from 1 to 5, widths, `h` per layer, loss, and batches."""
    rng = np.random.default_rng([5, seed])
    depth, batch = int(rng.integers(1, 6)), [(), (), (3,), (2, 2)][rng.integers(4)]
    loss = OPERATIONS[pick(rng, ["squared_error", "softmax_cross_entropy", "dot"])]
    functions, widths = [pick(rng, ACTIVATIONS) for _ in range(depth)], rng.integers(1, 6, size=depth + 1)
    shapes = zip(widths[1:], widths[:-1], strict=True)
    parameters = [(rng.normal(size=shape) / shape[1] ** 0.5, rng.normal(size=shape[0])) for shape in shapes]
    x, y = rng.normal(size=(*batch, widths[0])), rng.normal(size=(*batch, widths[-1]))

    def one(parameters: Any, x: Any, y: Any) -> Any:
        for h, (W, b) in zip(functions, parameters, strict=True):
            x = FUNCTIONS[h](affine(W, x, b))
        return definition(loss)(x, y)

    def gradients(parameters: Any, x: Any, y: Any) -> Any:
        each = reduce(lambda f, _: jax.vmap(f, in_axes=(None, 0, 0)), batch, one)
        losses, pull_back = jax.vjp(lambda parameters, x: each(parameters, x, y), parameters, x)
        return losses, *pull_back(np.ones(batch))  # of the summed loss

    layers = [Layer(W, b, SCALAR_FUNCTIONS[h]) for (W, b), h in zip(parameters, functions, strict=True)]
    got = rule(layers, x, y, loss=loss)
    _, (value, by_layer, dx) = ask(lambda *_: (), gradients, parameters, x, y)
    where = f"of {loss.name} after {', '.join(functions)}, batch {batch}"
    yield Holds("layers", len(got.layers) == depth, f"{len(got.layers)} pairs of gradients for {depth} layers")
    yield Close(f"loss {where}", got.loss, *value)
    yield Close(f"dx {where}", got.dx, *dx)
    for i, (pair, answers) in enumerate(zip(got.layers, by_layer, strict=True), start=1):
        yield Close(f"dW{i} {where}", pair[0], *answers[0])
        yield Close(f"db{i} {where}", pair[1], *answers[1])


CHAIN_LAWS: Mapping[str, Callable[[int], Claims]] = {
    law.__name__: law
    for law in (scalar_chain_rule, vector_chain_rule, several_paths, column_gradient, backpropagation_is_the_gradient)
}
