"""The basic operations on vectors: scale, add, hadamard, elementwise, sum_reduction; made of them: subtract, dot.

Each operation is three functions: `u = f(…)`, its Jacobians (one per argument, for a single example), and its vjp,
which takes the cotangent `delta` = ∂L/∂u first and gives ∂L/∂(argument), one per argument.

What underflows comes without a warning, whatever `np.errstate` says; a sum that is out of range may, too.
"""

from __future__ import annotations  # help(affine) shows ArrayLike, not what NumPy takes for one

import numpy as np
from numpy.typing import ArrayLike

from ..jacobians import Column, Diagonal, Row, ScaledIdentity
from ..numerics.range import dot_of, quiet, sum_of
from ..scalar_function import ScalarFunction, scalar_function, slope
from ..signature import Array, Signature

# ── Vector–scalar product: u = x α ──────────────────────────────────────────────────────────────────────────────────

SCALE = Signature("scale", "x alpha", "(n),()->(n)")


@np.errstate(under="ignore")
def scale(x: ArrayLike, alpha: ArrayLike) -> Array:
    """The vector–scalar product, `u = x α`.

    Shapes: `x (n)`, `alpha ()`, `u (n)`. Slide: basic operations, vector–scalar product.

    >>> scale([1.0, 2.0], 3.0)
    array([3., 6.])
    """
    x, alpha = SCALE.batched(x, alpha)
    return x * alpha[..., None]


def scale_jacobian(x: ArrayLike, alpha: ArrayLike) -> tuple[ScaledIdentity, Column]:
    """`∂u/∂x = diag(1α)`, `n×n`, and `∂u/∂α = x`, `n×1`.

    >>> J_x, J_alpha = scale_jacobian([1.0, 2.0], 3.0)
    >>> J_x.todense()
    array([[3., 0.],
           [0., 3.]])
    >>> J_alpha.slide_shape
    (2, 1)
    """
    x, alpha = SCALE.single(x, alpha)
    return ScaledIdentity(alpha, len(x)), Column(x)


@quiet
def scale_vjp(delta: ArrayLike, x: ArrayLike, alpha: ArrayLike) -> tuple[Array, Array]:
    """`dx = α δ` and `dα = Σ_i δ_i x_i`; shapes `delta (n)`, `dx (n)`, `dα ()`.

    >>> dx, dalpha = scale_vjp([1.0, 1.0], [1.0, 2.0], 3.0)
    >>> dx, float(dalpha)
    (array([3., 3.]), 3.0)
    """
    delta, x, alpha = SCALE.pulled_back(delta, x, alpha)
    return delta * alpha[..., None], dot_of(delta, x)


# ── Addition: u = x + y ─────────────────────────────────────────────────────────────────────────────────────────────

ADD = Signature("add", "x y", "(n),(n)->(n)")


def add(x: ArrayLike, y: ArrayLike) -> Array:
    """The sum, `u = x + y`.

    Shapes: `x (n)`, `y (n)`, `u (n)`. Slide: basic operations, addition.

    >>> add([1.0, 2.0], [3.0, 4.0])
    array([4., 6.])
    """
    x, y = ADD.batched(x, y)
    return x + y


def add_jacobian(x: ArrayLike, y: ArrayLike) -> tuple[ScaledIdentity, ScaledIdentity]:
    """`∂u/∂x = I` and `∂u/∂y = I`, both `n×n`.

    >>> _, J_y = add_jacobian([1.0, 2.0], [3.0, 4.0])
    >>> J_y.todense()
    array([[1., 0.],
           [0., 1.]])
    """
    x, y = ADD.single(x, y)
    return ScaledIdentity(x.dtype.type(1), len(x)), ScaledIdentity(x.dtype.type(1), len(x))


def add_vjp(delta: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """`dx = δ` and `dy = δ`; shapes `delta (n)`, `dx (n)`, `dy (n)`.

    >>> add_vjp([1.0, 5.0], [1.0, 2.0], [3.0, 4.0])
    (array([1., 5.]), array([1., 5.]))
    """
    delta, x, y = ADD.pulled_back(delta, x, y)
    return delta.copy(), delta.copy()


# ── Hadamard product: u = x ⊙ y ─────────────────────────────────────────────────────────────────────────────────────

HADAMARD = Signature("hadamard", "x y", "(n),(n)->(n)")


@np.errstate(under="ignore")
def hadamard(x: ArrayLike, y: ArrayLike) -> Array:
    """The entrywise product, `u = x ⊙ y`.

    Shapes: `x (n)`, `y (n)`, `u (n)`. Slide: basic operations, Hadamard product.

    >>> hadamard([1.0, 2.0], [3.0, 4.0])
    array([3., 8.])
    """
    x, y = HADAMARD.batched(x, y)
    return x * y


def hadamard_jacobian(x: ArrayLike, y: ArrayLike) -> tuple[Diagonal, Diagonal]:
    """`∂u/∂x = diag(y)` and `∂u/∂y = diag(x)`, both `n×n`.

    >>> J_x, _ = hadamard_jacobian([1.0, 2.0], [3.0, 4.0])
    >>> J_x.todense()
    array([[3., 0.],
           [0., 4.]])
    """
    x, y = HADAMARD.single(x, y)
    return Diagonal(y), Diagonal(x)


@np.errstate(under="ignore")
def hadamard_vjp(delta: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """`dx = δ ⊙ y` and `dy = δ ⊙ x`; shapes `delta (n)`, `dx (n)`, `dy (n)`.

    >>> hadamard_vjp([1.0, 10.0], [1.0, 2.0], [3.0, 4.0])
    (array([ 3., 40.]), array([ 1., 20.]))
    """
    delta, x, y = HADAMARD.pulled_back(delta, x, y)
    return delta * y, delta * x


# ── Scalar function of a vector: u = h(x) ───────────────────────────────────────────────────────────────────────────

ELEMENTWISE = Signature("elementwise", "x", "(n)->(n)")


def elementwise(h: ScalarFunction, x: ArrayLike) -> Array:
    """A scalar function, entry by entry, `u_i = h(x_i)`.

    Shapes: `x (n)`, `u (n)`. Slide: basic operations, scalar function applied to a vector.

    >>> from backprop_reference import square
    >>> elementwise(square, [1.0, 2.0])
    array([1., 4.])
    """
    (x,) = ELEMENTWISE.batched(x)
    return scalar_function(h, "elementwise").h(x)


def elementwise_jacobian(h: ScalarFunction, x: ArrayLike) -> tuple[Diagonal]:
    """`∂u/∂x = diag(h′(x))`, `n×n`.

    >>> from backprop_reference import square
    >>> elementwise_jacobian(square, [1.0, 2.0])[0].todense()
    array([[2., 0.],
           [0., 4.]])
    """
    (x,) = ELEMENTWISE.single(x)
    return (Diagonal(scalar_function(h, "elementwise").dh(x)),)


@np.errstate(under="ignore")
def elementwise_vjp(delta: ArrayLike, h: ScalarFunction, x: ArrayLike) -> tuple[Array]:
    """`dx = δ ⊙ h′(x)`; shapes `delta (n)`, `dx (n)`. Where `h′(x)` is beyond the range, so is `dx`, however small `δ`.

    >>> from backprop_reference import square
    >>> elementwise_vjp([1.0, 10.0], square, [1.0, 2.0])
    (array([ 2., 40.]),)
    """
    delta, x = ELEMENTWISE.pulled_back(delta, x)
    return (delta * slope(scalar_function(h, "elementwise"), x),)


# ── Sum reduction: u = sum(x) ───────────────────────────────────────────────────────────────────────────────────────

SUM_REDUCTION = Signature("sum_reduction", "x", "(n)->()")


@quiet
def sum_reduction(x: ArrayLike) -> Array:
    """The sum of the entries, `u = Σ_i x_i`; of no entries, 0. It is infinite only if the sum itself is out of range.

    Shapes: `x (n)`, `u ()`. Slide: basic operations, sum reduction.

    >>> float(sum_reduction([1.0, 2.0, 4.0]))
    7.0
    """
    (x,) = SUM_REDUCTION.batched(x)
    return sum_of(x)


def sum_reduction_jacobian(x: ArrayLike) -> tuple[Row]:
    """`∂u/∂x = 1ᵀ`, `1×n`.

    >>> (J_x,) = sum_reduction_jacobian([1.0, 2.0, 4.0])
    >>> J_x.todense(), J_x.slide_shape
    (array([1., 1., 1.]), (1, 3))
    """
    (x,) = SUM_REDUCTION.single(x)
    return (Row(np.ones_like(x)),)


def sum_reduction_vjp(delta: ArrayLike, x: ArrayLike) -> tuple[Array]:
    """`dx = δ 1ᵀ`; shapes `delta ()`, `dx (n)`.

    >>> sum_reduction_vjp(2.0, [1.0, 2.0, 4.0])
    (array([2., 2., 2.]),)
    """
    delta, x = SUM_REDUCTION.pulled_back(delta, x)
    return (delta[..., None] * np.ones_like(x),)


# ── Subtraction: u = x − y = x + g(y), g(y) = −y ────────────────────────────────────────────────────────────────────

SUBTRACT = Signature("subtract", "x y", "(n),(n)->(n)")


def subtract(x: ArrayLike, y: ArrayLike) -> Array:
    """The difference, `u = x − y`.

    Shapes: `x (n)`, `y (n)`, `u (n)`. Slide: new operations, subtraction.

    >>> subtract([1.0, 2.0], [3.0, 5.0])
    array([-2., -3.])
    """
    x, y = SUBTRACT.batched(x, y)
    return x - y


def subtract_jacobian(x: ArrayLike, y: ArrayLike) -> tuple[ScaledIdentity, ScaledIdentity]:
    """`∂u/∂x = I` and `∂u/∂y = −I`, both `n×n`.

    >>> _, J_y = subtract_jacobian([1.0, 2.0], [3.0, 5.0])
    >>> [1.0, 2.0] @ J_y
    array([-1., -2.])
    """
    x, y = SUBTRACT.single(x, y)
    return ScaledIdentity(x.dtype.type(1), len(x)), ScaledIdentity(x.dtype.type(-1), len(x))


def subtract_vjp(delta: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """`dx = δ` and `dy = −δ`; shapes `delta (n)`, `dx (n)`, `dy (n)`.

    >>> subtract_vjp([1.0, 5.0], [1.0, 2.0], [3.0, 5.0])
    (array([1., 5.]), array([-1., -5.]))
    """
    delta, x, y = SUBTRACT.pulled_back(delta, x, y)
    return delta.copy(), -delta


# ── Dot product: u = xᵀy = sum(x ⊙ y) ───────────────────────────────────────────────────────────────────────────────

DOT = Signature("dot", "x y", "(n),(n)->()")


@quiet
def dot(x: ArrayLike, y: ArrayLike) -> Array:
    """The dot product, `u = xᵀy = Σ_i x_i y_i`; of no entries, 0. It is infinite only if it is out of range.

    Shapes: `x (n)`, `y (n)`, `u ()`. Slide: new operations, dot product.

    >>> float(dot([1.0, 2.0], [3.0, 4.0]))
    11.0
    """
    x, y = DOT.batched(x, y)
    return dot_of(x, y)


def dot_jacobian(x: ArrayLike, y: ArrayLike) -> tuple[Row, Row]:
    """`∂u/∂x = yᵀ` and `∂u/∂y = xᵀ`, both `1×n`.

    >>> J_x, _ = dot_jacobian([1.0, 2.0], [3.0, 4.0])
    >>> J_x.todense(), J_x.slide_shape
    (array([3., 4.]), (1, 2))
    """
    x, y = DOT.single(x, y)
    return Row(y), Row(x)


@np.errstate(under="ignore")
def dot_vjp(delta: ArrayLike, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """`dx = δ yᵀ` and `dy = δ xᵀ`; shapes `delta ()`, `dx (n)`, `dy (n)`.

    >>> dot_vjp(2.0, [1.0, 2.0], [3.0, 4.0])
    (array([6., 8.]), array([2., 4.]))
    """
    delta, x, y = DOT.pulled_back(delta, x, y)
    return delta[..., None] * y, delta[..., None] * x
