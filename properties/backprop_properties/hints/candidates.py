"""Wrong forwards and vjps that people write, each with its cause; a function that computes the same has that cause.

Each is the right formula with one thing changed. Its text completes "dx is …".
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from backprop_oracle.rows import Row
from backprop_reference import OPERATIONS, ScalarFunction
from backprop_reference.lecture.functions import SCALAR_FUNCTIONS
from backprop_reference.lecture.matrices import activation_vjp

from ..cases.case import Array
from .probe import listed
from .textbook import Function, at_output, bent, loss_vjp, network, no_slope, sigmoid, softmax, softmax_vjp


class Candidate(NamedTuple):
    cause: str
    says: str
    f: Function
    clearly: bool = True  # far from what is right, at every number


def candidates(row: Row) -> Iterator[Candidate]:
    """Wrong vjps of an operation, as functions of float64 arrays.

    >>> list(dict.fromkeys(c.cause for c in candidates(OPERATIONS["negate"])))
    ['missing-path', 'cotangent-ignored', 'sign', 'missing-h-prime', 'h-prime-at-output', 'another-function']
    """
    yield Candidate("missing-path", "all zeros: a path of the chain rule is missing", _changed(row, lambda d: 0 * d))
    yield Candidate("cotangent-ignored", "what is right for delta = 1, whatever delta is: the cotangent takes no part",
                    lambda delta, *args: row.vjp(np.ones_like(delta), *args))  # fmt: skip
    yield Candidate("sign", "exactly the negative of what is right: a sign is lost", _changed(row, np.negative))
    hs = tuple(layer.h for layer in row.layers) or row.functions
    if row.promise == "softmax":
        yield from SOFTMAX
    elif "target" in row.domain.values():
        yield from _slopes(lambda slope: _loss(row, hs, slope=slope))
        if row.functions:
            yield from _functions(hs, lambda hs: _loss(row, hs))
    elif row.functions and row.layers:
        yield from _functions(hs, lambda hs: lambda delta, *args: activation_vjp(delta, hs[0], *args))
    elif row.functions:
        yield from _functions(hs, lambda hs: lambda delta, x: (delta * hs[0].dh(x),))
    yield from _turned(row)
    yield from _heated(row, lambda f: f, row.vjp)
    yield from _others(row, lambda other: other.vjp)


def forward_candidates(row: Row) -> Iterator[Candidate]:
    """Wrong forwards of an operation, with the signature of a vjp: their first argument, the cotangent, is not used."""
    yield Candidate("sign", "exactly the negative of what is right: a sign is lost",
                    lambda _, *args: (-row.forward(*args),))  # fmt: skip
    if not row.layers and LEAKY & {h.name for h in row.functions}:
        yield from _rounded_slope(lambda slope: lambda _, x: (np.where(x < 0, slope, 1) * x,))
    yield from _heated(row, lambda f: lambda _, *args: (f(*args),), row.forward)
    yield from _others(row, lambda other: lambda _, *args: (other.forward(*args),))
    for some, says in _some(row):
        yield Candidate("transposed", says, _fed(lambda _, *args: (row.forward(*args),), some, np.transpose))


def _matrices(row: Row) -> list[int]:
    return [i for i, core in enumerate(row.cores[:-1]) if len(core) == 2]


def _some(row: Row) -> Iterator[tuple[tuple[int, ...], str]]:
    """One or more of the matrices, with what is said where they are transposed."""
    matrices = _matrices(row)
    for some in (some for count in range(1, len(matrices) + 1) for some in combinations(matrices, count)):
        yield some, "what comes out with the transpose of " + listed([row.arguments[i] for i in some])


def _others(row: Row, function: Callable[[Row], Function]) -> Iterator[Candidate]:
    """The right function of each operation that differs in the scalar function only."""
    for other in OPERATIONS.values():
        if other.base == row.base and other.signature == row.signature and other.name != row.name:
            yield Candidate("another-function", f"what is right for {other.name}", function(other), clearly=False)


# ── h′ ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

OTHER_SIGN: dict[str, Callable[[Array], Array]] = {
    "tanh": lambda z: 1 + np.tanh(z) ** 2,
    "sigmoid": lambda z: sigmoid(z) * (1 + sigmoid(z)),
}


def _functions(hs: Sequence[ScalarFunction], vjp: Callable[[list[ScalarFunction]], Function]) -> Iterator[Candidate]:
    """A wrong `h′` in one layer, or in all of them."""
    names = [h.name for h in hs]
    bending = [k for k, name in enumerate(names) if name != "identity"]
    places = [(k,) for k in bending] + ([tuple(bending)] if len(bending) > 1 else [])
    for place in places:
        where = "" if len(hs) == 1 else " of layer " + listed([str(k + 1) for k in place])

        def with_(change: Callable[..., ScalarFunction | None], place: tuple[int, ...] = place) -> Function:
            return vjp([change(h.name) or h if k in place else h for k, h in enumerate(hs)])

        h = names[place[0]]
        yield Candidate("sign", f"computed with a wrong sign between the terms of {h}′{where}",
                        with_(lambda name: bent(name, OTHER_SIGN[name]) if name in OTHER_SIGN else None))  # fmt: skip
        yield Candidate("missing-h-prime", f"computed without the factor {h}′{where}", with_(no_slope))
        yield Candidate("h-prime-at-output", f"computed with {h}′{where} taken at the output {h}(z) instead of at z",
                        with_(at_output))  # fmt: skip
        if h in OF_THE_OUTPUT:
            formula, slope = OF_THE_OUTPUT[h]
            says = f"computed with {formula} for {h}′{where}: its formula in terms of the output {h}(z), at z itself"
            yield Candidate("input-for-output", says, with_(lambda name, s=slope: bent(name, s)))
        if h in LEAKY:
            yield from _rounded_slope(lambda s: with_(lambda name: bent(name, lambda z: np.where(z < 0, s, 1))))
        for term, term_of in PRODUCT_RULE.items():
            if any(hs[k].factored for k in place):
                says = f"computed with only one term of the product rule for {h}(z) = z f(z){where}: {term}"
                one_term = with_(lambda name, f=term_of: bent(name, f(SCALAR_FUNCTIONS[name])))
                yield Candidate("missing-path", says, one_term)
        for other in (other for other in SCALAR_FUNCTIONS if other not in (h, "identity")):
            yield Candidate("another-function", f"computed with {other}′{where} in place of {h}′",
                            with_(lambda name, g=SCALAR_FUNCTIONS[other]: bent(name, g.dh)), clearly=False)  # fmt: skip
            yield Candidate("another-function", f"computed with {other}{where} in place of {h}",
                            with_(lambda name, g=SCALAR_FUNCTIONS[other]: g), clearly=False)  # fmt: skip


OF_THE_OUTPUT: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "tanh": ("1 − z²", lambda z: 1 - z * z),
    "sigmoid": ("z (1 − z)", lambda z: z * (1 - z)),
    "exp": ("z", lambda z: z),
    "softplus": ("1 − exp(−z)", lambda z: -np.expm1(-z)),
    "elu": ("z + 1 where z < 0", lambda z: np.where(z < 0, z + 1, 1)),
    "reciprocal": ("−z²", lambda z: -z * z),
}


LEAKY = {"leaky_relu"}  # of slope 0.01 below 0


def _rounded_slope(f: Callable[[float], Function]) -> Iterator[Candidate]:
    for name, dtype in (("float32", np.float32), ("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)):
        says = f"computed with the slope 0.01 rounded to {name}"
        yield Candidate("lower-precision", says, f(float(dtype(0.01))), clearly=False)


PRODUCT_RULE: dict[str, Callable[[ScalarFunction], Callable[[Array], Array]]] = {
    "f(z), without z f′(z)": lambda h: lambda z: h.h(z) / z,
    "z f′(z), without f(z)": lambda h: lambda z: h.dh(z) - h.h(z) / z,
}

# ── Softmax, cross-entropy ──────────────────────────────────────────────────────────────────────────────────────────


SOFTMAX = (
    Candidate("missing-path", "computed with the diagonal of the Jacobian only: u_j depends on x_i, too",
              softmax_vjp(inner=lambda s, delta: s * delta)),
    Candidate("missing-path", "s ⊙ δ: the path through the sum in the denominator is missing",
              softmax_vjp(inner=lambda s, delta: 0)),
    Candidate("missing-path", "−s (sᵀδ): the path through the numerator is missing",
              lambda delta, x: (-softmax(x) * (softmax(x) @ delta),)),
    Candidate("sign", "s ⊙ (δ + sᵀδ), with a plus sign where s ⊙ (δ − sᵀδ) has a minus",
              softmax_vjp(inner=lambda s, delta: -(s @ delta))),
    Candidate("h-prime-at-output", "computed with the derivative taken at the output s(x) instead of at x",
              softmax_vjp(lambda x: softmax(softmax(x)))),
    Candidate("input-for-output", "x ⊙ (δ − xᵀδ), the formula in terms of the output s(x), at x itself",
              softmax_vjp(lambda x: x)),
)  # fmt: skip

TEMPERATURES: dict[str, Callable[..., float]] = {
    **{f"{t:g}": (lambda _, t=t: t) for t in (0.1, 0.2, 0.25, 0.5, 0.7, 0.8, 1.5, 2.0, 3.0, 4.0, 5.0, 8.0, 10.0)},
    "√n": lambda n: n**0.5,
}


def _heated(row: Row, called: Callable[[Function], Function], f: Function) -> Iterator[Candidate]:
    """The function `f` of a softmax or cross-entropy, with its logits divided by a temperature."""
    if not row.masks:
        return
    for words, t in TEMPERATURES.items():

        def heated(*args: Array, t: Callable[[int], float] = t) -> Any:
            *before, x = args[: len(args) - len(row.arguments) + 1]
            return f(*before, x / t(x.size), *args[len(before) + 1 :])

        yield Candidate("temperature", f"computed with logits divided by {words}", called(heated))
        if f is row.vjp:
            says = f"computed with logits divided by {words}, and by {words} once more by the chain rule"

            def by_the_chain_rule(*args: Array, t: Callable[[int], float] = t, heated: Function = heated) -> Any:
                dx, *rest = heated(*args)
                return dx / t(dx.size), *rest

            yield Candidate("temperature", says, by_the_chain_rule)


def _loss(row: Row, hs: Sequence[ScalarFunction], **changed: Any) -> Function:
    """The vjp of the cross-entropy, behind layers if there are any, with one part of the formula changed."""
    f = network(hs, **changed) if row.layers else loss_vjp(**changed)
    names = [*(name for layer in row.layers for name in (layer.W, layer.b)), "x", "y"]

    def vjp(delta: Array, *args: Array) -> tuple[Array, ...]:
        given = dict(zip(row.arguments, args, strict=True))
        found = dict(zip(names, f(delta, *(given[name] for name in names)), strict=True))
        return tuple(found[name] for name in row.arguments)

    return vjp


SLOPES: tuple[tuple[str, str, str, Function], ...] = (
    ("sum-y-is-one", "s − y", "right only where y sums to 1", lambda s, y: s - y),
    ("missing-path", "−y", "the path through the sum of the exponentials is missing", lambda s, y: -y),
    ("missing-path", "sum(y) s", "the path of the logit itself is missing", lambda s, y: y.sum() * s),
    ("sign", "sum(y) s + y", "a sign is lost", lambda s, y: y.sum() * s + y),
    ("sign", "y − sum(y) s", "the sign is lost", lambda s, y: y - y.sum() * s),
)


def _slopes(vjp: Callable[[Function], Function]) -> Iterator[Candidate]:
    """A wrong gradient of the cross-entropy by its logits."""
    for cause, formula, why, slope in SLOPES:
        says = f"computed with {formula} as the gradient by the logits, which is sum(y) s − y: {why}"
        yield Candidate(cause, says, vjp(slope))


# ── Transposed ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _turned(row: Row) -> Iterator[Candidate]:
    for i in _matrices(row):
        name = row.arguments[i]
        yield Candidate("transposed", "the transpose of what is right",
                        _changed(row, np.transpose, i))  # fmt: skip
        yield Candidate("transposed", f"the transpose of what is right, its numbers put into the shape of {name}",
                        _changed(row, lambda d: d.T.reshape(d.shape), i))  # fmt: skip
    for some, says in _some(row):
        yield Candidate("transposed", says, _fed(row.vjp, some, np.transpose))
        reshaped = f"{says} made by reshape, which turns nothing"
        yield Candidate("transposed", reshaped, _fed(row.vjp, some, lambda W: W.reshape(W.shape[::-1]).T))
        yield Candidate("transposed", f"{says} in the step back", _back_turned(row, some))


def _changed(row: Row, change: Callable[[Array], Array], only: int | None = None) -> Function:
    def vjp(*args: Array) -> tuple[Any, ...]:
        return tuple(change(d) if d is not None and only in (None, i) else d for i, d in enumerate(row.vjp(*args)))

    return vjp


def _fed(f: Function, some: Sequence[int], change: Callable[[Array], Array]) -> Function:
    return lambda delta, *args: f(delta, *(change(a) if i in some else a for i, a in enumerate(args)))


def _back_turned(row: Row, some: Sequence[int]) -> Function:
    """`δ Wᵀ` in place of `δ W` in the step from a layer to the one below: a ValueError if `W` is not square."""

    def vjp(delta: Array, *args: Array) -> tuple[Array, ...]:
        turned = [args[i] for i in some]

        def back(d: Array, W: Array) -> Array:
            return d @ (W.T if any(W is t for t in turned) else W)

        if "target" in row.domain.values():
            return _loss(row, [layer.h for layer in row.layers], back=back)(delta, *args)
        (layer,) = row.layers
        given = dict(zip(row.arguments, args, strict=True))
        right = dict(zip(row.arguments, row.vjp(delta, *args), strict=True))
        signal = right.get(layer.b, delta)  # db is δ ⊙ h′(z)
        return tuple({**right, "x": signal @ given[layer.W].T}.values())

    return vjp
